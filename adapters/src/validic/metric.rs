//! Applies `validic-metrics.csv`: which metric becomes which Observation.

use std::sync::OnceLock;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::bundle::Source;
use crate::reading::{Component, Concept, Quantity, Reading, Value};
use crate::table::{self, Row, Table};
use crate::{error, warning};

/// The two metrics that are one measurement.
pub(super) const PRESSURES: [&str; 2] = ["systolic", "diastolic"];

/// One number of a record.
#[derive(Clone, Debug)]
pub(super) struct Metric<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// The number as written.
    pub(super) value: &'a str,
    /// The unit as written.
    pub(super) unit: &'a str,
    /// How it was taken, in words.
    pub(super) method: Option<&'static str>,
}

/// Reads the metrics of a record; one that is no number joins the issues.
pub(super) fn read<'a>(record: &'a Json, path: &str, issues: &mut Vec<Issue>) -> Vec<Metric<'a>> {
    let mut metrics: Vec<Metric<'a>> = Vec::new();
    for (index, metric) in record.list("metrics").iter().enumerate() {
        let at = format!("{path}metrics[{index}]");
        if metric.get("reading_log").is_some() {
            continue;
        }
        let Some(name) = metric.str("type").filter(|name| !name.is_empty()) else {
            issues.push(error(IssueCode::Required, "A metric has no type; left out", &format!("{at}.type")));
            continue;
        };
        let Some(value) = metric.get("value").and_then(Json::as_number) else {
            let text = format!("The value of {name} is not a number; left out");
            issues.push(error(IssueCode::Value, text, &format!("{at}.value")));
            continue;
        };
        if metrics.iter().any(|known| known.name == name) {
            let text = format!("The record holds {name} twice; the first counts");
            issues.push(warning(IssueCode::Duplicate, text, &at));
            continue;
        }
        let method = match metric.str("origin") {
            Some("device") => Some("Recorded by device"),
            Some("manual") => Some("Entered by the user"),
            _ => None,
        };
        metrics.push(Metric { name, value, unit: metric.str("unit").unwrap_or_default().trim(), method });
    }
    metrics
}

/// The panel of systolic and diastolic, if there is one of them.
pub(super) fn panel(metrics: &[Metric<'_>], source: &Source<'_>, issues: &mut Vec<Issue>) -> Option<Reading> {
    let found = PRESSURES.map(|name| metrics.iter().find(|metric| metric.name == name));
    let first = found.iter().flatten().next()?;
    let mut known = true;
    let mut components = Vec::new();
    for (name, metric) in PRESSURES.into_iter().zip(&found) {
        let value = match metric {
            Some(metric) => {
                let (quantity, _) = quantity(metric, name, issues);
                known &= quantity.ucum.is_some();
                Value::Quantity(quantity)
            }
            None => Value::Unknown,
        };
        let row = rows(name).next();
        components.push(Component { concept: concept(row, name, source), value, in_range: None });
    }
    let codings = vec![table::coding("http://loinc.org", "85354-9")];
    Some(Reading {
        suffix: "blood_pressure".to_owned(),
        category: "vital-signs".to_owned(),
        profile: known.then(|| "bp".to_owned()),
        concept: Concept { codings, text: Some("Blood pressure".to_owned()) },
        components,
        method: first.method,
        ..Reading::default()
    })
}

/// The reading of one metric; `key` names its rows in the table, which for sensors under the skin are others.
pub(super) fn single(metric: &Metric<'_>, key: &str, source: &Source<'_>, issues: &mut Vec<Issue>) -> Reading {
    let known = rows(key).next().is_some();
    if !known {
        let text = format!("{} has no mapping; published under the vendor's code only", metric.name);
        issues.push(warning(IssueCode::NotSupported, text, "metrics.type"));
    }
    let (quantity, row) = quantity(metric, key, issues);
    let profile = row.map(|row| row.get("profile")).filter(|profile| quantity.ucum.is_some() && !profile.is_empty());
    Reading {
        suffix: metric.name.to_owned(),
        category: row.map_or("exam", |row| row.get("category")).to_owned(),
        profile: profile.map(str::to_owned),
        concept: concept(row, metric.name, source),
        value: Some(Value::Quantity(quantity)),
        method: metric.method,
        ..Reading::default()
    }
}

/// A metric as a part of a workout.
pub(super) fn part(metric: &Metric<'_>, source: &Source<'_>, issues: &mut Vec<Issue>) -> Component {
    let reading = single(metric, metric.name, source, issues);
    Component { concept: reading.concept, value: reading.value.unwrap_or(Value::Unknown), in_range: None }
}

fn quantity(metric: &Metric<'_>, key: &str, issues: &mut Vec<Issue>) -> (Quantity, Option<Row<'static>>) {
    let row = rows(key).find(|row| !row.get("unit").is_empty() && table::same_unit(row.get("unit"), metric.unit));
    if let Some(row) = row {
        let unit = row.get("shown").to_owned();
        let quantity = Quantity { value: metric.value.into(), unit, ucum: Some(row.get("ucum").to_owned()) };
        return (quantity, Some(row));
    }
    if rows(key).next().is_some() {
        let text = format!("Unit \"{}\" of {} has no UCUM code here; kept as text", metric.unit, metric.name);
        issues.push(warning(IssueCode::CodeInvalid, text, "metrics.unit"));
    }
    let quantity = Quantity { value: metric.value.into(), unit: metric.unit.to_owned(), ucum: None };
    // Mass and moles have codes of their own: without the unit neither is right.
    let fallback = rows(key).find(|row| row.get("unit").is_empty()).or_else(|| rows(key).next());
    (quantity, fallback)
}

fn concept(row: Option<Row<'_>>, name: &str, source: &Source<'_>) -> Concept {
    let published = row.map_or("", |row| row.get("codes")).split(';').map(str::trim);
    let mut codings: Vec<Json> = published
        .filter_map(|code| code.strip_prefix("LOINC "))
        .map(|code| table::coding("http://loinc.org", code))
        .collect();
    codings.push(fhir::object! { "system": source.code_system("metric"), "code": name });
    let text = row.map_or_else(|| name.replace('_', " "), |row| row.get("text").to_owned());
    Concept { codings, text: Some(text) }
}

fn rows(metric: &str) -> impl Iterator<Item = Row<'static>> + use<> {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(|| Table::embedded(include_str!("../../mappings/validic-metrics.csv")));
    let metric = metric.to_owned();
    table.rows().filter(move |row| row.get("metric") == metric)
}
