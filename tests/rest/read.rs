//! Tests of `server/src/rest/read.rs`.

use fhir::object;
use tests::TestServer;

tests::on_both_engines!(
    read_is_byte_for_byte_what_was_answered,
    validators,
    lk_10_hidden_is_unknown,
    lk_47_what_one_has_read_is_shown_to_nobody_else,
    what_another_process_commits_is_read_at_once,
    head_has_no_body,
    some_elements_only,
    what_is_gone_says_when
);

async fn read_is_byte_for_byte_what_was_answered(server: TestServer) {
    let system = server.system();
    let sent = r#"{"gender":"male","resourceType":"Patient","extension":[{"url":"http://e","valueDecimal":1.00}]}"#;
    let created = system.post("Patient").body("application/fhir+json", sent).await.expect_status(201);
    let read = system.get(&created.location()).await.expect_status(200);
    assert_eq!(read.bytes(), created.bytes());
    assert!(read.text().contains("1.00"), "decimals keep their precision: {}", read.text());
    assert!(read.text().starts_with("{\"resourceType\":\"Patient\",\"id\":\""));
    assert_eq!(read.header("etag"), Some("W/\"1\""));
    assert!(read.header("cache-control").is_some_and(|value| value.contains("private")), "LK-47");
    assert_eq!(read.header("content-type"), Some("application/fhir+json; charset=utf-8"));
}

async fn validators(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let read = system.get("Patient/a").await.expect_status(200);
    let modified = read.header("last-modified").expect("a read says when").to_owned();
    let has = system.get("Patient/a").header("If-None-Match", "W/\"1\"").await.expect_status(304);
    assert!(has.bytes().is_empty());
    assert_eq!(has.header("etag"), Some("W/\"1\""));
    system.get("Patient/a").header("If-None-Match", "W/\"2\"").await.expect_status(200);
    system.get("Patient/a").header("If-Modified-Since", &modified).await.expect_status(304);
    system.get("Patient/a").header("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT").await.expect_status(200);
}

async fn lk_10_hidden_is_unknown(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.store(&object! { "resourceType": "Patient", "id": "b" }).await;
    system.store(&object! { "resourceType": "Patient", "id": "gone" }).await;
    system.delete("Patient/gone").await.expect_status(204);
    let app = server.patient("a");
    app.get("Patient/a").await.expect_status(200);
    let unknown = app.get("Patient/c").await.expect_status(404);
    for hidden in ["b", "gone"] {
        for condition in [("x-none", ""), ("If-None-Match", "W/\"1\""), ("If-None-Match", "*")] {
            let answer =
                app.get(&format!("Patient/{hidden}")).header(condition.0, condition.1).await.expect_status(404);
            assert_eq!(
                answer.text(),
                unknown.text().replace("Patient/c", &format!("Patient/{hidden}")),
                "LK-30, LK-31"
            );
            assert_eq!(answer.header_names(), unknown.header_names());
        }
    }
}

async fn lk_47_what_one_has_read_is_shown_to_nobody_else(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    let (of_a, of_b) = (server.patient("a"), server.patient("b"));
    // Nothing is committed from here on, so whatever was looked up may be remembered.
    for turn in 0..3 {
        for (path, to_a, to_b) in [("Patient/a", 200, 404), ("Patient/b", 404, 200)] {
            assert_eq!(system.get(path).await.status, 200, "{path} {turn}");
            assert_eq!(of_a.get(path).await.status, to_a, "{path} {turn}");
            assert_eq!(of_b.get(path).await.status, to_b, "{path} {turn}");
        }
    }
}

async fn what_another_process_commits_is_read_at_once(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let file = server.folder().join("a.ndjson");
    for (version, gender) in [(2, "other"), (3, "male")] {
        for _ in 0..2 {
            system.get("Patient/a").await.expect_status(200);
        }
        std::fs::write(&file, object! { "resourceType": "Patient", "id": "a", "gender": gender }.to_string()).unwrap();
        server.command(&["import", file.to_str().unwrap()]);
        let read = system.get("Patient/a").await.expect_status(200);
        assert_eq!(read.header("etag"), Some(format!("W/\"{version}\"").as_str()));
        assert_eq!(read.json().str("gender"), Some(gender));
    }
}

async fn head_has_no_body(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let head = system.head("Patient/a").await.expect_status(200);
    assert!(head.bytes().is_empty());
    assert_eq!(head.header("etag"), Some("W/\"1\""));
    system.head("Patient/unknown").await.expect_status(404);
    for path in ["Patient/a", "Patient", "Patient/a/_history", "Patient/a/_history/1", "metadata", "Patient/none"] {
        let (get, head) = (system.get(path).await, system.head(path).await);
        assert_eq!((head.status, head.header_names()), (get.status, get.header_names()), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert!(head.bytes().is_empty(), "{path}");
    }
}

async fn some_elements_only(server: TestServer) {
    let system = server.system();
    let whole = object! {
        "resourceType": "Observation",
        "id": "o",
        "text": object! { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>" },
        "status": "final",
        "code": object! { "text": "c" },
        "valueString": "v",
        "note": vec![object! { "text": "n" }],
    };
    system.store(&whole).await;
    for (query, kept) in [
        ("_summary=true", vec!["status", "code", "valueString"]),
        ("_summary=text", vec!["text", "status", "code"]),
        ("_summary=data", vec!["status", "code", "valueString", "note"]),
        ("_elements=note", vec!["status", "code", "note"]),
        ("_elements=Observation.value", vec!["status", "code", "valueString"]),
    ] {
        for path in ["Observation/o", "Observation/o/_history/1"] {
            let read = system.get(&format!("{path}?{query}")).await.expect_status(200);
            let cut = read.json();
            let names = cut.as_object().expect("an object").iter().map(|(name, _)| name.to_owned());
            let names: Vec<_> = names.filter(|name| !["resourceType", "id", "meta"].contains(&&**name)).collect();
            assert_eq!(names, kept, "{path}?{query}");
            assert!(read.text().contains("SUBSETTED"), "{path}?{query}");
            assert_eq!(read.header("etag"), Some("W/\"1\""));
            system.put("Observation/o").json(&cut).await.expect_status(422);
        }
        for path in ["Observation?_id=o", "Observation/o/_history?"] {
            let bundle = system.get(&format!("{path}&{query}")).await.expect_status(200);
            assert_eq!(bundle.text().matches("SUBSETTED").count(), 1, "{path}&{query}: {}", bundle.text());
            assert!(bundle.link("self").expect("a self link").contains(query), "{path}&{query}");
        }
    }
    let plain = system.get("Observation/o?_summary=false").await.expect_status(200);
    assert_eq!(plain.bytes(), system.get("Observation/o").await.bytes());
    let xml = system.get("Observation/o?_elements=note&_format=xml").await.expect_status(200);
    assert!(xml.text().contains("SUBSETTED") && !xml.text().contains("valueString"), "{}", xml.text());
    let refused = system.get("Observation/o?_elements=vlaue").await.expect_status(400);
    assert!(refused.issues()[0].contains("value"), "{:?}", refused.issues());
    assert_eq!(system.get("Observation/o").await.header("etag"), Some("W/\"1\""), "nothing was written");
}

async fn what_is_gone_says_when(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.delete("Patient/a").await.expect_status(204);
    let gone = system.get("Patient/a").await.expect_status(410);
    assert_eq!(gone.header("etag"), Some("W/\"2\""));
    assert!(gone.header("last-modified").is_some());
}
