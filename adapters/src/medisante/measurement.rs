//! Applies `medisante-measurements.csv`: which measure becomes which Observation.

use std::sync::OnceLock;

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::ecg;
use super::message::{Measure, Message};
use crate::bundle::Source;
use crate::reading::{Component, Concept, Quantity, Reading, Value};
use crate::table::{self, Row, Table};
use crate::warning;

/// The readings of a message in the order of the table; an error is a reason to publish nothing.
pub(super) fn readings(
    message: &Message<'_>,
    source: &Source<'_>,
    issues: &mut Vec<Issue>,
) -> Result<Vec<Reading>, Vec<Issue>> {
    let rows: Vec<Row<'_>> =
        measurements().rows().filter(|row| same(row.get("measurementType"), message.measurement_type)).collect();
    if rows.is_empty() {
        let text = format!("Measurement type {} has no mapping yet; raw data kept", message.measurement_type);
        return Err(vec![warning(IssueCode::NotSupported, text, "metadata.measurementType")]);
    }
    let mut readings = Vec::new();
    readings.extend(panel(&rows, message, source, issues));
    let mut done = Vec::new();
    for row in rows.iter().filter(|row| row.get("role") == "observation") {
        let key = row.get("key");
        if done.contains(&key) {
            continue;
        }
        done.push(key);
        if let Some(measure) = find(message, key) {
            readings.push(single(&rows, measure, source, issues));
        }
    }
    readings.extend(ecg::waveform(message, &rows, source, issues));
    for measure in &message.measures {
        if !rows.iter().any(|row| same(row.get("key"), measure.key)) {
            readings.push(unknown(measure, source, issues));
        }
    }
    if let Some(first) = readings.first_mut() {
        let remarks = message.annotations.iter().map(|(key, value)| remark(key, value, source));
        first.components.extend(remarks);
    }
    Ok(readings)
}

/// Whether the values of an annotation are yes and no.
pub(super) fn is_boolean_annotation(key: &str) -> bool {
    annotations().rows().any(|row| row.get("key") == key && row.get("kind") == "boolean")
}

/// What a row of the table means: its codes and its name.
pub(super) fn concept(row: Row<'_>, source: &Source<'_>) -> Concept {
    let codings = row.get("codes").split(';').map(str::trim).filter(|code| !code.is_empty());
    let codings = codings.map(|code| match code.split_once(' ') {
        Some(("LOINC", code)) => table::coding("http://loinc.org", code),
        Some(("MDC", code)) => table::coding("urn:iso:std:iso:11073:10101", code),
        Some((_, display)) => vendor_coding(row.get("key"), Some(display), "measurement", source),
        None => vendor_coding(row.get("key"), None, "measurement", source),
    });
    Concept { codings: codings.collect(), text: Some(row.get("text").to_owned()) }
}

/// A code of the vendor's own.
pub(super) fn vendor_coding(code: &str, display: Option<&str>, system: &str, source: &Source<'_>) -> Json {
    let mut coding = Object::new();
    coding.insert("system", source.code_system(system));
    coding.insert("code", code);
    if let Some(display) = display.filter(|display| !display.is_empty()) {
        coding.insert("display", display);
    }
    coding.into()
}

/// The row of `key` for a unit, and whether the unit is known there.
pub(super) fn row_for<'a>(rows: &[Row<'a>], key: &str, unit: &str) -> Option<(Row<'a>, bool)> {
    let of_key = || rows.iter().filter(|row| same(row.get("key"), key));
    let known = of_key().find(|row| {
        !row.get("unit").is_empty() && (table::same_unit(row.get("unit"), unit) || row.get("ucum") == unit)
    });
    let fallback = || of_key().find(|row| row.get("unit").is_empty()).or_else(|| of_key().next());
    known.map(|row| (*row, true)).or_else(|| fallback().map(|row| (*row, false)))
}

/// Blood pressure: several numbers that only mean something together.
fn panel(rows: &[Row<'_>], message: &Message<'_>, source: &Source<'_>, issues: &mut Vec<Issue>) -> Option<Reading> {
    let head = rows.iter().find(|row| row.get("role") == "panel")?;
    let parts: Vec<_> = rows.iter().filter(|row| matches!(row.get("role"), "required" | "component")).collect();
    if !parts.iter().any(|row| find(message, row.get("key")).is_some()) {
        return None;
    }
    let mut components = Vec::new();
    let mut profile = Some(head.get("profile").to_owned());
    for row in parts {
        let key = row.get("key");
        match find(message, key) {
            Some(measure) => {
                let (quantity, _) = quantity(rows, measure, issues);
                if quantity.ucum.is_none() {
                    profile = None;
                }
                components.push(Component {
                    concept: concept(*row, source),
                    value: Value::Quantity(quantity),
                    in_range: measure.in_range,
                });
            }
            None if row.get("role") == "required" => {
                let text = format!("{} was not measured; the rest of the panel is kept", row.get("text"));
                issues.push(warning(IssueCode::Incomplete, text, &format!("measurements.{key}")));
                components.push(Component { concept: concept(*row, source), value: Value::Unknown, in_range: None });
            }
            None => {}
        }
    }
    Some(Reading {
        suffix: head.get("suffix").to_owned(),
        category: head.get("category").to_owned(),
        profile,
        concept: concept(*head, source),
        components,
        ..Reading::default()
    })
}

fn single(rows: &[Row<'_>], measure: &Measure<'_>, source: &Source<'_>, issues: &mut Vec<Issue>) -> Reading {
    let (quantity, row) = quantity(rows, measure, issues);
    let row = row.expect("the caller found the key in the table");
    let known = quantity.ucum.is_some();
    Reading {
        suffix: row.get("suffix").to_owned(),
        category: row.get("category").to_owned(),
        profile: Some(row.get("profile").to_owned()).filter(|profile| known && !profile.is_empty()),
        concept: concept(row, source),
        value: Some(Value::Quantity(quantity)),
        in_range: measure.in_range,
        ..Reading::default()
    }
}

/// A measure that the table does not know is published under the vendor's own code: nothing is lost, nothing is guessed.
fn unknown(measure: &Measure<'_>, source: &Source<'_>, issues: &mut Vec<Issue>) -> Reading {
    let path = format!("measurements.{}", measure.key);
    let text = format!("{} has no mapping; published under the vendor's code only", measure.key);
    issues.push(warning(IssueCode::NotSupported, text, &path));
    Reading {
        suffix: kebab(measure.key),
        category: "exam".to_owned(),
        concept: Concept {
            codings: vec![vendor_coding(measure.key, None, "measurement", source)],
            text: Some(measure.key.to_owned()),
        },
        value: Some(Value::Quantity(Quantity {
            value: measure.value.into(),
            unit: measure.unit.to_owned(),
            ucum: None,
        })),
        in_range: measure.in_range,
        ..Reading::default()
    }
}

fn quantity<'a>(rows: &[Row<'a>], measure: &Measure<'_>, issues: &mut Vec<Issue>) -> (Quantity, Option<Row<'a>>) {
    let found = row_for(rows, measure.key, measure.unit);
    let ucum = found.filter(|(_, known)| *known).map(|(row, _)| row.get("ucum").to_owned());
    if ucum.is_none() {
        let text = format!("Unit \"{}\" of {} has no UCUM code here; kept as text", measure.unit, measure.key);
        issues.push(warning(IssueCode::CodeInvalid, text, &format!("measurements.{}.unit", measure.key)));
    }
    let quantity = Quantity { value: measure.value.into(), unit: measure.unit.to_owned(), ucum };
    (quantity, found.map(|(row, _)| row))
}

fn remark(key: &str, value: &Value, source: &Source<'_>) -> Component {
    let display = annotations().rows().find(|row| row.get("key") == key).map(|row| row.get("display"));
    Component {
        concept: Concept { codings: vec![vendor_coding(key, display, "annotation", source)], text: None },
        value: value.clone(),
        in_range: None,
    }
}

fn find<'m, 'a>(message: &'m Message<'a>, key: &str) -> Option<&'m Measure<'a>> {
    message.measures.iter().find(|measure| same(measure.key, key))
}

/// The vendor's capitals vary.
fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && out.ends_with(|last: char| last.is_ascii_lowercase()) {
            out.push('-');
        }
        out.push(if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' });
    }
    out
}

fn measurements() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::embedded(include_str!("../../mappings/medisante-measurements.csv")))
}

fn annotations() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::embedded(include_str!("../../mappings/medisante-annotations.csv")))
}
