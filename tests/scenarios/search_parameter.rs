//! Search parameters that the database defines: right from the first moment, indexed in the background, whatever
//! happens to the process. <https://hl7.org/fhir/R4/searchparameter.html>

use std::time::{Duration, Instant};

use fhir::json::Json;
use fhir::{array, object};
use tests::{Client, TestServer};

const PATIENTS: usize = 2_000;
const EVERY: usize = 20;
/// Processes wait for each other for some seconds; the rest is indexing, on a machine with other work.
const PATIENCE: Duration = Duration::from_mins(2);

tests::on_both_engines!(
    re_02_a_parameter_is_right_at_once_and_indexed_across_kill_9,
    what_would_not_work_is_refused,
    lk_28_only_the_whole_system_may_define,
    a_composite_of_the_database,
    another_definition_takes_the_place_of_the_first,
    what_comes_back_keeps_its_index,
    what_a_guide_publishes_again_changes_nothing,
);

fn definition(id: &str, code: &str, kind: &str, base: &str, expression: &str) -> Json {
    object! {
        "resourceType": "SearchParameter", "id": id, "url": format!("http://example.org/SearchParameter/{id}"),
        "name": "Sample", "status": "active", "description": "A sample.", "code": code, "base": array![base],
        "type": kind, "expression": expression,
    }
}

fn with(mut resource: Json, name: &str, value: impl Into<Json>) -> Json {
    resource.as_object_mut().expect("a resource is an object").insert(name, value);
    resource
}

fn patient(number: usize) -> Json {
    let nickname = if number.is_multiple_of(EVERY) { "Änne" } else { "Bo" };
    object! {
        "resourceType": "Patient", "id": format!("p{number}"), "name": array![
            object! { "use": "nickname", "given": array![nickname, format!("n{number}")] },
            object! { "use": "official", "given": array!["Änne"] },
        ],
    }
}

async fn store(system: &Client, resources: impl Iterator<Item = Json>) {
    let entry = |resource: Json| {
        let url =
            format!("{}/{}", resource.str("resourceType").unwrap_or_default(), resource.str("id").unwrap_or_default());
        object! { "resource": resource, "request": object! { "method": "PUT", "url": url } }
    };
    let bundle =
        object! { "resourceType": "Bundle", "type": "transaction", "entry": resources.map(entry).collect::<Vec<_>>() };
    system.post("").json(&bundle).await.expect_status(200);
}

async fn total(system: &Client, query: &str) -> usize {
    let answer = system.get(&format!("{query}&_total=accurate&_count=1")).await.expect_status(200).json();
    let total = answer.get("total").and_then(Json::as_number).expect("a total was asked for");
    total.parse().expect("a total is a number")
}

async fn logged(server: &TestServer, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !server.log().contains(what) {
        assert!(Instant::now() < deadline, "{what:?} is not logged:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is(server: &TestServer, state: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = server.command(&["reindex", "--status"]);
        if status.lines().all(|line| line.contains(state)) {
            return;
        }
        assert!(Instant::now() < deadline, "not {state}: {status}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What `tributary doctor --search` finds: rows of a parameter, and that the index is right.
fn rows(server: &TestServer, name: &str) -> Option<u64> {
    let found = Json::parse(server.command(&["doctor", "--search", "--json", "--sample", "50"]).as_bytes());
    let found = found.expect("doctor prints JSON");
    let line = found.list("parameters").iter().find(|line| line.str("parameter") == Some(name))?;
    line.get("rows").and_then(Json::as_number).and_then(|rows| rows.parse().ok())
}

async fn re_02_a_parameter_is_right_at_once_and_indexed_across_kill_9(mut server: TestServer) {
    let system = server.system();
    store(&system, (0..PATIENTS / 2).map(patient)).await;
    store(&system, (PATIENTS / 2..PATIENTS).map(patient)).await;
    system.get("Patient?nickname=anne").await.expect_status(400);
    let parameter = definition("nick", "nickname", "string", "Patient", "Patient.name.where(use='nickname').given");
    system.put("SearchParameter/nick").json(&parameter).await.expect_status(201);
    let expected = PATIENTS / EVERY;
    assert_eq!(total(&system, "Patient?nickname=anne").await, expected, "right at once, without an index");
    assert_eq!(total(&system, "Patient?nickname=n7&_id=p7").await, 1);
    system.get("Patient?_sort=nickname").await.expect_status(400);

    // What is written from now on is indexed already.
    system.store(&patient(PATIENTS * EVERY)).await;
    assert_eq!(total(&system, "Patient?nickname=anne").await, expected + 1);
    logged(&server, "to=\"indexing\"").await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.restart().await;
        assert_eq!(total(&system, "Patient?nickname=anne").await, expected + 1, "in the middle");
    }
    is(&server, "indexed").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(total(&system, "Patient?nickname=anne").await, expected + 1, "by the index");
    assert_eq!(total(&system, "Patient?nickname:missing=true").await, 0);
    let sorted = system.get("Patient?_sort=nickname&_count=1").await.expect_status(200);
    assert_eq!(sorted.matches().len(), 1);
    assert_eq!(rows(&server, "Patient.nickname"), Some(2 * (PATIENTS as u64 + 1)));

    system.delete("SearchParameter/nick").await.expect_status(204);
    system.get("Patient?nickname=anne").await.expect_status(400);
    is(&server, "no search parameters of its own").await;
    assert_eq!(rows(&server, "Patient.nickname"), None, "its rows are gone");
    assert_eq!(total(&system, "Patient?given=anne").await, PATIENTS + 1, "and no others");
}

async fn what_would_not_work_is_refused(server: TestServer) {
    let system = server.system();
    let good = || definition("x", "x", "string", "Patient", "Patient.name.text");
    for (parameter, issue) in [
        (with(good(), "code", "name"), "HL7"),
        (with(good(), "expression", "Patient.name["), "FHIRPath"),
        (with(good(), "base", array!["Nobody"]), "Nobody"),
        (with(good(), "code", "date"), "ordered"),
        (with(good(), "type", "special"), "special"),
        (with(with(good(), "type", "date"), "expression", "Patient.name"), "HumanName"),
        (with(with(good(), "type", "token"), "expression", "Patient.name | Observation.code"), "HumanName"),
        (with(good(), "expression", "Patient.nothere"), "nothere"),
        (composite("nothere"), "component[0]"),
    ] {
        let answer = system.put("SearchParameter/x").json(&parameter).await;
        assert!((400..=422).contains(&answer.status), "{}", answer.describe());
        assert!(answer.text().contains(issue), "{issue}: {}", answer.describe());
        system.get("SearchParameter/x").await.expect_status(404);
    }
    // HL7's own components are unions.
    let union = composite("name.given | name.family");
    system.put("SearchParameter/x").json(&with(union, "id", "x")).await.expect_status(201);
    system.put("SearchParameter/x").json(&good()).await.expect_status(200);
    let second = with(with(good(), "id", "y"), "url", "http://example.org/other");
    system.put("SearchParameter/y").json(&second).await.expect_status(422);
    let draft = with(second, "status", "draft");
    system.put("SearchParameter/y").json(&draft).await.expect_status(201);
    system.get("Patient?x=a").await.expect_status(200);
    system.put("SearchParameter/x").json(&with(good(), "status", "retired")).await.expect_status(200);
    system.get("Patient?x=a").await.expect_status(400);
}

/// Of whom a patient's contact is, with the gender, if `expression` selects one.
fn composite(expression: &str) -> Json {
    let component = |code: &str, expression: &str| {
        let url = format!("http://hl7.org/fhir/SearchParameter/individual-{code}");
        object! { "definition": url, "expression": expression }
    };
    let components = array![component("gender", expression), component("family", "name.family")];
    with(definition("x", "x", "composite", "Patient", "Patient.contact"), "component", components)
}

async fn lk_28_only_the_whole_system_may_define(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let parameter = definition("x", "x", "string", "Patient", "Patient.name.text");
    for app in [
        server.patient("a"),
        server.with_scope("patient/SearchParameter.cruds", Some("a")),
        server.with_scope("system/SearchParameter.rs", None),
    ] {
        let status = app.put("SearchParameter/x").json(&parameter).await.status;
        assert!([403, 404].contains(&status), "{status}");
    }
    system.get("Patient?x=a").await.expect_status(400);
    server
        .with_scope("system/SearchParameter.cruds", None)
        .put("SearchParameter/x")
        .json(&parameter)
        .await
        .expect_status(201);
    system.get("Patient?x=a").await.expect_status(200);
}

async fn a_composite_of_the_database(server: TestServer) {
    let system = server.system();
    let device = |id: &str, kind: &str, value: &str| {
        let version = object! { "type": object! { "coding": array![object! { "code": kind }] }, "value": value };
        object! { "resourceType": "Device", "id": id, "version": array![version] }
    };
    store(
        &system,
        [device("a", "firmware", "1.0"), device("b", "hardware", "1.0"), device("c", "firmware", "2.0")].into_iter(),
    )
    .await;
    let parameters = [
        definition("type", "version-type", "token", "Device", "Device.version.type"),
        definition("value", "version-value", "string", "Device", "Device.version.value"),
        with(
            definition("both", "version-type-value", "composite", "Device", "Device.version"),
            "component",
            array![
                object! { "definition": "http://example.org/SearchParameter/type", "expression": "type" },
                object! { "definition": "http://example.org/SearchParameter/value", "expression": "value" },
            ],
        ),
    ];
    for parameter in &parameters {
        system.store(parameter).await;
    }
    let query = "Device?version-type-value=firmware$1.0";
    assert_eq!(system.get(query).await.expect_status(200).matches(), ["a"]);
    system.store(&device("d", "firmware", "1.0")).await;
    is(&server, "indexed").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut found = system.get(query).await.expect_status(200).matches();
    found.sort_unstable();
    assert_eq!(found, ["a", "d"], "by the index");
    assert_eq!(rows(&server, "Device.version-type-value"), Some(4));
}

async fn another_definition_takes_the_place_of_the_first(server: TestServer) {
    let system = server.system();
    store(&system, (0..3).map(patient)).await;
    let nickname = definition("x", "x", "string", "Patient", "Patient.name.where(use='nickname').given");
    system.store(&nickname).await;
    assert_eq!(total(&system, "Patient?x=bo").await, 2);
    let official = definition("x", "x", "string", "Patient", "Patient.name.where(use='official').given");
    system.store(&official).await;
    assert_eq!(total(&system, "Patient?x=bo").await, 0);
    assert_eq!(total(&system, "Patient?x=anne").await, 3);
    is(&server, "indexed").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(total(&system, "Patient?x=anne").await, 3, "by the index");
    assert_eq!(rows(&server, "Patient.x"), Some(3));
    assert!(server.command(&["reindex"]).contains("0 error"));
    assert_eq!(total(&system, "Patient?x=anne").await, 3, "after all was indexed anew");
}

/// The same parameter of a type: under other types beside it, in another order, and of another resource. What leaves must
/// not take the rows away of what stands for the same.
async fn what_comes_back_keeps_its_index(server: TestServer) {
    let system = server.system();
    let noted = |resource_type: &str, members: Json| {
        let resource = with(members, "note", array![object! { "text": "Hello" }]);
        with(with(resource, "id", resource_type.to_lowercase()), "resourceType", resource_type)
    };
    let code = || object! { "text": "x" };
    let observation = noted("Observation", object! { "status": "final", "code": code() });
    let condition = noted("Condition", object! { "subject": object! { "reference": "Patient/p1" } });
    store(&system, [patient(1), observation, condition].into_iter()).await;
    let on = |id: &str, bases: &[&str]| {
        let bases: Vec<Json> = bases.iter().map(|it| Json::from(*it)).collect();
        let parameter = definition(id, "note", "string", "Observation", "note.text");
        with(with(parameter, "base", bases), "url", "http://example.org/SearchParameter/note")
    };
    let steps: [(&str, &[&str]); 5] = [
        ("note", &["Observation"]),
        ("note", &["Observation", "Condition"]),
        ("note", &["Condition", "Observation"]),
        ("note", &["Observation"]),
        ("again", &["Observation"]),
    ];
    let mut before = "note";
    for (id, bases) in steps {
        if id != before {
            system.delete(&format!("SearchParameter/{before}")).await.expect_status(204);
            before = id;
        }
        system.store(&on(id, bases)).await;
        is(&server, "indexed").await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        for base in bases {
            assert_eq!(total(&system, &format!("{base}?note=hello")).await, 1, "{id} {bases:?} {base}");
            assert_eq!(total(&system, &format!("{base}?note:missing=true")).await, 0, "{id} {bases:?} {base}");
        }
    }
    assert_eq!(rows(&server, "Condition.note"), None, "the rows of a type that has it no more are gone");
}

/// As US Core publishes them: HL7's parameters, a type each, under URLs of its own.
async fn what_a_guide_publishes_again_changes_nothing(server: TestServer) {
    let system = server.system();
    store(&system, (0..2).map(patient)).await;
    for (code, kind, base, expression) in [
        ("given", "string", "Patient", "Patient.name.given"),
        ("_id", "token", "Encounter", "Encounter.id"),
        ("date", "date", "Procedure", "Procedure.performed"),
        ("onset-date", "date", "Condition", "Condition.onset.as(dateTime) | Condition.onset.as(Period)"),
        ("patient", "reference", "Goal", "Goal.subject.where(resolve() is Patient)"),
        ("patient", "reference", "Condition", "Condition.subject"),
        ("_lastUpdated", "date", "Encounter", "Resource.meta.lastUpdated"),
    ] {
        let id = format!("guide-{base}{}", code.replace('_', "-"));
        let mut parameter = definition(&id, code, kind, base, expression);
        if kind == "reference" {
            let targets = if base == "Goal" { array!["Patient", "Group"] } else { array!["Patient"] };
            parameter = with(parameter, "target", targets);
        }
        system.put(&format!("SearchParameter/{id}")).json(&parameter).await.expect_status(201);
    }
    is(&server, "no search parameters of its own").await;
    assert_eq!(total(&system, "Patient?given=anne").await, 2);
    let less = definition("less", "name", "string", "Location", "Location.name");
    let refused = system.put("SearchParameter/less").json(&less).await.expect_status(422);
    assert!(refused.text().contains("HL7"), "{}", refused.text());
}
