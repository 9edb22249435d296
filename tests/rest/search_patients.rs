//! Tests of `server/src/rest/search.rs`: resources that lie in the compartments of several patients.

use fhir::json::Json;
use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    two_conditions_may_name_two_patients_of_one_resource,
    what_a_patient_holds_otherwise_is_told_apart,
    everything_of_one_of_several_patients
);

fn reference(text: &str) -> Json {
    object! { "reference": text }
}

fn observation(id: &str, subject: &str, performers: &[&str]) -> Json {
    let performers: Vec<Json> = performers.iter().map(|it| reference(it)).collect();
    let mut observation = object! {
        "resourceType": "Observation", "id": id, "status": "final",
        "code": object! { "coding": array![object! { "system": "urn:c", "code": "x" }] },
    };
    let members = observation.as_object_mut().expect("an object");
    if !subject.is_empty() {
        members.insert("subject", reference(subject));
    }
    if !performers.is_empty() {
        members.insert("performer", performers);
    }
    observation
}

fn appointment(id: &str, actors: &[&str]) -> Json {
    let participant = |actor: &&str| object! { "actor": reference(actor), "status": "accepted" };
    let participants: Vec<Json> = actors.iter().map(participant).collect();
    object! { "resourceType": "Appointment", "id": id, "status": "proposed", "participant": participants }
}

/// Patients 1 to 4. Nobody performed for patient 4; patient 3 performed without being the subject of anything.
async fn people(server: &TestServer) {
    let system = server.system();
    for (id, name) in [("p1", "Anna"), ("p2", "Bob"), ("p3", "Cleo"), ("p4", "Dora")] {
        let name = array![object! { "given": array![name] }];
        system.store(&object! { "resourceType": "Patient", "id": id, "name": name }).await;
    }
    for resource in [
        observation("two", "Patient/p1", &["Patient/p2"]),
        observation("three", "Patient/p1", &["Patient/p3"]),
        observation("own", "Patient/p1", &["Patient/p1"]),
        observation("alone", "Patient/p1", &[]),
        observation("multi", "Patient/p2", &["Patient/p3", "Patient/p1"]),
        observation("nobody", "", &["Patient/p3"]),
        observation("quiet", "Patient/p4", &[]),
        appointment("pair", &["Patient/p1", "Patient/p2"]),
        appointment("single", &["Patient/p1"]),
    ] {
        system.store(&resource).await;
    }
}

async fn two_conditions_may_name_two_patients_of_one_resource(server: TestServer) {
    people(&server).await;
    let system = server.system();
    for (query, expected) in [
        ("Observation?subject=Patient/p1&performer=Patient/p2", vec!["two"]),
        ("Observation?subject=Patient/p1&performer=Patient/p2&code=x", vec!["two"]),
        ("Observation?patient=p2&performer=Patient/p3&performer=Patient/p1", vec!["multi"]),
        (
            "Observation?subject=Patient/p1,Patient/p2&performer=Patient/p2,Patient/p3&_sort=_id",
            vec!["multi", "three", "two"],
        ),
        ("Appointment?actor=Patient/p1&actor=Patient/p2", vec!["pair"]),
        ("Appointment?patient=p1&actor=Patient/p2", vec!["pair"]),
        ("Appointment?actor=Patient/p1&actor:Patient.name=bob", vec!["pair"]),
        ("Appointment?actor:Patient.name=anna&actor:Patient.name=bob", vec!["pair"]),
        ("Appointment?_filter=actor re Patient/p1 and actor re Patient/p2", vec!["pair"]),
        ("Patient/p1/Appointment?actor=Patient/p2", vec!["pair"]),
        ("Appointment?actor=Patient/p1&actor=Patient/p3", vec![]),
    ] {
        let answer =
            system.get(&format!("{query}{}_total=accurate", if query.contains('?') { '&' } else { '?' })).await;
        let answer = answer.expect_status(200);
        assert_eq!(answer.matches(), expected, "{query}");
        assert_eq!(
            answer.json().get("total").and_then(Json::as_number),
            Some(expected.len().to_string().as_str()),
            "{query}"
        );
    }
    let confined = server.with_scope("patient/*.rs", Some("p1"));
    for (query, expected) in [
        ("Appointment?actor=Patient/p2", vec!["pair"]),
        ("Appointment?actor=Patient/p1&actor=Patient/p2", vec!["pair"]),
        ("Observation?performer=Patient/p3&_sort=_id", vec!["multi", "three"]),
    ] {
        assert_eq!(confined.get(query).await.expect_status(200).matches(), expected, "{query}");
    }
    let meeting = object! { "resourceType": "Appointment", "status": "proposed", "participant": array![
        object! { "actor": reference("Patient/p3"), "status": "accepted" },
        object! { "actor": reference("Patient/p4"), "status": "accepted" },
    ] };
    for status in [201, 200] {
        let create = system.post("Appointment").json(&meeting);
        create.header("If-None-Exist", "actor=Patient/p3&actor=Patient/p4").await.expect_status(status);
    }
    system.delete("Observation?subject=Patient/p2&performer=Patient/p3").await.expect_status(204);
    system.get("Observation/multi").await.expect_status(410);
}

async fn what_a_patient_holds_otherwise_is_told_apart(server: TestServer) {
    people(&server).await;
    let system = server.system();
    for (query, expected) in [
        ("Observation?patient=p1&code=urn:c%7Cx&_sort=_id", vec!["alone", "own", "three", "two"]),
        ("Observation?subject=Patient/p1&_sort=_id", vec!["alone", "own", "three", "two"]),
        ("Observation?performer=Patient/p1&code=x&_sort=_id", vec!["multi", "own"]),
        ("Observation?patient=p3&code=x", vec![]),
        ("Observation?patient=p4&code=x", vec!["quiet"]),
        ("Observation?subject=Patient/p2&code=x", vec!["multi"]),
        ("Patient/p1/Observation?code=x&_sort=_id", vec!["alone", "multi", "own", "three", "two"]),
        ("Patient/p3/Observation?_sort=_id", vec!["multi", "nobody", "three"]),
    ] {
        assert_eq!(system.get(query).await.expect_status(200).matches(), expected, "{query}");
    }
    let confined = server.with_scope("patient/*.rs", Some("p3"));
    for (query, expected) in [
        ("Observation?patient=p3", vec![]),
        ("Observation?patient=p1&code=x", vec!["three"]),
        ("Observation?code=x&_sort=_id", vec!["multi", "nobody", "three"]),
    ] {
        assert_eq!(confined.get(query).await.expect_status(200).matches(), expected, "{query}");
    }
}

async fn everything_of_one_of_several_patients(server: TestServer) {
    people(&server).await;
    let link = array![object! { "other": reference("Patient/p4"), "type": "seealso" }];
    server.system().store(&object! { "resourceType": "Patient", "id": "p5", "link": link }).await;
    for (id, expected) in [
        ("p1", vec!["alone", "multi", "own", "p1", "pair", "single", "three", "two"]),
        ("p3", vec!["multi", "nobody", "p3", "three"]),
        ("p4", vec!["p4", "p5", "quiet"]),
        ("p5", vec!["p5"]),
    ] {
        let answer = server.system().get(&format!("Patient/{id}/$everything")).await.expect_status(200);
        let mut found = answer.matches();
        found.sort();
        assert_eq!(found, expected, "{id}");
    }
}
