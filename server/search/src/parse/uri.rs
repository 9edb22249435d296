//! Uri values: compared as written. <https://hl7.org/fhir/R4/search.html#uri>

use super::escape::{alternatives, unescape};
use super::refusal::Refusal;
use crate::query::Match;

/// The alternatives of a uri parameter.
pub(super) fn matches(name: &str, value: &str) -> Result<Vec<Match>, Refusal> {
    alternatives(name, value)?.into_iter().map(|alternative| unescape(name, alternative).map(Match::Uri)).collect()
}
