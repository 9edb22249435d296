//! Tests of `server/src/rest/vread.rs`.

use fhir::object;
use tests::TestServer;

tests::on_both_engines!(versions_stay, lk_11_each_version_is_judged_by_itself);

async fn versions_stay(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a", "gender": "male" }).await;
    system.store(&object! { "resourceType": "Patient", "id": "a", "gender": "female" }).await;
    system.delete("Patient/a").await.expect_status(204);
    let first = system.get("Patient/a/_history/1").await.expect_status(200);
    assert_eq!(first.json().str("gender"), Some("male"));
    assert_eq!(first.header("etag"), Some("W/\"1\""));
    system.get("Patient/a/_history/1").header("If-None-Match", "W/\"1\"").await.expect_status(304);
    assert_eq!(system.get("Patient/a/_history/2").await.expect_status(200).json().str("gender"), Some("female"));
    system.get("Patient/a/_history/3").await.expect_status(410);
    for unknown in ["0", "4", "01", "x", "-1"] {
        system.get(&format!("Patient/a/_history/{unknown}")).await.expect_status(404);
    }
}

async fn lk_11_each_version_is_judged_by_itself(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    for patient in ["Patient/a", "Patient/b"] {
        system
            .store(&object! {
                "resourceType": "Observation",
                "id": "moved",
                "status": "final",
                "code": object! { "text": "x" },
                "subject": object! { "reference": patient },
            })
            .await;
    }
    let (a, b) = (server.patient("a"), server.patient("b"));
    a.get("Observation/moved/_history/1").await.expect_status(200);
    a.get("Observation/moved/_history/2").await.expect_status(404);
    a.get("Observation/moved").await.expect_status(404);
    b.get("Observation/moved/_history/1").await.expect_status(404);
    b.get("Observation/moved").await.expect_status(200);
    assert_eq!(b.get("Observation/moved/_history").await.expect_status(200).json().list("entry").len(), 1);
}
