//! Tokens of data types. <https://hl7.org/fhir/R4/search.html#token>
//!
//! | data type | system | code |
//! |---|---|---|
//! | `Coding` | system | code |
//! | `CodeableConcept` | each coding's | each coding's |
//! | `Identifier` | system | value |
//! | `ContactPoint` | system (phone, email, …) | value |
//! | boolean, code, id, uri, string and other primitives | none | the value |

use fhir::json::Json;

use crate::entry::{IndexValue, identifier_type};

pub(super) fn values(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    match type_name {
        "CodeableConcept" => values.extend(json.list("coding").iter().filter_map(|coding| pair(coding, "code"))),
        "Coding" => values.extend(pair(json, "code")),
        "Identifier" | "ContactPoint" => values.extend(pair(json, "value")),
        _ => values.extend(plain(json)),
    }
}

/// "If the underlying data type is string then the search is not case sensitive."
pub(super) fn without_case(value: &mut IndexValue) {
    if let IndexValue::Token { code, .. } = value {
        *code = code.to_lowercase();
    }
}

/// `:of-type`: the value of an identifier under each coding of its type.
pub(super) fn of_type(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    let Some(value) = json.str("value").filter(|value| type_name == "Identifier" && !value.is_empty()) else { return };
    let codings = json.get("type").map_or(&[][..], |concept| concept.list("coding"));
    values.extend(codings.iter().filter_map(|coding| {
        let code = coding.str("code").filter(|code| !code.is_empty())?;
        let system = identifier_type(coding.str("system").unwrap_or_default(), code);
        Some(IndexValue::Token { system, code: value.to_owned() })
    }));
}

/// `:identifier`: the identifier by which a reference names its target.
pub(super) fn identifier(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    if type_name == "Reference" {
        values.extend(json.get("identifier").and_then(|identifier| pair(identifier, "value")));
    }
}

fn pair(json: &Json, code: &str) -> Option<IndexValue> {
    let system = json.str("system").unwrap_or_default();
    let code = json.str(code).unwrap_or_default();
    (!system.is_empty() || !code.is_empty())
        .then(|| IndexValue::Token { system: system.to_owned(), code: code.to_owned() })
}

fn plain(json: &Json) -> Option<IndexValue> {
    let code = match json {
        Json::Bool(value) => value.to_string(),
        Json::String(text) if !text.is_empty() => text.to_string(),
        Json::Number(text) => text.to_string(),
        _ => return None,
    };
    Some(IndexValue::Token { system: String::new(), code })
}
