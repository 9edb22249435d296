//! Numbers of data types; a `Range` gives both its ends. <https://hl7.org/fhir/R4/search.html#number>

use fhir::decimal::Decimal;
use fhir::json::Json;

use crate::entry::IndexValue;

pub(super) fn values(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    let numbers = match type_name {
        "Range" => [json.at(&["low", "value"]), json.at(&["high", "value"])],
        _ => [Some(json), None],
    };
    values.extend(numbers.into_iter().flatten().filter_map(decimal).map(IndexValue::Number));
}

/// The number as written.
pub(super) fn decimal(json: &Json) -> Option<Decimal> {
    json.as_number().and_then(Decimal::parse)
}
