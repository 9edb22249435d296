//! Tests of `server/src/rest/patch.rs`.

use fhir::json::{Json, Object};
use fhir::{array, object};
use tests::client::Call;
use tests::{Client, TestServer};

tests::on_both_engines!(
    json_patch_makes_a_version,
    fhirpath_patch_in_json_and_xml,
    what_changes_nothing_makes_no_version,
    what_does_not_apply_is_422_and_changes_nothing,
    what_is_no_patch_is_400,
    other_formats_are_415,
    identity_stays,
    re_15_no_update_is_lost,
    re_15_if_match,
    by_criteria,
    lk_28_before_and_after,
    lk_28_conditions_of_scopes,
    gone_and_unknown,
    hostile_patches_are_refused,
    narratives_do_not_grow_old,
    conditional_references_are_refused,
);

const JSON_PATCH: &str = "application/json-patch+json";

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn patch(client: &Client, path: &str, operations: &str) -> Call {
    client.patch(path).body(JSON_PATCH, operations)
}

fn part(name: &str, member: &str, value: impl Into<Json>) -> Json {
    let mut part = Object::new();
    part.insert("name", name);
    part.insert(member, value);
    part.into()
}

fn parameters(kind: &str, path: &str, more: Vec<Json>) -> Json {
    let mut parts = vec![part("type", "valueCode", kind), part("path", "valueString", path)];
    parts.extend(more);
    object! { "resourceType": "Parameters", "parameter": array![object! { "name": "operation", "part": parts }] }
}

fn patient(id: &str) -> Json {
    object! { "resourceType": "Patient", "id": id, "active": true }
}

fn observation(id: &str, subject: &str) -> Json {
    object! {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": object! { "text": "x" },
        "subject": object! { "reference": subject },
        "valueQuantity": json(r#"{"value":1.50}"#),
    }
}

async fn json_patch_makes_a_version(server: TestServer) {
    let system = server.system();
    system.store(&observation("o", "Patient/a")).await;
    let operations = r#"[{"op":"test","path":"/status","value":"final"},
        {"op":"replace","path":"/status","value":"amended"},
        {"op":"add","path":"/note","value":[{"text":"n"}]}]"#;
    let patched = patch(&system, "Observation/o", operations).await.expect_status(200);
    assert_eq!(patched.header("etag"), Some("W/\"2\""));
    assert!(patched.header("last-modified").is_some());
    assert!(patched.text().contains(r#""status":"amended""#) && patched.text().contains(r#""value":1.50"#));
    let read = system.get("Observation/o").await.expect_status(200);
    assert_eq!(read.bytes(), patched.bytes());
    assert_eq!(system.matches("Observation?status=amended").await, ["o"]);
    let history = system.get("Observation/o/_history").await.json();
    let method = history.list("entry")[0].at(&["request", "method"]).and_then(Json::as_str).map(str::to_owned);
    assert_eq!(method.as_deref(), Some("PATCH"));
    let remove = r#"[{"op":"remove","path":"/note"}]"#;
    let minimal = patch(&system, "Observation/o", remove).header("Prefer", "return=minimal").await.expect_status(200);
    assert!(minimal.bytes().is_empty() && minimal.header("etag") == Some("W/\"3\""));
}

async fn fhirpath_patch_in_json_and_xml(server: TestServer) {
    let system = server.system();
    system.store(&patient("a")).await;
    let value = vec![part("name", "valueString", "birthDate"), part("value", "valueDate", "1970-01-01")];
    let added = system.patch("Patient/a").json(&parameters("add", "Patient", value)).await.expect_status(200);
    assert_eq!(added.json().str("birthDate"), Some("1970-01-01"));
    let delete = parameters("delete", "Patient.birthDate", Vec::new());
    let delete = fhir::xml::from_json(&delete).unwrap();
    let deleted = system.patch("Patient/a").xml(delete).await.expect_status(200);
    assert!(deleted.json().get("birthDate").is_none());
    assert_eq!(deleted.header("etag"), Some("W/\"3\""));
}

async fn what_changes_nothing_makes_no_version(server: TestServer) {
    let system = server.system();
    system.store(&patient("a")).await;
    for operations in ["[]", r#"[{"op":"replace","path":"/active","value":true}]"#] {
        let same = patch(&system, "Patient/a", operations).await.expect_status(200);
        assert_eq!(same.header("etag"), Some("W/\"1\""));
    }
    let delete = parameters("delete", "Patient.birthDate", Vec::new());
    system.patch("Patient/a").json(&delete).await.expect_status(200);
    assert_eq!(system.get("Patient/a").await.header("etag"), Some("W/\"1\""));
}

async fn what_does_not_apply_is_422_and_changes_nothing(server: TestServer) {
    let system = server.system();
    system.store(&observation("o", "Patient/a")).await;
    for (operations, says) in [
        (
            r#"[{"op":"add","path":"/note","value":[{"text":"n"}]},{"op":"test","path":"/status","value":"x"}]"#,
            "operation 1",
        ),
        (r#"[{"op":"remove","path":"/nothing"}]"#, "does not exist"),
        (r#"[{"op":"remove","path":"/status"}]"#, "status"),
        (r#"[{"op":"remove","path":"/code"}]"#, "code"),
        (r#"[{"op":"add","path":"/__proto__","value":{"a":1}}]"#, "__proto__"),
        (r#"[{"op":"add","path":"/valueString","value":"two values"}]"#, "value"),
        (r#"[{"op":"replace","path":"/status","value":null}]"#, "status"),
        (r#"[{"op":"replace","path":"","value":{"resourceType":"Observation"}}]"#, "id"),
        (r#"[{"op":"replace","path":"","value":[]}]"#, "resourceType"),
    ] {
        let refused = patch(&system, "Observation/o", operations).await.expect_status(422);
        assert!(refused.text().contains(says), "{operations}: {}", refused.text());
    }
    for (kind, path, value) in [
        ("delete", "Observation.status", None),
        ("replace", "Observation.status", Some(part("value", "valueString", "final"))),
        ("replace", "Observation.nothing", Some(part("value", "valueString", "final"))),
        ("replace", "Observation.note.text", Some(part("value", "valueMarkdown", "x"))),
        ("replace", "Observation.subject.resolve()", Some(part("value", "valueString", "x"))),
    ] {
        let body = parameters(kind, path, value.into_iter().collect());
        system.patch("Observation/o").json(&body).await.expect_status(422);
    }
    assert_eq!(system.get("Observation/o").await.header("etag"), Some("W/\"1\""));
}

async fn what_is_no_patch_is_400(server: TestServer) {
    let system = server.system();
    system.store(&patient("a")).await;
    for operations in
        ["", "{", "{}", "null", "[{}]", r#"[{"op":"add","path":"/a"}]"#, r#"[{"op":"x","path":"/a"}]"#, "[1]"]
    {
        patch(&system, "Patient/a", operations).await.expect_status(400);
    }
    for body in [
        patient("a"),
        parameters("delete", "Patient.(", Vec::new()),
        parameters("remove", "Patient.active", Vec::new()),
    ] {
        system.patch("Patient/a").json(&body).await.expect_status(400);
    }
    system.patch("Patient/a?x=1").body(JSON_PATCH, "[]").await.expect_status(400);
    system.patch("Patient").body(JSON_PATCH, "[]").await.expect_status(400);
    let array = system.patch("Patient/a").body("application/json", "[]").await.expect_status(400);
    assert!(array.text().contains(JSON_PATCH), "the hint names the right type");
}

async fn other_formats_are_415(server: TestServer) {
    let system = server.system();
    system.store(&patient("a")).await;
    let xml_patch = "<diff><remove sel=\"f:Patient/f:active\"/></diff>";
    let refused = system.patch("Patient/a").body("application/xml-patch+xml", xml_patch).await.expect_status(415);
    assert!(refused.text().contains("XML Patch is not supported"));
    assert!(refused.header("accept-patch").is_some_and(|formats| formats.contains(JSON_PATCH)));
    for media_type in ["application/merge-patch+json", "text/plain", "application/json-patch+json; charset=utf-16"] {
        system.patch("Patient/a").body(media_type, "[]").await.expect_status(415);
    }
    system.patch("Patient/a").await.expect_status(415);
}

async fn identity_stays(server: TestServer) {
    let system = server.system();
    system.store(&patient("a")).await;
    for operation in [
        r#"{"op":"replace","path":"/id","value":"b"}"#,
        r#"{"op":"remove","path":"/id"}"#,
        r#"{"op":"replace","path":"/resourceType","value":"Person"}"#,
        r#"{"op":"replace","path":"/meta/versionId","value":"7"}"#,
        r#"{"op":"add","path":"/meta/lastUpdated","value":"2020-01-01T00:00:00Z"}"#,
    ] {
        patch(&system, "Patient/a", &format!("[{operation}]")).await.expect_status(422);
    }
    let tag = r#"[{"op":"add","path":"/meta/tag","value":[{"system":"http://s","code":"t"}]}]"#;
    let tagged = patch(&system, "Patient/a", tag).await.expect_status(200).json();
    assert_eq!(tagged.at(&["meta", "versionId"]).and_then(Json::as_str), Some("2"));
    let bare = patch(&system, "Patient/a", r#"[{"op":"remove","path":"/meta"}]"#).await.expect_status(200).json();
    assert!(bare.at(&["meta", "tag"]).is_none() && bare.at(&["meta", "versionId"]).is_some());
}

async fn re_15_no_update_is_lost(server: TestServer) {
    let system = server.system();
    let mut empty = patient("a");
    empty.as_object_mut().unwrap().insert("identifier", array![object! { "value": "first" }]);
    system.store(&empty).await;
    let calls: Vec<_> = (0..32)
        .map(|number| {
            let add = format!(r#"[{{"op":"add","path":"/identifier/-","value":{{"value":"{number}"}}}}]"#);
            let path = if number % 2 == 0 { "Patient/a" } else { "Patient?identifier=first" };
            let call = patch(&system, path, &add);
            tokio::spawn(async move { call.await })
        })
        .collect();
    for call in calls {
        call.await.expect("answered").expect_status(200);
    }
    let stored = system.get("Patient/a").await;
    assert_eq!(stored.header("etag"), Some("W/\"33\""));
    let mut values: Vec<String> =
        stored.json().list("identifier").iter().filter_map(|it| it.str("value").map(str::to_owned)).collect();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 33, "{values:?}");
}

async fn re_15_if_match(server: TestServer) {
    let system = server.system();
    system.store(&patient("a")).await;
    let change = r#"[{"op":"replace","path":"/active","value":false}]"#;
    patch(&system, "Patient/a", change).header("If-Match", "W/\"2\"").await.expect_status(412);
    patch(&system, "Patient/a", change).header("If-None-Match", "*").await.expect_status(412);
    patch(&system, "Patient/a", change).header("If-Match", "W/\"1\"").await.expect_status(200);
    let stale = r#"[{"op":"test","path":"/active","value":true}]"#;
    patch(&system, "Patient/a", stale).header("If-Match", "W/\"1\"").await.expect_status(412);
    let calls: Vec<_> = (0..8)
        .map(|number| {
            let add = format!(r#"[{{"op":"add","path":"/language","value":"x-{number}"}}]"#);
            let call = patch(&system, "Patient/a", &add).header("If-Match", "W/\"2\"");
            tokio::spawn(async move { call.await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.expect("answered"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
}

async fn by_criteria(server: TestServer) {
    let system = server.system();
    let device = |value: &str| {
        object! { "resourceType": "Device", "identifier": array![object! { "system": "http://s", "value": value }] }
    };
    system.create(&device("1")).await;
    system.create(&device("2")).await;
    system.create(&device("2")).await;
    let change = r#"[{"op":"add","path":"/status","value":"inactive"}]"#;
    let patched = patch(&system, "Device?identifier=http://s|1", change).await.expect_status(200);
    assert_eq!(patched.json().str("status"), Some("inactive"));
    patch(&system, "Device?identifier=http://s|3", change).await.expect_status(404);
    patch(&system, "Device?identifier=http://s|2", change).await.expect_status(412);
    patch(&system, "Device?typo=1", change).await.expect_status(400);
    assert_eq!(system.matches("Device?status=inactive").await.len(), 1);
    system.store(&patient("a")).await;
    let app = server.patient("a");
    patch(&app, "Patient?_id=a", "[]").await.expect_status(403);
}

async fn lk_28_before_and_after(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&patient(id)).await;
        system.store(&observation(id, &format!("Patient/{id}"))).await;
    }
    let app = server.patient("a");
    let change = r#"[{"op":"replace","path":"/status","value":"amended"}]"#;
    patch(&app, "Observation/a", change).await.expect_status(200);
    // Another patient's: as if it were not there, whatever the patch, the version and the test.
    for path in ["Patient/b", "Observation/b"] {
        let test = r#"[{"op":"test","path":"/id","value":"b"}]"#;
        let hidden = patch(&app, path, test).header("If-Match", "W/\"9\"").await.expect_status(404);
        let unknown =
            patch(&app, &path.replace("/b", "/c"), test).header("If-Match", "W/\"9\"").await.expect_status(404);
        assert_eq!(hidden.text().replace("/b", "/c"), unknown.text());
    }
    let moved = r#"[{"op":"replace","path":"/subject/reference","value":"Patient/b"}]"#;
    patch(&app, "Observation/a", moved).await.expect_status(403);
    patch(&app, "Observation/a", r#"[{"op":"remove","path":"/subject"}]"#).await.expect_status(403);
    let read_only = server.with_scope("patient/*.rs", Some("a"));
    patch(&read_only, "Observation/a", change).await.expect_status(403);
    let writer = server.with_scope("patient/Observation.ru", Some("a"));
    patch(&writer, "Observation/a", r#"[{"op":"replace","path":"/status","value":"final"}]"#).await.expect_status(200);
    server.anonymous().patch("Observation/a").body(JSON_PATCH, change).await.expect_status(401);
    assert_eq!(system.get("Observation/b").await.header("etag"), Some("W/\"1\""));
}

async fn lk_28_conditions_of_scopes(server: TestServer) {
    let system = server.system();
    let categorised = |id: &str, code: &str| {
        let mut observation = observation(id, "Patient/a");
        let coding = object! { "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": code };
        observation.as_object_mut().unwrap().insert("category", array![object! { "coding": array![coding] }]);
        observation
    };
    system.store(&categorised("lab", "laboratory")).await;
    system.store(&categorised("vital", "vital-signs")).await;
    // Reads all, writes laboratory only: neither a resource that is no such, nor one that then would be none.
    let category = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory";
    let scope = format!("system/*.rs system/Observation.u?category={category}");
    let app = server.with_scope(&scope, None);
    let change = r#"[{"op":"replace","path":"/status","value":"amended"}]"#;
    let code = |code: &str| format!(r#"[{{"op":"replace","path":"/category/0/coding/0/code","value":"{code}"}}]"#);
    patch(&app, "Observation/lab", change).await.expect_status(200);
    patch(&app, "Observation/lab", &code("vital-signs")).await.expect_status(403);
    patch(&app, "Observation/vital", &code("laboratory")).await.expect_status(403);
    app.put("Observation/vital").json(&categorised("vital", "laboratory")).await.expect_status(403);
}

async fn gone_and_unknown(server: TestServer) {
    let system = server.system();
    system.store(&patient("a")).await;
    system.delete("Patient/a").await.expect_status(204);
    patch(&system, "Patient/a", "[]").await.expect_status(410);
    patch(&system, "Patient/never", "[]").await.expect_status(404);
    patch(&system, "Nothing/a", "[]").await.expect_status(404);
    patch(&system, "Patient/a_b", "[]").await.expect_status(400);
}

async fn hostile_patches_are_refused(server: TestServer) {
    let system = server.system();
    system.store(&patient("a")).await;
    let many = |count: usize| format!("[{}]", vec![r#"{"op":"test","path":"/active","value":true}"#; count].join(","));
    patch(&system, "Patient/a", &many(10_000)).await.expect_status(200);
    patch(&system, "Patient/a", &many(10_001)).await.expect_status(400);
    let deep = format!(r#"[{{"op":"remove","path":"{}"}}]"#, "/a".repeat(200_000));
    patch(&system, "Patient/a", &deep).await.expect_status(400);
    let nested = format!("{}{}", "[".repeat(500), "]".repeat(500));
    patch(&system, "Patient/a", &nested).await.expect_status(400);
    let copies = vec![r#"{"op":"copy","from":"","path":"/contained"}"#; 100].join(",");
    patch(&system, "Patient/a", &format!("[{copies}]")).await.expect_status(400);
    let large = format!(r#"[{{"op":"add","path":"/language","value":"{}"}}]"#, "x".repeat(6 << 20));
    patch(&system, "Patient/a", &large).await.expect_status(413);
    let slow = "Patient.descendants().where(%resource.repeat(descendants()).count() > 1).".repeat(3) + "active";
    let slow = system.patch("Patient/a").json(&parameters("delete", &slow, Vec::new())).await;
    assert!(matches!(slow.status, 200 | 400 | 422), "{}", slow.status);
    assert_eq!(system.get("Patient/a").await.header("etag"), Some("W/\"1\""));
}

async fn narratives_do_not_grow_old(server: TestServer) {
    let system = server.system();
    let told = |id: &str, status: &str| {
        let mut patient = patient(id);
        let text = object! { "status": status, "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">active</div>" };
        patient.as_object_mut().unwrap().insert("text", text);
        patient
    };
    system.store(&told("a", "generated")).await;
    system.store(&told("b", "additional")).await;
    let change = r#"[{"op":"replace","path":"/active","value":false}]"#;
    assert!(patch(&system, "Patient/a", change).await.expect_status(200).json().get("text").is_none());
    patch(&system, "Patient/b", change).await.expect_status(422);
    let both = r#"[{"op":"replace","path":"/active","value":false},{"op":"remove","path":"/text"}]"#;
    patch(&system, "Patient/b", both).await.expect_status(200);
}

async fn conditional_references_are_refused(server: TestServer) {
    let system = server.system();
    system.store(&observation("o", "Patient/a")).await;
    let change = r#"[{"op":"replace","path":"/subject/reference","value":"Patient?identifier=x"}]"#;
    let refused = patch(&system, "Observation/o", change).await.expect_status(422).json();
    let expression = refused.at(&["issue", "expression"]).and_then(Json::as_str).map(str::to_owned);
    assert_eq!(expression.as_deref(), Some("Observation.subject.reference"));
}
