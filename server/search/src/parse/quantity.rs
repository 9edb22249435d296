//! Quantity values: `number`, `number|system|code`, `number||code`. <https://hl7.org/fhir/R4/search.html#quantity>

use super::escape::{alternatives, parts, unescape};
use super::number;
use super::refusal::Refusal;
use crate::query::{Match, UnitMatch};

/// The alternatives of a quantity parameter.
pub(super) fn matches(name: &str, value: &str) -> Result<Vec<Match>, Refusal> {
    alternatives(name, value)?.into_iter().map(|alternative| one(name, alternative)).collect()
}

fn one(name: &str, value: &str) -> Result<Match, Refusal> {
    let parts = parts(value).into_iter().map(|part| unescape(name, part)).collect::<Result<Vec<_>, _>>()?;
    let unit = match parts.as_slice() {
        [_] => None,
        [_, system, code] if system.is_empty() && !code.is_empty() => Some(UnitMatch::Named(code.clone())),
        [_, system, code] if !code.is_empty() => Some(UnitMatch::Coded { system: system.clone(), code: code.clone() }),
        _ => {
            return Err(Refusal::invalid(format!(
                "{name}: {value:?} is not a quantity: write number, number|system|code or number||code"
            )));
        }
    };
    Ok(Match::Quantity { number: number::one(name, &parts[0])?, unit })
}
