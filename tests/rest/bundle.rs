//! Tests of `server/src/rest/bundle.rs`.

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
);

fn bundle(kind: &str, entries: Vec<Json>) -> Json {
    object! { "resourceType": "Bundle", "type": kind, "entry": entries }
}

fn entry(method: &str, url: &str) -> Json {
    object! { "request": object! { "method": method, "url": url } }
}

fn with(mut entry: Json, name: &str, value: impl Into<Json>) -> Json {
    entry.as_object_mut().expect("an entry is an object").insert(name, value);
    entry
}

fn patient(value: &str) -> Json {
    object! { "resourceType": "Patient", "identifier": array![object! { "system": "http://s", "value": value }] }
}

fn observation(subject: &str) -> Json {
    object! {
        "resourceType": "Observation",
        "status": "final",
        "code": object! { "text": "x" },
        "subject": object! { "reference": subject },
    }
}

fn statuses(response: &Json) -> Vec<String> {
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
        (entry("DELETE", "Patient/never"), 404),
        (entry("GET", "Patient/never"), 404),
        (entry("PATCH", "Patient/never"), 400),
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
