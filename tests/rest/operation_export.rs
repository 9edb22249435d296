//! Tests of `server/src/rest/operation/export.rs` and `server/src/jobs/export.rs`.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::time::Duration;

use fhir::json::Json;
use fhir::{array, object};
use flate2::read::GzDecoder;
use tests::server::Beside;
use tests::signer::{ASSERTION_TYPE, Signer, key_set, unique};
use tests::{Answer, Client, Engine, TestServer};

use crate::audit::{of_request, request_of};

tests::on_both_engines!(
    a_client_exports_step_by_step,
    parameters_take_effect_or_are_refused,
    lk_32_only_backend_services_export,
    lk_33_files_are_their_owners,
);

pub(crate) const ASYNC: (&str, &str) = ("Prefer", "respond-async");

/// A registered backend service.
pub(crate) struct Service {
    pub(crate) id: String,
    signer: Signer,
}

impl Service {
    pub(crate) fn new(server: &TestServer) -> Self {
        let (signer, file) = (Signer::es384("k1"), format!("keys-{}.json", unique()));
        std::fs::write(server.folder().join(&file), key_set(&[&signer])).unwrap();
        let printed =
            server.command(&["client", "add", "--name", "Lake", "--json", "--kind", "backend", "--jwks", &file]);
        let added = Json::parse(printed.trim().as_bytes()).unwrap();
        Service { id: added.str("client_id").unwrap().to_owned(), signer }
    }

    pub(crate) async fn post(&self, server: &TestServer, path: &str, form: &[(&str, &str)]) -> Answer {
        let assertion = self.signer.assertion(&self.id, &format!("{}{path}", server.origin()));
        let mut form = form.to_vec();
        form.extend([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.as_str())]);
        server.anonymous().post(path).form(&form).await
    }

    pub(crate) async fn token(&self, server: &TestServer, scope: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        let answer = self.post(server, "/oauth/token", &form).await.expect_status(200).json();
        answer.str("access_token").unwrap().to_owned()
    }

    pub(crate) async fn client(&self, server: &TestServer, scope: &str) -> Client {
        server.anonymous().with_token(&self.token(server, scope).await)
    }
}

fn about(resource_type: &str, id: &str, member: &str, patient: &str) -> Json {
    let reference = object! { "reference": format!("Patient/{patient}") };
    let mut resource = object! { "resourceType": resource_type, "id": id };
    if let Some(object) = resource.as_object_mut() {
        object.insert(member, reference);
    }
    resource
}

pub(crate) fn observation(id: &str, patient: &str, code: &str) -> Json {
    let mut resource = about("Observation", id, "subject", patient);
    if let Some(object) = resource.as_object_mut() {
        object.insert("status", "final");
        object.insert("code", object! { "coding": array![object! { "system": "http://loinc.org", "code": code }] });
        object.insert("performer", array![object! { "reference": "Practitioner/dr" }]);
    }
    resource
}

pub(crate) fn member(id: &str) -> Json {
    object! { "entity": object! { "reference": format!("Patient/{id}") } }
}

/// Patients a, b, c and d, of whom a and b are in Group g, c was, and d is in none.
pub(crate) async fn seed(client: &Client) {
    let member_until = |id: &str, end: &str| {
        let mut member = member(id);
        if let Some(object) = member.as_object_mut() {
            object.insert("period", object! { "end": end });
        }
        member
    };
    client.store(&object! { "resourceType": "Organization", "id": "house", "name": "House" }).await;
    client.store(&object! { "resourceType": "Organization", "id": "other", "name": "Other" }).await;
    for (id, organization) in [("role", "house"), ("stranger", "other")] {
        let organization = object! { "reference": format!("Organization/{organization}") };
        client.store(&object! { "resourceType": "PractitionerRole", "id": id, "organization": organization }).await;
    }
    client.store(&object! { "resourceType": "Practitioner", "id": "dr" }).await;
    for (id, gender) in [("a", "male"), ("b", "female"), ("c", "male"), ("d", "male")] {
        let practitioner = array![object! { "reference": "PractitionerRole/role" }];
        let patient = object! {
            "resourceType": "Patient", "id": id, "gender": gender, "generalPractitioner": practitioner,
            "name": array![object! { "family": "Line\nbreak" }],
        };
        client.store(&patient).await;
        client.store(&observation(&format!("o-{id}"), id, "8867-4")).await;
    }
    // Of two members at once, and of one and somebody else.
    for (id, other) in [("two", "b"), ("mixed", "d")] {
        let mut both = observation(id, "a", "8867-4");
        if let Some(object) = both.as_object_mut() {
            object.insert("performer", array![object! { "reference": format!("Patient/{other}") }]);
        }
        client.store(&both).await;
    }
    let members = array![member("a"), member("b"), member_until("c", "2020-01-01")];
    let group = object! { "resourceType": "Group", "id": "g", "type": "person", "actual": true, "member": members };
    client.store(&group).await;
}

/// Asks for an export; says where its status is.
pub(crate) async fn kicked_off(client: &Client, path: &str) -> String {
    let accepted = client.get(path).header(ASYNC.0, ASYNC.1).await.expect_status(202);
    accepted.header("content-location").unwrap().to_owned()
}

/// Asks the status until it is no 202.
pub(crate) async fn ended(client: &Client, place: &str) -> Answer {
    for _ in 0..3000 {
        let answer = client.get(place).await;
        if answer.status != 202 {
            return answer;
        }
        assert!(answer.header("x-progress").is_some_and(|text| text.contains("resources") && text.len() < 100));
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{place} is not done after 60 s");
}

pub(crate) async fn manifest(client: &Client, place: &str) -> Json {
    ended(client, place).await.expect_status(200).json()
}

/// The lines of all files of a list of a manifest.
pub(crate) async fn lines(client: &Client, manifest: &Json, list: &str) -> Vec<Json> {
    let mut lines = Vec::new();
    for file in manifest.list(list) {
        let answer = client.get(file.str("url").unwrap()).await.expect_status(200);
        assert_eq!(answer.header("content-type"), Some("application/fhir+ndjson"));
        let text = answer.text();
        assert!(text.ends_with('\n'));
        let of_file: Vec<Json> = text.lines().map(|line| Json::parse(line.as_bytes()).unwrap()).collect();
        let count = file.get("count").and_then(Json::as_number).unwrap();
        assert_eq!(count, of_file.len().to_string(), "{file}");
        assert!(of_file.iter().all(|line| line.str("resourceType") == file.str("type")), "one type a file: {file}");
        lines.extend(of_file);
    }
    lines
}

pub(crate) fn name(resource: &Json) -> String {
    format!("{}/{}", resource.str("resourceType").unwrap(), resource.str("id").unwrap())
}

pub(crate) fn names(resources: &[Json]) -> Vec<String> {
    let mut names: Vec<String> = resources.iter().map(name).collect();
    names.sort_unstable();
    names
}

/// Type and id of all that an export has, in order; each must be there once.
async fn exported(client: &Client, path: &str) -> Vec<String> {
    let manifest = manifest(client, &kicked_off(client, path).await).await;
    names(&lines(client, &manifest, "output").await)
}

const OF_GROUP: [&str; 9] = [
    "Observation/mixed",
    "Observation/o-a",
    "Observation/o-b",
    "Observation/two",
    "Organization/house",
    "Patient/a",
    "Patient/b",
    "Practitioner/dr",
    "PractitionerRole/role",
];

/// What Inferno's kit for bulk data does, and what it looks at.
async fn a_client_exports_step_by_step(server: TestServer) {
    seed(&server.system()).await;
    let capabilities = server.anonymous().get("metadata").await.json();
    let rest = &capabilities.list("rest")[0];
    let group = rest.list("resource").iter().find(|it| it.str("type") == Some("Group")).unwrap();
    let definition = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export";
    assert!(group.list("operation").iter().any(|it| it.str("definition") == Some(definition)));
    assert!(rest.list("operation").iter().any(|it| it.str("name") == Some("export")));
    let service = Service::new(&server);
    let client = service.client(&server, "system/*.rs").await;
    server.anonymous().get("Group/g/$export").header(ASYNC.0, ASYNC.1).await.expect_status(401);
    client.head("Group/g/$export").header(ASYNC.0, ASYNC.1).await.expect_status(405);
    let synchronous = client.get("Group/g/$export").await.expect_status(400);
    assert!(synchronous.text().contains("respond-async"));
    let accepted =
        client.get("Group/g/$export").header(ASYNC.0, ASYNC.1).header("Accept", "application/fhir+json").await;
    let accepted = accepted.expect_status(202);
    let place = accepted.header("content-location").unwrap().to_owned();
    assert!(place.starts_with(&server.fhir_base()), "absolute: {place}");
    let done = ended(&client, &place).await.expect_status(200);
    assert!(done.header("content-type").unwrap().starts_with("application/json"));
    assert!(done.header("expires").is_some());
    let manifest = done.json();
    assert!(manifest.str("transactionTime").is_some() && manifest.list("error").is_empty());
    assert_eq!(manifest.str("request"), Some(format!("{}/Group/g/$export", server.fhir_base()).as_str()));
    assert_eq!(manifest.get("requiresAccessToken").and_then(Json::as_bool), Some(true));
    assert_eq!(names(&lines(&client, &manifest, "output").await), OF_GROUP);
    let url = manifest.list("output")[0].str("url").unwrap().to_owned();
    server.anonymous().get(&url).await.expect_status(401);
    let plain = client.get(&url).await.bytes().to_vec();
    let packed = client.get(&url).header("Accept-Encoding", "gzip").await.expect_status(200);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut unpacked = Vec::new();
    GzDecoder::new(packed.bytes()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    let read = of_request(&server.system(), &request_of(&packed)).await;
    assert_eq!(read.len(), 1, "what was read is in the trail");
    for format in ["application/fhir%2Bndjson", "application/fhir+ndjson", "application/ndjson", "ndjson"] {
        let place = kicked_off(&client, &format!("Group/g/$export?_outputFormat={format}")).await;
        client.delete(&place).await.expect_status(202);
    }
    client
        .delete(&kicked_off(&client, "Group/g/$export?_since=2020-01-01T00:00:00+00:00").await)
        .await
        .expect_status(202);
    assert_eq!(
        of_request(&server.system(), &request_of(&client.delete(&place).await.expect_status(202))).await.len(),
        1
    );
    let cancelled = client.get(&place).await.expect_status(404);
    assert_eq!(cancelled.json().str("resourceType"), Some("OperationOutcome"));
    client.get(&url).await.expect_status(404);
    client.delete(&place).await.expect_status(404);
    let patients = exported(&client, "Patient/$export").await;
    for there in ["Patient/d", "Observation/o-c", "Organization/other"] {
        assert!(patients.contains(&there.to_owned()), "{there}: {patients:?}");
    }
    assert!(!patients.contains(&"Group/g".to_owned()), "a Group is no data of one patient");
    let all = exported(&client, "$export").await;
    assert_eq!(all.len(), patients.len() + 1);
    assert!(all.contains(&"Group/g".to_owned()));
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    if server.engine() == Engine::Postgres {
        another_process_serves_the_files(&server, &client).await;
    }
}

async fn another_process_serves_the_files(server: &TestServer, client: &Client) {
    let beside = Beside::start(server).await;
    let manifest = manifest(client, &kicked_off(client, "$export?_type=Patient").await).await;
    let url = manifest.list("output")[0].str("url").unwrap().replace(server.origin(), &beside.origin);
    let other = Client::new(&beside.origin).with_token(client.token().unwrap());
    assert_eq!(other.get(&url).await.expect_status(200).text().lines().count(), 4);
}

async fn parameters_take_effect_or_are_refused(server: TestServer) {
    let system = server.system();
    seed(&system).await;
    let mut expected: Vec<(&str, Vec<&str>)> = vec![
        ("Patient/$export?_type=Patient&_typeFilter=Patient?gender%3Dfemale", vec!["Patient/b"]),
        (
            "$export?_type=Patient,Group&_typeFilter=Patient?gender%3Dfemale,Patient?_id%3Da,c",
            vec!["Group/g", "Patient/a", "Patient/b", "Patient/c"],
        ),
        ("Group/g/$export?_type=Patient&_type=Organization", vec!["Patient/a", "Patient/b"]),
        ("Group/g/$export?_type=Practitioner,Observation&_typeFilter=Observation?_id%3Dtwo", vec!["Observation/two"]),
        ("Patient/$export?_type=PractitionerRole", vec!["PractitionerRole/role", "PractitionerRole/stranger"]),
    ];
    // What nobody who is exported refers to is not followed: of Patients, the role, whose type is not asked for.
    expected.push(("Group/g/$export?_type=Organization", vec![]));
    for (path, expected) in expected {
        assert_eq!(exported(&system, path).await, expected, "{path}");
        let status = manifest(&system, &kicked_off(&system, path).await).await;
        assert!(status.str("request").unwrap().ends_with(path));
        server.tamper("DELETE FROM job"); // so that more can be asked for
    }
    parameters_of_a_body(&system).await;
    parameters_that_are_refused(&system).await;
    the_state_of_another_instant(&system).await;
}

async fn parameters_of_a_body(system: &Client) {
    let body = |parameters: Vec<Json>| object! { "resourceType": "Parameters", "parameter": parameters };
    let patient = |id: &str| {
        object! { "name": "patient", "valueReference": object! { "reference": format!("Patient/{id}") } }
    };
    let types = object! { "name": "_type", "valueString": "Patient,Observation" };
    let asked = body(vec![patient("b"), types.clone()]);
    for path in ["Group/g/$export", "Patient/$export"] {
        let accepted = system.post(path).header(ASYNC.0, ASYNC.1).json(&asked).await.expect_status(202);
        let manifest = manifest(system, accepted.header("content-location").unwrap()).await;
        assert_eq!(
            names(&lines(system, &manifest, "output").await),
            ["Observation/o-b", "Observation/two", "Patient/b"]
        );
    }
    for (path, parameters, named) in [
        ("Group/g/$export", vec![patient("d")], "Patient/d"),
        ("Group/g/$export", vec![patient("c")], "Patient/c"),
        ("Patient/$export", vec![patient("nobody")], "Patient/nobody"),
        ("$export", vec![patient("a")], "patient"),
        ("Patient/$export", vec![object! { "name": "patient", "valueString": "Patient/a" }], "patient"),
        ("Patient/$export", vec![object! { "name": "typo", "valueString": "x" }], "typo"),
    ] {
        let refused = system.post(path).header(ASYNC.0, ASYNC.1).json(&body(parameters)).await.expect_status(400);
        assert!(refused.text().contains(named), "{}", refused.describe());
    }
}

async fn parameters_that_are_refused(system: &Client) {
    for (path, status) in [
        ("$export?_outputFormat=text/csv", 400),
        ("$export?_type=Nothing", 400),
        ("$export?_type=AuditEvent", 400),
        ("Patient/$export?_type=Group", 400),
        ("$export?includeAssociatedData=LatestProvenanceResources", 400),
        ("$export?_since=yesterday", 400),
        ("$export?_since=2020-01-02T00:00:00Z&_until=2020-01-01T00:00:00Z", 400),
        ("$export?_typeFilter=Patient?typo%3D1", 400),
        ("$export?_typeFilter=Observation?patient.name%3Dx", 400),
        ("$export?_type=Group&_typeFilter=Patient?active%3Dtrue", 400),
        ("Patient/$export?patient=Patient/a", 400),
        ("Group/none/$export", 404),
        ("Group/$export", 404),
        ("Observation/$export", 404),
    ] {
        let refused = system.get(path).header(ASYNC.0, ASYNC.1).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.describe());
        assert_eq!(refused.json().str("resourceType"), Some("OperationOutcome"), "{path}");
    }
    let lenient = "$export?_type=Patient,Nothing&typo=1&_typeFilter=Patient?_sort%3Dname&_elements=gender";
    let accepted = system.get(lenient).header("Prefer", "respond-async, handling=lenient").await.expect_status(202);
    assert!(accepted.text().contains("typo") && accepted.text().contains("Nothing"));
    let manifest = manifest(system, accepted.header("content-location").unwrap()).await;
    assert_eq!(lines(system, &manifest, "error").await.len(), 3, "what was left out is said");
    for patient in lines(system, &manifest, "output").await {
        assert!(patient.get("gender").is_some() && patient.get("name").is_none());
        assert_eq!(patient.at(&["meta"]).unwrap().list("tag")[0].str("code"), Some("SUBSETTED"));
    }
    let entry = object! { "request": object! { "method": "GET", "url": "$export" } };
    let batch = object! { "resourceType": "Bundle", "type": "batch", "entry": array![entry] };
    assert!(system.post("").json(&batch).await.text().contains("Prefer: respond-async"));
}

async fn the_state_of_another_instant(system: &Client) {
    let before = manifest(system, &kicked_off(system, "$export?_type=Patient").await).await;
    let instant = before.str("transactionTime").unwrap();
    system.store(&object! { "resourceType": "Patient", "id": "later" }).await;
    system.store(&object! { "resourceType": "Patient", "id": "a", "gender": "other" }).await;
    system.delete("Patient/d").await;
    let then = manifest(system, &kicked_off(system, &format!("$export?_type=Patient&_until={instant}")).await).await;
    assert_eq!(lines(system, &then, "output").await, lines(system, &before, "output").await);
}

async fn lk_32_only_backend_services_export(server: TestServer) {
    seed(&server.system()).await;
    let refused = |scope: &'static str, patient: Option<&'static str>, path: &'static str| {
        let client = server.with_scope(scope, patient);
        async move {
            let refused = client.get(path).header(ASYNC.0, ASYNC.1).await;
            assert_eq!(refused.status, 403, "{scope} {path}: {}", refused.describe());
            assert!(refused.header("www-authenticate").is_some_and(|it| it.contains("insufficient_scope")));
        }
    };
    for path in ["$export", "Patient/$export", "Group/g/$export"] {
        refused("patient/*.rs", Some("a"), path).await;
        refused("patient/*.rs system/*.rs", Some("a"), path).await;
        refused("system/Observation.rs?category=laboratory", None, path).await;
        refused("system/*.cud", None, path).await;
        refused("system/Patient.r system/Group.s", None, path).await;
    }
    for path in ["Patient/$export", "Group/g/$export"] {
        refused("system/Observation.rs", None, path).await;
        refused("system/Observation.rs system/Patient.rs?gender=male system/Group.rs", None, path).await;
    }
    refused("system/Observation.rs system/Patient.rs", None, "Group/g/$export").await;
    refused("system/Observation.rs system/Group.rs", None, "Group/g/$export").await;
    refused("system/Observation.rs", None, "$export?_type=Patient").await;
    refused("system/Observation.rs system/Patient.rs?gender=male", None, "$export?_type=Patient,Observation").await;
    // The user's account does not matter: whoever acts for a person does not export.
    server.command(&["user", "add", "doctor", "--fhir-user", "Practitioner/dr", "--json"]);
    let token = server.command(&["token", "--scope", "user/*.rs", "--user", "doctor"]);
    let person = server.anonymous().with_token(token.trim());
    person.get("$export").header(ASYNC.0, ASYNC.1).await.expect_status(403);
    // The types are those of the token, without conditions.
    let some = server.with_scope("system/Observation.rs system/Patient.rs?gender=male", None);
    assert!(exported(&some, "$export").await.iter().all(|name| name.starts_with("Observation/")));
    let lenient = some.get("$export?_type=Observation,Patient").header("Prefer", "respond-async,handling=lenient");
    let manifest = manifest(&some, lenient.await.expect_status(202).header("content-location").unwrap()).await;
    assert!(lines(&some, &manifest, "output").await.iter().all(|it| it.str("resourceType") == Some("Observation")));
    let group = server.with_scope("system/Patient.rs system/Group.rs system/Observation.rs", None);
    let of_group = exported(&group, "Group/g/$export").await;
    assert_eq!(
        of_group,
        ["Observation/mixed", "Observation/o-a", "Observation/o-b", "Observation/two", "Patient/a", "Patient/b"]
    );
    // A token that the operator confined to a patient exports that patient's data.
    let confined = server.with_scope("system/*.rs", Some("a"));
    let own = exported(&confined, "Patient/$export").await;
    assert!(own.contains(&"Patient/a".to_owned()) && !own.contains(&"Patient/b".to_owned()), "{own:?}");
    assert!(!own.contains(&"Observation/o-d".to_owned()), "{own:?}");
    assert!(own.contains(&"Practitioner/dr".to_owned()), "what their data refers to: {own:?}");
    assert!(!own.contains(&"Organization/other".to_owned()), "{own:?}");
    let all = exported(&confined, "$export").await;
    assert!(!all.iter().any(|name| ["Patient/b", "Observation/o-b", "Group/g"].contains(&name.as_str())), "{all:?}");
    confined.get("Group/g/$export").header(ASYNC.0, ASYNC.1).await.expect_status(404);
}

async fn lk_33_files_are_their_owners(server: TestServer) {
    seed(&server.system()).await;
    let (own, foreign) = (Service::new(&server), Service::new(&server));
    let token = own.token(&server, "system/*.rs").await;
    let client = server.anonymous().with_token(&token);
    let place = kicked_off(&client, "$export?_type=Patient").await;
    let manifest = manifest(&client, &place).await;
    let url = manifest.list("output")[0].str("url").unwrap().to_owned();
    let (_, file) = url.rsplit_once('/').unwrap();
    assert!(file.len() >= 32 && url.starts_with(&format!("{place}/")));
    let unknown = client.get("_bulk/00000000-0000-4000-8000-000000000000").await.expect_status(404);
    let narrower = own.client(&server, "system/Patient.rs").await;
    for other in [&foreign.client(&server, "system/*.rs").await, &server.system(), &server.patient("a"), &narrower] {
        for address in [&place, &url] {
            assert_eq!(other.get(address).await.expect_status(404).text(), unknown.text(), "as if it had never been");
        }
        other.delete(&place).await.expect_status(404);
    }
    for address in [&place, &url] {
        server.anonymous().get(address).await.expect_status(401);
        server.anonymous().get(&format!("{address}?access_token={token}")).await.expect_status(401);
    }
    client.get(&format!("{place}/00000000-0000-4000-8000-000000000000")).await.expect_status(404);
    let other_place = kicked_off(&client, "$export?_type=Observation").await;
    ended(&client, &other_place).await.expect_status(200);
    client.get(&format!("{other_place}/{file}")).await.expect_status(404);
    client.get(&place.replace("_bulk", "_async")).await.expect_status(404);
    // Another token of the same service and scopes is as good.
    own.client(&server, "system/*.rs").await.get(&url).await.expect_status(200);
    own.post(&server, "/oauth/revoke", &[("token", token.as_str())]).await.expect_status(200);
    for address in [&place, &url] {
        client.get(address).await.expect_status(401);
    }
    client.delete(&place).await.expect_status(401);
}
