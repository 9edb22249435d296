//! String values. <https://hl7.org/fhir/R4/search.html#string>

use super::escape::{alternatives, unescape};
use super::refusal::Refusal;
use crate::fold::fold;
use crate::query::{Match, StringMode};

/// Most letters of one value, folded: the engines compare no pattern of more than 50,000 bytes. (IN-17)
const MAX_LETTERS: usize = 10_000;

/// The alternatives of a string parameter.
pub(super) fn matches(name: &str, value: &str, mode: StringMode) -> Result<Vec<Match>, Refusal> {
    let texts = alternatives(name, value)?.into_iter().map(|alternative| {
        let written = unescape(name, alternative)?;
        let folded = fold(&written);
        if folded.chars().count() > MAX_LETTERS {
            return Err(Refusal::too_costly(format!("{name}: a value of more than {MAX_LETTERS} letters")));
        }
        let text = if mode == StringMode::Exact { written } else { folded };
        if text.is_empty() {
            return Err(Refusal::invalid(format!("{name}: {alternative:?} has no letters to compare")));
        }
        Ok(Match::String { mode, text })
    });
    texts.collect()
}
