//! Tests of `server/src/rest/search/compartment.rs` and `system.rs`.

use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    compartments,
    lk_17_of_anothers_compartment_nothing_is_seen,
    lk_19_a_cursor_is_of_one_compartment,
    several_types,
);

async fn ward(server: &TestServer) {
    let system = server.system();
    let reference = |text: &str| object! { "reference": text };
    for id in ["a", "b"] {
        system
            .store(&object! { "resourceType": "Patient", "id": id, "identifier": array![object! { "value": id }] })
            .await;
        let condition = object! {
            "resourceType": "Condition", "id": format!("c-{id}"), "subject": reference(&format!("Patient/{id}")),
        };
        system.store(&condition).await;
        let observation = object! {
            "resourceType": "Observation", "id": format!("o-{id}"), "status": "final",
            "code": object! { "text": "x" }, "subject": reference(&format!("Patient/{id}")),
            "identifier": array![object! { "value": id }],
        };
        system.store(&observation).await;
    }
}

async fn compartments(server: TestServer) {
    ward(&server).await;
    let system = server.system();
    for (path, expected) in [
        ("Patient/a/Observation", vec!["o-a"]),
        ("Patient/a/Observation?identifier=b", vec![]),
        ("Patient/a/*?_sort=_id", vec!["a", "c-a", "o-a"]),
        ("Patient/a/*?_type=Condition,Observation&_sort=-_id", vec!["o-a", "c-a"]),
        ("Patient/nobody/*", vec![]),
        ("Encounter/e/Observation", vec![]),
    ] {
        let answer = system.get(path).await.expect_status(200);
        assert_eq!(answer.matches(), expected, "{path}");
        assert!(answer.link("self").unwrap().contains(path.split('?').next().unwrap()), "{path}");
    }
    let posted = system.post("Patient/a/Observation/_search").form(&[("identifier", "a")]).await.expect_status(200);
    assert_eq!(posted.matches(), ["o-a"]);
    let first = system.get("Patient/a/*?_sort=_id&_count=2&_total=accurate").await.expect_status(200);
    let second = system.get(&first.link("next").unwrap()).await.expect_status(200);
    assert_eq!((first.matches(), second.matches()), (vec!["a".to_owned(), "c-a".to_owned()], vec!["o-a".to_owned()]));
    assert!(second.link("previous").is_some());
    for (path, status) in [
        ("Patient/a/Location", 404),
        ("Patient/a/Nothing", 404),
        ("Location/a/Observation", 404),
        ("Patient/a_b/Observation", 400),
        ("Patient/a/*?_type=Location", 400),
        ("Patient/a/*?code=x", 400),
        ("Patient/a/Observation?nothing=x", 400),
    ] {
        system.get(path).await.expect_status(status);
    }
}

async fn lk_17_of_anothers_compartment_nothing_is_seen(server: TestServer) {
    ward(&server).await;
    let patient = server.patient("a");
    let other = patient.get("Patient/b/*?_total=accurate").await.expect_status(200);
    assert_eq!(
        (other.matches(), other.json().get("total").and_then(|it| it.as_number()).map(str::to_owned)),
        (vec![], Some("0".to_owned()))
    );
    assert_eq!(patient.get("Patient/a/*?_sort=_id").await.expect_status(200).matches(), ["a", "c-a", "o-a"]);
    let narrow = server.with_scope("patient/Condition.rs", Some("a"));
    assert_eq!(narrow.get("Patient/a/*").await.expect_status(200).matches(), ["c-a"]);
    narrow.get("Patient/a/Observation").await.expect_status(403);
    narrow.get("Patient/a/*?_type=Condition,Observation").await.expect_status(403);
}

async fn several_types(server: TestServer) {
    ward(&server).await;
    let system = server.system();
    for (query, expected) in [
        ("_type=Patient,Observation&identifier=a&_sort=_id", vec!["a", "o-a"]),
        ("_type=Condition&_sort=-_id", vec!["c-b", "c-a"]),
        ("_id=a,c-b&_sort=_id", vec!["a", "c-b"]),
    ] {
        assert_eq!(system.get(&format!("?{query}")).await.expect_status(200).matches(), expected, "{query}");
    }
    let posted = system.post("_search").form(&[("_id", "a,c-b"), ("_sort", "_id")]).await.expect_status(200);
    assert_eq!(posted.matches(), ["a", "c-b"]);
    for query in ["_type=Patient,Observation&code=x", "_type=Nothing", "_type=Patient,Observation&_sort=identifier"] {
        system.get(&format!("?{query}")).await.expect_status(400);
    }
    let patient = server.with_scope("patient/Condition.rs", Some("a"));
    assert_eq!(patient.get("?_sort=_id").await.expect_status(200).matches(), ["c-a"]);
    patient.get("?_type=Observation").await.expect_status(403);
}

/// A cursor says where one search goes on: that of a compartment, not of another one nor of the whole type.
async fn lk_19_a_cursor_is_of_one_compartment(server: TestServer) {
    ward(&server).await;
    let system = server.system();
    let second = object! {
        "resourceType": "Observation", "id": "second", "status": "final", "code": object! { "text": "x" },
        "subject": object! { "reference": "Patient/a" },
    };
    system.store(&second).await;
    let first = system.get("Patient/a/Observation?_count=1").await.expect_status(200);
    let next = first.link("next").expect("there are two");
    let cursor = next.split_once("_cursor=").expect("a page has a place").1.split('&').next().unwrap_or_default();
    for (status, path) in
        [(200, "Patient/a/Observation"), (400, "Patient/b/Observation"), (400, "Patient/a/*"), (400, "Observation")]
    {
        system.get(&format!("{path}?_count=1&_cursor={cursor}")).await.expect_status(status);
    }
}
