//! `$submit` with the claim in the body, what it warns of, and the definitions of all operations of insurance.

use fhir::json::Json;
use fhir::object;
use simulators::smartlink::Faults;
use tests::TestServer;
use tests::clinic::{NS, connected, connected_with, draft, merged, settled, visiting};

tests::on_both_engines!(
    a_claim_in_the_body_is_stored_and_billed_once_however_often_it_comes,
    a_bundle_of_claims_is_answered_claim_by_claim,
    what_cannot_be_sent_is_told_in_the_answer,
    each_operation_has_a_definition,
);

async fn a_claim_in_the_body_is_stored_and_billed_once_however_often_it_comes(server: TestServer) {
    let (server, payer) = connected(&server, Faults::default()).await;
    let system = server.system();
    visiting(&system, 1).await;
    let (claim, _) = draft(1);
    let text = system.post("Claim/$submit").json(&claim).await.expect_status(422).text();
    assert!(text.contains("merge"), "{text}");
    assert_eq!(system.matches("Claim").await.len(), 0, "what may not be sent is not stored");
    merged(&system, 1).await;
    let calls = (0..64).map(|_| system.post("Claim/$submit").json(&claim));
    let answers = futures_of(calls.collect()).await;
    let ids: Vec<Option<String>> = answers.iter().map(|answer| answer.str("id").map(str::to_owned)).collect();
    assert!(ids[0].is_some() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(system.matches("Claim").await.len(), 1);
    let stored = answers[0].at(&["request", "reference"]).and_then(Json::as_str).expect("a Claim").to_owned();
    assert_ne!(stored, "Claim/c1", "the server gives the id");
    let other = claim.to_string().replace("J06.9", "J06.8");
    let other = Json::parse(other.as_bytes()).expect("JSON");
    system.post("Claim/$submit").json(&other).await.expect_status(409);
    billed(&system, &stored).await;
    assert_eq!((payer.ledger().len(), payer.posts()), (1, 1));
    let again = system.post("Claim/$submit").json(&claim).await.expect_status(200).json();
    assert_eq!(again.str("disposition"), Some("Billed"));
    let reader = server.with_scope("system/*.rs", None);
    reader.post("Claim/$submit").json(&claim).await.expect_status(403);
    system.post("Claim/$submit").await.expect_status(400);
    system.post(&format!("{stored}/$submit")).json(&claim).await.expect_status(400);
    system.post("Claim/$submit").json(&object! { "resourceType": "Patient" }).await.expect_status(400);
}

/// Sends them at once; each must be answered with 200.
async fn futures_of(calls: Vec<tests::client::Call>) -> Vec<Json> {
    let tasks: Vec<_> = calls.into_iter().map(|call| tokio::spawn(async move { call.await })).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("no panic").expect_status(200).json());
    }
    answers
}

async fn billed(system: &tests::Client, claim: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        let found = system.get(&format!("ClaimResponse?request={claim}")).await.expect_status(200).entries("match");
        if found.len() == 1 && found[0].str("disposition") == Some("Billed") {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn a_bundle_of_claims_is_answered_claim_by_claim(server: TestServer) {
    let (server, payer) = connected(&server, Faults::default()).await;
    let system = server.system();
    for number in 1..=2 {
        visiting(&system, number).await;
    }
    merged(&system, 1).await;
    let entry = |resource: Json| object! { "resource": resource };
    let (good, _) = draft(1);
    // An entry that names something of this server by another name.
    let named =
        Json::parse(good.to_string().replace("Patient/p1", "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e").as_bytes());
    let patient = object! {
        "fullUrl": "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e",
        "resource": object! { "resourceType": "Patient", "id": "p1", "name": fhir::array![object! { "family": "Else" }] },
    };
    let inner = object! {
        "resourceType": "Bundle", "type": "collection",
        "entry": fhir::array![entry(named.expect("JSON")), patient],
    };
    let bundle = object! {
        "resourceType": "Bundle", "type": "collection", "entry": fhir::array![entry(inner), entry(draft(2).0)],
    };
    let answer = system.post("Claim/$submit").json(&bundle).await.expect_status(200).json();
    let statuses: Vec<&str> =
        answer.list("entry").iter().filter_map(|entry| entry.at(&["response", "status"])?.as_str()).collect();
    assert_eq!(statuses.len(), 2, "{answer}");
    assert!(
        answer.to_string().contains("merge the visit first") || answer.to_string().contains("merge it"),
        "{answer}"
    );
    let response = answer.list("entry").iter().find_map(|entry| entry.get("resource")).expect("a ClaimResponse");
    assert_eq!(response.at(&["patient", "reference"]).and_then(Json::as_str), Some("Patient/p1"));
    assert_eq!(system.matches("Patient?family=Else").await.len(), 0, "nothing but claims is taken over");
    let stranger = bundle.to_string().replace("\"id\":\"p1\"", "\"id\":\"p999\"");
    let stranger = Json::parse(stranger.as_bytes()).expect("JSON");
    let refused = system.post("Claim/$submit").json(&stranger).await.expect_status(422).text();
    assert!(refused.contains("store it first"), "{refused}");
    let claim = response.at(&["request", "reference"]).and_then(Json::as_str).expect("a Claim");
    billed(&system, claim).await;
    assert_eq!(payer.ledger().len(), 1);
}

async fn what_cannot_be_sent_is_told_in_the_answer(server: TestServer) {
    // Every session is about to expire, as if 22 hours had gone by.
    let (server, payer) = connected_with(&server, Faults::default(), &["expiring_seconds=86400"]).await;
    let system = server.system();
    visiting(&system, 1).await;
    merged(&system, 1).await;
    let (claim, _) = draft(1);
    let claim =
        claim.to_string().replacen("{\"resourceType\"", "{\"fundsReserve\":{\"text\":\"none\"},\"resourceType\"", 1);
    system.store(&Json::parse(claim.as_bytes()).expect("JSON")).await;
    let response = system.post("Claim/c1/$submit?interim=true").await.expect_status(200).json();
    let notes: Vec<&str> = response.list("processNote").iter().filter_map(|note| note.str("text")).collect();
    assert!(notes.iter().any(|note| note.starts_with("Claim.fundsReserve: ")), "{notes:?}");
    let says = |text: &str| notes.iter().any(|note| note.contains(text));
    assert!(says("cannot carry") && says("expires in 23 h 59 min"), "{notes:?}");
    let billed = settled(&system, 1, &["billed"]).await;
    assert_eq!(billed.list("processNote").len(), response.list("processNote").len(), "they stay");
    assert_eq!(payer.interim(), ["INV-1"]);
    let definition = server.anonymous().get("OperationDefinition/tributary-submit").await.expect_status(200).text();
    assert!(definition.contains("\"interim\""), "{definition}");
    assert_eq!(billed.list("identifier")[0].str("system"), Some(format!("{NS}/claim-status").as_str()));
}

async fn each_operation_has_a_definition(server: TestServer) {
    let statement = server.anonymous().get("metadata").await.expect_status(200).json();
    let resources = statement.list("rest")[0].list("resource").to_vec();
    for (resource_type, names) in [
        ("Claim", &["submit", "withdraw", "send-diagnoses", "worklist"][..]),
        ("CoverageEligibilityRequest", &["fetch-visit"]),
        ("Encounter", &["merge-visit", "close-visit", "fetch-copay"]),
    ] {
        let resource = resources.iter().find(|it| it.str("type") == Some(resource_type)).expect("stated");
        for name in names {
            let stated = resource.list("operation").iter().find(|it| it.str("name") == Some(name)).expect("stated");
            let url = stated.str("definition").expect("a definition");
            assert_eq!(url, format!("{}/OperationDefinition/tributary-{name}", server.fhir_base()));
            let path = url.trim_start_matches(&server.fhir_base()).trim_start_matches('/');
            let definition = server.anonymous().get(path).await.expect_status(200).json();
            assert_eq!(definition.str("code"), Some(*name));
            assert!(definition.list("resource").contains(&Json::from(resource_type)));
        }
    }
}
