//! Medisanté beyond its samples.

use adapters::{Assignment, Mapping, Refusal, Shape};
use fhir::json::Json;
use fhir::outcome::Issue;

use crate::{codes, compare, context, everywhere, publication, replaced, resource_with, resources, sample};

#[test]
fn the_same_message_gives_the_same_bytes_on_every_run() {
    let bytes = sample("medisante", "01-blood-pressure-bp800.json");
    let (first, second) = (published(&bytes, &[everywhere("TaiDoc:BP800:001-3261717440000AAA-0D")]), {
        published(&bytes, &[everywhere("TaiDoc:BP800:001-3261717440000AAA-0D")])
    });
    assert_eq!(first.0.to_string(), second.0.to_string());
}

#[test]
fn numbers_keep_their_written_form() {
    let bytes = replaced("medisante", "04-weight-impedance-bc800.json", "64.7", "64.700");
    let (bundle, _) = published(&bytes, &[everywhere("EBMTech:BC800:003-204040000008494-25")]);
    assert!(bundle.to_string().contains("\"value\":64.700,"), "{bundle}");
}

#[test]
fn a_reading_belongs_to_who_had_the_device_at_that_moment() {
    let bytes = sample("medisante", "01-blood-pressure-bp800.json");
    // 2024-05-21T15:45:12Z
    let taken = 1_716_306_312_000_000;
    let device = "TaiDoc:BP800:001-3261717440000AAA-0D".to_owned();
    let before = Assignment { device: device.clone(), patient: "before".to_owned(), from: 0, until: Some(taken) };
    let then = Assignment { device, patient: "then".to_owned(), from: taken, until: None };
    let (bundle, _) = published(&bytes, &[before.clone(), then.clone()]);
    assert_eq!(
        bundle.list("entry")[1].at(&["resource", "subject", "reference"]).and_then(Json::as_str),
        Some("Patient/then")
    );
    assert_eq!(codes(&quarantined(&bytes, std::slice::from_ref(&before))), ["not-found"]);
    let twice = Assignment { patient: "other".to_owned(), ..then.clone() };
    assert_eq!(codes(&quarantined(&bytes, &[then, twice])), ["multiple-matches"]);
}

#[test]
fn missing_names_are_unprocessable_and_all_are_listed() {
    let bytes = br#"{"metadata":{},"device":{"id":"a:b:c"},"measurements":{"pulse":{"value":"67","unit":"bpm"}}}"#;
    let Err(Refusal::Unprocessable(issues)) = (shape().receive)(bytes) else { panic!("accepted") };
    assert_eq!(codes(&issues), ["required", "required", "required", "value"]);
}

#[test]
fn an_unknown_unit_stays_text_without_profile() {
    let bytes = replaced("medisante", "04-weight-impedance-bc800.json", "\"kg\"", "\"stone\"");
    let (bundle, issues) = published(&bytes, &[everywhere("EBMTech:BC800:003-204040000008494-25")]);
    let weight = resource_with(&bundle, ":body-weight");
    assert_eq!(
        weight.get("valueQuantity"),
        Some(&fhir::object! { "value": Json::Number("64.7".into()), "unit": "stone" })
    );
    assert_eq!(weight.at(&["meta", "profile"]), None);
    assert_eq!(codes(&issues), ["code-invalid"]);
}

#[test]
fn an_unknown_measure_is_published_under_the_vendors_code() {
    let bytes = replaced("medisante", "04-weight-impedance-bc800.json", "\"bodyComposition\"", "\"boneDensity\"");
    let (bundle, issues) = published(&bytes, &[everywhere("EBMTech:BC800:003-204040000008494-25")]);
    assert_eq!(
        resource_with(&bundle, ":bone-density").at(&["code", "coding", "code"]).and_then(Json::as_str),
        Some("boneDensity")
    );
    assert_eq!(codes(&issues), ["not-supported"]);
}

#[test]
fn an_unbelievable_value_is_kept_as_preliminary() {
    let bytes = replaced("medisante", "04-weight-impedance-bc800.json", "64.7", "6226");
    let (bundle, issues) = published(&bytes, &[everywhere("EBMTech:BC800:003-204040000008494-25")]);
    assert_eq!(resource_with(&bundle, ":body-weight").str("status"), Some("preliminary"));
    assert_eq!(codes(&issues), ["value"]);
}

#[test]
fn an_unknown_type_is_quarantined() {
    let bytes = replaced("medisante", "04-weight-impedance-bc800.json", "BodyWeightComposition", "Aura");
    assert_eq!(codes(&quarantined(&bytes, &[everywhere("EBMTech:BC800:003-204040000008494-25")])), ["not-supported"]);
}

#[test]
fn a_time_without_offset_takes_that_of_the_device() {
    let bytes = replaced("medisante", "01-blood-pressure-bp800.json", "17:45:12+02:00", "17:45:12");
    let (bundle, _) = published(&bytes, &[everywhere("TaiDoc:BP800:001-3261717440000AAA-0D")]);
    assert_eq!(resource_with(&bundle, ":pulse").str("effectiveDateTime"), Some("2024-05-21T17:45:12+02:00"));
}

#[test]
fn ecg_curves_become_one_component_a_channel() {
    let bytes = br#"{"metadata":{"correlationId":"e1","measurementType":"ECG"},"device":{"id":"a:b:c"},
        "measurements":{"timestamp":"2024-05-21T17:45:12Z","ecgSamples":{"minValue":-32768,"maxValue":32767,"sampleRate":128,
        "sampleRateUnit":"Hz","factor":2.50,"factorUnit":"uV","samples":[{"channel":"I","values":[1,-2,3]},{"channel":"X","values":[0]}]}}}"#;
    let (bundle, issues) = published(bytes, &[everywhere("a:b:c")]);
    let components = resource_with(&bundle, ":ecg-samples").list("component");
    assert_eq!(components[0].at(&["code", "coding", "code"]).and_then(Json::as_str), Some("131329"));
    let data = components[0].get("valueSampledData").expect("sampled data");
    assert_eq!(
        (data.get("period"), data.get("factor")),
        (Some(&Json::Number("7.8125".into())), Some(&Json::Number("2.50".into())))
    );
    assert_eq!(data.str("data"), Some("1 -2 3"));
    assert_eq!(components.len(), 2);
    assert!(issues.is_empty(), "{issues:?}");
}

#[test]
fn other_capitals_are_the_same_measurement() {
    let bytes = br#"{"metadata":{"correlationId":"u1","measurementType":"UricAcid"},"device":{"id":"a:b:c"},
        "measurements":{"timestamp":"2024-05-21T17:45:12Z","uricAcid":{"value":5.1,"unit":"mg/dl"}}}"#;
    let (bundle, issues) = published(bytes, &[everywhere("a:b:c")]);
    assert_eq!(
        resource_with(&bundle, ":uricacid").at(&["valueQuantity", "code"]).and_then(Json::as_str),
        Some("mg/dL")
    );
    assert!(issues.is_empty(), "{issues:?}");
}

#[test]
fn fhir_of_the_vendor_is_known_by_our_names_and_belongs_to_our_patient() {
    let body = br#"{"resourceType":"Bundle","type":"collection","entry":[
        {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","id":"theirs","name":[{"family":"Secret"}]}},
        {"fullUrl":"urn:uuid:2","resource":{"resourceType":"Device","id":"d","identifier":[{"system":"urn:m","value":"TaiDoc:BP800:1"}]}},
        {"fullUrl":"urn:uuid:3","resource":{"resourceType":"Observation","id":"o","status":"final","code":{"text":"Pulse"},
          "identifier":[{"system":"urn:m","value":"reading-1"}],"subject":{"reference":"urn:uuid:1"},
          "effectiveDateTime":"2024-05-21T17:45:12+02:00","device":{"reference":"urn:uuid:2"},
          "valueQuantity":{"value":67.0,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}}]}"#;
    let devices = [everywhere("TaiDoc:BP800:1")];
    let json = publication("medisante", "fhir-json", body, &context(&devices));
    let xml = fhir::xml::from_json(&Json::parse(body).expect("JSON")).expect("XML");
    let xml = publication("medisante", "fhir-xml", xml.as_bytes(), &context(&devices));
    compare(&json.bundle, &xml.bundle, "both forms become the same");
    assert!(!json.bundle.to_string().contains("Secret"), "no Patient of a feed is written");
    let observation = resource_with(&json.bundle, "reading-1");
    assert_eq!(observation.at(&["subject", "reference"]).and_then(Json::as_str), Some("Patient/p"));
    let device = json.bundle.list("entry")[0].str("fullUrl");
    assert_eq!(observation.at(&["device", "reference"]).and_then(Json::as_str), device);
    assert!(json.bundle.to_string().contains("67.0"), "numbers keep their written form");
    assert_eq!(resources(&json.bundle).len(), 2);
    let nobody = context(&[]);
    let shape = adapters::find("medisante").and_then(|it| it.shape("fhir-json")).expect("a shape");
    assert!(matches!((shape.map)(body, &nobody), Mapping::Quarantine { .. }));
}

/// A document with entries.
fn bundle(entries: &[String]) -> Vec<u8> {
    format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#, entries.join(",")).into_bytes()
}

fn device(name: &str) -> String {
    format!(r#"{{"resource":{{"resourceType":"Device","id":"{name}","identifier":[{{"value":"X:Y:{name}"}}]}}}}"#)
}

fn pulse(id: &str, rest: &str) -> String {
    format!(
        r#"{{"resource":{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"text":"Pulse"}},
        "effectiveDateTime":"2024-05-21T17:45:12+02:00","valueInteger":67{rest}}}}}"#
    )
}

fn two_patients() -> [Assignment; 2] {
    let b = Assignment { patient: "q".to_owned(), ..everywhere("X:Y:b") };
    [everywhere("X:Y:a"), b]
}

#[test]
fn each_resource_of_a_document_belongs_to_whoever_had_its_own_device() {
    let of = |name: &str| format!(r#","device":{{"reference":"Device/{name}"}}"#);
    let entries = [device("a"), device("b"), pulse("1", &of("a")), pulse("2", &of("b")), pulse("3", "")];
    let devices = two_patients();
    let published = publication("medisante", "fhir-json", &bundle(&entries), &context(&devices));
    let whose = |id: &str| {
        let found = resource_with(&published.bundle, &format!("id|{id}"));
        found.at(&["subject", "reference"]).and_then(Json::as_str).map(str::to_owned)
    };
    assert_eq!((whose("1").as_deref(), whose("2").as_deref()), (Some("Patient/p"), Some("Patient/q")));
    assert_eq!(resources(&published.bundle).len(), 4, "of two devices neither is taken for the third");
    assert!(published.waits && codes(&published.issues) == ["required"], "{:?}", published.issues);

    let named = pulse("4", r#","device":{"identifier":{"value":"X:Y:b"}}"#);
    let published = publication("medisante", "fhir-json", &bundle(&[device("a"), named]), &context(&devices));
    let subject = resource_with(&published.bundle, "id|4").at(&["subject", "reference"]).and_then(Json::as_str);
    assert_eq!(subject, Some("Patient/q"));
}

#[test]
fn names_of_other_things_are_no_names_of_a_device() {
    let other = r#"{"resource":{"resourceType":"Device","id":"a","identifier":[
        {"system":"https://example.org/fhir/adapters/medisante/measurement","value":"X:Y:b"},
        {"type":{"coding":[{"code":"MR"}]},"value":"X:Y:b"},{"value":"X:Y:a"}]}}"#;
    let devices = two_patients();
    let body = bundle(&[other.to_owned(), pulse("1", "")]);
    let published = publication("medisante", "fhir-json", &body, &context(&devices));
    let subject = resource_with(&published.bundle, "id|1").at(&["subject", "reference"]).and_then(Json::as_str);
    assert_eq!(subject, Some("Patient/p"));
}

#[test]
fn documents_of_too_many_resources_or_devices_are_refused_at_once() {
    let shape = adapters::find("medisante").and_then(|it| it.shape("fhir-json")).expect("a shape");
    let many = |count: usize, make: &dyn Fn(usize) -> String| bundle(&(0..count).map(make).collect::<Vec<_>>());
    let devices = many(9_000, &|index| device(&index.to_string()));
    let resources = many(10_001, &|index| pulse(&index.to_string(), ""));
    for body in [devices, resources] {
        assert!(matches!((shape.receive)(&body), Err(Refusal::Unprocessable(_))));
    }
    let condition = br#"{"resourceType":"Condition","id":"1","code":{"text":"Asthma"}}"#;
    assert!((shape.receive)(condition).is_err(), "a vendor of devices hands on nothing clinical");
}

#[test]
fn the_vendors_own_xml_is_kept_and_other_things_are_refused() {
    let adapter = adapters::find("medisante").expect("an adapter");
    let own = br#"<?xml version="1.0"?><measurement id="1"><value>7</value></measurement>"#;
    let shape = adapter.shape_at("/health-data/medisante", own).expect("a shape");
    assert_eq!(shape.name, "medisantestandard-xml");
    assert!((shape.receive)(own).is_ok());
    assert!(matches!((shape.map)(own, &context(&[])), Mapping::Quarantine { .. }));
    for bad in [&b"<a><b></a>"[..], b"<a/><b/>", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", b"<a"] {
        assert!(matches!((shape.receive)(bad), Err(Refusal::Malformed(_))), "{}", String::from_utf8_lossy(bad));
    }
}

fn shape() -> &'static Shape {
    adapters::find("medisante").and_then(|adapter| adapter.shape("medisantestandard-json")).expect("a shape")
}

fn published(bytes: &[u8], assignments: &[Assignment]) -> (Json, Vec<Issue>) {
    let publication = publication("medisante", "medisantestandard-json", bytes, &context(assignments));
    (publication.bundle, publication.issues)
}

fn quarantined(bytes: &[u8], assignments: &[Assignment]) -> Vec<Issue> {
    match (shape().map)(bytes, &context(assignments)) {
        Mapping::Quarantine { issues } => issues,
        other => panic!("not quarantined: {other:?}"),
    }
}
