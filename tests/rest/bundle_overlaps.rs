//! Tests of `server/src/rest/bundle/overlaps.rs` and `server/src/rest/bundle/matching.rs`: conditional writes beside what
//! other entries of the transaction write. <https://hl7.org/fhir/R4/http.html#trules>

use fhir::json::Json;
use fhir::object;
use tests::{Client, TestServer};

use crate::bundle::{bundle, entry, observation, patient, requested, statuses, with};

tests::on_both_engines!(
    creates_by_criteria_do_not_find_what_is_deleted,
    more_is_deleted_than_criteria_find,
    criteria_that_a_resource_does_not_satisfy_lose_nothing,
    a_create_by_criteria_finds_what_another_entry_creates,
    criteria_that_mean_the_same_resource_overlap,
    criteria_look_at_links_after_they_are_replaced,
    different_criteria_stand_beside_each_other,
);

fn create(value: &str) -> Json {
    with(entry("POST", "Patient"), "resource", patient(value))
}

fn create_unless(value: &str, criteria: &str) -> Json {
    requested(create(value), "ifNoneExist", &format!("identifier=http://s|{criteria}"))
}

fn update_by(value: &str, criteria: &str) -> Json {
    with(entry("PUT", &format!("Patient?identifier=http://s|{criteria}")), "resource", patient(value))
}

async fn carried_out(system: &Client, entries: Vec<Json>) -> Json {
    system.post("").json(&bundle("transaction", entries)).await.expect_status(200).json()
}

async fn stored(system: &Client, value: &str) -> Vec<String> {
    system.matches(&format!("Patient?identifier=http://s|{value}")).await
}

/// "Process any DELETE interactions" is the first step: what is deleted is not there for a create.
async fn creates_by_criteria_do_not_find_what_is_deleted(server: TestServer) {
    let system = server.system();
    for (delete, id) in [("Patient/one", "one"), ("Patient?identifier=http://s|one", "two")] {
        system.store(&with(patient("one"), "id", id)).await;
        let new = with(create_unless("one", "one"), "fullUrl", "urn:uuid:1");
        let of = with(entry("POST", "Observation"), "resource", observation("urn:uuid:1"));
        let response = carried_out(&system, vec![new, of, entry("DELETE", delete)]).await;
        assert_eq!(statuses(&response), ["201", "201", "204"], "{delete}");
        let left = stored(&system, "one").await;
        assert_eq!(left.len(), 1);
        assert_ne!(left, [id]);
        assert_eq!(system.matches(&format!("Observation?subject=Patient/{}", left[0])).await.len(), 1);
        system.delete(&format!("Patient/{}", left[0])).await.expect_status(204);
    }
}

/// Two matches are enough to know that there are several, unless the transaction deletes them.
async fn more_is_deleted_than_criteria_find(server: TestServer) {
    let system = server.system();
    for id in ["a", "b", "c", "d"] {
        system.store(&with(patient("one"), "id", id)).await;
    }
    let deletes = |ids: &[&str]| ids.iter().map(|id| entry("DELETE", &format!("Patient/{id}"))).collect::<Vec<_>>();
    let two_left = [deletes(&["c", "d"]), vec![create_unless("one", "one")]].concat();
    system.post("").json(&bundle("transaction", two_left)).await.expect_status(412);
    let reference = with(entry("POST", "Observation"), "resource", observation("Patient?identifier=http://s|one"));
    let two_left = [deletes(&["c", "d"]), vec![reference.clone()]].concat();
    system.post("").json(&bundle("transaction", two_left)).await.expect_status(412);
    let one_left = [deletes(&["b", "c", "d"]), vec![create_unless("one", "one"), reference]].concat();
    let response = carried_out(&system, one_left).await;
    assert_eq!(statuses(&response), ["204", "204", "204", "200", "201"]);
    assert_eq!(stored(&system, "one").await, ["a"]);
    assert_eq!(system.matches("Observation?subject=Patient/a").await.len(), 1);
}

async fn criteria_that_a_resource_does_not_satisfy_lose_nothing(server: TestServer) {
    let system = server.system();
    let response = carried_out(&system, vec![create_unless("x1", "none"), create_unless("x2", "none")]).await;
    assert_eq!(statuses(&response), ["201", "201"]);
    for value in ["x1", "x2"] {
        assert_eq!(stored(&system, value).await.len(), 1, "{value}");
    }
}

async fn a_create_by_criteria_finds_what_another_entry_creates(server: TestServer) {
    let system = server.system();
    for (round, entries, expected) in [
        ("a", vec![create("a"), create_unless("a", "a")], ["201", "200"]),
        ("b", vec![create_unless("b", "b"), create("b")], ["200", "201"]),
        ("c", vec![create_unless("c", "c"), create_unless("c", "c")], ["201", "200"]),
    ] {
        let response = carried_out(&system, entries).await;
        assert_eq!(statuses(&response), expected, "{round}");
        let locations: Vec<_> =
            response.list("entry").iter().map(|entry| entry.at(&["response", "location"]).cloned()).collect();
        assert_eq!(locations[0], locations[1], "{round}");
        assert_eq!(stored(&system, round).await.len(), 1, "{round}");
    }
    // Criteria may differ, and still mean what another one creates, whatever comes first.
    let both = |value: &str, other: &str| {
        let mut entry = create_unless(value, value);
        let resource = entry.as_object_mut().and_then(|entry| entry.get_mut("resource")).unwrap();
        let identifiers = [value, other].map(|value| object! { "system": "http://s", "value": value });
        resource.as_object_mut().unwrap().insert("identifier", identifiers.to_vec());
        entry
    };
    let response = carried_out(&system, vec![both("d", "e"), create_unless("e", "e")]).await;
    assert_eq!(statuses(&response), ["201", "200"]);
    let response = carried_out(&system, vec![create_unless("g", "g"), both("f", "g")]).await;
    assert_eq!(statuses(&response), ["200", "201"]);
    let several = vec![create("h"), create("h"), create_unless("h", "h")];
    let answer = system.post("").json(&bundle("transaction", several)).await.expect_status(412);
    assert_eq!(answer.json().at(&["issue", "code"]).unwrap().as_str(), Some("multiple-matches"));
    assert_eq!(stored(&system, "h").await.len(), 0);
}

async fn criteria_that_mean_the_same_resource_overlap(server: TestServer) {
    let system = server.system();
    let with_id = |id: &str| with(entry("PUT", &format!("Patient/{id}")), "resource", with(patient("x"), "id", id));
    for pair in [
        [update_by("x", "x"), update_by("x", "x")],
        [create_unless("x", "x"), update_by("x", "x")],
        [update_by("x", "x"), create("x")],
        [with_id("own"), update_by("x", "x")],
        // The same criteria mean the same resource, whatever it says.
        [update_by("y", "x"), update_by("z", "x")],
    ] {
        let answer = system.post("").json(&bundle("transaction", pair.to_vec())).await.expect_status(400);
        assert_eq!(answer.json().at(&["issue", "code"]).unwrap().as_str(), Some("duplicate"), "{}", answer.text());
        assert_eq!(system.matches("Patient").await, Vec::<String>::new());
    }
    system.store(&with(patient("x"), "id", "a")).await;
    // After the create there would be two.
    system.post("").json(&bundle("transaction", vec![create("x"), update_by("x", "x")])).await.expect_status(412);
    let response = carried_out(&system, vec![create_unless("x", "x"), update_by("x", "x")]).await;
    assert_eq!(statuses(&response), ["200", "200"]);
    assert_eq!(stored(&system, "x").await, ["a"]);
}

/// Whether two entries create the same depends on where their references lead.
async fn criteria_look_at_links_after_they_are_replaced(server: TestServer) {
    let system = server.system();
    system.store(&with(patient("p"), "id", "p")).await;
    let known = || with(create_unless("p", "p"), "fullUrl", "urn:uuid:1");
    for (round, subject) in ["urn:uuid:1", "Patient?identifier=http://s|p", "Patient/p"].into_iter().enumerate() {
        let of = || {
            let resource = with(observation(subject), "code", object! { "text": format!("round {round}") });
            let resource = with(resource, "issued", format!("2020-01-01T00:00:0{round}Z"));
            let resource = with(resource, "effectiveInstant", format!("2020-01-01T00:00:0{round}Z"));
            let created = with(entry("POST", "Observation"), "resource", resource);
            requested(created, "ifNoneExist", &format!("subject=Patient/p&date=2020-01-01T00:00:0{round}Z"))
        };
        let response = carried_out(&system, vec![known(), of(), of()]).await;
        assert_eq!(statuses(&response), ["200", "201", "200"], "{subject}");
        assert_eq!(statuses(&carried_out(&system, vec![known(), of()]).await), ["200", "200"], "{subject}");
    }
    assert_eq!(system.matches("Observation?subject=Patient/p").await.len(), 3);
}

async fn different_criteria_stand_beside_each_other(server: TestServer) {
    let system = server.system();
    system.store(&with(patient("p"), "id", "p")).await;
    let chained = |value: &str| {
        let of = with(entry("POST", "Observation"), "resource", observation("Patient/p"));
        requested(of, "ifNoneExist", &format!("subject:Patient.identifier=http://s|{value}&status=final"))
    };
    let entries = vec![
        update_by("a", "a"),
        update_by("b", "b"),
        create_unless("c", "c"),
        create("d"),
        with(entry("PUT", "Patient/e"), "resource", with(patient("e"), "id", "e")),
        chained("none"),
        chained("p"),
        chained("p"),
    ];
    let response = carried_out(&system, entries).await;
    assert_eq!(statuses(&response), ["201", "201", "201", "201", "201", "201", "201", "200"]);
    assert_eq!(system.matches("Patient").await.len(), 6);
}
