//! Tests of `server/src/rest/response.rs`.

use std::io::Read as _;

use fhir::json::Json;
use fhir::{array, object};
use tests::TestServer;

tests::on_both_engines!(
    formats,
    generic_media_types_are_answered_as_asked,
    errors_come_in_the_format_asked_for,
    answers_may_be_compressed,
    lk_47_every_answer_says_for_whom_it_is,
    writes_return_what_is_preferred,
    in_07_what_is_accepted_is_answered_wherever_it_stands,
    in_17_addresses_are_bounded,
);

/// A Patient in which extensions stand in extensions, `levels` deep: two levels of JSON each, and one of its own.
fn nested(id: &str, levels: usize) -> Json {
    let mut inner = object! { "url": "http://e", "valueBoolean": true };
    for _ in 1..levels {
        inner = object! { "url": "http://e", "extension": array![inner] };
    }
    object! { "resourceType": "Patient", "id": id, "extension": array![inner] }
}

async fn in_07_what_is_accepted_is_answered_wherever_it_stands(server: TestServer) {
    let system = server.system();
    system.store(&nested("deep", 31)).await;
    system.put("Patient/deeper").json(&nested("deeper", 32)).await.expect_status(400);
    for path in ["Patient/deep", "Patient", "Patient?_summary=data", "Patient/_history", "Patient/deep/$everything"] {
        for asked in ["_format=json", "_pretty=true", "_format=xml"] {
            let separator = if path.contains('?') { '&' } else { '?' };
            let answer = system.get(&format!("{path}{separator}{asked}")).await.expect_status(200);
            assert_eq!(answer.text().matches("http://e").count() % 31, 0, "{path} {asked}");
        }
    }
    let get = |url: &str| object! { "request": object! { "method": "GET", "url": url } };
    for (kind, asked) in [("batch", "_format=xml"), ("transaction", "_pretty=true"), ("transaction", "_format=xml")] {
        let id = format!("{kind}-{}", &asked[1..4]);
        let put = object! {
            "request": object! { "method": "PUT", "url": format!("Patient/{id}") },
            "resource": object! { "resourceType": "Patient", "id": id.as_str() },
        };
        let bundle = object! { "resourceType": "Bundle", "type": kind, "entry": array![put, get("Patient?_id=deep")] };
        system.post(&format!("?{asked}")).json(&bundle).await.expect_status(200);
        system.get(&format!("Patient/{id}")).await.expect_status(200);
    }
    // A Bundle as deep as is accepted, done later: its answer stands in one more.
    let put =
        object! { "request": object! { "method": "PUT", "url": "Patient/later" }, "resource": nested("later", 30) };
    let bundle = object! {
        "resourceType": "Bundle", "type": "transaction", "entry": array![put, get("Patient?_id=later")],
    };
    let accepted = system.post("").header("Prefer", "respond-async").json(&bundle).await.expect_status(202);
    let place = accepted.header("content-location").expect("a place to ask").to_owned();
    crate::asynchronous::finished_at(&system, &place).await;
    for asked in ["_format=json", "_pretty=true", "_format=xml"] {
        let done = system.get(&format!("{place}?{asked}")).await.expect_status(200).text();
        assert_eq!(done.matches("http://e").count(), 30, "{asked}: {done}");
    }
}

async fn in_17_addresses_are_bounded(server: TestServer) {
    let system = server.system();
    system.get(&format!("Patient?identifier={}", "x".repeat(30_000))).await.expect_status(200);
    for path in ["Patient?identifier=", "metadata?_elements="] {
        let refused = system.get(&format!("{path}{}", "x".repeat(33_000))).await.expect_status(414);
        assert_eq!(refused.json().str("resourceType"), Some("OperationOutcome"), "{path}");
    }
    system.post("Patient/_search").form(&[("identifier", &"x".repeat(60_000))]).await.expect_status(200);
}

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

async fn generic_media_types_are_answered_as_asked(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    for (accept, content_type) in [
        ("application/json", "application/json; charset=utf-8"),
        ("text/xml", "text/xml; charset=utf-8"),
        ("application/fhir+json;q=0.2, application/xml;q=0.3", "application/xml; charset=utf-8"),
        ("application/fhir+json;q=0, */*", "application/fhir+xml; charset=utf-8"),
    ] {
        let answer = system.get("Patient/a").header("Accept", accept).await.expect_status(200);
        assert_eq!(answer.header("content-type"), Some(content_type), "{accept}");
    }
    let error = system.get("Patient/none?_format=application/json").await.expect_status(404);
    assert_eq!(error.header("content-type"), Some("application/json; charset=utf-8"));
}

async fn answers_may_be_compressed(server: TestServer) {
    let system = server.system();
    let notes: Vec<_> = (0..500).map(|number| object! { "text": format!("note {number}") }).collect();
    let long = object! {
        "resourceType": "Observation", "id": "long", "status": "final", "code": object! { "text": "x" }, "note": notes,
    };
    system.store(&long).await;
    system.store(&object! { "resourceType": "Patient", "id": "short" }).await;
    let plain = system.get("Observation/long").await.expect_status(200);
    assert_eq!(plain.header("content-encoding"), None);
    for (accept, coding) in [("gzip", "gzip"), ("br;q=0.5, gzip;q=0.1", "br"), ("gzip, deflate, br, zstd", "zstd")] {
        let answer = system.get("Observation/long").header("Accept-Encoding", accept).await.expect_status(200);
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert!(answer.bytes().len() * 3 < plain.bytes().len(), "{coding}");
        let mut text = Vec::new();
        match coding {
            "gzip" => drop(flate2::read::GzDecoder::new(answer.bytes()).read_to_end(&mut text).unwrap()),
            "br" => brotli::BrotliDecompress(&mut answer.bytes(), &mut text).unwrap(),
            _ => text = zstd::decode_all(answer.bytes()).unwrap(),
        }
        assert_eq!(text, plain.bytes(), "{coding}");
        let head = system.head("Observation/long").header("Accept-Encoding", accept).await.expect_status(200);
        assert_eq!(head.header("content-length"), answer.header("content-length"), "{coding}");
        assert_eq!(head.header_names(), answer.header_names(), "{coding}");
        let short = system.get("Patient/short").header("Accept-Encoding", accept).await.expect_status(200);
        assert_eq!(short.header("content-encoding"), None, "tiny bodies stay as they are");
    }
    system.get("Patient/short").header("Accept-Encoding", "identity;q=0").await.expect_status(406);
}

async fn lk_47_every_answer_says_for_whom_it_is(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let anonymous = server.anonymous();
    for (call, status) in [
        (system.get("Patient/a"), 200),
        (system.get("Patient"), 200),
        (system.get("Patient/a").header("If-None-Match", "W/\"1\""), 304),
        (system.get("Patient/none"), 404),
        (system.get("Nothing"), 404),
        (system.get("Patient?nothing=1"), 400),
        (system.get("Patient/a").header("Accept", "text/html"), 406),
        (system.post("Patient/a"), 405),
        (anonymous.get("Patient/a"), 401),
        (system.delete("Patient/a"), 204),
        (system.get("Patient/a"), 410),
    ] {
        let answer = call.await.expect_status(status);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{}", answer.describe());
        let vary = answer.header("vary").unwrap_or_default().to_owned();
        for name in ["Accept", "Accept-Encoding", "Authorization", "Prefer"] {
            assert!(vary.split(", ").any(|known| known == name), "{vary}");
        }
        let cache = answer.header("cache-control").unwrap_or_default().to_owned();
        assert_eq!(cache, if status < 400 { "private, no-cache" } else { "no-store" }, "{}", answer.describe());
    }
}

async fn writes_return_what_is_preferred(server: TestServer) {
    let system = server.system();
    for (number, method) in ["POST", "PUT"].into_iter().enumerate() {
        for (prefer, returned) in [
            ("return=minimal", None),
            ("return=representation", Some("Patient")),
            ("return=OperationOutcome", Some("OperationOutcome")),
            ("return=nothing, return=minimal", Some("Patient")),
            ("handling=odd; x=y, respond-never", Some("Patient")),
        ] {
            let id = format!("p{number}");
            let body = object! { "resourceType": "Patient", "id": id.as_str(), "language": prefer.len().to_string() };
            let call = if method == "POST" { system.post("Patient") } else { system.put(&format!("Patient/{id}")) };
            let answer = call.header("Prefer", prefer).json(&body).await;
            assert!(matches!(answer.status, 200 | 201), "{}", answer.describe());
            assert!(answer.header("location").is_some() && answer.header("etag").is_some(), "{}", answer.describe());
            match returned {
                None => assert!(answer.bytes().is_empty(), "{}", answer.describe()),
                Some(name) => assert_eq!(answer.json().str("resourceType"), Some(name), "{prefer}"),
            }
        }
    }
    let deleted = system.delete("Patient/p1").header("Prefer", "return=OperationOutcome").await.expect_status(200);
    assert_eq!(deleted.json().str("resourceType"), Some("OperationOutcome"));
    assert!(deleted.header("etag").is_some());
    system.delete("Patient/p1").header("Prefer", "return=minimal").await.expect_status(204);
}
