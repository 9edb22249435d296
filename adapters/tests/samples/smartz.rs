//! Smartz beyond its samples.

use adapters::memory::Memory;
use adapters::{Context, Refusal};
use fhir::json::Json;

use crate::{context, publication, replaced, resources, sample};

#[test]
fn other_names_are_configuration() {
    let names =
        fhir::object! { "status.id": "/data/statusId", "status.pod": "/data/pod", "status.percent": "/data/wetness" };
    let text = String::from_utf8(sample("smartz", "05-status-wet.json")).expect("text");
    let json = Json::parse(text.as_bytes()).expect("JSON");
    let mut body = json.clone();
    let members = body.as_object_mut().expect("an object");
    for name in ["id", "podId", "saturationPercent"] {
        members.remove(name);
    }
    members.insert("data", fhir::object! { "statusId": "st-777001", "pod": "pod-501", "wetness": 58 });
    let usual = publication("smartz", "status", text.as_bytes(), &context(&[]));
    let renamed = Context { fields: Some(&names), ..context(&[]) };
    let other = publication("smartz", "status", body.to_string().as_bytes(), &renamed);
    assert_eq!(usual.bundle.to_string(), other.bundle.to_string());
}

#[test]
fn a_resolved_alert_is_an_inactive_flag() {
    let raised = publication("smartz", "alert", &sample("smartz", "06-alert-raised.json"), &context(&[]));
    let body = replaced(
        "smartz",
        "06-alert-raised.json",
        "\"severity\"",
        "\"resolvedAt\":\"2025-05-31T02:40:00+01:00\",\"severity\"",
    );
    let resolved = publication("smartz", "alert", &body, &context(&[]));
    let mut memory = Memory::default();
    assert_eq!(memory.apply(&raised).len(), 2);
    let changed = memory.apply(&resolved);
    assert_eq!((changed.len(), changed[0].str("status")), (1, Some("inactive")));
    assert_eq!(changed[0].at(&["period", "end"]).and_then(Json::as_str), Some("2025-05-31T02:40:00+01:00"));
    assert!(resources(&resolved.bundle).iter().all(|it| it.str("resourceType") != Some("Condition")));
}

#[test]
fn the_gateway_says_how_long_to_wait() {
    let shape = adapters::find("smartz").and_then(|adapter| adapter.shape("error")).expect("a shape");
    let refusal = (shape.receive)(&sample("smartz", "08-gateway-rate-limit.json")).expect_err("an error");
    assert!(matches!(refusal, Refusal::Vendor { status: 503, retry_after: Some(42), .. }), "{refusal:?}");
}
