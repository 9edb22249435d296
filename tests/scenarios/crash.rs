//! kill -9 in the middle of a storm of writes: what was acknowledged is there, once, and as it was. (RE-01, RE-02)

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fhir::json::Json;
use fhir::object;
use tests::random::Random;
use tests::{Client, TestServer};

const WRITERS: usize = 8;

tests::on_both_engines!(re_02_kill_9_loses_nothing_acknowledged_and_doubles_nothing);

/// What the server has acknowledged: body's marker by `Patient/id`, and identifiers created conditionally.
#[derive(Default)]
struct Ledger {
    resources: BTreeMap<String, String>,
    claimed: Vec<String>,
}

impl Ledger {
    fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.claimed.is_empty()
    }
}

async fn re_02_kill_9_loses_nothing_acknowledged_and_doubles_nothing(mut server: TestServer) {
    let rounds = std::env::var("TRIBUTARY_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let system = server.system();
    let mut random = Random::seeded(tests::random::seed(2));
    let mut acknowledged = 0;
    for round in 0..rounds {
        let ledger = storm(&mut server, &system, round, Duration::from_millis(20 + random.below(120) as u64)).await;
        server.restart().await;
        acknowledged += ledger.resources.len() + ledger.claimed.len();
        check(&system, &ledger, round).await;
    }
    assert!(acknowledged > rounds, "the storm wrote something: {acknowledged} writes in {rounds} rounds");
    println!("{rounds} rounds, {acknowledged} acknowledged writes, all there");
}

/// Lets all writers write for a while, then kills the server under them.
async fn storm(server: &mut TestServer, system: &Client, round: usize, length: Duration) -> Ledger {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let over = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (system, ledger, over) = (system.clone(), ledger.clone(), over.clone());
        writers.spawn(async move {
            for turn in 0.. {
                let marker = format!("r{round}-w{writer}-t{turn}");
                if over.load(Ordering::Relaxed) || !write(&system, &ledger, writer, turn, &marker).await {
                    return;
                }
            }
        });
    }
    // A fresh process reads its definitions at the first write: the storm begins when that is done.
    let begins = async {
        while ledger.lock().expect("no writer panicked").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), begins).await.expect("the server acknowledges a write");
    tokio::time::sleep(length).await;
    server.kill();
    over.store(true, Ordering::Relaxed);
    writers.join_all().await;
    std::mem::take(&mut *ledger.lock().expect("no writer panicked"))
}

/// One write of one of three kinds; false once the server is gone.
async fn write(system: &Client, ledger: &Mutex<Ledger>, writer: usize, turn: usize, marker: &str) -> bool {
    let patient = |id: Option<&str>| {
        let mut patient = object! {
            "resourceType": "Patient",
            "identifier": fhir::array![object! { "system": "urn:example:storm", "value": marker }],
        };
        if let (Some(id), Some(members)) = (id, patient.as_object_mut()) {
            members.insert("id", id);
        }
        patient
    };
    let counter = format!("counter-{writer}");
    let call = match turn % 3 {
        0 => system.post("Patient").json(&patient(None)),
        1 => system.put(&format!("Patient/{counter}")).json(&patient(Some(&counter))),
        _ => {
            let criteria = format!("identifier=urn:example:storm|{marker}");
            system.post("Patient").header("if-none-exist", &criteria).json(&patient(None))
        }
    };
    let Ok(answer) = call.try_send().await else { return false };
    assert!(matches!(answer.status, 200 | 201), "{}", answer.describe());
    let mut ledger = ledger.lock().expect("no writer panicked");
    if turn % 3 == 2 {
        ledger.claimed.push(marker.to_owned());
    } else {
        let id = answer.json().str("id").expect("a written resource has an id").to_owned();
        ledger.resources.insert(format!("Patient/{id}"), marker.to_owned());
    }
    true
}

/// Whether all that the ledger says is so.
async fn check(system: &Client, ledger: &Ledger, round: usize) {
    for (path, marker) in &ledger.resources {
        let found = system.get(path).await.expect_status(200).json();
        let value = found.at(&["identifier", "value"]).and_then(Json::as_str).unwrap_or_default().to_owned();
        // A counter may be one write further: the one that was not answered when the server died.
        let ahead = path.contains("counter-") && turn(&value) > turn(marker);
        assert!(value == *marker || ahead, "{path} says {value} instead of {marker} after round {round}");
    }
    for marker in &ledger.claimed {
        let criteria = format!("identifier=urn:example:storm|{marker}");
        let again = object! {
            "resourceType": "Patient",
            "identifier": fhir::array![object! { "system": "urn:example:storm", "value": marker.as_str() }],
        };
        system.post("Patient").header("if-none-exist", &criteria).json(&again).await.expect_status(200);
        assert_eq!(system.matches(&format!("Patient?{criteria}")).await.len(), 1, "{marker} after round {round}");
    }
}

fn turn(marker: &str) -> Option<usize> {
    marker.rsplit("-t").next()?.parse().ok()
}
