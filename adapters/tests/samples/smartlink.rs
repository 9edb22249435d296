//! SmartLink beyond its samples: claims there and back, money, and what cannot be carried.

use adapters::{Context, Mapping};
use fhir::json::Json;
use fhir::outcome::Issue;

use crate::{codes, context, document, replaced, root, sample};

/// The context of the outbound sample.
pub(crate) fn visit() -> Json {
    let manifest = document(&root().join("smartlink/manifest.json"));
    let sample = manifest.list("samples").iter().find(|it| it.str("file") == Some("08-claim-outpatient.json"));
    sample.and_then(|sample| sample.get("context")).expect("a context").clone()
}

pub(crate) fn made(shape: &str, bytes: &[u8], visit: &Json) -> Mapping {
    let shape = adapters::find("smartlink").and_then(|adapter| adapter.shape(shape)).expect("a shape");
    (shape.receive)(bytes).unwrap_or_else(|refusal| panic!("refused: {refusal:?}"));
    (shape.map)(bytes, &Context { visit: Some(visit), ..context(&[]) })
}

pub(crate) fn body(bytes: &[u8], visit: &Json) -> (Json, Vec<Issue>) {
    match made("claim", bytes, visit) {
        Mapping::Send { request, issues } => (request, issues),
        other => panic!("not sent: {other:?}"),
    }
}

fn refused(bytes: &[u8], visit: &Json) -> Vec<Issue> {
    match made("claim", bytes, visit) {
        Mapping::Refuse { issues } => issues,
        other => panic!("not refused: {other:?}"),
    }
}

fn claim_with(from: &str, to: &str) -> Vec<u8> {
    replaced("smartlink", "08-claim-outpatient.json", from, to)
}

#[test]
fn the_sample_is_carried_whole() {
    let (_, issues) = body(&sample("smartlink", "08-claim-outpatient.json"), &visit());
    assert_eq!(issues, []);
}

#[test]
fn what_cannot_be_carried_is_told_before_it_is_sent() {
    let from = "\"use\": \"claim\",";
    let accident =
        "\"use\": \"claim\", \"accident\": {\"date\": \"2025-06-01\"}, \"prescription\": {\"display\": \"x\"},";
    let (_, issues) = body(&claim_with(from, accident), &visit());
    let paths: Vec<&str> = issues.iter().flat_map(|issue| &issue.expression).map(String::as_str).collect();
    assert_eq!(paths, ["Claim.accident", "Claim.prescription"]);
    assert_eq!(codes(&issues), ["not-supported", "not-supported"]);
}

#[test]
fn money_is_proved_and_each_failure_says_where_and_what_would_be_right() {
    let first = |from: &str, to: &str| {
        let issues = refused(&claim_with(from, to), &visit());
        (issues[0].expression[0].clone(), issues[0].diagnostics.clone().unwrap_or_default())
    };
    let (at, text) = first("\"value\": 3200.5", "\"value\": 3200.51");
    assert_eq!(at, "Claim.total");
    assert!(text.contains("3200.51") && text.contains("3200.5;"), "{text}");
    let (at, text) = first("\"value\": 250.25", "\"value\": 250.26");
    assert_eq!(at, "Claim.item[2].net");
    assert!(text.contains("500.52"), "{text}");
    let (at, _) = first("\"principal\"", "\"secondary\"");
    assert_eq!(at, "Claim.diagnosis");
    let (at, text) = first("\"value\": \"AKHILS001\"", "\"value\": \"OTHER\"");
    assert_eq!(at, "Claim.item[0].encounter");
    assert!(text.contains("OTHER") && text.contains("AKHILS001"), "{text}");
    let (at, _) = first("\"created\": \"2025-06-01T10:45:00+03:00\"", "\"created\": \"2025-06-01\"");
    assert_eq!(at, "Claim.created");
    let issues = refused(&claim_with("\"currency\": \"KES\"", "\"currency\": \"\""), &visit());
    assert!(!issues.is_empty());
}

#[test]
fn integrations_that_differ_are_settings() {
    let mut visit = visit();
    let members = visit.as_object_mut().expect("an object");
    members.insert("dialect", fhir::object! { "primary": "primary", "modifiers": "top", "admission": "array" });
    let bytes = claim_with("\"code\": \"AMB\"", "\"code\": \"IMP\"");
    let (body, _) = body(&bytes, &visit);
    assert_eq!(body.at(&["diagnosis", "primary"]), Some(&Json::Bool(true)));
    assert_eq!(body.str("pool_number"), Some("101"));
    assert!(body.get("payment_modifiers").is_some() && body.at(&["invoices", "payment_modifiers"]).is_none());
    assert!(matches!(body.get("admission"), Some(Json::Array(stays)) if stays.len() == 1));
}

#[test]
fn a_lapsed_policy_is_not_in_force_and_a_copay_can_be_a_fraction() {
    let lapsed = replaced("smartlink", "05-member-benefits.json", "2025-12-31", "2025-05-31");
    let Mapping::Publish(lapsed) = made("member", &lapsed, &Json::Null) else { panic!("not published") };
    let text = lapsed.bundle.to_string();
    assert!(text.contains("\"inforce\":false"), "{text}");
    let copay = replaced("smartlink", "07-copay-fixed.json", "\"FIXED\"", "\"PERCENTAGE\"");
    let copay = String::from_utf8(copay).expect("text").replace("\"amount\": 500", "\"amount\": 12.5");
    let told = fhir::object! {
        "visitNumber": "V", "benefitId": "1", "patientNumber": "P", "coverage": "A:B", "payerCode": "PAY", "sessionId": "1",
    };
    let Mapping::Publish(copay) = made("copay", copay.as_bytes(), &told) else { panic!("not published") };
    assert!(copay.bundle.to_string().contains("\"allowedString\":\"12.5\""));
}

#[test]
fn a_session_that_expired_is_told_and_no_answer_is_no_session() {
    let expired = replaced("smartlink", "04-visit-merged-active.json", "ACTIVE", "EXPIRED");
    let Mapping::Publish(expired) = made("visit", &expired, &Json::Null) else { panic!("not published") };
    let statuses: Vec<_> = crate::resources(&expired.bundle).iter().filter_map(|it| it.str("status")).collect();
    assert_eq!(statuses, ["cancelled", "cancelled"]);
    let Mapping::Publish(none) = made("visit", b"[]", &Json::Null) else { panic!("not published") };
    assert_eq!(codes(&none.issues), ["not-found"]);
}
