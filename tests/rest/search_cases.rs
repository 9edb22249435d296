//! Search cases that others published: every case is asked of the server; where its answer differs from theirs, the
//! specification says so, and the case stands in [`EXCEPTIONS`] with the sentence.

use std::fs;

use fhir::json::Json;
use tests::{Client, Engine, TestServer, data, server, skipped};

/// "Composite search parameters allow joining multiple elements into distinct single values with a $"
/// (<https://hl7.org/fhir/R4/search.html#combining>), and `code=a,b` "is a request for any Observation that has a code of
/// either `a` or `b`" (<https://hl7.org/fhir/R4/search.html#escaping>): the first of the values here has one part only.
const COMPOSITE: &str = "400: `,` separates whole composite values";
/// With a system, "it is inappropriate to search on the human display for the unit", and "a precise (and potentially
/// canonical) match is desired" (<https://hl7.org/fhir/R4/search.html#quantity>): what is asked for is a unit as written
/// for people, or differs in case from the code.
const UNIT: &str = "0 of 0: the code of the unit is another";
/// "`[parameter]=|[code]`: the value of `[code]` matches a Coding.code or Identifier.value, and the Coding/Identifier has
/// no system property" (<https://hl7.org/fhir/R4/search.html#token>): this one has one.
const NO_SYSTEM: &str = "0 of 0: the value has a system";
/// "For token parameters on elements of type `ContactPoint`, uri, or boolean, the presence of the pipe symbol SHALL NOT be
/// used" (<https://hl7.org/fhir/R4/search.html#token>).
const PIPE: &str = "0 of 0: a ContactPoint is searched without a pipe symbol";

/// "A chained condition will be evaluated inside contained resources"
/// (<https://hl7.org/fhir/R4/search.html#contained>): one Observation contains its patient.
const INSIDE: &str = "5 of 5: one contains its patient";

/// Whose token, what is asked, and what is found here instead of what the case expects, with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "",
        "Observation?code-value-quantity=http://loinc.org|29463-7,http://example.org|testing$185|http://unitsofmeasure.org|[lb_av]",
        COMPOSITE,
    ),
    (
        "",
        "Observation?code-value-quantity=http://loinc.org|29463-7,urn:iso:std:iso:11073:10101|152584$185|http://unitsofmeasure.org|[lb_av],820|urn:iso:std:iso:11073:10101|265201",
        COMPOSITE,
    ),
    ("", "Observation?value-quantity=185|http://unitsofmeasure.org|lbs", UNIT),
    ("", "Observation?value-quantity=820|urn:iso:std:iso:11073:10101|cL/s", UNIT),
    ("", "Observation?value-quantity=820|urn:iso:std:iso:11073:10101|cl/s", UNIT),
    ("", "Observation?subject:Device=Patient/example", "400: the modifier says Device, the value Patient"),
    (
        "PatientExamplePatientOnly",
        "Observation?subject=Patient/example",
        "403: the token has no right to search Observation",
    ),
    ("", "Observation?subject.name=peter", INSIDE),
    ("", "Observation?subject:Patient.name=peter", INSIDE),
    ("", "Patient?identifier=|12345", NO_SYSTEM),
    ("", "Patient?telecom=|(03) 5555 6473", PIPE),
    ("", "Patient/example/*", "5 of 5: the Patient lies in its own compartment, beside the four Observations"),
    ("PatientExampleFull", "Patient/example/*", "5 of 5: as above"),
];

#[test]
fn published_cases_on_sqlite() {
    run("published_cases_on_sqlite", Engine::Sqlite);
}

#[test]
fn published_cases_on_postgres() {
    run("published_cases_on_postgres", Engine::Postgres);
}

fn run(name: &str, engine: Engine) {
    if !engine.is_available() {
        skipped::skip(name, "TRIBUTARY_TEST_POSTGRES is not set");
        return;
    }
    let Some(folder) = data::path("test-cases/search", name) else { return };
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        Json::parse(text.trim_start_matches('\u{feff}').as_bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut fixtures: Vec<Json> =
        fs::read_dir(folder.join("candle-fixtures")).unwrap().map(|file| read(file.unwrap().path())).collect();
    // Search parameters first, transactions last.
    fixtures.sort_by_key(|it| match it.str("resourceType") {
        Some("SearchParameter") => 0,
        Some("Bundle") if it.str("type") == Some("transaction") => 2,
        _ => 1,
    });
    let cases = read(folder.join("candle-search-cases.json"));
    server::block_on(async {
        let server = TestServer::start(engine).await;
        load(&server.system(), &fixtures).await;
        let clients = [
            ("", server.system()),
            ("PatientExampleFull", server.with_scope("patient/*.cruds", Some("example"))),
            ("PatientExamplePatientOnly", server.with_scope("patient/Patient.cruds", Some("example"))),
            ("PatientDoesNotExistFull", server.with_scope("patient/*.cruds", Some("nobody"))),
        ];
        let mut failures = Vec::new();
        for case in cases.list("cases") {
            let auth = case.str("auth").unwrap_or_default();
            let (_, client) = clients.iter().find(|(name, _)| *name == auth).expect("every token is known");
            failures.extend(check(client, case).await);
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}

/// Puts the fixtures. The transactions are refused, one for URIs with white space in them (`http: //…`), one for entries
/// without a request, which is not what the cases are about: the Patient that the first creates is put alone. Search parameters are drafts, which are not in force: they are
/// made active.
async fn load(system: &Client, fixtures: &[Json]) {
    for fixture in fixtures {
        let mut fixture = fixture.clone();
        let mut path = format!("{}/{}", fixture.str("resourceType").unwrap(), fixture.str("id").unwrap());
        if fixture.str("type") == Some("transaction") {
            system.post("").json(&fixture).await.expect_status(400);
            let requested = fixture.list("entry").iter().filter(|entry| entry.get("request").is_some());
            let mut resources = requested.filter_map(|entry| entry.get("resource"));
            let patient = resources.find(|it| it.str("resourceType") == Some("Patient")).cloned();
            let Some(patient) = patient else { continue };
            fixture = patient;
            "Patient/member".clone_into(&mut path);
            fixture.as_object_mut().unwrap().insert("id", "member");
        }
        if fixture.str("resourceType") == Some("SearchParameter") {
            fixture.as_object_mut().unwrap().insert("status", "active");
        }
        let answer = system.put(&path).json(&fixture).await;
        assert!(answer.status < 300, "{path}: {}", answer.describe());
    }
}

/// What is wrong with the answer to a case.
async fn check(client: &Client, case: &Json) -> Option<String> {
    let url = case.str("url").unwrap();
    let auth = case.str("auth").unwrap_or_default();
    let separator = if url.contains('?') { '&' } else { '?' };
    let encoded = url.replace(' ', "%20").replace('[', "%5B").replace(']', "%5D").replace('|', "%7C");
    let answer = client.get(&format!("{encoded}{separator}_total=accurate")).await;
    let number = |json: Option<&Json>| json.and_then(Json::as_number).map(str::to_owned);
    let found = if answer.status == 200 {
        let json = answer.json();
        let (total, entries) = (number(json.get("total")), json.list("entry").len().to_string());
        format!("{} of {}", total.unwrap_or_default(), entries)
    } else {
        answer.status.to_string()
    };
    let total = number(case.get("total")).unwrap();
    let expected = format!("{total} of {}", number(case.get("entries")).unwrap_or(total.clone()));
    let exception = EXCEPTIONS.iter().find(|(who, what, _)| *who == auth && *what == url);
    match exception {
        Some((_, _, instead)) if instead.starts_with(&found) => None,
        _ if exception.is_none() && found == expected => None,
        _ => Some(format!("{auth} {url}: expected {expected}, found {found}: {}", answer.issues().join("; "))),
    }
}
