//! Every form in which R4 lets the values of tokens, quantities and references be written.
//! <https://hl7.org/fhir/R4/search.html#token>, <https://hl7.org/fhir/R4/search.html#quantity>,
//! <https://hl7.org/fhir/R4/search.html#reference>

use fhir::json::Json;
use fhir::{array, object};
use tests::{Client, TestServer, url};

tests::on_both_engines!(
    tokens,
    tokens_that_come_later,
    quantities,
    references_of_several_types,
    references_behind_references
);

/// Each parameter with its value finds these, by their ids.
async fn found(system: &Client, cases: &[(&str, &str, &str, &[&str])]) {
    for (resource_type, name, value, expected) in cases {
        let mut found = system.matches(&asked(resource_type, name, value)).await;
        found.sort();
        assert_eq!(found, *expected, "{resource_type}?{name}={value}");
    }
}

async fn refused(system: &Client, cases: &[(&str, &str, &str, &str)]) {
    for (resource_type, name, value, word) in cases {
        let answer = system.get(&asked(resource_type, name, value)).await.expect_status(400);
        assert!(answer.issues().join(" ").contains(word), "{resource_type}?{name}={value}: {:?}", answer.issues());
    }
}

fn asked(resource_type: &str, name: &str, value: &str) -> String {
    url::search(resource_type, &[(name.to_owned(), value.to_owned())])
}

/// A resource with these members.
async fn store(system: &Client, resource_type: &str, id: &str, members: &[(&str, Json)]) {
    let mut resource = object! { "resourceType": resource_type, "id": id };
    for (name, value) in members {
        resource.as_object_mut().unwrap().insert(name, value.clone());
    }
    system.store(&resource).await;
}

fn observation(members: &[(&'static str, Json)]) -> Vec<(&'static str, Json)> {
    let code = object! { "coding": array![object! { "system": "http://c", "code": "c" }] };
    [vec![("status", "final".into()), ("code", code)], members.to_vec()].concat()
}

fn reference(to: &str) -> Json {
    object! { "reference": to }
}

/// What was not there when a code was asked for is found once it is.
async fn tokens_that_come_later(server: TestServer) {
    let system = server.system();
    let ids = ["a", "b", "c"];
    for (number, id) in ids.into_iter().enumerate() {
        for _again in 0..2 {
            assert_eq!(system.matches("Patient?_sort=_id&identifier=late").await, ids[..number]);
        }
        let identifier = object! { "system": format!("http://s/{number}"), "value": "late" };
        store(&system, "Patient", id, &[("identifier", array![identifier])]).await;
    }
    assert_eq!(system.matches("Patient?_sort=_id&identifier=late").await, ids);
}

async fn tokens(server: TestServer) {
    let system = server.system();
    let identifier = |text: &str| array![Json::parse(text.as_bytes()).unwrap()];
    for (id, text) in [
        ("a", r#"{"system":"http://s","value":"1"}"#),
        ("b", r#"{"system":"http://t","value":"1"}"#),
        ("c", r#"{"value":"1"}"#),
        ("d", r#"{"system":"http://s"}"#),
        ("e", r#"{"system":"http://s","value":"1|2"}"#),
    ] {
        store(&system, "Patient", id, &[("identifier", identifier(text))]).await;
    }
    found(
        &system,
        &[
            ("Patient", "identifier", "1", &["a", "b", "c"]),
            ("Patient", "identifier", "http://s|1", &["a"]),
            ("Patient", "identifier", "|1", &["c"]),
            ("Patient", "identifier", "http://s|", &["a", "d", "e"]),
            ("Patient", "identifier", r"http://s|1\|2", &["e"]),
            ("Patient", "identifier", r"1\|2", &["e"]),
            ("Patient", "identifier", "http://t|1,|1", &["b", "c"]),
            ("Patient", "identifier", "http://t|,http://s|1", &["a", "b"]),
            ("Patient", "identifier:not", "http://s|", &["b", "c"]),
            ("Patient", "identifier:not", "|1", &["a", "b", "d", "e"]),
        ],
    )
    .await;
    refused(
        &system,
        &[
            ("Patient", "identifier", "|", "write code, system|code"),
            ("Patient", "identifier", "||1", "write code, system|code"),
            ("Patient", "identifier", "http://s|1|2", r"\|"),
            ("Patient", "identifier", "1,", "empty value"),
        ],
    )
    .await;
}

/// "The system and code follow the same pattern as token parameters".
async fn quantities(server: TestServer) {
    const VALUE: &str = "value-quantity";
    let system = server.system();
    for (id, text) in [
        ("mg", r#"{"value":5.4,"unit":"milligram","system":"http://unitsofmeasure.org","code":"mg"}"#),
        ("g", r#"{"value":0.0054,"unit":"gram","system":"http://unitsofmeasure.org","code":"g"}"#),
        ("own", r#"{"value":5.4,"unit":"mg","system":"http://own","code":"1"}"#),
        ("bare", r#"{"value":5.4,"unit":"mg"}"#),
        ("none", r#"{"value":5.4}"#),
    ] {
        let value = Json::parse(text.as_bytes()).unwrap();
        store(&system, "Observation", id, &observation(&[("valueQuantity", value)])).await;
    }
    found(
        &system,
        &[
            ("Observation", VALUE, "5.4", &["bare", "mg", "none", "own"]),
            ("Observation", VALUE, "5.40e0", &["bare", "mg", "none", "own"]),
            ("Observation", VALUE, "5.4|http://unitsofmeasure.org|mg", &["g", "mg"]),
            ("Observation", VALUE, "5.4|http://own|1", &["own"]),
            ("Observation", VALUE, "5.4|http://own|mg", &[]),
            ("Observation", VALUE, "5.4||mg", &["bare", "g", "mg", "own"]),
            ("Observation", VALUE, "5.4|mg", &["bare", "g", "mg", "own"]),
            ("Observation", VALUE, "5.4|http://unitsofmeasure.org|", &["mg"]),
            ("Observation", VALUE, "lt6|http://unitsofmeasure.org|", &["g", "mg"]),
            ("Observation", VALUE, "5.4|http://own|,0.0054", &["g", "own"]),
            ("Observation", VALUE, "ne5.4|http://unitsofmeasure.org|", &["g"]),
            ("Observation", VALUE, "5.4|http://nowhere|", &[]),
            ("Observation", "combo-value-quantity", "5.4|http://own|", &["own"]),
            ("Observation", "code-value-quantity", "http://c|c$5.4|http://own|", &["own"]),
            ("Observation", "code-value-quantity", "http://c|c$5.4|http://own|,c$0.0054", &["g", "own"]),
            ("Observation", "code-value-quantity", "other$5.4|http://own|", &[]),
            ("Observation", "_filter", "value-quantity ge 5|http://own|", &["own"]),
            ("Observation", "_filter", "value-quantity lt 6|ucum| and not (value-quantity gt 5)", &["g"]),
        ],
    )
    .await;
    refused(
        &system,
        &[
            ("Observation", VALUE, "5.4|", "number|system|"),
            ("Observation", VALUE, "5.4||", "number|system|"),
            ("Observation", VALUE, "||mg", "not a number"),
            ("Observation", VALUE, "|http://own|", "not a number"),
            ("Observation", VALUE, "5.4|http://own|1|2", "number|system|"),
            ("Observation", VALUE, "mg", "prefix"),
        ],
    )
    .await;
    // A search inside of containers has the index alone.
    let contained = "Observation?value-quantity=5|http://own|&_contained=true";
    system.get(contained).await.expect_status(400);
}

async fn several_types(server: &TestServer) -> Client {
    let system = server.system();
    for id in ["1", "2"] {
        store(&system, "Patient", id, &[("birthDate", format!("200{id}-01-01").into())]).await;
        let group = [("type", "person".into()), ("actual", true.into()), ("code", object! { "text": "all" })];
        store(&system, "Group", id, &group).await;
    }
    let base = server.fhir_base();
    for (id, to) in [
        ("p1", "Patient/1".to_owned()),
        ("p2", format!("{base}/Patient/2")),
        ("g1", "Group/1".to_owned()),
        ("g2", format!("{base}/Group/2")),
        ("x1", "http://elsewhere/fhir/Patient/1".to_owned()),
        ("u1", "urn:uuid:8d2b6ba0-0000-4000-8000-000000000001".to_owned()),
    ] {
        store(&system, "Observation", id, &observation(&[("subject", reference(&to))])).await;
    }
    let performed = [("subject", reference("Group/1")), ("performer", array![reference("Patient/2")])];
    store(&system, "Observation", "gp", &observation(&performed)).await;
    system
}

/// Alternatives that name a Patient and what is none lose nothing.
async fn references_of_several_types(server: TestServer) {
    let system = several_types(&server).await;
    let base = server.fhir_base();
    let own = |rest: &str| format!("{base}/{rest}");
    let (absolute, elsewhere) = (format!("{},Group/1", own("Patient/1")), "http://elsewhere/fhir/Patient/1,Patient/2");
    let all = format!("{},Patient/2,http://elsewhere/fhir/Patient/1,1", own("Group/2"));
    let urn = "urn:uuid:8d2b6ba0-0000-4000-8000-000000000001,Patient/1";
    let filter = format!("subject re Patient/1 or subject re {}", own("Group/1"));
    for (name, value, expected) in [
        ("subject", "Patient/1,Group/1", vec!["g1", "gp", "p1"]),
        ("subject", "Group/1,Patient/1", vec!["g1", "gp", "p1"]),
        ("subject", "1", vec!["g1", "gp", "p1"]),
        ("subject", "1,2", vec!["g1", "g2", "gp", "p1", "p2"]),
        ("subject", &absolute, vec!["g1", "gp", "p1"]),
        ("subject", elsewhere, vec!["p2", "x1"]),
        ("subject", &all, vec!["g1", "g2", "gp", "p1", "p2", "x1"]),
        ("subject", urn, vec!["p1", "u1"]),
        ("subject", "Patient/1,Patient/none,Group/none", vec!["p1"]),
        ("subject:Patient", "1,2", vec!["p1", "p2"]),
        ("subject:Group", &format!("1,{}", own("Group/2")), vec!["g1", "g2", "gp"]),
        ("patient", "1,2", vec!["p1", "p2"]),
        ("patient", &format!("1,{}", own("Patient/2")), vec!["p1", "p2"]),
        ("patient", "Patient/1,http://elsewhere/fhir/Patient/1", vec!["p1", "x1"]),
        ("performer", "Patient/2,Practitioner/1", vec!["gp"]),
        ("_filter", "subject re Patient/1 or subject re Group/1", vec!["g1", "gp", "p1"]),
        ("_filter", &filter, vec!["g1", "gp", "p1"]),
        ("_filter", "subject eq 1", vec!["g1", "gp", "p1"]),
        ("_filter", "not (subject re Patient/1) and subject pr true", vec!["g1", "g2", "gp", "p2", "u1", "x1"]),
    ] {
        for narrowed in [&[][..], &[("code", "http://c|c")]] {
            let mut pairs = vec![(name.to_owned(), value.to_owned())];
            pairs.extend(narrowed.iter().map(|(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned())));
            let mut found = system.matches(&url::search("Observation", &pairs)).await;
            found.sort();
            assert_eq!(found, expected, "{name}={value} {narrowed:?}");
        }
    }
    // Whoever sees one patient alone is shown nothing of another, and misses nothing of that one.
    let app = server.patient("2");
    for (value, expected) in
        [("Patient/1,Group/1", vec!["gp"]), ("Patient/2,Group/1", vec!["gp", "p2"]), ("2", vec!["p2"])]
    {
        let mut found = app.matches(&asked("Observation", "subject", value)).await;
        found.sort();
        assert_eq!(found, expected, "{value}");
    }
    for (name, value, word) in [
        ("subject:Patient", "Patient/1,Group/1", "another type"),
        ("subject", "Patient/1,Nobody/1", "Nobody"),
        ("subject", "Patient/1,", "empty value"),
        ("subject", "Patient/1/_history/1", "one version"),
    ] {
        refused(&system, &[("Observation", name, value, word)]).await;
    }
}

/// The same in chains, `_has` and compartments.
async fn references_behind_references(server: TestServer) {
    let system = several_types(&server).await;
    for (id, to) in [("d1", "p1"), ("d2", "g1"), ("d3", "x1")] {
        let result = [("result", array![reference(&format!("Observation/{to}"))])];
        store(&system, "DiagnosticReport", id, &observation(&result)).await;
    }
    found(
        &system,
        &[
            ("DiagnosticReport", "result.subject", "Patient/1,Group/1", &["d1", "d2"]),
            ("DiagnosticReport", "result.subject", "1,http://elsewhere/fhir/Patient/1", &["d1", "d2", "d3"]),
            ("DiagnosticReport", "result.patient", "1,2", &["d1"]),
            ("DiagnosticReport", "_filter", "result.subject re Patient/1 or result.subject re Group/1", &["d1", "d2"]),
            ("DiagnosticReport", "_filter", "result[subject re Group/1].code eq c", &["d2"]),
            ("Observation", "subject._id", "1", &["g1", "gp", "p1"]),
            ("Observation", "subject:Patient._id", "1,2", &["p1", "p2"]),
            ("Patient", "_has:Observation:subject:subject", "Patient/1,Group/1", &["1"]),
            ("Patient", "_has:Observation:performer:subject", "Patient/1,Group/1", &["2"]),
            ("Group", "_has:Observation:subject:subject", "Patient/1,Group/1", &["1"]),
            ("Patient", "_has:Observation:patient:performer", "Patient/2,Group/1", &[]),
        ],
    )
    .await;
    for (path, expected) in [
        ("Patient/1/Observation?subject=Patient/1,Group/1", vec!["p1"]),
        ("Patient/2/Observation?subject=Patient/2,Group/1", vec!["gp", "p2"]),
        ("Patient/2/Observation?subject=Group/1,Patient/1", vec!["gp"]),
    ] {
        let mut found = system.matches(path).await;
        found.sort();
        assert_eq!(found, expected, "{path}");
    }
}
