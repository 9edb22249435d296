//! Date values. <https://hl7.org/fhir/R4/search.html#date>

use fhir::date::DateTime;

use super::escape::{alternatives, unescape};
use super::prefix;
use super::refusal::Refusal;
use crate::query::{DateMatch, Prefix};

/// The alternatives of a date parameter.
pub(super) fn matches(name: &str, value: &str, now: i64) -> Result<Vec<DateMatch>, Refusal> {
    alternatives(name, value)?.into_iter().map(|alternative| one(name, alternative, now)).collect()
}

/// One date with prefix, escapes still in it.
pub(super) fn one(name: &str, value: &str, now: i64) -> Result<DateMatch, Refusal> {
    let text = unescape(name, value)?;
    let (prefix, rest) = prefix::split(name, &text)?;
    let Some(date) = DateTime::parse(rest) else {
        let hint = if rest.contains(' ') { "; a + in a URL must be written %2B" } else { "" };
        return Err(Refusal::invalid(format!(
            "{name}: {rest:?} is not a date: write yyyy, yyyy-mm, yyyy-mm-dd or yyyy-mm-ddThh:mm[:ss[.f]][Z|±hh:mm]{hint}"
        )));
    };
    let (low, high) = date.interval();
    if prefix != Prefix::Ap {
        return Ok(DateMatch { prefix, low, high });
    }
    let margin = distance(now, low, high) / 10;
    Ok(DateMatch { prefix, low: low.saturating_sub(margin), high: high.saturating_add(margin) })
}

/// How far `instant` is from an interval.
fn distance(instant: i64, low: i64, high: i64) -> i64 {
    if instant < low {
        low.saturating_sub(instant)
    } else if instant > high {
        instant.saturating_sub(high)
    } else {
        0
    }
}
