//! Query shapes for which others published how six servers answer: each is asked of data for which the answer is known.
//! Where those servers answer alike, this one must answer with the same status; where they do not, with one of theirs;
//! where it does neither, the specification says so, and the query stands in [`EXCEPTIONS`] with the sentence.

use std::collections::BTreeSet;
use std::fs;

use fhir::json::{Json, Object};
use fhir::{array, object};
use tests::{Answer, Client, Engine, TestServer, data, server, skipped, url};

/// What is found, by the name of the query: the status, the total where there is one, and the ids.
const ANSWERS: &[(&str, &str)] = &[
    ("capability_statement", "200 CapabilityStatement"),
    // "The `Bundle.total` element is still optional" (<https://hl7.org/fhir/R4/search.html#total>).
    ("observation_search_default", "200: words pressure pain weight height old"),
    ("observation_search_total_accurate", "200, 6 in all: words"),
    ("q7_error_unsupported_param", "400"),
    ("observation_by_code", "200, 0 in all:"),
    ("q1_uscore_observation_combo", "200, 1 in all: pressure"),
    ("patient_by_gender", "200, 1 in all: john"),
    ("patient_by_family_prefix", "200: sara john"),
    ("patient_by_given_prefix", "200: ann"),
    ("patient_by_gender_family", "200: ann"),
    ("observation_by_height", "200, 2 in all: height old"),
    ("observation_by_weight", "200, 1 in all: weight"),
    ("observation_by_pain", "200, 1 in all: pain"),
    ("observation_recent", "200: words pressure pain weight height"),
    ("q2_history_type", "200: sara"),
    ("q6_expand_valueset", "404"),
    ("q6_lookup_loinc", "404"),
    (
        "patient_revinclude_wildcard",
        "200: sara john ann height weight pain old pressure words tension suture visit pills",
    ),
    ("patient_export", "202"),
    ("patient_read_by_id", "200 Patient"),
    ("patient_by_family_exact", "200: john"),
    ("observations_for_patient", "200: pressure weight height"),
    ("conditions_for_patient", "200: tension"),
    ("condition_by_code", "200: tension"),
    ("procedure_by_code", "200: suture"),
    ("encounter_by_patient", "200: visit"),
    ("medication_request_by_patient", "200: pills"),
    ("encounter_by_practitioner", "200: visit"),
    ("encounter_by_location", "200: visit"),
    ("patient_content_search", "200: sara john"),
    ("observation_content_search", "200: words pressure"),
    ("condition_content_search", "200: tension"),
    ("patient_name_text_modifier", "400"),
    ("patient_address_text_modifier", "400"),
    ("patient_text_narrative", "200: sara"),
    ("condition_code_text_modifier", "200: tension"),
];

/// What another status stands for, and where the specification leaves it to the server.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "patient_name_text_modifier",
        "\"though only a few servers are expected to offer this facility\", https://hl7.org/fhir/R4/search.html#string",
    ),
    (
        "patient_address_text_modifier",
        "\"though only a few servers are expected to offer this facility\", https://hl7.org/fhir/R4/search.html#string",
    ),
];

/// What stands for the values that the file leaves open.
const SAMPLES: &[(&str, &str)] = &[
    ("{{patient_id}}", "john"),
    ("{{family}}", "Smith"),
    ("{{practitioner_id}}", "doctor"),
    ("{{location_id}}", "ward"),
];

#[test]
fn published_queries_on_sqlite() {
    run("published_queries_on_sqlite", Engine::Sqlite);
}

#[test]
fn published_queries_on_postgres() {
    run("published_queries_on_postgres", Engine::Postgres);
}

fn run(name: &str, engine: Engine) {
    if !engine.is_available() {
        skipped::skip(name, "TRIBUTARY_TEST_POSTGRES is not set");
        return;
    }
    let Some(file) = data::path("test-cases/search/mock-health-queries.json", name) else { return };
    let queries = Json::parse(&fs::read(file).unwrap()).unwrap();
    let names: BTreeSet<&str> = queries.list("queries").iter().filter_map(|query| query.str("name")).collect();
    assert_eq!(names, ANSWERS.iter().map(|(name, _)| *name).collect(), "each query has an answer");
    server::block_on(async {
        let server = TestServer::start(engine).await;
        let system = server.system();
        for resource in resources() {
            system.store(&resource).await;
        }
        let mut failures = Vec::new();
        for query in queries.list("queries") {
            failures.extend(check(&system, query).await);
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}

/// What is wrong with the answer to a query.
async fn check(system: &Client, query: &Json) -> Option<String> {
    let name = query.str("name").unwrap();
    let mut call = system.get(&address(query));
    let headers = query.get("headers").and_then(Json::as_object);
    for (header, value) in headers.into_iter().flat_map(Object::iter) {
        call = call.header(header, value.as_str().unwrap());
    }
    let answer = call.await;
    let (found, expected) = (described(&answer), ANSWERS.iter().find(|(it, _)| *it == name).unwrap().1);
    if found != expected {
        return Some(format!("{name}: expected {expected}, found {found}: {}", answer.issues().join("; ")));
    }
    let observed = observed(query);
    let is_excused = EXCEPTIONS.iter().any(|(it, _)| *it == name);
    if observed.contains(&answer.status) || observed.is_empty() && (answer.status == 200) != is_excused {
        return None;
    }
    Some(format!("{name}: others answer {observed:?}, this server {}", answer.status))
}

/// Path and parameters, with samples in them.
fn address(query: &Json) -> String {
    let filled = |text: &str| {
        let code = if text == "{{code}}" { sample_code(query.str("path").unwrap()) } else { text };
        SAMPLES.iter().fold(code.to_owned(), |text, (open, sample)| text.replace(open, sample))
    };
    let parameters = query.get("params").and_then(Json::as_object);
    let pairs: Vec<(String, String)> = parameters
        .into_iter()
        .flat_map(Object::iter)
        .map(|(name, value)| (name.to_owned(), filled(value.as_str().unwrap())))
        .collect();
    url::search(&filled(query.str("path").unwrap()), &pairs)
}

fn sample_code(resource_type: &str) -> &'static str {
    if resource_type == "Condition" { "http://snomed.info/sct|38341003" } else { "http://snomed.info/sct|288086009" }
}

/// The statuses that the file reports.
fn observed(query: &Json) -> BTreeSet<u16> {
    let members = query.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("expected_"));
    members.filter_map(|(_, text)| text.as_str()?.get(..3)?.parse().ok()).collect()
}

fn described(answer: &Answer) -> String {
    let status = answer.status;
    if status != 200 {
        return status.to_string();
    }
    let json = answer.json();
    if json.str("resourceType") != Some("Bundle") {
        return format!("{status} {}", json.str("resourceType").unwrap());
    }
    let total = json.get("total").and_then(Json::as_number).map(|total| format!(", {total} in all"));
    let ids = json.list("entry").iter().filter_map(|entry| entry.at(&["resource", "id"])?.as_str());
    let ids = ids.fold(String::new(), |ids, id| ids + " " + id);
    format!("{status}{}:{ids}", total.unwrap_or_default())
}

fn reference(text: &str) -> Json {
    object! { "reference": text }
}

fn coded(system: &str, code: &str, text: &str) -> Json {
    object! { "coding": array![object! { "system": system, "code": code }], "text": text }
}

fn person(id: &str, names: (&str, &str), gender: &str, narrative: &str) -> Json {
    let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{narrative}</div>");
    object! {
        "resourceType": "Patient", "id": id, "gender": gender,
        "text": object! { "status": "generated", "div": div },
        "name": array![object! { "family": names.1, "given": array![names.0] }],
        "address": array![object! { "city": "Boston" }],
    }
}

fn observation(id: &str, patient: &str, code: Json, date: &str) -> Json {
    object! {
        "resourceType": "Observation", "id": id, "status": "final", "code": code,
        "subject": reference(&format!("Patient/{patient}")), "effectiveDateTime": date,
    }
}

/// In the order in which they are stored: searches show what is of no date with the last first.
fn resources() -> Vec<Json> {
    let loinc = |code: &str, text: &str| coded("http://loinc.org", code, text);
    let snomed = |code: &str, text: &str| coded("http://snomed.info/sct", code, text);
    let (patient, participant) = (reference("Patient/john"), reference("Practitioner/doctor"));
    let mut pressure = observation("pressure", "john", loinc("85354-9", "Blood pressure panel"), "2022-01-01");
    let component = object! { "code": loinc("8480-6", "Systolic") };
    pressure.as_object_mut().unwrap().insert("component", array![component]);
    let mut words = observation("words", "ann", loinc("11506-3", "Note"), "2023-05");
    words.as_object_mut().unwrap().insert("valueString", "has given blood");
    vec![
        object! { "resourceType": "Practitioner", "id": "doctor" },
        object! { "resourceType": "Location", "id": "ward" },
        person("ann", ("Ann", "Brown"), "female", "a woman"),
        person("john", ("John", "Smith"), "male", "a man"),
        person("sara", ("Sara", "Stone"), "female", "sister of Mr Smith"),
        observation("height", "john", loinc("8302-2", "Body height"), "2021-01-01"),
        observation("weight", "john", loinc("29463-7", "Body weight"), "2021-01-01"),
        observation("pain", "ann", loinc("72514-3", "Pain"), "2021-01-01"),
        observation("old", "ann", loinc("8302-2", "Body height"), "2019-12-31"),
        pressure,
        words,
        object! {
            "resourceType": "Condition", "id": "tension", "subject": patient.clone(),
            "code": snomed("38341003", "Hypertensive disorder"),
            "note": array![object! { "text": "Essential hypertension." }],
        },
        object! {
            "resourceType": "Procedure", "id": "suture", "status": "completed", "subject": patient.clone(),
            "code": snomed("288086009", "Suture"),
        },
        object! {
            "resourceType": "Encounter", "id": "visit", "status": "finished", "subject": patient.clone(),
            "class": object! { "code": "AMB" },
            "participant": array![object! { "individual": participant }],
            "location": array![object! { "location": reference("Location/ward") }],
        },
        object! {
            "resourceType": "MedicationRequest", "id": "pills", "status": "active", "intent": "order",
            "subject": patient, "medicationCodeableConcept": object! { "text": "pills" },
        },
    ]
}
