//! String values. <https://hl7.org/fhir/R4/search.html#string>

use super::escape::{alternatives, unescape};
use super::refusal::Refusal;
use crate::fold::fold;
use crate::query::{Match, StringMode};

/// The alternatives of a string parameter.
pub(super) fn matches(name: &str, value: &str, mode: StringMode) -> Result<Vec<Match>, Refusal> {
    let texts = alternatives(name, value)?.into_iter().map(|alternative| {
        let written = unescape(name, alternative)?;
        let text = if mode == StringMode::Exact { written } else { fold(&written) };
        if text.is_empty() {
            return Err(Refusal::invalid(format!("{name}: {alternative:?} has no letters to compare")));
        }
        Ok(Match::String { mode, text })
    });
    texts.collect()
}
