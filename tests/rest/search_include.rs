//! Tests of what `_include`, `_revinclude` and chains lead to. <https://hl7.org/fhir/R4/search.html#include>

use fhir::json::Json;
use fhir::object;
use tests::{Client, TestServer};

tests::on_both_engines!(a_star_is_every_type, sm_22_a_star_stands_for_what_may_be_searched);

fn reference(text: &str) -> Json {
    object! { "reference": text }
}

/// Stores a resource of these members.
async fn store(system: &Client, resource_type: &str, id: &str, members: &[(&str, Json)]) {
    let mut resource = object! { "resourceType": resource_type, "id": id };
    for (name, value) in members {
        resource.as_object_mut().unwrap().insert(*name, value.clone());
    }
    system.store(&resource).await;
}

/// What a page includes, in the order of names.
async fn included(client: &Client, query: &str) -> Vec<String> {
    let mut found = client.get(query).await.expect_status(200).included();
    found.sort();
    found
}

/// Two patients with an observation each, a visit, and what is about them.
async fn ward(system: &Client) {
    for id in ["a", "b"] {
        store(system, "Patient", id, &[]).await;
        let (status, subject) = ("final".into(), reference(&format!("Patient/{id}")));
        let code = object! { "text": "x" };
        let visit = reference("Encounter/e");
        let mut members = vec![("status", status), ("code", code), ("subject", subject)];
        members.extend((id == "a").then_some(("encounter", visit)));
        store(system, "Observation", &format!("o{id}"), &members).await;
    }
    let class = object! { "code": "AMB" };
    let members = [("status", "finished".into()), ("class", class), ("subject", reference("Patient/a"))];
    store(system, "Encounter", "e", &members).await;
    store(system, "Basic", "n", &[("code", object! { "text": "x" }), ("subject", reference("Encounter/e"))]).await;
}

async fn a_star_is_every_type(server: TestServer) {
    let system = server.system();
    ward(&system).await;
    for (query, expected) in [
        ("Patient?_id=a&_revinclude=*", &["Encounter/e", "Observation/oa"][..]),
        ("Patient?_id=b&_revinclude=*", &["Observation/ob"]),
        ("Patient?_id=a&_revinclude:iterate=*", &["Basic/n", "Encounter/e", "Observation/oa"]),
        ("Encounter?_revinclude=*", &["Basic/n", "Observation/oa"]),
        ("Observation?_id=oa&_include=*", &["Encounter/e", "Patient/a"]),
        ("Basic?_include=*", &["Encounter/e"]),
        ("Basic?_include:iterate=*", &["Encounter/e", "Patient/a"]),
        ("Basic?_include:iterate=*&_revinclude:iterate=*", &["Encounter/e", "Observation/oa", "Patient/a"]),
        ("?_type=Patient,Encounter&_revinclude=*&_id=a,e", &["Basic/n", "Observation/oa"]),
        // One of twenty, however many types there are.
        ("Patient?_id=a&_revinclude=*&_revinclude=Encounter:patient", &["Encounter/e", "Observation/oa"]),
    ] {
        assert_eq!(included(&system, query).await, expected, "{query}");
    }
    let link = system.get("Patient?_revinclude=*").await.expect_status(200).link("self").unwrap();
    assert!(link.ends_with("Patient?_revinclude=*"), "{link}");
    for query in ["Patient?_revinclude=*:subject", "Patient?_revinclude=*:*", "Patient?_revinclude:all=*"] {
        system.get(query).await.expect_status(400);
    }
}

async fn sm_22_a_star_stands_for_what_may_be_searched(server: TestServer) {
    let system = server.system();
    ward(&system).await;
    let all = "Patient?_revinclude=*";
    assert_eq!(included(&server.patient("a"), all).await, ["Encounter/e", "Observation/oa"]);
    for (scope, expected) in [
        ("patient/Patient.rs patient/Observation.rs", &["Observation/oa"][..]),
        ("patient/Patient.rs patient/Observation.rs patient/Encounter.r", &["Observation/oa"]),
        ("patient/Patient.rs patient/Observation.rs?status=preliminary patient/Encounter.rs", &["Encounter/e"]),
        ("patient/Patient.rs patient/Basic.rs", &[]),
    ] {
        assert_eq!(included(&server.with_scope(scope, Some("a")), all).await, expected, "{scope}");
    }
    // What is hidden leads nowhere.
    let blind = server.with_scope("patient/Patient.rs patient/Basic.rs", Some("a"));
    assert!(included(&blind, "Patient?_revinclude:iterate=*").await.is_empty());
}
