//! Device messages over HTTP, names as in server/src/devices.

use std::path::Path;
use std::time::{Duration, Instant};

use fhir::json::Json;
use serde_json::Value;
use simulators::medisante::{Medisante, SAMPLES};
use tests::{Client, TestServer};

mod asked;
mod claims;
mod claims_access;
mod claims_after;
mod claims_answers;
mod claims_attacked;
mod claims_sessions;
mod claims_submit;
mod claims_whose;
mod connections;
mod import;
mod ingest;
mod mapping_files;
mod pairing;
mod payers;
mod phone;
mod stream;
mod vendors;
mod webhook;

/// The device of the first sample, and of most others.
pub const MONITOR: &str = "TaiDoc:BP800:001-3261717440000AAA-0D";

/// Identifiers of measurements.
pub const MEASUREMENT: &str = "https://example.org/fhir/adapters/medisante/measurement";

/// How long messages may wait to be applied: longer than the lease of a worker that was killed.
const PATIENCE: Duration = Duration::from_mins(1);

/// The vendor's cloud with a good key.
pub fn vendor(server: &TestServer) -> Medisante {
    let key = server.command(&["vendor", "add", "medisante"]);
    cloud(server, key.trim())
}

/// The vendor's cloud with some key.
pub fn cloud(server: &TestServer, key: &str) -> Medisante {
    let webhook = format!("{}/health-data/medisante/medisantestandard-json", server.origin());
    Medisante::new(&webhook, key).expect("a client can be made")
}

/// A sample by the number that its file begins with.
pub fn sample(number: &str) -> &'static str {
    SAMPLES.iter().find(|sample| sample.file.starts_with(number)).expect("a sample of this number").body
}

/// A patient of this id, and a device that was theirs since 2022.
pub async fn paired(server: &TestServer, patient: &str, device: &str) {
    add_patient(&server.system(), patient).await;
    server.command(&["pair", "--device", device, "--patient", patient, "--from", "2022-01-01T00:00:00Z"]);
}

/// A patient of this id.
pub async fn add_patient(system: &Client, id: &str) {
    system.store(&fhir::object! { "resourceType": "Patient", "id": id }).await;
}

/// Waits until nothing is left to be applied; what is kept, newest first.
pub async fn inbox(server: &TestServer) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = server.command(&["inbox", "list", "--limit", "1000", "--json"]);
        let messages: Vec<Value> = serde_json::from_str(&listed).expect("the list is JSON");
        if messages.iter().all(|message| message["state"] != "received") {
            return messages;
        }
        assert!(Instant::now() < deadline, "messages are not applied in time: {listed}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The only resource of a type with this identifier.
pub async fn only(system: &Client, resource_type: &str, identifier: &str) -> Json {
    let query: String = url::form_urlencoded::byte_serialize(identifier.as_bytes()).collect();
    let found = system.get(&format!("{resource_type}?identifier={query}")).await.expect_status(200).entries("match");
    assert_eq!(found.len(), 1, "{resource_type} {identifier}");
    found.into_iter().next().expect("there is one")
}

/// How many resources of a type there are.
pub async fn count(system: &Client, resource_type: &str) -> usize {
    system.matches(&format!("{resource_type}?_count=1000")).await.len()
}

/// A document of the fixtures.
pub fn fixture(name: &str) -> Json {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters/fixtures/medisante");
    let bytes = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Json::parse(&bytes).expect("fixtures are JSON")
}

/// Fails unless everything `expected` says is also said by `actual`; references inside the Bundle became others.
pub fn assert_says(expected: &Json, actual: &Json, path: &str) {
    match (expected, actual) {
        (Json::Object(members), Json::Object(_)) => {
            for (name, value) in members.iter() {
                let found = actual.get(name).unwrap_or_else(|| panic!("{path}.{name} is missing in {actual}"));
                assert_says(value, found, &format!("{path}.{name}"));
            }
        }
        (Json::Array(wanted), Json::Array(found)) => {
            assert_eq!(wanted.len(), found.len(), "{path}: {actual}");
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                assert_says(wanted, found, &format!("{path}[{index}]"));
            }
        }
        (Json::String(wanted), Json::String(found)) if wanted.starts_with("urn:uuid:") => {
            assert!(found.contains('/') && !found.contains(':'), "{path}: {found}");
        }
        (Json::String(wanted), Json::String(found)) if wanted.contains("?identifier=") => {
            let resource_type = wanted.split('?').next().unwrap_or_default();
            assert!(found.starts_with(&format!("{resource_type}/")), "{path}: {found}");
        }
        _ => assert_eq!(expected, actual, "{path}"),
    }
}
