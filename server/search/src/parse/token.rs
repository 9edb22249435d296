//! Token values: `code`, `system|code`, `|code`, `system|`. <https://hl7.org/fhir/R4/search.html#token>

use fhir::id;

use super::escape::{alternatives, parts, unescape};
use super::refusal::Refusal;
use crate::query::{Filter, Match};

/// The alternatives of a token parameter.
pub(super) fn matches(name: &str, value: &str) -> Result<Vec<Match>, Refusal> {
    alternatives(name, value)?.into_iter().map(|alternative| one(name, alternative)).collect()
}

/// `_id`: logical ids.
pub(super) fn ids(value: &str) -> Result<Filter, Refusal> {
    let ids = alternatives("_id", value)?.into_iter().map(|alternative| {
        let id = unescape("_id", alternative)?;
        if id::is_valid(&id) {
            Ok(id)
        } else {
            Err(Refusal::invalid(format!("_id: {id:?} is not a logical id: 1 to 64 of A-Z, a-z, 0-9, - and .")))
        }
    });
    Ok(Filter::Id(ids.collect::<Result<_, _>>()?))
}

fn one(name: &str, value: &str) -> Result<Match, Refusal> {
    let filled = |text: String| Some(text).filter(|it| !it.is_empty());
    match parts(value).as_slice() {
        [code] => Ok(Match::Token { system: None, code: Some(unescape(name, code)?) }),
        [system, code] if !(system.is_empty() && code.is_empty()) => {
            Ok(Match::Token { system: Some(unescape(name, system)?), code: filled(unescape(name, code)?) })
        }
        _ => Err(Refusal::invalid(format!(
            "{name}: {value:?} is not a token: write code, system|code, |code or system|, and \\| for | itself"
        ))),
    }
}
