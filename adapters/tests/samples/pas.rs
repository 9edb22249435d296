//! Payers of the PAS shape beyond their samples: updates, withdrawals, inquiries, and answers that are not believed.

use adapters::payer::{self, Payer, Question, Sent, Standing, Submitted};
use adapters::{Context, Mapping};
use fhir::json::Json;

use crate::{context, document, replaced, root, sample};

fn pas() -> &'static Payer {
    payer::find("pas").expect("a payer")
}

fn bundle() -> Json {
    Json::parse(&sample("pas", "01-claim-referral.json")).expect("JSON")
}

/// What is sent for a Bundle; `told` is what the server says of it.
fn sent(bundle: &Json, told: &Json) -> Json {
    let draft = (pas().draft)(bundle, &Context { visit: Some(told), ..context(&[]) }).expect("can be sent");
    let (_, body) = draft.ask.body.expect("a body");
    Json::parse(body.as_bytes()).expect("JSON")
}

fn first(bundle: &Json) -> &Json {
    bundle.at(&["entry", "resource"]).expect("a resource")
}

fn answered(status: u16, answer: &str, body: &Json) -> Submitted {
    let body = body.to_string();
    (pas().submitted)(status, answer.as_bytes(), &Sent { body: &body, ..Sent::default() })
}

#[test]
fn an_inquiry_names_the_claim_and_nothing_of_what_is_claimed() {
    let body = sent(&bundle(), &Json::Null).to_string();
    let sent = Sent { body: &body, reference: "AUTH-1", ..Sent::default() };
    let ask = (pas().ask)(&Question::Status { sent }, &context(&[]));
    assert_eq!((ask.method, ask.path.as_str()), ("POST", "/Claim/$inquire"));
    let (_, text) = ask.body.expect("a body");
    let asked = Json::parse(text.as_bytes()).expect("JSON");
    assert_eq!(first(&asked).at(&["identifier", "value"]).and_then(Json::as_str), Some("PA-2025-0001"));
    assert!(text.contains("AUTH-1") && text.contains("not-applicable"), "{text}");
    assert!(!text.contains("I20.9") && !text.contains("ServiceRequest") && !text.contains("99204"), "{text}");
}

#[test]
fn a_withdrawal_says_so_of_the_claim_and_brings_it_along() {
    let told = fhir::object! { "intent": "cancel" };
    let body = sent(&bundle(), &told);
    let urls: Vec<&str> = body.list("entry").iter().filter_map(|it| it.str("fullUrl")).collect();
    assert!(urls[0].starts_with("urn:uuid:"), "{urls:?}");
    assert_eq!(urls[1], "https://hospital.example/fhir/Claim/c1");
    let claim = first(&body);
    assert_eq!(claim.at(&["related", "claim", "reference"]).and_then(Json::as_str), Some(urls[1]));
    assert_eq!(claim.at(&["extension", "valueCodeableConcept", "coding", "code"]).and_then(Json::as_str), Some("3"));
    assert_eq!(claim.str("status"), Some("active"), "the status of the message, not of the claim");
    // Granting the withdrawal of a claim is no approval of the claim.
    let response = String::from_utf8(sample("pas", "04-response-approved.json")).expect("text");
    let granted = response.replace("https://hospital.example/fhir/Claim/c1", urls[0]).replace("PA-2025-0001", "other");
    match answered(200, &granted, &body) {
        Submitted::Answered(known) => assert_eq!(known.standing, Standing::Cancelled),
        other => panic!("{other:?}"),
    }
    match answered(200, &response, &body) {
        Submitted::Answered(known) => assert_eq!(known.standing, Standing::Approved, "about the claim itself"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_update_marks_what_changed_and_drops_nothing() {
    let text = bundle().to_string().replace("\"quantity\":{\"value\":3}", "\"quantity\":{\"value\":6}");
    let prior = bundle().at(&["entry"]).expect("an entry").to_string();
    let prior = prior.replace("Claim/c1", "Claim/c0").replace("\"id\":\"c1\"", "\"id\":\"c0\"");
    let mut updated = Json::parse(text.replace("450.3,", "900.6,").as_bytes()).expect("JSON");
    let Some(Json::Array(entries)) = updated.as_object_mut().and_then(|it| it.get_mut("entry")) else { panic!() };
    let related = fhir::object! {
        "claim": fhir::object! { "reference": "Claim/c0" },
        "relationship": fhir::object! { "coding": fhir::array![fhir::object! { "code": "prior" }] },
    };
    let claim = entries[0].as_object_mut().and_then(|it| it.get_mut("resource")).and_then(Json::as_object_mut);
    claim.expect("a claim").insert("related", fhir::array![related]);
    entries.push(Json::parse(prior.as_bytes()).expect("JSON"));
    let body = sent(&updated, &Json::Null);
    let extensions = first(&body).at(&["item"]).expect("an item").list("extension").to_vec();
    assert!(extensions.iter().any(|it| it.str("valueCode") == Some("changed")), "{extensions:?}");
    assert!(first(&body).at(&["supportingInfo"]).expect("one").get("extension").is_none(), "it did not change");
    assert!(body.to_string().contains("\"fullUrl\":\"https://hospital.example/fhir/Claim/c0\""));
    let without = updated.to_string().replacen("\"sequence\":1,\"category\"", "\"sequence\":2,\"category\"", 2);
    let without = Json::parse(without.as_bytes()).expect("JSON");
    let refused = (pas().draft)(&without, &context(&[])).expect_err("an item is missing");
    assert!(
        refused.iter().any(|it| it.diagnostics.as_ref().is_some_and(|it| it.contains("is missing"))),
        "{refused:?}"
    );
}

#[test]
fn only_an_answer_that_names_the_claim_is_believed() {
    let body = sent(&bundle(), &Json::Null);
    let word = |status: u16, answer: &str| match answered(status, answer, &body) {
        Submitted::Taken { .. } => "taken".to_owned(),
        Submitted::Answered(known) => known.standing.as_str().to_owned(),
        Submitted::Refused(_) => "refused".to_owned(),
        Submitted::Later { .. } => "later".to_owned(),
        Submitted::Login(_) => "login".to_owned(),
        Submitted::Unknown(_) => "unknown".to_owned(),
        Submitted::Mismatched(_) => "mismatched".to_owned(),
    };
    let text = |file: &str| String::from_utf8(sample("pas", file)).expect("text");
    let approved = text("04-response-approved.json");
    assert_eq!(word(200, &approved), "approved");
    assert_eq!(word(201, &text("05-response-pended.json")), "pending");
    assert_eq!(word(200, &text("06-response-denied-inquiry.json")), "denied");
    let other = approved.replace("PA-2025-0001", "PA-2025-0002").replace("Claim/c1", "Claim/c2");
    assert_eq!(word(200, &other), "unknown", "about another claim");
    assert_eq!(word(200, &approved.replace("\"A1\"", "\"ZZ\"")), "pending", "a code that is not known decides nothing");
    assert_eq!(word(500, &approved), "unknown", "an error is no answer");
    assert_eq!(word(200, "<html>"), "unknown");
    assert_eq!(word(200, "{}"), "unknown");
    assert_eq!(word(422, &text("07-operation-outcome.json")), "refused");
    assert_eq!(word(404, ""), "refused");
    assert_eq!(word(401, ""), "login");
    assert_eq!(word(429, ""), "later");
    assert_eq!(word(408, ""), "later");
    assert_eq!(word(409, ""), "unknown", "there is one already, perhaps this one");
    assert_eq!(word(502, ""), "unknown");
}

#[test]
fn an_answer_about_somebody_else_is_not_believed_though_it_names_the_claim() {
    let identifier = fhir::object! { "system": "https://hospital.example/mrn", "value": "MRN-1" };
    let known = format!("\"resourceType\":\"Patient\",\"identifier\":[{identifier}]");
    let own = bundle().to_string().replace("\"resourceType\":\"Patient\"", &known);
    let body = sent(&Json::parse(own.as_bytes()).expect("JSON"), &Json::Null);
    let approved = String::from_utf8(sample("pas", "04-response-approved.json")).expect("text");
    let mut answer = Json::parse(approved.as_bytes()).expect("JSON");
    let Some(Json::Array(entries)) = answer.as_object_mut().and_then(|it| it.get_mut("entry")) else { panic!() };
    let at = |place: usize| format!("https://payer.example/fhir/Whoever/{place}");
    let place = entries.len();
    entries.push(fhir::object! { "fullUrl": at(place), "resource": fhir::object! {
        "resourceType": "Patient", "identifier": fhir::array![identifier],
    }});
    let cover = |number: &str| {
        fhir::object! { "fullUrl": at(place + 1), "resource": fhir::object! {
            "resourceType": "Coverage", "subscriberId": number,
        }}
    };
    entries.push(cover("M-1"));
    let response = entries.iter_mut().filter_map(|it| it.as_object_mut()?.get_mut("resource")?.as_object_mut());
    let mut response = response.filter(|it| it.get("resourceType").and_then(Json::as_str) == Some("ClaimResponse"));
    let response = response.next().expect("a ClaimResponse");
    response.insert("patient", fhir::object! { "reference": at(place) });
    let covered =
        fhir::object! { "sequence": 1, "focal": true, "coverage": fhir::object! { "reference": at(place + 1) } };
    response.insert("insurance", fhir::array![covered]);
    let good = answer.to_string();
    assert!(matches!(answered(200, &good, &body), Submitted::Answered(_)), "it names us as the payer knows us");
    for other in [
        good.replace("MRN-1", "MRN-2"),
        good.replace("\"M-1\"", "\"M-2\""),
        approved.replace("Patient/p1", "Coverage/cov"),
        approved.replace("Patient/p1", "Patient/p2"),
    ] {
        assert_ne!(other, good);
        assert!(matches!(answered(200, &other, &body), Submitted::Mismatched(_)), "{other}");
        let text = body.to_string();
        let followed = (pas().followed)(200, other.as_bytes(), &Sent { body: &text, ..Sent::default() });
        assert!(matches!(followed, Err(Submitted::Mismatched(_))), "it does not say that there is none either");
    }
}

#[test]
fn what_is_of_a_profile_of_pas_says_so_and_nothing_else_does() {
    let of = |json: &Json| json.at(&["meta", "profile"]).and_then(Json::as_str).map(str::to_owned);
    let profile = |name: &str| Some(format!("http://hl7.org/fhir/us/davinci-pas/StructureDefinition/{name}"));
    let whole = bundle();
    let less = whole.to_string().replace("extension-certificationType", "extension-other");
    let less = sent(&Json::parse(less.as_bytes()).expect("JSON"), &Json::Null);
    assert_eq!((of(&less), of(first(&less))), (None, None), "PAS asks for what it does not say");
    let body = sent(&whole, &Json::Null);
    assert_eq!(of(&body), profile("profile-pas-request-bundle"));
    assert_eq!(of(first(&body)), profile("profile-claim"));
    let taken_back = sent(&whole, &fhir::object! { "intent": "cancel" });
    assert_eq!(of(first(&taken_back)), profile("profile-claim-update"));
    assert_eq!(first(&taken_back).list("item"), first(&body).list("item"), "an update says all items again");
    let text = body.to_string();
    let question = Question::Status { sent: Sent { body: &text, ..Sent::default() } };
    let (_, asked) = (pas().ask)(&question, &context(&[])).body.expect("a body");
    let asked = Json::parse(asked.as_bytes()).expect("JSON");
    assert_eq!(of(&asked), profile("profile-pas-inquiry-request-bundle"));
    assert_eq!(of(first(&asked)), profile("profile-claim-inquiry"));
    let billed = whole.to_string().replace("\"preauthorization\"", "\"claim\"");
    let billed = Json::parse(billed.as_bytes()).expect("JSON");
    let billed = sent(&billed, &fhir::object! { "uses": "claim" });
    assert_eq!((of(&billed), of(first(&billed))), (None, None), "PAS is about prior authorization");
}

#[test]
fn there_is_no_claim_only_where_the_payer_says_so() {
    let body = sent(&bundle(), &Json::Null).to_string();
    let of = |answer: &str| (pas().followed)(200, answer.as_bytes(), &Sent { body: &body, ..Sent::default() });
    assert!(matches!(of(r#"{"resourceType":"Parameters"}"#), Ok(None)));
    let other = String::from_utf8(sample("pas", "06-response-denied-inquiry.json")).expect("text");
    let other = other.replace("PA-2025-0001", "X").replace("Claim/c1", "Claim/x");
    assert!(matches!(of(&other), Ok(None)), "other claims of the patient");
    assert!(of("").is_err() && of("{}").is_err() && of(r#"{"resourceType":"OperationOutcome"}"#).is_err());
    let held = r#"{"resourceType":"Parameters","parameter":[{"name":"return","resource":{"resourceType":"OperationOutcome",
        "issue":[{"severity":"warning","code":"suppressed"}]}}]}"#;
    assert!(of(held).is_err(), "some are held back, perhaps this one");
    let nameless = r#"{"resourceType":"ClaimResponse","status":"active"}"#;
    assert!(of(nameless).is_err(), "it may be this one");
    let refused = (pas().followed)(400, b"{}", &Sent { body: &body, ..Sent::default() });
    assert!(matches!(refused, Err(Submitted::Unknown(_))), "a question that is refused says nothing of the claim");
}

#[test]
fn money_is_proved_to_the_cent_where_a_claim_names_any() {
    let refused = |from: &str, to: &str| {
        let bytes = replaced("pas", "01-claim-referral.json", from, to);
        let bundle = Json::parse(&bytes).expect("JSON");
        let issues = (pas().draft)(&bundle, &context(&[])).expect_err("cannot be sent");
        issues[0].expression[0].clone()
    };
    assert_eq!(refused("\"value\": 150.1,", "\"value\": 150.11,"), "Claim.item[0].net");
    assert_eq!(refused("\"value\": 150.1,", "\"value\": -150.1,"), "Claim.item[0].net");
    let huge = "\"value\": 123456789012345678901234567890.1,";
    assert_eq!(refused("\"value\": 150.1,", huge), "Claim.item[0].net", "what is no sum of money is none");
    assert_eq!(refused("\"KES\"\n        }\n      }", "\"UGX\"\n        }\n      }"), "Claim.total.currency");
    assert_eq!(refused("\"preauthorization\"", "\"predetermination\""), "Claim.use");
    let manifest = document(&root().join("pas/manifest.json"));
    assert_eq!(manifest.str("vendor"), Some("pas"));
    let told = fhir::object! { "uses": "preauthorization, claim" };
    let bytes = replaced("pas", "01-claim-referral.json", "\"preauthorization\"", "\"claim\"");
    let draft = (pas().draft)(&Json::parse(&bytes).expect("JSON"), &Context { visit: Some(&told), ..context(&[]) });
    let draft = draft.expect("can be sent");
    assert_eq!((draft.net.as_str(), draft.currency.as_str(), draft.member.as_str()), ("450.3", "KES", "M-1"));
}

#[test]
fn what_a_payer_says_of_other_patients_is_not_kept() {
    let adapter = adapters::find("pas").expect("an adapter");
    let shape = adapter.shape("response").expect("a shape");
    let Mapping::Publish(published) = (shape.map)(&sample("pas", "05-response-pended.json"), &context(&[])) else {
        panic!("not published");
    };
    assert!(!published.bundle.to_string().contains("another"), "{}", published.bundle);
}
