//! Enumerations of HealthKit: `mappings/healthkit-category-values.csv`.

use std::sync::OnceLock;

use fhir::json::Json;

use crate::bundle::Source;
use crate::reading::{Component, Concept, Value};
use crate::table::{Row, Table};

/// A value of an enumeration as `CodeableConcept`, and whether it is known.
pub(super) fn concept(enumeration: &str, value: &str, source: &Source<'_>) -> (Json, bool) {
    let row = rows(enumeration).find(|row| row.get("raw_value") == value || row.get("symbol") == value);
    let mut coding = fhir::json::Object::new();
    coding.insert("system", source.code_system(enumeration));
    coding.insert("code", row.map_or(value, |row| row.get("raw_value")));
    if let Some(row) = row {
        coding.insert("display", row.get("display"));
    }
    (fhir::object! { "coding": fhir::array![Json::from(coding)] }, row.is_some())
}

/// The raw number of a value that may be written as a symbol.
pub(super) fn raw<'a>(enumeration: &str, value: &'a str) -> &'a str {
    let row = rows(enumeration).find(|row| row.get("symbol") == value);
    row.map_or(value, |row| row.get("raw_value"))
}

/// Whether there is an enumeration of this name.
pub(super) fn is_known(enumeration: &str) -> bool {
    rows(enumeration).next().is_some()
}

/// The metadata of a sample whose values are codes.
pub(super) fn metadata(json: Option<&Json>, source: &Source<'_>) -> Vec<Component> {
    let members = json.and_then(Json::as_object).into_iter().flat_map(fhir::json::Object::iter);
    let mut components = Vec::new();
    for (key, value) in members {
        let enumeration = match key.strip_prefix("HK") {
            Some(_) if key.starts_with("HKMetadataKey") => key.to_owned(),
            Some(rest) => format!("HKMetadataKey{rest}"),
            None => continue,
        };
        let Some(value) = value.as_str().or(value.as_number()).filter(|_| is_known(&enumeration)) else { continue };
        let coding = fhir::object! { "system": source.code_system("metadata-key"), "code": key };
        components.push(Component {
            concept: Concept { codings: vec![coding], text: None },
            value: Value::Concept(concept(&enumeration, value, source).0),
            in_range: None,
        });
    }
    components
}

fn rows(enumeration: &str) -> impl Iterator<Item = Row<'static>> + use<> {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(|| Table::embedded(include_str!("../../mappings/healthkit-category-values.csv")));
    let wanted = enumeration.to_owned();
    table.rows().filter(move |row| row.get("enum") == wanted)
}
