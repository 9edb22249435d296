//! Tests of `server/src/rest/create.rs`.

use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    created_with_location_and_version,
    wrong_bodies_change_nothing,
    preferences,
    lk_29_not_for_others,
    in_08_long_numbers_are_kept_or_refused,
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

/// Digits that do not compress: an index row of PostgreSQL holds 2,700 bytes after compression.
async fn in_08_long_numbers_are_kept_or_refused(server: TestServer) {
    let system = server.system();
    let digits = |count: u64| -> String {
        let state =
            |step: &u64| Some(step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        let steps = std::iter::successors(Some(7), state);
        let drawn = steps.skip(1).zip(1..count).map(|(step, _)| char::from(b'0' + (step >> 33) as u8 % 10));
        std::iter::once('1').chain(drawn).collect()
    };
    let observation = |value: &str| {
        format!(
            "{{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{{\"text\":\"x\"}},\
             \"valueQuantity\":{{\"value\":{value}}}}}"
        )
    };
    for (count, status) in [(1_000, 201), (1_001, 400), (3_000, 400), (10_000, 400)] {
        let text = observation(&digits(count));
        let answer = system.post("Observation").body("application/fhir+json", text).await.expect_status(status);
        assert_eq!(answer.text().contains(&digits(1_000)), status == 201, "{count}");
    }
    assert_eq!(system.matches(&format!("Observation?value-quantity={}", digits(1_000))).await.len(), 1);
}
