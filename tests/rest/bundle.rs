//! Tests of `server/src/rest/bundle.rs`.

use base64::Engine as _;
use fhir::json::Json;
use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    links_are_replaced,
    all_or_nothing,
    order_is_the_specifications,
    conditions_in_entries,
    batch_entries_stand_alone,
    overlaps_are_refused,
    lk_25_entries_are_authorized_one_by_one,
    not_a_bundle,
    re_19_transactions_that_cross_wait_for_each_other,
    patches_in_entries,
    patches_in_a_transaction_refer_to_its_entries,
    re_15_patches_in_transactions_lose_nothing,
    deletions_by_criteria,
    criteria_are_not_mistaken_for_others,
    overlaps_by_criteria_are_refused,
    errors_are_those_of_single_requests,
    reads_of_all_kinds,
    conditional_references_stay_in_transactions,
    in_31_ten_thousand_entries,
    lk_28_patches_of_other_patients,
);

pub(crate) fn bundle(kind: &str, entries: Vec<Json>) -> Json {
    object! { "resourceType": "Bundle", "type": kind, "entry": entries }
}

pub(crate) fn entry(method: &str, url: &str) -> Json {
    object! { "request": object! { "method": method, "url": url } }
}

pub(crate) fn with(mut entry: Json, name: &str, value: impl Into<Json>) -> Json {
    entry.as_object_mut().expect("an entry is an object").insert(name, value);
    entry
}

pub(crate) fn patient(value: &str) -> Json {
    object! { "resourceType": "Patient", "identifier": array![object! { "system": "http://s", "value": value }] }
}

pub(crate) fn observation(subject: &str) -> Json {
    object! {
        "resourceType": "Observation",
        "status": "final",
        "code": object! { "text": "x" },
        "subject": object! { "reference": subject },
    }
}

/// A JSON Patch as an entry has it.
fn json_patch(operations: &str) -> Json {
    let data = base64::engine::general_purpose::STANDARD.encode(operations);
    object! { "resourceType": "Binary", "contentType": "application/json-patch+json", "data": data }
}

/// A FHIRPath Patch that replaces a value.
fn replace(path: &str, member: &str, value: impl Into<Json>) -> Json {
    let mut part = object! { "name": "value" };
    part.as_object_mut().unwrap().insert(member, value);
    let parts = array![
        object! { "name": "type", "valueCode": "replace" },
        object! { "name": "path", "valueString": path },
        part
    ];
    object! { "resourceType": "Parameters", "parameter": array![object! { "name": "operation", "part": parts }] }
}

pub(crate) fn requested(mut entry: Json, name: &str, value: &str) -> Json {
    let request = entry.as_object_mut().and_then(|entry| entry.get_mut("request")).expect("an entry has a request");
    request.as_object_mut().expect("a request is an object").insert(name, value);
    entry
}

pub(crate) fn statuses(response: &Json) -> Vec<String> {
    let status = |entry: &Json| entry.at(&["response", "status"]).unwrap().as_str().unwrap()[..3].to_owned();
    response.list("entry").iter().map(status).collect()
}

async fn links_are_replaced(server: TestServer) {
    let system = server.system();
    let known = system.create(&patient("known")).await;
    let entries = vec![
        with(with(entry("POST", "Observation"), "resource", observation("urn:uuid:1")), "fullUrl", "urn:uuid:2"),
        with(with(entry("POST", "Patient"), "resource", patient("new")), "fullUrl", "urn:uuid:1"),
        with(entry("POST", "Observation"), "resource", observation("Patient?identifier=http://s|known")),
        with(entry("POST", "Observation"), "resource", observation("Patient?identifier=http://s|new")),
    ];
    let answer = system.post("").json(&bundle("transaction", entries)).await.expect_status(200);
    insta::assert_snapshot!("transaction", tests::redact::answer(&answer));
    let new = system.matches("Patient?identifier=http://s|new").await.remove(0);
    assert_eq!(system.matches(&format!("Observation?subject=Patient/{new}")).await.len(), 2);
    assert_eq!(system.matches(&format!("Observation?subject=Patient/{known}")).await.len(), 1);
}

async fn all_or_nothing(server: TestServer) {
    let system = server.system();
    for (bad, status) in [
        (with(entry("POST", "Patient"), "resource", object! { "resourceType": "Patient", "nam": 1_i64 }), 400),
        (with(entry("POST", "Observation"), "resource", observation("urn:uuid:none")), 400),
        (with(entry("POST", "Observation"), "resource", observation("Patient?identifier=http://s|none")), 412),
        (entry("GET", "Patient/never"), 404),
        (entry("PATCH", "Patient/never"), 400),
        (with(entry("PATCH", "Patient/never"), "resource", json_patch("[]")), 404),
        (with(entry("PATCH", "Patient?identifier=http://s|never"), "resource", json_patch("[]")), 404),
        (with(entry("PATCH", "Patient/never"), "resource", json_patch("{}")), 400),
    ] {
        let entries = vec![with(entry("POST", "Patient"), "resource", patient("lost")), bad.clone()];
        let answer = system.post("").json(&bundle("transaction", entries)).await.expect_status(status);
        let expression = answer.json().at(&["issue", "expression"]).unwrap().as_str().map(str::to_owned);
        assert_eq!(expression.as_deref(), Some("Bundle.entry[1]"), "{bad}");
        assert_eq!(system.matches("Patient").await, Vec::<String>::new(), "{bad}");
    }
}

async fn order_is_the_specifications(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "old" }).await;
    let put = object! { "resourceType": "Patient", "id": "put", "gender": "male" };
    let entries = vec![
        entry("GET", "Patient/put"),
        entry("GET", "Patient?gender=male"),
        with(entry("PUT", "Patient/put"), "resource", put),
        entry("DELETE", "Patient/old"),
    ];
    let response = system.post("").json(&bundle("transaction", entries)).await.expect_status(200).json();
    assert_eq!(statuses(&response), ["200", "200", "201", "204"]);
    assert_eq!(response.list("entry")[1].get("resource").unwrap().list("entry").len(), 1);
    system.get("Patient/old").await.expect_status(410);
}

async fn conditions_in_entries(server: TestServer) {
    let system = server.system();
    let create = || {
        let mut entry = with(entry("POST", "Patient"), "resource", patient("v"));
        let request = entry.as_object_mut().and_then(|entry| entry.get_mut("request")).unwrap();
        request.as_object_mut().unwrap().insert("ifNoneExist", "identifier=http://s|v");
        entry
    };
    let update = || {
        with(
            entry("PUT", "Device?identifier=http://s|d"),
            "resource",
            object! {
                "resourceType": "Device",
                "identifier": array![object! { "system": "http://s", "value": "d" }],
            },
        )
    };
    let post = |entries| system.post("").json(&bundle("transaction", entries));
    let first = post(vec![create(), create(), update()]).await.expect_status(200).json();
    assert_eq!(statuses(&first), ["201", "200", "201"]);
    let again = post(vec![create(), update()]).await.expect_status(200).json();
    assert_eq!(statuses(&again), ["200", "200"]);
    let location = |response: &Json| response.list("entry")[0].at(&["response", "location"]).unwrap().clone();
    assert_eq!(location(&first), location(&again));
    let mut stale = with(entry("PUT", "Patient/x"), "resource", object! { "resourceType": "Patient", "id": "x" });
    let request = stale.as_object_mut().and_then(|entry| entry.get_mut("request")).unwrap();
    request.as_object_mut().unwrap().insert("ifMatch", "W/\"3\"");
    post(vec![stale]).await.expect_status(412);
}

async fn batch_entries_stand_alone(server: TestServer) {
    let system = server.system();
    // What an entry is told quotes it, and must not spoil the answer to all others, in no format.
    let quoted = bundle("batch", vec![entry("GET", "Patient?\u{ffff}\u{1}=1"), entry("GET", "Patient")]);
    let answer = system.post("").header("Accept", "application/fhir+xml").json(&quoted).await.expect_status(200);
    assert!(answer.text().contains("400 Bad Request") && answer.text().contains("200 OK"), "{}", answer.text());
    let entries = vec![
        with(entry("POST", "Patient"), "resource", patient("kept")),
        with(entry("POST", "Patient"), "resource", object! { "resourceType": "Device" }),
        entry("GET", "Patient/never"),
        object! {},
        entry("GET", "metadata"),
    ];
    let response = system.post("").json(&bundle("batch", entries)).await.expect_status(200).json();
    assert_eq!(statuses(&response), ["201", "400", "404", "400", "200"]);
    assert_eq!(system.matches("Patient").await.len(), 1);
    let single = system.get("Patient/never").await.expect_status(404).json();
    assert_eq!(response.list("entry")[2].at(&["response", "outcome"]), Some(&single), "as the single request");
}

async fn overlaps_are_refused(server: TestServer) {
    let system = server.system();
    let put = || with(entry("PUT", "Patient/a"), "resource", object! { "resourceType": "Patient", "id": "a" });
    system.post("").json(&bundle("transaction", vec![put(), put()])).await.expect_status(400);
    system.post("").json(&bundle("transaction", vec![put(), entry("DELETE", "Patient/a")])).await.expect_status(400);
    system.get("Patient/a").await.expect_status(404);
}

async fn lk_25_entries_are_authorized_one_by_one(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&with(patient(id), "id", id)).await;
    }
    let app = server.patient("a");
    for kind in ["batch", "transaction"] {
        let entries = vec![entry("GET", "Patient/b")];
        let answer = app.post("").json(&bundle(kind, entries)).await;
        let status = if kind == "batch" { statuses(&answer.json())[0].clone() } else { answer.status.to_string() };
        assert_eq!(status, "404");
    }
    let of = |subject: &str| {
        bundle("transaction", vec![with(entry("POST", "Observation"), "resource", observation(subject))])
    };
    app.post("").json(&of("Patient/a")).await.expect_status(200);
    app.post("").json(&of("Patient/b")).await.expect_status(403);
    let hidden = app.post("").json(&of("Patient?identifier=http://s|b")).await.expect_status(412);
    let unknown = app.post("").json(&of("Patient?identifier=http://s|c")).await.expect_status(412);
    assert_eq!(hidden.text().replace("s|b", "s|c"), unknown.text());
}

async fn not_a_bundle(server: TestServer) {
    let system = server.system();
    system.post("").json(&patient("x")).await.expect_status(400);
    system.post("").json(&bundle("collection", Vec::new())).await.expect_status(400);
    let empty = system.post("").json(&object! { "resourceType": "Bundle", "type": "transaction" }).await;
    assert_eq!(empty.expect_status(200).json().str("type"), Some("transaction-response"));
}

async fn re_19_transactions_that_cross_wait_for_each_other(server: TestServer) {
    let system = server.system();
    for round in ["brings into being", "changes"] {
        let calls: Vec<_> = (0..24)
            .map(|number: usize| {
                let value = format!("{round} {number}");
                let put = |id: &str| {
                    with(entry("PUT", &format!("Patient/{id}")), "resource", with(patient(&value), "id", id))
                };
                let mut ids = ["a", "b", "c", "d"];
                ids.rotate_left(number % 4);
                if number.is_multiple_of(2) {
                    ids.reverse();
                }
                let call = system.post("").json(&bundle("transaction", ids.map(put).to_vec()));
                tokio::spawn(async move { call.await })
            })
            .collect();
        for call in calls {
            call.await.expect("answered").expect_status(200);
        }
        let mut values = Vec::new();
        for id in ["a", "b", "c", "d"] {
            let stored = system.get(&format!("Patient/{id}")).await.expect_status(200).json();
            values.push(stored.at(&["identifier", "value"]).and_then(Json::as_str).map(str::to_owned));
        }
        values.dedup();
        assert!(values.len() == 1 && values[0].is_some(), "all of one transaction stands: {values:?}");
    }
}

async fn patches_in_entries(server: TestServer) {
    let system = server.system();
    for kind in ["batch", "transaction"] {
        system.store(&with(patient(kind), "id", "a")).await;
        let version = system.get("Patient/a").await.header("etag").map(str::to_owned).unwrap();
        let change = |gender: &str| replace("Patient.gender", "valueCode", gender);
        let add = json_patch(r#"[{"op":"add","path":"/gender","value":"male"}]"#);
        let stale = requested(with(entry("PATCH", "Patient/a"), "resource", add.clone()), "ifMatch", "W/\"77\"");
        let post = |entry: Json| system.post("").json(&bundle(kind, vec![entry]));
        let status = |answer: tests::Answer| {
            if kind == "batch" { statuses(&answer.json())[0].clone() } else { answer.status.to_string() }
        };
        assert_eq!(status(post(stale).await), "412");
        let current = requested(with(entry("PATCH", "Patient/a"), "resource", add), "ifMatch", &version);
        assert_eq!(status(post(current).await), "200");
        let path = format!("Patient?identifier=http://s|{kind}");
        assert_eq!(status(post(with(entry("PATCH", &path), "resource", change("female"))).await), "200");
        assert_eq!(system.get("Patient/a").await.json().str("gender"), Some("female"));
        let number = json_patch(r#"[{"op":"replace","path":"/gender","value":7}]"#);
        assert_eq!(status(post(with(entry("PATCH", &path), "resource", number)).await), "422");
        let none = with(entry("PATCH", "Patient?identifier=http://s|none"), "resource", change("other"));
        assert_eq!(status(post(none).await), "404");
        let xml = object! { "resourceType": "Binary", "contentType": "application/xml-patch+xml", "data": "PGEvPg==" };
        assert_eq!(status(post(with(entry("PATCH", "Patient/a"), "resource", xml)).await), "415");
    }
}

async fn patches_in_a_transaction_refer_to_its_entries(server: TestServer) {
    let system = server.system();
    system.store(&with(observation("urn:uuid:elsewhere"), "id", "o")).await;
    system.create(&patient("known")).await;
    let performer = r#"[{"op":"add","path":"/performer","value":[{"reference":"urn:uuid:1"},{"reference":"Patient?identifier=http://s|known"}]}]"#;
    let entries = vec![
        with(entry("PATCH", "Observation/o"), "resource", json_patch(performer)),
        with(with(entry("POST", "Patient"), "resource", patient("new")), "fullUrl", "urn:uuid:1"),
    ];
    system.post("").json(&bundle("transaction", entries)).await.expect_status(200);
    let stored = system.get("Observation/o").await.json();
    let references: Vec<_> = stored.list("performer").iter().filter_map(|it| it.str("reference")).collect();
    assert!(references.iter().all(|it| it.starts_with("Patient/")) && references.len() == 2, "{references:?}");
    let subject = stored.at(&["subject", "reference"]).and_then(Json::as_str);
    assert_eq!(subject, Some("urn:uuid:elsewhere"), "what the patch leaves alone stays");
    let dangling = r#"[{"op":"replace","path":"/subject/reference","value":"urn:uuid:9"}]"#;
    let entries = vec![with(entry("PATCH", "Observation/o"), "resource", json_patch(dangling))];
    system.post("").json(&bundle("transaction", entries)).await.expect_status(400);
}

async fn re_15_patches_in_transactions_lose_nothing(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&with(patient("first"), "id", id)).await;
    }
    let calls: Vec<_> = (0..16)
        .map(|number| {
            let add = format!(r#"[{{"op":"add","path":"/identifier/-","value":{{"value":"{number}"}}}}]"#);
            let ids = if number % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
            let patch = |id: &str| with(entry("PATCH", &format!("Patient/{id}")), "resource", json_patch(&add));
            let call = system.post("").json(&bundle("transaction", ids.map(patch).to_vec()));
            tokio::spawn(async move { call.await })
        })
        .collect();
    for call in calls {
        call.await.expect("answered").expect_status(200);
    }
    for id in ["a", "b"] {
        let stored = system.get(&format!("Patient/{id}")).await.json();
        assert_eq!(stored.list("identifier").len(), 17);
    }
}

/// A value that holds `&` and `=` is another criterion than two parameters.
async fn criteria_are_not_mistaken_for_others(server: TestServer) {
    let system = server.system();
    let named = with(patient("one"), "name", array![object! { "family": "x" }]);
    let id = system.create(&named).await;
    let entries = vec![
        entry("DELETE", "Patient?family=x%26identifier%3Dhttp://s%7Cone"),
        entry("DELETE", "Patient?family=x&identifier=http://s%7Cone"),
    ];
    system.post("").json(&bundle("transaction", entries)).await.expect_status(200);
    system.get(&format!("Patient/{id}")).await.expect_status(410);
}

async fn deletions_by_criteria(server: TestServer) {
    let system = server.system();
    for kind in ["batch", "transaction"] {
        let id = system.create(&patient("one")).await;
        for _ in 0..2 {
            system.create(&patient("two")).await;
        }
        let post = |entries: Vec<Json>| system.post("").json(&bundle(kind, entries));
        let entries = ["one", "none"].map(|value| entry("DELETE", &format!("Patient?identifier=http://s|{value}")));
        let response = post(entries.to_vec()).await.expect_status(200).json();
        assert_eq!(statuses(&response), ["204", "204"]);
        system.get(&format!("Patient/{id}")).await.expect_status(410);
        let several = post(vec![entry("DELETE", "Patient?identifier=http://s|two")]).await;
        let status = if kind == "batch" { statuses(&several.json())[0].clone() } else { several.status.to_string() };
        assert_eq!(status, "412");
    }
    // What is deleted first is not there for what is created after it.
    let remaining = system.matches("Patient?identifier=http://s|two").await;
    let mut entries: Vec<Json> = remaining.iter().map(|id| entry("DELETE", &format!("Patient/{id}"))).collect();
    entries.insert(0, with(entry("POST", "Patient"), "resource", patient("two")));
    system.post("").json(&bundle("transaction", entries)).await.expect_status(200);
    assert_eq!(system.matches("Patient?identifier=http://s|two").await.len(), 1);
}

async fn overlaps_by_criteria_are_refused(server: TestServer) {
    let system = server.system();
    system.store(&with(patient("x"), "id", "a")).await;
    let criteria = "Patient?identifier=http://s|x";
    let put = || with(entry("PUT", "Patient/a"), "resource", with(patient("x"), "id", "a"));
    let put_criteria = || with(entry("PUT", criteria), "resource", patient("x"));
    let patch = |url: &str| with(entry("PATCH", url), "resource", json_patch("[]"));
    for pair in [
        vec![put(), put_criteria()],
        vec![put(), patch("Patient/a")],
        vec![patch("Patient/a"), patch(criteria)],
        vec![patch(criteria), entry("DELETE", criteria)],
        vec![put_criteria(), entry("DELETE", "Patient/a")],
        vec![entry("DELETE", "Patient/a"), entry("DELETE", criteria)],
    ] {
        let answer = system.post("").json(&bundle("transaction", pair)).await.expect_status(400);
        assert_eq!(answer.json().at(&["issue", "code"]).unwrap().as_str(), Some("duplicate"));
    }
    assert_eq!(system.get("Patient/a").await.header("etag"), Some("W/\"1\""));
}

async fn errors_are_those_of_single_requests(server: TestServer) {
    let system = server.system();
    system.store(&with(patient("x"), "id", "a")).await;
    system.store(&with(patient("y"), "id", "gone")).await;
    system.delete("Patient/gone").await.expect_status(204);
    let patched = |operations: &str| with(entry("PATCH", "Patient/a"), "resource", json_patch(operations));
    let json = "application/json-patch+json";
    let failing = r#"[{"op":"test","path":"/active","value":true}]"#;
    let removing = r#"[{"op":"remove","path":"/resourceType"}]"#;
    let odd = || object! { "resourceType": "Patient", "id": "a", "gender": "odd", "nam": "x" };
    let pairs = [
        (patched(failing), system.patch("Patient/a").body(json, failing).await),
        (patched(removing), system.patch("Patient/a").body(json, removing).await),
        (patched("{"), system.patch("Patient/a").body(json, "{").await),
        (with(entry("PUT", "Patient/a"), "resource", odd()), system.put("Patient/a").json(&odd()).await),
        (with(entry("POST", "Patient"), "resource", odd()), system.post("Patient").json(&odd()).await),
        (entry("DELETE", "Patient?typo=1"), system.delete("Patient?typo=1").await),
        (entry("GET", "Patient/gone"), system.get("Patient/gone").await),
        (entry("GET", "Patient/a/_history/9"), system.get("Patient/a/_history/9").await),
        (entry("GET", "Patient?typo=1"), system.get("Patient?typo=1").await),
    ];
    for (entry, single) in pairs {
        let batch = system.post("").json(&bundle("batch", vec![entry.clone()])).await.expect_status(200).json();
        let response = batch.list("entry")[0].get("response").unwrap();
        assert_eq!(statuses(&batch), [single.status.to_string()], "{entry}");
        assert_eq!(response.get("outcome"), Some(&single.json()), "{entry}");
        let whole = system.post("").json(&bundle("transaction", vec![entry.clone()])).await;
        assert_eq!(whole.status, single.status, "{entry}");
        assert_eq!(whole.issues(), single.issues(), "{entry}");
    }
}

async fn reads_of_all_kinds(server: TestServer) {
    let system = server.system();
    system.store(&with(patient("x"), "id", "a")).await;
    system.store(&with(patient("y"), "id", "a")).await;
    let first = system.get("Patient/a/_history/1").await.json();
    let modified = first.at(&["meta", "lastUpdated"]).unwrap().as_str().unwrap().to_owned();
    let read = |url: &str| entry("GET", url);
    let both = || {
        vec![
            read("Patient/a"),
            entry("HEAD", "Patient/a"),
            requested(read("Patient/a"), "ifNoneMatch", "W/\"2\""),
            requested(read("Patient/a"), "ifModifiedSince", "2999-01-01T00:00:00Z"),
            requested(read("Patient/a"), "ifModifiedSince", "1999-01-01T00:00:00Z"),
            read("Patient/a/_history/1"),
            read("Patient/a?_elements=identifier"),
            read("Patient?identifier=y"),
            entry("HEAD", "Patient?identifier=y"),
            read("metadata"),
        ]
    };
    let expected = ["200", "200", "304", "304", "200", "200", "200", "200", "200", "200"];
    for kind in ["batch", "transaction"] {
        let response = system.post("").json(&bundle(kind, both())).await.expect_status(200).json();
        assert_eq!(statuses(&response), expected, "{kind}");
        let resources: Vec<Option<&Json>> = response.list("entry").iter().map(|entry| entry.get("resource")).collect();
        assert!(resources[1].is_none() && resources[8].is_none(), "HEAD has no body");
        assert_eq!(resources[5], Some(&first));
        assert!(resources[6].unwrap().at(&["meta", "tag"]).is_some(), "SUBSETTED");
        assert_eq!(resources[7].unwrap().list("entry").len(), 1);
    }
    let wide = vec![read("?_type=Patient,Device"), read("Patient/a/Observation"), read("Patient/a/*")];
    let response = system.post("").json(&bundle("batch", wide)).await.expect_status(200).json();
    assert_eq!(statuses(&response), ["200", "200", "200"]);
    let histories = vec![read("Patient/a/_history"), entry("HEAD", "Patient/a/_history")];
    let response = system.post("").json(&bundle("batch", histories.clone())).await.expect_status(200).json();
    assert_eq!(statuses(&response), ["200", "200"]);
    assert_eq!(response.list("entry")[0].get("resource").unwrap().list("entry").len(), 2);
    system.post("").json(&bundle("transaction", histories)).await.expect_status(400);
    let bad = requested(read("Patient/a"), "ifModifiedSince", &modified[..10]);
    let response = system.post("").json(&bundle("batch", vec![bad])).await.json();
    assert_eq!(statuses(&response), ["400"]);
}

async fn conditional_references_stay_in_transactions(server: TestServer) {
    let system = server.system();
    system.store(&with(patient("known"), "id", "p")).await;
    let of = || observation("Patient?identifier=http://s|known");
    let single = system.post("Observation").json(&of()).await.expect_status(400);
    let expression = single.json().at(&["issue", "expression"]).unwrap().as_str().map(str::to_owned);
    assert_eq!(expression.as_deref(), Some("Observation.subject.reference"));
    system.put("Observation/o").json(&with(of(), "id", "o")).await.expect_status(400);
    let entries = vec![with(entry("POST", "Observation"), "resource", of())];
    let batch = system.post("").json(&bundle("batch", entries.clone())).await.expect_status(200).json();
    assert_eq!(batch.list("entry")[0].at(&["response", "outcome"]), Some(&single.json()));
    system.post("").json(&bundle("transaction", entries)).await.expect_status(200);
    assert_eq!(system.matches("Observation?subject=Patient/p").await.len(), 1);
}

async fn in_31_ten_thousand_entries(server: TestServer) {
    let system = server.system();
    let basic = |number: usize| {
        let resource = object! { "resourceType": "Basic", "code": object! { "text": format!("{number}") } };
        let full_url = format!("urn:uuid:00000000-0000-4000-8000-{number:012}");
        with(with(entry("POST", "Basic"), "resource", resource), "fullUrl", full_url)
    };
    let entries: Vec<Json> = (0..10_000).map(basic).collect();
    let response = system.post("").json(&bundle("transaction", entries)).await.expect_status(200).json();
    assert_eq!(response.list("entry").len(), 10_000);
    assert!(statuses(&response).iter().all(|status| status == "201"));
    let too_many: Vec<Json> = (0..10_001).map(basic).collect();
    system.post("").json(&bundle("transaction", too_many)).await.expect_status(413);
    let total = system.get("Basic?_summary=count").await.json();
    assert_eq!(total.get("total").and_then(Json::as_number), Some("10000"));
}

async fn lk_28_patches_of_other_patients(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&with(patient(id), "id", id)).await;
        system.store(&with(observation(&format!("Patient/{id}")), "id", id)).await;
    }
    let app = server.patient("a");
    let change = r#"[{"op":"replace","path":"/status","value":"amended"}]"#;
    let patch = |url: &str, operations: &str| with(entry("PATCH", url), "resource", json_patch(operations));
    let moved = r#"[{"op":"replace","path":"/subject/reference","value":"Patient/b"}]"#;
    for (entry, expected) in [
        (patch("Observation/b", change), "404"),
        (patch("Observation/never", change), "404"),
        (patch("Observation?subject=Patient/b", change), "404"),
        (entry("DELETE", "Observation?subject=Patient/b"), "204"),
        (patch("Observation/a", moved), "403"),
        (patch("Observation/a", change), "200"),
    ] {
        let batch = app.post("").json(&bundle("batch", vec![entry.clone()])).await.expect_status(200).json();
        assert_eq!(statuses(&batch), [expected], "{entry}");
        let whole = app.post("").json(&bundle("transaction", vec![entry.clone()])).await;
        let expected = if expected == "204" { "200" } else { expected };
        assert_eq!(whole.status.to_string(), expected, "{entry}");
    }
    assert_eq!(system.get("Observation/b").await.header("etag"), Some("W/\"1\""));
}
