//! HealthKit beyond its samples.

use adapters::{Context, Mapping, Publication};
use fhir::json::Json;

use crate::{codes, context, publication, resource_with, resources, units_of};

fn phone() -> Context<'static> {
    Context { session: Some("p"), ..context(&[]) }
}

fn published(items: &str) -> Publication {
    publication("healthkit", "healthkitstandard-json", items.as_bytes(), &phone())
}

fn item(id: &str, kind: &str, rest: &str) -> String {
    format!(
        r#"{{"id":"{id}","type":"{kind}","startDate":"2024-07-24T08:00:00+0200","endDate":"2024-07-24T08:00:00+0200","sourceName":"Watch"{rest}}}"#
    )
}

#[test]
fn each_of_the_215_identifiers_becomes_something_or_says_why_not() {
    let table = include_str!("../../mappings/healthkit.csv");
    let mut identifiers: Vec<(&str, &str)> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split(',');
            Some((fields.next()?, fields.next()?))
        })
        .collect();
    identifiers.dedup();
    assert_eq!(identifiers.len(), 215);
    for (identifier, kind) in identifiers {
        let rest = match kind {
            "quantity" | "assessment" => r#","value":0.5"#,
            "category" => r#","value":1"#,
            "correlation" if identifier.ends_with("Food") => r#","objects":[]"#,
            "correlation" => r#","bloodPressureSystolicValue":120,"bloodPressureDiastolicValue":80"#,
            "workout" => r#","activityName":"Running","duration":60"#,
            "electrocardiogram" => {
                r#","classification":"SinusRhythm","samplingFrequency":512,"voltageMeasurements":[[0,0.000012],[0.002,-1e-5]]"#
            }
            "stateofmind" => r#","valence":-0.5,"kind":1"#,
            "audiogram" => r#","sensitivityPoints":[{"frequency":1000,"leftEarSensitivity":10}]"#,
            "clinical" => {
                r#","fhirVersion":"4.0.1","fhirData":{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/x"},"code":{"text":"Asthma"}}"#
            }
            _ => "",
        };
        let rest = if is_presence(identifier) { r#","value":0"# } else { rest };
        let beside = item("beside", "HKQuantityTypeIdentifierStepCount", r#","value":7"#);
        let publication = published(&format!("[{},{beside}]", item("1", identifier, rest)));
        let count = resources(&publication.bundle).iter().filter(|it| it.str("resourceType") != Some("Device")).count();
        let told = matches!(kind, "characteristic" | "vision" | "series");
        assert_eq!(count, 1 + usize::from(!told), "{identifier}: {:?}", publication.issues);
        let unmapped = codes(&publication.issues).iter().any(|code| *code != "value");
        assert_eq!(unmapped, told, "{identifier}: {:?}", publication.issues);
        units_of(&publication.bundle, identifier);
    }
}

/// Whether 1 is no value of its enumeration.
fn is_presence(identifier: &str) -> bool {
    let table = include_str!("../../mappings/healthkit.csv");
    table
        .lines()
        .any(|line| line.starts_with(&format!("{identifier},")) && line.contains("HKCategoryValueNotApplicable"))
}

#[test]
fn an_electrocardiogram_is_a_curve_in_microvolts() {
    let rest = r#","classification":1,"averageHeartRate":64,"samplingFrequency":512,"voltageMeasurements":[[0,0.000012],[0.002,-1e-5]]"#;
    let publication = published(&format!("[{}]", item("e", "HKElectrocardiogramType", rest)));
    let ecg = resource_with(&publication.bundle, "e");
    let data = ecg.list("component")[0].get("valueSampledData").expect("a curve");
    assert_eq!(data.str("data"), Some("12 -10"));
    assert_eq!(data.get("period").and_then(Json::as_number), Some("1.953125"));
    assert!(ecg.to_string().contains("Sinus rhythm"));
}

#[test]
fn stages_of_sleep_are_told_and_being_awake_is_no_sleep() {
    let stages = [("0", false), ("2", false), ("3", true), ("\"HKCategoryValueSleepAnalysisAsleepREM\"", true)];
    for (value, asleep) in stages {
        let rest = format!(r#","value":{value}"#);
        let publication = published(&format!("[{}]", item("s", "HKCategoryTypeIdentifierSleepAnalysis", &rest)));
        let sleep = resource_with(&publication.bundle, "s");
        assert_eq!(sleep.get("valueBoolean").and_then(Json::as_bool), Some(asleep), "{value}");
        assert!(sleep.list("component")[0].at(&["valueCodeableConcept", "coding", "display"]).is_some());
    }
}

#[test]
fn a_lone_pressure_keeps_the_panel_and_two_halves_are_one() {
    let half = |id: &str, side: &str, value: u32| {
        let kind = format!("HKQuantityTypeIdentifierBloodPressure{side}");
        item(id, &kind, &format!(r#","value":{value},"unit":"mmHg""#))
    };
    let publication = published(&format!("[{},{}]", half("1", "Systolic", 120), half("2", "Diastolic", 80)));
    assert_eq!(resources(&publication.bundle).len(), 2, "a device and one panel");
    let publication = published(&format!("[{}]", half("1", "Systolic", 120)));
    let absent = resource_with(&publication.bundle, "1").list("component")[1].get("dataAbsentReason");
    assert!(absent.is_some(), "{}", publication.bundle);
}

#[test]
fn percent_above_one_is_not_guessed() {
    let oxygen = item("1", "HKQuantityTypeIdentifierOxygenSaturation", r#","value":97,"unit":"%""#);
    let heart = item("2", "HKQuantityTypeIdentifierHeartRate", r#","value":60,"unit":"count/min""#);
    let publication = published(&format!("[{oxygen},{heart}]"));
    assert!(publication.waits, "the raw message stays in quarantine");
    assert_eq!(codes(&publication.issues), ["value"]);
    assert_eq!(resources(&publication.bundle).len(), 2);
}

#[test]
fn without_a_session_nothing_is_anybodys() {
    let shape = adapters::find("healthkit").and_then(|it| it.shape("healthkitstandard-json")).expect("a shape");
    let items = format!("[{}]", item("1", "HKQuantityTypeIdentifierHeartRate", r#","value":60"#));
    assert!(matches!((shape.map)(items.as_bytes(), &context(&[])), Mapping::Quarantine { .. }));
}

#[test]
fn the_other_exporter_writes_percent_as_whole_numbers() {
    let body = br#"{"data":{"metrics":[
        {"name":"blood_oxygen_saturation","units":"%","data":[{"date":"2024-07-24 08:00:00 +0200","qty":98,"source":"Watch"}]},
        {"name":"heart_rate","units":"count/min","data":[{"date":"2024-07-24 08:00:00 +0200","Min":50,"Avg":60.5,"Max":70}]},
        {"name":"blood_pressure","units":"mmHg","data":[{"date":"2024-07-24 08:00:00 +0200","systolic":120,"diastolic":80}]}]}}"#;
    let publication = publication("healthkit", "health-auto-export-json", body, &phone());
    assert_eq!(codes(&publication.issues), [] as [&str; 0]);
    let values: Vec<_> = resources(&publication.bundle)
        .into_iter()
        .filter_map(|it| it.at(&["valueQuantity", "value"])?.as_number())
        .collect();
    assert_eq!(values, ["98", "60.5"]);
    assert_eq!(resources(&publication.bundle).len(), 4, "a device, three Observations");
}

#[test]
fn a_meal_has_its_parts_as_members() {
    let part = item("f1", "HKQuantityTypeIdentifierDietaryProtein", r#","value":12,"unit":"g""#);
    let meal = item("f", "HKCorrelationTypeIdentifierFood", &format!(r#","objects":[{part}]"#));
    let publication = published(&format!("[{meal}]"));
    let member = publication.bundle.list("entry").iter().find(|it| it.to_string().contains("\"f1\"")).expect("a part");
    let meal = resources(&publication.bundle).into_iter().find(|it| it.get("hasMember").is_some()).expect("a meal");
    assert_eq!(meal.at(&["hasMember", "reference"]).and_then(Json::as_str), member.str("fullUrl"));
}

#[test]
fn names_of_one_phone_mean_nothing_on_another_nor_for_another_type() {
    let body = br#"{"resourceType":"Bundle","type":"collection","entry":[
        {"resource":{"resourceType":"Condition","id":"1","code":{"text":"Asthma"}}},
        {"resource":{"resourceType":"AllergyIntolerance","id":"1","code":{"text":"Nuts"}}},
        {"resource":{"resourceType":"Coverage","id":"1","status":"active","subject":{"reference":"Patient/x"}}}]}"#;
    let urls = |patient: &'static str| {
        let phone = Context { session: Some(patient), ..context(&[]) };
        let published = publication("healthkit", "fhir-json", body, &phone);
        let of = |entry: &Json| entry.at(&["request", "url"]).and_then(Json::as_str).map(str::to_owned);
        let told = published.bundle.list("entry").iter().map(|entry| of(entry).expect("a url")).collect::<Vec<_>>();
        (told, published)
    };
    let ((first, published), (second, _)) = (urls("p"), urls("q"));
    let criteria = |url: &String| url.split_once('?').map(|(_, criteria)| criteria.to_owned());
    let mut all: Vec<_> = first.iter().chain(&second).map(criteria).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6, "{all:?}");
    let coverage = resources(&published.bundle)[2];
    assert!(coverage.get("subject").is_none(), "Coverage has no such element");
    assert_eq!(coverage.at(&["beneficiary", "reference"]).and_then(Json::as_str), Some("Patient/p"));
}

#[test]
fn what_a_sample_carries_is_told_at_the_door() {
    let shape = adapters::find("healthkit").and_then(|it| it.shape("healthkitstandard-json")).expect("a shape");
    let rest = r#","fhirData":{"resourceType":"Condition","id":"c"}"#;
    let items = format!("[{}]", item("1", "HKClinicalTypeIdentifierConditionRecord", rest));
    let delivery = (shape.receive)(items.as_bytes()).expect("sound");
    assert_eq!(delivery.types.into_iter().collect::<Vec<_>>(), ["Condition"]);
}

#[test]
fn a_sample_of_one_patient_does_not_hide_that_of_another() {
    let items = format!("[{}]", item("1", "HKQuantityTypeIdentifierStepCount", r#","value":7"#));
    let of = |patient: &'static str| {
        let phone = Context { session: Some(patient), ..context(&[]) };
        publication("healthkit", "healthkitstandard-json", items.as_bytes(), &phone)
    };
    let mut memory = adapters::memory::Memory::default();
    let count = |changed: Vec<Json>| changed.iter().filter(|it| it.str("resourceType") == Some("Observation")).count();
    assert_eq!(
        (count(memory.apply(&of("p"))), count(memory.apply(&of("q"))), count(memory.apply(&of("q")))),
        (1, 1, 0)
    );
}

#[test]
fn a_pressure_in_another_unit_is_not_taken_for_mmhg() {
    let beside = item("2", "HKQuantityTypeIdentifierStepCount", r#","value":7"#);
    let pressure = r#","bloodPressureSystolicValue":16,"bloodPressureDiastolicValue":11,"unit":"kPa""#;
    let half = item("1", "HKQuantityTypeIdentifierBloodPressureSystolic", r#","value":16,"unit":"kPa""#);
    for wrong in [item("1", "HKCorrelationTypeIdentifierBloodPressure", pressure), half] {
        let published = published(&format!("[{wrong},{beside}]"));
        assert_eq!(codes(&published.issues), ["value"], "{wrong}");
    }
    let body = br#"{"data":{"metrics":[{"name":"blood_pressure","units":"kPa","data":[
        {"date":"2024-07-24 08:00:00 +0200","systolic":16,"diastolic":11}]}]}}"#;
    let shape = adapters::find("healthkit").and_then(|it| it.shape("health-auto-export-json")).expect("a shape");
    assert!(matches!((shape.map)(body, &phone()), Mapping::Quarantine { .. }));
}

#[test]
fn sleep_without_a_value_is_not_being_in_bed() {
    let sleep = item("1", "HKCategoryTypeIdentifierSleepAnalysis", "");
    let beside = item("2", "HKCategoryTypeIdentifierMindfulSession", "");
    let published = published(&format!("[{sleep},{beside}]"));
    assert_eq!(codes(&published.issues), ["value"]);
    assert_eq!(resources(&published.bundle).len(), 2, "a device, and what says all by being there");
}
