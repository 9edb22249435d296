//! Every sample message of every vendor becomes exactly the FHIR that stands beside it.
//!
//! Expected is a subset of actual: members of objects may be more, items of arrays may not, but for identifiers.
//! Entries are matched by `fullUrl`, numbers compared as decimals, conditional URLs after decoding.

use std::fs;
use std::path::{Path, PathBuf};

use adapters::device::{self, Use};
use adapters::{Adapter, Assignment, Context, Mapping, Refusal};
use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::{Issue, Severity};

#[test]
fn every_sample_gives_what_its_manifest_says() {
    let mut checked = 0;
    for folder in fs::read_dir(root()).expect("fixtures are part of this package") {
        let folder = folder.expect("readable folder").path();
        let manifest = document(&folder.join("manifest.json"));
        let adapter = adapters::find(manifest.str("vendor").expect("vendor")).expect("a known vendor");
        for sample in manifest.list("samples") {
            check(adapter, &folder, &manifest, sample);
            checked += 1;
        }
    }
    assert_eq!(checked, 12);
}

#[test]
fn the_same_message_gives_the_same_bytes_on_every_run() {
    let bytes = sample("01-blood-pressure-bp800.json");
    let (first, second) = (published(&bytes, &[everywhere("TaiDoc:BP800:001-3261717440000AAA-0D")]), {
        published(&bytes, &[everywhere("TaiDoc:BP800:001-3261717440000AAA-0D")])
    });
    assert_eq!(first.0.to_string(), second.0.to_string());
}

#[test]
fn numbers_keep_their_written_form() {
    let bytes = replaced("04-weight-impedance-bc800.json", "64.7", "64.700");
    let (bundle, _) = published(&bytes, &[everywhere("EBMTech:BC800:003-204040000008494-25")]);
    assert!(bundle.to_string().contains("\"value\":64.700,"), "{bundle}");
}

#[test]
fn a_reading_belongs_to_who_had_the_device_at_that_moment() {
    let bytes = sample("01-blood-pressure-bp800.json");
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
    let Err(Refusal::Unprocessable(issues)) = (medisante().receive)(bytes) else { panic!("accepted") };
    assert_eq!(codes(&issues), ["required", "required", "required", "value"]);
}

#[test]
fn an_unknown_unit_stays_text_without_profile() {
    let bytes = replaced("04-weight-impedance-bc800.json", "\"kg\"", "\"stone\"");
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
    let bytes = replaced("04-weight-impedance-bc800.json", "\"bodyComposition\"", "\"boneDensity\"");
    let (bundle, issues) = published(&bytes, &[everywhere("EBMTech:BC800:003-204040000008494-25")]);
    assert_eq!(
        resource_with(&bundle, ":bone-density").at(&["code", "coding", "code"]).and_then(Json::as_str),
        Some("boneDensity")
    );
    assert_eq!(codes(&issues), ["not-supported"]);
}

#[test]
fn an_unbelievable_value_is_kept_as_preliminary() {
    let bytes = replaced("04-weight-impedance-bc800.json", "64.7", "6226");
    let (bundle, issues) = published(&bytes, &[everywhere("EBMTech:BC800:003-204040000008494-25")]);
    assert_eq!(resource_with(&bundle, ":body-weight").str("status"), Some("preliminary"));
    assert_eq!(codes(&issues), ["value"]);
}

#[test]
fn an_unknown_type_is_quarantined() {
    let bytes = replaced("04-weight-impedance-bc800.json", "BodyWeightComposition", "Aura");
    assert_eq!(codes(&quarantined(&bytes, &[everywhere("EBMTech:BC800:003-204040000008494-25")])), ["not-supported"]);
}

#[test]
fn a_time_without_offset_takes_that_of_the_device() {
    let bytes = replaced("01-blood-pressure-bp800.json", "17:45:12+02:00", "17:45:12");
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

fn check(adapter: &Adapter, folder: &Path, manifest: &Json, sample: &Json) {
    let file = sample.str("file").expect("file");
    let bytes = fs::read(folder.join(file)).expect("sample");
    let expect = sample.get("expect").expect("expectation");
    let expected = expect.str("expected_file").map(|name| document(&folder.join(name)));
    let namespace = manifest.str("namespace").expect("namespace");
    if sample.str("endpoint") == Some("POST /devices/assign") {
        let clock = sample.at(&["context", "clock"]).and_then(Json::as_str).expect("clock");
        let bundle = assigned(&bytes, namespace, clock);
        compare(&expected.expect("an expected Bundle"), &bundle, file);
        return counts(expect, &bundle, file);
    }
    let assignments: Vec<Assignment> = sample
        .get("context")
        .map_or(&[][..], |context| context.list("device_assignments"))
        .iter()
        .map(assignment)
        .collect();
    let context = Context { namespace, now: micros(manifest.str("clock").expect("clock")), assignments: &assignments };
    let delivery = match (adapter.receive)(&bytes) {
        Ok(delivery) => delivery,
        Err(Refusal::Malformed(issue)) => {
            assert_eq!(expect.str("outcome"), Some("rejected"), "{file}");
            return outcome(&expected.expect("an expected outcome"), &[issue], file);
        }
        Err(Refusal::Unprocessable(issues)) => panic!("{file}: {issues:?}"),
    };
    match ((adapter.map)(&bytes, &context), expect.str("outcome").expect("outcome")) {
        (Mapping::Publish { bundle, issues }, "mapped") => {
            assert!(issues.is_empty(), "{file}: {issues:?}");
            compare(&expected.expect("an expected Bundle"), &bundle, file);
            counts(expect, &bundle, file);
        }
        (Mapping::Publish { bundle, issues }, "mapped-with-warnings") => {
            assert!(!issues.is_empty() && issues.iter().all(|issue| issue.severity == Severity::Warning), "{file}");
            assert!(bundle.to_string().contains("\"code\":\"unknown\""), "{file}: the diastolic is said to be absent");
            counts(expect, &bundle, file);
        }
        (Mapping::Publish { .. }, "duplicate") => {
            let first = sample.at(&["context", "preload"]).and_then(Json::as_str).expect("preload");
            let first = (adapter.receive)(&fs::read(folder.join(first)).expect("preload")).expect("sound");
            assert_eq!(delivery, first, "{file}");
        }
        (Mapping::Quarantine { issues }, "quarantined") => outcome(&expected.expect("an outcome"), &issues, file),
        (mapping, wanted) => panic!("{file}: wanted {wanted}, got {mapping:?}"),
    }
}

fn assigned(bytes: &[u8], namespace: &str, clock: &str) -> Json {
    let body = Json::parse(bytes).expect("a body");
    let usage = Use {
        provider: body.str("deviceProvider").expect("provider"),
        kind: "device-id",
        device: body.str("deviceId").expect("device"),
        name: body.str("name"),
        device_type: body.str("deviceType"),
        patient: body.str("assignedPatientId").expect("patient"),
        start: clock,
        end: None,
        recorded: clock,
    };
    device::assignment(namespace, &usage)
}

fn compare(expected: &Json, actual: &Json, file: &str) {
    let url = |entry: &Json| entry.str("fullUrl").expect("fullUrl").to_owned();
    let mut wanted: Vec<String> = expected.list("entry").iter().map(url).collect();
    let mut found: Vec<String> = actual.list("entry").iter().map(url).collect();
    wanted.sort();
    found.sort();
    assert_eq!(wanted, found, "{file}");
    for entry in expected.list("entry") {
        let other = actual.list("entry").iter().find(|other| url(other) == url(entry)).expect("same urls");
        subset(entry, other, &format!("{file}: {}", url(entry)));
    }
}

/// Fails unless everything `expected` says is also said by `actual`.
fn subset(expected: &Json, actual: &Json, path: &str) {
    match (expected, actual) {
        (Json::Object(members), Json::Object(_)) => {
            for (name, value) in members.iter().filter(|(name, value)| !is_assigned_by_server(name, value)) {
                let found = actual.get(name).unwrap_or_else(|| panic!("{path}.{name} is missing in {actual}"));
                let path = format!("{path}.{name}");
                match (name, value, found) {
                    ("url" | "ifNoneExist", Json::String(wanted), Json::String(found)) => {
                        assert_eq!(decoded(wanted), decoded(found), "{path}");
                    }
                    ("identifier", Json::Array(wanted), Json::Array(found)) => {
                        for (index, wanted) in wanted.iter().enumerate() {
                            let same = found.iter().find(|found| found.get("system") == wanted.get("system"));
                            subset(
                                wanted,
                                same.unwrap_or_else(|| panic!("{path} lacks {wanted}")),
                                &format!("{path}[{index}]"),
                            );
                        }
                    }
                    _ => subset(value, found, &path),
                }
            }
        }
        (Json::Array(wanted), Json::Array(found)) => {
            assert_eq!(wanted.len(), found.len(), "{path}");
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                subset(wanted, found, &format!("{path}[{index}]"));
            }
        }
        (Json::Number(wanted), Json::Number(found)) => {
            assert_eq!(Decimal::parse(wanted), Decimal::parse(found), "{path}");
        }
        _ => assert_eq!(expected, actual, "{path}"),
    }
}

fn is_assigned_by_server(name: &str, value: &Json) -> bool {
    let narrative = name == "text" && value.as_object().is_some();
    narrative || matches!(name, "id" | "versionId" | "lastUpdated")
}

fn counts(expect: &Json, bundle: &Json, file: &str) {
    let members = expect.get("resources").and_then(Json::as_object).expect("counts");
    for (resource_type, count) in members.iter() {
        let found = bundle
            .list("entry")
            .iter()
            .filter(|entry| entry.get("resource").and_then(|it| it.str("resourceType")) == Some(resource_type));
        assert_eq!(found.count().to_string(), count.as_number().unwrap_or_default(), "{file}: {resource_type}");
    }
}

fn outcome(expected: &Json, issues: &[Issue], file: &str) {
    for issue in expected.list("issue") {
        let same = issues.iter().any(|found| {
            Some(found.severity.as_str()) == issue.str("severity") && Some(found.code.as_str()) == issue.str("code")
        });
        assert!(same, "{file}: no {issue} in {issues:?}");
    }
}

fn assignment(json: &Json) -> Assignment {
    Assignment {
        device: json.str("deviceId").expect("deviceId").to_owned(),
        patient: json.str("patient").and_then(|text| text.strip_prefix("Patient/")).expect("patient").to_owned(),
        from: micros(json.str("from").expect("from")),
        until: None,
    }
}

fn everywhere(device: &str) -> Assignment {
    Assignment { device: device.to_owned(), patient: "p".to_owned(), from: 0, until: None }
}

fn published(bytes: &[u8], assignments: &[Assignment]) -> (Json, Vec<Issue>) {
    (medisante().receive)(bytes).expect("a sound message");
    match (medisante().map)(bytes, &context(assignments)) {
        Mapping::Publish { bundle, issues } => (bundle, issues),
        Mapping::Quarantine { issues } => panic!("quarantined: {issues:?}"),
    }
}

fn quarantined(bytes: &[u8], assignments: &[Assignment]) -> Vec<Issue> {
    match (medisante().map)(bytes, &context(assignments)) {
        Mapping::Quarantine { issues } => issues,
        Mapping::Publish { bundle, .. } => panic!("published: {bundle}"),
    }
}

fn context(assignments: &[Assignment]) -> Context<'_> {
    Context { namespace: "https://example.org/fhir/adapters", now: micros("2025-06-01T12:00:00Z"), assignments }
}

fn resource_with<'a>(bundle: &'a Json, suffix: &str) -> &'a Json {
    let mut resources = bundle.list("entry").iter().filter_map(|entry| entry.get("resource"));
    let found = resources
        .find(|it| it.at(&["identifier", "value"]).and_then(Json::as_str).is_some_and(|value| value.ends_with(suffix)));
    found.unwrap_or_else(|| panic!("no {suffix} in {bundle}"))
}

fn codes(issues: &[Issue]) -> Vec<&'static str> {
    issues.iter().map(|issue| issue.code.as_str()).collect()
}

fn medisante() -> &'static Adapter {
    adapters::find("medisante").expect("listed")
}

fn sample(name: &str) -> Vec<u8> {
    fs::read(root().join("medisante").join(name)).expect("sample")
}

fn replaced(name: &str, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(sample(name)).expect("text");
    assert!(text.contains(from), "{name} has no {from}");
    text.replace(from, to).into_bytes()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn document(path: &Path) -> Json {
    Json::parse(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).expect("JSON")
}

fn micros(instant: &str) -> i64 {
    instant.parse::<jiff::Timestamp>().expect("instant").as_microsecond()
}

fn decoded(url: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = url.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: String = rest.by_ref().take(2).map(char::from).collect();
            bytes.push(u8::from_str_radix(&hex, 16).expect("hexadecimal"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
