//! Which resource each entry of a transaction is about, once criteria have been asked: pure, so that it can be done
//! before the transaction and be checked inside. <https://hl7.org/fhir/R4/http.html#trules>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use store::Stored;

use super::entry::{Action, Aim};
use super::links::{Linked, Links, conditional_references};
use super::matching::{Writes, types_looked_into};
use super::overlaps;
use crate::config::ConditionalDelete;
use crate::error::Error;
use crate::rest::conditional::{Criteria, single};
use crate::rest::update::{Origin, aimed_id};
use crate::rest::{delete, patch};

/// An entry with all that is known before criteria are asked.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// `fullUrl`.
    pub(super) full_url: Option<String>,
    /// What is to be done.
    pub(super) action: Action,
    /// `ifNoneExist`, or the criteria of a conditional update, patch or delete.
    pub(super) criteria: Option<Criteria>,
    /// Whether the criteria of a delete may match several resources.
    pub(super) conditional_delete: ConditionalDelete,
    /// What a patch makes of its target.
    pub(super) patched: Option<Patched>,
    /// The id that the resource gets where nothing else gives it one.
    pub(super) fresh_id: String,
}

/// What a patch makes of one version; links are not replaced yet.
#[derive(Clone, Debug)]
pub(super) struct Patched {
    /// Logical id.
    pub(super) id: String,
    /// The version.
    pub(super) version: i64,
    /// That version.
    pub(super) before: Arc<str>,
    /// What comes of it.
    pub(super) resource: Json,
}

/// What criteria matched, by [`Criteria::lock_key`].
pub(super) type Found = HashMap<String, Vec<Stored>>;

/// Which resource an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Writes nothing.
    Nothing,
    /// Is created under the fresh id.
    New,
    /// `ifNoneExist` found this one.
    Existing(String),
    /// `ifNoneExist` matches what this other entry creates.
    SameAs(usize),
    /// Is updated, or created under this id.
    Update(String, Origin),
    /// Is patched.
    Patch(String),
    /// Are deleted: by criteria none, one or several.
    Delete(Vec<String>),
}

/// All entries settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolution {
    /// By entry.
    pub(super) settled: Vec<Settled>,
    /// What links point at.
    pub(super) links: Links,
}

/// Settles all entries; identities that overlap, and criteria that match several resources, are refused.
pub(super) fn resolve(
    steps: &[Step],
    references: &[(String, Criteria)],
    found: &Found,
    base: &str,
) -> Result<Resolution, Error> {
    let mut open = by_what_is_stored(steps, found)?;
    let mut writes = Writes::new(steps, base, links_before(steps, &open, references, found, base));
    overlaps::settle_creates(steps, &mut open, &mut writes)?;
    let settled = open.into_iter().map(|one| one.ok_or_else(|| Error::internal("an entry is not settled")));
    let settled = settled.collect::<Result<Vec<Settled>, Error>>()?;
    let identities = identities(steps, &settled)?;
    overlaps::refuse(steps, &settled, &mut writes)?;
    let mut links = Links { entries: entry_links(steps, &settled, found, base)?, ..Links::default() };
    for (text, criteria) in references {
        let target = referred(&mut writes, &settled, &identities, (text, criteria), found);
        let target = target
            .map_err(|error| first_with(steps, text).map_or(error.clone(), |index| error.within(&place(index))))?;
        links.criteria.insert(text.clone(), target);
    }
    Ok(Resolution { settled, links })
}

/// What is stored settles all entries but creates whose criteria match nothing of it. Deletions go first: what they
/// delete is not there for creates any more.
fn by_what_is_stored(steps: &[Step], found: &Found) -> Result<Vec<Option<Settled>>, Error> {
    let within = |index: usize| move |error: Error| error.within(&place(index));
    let deleted = |(index, step)| deleted(step, found).map_err(within(index));
    let deleted: Vec<Option<Vec<String>>> = steps.iter().enumerate().map(deleted).collect::<Result<_, _>>()?;
    let ids = |(step, ids): (&'_ Step, &'_ Option<Vec<String>>)| {
        let ids = ids.iter().flatten().cloned();
        ids.map(|id| (step.action.resource_type().to_owned(), id)).collect::<Vec<_>>()
    };
    let gone: HashSet<(String, String)> = steps.iter().zip(&deleted).flat_map(ids).collect();
    let settle = |(index, (step, deleted)): (usize, (&Step, Option<Vec<String>>))| match deleted {
        Some(ids) => Ok(Some(Settled::Delete(ids))),
        None => settle(step, found, &gone).map_err(within(index)),
    };
    steps.iter().zip(deleted).enumerate().map(settle).collect()
}

/// The ids that a DELETE is about; nothing for other entries.
fn deleted(step: &Step, found: &Found) -> Result<Option<Vec<String>>, Error> {
    match &step.action {
        Action::Delete { aim: Aim::Id(id), .. } => Ok(Some(vec![id.clone()])),
        Action::Delete { aim: Aim::Criteria(_), .. } => {
            let all = found.get(step.lock_key()).cloned().unwrap_or_default();
            let chosen = delete::chosen(all, step.conditional_delete)?;
            Ok(Some(chosen.into_iter().map(|stored| stored.id).collect()))
        }
        _ => Ok(None),
    }
}

/// The first entry that holds a conditional reference.
fn first_with(steps: &[Step], reference: &str) -> Option<usize> {
    steps.iter().position(|step| {
        let mut holds = false;
        if let Some((_, resource)) = step.resource() {
            conditional_references(resource, &mut |_, text| holds |= text == reference);
        }
        holds
    })
}

/// Location of an entry in issues.
pub(super) fn place(index: usize) -> String {
    format!("Bundle.entry[{index}]")
}

impl Step {
    /// The key of its criteria; empty where it has none.
    pub(super) fn lock_key(&self) -> &str {
        self.criteria.as_ref().map_or("", Criteria::lock_key)
    }

    /// The id under which the resource is or will be.
    pub(super) fn id<'a>(&'a self, settled: &'a Settled) -> &'a str {
        match settled {
            Settled::Existing(id) | Settled::Update(id, _) | Settled::Patch(id) => id,
            Settled::New | Settled::SameAs(_) | Settled::Nothing | Settled::Delete(_) => &self.fresh_id,
        }
    }

    /// Types and ids of what is written.
    pub(super) fn written<'a>(&'a self, settled: &'a Settled) -> Vec<(&'a str, &'a str)> {
        let ids = match settled {
            Settled::Nothing | Settled::Existing(_) | Settled::SameAs(_) => Vec::new(),
            Settled::Delete(ids) => ids.iter().map(String::as_str).collect(),
            Settled::New | Settled::Update(..) | Settled::Patch(_) => vec![self.id(settled)],
        };
        ids.into_iter().map(|id| (self.action.resource_type(), id)).collect()
    }

    /// The resource that the entry writes, with its type.
    pub(super) fn resource(&self) -> Option<(&str, &Json)> {
        let patched = self.patched.as_ref().map(|patched| (self.action.resource_type(), &patched.resource));
        patched.or_else(|| self.action.resource())
    }
}

/// Settles an entry that deletes nothing. None: a create that another entry may make needless.
fn settle(step: &Step, found: &Found, gone: &HashSet<(String, String)>) -> Result<Option<Settled>, Error> {
    let matched = || found.get(step.lock_key()).cloned().map_or(Ok(None), single);
    match &step.action {
        Action::Get { .. } | Action::Operation { .. } => Ok(Some(Settled::Nothing)),
        Action::Delete { .. } => Err(Error::internal("deletions are settled first")),
        Action::Patch { aim: Aim::Id(id), .. } => Ok(Some(Settled::Patch(id.clone()))),
        Action::Patch { aim: Aim::Criteria(_), resource_type, .. } => {
            patch::living(matched()?, resource_type, None).map(|stored| Some(Settled::Patch(stored.id)))
        }
        Action::Create { .. } if step.criteria.is_none() => Ok(Some(Settled::New)),
        Action::Create { resource_type, .. } => {
            let stays = |stored: &&Stored| !gone.contains(&(resource_type.clone(), stored.id.clone()));
            let left = found.get(step.lock_key()).into_iter().flatten().filter(stays);
            Ok(single(left.cloned().collect())?.map(|existing| Settled::Existing(existing.id)))
        }
        Action::Update { aim: Aim::Id(id), .. } => Ok(Some(Settled::Update(id.clone(), Origin::Known))),
        Action::Update { aim: Aim::Criteria(_), resource_type, resource, .. } => {
            let existing = matched()?.map(|stored| stored.id);
            let (id, origin) = aimed_id(resource_type, existing.as_deref(), resource.str("id"), &step.fresh_id)?;
            Ok(Some(Settled::Update(id.to_owned(), origin)))
        }
    }
}

/// Every `(type, id)` that the transaction writes; twice the same is refused.
fn identities<'a>(steps: &'a [Step], settled: &'a [Settled]) -> Result<HashSet<(&'a str, &'a str)>, Error> {
    let mut identities = HashSet::new();
    for (index, (step, settled)) in steps.iter().zip(settled).enumerate() {
        for (resource_type, id) in step.written(settled) {
            if !identities.insert((resource_type, id)) {
                let text = format!("{resource_type}/{id} is written by more than one entry of the transaction");
                return Err(Error::bad_request(Issue::error(IssueCode::Duplicate, text).at(place(index))));
            }
        }
    }
    Ok(identities)
}

fn entry_links(
    steps: &[Step],
    settled: &[Settled],
    found: &Found,
    base: &str,
) -> Result<HashMap<String, Linked>, Error> {
    let mut links: HashMap<String, Linked> = HashMap::new();
    for (index, (step, one)) in steps.iter().zip(settled).enumerate() {
        let id = match one {
            Settled::SameAs(earlier) => steps[*earlier].fresh_id.as_str(),
            other => step.id(other),
        };
        let Some((full_url, linked)) = link(step, id, version(step, one, found), base) else { continue };
        if links.insert(full_url.clone(), linked).is_some() {
            let text = format!("fullUrl {full_url} stands at more than one entry");
            return Err(Error::bad_request(Issue::error(IssueCode::Duplicate, text).at(place(index))));
        }
    }
    Ok(links)
}

/// What links to the entry become.
fn link(step: &Step, id: &str, version: Option<i64>, base: &str) -> Option<(String, Linked)> {
    let (full_url, (resource_type, resource)) = (step.full_url.as_ref()?, step.resource()?);
    let target = format!("{resource_type}/{id}");
    // A fullUrl that says already where the resource is needs no replacement.
    if *full_url == target || *full_url == format!("{base}/{target}") {
        return None;
    }
    let stated = resource.at(&["meta", "versionId"]).and_then(Json::as_str).map(str::to_owned);
    Some((full_url.clone(), Linked { target, stated, version }))
}

/// The version that an entry leaves, where it is known before the entry is carried out.
fn version(step: &Step, settled: &Settled, found: &Found) -> Option<i64> {
    match settled {
        Settled::New | Settled::SameAs(_) | Settled::Update(_, Origin::Fresh) => Some(1),
        Settled::Existing(id) => {
            found.get(step.lock_key())?.iter().find(|stored| stored.id == *id).map(|stored| stored.version)
        }
        Settled::Update(..) | Settled::Patch(_) | Settled::Delete(_) | Settled::Nothing => None,
    }
}

/// Links as far as they lead to ids that criteria can name: not to those that the server is about to give.
fn links_before(
    steps: &[Step],
    settled: &[Option<Settled>],
    references: &[(String, Criteria)],
    found: &Found,
    base: &str,
) -> Links {
    let entries = steps.iter().zip(settled).filter_map(|(step, one)| match one.as_ref()? {
        Settled::Existing(id) | Settled::Update(id, _) | Settled::Patch(id) => link(step, id, None, base),
        _ => None,
    });
    let criteria = references.iter().filter_map(|(text, criteria)| match found.get(criteria.lock_key())?.as_slice() {
        [only] => Some((text.clone(), format!("{}/{}", only.resource_type, only.id))),
        _ => None,
    });
    Links { entries: entries.collect(), criteria: criteria.collect() }
}

/// What a conditional reference points at after the transaction: what is stored and stays as it is, and what the
/// transaction writes.
fn referred<'a>(
    writes: &mut Writes<'a>,
    settled: &[Settled],
    written: &HashSet<(&str, &str)>,
    (text, criteria): (&str, &'a Criteria),
    found: &Found,
) -> Result<String, Error> {
    let query = criteria.query();
    let resource_type = query.resource_type.as_str();
    let looked_into: Vec<&str> = query.filters.iter().flat_map(types_looked_into).collect();
    if !looked_into.is_empty() {
        // What such criteria find among resources that are still to be written is known to no index.
        let is_concerned = |(name, _): &&(&str, &str)| *name == resource_type || looked_into.contains(name);
        if let Some((name, id)) = written.iter().find(is_concerned) {
            let text = format!(
                "the conditional reference {text} looks into other resources, and the transaction itself writes {name}/{id}: \
                 name what is meant without a chain, _has, :above or :below"
            );
            return Err(Error::bad_request(Issue::error(IssueCode::NotSupported, text)));
        }
    }
    let stored = found.get(criteria.lock_key()).into_iter().flatten();
    let stored = stored.map(|stored| stored.id.as_str()).filter(|id| !written.contains(&(resource_type, id)));
    let satisfying = writes.satisfying(criteria);
    let new = writes.ids(&satisfying, settled);
    let mut targets = stored.chain(new);
    let failed = |code, how: &str| {
        Error::precondition_failed(Issue::error(code, format!("the conditional reference {text} matches {how}")))
    };
    match (targets.next(), targets.next()) {
        (Some(id), None) => Ok(format!("{resource_type}/{id}")),
        (None, _) => Err(failed(IssueCode::NotFound, "nothing")),
        (Some(_), Some(_)) => Err(failed(IssueCode::MultipleMatches, "more than one resource")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::conditional::Preconditions;
    use fhir::object;

    fn step(full_url: Option<&str>, action: Action, fresh_id: &str) -> Step {
        let full_url = full_url.map(str::to_owned);
        let conditional_delete = ConditionalDelete::Single;
        Step { full_url, action, criteria: None, conditional_delete, patched: None, fresh_id: fresh_id.into() }
    }

    fn create(full_url: &str, fresh_id: &str) -> Step {
        let resource = object! { "resourceType": "Patient" };
        let action = Action::Create { resource_type: "Patient".into(), resource, if_none_exist: None };
        step(Some(full_url), action, fresh_id)
    }

    fn update(full_url: &str, id: &str) -> Step {
        let resource = object! { "resourceType": "Patient", "id": id };
        let aim = Aim::Id(id.into());
        let preconditions = Preconditions::default();
        let action = Action::Update { resource_type: "Patient".into(), aim, resource, preconditions };
        step(Some(full_url), action, "unused")
    }

    fn delete(id: &str) -> Step {
        let preconditions = Preconditions::default();
        let aim = Aim::Id(id.into());
        step(None, Action::Delete { resource_type: "Patient".into(), aim, preconditions }, "unused")
    }

    fn resolved(steps: &[Step]) -> Result<Resolution, Error> {
        resolve(steps, &[], &Found::new(), "http://s/fhir")
    }

    #[test]
    fn full_urls_point_at_new_places() {
        let steps = [create("urn:uuid:1", "a"), update("urn:uuid:2", "b"), update("http://s/fhir/Patient/c", "c")];
        let links = resolved(&steps).unwrap().links.entries;
        assert_eq!(links.len(), 2);
        let target = |full_url: &str| links[full_url].target.clone();
        assert_eq!((target("urn:uuid:1"), target("urn:uuid:2")), ("Patient/a".to_owned(), "Patient/b".to_owned()));
    }

    #[test]
    fn overlapping_identities_are_refused() {
        for steps in [[update("urn:uuid:1", "a"), update("urn:uuid:2", "a")], [delete("a"), update("urn:uuid:1", "a")]]
        {
            let error = resolved(&steps).unwrap_err();
            assert_eq!(error.status(), 400);
            assert_eq!(error.issues()[0].expression, ["Bundle.entry[1]"]);
        }
    }

    #[test]
    fn a_full_url_stands_once() {
        assert_eq!(resolved(&[create("urn:uuid:1", "a"), create("urn:uuid:1", "b")]).unwrap_err().status(), 400);
    }
}
