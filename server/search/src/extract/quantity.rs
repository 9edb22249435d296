//! Quantities of data types. <https://hl7.org/fhir/R4/search.html#quantity>
//!
//! `Quantity` and its specialisations as they are, `Money` with the currency as a code of ISO 4217, `Range` by both
//! ends. `SampledData` gives nothing: the points of a series are no value of the element.

use fhir::decimal::Decimal;
use fhir::json::Json;

use super::number::decimal;
use crate::entry::IndexValue;

/// System of units that can be converted into each other.
const UCUM: &str = "http://unitsofmeasure.org";

/// System of currency codes.
const CURRENCIES: &str = "urn:iso:std:iso:4217";

pub(super) fn values(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    match type_name {
        "Money" => values.extend(money(json)),
        "Range" => values.extend(["low", "high"].into_iter().filter_map(|end| quantity(json.get(end)?))),
        "SampledData" => {}
        _ => values.extend(quantity(json)),
    }
}

/// The same quantity in canonical units, as value and unit, if its unit is one of UCUM.
pub(super) fn canonical(value: &IndexValue) -> Option<(Decimal, String)> {
    let IndexValue::Quantity { value, system, code, .. } = value else { return None };
    if system != UCUM {
        return None;
    }
    let canonical = fhir::ucum::canonical(value, code).ok()?;
    Some((canonical.value, canonical.code))
}

/// A quantity in canonical units as an entry of its own.
pub(super) fn canonical_entry(value: &IndexValue) -> Option<IndexValue> {
    let (value, code) = canonical(value)?;
    Some(IndexValue::Quantity { value, system: UCUM.to_owned(), code, unit: String::new() })
}

fn quantity(json: &Json) -> Option<IndexValue> {
    let text = |name: &str| json.str(name).unwrap_or_default().to_owned();
    let value = decimal(json.get("value")?)?;
    Some(IndexValue::Quantity { value, system: text("system"), code: text("code"), unit: text("unit") })
}

fn money(json: &Json) -> Option<IndexValue> {
    let value = decimal(json.get("value")?)?;
    let code = json.str("currency").unwrap_or_default().to_owned();
    let system = if code.is_empty() { String::new() } else { CURRENCIES.to_owned() };
    Some(IndexValue::Quantity { value, system, code, unit: String::new() })
}
