//! Samples of many numbers: workouts, electrocardiograms, hearing tests, states of mind.

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::sample::{measured, named, number};
use super::types::{self, Type};
use super::values;
use crate::bundle::Source;
use crate::number::shifted;
use crate::reading::{Component, Concept, Quantity, Reading, Value};
use crate::{error, table};

/// Samples of a curve at most.
const MAX_SAMPLES: usize = 100_000;

/// A workout: what it was, how long, and the sums and means of what was measured meanwhile.
pub(super) fn workout(sample: &Json, kind: &Type, source: &Source<'_>) -> Result<Reading, Box<Issue>> {
    let activity = ["workoutActivityType", "activityName", "name"].into_iter().find_map(|name| sample.str(name));
    let value = activity.map(|activity| {
        let bare = activity.strip_prefix("HKWorkoutActivityType").unwrap_or(activity);
        let coding = fhir::object! {
            "system": source.code_system("HKWorkoutActivityType"),
            "code": activity,
            "display": spaced(bare),
        };
        Value::Concept(fhir::object! { "coding": fhir::array![coding] })
    });
    let mut components = Vec::new();
    if let Some(duration) = sample.get("duration").and_then(number) {
        let unit = sample.str("durationUnit").unwrap_or("s").to_owned();
        let ucum = match unit.as_str() {
            "hr" => "h".to_owned(),
            other => other.to_owned(),
        };
        let quantity = Quantity { value: duration.into(), unit, ucum: Some(ucum) };
        components.push(component(statistic("duration", "Duration", source), Value::Quantity(quantity)));
    }
    for told in sample.list("statistics") {
        let Some(of) = told.str("type").and_then(types::find) else { continue };
        for (name, display) in
            [("sum", "total"), ("average", "average"), ("minimum", "minimum"), ("maximum", "maximum")]
        {
            let Some(value) = told.get(name).and_then(number) else { continue };
            let quantity = measured(of, &value, told.str("unit"), true, "statistics")?;
            let extreme = matches!(name, "minimum" | "maximum");
            let mut codings = if extreme { Vec::new() } else { of.codings(quantity.ucum.as_deref(), false) };
            let display = format!("{}, {display}", of.text);
            codings.extend(statistic(&format!("{}.{name}", of.identifier), &display, source).codings);
            components.push(component(Concept { codings, text: None }, Value::Quantity(quantity)));
        }
    }
    Ok(Reading { value, components, ..named(kind, None, false) })
}

/// An electrocardiogram of one lead, with what the watch made of it.
pub(super) fn electrocardiogram(
    sample: &Json,
    kind: &Type,
    path: &str,
    source: &Source<'_>,
) -> Result<Reading, Box<Issue>> {
    let mut components = Vec::new();
    let wrong = |what: &str| Box::new(error(IssueCode::Value, what, path));
    let told = sample.list("voltageMeasurements");
    if told.len() > MAX_SAMPLES {
        return Err(wrong("The electrocardiogram has too many samples"));
    }
    if !told.is_empty() {
        let rate = sample.get("samplingFrequency").and_then(number);
        let period = rate.as_deref().and_then(period).ok_or_else(|| wrong("samplingFrequency is no rate in Hz"))?;
        let microvolts = sample.str("voltageUnit").is_some_and(|unit| matches!(unit, "mcV" | "uV" | "µV"));
        let power = if microvolts { 0 } else { 6 };
        let values: Option<Vec<String>> = told.iter().map(|it| shifted(&number(voltage(it))?, power)).collect();
        let values = values.ok_or_else(|| wrong("A voltage is not a number"))?.join(" ");
        let origin = fhir::object! { "value": 0, "unit": "uV", "system": fhir::ucum::SYSTEM, "code": "uV" };
        let data = fhir::object! {
            "origin": origin, "period": Json::Number(period.into()), "dimensions": 1, "data": values,
        };
        let lead = table::coding("urn:iso:std:iso:11073:10101", "131329");
        components.push(component(Concept { codings: vec![lead], text: None }, Value::Sampled(data)));
        components.push(plain("HKElectrocardiogram.SamplingFrequency", "Electrocardiogram Sampling Frequency", {
            Value::Quantity(Quantity {
                value: rate.unwrap_or_default().into(),
                unit: "Hz".to_owned(),
                ucum: Some("Hz".to_owned()),
            })
        }));
    }
    if let Some(rate) = sample.get("averageHeartRate").and_then(number) {
        let quantity = Quantity { value: rate.into(), unit: "beats/minute".to_owned(), ucum: Some("/min".to_owned()) };
        let codings = vec![table::coding("http://loinc.org", "8867-4")];
        components.push(component(Concept { codings, text: None }, Value::Quantity(quantity)));
    }
    for (member, enumeration, code, display) in [
        (
            "classification",
            "HKElectrocardiogramClassification",
            "HKElectrocardiogram.Classification",
            "Electrocardiogram Classification",
        ),
        (
            "symptomsStatus",
            "HKElectrocardiogramSymptomsStatus",
            "HKElectrocardiogram.SymptomsStatus",
            "Electrocardiogram Symptoms Status",
        ),
    ] {
        let Some(told) = sample.get(member).and_then(|it| it.as_str().or(it.as_number())) else { continue };
        let mut symbol = told.to_owned();
        if let Some(first) = symbol.get_mut(..1) {
            first.make_ascii_lowercase(); // some bridges write SinusRhythm
        }
        components.push(plain(code, display, Value::Concept(values::concept(enumeration, &symbol, source).0)));
    }
    if components.is_empty() {
        return Err(wrong("The electrocardiogram is empty"));
    }
    Ok(Reading { components, ..named(kind, None, false) })
}

/// A state of mind: how pleasant, what feelings, about what.
pub(super) fn state_of_mind(
    sample: &Json,
    kind: &Type,
    path: &str,
    source: &Source<'_>,
) -> Result<Reading, Box<Issue>> {
    let mut components = Vec::new();
    if let Some(valence) = sample.get("valence").and_then(number) {
        let quantity = Quantity { value: valence.into(), unit: String::new(), ucum: Some("1".to_owned()) };
        components.push(plain("HKStateOfMindValence", "State Of Mind Valence", Value::Quantity(quantity)));
    }
    for (member, code, display) in [
        ("kind", "HKStateOfMindKind", "State Of Mind Kind"),
        ("valenceClassification", "HKStateOfMindValenceClassification", "State Of Mind Valence Classification"),
        ("labels", "HKStateOfMindLabel", "State Of Mind Label"),
        ("associations", "HKStateOfMindAssociation", "State Of Mind Association"),
    ] {
        let told = match sample.get(member) {
            Some(Json::Array(items)) => items.iter().collect(),
            Some(other) => vec![other],
            None => Vec::new(),
        };
        for value in told.into_iter().filter_map(|it| it.as_str().or(it.as_number())) {
            let coding = fhir::object! { "system": source.code_system(code), "code": value };
            components.push(plain(code, display, Value::Concept(fhir::object! { "coding": fhir::array![coding] })));
        }
    }
    if components.is_empty() {
        return Err(Box::new(error(IssueCode::Value, "The state of mind is empty", path)));
    }
    Ok(Reading { components, ..named(kind, None, false) })
}

/// A hearing test: one component for each ear and frequency.
pub(super) fn audiogram(sample: &Json, kind: &Type, path: &str, source: &Source<'_>) -> Result<Reading, Box<Issue>> {
    let mut components = Vec::new();
    for point in sample.list("sensitivityPoints") {
        let Some(frequency) = point.get("frequency").and_then(number) else { continue };
        for (member, ear) in [("leftEarSensitivity", "left"), ("rightEarSensitivity", "right")] {
            let Some(value) = point.get(member).and_then(number) else { continue };
            let code = fhir::object! {
                "system": source.code_system("audiogram-point"),
                "code": format!("{ear}-{frequency}"),
                "display": format!("{ear} ear at {frequency} Hz"),
            };
            let quantity = Quantity { value: value.into(), unit: kind.unit.clone(), ucum: Some(kind.ucum.clone()) };
            components.push(component(Concept { codings: vec![code], text: None }, Value::Quantity(quantity)));
        }
    }
    if components.is_empty() {
        return Err(Box::new(error(IssueCode::Value, "The audiogram is empty", path)));
    }
    Ok(Reading { components, ..named(kind, None, false) })
}

/// The voltage of a measurement, which comes with or without the time since the start.
fn voltage(told: &Json) -> &Json {
    match told {
        Json::Array(pair) => pair.get(1).unwrap_or(&Json::Null),
        Json::Object(_) => told.get("voltage").unwrap_or(&Json::Null),
        other => other,
    }
}

/// 1000 ms divided by the rate, to a nanosecond.
fn period(rate: &str) -> Option<String> {
    let thousandths: u64 = shifted(rate, 3)?.split('.').next()?.parse().ok().filter(|rate| *rate > 0)?;
    let nanoseconds = 1_000_000_000_000_u64.checked_div(thousandths)?;
    let text = shifted(&nanoseconds.to_string(), -6)?;
    let text = text.trim_end_matches('0').trim_end_matches('.');
    Some(text.to_owned())
}

fn statistic(code: &str, display: &str, source: &Source<'_>) -> Concept {
    let system = source.code_system("workout-statistic");
    Concept { codings: vec![fhir::object! { "system": system, "code": code, "display": display }], text: None }
}

fn plain(code: &str, display: &str, value: Value) -> Component {
    let coding = fhir::object! { "system": types::APPLE, "code": code, "display": display };
    component(Concept { codings: vec![coding], text: None }, value)
}

fn component(concept: Concept, value: Value) -> Component {
    Component { concept, value, in_range: None }
}

/// `TraditionalStrengthTraining` as words.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && words.ends_with(|last: char| last.is_ascii_lowercase()) {
            words.push(' ');
        }
        words.push(character);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_written_without_a_float() {
        assert_eq!(period("512").as_deref(), Some("1.953125"));
        assert_eq!(period("512.0").as_deref(), Some("1.953125"));
        assert_eq!(period("500").as_deref(), Some("2"));
        assert_eq!(period("0"), None);
        assert_eq!(spaced("TraditionalStrengthTraining"), "Traditional Strength Training");
    }
}
