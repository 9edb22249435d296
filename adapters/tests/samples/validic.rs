//! Validic beyond its samples.

use adapters::memory::Memory;
use adapters::{Context, Refusal};
use fhir::json::Json;

use crate::{codes, context, everywhere, publication, resource_with, resources, sample};

fn record(metrics: &str, rest: &str) -> String {
    format!(
        r#"{{"id":"r1","type":"measurement","log_id":"l","start_time":"2024-05-10T15:58:56Z","end_time":"2024-05-10T15:58:56Z",
        "utc_offset":-14400,"user":{{"uid":"uid-1"}},"source":{{"type":"smart_meter","device":null}},"metrics":[{metrics}]{rest}}}"#
    )
}

fn published(body: &str) -> adapters::Publication {
    publication("validic", "records", body.as_bytes(), &context(&[]))
}

#[test]
fn every_metric_of_the_table_is_published_with_ucum() {
    let table = include_str!("../../mappings/validic-metrics.csv");
    let rows = table.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    for row in rows.filter(|row| !row[1].is_empty() && row[0] != "cgm_glucose") {
        let metric = format!(r#"{{"type":"{}","value":60,"unit":"{}","origin":"device"}}"#, row[0], row[1]);
        let publication = published(&record(&metric, ""));
        assert!(codes(&publication.issues).iter().all(|code| *code == "value"), "{row:?}: {:?}", publication.issues);
        crate::units_of(&publication.bundle, row[0]);
        assert!(publication.bundle.to_string().contains("http://unitsofmeasure.org"), "{row:?}");
    }
}

#[test]
fn a_late_copy_of_a_deleted_record_revives_nothing() {
    let context = context(&[]);
    let first = publication("validic", "records", &sample("validic", "01-smart-meter-pulse-ox.json"), &context);
    let deleted = publication("validic", "records", &sample("validic", "07-stream-deleted-record.json"), &context);
    let mut memory = Memory::default();
    assert_eq!(memory.apply(&first).len(), 3);
    let gone = memory.apply(&deleted);
    assert!(gone.len() == 2 && gone.iter().all(|it| it.str("status") == Some("entered-in-error")));
    assert!(gone.iter().all(|it| it.get("valueQuantity").is_some()), "the value stays");
    let told = Memory::transaction(&deleted, &gone);
    assert_eq!(told.list("entry")[0].at(&["request", "method"]).and_then(Json::as_str), Some("PUT"));
    assert_eq!(memory.apply(&first), [], "a late copy");
    assert_eq!(memory.apply(&deleted), [], "the deletion again");
}

#[test]
fn a_deletion_of_another_users_record_takes_nothing_back() {
    let context = context(&[]);
    let first = publication("validic", "records", &sample("validic", "01-smart-meter-pulse-ox.json"), &context);
    let others = crate::replaced("validic", "07-stream-deleted-record.json", "uid-0001", "uid-0002");
    let mut memory = Memory::default();
    memory.apply(&first);
    assert_eq!(memory.apply(&publication("validic", "records", &others, &context)), []);
    let nobodys = crate::replaced("validic", "07-stream-deleted-record.json", "\"uid\": \"uid-0001\"", "\"x\": 1");
    let shape = crate::registry().find("validic").and_then(|adapter| adapter.shape("records")).expect("a shape");
    assert!(matches!((shape.map)(&nobodys, &context), adapters::Mapping::Quarantine { .. }));
}

#[test]
fn a_paired_user_is_the_patient_then_and_others_are_found_by_their_identifier() {
    let body = record(r#"{"type":"pulse","value":60,"unit":"bpm"}"#, "");
    let paired = [everywhere("uid-1")];
    let publication = publication("validic", "records", body.as_bytes(), &context(&paired));
    let pulse = resource_with(&publication.bundle, ":pulse");
    assert_eq!(pulse.at(&["subject", "reference"]).and_then(Json::as_str), Some("Patient/p"));
    let pulse = published(&body);
    let pulse = resource_with(&pulse.bundle, ":pulse");
    let subject = pulse.at(&["subject", "reference"]).and_then(Json::as_str);
    assert_eq!(subject, Some("Patient?identifier=https://example.org/fhir/adapters/validic/uid|uid-1"));
}

#[test]
fn an_offset_that_is_no_whole_minute_leaves_the_time_as_it_is() {
    for (offset, shown) in [("19800", "21:28:56+05:30"), ("90", "15:58:56Z"), ("null", "15:58:56Z")] {
        let body = record(r#"{"type":"pulse","value":60,"unit":"bpm"}"#, "").replace("-14400", offset);
        let publication = published(&body);
        let effective = resource_with(&publication.bundle, ":pulse").str("effectiveDateTime").map(str::to_owned);
        assert_eq!(effective, Some(format!("2024-05-10T{shown}")));
    }
}

#[test]
fn each_reading_of_a_sensor_is_an_observation() {
    let body = br#"{"id":"c1","type":"cgm","user":{"uid":"u"},"source":{"type":"dexcom","devices":{}},"utc_offset":null,"metrics":[
        {"type":"blood_glucose","unit":"mg/dL","reading_log":[
          {"time":"2024-05-10T15:00:00Z","value":101,"display_time":"2024-05-10T17:00:00+02:00","device_id":"s1"},
          {"time":"2024-05-10T15:05:00Z","value":104.0,"display_time":"2024-05-10T09:05:00+02:00"}]}]}"#;
    let publication = publication("validic", "records", body, &context(&[]));
    let first = resource_with(&publication.bundle, "c1:blood_glucose:2024-05-10T15:00:00Z");
    assert_eq!(first.str("effectiveDateTime"), Some("2024-05-10T17:00:00+02:00"));
    assert_eq!(first.at(&["code", "coding", "code"]).and_then(Json::as_str), Some("99504-3"));
    let second = resource_with(&publication.bundle, "c1:blood_glucose:2024-05-10T15:05:00Z");
    assert_eq!(second.str("effectiveDateTime"), Some("2024-05-10T15:05:00Z"), "another instant is no display of it");
    assert_eq!(resources(&publication.bundle).len(), 3);
}

#[test]
fn a_workout_is_one_observation_with_parts() {
    let metrics = r#"{"type":"steps","value":900,"unit":"count"},{"type":"avg_heart_rate","value":120,"unit":"bpm"}"#;
    let body = record(metrics, r#","category":"running""#).replace("\"measurement\"", "\"workout\"");
    let publication = published(&body);
    let workout = resource_with(&publication.bundle, ":workout");
    assert_eq!(workout.list("component").len(), 2);
    assert_eq!(workout.at(&["valueCodeableConcept", "text"]).and_then(Json::as_str), Some("running"));
}

#[test]
fn all_envelopes_of_errors_are_understood() {
    let answers = Json::parse(&sample("validic", "12-errors-shapes.json")).expect("JSON");
    let adapter = adapters::find("validic").expect("an adapter");
    for answer in answers.items() {
        let body = answer.get("body").expect("a body").to_string();
        let shape = adapter.shape_of(body.as_bytes());
        let refusal = (shape.receive)(body.as_bytes()).expect_err("an error");
        assert!(matches!(refusal, Refusal::Vendor { status: 502, .. }), "{body}: {refusal:?}");
    }
}

#[test]
fn a_metric_that_is_no_number_fails_alone() {
    let body = record(r#"{"type":"pulse","value":"NaN","unit":"bpm"},{"type":"spo2","value":97,"unit":"percent"}"#, "");
    let publication = published(&body);
    assert_eq!((codes(&publication.issues), resources(&publication.bundle).len()), (vec!["value"], 1));
}

#[test]
fn disconnected_devices_are_no_longer_used() {
    let body = sample("validic", "10-direct-disconnect-all.json");
    let context = Context { user: Some("uid-0001"), ..context(&[]) };
    let publication = publication("validic", "connection", &body, &context);
    for usage in resources(&publication.bundle) {
        assert_eq!(usage.str("status"), Some("completed"));
        assert_eq!(usage.at(&["timingPeriod", "end"]).and_then(Json::as_str), Some("2024-05-10T17:49:21Z"));
        assert_eq!(usage.at(&["note", "text"]).and_then(Json::as_str), Some("User disconnected from Direct Endpoint"));
    }
}

#[test]
fn the_last_state_of_a_record_wins_and_a_deletion_is_the_last() {
    let pulse = |value: u32| record(&format!(r#"{{"type":"pulse","value":{value},"unit":"bpm"}}"#), "");
    let deleted = r#"{"id":"r1","deleted_at":"2024-05-11T00:00:00Z","metrics":[],"user":{"uid":"uid-1"}}"#.to_owned();
    let of = |records: &[String]| published(&format!(r#"{{"data":[{}]}}"#, records.join(",")));
    let updated = of(&[pulse(60), pulse(61)]);
    assert_eq!(updated.withdrawn.len(), 1);
    let value = resource_with(&updated.bundle, ":pulse").at(&["valueQuantity", "value"]).and_then(Json::as_number);
    assert_eq!(value, Some("61"));
    for order in [[pulse(60), deleted.clone()], [deleted, pulse(60)]] {
        let gone = of(&order);
        assert_eq!(resources(&gone.bundle).len(), 0, "{}", gone.bundle);
        assert!(gone.withdrawn.len() == 1 && gone.withdrawn[0].deleted);
    }
}

#[test]
fn what_comes_after_the_deletion_of_its_record_is_not_published() {
    let mut late = published(&record(r#"{"type":"pulse","value":60,"unit":"bpm"}"#, ""));
    adapters::state::without_deleted(&mut late, |withdrawal| withdrawal.record == "other");
    assert_eq!(resources(&late.bundle).len(), 1);
    adapters::state::without_deleted(&mut late, |withdrawal| withdrawal.record == "r1");
    assert_eq!(resources(&late.bundle).len(), 0);
    assert!(late.withdrawn[0].deleted && late.withdrawn[0].keep.is_empty());
}
