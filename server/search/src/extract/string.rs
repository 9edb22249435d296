//! Texts of data types: `HumanName` and `Address` give each of their parts. <https://hl7.org/fhir/R4/search.html#string>

use fhir::json::Json;

use crate::entry::IndexValue;
use crate::fold::fold;

/// Parts of a name that searches look into.
const NAME: &[&str] = &["text", "family", "given", "prefix", "suffix"];
/// Parts of an address that searches look into.
const ADDRESS: &[&str] = &["text", "line", "city", "district", "state", "postalCode", "country"];

pub(super) fn values(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    let parts = match type_name {
        "HumanName" => NAME,
        "Address" => ADDRESS,
        _ => {
            values.extend(text(json));
            return;
        }
    };
    values.extend(parts.iter().flat_map(|part| json.list(part)).filter_map(text));
}

pub(super) fn text(json: &Json) -> Option<IndexValue> {
    let exact = json.as_str().filter(|it| !it.is_empty())?;
    Some(IndexValue::String { folded: fold(exact), exact: exact.to_owned() })
}
