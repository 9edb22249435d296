//! Tests of `_filter`: its grammar, and each operator by R4's table. <https://hl7.org/fhir/R4/search_filter.html>

use fhir::json::Json;
use fhir::{array, object};
use tests::{Client, TestServer, url};

tests::on_both_engines!(
    and_and_or_from_left_to_right,
    values_without_case,
    more_tokens_of_a_code_than_are_listed,
    versions_of_urls,
    names_of_namespaces,
    first_letters_of_strings,
    what_includes_the_value,
    what_every_resource_has,
    resources_that_point_at_it,
    additional_names,
    words_of_all_types,
    parameters_of_all_resources,
);

async fn store(system: &Client, text: &str) {
    system.store(&Json::parse(text.as_bytes()).unwrap()).await;
}

/// Each expression on a type finds these, by their ids.
async fn found(system: &Client, resource_type: &str, cases: &[(&str, &[&str])]) {
    for (expression, expected) in cases {
        let query = format!("{}&_sort=_id", asked(resource_type, expression));
        assert_eq!(system.matches(&query).await, *expected, "{resource_type}: {expression}");
    }
}

async fn refused(system: &Client, resource_type: &str, expressions: &[&str]) {
    for expression in expressions {
        system.get(&asked(resource_type, expression)).await.expect_status(400);
    }
}

fn asked(resource_type: &str, expression: &str) -> String {
    url::search(resource_type, &[("_filter".to_owned(), expression.to_owned())])
}

fn observation(id: &str, status: &str, codes: &[(&str, &str)]) -> Json {
    let coding = |(system, code): &(&str, &str)| {
        if system.is_empty() {
            object! { "code": *code }
        } else {
            object! { "system": *system, "code": *code }
        }
    };
    object! {
        "resourceType": "Observation", "id": id, "status": status,
        "code": object! { "coding": codes.iter().map(coding).collect::<Vec<_>>() },
        "subject": object! { "reference": "Patient/p" },
    }
}

/// "Logical expressions are evaluated left to right, with no precedence between "and" and "or"".
async fn and_and_or_from_left_to_right(server: TestServer) {
    let system = server.system();
    for (id, status, code) in [("a", "final", "x"), ("b", "final", "y"), ("c", "preliminary", "x")] {
        system.store(&observation(id, status, &[("http://s", code)])).await;
    }
    found(
        &system,
        "Observation",
        &[
            ("code eq zz or code eq x and status eq amended", &[]),
            ("code eq y or code eq x and status eq preliminary", &["c"]),
            ("code eq y or (code eq x and status eq preliminary)", &["b", "c"]),
            ("code eq x and status eq preliminary or code eq y", &["b", "c"]),
            ("status eq preliminary or status eq final and code eq x or code eq y", &["a", "b", "c"]),
            ("code eq y or code eq x and not (status eq final)", &["c"]),
            ("(code eq y or code eq x) and (status eq final)", &["a", "b"]),
            ("not (code eq y) and status eq final or code eq y and status eq final", &["a", "b"]),
        ],
    )
    .await;
    let turns = |count: usize| format!("code eq x{}", " and code eq x or code eq x".repeat(count));
    found(&system, "Observation", &[(&turns(7), &["a", "c"])]).await;
    refused(&system, "Observation", &[&turns(8)]).await;
}

/// "Values are never case sensitive"; "Token is the same, including namespace if specified (case insensitive)".
async fn values_without_case(server: TestServer) {
    let system = server.system();
    system.store(&observation("a", "final", &[("http://ex.org/s", "ABC-1")])).await;
    system.store(&observation("b", "final", &[("http://EX.org/S", "abc-1")])).await;
    system.store(&observation("c", "amended", &[("http://other", "Abc-1"), ("http://other", "ÄÖ")])).await;
    system.store(&observation("d", "amended", &[("", "aBC-1")])).await;
    system.store(&observation("e", "amended", &[("http://other", "abc-2")])).await;
    store(
        &system,
        r#"{"resourceType":"Patient","id":"p","gender":"female","active":true,
        "identifier":[{"system":"http://mrn","value":"MRa"}],"telecom":[{"system":"email","value":"Joe@Ex.org"}]}"#,
    )
    .await;
    store(&system, r#"{"resourceType":"Patient","id":"q","identifier":[{"system":"http://mrn","value":"mrb"}]}"#).await;
    found(
        &system,
        "Observation",
        &[
            ("code eq abc-1", &["a", "b", "c", "d"]),
            ("code eq ABC-1", &["a", "b", "c", "d"]),
            ("code eq http://ex.org/s|abc-1", &["a", "b"]),
            ("code eq HTTP://EX.ORG/S|Abc-1", &["a", "b"]),
            ("code eq |abc-1", &["d"]),
            ("code eq http://other|äö", &["c"]),
            ("code eq http://other|ao", &[]),
            ("code eq http://ex.org/s|", &["a"]),
            ("code ne abc-1", &["c", "e"]),
            ("code ne http://EX.org/s|ABC-1", &["c", "d", "e"]),
            ("not (code eq aBc-1)", &["e"]),
            ("status eq FINAL and code eq abc-1", &["a", "b"]),
            ("status eq http://hl7.org/fhir/observation-status|Final", &["a", "b"]),
            ("status ne Final", &["c", "d", "e"]),
            ("subject.identifier eq MRA", &["a", "b", "c", "d", "e"]),
        ],
    )
    .await;
    found(
        &system,
        "Patient",
        &[
            ("identifier eq mrA", &["p"]),
            ("identifier eq MRB", &["q"]),
            ("identifier eq http://MRN|mra or identifier eq http://mrn|MrB", &["p", "q"]),
            ("email eq joe@ex.org", &["p"]),
            ("gender eq FEMALE and active eq True", &["p"]),
            ("gender eq HTTP://HL7.org/fhir/administrative-gender|Female", &["p"]),
            ("gender eq HTTP://loinc.org|female", &[]),
            ("gender pr False", &["q"]),
        ],
    )
    .await;
    assert_eq!(system.matches("Observation?_sort=_id&code=abc-1").await, ["b"], "elsewhere case counts");
    let changed = observation("a", "final", &[("http://ex.org/s", "ABC-9")]);
    system.store(&changed).await;
    found(&system, "Observation", &[("code eq abc-1", &["b", "c", "d"]), ("code eq abc-9", &["a"])]).await;
}

/// Codes of so many systems that they are not looked up one by one.
async fn more_tokens_of_a_code_than_are_listed(server: TestServer) {
    let system = server.system();
    let systems: Vec<String> = (0..70).map(|number| format!("http://s/{number}")).collect();
    for (id, codes) in [("a", 0..40), ("b", 40..70)] {
        let code = |number: usize| if number.is_multiple_of(2) { "COMMON" } else { "common" };
        let codes: Vec<(&str, &str)> = codes.map(|number| (systems[number].as_str(), code(number))).collect();
        system.store(&observation(id, "final", &codes)).await;
    }
    system.store(&observation("c", "final", &[("http://s/1", "rare")])).await;
    found(
        &system,
        "Observation",
        &[
            ("code eq Common", &["a", "b"]),
            ("not (code eq Common)", &["c"]),
            ("code ne Common", &["c"]),
            ("code eq HTTP://S/41|Common", &["b"]),
            ("code eq Common and code eq http://s/3|COMMON", &["a"]),
        ],
    )
    .await;
}

/// <https://hl7.org/fhir/R4/references.html#canonical>
async fn versions_of_urls(server: TestServer) {
    let system = server.system();
    for (id, version) in [("one", "1.0"), ("two", "2")] {
        let text = format!(
            r#"{{"resourceType":"Questionnaire","id":"{id}","status":"active","url":"http://ex.org/q","version":"{version}"}}"#
        );
        store(&system, &text).await;
    }
    store(&system, r#"{"resourceType":"Questionnaire","id":"three","status":"active"}"#).await;
    found(
        &system,
        "Questionnaire",
        &[
            ("url eq http://ex.org/q", &["one", "two"]),
            ("url eq http://ex.org/q|2", &["two"]),
            ("url eq http://ex.org/q|3", &[]),
            ("url ne http://ex.org/q|2", &["one"]),
            ("url ne http://ex.org/q", &[]),
        ],
    )
    .await;
    for modifier in ["below", "above"] {
        system.get(&format!("Questionnaire?url:{modifier}=http://ex.org/q%7C2")).await.expect_status(400);
    }
    assert_eq!(system.matches("Questionnaire?url:below=http://ex.org&_sort=_id").await, ["one", "two"]);
}

/// "The codes "loinc", "snomed", "rxnorm" and "ucum" are predefined and can be used in place of their associated full
/// namespace".
async fn names_of_namespaces(server: TestServer) {
    let system = server.system();
    system.store(&observation("l", "final", &[("http://loinc.org", "1234-5")])).await;
    system.store(&observation("s", "final", &[("http://snomed.info/sct", "1234-5")])).await;
    system.store(&observation("r", "final", &[("http://www.nlm.nih.gov/research/umls/rxnorm", "1234-5")])).await;
    store(
        &system,
        r#"{"resourceType":"Observation","id":"u","status":"final","code":{"coding":[{"code":"loinc"}]},
        "valueQuantity":{"value":70,"system":"http://unitsofmeasure.org","code":"kg"}}"#,
    )
    .await;
    found(
        &system,
        "Observation",
        &[
            ("code eq loinc|1234-5", &["l"]),
            ("code eq LOINC|1234-5", &["l"]),
            ("code eq snomed|1234-5", &["s"]),
            ("code eq rxnorm|1234-5", &["r"]),
            ("code eq loinc|", &["l"]),
            ("code eq loinc", &["u"]),
            ("value-quantity eq 70000|ucum|g", &["u"]),
            ("value-quantity gt 70000|ucum|g", &[]),
        ],
    )
    .await;
}

/// "Based on Integer comparison of Unicode code points of starting character (trimmed) (case insensitive)".
async fn first_letters_of_strings(server: TestServer) {
    let system = server.system();
    for (id, family) in
        [("a", "alpha"), ("d", "  Delta"), ("e", "Émile"), ("g", "Gamma"), ("h", "Gzu"), ("o", "Ωmega"), ("x", "...")]
    {
        let name = object! { "family": family };
        system.store(&object! { "resourceType": "Patient", "id": id, "name": array![name] }).await;
    }
    found(
        &system,
        "Patient",
        &[
            ("family gt Gamma", &["o"]),
            ("family ge Gamma", &["g", "h", "o"]),
            ("family lt gamma", &["a", "d", "e"]),
            ("family le \" gabc\"", &["a", "d", "e", "g", "h"]),
            ("family ge ω", &["o"]),
            ("family gt ω", &[]),
            ("family gt d and family lt g", &["e"]),
            ("name lt b or not (name lt z)", &["a", "o", "x"]),
            ("family ge e and _id ne o", &["e", "g", "h"]),
        ],
    )
    .await;
    refused(&system, "Patient", &["gender gt a", "family ge \"...\"", "family sa x"]).await;
}

/// "An item in the set's implicit period includes the stated value"; "implicit imprecision includes the stated value".
async fn what_includes_the_value(server: TestServer) {
    let system = server.system();
    for (id, date) in [("year", "2020"), ("month", "2020-01"), ("day", "2020-01-15"), ("other", "2020-02-15")] {
        let text = format!(
            r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"text":"x"}},"effectiveDateTime":"{date}"}}"#
        );
        store(&system, &text).await;
    }
    store(
        &system,
        r#"{"resourceType":"Observation","id":"since","status":"final","code":{"text":"x"},
        "effectivePeriod":{"start":"2020-01-15T12:00:00Z"}}"#,
    )
    .await;
    found(
        &system,
        "Observation",
        &[
            ("date co 2020-01-15", &["day", "month", "year"]),
            ("date co 2020-01", &["month", "year"]),
            ("date co 2020-01-15T13:00:00Z", &["day", "month", "since", "year"]),
            ("date co 2020-03-01", &["since", "year"]),
            ("date co 2019", &[]),
            ("not (date co 2020-01-15) and status eq final", &["other", "since"]),
        ],
    )
    .await;
    for (id, probability) in [("a", "0.4"), ("b", "0.42"), ("c", "0.420"), ("d", "0.5")] {
        let text = format!(
            r#"{{"resourceType":"RiskAssessment","id":"{id}","status":"final","subject":{{"reference":"Patient/p"}},
            "prediction":[{{"probabilityDecimal":{probability}}}]}}"#
        );
        store(&system, &text).await;
    }
    found(
        &system,
        "RiskAssessment",
        &[
            ("probability co 0.42", &["a", "b", "c"]),
            ("probability co 0.423", &["a", "b"]),
            ("probability co 0.45", &["d"]),
            ("probability co 0.35", &["a"]),
            ("probability co 0.4 or probability co 0.5", &["a", "d"]),
        ],
    )
    .await;
    refused(&system, "Observation", &["_lastUpdated co 2020", "date co gt2020", "value-quantity co 5"]).await;
    refused(&system, "RiskAssessment", &["probability co x"]).await;
}

async fn what_every_resource_has(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        store(&system, &format!(r#"{{"resourceType":"Patient","id":"{id}","active":{}}}"#, id == "a")).await;
    }
    found(
        &system,
        "Patient",
        &[
            ("_lastUpdated pr true", &["a", "b"]),
            ("_lastUpdated pr false", &[]),
            ("_id pr true and active eq true", &["a"]),
            ("_lastUpdated gt 2000 and not (_lastUpdated pr false)", &["a", "b"]),
        ],
    )
    .await;
}

async fn resources_that_point_at_it(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        store(&system, &format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)).await;
        let text = format!(
            r#"{{"resourceType":"Observation","id":"o-{id}","status":"final","code":{{"coding":[{{"code":"{id}"}}]}},
            "subject":{{"reference":"Patient/{id}"}}}}"#
        );
        store(&system, &text).await;
    }
    found(
        &system,
        "Patient",
        &[
            ("_has:Observation:patient:code eq A", &["a"]),
            ("not (_has:Observation:patient:code eq a)", &["b"]),
            ("_has:Observation:patient:status eq final", &["a", "b"]),
            ("_has:Observation:patient:subject._id eq b", &["b"]),
        ],
    )
    .await;
    found(&system, "Observation", &[("patient._has:Observation:patient:code eq b", &["o-b"])]).await;
    refused(&system, "Patient", &["_has:Observation:code:code eq a", "_has:Observation:patient eq a"]).await;
}

/// <https://hl7.org/fhir/R4/search_filter.html#params>
async fn additional_names(server: TestServer) {
    let system = server.system();
    for (id, relations) in [
        ("d", &[][..]),
        ("a", &[("replaces", "d")]),
        ("b", &[("appends", "d"), ("replaces", "a")]),
        ("c", &[("replaces", "a")]),
    ] {
        let relation = |(code, target): &(&str, &str)| {
            object! { "code": *code, "target": object! { "reference": format!("DocumentReference/{target}") } }
        };
        let mut document = object! {
            "resourceType": "DocumentReference", "id": id, "status": "current",
            "content": array![object! { "attachment": object! { "url": "http://x" } }],
        };
        if !relations.is_empty() {
            let relations: Vec<Json> = relations.iter().map(relation).collect();
            document.as_object_mut().unwrap().insert("relatesTo", relations);
        }
        system.store(&document).await;
    }
    found(
        &system,
        "DocumentReference",
        &[
            ("relatesTo[code eq replaces].target re DocumentReference/d", &["a"]),
            ("relatesTo[code eq Replaces].target re d", &["a"]),
            ("relatesTo[code eq replaces or code eq appends].target re DocumentReference/d", &["a", "b"]),
            ("relatesTo[code ne replaces].target re DocumentReference/d", &["b"]),
            ("relatesTo[target re DocumentReference/a].code eq replaces", &["b", "c"]),
            ("relatesTo[target re DocumentReference/a].code ne replaces", &[]),
            (
                "relatesTo[code eq http://hl7.org/fhir/document-relationship-type|replaces].target ne DocumentReference/d",
                &["b", "c"],
            ),
            ("not (relatesTo[code eq replaces].target re DocumentReference/a) and relation eq replaces", &["a"]),
        ],
    )
    .await;
    refused(
        &system,
        "DocumentReference",
        &[
            "relatesTo eq replaces",
            "relatesTo.target re DocumentReference/d",
            "relatesTo[code eq replaces].target pr true",
            "relatesTo[not (code eq replaces)].target re DocumentReference/d",
            "relatesTo[status eq current].target re DocumentReference/d",
        ],
    )
    .await;
    for (id, first, second) in [("g", "x", "y"), ("h", "y", "x")] {
        let text = format!(
            r#"{{"resourceType":"Group","id":"{id}","type":"person","actual":false,"characteristic":[
            {{"code":{{"coding":[{{"system":"http://c","code":"{first}"}}]}},"valueBoolean":true,"exclude":false}},
            {{"code":{{"coding":[{{"system":"http://c","code":"{second}"}}]}},"valueBoolean":false,"exclude":false}}]}}"#
        );
        store(&system, &text).await;
    }
    found(
        &system,
        "Group",
        &[
            ("characteristic[code eq x].value eq true", &["g"]),
            ("characteristic[value eq false].code eq http://c|X", &["h"]),
            ("characteristic eq x", &["g", "h"]),
        ],
    )
    .await;
}

/// `_text` is asked of all types that have a narrative, where none is named.
async fn words_of_all_types(server: TestServer) {
    let system = server.system();
    store(
        &system,
        r#"{"resourceType":"Patient","id":"p","text":{"status":"generated",
        "div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">platypus</div>"}}"#,
    )
    .await;
    assert_eq!(system.matches("?_text=platypus").await, ["p"]);
    assert_eq!(system.matches("?_type=Patient,Group&_text=platypus").await, ["p"]);
    system.get("?_type=Bundle&_text=platypus").await.expect_status(400);
    let refused = system.get("Bundle?_text=platypus").await.expect_status(400).text();
    let nearest = refused.split("the nearest are").nth(1).unwrap();
    assert!(!nearest.contains("_text"), "{refused}");
}

/// What of them a filter cannot ask, each with what can be written instead.
async fn refusals_of_all_resources(system: &Client) {
    for (expression, word) in [
        ("_list ne one", "not (_list eq"),
        ("_list re List/one", "has eq"),
        ("_list eq $current-problems", "functional"),
        ("_list eq a/b", "logical id"),
        ("_id gt a", "_id"),
        ("_profile ne http://p", "not (_profile eq"),
        ("_has eq x", "_has:Type:reference:parameter"),
        ("_text co bone", "beside _filter"),
        ("_content co bone", "beside _filter"),
        ("_filter eq x", "beside _filter"),
        ("_query eq x", "special parameters"),
        ("_type eq Observation", "_type"),
        ("_sort eq code", "_sort"),
    ] {
        let answer = system.get(&asked("Observation", expression)).await.expect_status(400);
        assert!(answer.issues().join(" ").contains(word), "{expression}: {:?}", answer.issues());
    }
}

/// `_id`, `_list` and what stands in `meta`, by themselves and behind references.
async fn parameters_of_all_resources(server: TestServer) {
    let system = server.system();
    let meta = |text: &str| Json::parse(text.as_bytes()).unwrap();
    for (id, text) in [
        ("a", r#"{"tag":[{"system":"http://t","code":"x"}],"profile":["http://p|1"],"source":"http://here"}"#),
        ("b", r#"{"security":[{"system":"http://t","code":"R"}],"profile":["http://q"]}"#),
    ] {
        let mut observation = observation(id, "final", &[("http://s", "c")]);
        observation.as_object_mut().unwrap().insert("meta", meta(text));
        system.store(&observation).await;
    }
    store(&system, r#"{"resourceType":"Patient","id":"p"}"#).await;
    for (id, item) in [("one", "Observation/a"), ("two", "Observation/b"), ("people", "Patient/p")] {
        let entry = array![object! { "item": object! { "reference": item } }];
        let list = object! { "resourceType": "List", "id": id, "status": "current", "mode": "working", "entry": entry };
        system.store(&list).await;
    }
    found(
        &system,
        "Observation",
        &[
            ("_id eq a", &["a"]),
            ("_id ne a", &["b"]),
            ("_id eq a or _id eq b", &["a", "b"]),
            ("_id pr true and not (_id eq a)", &["b"]),
            ("_list eq one", &["a"]),
            ("_list eq List/two", &["b"]),
            ("_list eq one or _list eq two", &["a", "b"]),
            ("not (_list eq one) and code eq c", &["b"]),
            ("_list eq none", &[]),
            ("subject._list eq people and _id eq b", &["b"]),
            ("subject:Patient._id eq p", &["a", "b"]),
            ("_tag eq x", &["a"]),
            ("_tag eq http://t|X", &["a"]),
            ("_tag pr false", &["b"]),
            ("_security eq http://t|R or _security eq none", &["b"]),
            ("not (_security eq R)", &["a"]),
            ("_profile eq http://p", &["a"]),
            ("_profile eq http://p|1", &["a"]),
            ("_profile eq http://p|2", &[]),
            ("_profile pr true and not (_profile eq http://p)", &["b"]),
            ("_source eq http://here", &["a"]),
            ("_lastUpdated gt 2020-01-01 and _lastUpdated lt 2100", &["a", "b"]),
            ("_lastUpdated lt 2020-01-01 or _tag eq x", &["a"]),
            ("_has:Observation:derived-from:code eq c", &[]),
        ],
    )
    .await;
    found(
        &system,
        "Patient",
        &[
            ("_has:Observation:patient:_id eq b and _list eq people", &["p"]),
            ("_has:Observation:patient:_list eq one", &["p"]),
            ("_has:Observation:patient:_tag eq x", &["p"]),
            ("not (_has:Observation:patient:_profile eq http://q)", &[]),
            ("_has:List:item:_id eq people", &["p"]),
        ],
    )
    .await;
    refusals_of_all_resources(&system).await;
    // To ask for what a list holds is to search lists.
    let app = server.with_scope("system/Observation.rs", None);
    app.get(&asked("Observation", "_id eq a")).await.expect_status(200);
    assert!(app.matches(&asked("Observation", "_list eq one")).await.is_empty());
}
