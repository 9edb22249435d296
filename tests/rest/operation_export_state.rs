//! Tests of `server/src/jobs/export.rs`: what an export has, whatever happens meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fhir::json::Json;
use fhir::{array, object};
use tests::{Client, Engine, TestServer};

use crate::operation_export::{ASYNC, ended, kicked_off, lines, manifest, name, names, observation, seed};

tests::on_both_engines!(
    what_changed_since_is_never_missed,
    what_has_not_changed_since_is_not_exported,
    re_28_kill_9_loses_and_doubles_no_line,
    sixty_four_kick_offs_at_once,
    what_is_exported_can_be_imported,
    files_end_and_expire,
);

/// Larger than what a part of a file holds, ten times over, so that an export takes some steps.
const MANY: usize = 2400;

/// Exports one after the other, each of what changed since the one before, while patients are written and deleted: all
/// together they have what is there in the end.
async fn what_changed_since_is_never_missed(server: TestServer) {
    let system = server.system();
    let write = |writer: usize| {
        let system = system.clone();
        tokio::spawn(async move {
            for number in 0..60 {
                let id = format!("w{writer}-{}", number % 20);
                if number % 7 == 6 {
                    system.delete(&format!("Patient/{id}")).await;
                } else {
                    let born = format!("2000-01-{:02}", number % 28 + 1);
                    system.store(&object! { "resourceType": "Patient", "id": id.as_str(), "birthDate": born }).await;
                }
            }
        })
    };
    let writers: Vec<_> = (0..4).map(write).collect();
    let mut copy: BTreeMap<String, Json> = BTreeMap::new();
    let mut since = "2000-01-01T00:00:00Z".to_owned();
    let mut last = false;
    for _ in 0..2000 {
        let is_over = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let place = kicked_off(&system, &format!("$export?_type=Patient&_since={since}")).await;
        let manifest = manifest(&system, &place).await;
        for bundle in lines(&system, &manifest, "deleted").await {
            assert_eq!(bundle.str("type"), Some("transaction"));
            for entry in bundle.list("entry") {
                assert_eq!(entry.at(&["request", "method"]).unwrap().as_str(), Some("DELETE"));
                copy.remove(entry.at(&["request", "url"]).unwrap().as_str().unwrap());
            }
        }
        let until = manifest.str("transactionTime").unwrap().to_owned();
        for patient in lines(&system, &manifest, "output").await {
            let changed = patient.at(&["meta", "lastUpdated"]).unwrap().as_str().unwrap().to_owned();
            assert!(changed > since || since.starts_with("2000"), "{changed} {since}");
            assert!(changed <= until, "nothing is newer than the manifest says: {changed} {until}");
            copy.insert(name(&patient), patient);
        }
        system.delete(&place).await.expect_status(202);
        since = until;
        last = is_over;
        if last {
            break;
        }
    }
    assert!(last, "the writers come to an end");
    let there = system.get("Patient?_count=1000").await.entries("match");
    let there: BTreeMap<String, Json> = there.into_iter().map(|it| (name(&it), it)).collect();
    assert_eq!(copy, there);
}

async fn what_has_not_changed_since_is_not_exported(server: TestServer) {
    let system = server.system();
    seed(&system).await;
    let before = manifest(&system, &kicked_off(&system, "Group/g/$export").await).await;
    let since = before.str("transactionTime").unwrap();
    let exported = async |path: &str| {
        let manifest = manifest(&system, &kicked_off(&system, &format!("{path}_since={since}")).await).await;
        names(&lines(&system, &manifest, "output").await)
    };
    // It refers to a Practitioner, and its patient to a role.
    system.store(&observation("o-a", "a", "8480-6")).await;
    for path in ["Group/g/$export?", "Patient/$export?"] {
        assert_eq!(exported(path).await, ["Observation/o-a"], "{path}");
    }
    let doctor = object! { "resourceType": "Practitioner", "id": "dr", "gender": "female" };
    system.store(&doctor).await;
    assert_eq!(exported("Group/g/$export?").await, ["Observation/o-a", "Practitioner/dr"]);
}

/// Observations of a hundred patients, some kilobytes each.
pub(crate) async fn fill(system: &Client) {
    let padding = "0123456789abcdef".repeat(300);
    for round in 0..MANY / 400 {
        let entries = (0..400).map(|number| {
            let id = format!("m{}", round * 400 + number);
            let mut resource = observation(&id, &format!("p{}", number % 100), "8867-4");
            if let Some(object) = resource.as_object_mut() {
                object.insert("note", array![object! { "text": format!("{id} {padding}") }]);
            }
            object! {
                "resource": resource,
                "request": object! { "method": "PUT", "url": format!("Observation/{id}") },
            }
        });
        let entries: Vec<Json> = entries.collect();
        let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": entries };
        system.post("").json(&bundle).await.expect_status(200);
    }
}

async fn re_28_kill_9_loses_and_doubles_no_line(mut server: TestServer) {
    let system = server.system();
    fill(&system).await;
    let place = kicked_off(&system, "$export").await;
    let (mut interrupted, mut seen) = (0, 0);
    while interrupted < 3 {
        let answer = system.get(&place).await;
        if answer.status != 202 {
            break;
        }
        let progress = answer.header("x-progress").unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
        if progress <= seen {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        seen = progress;
        interrupted += 1;
        assert!(answer.bytes().is_empty(), "what is there of the files is not told of");
        server.restart().await;
        if server.engine() == Engine::Postgres {
            server.tamper("UPDATE job SET due_at = 0"); // instead of waiting until the lease has run out
        }
    }
    let manifest = manifest(&system, &place).await;
    let found = names(&lines(&system, &manifest, "output").await);
    let distinct: BTreeSet<_> = found.iter().collect();
    assert_eq!((found.len(), distinct.len()), (MANY, MANY), "after {interrupted} interruptions");
    assert!(interrupted > 0, "at least once it was interrupted");
}

async fn sixty_four_kick_offs_at_once(server: TestServer) {
    let system = server.system();
    seed(&system).await;
    let calls = (0..64).map(|_| {
        let system = system.clone();
        tokio::spawn(async move { system.get("Patient/$export").header(ASYNC.0, ASYNC.1).await })
    });
    let mut places = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        if answer.status == 202 {
            places.push(answer.header("content-location").unwrap().to_owned());
        } else {
            assert_eq!(answer.expect_status(429).header("retry-after"), Some("60"));
        }
    }
    assert_eq!(places.len(), 10);
    // Another request that is answered later does not wait for them.
    let other = system.get("Patient?_count=1").header(ASYNC.0, ASYNC.1).await.expect_status(202);
    ended_async(&system, other.header("content-location").unwrap()).await;
    let mut whole = BTreeSet::new();
    for place in &places {
        let manifest = manifest(&system, place).await;
        whole.insert(names(&lines(&system, &manifest, "output").await));
    }
    assert_eq!(whole.len(), 1);
}

async fn ended_async(client: &Client, place: &str) {
    for _ in 0..3000 {
        if client.get(place).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{place} is not done after 60 s");
}

async fn what_is_exported_can_be_imported(server: TestServer) {
    let system = server.system();
    seed(&system).await;
    let manifest = manifest(&system, &kicked_off(&system, "$export").await).await;
    let exported = lines(&system, &manifest, "output").await;
    let empty = TestServer::start(server.engine()).await;
    let folder = empty.folder().join("bulk");
    std::fs::create_dir_all(&folder).unwrap();
    for (number, file) in manifest.list("output").iter().enumerate() {
        let text = system.get(file.str("url").unwrap()).await.text();
        std::fs::write(folder.join(format!("{number}.ndjson")), text).unwrap();
    }
    empty.command(&["import", folder.to_str().unwrap()]);
    let there = empty.system();
    let without_meta = |resource: &Json| {
        let mut resource = resource.clone();
        resource.as_object_mut().unwrap().remove("meta");
        resource
    };
    for resource in &exported {
        let read = there.get(&name(resource)).await.expect_status(200).json();
        assert_eq!(without_meta(&read), without_meta(resource));
    }
}

async fn files_end_and_expire(server: TestServer) {
    let arguments = ["--bulk-file-resources", "10", "--bulk-keep-seconds", "4", "--max-bulk", "20000"];
    let server = TestServer::start_with(server.engine(), &arguments).await;
    let system = server.system();
    for number in 0..25 {
        system.store(&object! { "resourceType": "Patient", "id": format!("p{number}") }).await;
    }
    let place = kicked_off(&system, "$export").await;
    let done = ended(&system, &place).await.expect_status(200);
    let manifest = done.json();
    let counts: Vec<_> = manifest.list("output").iter().filter_map(|it| it.get("count")?.as_number()).collect();
    assert_eq!(counts, ["10", "10", "5"]);
    assert_eq!(lines(&system, &manifest, "output").await.len(), 25);
    let url = manifest.list("output")[0].str("url").unwrap();
    for _ in 0..500 {
        if system.get(&place).await.status == 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    system.get(&place).await.expect_status(404);
    system.get(url).await.expect_status(404);
    // Random text does not compress: the bound is met.
    let entries = (0..200).map(|number| {
        let text = (0..60).map(|part| format!("{:x}", fold(number * 60 + part))).collect::<Vec<_>>().concat();
        let patient = object! { "resourceType": "Patient", "name": array![object! { "text": text }] };
        object! { "resource": patient, "request": object! { "method": "POST", "url": "Patient" } }
    });
    let entries: Vec<Json> = entries.collect();
    let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": entries };
    system.post("").json(&bundle).await.expect_status(200);
    let refused = ended(&system, &kicked_off(&system, "$export").await).await.expect_status(422);
    assert!(refused.text().contains("max-bulk"), "{}", refused.describe());
}

/// Numbers without a pattern.
fn fold(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}
