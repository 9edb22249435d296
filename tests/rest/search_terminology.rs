//! Tests of `server/src/rest/search/terminology.rs`: `:in`, `:not-in`, `:above`, `:below` of tokens.

use fhir::json::Json;
use fhir::{array, object};
use tests::{Client, TestServer};

use crate::bundle::{bundle, entry, requested, statuses, with};

tests::on_both_engines!(
    value_sets_and_hierarchies,
    lk_01_a_hidden_value_set_is_none,
    a_regex_of_what_is_known_as_a_whole,
    criteria_ask_as_a_search_does,
    entries_of_bundles_ask_as_a_search_does,
    what_is_asked_by_is_not_written_beside,
);

async fn store(client: &Client, text: &str) {
    client.store(&Json::parse(text.as_bytes()).unwrap()).await;
}

async fn animals(server: &TestServer) {
    let system = server.system();
    store(
        &system,
        r#"{"resourceType":"CodeSystem","id":"a","url":"http://a","status":"active","content":"complete","concept":[
           {"code":"animal","concept":[{"code":"dog","concept":[{"code":"poodle"}]},{"code":"cat"}]}]}"#,
    )
    .await;
    store(
        &system,
        r#"{"resourceType":"ValueSet","id":"dogs","url":"http://dogs","status":"active","compose":{"include":[
           {"system":"http://a","filter":[{"property":"concept","op":"is-a","value":"dog"}]}]}}"#,
    )
    .await;
    for (id, code) in [("d", "dog"), ("p", "poodle"), ("c", "cat")] {
        let coding = format!(r#"{{"coding":[{{"system":"http://a","code":"{code}"}}]}}"#);
        let text = format!(r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{coding}}}"#);
        store(&system, &text).await;
    }
    let text = r#"{"resourceType":"Observation","id":"x","status":"final","code":{"text":"no code"}}"#;
    store(&system, text).await;
}

async fn value_sets_and_hierarchies(server: TestServer) {
    animals(&server).await;
    let system = server.system();
    for (query, expected) in [
        ("code:in=http://dogs", vec!["d", "p"]),
        ("code:in=ValueSet/dogs", vec!["d", "p"]),
        ("code:not-in=http://dogs", vec!["c", "x"]),
        ("code:below=http://a%7Cdog", vec!["d", "p"]),
        ("code:above=http://a%7Cdog", vec!["d"]),
        ("code:above=http://a%7Cpoodle", vec!["d", "p"]),
        ("_filter=code%20in%20http://dogs%20and%20not%20(code%20eq%20poodle)", vec!["d"]),
        ("_filter=code%20ss%20http://a%7Cdog", vec!["d", "p"]),
        // HL7's own, of an element without a system.
        ("status:in=http://hl7.org/fhir/ValueSet/observation-status", vec!["c", "d", "p", "x"]),
        ("status:not-in=http://hl7.org/fhir/ValueSet/observation-status", vec![]),
    ] {
        let mut found = system.get(&format!("Observation?{query}")).await.expect_status(200).matches();
        found.sort();
        assert_eq!(found, expected, "{query}");
    }
    for (query, word) in [
        ("code:in=http://nowhere", "http://nowhere"),
        ("code:below=http://b%7Cx", "http://b"),
        ("code:below=http://a%7Cunicorn", "unicorn"),
        ("code:in=x", "x"),
    ] {
        let answer = system.get(&format!("Observation?{query}")).await.expect_status(400);
        assert!(answer.issues().join(" ").contains(word), "{query}: {:?}", answer.issues());
    }
}

async fn lk_01_a_hidden_value_set_is_none(server: TestServer) {
    animals(&server).await;
    let sees = server.with_scope("system/Observation.rs system/ValueSet.rs system/CodeSystem.rs", None);
    sees.get("Observation?code:in=http://dogs").await.expect_status(200);
    let blind = server.with_scope("system/Observation.rs", None);
    blind.get("Observation?code:in=http://dogs").await.expect_status(400);
}

fn observation(code: &str) -> Json {
    let coding = object! { "system": "http://a", "code": code };
    object! { "resourceType": "Observation", "status": "final", "code": object! { "coding": array![coding] } }
}

async fn criteria_ask_as_a_search_does(server: TestServer) {
    animals(&server).await;
    let system = server.system();
    for (criteria, status) in [
        ("code:in=http://dogs", 412),
        ("code:in=ValueSet/dogs&_id=d", 200),
        ("code:not-in=http://dogs&_id=c,d", 200),
        ("code:below=http://a|poodle", 200),
        ("code:above=http://a|dog", 200),
        ("code:below=http://a|cat&_id=d", 201),
        ("_filter=code in http://dogs and not (code eq dog)", 200),
        ("_filter=code ni http://dogs and code eq cat", 200),
        ("_filter=code ss http://a|poodle", 200),
        ("_filter=code sb http://a|dog", 200),
        ("_has:DiagnosticReport:result:code:in=http://dogs", 201),
        ("code:in=http://nowhere", 400),
        ("code:in=x", 400),
        ("code:below=http://a|unicorn", 400),
    ] {
        let create = system.post("Observation").header("If-None-Exist", criteria).json(&observation("bird"));
        let answer = create.await;
        assert_eq!(answer.status, status, "{criteria}: {}", answer.text());
    }
    let updated = observation("poodle");
    system.put("Observation?code:below=http://a%7Cpoodle").json(&updated).await.expect_status(200);
    system.put("Observation?code:in=http://dogs").json(&updated).await.expect_status(412);
    let operations = r#"[{"op":"replace","path":"/status","value":"amended"}]"#;
    let patched =
        system.patch("Observation?code:below=http://a%7Cpoodle").body("application/json-patch+json", operations);
    let patched = patched.await.expect_status(200);
    assert_eq!(patched.json().str("status"), Some("amended"));
    system.delete("Observation?code:in=http://dogs").await.expect_status(412);
    system.delete("Observation?code:in=http://nowhere").await.expect_status(400);
    system.delete("Observation?code:in=http://dogs&status:not-in=ValueSet/dogs&_id=p").await.expect_status(204);
    assert_eq!(system.matches("Observation?code:in=http://dogs").await, ["d"]);
    // What cannot be seen is no value set here, either.
    let blind = server.with_scope("system/Observation.crus", None);
    blind.post("Observation").header("If-None-Exist", "code:in=http://dogs").json(&updated).await.expect_status(400);
    blind.put("Observation?code:in=http://dogs").json(&updated).await.expect_status(400);
}

async fn entries_of_bundles_ask_as_a_search_does(server: TestServer) {
    animals(&server).await;
    let system = server.system();
    let create = |code: &str, criteria: &str| {
        let post = with(entry("POST", "Observation"), "resource", observation(code));
        requested(post, "ifNoneExist", criteria)
    };
    let put = |url: &str| with(entry("PUT", url), "resource", observation("cat"));
    let of = |reference: &str| {
        let derived = array![object! { "reference": reference }];
        with(entry("POST", "Observation"), "resource", with(observation("bird"), "derivedFrom", derived))
    };
    for (one, status) in [
        (create("bird", "code:below=http://a|poodle"), 200),
        (create("bird", "code:below=http://a|cat&_id=d"), 201),
        (create("bird", "code:in=http://dogs"), 412),
        (create("bird", "code:in=http://nowhere"), 400),
        (put("Observation?code:not-in=http://dogs&_id=c,d"), 200),
        (put("Observation?_filter=code%20ss%20http://a%7Ccat"), 200),
        (entry("DELETE", "Observation?code:below=http://a|poodle&_id=d"), 204),
        (entry("DELETE", "Observation?code:in=http://dogs"), 412),
        (entry("GET", "Observation?code:in=http://dogs"), 200),
    ] {
        let batch = system.post("").json(&bundle("batch", vec![one.clone()])).await.expect_status(200).json();
        assert_eq!(statuses(&batch), [status.to_string()], "{one}");
        let answer = system.post("").json(&bundle("transaction", vec![one.clone()])).await;
        if status < 300 {
            assert_eq!(statuses(&answer.expect_status(200).json()).len(), 1);
        } else {
            assert_eq!(answer.status, status, "{one}");
        }
    }
    // What stands, and what the transaction itself writes.
    system
        .post("")
        .json(&bundle("transaction", vec![of("Observation?code:below=http://a|poodle")]))
        .await
        .expect_status(200);
    let writes = |code: &str| with(entry("POST", "Observation"), "resource", observation(code));
    system.delete("Observation/p").await.expect_status(204);
    for (code, status) in [("poodle", 200), ("poodle", 412)] {
        let all = vec![of("Observation?code:below=http://a|poodle"), writes(code)];
        system.post("").json(&bundle("transaction", all)).await.expect_status(status);
    }
}

/// What a value set lists is looked up before the transaction.
async fn what_is_asked_by_is_not_written_beside(server: TestServer) {
    animals(&server).await;
    let system = server.system();
    let set = |id: &str| {
        let include = object! { "system": "http://a", "concept": array![object! { "code": "cat" }] };
        let compose = object! { "include": array![include] };
        let set = object! { "resourceType": "ValueSet", "id": id, "url": "http://cats", "status": "active", "compose": compose };
        with(entry("PUT", &format!("ValueSet/{id}")), "resource", set)
    };
    let asking = || entry("GET", "Observation?code:in=http://dogs");
    for writing in [set("cats"), set("dogs"), entry("DELETE", "ValueSet/dogs"), entry("DELETE", "CodeSystem/a")] {
        let answer = system.post("").json(&bundle("transaction", vec![asking(), writing])).await.expect_status(400);
        assert!(answer.issues().join(" ").contains("send"), "{:?}", answer.issues());
    }
    let both = bundle("transaction", vec![set("cats"), entry("GET", "Observation?code=cat")]);
    system.post("").json(&both).await.expect_status(200);
    let batch = system.post("").json(&bundle("batch", vec![set("cats"), asking()])).await.expect_status(200).json();
    assert_eq!(statuses(&batch), ["200", "200"]);
}

async fn a_regex_of_what_is_known_as_a_whole(server: TestServer) {
    animals(&server).await;
    let system = server.system();
    let part = r#"{"resourceType":"CodeSystem","id":"b","url":"http://b","status":"active","content":"fragment","concept":[{"code":"x"}]}"#;
    store(&system, part).await;
    for (id, of, property, value) in [
        ("three", "http://a", "code", "[a-z]{3}"),
        ("parents", "http://a", "parent", "d.*"),
        ("part", "http://b", "code", ".*"),
        ("unknown", "http://c", "code", ".*"),
        ("unread", "http://a", "code", "("),
        ("behind", "http://a", "code", "(?=d).*"),
    ] {
        let filter = object! { "property": property, "op": "regex", "value": value };
        let include = object! { "system": of, "filter": array![filter] };
        let compose = object! { "include": array![include] };
        let set = object! { "resourceType": "ValueSet", "id": id, "status": "active", "compose": compose };
        system.store(&set).await;
    }
    for (query, expected) in [
        ("code:in=ValueSet/three", vec!["c", "d"]),
        ("code:not-in=ValueSet/three", vec!["p", "x"]),
        ("code:in=ValueSet/parents", vec!["p"]),
    ] {
        let mut found = system.matches(&format!("Observation?{query}")).await;
        found.sort();
        assert_eq!(found, expected, "{query}");
    }
    for (id, word) in [("part", "fragment"), ("unknown", "http://c"), ("unread", "regex"), ("behind", "regex")] {
        let answer = system.get(&format!("Observation?code:in=ValueSet/{id}")).await.expect_status(400);
        assert!(answer.issues().join(" ").contains(word), "{id}: {:?}", answer.issues());
    }
}
