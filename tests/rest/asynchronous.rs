//! Tests of `server/src/rest/asynchronous.rs`, `server/src/jobs.rs` and `server/src/jobs/interaction.rs`.

use std::time::Duration;

use fhir::json::Json;
use fhir::{array, object};
use tests::{Answer, Client, TestServer};

tests::on_both_engines!(
    searches_and_histories,
    bundles_are_carried_out_once,
    re_15_conditions_hold_later_too,
    leniency_is_kept_for_every_search,
    what_fails_says_so_in_the_answer,
    lk_32_nobody_else_sees_a_job,
    lk_40_an_answer_goes_with_the_care_relation,
    a_job_can_be_cancelled_and_forgotten,
    jobs_survive_a_restart,
    what_is_answered_at_once_stays_so,
    jobs_of_a_caller_are_bounded,
    re_02_kill_9_repeats_reads_and_never_writes,
);

const ASYNC: (&str, &str) = ("Prefer", "respond-async");

async fn searches_and_histories(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id, "gender": "male" }).await;
    }
    for (path, kind, found) in [
        ("Patient?gender=male&_count=1", "searchset", 1),
        ("Patient?gender=female", "searchset", 0),
        ("Patient/_history", "history", 2),
        ("Patient/a/_history", "history", 1),
        ("_history", "history", 2),
    ] {
        let accepted = system.get(path).header(ASYNC.0, ASYNC.1).await.expect_status(202);
        assert_eq!(accepted.header("preference-applied"), Some("respond-async"));
        assert_eq!(accepted.json().str("resourceType"), Some("OperationOutcome"));
        let done = finished(&system, &accepted).await;
        assert!(done.header("expires").is_some());
        let (status, resource) = entry(&done);
        assert_eq!(status, "200 OK");
        let resource = resource.unwrap();
        assert_eq!((resource.str("type"), resource.list("entry").len()), (Some(kind), found), "{path}");
        let direct = system.get(path).await.expect_status(200).json();
        assert_eq!(direct.list("entry"), resource.list("entry"), "the answer is that of the same request without it");
    }
    let form = system.post("Patient/_search?_count=1").header(ASYNC.0, ASYNC.1).form(&[("gender", "male")]).await;
    let (_, resource) = entry(&finished(&system, &form.expect_status(202)).await);
    assert_eq!(resource.unwrap().list("entry").len(), 1);
    let lenient = system.get("Patient?gender=male&typo=1").header("Prefer", "respond-async, handling=lenient").await;
    let (status, _) = entry(&finished(&system, &lenient.expect_status(202)).await);
    assert_eq!(status, "200 OK");
}

async fn re_15_conditions_hold_later_too(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let labels = crate::operation_meta::labels(&["x"]);
    for (name, version, expected) in [
        ("If-Match", "W/\"77\"", "412"),
        ("If-None-Match", "*", "412"),
        ("If-Match", "W/\"1\"", "200"),
        ("If-Match", "W/\"1\"", "412"),
    ] {
        let call = system.post("Patient/a/$meta-add").header(ASYNC.0, ASYNC.1).header(name, version);
        let accepted = call.json(&labels).await.expect_status(202);
        let (status, _) = entry(&finished(&system, &accepted).await);
        assert_eq!(&status[..3], expected, "{name}: {version}");
    }
    assert_eq!(system.get("Patient/a").await.header("etag"), Some("W/\"2\""));
    let odd = system.post("Patient/a/$meta-add").header(ASYNC.0, ASYNC.1).header("If-None-Match", "W/\"1\"");
    odd.json(&labels).await.expect_status(400);
}

async fn leniency_is_kept_for_every_search(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let searches = ["Patient?typo=1", "Patient/a/Observation?typo=1", "?_type=Patient&typo=1"];
    for (handling, expected) in [("handling=lenient", "200"), ("handling=strict", "400")] {
        for path in searches {
            let prefer = format!("respond-async, {handling}");
            let accepted = system.get(path).header("Prefer", &prefer).await.expect_status(202);
            let (status, _) = entry(&finished(&system, &accepted).await);
            assert_eq!(&status[..3], expected, "{path} {handling}");
        }
        let entries = searches.map(|url| object! { "request": object! { "method": "GET", "url": url } });
        let batch = object! { "resourceType": "Bundle", "type": "batch", "entry": entries.to_vec() };
        let answer = system.post("").header("Prefer", handling).json(&batch).await.expect_status(200).json();
        for entry in answer.list("entry") {
            let status = entry.at(&["response", "status"]).and_then(Json::as_str).unwrap();
            assert_eq!(&status[..3], expected, "in a batch, {handling}");
        }
    }
}

async fn bundles_are_carried_out_once(server: TestServer) {
    let system = server.system();
    for kind in ["transaction", "batch"] {
        let entries = (0..20).map(|_| create(kind)).collect::<Vec<_>>();
        let bundle = object! { "resourceType": "Bundle", "type": kind, "entry": entries };
        let accepted = system.post("").header(ASYNC.0, ASYNC.1).json(&bundle).await.expect_status(202);
        let (status, resource) = entry(&finished(&system, &accepted).await);
        assert_eq!(status, "200 OK");
        let resource = resource.unwrap();
        assert_eq!(resource.str("type"), Some(format!("{kind}-response").as_str()));
        assert_eq!(resource.list("entry").len(), 20);
        assert_eq!(system.matches(&format!("Patient?identifier=urn:example:async|{kind}")).await.len(), 20);
    }
}

async fn what_fails_says_so_in_the_answer(server: TestServer) {
    let system = server.system();
    let refused = object! {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": array![object! { "request": object! { "method": "POST", "url": "Nothing" } }],
    };
    let typo = system.get("Patient?typo=1").header(ASYNC.0, ASYNC.1).await;
    let bundle = system.post("").header(ASYNC.0, ASYNC.1).json(&refused).await;
    for (accepted, expected, named) in [(typo, "400", "typo"), (bundle, "404", "Nothing")] {
        let done = finished(&system, &accepted.expect_status(202)).await;
        let (status, _) = entry(&done);
        assert!(status.starts_with(expected), "{status}");
        assert!(done.text().contains(named), "{}", done.describe());
        assert!(done.json().list("entry")[0].at(&["response", "outcome", "issue"]).is_some());
    }
    server.anonymous().get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(401);
    system.post("").header(ASYNC.0, ASYNC.1).body("application/fhir+json", "{").await.expect_status(400);
    system.post("").header(ASYNC.0, ASYNC.1).body("text/plain", "{}").await.expect_status(415);
    let narrow = server.with_scope("system/Patient.rs", None);
    let accepted = narrow.get("Observation").header(ASYNC.0, ASYNC.1).await.expect_status(202);
    assert!(entry(&finished(&narrow, &accepted).await).0.starts_with("403"));
}

async fn lk_32_nobody_else_sees_a_job(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        system.store(&object! { "resourceType": "Patient", "id": id }).await;
    }
    let (a, b) = (server.patient("a"), server.patient("b"));
    let accepted = a.get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(202);
    let place = accepted.header("content-location").unwrap().to_owned();
    let (_, resource) = entry(&finished(&a, &accepted).await);
    assert_eq!(resource.unwrap().list("entry").len(), 1, "only what the token may see");
    let unknown = b.get("_async/00000000-0000-4000-8000-000000000000").await.expect_status(404);
    for other in [&b, &system, &server.with_scope("patient/Patient.rs", Some("a"))] {
        let hidden = other.get(&place).await.expect_status(404);
        assert_eq!(hidden.text(), unknown.text(), "as if it had never been");
        other.delete(&place).await.expect_status(404);
    }
    server.anonymous().get(&place).await.expect_status(401);
    server.patient("a").get(&place).await.expect_status(200);
}

async fn lk_40_an_answer_goes_with_the_care_relation(server: TestServer) {
    let system = server.system();
    let cared_for = |id: &str| {
        object! {
            "resourceType": "Patient",
            "id": id,
            "generalPractitioner": array![object! { "reference": "Practitioner/d" }],
        }
    };
    system.store(&object! { "resourceType": "Practitioner", "id": "d" }).await;
    system.store(&cared_for("a")).await;
    server.command(&["user", "add", "doctor", "--fhir-user", "Practitioner/d", "--json"]);
    let token = server.command(&["token", "--scope", "user/Patient.rs", "--user", "doctor"]);
    let doctor = server.anonymous().with_token(token.trim());
    let accepted = doctor.get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(202);
    let place = accepted.header("content-location").unwrap().to_owned();
    let (_, resource) = entry(&finished(&doctor, &accepted).await);
    assert_eq!(resource.unwrap().list("entry").len(), 1);
    system.store(&cared_for("b")).await;
    doctor.get(&place).await.expect_status(200);
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    let gone = doctor.get(&place).await.expect_status(410);
    assert_eq!(gone.json().str("resourceType"), Some("OperationOutcome"));
    assert!(!gone.text().contains("Patient/a"), "{}", gone.text());
    doctor.delete(&place).await.expect_status(202);
}

async fn a_job_can_be_cancelled_and_forgotten(server: TestServer) {
    let system = server.system();
    let accepted = system.get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(202);
    let place = accepted.header("content-location").unwrap().to_owned();
    finished(&system, &accepted).await;
    system.delete(&place).await.expect_status(202);
    system.get(&place).await.expect_status(404);
    system.delete(&place).await.expect_status(404);
    let at_once = system.get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(202);
    let place = at_once.header("content-location").unwrap().to_owned();
    system.delete(&place).await.expect_status(202);
    tokio::time::sleep(Duration::from_millis(300)).await;
    system.get(&place).await.expect_status(404);
}

async fn jobs_survive_a_restart(mut server: TestServer) {
    let system = server.system();
    let bundle = object! { "resourceType": "Bundle", "type": "batch", "entry": array![create("revoked")] };
    // Some of them wait when the server is killed, some may be under way.
    let mut places = Vec::new();
    for _ in 0..8 {
        let accepted = system.post("").header(ASYNC.0, ASYNC.1).json(&bundle).await.expect_status(202);
        places.push(accepted.header("content-location").unwrap().to_owned());
    }
    server.restart().await;
    for place in places {
        let done = finished_at(&system, &place).await;
        assert!(entry(&done).0.starts_with("200") || entry(&done).0.starts_with("503"), "{}", done.describe());
    }
}

async fn what_is_answered_at_once_stays_so(server: TestServer) {
    let system = server.system();
    let patient = object! { "resourceType": "Patient", "id": "a" };
    let put = system.put("Patient/a").header(ASYNC.0, ASYNC.1).json(&patient).await.expect_status(201);
    assert!(put.header("content-location").is_none() && put.header("preference-applied").is_none());
    system.get("Patient/a").header(ASYNC.0, ASYNC.1).await.expect_status(200);
    system.get("metadata").header(ASYNC.0, ASYNC.1).await.expect_status(200);
    system.get("Patient/a/_history/1").header(ASYNC.0, ASYNC.1).await.expect_status(200);
    system.get("_async/not-there").await.expect_status(404);
    system.get("_async/not-there?x=1").await.expect_status(400);
}

async fn jobs_of_a_caller_are_bounded(server: TestServer) {
    let system = server.system();
    let mut last = None;
    for _ in 0..32 {
        last = Some(system.get("Patient?_count=1").header(ASYNC.0, ASYNC.1).await.expect_status(202));
    }
    let refused = system.get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(429);
    assert!(refused.header("retry-after").is_some());
    let otherwise = server.with_scope("system/Patient.rs", None);
    otherwise.get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(429);
    let last = last.unwrap();
    finished(&system, &last).await;
    server.patient("a").get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(202);
    system.delete(last.header("content-location").unwrap()).await.expect_status(202);
    system.get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(202);
}

/// The server is killed again and again while jobs run. Reads are done in the end; a write is applied once, or not at
/// all, or it is not known and said so: never twice.
async fn re_02_kill_9_repeats_reads_and_never_writes(mut server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "warm" }).await;
    let (mut unknown, mut known) = (0, 0);
    for round in 0..3_u64 {
        let marker = format!("round-{round}");
        let entries = (0..300).map(|_| create(&marker)).collect::<Vec<_>>();
        let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": entries };
        let write = system.post("").header(ASYNC.0, ASYNC.1).json(&bundle).await.expect_status(202);
        let read = system.get("Patient?_count=200").header(ASYNC.0, ASYNC.1).await.expect_status(202);
        tokio::time::sleep(Duration::from_millis(round * 90)).await;
        server.restart().await;
        let (status, _) = entry(&finished(&system, &read).await);
        assert_eq!(status, "200 OK", "a read is begun anew");
        let done = finished(&system, &write).await;
        let (status, _) = entry(&done);
        let count = system.get(&format!("Patient?identifier=urn:example:async|{marker}&_summary=count")).await;
        let count: usize = count.json().get("total").and_then(Json::as_number).unwrap().parse().unwrap();
        if status == "200 OK" {
            known += 1;
            assert_eq!(count, 300, "round {round}");
        } else {
            unknown += 1;
            assert!(status.starts_with("503") && done.text().contains("not repeated"), "{}", done.describe());
            assert!(count == 0 || count == 300, "all or nothing, and once: {count}");
        }
    }
    println!("{known} transactions were answered, of {unknown} it was said that it is not known");
}

fn create(marker: &str) -> Json {
    object! {
        "request": object! { "method": "POST", "url": "Patient" },
        "resource": object! {
            "resourceType": "Patient",
            "identifier": array![object! { "system": "urn:example:async", "value": marker }],
        },
    }
}

/// Asks the status until the answer is there.
async fn finished(client: &Client, accepted: &Answer) -> Answer {
    finished_at(client, accepted.header("content-location").expect("a 202 says where to ask")).await
}

pub(crate) async fn finished_at(client: &Client, place: &str) -> Answer {
    for _ in 0..2000 {
        let answer = client.get(place).await;
        if answer.status != 202 {
            return answer.expect_status(200);
        }
        assert!(answer.header("x-progress").is_some_and(|text| !text.is_empty() && text.len() < 100));
        assert!(answer.header("retry-after").is_some());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{place} is not done after 40 s");
}

/// Status and resource of the one entry of a batch-response.
fn entry(done: &Answer) -> (String, Option<Json>) {
    let bundle = done.json();
    assert_eq!(bundle.str("type"), Some("batch-response"));
    assert_eq!(bundle.list("entry").len(), 1);
    let entry = &bundle.list("entry")[0];
    let status = entry.at(&["response", "status"]).and_then(Json::as_str).unwrap().to_owned();
    (status, entry.get("resource").cloned())
}
