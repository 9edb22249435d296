//! Tests of `server/src/rest/delete.rs`.

use fhir::json::Json;
use fhir::{array, object};
use tests::{Engine, TestServer};

tests::on_both_engines!(
    deleted_is_gone_and_again_is_fine,
    re_15_conditions_hold_for_what_is_deleted,
    lk_31_hidden_is_unknown,
    by_criteria_one_at_a_time,
    criteria_must_say_something,
    lk_26_criteria_see_what_the_caller_sees,
);

mod by_criteria_all_of_them {
    use super::*;

    #[test]
    fn sqlite() {
        tests::server::block_on(deletes_all(Engine::Sqlite));
    }

    #[test]
    fn postgres() {
        if Engine::Postgres.is_available() {
            tests::server::block_on(deletes_all(Engine::Postgres));
        }
    }
}

fn device(value: &str) -> Json {
    object! { "resourceType": "Device", "identifier": array![object! { "system": "http://s", "value": value }] }
}

fn observation(subject: &str) -> Json {
    object! {
        "resourceType": "Observation",
        "status": "final",
        "code": object! { "text": "x" },
        "subject": object! { "reference": subject },
    }
}

async fn deleted_is_gone_and_again_is_fine(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.delete("Patient/a").header("If-Match", "W/\"7\"").await.expect_status(412);
    let deleted = system.delete("Patient/a").await.expect_status(204);
    assert_eq!(deleted.header("etag"), Some("W/\"2\""));
    assert_eq!(system.delete("Patient/a").await.expect_status(204).header("etag"), Some("W/\"2\""));
    let gone = system.get("Patient/a").await.expect_status(410);
    insta::assert_snapshot!("gone", tests::redact::answer(&gone));
    assert_eq!(system.matches("Patient").await, Vec::<String>::new());
    // "Upon successful deletion, or if the resource does not exist at all"
    assert!(system.delete("Patient/never").await.expect_status(204).header("etag").is_none());
    system.delete("Patient/never").header("If-Match", "W/\"1\"").await.expect_status(412);
    system.get("Patient/never").await.expect_status(404);
    system.delete("Patient").await.expect_status(400);
}

async fn re_15_conditions_hold_for_what_is_deleted(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.delete("Patient/a").await.expect_status(204);
    for version in ["W/\"1\"", "W/\"2\"", "*"] {
        system.delete("Patient/a").header("If-Match", version).await.expect_status(412);
        let put = system.put("Patient/a").header("If-Match", version);
        put.json(&object! { "resourceType": "Patient", "id": "a" }).await.expect_status(412);
    }
    let entry = object! { "request": object! { "method": "DELETE", "url": "Patient/a", "ifMatch": "W/\"1\"" } };
    let bundle = |kind: &str| object! { "resourceType": "Bundle", "type": kind, "entry": array![entry.clone()] };
    system.post("").json(&bundle("transaction")).await.expect_status(412);
    let batch = system.post("").json(&bundle("batch")).await.expect_status(200);
    assert!(batch.text().contains("412 "), "{}", batch.text());
    system.delete("Patient/a").await.expect_status(204);
}

async fn lk_31_hidden_is_unknown(server: TestServer) {
    let system = server.system();
    for id in ["a", "b", "gone"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    system.delete("Patient/gone").await.expect_status(204);
    let app = server.patient("a");
    for hidden in ["b", "gone", "never"] {
        let answer = app.delete(&format!("Patient/{hidden}")).await.expect_status(204);
        assert!(answer.header("etag").is_none());
        app.delete(&format!("Patient/{hidden}")).header("If-Match", "W/\"1\"").await.expect_status(412);
    }
    system.get("Patient/b").await.expect_status(200);
}

async fn by_criteria_one_at_a_time(server: TestServer) {
    let system = server.system();
    let id = system.create(&device("1")).await;
    for _ in 0..2 {
        system.create(&device("2")).await;
    }
    let path = "Device?identifier=http://s|1";
    system.delete(path).header("If-Match", "W/\"2\"").await.expect_status(412);
    let deleted = system.delete(path).await.expect_status(204);
    assert_eq!(deleted.header("etag"), Some("W/\"2\""));
    system.get(&format!("Device/{id}")).await.expect_status(410);
    // "No matches or One Match: The server performs an ordinary delete", which is 204 where there is nothing.
    assert!(system.delete(path).await.expect_status(204).header("etag").is_none());
    system.delete(path).header("If-Match", "W/\"2\"").await.expect_status(412);
    let several = system.delete("Device?identifier=http://s|2").await.expect_status(412);
    assert_eq!(several.json().at(&["issue", "code"]).unwrap().as_str(), Some("multiple-matches"));
    assert_eq!(system.matches("Device").await.len(), 2);
    let statement = system.get("metadata").await.json();
    let stated = statement.at(&["rest", "resource", "conditionalDelete"]).unwrap().as_str().map(str::to_owned);
    assert_eq!(stated.as_deref(), Some("single"));
}

async fn criteria_must_say_something(server: TestServer) {
    let system = server.system();
    system.create(&device("1")).await;
    for query in
        ["", "?", "?_format=json", "?_count=1", "?_sort=_id", "?typo=1", "?_include=Device:patient", "?identifier="]
    {
        system.delete(&format!("Device{query}")).await.expect_status(400);
    }
    system.delete("Nothing?_id=1").await.expect_status(404);
    assert_eq!(system.matches("Device").await.len(), 1);
}

async fn lk_26_criteria_see_what_the_caller_sees(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
        system.create(&observation(&format!("Patient/{id}"))).await;
    }
    let app = server.patient("a");
    app.delete("Observation?subject=Patient/b").await.expect_status(204);
    assert_eq!(system.matches("Observation").await.len(), 2, "hidden ones are not there");
    app.delete("Patient?_id=a").await.expect_status(403);
    server.with_scope("patient/*.rs", Some("a")).delete("Observation?status=final").await.expect_status(403);
    app.delete("Observation?status=final").await.expect_status(204);
    assert_eq!(system.matches("Observation?subject=Patient/a").await, Vec::<String>::new());
    assert_eq!(system.matches("Observation").await.len(), 1);
}

async fn deletes_all(engine: Engine) {
    let server = TestServer::start_with(engine, &["--conditional-delete", "multiple"]).await;
    let system = server.system();
    let post = |value: &str| {
        object! { "resource": device(value), "request": object! { "method": "POST", "url": "Device" } }
    };
    let entries: Vec<Json> = (0..1001).map(|_| post("many")).chain((0..3).map(|_| post("few"))).collect();
    let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": entries };
    system.post("").json(&bundle).await.expect_status(200);
    assert!(system.delete("Device?identifier=few").await.expect_status(204).header("etag").is_none());
    assert_eq!(system.matches("Device?identifier=few").await, Vec::<String>::new());
    let many = system.delete("Device?identifier=many").await.expect_status(400);
    assert_eq!(many.json().at(&["issue", "code"]).unwrap().as_str(), Some("too-costly"));
    assert_eq!(system.matches("Device?identifier=many&_count=1").await.len(), 1);
    for id in ["a", "b"] {
        system.create(&observation(&format!("Patient/{id}"))).await;
    }
    let shared = object! { "resourceType": "Observation", "status": "final", "code": object! { "text": "x" } };
    system.create(&shared).await;
    let entry = object! { "request": object! { "method": "DELETE", "url": "Observation?status=final" } };
    let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": array![entry] };
    let response = system.post("").json(&bundle).await.expect_status(200).json();
    assert_eq!(response.list("entry")[0].at(&["response", "status"]).unwrap().as_str(), Some("204 No Content"));
    assert_eq!(system.matches("Observation").await, Vec::<String>::new());
    let statement = system.get("metadata").await.json();
    let stated = statement.at(&["rest", "resource", "conditionalDelete"]).unwrap().as_str().map(str::to_owned);
    assert_eq!(stated.as_deref(), Some("multiple"));
}
