//! Which resource each entry of a transaction is about, once criteria have been asked: pure, so that it can be done
//! before the transaction and be checked inside. <https://hl7.org/fhir/R4/http.html#trules>

use std::collections::{HashMap, HashSet};

use fhir::outcome::{Issue, IssueCode};
use search::filter;
use store::Stored;

use super::entry::{Action, Aim};
use super::links::{Links, conditional_references};
use crate::error::Error;
use crate::rest::conditional::{Criteria, single};
use crate::rest::update::{Origin, aimed};

/// An entry with all that is known before criteria are asked.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// `fullUrl`.
    pub(super) full_url: Option<String>,
    /// What is to be done.
    pub(super) action: Action,
    /// `ifNoneExist`, or the criteria of a conditional update.
    pub(super) criteria: Option<Criteria>,
    /// The id that the resource gets where nothing else gives it one.
    pub(super) fresh_id: String,
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
    /// Is deleted.
    Delete(String),
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
        if let Some((_, resource)) = step.action.resource() {
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
    fn claim(&self) -> &str {
        self.criteria.as_ref().map_or("", Criteria::claim)
    }

    /// The id under which the resource is or will be.
    pub(super) fn id<'a>(&'a self, settled: &'a Settled) -> &'a str {
        match settled {
            Settled::Existing(id) | Settled::Update(id, _) | Settled::Delete(id) => id,
            Settled::New | Settled::SameAs(_) | Settled::Nothing => &self.fresh_id,
        }
    }
}

fn settle(step: &Step, found: &Found, creating: Option<usize>) -> Result<Settled, Error> {
    let matched = || found.get(step.claim()).cloned().map_or(Ok(None), single);
    match &step.action {
        Action::Get { .. } => Ok(Settled::Nothing),
        Action::Delete { id, .. } => Ok(Settled::Delete(id.clone())),
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
        let resource_type = match (&step.action, settled) {
            (_, Settled::Nothing | Settled::Existing(_) | Settled::SameAs(_)) => continue,
            (Action::Delete { resource_type, .. }, _) => resource_type,
            (action, _) => action.resource().map_or("", |(resource_type, _)| resource_type),
        };
        let id = step.id(settled);
        if !identities.insert((resource_type, id)) {
            let text = format!("{resource_type}/{id} is written by more than one entry of the transaction");
            return Err(Error::bad_request(Issue::error(IssueCode::Duplicate, text).at(place(index))));
        }
    }
    Ok(identities)
}

fn entry_links(steps: &[Step], settled: &[Settled], base: &str) -> Result<HashMap<String, String>, Error> {
    let mut links: HashMap<String, String> = HashMap::new();
    for (index, (step, one)) in steps.iter().zip(settled).enumerate() {
        let (Some(full_url), Some((resource_type, _))) = (&step.full_url, step.action.resource()) else { continue };
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
    let stored = found.get(criteria.claim()).into_iter().flatten();
    let stored = stored.map(|stored| stored.id.as_str()).filter(|id| !written.contains(&(resource_type, id)));
    let new = steps.iter().zip(settled).filter_map(|(step, settled)| {
        let (of, resource) =
            step.action.resource().filter(|_| matches!(settled, Settled::New | Settled::Update(..)))?;
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

    fn create(full_url: &str, fresh_id: &str) -> Step {
        let resource = object! { "resourceType": "Patient" };
        let action = Action::Create { resource_type: "Patient".into(), resource, if_none_exist: None };
        Step { full_url: Some(full_url.into()), action, criteria: None, fresh_id: fresh_id.into() }
    }

    fn update(full_url: &str, id: &str) -> Step {
        let resource = object! { "resourceType": "Patient", "id": id };
        let aim = Aim::Id(id.into());
        let preconditions = Preconditions::default();
        let action = Action::Update { resource_type: "Patient".into(), aim, resource, preconditions };
        Step { full_url: Some(full_url.into()), action, criteria: None, fresh_id: "unused".into() }
    }

    fn delete(id: &str) -> Step {
        let preconditions = Preconditions::default();
        let action = Action::Delete { resource_type: "Patient".into(), id: id.into(), preconditions };
        Step { full_url: None, action, criteria: None, fresh_id: "unused".into() }
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
