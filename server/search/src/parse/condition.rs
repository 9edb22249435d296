//! One condition of a search: a name with what hangs on it, and a value.

use std::sync::Arc;

use super::chain::{self, Behind};
use super::escape::{alternatives, unescape};
use super::place::Place;
use super::refusal::{self, Refusal};
use super::{control, date, expression, modifier, near, token, words};
use crate::query::{Filter, Param, ParamKind};
use crate::registry::{Parameter, registry};

/// Conditions that every type has and that are no ordinary parameters.
pub(super) const SPECIAL: &[&str] = &["_id", "_lastUpdated", "_has", "_list", "_filter", "_text", "_content"];

/// The condition `name=value`.
pub(super) fn filter(place: Place<'_>, name: &str, value: &str) -> Result<Filter, Refusal> {
    if let Some(written) = name.strip_prefix("_has:") {
        return chain::has(place, written, value);
    }
    let (head, rest) = name.split_once('.').map_or((name, None), |(head, rest)| (head, Some(rest)));
    let (code, modifier) = head.split_once(':').map_or((head, None), |(code, modifier)| (code, Some(modifier)));
    if let Some(rest) = rest {
        let filters = |place: Place<'_>| Ok(vec![filter(place, rest, value)?]);
        return chain::forward(place, code, &Behind { only: modifier, next: rest, filters: &filters });
    }
    let filter = own(place, code, modifier, value)?;
    if code != "_filter" {
        place.spend(filter.size())?;
    }
    Ok(filter)
}

fn own(place: Place<'_>, code: &str, modifier: Option<&str>, value: &str) -> Result<Filter, Refusal> {
    if matches!(code, "_has" | "_list" | "_filter" | "_text" | "_content") {
        modifier::none(code, modifier)?;
    }
    match code {
        "_id" => match modifier {
            None => token::ids(value),
            Some("not") => Ok(Filter::Not(Box::new(token::ids(value)?))),
            Some("missing") => Ok(everything(!modifier::missing(code, value)?)),
            _ => modifier::none(code, modifier).and_then(|()| token::ids(value)),
        },
        "_lastUpdated" if modifier == Some("missing") => Ok(everything(!modifier::missing(code, value)?)),
        "_lastUpdated" => {
            modifier::none(code, modifier)?;
            Ok(Filter::LastUpdated(date::matches(code, value, place.options.now)?))
        }
        "_has" => Err(Refusal::invalid("_has: write _has:Type:reference:parameter=value".to_owned())),
        "_list" => list(value),
        "_filter" => expression::filter(place, value),
        "_text" | "_content" => words::filter(place.resource_type, code, value),
        "_query" => Err(Refusal::not_supported(format!("_query={value}: no named query is defined here")).firm()),
        _ if modifier.is_some() && control::is_control(code) => {
            modifier::none(code, modifier).map(|()| everything(true))
        }
        _ => {
            let parameter = find(place.resource_type, code)?;
            if parameter.kind == crate::registry::Kind::Special {
                return near::filter(&parameter, modifier, value);
            }
            modifier::filter(place, &parameter, modifier, value)
        }
    }
}

/// A condition that every resource satisfies, or none.
pub(super) fn everything(all: bool) -> Filter {
    if all { Filter::All(Vec::new()) } else { Filter::Or(Vec::new()) }
}

/// `_list`: what a List names. <https://hl7.org/fhir/R4/search.html#list>
pub(super) fn list(value: &str) -> Result<Filter, Refusal> {
    let mut ids = Vec::new();
    for alternative in alternatives("_list", value)? {
        let id = unescape("_list", alternative)?;
        let id = id.strip_prefix("List/").unwrap_or(&id);
        if id.starts_with('$') {
            return Err(Refusal::not_supported(format!("_list={id}: functional lists are not kept here; give an id")));
        }
        if !fhir::id::is_valid(id) {
            return Err(Refusal::invalid(format!("_list: {id:?} is not the logical id of a List")));
        }
        ids.push(id.to_owned());
    }
    let param: Param = chain::reference(&*find("List", "item")?)?;
    Ok(Filter::Has { source_type: "List".to_owned(), param, filters: vec![Filter::Id(ids)] })
}

/// The parameter of that name, or a refusal with the nearest names.
pub(super) fn find(resource_type: &str, code: &str) -> Result<Arc<Parameter>, Refusal> {
    let registry = registry();
    registry.find(resource_type, code).cloned().ok_or_else(|| {
        let known = registry.parameters(resource_type).map(|it| it.code.as_str());
        // What is asked for is no name of this type, though another may have it: `_text`.
        let special = SPECIAL.iter().copied().filter(|name| is_had(resource_type, name) && *name != code);
        let names = known.chain(control::NAMES.iter().copied()).chain(special);
        let nearest = refusal::nearest(code, names);
        Refusal::unknown(format!("{resource_type} has no search parameter {code:?}; the nearest are {nearest}"))
    })
}

/// Whether a type has one of the special names: those about words are defined on types, the others are ways to ask.
fn is_had(resource_type: &str, special: &str) -> bool {
    !matches!(special, "_text" | "_content") || registry().find(resource_type, special).is_some()
}

/// Of a parameter whose index is not complete the resources themselves are asked.
pub(super) fn exact_unless_indexed(parameter: &Parameter, filter: Filter) -> Filter {
    if parameter.is_indexed { filter } else { Filter::Exact(Box::new(filter)) }
}

/// The kind of index that a parameter has.
pub(super) fn kind(parameter: &Parameter) -> Option<ParamKind> {
    parameter.param().map(|param| param.kind)
}
