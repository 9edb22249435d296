//! Tests of `server/src/devices/phone.rs`: an app that signs in with a name and a password.

use fhir::json::Json;
use tests::{Answer, Client, TestServer};

use crate::{add_patient, inbox};

tests::on_both_engines!(
    a_phone_signs_in_and_delivers_for_its_own_patient,
    oa_20_oa_21_signing_in_on_a_phone_is_throttled_and_tells_nothing,
    oa_14_pages_of_other_sites_cannot_use_the_cookie,
    a_phone_assigns_what_it_sends_with_to_its_own_record_only,
    co_01_who_delivers_stands_in_the_audit_trail,
    a_simulated_phone_sends_each_sample_once_in_effect,
);

const SAMPLES: &str = r#"[{"id": "66666666-aaaa-4aaa-8aaa-000000000001", "type": "HKQuantityTypeIdentifierHeartRate",
    "value": 64, "unit": "count/min", "startDate": "2024-07-24T08:00:00+0200", "endDate": "2024-07-24T08:00:00+0200",
    "sourceId": "com.example.watch", "sourceName": "Watch"}]"#;

async fn a_phone_signs_in_and_delivers_for_its_own_patient(server: TestServer) {
    let system = server.system();
    for patient in ["pat-a", "pat-b"] {
        add_patient(&system, patient).await;
    }
    let password = account(&server, "ada@example.org", "Patient/pat-a");
    let client = server.anonymous();
    client.get("/profile").await.expect_status(401);
    let cookie = signed_in(&client, "ada@example.org", &password).await;
    let profile = client.get("/profile").header("cookie", &cookie).await.expect_status(200);
    assert_eq!(profile.header("cache-control"), Some("no-store"));
    let profile = profile.json();
    assert_eq!(profile.str("preferred_username"), Some("ada@example.org"));
    assert_eq!(profile.str("fhirUser"), Some(format!("{}/Patient/pat-a", server.fhir_base()).as_str()));
    assert!(profile.str("sub").is_some_and(|sub| !sub.is_empty()));
    for path in ["/health-data/healthkitstandard-json", "/health-data/healthkit"] {
        let sent = client.post(path).header("cookie", &cookie).body("application/json", SAMPLES).await;
        assert_eq!(sent.expect_status(200).json().items().len(), 1, "{path}");
    }
    assert_eq!(inbox(&server).await.len(), 1, "the same message came twice");
    assert_eq!(system.matches("Observation?patient=pat-a").await.len(), 1);
    assert!(system.matches("Observation?patient=pat-b").await.is_empty());
    server.command(&["user", "disable", "ada@example.org"]);
    client.get("/profile").header("cookie", &cookie).await.expect_status(401);
    let password = account(&server, "nurse", "Practitioner/n");
    let cookie = signed_in(&client, "nurse", &password).await;
    let refused = client.post("/health-data/healthkit").header("cookie", &cookie).body("application/json", SAMPLES);
    assert_eq!(refused.await.expect_status(403).json().str("statusCode"), Some("403"), "no patient's account");
}

async fn oa_20_oa_21_signing_in_on_a_phone_is_throttled_and_tells_nothing(server: TestServer) {
    add_patient(&server.system(), "pat-a").await;
    let password = account(&server, "ada", "Patient/pat-a");
    let client = server.anonymous();
    client.post("/oauth/token").body("application/json", "{").await.expect_status(400);
    client.post("/oauth/token").body("application/json", r#"{"username": 1}"#).await.expect_status(400);
    let wrong = sign_in(&client, "ada", "a wrong password").await.expect_status(401);
    let unknown = sign_in(&client, "nobody", "a wrong password").await.expect_status(401);
    assert_eq!(wrong.text(), unknown.text());
    assert_eq!(wrong.json().str("statusCode"), Some("401"));
    for _ in 0..4 {
        sign_in(&client, "ada", "a wrong password").await.expect_status(401);
    }
    sign_in(&client, "ada", &password).await.expect_status(429);
    for email in ["ada", "nobody", "no such name at all"] {
        let asked = client.post("/reset-password").body("application/json", format!(r#"{{"email": "{email}"}}"#));
        let asked = asked.await.expect_status(204);
        assert!(asked.bytes().is_empty() && asked.header("set-cookie").is_none());
    }
}

async fn oa_14_pages_of_other_sites_cannot_use_the_cookie(server: TestServer) {
    add_patient(&server.system(), "pat-a").await;
    let password = account(&server, "ada", "Patient/pat-a");
    let client = server.anonymous();
    let cookie = signed_in(&client, "ada", &password).await;
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
        for (path, body) in [("/health-data/healthkit", SAMPLES), ("/devices/assign", "{}"), ("/oauth/token", "{}")] {
            let sent = client.post(path).header("cookie", &cookie).header(name, value);
            let refused = sent.body("application/json", body).await.expect_status(403);
            assert!(refused.header("access-control-allow-credentials").is_none());
        }
    }
    assert!(inbox(&server).await.is_empty());
    let own = client.post("/health-data/healthkit").header("cookie", &cookie).header("origin", server.origin());
    own.body("application/json", SAMPLES).await.expect_status(200);
}

async fn a_phone_assigns_what_it_sends_with_to_its_own_record_only(server: TestServer) {
    let system = server.system();
    for patient in ["pat-a", "pat-b"] {
        add_patient(&system, patient).await;
    }
    let password = account(&server, "ada", "Patient/pat-a");
    let client = server.anonymous();
    let cookie = signed_in(&client, "ada", &password).await;
    let assign = |provider: &str, patient: &str| {
        let body = fhir::object! {
            "deviceId": "com.example.watch", "deviceType": "watch", "name": "Ada's watch",
            "deviceProvider": provider, "assignedPatientId": patient,
        };
        client.post("/devices/assign").header("cookie", &cookie).body("application/json", body.to_string())
    };
    assign("healthkit", "pat-b").await.expect_status(403);
    assign("medisante", "pat-a").await.expect_status(403);
    let made = assign("healthkit", "pat-a").await.expect_status(200).json();
    assert_eq!(assign("healthkit", "pat-a").await.expect_status(200).json(), made, "twice is once");
    assert_eq!(system.matches("DeviceUseStatement?patient=pat-a").await.len(), 1);
    assert_eq!(system.matches("Device?patient=pat-a").await.len(), 1);
    client.post("/devices/assign").body("application/json", "{}").await.expect_status(401);
}

async fn co_01_who_delivers_stands_in_the_audit_trail(server: TestServer) {
    let system = server.system();
    add_patient(&system, "pat-a").await;
    let password = account(&server, "ada", "Patient/pat-a");
    let client = server.anonymous();
    let cookie = signed_in(&client, "ada", &password).await;
    let sent = client.post("/health-data/healthkit").header("cookie", &cookie).body("application/json", SAMPLES);
    sent.await.expect_status(200);
    let key = server.command(&["vendor", "add", "medisante", "--sender", "gateway-1"]);
    let cloud = client.post("/health-data/medisante").header("x-api-key", key.trim());
    cloud.body("application/json", crate::sample("01")).await.expect_status(200);
    let trail = server.with_scope("system/AuditEvent.rs", None);
    let events = trail.get("AuditEvent?subtype=delivery&_count=50").await.expect_status(200).entries("match");
    assert_eq!(events.len(), 2, "{events:?}");
    let told = |what: &str| events.iter().any(|event| event.to_string().contains(what));
    assert!(told("medisante/gateway-1"), "the sender of a key: {events:?}");
    assert!(told("Patient/pat-a"), "whose phone: {events:?}");
}

/// Adds an account; its password.
fn account(server: &TestServer, username: &str, record: &str) -> String {
    let added = server.command(&["user", "add", username, "--fhir-user", record, "--json"]);
    let added = Json::parse(added.as_bytes()).expect("the answer is JSON");
    added.str("password").expect("a password").to_owned()
}

async fn sign_in(client: &Client, username: &str, password: &str) -> Answer {
    let body = fhir::object! { "username": username, "password": password };
    client.post("/oauth/token").body("application/json", body.to_string()).await
}

/// The cookie of somebody who signed in.
async fn signed_in(client: &Client, username: &str, password: &str) -> String {
    let answer = sign_in(client, username, password).await.expect_status(200);
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    for part in ["sid=", "HttpOnly", "Secure", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    cookie.split(';').next().expect("split has a first part").to_owned()
}

async fn a_simulated_phone_sends_each_sample_once_in_effect(server: TestServer) {
    let system = server.system();
    add_patient(&system, "pat-a").await;
    let token = server.mint("patient/Observation.cu patient/Device.cu", Some("pat-a"));
    let url = format!("{}/health-data/healthkit", server.origin());
    let simulate = ["simulate", "healthkit", "--url", &url, "--token", &token, "--count", "6", "--rate", "1000"];
    let said = simulated(&server, &[&simulate[..], &["--duplicate-every", "2"]].concat());
    assert_eq!(said.lines().filter(|line| line.starts_with("200 ")).count(), 9, "three are sent twice: {said}");
    simulated(&server, &simulate);
    let kept = inbox(&server).await;
    assert_eq!(kept.len(), 6, "a sample is known by what it says: {kept:?}");
    assert!(kept.iter().all(|message| message["state"] == "applied"), "{kept:?}");
    let found = system.matches("Observation?patient=pat-a&code=http://loinc.org|8867-4").await;
    assert_eq!(found.len(), 6);
    let wrong = simulated(&server, &["simulate", "healthkit", "--url", &url, "--token", "x", "--count", "1"]);
    assert!(wrong.starts_with("401 "), "{wrong}");
}

/// What a simulator says; it needs no database.
fn simulated(server: &TestServer, arguments: &[&str]) -> String {
    let mut command = tests::program::command(arguments);
    let output = command.current_dir(server.folder()).output().expect("the tributary executable can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
