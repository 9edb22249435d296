//! Each limit is hit from outside, and answers what it is (invariant 9; IN-10 and following).

use fhir::json::Json;
use fhir::object;
use tests::{Engine, TestServer};

/// What others have stored does not count towards the most that a page includes. (LK-15)
#[test]
fn lk_15_hidden_resources_take_no_place_among_the_included() {
    tests::server::block_on(async {
        let server = TestServer::start(Engine::Sqlite).await;
        let system = server.system();
        system.store(&object! { "resourceType": "Practitioner", "id": "doc" }).await;
        let encounter = |id: String, patient: &str| {
            let resource = object! {
                "resourceType": "Encounter",
                "id": id.as_str(),
                "status": "finished",
                "class": object! { "code": "AMB" },
                "subject": object! { "reference": patient },
                "participant": vec![object! { "individual": object! { "reference": "Practitioner/doc" } }],
            };
            let request = object! { "method": "PUT", "url": format!("Encounter/{id}") };
            object! { "resource": resource, "request": request }
        };
        let others = (0..10_001).map(|number| encounter(format!("b{number}"), "Patient/b"));
        let mut entries: Vec<Json> = others.chain([encounter("mine".to_owned(), "Patient/a")]).collect();
        while !entries.is_empty() {
            let some: Vec<Json> = entries.drain(..entries.len().min(5_000)).collect();
            let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": some };
            system.post("").json(&bundle).await.expect_status(200);
        }
        let path = "Practitioner?_revinclude=Encounter:practitioner";
        system.get(path).await.expect_status(400);
        let page = server.patient("a").get(path).await.expect_status(200);
        assert_eq!(page.included(), ["Encounter/mine"]);
    });
}

#[test]
fn nothing_is_without_a_bound() {
    tests::server::block_on(async {
        let limits = ["--max-body", "65536", "--max-bundle-entries", "3", "--max-page-size", "2", "--page-size", "2"];
        let server = TestServer::start_with(Engine::Sqlite, &limits).await;
        let system = server.system();

        let long = object! { "resourceType": "Basic", "id": "long", "language": "x".repeat(100_000) };
        system.put("Basic/long").json(&long).await.expect_status(413);

        let deep = format!(r#"{{"resourceType":"Basic","extension":{}{}}}"#, "[".repeat(100), "]".repeat(100));
        system.post("Basic").body("application/fhir+json", deep).await.expect_status(400);

        let deep = format!(
            r#"<Basic xmlns="http://hl7.org/fhir">{}{}</Basic>"#,
            "<extension>".repeat(100),
            "</extension>".repeat(100)
        );
        system.post("Basic").xml(deep).await.expect_status(400);

        let entry = object! { "request": object! { "method": "GET", "url": "Patient/none" } };
        let bundle = object! { "resourceType": "Bundle", "type": "batch", "entry": vec![entry; 4] };
        let refused = system.post("").json(&bundle).await;
        assert!(matches!(refused.status, 400 | 413), "{}", refused.describe());

        for number in 0..3 {
            system.store(&object! { "resourceType": "Patient", "id": format!("b{number}") }).await;
        }
        let page = system.get("Patient?_count=1000").await.expect_status(200);
        assert_eq!(page.matches().len(), 2, "a page is not longer than its limit");
        assert!(page.link("next").is_some());

        let many = vec!["_id=x"; 200].join("&");
        let refused = system.get(&format!("Patient?{many}")).await.expect_status(400);
        assert_eq!(refused.json().get("resourceType").and_then(Json::as_str), Some("OperationOutcome"));
    });
}
