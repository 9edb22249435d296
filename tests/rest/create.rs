//! Tests of `server/src/rest/create.rs`.

use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    created_with_location_and_version,
    wrong_bodies_change_nothing,
    preferences,
    lk_29_not_for_others
);

async fn created_with_location_and_version(server: TestServer) {
    let system = server.system();
    let sent = object! {
        "resourceType": "Patient",
        "id": "mine",
        "meta": object! { "versionId": "9", "tag": array![object! { "code": "kept" }] },
    };
    let created = system.post("Patient").json(&sent).await.expect_status(201);
    assert_eq!(created.header("etag"), Some("W/\"1\""));
    let location = created.header("location").expect("a create says where").to_owned();
    assert!(location.starts_with(&format!("{}/Patient/", server.fhir_base())) && location.ends_with("/_history/1"));
    let stored = created.json();
    assert_ne!(stored.str("id"), Some("mine"), "the id of a create is the server's");
    assert_eq!(stored.at(&["meta", "versionId"]).and_then(|it| it.as_str()), Some("1"));
    assert_eq!(stored.at(&["meta", "tag", "code"]).and_then(|it| it.as_str()), Some("kept"));
    insta::assert_snapshot!("created", tests::redact::answer(&created));
}

async fn wrong_bodies_change_nothing(server: TestServer) {
    let system = server.system();
    for (content_type, body, status) in [
        ("application/fhir+json", "{", 400),
        ("application/fhir+json", "[]", 400),
        ("application/fhir+json", "{\"resourceType\":\"Device\"}", 400),
        ("application/fhir+json", "{\"resourceType\":\"Patient\",\"resourceType\":\"Patient\"}", 400),
        ("application/fhir+json", "{\"resourceType\":\"Patient\",\"nam\":[]}", 400),
        ("application/fhir+json", "{\"resourceType\":\"Patient\",\"birthDate\":\"2020-02-30\"}", 400),
        ("application/fhir+json", "{\"resourceType\":\"Patient\",\"meta\":1}", 400),
        ("application/fhir+xml", "<!DOCTYPE x><Patient xmlns=\"http://hl7.org/fhir\"/>", 400),
        ("text/plain", "{\"resourceType\":\"Patient\"}", 415),
        ("application/fhir+json; charset=latin1", "{\"resourceType\":\"Patient\"}", 415),
    ] {
        let answer = system.post("Patient").body(content_type, body).await.expect_status(status);
        assert_eq!(answer.json().str("resourceType"), Some("OperationOutcome"), "{body}");
    }
    let large = format!("{{\"resourceType\":\"Patient\",\"language\":\"{}\"}}", "x".repeat(6 << 20));
    system.post("Patient").body("application/fhir+json", large).await.expect_status(413);
    assert_eq!(system.matches("Patient").await, Vec::<String>::new());
}

async fn preferences(server: TestServer) {
    let system = server.system();
    let patient = object! { "resourceType": "Patient" };
    let minimal = system.post("Patient").header("Prefer", "return=minimal").json(&patient).await.expect_status(201);
    assert!(minimal.bytes().is_empty() && minimal.header("location").is_some());
    let outcome = system.post("Patient").header("Prefer", "return=OperationOutcome").json(&patient).await;
    assert_eq!(outcome.expect_status(201).json().str("resourceType"), Some("OperationOutcome"));
}

async fn lk_29_not_for_others(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    let observation = |patient: &str| {
        object! {
            "resourceType": "Observation",
            "status": "final",
            "code": object! { "text": "x" },
            "subject": object! { "reference": patient },
        }
    };
    let app = server.patient("a");
    app.post("Observation").json(&observation("Patient/a")).await.expect_status(201);
    let taken = app.post("Observation").json(&observation("Patient/b")).await.expect_status(403);
    let free = app.post("Observation").json(&observation("Patient/nobody")).await.expect_status(403);
    assert_eq!(taken.text(), free.text());
    server
        .with_scope("patient/Observation.rs", Some("a"))
        .post("Observation")
        .json(&observation("Patient/a"))
        .await
        .expect_status(403);
    server.anonymous().post("Observation").json(&observation("Patient/a")).await.expect_status(401);
}
