//! Whatever a payer answers has its path: to a claim, to a question about a claim, and to whoever waits for an answer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir::json::Json;
use serde_json::{Value, json};
use simulators::http::Reply;
use simulators::smartlink::{Faults, SmartLink};
use tests::clinic::{connected_to, draft, merged, settled, state, visiting};
use tests::{Client, TestServer};

tests::on_both_engines!(
    each_answer_to_a_claim_has_its_path,
    each_answer_to_a_question_has_its_outcome,
    tokens_are_made_one_at_a_time_and_told_to_nobody,
    a_claim_is_followed_to_whatever_becomes_of_it,
    lk_51_a_row_of_somebody_else_is_kept_for_a_person_and_believed_in_nothing,
);

/// Nothing, for longer than the server waits.
fn silence() -> Reply {
    Reply::Silent(Duration::from_secs(30))
}

/// An answer of SmartLink that says no.
fn no(status: u16, code: &str, message: &str) -> Reply {
    Reply::Json(status, json!({ "code": code, "message": message, "response_type": "ERROR" }))
}

/// An answer of the framework below SmartLink.
fn framework(status: u16) -> Reply {
    let body = json!({ "timestamp": "2025-06-01T12:00:00.000+0000", "status": status, "error": "Error", "message": "at com.example.Dao", "path": "/api" });
    Reply::Json(status, body)
}

fn page(status: u16) -> Reply {
    Reply::Text(status, "text/html", "<html>Gateway</html>".to_owned())
}

/// A body that is no JSON of SmartLink's, with a status that says that all is well.
fn xml() -> Reply {
    Reply::Text(200, "application/xml", "<claim><id>1</id></claim>".to_owned())
}

fn drip() -> Reply {
    Reply::Drip(Duration::from_millis(300), json!({ "code": "201", "content": { "id": 1 } }).to_string())
}

/// A server that waits two seconds for a payer, and visits that were merged.
async fn clinic(server: &TestServer, visits: usize) -> (TestServer, SmartLink) {
    let arguments = ["--outbound-seconds=2", "--log-level=trace"];
    let (server, payer) = connected_to(server.engine(), &arguments, Faults::default(), &[]).await;
    let system = server.system();
    for number in 1..=visits {
        visiting(&system, number).await;
        merged(&system, number).await;
        system.store(&draft(number).0).await;
    }
    (server, payer)
}

async fn each_answer_to_a_claim_has_its_path(server: TestServer) {
    // What is answered to the claim, which is not taken; the state that it comes to; whether the payer is asked before.
    let answers: Vec<(&str, Reply, &str)> = vec![
        ("401", Reply::Json(401, json!({ "error": "invalid_token", "error_description": "expired" })), "unknown"),
        ("401 without a body", Reply::Text(401, "text/plain", String::new()), "unknown"),
        ("403 of SmartLink", no(403, "403.2001", "This provider may not bill"), "refused"),
        ("403 of a proxy", page(403), "unknown"),
        ("404 of the framework", framework(404), "refused"),
        ("409", no(409, "409.2001", "Invoice exists"), "unknown"),
        ("422", no(422, "422.2001", "The member is not covered"), "refused"),
        ("400 that says 200", no(200, "400.2005", "No such pool"), "refused"),
        ("429", Reply::Later(429, 1), "unknown"),
        ("500", framework(500), "unknown"),
        ("502 of a proxy", page(502), "unknown"),
        ("503", Reply::Later(503, 1), "unknown"),
        ("time-out", silence(), "unknown"),
        ("a byte at a time", drip(), "unknown"),
        ("XML", xml(), "unknown"),
        ("half a JSON", Reply::Text(200, "application/json", "{\"code\":\"201\",\"content\":{".to_owned()), "unknown"),
        ("nothing", Reply::Text(200, "application/json", String::new()), "unknown"),
        ("another's", Reply::Json(201, json!([{ "claim_status": "Billed", "invoice_number": "INV-X" }])), "unknown"),
    ];
    let (server, payer) = clinic(&server, answers.len()).await;
    let system = server.system();
    let mut expected = Vec::new();
    for (place, (name, reply, path)) in answers.into_iter().enumerate() {
        let number = place + 1;
        payer.http.say(&["api/claims", &format!("\"INV-{number}\"")], reply);
        expected.push((number, name, path));
    }
    for (number, ..) in &expected {
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
    }
    for (number, name, path) in &expected {
        let response = settled(&system, *number, &["billed", "refused"]).await;
        let id = response.str("id").expect("an id");
        let versions = system.get(&format!("ClaimResponse/{id}/_history")).await.expect_status(200).text();
        if *path == "refused" {
            assert_eq!(state(&response), "refused", "{name}");
            let told = response.list("error").iter().find_map(|it| it.at(&["code", "text"])?.as_str());
            assert!(told.is_some_and(|text| text.contains("SmartLink") && !text.contains("com.example")), "{name}");
        } else {
            assert_eq!(state(&response), "billed", "{name}");
            assert!(versions.contains("\"unknown\""), "{name}: it was asked for before it was sent again");
        }
    }
    let billed: Vec<String> = payer.ledger().into_iter().map(|billed| billed.invoice).collect();
    let wanted = expected.iter().filter(|(.., path)| *path == "unknown");
    let wanted: Vec<String> = wanted.map(|(number, ..)| format!("INV-{number}")).collect();
    let mut sorted = billed.clone();
    sorted.sort_by_key(|invoice| invoice.trim_start_matches("INV-").parse::<usize>().ok());
    assert_eq!(sorted, wanted, "each once, and what was refused not at all");
    let list = system.get("Claim/$worklist?state=refused").await.expect_status(200).text();
    for told in ["This provider may not bill", "The member is not covered", "No such pool"] {
        assert!(list.contains(told), "{told}: {list}");
    }
    the_worklist_goes_on_page_by_page(&system, expected.len()).await;
}

/// Each claim stands on one page, sums are of all, and what is asked for wrongly is refused.
async fn the_worklist_goes_on_page_by_page(system: &Client, claims: usize) {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = system.get(&format!("Claim/$worklist?state=billed,refused&_count=5{cursor}")).await;
        let page = page.expect_status(200).json();
        let of = |kind: &'static str| page.list("parameter").iter().filter(move |it| it.str("name") == Some(kind));
        let part = |it: &Json, name: &str| it.list("part").iter().find(|part| part.str("name") == Some(name)).cloned();
        let counts =
            of("total").filter_map(|it| part(it, "count")?.get("valueInteger")?.as_number()?.parse::<usize>().ok());
        assert_eq!(counts.sum::<usize>(), claims, "sums are of all pages");
        let own: Vec<String> =
            of("claim").filter_map(|it| Some(part(it, "invoice")?.str("valueString")?.to_owned())).collect();
        assert!(own.len() <= 5 && of("claim").all(|it| part(it, "advice").is_some()), "{page}");
        seen.extend(own);
        let Some(next) = of("next").find_map(|it| it.str("valueString").map(str::to_owned)) else { break };
        cursor = format!("&_cursor={next}");
    }
    seen.sort();
    let all = seen.len();
    seen.dedup();
    assert_eq!((all, seen.len()), (claims, claims), "each once");
    let none = system.get("Claim/$worklist?state=billed&payer=pas").await.expect_status(200).text();
    assert!(!none.contains("\"claim\""), "{none}");
    for wrong in ["state=nonsense", "_cursor=x", "_cursor=1:", "_count=many"] {
        let outcome = system.get(&format!("Claim/$worklist?{wrong}")).await.expect_status(400).json();
        assert_eq!(outcome.str("resourceType"), Some("OperationOutcome"), "{wrong}");
    }
}

async fn each_answer_to_a_question_has_its_outcome(server: TestServer) {
    let (server, payer) = clinic(&server, 0).await;
    let system = server.system();
    visiting(&system, 1).await;
    visiting(&system, 2).await;
    let refused = || Reply::Json(401, json!({ "error": "invalid_token", "error_description": "no" }));
    // The first question brings the token that the second finds refused.
    payer.http.say(&["api/visit"], page(403));
    fetch(&system).await.expect_status(502);
    payer.http.say(&["api/visit"], refused());
    payer.http.say(&["oauth/token"], page(503));
    let told = fetch(&system).await.expect_status(502).text();
    assert!(told.contains("no token") && told.contains("503"), "{told}");
    assert_eq!(payer.http.unsaid(), 0, "both were asked for");
    let other =
        json!([{ "session_id": 9, "sessionStatus": "PENDING", "patient_number": "P2", "payer_code": "PAY-01" }]);
    let answers: Vec<(&str, Vec<Reply>, u16, &str)> = vec![
        ("401, whatever the token", vec![refused(), refused(), refused()], 502, "login"),
        ("403 of SmartLink", vec![no(403, "403.1", "not yours")], 502, "forbidden"),
        ("403 of a proxy", vec![page(403)], 502, "forbidden"),
        ("404 of SmartLink", vec![no(200, "404.2001", "No such patient")], 422, "not-found"),
        ("404 of the framework", vec![framework(404)], 502, "not-found"),
        ("409", vec![no(409, "409.1", "Being changed")], 409, "duplicate"),
        ("422", vec![no(422, "422.1", "Not covered")], 422, "business-rule"),
        ("429", vec![Reply::Later(429, 7)], 503, "throttled"),
        ("500", vec![framework(500)], 502, "transient"),
        ("503 of a proxy", vec![page(503)], 502, "transient"),
        ("a list with 500", vec![Reply::Text(500, "application/json", "[]".to_owned())], 502, "transient"),
        ("time-out", vec![silence()], 504, "timeout"),
        ("a byte at a time", vec![drip()], 504, "timeout"),
        ("a broken connection", vec![Reply::Broken], 502, "transient"),
        ("XML", vec![xml()], 502, "structure"),
        ("half a JSON", vec![Reply::Text(200, "application/json", "[{".to_owned())], 502, "structure"),
        ("somebody else", vec![Reply::Json(200, other)], 502, "security"),
    ];
    for (name, replies, status, code) in answers {
        for reply in replies {
            payer.http.say(&["api/visit"], reply);
        }
        let answer = fetch(&system).await;
        let answer = answer.expect_status(status);
        let outcome = answer.json();
        assert_eq!(outcome.str("resourceType"), Some("OperationOutcome"), "{name}");
        assert_eq!(outcome.at(&["issue", "code"]).and_then(Json::as_str), Some(code), "{name}: {outcome}");
        let text = outcome.at(&["issue", "diagnostics"]).and_then(Json::as_str).unwrap_or_default();
        assert!(text.len() > 15 && !text.contains("com.example") && !text.contains("html"), "{name}: {text}");
        assert_eq!(answer.header("retry-after"), (status == 503).then_some("7"), "{name}");
        assert_eq!(payer.http.unsaid(), 0, "{name}");
        for resource_type in ["CoverageEligibilityRequest", "Coverage", "CoverageEligibilityResponse"] {
            assert_eq!(system.matches(resource_type).await.len(), 0, "{name}: nothing is written");
        }
    }
    what_is_said_of_somebody_else_is_nobodys(&system, &payer).await;
}

/// The member of somebody else, and a cover that is somebody else's here.
async fn what_is_said_of_somebody_else_is_nobodys(system: &Client, payer: &SmartLink) {
    let member = |patient: &str, number: &str| {
        let benefit: Vec<Value> = Vec::new();
        Reply::Json(
            200,
            json!([{
                "medicalaid_code": "PAY-01", "policy_id": "POL-778", "medicalaid_number": number, "patient_number": patient,
                "policy_currency": "KES", "benefits": benefit, "session_id": "1001",
            }]),
        )
    };
    payer.http.say(&["api/member"], member("P2", "M-P2"));
    fetch(system).await.expect_status(502);
    assert_eq!(system.matches("Coverage").await.len(), 0);
    fetch(system).await.expect_status(200);
    payer.http.say(&["api/member"], member("P2", "M-P1"));
    let taken =
        system.post("CoverageEligibilityRequest/$fetch-visit?patient-number=P2").await.expect_status(409).text();
    assert!(taken.contains("another patient's here"), "{taken}");
    let own = system.get("Coverage").await.entries("match");
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].at(&["beneficiary", "reference"]).and_then(Json::as_str), Some("Patient/p1"));
}

async fn fetch(system: &Client) -> tests::Answer {
    system.post("CoverageEligibilityRequest/$fetch-visit?patient-number=P1").await
}

async fn tokens_are_made_one_at_a_time_and_told_to_nobody(server: TestServer) {
    let (server, payer) = clinic(&server, 0).await;
    let system = server.system();
    for number in 1..=16 {
        visiting(&system, number).await;
    }
    let ask = |number: usize| {
        system.post(&format!("CoverageEligibilityRequest/$fetch-visit?patient-number=P{number}")).try_send()
    };
    let mut at_once = tokio::task::JoinSet::new();
    for number in 1..=16 {
        at_once.spawn(ask(number));
    }
    for answer in at_once.join_all().await {
        answer.expect("an answer").expect_status(200);
    }
    assert_eq!(payer.tokens(), 1, "who asks while another does gets the same one");
    // A payer that repeats what it was shown, to somebody who waits and to a claim.
    let echo = || no(400, "400.1", "Bearer token-1 is not for s3cret p4ssword");
    payer.http.say(&["api/visit"], echo());
    let told = ask(1).await.expect("an answer").expect_status(422).text();
    assert!(told.contains("is not for") && !is_told(&told), "{told}");
    merged(&system, 1).await;
    system.store(&draft(1).0).await;
    payer.http.say(&["api/claims"], echo());
    system.post("Claim/c1/$submit").await.expect_status(200);
    let response = settled(&system, 1, &["refused"]).await.to_string();
    assert!(response.contains("is not for") && !is_told(&response), "{response}");
    payer.http.say(&["api/visit"], Reply::Json(401, json!({ "error": "invalid_token" })));
    payer
        .http
        .say(&["oauth/token"], Reply::Json(400, json!({ "error": "invalid_grant", "error_description": "p4ssword" })));
    let told = ask(1).await.expect("an answer").expect_status(502).text();
    assert!(!is_told(&told), "{told}");
    let log = server.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "everything that can be logged is");
    assert!(!is_told(&log), "secrets are not logged");
    assert!(!log.contains(&STANDARD.encode("hmis:s3cret")), "nor as they travel");
}

fn is_told(text: &str) -> bool {
    ["token-1", "s3cret", "p4ssword"].iter().any(|secret| text.contains(secret))
}

async fn a_claim_is_followed_to_whatever_becomes_of_it(server: TestServer) {
    // Whoever learns nothing gives up at once.
    let (server, payer) = connected_to(server.engine(), &[], Faults::default(), &["follow_hours=0"]).await;
    let system = server.system();
    let row = |number: usize, word: &str, amount: Value| {
        let row = json!({ "claim_status": word, "invoice_number": format!("INV-{number}"), "amount": amount });
        Reply::Json(200, json!([row]))
    };
    payer.cancel("INV-1");
    payer.http.say(&["claim-status", "INV-2"], row(2, "Rejected", Value::Null));
    payer.http.say(&["claim-status", "INV-3"], row(3, "Billed", json!(1)));
    payer.http.say(&["claim-status", "INV-4"], framework(500));
    for number in 1..=4 {
        visiting(&system, number).await;
        merged(&system, number).await;
        system.store(&draft(number).0).await;
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
    }
    for (number, word, told) in [
        (1, "cancelled", None),
        (2, "rejected", Some("Rejected")),
        (3, "differs", Some("the payer has 1")),
        (4, "given-up", Some("status 500")),
    ] {
        let response = settled(&system, number, &[word]).await;
        let id = response.str("id").expect("an id");
        let versions = system.get(&format!("ClaimResponse/{id}/_history")).await.expect_status(200).json();
        assert!(versions.list("entry").len() >= 3, "waiting, taken, {word}: each is a version");
        let events = system.get(&format!("AuditEvent?entity=ClaimResponse/{id}")).await.expect_status(200);
        assert!(events.entries("match").len() >= 3, "{word}: and an event");
        assert_eq!(system.get(&format!("Claim/c{number}")).await.json().str("status"), Some("active"), "{word}");
        let list = system.get(&format!("Claim/$worklist?state={word}")).await.expect_status(200).text();
        assert!(list.contains(&format!("INV-{number}")) && told.is_none_or(|told| list.contains(told)), "{list}");
    }
    // Submitted again: what was given up is asked for first; of the others nothing is sent.
    for number in 1..=4 {
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
    }
    settled(&system, 4, &["billed"]).await;
    assert_eq!((payer.ledger().len(), payer.posts()), (4, 4), "each was sent once");
    for number in 2..=3 {
        system.post(&format!("Claim/c{number}/$withdraw")).await.expect_status(409);
    }
    let withdrawn = system.post("Claim/c1/$withdraw").await.expect_status(200).json();
    assert_eq!(withdrawn.str("status"), Some("cancelled"), "the hospital says so too");
    assert_eq!(system.get("Claim/c1").await.json().str("status"), Some("cancelled"));
}

async fn lk_51_a_row_of_somebody_else_is_kept_for_a_person_and_believed_in_nothing(server: TestServer) {
    let (server, payer) = clinic(&server, 2).await;
    let system = server.system();
    let row = |members: Value| {
        let mut row = json!({ "claim_status": "Cancelled", "invoice_number": "INV-1", "amount": 1 });
        row.as_object_mut().expect("an object").extend(members.as_object().expect("members").clone());
        Reply::Json(200, json!([row]))
    };
    for members in [json!({ "patient_number": "P2" }), json!({ "session_id": "1001" }), json!({ "visit_number": "e2" })]
    {
        payer.http.say(&["claim-status", "INV-1"], row(members));
    }
    for number in [1, 2] {
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
    }
    let billed = settled(&system, 1, &["billed"]).await;
    settled(&system, 2, &["billed"]).await;
    assert_eq!(payer.http.unsaid(), 0);
    assert_eq!((payer.ledger().len(), payer.posts()), (2, 2), "nor did it say that there is none");
    let versions = system.get(&format!("ClaimResponse/{}/_history", billed.str("id").expect("an id"))).await.text();
    assert!(!versions.contains("\"cancelled\"") && !versions.contains("\"differs\""), "{versions}");
    // Whoever bills sees what was said; the other patient learns nothing of it, by whatever token.
    let practitioner = fhir::object! { "resourceType": "Practitioner", "id": "d1" };
    system.store(&practitioner).await;
    let cared = system.get("Patient/p1").await.expect_status(200).text();
    let cared = cared.replacen('{', "{\"generalPractitioner\":[{\"reference\":\"Practitioner/d1\"}],", 1);
    system.store(&Json::parse(cared.as_bytes()).expect("JSON")).await;
    server.command(&["user", "add", "dora", "--fhir-user", "Practitioner/d1", "--json"]);
    let token = server.command(&["token", "--scope", "user/*.cruds", "--user", "dora"]);
    let dora = server.anonymous().with_token(token.trim());
    for resource_type in ["Claim", "ClaimResponse", "Coverage", "CoverageEligibilityRequest"] {
        for (who, client) in [("user", &dora), ("patient", &server.patient("p1"))] {
            let text = client.get(resource_type).await.expect_status(200).text();
            assert!(text.contains("Patient/p1") && !text.contains("Patient/p2"), "{who} {resource_type}: {text}");
        }
        assert_eq!(system.matches(resource_type).await.len(), 2, "a backend service sees both");
    }
    dora.get("Claim/c2").await.expect_status(404);
    dora.post("Claim/c2/$submit").await.expect_status(404);
    dora.post("Encounter/e2/$fetch-copay").await.expect_status(404);
    let list = dora.get("Claim/$worklist?state=billed").await.expect_status(200).text();
    assert!(list.contains("Claim/c1") && !list.contains("Claim/c2") && list.contains("\"valueInteger\":1"), "{list}");
    let narrow = server.command(&["token", "--scope", "user/Patient.rs user/Encounter.rs", "--user", "dora"]);
    let narrow = server.anonymous().with_token(narrow.trim());
    for path in ["Claim", "ClaimResponse", "Coverage", "Claim/c1", "Claim/$worklist"] {
        narrow.get(path).await.expect_status(403);
    }
    let fetched = dora.post("CoverageEligibilityRequest/$fetch-visit?patient-number=P2").await;
    assert!(matches!(fetched.status, 403 | 404 | 422), "{}", fetched.describe());
}
