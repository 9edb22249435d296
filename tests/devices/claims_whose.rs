//! Tests of `server/src/insurance/whose.rs`: identifiers are their writers' to say, whose a session is, is not. (LK-51)

use fhir::json::Json;
use fhir::{array, object};
use simulators::smartlink::{Faults, SmartLink};
use tests::clinic::{NS, connected_with, draft, merged, visiting};
use tests::{Client, TestServer};

tests::on_both_engines!(
    lk_51_a_session_of_somebody_else_is_as_if_there_were_none,
    lk_51_a_number_that_two_patients_have_is_nobodys,
    lk_51_the_payer_is_told_nothing_that_could_not_be_written_down,
    a_patients_app_closes_its_own_visit,
);

/// Two patients on a visit; the payer's session of the second is merged with theirs.
async fn two_visits(server: &TestServer, settings: &[&str]) -> (TestServer, SmartLink, String) {
    let (server, payer) = connected_with(server, Faults::default(), settings).await;
    let system = server.system();
    visiting(&system, 1).await;
    visiting(&system, 2).await;
    let theirs = merged(&system, 2).await;
    (server, payer, theirs)
}

/// A visit of the first patient, in which their app names a session.
async fn name(server: &TestServer, id: &str, system: &str, session: &str) {
    let visit = object! {
        "resourceType": "Encounter", "id": id, "status": "in-progress",
        "identifier": array![object! { "system": system, "value": session }],
        "class": object! { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB" },
        "subject": object! { "reference": "Patient/p1" },
        "period": object! { "start": "2025-06-01T09:05:00+03:00" },
    };
    let mut plain = visit.clone();
    plain.as_object_mut().expect("an object").remove("identifier");
    server.system().store(&plain).await;
    server.patient("p1").put(&format!("Encounter/{id}")).json(&visit).await.expect_status(200);
}

/// What is said of an Encounter's session, without the id of the Encounter.
async fn told(client: &Client, id: &str, operation: &str) -> String {
    client.post(&format!("Encounter/{id}/{operation}")).await.expect_status(422).text().replace(id, "")
}

async fn lk_51_a_session_of_somebody_else_is_as_if_there_were_none(server: TestServer) {
    let (server, payer, theirs) = two_visits(&server, &[]).await;
    let patient = server.patient("p1");
    let (own, foreign) = (format!("{NS}/session"), "https://elsewhere.example/smartlink/session");
    for (id, system, session) in
        [("named", own.as_str(), theirs.as_str()), ("unknown", own.as_str(), "9999"), ("foreign", foreign, &theirs)]
    {
        name(&server, id, system, session).await;
    }
    let before = payer.http.requests();
    for operation in ["$close-visit", "$fetch-copay", "$fetch-copay?benefit=1"] {
        let none = told(&patient, "unknown", operation).await;
        assert!(none.contains("has no session"), "{operation}: {none}");
        for id in ["named", "foreign"] {
            assert_eq!(told(&patient, id, operation).await, none, "{operation} of {id}");
            // Nor does a token that may see everybody make it the first patient's.
            assert_eq!(told(&server.system(), id, operation).await, none, "{operation} of {id}");
        }
    }
    server.system().store(&draft(1).0).await;
    let of = |id: &str| draft(1).0.to_string().replace("Encounter/e1", &format!("Encounter/{id}"));
    let mut refused = Vec::new();
    for id in ["unknown", "named", "foreign"] {
        let claim = Json::parse(of(id).as_bytes()).expect("JSON");
        patient.put("Claim/c1").json(&claim).await.expect_status(200);
        refused.push(patient.post("Claim/c1/$submit").await.expect_status(422).text());
        refused.push(patient.post("Claim/$submit").json(&claim).await.expect_status(422).text());
    }
    assert!(refused[0].contains("has no session"), "{refused:?}");
    assert!(refused.iter().all(|text| *text == refused[0]), "{refused:?}");
    let merge = async |session: &str| {
        let answer = patient.post(&format!("Encounter/named/$merge-visit?session={session}")).await;
        answer.expect_status(422).text().replace(session, "")
    };
    assert_eq!(merge(&theirs).await, merge("9999").await);
    assert_eq!(payer.http.requests(), before, "the payer was asked nothing");
    assert_eq!(payer.session_status(&theirs), Some("ACTIVE"));
    server.system().post("Encounter/e2/$fetch-copay").await.expect_status(200);
}

async fn lk_51_a_number_that_two_patients_have_is_nobodys(server: TestServer) {
    // Every session is about to expire, and so on the worklist of whoever may see it.
    let (server, payer, theirs) = two_visits(&server, &["expiring_seconds=86400"]).await;
    let patient = server.patient("p1");
    let number = |value: &str| object! { "system": format!("{NS}/patient-number"), "value": value };
    let record = object! { "resourceType": "Patient", "id": "p1", "identifier": array![number("P1"), number("P2")] };
    patient.put("Patient/p1").json(&record).await.expect_status(200);
    name(&server, "named", &format!("{NS}/session"), &theirs).await;
    let before = payer.http.requests();
    for operation in ["$close-visit", "$fetch-copay"] {
        let none = told(&patient, "named", operation).await;
        assert!(none.contains("has no session"), "{operation}: {none}");
    }
    let text = patient.post(&format!("Encounter/named/$merge-visit?session={theirs}")).await.expect_status(422).text();
    assert!(text.contains("not known here"), "{text}");
    let whoever = "CoverageEligibilityRequest/$fetch-visit?patient-number=P2";
    server.system().post(whoever).await.expect_status(422);
    assert_eq!(payer.http.requests(), before);
    // A request that names the session of another does not put that one on the list of whoever wrote it.
    let request = object! {
        "resourceType": "CoverageEligibilityRequest", "status": "active", "purpose": array!["benefits"],
        "identifier": array![object! { "system": format!("{NS}/session"), "value": theirs.as_str() }],
        "patient": object! { "reference": "Patient/p1" }, "created": "2025-06-01",
        "insurer": object! { "display": "nobody" },
    };
    patient.post("CoverageEligibilityRequest").json(&request).await.expect_status(201);
    let list = patient.get("Claim/$worklist").await.expect_status(200).text();
    assert!(!list.contains("\"session\""), "{list}");
    let all = server.system().get("Claim/$worklist").await.expect_status(200).text();
    assert!(all.contains(&format!("\"{theirs}\"")), "{all}");
}

async fn lk_51_the_payer_is_told_nothing_that_could_not_be_written_down(server: TestServer) {
    let (server, payer, theirs) = two_visits(&server, &[]).await;
    let before = payer.http.requests();
    let narrow = server.with_scope("patient/Encounter.cruds", Some("p2"));
    for operation in ["$close-visit", "$fetch-copay", &format!("$merge-visit?session={theirs}")] {
        narrow.post(&format!("Encounter/e2/{operation}")).await.expect_status(403);
    }
    let asked = "CoverageEligibilityRequest/$fetch-visit?patient-number=P7&create-patient=true";
    let rights = "CoverageEligibilityRequest.cruds CoverageEligibilityResponse.cruds Patient.rs Organization.cruds";
    let rights: Vec<String> = rights.split(' ').map(|right| format!("system/{right}")).collect();
    for client in [server.patient("p2"), server.with_scope(&rights.join(" "), None)] {
        client.post(asked).await.expect_status(403);
    }
    assert_eq!(payer.http.requests(), before, "the payer was asked nothing");
    assert_eq!(payer.session_status(&theirs), Some("ACTIVE"));
}

async fn a_patients_app_closes_its_own_visit(server: TestServer) {
    let (server, payer, theirs) = two_visits(&server, &[]).await;
    let patient = server.patient("p2");
    patient.post("Encounter/e2/$fetch-copay").await.expect_status(200);
    patient.post("Encounter/e2/$close-visit").await.expect_status(200);
    assert_eq!(payer.session_status(&theirs), Some("CLOSED"));
    let request = patient.get("CoverageEligibilityRequest").await.entries("match");
    assert!(request[0].to_string().contains("\"CLOSED\""), "{}", request[0]);
    assert!(request[0].at(&["insurer", "reference"]).is_some(), "{}", request[0]);
}
