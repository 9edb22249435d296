//! What comes beside and after a claim: the copay, diagnoses that are made later, what others pay, a stay, and taking a
//! claim back.

use std::time::{Duration, Instant};

use fhir::json::Json;
use fhir::{array, object};
use simulators::smartlink::Faults;
use tests::clinic::{NS, connected, connected_with, draft, merged, settled, visiting};
use tests::{Client, TestServer};

tests::on_both_engines!(
    a_copay_is_asked_for_when_somebody_wants_to_know,
    diagnoses_follow_a_claim_that_went_without,
    what_others_pay_is_taken_off_and_a_stay_is_told,
    a_claim_is_taken_back_where_the_payer_does_not_have_it,
);

async fn a_copay_is_asked_for_when_somebody_wants_to_know(server: TestServer) {
    let (server, _) = connected(&server, Faults::default()).await;
    let system = server.system();
    visiting(&system, 1).await;
    system.post("Encounter/e1/$fetch-copay").await.expect_status(422);
    merged(&system, 1).await;
    let answer = system.post("Encounter/e1/$fetch-copay").await.expect_status(200).json();
    let response = answer.list("entry")[0].get("resource").expect("a response");
    assert_eq!(response.str("resourceType"), Some("CoverageEligibilityResponse"));
    let benefit = response.at(&["insurance", "item", "benefit"]).expect("a benefit");
    assert_eq!(benefit.at(&["allowedMoney", "value"]).and_then(Json::as_number), Some("500"));
    assert_eq!(response.at(&["patient", "reference"]).and_then(Json::as_str), Some("Patient/p1"));
    system.post("Encounter/e1/$fetch-copay").await.expect_status(200);
    let found = system.matches(&format!("CoverageEligibilityResponse?identifier={NS}/copay|")).await;
    assert_eq!(found.len(), 1, "asked again it is the same one");
    let wrong = system.post("Encounter/e1/$fetch-copay?benefit=1").await.expect_status(422).text();
    assert!(wrong.contains("no benefit 1"), "{wrong}");
    server.with_scope("system/Encounter.cruds", None).post("Encounter/e1/$fetch-copay").await.expect_status(403);
}

async fn diagnoses_follow_a_claim_that_went_without(server: TestServer) {
    // The payer keeps every second record and says nothing.
    let faults = Faults { silence: 500, ..Faults::default() };
    let (server, payer) = connected_with(&server, faults, &["dialect={\"diagnosis\":\"later\"}"]).await;
    let system = server.system();
    visiting(&system, 1).await;
    merged(&system, 1).await;
    let (mut claim, _) = draft(1);
    claim.as_object_mut().expect("an object").remove("diagnosis");
    system.store(&claim).await;
    system.post("Claim/c1/$send-diagnoses").await.expect_status(409);
    system.post("Claim/c1/$submit").await.expect_status(200);
    settled(&system, 1, &["billed"]).await;
    assert_eq!(payer.ledger().len(), 1, "billed once, whatever is silent");
    let without = system.post("Claim/c1/$send-diagnoses").await.expect_status(422).text();
    assert!(without.contains("rank"), "{without}");
    let condition = object! {
        "resourceType": "Condition", "id": "d1",
        "category": array![object! { "coding": array![object! {
            "system": "http://terminology.hl7.org/CodeSystem/condition-category", "code": "encounter-diagnosis",
        }] }],
        "code": object! { "coding": array![object! { "system": "http://hl7.org/fhir/sid/icd-10", "code": "B50.9" }] },
        "subject": object! { "reference": "Patient/p1" },
        "encounter": object! { "reference": "Encounter/e1" },
    };
    system.store(&condition).await;
    let encounter = system.get("Encounter/e1").await.expect_status(200).text();
    let ranked =
        encounter.replacen('{', "{\"diagnosis\":[{\"condition\":{\"reference\":\"Condition/d1\"},\"rank\":1}],", 1);
    system.store(&Json::parse(ranked.as_bytes()).expect("JSON")).await;
    let response = system.post("Claim/c1/$send-diagnoses").await.expect_status(200).json();
    assert_eq!(record(&response).as_deref(), Some("waiting"));
    let sent = followed(&system).await;
    assert_eq!(sent.str("disposition"), Some("Billed"), "the claim is what it was");
    let records = payer.records();
    assert!(!records.is_empty() && records.iter().all(|it| *it == records[0]), "{records:?}");
    assert_eq!(records[0]["invoice_number"], "INV-1");
    assert_eq!(records[0]["diagnosis"][0]["code"], "B50.9");
    assert_eq!(records[0]["diagnosis"][0]["is_primary"], true);
    assert_eq!(records[0]["diagnosis"][0]["is_added_with_claim"], false);
    assert_eq!((payer.ledger().len(), records[0]["session_id"].is_string()), (1, true));
    server.with_scope("system/Claim.rs", None).post("Claim/c1/$send-diagnoses").await.expect_status(403);
}

/// How far the diagnoses are.
fn record(response: &Json) -> Option<String> {
    let extensions = response.list("extension").iter();
    let mut found = extensions.filter(|it| it.str("url").is_some_and(|url| url.ends_with("/record-status")));
    found.next()?.str("valueCode").map(str::to_owned)
}

async fn followed(system: &Client) -> Json {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let found = system.get("ClaimResponse?request=Claim/c1").await.expect_status(200).entries("match");
        if record(&found[0]).as_deref() == Some("sent") {
            return found[0].clone();
        }
        assert!(Instant::now() < deadline, "{}", found[0]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn what_others_pay_is_taken_off_and_a_stay_is_told(server: TestServer) {
    let (server, payer) = connected(&server, Faults::default()).await;
    let system = server.system();
    visiting(&system, 1).await;
    let session = merged(&system, 1).await;
    let encounter = system.get("Encounter/e1").await.expect_status(200).text();
    let stay = encounter.replace("\"AMB\"", "\"IMP\"");
    system.store(&Json::parse(stay.as_bytes()).expect("JSON")).await;
    let modifier = |kind: &str, amount: &str| {
        let money = object! { "value": Json::Number(amount.into()), "currency": "KES" };
        object! { "url": format!("{NS}/StructureDefinition/payment-modifier"), "extension": array![
            object! { "url": "type", "valueCode": kind },
            object! { "url": "amount", "valueMoney": money },
            object! { "url": "reference", "valueString": format!("ref-{kind}") },
        ]}
    };
    let (mut claim, _) = draft(1);
    let kinds = [
        ("cash-excess", "100.10"),
        ("copay-percent", "0.05"),
        ("tier-cash", "20"),
        ("sha", "30.5"),
        ("discount", "1.01"),
    ];
    let extensions: Vec<Json> = kinds.iter().map(|(kind, amount)| modifier(kind, amount)).collect();
    let members = claim.as_object_mut().expect("an object");
    members.insert("extension", extensions);
    let insurance = object! {
        "sequence": 1, "focal": true, "coverage": object! { "display": "SmartLink" }, "preAuthRef": array!["PA-77"],
    };
    members.insert("insurance", array![insurance]);
    system.store(&claim).await;
    let response = system.post("Claim/c1/$submit").await.expect_status(200).json();
    let notes = response.list("processNote").iter().filter_map(|note| note.str("text")).collect::<Vec<_>>().join("\n");
    assert!(!notes.contains("Claim.extension") && !notes.contains("preAuthRef"), "{notes}");
    settled(&system, 1, &["billed"]).await;
    // 3001.51 less 151.66
    assert_eq!(payer.ledger()[0].amount, "2849.85", "{session}");
    let body: serde_json::Value = payer.claims()[0].clone();
    let modifiers = body["invoices"][0]["payment_modifiers"].as_array().expect("modifiers").clone();
    let kinds: Vec<i64> = modifiers.iter().filter_map(|it| it["type"].as_i64()).collect();
    assert_eq!(kinds, [0, 2, 3, 5, 6]);
    assert_eq!(modifiers[3]["reference_number"], "ref-sha");
    assert_eq!(body["pre_authorization"][0]["code"], "PA-77");
    assert_eq!(body["admission"]["admission_date"], "2025-06-01 09:05:00");
}

async fn a_claim_is_taken_back_where_the_payer_does_not_have_it(server: TestServer) {
    let faults = Faults { expiry: 1000, ..Faults::default() };
    let (server, payer) = connected(&server, faults).await;
    let system = server.system();
    for number in 1..=2 {
        visiting(&system, number).await;
        merged(&system, number).await;
        system.store(&draft(number).0).await;
    }
    let never = system.post("Claim/c1/$withdraw").await.expect_status(422).text();
    assert!(never.contains("never submitted"), "{never}");
    system.post("Claim/c1/$submit").await.expect_status(200);
    settled(&system, 1, &["refused"]).await;
    server.with_scope("system/Claim.rs", None).post("Claim/c1/$withdraw").await.expect_status(403);
    let response = system.post("Claim/c1/$withdraw").await.expect_status(200).json();
    assert_eq!(response.str("status"), Some("cancelled"));
    assert_eq!(system.get("Claim/c1").await.json().str("status"), Some("cancelled"));
    let again = system.post("Claim/c1/$submit").await.expect_status(200).json();
    assert_eq!(again.str("status"), Some("cancelled"), "it is not sent again");
    payer.set_faults(Faults::default());
    system.post("Claim/c2/$submit").await.expect_status(200);
    settled(&system, 2, &["billed"]).await;
    let with_payer = system.post("Claim/c2/$withdraw").await.expect_status(409).text();
    assert!(with_payer.contains("insurer's side"), "{with_payer}");
    assert_eq!((payer.ledger().len(), payer.posts()), (1, 2));
}
