//! Tests of `server/src/rest/request.rs`.

use fhir::object;
use reqwest::Method;
use tests::TestServer;

tests::on_both_engines!(
    in_30_unknown_paths_methods_and_parameters,
    xml_goes_in_and_out,
    bodies_may_be_compressed,
    options_name_the_methods
);

async fn in_30_unknown_paths_methods_and_parameters(server: TestServer) {
    let system = server.system();
    for (method, path, status) in [
        (Method::GET, "Nothing/1", 404),
        (Method::GET, "patient/1", 404),
        (Method::GET, "Patient/1/2/3/4", 404),
        (Method::GET, "Patient/$nothing", 404),
        (Method::GET, "Patient/a_b", 400),
        (Method::GET, "Patient/a?_summary=count", 400),
        (Method::GET, "metadata?mode=nothing", 400),
        (Method::POST, "Patient/1", 405),
        (Method::PUT, "", 405),
        (Method::POST, "metadata", 405),
        (Method::PUT, "metadata", 405),
        (Method::PATCH, "metadata", 405),
        (Method::DELETE, "metadata", 405),
        (Method::PUT, ".well-known/smart-configuration", 405),
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

async fn bodies_may_be_compressed(server: TestServer) {
    let system = server.system();
    let notes: Vec<_> = (0..500).map(|number| object! { "text": format!("note {number}") }).collect();
    let text = object! {
        "resourceType": "Observation", "status": "final", "code": object! { "text": "x" }, "note": notes,
    }
    .to_string();
    let mut br = Vec::new();
    brotli::BrotliCompress(&mut text.as_bytes(), &mut br, &brotli::enc::BrotliEncoderParams::default()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (coding, body) in
        [("gzip", gzip.finish().unwrap()), ("br", br), ("zstd", zstd), ("identity", text.into_bytes())]
    {
        let call = system.post("Observation").header("Content-Encoding", coding).body("application/fhir+json", body);
        assert_eq!(call.await.expect_status(201).json().list("note").len(), 500, "{coding}");
    }
    let refused = system.post("Patient").header("Content-Encoding", "deflate").body("application/fhir+json", "x").await;
    assert_eq!(refused.expect_status(415).header("accept-encoding"), Some("zstd, br, gzip"));
}

async fn options_name_the_methods(server: TestServer) {
    let anonymous = server.anonymous();
    for (path, methods) in [
        ("metadata", vec!["GET", "HEAD", "OPTIONS"]),
        ("Patient/a", vec!["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]),
        ("Patient", vec!["GET", "HEAD", "POST", "OPTIONS"]),
        ("Patient/a/_history/1", vec!["GET", "HEAD", "OPTIONS"]),
        ("", vec!["POST", "OPTIONS"]),
        ("/oauth/token", vec!["POST", "OPTIONS"]),
    ] {
        let answer = anonymous.call(Method::OPTIONS, path).await.expect_status(204);
        let allow = answer.header("allow").expect("OPTIONS names the methods").to_owned();
        let allowed: Vec<&str> = allow.split(", ").collect();
        assert!(methods.iter().all(|method| allowed.contains(method)), "{path}: {allow}");
        assert!(answer.bytes().is_empty());
    }
    anonymous.call(Method::OPTIONS, "Nothing/1").await.expect_status(404);
    anonymous.call(Method::OPTIONS, "/nothing").await.expect_status(404);
}
