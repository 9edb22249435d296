//! Tests of `server/src/rest/response.rs`.

use fhir::object;
use tests::TestServer;

tests::on_both_engines!(formats, errors_come_in_the_format_asked_for);

async fn formats(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    for (accept, status) in [
        ("*/*", 200),
        ("application/json", 200),
        ("application/fhir+json; fhirVersion=4.0", 200),
        ("text/html, */*;q=0.1", 200),
        ("text/turtle", 406),
        ("application/fhir+json; fhirVersion=3.0", 406),
    ] {
        system.get("Patient/a").header("Accept", accept).await.expect_status(status);
    }
    system.get("Patient/a?_format=ttl").await.expect_status(406);
    let pretty = system.get("Patient/a?_pretty=true").await.expect_status(200);
    assert!(pretty.text().starts_with("{\n  \"resourceType\": \"Patient\""));
}

async fn errors_come_in_the_format_asked_for(server: TestServer) {
    let system = server.system();
    let xml = system.get("Patient/never").header("Accept", "application/fhir+xml").await.expect_status(404);
    assert!(xml.text().contains("<OperationOutcome xmlns=\"http://hl7.org/fhir\">"), "{}", xml.text());
    let anonymous = server.anonymous().get("Patient/never?_format=xml").await.expect_status(401);
    assert!(anonymous.text().contains("<OperationOutcome"));
    assert!(anonymous.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
}
