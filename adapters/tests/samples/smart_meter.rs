//! Smart Meter beyond its samples.

use adapters::memory::Memory;
use fhir::json::Json;

use crate::{codes, context, everywhere, publication, replaced, resource_with, resources, sample};

#[test]
fn a_corrected_reading_is_a_new_version() {
    let device = [everywhere("860000000000037")];
    let body = replaced("smart_meter", "05-weight-implausible.json", "6226.0", "81.2");
    let first = publication("smart_meter", "readings", &body, &context(&device));
    let text = String::from_utf8(body).expect("text").replace("81.2", "81.4");
    let second = publication("smart_meter", "readings", text.as_bytes(), &context(&device));
    let mut memory = Memory::default();
    memory.apply(&first);
    let changed = memory.apply(&second);
    assert_eq!((changed.len(), changed[0].str("status")), (1, Some("corrected")));
}

#[test]
fn a_pulse_of_nought_was_not_measured_and_half_hours_are_kept() {
    let device = [everywhere("860000000000029")];
    let text = String::from_utf8(sample("smart_meter", "01-readings-all-types.json")).expect("text");
    let json = Json::parse(text.as_bytes()).expect("JSON");
    let reading = json.list("readings")[1].to_string();
    let body = reading.replace("\"pulse_bpm\":71", "\"pulse_bpm\":0").replace("\"-4\"", "\"5.5\"");
    assert_ne!(body, reading);
    let publication = publication("smart_meter", "push", body.as_bytes(), &context(&device));
    assert_eq!(resources(&publication.bundle).len(), 2, "a device and the panel");
    let panel = resource_with(&publication.bundle, ":blood_pressure");
    assert_eq!(panel.str("effectiveDateTime"), Some("2025-05-01T17:02:10+05:30"));
}

#[test]
fn what_nobody_has_waits_and_the_rest_is_published() {
    let device = [everywhere("860000000000029")];
    let body = sample("smart_meter", "01-readings-all-types.json");
    let publication = publication("smart_meter", "readings", &body, &context(&device));
    assert!(publication.waits);
    assert_eq!(codes(&publication.issues), ["not-found", "not-found", "not-found"]);
    assert_eq!(resources(&publication.bundle).len(), 3);
}

#[test]
fn an_offset_beyond_all_zones_is_passed_over() {
    let device = [everywhere("860000000000029")];
    let body = String::from_utf8(sample("smart_meter", "01-readings-all-types.json")).expect("text");
    let changed = body.replace("\"-4\"", "\"1e16\"");
    assert_ne!(body, changed);
    let publication = publication("smart_meter", "readings", changed.as_bytes(), &context(&device));
    assert!(!resources(&publication.bundle).is_empty());
}
