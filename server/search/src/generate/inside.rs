//! Searches of contained resources, and through them. <https://hl7.org/fhir/R4/search.html#contained>

use super::known::{Searched, Types};
use super::random::SplitMix64;
use super::{Generated, form, link, paging, pair};
use crate::query::ParamKind;

/// One search for each type that is contained × parameter × prefix or modifier, and one chain into it.
pub(super) fn every(types: &Types<'_>, random: &mut SplitMix64) -> Vec<Generated> {
    let mut all = Vec::new();
    for searched in &types.contained {
        for known in &searched.parameters {
            for form in form::forms(known) {
                let mut pairs = vec![form::condition(types, known, form, None, random)];
                pairs.extend(asked(random));
                all.push(searched.search(pairs));
            }
        }
        for container in &types.list {
            for known in container.references() {
                if !link::leads(known) || !known.parameter.targets.contains(&searched.name) {
                    continue;
                }
                let Some(inner) = searched.pick(None, random) else { continue };
                let (name, value) = form::any(types, inner, None, random);
                all.push(container.search(vec![pair(&format!("{}:{}.{name}", known.code(), searched.name), value)]));
            }
        }
    }
    all
}

/// Up to three conditions on one that is contained.
pub(super) fn any(types: &Types<'_>, random: &mut SplitMix64) -> Option<Generated> {
    let searched = random.pick(&types.contained)?;
    let witness = searched.witness(random);
    let mut pairs = Vec::new();
    for _ in 0..random.below(4) {
        pairs.push(match random.below(8) {
            0 => id(searched, random),
            1 if searched
                .references()
                .any(|known| known.kind == ParamKind::Reference && link::leads_anywhere(known)) =>
            {
                link::chain(types, searched, (witness, 2), random).unwrap_or_else(|| id(searched, random))
            }
            _ => form::any(types, searched.pick(witness, random)?, witness, random),
        });
    }
    pairs.extend(asked(random));
    pairs.extend(paging(random));
    Some(searched.search(pairs))
}

fn id(searched: &Searched, random: &mut SplitMix64) -> (String, String) {
    pair("_id", random.pick(&searched.ids).cloned().unwrap_or_else(|| "none".to_owned()))
}

/// `_contained`, perhaps with `_containedType`.
fn asked(random: &mut SplitMix64) -> Vec<(String, String)> {
    let which = if random.one_in(3) { "both" } else { "true" };
    let form = random.pick(&["", "container", "contained", "contained"]).copied().unwrap_or_default();
    let mut pairs = vec![pair("_contained", which.to_owned())];
    if !form.is_empty() {
        pairs.push(pair("_containedType", form.to_owned()));
    }
    pairs
}
