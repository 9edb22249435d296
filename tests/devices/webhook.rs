//! Tests of `server/src/devices/webhook.rs`.

use fhir::json::Json;
use simulators::medisante::Medisante;
use tests::TestServer;

use crate::{MEASUREMENT, MONITOR, assert_says, cloud, count, fixture, inbox, only, paired, sample, vendor};

tests::on_both_engines!(
    every_sample_becomes_what_its_manifest_says,
    re_22_64_deliveries_at_once_make_one_set_of_resources,
    in_42_only_a_good_key_delivers,
    in_43_a_message_that_is_too_large_is_refused,
    a_message_without_its_names_is_422_and_kept,
    other_content_under_the_same_id_is_kept_and_not_applied,
    both_paths_of_the_vendor_take_messages,
);

async fn every_sample_becomes_what_its_manifest_says(server: TestServer) {
    let manifest = fixture("manifest.json");
    let mut ledger: Vec<(String, String)> = Vec::new();
    for sample in manifest.list("samples") {
        for assignment in sample.get("context").map_or(&[][..], |context| context.list("device_assignments")) {
            let patient = assignment.str("patient").and_then(|text| text.strip_prefix("Patient/")).expect("a patient");
            let pair = (patient.to_owned(), assignment.str("deviceId").expect("a device").to_owned());
            if !ledger.contains(&pair) {
                paired(&server, &pair.0, &pair.1).await;
                ledger.push(pair);
            }
        }
    }
    let (system, vendor) = (server.system(), vendor(&server));
    let mut first = None;
    for sample in manifest.list("samples").iter().filter(|sample| sample.at(&["context", "clock"]).is_none()) {
        let file = sample.str("file").expect("a file");
        let expect = sample.get("expect").expect("an expectation");
        let answer = vendor.send(crate::sample(&file[..2])).await.expect("an answer");
        assert_eq!(
            Some(answer.status.to_string().as_str()),
            expect.get("http_status").and_then(Json::as_number),
            "{file}"
        );
        let receipt = answer.receipt().map(str::to_owned);
        match expect.str("outcome") {
            Some("rejected") => {
                assert_eq!(answer.body["statusCode"], "400", "{file}");
                assert_eq!(answer.body["error"], "Bad request", "{file}");
                continue;
            }
            Some("duplicate") => assert_eq!(receipt, first, "{file}"),
            _ => assert!(receipt.as_deref().is_some_and(is_receipt), "{file}: {receipt:?}"),
        }
        first = first.or(receipt);
    }
    let states: Vec<_> =
        inbox(&server).await.iter().map(|message| message["state"].as_str().map(str::to_owned)).collect();
    assert_eq!(states.iter().filter(|state| state.as_deref() == Some("applied")).count(), 8);
    assert_eq!(states.iter().filter(|state| state.as_deref() == Some("quarantined")).count(), 1);
    assert_eq!(states.len(), 9, "the duplicate and the truncated message are not kept again");
    for sample in manifest.list("samples").iter().filter(|sample| sample.at(&["context", "clock"]).is_none()) {
        let Some(file) = sample.get("expect").and_then(|expect| expect.str("expected_file")) else { continue };
        for entry in fixture(file).list("entry") {
            published(&system, entry.get("resource").expect("a resource"), file).await;
        }
    }
    let panel =
        only(&system, "Observation", &format!("{MEASUREMENT}|f3a2b1c0-1111-4222-8333-444455551111:blood-pressure"))
            .await;
    let absent = panel.list("component")[1].at(&["dataAbsentReason", "coding", "code"]).and_then(Json::as_str);
    assert_eq!(absent, Some("unknown"), "the panel without a diastolic is kept");
    assert_eq!(count(&system, "Device").await, 7);
}

/// Compares a stored resource with an expected one; of devices only what no other message changes.
async fn published(system: &tests::Client, expected: &Json, file: &str) {
    let resource_type = expected.str("resourceType").expect("a type");
    let identifier = &expected.list("identifier")[0];
    let token =
        format!("{}|{}", identifier.str("system").expect("a system"), identifier.str("value").expect("a value"));
    let actual = only(system, resource_type, &token).await;
    let mut expected = expected.clone();
    if resource_type == "Device" {
        let members = expected.as_object_mut().expect("an object");
        members.remove("meta");
        members.remove("identifier");
    }
    assert_says(&expected, &actual, &format!("{file}: {token}"));
}

async fn re_22_64_deliveries_at_once_make_one_set_of_resources(server: TestServer) {
    paired(&server, "pat-001", MONITOR).await;
    let vendor = vendor(&server);
    let sends: Vec<_> = (0..64)
        .map(|_| {
            let vendor = vendor.clone();
            tokio::spawn(async move { vendor.send(sample("01")).await.expect("an answer") })
        })
        .collect();
    let mut receipts = Vec::new();
    for send in sends {
        let answer = send.await.expect("no panic");
        assert_eq!(answer.status, 200, "{answer:?}");
        receipts.push(answer.receipt().expect("a receipt").to_owned());
    }
    receipts.dedup();
    assert_eq!(receipts.len(), 1, "all get one receipt");
    let kept = inbox(&server).await;
    assert_eq!((kept.len(), &kept[0]["deliveries"]), (1, &serde_json::json!(64)));
    let system = server.system();
    assert_eq!((count(&system, "Observation").await, count(&system, "Device").await), (2, 1));
    let pressure =
        only(&system, "Observation", &format!("{MEASUREMENT}|6b1c5d0e-3f0a-4c55-9c3e-0d6c1f2a7a01:blood-pressure"))
            .await;
    assert_eq!(pressure.at(&["meta", "versionId"]).and_then(Json::as_str), Some("1"));
}

async fn in_42_only_a_good_key_delivers(server: TestServer) {
    let vendor = vendor(&server);
    for bad in ["", "not-the-key"] {
        let answer = cloud(&server, bad).send(sample("01")).await.expect("an answer");
        assert_eq!((answer.status, &answer.body["statusCode"]), (401, &serde_json::json!("401")));
    }
    assert!(inbox(&server).await.is_empty(), "nothing is kept");
    assert_eq!(vendor.send(sample("01")).await.expect("an answer").status, 200);
    server.command(&["vendor", "revoke", "medisante"]);
    assert_eq!(vendor.send(sample("01")).await.expect("an answer").status, 401, "revoked at once");
}

async fn in_43_a_message_that_is_too_large_is_refused(server: TestServer) {
    let answer = vendor(&server).send(" ".repeat((10 << 20) + 1)).await.expect("an answer");
    assert_eq!(answer.status, 413);
    assert!(inbox(&server).await.is_empty());
}

async fn a_message_without_its_names_is_422_and_kept(server: TestServer) {
    let vendor = vendor(&server);
    for _ in 0..2 {
        let answer = vendor.send(r#"{"metadata":{},"device":{},"measurements":{}}"#).await.expect("an answer");
        assert_eq!((answer.status, &answer.body["statusCode"]), (422, &serde_json::json!("422")));
        let message = answer.body["message"].as_str().expect("a message");
        for name in ["correlationId", "measurementType", "timestamp"] {
            assert!(message.contains(name), "{message}");
        }
    }
    let kept = inbox(&server).await;
    assert_eq!((kept.len(), &kept[0]["state"]), (1, &serde_json::json!("dead")));
}

async fn other_content_under_the_same_id_is_kept_and_not_applied(server: TestServer) {
    paired(&server, "pat-001", MONITOR).await;
    let vendor = vendor(&server);
    let first = vendor.send(sample("01")).await.expect("an answer");
    let other = sample("01").replace("123", "223");
    assert_ne!(other, sample("01"));
    let second = vendor.send(other.clone()).await.expect("an answer");
    assert_eq!(second.status, 200);
    assert_ne!(first.receipt(), second.receipt());
    let third = vendor.send(other).await.expect("an answer");
    assert_eq!(second.receipt(), third.receipt());
    let kept = inbox(&server).await;
    assert_eq!(kept.len(), 2);
    let second = kept.iter().find(|message| message["state"] == "duplicate").expect("it is kept");
    assert_eq!(second["outcome"]["issue"][0]["code"], "duplicate");
    let pressure = only(
        &server.system(),
        "Observation",
        &format!("{MEASUREMENT}|6b1c5d0e-3f0a-4c55-9c3e-0d6c1f2a7a01:blood-pressure"),
    )
    .await;
    assert_eq!(pressure.list("component")[0].at(&["valueQuantity", "value"]), Some(&Json::Number("123".into())));
}

async fn both_paths_of_the_vendor_take_messages(server: TestServer) {
    let key = server.command(&["vendor", "add", "medisante"]);
    let short = Medisante::new(&format!("{}/health-data/medisante", server.origin()), key.trim()).expect("a client");
    assert_eq!(short.send(sample("08")).await.expect("an answer").status, 200);
    assert_eq!(cloud(&server, key.trim()).send(sample("08")).await.expect("an answer").status, 200);
    assert_eq!(inbox(&server).await.len(), 1);
}

fn is_receipt(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
