//! Tests of `server/src/jobs/export.rs` and `server/src/jobs/interaction.rs`: what was asked for while rights lasted is
//! read, finished and told of by those that there are now.

use std::collections::BTreeSet;
use std::time::Duration;

use fhir::object;
use tests::{Client, Engine, TestServer};

use crate::asynchronous::finished_at;
use crate::audit::{named, references, trail};
use crate::operation_export::{ASYNC, Service, ended, kicked_off, lines, manifest, seed};
use crate::operation_export_state::fill;

tests::on_both_engines!(
    lk_40_what_was_found_of_everybody_goes_with_the_right_to_it,
    lk_40_an_export_ends_where_its_client_is_confined_meanwhile,
    co_01_whoever_is_exported_is_told_of,
    co_01_an_export_in_steps_tells_of_everybody,
    lk_52_exports_are_counted_by_client_whatever_its_scopes,
    lk_52_clients_take_turns,
    re_28_an_export_outlives_its_token,
    an_export_whose_token_was_revoked_is_refused,
);

/// Confines a client to some patients, as its page of the portal does; or to nobody in particular again.
fn confine(server: &TestServer, service: &Service, patients: Option<&str>) {
    let patients = patients.map_or("NULL".to_owned(), |patients| format!("'{patients}'"));
    server.tamper(&format!("UPDATE client SET patients = {patients} WHERE id = '{}'", service.id));
}

async fn lk_40_what_was_found_of_everybody_goes_with_the_right_to_it(server: TestServer) {
    seed(&server.system()).await;
    let service = Service::new(&server);
    let client = service.client(&server, "system/*.rs").await;
    let export = kicked_off(&client, "$export?_type=Patient").await;
    let file = manifest(&client, &export).await.list("output")[0].str("url").unwrap().to_owned();
    let accepted = client.get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(202);
    let search = accepted.header("content-location").unwrap().to_owned();
    finished_at(&client, &search).await;
    let refused = client.get("Nothing").header(ASYNC.0, ASYNC.1).await.expect_status(202);
    let refused = refused.header("content-location").unwrap().to_owned();
    finished_at(&client, &refused).await;
    for patients in ["a", ""] {
        confine(&server, &service, Some(patients));
        for client in [&client, &service.client(&server, "system/*.rs").await] {
            for address in [&export, &file, &search] {
                let gone = client.get(address).await.expect_status(410);
                assert!(!gone.text().contains("Patient/"), "{}", gone.describe());
            }
            assert_eq!(client.get("Patient").await.entries("match").len(), patients.len(), "as everywhere else");
        }
    }
    confine(&server, &service, None);
    for address in [&export, &file, &search, &refused] {
        client.get(address).await.expect_status(200);
    }
}

async fn lk_40_an_export_ends_where_its_client_is_confined_meanwhile(mut server: TestServer) {
    fill(&server.system()).await;
    let service = Service::new(&server);
    let client = service.client(&server, "system/*.rs").await;
    // An export may be done before its client is confined: then it is there again once the client is not.
    let mut ending = None;
    for _ in 0..10 {
        let place = kicked_off(&client, "$export").await;
        until_something_is_saved(&client, &place).await;
        confine(&server, &service, Some("p1"));
        ended(&client, &place).await.expect_status(410);
        confine(&server, &service, None);
        let answer = client.get(&place).await;
        client.delete(&place).await.expect_status(202);
        if answer.status != 200 {
            ending = Some(answer);
            break;
        }
    }
    let ending = ending.expect("one of them was under way").expect_status(410);
    assert!(ending.text().contains("under way"), "{}", ending.describe());
    // Confined while no server ran: whoever takes the export up does not finish it either.
    let place = kicked_off(&client, "$export").await;
    until_something_is_saved(&client, &place).await;
    server.kill();
    confine(&server, &service, Some("p1"));
    server.tamper("UPDATE job SET due_at = 0");
    server.restart().await;
    ended(&client, &place).await.expect_status(410);
}

/// Waits until a part is saved, or all is done.
async fn until_something_is_saved(client: &Client, place: &str) {
    for _ in 0..3000 {
        let answer = client.get(place).await;
        if answer.status != 202 || !answer.header("x-progress").is_some_and(|text| text.starts_with("0 ")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{place} gets nowhere in 6 s");
}

/// The patients whom the events of an export name.
async fn told_of(server: &TestServer, place: &str) -> BTreeSet<String> {
    let (_, id) = place.rsplit_once('/').unwrap();
    let events = trail(&server.system()).await.into_iter().filter(|event| named(event) == Some(id));
    let events: Vec<_> = events.collect();
    assert!(!events.is_empty());
    let patients = events.iter().flat_map(references).filter_map(|it| it.strip_prefix("Patient/"));
    patients.map(str::to_owned).collect()
}

async fn co_01_whoever_is_exported_is_told_of(server: TestServer) {
    let system = server.system();
    seed(&system).await;
    let service = Service::new(&server);
    let client = service.client(&server, "system/*.rs").await;
    let mut since = String::new();
    for (path, patients) in [
        ("$export", &["a", "b", "c", "d"][..]),
        ("Patient/$export?_type=Observation", &["a", "b", "c", "d"]),
        ("$export?_type=Patient&_typeFilter=Patient?gender%3Dfemale", &["b"]),
        ("$export?_type=Patient&_elements=gender", &["a", "b", "c", "d"]),
        ("Group/g/$export?_type=Patient", &["a", "b"]),
        ("$export?_type=Organization", &[]),
    ] {
        let place = kicked_off(&client, path).await;
        manifest(&client, &place).await.str("transactionTime").unwrap().clone_into(&mut since);
        assert_eq!(told_of(&server, &place).await, patients.iter().map(|&it| it.to_owned()).collect(), "{path}");
        client.delete(&place).await.expect_status(202);
    }
    for event in ["Patient/a", "Patient/d"] {
        let own = server.with_scope("patient/AuditEvent.rs", event.strip_prefix("Patient/"));
        let seen = own.get(&format!("AuditEvent?agent:identifier={}", service.id)).await.entries("match");
        assert!(seen.iter().any(|it| references(it).contains(&event)), "{event}: who looked");
    }
    // Of who is gone, the deletion is told.
    system.store(&object! { "resourceType": "Patient", "id": "last" }).await;
    system.delete("Patient/last").await.expect_status(204);
    let place = kicked_off(&client, &format!("$export?_type=Patient&_since={since}")).await;
    assert_eq!(lines(&client, &manifest(&client, &place).await, "deleted").await.len(), 1);
    assert_eq!(told_of(&server, &place).await, BTreeSet::from(["last".to_owned()]));
}

async fn co_01_an_export_in_steps_tells_of_everybody(mut server: TestServer) {
    let system = server.system();
    fill(&system).await;
    let place = kicked_off(&system, "$export").await;
    until_something_is_saved(&system, &place).await;
    server.restart().await;
    if server.engine() == Engine::Postgres {
        server.tamper("UPDATE job SET due_at = 0");
    }
    ended(&system, &place).await.expect_status(200);
    assert_eq!(told_of(&server, &place).await.len(), 100, "whatever stopped it");
}

async fn lk_52_exports_are_counted_by_client_whatever_its_scopes(server: TestServer) {
    let server = TestServer::start_with(server.engine(), &["--bulk-exports", "2"]).await;
    let (own, other) = (Service::new(&server), Service::new(&server));
    let mut places = Vec::new();
    for scope in ["system/*.rs", "system/Patient.rs"] {
        places.push(kicked_off(&own.client(&server, scope).await, "$export").await);
    }
    for scope in ["system/*.rs", "system/Patient.rs", "system/Observation.rs", "system/Patient.rs system/Group.rs"] {
        let refused = own.client(&server, scope).await.get("$export").header(ASYNC.0, ASYNC.1).await;
        assert_eq!(refused.expect_status(429).header("retry-after"), Some("60"), "{scope}");
    }
    kicked_off(&other.client(&server, "system/*.rs").await, "$export").await;
    let client = own.client(&server, "system/*.rs").await;
    client.delete(&places[0]).await.expect_status(202);
    kicked_off(&own.client(&server, "system/Observation.rs").await, "$export").await;
    // Other requests that are answered later are counted by themselves.
    client.get("Patient").header(ASYNC.0, ASYNC.1).await.expect_status(202);
}

async fn lk_52_clients_take_turns(server: TestServer) {
    fill(&server.system()).await;
    let (own, other) = (Service::new(&server), Service::new(&server));
    let (many, one) = (own.client(&server, "system/*.rs").await, other.client(&server, "system/*.rs").await);
    let mut places = Vec::new();
    for _ in 0..3 {
        places.push(kicked_off(&many, "$export").await);
    }
    ended(&one, &kicked_off(&one, "$export").await).await.expect_status(200);
    let mut done = 0;
    for place in &places {
        done += usize::from(many.get(place).await.status == 200);
    }
    assert!(done < places.len(), "all of the other client's came before");
    for place in &places {
        many.delete(place).await.expect_status(202);
    }
}

/// A day and an hour, microseconds.
const LONG: i64 = 25 * 3_600_000_000;

/// An export that no worker takes before [`take_up`], of a token that is given with it.
async fn parked(server: &mut TestServer, service: &Service) -> (String, String) {
    fill(&server.system()).await;
    let token = service.token(server, "system/*.rs").await;
    let place = kicked_off(&server.anonymous().with_token(&token), "$export").await;
    server.kill();
    server.tamper(&format!("UPDATE job SET state = 'waiting', due_at = {} WHERE state <> 'done'", i64::MAX));
    server.restart().await;
    (place, token)
}

fn take_up(server: &TestServer) {
    server.tamper("UPDATE job SET due_at = 0");
}

async fn re_28_an_export_outlives_its_token(mut server: TestServer) {
    let service = Service::new(&server);
    let (place, token) = parked(&mut server, &service).await;
    // As if it had been asked for a day ago.
    server.tamper(&format!("UPDATE job SET created_at = created_at - {LONG}"));
    server
        .tamper(&format!("UPDATE access_token SET created_at = created_at - {LONG}, expires_at = expires_at - {LONG}"));
    // Making tokens removes old ones.
    let client = service.client(&server, "system/*.rs").await;
    client.get(&place).await.expect_status(202);
    take_up(&server);
    ended(&client, &place).await.expect_status(200);
    server.anonymous().with_token(&token).get(&place).await.expect_status(401);
}

async fn an_export_whose_token_was_revoked_is_refused(mut server: TestServer) {
    let service = Service::new(&server);
    let (place, token) = parked(&mut server, &service).await;
    service.post(&server, "/oauth/revoke", &[("token", &token)]).await.expect_status(200);
    take_up(&server);
    let client = service.client(&server, "system/*.rs").await;
    let refused = ended(&client, &place).await.expect_status(403);
    assert_eq!(refused.json().str("resourceType"), Some("OperationOutcome"));
    assert!(refused.text().contains("revoked"), "{}", refused.describe());
}
