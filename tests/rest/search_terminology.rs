//! Tests of `server/src/rest/search/terminology.rs`: `:in`, `:not-in`, `:above`, `:below` of tokens.

use fhir::json::Json;
use tests::{Client, TestServer};

tests::on_both_engines!(value_sets_and_hierarchies, lk_01_a_hidden_value_set_is_none);

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
