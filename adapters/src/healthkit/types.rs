//! What each HealthKit identifier becomes: `mappings/healthkit.csv`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use fhir::json::Json;

use crate::table::{Row, Table};

/// System of Apple's own codes.
pub(super) const APPLE: &str = "http://developer.apple.com/documentation/healthkit";

/// One HealthKit identifier.
#[derive(Clone, Debug, Default)]
pub(super) struct Type {
    /// Such as `HKQuantityTypeIdentifierHeartRate`.
    pub(super) identifier: String,
    /// `quantity`, `category`, `workout`, …
    pub(super) kind: String,
    /// Codings, and when each holds.
    codings: Vec<(When, Json)>,
    /// Name for people.
    pub(super) text: String,
    /// Unit for people, and its UCUM code.
    pub(super) unit: String,
    /// UCUM code of the canonical unit.
    pub(super) ucum: String,
    /// Category code.
    pub(super) category: String,
    /// Name of the R4 base profile.
    pub(super) profile: Option<String>,
    /// Whether HealthKit has it as a fraction of one where the unit is percent.
    pub(super) fraction: bool,
    /// The enumeration that its values are of.
    pub(super) values: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    Mass,
    Moles,
    Meter,
}

impl Type {
    /// The codings that hold for a value in a unit, measured with a known device or not.
    pub(super) fn codings(&self, ucum: Option<&str>, metered: bool) -> Vec<Json> {
        let moles = ucum.is_some_and(|ucum| ucum.contains("mol"));
        let holds = |when: When| match when {
            When::Always => true,
            When::Mass => ucum.is_some() && !moles,
            When::Moles => moles,
            When::Meter => metered,
        };
        self.codings.iter().filter(|(when, _)| holds(*when)).map(|(_, coding)| coding.clone()).collect()
    }
}

/// The type of an identifier.
pub(super) fn find(identifier: &str) -> Option<&'static Type> {
    let identifier = match identifier {
        "HKDataTypeIdentifierElectrocardiogram" | "HKElectrocardiogram" => "HKElectrocardiogramType",
        "HKDataTypeIdentifierStateOfMind" | "HKStateOfMind" => "HKDataTypeStateOfMind",
        "HKWorkoutType" | "HKWorkout" => "HKWorkoutTypeIdentifier",
        other => other,
    };
    all().get(identifier)
}

/// All types by identifier.
pub(super) fn all() -> &'static BTreeMap<String, Type> {
    static TYPES: OnceLock<BTreeMap<String, Type>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let table = Table::embedded(include_str!("../../mappings/healthkit.csv"));
        let mut types: BTreeMap<String, Type> = BTreeMap::new();
        for row in table.rows() {
            let entry = types.entry(row.get("identifier").to_owned()).or_default();
            read(row, entry);
        }
        types
    })
}

/// Joins a row to its type: some identifiers have several.
fn read(row: Row<'_>, entry: &mut Type) {
    let notes = Notes(row.get("notes"));
    if entry.identifier.is_empty() {
        row.get("identifier").clone_into(&mut entry.identifier);
        row.get("kind").clone_into(&mut entry.kind);
        row.get("unit").clone_into(&mut entry.unit);
        row.get("ucum_code").clone_into(&mut entry.ucum);
        row.get("category").clone_into(&mut entry.category);
        entry.fraction = row.get("notes").contains("scale=x100");
        notes.get("value_type").split(' ').next().unwrap_or_default().clone_into(&mut entry.values);
        row.get("display").clone_into(&mut entry.text);
    }
    let profile = notes.get("profile").strip_prefix("http://hl7.org/fhir/StructureDefinition/");
    if let Some(profile) = profile.filter(|_| entry.profile.is_none()) {
        entry.profile = Some(profile.to_owned());
    }
    let (system, code, display) = (row.get("system"), row.get("code"), row.get("display"));
    let role = notes.get("role");
    let is_source = system == APPLE && !role.starts_with("component");
    let holds = match role {
        _ if role.starts_with("primary when unit is mg/dL") => Some(When::Mass),
        _ if role.starts_with("primary when unit is mmol/L") => Some(When::Moles),
        _ if role.starts_with("primary when a peak flow meter") => Some(When::Meter),
        _ if role.starts_with("primary") || role.starts_with("additional") || role.starts_with("source") => {
            Some(When::Always)
        }
        // A panel of food is what such a correlation is, whatever else is configured.
        _ if entry.identifier == "HKCorrelationTypeIdentifierFood" => Some(When::Always),
        _ if is_source => Some(When::Always),
        _ => None,
    };
    if let Some(when) = holds.filter(|_| !code.is_empty()) {
        let coding = fhir::object! { "system": system, "code": code, "display": display };
        entry.codings.push((when, coding));
    }
    if is_source {
        display.clone_into(&mut entry.text);
    }
}

/// `name=value` pairs, separated by semicolons.
struct Notes<'a>(&'a str);

impl<'a> Notes<'a> {
    fn get(&self, name: &str) -> &'a str {
        let found = self.0.split(';').filter_map(|note| note.trim().split_once('=')).find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_identifiers_are_known_with_what_they_become() {
        assert_eq!(all().len(), 215);
        let count = |kind| all().values().filter(|it| it.kind == kind).count();
        assert_eq!((count("quantity"), count("category"), count("clinical")), (120, 69, 9));
        for it in all().values().filter(|it| matches!(it.kind.as_str(), "quantity" | "category")) {
            assert!(!it.codings(Some("mg/dL"), true).is_empty(), "{}", it.identifier);
            assert!(!it.text.is_empty() && !it.category.is_empty(), "{}", it.identifier);
        }
    }

    #[test]
    fn every_canonical_unit_is_ucum() {
        for it in all().values().filter(|it| !it.ucum.is_empty()) {
            assert!(fhir::ucum::validate(&it.ucum).is_ok(), "{} {}", it.identifier, it.ucum);
        }
    }

    #[test]
    fn every_category_has_its_enumeration() {
        for it in all().values().filter(|it| it.kind == "category") {
            assert!(super::super::values::is_known(&it.values), "{} {}", it.identifier, it.values);
        }
    }
}
