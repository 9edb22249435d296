//! Tests of `server/src/rest/conditional.rs`.

use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(re_16_one_of_64, criteria_are_checked, lk_26_not_on_identities);

fn patient() -> fhir::json::Json {
    object! {
        "resourceType": "Patient",
        "identifier": array![object! { "system": "http://s", "value": "v" }],
    }
}

async fn re_16_one_of_64(server: TestServer) {
    let system = server.system();
    let creates = (0..64).map(|_| {
        let call = system.post("Patient").header("If-None-Exist", "identifier=http://s|v").json(&patient());
        tokio::spawn(async move { call.await })
    });
    let creates: Vec<_> = creates.collect();
    let mut statuses = Vec::new();
    let mut places = Vec::new();
    for create in creates {
        let answer = create.await.expect("the task ends");
        statuses.push(answer.status);
        places.push(answer.location());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 201)), "{statuses:?}");
    places.dedup();
    assert_eq!(places.len(), 1);
    assert_eq!(system.matches("Patient?identifier=http://s|v").await.len(), 1);
}

async fn criteria_are_checked(server: TestServer) {
    let system = server.system();
    for criteria in ["", "typo=1", "_sort=name", "identifier:fuzzy=1"] {
        system.post("Patient").header("If-None-Exist", criteria).json(&patient()).await.expect_status(400);
    }
    system.create(&patient()).await;
    system.create(&patient()).await;
    let several = system.post("Patient").header("If-None-Exist", "identifier=http://s|v").json(&patient()).await;
    assert_eq!(several.expect_status(412).json().at(&["issue", "code"]).unwrap().as_str(), Some("multiple-matches"));
    assert_eq!(system.matches("Patient").await.len(), 2);
}

async fn lk_26_not_on_identities(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.create(&patient()).await;
    let app = server.patient("a");
    for criteria in ["identifier=http://s|v", "identifier=http://s|unknown"] {
        app.post("Patient").header("If-None-Exist", criteria).json(&patient()).await.expect_status(403);
        app.put(&format!("Patient?{criteria}")).json(&patient()).await.expect_status(403);
    }
}
