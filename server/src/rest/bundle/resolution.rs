//! Which resource each entry of a transaction is about, once criteria have been asked: pure, so that it can be done
//! before the transaction and be checked inside. <https://hl7.org/fhir/R4/http.html#trules>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use search::filter;
use search::query::Filter;
use store::Stored;

use super::entry::{Action, Aim};
use super::links::{Links, conditional_references};
use crate::config::ConditionalDelete;
use crate::error::Error;
use crate::rest::conditional::{Criteria, single};
use crate::rest::update::{Origin, aimed};
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
    pub(super) several: ConditionalDelete,
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

/// What criteria matched, by [`Criteria::claim`].
pub(super) type Found = HashMap<String, Vec<Stored>>;

/// Which resource an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// GET.
    Nothing,
    /// Is created under the fresh id.
    New,
    /// `ifNoneExist` found this one.
    Existing(String),
    /// `ifNoneExist` is that of this earlier entry, which creates the resource.
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
    let mut settled: Vec<Settled> = Vec::with_capacity(steps.len());
    let mut creating: HashMap<&str, usize> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        let one = settle(step, found, creating.get(step.claim()).copied());
        let one = one.map_err(|error| error.within(&place(index)))?;
        if one == Settled::New && step.criteria.is_some() {
            creating.insert(step.claim(), index);
        }
        settled.push(one);
    }
    let identities = identities(steps, &settled)?;
    let mut links = Links { entries: entry_links(steps, &settled, base)?, ..Links::default() };
    for (text, criteria) in references {
        let target = referred(steps, &settled, &identities, (text, criteria), found, base);
        let target = target
            .map_err(|error| first_with(steps, text).map_or(error.clone(), |index| error.within(&place(index))))?;
        links.criteria.insert(text.clone(), target);
    }
    Ok(Resolution { settled, links })
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
    /// The name of its criteria.
    pub(super) fn claim(&self) -> &str {
        self.criteria.as_ref().map_or("", Criteria::claim)
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

fn settle(step: &Step, found: &Found, creating: Option<usize>) -> Result<Settled, Error> {
    let matched = || found.get(step.claim()).cloned().map_or(Ok(None), single);
    match &step.action {
        Action::Get { .. } => Ok(Settled::Nothing),
        Action::Delete { aim: Aim::Id(id), .. } => Ok(Settled::Delete(vec![id.clone()])),
        Action::Delete { aim: Aim::Criteria(_), .. } => {
            let all = found.get(step.claim()).cloned().unwrap_or_default();
            let chosen = delete::chosen(all, step.several)?;
            Ok(Settled::Delete(chosen.into_iter().map(|stored| stored.id).collect()))
        }
        Action::Patch { aim: Aim::Id(id), .. } => Ok(Settled::Patch(id.clone())),
        Action::Patch { aim, resource_type, .. } => {
            patch::living(matched()?, resource_type, aim.borrowed()).map(|stored| Settled::Patch(stored.id))
        }
        Action::Create { .. } if step.criteria.is_none() => Ok(Settled::New),
        Action::Create { .. } => Ok(match (matched()?, creating) {
            (Some(existing), _) => Settled::Existing(existing.id),
            (None, Some(earlier)) => Settled::SameAs(earlier),
            (None, None) => Settled::New,
        }),
        Action::Update { aim: Aim::Id(id), .. } => Ok(Settled::Update(id.clone(), Origin::Known)),
        Action::Update { aim: Aim::Criteria(_), resource_type, resource, .. } => {
            let existing = matched()?.map(|stored| stored.id);
            let (id, origin) = aimed(resource_type, existing.as_deref(), resource.str("id"), &step.fresh_id)?;
            Ok(Settled::Update(id.to_owned(), origin))
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

fn entry_links(steps: &[Step], settled: &[Settled], base: &str) -> Result<HashMap<String, String>, Error> {
    let mut links: HashMap<String, String> = HashMap::new();
    for (index, (step, one)) in steps.iter().zip(settled).enumerate() {
        let (Some(full_url), Some((resource_type, _))) = (&step.full_url, step.resource()) else { continue };
        let id = match one {
            Settled::SameAs(earlier) => steps[*earlier].fresh_id.as_str(),
            other => step.id(other),
        };
        let target = format!("{resource_type}/{id}");
        // A fullUrl that says already where the resource is needs no replacement.
        if *full_url == format!("{base}/{target}") || full_url.ends_with(&format!("/{target}")) {
            continue;
        }
        if links.insert(full_url.clone(), target).is_some() {
            let text = format!("fullUrl {full_url} stands at more than one entry");
            return Err(Error::bad_request(Issue::error(IssueCode::Duplicate, text).at(place(index))));
        }
    }
    Ok(links)
}

/// What a conditional reference points at after the transaction: what is stored and stays as it is, and what the
/// transaction writes.
fn referred(
    steps: &[Step],
    settled: &[Settled],
    written: &HashSet<(&str, &str)>,
    (text, criteria): (&str, &Criteria),
    found: &Found,
    base: &str,
) -> Result<String, Error> {
    let query = criteria.query();
    let resource_type = query.resource_type.as_str();
    let looked_into: Vec<&str> = query.filters.iter().flat_map(Filter::types_looked_into).collect();
    if !looked_into.is_empty() {
        // What such criteria find among resources that are still to be written is known to no index.
        let is_concerned = |(name, _): &&(&str, &str)| *name == resource_type || looked_into.contains(name);
        if let Some((name, id)) = written.iter().find(is_concerned) {
            let text = format!(
                "the conditional reference {text} looks into other resources, and the transaction itself writes {name}/{id}: \
                 name what is meant without a chain or _has"
            );
            return Err(Error::bad_request(Issue::error(IssueCode::NotSupported, text)));
        }
    }
    let stored = found.get(criteria.claim()).into_iter().flatten();
    let stored = stored.map(|stored| stored.id.as_str()).filter(|id| !written.contains(&(resource_type, id)));
    let new = steps.iter().zip(settled).filter_map(|(step, settled)| {
        let writes = matches!(settled, Settled::New | Settled::Update(..) | Settled::Patch(_));
        let (of, resource) = step.resource().filter(|_| writes)?;
        let holds = of == resource_type && query.filters.iter().all(|filter| filter::matches(filter, resource, base));
        holds.then(|| step.id(settled))
    });
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
        let several = ConditionalDelete::Single;
        Step { full_url, action, criteria: None, several, patched: None, fresh_id: fresh_id.into() }
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
        assert_eq!((links["urn:uuid:1"].as_str(), links["urn:uuid:2"].as_str()), ("Patient/a", "Patient/b"));
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
