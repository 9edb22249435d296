//! Tests of `server/src/rest/delete.rs`.

use fhir::object;
use tests::TestServer;

tests::on_both_engines!(deleted_is_gone_and_again_is_fine, lk_31_hidden_is_unknown);

async fn deleted_is_gone_and_again_is_fine(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.delete("Patient/a").header("If-Match", "W/\"7\"").await.expect_status(412);
    let deleted = system.delete("Patient/a").await.expect_status(204);
    assert_eq!(deleted.header("etag"), Some("W/\"2\""));
    assert_eq!(system.delete("Patient/a").await.expect_status(204).header("etag"), Some("W/\"2\""));
    let gone = system.get("Patient/a").await.expect_status(410);
    insta::assert_snapshot!("gone", tests::redact::answer(&gone));
    assert_eq!(system.matches("Patient").await, Vec::<String>::new());
    system.delete("Patient/never").await.expect_status(404);
    system.delete("Patient?name=x").await.expect_status(405);
}

async fn lk_31_hidden_is_unknown(server: TestServer) {
    let system = server.system();
    for id in ["a", "b", "gone"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    system.delete("Patient/gone").await.expect_status(204);
    let app = server.patient("a");
    for hidden in ["b", "gone", "never"] {
        let answer = app.delete(&format!("Patient/{hidden}")).header("If-Match", "W/\"1\"").await.expect_status(404);
        assert!(answer.header("etag").is_none());
    }
    system.get("Patient/b").await.expect_status(200);
}
