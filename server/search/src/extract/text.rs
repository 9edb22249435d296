//! Texts of codes and references, for `:text`. <https://hl7.org/fhir/R4/valueset-search-modifier-code.html>
//!
//! | data type | texts |
//! |---|---|
//! | `CodeableConcept` | text, display of each coding |
//! | `Coding` | display |
//! | `Identifier` | text of its type |
//! | `Reference` | display |

use fhir::json::Json;

use super::string::text;
use crate::entry::IndexValue;

pub(super) fn values(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    match type_name {
        "CodeableConcept" => {
            values.extend(json.get("text").and_then(text));
            values.extend(json.list("coding").iter().filter_map(|coding| text(coding.get("display")?)));
        }
        "Coding" | "Reference" => values.extend(json.get("display").and_then(text)),
        "Identifier" => values.extend(json.at(&["type", "text"]).and_then(text)),
        _ => {}
    }
}
