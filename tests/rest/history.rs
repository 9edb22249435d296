//! Tests of `server/src/rest/history.rs`.

use fhir::object;
use tests::TestServer;

tests::on_both_engines!(a_life_newest_first, pages);

async fn a_life_newest_first(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a", "gender": "male" }).await;
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.delete("Patient/a").await.expect_status(204);
    let history = system.get("Patient/a/_history").await.expect_status(200);
    insta::assert_snapshot!("life", tests::redact::answer(&history));
    system.get("Patient/never/_history").await.expect_status(404);
    server.patient("b").get("Patient/a/_history").await.expect_status(404);
    system.get("Patient/a/_history?_since=2020").await.expect_status(400);
}

async fn pages(server: TestServer) {
    let system = server.system();
    for version in 0..5 {
        let patient = object! { "resourceType": "Patient", "id": "a", "birthDate": format!("200{version}") };
        system.store(&patient).await;
    }
    let mut url = Some("Patient/a/_history?_count=2".to_owned());
    let mut versions = Vec::new();
    while let Some(next) = url {
        let page = system.get(&next).await.expect_status(200);
        assert!(page.link("self").is_some());
        let bundle = page.json();
        versions.push(
            bundle
                .list("entry")
                .iter()
                .map(|entry| entry.at(&["resource", "meta", "versionId"]).unwrap().as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
        );
        url = page.link("next");
    }
    assert_eq!(versions, [vec!["5", "4"], vec!["3", "2"], vec!["1"]]);
}
