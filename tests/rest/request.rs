//! Tests of `server/src/rest/request.rs`.

use reqwest::Method;
use tests::TestServer;

tests::on_both_engines!(in_30_unknown_paths_methods_and_parameters, xml_goes_in_and_out);

async fn in_30_unknown_paths_methods_and_parameters(server: TestServer) {
    let system = server.system();
    for (method, path, status) in [
        (Method::GET, "Nothing/1", 404),
        (Method::GET, "patient/1", 404),
        (Method::GET, "Patient/1/2/3/4", 404),
        (Method::GET, "Patient/$everything", 404),
        (Method::GET, "Patient/a_b", 400),
        (Method::GET, "Patient/a?_summary=true", 400),
        (Method::GET, "metadata?mode=terminology", 400),
        (Method::PATCH, "Patient/1", 405),
        (Method::DELETE, "Patient", 405),
        (Method::POST, "Patient/1", 405),
        (Method::GET, "", 405),
    ] {
        let answer = system.call(method.clone(), path).await.expect_status(status);
        assert_eq!(answer.json().str("resourceType"), Some("OperationOutcome"), "{method} {path}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{method} {path}");
    }
}

async fn xml_goes_in_and_out(server: TestServer) {
    let system = server.system();
    let xml = "<Patient xmlns=\"http://hl7.org/fhir\"><id value=\"a\"/><active value=\"true\"/></Patient>";
    let created = system.put("Patient/a").header("Accept", "application/fhir+xml").xml(xml).await.expect_status(201);
    assert_eq!(created.header("content-type"), Some("application/fhir+xml; charset=utf-8"));
    assert!(created.text().contains("<active value=\"true\"/>"), "{}", created.text());
    let json = system.get("Patient/a").await.expect_status(200).json();
    assert_eq!(json.get("active"), Some(&true.into()));
    let back = system.get("Patient/a?_format=xml").await.expect_status(200);
    assert_eq!(back.text(), created.text());
    system.put("Patient/a").xml(back.bytes()).await.expect_status(200);
    assert_eq!(system.get("Patient/a").await.header("etag"), Some("W/\"1\""), "the round trip changes nothing");
}
