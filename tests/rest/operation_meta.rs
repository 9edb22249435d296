//! Tests of `server/src/rest/operation/meta.rs`. <https://hl7.org/fhir/R4/resource-operation-meta.html>

use fhir::json::Json;
use fhir::{array, object};
use tests::{Answer, TestServer};

use crate::operation::{parameter, parameters, person, sorted};

tests::on_both_engines!(
    labels_of_resources,
    re_15_labels_of_one_version,
    re_15_labels_of_many_callers_at_once,
    lk_28_labels_are_written_like_all_else,
);

pub(crate) fn labels(tags: &[&str]) -> Json {
    let tags: Vec<Json> = tags.iter().map(|tag| object! { "system": "http://t", "code": *tag }).collect();
    parameters(vec![object! { "name": "meta", "valueMeta": object! { "tag": tags } }])
}

fn tags(answer: &Answer) -> Vec<String> {
    let meta = parameter(answer, "return")[0].get("valueMeta").cloned().expect("a Meta");
    meta.list("tag").iter().filter_map(|tag| tag.str("code").map(str::to_owned)).collect()
}

async fn labels_of_resources(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&person(id)).await;
    }
    let added = system.post("Patient/a/$meta-add").json(&labels(&["x", "y"])).await.expect_status(200);
    assert_eq!(tags(&added), ["x", "y"]);
    let stored = system.get("Patient/a?_elements=meta").await.expect_status(200);
    assert_eq!(stored.header("etag"), Some("W/\"2\""), "what changed stays known");
    system.post("Patient/a/$meta-add").json(&labels(&["y"])).await.expect_status(200);
    assert_eq!(system.get("Patient/a").await.header("etag"), Some("W/\"2\""), "nothing changed");
    assert_eq!(system.matches("Patient?_tag=http://t|x").await, ["a"]);
    let deleted = system.post("Patient/a/$meta-delete").json(&labels(&["x", "z"])).await.expect_status(200);
    assert_eq!(tags(&deleted), ["y"]);
    assert_eq!(tags(&system.get("Patient/a/$meta").await.expect_status(200)), ["y"]);
    assert_eq!(tags(&system.get("Patient/a/_history/2/$meta").await.expect_status(200)), ["x", "y"]);
    system.post("Patient/b/$meta-add").json(&labels(&["secret"])).await.expect_status(200);
    for path in ["Patient/$meta", "$meta"] {
        assert_eq!(sorted(tags(&system.get(path).await.expect_status(200))), ["secret", "y"], "{path}");
        assert_eq!(tags(&server.patient("a").get(path).await.expect_status(200)), ["y"], "{path}: LK-17");
    }
    for path in ["Slot/$meta", "Slot/$meta?_format=xml"] {
        let nothing = system.get(path).await.expect_status(200);
        assert!(!nothing.text().contains("valueMeta"), "nothing in FHIR is empty: {}", nothing.text());
    }
    server.with_scope("patient/Patient.r", Some("a")).get("$meta").await.expect_status(403);
    system.post("Patient/a/$meta-add").await.expect_status(400);
    let version = parameters(vec![object! { "name": "meta", "valueMeta": object! { "versionId": "9" } }]);
    system.post("Patient/a/$meta-add").json(&version).await.expect_status(400);
}

async fn re_15_labels_of_one_version(server: TestServer) {
    let system = server.system();
    system.store(&person("a")).await;
    let add = async |tag: &str, version: &str, status: u16| {
        let call = system.post("Patient/a/$meta-add").header("If-Match", version).json(&labels(&[tag]));
        call.await.expect_status(status);
    };
    add("x", "W/\"1\"", 200).await;
    add("y", "W/\"1\"", 412).await;
    add("y", "W/\"2\"", 200).await;
    add("z", "*", 200).await;
    let delete =
        |version: &str| system.post("Patient/a/$meta-delete").header("If-Match", version).json(&labels(&["x"]));
    delete("W/\"3\"").await.expect_status(412);
    delete("W/\"4\"").await.expect_status(200);
    let entry = |version: &str| {
        let request = object! { "method": "POST", "url": "Patient/a/$meta-delete", "ifMatch": version };
        object! { "request": request, "resource": labels(&["y"]) }
    };
    let entries = array![entry("W/\"4\""), entry("W/\"5\"")];
    let batch = object! { "resourceType": "Bundle", "type": "batch", "entry": entries };
    let answer = system.post("").json(&batch).await.expect_status(200).json();
    let status = |entry: &Json| entry.at(&["response", "status"]).and_then(Json::as_str).unwrap()[..3].to_owned();
    assert_eq!(answer.list("entry").iter().map(status).collect::<Vec<_>>(), ["412", "200"]);
    assert_eq!(tags(&system.get("Patient/a/$meta").await.expect_status(200)), ["z"]);
    system.post("Patient/nobody/$meta-add").header("If-Match", "*").json(&labels(&["x"])).await.expect_status(404);
}

async fn lk_28_labels_are_written_like_all_else(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&person(id)).await;
    }
    let reads = server.with_scope("patient/*.rs", Some("a"));
    reads.post("Patient/a/$meta-add").json(&labels(&["x"])).await.expect_status(403);
    let writes = server.with_scope("patient/*.rus", Some("a"));
    writes.post("Patient/a/$meta-add").json(&labels(&["x"])).await.expect_status(200);
    writes.post("Patient/b/$meta-add").json(&labels(&["x"])).await.expect_status(404);
    writes.post("Patient/nobody/$meta-add").json(&labels(&["x"])).await.expect_status(404);
    system.store(&object! { "resourceType": "Organization", "id": "o" }).await;
    writes.post("Organization/o/$meta-add").json(&labels(&["x"])).await.expect_status(403);
}

async fn re_15_labels_of_many_callers_at_once(server: TestServer) {
    let system = server.system();
    system.store(&person("a")).await;
    let calls: Vec<_> = (0..24)
        .map(|number| {
            let call = system.post("Patient/a/$meta-add").json(&labels(&[&format!("t{number}")]));
            tokio::spawn(async move { call.await })
        })
        .collect();
    for call in calls {
        call.await.expect("answered").expect_status(200);
    }
    assert_eq!(tags(&system.get("Patient/a/$meta").await.expect_status(200)).len(), 24);
}
