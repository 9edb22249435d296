//! Insured visits and claims against a payer that loses answers: billed once, to the cent, and nothing forgotten.

use std::collections::BTreeMap;

use fhir::decimal::Decimal;
use fhir::json::Json;
use simulators::smartlink::Faults;
use tests::TestServer;
use tests::clinic::{connected, connected_to, draft, merged, settled, state, visiting};

tests::on_both_engines!(
    a_visit_is_fetched_merged_billed_and_closed,
    a_claim_that_may_not_be_sent_says_why_and_what_would_be_right,
    the_day_of_a_clinic_agrees_to_the_cent,
    lk_51_what_a_payer_says_of_one_patient_reaches_nobody_else,
);

async fn a_visit_is_fetched_merged_billed_and_closed(server: TestServer) {
    let (server, payer) = connected(&server, Faults::default()).await;
    let system = server.system();
    visiting(&system, 1).await;
    let session = merged(&system, 1).await;
    assert_eq!(payer.session_status(&session), Some("ACTIVE"));
    assert_eq!(system.matches("Patient").await.len(), 1, "no patient is made without a person's word");
    assert_eq!(system.matches("Coverage?beneficiary=Patient/p1").await.len(), 1);
    let encounter = system.get("Encounter/e1").await.expect_status(200).json();
    assert!(encounter.get("period").is_some(), "the hospital's Encounter keeps what it says");
    let (claim, asked) = draft(1);
    system.store(&claim).await;
    let response = system.post("Claim/c1/$submit").await.expect_status(200).json();
    assert_eq!(response.str("resourceType"), Some("ClaimResponse"));
    assert_eq!(system.get("Claim/c1").await.json().str("status"), Some("active"));
    let again = system.post("Claim/c1/$submit").await.expect_status(200).json();
    assert_eq!(again.str("id"), response.str("id"), "submitting again is asking how far it is");
    let response = settled(&system, 1, &["billed"]).await;
    assert_eq!((response.str("outcome"), response.str("disposition")), (Some("complete"), Some("Billed")));
    assert!(response.get("payment").is_none() && response.get("total").is_none(), "nobody decided or paid");
    let ledger = payer.ledger();
    assert_eq!((ledger.len(), payer.posts()), (1, 1));
    assert_eq!(Decimal::parse(&ledger[0].amount), Some(asked));
    system.post("Encounter/e1/$close-visit").await.expect_status(200);
    assert_eq!(payer.session_status(&session), Some("CLOSED"));
    let log = server.log();
    assert!(!log.contains("token-") && !log.contains("s3cret") && !log.contains("p4ssword"), "secrets are not logged");
}

async fn a_claim_that_may_not_be_sent_says_why_and_what_would_be_right(server: TestServer) {
    let (server, payer) = connected(&server, Faults::default()).await;
    let system = server.system();
    visiting(&system, 1).await;
    visiting(&system, 2).await;
    let (claim, _) = draft(1);
    system.store(&claim).await;
    let refused = system.post("Claim/c1/$submit").await.expect_status(422);
    assert!(refused.text().contains("merge"), "{}", refused.describe());
    merged(&system, 1).await;
    let wrong = claim.to_string().replace("\"total\":{\"value\":3001.51", "\"total\":{\"value\":3001.52");
    assert_ne!(wrong, claim.to_string());
    system.store(&Json::parse(wrong.as_bytes()).expect("JSON")).await;
    let refused = system.post("Claim/c1/$submit").await.expect_status(422);
    let text = refused.text();
    assert!(text.contains("Claim.total") && text.contains("3001.51"), "{text}");
    assert_eq!(system.get("Claim/c1").await.json().str("status"), Some("draft"), "nothing was changed");
    system.store(&claim).await;
    system.post("Claim/c1/$submit").await.expect_status(200);
    // The same invoice number on another claim of another visit.
    merged(&system, 2).await;
    let (other, _) = draft(2);
    let other = other.to_string().replace("INV-2", "INV-1");
    system.store(&Json::parse(other.as_bytes()).expect("JSON")).await;
    let refused = system.post("Claim/c2/$submit").await.expect_status(409);
    assert!(refused.text().contains("invoice number"), "{}", refused.describe());
    let list = system.get("Claim/$worklist").await.expect_status(200).json();
    assert!(!list.to_string().contains("Claim/c2"), "what was not taken over is on no list");
    let blind = server.with_scope("system/Patient.rs", None);
    blind.get("Claim/$worklist").await.expect_status(403);
    let stranger = server.patient("p2").get("Claim/$worklist?state=waiting,sending,unknown,taken,billed").await;
    assert!(!stranger.expect_status(200).text().contains("Claim/c1"), "nobody sees another one's claims");
    let reader = server.with_scope("system/Claim.rs", None);
    reader.post("Claim/c1/$submit").await.expect_status(403);
    settled(&system, 1, &["billed"]).await;
    assert_eq!(payer.ledger().len(), 1);
    let billed = system.get("Claim/$worklist?state=billed").await.expect_status(200).text();
    assert!(billed.contains("Claim/c1") && billed.contains("\"value\":2501.46"), "{billed}");
}

async fn lk_51_what_a_payer_says_of_one_patient_reaches_nobody_else(server: TestServer) {
    let (server, _payer) = connected(&server, Faults::default()).await;
    let system = server.system();
    for number in [1, 2] {
        visiting(&system, number).await;
        merged(&system, number).await;
        system.store(&draft(number).0).await;
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
        settled(&system, number, &["billed"]).await;
    }
    for (own, other) in [(1, 2), (2, 1)] {
        let app = server.patient(&format!("p{own}"));
        for resource_type in
            ["Coverage", "CoverageEligibilityRequest", "CoverageEligibilityResponse", "Claim", "ClaimResponse"]
        {
            let answer = app.get(resource_type).await.expect_status(200);
            assert!(!answer.entries("match").is_empty(), "{resource_type}: {}", answer.describe());
            let text = answer.text();
            assert!(!text.contains(&format!("Patient/p{other}\"")), "{resource_type}: {text}");
            assert!(!text.contains(&format!("INV-{other}\"")), "{resource_type}: {text}");
        }
        app.get(&format!("Claim/c{other}")).await.expect_status(404);
    }
}

async fn the_day_of_a_clinic_agrees_to_the_cent(server: TestServer) {
    let visits = std::env::var("TRIBUTARY_TEST_VISITS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    // In a test of few visits each fault must come at all; by hand, with 1,000 visits, each is one in a hundred.
    let often = if visits < 500 { 80 } else { 10 };
    let faults = Faults {
        silence: often,
        late: often / 2,
        error_after: often,
        error_before: often,
        garbage: often,
        mixed_up: often,
        duplicate: often,
        throttled: often,
        token: often,
        status: often,
        stranger: often,
        expiry: often / 2,
    };
    let faults = if visits < 500 { faults } else { Faults { late: often, expiry: often, ..faults } };
    let (mut server, payer) = connected_to(server.engine(), &["--outbound-seconds=5"], faults, &[]).await;
    let system = server.system();
    let mut asked: BTreeMap<String, Decimal> = BTreeMap::new();
    let mut killed = 0;
    for number in 0..visits {
        visiting(&system, number).await;
        merged(&system, number).await;
        let (claim, amount) = draft(number);
        system.store(&claim).await;
        asked.insert(format!("INV-{number}"), amount);
        let submit = || system.post(&format!("Claim/c{number}/$submit"));
        if number * often as usize % 1000 < often as usize {
            // Somebody presses twice.
            let (one, other) = tokio::join!(submit().try_send(), submit().try_send());
            one.expect("an answer").expect_status(200);
            other.expect("an answer").expect_status(200);
        } else {
            submit().await.expect_status(200);
        }
        // kill -9 while claims are on their way: of a clinic's day four times, else once
        let kills = if visits < 500 { 1 } else { 4 };
        if number % (visits / (kills + 1)).max(1) == 1 && number > 1 {
            server.restart().await;
            killed += 1;
        }
    }
    let mut billed = 0;
    for number in 0..visits {
        let response = settled(&system, number, &["billed", "refused"]).await;
        let in_ledger: Vec<_> = payer.ledger().into_iter().filter(|it| it.invoice == format!("INV-{number}")).collect();
        if state(&response) == "billed" {
            assert_eq!(in_ledger.len(), 1, "INV-{number} is billed once");
            let amount = Decimal::parse(&in_ledger[0].amount);
            assert_eq!(amount.as_ref(), asked.get(&in_ledger[0].invoice), "INV-{number} to the cent");
            billed += 1;
        } else {
            assert_eq!(in_ledger, [], "INV-{number} was refused");
            assert!(response.to_string().contains("Session is not active"), "{response}");
        }
    }
    assert_eq!(payer.ledger().len(), billed, "nothing is in the ledger that is not in the claims");
    let sent = payer.posts();
    println!(
        "{visits} visits, {killed} kills, {billed} billed, {} refused, {sent} requests with claims",
        visits - billed
    );
}
