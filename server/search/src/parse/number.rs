//! Number values. <https://hl7.org/fhir/R4/search.html#number>

use fhir::decimal::Decimal;

use super::escape::{alternatives, unescape};
use super::prefix;
use super::refusal::Refusal;
use crate::query::{Match, NumberMatch, Prefix};

/// The alternatives of a number parameter.
pub(super) fn matches(name: &str, value: &str) -> Result<Vec<Match>, Refusal> {
    let numbers = alternatives(name, value)?.into_iter().map(|it| one(name, &unescape(name, it)?).map(Match::Number));
    numbers.collect()
}

/// A number with prefix.
pub(super) fn one(name: &str, text: &str) -> Result<NumberMatch, Refusal> {
    let (prefix, rest) = prefix::split(name, text)?;
    let Some(value) = Decimal::parse(rest) else {
        return Err(Refusal::invalid(format!("{name}: {rest:?} is not a number such as 100, -0.5 or 1e3")));
    };
    let (low, high) = if prefix == Prefix::Ap { value.widened() } else { value.implicit_range() };
    Ok(NumberMatch { prefix, value, low, high })
}
