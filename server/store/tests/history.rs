//! Histories miss nothing, whatever order transactions commit in, and are bounded by what the view holds.
//!
//! PostgreSQL is tested where `TRIBUTARY_TEST_POSTGRES` names a server on which databases may be made.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use sea_orm::ConnectionTrait;
use search::entry::{Extracted, NO_CHRONOLOGY};
use search::view::{Compartment, TypeRule, View};
use store::{Change, HistoryOf, HistoryPage, HistoryQuery, Method, Store, StoreError, Tx};
use tokio::sync::Notify;

const BASE: &str = "http://127.0.0.1/fhir";

/// Where nodes' clocks are not asked.
static CLOCK: AtomicI64 = AtomicI64::new(1_000_000);

async fn on_sqlite(test: impl AsyncFnOnce(Store)) {
    static COUNTER: AtomicI64 = AtomicI64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("tributary-history-{}-{number}", std::process::id()));
    let store = Store::open(&format!("sqlite:{}/test.sqlite", folder.display()), [7; 32], BASE).await.unwrap();
    store.migrate().await.unwrap();
    test(store).await;
    std::fs::remove_dir_all(folder).unwrap();
}

async fn on_postgres(name: &str, test: impl AsyncFnOnce(Store)) {
    let Ok(server) = std::env::var("TRIBUTARY_TEST_POSTGRES") else {
        println!("skipped: PostgreSQL (TRIBUTARY_TEST_POSTGRES is not set)");
        return;
    };
    let name = format!("history_{name}_{}", std::process::id());
    let admin = sea_orm::Database::connect(format!("{server}/postgres")).await.unwrap();
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let store = Store::open(&format!("{server}/{name}"), [7; 32], BASE).await.unwrap();
    store.migrate().await.unwrap();
    test(store).await;
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
}

async fn put(tx: &mut Tx, id: &str, version: i64, patients: &[&str]) -> Result<i64, StoreError> {
    let last_updated = tx.instant(CLOCK.fetch_add(1, Ordering::SeqCst)).await?;
    write(tx, id, version, patients, last_updated).await
}

async fn write(tx: &mut Tx, id: &str, version: i64, patients: &[&str], last_updated: i64) -> Result<i64, StoreError> {
    let patients = patients.iter().map(|&patient| patient.into()).collect();
    tx.put(Change {
        resource_type: "Observation".into(),
        id: id.into(),
        version,
        last_updated,
        method: if version == 1 { Method::Post } else { Method::Put },
        body: Some(format!("{{\"resourceType\":\"Observation\",\"id\":\"{id}\"}}")),
        extracted: Extracted { chronology: NO_CHRONOLOGY, patients, ..Extracted::default() }.into(),
        actor: "test".into(),
        event: event(),
    })
    .await?;
    Ok(last_updated)
}

fn query(since: Option<i64>, count: usize) -> HistoryQuery {
    let of = HistoryOf::Types(vec!["Observation".into()]);
    HistoryQuery { of, since, at: None, oldest_first: true, count, cursor: None }
}

fn ids(page: &HistoryPage) -> Vec<String> {
    page.versions.iter().map(|version| version.stored.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_commits_late_is_not_skipped_on_postgres() {
    on_postgres("late", async |store| {
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let late = tokio::spawn({
            let (store, begun, go_on) = (store.clone(), begun.clone(), go_on.clone());
            async move {
                store
                    .write(move |tx| {
                        let (begun, go_on) = (begun.clone(), go_on.clone());
                        Box::pin(async move {
                            let instant = put(tx, "late", 1, &[]).await?;
                            begun.notify_one();
                            go_on.notified().await;
                            Ok::<_, StoreError>(instant)
                        })
                    })
                    .await
                    .unwrap()
            }
        });
        begun.notified().await;
        let early = store.write(|tx| Box::pin(async move { put(tx, "early", 1, &[]).await })).await.unwrap();
        let view = View::system();
        let first = store.history(&view, &query(None, 10)).await.unwrap();
        assert_eq!(ids(&first), Vec::<String>::new(), "what may be overtaken is not shown yet");
        let one = HistoryQuery {
            of: HistoryOf::Instance { resource_type: "Observation".into(), id: "early".into() },
            ..query(None, 10)
        };
        assert_eq!(ids(&store.history(&view, &one).await.unwrap()), ["early"], "the history of the resource has it");
        go_on.notify_one();
        let instant = late.await.unwrap();
        assert!(instant < early, "the one that committed late has the earlier instant");
        assert_eq!(ids(&store.history(&view, &query(None, 10)).await.unwrap()), ["late", "early"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_sees_every_version_of_a_storm_on_postgres() {
    on_postgres("storm", async |store| storm(store).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_sees_every_version_of_a_storm_on_sqlite() {
    on_sqlite(async |store| storm(store).await).await;
}

/// Writers whose transactions take differently long, one reader that asks since the last instant it saw, and one that
/// follows pages.
async fn storm(store: Store) {
    const WRITERS: i64 = 6;
    const EACH: i64 = 40;
    let over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(poll(store.clone(), over.clone()));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            for turn in 0..EACH {
                let sleeps = store.engine() == store::Engine::Postgres;
                store
                    .write(move |tx| {
                        Box::pin(async move {
                            put(tx, &format!("o{writer}-{turn}"), 1, &["p"]).await?;
                            if sleeps {
                                tokio::time::sleep(Duration::from_millis(((writer * 7 + turn * 3) % 20) as u64)).await;
                            }
                            put(tx, &format!("o{writer}-{turn}-b"), 1, &[]).await
                        })
                    })
                    .await
                    .unwrap();
            }
        });
    }
    writers.join_all().await;
    over.store(true, Ordering::SeqCst);
    let seen = reader.await.unwrap();
    assert_eq!(seen.len() as i64, WRITERS * EACH * 2, "every version was seen by who asks _since");
    // And page by page, newest first, each once.
    let (mut cursor, mut paged) = (None, Vec::new());
    loop {
        let query = HistoryQuery { oldest_first: false, cursor, ..query(None, 7) };
        let page = store.history(&View::system(), &query).await.unwrap();
        paged.extend(ids(&page));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged.len(), seen.len());
    assert_eq!(paged.iter().cloned().collect::<BTreeSet<_>>(), seen);
}

async fn poll(store: Store, over: Arc<AtomicBool>) -> BTreeSet<String> {
    let (mut since, mut seen) = (None, BTreeSet::new());
    loop {
        let last_round = over.load(Ordering::SeqCst);
        loop {
            let before = seen.len();
            let page = store.history(&View::system(), &query(since, 1000)).await.unwrap();
            seen.extend(ids(&page));
            since = page.versions.last().map(|version| version.stored.last_updated).or(since);
            if seen.len() == before {
                break;
            }
        }
        if last_round {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test]
async fn each_version_is_judged_by_itself_on_sqlite() {
    on_sqlite(async |store| judged(store).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_is_judged_by_itself_on_postgres() {
    on_postgres("judged", async |store| judged(store).await).await;
}

/// LK-11, LK-12: o moves from a to b; both is of both; shared is of nobody; c is nobody's business.
async fn judged(store: Store) {
    store
        .write(|tx| {
            Box::pin(async move {
                write(tx, "o", 1, &["a"], 10).await?;
                write(tx, "both", 1, &["a", "b"], 20).await?;
                write(tx, "o", 2, &["b"], 30).await?;
                write(tx, "c", 1, &["c"], 40).await?;
                write(tx, "o", 3, &["a"], 50).await
            })
        })
        .await
        .unwrap();
    let of = |patients: &[&str]| {
        let patients = patients.iter().map(|&patient| patient.to_owned()).collect();
        let types = BTreeMap::from([("Observation".to_owned(), TypeRule::Whole)]);
        View::listed(Compartment::Patients(patients), types)
    };
    let seen = async |view: &View, query: HistoryQuery| {
        let page = store.history(view, &query).await.unwrap();
        let name = |version: &store::Version| format!("{}/{}", version.stored.id, version.stored.version);
        (page.versions.iter().map(name).collect::<Vec<_>>(), page.is_all)
    };
    let all = |list: &[&str]| (list.iter().map(|&it| it.to_owned()).collect::<Vec<_>>(), true);
    assert_eq!(seen(&of(&["a"]), query(None, 10)).await, all(&["o/1", "both/1", "o/3"]));
    assert_eq!(seen(&of(&["b"]), query(None, 10)).await, all(&["both/1", "o/2"]));
    assert_eq!(seen(&of(&["a", "b"]), query(None, 10)).await, all(&["o/1", "both/1", "o/2", "o/3"]));
    assert_eq!(seen(&of(&["nobody"]), query(None, 10)).await, all(&[]));
    assert_eq!(seen(&of(&["a"]), query(Some(21), 10)).await, all(&["o/3"]));
    let at = |low, high| HistoryQuery { at: Some((low, high)), ..query(None, 10) };
    assert_eq!(seen(&View::system(), at(30, 30)).await, all(&["both/1", "o/2"]));
    assert_eq!(seen(&View::system(), at(29, 30)).await, all(&["o/1", "both/1", "o/2"]));
    assert_eq!(seen(&View::system(), at(5, 9)).await, all(&[]));
    // What a does not see did not end what a sees: it cannot be told that there was something.
    assert_eq!(seen(&of(&["a"]), at(35, 36)).await, all(&["o/1", "both/1"]));
    // Pages forwards and back again.
    let first = store.history(&of(&["a", "b"]), &query(None, 3)).await.unwrap();
    assert!(first.previous.is_none() && !first.is_all);
    let second = HistoryQuery { cursor: first.next.clone(), ..query(None, 3) };
    let second = store.history(&of(&["a", "b"]), &second).await.unwrap();
    assert_eq!((ids(&second), second.next.is_none()), (vec!["o".to_owned()], true));
    let back = HistoryQuery { cursor: second.previous.clone(), ..query(None, 3) };
    let back = store.history(&of(&["a", "b"]), &back).await.unwrap();
    assert_eq!((ids(&back), back.previous.is_none()), (ids(&first), true));
    // A cursor is bound to who got it and to what was asked.
    for (view, query) in [
        (of(&["a"]), HistoryQuery { cursor: first.next.clone(), ..query(None, 3) }),
        (of(&["a", "b"]), HistoryQuery { cursor: first.next.clone(), ..query(Some(1), 3) }),
    ] {
        assert!(matches!(store.history(&view, &query).await, Err(StoreError::Cursor)));
    }
}

/// An event of its own for each change.
fn event() -> store::audit::Event {
    static COUNTER: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1);
    let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    store::audit::Event { id: store::audit::id_at(number, [0; 8]), ..Default::default() }
}
