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

/// Family names from each of their later words on: `van den berg` is also found as `den berg` and `berg`.
pub(super) fn parts(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    let names = if type_name == "HumanName" { json.list("family") } else { std::slice::from_ref(json) };
    for name in names.iter().filter_map(Json::as_str).map(fold) {
        values.extend(name.match_indices(' ').map(|(at, _)| IndexValue::Part(name[at + 1..].to_owned())));
    }
}

pub(super) fn text(json: &Json) -> Option<IndexValue> {
    let exact = json.as_str().filter(|it| !it.is_empty())?;
    Some(IndexValue::String { folded: fold(exact), exact: exact.to_owned() })
}
