//! Tests of `server/src/devices/stream.rs`: readings and alerts as they are committed.

use std::time::Duration;

use fhir::json::Json;
use fhir::{array, object};
use reqwest::Response;
use tests::server::Beside;
use tests::{Client, Engine, TestServer};

use crate::add_patient;

tests::on_both_engines!(
    readings_arrive_once_and_in_order_and_a_break_loses_none,
    lk_01_listeners_hear_of_patients_that_they_may_see_and_of_nobody_else,
    oa_13_a_stream_ends_with_the_right_to_it,
    what_another_process_commits_arrives_too,
    co_01_what_is_streamed_stands_in_the_audit_trail,
    a_stream_needs_a_token_and_a_scope,
);

/// How long an event may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Somebody who listens.
struct Listener {
    answer: Response,
    text: String,
}

/// What somebody hears.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    id: String,
    kind: String,
    resource: Json,
}

async fn readings_arrive_once_and_in_order_and_a_break_loses_none(server: TestServer) {
    let system = server.system();
    add_patient(&system, "pat-a").await;
    reading(&system, "before", "pat-a").await;
    let token = server.mint("system/*.rs", None);
    let mut listener = listen(server.origin(), &token, None).await;
    for id in ["r1", "r2", "r3"] {
        reading(&system, id, "pat-a").await;
    }
    flag(&system, "f1", "pat-a").await;
    let mut heard = Vec::new();
    for id in ["r1", "r2", "r3", "f1"] {
        let event = listener.next().await.expect("the stream goes on");
        assert_eq!(event.resource.str("id"), Some(id), "{event:?}");
        assert_eq!(event.resource.str("resourceType"), Some(event.kind.as_str()));
        heard.push(event);
    }
    drop(listener);
    reading(&system, "r4", "pat-a").await;
    let mut listener = listen(server.origin(), &token, Some(&heard[1].id)).await;
    reading(&system, "r5", "pat-a").await;
    for id in ["r3", "f1", "r4", "r5"] {
        let event = listener.next().await.expect("the stream goes on");
        assert_eq!(event.resource.str("id"), Some(id), "{event:?}");
    }
    let stored = system.get("Observation/r5").await.expect_status(200).json();
    reading(&system, "r6", "pat-a").await;
    let last = listener.next().await.expect("the stream goes on");
    assert_eq!(last.resource.at(&["meta", "versionId"]), stored.at(&["meta", "versionId"]), "a first version both");
    for bad in ["nonsense", "1"] {
        let refused = system.get("/devices/stream").header("last-event-id", bad).await.expect_status(400);
        assert_eq!(refused.json().str("statusCode"), Some("400"));
    }
}

async fn lk_01_listeners_hear_of_patients_that_they_may_see_and_of_nobody_else(server: TestServer) {
    let system = server.system();
    for (patient, doctor) in [("pat-a", "d1"), ("pat-b", "d1"), ("pat-c", "d2")] {
        let doctor = object! { "reference": format!("Practitioner/{doctor}") };
        let patient = object! { "resourceType": "Patient", "id": patient, "generalPractitioner": array![doctor] };
        system.store(&patient).await;
    }
    server.command(&["user", "add", "dora", "--fhir-user", "Practitioner/d1", "--json"]);
    let doctor = server.command(&["token", "--scope", "user/Observation.rs user/Flag.rs", "--user", "dora"]);
    let mut everyone = listen(server.origin(), &server.mint("system/*.rs", None), None).await;
    let mut doctor = listen(server.origin(), doctor.trim(), None).await;
    let mut alone = listen(server.origin(), &server.mint("patient/*.rs", Some("pat-a")), None).await;
    let narrow = "patient/Observation.rs?category=vital-signs";
    let mut narrow = listen(server.origin(), &server.mint(narrow, Some("pat-a")), None).await;
    // one world has many readings of others in between, which leave no trace in what is heard
    for number in 0..10 {
        for patient in ["pat-c", "pat-b", "pat-a"] {
            reading(&system, &format!("{patient}-{number}"), patient).await;
        }
    }
    flag(&system, "flag-c", "pat-c").await;
    flag(&system, "flag-a", "pat-a").await;
    let seen = |patients: &[&str]| {
        let readings = (0..10).flat_map(|number| patients.iter().map(move |patient| format!("{patient}-{number}")));
        readings.collect::<Vec<_>>()
    };
    let with = |mut ids: Vec<String>, more: &[&str]| {
        ids.extend(more.iter().map(|id| (*id).to_owned()));
        ids
    };
    let all = with(seen(&["pat-c", "pat-b", "pat-a"]), &["flag-c", "flag-a"]);
    assert_eq!(everyone.ids(all.len()).await, all);
    let own = with(seen(&["pat-b", "pat-a"]), &["flag-a"]);
    assert_eq!(doctor.ids(own.len()).await, own);
    let own = with(seen(&["pat-a"]), &["flag-a"]);
    assert_eq!(alone.ids(own.len()).await, own);
    // no flags, and no readings without the category: the next that it may see is the first that it hears
    let vital = object! { "coding": array![object! { "code": "vital-signs" }] };
    let mut resource = observation("vital-a", "pat-a");
    resource.as_object_mut().expect("an object").insert("category", array![vital]);
    system.store(&resource).await;
    assert_eq!(narrow.ids(1).await, ["vital-a"]);
    // catching up sees no more than listening does
    let first = everyone.ids(1).await;
    assert_eq!(first, ["vital-a"]);
    let place = system_place(&server).await;
    reading(&system, "late-c", "pat-c").await;
    reading(&system, "late-a", "pat-a").await;
    let token = server.mint("patient/*.rs", Some("pat-a"));
    let mut again = listen(server.origin(), &token, Some(&place)).await;
    assert_eq!(again.ids(1).await, ["late-a"], "a place of somebody else's stream shows nothing of theirs");
    // a patient goes to another doctor
    let doctor_two = object! { "reference": "Practitioner/d2" };
    system
        .store(&object! { "resourceType": "Patient", "id": "pat-b", "generalPractitioner": array![doctor_two] })
        .await;
    reading(&system, "gone-b", "pat-b").await;
    reading(&system, "still-a", "pat-a").await;
    assert_eq!(doctor.ids(3).await, ["vital-a", "late-a", "still-a"]);
}

async fn oa_13_a_stream_ends_with_the_right_to_it(server: TestServer) {
    let system = server.system();
    let doctor = object! { "reference": "Practitioner/d1" };
    system.store(&object! { "resourceType": "Patient", "id": "pat-a", "generalPractitioner": array![doctor] }).await;
    server.command(&["user", "add", "dora", "--fhir-user", "Practitioner/d1", "--json"]);
    let token = server.command(&["token", "--scope", "user/Observation.rs", "--user", "dora"]);
    let mut listener = listen(server.origin(), token.trim(), None).await;
    reading(&system, "r1", "pat-a").await;
    assert_eq!(listener.ids(1).await, ["r1"]);
    server.command(&["user", "disable", "dora"]);
    reading(&system, "r2", "pat-a").await;
    assert_eq!(listener.next().await, None, "it ends before the next reading is told");
}

async fn what_another_process_commits_arrives_too(server: TestServer) {
    if server.engine() == Engine::Sqlite {
        return; // its file is one process's
    }
    let system = server.system();
    add_patient(&system, "pat-a").await;
    let token = server.mint("system/*.rs", None);
    let mut listener = listen(server.origin(), &token, None).await;
    let beside = Beside::start(&server).await;
    let elsewhere = Client::new(&beside.origin).with_token(&token_of_all(&server));
    reading(&elsewhere, "r1", "pat-a").await;
    reading(&system, "r2", "pat-a").await;
    let heard = listener.ids(2).await;
    assert_eq!(heard, ["r1", "r2"]);
}

async fn co_01_what_is_streamed_stands_in_the_audit_trail(server: TestServer) {
    let system = server.system();
    add_patient(&system, "pat-a").await;
    let mut listener = listen(server.origin(), &server.mint("patient/*.rs", Some("pat-a")), None).await;
    reading(&system, "r1", "pat-a").await;
    assert_eq!(listener.ids(1).await, ["r1"]);
    let trail = server.with_scope("system/AuditEvent.rs", None);
    let events = trail.get("AuditEvent?subtype=stream&_count=50").await.expect_status(200).entries("match");
    let told: Vec<String> = events.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|event| event.contains("Observation/r1") && event.contains("Patient/pat-a")), "{told:?}");
}

async fn a_stream_needs_a_token_and_a_scope(server: TestServer) {
    server.anonymous().get("/devices/stream").await.expect_status(401);
    server.with_scope("system/Encounter.rs", None).get("/devices/stream").await.expect_status(403);
}

#[test]
fn as_many_listen_as_may() {
    tests::server::block_on(async {
        let server = TestServer::start_with(Engine::Sqlite, &["--stream-listeners", "2"]).await;
        let token = server.mint("system/*.rs", None);
        let first = listen(server.origin(), &token, None).await;
        let _second = listen(server.origin(), &token, None).await;
        server.system().get("/devices/stream").await.expect_status(503);
        drop(first);
        // the seat is free once the server has seen that nobody is there any more
        let deadline = std::time::Instant::now() + PATIENCE;
        let http = http();
        loop {
            let asked = http.get(format!("{}/devices/stream", server.origin())).bearer_auth(&token).send().await;
            if asked.expect("an answer").status().is_success() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "the seat stays taken");
            reading(&server.system(), "r", "nobody").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

impl Listener {
    /// The next event; none where the stream is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = String::from(rest);
                let field = |name: &str| {
                    let lines = event.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    lines.collect::<Vec<_>>().join("\n")
                };
                let data = field("data");
                if data.is_empty() {
                    continue;
                }
                let resource = Json::parse(data.as_bytes()).expect("an event holds a resource");
                return Some(Event { id: field("id"), kind: field("event"), resource });
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("something is heard in time");
            match chunk {
                Ok(Some(chunk)) => self.text.push_str(&String::from_utf8_lossy(&chunk)),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Logical ids of the next events.
    async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let event = self.next().await.expect("the stream goes on");
            ids.push(event.resource.str("id").expect("a resource has an id").to_owned());
        }
        ids
    }
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().read_timeout(PATIENCE).build().expect("a plain client")
}

/// Listens, once the server says that it is heard.
async fn listen(origin: &str, token: &str, last: Option<&str>) -> Listener {
    let mut asked = http().get(format!("{origin}/devices/stream")).bearer_auth(token);
    if let Some(last) = last {
        asked = asked.header("last-event-id", last);
    }
    let mut answer = asked.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let text = answer.chunk().await.expect("a greeting").expect("a greeting");
    Listener { text: String::from_utf8_lossy(&text).into_owned(), answer }
}

/// A place in the stream of who hears everything.
async fn system_place(server: &TestServer) -> String {
    let mut listener = listen(server.origin(), &server.mint("system/*.rs", None), None).await;
    reading(&server.system(), "mark-c", "pat-c").await;
    listener.next().await.expect("the stream goes on").id
}

fn token_of_all(server: &TestServer) -> String {
    server.mint("system/*.cruds", None)
}

fn observation(id: &str, patient: &str) -> Json {
    object! {
        "resourceType": "Observation", "id": id, "status": "final", "code": object! { "text": "pulse" },
        "subject": object! { "reference": format!("Patient/{patient}") },
        "valueQuantity": object! { "value": 64, "unit": "/min" },
    }
}

async fn reading(client: &Client, id: &str, patient: &str) {
    client.store(&observation(id, patient)).await;
}

async fn flag(client: &Client, id: &str, patient: &str) {
    let flag = object! {
        "resourceType": "Flag", "id": id, "status": "active", "code": object! { "text": "wet" },
        "subject": object! { "reference": format!("Patient/{patient}") },
    };
    client.store(&flag).await;
}
