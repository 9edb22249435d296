//! Tests of `server/src/audit.rs`: every request is one event, and nobody sees those of others.

use std::collections::BTreeMap;

use fhir::json::Json;
use fhir::{array, object};
use tests::{Answer, Client, Engine, TestServer};

tests::on_both_engines!(
    co_01_every_interaction_is_an_event_of_its_request,
    a_batch_is_an_event_beside_those_of_its_writes,
    co_02_events_say_who_what_and_when,
    co_05_a_write_and_its_event_stand_or_fall_together,
    co_08_no_secret_and_no_content_stands_in_the_trail,
    lk_36_a_patient_sees_events_about_themselves_only,
    the_trail_is_read_only,
    the_trail_is_searched,
    re_06_what_cannot_be_audited_is_refused,
    co_01_requests_by_nobody_known_do_not_fill_the_trail,
);

/// The name of the request.
pub(crate) fn request_of(answer: &Answer) -> String {
    answer.header("x-request-id").expect("every answer names its request").to_owned()
}

/// All events, oldest first.
pub(crate) async fn trail(client: &Client) -> Vec<Json> {
    let mut events = Vec::new();
    let mut page = client.get("AuditEvent?_sort=date&_count=200").await.expect_status(200);
    loop {
        events.extend(page.entries("match"));
        let Some(next) = page.link("next") else { return events };
        page = client.get(&next).await.expect_status(200);
    }
}

/// The name of the request that an event is of.
pub(crate) fn named(event: &Json) -> Option<&str> {
    event.list("entity").iter().find_map(|entity| entity.at(&["what", "identifier", "value"])?.as_str())
}

pub(crate) fn subtype(event: &Json) -> &str {
    event.list("subtype").first().and_then(|subtype| subtype.str("code")).unwrap_or_default()
}

pub(crate) fn references(event: &Json) -> Vec<&str> {
    event.list("entity").iter().filter_map(|entity| entity.at(&["what", "reference"])?.as_str()).collect()
}

pub(crate) async fn of_request(client: &Client, request: &str) -> Vec<Json> {
    trail(client).await.into_iter().filter(|event| named(event) == Some(request)).collect()
}

async fn co_01_every_interaction_is_an_event_of_its_request(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let patch = "[{\"op\":\"add\",\"path\":\"/gender\",\"value\":\"other\"}]";
    let form = [("name", "x")];
    let nobody = server.anonymous();
    let reader = server.with_scope("system/Observation.rs", None);
    let calls = [
        ("read", 200, system.get("Patient/a")),
        ("read", 200, system.head("Patient/a")),
        ("read", 404, system.get("Patient/none")),
        ("read", 401, nobody.get("Patient/a")),
        ("read", 403, reader.get("Patient/a")),
        ("read", 401, nobody.with_token("nonsense").get("Patient/a")),
        ("vread", 200, system.get("Patient/a/_history/1")),
        ("vread", 404, system.get("Patient/a/_history/9")),
        ("history-instance", 200, system.get("Patient/a/_history")),
        ("history-type", 200, system.get("Patient/_history")),
        ("history-system", 200, system.get("_history")),
        ("search-type", 200, system.get("Patient?name=x")),
        ("search-type", 400, system.get("Patient?nonsense=x")),
        ("search-type", 200, system.post("Patient/_search").form(&form)),
        ("search-type", 200, system.get("Patient/a/Observation")),
        ("search-system", 200, system.get("?_type=Patient")),
        ("create", 201, system.post("Patient").json(&object! { "resourceType": "Patient" })),
        ("create", 400, system.post("Patient").json(&object! { "resourceType": "Device" })),
        ("create", 403, reader.post("Patient").json(&object! { "resourceType": "Patient" })),
        ("update", 200, system.put("Patient/a").json(&patient("a"))),
        ("update", 412, system.put("Patient/a").header("if-match", "W/\"77\"").json(&patient("a"))),
        ("patch", 200, system.patch("Patient/a").body("application/json-patch+json", patch)),
        ("operation", 200, system.get("Patient/a/$everything")),
        ("operation", 404, system.get("Patient/a/$nonsense")),
        ("transaction", 200, system.post("").json(&bundle("transaction"))),
        ("batch", 400, system.post("").json(&object! { "resourceType": "Patient" })),
        ("delete", 204, system.delete("Patient/a")),
        ("read", 410, system.get("Patient/a")),
        ("delete", 204, system.delete("Patient/none")),
        ("create", 404, system.post("Nothing").json(&object! {})),
        ("search-type", 200, system.get("AuditEvent")),
    ];
    let mut expected = Vec::new();
    for (code, status, call) in calls {
        let answer = call.await.expect_status(status);
        expected.push((request_of(&answer), code, status));
    }
    let mut found: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for event in trail(&system).await {
        found.entry(named(&event).unwrap_or_default().to_owned()).or_default().push(event);
    }
    for (request, code, status) in &expected {
        let events = found.get(request).map(Vec::as_slice).unwrap_or_default();
        let [event] = events else { panic!("{code} {status}: {} events", events.len()) };
        assert_eq!(subtype(event), *code, "{event}");
        let outcome = if *status < 400 { "0" } else { "4" };
        assert_eq!(event.str("outcome"), Some(outcome), "{code} {status}");
        assert!(validation_is_happy(event), "{event}");
    }
}

/// An active patient.
fn patient(id: &str) -> Json {
    object! { "resourceType": "Patient", "id": id, "active": true }
}

/// A Bundle of a write, a read and a search.
fn bundle(kind: &str) -> Json {
    let entry = |method: &str, url: &str| object! { "request": object! { "method": method, "url": url } };
    object! { "resourceType": "Bundle", "type": kind, "entry": array![
        object! { "request": object! { "method": "PUT", "url": format!("Patient/{kind}") }, "resource": patient(kind) },
        entry("GET", "Patient/a"), entry("GET", "Patient?active=true"),
    ] }
}

async fn a_batch_is_an_event_beside_those_of_its_writes(server: TestServer) {
    let system = server.system();
    system.store(&patient("a")).await;
    let batch = system.post("").json(&bundle("batch")).await.expect_status(200);
    let events = of_request(&system, &request_of(&batch)).await;
    let codes: Vec<&str> = events.iter().map(subtype).collect();
    assert_eq!(codes.len(), 2, "the entry that writes, and the batch: {codes:?}");
    let whole = events.iter().find(|event| subtype(event) == "batch").expect("the batch is an event");
    assert!(references(whole).iter().any(|it| it.starts_with("Patient/batch/_history/")), "{whole}");
    assert_eq!(system.get("metadata").await.expect_status(200).header("x-request-id").map(str::is_empty), Some(false));
}

fn validation_is_happy(event: &Json) -> bool {
    event.str("recorded").is_some() && event.list("agent").len() >= 2 && event.at(&["source", "observer"]).is_some()
}

async fn co_02_events_say_who_what_and_when(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let observation = object! {
        "resourceType": "Observation", "status": "final", "code": object! { "text": "c" },
        "subject": object! { "reference": "Patient/a" },
    };
    let created = system.post("Observation").header("x-request-id", "my-own.1").json(&observation).await;
    assert_eq!(request_of(&created.clone().expect_status(201)), "my-own.1");
    let events = of_request(&system, "my-own.1").await;
    let [event] = events.as_slice() else { panic!("one event: {events:?}") };
    let place = created.location().rsplit("/fhir/").next().unwrap().to_owned();
    assert_eq!(references(event), ["Patient/a", &format!("{place}/_history/1")]);
    assert_eq!(event.str("action"), Some("C"));
    let text = event.to_string();
    assert!(text.contains("IHE.BasicAudit.PatientCreate") && text.contains("\"127.0.0.1\""), "{text}");
    assert!(text.contains("\"value\":\"operator\""), "the app is named: {text}");
    let read = system.get(&place).await.expect_status(200);
    let events = of_request(&system, &request_of(&read)).await;
    assert_eq!(references(&events[0]), ["Patient/a", &format!("{place}/_history/1")]);
    assert!(events[0].to_string().contains("IHE.BasicAudit.PatientRead"));
    let searched = system.get("Observation?code:text=c&_elements=status").await.expect_status(200);
    let events = of_request(&system, &request_of(&searched)).await;
    assert_eq!(references(&events[0]), ["Patient/a"], "whose data was found, whatever elements are shown");
    let query = events[0].list("entity").iter().find_map(|entity| entity.str("query")).expect("the query is kept");
    assert_eq!(query, "T2JzZXJ2YXRpb24/Y29kZTp0ZXh0PWMmX2VsZW1lbnRzPXN0YXR1cw==");
    let deleted = system.delete(&place).await.expect_status(204);
    let events = of_request(&system, &request_of(&deleted)).await;
    assert_eq!(references(&events[0]), ["Patient/a", &format!("{place}/_history/2")]);
    let odd = system.get("Patient/a").header("x-request-id", "not a name\u{e9}").await;
    assert_eq!(request_of(&odd).len(), 36, "what cannot be a name is replaced");
}

async fn co_05_a_write_and_its_event_stand_or_fall_together(mut server: TestServer) {
    let system = server.system();
    let mut answered = Vec::new();
    for round in 0..8 {
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..6 {
            let system = system.clone();
            tasks.spawn(async move {
                let mut seen = Vec::new();
                for turn in 0.. {
                    let name = format!("r{round}-w{worker}-t{turn}");
                    let id = format!("p{round}-{worker}-{turn}");
                    let call = if turn % 2 == 0 {
                        system
                            .put(&format!("Patient/{id}"))
                            .json(&object! { "resourceType": "Patient", "id": id.as_str() })
                    } else {
                        system.get("Patient?_count=1")
                    };
                    let Ok(answer) = call.header("x-request-id", &name).try_send().await else { return seen };
                    assert!(answer.status < 300, "{}", answer.describe());
                    seen.push(name);
                }
                seen
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(300 + 40 * round)).await;
        server.kill();
        for seen in tasks.join_all().await {
            answered.extend(seen);
        }
        server.restart().await;
    }
    assert!(answered.len() > 24, "{}", answered.len());
    let events = trail(&system).await;
    let named: std::collections::BTreeSet<&str> = events.iter().filter_map(|event| named(event)).collect();
    let missing: Vec<_> = answered.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "answered, but not in the trail: {missing:?}");
    let mut written = std::collections::BTreeSet::new();
    for event in &events {
        written.extend(references(event).into_iter().filter_map(|it| it.split("/_history/").next()).map(str::to_owned));
    }
    let mut page = system.get("Patient?_count=1000").await.expect_status(200);
    loop {
        for id in page.matches() {
            assert!(written.contains(&format!("Patient/{id}")), "{id} is stored without an event");
        }
        let Some(next) = page.link("next") else { break };
        page = system.get(&next).await.expect_status(200);
    }
}

async fn co_08_no_secret_and_no_content_stands_in_the_trail(server: TestServer) {
    let system = server.system();
    let canary = "Canary7Tweety";
    system.store(&object! { "resourceType": "Patient", "id": "a", "name": array![object! { "family": canary }] }).await;
    system.get("Patient/a").await.expect_status(200);
    let token = system.token().expect("a token").to_owned();
    server.anonymous().get(&format!("Patient/a?access_token={token}")).await.expect_status(401);
    system.get(&format!("Patient?access_token={token}")).await.expect_status(400);
    system.get(&format!("Patient?name={token}")).await.expect_status(200);
    server.anonymous().get(&format!("Patient/{canary}%20{token}")).await;
    server.anonymous().post("/oauth/token").form(&[("client_id", canary), ("client_secret", &token)]).await;
    let events = trail(&system).await;
    assert!(events.len() >= 6);
    let queries = |event: &Json| -> Vec<String> {
        event.list("entity").iter().filter_map(|entity| entity.str("query")).map(decoded).collect()
    };
    for event in &events {
        let text = format!("{event} {:?}", queries(event));
        assert!(!text.contains(canary) && !text.contains(&token), "{text}");
    }
}

pub(crate) fn decoded(text: &str) -> String {
    use base64::Engine as _;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
}

async fn lk_36_a_patient_sees_events_about_themselves_only(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id, "active": true }).await;
        system.get(&format!("Patient/{id}")).await.expect_status(200);
    }
    let both = system.get("Patient?active=true").await.expect_status(200);
    let own = server.with_scope("patient/*.cruds patient/AuditEvent.rs", Some("a"));
    own.get("Patient/b").await.expect_status(404);
    let events = trail(&own).await;
    assert!(events.len() >= 4, "{}", events.len());
    for event in &events {
        assert!(references(event).contains(&"Patient/a"), "{event}");
        let told = event.to_string().contains("Patient/b");
        let tried = named(event).is_some() && subtype(event) == "read" && event.str("outcome") == Some("4");
        assert!(!told || tried, "{event}");
    }
    let seen: Vec<&Json> = events.iter().filter(|event| named(event) == Some(request_of(&both).as_str())).collect();
    assert!(seen.len() == 1 && !seen[0].to_string().contains("\"query\""), "{seen:?}");
    let all = trail(&system).await;
    let foreign = all.iter().find(|event| references(event) == ["Patient/b", "Patient/b/_history/1"]).unwrap();
    let id = foreign.str("id").unwrap();
    own.get(&format!("AuditEvent/{id}")).await.expect_status(404);
    system.get(&format!("AuditEvent/{id}")).await.expect_status(200);
    assert!(own.matches(&format!("AuditEvent?_id={id}")).await.is_empty());
    assert_eq!(own.matches("AuditEvent?patient=b").await.len(), 1, "what was tried oneself, as it is shown");
    for unnamed in ["patient/Observation.rs", "patient/*.rs"] {
        server.with_scope(unnamed, Some("a")).get("AuditEvent").await.expect_status(403);
    }
    let other = server.with_scope("patient/AuditEvent.rs", Some("b"));
    server.anonymous().get("Patient/b").await.expect_status(401);
    assert!(trail(&other).await.iter().all(|event| event.str("outcome") == Some("0")), "refused is not of b's trail");
    let some = server.with_scope("patient/AuditEvent.rs?action=R", Some("a")).get("AuditEvent").await;
    assert!(matches!(some.status, 401 | 403), "{}", some.describe());
}

async fn co_01_requests_by_nobody_known_do_not_fill_the_trail(server: TestServer) {
    let (system, nobody) = (server.system(), server.anonymous());
    for _ in 0..150 {
        nobody.get("Patient/a").await.expect_status(401);
    }
    for _ in 0..3 {
        system.get("Patient/a").await.expect_status(404);
    }
    let events = trail(&system).await;
    let count = |outcome: &str| {
        let of = |event: &&Json| subtype(event) == "read" && event.str("outcomeDesc") == Some(outcome);
        events.iter().filter(of).count()
    };
    assert_eq!((count("HTTP 401"), count("HTTP 404")), (120, 3));
}

async fn the_trail_is_read_only(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let id = system.matches("AuditEvent").await.remove(0);
    let event = system.get(&format!("AuditEvent/{id}")).await.expect_status(200).json();
    let patch = "[{\"op\":\"remove\",\"path\":\"/outcome\"}]";
    for (status, call) in [
        (405, system.post("AuditEvent").json(&event)),
        (405, system.put(&format!("AuditEvent/{id}")).json(&event)),
        (405, system.patch(&format!("AuditEvent/{id}")).body("application/json-patch+json", patch)),
        (405, system.delete(&format!("AuditEvent/{id}"))),
        (405, system.delete("AuditEvent?action=R")),
        (405, system.get(&format!("AuditEvent/{id}/_history"))),
        (405, system.get(&format!("AuditEvent/{id}/_history/1"))),
        (405, system.get("AuditEvent/_history")),
        (400, system.get("?_type=AuditEvent,Patient")),
        (400, system.get("Patient?_revinclude=AuditEvent:patient")),
        (400, system.get("Patient?_has:AuditEvent:patient:action=R")),
        (400, system.get("Provenance?entity:AuditEvent.action=R")),
        (400, system.get("Patient/a/AuditEvent")),
        (400, system.get("Patient/a/$everything?_type=AuditEvent")),
        (400, system.get("AuditEvent?_include=AuditEvent:agent")),
    ] {
        let answer = call.await.expect_status(status);
        assert!(answer.text().contains("AuditEvent") || answer.text().contains("audit trail"), "{}", answer.describe());
    }
    let entry = |method: &str, url: &str| {
        object! { "request": object! { "method": method, "url": url }, "resource": event.clone() }
    };
    for kind in ["batch", "transaction"] {
        let bundle = object! { "resourceType": "Bundle", "type": kind, "entry": array![entry("POST", "AuditEvent")] };
        let answer = system.post("").json(&bundle).await;
        assert!(answer.status == 405 || answer.text().contains("\"405 "), "{}", answer.describe());
    }
    let read = object! { "resourceType": "Bundle", "type": "batch", "entry": array![
        object! { "request": object! { "method": "GET", "url": format!("AuditEvent/{id}") } },
    ] };
    assert!(system.post("").json(&read).await.expect_status(200).text().contains("\"200 OK\""));
    let statement = system.get("metadata").await.expect_status(200).json();
    let rest = &statement.list("rest")[0];
    let stated = rest.list("resource").iter().find(|it| it.str("type") == Some("AuditEvent")).unwrap();
    let codes: Vec<_> = stated.list("interaction").iter().filter_map(|it| it.str("code")).collect();
    assert_eq!(codes, ["read", "search-type"]);
    for parameter in stated.list("searchParam").iter().filter_map(|it| it.str("name")) {
        let value = match parameter {
            "date" | "_lastUpdated" => "ge2020",
            "entity" => "Patient/a",
            _ => "a",
        };
        system.get(&format!("AuditEvent?{parameter}={value}")).await.expect_status(200);
    }
}

async fn the_trail_is_searched(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    system.get("Patient/a").await.expect_status(200);
    system.get("Patient/none").await.expect_status(404);
    let count = async |query: &str| system.get(&format!("AuditEvent?{query}")).await.expect_status(200).matches().len();
    assert_eq!(count("entity=Patient/a&action=C").await, 1);
    assert_eq!(count("patient=a&subtype=read&outcome=0").await, 1);
    assert_eq!(count("outcome=4&subtype=read").await, 1);
    assert_eq!(count("outcome=8").await, 0);
    assert_eq!(count("type=rest&action=C,R&date=ge2020&agent:identifier=operator").await, 4);
    assert_eq!(count("date=lt2020").await, 0);
    assert_eq!(count("entity=Patient/a&subtype=create,read&address=127.0.0.1&date=gt2020-01-01T00:00:00Z").await, 2);
    assert!(count("subtype=token-by-operator").await >= 1, "tokens of the command line are events");
    let answer = system.get("AuditEvent?subtyp=x").await.expect_status(400);
    assert!(answer.text().contains("subtype"), "{}", answer.describe());
    let whole = trail(&system).await;
    let ids: Vec<&str> = whole.iter().filter_map(|event| event.str("id")).collect();
    assert!(ids.is_sorted(), "in the order of time");
    let newest = system.get("AuditEvent?_count=2&date=ge2020").await.expect_status(200);
    let older = system.get(&newest.link("next").unwrap()).await.expect_status(200);
    assert!(older.matches()[0] < newest.matches()[1]);
    let back = system.get(&older.link("previous").unwrap()).await.expect_status(200);
    assert_eq!(back.matches(), newest.matches());
    system.get(&newest.link("next").unwrap().replace("ge2020", "ge2021")).await.expect_status(400);
    let counted = system.get("AuditEvent?_summary=count&subtype=read").await.expect_status(200);
    assert_eq!(counted.json().get("total").and_then(Json::as_number), Some("2"));
    let xml = system.get(&format!("AuditEvent/{}", ids[0])).header("accept", "application/fhir+xml").await;
    assert!(xml.expect_status(200).text().contains("<AuditEvent"));
}

async fn re_06_what_cannot_be_audited_is_refused(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    system.get("Patient/a").await.expect_status(200);
    let before = reads(&system).await;
    server.break_trail();
    // What was answered until the server noticed is in the journal.
    let mut answered = 0;
    let refused = loop {
        let answer = system.get("Patient/a").await;
        if answer.status != 200 {
            break answer.expect_status(503);
        }
        assert_eq!(server.engine(), Engine::Sqlite, "PostgreSQL has no journal");
        answered += 1;
    };
    assert!(
        refused.text().contains("\"transient\"") && !refused.text().contains("\"Patient\""),
        "{}",
        refused.describe()
    );
    system.get("metadata").await.expect_status(200);
    if server.engine() == Engine::Postgres {
        let write = system.put("Patient/b").json(&object! { "resourceType": "Patient", "id": "b" }).await;
        assert_eq!(write.status, 503, "{}", write.describe());
    }
    server.mend_trail();
    while system.get("Patient/a").await.status == 503 {}
    assert_eq!(reads(&system).await, before + answered + 1, "what was answered is told, what was refused is not");
    if server.engine() == Engine::Postgres {
        system.get("Patient/b").await.expect_status(404);
    }
}

/// How many reads the trail tells of that succeeded.
async fn reads(system: &Client) -> usize {
    let found = system.get("AuditEvent?subtype=read&outcome=0&_count=1000").await.expect_status(200);
    found.matches().len()
}
