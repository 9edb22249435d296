//! Tests of `server/src/rest/bundle/narrative.rs`.

use fhir::json::Json;
use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(links_in_narratives_are_replaced);

fn post(full_url: &str, resource: Json) -> Json {
    let resource_type = resource.str("resourceType").expect("a resource says its type").to_owned();
    let request = object! { "method": "POST", "url": resource_type };
    object! { "fullUrl": full_url, "resource": resource, "request": request }
}

async fn links_in_narratives_are_replaced(server: TestServer) {
    let system = server.system();
    let narrative = |inside: &str| {
        let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{inside}</div>");
        object! { "status": "generated", "div": div }
    };
    let inside = |link: &str, image: &str| {
        format!(
            "<p>See <a href=\"{link}\" title=\"urn:uuid:1\">urn:uuid:1</a> and <img alt=\"x\" src=\"{image}\"/></p>"
        )
    };
    let subject = object! { "reference": "urn:uuid:1" };
    let seen = object! {
        "resourceType": "Observation",
        "text": narrative(&inside("urn:uuid:1", "http://old/fhir/Binary/7")),
        "status": "final",
        "code": object! { "text": "x" },
        "subject": subject.clone(),
    };
    let plan = object! {
        "resourceType": "CarePlan",
        "instantiatesCanonical": array!["urn:uuid:1"],
        "instantiatesUri": array!["urn:uuid:1"],
        "status": "active",
        "intent": "plan",
        "subject": subject,
    };
    let binary = object! { "resourceType": "Binary", "contentType": "image/png", "data": "AAAA" };
    let entries = array![
        post("urn:uuid:1", object! { "resourceType": "Patient" }),
        post("http://old/fhir/Binary/7", binary),
        post("urn:uuid:2", seen),
        post("urn:uuid:3", plan),
    ];
    let transaction = object! { "resourceType": "Bundle", "type": "transaction", "entry": entries };
    let answer = system.post("").json(&transaction).await.expect_status(200).json();
    let places: Vec<String> = answer
        .list("entry")
        .iter()
        .map(|entry| {
            let location = entry.at(&["response", "location"]).and_then(Json::as_str).unwrap();
            let below = location.split("/fhir/").last().unwrap();
            below.split("/_history").next().unwrap().to_owned()
        })
        .collect();
    let stored = system.get(&places[2]).await.expect_status(200).json();
    let expected = narrative(&inside(&places[0], &places[1]));
    assert_eq!(stored.at(&["text", "div"]), expected.get("div"));
    let stored = system.get(&places[3]).await.expect_status(200).json();
    assert_eq!(stored.list("instantiatesUri")[0].as_str(), Some(places[0].as_str()));
    assert_eq!(stored.list("instantiatesCanonical")[0].as_str(), Some("urn:uuid:1"), "canonical URLs stay");
}
