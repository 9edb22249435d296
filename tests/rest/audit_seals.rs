//! Tests of `server/store/src/audit/seal.rs` and beside it: what somebody with rights on the database changes in the
//! audit trail is found, and what the server does is never taken for such a change.

use std::collections::BTreeMap;

use fhir::object;
use tests::{Engine, TestServer};

use crate::audit::{named, trail};

tests::on_both_engines!(
    co_06_what_is_changed_behind_the_servers_back_is_named,
    co_06_seals_cannot_be_made_or_cut_off_without_being_noticed,
    co_07_many_at_once_make_one_chain,
);

/// Lifts what keeps the database itself from changing events.
fn unlocked(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => {
            "DROP TRIGGER audit_event_stays; DROP TRIGGER audit_event_is_kept; DROP TRIGGER audit_event_is_new; \
             DROP TRIGGER audit_seal_stays; DROP TRIGGER audit_seal_is_kept; DROP TRIGGER audit_seal_is_new"
        }
        Engine::Postgres => "ALTER TABLE audit_event DISABLE TRIGGER ALL; ALTER TABLE audit_seal DISABLE TRIGGER ALL",
    }
}

/// Some accesses with a name each, sealed; the server is stopped. Returns ids of events by the names of requests.
async fn sealed(server: &mut TestServer, count: usize) -> BTreeMap<String, String> {
    let system = server.system();
    system.put("Patient/a").header("x-request-id", "w1").json(&object! { "resourceType": "Patient", "id": "a" }).await;
    for number in 1..=count {
        system.get("Patient/a").header("x-request-id", &format!("r{number}")).await.expect_status(200);
    }
    let event = |event: fhir::json::Json| Some((named(&event)?.to_owned(), event.str("id")?.to_owned()));
    let ids = trail(&system).await.into_iter().filter_map(event).collect();
    server.kill();
    server.command(&["audit", "seal"]);
    let (good, told) = server.try_command(&["audit", "verify"]);
    assert!(good && told.contains("as written") && !told.contains("not sealed"), "{told}");
    ids
}

async fn co_06_what_is_changed_behind_the_servers_back_is_named(mut server: TestServer) {
    let ids = sealed(&mut server, 6).await;
    server.tamper_beside(unlocked(server.engine()));
    if server.engine() == Engine::Sqlite {
        server.tamper(unlocked(server.engine()));
    }
    let of = |name: &str| format!("WHERE request = '{name}'");
    let faults = |text: &str| text.lines().filter(|line| line.starts_with("         event")).count();
    // In this order, each beside those before it.
    let whole =
        "kind, subtype, action, status, client, account, fhir_user, address, request, patients, entities, query";
    let (zeros, tail) = match server.engine() {
        Engine::Sqlite => ("zeroblob(16)", "x'0190000000007000800000000000000f'"),
        Engine::Postgres => ("'\\x00000000000000000000000000000000'", "'\\x0190000000007000800000000000000f'"),
    };
    let swap = format!(
        "UPDATE audit_event SET id = {zeros} {third}; \
         CREATE TABLE kept AS SELECT id FROM audit_event {fourth}; \
         UPDATE audit_event SET id = (SELECT id FROM was) {fourth}; UPDATE audit_event SET id = (SELECT id FROM kept) {third}",
        third = of("r3"),
        fourth = of("r4"),
    );
    let steps = [
        (
            "was changed",
            "w1",
            1,
            server.engine() == Engine::Sqlite,
            format!("UPDATE audit_event SET status = 200 {}", of("w1")),
        ),
        ("was changed", "r1", 2, false, format!("UPDATE audit_event SET account = 'somebody else' {}", of("r1"))),
        ("is missing", "r2", 3, false, format!("DELETE FROM audit_event {}", of("r2"))),
        ("was changed", "r4", 5, false, format!("CREATE TABLE was AS SELECT id FROM audit_event {}; {swap}", of("r3"))),
        (
            "was added",
            "",
            6,
            false,
            format!("INSERT INTO audit_event SELECT {tail}, {whole} FROM audit_event {}", of("r5")),
        ),
    ];
    for (what, name, count, in_database, statement) in steps {
        if in_database {
            server.tamper(&statement);
        } else {
            server.tamper_beside(&statement);
        }
        let (good, told) = server.try_command(&["audit", "verify"]);
        let id = ids.get(name).map_or("01900000-0000-7000-8000-00000000000f", String::as_str);
        let line = told.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("{name}: {told}"));
        assert!(!good && line.contains(what) && faults(&told) == count, "{name}: {told}");
        assert!(told.contains("the audit trail is not as it was written; first: event"), "{told}");
    }
    let hidden = format!("DELETE FROM audit_patient WHERE id = (SELECT id FROM audit_event {})", of("r6"));
    server.tamper_beside(&hidden);
    let (_, told) = server.try_command(&["audit", "verify"]);
    assert!(told.lines().any(|line| line.contains(&ids["r6"]) && line.contains("not found by its patients")), "{told}");
}

async fn co_06_seals_cannot_be_made_or_cut_off_without_being_noticed(mut server: TestServer) {
    let ids = sealed(&mut server, 3).await;
    let noted = server.command(&["audit", "seal"]);
    let noted: Vec<&str> = noted.lines().flat_map(|line| ["--noted", line]).collect();
    let verify = |server: &TestServer| server.try_command(&[&["audit", "verify"], noted.as_slice()].concat());
    server.restart().await;
    server.system().get("Patient/a").await.expect_status(200);
    server.kill();
    let (good, told) = verify(&server);
    assert!(good, "a trail that grew is as it was noted: {told}");
    // Whoever says that events were old enough, and removes them, lacks the key.
    let upto = match server.engine() {
        Engine::Sqlite => "x'ffffffffffffffffffffffffffffffff'",
        Engine::Postgres => "'\\xffffffffffffffffffffffffffffffff'",
    };
    server.tamper_beside(&format!(
        "INSERT INTO audit_retention VALUES (1, {upto}) ON CONFLICT (one) DO UPDATE SET upto = excluded.upto"
    ));
    server.tamper_beside("DELETE FROM audit_event WHERE request = 'r1'");
    let (good, told) = verify(&server);
    assert!(!good && told.contains(&format!("event {} of ", ids["r1"])) && told.contains("is missing"), "{told}");
    server.tamper_beside(&format!(
        "INSERT INTO audit_anchor SELECT 1, {upto}, 1, hash, mac FROM audit_seal WHERE number = 1"
    ));
    assert!(verify(&server).1.contains("what audit_anchor says of removed events was not signed"));
    server.tamper_beside("DELETE FROM audit_anchor");
    // Nor do seals fit that they make themselves.
    server.tamper_beside(unlocked(server.engine()));
    let other = "UPDATE audit_seal SET mac = hash WHERE number = 1";
    server.tamper_beside(other);
    assert!(verify(&server).1.contains("seal 1 was not made with this server's secret key"));
    server.tamper_beside("UPDATE audit_seal SET hash = mac WHERE number = 1");
    server.tamper_beside("UPDATE audit_seal SET events = hash WHERE number = 1");
    assert!(verify(&server).1.contains("seal 1 was changed"));
    server.tamper_beside("DELETE FROM audit_seal WHERE number = 1");
    let (_, told) = verify(&server);
    assert!(told.contains("seals 1 to 1 are missing") || told.contains("before seal"), "{told}");
    // All of it taken away looks like a trail that never was, but for who noted its end.
    server.tamper_beside("DELETE FROM audit_patient; DELETE FROM audit_event; DELETE FROM audit_seal");
    let (good, told) = verify(&server);
    assert!(!good && told.contains("the chain ends with seal 0, before seal"), "{told}");
}

async fn co_07_many_at_once_make_one_chain(mut server: TestServer) {
    let system = server.system();
    for _ in 0..2 {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..64 {
            let system = system.clone();
            tasks.spawn(async move {
                let id = format!("p{number}");
                let patient = object! { "resourceType": "Patient", "id": id.as_str(), "active": number % 2 == 0 };
                system.put(&format!("Patient/{id}")).json(&patient).await;
                system.get(&format!("Patient/{id}")).await.expect_status(200);
            });
        }
        for _ in 0..3 {
            let (good, told) = server.try_command(&["audit", "verify"]);
            assert!(good, "while it is written: {told}");
        }
        tasks.join_all().await;
        server.restart().await;
    }
    server.command(&["audit", "seal"]);
    let told = server.command(&["audit", "verify", "--json"]);
    let chains: serde_json::Value = serde_json::from_str(&told).unwrap();
    let events: u64 = chains.as_array().unwrap().iter().filter_map(|chain| chain["events"].as_u64()).sum();
    // the first round's 64 creations and reads, the second's reads and changes of nothing
    assert!(events >= 4 * 64, "{told}");
}
