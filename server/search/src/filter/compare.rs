//! One value against one alternative. <https://hl7.org/fhir/R4/search.html#prefix>

use fhir::decimal::Decimal;

use super::values::{Bounds, Value};
use crate::entry::Target;
use crate::fold::fold;
use crate::query::{DateMatch, Direction, Match, NumberMatch, Order, Prefix, StringMode, UnitMatch};

/// Whether the value is what is wanted, as far as no other resource is concerned.
pub(super) fn satisfies(value: &Value, wanted: &Match) -> bool {
    match (wanted, value) {
        (Match::Token { system, code }, Value::Token(has_system, has_code)) => {
            system.as_ref().is_none_or(|it| it == has_system) && code.as_ref().is_none_or(|it| it == has_code)
        }
        (Match::AnyCase { system, code }, Value::Token(has_system, has_code)) => {
            let is_same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
            is_same(code, has_code) && system.as_ref().is_none_or(|it| is_same(it, has_system))
        }
        (Match::String { mode, text }, Value::Text(has)) => match mode {
            StringMode::Exact => has == text,
            StringMode::StartsWith => fold(has).starts_with(text.as_str()),
            StringMode::Contains => fold(has).contains(text.as_str()),
            StringMode::Equals => fold(has) == *text,
            StringMode::EndsWith => fold(has).ends_with(text.as_str()),
            StringMode::Initial(order) => initials(*order, &fold(has), text),
        },
        (Match::String { mode: StringMode::StartsWith, text }, Value::Part(has)) => {
            fold(has).starts_with(text.as_str())
        }
        (Match::Date(date), Value::Interval(low, high)) => dates(date, *low, *high),
        (Match::Period { low, high }, Value::Interval(first, last)) => first <= low && last >= high,
        (Match::Number(number), Value::Number(has)) => numbers(number, has),
        (Match::Imprecise(number), Value::Number((least, greatest))) => {
            least.as_ref().is_none_or(|it| it.implicit_range().0 <= *number)
                && greatest.as_ref().is_none_or(|it| *number < it.implicit_range().1)
        }
        (Match::Quantity { number, unit }, Value::Amount { value, system, code, unit: written }) => {
            let right_unit = match unit {
                None => true,
                Some(UnitMatch::Coded { system: wanted, code: wanted_code }) => wanted == system && wanted_code == code,
                Some(UnitMatch::OfSystem(wanted)) => wanted == system,
                Some(UnitMatch::Named(name)) => name == code || name == written,
                Some(UnitMatch::Canonical(unit)) => unit == code,
            };
            right_unit && numbers(number, value)
        }
        (Match::Reference(Target::Local { resource_type, id }), Value::Local(has_type, has_id)) => {
            resource_type == has_type && id == has_id
        }
        (Match::Reference(Target::Url(url)), Value::Url(has)) | (Match::Uri(url), Value::Uri(has)) => url == has,
        (Match::UriHierarchy { uri, direction }, Value::Uri(has)) => match direction {
            Direction::Below => is_below(uri, has),
            Direction::Above => is_below(has, uri),
        },
        (Match::MediaType(wanted), Value::Token(_, code)) => {
            let bare = code.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            bare == *wanted || bare.split_once('/').is_some_and(|(kind, _)| kind == wanted)
        }
        (Match::Terminology(_), _) => {
            debug_assert!(false, "codes of terminologies are listed before anybody asks");
            false
        }
        _ => false,
    }
}

/// "Based on Integer comparison of Unicode code points of starting character": <https://hl7.org/fhir/R4/search_filter.html#ops>
fn initials(order: Order, has: &str, asked: &str) -> bool {
    let number = |text: &str| text.chars().next().map(u32::from);
    number(has).zip(number(asked)).is_some_and(|(has, asked)| match order {
        Order::After => has > asked,
        Order::From => has >= asked,
        Order::Before => has < asked,
        Order::UpTo => has <= asked,
    })
}

/// Whether the path of `lower` begins with all segments of `upper`. URNs have no path: they are below themselves only.
/// <https://hl7.org/fhir/R4/search.html#uri>
fn is_below(upper: &str, lower: &str) -> bool {
    let is_urn = |uri: &str| uri.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn:"));
    if upper == lower || is_urn(upper) || is_urn(lower) {
        return upper == lower;
    }
    lower.strip_prefix(upper).is_some_and(|rest| upper.ends_with('/') || rest.starts_with('/'))
}

/// `low..=high` is what the resource has.
pub(super) fn dates(wanted: &DateMatch, low: i64, high: i64) -> bool {
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

/// From the first to the second bound is what the resource has.
fn numbers(wanted: &NumberMatch, (least, greatest): &Bounds) -> bool {
    // Beyond an end that is not known there is always more.
    let above = |test: &dyn Fn(&Decimal) -> bool| greatest.as_ref().is_none_or(test);
    let below = |test: &dyn Fn(&Decimal) -> bool| least.as_ref().is_none_or(test);
    let begins = |test: &dyn Fn(&Decimal) -> bool| least.as_ref().is_some_and(test);
    let ends = |test: &dyn Fn(&Decimal) -> bool| greatest.as_ref().is_some_and(test);
    let contained = begins(&|it| *it >= wanted.low) && ends(&|it| *it < wanted.high);
    match wanted.prefix {
        Prefix::Eq => contained,
        Prefix::Ne => !contained,
        Prefix::Gt => above(&|it| *it > wanted.value),
        Prefix::Lt => below(&|it| *it < wanted.value),
        Prefix::Ge => above(&|it| *it >= wanted.value),
        Prefix::Le => below(&|it| *it <= wanted.value),
        Prefix::Sa => begins(&|it| *it > wanted.value),
        Prefix::Eb => ends(&|it| *it < wanted.value),
        Prefix::Ap => below(&|it| *it <= wanted.high) && above(&|it| *it >= wanted.low),
    }
}
