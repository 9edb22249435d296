//! Tests of `server/src/rest/operation/definition.rs`.

use fhir::json::Json;
use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(definitions_of_the_server_are_its_own);

async fn definitions_of_the_server_are_its_own(server: TestServer) {
    let (system, path) = (server.system(), "OperationDefinition/tributary-diff");
    let own = server.anonymous().get(path).await.expect_status(200).json();
    let url = own.str("url").unwrap().to_owned();
    for asked in ["_summary=true", "_elements=url"] {
        let cut = server.anonymous().get(&format!("{path}?{asked}")).await.expect_status(200).json();
        assert_eq!((cut.str("url"), cut.get("parameter")), (Some(url.as_str()), None), "{asked}");
    }
    let put = object! { "request": object! { "method": "PUT", "url": path }, "resource": own.clone() };
    for kind in ["batch", "transaction"] {
        let bundle = object! { "resourceType": "Bundle", "type": kind, "entry": array![put.clone()] };
        let answer = system.post("").json(&bundle).await;
        assert!(answer.text().contains("own definition"), "{kind}: {}", answer.describe());
    }
    system.put(path).json(&own).await.expect_status(405);
    let mut other = own.clone();
    other.as_object_mut().unwrap().insert("id", "tributary-other");
    system.put("OperationDefinition/tributary-other").json(&other).await.expect_status(201);
    let encoded = url.replace(':', "%3A").replace('/', "%2F");
    for (query, expected) in [
        ("_id=tributary-diff".to_owned(), vec!["tributary-diff"]),
        (format!("url={encoded}"), vec!["tributary-other", "tributary-diff"]),
        (format!("url={encoded}&code=diff&_id=tributary-diff"), vec!["tributary-diff"]),
        (format!("url={encoded}&code=other"), vec![]),
        ("_id=tributary-none".to_owned(), vec![]),
    ] {
        let query = format!("OperationDefinition?{query}&_total=accurate");
        let found = system.get(&query).await.expect_status(200);
        assert_eq!(found.matches(), expected, "{query}");
        let total = found.json().get("total").and_then(Json::as_number).map(str::to_owned);
        assert_eq!(total, Some(expected.len().to_string()), "{query}");
    }
    server.with_scope("system/Patient.rs", None).get("OperationDefinition?_id=tributary-diff").await.expect_status(403);
}
