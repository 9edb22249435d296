//! Tests of `server/src/devices/pairing.rs`.

use fhir::json::Json;
use tests::TestServer;

use crate::{MEASUREMENT, MONITOR, add_patient, assert_says, count, fixture, inbox, only, sample, vendor};

tests::on_both_engines!(
    messages_of_an_unpaired_device_wait_for_the_pairing,
    a_reading_goes_to_who_had_the_device_then,
    the_assign_endpoint_writes_device_and_use,
    re_19_a_device_is_with_one_patient_at_a_time,
    only_the_system_level_assigns,
);

const PATIENT: &str = "9c86fda0197f4d0e8780daae45bac2f8";

async fn messages_of_an_unpaired_device_wait_for_the_pairing(server: TestServer) {
    let (system, vendor) = (server.system(), vendor(&server));
    vendor.send(sample("08")).await.expect("an answer");
    let kept = inbox(&server).await;
    assert_eq!(kept[0]["state"], "quarantined");
    assert_eq!(kept[0]["outcome"]["issue"][0]["code"], "not-found");
    assert_eq!((count(&system, "Observation").await, count(&system, "Device").await), (0, 0));
    add_patient(&system, "late").await;
    server.command(&["pair", "--device", "TaiDoc:BP800:NOT-ASSIGNED", "--patient", "late", "--from", "2024-05-21"]);
    assert_eq!(inbox(&server).await[0]["state"], "applied");
    let pressure =
        only(&system, "Observation", &format!("{MEASUREMENT}|a54b1f1e-5d6a-4a47-8b58-17f0ab7c0808:blood-pressure"))
            .await;
    assert_eq!(pressure.at(&["subject", "reference"]).and_then(Json::as_str), Some("Patient/late"));
}

async fn a_reading_goes_to_who_had_the_device_then(server: TestServer) {
    let (system, vendor) = (server.system(), vendor(&server));
    for patient in ["then", "now"] {
        add_patient(&system, patient).await;
    }
    let between = ["--from", "2024-01-01", "--until", "2024-12-31"];
    server.command(&[&["pair", "--device", MONITOR, "--patient", "then"], &between[..]].concat());
    server.command(&["pair", "--device", MONITOR, "--patient", "now", "--from", "2025-01-01"]);
    vendor.send(sample("01")).await.expect("an answer");
    inbox(&server).await;
    assert_eq!(system.matches("Observation?patient=then").await.len(), 2);
    assert!(system.matches("Observation?patient=now").await.is_empty());
    let device =
        only(&system, "Device", &format!("https://example.org/fhir/adapters/medisante/device-id|{MONITOR}")).await;
    assert_eq!(device.at(&["patient", "reference"]).and_then(Json::as_str), Some("Patient/now"));
}

async fn the_assign_endpoint_writes_device_and_use(server: TestServer) {
    let system = server.system();
    add_patient(&system, PATIENT).await;
    let body = fixture("12-devices-assign.json");
    let made = system.post("/devices/assign").json(&body).await.expect_status(200).json();
    let id = made.str("_id").expect("an id").to_owned();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let again = system.post("/devices/assign").json(&body).await.expect_status(200).json();
    assert_eq!(again.str("_id"), Some(id.as_str()), "the same wish again changes nothing");
    assert_eq!((count(&system, "Device").await, count(&system, "DeviceUseStatement").await), (1, 1));

    let device =
        only(&system, "Device", "https://example.org/fhir/adapters/apple-healthkit/device-id|apple-12345").await;
    let expected = fixture("12-devices-assign.expected.json");
    assert_says(expected.list("entry")[0].get("resource").expect("a device"), &device, "Device");
    let usage = system.get(&format!("DeviceUseStatement?patient={PATIENT}")).await.expect_status(200).entries("match");
    assert_eq!(usage[0].str("status"), Some("active"));

    system.post(&format!("/devices/{id}/unassign")).await.expect_status(204);
    let usage = system.get(&format!("DeviceUseStatement?patient={PATIENT}")).await.expect_status(200).entries("match");
    assert_eq!((usage.len(), usage[0].str("status")), (1, Some("completed")));
    assert!(usage[0].at(&["timingPeriod", "end"]).is_some());
    let device =
        only(&system, "Device", "https://example.org/fhir/adapters/apple-healthkit/device-id|apple-12345").await;
    assert_eq!(device.get("patient"), None, "the device is nobody's now");
    let gone = system.post(&format!("/devices/{id}/unassign")).await.expect_status(404).json();
    assert_eq!(gone.str("statusCode"), Some("404"));
}

async fn re_19_a_device_is_with_one_patient_at_a_time(server: TestServer) {
    let system = server.system();
    for number in 0..8 {
        add_patient(&system, &format!("p{number}")).await;
    }
    let wishes: Vec<_> = (0..64)
        .map(|number| {
            let body = fhir::object! {
                "deviceId": "one", "deviceProvider": "medisante", "assignedPatientId": format!("p{}", number % 8),
            };
            let call = system.post("/devices/assign").json(&body);
            tokio::spawn(async move { call.await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for wish in wishes {
        statuses.push(wish.await.expect("no panic"));
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 8, "one patient's wishes: {statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 56, "{statuses:?}");
    assert_eq!(count(&system, "DeviceUseStatement").await, 1);
    let nobody = fhir::object! { "deviceId": "two", "deviceProvider": "medisante", "assignedPatientId": "nobody" };
    system.post("/devices/assign").json(&nobody).await.expect_status(422);
}

async fn only_the_system_level_assigns(server: TestServer) {
    add_patient(&server.system(), PATIENT).await;
    let body = fixture("12-devices-assign.json");
    server.anonymous().post("/devices/assign").json(&body).await.expect_status(401);
    server.patient(PATIENT).post("/devices/assign").json(&body).await.expect_status(403);
    server.with_scope("system/Observation.cruds", None).post("/devices/assign").json(&body).await.expect_status(403);
    assert_eq!(count(&server.system(), "Device").await, 0);
    for id in ["none", "a%00b", "%ff"] {
        let unassign = format!("/devices/{id}/unassign");
        server.anonymous().post(&unassign).await.expect_status(401);
        server.system().post(&unassign).await.expect_status(404);
    }
}
