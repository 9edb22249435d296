//! Tests of `server/src/rest/bundle/envelope.rs` and `server/src/rest/bundle/entry.rs`: Bundles are checked as resources
//! are, and their entries are what single requests are. <https://hl7.org/fhir/R4/bundle.html>

use fhir::json::Json;
use fhir::{array, object};
use tests::TestServer;

use crate::bundle::{bundle, entry, patient, statuses, with};

tests::on_both_engines!(
    preconditions_are_not_overlooked,
    bundles_are_checked_as_such,
    in_07_entries_are_as_large_as_single_requests,
    what_the_server_itself_is_can_be_read,
);

fn put() -> Json {
    with(entry("PUT", "Patient/a"), "resource", with(patient("changed"), "id", "a"))
}

fn request(mut entry: Json, name: &str, value: Json) -> Json {
    let request = entry.as_object_mut().and_then(|entry| entry.get_mut("request")).unwrap();
    request.as_object_mut().unwrap().insert(name, value);
    entry
}

async fn preconditions_are_not_overlooked(server: TestServer) {
    let system = server.system();
    system.store(&with(patient("first"), "id", "a")).await;
    let create = || with(entry("POST", "Patient"), "resource", patient("first"));
    let criteria = || Json::from("identifier=http://s|first");
    for (wrong, place) in [
        (request(put(), "ifMatch", 1_i64.into()), "request.ifMatch"),
        (request(put(), "ifMatch", object! { "a": 1_i64 }), "request.ifMatch"),
        (request(put(), "ifMatch", array!["W/\"7\""]), "request.ifMatch"),
        (request(put(), "ifNoneMatch", true.into()), "request.ifNoneMatch"),
        (request(put(), "if-match", "W/\"7\"".into()), "request"),
        (request(create(), "ifNoneExist", array![criteria()]), "request.ifNoneExist"),
        (request(create(), "ifNoneExists", criteria()), "request"),
        (request(entry("GET", "Patient/a"), "ifModifiedSince", 5_i64.into()), "request.ifModifiedSince"),
        (with(put(), "fullUrl", 1_i64), "fullUrl"),
        (with(put(), "fulUrl", "urn:uuid:1"), ""),
        (with(create(), "ifNoneExist", criteria()), ""),
    ] {
        let kept = || {
            with(
                entry("POST", "Basic"),
                "resource",
                object! { "resourceType": "Basic", "code": object! { "text": "x" } },
            )
        };
        let batch = system.post("").json(&bundle("batch", vec![kept(), wrong.clone()])).await.expect_status(200).json();
        assert_eq!(statuses(&batch), ["201", "400"], "{wrong}");
        let outcome = batch.list("entry")[1].at(&["response", "outcome"]).unwrap();
        let named = outcome.at(&["issue", "expression"]).and_then(Json::as_str).unwrap_or_default();
        assert_eq!(named, place, "{outcome}");
        let whole = system.post("").json(&bundle("transaction", vec![kept(), wrong.clone()])).await.expect_status(400);
        let expression = whole.json().list("issue")[0].list("expression").to_vec();
        assert_eq!(expression[0].as_str(), Some("Bundle.entry[1]"), "{wrong}");
    }
    assert_eq!(system.get("Patient/a").await.header("etag"), Some("W/\"1\""));
    assert_eq!(system.matches("Patient").await, ["a"]);
}

async fn bundles_are_checked_as_such(server: TestServer) {
    let system = server.system();
    for kind in ["batch", "transaction"] {
        for (name, value) in
            [("entries", array![put()]), ("timestamp", "yesterday".into()), ("total", "1".into()), ("id", array!["x"])]
        {
            let wrong = with(bundle(kind, vec![put()]), name, value);
            let answer = system.post("").json(&wrong).await.expect_status(400);
            assert!(answer.text().contains("Bundle"), "{}", answer.text());
        }
        let all = with(bundle(kind, Vec::new()), "timestamp", "2020-01-01T00:00:00Z");
        let all = with(all, "meta", object! { "tag": array![object! { "code": "x" }] });
        system.post("").json(&with(all, "id", "x")).await.expect_status(200);
    }
    system.get("Patient/a").await.expect_status(404);
}

async fn in_07_entries_are_as_large_as_single_requests(server: TestServer) {
    let system = server.system();
    let large = || object! { "resourceType": "Binary", "id": "big", "contentType": "text/plain", "data": "QUJD".repeat(1_600_000) };
    let single = system.put("Binary/big").json(&large()).await.expect_status(413);
    let entries = || vec![with(entry("PUT", "Binary/big"), "resource", large())];
    let batch = system.post("").json(&bundle("batch", entries())).await.expect_status(200).json();
    assert_eq!(statuses(&batch), ["413"]);
    let code = |outcome: &Json| outcome.at(&["issue", "code"]).cloned();
    assert_eq!(batch.list("entry")[0].at(&["response", "outcome"]).and_then(code), code(&single.json()));
    system.post("").json(&bundle("transaction", entries())).await.expect_status(413);
    system.get("Binary/big").await.expect_status(404);
}

/// As single requests have it.
async fn what_the_server_itself_is_can_be_read(server: TestServer) {
    let system = server.system();
    let urls = [
        "metadata",
        "metadata?mode=normative",
        "metadata?mode=terminology",
        "OperationDefinition/tributary-diff",
        "metadata?_summary=true",
        "metadata?mode=normative&_elements=fhirVersion",
    ];
    for kind in ["batch", "transaction"] {
        let entries = urls.map(|url| entry("GET", url)).to_vec();
        let response = system.post("").json(&bundle(kind, entries)).await.expect_status(200).json();
        assert_eq!(statuses(&response), ["200"; 6], "{kind}");
        for (url, entry) in urls.iter().zip(response.list("entry")) {
            let single = system.get(url).await.expect_status(200).json();
            assert_eq!(entry.get("resource"), Some(&single), "{kind} {url}");
        }
        // The base is asked by an empty URL; a transaction searches single types.
        let base = system.post("").json(&bundle(kind, vec![entry("GET", "")])).await;
        assert_eq!(base.status, if kind == "batch" { 200 } else { 400 });
        assert!(kind == "transaction" || statuses(&base.json()) == ["200"], "{}", base.text());
        for wrong in ["metadata?mode=none", "metadata?_summary=count", "metadata?_elements=none", "metadata?_count=1"] {
            let answer = system.post("").json(&bundle(kind, vec![entry("GET", wrong)])).await;
            let status = if kind == "batch" { statuses(&answer.json())[0].clone() } else { answer.status.to_string() };
            assert_eq!(status, "400", "{wrong}");
        }
    }
    let app = server.with_scope("system/Patient.rs", None);
    let response = app.post("").json(&bundle("transaction", vec![entry("HEAD", urls[3])])).await.expect_status(200);
    assert!(response.json().list("entry")[0].get("resource").is_none());
}
