//! Tests of `server/src/rest/binary.rs`. <https://hl7.org/fhir/R4/binary.html#rest>

use fhir::json::Json;
use fhir::object;
use tests::TestServer;

tests::on_both_engines!(
    content_is_read_as_what_it_is,
    content_is_written_as_what_it_is,
    fhir_in_a_binary_is_content_too,
    what_browsers_would_run_is_a_file,
    lk_10_content_has_the_rights_of_its_binary,
    content_has_a_bound,
);

const TEXT: &str = "text/plain; charset=utf-8";

fn stored(id: &str, content_type: &str, data: &str) -> Json {
    object! { "resourceType": "Binary", "id": id, "contentType": content_type, "data": data }
}

async fn content_is_read_as_what_it_is(server: TestServer) {
    let system = server.system();
    system.store(&stored("b", TEXT, "aGVsbG8=")).await;
    for path in ["Binary/b", "Binary/b/_history/1"] {
        for accept in ["*/*", "text/plain", "text/*", "image/png", "application/fhir+json;q=0.5, text/plain"] {
            let native = system.get(path).header("Accept", accept).await.expect_status(200);
            assert_eq!((native.text().as_str(), native.header("content-type")), ("hello", Some(TEXT)), "{accept}");
            assert_eq!(native.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(native.header("etag"), Some("W/\"1\""));
            assert!(native.header("last-modified").is_some() && native.header("x-security-context").is_none());
        }
        for accept in ["application/fhir+json", "application/json", "application/fhir+json, text/plain"] {
            let fhir = system.get(path).header("Accept", accept).await.expect_status(200);
            assert_eq!(fhir.json().str("data"), Some("aGVsbG8="), "{accept}");
        }
        let xml = system.get(path).header("Accept", "application/fhir+xml").await.expect_status(200);
        assert!(xml.text().contains("<Binary xmlns"));
        for asked in ["_format=json", "_elements=contentType", "_summary=true"] {
            let fhir = system.get(&format!("{path}?{asked}")).await.expect_status(200);
            assert_eq!(fhir.json().str("contentType"), Some(TEXT), "{asked}");
        }
        let old = system.get(path).header("Accept", "application/fhir+json; fhirVersion=3.0").await;
        old.expect_status(406);
        system.get(path).header("If-None-Match", "W/\"1\"").await.expect_status(304);
        let head = system.head(path).await.expect_status(200);
        assert_eq!((head.bytes().len(), head.header("content-type")), (0, Some(TEXT)));
    }
    let missing = system.get("Binary/none").header("Accept", "text/plain").await.expect_status(404);
    assert_eq!(missing.json().str("resourceType"), Some("OperationOutcome"));
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.get("Patient/a").header("Accept", "text/plain").await.expect_status(406);
}

async fn content_is_written_as_what_it_is(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let bytes = [0_u8, 255, 13, 10];
    let call = system.post("Binary").header("X-Security-Context", "Patient/a").body("application/dicom", bytes);
    let created = call.await.expect_status(201);
    let binary = created.json();
    assert_eq!((binary.str("contentType"), binary.str("data")), (Some("application/dicom"), Some("AP8NCg==")));
    assert_eq!(binary.at(&["securityContext", "reference"]).and_then(Json::as_str), Some("Patient/a"));
    let path = format!("Binary/{}", binary.str("id").unwrap());
    let back = system.get(&path).await.expect_status(200);
    assert_eq!((back.bytes(), back.header("x-security-context")), (&bytes[..], Some("Patient/a")));
    system.put(&path).body(TEXT, "two").header("If-Match", "W/\"1\"").await.expect_status(200);
    let back = system.get(&path).await.expect_status(200);
    assert_eq!((back.text().as_str(), back.header("etag")), ("two", Some("W/\"2\"")));
    assert!(back.header("x-security-context").is_none(), "the context is that of the version");
    system.put("Binary/named").body(TEXT, "").await.expect_status(201);
    assert_eq!(system.get("Binary/named").await.expect_status(200).text(), "");
    let whole = stored("b", TEXT, "aGVsbG8=");
    system.put("Binary/b").json(&whole).await.expect_status(201);
    assert_eq!(system.get("Binary/b").await.text(), "hello");
    let twice = system.put("Binary/b").header("X-Security-Context", "Patient/a").json(&whole).await;
    twice.expect_status(400);
    system.post("Binary").await.expect_status(415);
    system.post("Patient").body(TEXT, "x").await.expect_status(415);
}

async fn fhir_in_a_binary_is_content_too(server: TestServer) {
    let system = server.system();
    let patient = object! { "resourceType": "Patient" };
    let created = system.post("Binary").json(&patient).await.expect_status(201).json();
    assert_eq!(created.str("contentType"), Some("application/fhir+json"));
    let path = format!("Binary/{}", created.str("id").unwrap());
    let content = system.get(&path).await.expect_status(200);
    assert_eq!((content.json(), content.header("content-type")), (patient, Some("application/fhir+json")));
    let document = "<ClinicalDocument xmlns=\"urn:hl7-org:v3\"/>";
    let created = system.post("Binary").body("text/xml", document).await.expect_status(201).json();
    assert_eq!(created.str("contentType"), Some("text/xml"));
    let broken = "{\"resourceType\":\"Binary\",\"contentType\":\"text/plain\",}";
    system.post("Binary").body("application/fhir+json", broken).await.expect_status(400);
    let misspelt = object! { "resourceType": "Binary", "contenttype": "text/plain" };
    system.post("Binary").json(&misspelt).await.expect_status(400);
}

async fn what_browsers_would_run_is_a_file(server: TestServer) {
    let system = server.system();
    for (content_type, is_shown) in [
        ("text/html", false),
        ("image/svg+xml", false),
        ("application/xhtml+xml", false),
        ("text/javascript", false),
        ("text/plain", true),
        ("image/png", true),
        ("application/pdf", true),
    ] {
        let created = system.post("Binary").body(content_type, "<script>1</script>").await.expect_status(201).json();
        let path = format!("Binary/{}", created.str("id").unwrap());
        let native = system.get(&path).header("Accept", "*/*").await.expect_status(200);
        assert_eq!(native.header("content-type"), Some(content_type));
        assert_eq!(native.header("content-disposition"), (!is_shown).then_some("attachment"), "{content_type}");
        let policy = native.header("content-security-policy");
        assert_eq!(policy, (!is_shown).then_some("default-src 'none'; sandbox"), "{content_type}");
    }
    system.store(&stored("odd", "text/plain, text/html", "PHA+")).await;
    let odd = system.get("Binary/odd").await.expect_status(200);
    assert_eq!(odd.header("content-type"), Some("application/octet-stream"), "what is no media type is not passed on");
    assert_eq!(odd.header("content-disposition"), Some("attachment"));
}

async fn lk_10_content_has_the_rights_of_its_binary(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
        let call = system.put(&format!("Binary/of-{id}")).header("X-Security-Context", &format!("Patient/{id}"));
        call.body(TEXT, id).await.expect_status(201);
    }
    let app = server.with_scope("patient/Binary.cruds", Some("a"));
    assert_eq!(app.get("Binary/of-a").header("Accept", "text/plain").await.expect_status(200).text(), "a");
    let hidden = app.get("Binary/of-b").header("Accept", "text/plain").await.expect_status(404);
    assert_eq!(hidden.json().str("resourceType"), Some("OperationOutcome"));
    server.with_scope("patient/Patient.rs", Some("a")).get("Binary/of-a").await.expect_status(403);
    server.anonymous().get("Binary/of-a").await.expect_status(401);
    app.post("Binary").header("X-Security-Context", "Patient/a").body(TEXT, "x").await.expect_status(201);
    app.post("Binary").header("X-Security-Context", "Patient/b").body(TEXT, "x").await.expect_status(403);
    app.post("Binary").body(TEXT, "x").await.expect_status(403);
}

async fn content_has_a_bound(server: TestServer) {
    let system = server.system();
    let most = 5 * 1024 * 1024 / 4 * 3 - 4096;
    let largest =
        system.post("Binary?_format=json").header("Prefer", "return=minimal").body(TEXT, vec![b'x'; most]).await;
    largest.expect_status(201);
    system.post("Binary").body(TEXT, vec![b'x'; most + 1]).await.expect_status(413);
}
