//! Tests of `server/src/rest/update.rs`.

use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    created_then_updated_then_unchanged,
    re_15_if_match,
    ids_must_agree,
    lk_27_ids_are_not_an_oracle,
    lk_28_nothing_moves_between_patients,
    lk_28_a_deletion_is_no_way_round,
    by_criteria,
);

async fn created_then_updated_then_unchanged(server: TestServer) {
    let system = server.system();
    let male = object! { "resourceType": "Patient", "id": "a", "gender": "male" };
    let first = system.put("Patient/a").json(&male).await.expect_status(201);
    let second =
        system.put("Patient/a").json(&object! { "resourceType": "Patient", "id": "a" }).await.expect_status(200);
    assert_eq!((first.header("etag"), second.header("etag")), (Some("W/\"1\""), Some("W/\"2\"")));
    let again = system.put("Patient/a").json(&second.json()).await.expect_status(200);
    assert_eq!(again.header("etag"), Some("W/\"2\""), "the same content makes no version");
    assert_eq!(again.bytes(), second.bytes());
    let instant =
        |answer: &tests::Answer| answer.json().at(&["meta", "lastUpdated"]).unwrap().as_str().unwrap().to_owned();
    assert!(instant(&first) < instant(&second), "RE-41");
    system.delete("Patient/a").await.expect_status(204);
    let back = system.put("Patient/a").json(&male).await.expect_status(201);
    assert_eq!(back.header("etag"), Some("W/\"4\""));
}

async fn re_15_if_match(server: TestServer) {
    let system = server.system();
    let patient = |gender: &str| object! { "resourceType": "Patient", "id": "a", "gender": gender };
    system.put("Patient/a").header("If-Match", "W/\"1\"").json(&patient("male")).await.expect_status(412);
    system.store(&patient("male")).await;
    system.put("Patient/a").header("If-Match", "W/\"1\"").json(&patient("female")).await.expect_status(200);
    system.put("Patient/a").header("If-Match", "W/\"1\"").json(&patient("other")).await.expect_status(412);
    system.put("Patient/a").header("If-None-Match", "*").json(&patient("other")).await.expect_status(412);
    assert_eq!(system.get("Patient/a").await.json().str("gender"), Some("female"));
}

async fn ids_must_agree(server: TestServer) {
    let system = server.system();
    for body in [object! { "resourceType": "Patient", "id": "b" }, object! { "resourceType": "Patient" }] {
        system.put("Patient/a").json(&body).await.expect_status(400);
    }
    system.put("Patient/a_b").json(&object! { "resourceType": "Patient", "id": "a_b" }).await.expect_status(400);
    system.put("Nothing/a").json(&object! { "resourceType": "Nothing", "id": "a" }).await.expect_status(404);
}

async fn lk_27_ids_are_not_an_oracle(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    let observation = |id: &str, patient: &str| {
        object! {
            "resourceType": "Observation",
            "id": id,
            "status": "final",
            "code": object! { "text": id },
            "subject": object! { "reference": patient },
        }
    };
    system.store(&observation("taken", "Patient/b")).await;
    let app = server.patient("a");
    for condition in ["x-none", "If-Match"] {
        let put = |id: &str| {
            let path = format!("Observation/{id}");
            app.put(&path).header(condition, "W/\"1\"").json(&observation(id, "Patient/a"))
        };
        let (taken, free) = (put("taken").await.expect_status(403), put("free").await.expect_status(403));
        assert_eq!(taken.text(), free.text());
    }
}

async fn lk_28_nothing_moves_between_patients(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    let observation = |patient: &str| {
        object! {
            "resourceType": "Observation",
            "id": "o",
            "status": "final",
            "code": object! { "text": "x" },
            "subject": object! { "reference": patient },
        }
    };
    system.store(&observation("Patient/a")).await;
    let app = server.patient("a");
    app.put("Observation/o").json(&observation("Patient/b")).await.expect_status(403);
    let mut changed = observation("Patient/a");
    changed.as_object_mut().unwrap().insert("status", "amended");
    app.put("Observation/o").json(&changed).await.expect_status(200);
}

async fn by_criteria(server: TestServer) {
    let system = server.system();
    let device = |status: &str| {
        object! {
            "resourceType": "Device",
            "identifier": array![object! { "system": "http://s", "value": "7" }],
            "status": status,
        }
    };
    let path = "Device?identifier=http://s|7";
    let created = system.put(path).json(&device("active")).await.expect_status(201);
    let updated = system.put(path).json(&device("inactive")).await.expect_status(200);
    assert_eq!(created.location(), updated.location());
    assert_eq!(updated.header("etag"), Some("W/\"2\""));
    let mut other = device("active");
    other.as_object_mut().unwrap().insert("id", "other");
    system.put(path).json(&other).await.expect_status(400);
    system.put("Device?typo=x").json(&device("active")).await.expect_status(400);
    system.put("Device").json(&device("active")).await.expect_status(400);
    system.create(&device("active")).await;
    system.put(path).json(&device("active")).await.expect_status(412);
}

async fn lk_28_a_deletion_is_no_way_round(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    let observation = |id: &str, code: &str| {
        object! {
            "resourceType": "Observation",
            "id": id,
            "status": "final",
            "code": object! { "coding": array![object! { "code": code }] },
            "subject": object! { "reference": "Patient/a" },
        }
    };
    let mut of_two = observation("two", "x");
    of_two.as_object_mut().expect("an object").insert("performer", array![object! { "reference": "Patient/b" }]);
    let ours = object! { "resourceType": "Device", "id": "ours" };
    for resource in [ours, of_two, observation("own", "x")] {
        let path =
            format!("{}/{}", resource.str("resourceType").unwrap_or_default(), resource.str("id").unwrap_or_default());
        system.store(&resource).await;
        system.delete(&path).await.expect_status(204);
    }
    let granular = server.with_scope("patient/Observation.cruds?code=y", Some("a"));
    granular.put("Observation/own").json(&observation("own", "y")).await.expect_status(403);
    assert!(granular.delete("Observation/own").await.expect_status(204).header("etag").is_none());
    let app = server.patient("a");
    let taken = object! { "resourceType": "Device", "id": "ours", "patient": object! { "reference": "Patient/a" } };
    app.put("Device/ours").json(&taken).await.expect_status(403);
    app.put("Observation/two").json(&observation("two", "x")).await.expect_status(403);
    app.put("Observation/own").json(&observation("own", "x")).await.expect_status(201);
}
