//! Numbers of data types; a `Range` is one value with two ends. <https://hl7.org/fhir/R4/search.html#number>

use fhir::decimal::Decimal;
use fhir::json::Json;

use crate::entry::{Extent, IndexValue};

pub(super) fn values(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    let end = |name: &str| json.at(&[name, "value"]).and_then(decimal);
    let extent = match type_name {
        "Range" => Extent::between(end("low"), end("high")),
        _ => decimal(json).map(Extent::Point),
    };
    values.extend(extent.map(IndexValue::Number));
}

/// The number as written.
pub(super) fn decimal(json: &Json) -> Option<Decimal> {
    json.as_number().and_then(Decimal::parse)
}
