//! The criteria of a transaction: each is asked once, before the transaction and again inside.

use std::collections::{HashMap, HashSet};

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use store::{Store, Tx};

use super::entry::Action;
use super::links::conditional_references;
use super::resolution::{Found, Step, place};
use super::transaction::Plan;
use crate::error::Error;
use crate::rest::Context;
use crate::rest::conditional::Criteria;
use crate::rest::search::terminology::Lookup;

/// How many resources of a type the transaction may delete or change, so that what criteria found does not match after
/// it: that many more are asked for.
pub(super) type Room = HashMap<String, usize>;

/// Lets the criteria of the entries find what is left when the transaction is done.
pub(super) fn make_room(steps: &mut [Step]) -> Room {
    let mut room = Room::new();
    for step in &*steps {
        let most = match &step.action {
            Action::Delete { .. } => step.criteria.as_ref().map_or(1, |criteria| criteria.query().count),
            Action::Update { .. } | Action::Patch { .. } => 1,
            Action::Create { .. } | Action::Get { .. } | Action::Operation { .. } => continue,
        };
        *room.entry(step.action.resource_type().to_owned()).or_default() += most;
    }
    for step in steps {
        step.criteria = step.criteria.take().map(|criteria| with_room(criteria, &room));
    }
    room
}

fn with_room(criteria: Criteria, room: &Room) -> Criteria {
    let count = criteria.query().count;
    let more = room.get(&criteria.query().resource_type).copied().unwrap_or_default();
    criteria.up_to(count.max(2 + more))
}

/// The criteria that stand in references, by their text.
pub(super) async fn references(
    lookup: &mut Lookup<'_>,
    context: &Context,
    steps: &[Step],
    room: &Room,
) -> Result<Vec<(String, Criteria)>, Error> {
    let mut known = HashSet::new();
    let mut references = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Some((_, resource)) = step.resource() else { continue };
        let before = step.patched.as_ref().map(|patched| &*patched.before);
        let mut texts = Vec::new();
        conditional_references(resource, &mut |resource_type, text| texts.push((resource_type, text)));
        for (resource_type, text) in texts {
            // What a patch leaves alone is no link of this transaction.
            let stands = before.is_some_and(|before| before.contains(&Json::from(text).to_string()));
            if !stands && known.insert(text) {
                let criteria =
                    Criteria::of_reference(lookup, context, resource_type, &text[resource_type.len() + 1..]).await;
                let criteria = criteria.map_err(|error| error.within(&place(index)))?;
                references.push((text.to_owned(), with_room(criteria, room)));
            }
        }
    }
    Ok(references)
}

/// Refuses to write value sets and code systems beside what asks by them: what they list is looked up before the
/// transaction, and would be what they list no more.
pub(super) fn refuse_definitions(lookup: &Lookup<'_>, steps: &[Step]) -> Result<(), Error> {
    let writes = |step: &&Step| !matches!(step.action, Action::Get { .. } | Action::Operation { .. });
    let Some(index) = steps.iter().position(|step| writes(&step) && lookup.depends_on(step.action.resource_type()))
    else {
        return Ok(());
    };
    let text = format!(
        "the transaction asks by value sets or code systems (:in, :not-in, :above, :below), so it cannot write a {}: send \
         that before or after it",
        steps[index].action.resource_type()
    );
    Err(Error::bad_request(Issue::error(IssueCode::NotSupported, text).at(place(index))))
}

/// All criteria, each once and in an order that is the same for every transaction; of those that differ in how many
/// matches are wanted, the one that wants most.
fn each<'a>(steps: &'a [Step], references: &'a [(String, Criteria)]) -> Vec<&'a Criteria> {
    let of_steps = steps.iter().filter_map(|step| step.criteria.as_ref());
    let mut asked: Vec<&Criteria> = of_steps.chain(references.iter().map(|(_, criteria)| criteria)).collect();
    asked.sort_unstable_by(|one, other| {
        one.lock_key().cmp(other.lock_key()).then_with(|| other.query().count.cmp(&one.query().count))
    });
    asked.dedup_by_key(|criteria| criteria.lock_key());
    asked
}

/// Asks before the transaction, so that the costly work can be done then.
pub(super) async fn ask_before(
    store: &Store,
    context: &Context,
    (steps, references): (&[Step], &[(String, Criteria)]),
    found: &mut Found,
) -> Result<(), Error> {
    for criteria in each(steps, references) {
        if !found.contains_key(criteria.lock_key()) {
            let matches = criteria.matches_before(store, context).await?;
            found.insert(criteria.lock_key().to_owned(), matches);
        }
    }
    Ok(())
}

/// Asks all criteria in an order that is the same for every transaction, so that none waits for another crosswise.
pub(super) async fn ask(tx: &mut Tx, context: &Context, plans: &[&Plan]) -> Result<Found, Error> {
    let steps = plans.iter().flat_map(|plan| &plan.steps);
    let mut keys: Vec<&str> = steps.filter_map(|step| Some(step.criteria.as_ref()?.lock_key())).collect();
    keys.sort_unstable();
    keys.dedup();
    tx.lock_keys(&keys).await?;
    let mut found = Found::new();
    let asked: Vec<&Criteria> = plans.iter().flat_map(|plan| each(&plan.steps, &plan.references)).collect();
    let queries: Vec<_> = asked.iter().map(|criteria| criteria.query()).collect();
    let nothing = tx.find_nothing(&queries).await?;
    for (criteria, nothing) in asked.into_iter().zip(nothing) {
        let matches = if nothing { Vec::new() } else { criteria.matches(tx, context).await? };
        let known = found.entry(criteria.lock_key().to_owned()).or_default();
        // Plans that share criteria may want unequally many.
        if known.len() < matches.len() {
            *known = matches;
        }
    }
    Ok(found)
}

/// Whether the plan's criteria find now what they found before.
pub(super) fn is_as_before(plan: &Plan, now: &Found) -> bool {
    let versions = |found: &Found, key: &str| -> Vec<(String, i64)> {
        let matches = found.get(key).into_iter().flatten();
        matches.map(|stored| (stored.id.clone(), stored.version)).collect()
    };
    let asked = each(&plan.steps, &plan.references);
    asked.iter().all(|criteria| versions(now, criteria.lock_key()) == versions(&plan.found, criteria.lock_key()))
}
