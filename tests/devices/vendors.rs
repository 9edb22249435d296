//! Vendors beside Medisanté, and the ways in: `server/src/devices/webhook.rs` with `adapters/src`.

use std::path::Path;

use fhir::json::Json;
use tests::{Client, TestServer};

use crate::{MONITOR, add_patient, assert_says, count, inbox, only, paired, sample};

tests::on_both_engines!(
    samples_of_healthkit_become_what_their_manifest_says,
    samples_of_validic_become_what_their_manifest_says,
    samples_of_smart_meter_become_what_their_manifest_says,
    statuses_and_alerts_of_smartz_become_what_their_manifest_says,
    corrections_make_versions_and_deletions_are_entered_in_error,
    a_clients_token_delivers_as_a_key_does,
    a_phone_speaks_only_for_its_patient,
    what_a_phone_hands_on_needs_rights_for_each_type_and_stays_its_patients,
    a_resource_goes_from_no_patient_to_another,
    a_deletion_before_its_record_is_remembered,
    the_same_bytes_with_another_type_are_another_message,
    fhir_of_a_vendor_is_validated_and_gets_our_patient,
    what_was_written_says_who_made_it_of_what,
);

const NAMESPACE: &str = "https://example.org/fhir/adapters";

async fn samples_of_healthkit_become_what_their_manifest_says(server: TestServer) {
    add_patient(&server.system(), "pat-hk-1").await;
    let phone = server.patient("pat-hk-1");
    let manifest = document("healthkit", "manifest.json");
    for sample in manifest.list("samples") {
        let file = sample.str("file").expect("a file");
        let path = sample.str("endpoint").and_then(|it| it.strip_prefix("POST ")).expect("a path");
        let kind = sample.str("content_type").expect("a content type");
        let expect = sample.get("expect").expect("an expectation");
        let answer = phone.post(path).body(kind, bytes("healthkit", file)).await;
        let status = expect.get("http_status").and_then(Json::as_number).and_then(|it| it.parse().ok());
        let answer = answer.expect_status(status.expect("a status")).json();
        if let Some(Json::Array(ids)) = expect.get("vendor_response") {
            assert_eq!(answer.items().len(), ids.len(), "{file}: one receipt for each item");
        }
    }
    settled(&server, "applied").await;
    published(&server.system(), "healthkit", &manifest).await;
    let panel = "HKCorrelationTypeIdentifierBloodPressure";
    let panels = server.system().matches(&format!("Observation?code={panel}")).await;
    assert_eq!(panels.len(), 2, "the one of the app and the one of the export, whose loose copies are none");
}

async fn samples_of_validic_become_what_their_manifest_says(server: TestServer) {
    user(&server.system(), "pat-v", "validic/uid", "uid-0001").await;
    let system = server.system();
    let key = key(&server, "validic");
    for file in ["01-smart-meter-pulse-ox", "02-blood-pressure-manual", "03-weight-bmi-unknown-origin"] {
        push(&server, "/health-data/validic", &key, "validic", &format!("{file}.json")).await;
    }
    for file in
        ["04-glucose-out-of-bounds.json", "05-sleep-record.json", "06-stream.sse", "11-unknown-metric-and-unit.json"]
    {
        push(&server, "/health-data/validic", &key, "validic", file).await;
    }
    settled(&server, "applied").await;
    published(&system, "validic", &document("validic", "manifest.json")).await;
    assert_eq!((count(&system, "Flag").await, count(&system, "DeviceUseStatement").await), (1, 1));
    push(&server, "/health-data/validic", &key, "validic", "13-record-without-id.json").await;
    let kept = inbox(&server).await;
    assert_eq!(
        (&kept[0]["state"], &kept[0]["outcome"]["issue"][0]["code"]),
        (&"quarantined".into(), &"required".into())
    );
}

async fn samples_of_smart_meter_become_what_their_manifest_says(server: TestServer) {
    add_patient(&server.system(), "pat-201").await;
    let manifest = document("smart_meter", "manifest.json");
    let mut devices: Vec<&str> = Vec::new();
    for sample in manifest.list("samples") {
        let rows = sample.get("context").map_or(&[][..], |context| context.list("device_assignments"));
        devices.extend(rows.iter().filter_map(|row| row.str("deviceId")));
    }
    devices.sort_unstable();
    devices.dedup();
    for device in devices {
        let pair =
            ["pair", "--vendor", "smart_meter", "--device", device, "--patient", "pat-201", "--from", "2020-01-01"];
        server.command(&pair);
    }
    let key = key(&server, "smart_meter");
    for file in
        ["01-readings-all-types", "02-glucose-mmol-only", "03-weight-lbs-only-no-offset", "05-weight-implausible"]
    {
        push(&server, "/health-data/smart-meter", &key, "smart_meter", &format!("{file}.json")).await;
    }
    settled(&server, "applied").await;
    let system = server.system();
    published(&system, "smart_meter", &manifest).await;
    let unbelievable = only(&system, "Observation", &format!("{NAMESPACE}/smart_meter/reading|r-1007:weight")).await;
    assert_eq!(unbelievable.str("status"), Some("preliminary"));
}

async fn statuses_and_alerts_of_smartz_become_what_their_manifest_says(server: TestServer) {
    let system = server.system();
    user(&system, "pat-z", "smartz/patient", "pt-9001").await;
    let identifier = fhir::object! { "system": format!("{NAMESPACE}/smartz/pod"), "value": "pod-501" };
    system
        .store(&fhir::object! { "resourceType": "Device", "id": "pod", "identifier": fhir::array![identifier] })
        .await;
    let key = server.command(&["vendor", "add", "smartz"]);
    for file in ["05-status-wet.json", "06-alert-raised.json"] {
        let call = server.anonymous().post("/health-data/smartz").header("x-sub-key", key.trim());
        call.body("application/json", bytes("smartz", file)).await.expect_status(200);
    }
    settled(&server, "applied").await;
    for file in ["05-status-wet.expected.json", "06-alert-raised.expected.json"] {
        for entry in document("smartz", file).list("entry") {
            says(&system, entry.get("resource").expect("a resource"), file).await;
        }
    }
}

async fn corrections_make_versions_and_deletions_are_entered_in_error(server: TestServer) {
    let system = server.system();
    user(&system, "pat-v", "validic/uid", "uid-0001").await;
    let key = key(&server, "validic");
    for file in ["02-blood-pressure-manual.json", "08-record-updated.json"] {
        push(&server, "/health-data/validic", &key, "validic", file).await;
        settled(&server, "applied").await;
    }
    let of = |metric: &str| format!("{NAMESPACE}/validic/record-metric|702d5fc3000001517279486e245d5b02:{metric}");
    let panel = only(&system, "Observation", &of("blood_pressure")).await;
    assert_eq!((panel.str("status"), version(&panel)), (Some("corrected"), Some("2")));
    assert_eq!(panel.list("component")[0].at(&["valueQuantity", "value"]).and_then(Json::as_number), Some("138"));
    let pulse = only(&system, "Observation", &of("pulse")).await;
    assert_eq!((pulse.str("status"), version(&pulse)), (Some("entered-in-error"), Some("2")));
    assert!(pulse.get("valueQuantity").is_some(), "the value stays");

    // The same again in other bytes makes nothing.
    let body = [bytes("validic", "08-record-updated.json"), b"\n".to_vec()].concat();
    send(&server, "/health-data/validic", &key, body).await;
    settled(&server, "applied").await;
    assert_eq!(version(&only(&system, "Observation", &of("blood_pressure")).await), Some("2"));

    for file in ["01-smart-meter-pulse-ox.json", "07-stream-deleted-record.json"] {
        push(&server, "/health-data/validic", &key, "validic", file).await;
        settled(&server, "applied").await;
    }
    let gone = format!("{NAMESPACE}/validic/record-metric|3de314260cc0000169c5bae6547f1a01:spo2");
    assert_eq!(only(&system, "Observation", &gone).await.str("status"), Some("entered-in-error"));
    let late = [bytes("validic", "01-smart-meter-pulse-ox.json"), b"\n".to_vec()].concat();
    send(&server, "/health-data/validic", &key, late).await;
    settled(&server, "applied").await;
    assert_eq!(only(&system, "Observation", &gone).await.str("status"), Some("entered-in-error"), "a late copy");
}

async fn a_clients_token_delivers_as_a_key_does(server: TestServer) {
    paired(&server, "pat-001", MONITOR).await;
    let path = "/health-data/medisante/medisantestandard-json";
    let body = || sample("01").as_bytes().to_vec();
    let send = |client: Client| async move { client.post(path).body("application/json", body()).await };
    send(server.anonymous()).await.expect_status(401);
    send(server.anonymous().with_token("not-a-token")).await.expect_status(401);
    send(server.patient("pat-001")).await.expect_status(403);
    send(server.with_scope("system/Observation.rs", None)).await.expect_status(403);
    assert!(inbox(&server).await.is_empty(), "nothing is kept");
    send(server.with_scope("system/Observation.c", None)).await.expect_status(200);
    settled(&server, "applied").await;
    assert_eq!(count(&server.system(), "Observation").await, 2);
}

async fn a_phone_speaks_only_for_its_patient(server: TestServer) {
    for patient in ["a", "b"] {
        add_patient(&server.system(), patient).await;
    }
    let path = "/health-data/healthkit";
    let body = || bytes("healthkit", "03-mixed-quantities.json");
    let send = |client: Client| async move { client.post(path).body("application/json", body()).await };
    send(server.anonymous()).await.expect_status(401);
    send(server.system()).await.expect_status(403);
    send(server.with_scope("patient/Observation.rs", Some("a"))).await.expect_status(403);
    send(server.patient("a")).await.expect_status(200);
    settled(&server, "applied").await;
    let system = server.system();
    assert_eq!(system.matches("Observation?patient=a").await.len(), 4);
    let again = send(server.patient("a")).await.expect_status(200).json();
    assert_eq!(inbox(&server).await.len(), 1, "{again}");
    send(server.patient("b")).await.expect_status(200);
    assert_eq!(inbox(&server).await.len(), 2, "the same bytes of another patient are another message");
    settled(&server, "applied").await;
    assert_eq!(system.matches("Observation?patient=b").await.len(), 4, "and not hidden by those of the first");
    assert_eq!(system.matches("Observation?patient=a").await.len(), 4);
}

async fn what_a_phone_hands_on_needs_rights_for_each_type_and_stays_its_patients(server: TestServer) {
    for patient in ["a", "b"] {
        add_patient(&server.system(), patient).await;
    }
    let condition = |text: &str| {
        let code = fhir::object! { "text": text };
        fhir::object! {
            "resourceType": "Condition", "id": "1", "code": code,
            "subject": fhir::object! { "reference": "Patient/theirs" },
        }
    };
    let send = |client: Client, body: Json| async move {
        let call = client.post("/health-data/healthkit/fhir-json");
        call.body("application/json", body.to_string().into_bytes()).await
    };
    for scope in
        ["patient/Observation.cruds", "patient/*.crs", "patient/Observation.cu patient/Condition.cu?category=problem"]
    {
        send(server.with_scope(scope, Some("a")), condition("Asthma")).await.expect_status(403);
    }
    assert!(inbox(&server).await.is_empty(), "nothing is kept");
    let scope = "patient/Observation.c patient/Condition.cu";
    send(server.with_scope(scope, Some("a")), condition("Asthma")).await.expect_status(200);
    send(server.patient("b"), condition("Gout")).await.expect_status(200);
    settled(&server, "applied").await;
    let system = server.system();
    for (patient, text) in [("a", "Asthma"), ("b", "Gout")] {
        let found = system.matches(&format!("Condition?patient={patient}")).await;
        assert_eq!(found.len(), 1, "{patient}");
        let stored = system.get(&format!("Condition?patient={patient}")).await.entries("match");
        assert_eq!(stored[0].at(&["code", "text"]).and_then(Json::as_str), Some(text));
    }
}

async fn a_resource_goes_from_no_patient_to_another(server: TestServer) {
    let system = server.system();
    user(&system, "pat-v", "validic/uid", "uid-0001").await;
    user(&system, "pat-w", "validic/uid", "uid-0002").await;
    let key = key(&server, "validic");
    push(&server, "/health-data/validic", &key, "validic", "02-blood-pressure-manual.json").await;
    settled(&server, "applied").await;
    let body = String::from_utf8(bytes("validic", "02-blood-pressure-manual.json")).expect("text");
    let other = body.replace("uid-0001", "uid-0002");
    assert_ne!(body, other);
    send(&server, "/health-data/validic", &key, other.into_bytes()).await;
    assert_eq!(inbox(&server).await[0]["state"], "quarantined");
    assert_eq!(system.matches("Observation?patient=pat-w").await.len(), 0);
    assert!(!system.matches("Observation?patient=pat-v").await.is_empty());
}

async fn a_deletion_before_its_record_is_remembered(server: TestServer) {
    let system = server.system();
    user(&system, "pat-v", "validic/uid", "uid-0001").await;
    let key = key(&server, "validic");
    for file in ["07-stream-deleted-record.json", "01-smart-meter-pulse-ox.json"] {
        push(&server, "/health-data/validic", &key, "validic", file).await;
        settled(&server, "applied").await;
    }
    assert_eq!(count(&system, "Observation").await, 0);
    push(&server, "/health-data/validic", &key, "validic", "02-blood-pressure-manual.json").await;
    settled(&server, "applied").await;
    assert!(count(&system, "Observation").await > 0, "other records are published");
}

async fn the_same_bytes_with_another_type_are_another_message(server: TestServer) {
    add_patient(&server.system(), "a").await;
    let body = br#"[{"startDate":"2024-07-24T08:00:00+0200","sourceName":"Watch","value":7}]"#;
    for kind in ["StepCount", "FlightsClimbed", "StepCount"] {
        let path = format!("/health-data/healthkit?type=HKQuantityTypeIdentifier{kind}");
        server.patient("a").post(&path).body("application/json", body.to_vec()).await.expect_status(200);
    }
    assert_eq!(inbox(&server).await.len(), 2);
    settled(&server, "applied").await;
}

async fn fhir_of_a_vendor_is_validated_and_gets_our_patient(server: TestServer) {
    paired(&server, "pat-001", MONITOR).await;
    let key = key(&server, "medisante");
    let observation = |status: &str| {
        let device = fhir::object! { "identifier": fhir::object! { "value": MONITOR } };
        fhir::object! {
            "resourceType": "Observation",
            "identifier": fhir::array![fhir::object! { "system": "urn:m", "value": status }],
            "status": status,
            "code": fhir::object! { "text": "Pulse" },
            "subject": fhir::object! { "reference": "Patient/theirs" },
            "effectiveDateTime": "2024-05-21T17:45:12+02:00",
            "device": device,
            "valueInteger": 67,
        }
    };
    send(&server, "/health-data/medisante/fhir-json", &key, observation("final").to_string().into_bytes()).await;
    settled(&server, "applied").await;
    let written = only(&server.system(), "Observation", "urn:m|final").await;
    assert_eq!(written.at(&["subject", "reference"]).and_then(Json::as_str), Some("Patient/pat-001"));
    let bad =
        observation("preliminary").to_string().replace("\"valueInteger\":67", "\"valueInteger\":\"many\"").into_bytes();
    send(&server, "/health-data/medisante/fhir-json", &key, bad).await;
    send(&server, "/health-data/medisante", &key, b"<measurement><value>7</value></measurement>".to_vec()).await;
    let kept = inbox(&server).await;
    assert_eq!(kept.iter().filter(|message| message["state"] == "quarantined").count(), 2, "{kept:?}");
    let receipt = kept[0]["receipt"].as_str().expect("a receipt");
    let raw = server.command(&["inbox", "show", receipt]);
    assert!(raw.contains("<measurement>") || raw.contains("many"), "kept byte for byte: {raw}");
}

async fn what_was_written_says_who_made_it_of_what(server: TestServer) {
    paired(&server, "pat-001", MONITOR).await;
    let key = key(&server, "medisante");
    for _ in 0..2 {
        send(&server, "/health-data/medisante", &key, sample("01").as_bytes().to_vec()).await;
    }
    let kept = inbox(&server).await;
    let receipt = kept[0]["receipt"].as_str().expect("a receipt");
    let system = server.system();
    let provenance = system.get(&format!("Provenance/{receipt}")).await.expect_status(200).json();
    assert_eq!(version(&provenance), Some("1"));
    let pulse = only(
        &system,
        "Observation",
        "https://example.org/fhir/adapters/medisante/measurement|6b1c5d0e-3f0a-4c55-9c3e-0d6c1f2a7a01:pulse",
    )
    .await;
    let target = format!("Observation/{}", pulse.str("id").expect("an id"));
    assert!(provenance.to_string().contains(&target), "{provenance}");
    assert!(provenance.to_string().contains("medisante 2"), "the version of the adapter: {provenance}");
    assert_eq!(count(&system, "Provenance").await, 1);
}

/// A key of a vendor.
pub(crate) fn key(server: &TestServer, vendor: &str) -> String {
    server.command(&["vendor", "add", vendor]).trim().to_owned()
}

/// Delivers a sample with the vendor's key.
pub(crate) async fn push(server: &TestServer, path: &str, key: &str, vendor: &str, file: &str) {
    send(server, path, key, bytes(vendor, file)).await;
}

/// Sends a body with a key.
pub(crate) async fn send(server: &TestServer, path: &str, key: &str, body: Vec<u8>) {
    let call = server.anonymous().post(path).header("x-api-key", key);
    call.body("application/json", body).await.expect_status(200);
}

/// Waits until all is applied, and fails if something became of a message that should not.
pub(crate) async fn settled(server: &TestServer, state: &str) {
    let kept = inbox(server).await;
    for message in kept {
        assert_eq!(message["state"], state, "{message}");
    }
}

/// A patient whom a vendor knows by an identifier.
async fn user(system: &Client, id: &str, kind: &str, value: &str) {
    let identifier = fhir::object! { "system": format!("{NAMESPACE}/{kind}"), "value": value };
    let patient = fhir::object! { "resourceType": "Patient", "id": id, "identifier": fhir::array![identifier] };
    system.store(&patient).await;
}

/// Checks that everything the manifest expects of what was sent is stored.
pub(crate) async fn published(system: &Client, vendor: &str, manifest: &Json) {
    for sample in manifest.list("samples") {
        let expect = sample.get("expect").expect("an expectation");
        let file = expect.str("expected_file").filter(|_| expect.str("outcome") == Some("mapped"));
        let asked = sample.str("endpoint").is_some_and(|endpoint| endpoint.starts_with("direct connection"));
        let Some(file) = file.filter(|_| !asked) else { continue };
        for entry in document(vendor, file).list("entry") {
            says(system, entry.get("resource").expect("a resource"), file).await;
        }
    }
}

/// Compares a stored resource with an expected one; of devices only what no other message changes.
async fn says(system: &Client, expected: &Json, file: &str) {
    let resource_type = expected.str("resourceType").expect("a type");
    let first = &expected.list("identifier")[0];
    let token = format!("{}|{}", first.str("system").expect("a system"), first.str("value").expect("a value"));
    let actual = only(system, resource_type, &token).await;
    let mut expected = expected.clone();
    let members = expected.as_object_mut().expect("an object");
    members.remove("identifier"); // ours may be more
    if resource_type == "Device" {
        members.remove("meta");
    }
    assert_says(&expected, &actual, &format!("{file}: {token}"));
}

/// The version of a resource.
pub(crate) fn version(resource: &Json) -> Option<&str> {
    resource.at(&["meta", "versionId"])?.as_str()
}

/// A file of the samples of a vendor.
pub(crate) fn bytes(vendor: &str, file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters/fixtures").join(vendor);
    std::fs::read(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The same as JSON.
pub(crate) fn document(vendor: &str, file: &str) -> Json {
    Json::parse(&bytes(vendor, file)).expect("fixtures are JSON")
}
