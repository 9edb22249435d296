//! Tests of `server/src/devices/ingest.rs`.

use fhir::json::Json;
use simulators::medisante::blood_pressure;
use tests::TestServer;

use crate::{MONITOR, count, inbox, only, paired, vendor};

tests::on_both_engines!(
    re_22_what_was_acknowledged_is_applied_once_after_kill_9,
    messages_of_one_device_make_no_version_of_it_each,
    a_new_devices_first_messages_make_one_device,
    a_batch_waits_for_any_of_its_devices,
    what_is_wrong_with_one_item_does_not_hold_up_the_others,
    an_alert_that_was_overtaken_does_not_open_again,
    messages_that_share_a_commit_stand_each_by_itself,
    re_22_what_comes_at_once_is_kept_and_applied_each_once,
);

/// Identifiers of readings.
const READING: &str = "https://example.org/fhir/adapters/smart_meter/reading";

async fn re_22_what_was_acknowledged_is_applied_once_after_kill_9(mut server: TestServer) {
    paired(&server, "pat-001", MONITOR).await;
    let vendor = vendor(&server);
    let mut acknowledged = 0;
    for round in 0..5 {
        // each one to three times, in another order than they were made
        let sends: Vec<_> = (0..40)
            .map(|index| {
                let number = index * 7 % 40 % 20;
                let (vendor, body) = (vendor.clone(), blood_pressure(MONITOR, &format!("round{round}"), number));
                tokio::spawn(async move {
                    for _ in 0..=number % 2 {
                        vendor.send(body.clone()).await.is_ok_and(|answer| answer.status == 200).then_some(())?;
                    }
                    Some(number)
                })
            })
            .collect();
        let mut numbers = std::collections::BTreeSet::new();
        for send in sends {
            numbers.extend(send.await.expect("no panic"));
        }
        acknowledged += numbers.len();
        server.kill();
        server.restart().await;
    }
    assert_eq!(acknowledged, 100);
    let kept = inbox(&server).await;
    assert_eq!(kept.iter().filter(|message| message["state"] == "applied").count(), acknowledged, "{kept:?}");
    assert_eq!(count(&server.system(), "Observation").await, 2 * acknowledged);
    assert_eq!(count(&server.system(), "Device").await, 1);
}

async fn messages_of_one_device_make_no_version_of_it_each(server: TestServer) {
    paired(&server, "pat-001", MONITOR).await;
    let vendor = vendor(&server);
    vendor.send(blood_pressure(MONITOR, "run", 0)).await.expect("an answer");
    inbox(&server).await;
    let system = server.system();
    let identifier = format!("https://example.org/fhir/adapters/medisante/device-id|{MONITOR}");
    let before = only(&system, "Device", &identifier).await;
    for number in 1..10 {
        vendor.send(blood_pressure(MONITOR, "run", number)).await.expect("an answer");
    }
    inbox(&server).await;
    let after = only(&system, "Device", &identifier).await;
    assert_eq!(before, after);
    assert_eq!(
        after.at(&["patient", "reference"]).and_then(Json::as_str),
        Some("Patient/pat-001"),
        "the pairing's word stays"
    );
    assert_eq!(after.str("manufacturer"), Some("TaiDoc"), "the message's word is added");
    assert_eq!(count(&system, "Observation").await, 20);
}

async fn a_new_devices_first_messages_make_one_device(server: TestServer) {
    let vendor = vendor(&server);
    let sends: Vec<_> = (0..32)
        .map(|number| {
            let (vendor, body) = (vendor.clone(), blood_pressure(MONITOR, "run", number));
            tokio::spawn(async move { vendor.send(body).await.expect("an answer").status })
        })
        .collect();
    for send in sends {
        assert_eq!(send.await.expect("no panic"), 200);
    }
    assert!(inbox(&server).await.iter().all(|message| message["state"] == "quarantined"));
    paired(&server, "pat-001", MONITOR).await;
    assert!(inbox(&server).await.iter().all(|message| message["state"] == "applied"));
    assert_eq!((count(&server.system(), "Device").await, count(&server.system(), "Observation").await), (1, 64));
}

async fn a_batch_waits_for_any_of_its_devices(server: TestServer) {
    let device = |number: usize| format!("86000000000000{number}");
    let batch: Vec<String> = (1..=4).map(|number| pulse(&format!("r{number}"), &device(number))).collect();
    post(&server, "smart_meter", "/health-data/smart-meter", &format!("[{}]", batch.join(","))).await;
    assert_eq!(inbox(&server).await[0]["state"], "quarantined");
    let system = server.system();
    crate::add_patient(&system, "pat-001").await;
    for number in [4, 3, 1, 2] {
        let device = device(number);
        let arguments = ["pair", "--vendor", "smart_meter", "--device", &device, "--patient", "pat-001"];
        server.command(&[&arguments[..], &["--from", "2022-01-01T00:00:00Z"]].concat());
        inbox(&server).await;
        only(&system, "Observation", &format!("{READING}|r{number}:pulse")).await;
    }
    assert_eq!(inbox(&server).await[0]["state"], "applied");
    assert_eq!(count(&system, "Observation").await, 4);
}

async fn what_is_wrong_with_one_item_does_not_hold_up_the_others(server: TestServer) {
    let system = server.system();
    for (patient, device) in [("pat-a", "860000000000001"), ("pat-b", "860000000000002")] {
        crate::add_patient(&system, patient).await;
        let arguments = ["pair", "--vendor", "smart_meter", "--device", device, "--patient", patient];
        server.command(&[&arguments[..], &["--from", "2022-01-01T00:00:00Z"]].concat());
    }
    post(&server, "smart_meter", "/health-data/smart-meter", &pulse("r1", "860000000000001")).await;
    inbox(&server).await;
    // somebody else's device says that it made the same reading
    let mut page: Vec<String> = (2..=6).map(|number| pulse(&format!("r{number}"), "860000000000002")).collect();
    page.insert(2, pulse("r1", "860000000000002"));
    post(&server, "smart_meter", "/health-data/smart-meter", &format!("[{}]", page.join(","))).await;
    let kept = inbox(&server).await;
    let page = kept.iter().find(|message| message["state"] == "quarantined").expect("it is kept for a person");
    assert!(page.to_string().contains("is about another patient"), "{page}");
    assert_eq!(system.matches("Observation?patient=pat-b").await.len(), 5, "the others are written");
    assert_eq!(system.matches("Observation?patient=pat-a").await.len(), 1);
    let versions = count(&system, "Provenance").await;
    server.command(&["inbox", "replay", "--state", "quarantined"]);
    inbox(&server).await;
    assert_eq!((count(&system, "Observation").await, count(&system, "Provenance").await), (6, versions));
}

async fn an_alert_that_was_overtaken_does_not_open_again(server: TestServer) {
    crate::add_patient(&server.system(), "pat-001").await;
    let device = "pod-0001";
    let arguments = ["pair", "--vendor", "smartz", "--device", device, "--patient", "pat-001"];
    server.command(&[&arguments[..], &["--from", "2022-01-01T00:00:00Z"]].concat());
    let alert = |resolved: Option<&str>| {
        let mut alert = fhir::object! {
            "id": "al-1", "podId": device, "type": "wet", "severity": "high", "message": "Change needed",
            "raisedAt": "2025-05-01T09:00:00Z",
        };
        if let (Some(at), Some(members)) = (resolved, alert.as_object_mut()) {
            members.insert("resolvedAt", at);
        }
        alert.to_string()
    };
    for body in [alert(Some("2025-05-01T09:30:00Z")), alert(None)] {
        post(&server, "smartz", "/health-data/smartz", &body).await;
        inbox(&server).await;
    }
    let flags = server.system().get("Flag").await.expect_status(200).entries("match");
    assert_eq!(flags.len(), 1);
    assert_eq!(flags[0].str("status"), Some("inactive"), "the alert was over before it came");
}

async fn messages_that_share_a_commit_stand_each_by_itself(server: TestServer) {
    let status = |number: usize| {
        let patient = format!("pt-{number}");
        let status = fhir::object! {
            "id": format!("st-{number}"), "podId": "pod-1", "patientId": patient, "state": "wet",
            "timestamp": "2025-05-01T09:00:00Z",
        };
        status.to_string()
    };
    let key = server.command(&["vendor", "add", "smartz"]);
    for number in 0..10 {
        let cloud = server.anonymous().post("/health-data/smartz").header("x-sub-key", key.trim());
        cloud.body("application/json", status(number)).await.expect_status(200);
    }
    assert!(inbox(&server).await.iter().all(|message| message["state"] == "quarantined"), "nobody knows of whom");
    let system = server.system();
    let namespace = "https://example.org/fhir/adapters/smartz";
    let pod = fhir::object! { "system": format!("{namespace}/pod"), "value": "pod-1" };
    system.store(&fhir::object! { "resourceType": "Device", "id": "pod", "identifier": fhir::array![pod] }).await;
    for number in (0..10).filter(|number| *number != 4) {
        let identifier = fhir::object! { "system": format!("{namespace}/patient"), "value": format!("pt-{number}") };
        let id = format!("p{number}");
        let patient = fhir::object! { "resourceType": "Patient", "id": id, "identifier": fhir::array![identifier] };
        system.store(&patient).await;
    }
    // All of them are due at once, and one has nobody.
    server.command(&["inbox", "replay", "--state", "quarantined"]);
    let kept = inbox(&server).await;
    let applied = kept.iter().filter(|message| message["state"] == "applied").count();
    assert_eq!((kept.len(), applied, count(&system, "Observation").await), (10, 9, 9), "{kept:?}");
    assert_eq!(count(&system, "Provenance").await, 9, "one each");
    let told = system.get("AuditEvent?patient=p1&_count=1000").await.expect_status(200).entries("match");
    let mut written = told.iter().map(Json::to_string).filter(|event| event.contains("\"transaction\""));
    let event = written.next().expect("an event");
    assert!(event.contains("Patient/p1") && !event.contains("Patient/p2"), "each has an event of its own: {event}");
    assert!(written.next().is_none());
}

/// Repeated, contradicted, and of a device that went to another patient in between, all at the same time.
async fn re_22_what_comes_at_once_is_kept_and_applied_each_once(server: TestServer) {
    let system = server.system();
    let handed_over = "2025-01-01T00:20:00Z";
    paired(&server, "pat-001", MONITOR).await;
    server.command(&["pair", "--device", MONITOR, "--until", handed_over]);
    crate::add_patient(&system, "pat-002").await;
    server.command(&["pair", "--device", MONITOR, "--patient", "pat-002", "--from", handed_over]);
    let vendor = vendor(&server);
    let body = |number: u64| blood_pressure(MONITOR, "burst", number);
    let contradicting = |number: u64| body(number).replace("\"isInRange\":true", "\"isInRange\":false");
    assert_ne!(contradicting(0), body(0));
    let once = (0..32).map(|number| (number, body(number)));
    let all: Vec<(u64, String)> = once.clone().chain(once).collect();
    let send = |(number, body): (u64, String)| {
        let vendor = vendor.clone();
        tokio::spawn(async move {
            let answer = vendor.send(body).await.expect("an answer");
            assert_eq!(answer.status, 200, "{answer:?}");
            (number, answer.receipt().expect("a receipt").to_owned())
        })
    };
    let mut receipts = std::collections::BTreeSet::new();
    for sent in all.into_iter().map(send).collect::<Vec<_>>() {
        receipts.insert(sent.await.expect("no panic"));
    }
    assert_eq!(receipts.len(), 32, "a delivery has one receipt");
    for sent in (0..4).map(|number| send((number, contradicting(number)))).collect::<Vec<_>>() {
        receipts.insert(sent.await.expect("no panic"));
    }
    assert_eq!(receipts.len(), 36, "what contradicts it has its own");
    let kept = inbox(&server).await;
    let of = |state: &str| kept.iter().filter(|message| message["state"] == state).count();
    assert_eq!((of("applied"), of("duplicate"), kept.len()), (32, 4, 36), "{kept:?}");
    let observations = system.get("Observation?_count=1000").await.expect_status(200).entries("match");
    assert_eq!(observations.len(), 64);
    for (patient, count) in [("pat-001", 40), ("pat-002", 24)] {
        let of = system.matches(&format!("Observation?patient={patient}&_count=1000")).await;
        assert_eq!(of.len(), count, "whose it was at the time: {patient}");
    }
    let firsts = observations.iter().filter(|it| it.at(&["meta", "versionId"]).and_then(Json::as_str) == Some("1"));
    assert_eq!(firsts.count(), 64, "no second version");
    assert_eq!((count(&system, "Provenance").await, count(&system, "Device").await), (32, 1));
}

fn pulse(reading: &str, device: &str) -> String {
    fhir::object! {
        "reading_id": reading, "device_id": device, "device_model": "iPulseOx", "reading_type": "pulse_ox",
        "date_recorded": "2025-05-01T11:30:00", "date_received": "2025-05-01T11:30:42", "time_zone_offset": "-4",
        "pulse_bpm": 71,
    }
    .to_string()
}

/// Delivers a message as a vendor's cloud with a good key.
async fn post(server: &TestServer, vendor: &str, path: &str, body: &str) {
    let name = format!("cloud-{}", body.len());
    let key = server.command(&["vendor", "add", vendor, "--sender", &name]);
    let header = if vendor == "smartz" { "x-sub-key" } else { "x-api-key" };
    server.anonymous().post(path).header(header, key.trim()).body("application/json", body).await.expect_status(200);
}
