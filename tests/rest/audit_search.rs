//! Tests of `server/src/audit/conditions.rs`, `links.rs` and `parameters.rs`: whatever is asked of the trail, by whomever,
//! finds what the evaluator without index finds among the events as they are shown.

use std::collections::BTreeSet;

use fhir::json::Json;
use fhir::{array, object};
use search::generate::{Generated, Generator, Place};
use search::oracle::{Row, World};
use search::parse::{Options, parse};
use search::view::View;
use tests::random::seed;
use tests::{Client, TestServer, url};

tests::on_both_engines!(
    every_form_of_every_parameter_finds_what_the_evaluator_finds,
    co_01_a_batch_is_about_each_patient_that_it_answers_for,
    what_no_event_has_is_missing_everywhere,
    other_resources_are_asked_through_the_callers_view,
    what_the_trail_cannot_answer_is_refused_by_name,
    pages_of_what_no_column_tells_link_to_each_other,
);

/// Searches beside those that ask for every form once.
const MORE: usize = 400;

/// Two of them are patients of a practitioner.
fn patient(id: &str) -> Json {
    let mut patient = object! {
        "resourceType": "Patient", "id": id, "active": true, "name": array![object! { "family": id }],
    };
    if let Some(patient) = patient.as_object_mut().filter(|_| id != "c") {
        patient.insert("generalPractitioner", array![object! { "reference": "Practitioner/house" }]);
    }
    patient
}

/// An observation of a patient, perhaps made by another one.
fn observation(id: &str, patient: &str, other: Option<&str>) -> Json {
    let reference = |id: &str| object! { "reference": format!("Patient/{id}") };
    object! {
        "resourceType": "Observation", "id": id, "status": "final", "code": object! { "text": "c" },
        "subject": reference(patient), "performer": array![reference(other.unwrap_or(patient))],
    }
}

/// Events of all kinds, about one patient, about several and about none.
async fn happen(server: &TestServer, system: &Client, own: &Client) {
    for id in ["a", "b", "c"] {
        system.store(&patient(id)).await;
    }
    for (id, whole) in [("house", None), ("floor", Some("house")), ("room", Some("floor"))] {
        let mut location = object! { "resourceType": "Location", "id": id };
        if let (Some(whole), Some(location)) = (whole, location.as_object_mut()) {
            location.insert("partOf", object! { "reference": format!("Location/{whole}") });
        }
        system.store(&location).await;
        system.get(&format!("Location/{id}")).await.expect_status(200);
    }
    for (id, of, by) in [("o1", "a", None), ("o2", "b", None), ("o3", "a", Some("b")), ("o4", "a", Some("c"))] {
        system.store(&observation(id, of, by)).await;
        system.get(&format!("Observation/{id}")).header("x-request-id", &format!("Named.{id}")).await;
    }
    own.get("Patient/a").await.expect_status(200);
    own.get("Patient/b").await.expect_status(404);
    own.get("Observation?subject=Patient/a").await.expect_status(200);
    system.get("Patient?active=true").await.expect_status(200);
    system.get("Nothing/x").await.expect_status(404);
    server.anonymous().get("Patient/a").await.expect_status(401);
    server.anonymous().post("/oauth/token").form(&[("client_id", "x"), ("grant_type", "y")]).await;
    let entry = |url: &str| object! { "request": object! { "method": "GET", "url": url } };
    let put = object! { "request": object! { "method": "PUT", "url": "Patient/b" }, "resource": patient("b") };
    for kind in ["batch", "transaction"] {
        let entries = array![put.clone(), entry("Patient/a"), entry("Observation?status=final")];
        let bundle = object! { "resourceType": "Bundle", "type": kind, "entry": entries };
        system.post("").json(&bundle).await.expect_status(200);
        let head = object! { "request": object! { "method": "HEAD", "url": "Patient/c" } };
        let bundle = object! { "resourceType": "Bundle", "type": kind, "entry": array![head, entry("Patient/a")] };
        system.post("").json(&bundle).await.expect_status(200);
    }
    let refused = array![entry("Patient/b"), entry("Patient/a")];
    let bundle = object! { "resourceType": "Bundle", "type": "batch", "entry": refused };
    own.post("").json(&bundle).await.expect_status(200);
    system.delete("Observation/o2").await.expect_status(204);
}

/// Also where it hands out no text of the patient; a try that was refused is in nobody else's trail.
async fn co_01_a_batch_is_about_each_patient_that_it_answers_for(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&patient(id)).await;
    }
    let [own, other] = ["a", "b"].map(|id| server.with_scope("patient/*.cruds patient/AuditEvent.rs", Some(id)));
    let entry = |method: &str, url: &str| object! { "request": object! { "method": method, "url": url } };
    for kind in ["batch", "transaction"] {
        let entries = array![entry("HEAD", "Patient/a"), entry("GET", "Patient/a")];
        let bundle = object! { "resourceType": "Bundle", "type": kind, "entry": entries };
        system.post("").json(&bundle).await.expect_status(200);
        let found = system.get(&format!("AuditEvent?subtype={kind}&patient=Patient/a")).await.expect_status(200);
        assert_eq!(found.json().list("entry").len(), 1, "{kind}");
    }
    let head = object! { "resourceType": "Bundle", "type": "batch", "entry": array![entry("HEAD", "Patient/a")] };
    system.post("").json(&head).await.expect_status(200);
    let refused = object! { "resourceType": "Bundle", "type": "batch", "entry": array![entry("GET", "Patient/b")] };
    own.post("").json(&refused).await.expect_status(200);
    let count = async |client: &Client, patient: &str| {
        let found = client.get(&format!("AuditEvent?subtype=batch&patient=Patient/{patient}")).await.expect_status(200);
        found.json().list("entry").len()
    };
    assert_eq!(count(&own, "a").await, 3, "read, asked for its head, and the own try");
    assert_eq!((count(&system, "a").await, count(&system, "b").await), (3, 1));
    assert_eq!(count(&other, "b").await, 0);
    let etag = system.get("Patient/a").await.header("etag").map(str::to_owned).expect("a version");
    for kind in ["batch", "transaction"] {
        let known = object! { "method": "GET", "url": "Patient/a", "ifNoneMatch": etag.clone() };
        let bundle = object! { "resourceType": "Bundle", "type": kind, "entry": array![object! { "request": known }] };
        let answer = system.post("").header("x-request-id", &format!("Known.{kind}")).json(&bundle).await;
        assert!(answer.text().contains("304"), "{}", answer.text());
        let found = own.get(&format!("AuditEvent?entity:identifier=Known.{kind}")).await.expect_status(200);
        assert_eq!(found.json().list("entry").len(), 1, "{kind}");
    }
}

/// All that a client finds of a type, or of the trail up to an instant, oldest first.
async fn all(client: &Client, query: &str) -> Vec<Json> {
    let (mut found, mut next) = (Vec::new(), Some(query.to_owned()));
    while let Some(query) = next {
        let page = client.get(&query).await.expect_status(200);
        found.extend(page.entries("match"));
        next = page.link("next");
    }
    found
}

/// The instant of the newest event.
async fn newest(client: &Client) -> String {
    let page = client.get("AuditEvent?_count=1").await.expect_status(200);
    page.entries("match")[0].str("recorded").unwrap().to_owned()
}

/// What a client is shown, up to an instant of the trail.
struct Shown<'a> {
    client: &'a Client,
    base: &'a str,
    until: String,
    resources: Vec<Json>,
}

impl<'a> Shown<'a> {
    async fn to(client: &'a Client, base: &'a str, until: &str) -> Self {
        let until = format!("le{until}");
        let mut resources = all(client, &format!("AuditEvent?_sort=date&_count=1000&date={until}")).await;
        for name in ["Patient", "Practitioner", "Observation", "Location", "Provenance", "List"] {
            let found = client.get(name).await;
            resources.extend(if found.status == 200 { found.entries("match") } else { Vec::new() });
        }
        Shown { client, base, until, resources }
    }

    fn searches(&self) -> Vec<Generated> {
        let resources: Vec<&Json> = self.resources.iter().collect();
        let mut generator = Generator::new(&resources, self.base, seed(11));
        let is_trail = |it: &Generated| it.place == Place::Type("AuditEvent".to_owned());
        let mut searches: Vec<Generated> = generator.every().into_iter().filter(is_trail).collect();
        searches.extend(generator.filter(is_trail).take(MORE));
        // What is near depends on when it is asked.
        let is_near =
            |(_, value): &(String, String)| value.split(',').any(|it| it.starts_with("ap")) || value.contains(" ap ");
        searches.retain(|it| !it.pairs.iter().any(is_near));
        for search in &mut searches {
            search.pairs.retain(|(name, _)| !["_count", "_total", "_elements", "_summary"].contains(&name.as_str()));
        }
        searches
    }

    /// Asks; gives how many searches were answered, and how many of them found something.
    async fn compare(&self) -> (usize, usize) {
        let rows = self.resources.iter().zip(0..).map(|(resource, rid)| {
            let updated = resource.at(&["meta", "lastUpdated"]).and_then(Json::as_str);
            let updated = updated.and_then(fhir::date::DateTime::parse).map_or(0, |it| it.interval().0);
            Row { rid, resource, last_updated: updated }
        });
        let rows: Vec<Row<'_>> = rows.collect();
        let world = World::new(&rows, self.base);
        let everything = View::system();
        let sight = world.through(&everything);
        let base = self.base.to_owned();
        let options = Options { base, default_count: 50, max_count: 1000, lenient: false, now: 0 };
        let (mut answered, mut hits, mut wrong) = (0, 0, Vec::new());
        for Generated { mut pairs, .. } in self.searches() {
            pairs.push(("date".to_owned(), self.until.clone()));
            let query = parse("AuditEvent", &pairs, &options).ok().map(|parsed| parsed.query);
            pairs.push(("_count".to_owned(), "1000".to_owned()));
            let answer = self.client.get(&url::search("AuditEvent", &pairs)).await;
            let is_told = ["_sort: AuditEvent", "searched by itself", "_contained: ", "no scope for this"];
            let Some(query) = query else {
                assert_eq!(answer.status, 400, "{pairs:?} {}", answer.describe());
                continue;
            };
            if answer.status != 200 {
                assert!(is_told.iter().any(|it| answer.text().contains(it)), "{pairs:?} {}", answer.describe());
                continue;
            }
            let found: Vec<String> = answer.matches();
            let expected = sight.answer(&query).matches;
            let expected: Vec<&str> =
                expected.iter().filter_map(|rid| self.resources[*rid as usize].str("id")).collect();
            answered += 1;
            hits += usize::from(!expected.is_empty());
            if found != expected {
                wrong.push(format!("{pairs:?}: {} found, {} expected", found.len(), expected.len()));
            }
        }
        assert!(wrong.is_empty(), "{} of {answered} are wrong:\n{}", wrong.len(), wrong.join("\n"));
        (answered, hits)
    }
}

async fn every_form_of_every_parameter_finds_what_the_evaluator_finds(server: TestServer) {
    let system = server.system();
    let own = server.with_scope("patient/*.cruds patient/AuditEvent.rs", Some("a"));
    happen(&server, &system, &own).await;
    system.store(&object! { "resourceType": "Practitioner", "id": "house" }).await;
    server.command(&["user", "add", "house", "--fhir-user", "Practitioner/house"]);
    let scope = "user/*.cruds user/AuditEvent.rs";
    let token = server.command(&["token", "--scope", scope, "--user", "house", "--ttl", "1h"]);
    let practitioner = server.anonymous().with_token(token.trim());
    for id in ["a", "b"] {
        practitioner.get(&format!("Patient/{id}")).await.expect_status(200);
    }
    practitioner.get("Patient/c").await.expect_status(404);
    let first = all(&system, "AuditEvent?_sort=date&_count=1000").await;
    let name = |index: usize| object! { "reference": format!("AuditEvent/{}", first[index].str("id").unwrap()) };
    let list = object! {
        "resourceType": "List", "id": "l", "status": "current", "mode": "working",
        "entry": array![object! { "item": name(2) }, object! { "item": name(5) }],
    };
    let agent = array![object! { "who": object! { "reference": "Patient/a" } }];
    let provenance = object! {
        "resourceType": "Provenance", "id": "p", "target": array![name(3)], "recorded": "2020-01-01T00:00:00Z",
        "agent": agent,
    };
    system.store(&list).await;
    system.store(&provenance).await;
    let (base, until) = (server.fhir_base(), newest(&system).await);
    for (client, least) in [(&system, 200), (&own, 150), (&practitioner, 150)] {
        let shown = Shown::to(client, &base, &until).await;
        let (answered, hits) = shown.compare().await;
        println!("{answered} answered, {hits} found something");
        assert!(answered > least && hits > answered / 3, "{answered} answered, {hits} found something");
    }
}

async fn what_no_event_has_is_missing_everywhere(server: TestServer) {
    let system = server.system();
    system.store(&patient("a")).await;
    let until = newest(&system).await;
    let total = async |query: &str| {
        let query = format!("AuditEvent?date=le{until}&_summary=count&{query}");
        let answer = system.get(&query).await.expect_status(200).json();
        answer.get("total").and_then(Json::as_number).unwrap().parse::<usize>().unwrap()
    };
    let whole = total("_id:missing=false").await;
    assert!(whole > 1, "{whole}");
    for parameter in ["agent-name", "agent-role", "altid", "policy", "site"] {
        let value = if parameter == "policy" { "urn:x" } else { "x" };
        assert_eq!(total(&format!("{parameter}={value}")).await, 0, "{parameter}");
        assert_eq!(total(&format!("{parameter}:missing=true")).await, whole, "{parameter}");
        assert_eq!(total(&format!("{parameter}:missing=false")).await, 0, "{parameter}");
    }
    assert_eq!(total("site:not=x").await, whole);
    let base = server.fhir_base();
    assert_eq!(total(&format!("source:identifier={base}")).await, whole);
    assert_eq!(total("source:missing=true").await, 0);
    assert_eq!(total("type=http://loinc.org|rest").await, 0, "the system counts");
    assert_eq!(total("address:exact=127.0.0").await, 0);
    assert!(total("address=127.0.0").await > 0 && total("address:contains=0.0.1").await > 0);
}

async fn other_resources_are_asked_through_the_callers_view(server: TestServer) {
    let system = server.system();
    let own = server.with_scope("patient/*.cruds patient/AuditEvent.rs", Some("a"));
    happen(&server, &system, &own).await;
    let found = async |client: &Client, query: &str| client.matches(&format!("AuditEvent?{query}")).await;
    assert_eq!(found(&system, "patient.name=b&subtype=create").await, found(&system, "patient=b&subtype=create").await);
    assert!(!found(&system, "patient.name=b").await.is_empty());
    assert!(!found(&own, "patient.name=a").await.is_empty());
    assert!(found(&own, "patient.name=b").await.is_empty(), "nobody of that name is seen");
    assert_eq!(found(&own, "patient=b").await.len(), 1, "what was tried oneself");
    assert_eq!(found(&system, "entity:below=Location/floor&subtype=read").await.len(), 2);
    assert_eq!(found(&system, "entity:above=Location/floor&subtype=read").await.len(), 2);
    let blind = server.with_scope("system/AuditEvent.rs", None);
    assert!(found(&blind, "patient.name=b").await.is_empty(), "of what is not seen nothing is there");
    let narrow = server.with_scope("system/AuditEvent.rs system/Patient.r", None);
    narrow.get("AuditEvent?patient.name=b").await.expect_status(403);
}

async fn what_the_trail_cannot_answer_is_refused_by_name(server: TestServer) {
    let system = server.system();
    for (query, told) in [
        ("_sort=outcome", "_sort"),
        ("_sort=date,-_id", "_sort"),
        ("_include=AuditEvent:patient", "_include"),
        ("_contained=true", "_contained"),
        ("__explain=true", "__explain"),
        ("entity:AuditEvent.action=R", "AuditEvent"),
        ("_has:AuditEvent:entity:action=R", "AuditEvent"),
        ("nonsense=x", "nonsense"),
        ("action:exact=R", "exact"),
        ("agent-name:not=x", "not"),
        ("site:missing=x", "missing"),
        ("date=xx2020", "date"),
        ("_count=-1", "_count"),
        ("_total=x", "_total"),
        ("entity=Nothing/1", "entity"),
    ] {
        let answer = system.get(&format!("AuditEvent?{query}")).await.expect_status(400);
        assert!(answer.text().contains(told), "{query}: {}", answer.describe());
    }
    let lenient = system.get("AuditEvent?_sort=outcome&_include=AuditEvent:patient&nonsense=x&action=R");
    let answer = lenient.header("prefer", "handling=lenient").await.expect_status(200);
    assert_eq!(answer.entries("outcome")[0].list("issue").len(), 3, "{}", answer.describe());
    assert!(answer.link("self").unwrap().ends_with("AuditEvent?action=R"), "{}", answer.describe());
}

async fn pages_of_what_no_column_tells_link_to_each_other(server: TestServer) {
    let system = server.system();
    for id in ["a", "b", "c", "d", "e"] {
        system.store(&patient(id)).await;
    }
    let until = newest(&system).await;
    for condition in ["entity-role=4", "action=C", "type:text=restful"] {
        let query = format!("AuditEvent?{condition}&date=le{until}&_total=accurate");
        let whole: Vec<String> = system.matches(&query).await;
        assert!(whole.len() >= 5, "{condition}: {whole:?}");
        let first = system.get(&format!("{query}&_count=2")).await.expect_status(200);
        let (mut page, mut found, mut links) = (first.clone(), first.matches(), BTreeSet::new());
        while let Some(next) = page.link("next") {
            assert_eq!(page.link("first"), first.link("self"), "{condition}");
            assert!(links.insert(next.clone()), "{condition}");
            let before = page.matches();
            page = system.get(&next).await.expect_status(200);
            found.extend(page.matches());
            let back = system.get(&page.link("previous").expect("there is a page before")).await.expect_status(200);
            assert_eq!(back.matches(), before, "{condition}");
            assert_eq!(page.json().get("total"), first.json().get("total"), "{condition}");
        }
        assert_eq!(found, whole, "{condition}");
        assert!(first.link("previous").is_none() && page.link("next").is_none(), "{condition}");
    }
}
