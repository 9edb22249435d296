//! Tests of `server/src/rest/conditional.rs`.

use fhir::json::Json;
use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    re_16_one_of_64,
    re_16_one_of_32_updates,
    re_15_an_update_finds_what_still_matches,
    criteria_are_checked,
    lk_26_not_on_identities,
);

fn patient() -> Json {
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

async fn re_16_one_of_32_updates(server: TestServer) {
    let system = server.system();
    let updates: Vec<_> = (1..=32_i64)
        .map(|number| {
            let mut sibling = patient();
            sibling.as_object_mut().unwrap().insert("multipleBirthInteger", number);
            let call = system.put("Patient?identifier=http://s|v").json(&sibling);
            tokio::spawn(async move { call.await })
        })
        .collect();
    let mut statuses = Vec::new();
    for update in updates {
        statuses.push(update.await.expect("the task ends").status);
    }
    statuses.sort_unstable();
    assert_eq!((statuses[31], statuses.iter().filter(|status| **status == 200).count()), (201, 31), "{statuses:?}");
    let found = system.get("Patient?identifier=http://s|v").await.expect_status(200);
    assert_eq!(found.matches().len(), 1);
    let version = found.entries("match")[0].at(&["meta", "versionId"]).and_then(Json::as_str).map(str::to_owned);
    assert_eq!(version.as_deref(), Some("32"), "each is a version");
}

/// Updates by the identifier v, while others take it away and bring it back: what an update replaces has it.
async fn re_15_an_update_finds_what_still_matches(server: TestServer) {
    let system = server.system();
    let named = |value: &str, number: i64, gender: &str| {
        object! {
            "resourceType": "Patient",
            "id": "p",
            "identifier": array![object! { "system": "http://s", "value": value }],
            "gender": gender,
            "multipleBirthInteger": number,
        }
    };
    system.store(&named("v", 0, "other")).await;
    let mut calls = Vec::new();
    for number in 1..=40_i64 {
        let value = if number % 2 == 0 { "v" } else { "w" };
        for call in [
            system.put("Patient/p").json(&named(value, number, "female")),
            system.put("Patient?identifier=http://s|v").json(&named("v", number, "male")),
        ] {
            calls.push(tokio::spawn(async move { call.await }));
        }
    }
    let mut updated = 0;
    for call in calls {
        let answer = call.await.expect("the task ends");
        // 409: what has the id does not match the criteria.
        assert!(matches!(answer.status, 200 | 409), "{}", answer.describe());
        updated += usize::from(answer.status == 200);
    }
    assert!(updated >= 40, "updates by id are never refused");
    let history = system.get("Patient/p/_history?_count=200").await.expect_status(200).json();
    let versions: Vec<&Json> = history.list("entry").iter().filter_map(|entry| entry.get("resource")).collect();
    assert_eq!(versions.len(), updated + 1);
    for pair in versions.windows(2) {
        let (after, before) = (pair[0], pair[1]);
        let value = before.list("identifier")[0].str("value");
        assert!(after.str("gender") != Some("male") || value == Some("v"), "{after} replaced {before}");
    }
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
