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
    the_worked_example_does_what_its_page_says,
    a_withdrawal_takes_back_only_what_is_its_own_devices_or_users,
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

/// Samples and voids of one message; ids that are not told apart by device.
const PATCH: &str = r#"
vendor = "patch"
name = "Patch"
version = "1"
items = "samples[*]"

[patient]
by = "device"

[record]
id = "id"
time = { at = "t", format = "epoch-seconds" }
device = { serial = "^.serial" }

[[schema]]
name = "sample"

[[schema.measurement]]
name = "heart-rate"
code = "LOINC 8867-4"
value = "v"
ucum = "/min"

[[schema.measurement]]
name = "skin"
text = "Temperature of the skin"
category = "exam"
value = "skin"
ucum = "Cel"

[[schema]]
name = "void"
items = "void[*]"
[schema.record]
id = "."
deleted = true
"#;

async fn the_worked_example_does_what_its_page_says(mut server: TestServer) {
    let file = String::from_utf8(bytes("plastra", "plastra.toml")).expect("a text");
    with_files(&mut server, &[("plastra.toml", &file)]).await;
    let system = server.system();
    add_patient(&system, "ada").await;
    let described = server.command(&["adapter", "describe", "plastra"]);
    assert!(described.contains("x-plastra-key") && described.contains("application/json"), "{described}");
    server.command(&["pair", "--vendor", "plastra", "--device", "PL-0042", "--patient", "ada", "--from", "2025-01-01"]);
    let key = key(&server, "plastra");
    let deliver = async |name: &str| {
        let call = server.anonymous().post("/health-data/plastra").header("x-plastra-key", &key);
        call.body("application/json", bytes("plastra", name)).await.expect_status(200);
        inbox(&server).await[0]["state"].as_str().unwrap_or_default().to_owned()
    };
    let reading =
        async |of: &str| only(&system, "Observation", &format!("{NAMESPACE}/plastra/reading|PL-0042:{of}")).await;
    assert_eq!(deliver("01-all.json").await, "applied");
    assert_eq!(count(&system, "Observation").await, 3);
    let device = only(&system, "Device", &format!("{NAMESPACE}/plastra/serial-number|PL-0042")).await;
    assert!(device.get("property").is_some_and(|battery| battery.to_string().contains("34")), "{device}");
    let pressure = reading("2:blood-pressure").await;
    let part = pressure.list("component")[0].at(&["code", "text"]).and_then(Json::as_str).map(str::to_owned);
    assert_eq!(part.as_deref(), Some("Systolic blood pressure"));
    assert_eq!(deliver("02-corrected.json").await, "applied");
    assert_eq!(deliver("03-overtaken.json").await, "applied");
    let pulse = reading("1:heart-rate").await;
    assert_eq!((pulse.str("status"), version(&pulse)), (Some("corrected"), Some("2")), "{pulse}");
    assert_eq!(deliver("04-void-and-new.json").await, "applied");
    for of in ["1:heart-rate", "2:blood-pressure"] {
        assert_eq!(reading(of).await.str("status"), Some("entered-in-error"), "{of}");
    }
    assert_eq!(deliver("06-not-known.json").await, "quarantined");
    let told = inbox(&server).await[0]["outcome"].to_string();
    for place in ["alarms", "readings[1]", "readings[2].at"] {
        assert!(told.contains(&format!("\"{place}\"")), "{place}: {told}");
    }
    assert_eq!(reading("7:heart-rate").await.str("status"), Some("final"), "the rest is published");
}

async fn a_withdrawal_takes_back_only_what_is_its_own_devices_or_users(mut server: TestServer) {
    with_files(&mut server, &[("patch.toml", PATCH)]).await;
    let system = server.system();
    for (patient, device) in [("a", "P-1"), ("b", "P-2"), ("c", "P-3")] {
        add_patient(&system, patient).await;
        server.command(&[
            "pair",
            "--vendor",
            "patch",
            "--device",
            device,
            "--patient",
            patient,
            "--from",
            "2020-01-01",
        ]);
    }
    let key = key(&server, "patch");
    let deliver = async |body: &str| {
        send(&server, "/health-data/patch", &key, body.as_bytes().to_vec()).await;
        inbox(&server).await[0].clone()
    };
    let reading = async |of: &str| {
        let found = only(&system, "Observation", &format!("{NAMESPACE}/patch/reading|{of}")).await;
        found.str("status").map(str::to_owned)
    };
    let sample = |device: &str, id: &str| {
        format!(r#"{{"serial":"{device}","samples":[{{"id":"{id}","t":1770000000,"v":71}}],"void":[]}}"#)
    };
    assert_eq!(deliver(&sample("P-1", "x")).await["state"], "applied");
    // By a device that nobody has, and by somebody else's.
    for device in ["P-777", "P-3"] {
        let kept = deliver(&format!(r#"{{"serial":"{device}","void":["x"]}}"#)).await;
        assert_eq!(kept["state"], "quarantined", "{kept}");
        assert!(kept.to_string().contains("is of another patient or device"), "{kept}");
        assert_eq!(reading("x:heart-rate").await.as_deref(), Some("final"), "{device}");
    }
    // What vanishes from another's record of the same id is not missed in this one.
    let kept = deliver(r#"{"serial":"P-2","samples":[{"id":"x","t":1770000000,"skin":33.1}]}"#).await;
    assert_eq!(kept["state"], "applied", "{kept}");
    assert_eq!(reading("x:heart-rate").await.as_deref(), Some("final"));
    assert_eq!(reading("x:skin").await.as_deref(), Some("final"));
    // A deletion that came first holds for its own device only.
    assert_eq!(deliver(r#"{"serial":"P-2","void":["y","z"]}"#).await["state"], "applied");
    deliver(&sample("P-1", "y")).await;
    assert_eq!(reading("y:heart-rate").await.as_deref(), Some("final"));
    deliver(&sample("P-2", "z")).await;
    let late = system.matches("Observation?code=http://loinc.org|8867-4&patient=b").await;
    assert_eq!(late.len(), 0, "too late");
    assert_eq!(deliver(r#"{"serial":"P-1","void":["x"]}"#).await["state"], "applied");
    assert_eq!(reading("x:heart-rate").await.as_deref(), Some("entered-in-error"));
    // The same for a compiled adapter, whose records are users'.
    let validic = crate::vendors::key(&server, "validic");
    server.command(&["pair", "--vendor", "validic", "--device", "uid-0001", "--patient", "a", "--from", "2020-01-01"]);
    push(&server, "/health-data/validic", &validic, "validic", "01-smart-meter-pulse-ox.json").await;
    let deleted = String::from_utf8(bytes("validic", "07-stream-deleted-record.json")).expect("a text");
    let others = deleted.replace("uid-0001", "uid-0002").into_bytes();
    send(&server, "/health-data/validic", &validic, others).await;
    assert_eq!(inbox(&server).await[0]["state"], "quarantined");
    let record = format!("{NAMESPACE}/validic/record-metric|3de314260cc0000169c5bae6547f1a01:spo2");
    assert_eq!(only(&system, "Observation", &record).await.str("status"), Some("final"));
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
    for name in ["a.toml", "c.toml"] {
        fs::write(Path::new(folder).join(name), LUNGO).expect("the folder is writable");
    }
    let twice = ended(&arguments);
    assert!(twice.contains("c.toml: the name lungo belongs") && twice.contains("described by"), "{twice}");
    let nobody = ["pair", "--vendor", "lungoo", "--device", "x", "--patient", "a", "--database", server.database_url()];
    assert!(ended(&nobody).contains("there is no adapter for lungoo"), "{}", ended(&nobody));
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
