//! Conditional writes that mean what another entry of the transaction writes. "If any resource identities (including
//! resolved identities from conditional update/delete) overlap in steps 1-3, then the transaction SHALL fail."
//! <https://hl7.org/fhir/R4/http.html#trules>
//!
//! The order of entries does not matter: criteria see what entries create that come later, too.

use std::collections::HashMap;

use fhir::outcome::{Issue, IssueCode};

use super::entry::Action;
use super::matching::Writes;
use super::resolution::{Settled, Step, place};
use crate::error::Error;
use crate::rest::update::Origin;

/// Settles the creates whose criteria match nothing that is stored and stays: where another entry creates what they
/// match, that is the one; else they create it.
pub(super) fn settle_creates<'a>(
    steps: &'a [Step],
    settled: &mut [Option<Settled>],
    writes: &mut Writes<'a>,
) -> Result<(), Error> {
    let open: Vec<usize> = (0..steps.len()).filter(|index| settled[*index].is_none()).collect();
    let may_create = |one: Option<&Settled>| one.is_none_or(|one| *one == Settled::New);
    let is_create = |index: usize| matches!(steps[index].action, Action::Create { .. });
    let mut met = Vec::with_capacity(open.len());
    for index in open {
        let Some(criteria) = &steps[index].criteria else { continue };
        let all = writes.satisfying(criteria);
        let others = all.iter().filter(|other| **other != index && is_create(**other));
        if others.clone().any(|other| may_create(settled[*other].as_ref())) {
            met.push((index, all));
        } else {
            settled[index] = Some(Settled::New);
        }
    }
    // Those that are left match each other, or what is new for certain by now.
    for (index, all) in met {
        let mut created = all.iter().filter(|other| is_create(**other) && settled[**other] == Some(Settled::New));
        settled[index] = Some(match (created.next(), created.next()) {
            (None, _) => Settled::New,
            (Some(other), None) => Settled::SameAs(*other),
            (Some(one), Some(other)) => {
                let text = format!(
                    "the criteria match more than one resource that the transaction creates: those of {} and {}",
                    place(*one),
                    place(*other)
                );
                let issue = Issue::error(IssueCode::MultipleMatches, text);
                return Err(Error::precondition_failed(issue).within(&place(index)));
            }
        });
    }
    Ok(())
}

/// Refuses updates and patches by criteria that match what another entry writes under an id of its own.
pub(super) fn refuse<'a>(steps: &'a [Step], settled: &[Settled], writes: &mut Writes<'a>) -> Result<(), Error> {
    let is_born = |one: &Settled| matches!(one, Settled::New | Settled::Update(_, Origin::Stated | Origin::Fresh));
    let mut births: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, step) in steps.iter().enumerate().filter(|(index, _)| is_born(&settled[*index])) {
        if step.criteria.is_some() {
            births.entry(step.lock_key()).or_default().push(index);
        }
    }
    for (index, step) in steps.iter().enumerate() {
        let Some(criteria) = &step.criteria else { continue };
        let has_found = match &settled[index] {
            Settled::Update(_, Origin::Known) | Settled::Patch(_) => true,
            Settled::Update(..) => false,
            _ => continue,
        };
        let is_other = |other: &&usize| {
            **other != index
                && match &settled[**other] {
                    Settled::New => true,
                    Settled::Update(..) | Settled::Patch(_) => !has_found,
                    _ => false,
                }
        };
        let satisfying = writes.satisfying(criteria);
        let alike = births.get(step.lock_key()).into_iter().flatten();
        if let Some(other) = satisfying.iter().chain(alike).find(is_other) {
            return Err(overlap(has_found, *other).within(&place(index)));
        }
    }
    Ok(())
}

fn overlap(has_found: bool, other: usize) -> Error {
    let other = place(other);
    if has_found {
        let text = format!("the criteria match what is stored and what {other} creates: more than one resource");
        return Error::precondition_failed(Issue::error(IssueCode::MultipleMatches, text));
    }
    let text =
        format!("the criteria mean what {other} writes: a resource is written by one entry of a transaction only");
    Error::bad_request(Issue::error(IssueCode::Duplicate, text))
}
