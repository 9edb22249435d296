//! Quantity values: `number`, `number|system|code`, `number||code`, `number|code`, `number|system|`.
//! <https://hl7.org/fhir/R4/search.html#quantity>
//!
//! "The system and code follow the same pattern as token parameters": so `number|system|` is any unit of the system. The
//! index has units, but not of which system they are, so that the resources themselves are looked at.
//!
//! A UCUM unit is compared in canonical units, so that other units of the same dimension are found. `number||code` and
//! `number|code` mean the unit as coded or as written for people, or, if it is a UCUM unit, the canonical one.

use fhir::decimal::Decimal;
use fhir::ucum;

use super::escape::{alternatives, parts, unescape};
use super::number;
use super::refusal::Refusal;
use crate::query::{Aspect, Filter, Match, NumberMatch, UnitMatch};
use crate::registry::Parameter;

/// The condition of a quantity parameter.
pub(super) fn filter(parameter: &Parameter, value: &str) -> Result<Filter, Refusal> {
    Ok(any(parameter, &matches(&parameter.code, value)?))
}

/// One condition for each aspect that occurs, and one for what no index helps with.
fn any(parameter: &Parameter, found: &[(Aspect, Match)]) -> Filter {
    let of = |aspect: Aspect, exact: bool| {
        let found = found.iter().filter(|it| it.0 == aspect && is_exact(&it.1) == exact);
        let matches: Vec<Match> = found.map(|it| it.1.clone()).collect();
        let param = parameter.aspect(aspect).filter(|_| !matches.is_empty())?;
        let filter = Filter::Any { param, matches, negated: false };
        Some(if exact { Filter::Exact(Box::new(filter)) } else { filter })
    };
    let filters = [(Aspect::Value, false), (Aspect::Canonical, false), (Aspect::Value, true)];
    let mut filters: Vec<Filter> = filters.into_iter().filter_map(|(aspect, exact)| of(aspect, exact)).collect();
    if filters.len() == 1 { filters.remove(0) } else { Filter::Or(filters) }
}

/// Whether it is about the system of a unit alone, which no index has.
pub(super) fn is_exact(wanted: &Match) -> bool {
    matches!(wanted, Match::Quantity { unit: Some(UnitMatch::OfSystem(_)), .. })
}

/// The alternatives, each with the aspect that it looks at.
pub(super) fn matches(name: &str, value: &str) -> Result<Vec<(Aspect, Match)>, Refusal> {
    let mut found = Vec::new();
    for alternative in alternatives(name, value)? {
        found.extend(one(name, alternative)?);
    }
    Ok(found)
}

fn one(name: &str, value: &str) -> Result<Vec<(Aspect, Match)>, Refusal> {
    let parts = parts(value).into_iter().map(|part| unescape(name, part)).collect::<Result<Vec<_>, _>>()?;
    let (number, system, code) = match parts.as_slice() {
        [number] => {
            let number = number::one(name, number)?;
            return Ok(vec![(Aspect::Value, Match::Quantity { number, unit: None })]);
        }
        [number, code] if !code.is_empty() => (number, "", code),
        [number, system, code] if !code.is_empty() => (number, system.as_str(), code),
        [number, system, _] if !system.is_empty() => {
            let (number, unit) = (number::one(name, number)?, Some(UnitMatch::OfSystem(system.clone())));
            return Ok(vec![(Aspect::Value, Match::Quantity { number, unit })]);
        }
        _ => {
            return Err(Refusal::invalid(format!(
                "{name}: {value:?} is not a quantity: write number, number|system|code, number|system|, number||code or \
                 number|code"
            )));
        }
    };
    let number = number::one(name, number)?;
    let canonical = if system.is_empty() || system == ucum::SYSTEM { canonical(&number, code) } else { None };
    let (system, code) = (system.to_owned(), code.clone());
    let plain = |unit| (Aspect::Value, Match::Quantity { number: number.clone(), unit: Some(unit) });
    Ok(match canonical {
        Some(canonical) if system == ucum::SYSTEM => vec![(Aspect::Canonical, canonical)],
        None if !system.is_empty() => vec![plain(UnitMatch::Coded { system, code })],
        canonical => {
            let named = plain(UnitMatch::Named(code));
            std::iter::once(named).chain(canonical.map(|it| (Aspect::Canonical, it))).collect()
        }
    })
}

/// The same question in canonical units; None if the unit is not of UCUM, or turns the order of numbers around, as pH
/// does.
fn canonical(number: &NumberMatch, code: &str) -> Option<Match> {
    let convert = |value: &Decimal| ucum::canonical(value, code).ok();
    let (value, low, high) = (convert(&number.value)?, convert(&number.low)?, convert(&number.high)?);
    if low.value > high.value {
        return None;
    }
    let unit = Some(UnitMatch::Canonical(value.code));
    let number = NumberMatch { prefix: number.prefix, value: value.value, low: low.value, high: high.value };
    Some(Match::Quantity { number, unit })
}
