//! Composite values: components between `$`. <https://hl7.org/fhir/R4/search.html#combining>

use super::escape::{alternatives, components, unescape};
use super::place::Place;
use super::refusal::Refusal;
use super::{MAX_ALTERNATIVES, date, number, quantity, reference, string, token, uri};
use crate::query::{Aspect, Filter, Match, ParamKind, StringMode};
use crate::registry::{Component, Parameter};

/// One alternative: a match for each component, and whether its quantities are in canonical units.
type Alternative = (Aspect, Vec<Match>);

/// The condition of a composite parameter.
pub(super) fn filter(place: Place<'_>, parameter: &Parameter, value: &str) -> Result<Filter, Refusal> {
    let name = &parameter.code;
    let (mut plain, mut canonical, mut exact) = (Vec::new(), Vec::new(), Vec::new());
    for alternative in alternatives(name, value)? {
        for (aspect, matches) in one(place, parameter, alternative)? {
            if matches.iter().any(quantity::is_exact) {
                exact.push(matches);
            } else if aspect == Aspect::Canonical {
                canonical.push(matches);
            } else {
                plain.push(matches);
            }
        }
    }
    if plain.len() + canonical.len() + exact.len() > MAX_ALTERNATIVES {
        return Err(Refusal::too_costly(format!("{name}: more than {MAX_ALTERNATIVES} alternatives")));
    }
    let filters = [(Aspect::Value, plain), (Aspect::Canonical, canonical)];
    let filters = filters.into_iter().filter(|(_, alternatives)| !alternatives.is_empty());
    let of = |aspect, alternatives| Some(Filter::Composite { param: parameter.aspect(aspect)?, alternatives });
    let mut filters: Vec<Filter> = filters.filter_map(|(aspect, alternatives)| of(aspect, alternatives)).collect();
    if !exact.is_empty() {
        filters.extend(of(Aspect::Value, exact).map(|filter| Filter::Exact(Box::new(filter))));
    }
    Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::Or(filters) })
}

fn one(place: Place<'_>, parameter: &Parameter, value: &str) -> Result<Vec<Alternative>, Refusal> {
    let name = &parameter.code;
    let written = components(value);
    let codes = || parameter.components.iter().map(|it| it.code.as_str()).collect::<Vec<_>>().join("$");
    if written.len() != parameter.components.len() {
        return Err(Refusal::invalid(format!(
            "{name}: {value:?} has {} components, not {}: write {}; a $ in a value is written \\$",
            written.len(),
            parameter.components.len(),
            codes()
        )));
    }
    let mut found: Vec<Alternative> = vec![(Aspect::Value, Vec::new())];
    for (component, text) in parameter.components.iter().zip(written) {
        if text.is_empty() {
            return Err(Refusal::invalid(format!("{name}: {value:?} leaves {} empty", component.code)));
        }
        let label = format!("{name} ({})", component.code);
        let matches = component_matches(place, (parameter, component), &label, text)?;
        found = found
            .iter()
            .flat_map(|(before, list)| {
                matches.iter().map(move |(aspect, it)| {
                    let both = if *aspect == Aspect::Canonical { *aspect } else { *before };
                    (both, list.iter().chain([it]).cloned().collect())
                })
            })
            .collect();
        if found.len() > MAX_ALTERNATIVES {
            return Err(Refusal::too_costly(format!("{name}: more than {MAX_ALTERNATIVES} alternatives")));
        }
    }
    Ok(found)
}

fn component_matches(
    place: Place<'_>,
    (parameter, component): (&Parameter, &Component),
    name: &str,
    text: &str,
) -> Result<Vec<(Aspect, Match)>, Refusal> {
    let plain = |matches: Vec<Match>| matches.into_iter().map(|it| (Aspect::Value, it)).collect();
    Ok(match component.kind {
        ParamKind::Token => plain(token::of_component(parameter, component, name, text)?),
        ParamKind::String => plain(string::matches(name, text, StringMode::StartsWith)?),
        ParamKind::Date => plain(date::matches(name, text, place.options.now)?.into_iter().map(Match::Date).collect()),
        ParamKind::Number => plain(number::matches(name, text)?),
        ParamKind::Quantity => quantity::matches(name, text)?,
        ParamKind::Uri => plain(uri::matches(name, text)?),
        ParamKind::Reference => {
            let targets = reference::targets(name, &component.targets, None, &unescape(name, text)?, place.options)?;
            plain(targets.into_iter().map(Match::Reference).collect())
        }
        ParamKind::Composite => {
            return Err(Refusal::not_supported(format!("{name}: a composite in a composite cannot be written")));
        }
    })
}
