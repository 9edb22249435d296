//! Intervals of data types. <https://hl7.org/fhir/R4/search.html#date>
//!
//! A `Timing` counts by its outer limits only: from the first of its events and bounds to the last.

use fhir::date::DateTime;
use fhir::json::Json;

use crate::entry::IndexValue;

pub(super) fn value(type_name: &str, json: &Json) -> Option<IndexValue> {
    let (low, high) = match type_name {
        "Period" => period(json),
        "Timing" => timing(json),
        _ => instant(json),
    }?;
    Some(IndexValue::Date { low, high })
}

fn instant(json: &Json) -> Option<(i64, i64)> {
    json.as_str().and_then(DateTime::parse).map(|date| date.interval())
}

fn period(json: &Json) -> Option<(i64, i64)> {
    let start = json.get("start").and_then(instant);
    let end = json.get("end").and_then(instant);
    (start.is_some() || end.is_some())
        .then(|| (start.map_or(i64::MIN, |(low, _)| low), end.map_or(i64::MAX, |(_, high)| high)))
}

fn timing(json: &Json) -> Option<(i64, i64)> {
    let events = json.list("event").iter().filter_map(instant);
    let bounds = json.get("repeat").and_then(|repeat| repeat.get("boundsPeriod")).and_then(period);
    events.chain(bounds).reduce(|outer, inner| (outer.0.min(inner.0), outer.1.max(inner.1)))
}
