//! Whether a resource satisfies a filter, found by looking at the resource alone, without any index.
//!
//! The oracle is made of this, and granular scopes check what is about to be written with it (SM-24). It shares the
//! parameter definitions with [`extract`](crate::extract), nothing else: data types are read by [`values`] anew.

use std::cmp::Ordering;

use fhir::date::DateTime;
use fhir::decimal::Decimal;
use fhir::json::Json;

use crate::entry::Target;
use crate::query::{DateMatch, Filter, Match, NumberMatch, Param, Prefix, StringMode, UnitMatch};
use crate::registry::registry;
use values::Value;

pub(crate) mod values;

/// Whether `resource` satisfies `filter`; `_lastUpdated` looks at `meta.lastUpdated`. References below `base` are this
/// server's. A parameter that the type does not have (or has by another definition) is never satisfied, not even
/// negated.
pub fn matches(filter: &Filter, resource: &Json, base: &str) -> bool {
    let last_updated = resource.at(&["meta", "lastUpdated"]).and_then(Json::as_str).and_then(DateTime::parse);
    matches_at(filter, resource, base, last_updated.map(|instant| instant.interval().0))
}

/// As [`matches()`], for a resource that was last updated at the given microsecond.
pub(crate) fn matches_at(filter: &Filter, resource: &Json, base: &str, last_updated: Option<i64>) -> bool {
    match filter {
        Filter::Id(ids) => resource.str("id").is_some_and(|id| ids.iter().any(|it| it == id)),
        Filter::LastUpdated(dates) => {
            last_updated.is_some_and(|instant| dates.iter().any(|date| compare_dates(date, instant, instant)))
        }
        Filter::Missing { param, missing } => {
            select(param, resource, base).is_some_and(|values| values.is_empty() == *missing)
        }
        Filter::Any { param, matches, negated } => select(param, resource, base).is_some_and(|values| {
            let any = values.iter().any(|value| matches.iter().any(|wanted| satisfies(value, wanted)));
            any != *negated
        }),
        _ => false,
    }
}

/// The values of a parameter in a resource; None if the type has no such parameter.
pub(crate) fn select(param: &Param, resource: &Json, base: &str) -> Option<Vec<Value>> {
    let resource_type = resource.str("resourceType")?;
    let registry = registry();
    let parameter = registry.find(resource_type, &param.code).filter(|it| it.aspect_id(param.aspect) == param.id)?;
    let elements = parameter.select_plainly(resource).ok()?;
    Some(elements.iter().flat_map(|it| values::of(param.kind, &it.type_name, &it.json, base)).collect())
}

fn satisfies(value: &Value, wanted: &Match) -> bool {
    match (wanted, value) {
        (Match::Token { system, code }, Value::Token(has_system, has_code)) => {
            system.as_ref().is_none_or(|it| it == has_system) && code.as_ref().is_none_or(|it| it == has_code)
        }
        (Match::String { mode, text }, Value::Text(has)) => match mode {
            StringMode::Exact => has == text,
            StringMode::StartsWith => crate::fold::fold(has).starts_with(text.as_str()),
            StringMode::Contains => crate::fold::fold(has).contains(text.as_str()),
        },
        (Match::Date(date), Value::Interval(low, high)) => compare_dates(date, *low, *high),
        (Match::Number(number), Value::Number(has)) => compare_numbers(number, has),
        (Match::Quantity { number, unit }, Value::Amount { value, system, code, unit: written }) => {
            let right_unit = match unit {
                None => true,
                Some(UnitMatch::Coded { system: wanted, code: wanted_code }) => wanted == system && wanted_code == code,
                Some(UnitMatch::Named(name)) => name == code || name == written,
                Some(UnitMatch::Canonical(unit)) => unit == code,
            };
            right_unit && compare_numbers(number, value)
        }
        (Match::Reference(Target::Local { resource_type, id }), Value::Local(has_type, has_id)) => {
            resource_type == has_type && id == has_id
        }
        (Match::Reference(Target::Url(url)), Value::Url(has)) | (Match::Uri(url), Value::Uri(has)) => url == has,
        _ => false,
    }
}

/// `low..=high` is what the resource has.
fn compare_dates(wanted: &DateMatch, low: i64, high: i64) -> bool {
    let contained = wanted.low <= low && high <= wanted.high;
    match wanted.prefix {
        Prefix::Eq => contained,
        Prefix::Ne => !contained,
        Prefix::Gt => high > wanted.high,
        Prefix::Lt => low < wanted.low,
        Prefix::Ge => high >= wanted.low,
        Prefix::Le => low <= wanted.high,
        Prefix::Sa => low > wanted.high,
        Prefix::Eb => high < wanted.low,
        Prefix::Ap => low <= wanted.high && high >= wanted.low,
    }
}

fn compare_numbers(wanted: &NumberMatch, has: &Decimal) -> bool {
    let order = has.cmp(&wanted.value);
    let inside = *has >= wanted.low && *has < wanted.high;
    match wanted.prefix {
        Prefix::Eq => inside,
        Prefix::Ne => !inside,
        Prefix::Gt | Prefix::Sa => order == Ordering::Greater,
        Prefix::Lt | Prefix::Eb => order == Ordering::Less,
        Prefix::Ge => order != Ordering::Less,
        Prefix::Le => order != Ordering::Greater,
        Prefix::Ap => *has >= wanted.low && *has <= wanted.high,
    }
}
