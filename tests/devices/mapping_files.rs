//! Tests of `server/src/devices/mapping_files.rs`: vendors that are described by a file, through HTTP.

use std::fs;
use std::path::Path;

use fhir::json::Json;
use tests::{TestServer, program};

use crate::vendors::{bytes, document, key, published, push, send, settled, version};
use crate::{add_patient, count, inbox, only};

tests::on_both_engines!(
    samples_of_open_mhealth_become_what_their_manifest_says,
    a_meter_without_an_adapter_gets_one_by_a_file,
    a_server_does_not_start_with_mapping_files_that_are_wrong,
);

const NAMESPACE: &str = "https://example.org/fhir/adapters";

/// A meter that nobody knows, in the fewest words.
const LUNGO: &str = r#"
vendor = "lungo"
name = "Lungo"
version = "1"
header = "x-lungo-key"
content-types = ["application/xml"]
items = "readings.reading[*]"
delivery = "readings.@batch"

[patient]
by = "device"

[record]
id = "@id"
deleted = { path = "@state", is = "void" }
time = { at = "at", format = "epoch-seconds" }
device = { serial = "meter" }

[[schema]]
name = "flow"

[[schema.measurement]]
name = "flow"
code = "LOINC 19935-6"
category = "exam"
value = "flow"
ucum = "L/min"
"#;

async fn samples_of_open_mhealth_become_what_their_manifest_says(mut server: TestServer) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters/declared/open-mhealth.toml");
    with_files(&mut server, &[("open-mhealth.toml", &fs::read_to_string(shipped).expect("a text"))]).await;
    let (vendor, path) = ("open-mhealth", "/health-data/open-mhealth");
    let key = key(&server, vendor);
    let system = server.system();
    for number in ["01-blood-pressure-4", "02-blood-pressure-3-one-side", "03-vital-signs-batch"] {
        push(&server, path, &key, vendor, &format!("{number}.json")).await;
    }
    settled(&server, "quarantined").await;
    assert_eq!(count(&system, "Observation").await, 0, "the user is nobody's yet");
    add_patient(&system, "pat-omh").await;
    server.command(&[
        "pair",
        "--vendor",
        vendor,
        "--device",
        "uid-omh-1",
        "--patient",
        "pat-omh",
        "--from",
        "2020-01-01",
    ]);
    for number in ["04-blood-glucose-specimens", "05-intervals"] {
        push(&server, path, &key, vendor, &format!("{number}.json")).await;
    }
    settled(&server, "applied").await;
    published(&system, vendor, &document(vendor, "manifest.json")).await;
    let before = count(&system, "Observation").await;
    // The same again in other bytes changes nothing, another value is a new version, and nothing else is.
    let again = [bytes(vendor, "03-vital-signs-batch.json"), b"\n".to_vec()].concat();
    send(&server, path, &key, again).await;
    push(&server, path, &key, vendor, "06-corrected-weight.json").await;
    settled(&server, "applied").await;
    assert_eq!(count(&system, "Observation").await, before);
    let of = |record: &str| format!("{NAMESPACE}/open-mhealth/reading|6a0e3c0e-54d5-4f0b-9f7e-0c5f6a6d00{record}");
    let weight = only(&system, "Observation", &of("11:body-weight")).await;
    assert_eq!((weight.str("status"), version(&weight)), (Some("corrected"), Some("2")));
    let heart = only(&system, "Observation", &of("10:heart-rate")).await;
    assert_eq!(version(&heart), Some("1"));
    let app = server.patient("pat-omh").get("Observation?code=http://loinc.org|8867-4").await.expect_status(200);
    assert_eq!(app.entries("match").len(), 1, "the patient's app sees it");
    push(&server, path, &key, vendor, "07-unknown-schema-and-part-of-day.json").await;
    assert_eq!(inbox(&server).await[0]["state"], "quarantined", "what cannot be read waits");
    assert_eq!(count(&system, "Observation").await, before + 1, "and what can is published");
}

async fn a_meter_without_an_adapter_gets_one_by_a_file(mut server: TestServer) {
    let system = server.system();
    add_patient(&system, "a").await;
    let call = |key: &str, kind: &str, body: &str| {
        let call = server.anonymous().post("/health-data/lungo").header("x-lungo-key", key);
        call.body(kind, body.as_bytes().to_vec())
    };
    assert_eq!(
        call("any", "application/xml", "<readings/>").await.expect_status(404).json().str("statusCode"),
        Some("404")
    );
    with_files(&mut server, &[("lungo.toml", LUNGO), ("notes.txt", "not a mapping file")]).await;
    assert!(server.command(&["adapter", "list"]).contains("POST /health-data/lungo"));
    assert!(server.command(&["adapter", "describe", "lungo"]).contains("Lungo, version 1+"));
    let key = server.command(&["vendor", "add", "lungo"]).trim().to_owned();
    server.command(&["pair", "--vendor", "lungo", "--device", "LU-77", "--patient", "a", "--from", "2020-01-01"]);
    let medisante = server.command(&["vendor", "add", "medisante"]).trim().to_owned();
    let call = |key: &str, kind: &str, body: &str| {
        let call = server.anonymous().post("/health-data/lungo").header("x-lungo-key", key);
        call.body(kind, body.as_bytes().to_vec())
    };
    let body = |batch: &str, rest: &str| {
        format!(
            "<readings batch='{batch}'><reading id='1'{rest}><at>1770000000</at><meter>LU-77</meter><flow>412</flow></reading></readings>"
        )
    };
    let sent = body("b1", "");
    for wrong in ["", "nonsense", medisante.as_str()] {
        call(wrong, "application/xml", &sent).await.expect_status(401);
    }
    server
        .patient("a")
        .post("/health-data/lungo")
        .body("application/xml", sent.as_bytes().to_vec())
        .await
        .expect_status(403);
    call(&key, "application/json", "{}").await.expect_status(415);
    call(&key, "application/xml", "<readings>").await.expect_status(400);
    call(&key, "application/xml", "<other/>").await.expect_status(422);
    call(&key, "application/xml", &"<r/>".repeat(300_000)).await.expect_status(413);
    let receipt = call(&key, "application/xml; charset=utf-8", &sent).await.expect_status(200).text();
    assert_eq!(call(&key, "application/xml", &sent).await.expect_status(200).text(), receipt, "known by its batch");
    let reading = format!("{NAMESPACE}/lungo/reading|1:flow");
    inbox(&server).await;
    let flow = only(&system, "Observation", &reading).await;
    assert_eq!(flow.at(&["subject", "reference"]).and_then(Json::as_str), Some("Patient/a"));
    assert_eq!(flow.str("effectiveDateTime"), Some("2026-02-02T02:40:00Z"));
    let provenance = system.get("Provenance").await.expect_status(200).text();
    assert!(provenance.contains("adapter lungo 1+"), "{provenance}");
    call(&key, "application/xml", &body("b2", " state='void'")).await.expect_status(200);
    inbox(&server).await;
    assert_eq!(only(&system, "Observation", &reading).await.str("status"), Some("entered-in-error"));
    // Without its file the vendor is not known any more; what it delivered stays.
    with_files(&mut server, &[]).await;
    let call = server.anonymous().post("/health-data/lungo").header("x-lungo-key", &key);
    call.body("application/xml", sent.into_bytes()).await.expect_status(404);
    only(&system, "Observation", &reading).await;
}

async fn a_server_does_not_start_with_mapping_files_that_are_wrong(server: TestServer) {
    let folder = server.folder().join("wrong");
    fs::create_dir(&folder).expect("the folder is writable");
    let wrong = LUNGO.replace("\"L/min\"", "\"litres\"").replace("19935-6", "19935-5");
    fs::write(folder.join("a.toml"), &wrong).expect("the folder is writable");
    fs::write(folder.join("b.toml"), LUNGO.replace("\"lungo\"", "\"medisante\"")).expect("the folder is writable");
    let folder = folder.to_str().expect("a path of plain letters");
    let ended = |arguments: &[&str]| {
        let ended = program::command(arguments).current_dir(server.folder()).output().expect("it can be started");
        assert!(!ended.status.success(), "{arguments:?}");
        format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr))
    };
    let arguments = ["serve", "--database", server.database_url(), "--listen", "127.0.0.1:0", "--adapters", folder];
    let file = format!("{folder}/a.toml");
    let check = ["adapter", "check", &file];
    for told in [ended(&arguments), ended(&check)] {
        assert!(told.contains("a.toml:24: schema[0].measurement[0].code: 19935-5 is no LOINC code"), "{told}");
        assert!(told.contains("a.toml:27: schema[0].measurement[0].ucum: litres is not valid UCUM"), "{told}");
    }
    assert!(ended(&arguments).contains("b.toml: the name medisante belongs to the adapter of medisante"));
    let missing = ["adapter", "list", "--adapters", "/nonexistent"];
    assert!(ended(&missing).contains("/nonexistent"));
}

/// Starts the server again with just these mapping files in its folder.
async fn with_files(server: &mut TestServer, files: &[(&str, &str)]) {
    let folder = server.folder().join("vendors");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("the folder is writable");
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("the folder is writable");
    }
    fs::write(server.folder().join("tributary.toml"), "adapters = \"vendors\"\n").expect("the folder is writable");
    server.restart().await;
}
