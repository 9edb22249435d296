//! What the exporter "Health Auto Export" sends: numbers by metric, percent as whole numbers, no identifiers.

use std::sync::OnceLock;

use fhir::json::{Json, Object};
use fhir::outcome::IssueCode;

use super::types;
use crate::table::Table;
use crate::{Delivery, Refusal, error};

/// Whether this is such a message.
pub(super) fn recognises(json: &Json) -> bool {
    json.get("data").is_some_and(|data| data.get("metrics").is_some() || data.get("workouts").is_some())
}

/// Counts its items.
pub(super) fn receive(json: &Json) -> Result<Delivery, Refusal> {
    if !recognises(json) {
        let text = "Body must have data.metrics or data.workouts";
        return Err(Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "data")]));
    }
    let count = samples(json).len();
    if count > super::MAX_SAMPLES {
        let text = format!("Body holds more than {} samples", super::MAX_SAMPLES);
        return Err(Refusal::Unprocessable(vec![error(IssueCode::TooLong, text, "data")]));
    }
    Ok(Delivery::default())
}

/// Its items as HealthKit samples.
pub(super) fn samples(json: &Json) -> Vec<Json> {
    let Some(data) = json.get("data") else { return Vec::new() };
    let mut samples = Vec::new();
    for metric in data.list("metrics") {
        let name = metric.str("name").unwrap_or_default();
        for item in metric.list("data") {
            samples.extend(sample(name, metric.str("units"), item));
        }
    }
    samples.extend(data.list("workouts").iter().filter_map(workout));
    samples
}

fn sample(name: &str, unit: Option<&str>, item: &Json) -> Option<Json> {
    let mut sample = Object::new();
    let at = |member: &str| item.get(member).cloned();
    let pressure = name == "blood_pressure";
    sample.insert(
        "type",
        if pressure { "HKCorrelationTypeIdentifierBloodPressure".to_owned() } else { identifier(name) },
    );
    for (member, value) in
        [("bloodPressureSystolicValue", at("systolic")), ("bloodPressureDiastolicValue", at("diastolic"))]
    {
        if let Some(value) = value.filter(|_| pressure) {
            sample.insert(member, value);
        }
    }
    // Of a minute's heart rates the exporter sends the least, the mean and the greatest: the mean stands for it.
    if let Some(value) = at("qty").or_else(|| at("Avg")).or_else(|| at("avg")).or_else(|| at("value")) {
        sample.insert("value", value);
    }
    if let Some(unit) = unit {
        sample.insert("unit", unit);
    }
    let start = at("startDate").or_else(|| at("date"))?;
    let end = at("endDate").unwrap_or_else(|| start.clone());
    sample.insert("startDate", start);
    sample.insert("endDate", end);
    if let Some(source) = at("source") {
        sample.insert("sourceName", source);
    }
    sample.insert("percentAsWhole", true);
    Some(sample.into())
}

fn workout(item: &Json) -> Option<Json> {
    let mut sample = Object::new();
    sample.insert("type", "HKWorkoutTypeIdentifier");
    for (member, name) in [("id", "id"), ("workoutActivityType", "name"), ("duration", "duration")] {
        if let Some(value) = item.get(name) {
            sample.insert(member, value.clone());
        }
    }
    sample.insert("startDate", item.get("start")?.clone());
    sample.insert("endDate", item.get("end").or_else(|| item.get("start"))?.clone());
    let statistics: Vec<Json> = [
        ("activeEnergyBurned", "HKQuantityTypeIdentifierActiveEnergyBurned"),
        ("distance", "HKQuantityTypeIdentifierDistanceWalkingRunning"),
    ]
    .into_iter()
    .filter_map(|(member, kind)| {
        let told = item.get(member)?;
        Some(fhir::object! { "type": kind, "sum": told.get("qty")?.clone(), "unit": told.str("units")? })
    })
    .collect();
    sample.insert("statistics", statistics);
    Some(sample.into())
}

/// `step_count` as Apple names it.
fn identifier(name: &str) -> String {
    static NAMES: OnceLock<Table> = OnceLock::new();
    let names = NAMES.get_or_init(|| Table::embedded(include_str!("../../mappings/health-auto-export.csv")));
    if let Some(row) = names.rows().find(|row| row.get("name") == name) {
        return row.get("identifier").to_owned();
    }
    let words: String = name
        .split('_')
        .map(|word| {
            let mut characters = word.chars();
            characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
        })
        .collect();
    let quantity = format!("HKQuantityTypeIdentifier{words}");
    let category = format!("HKCategoryTypeIdentifier{words}");
    if types::find(&quantity).is_none() && types::find(&category).is_some() { category } else { quantity }
}
