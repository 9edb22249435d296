//! What becomes of reads and writes where something beside them goes wrong: a version that is written while another is
//! indexed, searches that wait, connections that are lost, and searches that no engine takes.
//!
//! PostgreSQL is tested where `TRIBUTARY_TEST_POSTGRES` names a server on which databases may be made.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fhir::decimal::Decimal;
use sea_orm::ConnectionTrait as _;
use search::entry::{Extent, Extracted, IndexEntry, IndexValue, ParamId};
use search::query::{
    Aspect, DateMatch, Filter, Leads, Match, NumberMatch, Param, ParamKind, Prefix, Query, StringMode,
};
use search::view::View;
use store::{Change, Method, Store, StoreError};

const BASE: &str = "http://127.0.0.1/fhir";

/// A store on PostgreSQL, and its address; none where no server is named.
async fn postgres(name: &str) -> Option<(Store, String)> {
    let Ok(server) = std::env::var("TRIBUTARY_TEST_POSTGRES") else {
        println!("skipped: PostgreSQL (TRIBUTARY_TEST_POSTGRES is not set)");
        return None;
    };
    let name = format!("faults_{name}_{}", std::process::id());
    run(&format!("{server}/postgres"), &format!("CREATE DATABASE {name}")).await;
    let address = format!("{server}/{name}");
    Some((opened(&address).await, address))
}

async fn opened(address: &str) -> Store {
    let store = Store::open(address, [7; 32], BASE).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn run(address: &str, sql: &str) {
    sea_orm::Database::connect(address).await.unwrap().execute_unprepared(sql).await.unwrap();
}

fn entry(id: i64, value: IndexValue) -> IndexEntry {
    IndexEntry { param: ParamId(id), value }
}

fn kilograms(value: &str) -> IndexValue {
    let system = "http://unitsofmeasure.org".into();
    IndexValue::Quantity {
        value: Extent::Point(Decimal::parse(value).unwrap()),
        system,
        code: "kg".into(),
        unit: "kg".into(),
    }
}

fn text(value: &str) -> IndexValue {
    IndexValue::String { folded: value.into(), exact: value.into() }
}

fn change(id: &str, version: i64, entries: Vec<IndexEntry>) -> Change {
    static EVENTS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1);
    let number = EVENTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Change {
        resource_type: "Observation".into(),
        id: id.into(),
        version,
        last_updated: version * 1_000_000,
        method: Method::Put,
        body: Some(format!("{{\"resourceType\":\"Observation\",\"id\":\"{id}\",\"version\":{version}}}")),
        extracted: Extracted { entries, ..Extracted::default() }.into(),
        actor: "test".into(),
        event: store::audit::Event { id: store::audit::id_at(number, [0; 8]), ..Default::default() },
    }
}

async fn put(store: &Store, change: Change) -> Result<(), StoreError> {
    store
        .write(move |tx| {
            Box::pin({
                let change = change.clone();
                async move { tx.put(change).await }
            })
        })
        .await
}

fn named(id: i64, kind: ParamKind, matches: Vec<Match>) -> Filter {
    let code = format!("p{id}");
    let param = Param {
        id: ParamId(id),
        code,
        kind,
        aspect: Aspect::Value,
        compartment: false,
        other_compartment_params: None,
        leads: Leads::ByReference,
        members: Vec::new(),
    };
    Filter::Any { param, matches, negated: false }
}

fn exactly(texts: impl Iterator<Item = String>) -> Filter {
    let exact = |text: String| Match::String { mode: StringMode::Exact, text };
    named(2, ParamKind::String, texts.map(exact).collect())
}

async fn found(store: &Store, filters: Vec<Filter>) -> Result<Vec<String>, StoreError> {
    let query = Query { filters, ..Query::of("Observation", 10) };
    let page = store.search(&View::system(), &query).await?;
    Ok(page.matches.iter().map(|stored| stored.body.to_string()).collect())
}

/// Indexing waits for a version that is being written, and leaves its rows as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_written_while_another_is_indexed_keeps_its_rows() {
    let Some((store, _)) = postgres("indexed").await else { return };
    // Of a kind that it has no row of yet: which tables hold rows of it is written with the first.
    put(&store, change("o", 1, vec![entry(3, IndexValue::Date { low: 5, high: 5 })])).await.unwrap();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let begun = std::sync::Mutex::new(Some(begun));
    let writer = store.write(move |tx| -> store::Work<'_, (), StoreError> {
        let begun = begun.lock().unwrap().take();
        Box::pin(async move {
            tx.current(&View::system(), "Observation", "o").await?;
            begun.map(|it| it.send(()));
            tokio::time::sleep(Duration::from_millis(300)).await;
            tx.put(change("o", 2, vec![entry(6, kilograms("5"))])).await
        })
    });
    let indexed = async {
        has_begun.await.unwrap();
        let late = Extracted { entries: vec![entry(2, text("late"))], ..Extracted::default() };
        let some = store.write(move |tx| -> store::Work<'_, (), StoreError> {
            let late = late.clone();
            Box::pin(async move { tx.index_some(("Observation", "o", 1), &late).await })
        });
        some.await
    };
    let (written, indexed) = tokio::join!(writer, indexed);
    written.unwrap();
    indexed.unwrap();
    assert!(found(&store, vec![exactly(["late".to_owned()].into_iter())]).await.unwrap().is_empty(), "of version 1");
    // Which tables hold rows of a resource is known still: they can be replaced, and go with it.
    put(&store, change("o", 3, vec![entry(6, kilograms("6"))])).await.unwrap();
    put(&store, Change { body: None, method: Method::Delete, ..change("o", 4, Vec::new()) }).await.unwrap();
    let zero = || Decimal::parse("0").unwrap();
    let number = NumberMatch { prefix: Prefix::Gt, value: zero(), low: zero(), high: zero() };
    let all = Match::Quantity { number, unit: None };
    assert!(found(&store, vec![named(6, ParamKind::Quantity, vec![all])]).await.unwrap().is_empty(), "it is deleted");
}

/// However many searches wait, tokens are looked up and resources are read.
#[tokio::test(flavor = "multi_thread")]
async fn searches_that_wait_hold_no_reads_up() {
    let Some((store, address)) = postgres("waiting").await else { return };
    put(&store, change("o", 1, vec![entry(2, text("a"))])).await.unwrap();
    let other = sea_orm::Database::connect(&address).await.unwrap();
    let held = sea_orm::TransactionTrait::begin(&other).await.unwrap();
    held.execute_unprepared("LOCK TABLE index_string IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let searches: Vec<_> = (0..40)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { found(&store, vec![exactly(["a".to_owned()].into_iter())]).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let read = store.read(&View::system(), "Observation", "o").await.unwrap();
    assert!(read.is_some());
    assert!(searches.iter().all(|search| !search.is_finished()), "they wait");
    held.rollback().await.unwrap();
    for search in searches {
        assert_eq!(search.await.unwrap().unwrap().len(), 1);
    }
}

/// After all connections were lost the database may be a copy that took the place of the lost one.
#[tokio::test(flavor = "multi_thread")]
async fn what_numbers_stand_for_is_asked_again_when_connections_were_lost() {
    let Some((store, address)) = postgres("lost").await else { return };
    put(&store, change("o", 1, vec![entry(2, text("a"))])).await.unwrap();
    let search = || found(&store, vec![exactly(["a".to_owned()].into_iter())]);
    assert!(search().await.unwrap()[0].contains("\"version\":1"));
    run(&address, "UPDATE body SET text = replace(text, '\"version\":1', '\"version\":7')").await;
    assert!(search().await.unwrap()[0].contains("\"version\":1"), "texts never change, so they are remembered");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    run(&address, end).await;
    assert!(search().await.unwrap()[0].contains("\"version\":7"));
}

/// As many values as one parameter may have are looked for; more than a message counts are refused, and leave the
/// connections as they are.
async fn in_17_many_values(store: Store) {
    let date = IndexValue::Date { low: 500, high: 500 };
    put(&store, change("o", 1, vec![entry(2, text("a")), entry(3, date), entry(6, kilograms("500"))])).await.unwrap();
    let many = |number: usize| exactly((0..1_000).map(move |value| format!("{number} {value}")));
    let dates = (1..=1_000).map(|at| Match::Date(DateMatch { prefix: Prefix::Eq, low: at, high: at }));
    let amount = |at: i64| {
        let decimal = |text: String| Decimal::parse(&text).unwrap();
        let (value, low, high) = (at.to_string(), format!("{}.5", at - 1), format!("{at}.5"));
        let number = NumberMatch { prefix: Prefix::Eq, value: decimal(value), low: decimal(low), high: decimal(high) };
        Match::Quantity { number, unit: None }
    };
    let none = found(&store, vec![many(0)]).await.unwrap();
    assert!(none.is_empty());
    let texts = exactly((0..999).map(|value| value.to_string()).chain(["a".to_owned()]));
    let dates = named(3, ParamKind::Date, dates.collect());
    let amounts = named(6, ParamKind::Quantity, (1..=1_000).map(amount).collect());
    let all = vec![texts, dates, amounts];
    assert_eq!(found(&store, all).await.unwrap().len(), 1);
    let refused = found(&store, (0..30).map(many).collect()).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooCostly(_)), "{refused}");
    assert_eq!(found(&store, vec![exactly(["a".to_owned()].into_iter())]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_17_many_values_on_postgres() {
    let Some((store, _)) = postgres("values").await else { return };
    in_17_many_values(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_17_many_values_on_sqlite() {
    let folder = std::env::temp_dir().join(format!("tributary-faults-{}", std::process::id()));
    in_17_many_values(opened(&format!("sqlite:{}/test.sqlite", folder.display())).await).await;
    std::fs::remove_dir_all(folder).unwrap();
}
