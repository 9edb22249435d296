//! Both engines: what is written is found by every kind of parameter, in order, page by page, and only inside a view.
//!
//! PostgreSQL is tested where `TRIBUTARY_TEST_POSTGRES` names a server on which databases may be made.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use fhir::decimal::Decimal;
use search::entry::{Extent, Extracted, IndexEntry, IndexValue, NO_CHRONOLOGY, ParamId, Target};
use search::query::{
    Aspect, DateMatch, Filter, Leads, Match, NumberMatch, Param, ParamKind, Prefix, Query, Sort, SortBy, StringMode,
    UnitMatch,
};
use search::view::{Compartment, TypeRule, View};
use store::{Birth, Change, HistoryOf, HistoryQuery, Method, Store, StoreError};

const BASE: &str = "http://127.0.0.1/fhir";
const SECOND: i64 = 1_000_000;

#[test]
fn sqlite_finds_what_was_written() {
    let folder = std::env::temp_dir().join(format!("tributary-engines-{}", std::process::id()));
    let address = format!("sqlite:{}/test.sqlite", folder.display());
    run(&address);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn postgres_finds_what_was_written() {
    let Ok(server) = std::env::var("TRIBUTARY_TEST_POSTGRES") else {
        println!("skipped: PostgreSQL (TRIBUTARY_TEST_POSTGRES is not set)");
        return;
    };
    let name = format!("engines_{}", std::process::id());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use sea_orm::ConnectionTrait;
        let admin = sea_orm::Database::connect(format!("{server}/postgres")).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    });
    run(&format!("{server}/{name}"));
}

fn run(address: &str) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(address, [7; 32], BASE).await.unwrap();
        assert!(!store.pending_migrations().await.unwrap().is_empty());
        store.migrate().await.unwrap();
        assert!(store.pending_migrations().await.unwrap().is_empty());
        seed(&store).await;
        finds_by_every_kind(&store).await;
        only_rows_of_named_parameters_are_added(&store).await;
        orders_and_pages(&store).await;
        shows_only_the_view(&store).await;
        rewrites_the_index_on_update_and_delete(&store).await;
        undoes_a_failed_write_alone(&store).await;
        undoes_failed_writes_among_many(&store).await;
        one_of_many_conditional_creates_wins(&store).await;
        puts_what_was_foreseen(&store).await;
        asks_for_many_at_once(&store).await;
        keeps_and_forgets_events(&store, address).await;
    });
}

fn param(id: i64, kind: ParamKind) -> Param {
    Param {
        id: ParamId(id),
        code: format!("p{id}"),
        kind,
        aspect: Aspect::Value,
        compartment: id == 5,
        other_compartment_params: None,
        leads: Leads::ByReference,
        members: Vec::new(),
    }
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn observation(index: i64) -> Change {
    let patient = if index % 2 == 0 { "even" } else { "odd" };
    let entry = |param: i64, value: IndexValue| IndexEntry { param: ParamId(param), value };
    let at = index * SECOND;
    let entries = vec![
        entry(1, IndexValue::Token { system: "http://loinc.org".into(), code: format!("c{}", index % 3) }),
        entry(2, IndexValue::String { folded: format!("name {index} 100%"), exact: format!("Name {index} 100%") }),
        entry(3, IndexValue::Date { low: at, high: at + SECOND - 1 }),
        entry(4, IndexValue::Number(Extent::Point(decimal(&format!("{index}.50"))))),
        entry(5, IndexValue::Reference(Target::Local { resource_type: "Patient".into(), id: patient.into() })),
        entry(
            6,
            IndexValue::Quantity {
                value: Extent::Point(decimal(&index.to_string())),
                system: "http://unitsofmeasure.org".into(),
                code: "kg".into(),
                unit: "Kilo".into(),
            },
        ),
        entry(7, IndexValue::Uri(format!("http://example.org/{index}"))),
    ];
    let chronology = if index == 0 { NO_CHRONOLOGY } else { at };
    let extracted = Extracted { entries, chronology, patients: vec![patient.into()], ..Extracted::default() };
    change("Observation", &format!("o{index}"), 1, extracted)
}

fn change(resource_type: &str, id: &str, version: i64, extracted: Extracted) -> Change {
    let body = Some(format!(
        "{{\"resourceType\":\"{resource_type}\",\"id\":\"{id}\",\"meta\":{{\"versionId\":\"{version}\"}}}}"
    ));
    Change {
        resource_type: resource_type.into(),
        id: id.into(),
        version,
        last_updated: version * SECOND,
        method: Method::Post,
        body,
        extracted: extracted.into(),
        actor: "test".into(),
        event: event(),
    }
}

/// What was said by other parameters stays, though it is not said again.
async fn only_rows_of_named_parameters_are_added(store: &Store) {
    let token = |code: &str| IndexValue::Token { system: "s".into(), code: code.into() };
    let entry = |id: i64, value: IndexValue| IndexEntry { param: ParamId(id), value };
    for (version, code) in [(1, "late"), (1, "late"), (2, "never")] {
        let extracted = Extracted { entries: vec![entry(90, token(code))], ..Extracted::default() };
        let added: Result<(), StoreError> = store
            .write(move |tx| {
                let extracted = extracted.clone();
                Box::pin(async move { tx.index_some(("Observation", "o1", version), &extracted).await })
            })
            .await;
        added.unwrap();
    }
    let found = async |id: i64, code: &str| {
        let wanted = Match::Token { system: None, code: Some(code.to_owned()) };
        let filter = Filter::Any { param: param(id, ParamKind::Token), matches: vec![wanted], negated: false };
        let query = Query { filters: vec![filter], total: true, ..Query::of("Observation", 10) };
        let page = store.search(&View::system(), &query).await.unwrap();
        page.matches.iter().map(|stored| stored.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(found(90, "late").await, ["o1"]);
    assert!(found(90, "never").await.is_empty(), "of a version that is not the current one");
    assert_eq!(found(1, "c1").await, ["o7", "o4", "o1"], "in the order of their instants still");
}

async fn put(store: &Store, changes: Vec<Change>) -> Result<(), StoreError> {
    store
        .write(move |tx| {
            let changes = changes.clone();
            Box::pin(async move {
                for change in changes {
                    tx.put(change).await?;
                }
                Ok(())
            })
        })
        .await
}

async fn seed(store: &Store) {
    for id in ["even", "odd"] {
        let extracted = Extracted { patients: vec![id.into()], chronology: NO_CHRONOLOGY, ..Extracted::default() };
        put(store, vec![change("Patient", id, 1, extracted)]).await.unwrap();
    }
    put(store, (0..10).map(observation).collect()).await.unwrap();
}

fn query(filters: Vec<Filter>) -> Query {
    Query { filters, total: true, ..Query::of("Observation", 100) }
}

fn any(param: Param, matches: Vec<Match>) -> Filter {
    Filter::Any { param, matches, negated: false }
}

async fn ids(store: &Store, view: &View, query: &Query) -> Vec<String> {
    let page = store.search(view, query).await.unwrap();
    let ids: Vec<String> = page.matches.into_iter().map(|stored| stored.id).collect();
    if query.count >= 100 {
        assert_eq!(page.total, Some(ids.len() as u64));
    }
    ids
}

/// Numbers of the versions of an observation that a view shows.
async fn versions(store: &Store, view: &View, id: &str) -> Vec<i64> {
    let of = HistoryOf::Instance { resource_type: "Observation".into(), id: id.into() };
    let query = HistoryQuery { of, since: None, at: None, oldest_first: false, count: 10, cursor: None };
    let page = store.history(view, &query).await.unwrap();
    page.versions.into_iter().map(|version| version.stored.version).collect()
}

async fn finds_by_every_kind(store: &Store) {
    let token = |system: Option<&str>, code: Option<&str>| {
        any(
            param(1, ParamKind::Token),
            vec![Match::Token { system: system.map(Into::into), code: code.map(Into::into) }],
        )
    };
    let text = |mode, text: &str| any(param(2, ParamKind::String), vec![Match::String { mode, text: text.into() }]);
    let date = |prefix| {
        any(param(3, ParamKind::Date), vec![Match::Date(DateMatch { prefix, low: 4 * SECOND, high: 5 * SECOND - 1 })])
    };
    let number = |prefix| NumberMatch { prefix, value: decimal("4.5"), low: decimal("4.45"), high: decimal("4.55") };
    let whole = |prefix| NumberMatch { prefix, value: decimal("4"), low: decimal("3.5"), high: decimal("4.5") };
    let patient = |id: &str| {
        any(
            param(5, ParamKind::Reference),
            vec![Match::Reference(Target::Local { resource_type: "Patient".into(), id: id.into() })],
        )
    };
    let not = |filter| match filter {
        Filter::Any { param, matches, .. } => Filter::Any { param, matches, negated: true },
        other => other,
    };
    let unit = |unit| {
        any(param(6, ParamKind::Quantity), vec![Match::Quantity { number: whole(Prefix::Ge), unit: Some(unit) }])
    };
    for (filters, expected) in [
        (vec![token(Some("http://loinc.org"), Some("c1"))], "o7 o4 o1"),
        (vec![token(None, Some("c1"))], "o7 o4 o1"),
        (vec![token(Some("http://loinc.org"), None), patient("odd")], "o9 o7 o5 o3 o1"),
        (vec![token(Some(""), Some("c1"))], ""),
        (vec![not(token(None, Some("c0"))), patient("even")], "o8 o4 o2"),
        (vec![text(StringMode::StartsWith, "name 3")], "o3"),
        (vec![text(StringMode::StartsWith, "name 3 100%")], "o3"),
        (vec![text(StringMode::Contains, "3 100%")], "o3"),
        (vec![text(StringMode::Contains, "_ 100")], ""),
        (vec![text(StringMode::Exact, "Name 3 100%")], "o3"),
        (vec![text(StringMode::Exact, "name 3 100%")], ""),
        (vec![date(Prefix::Eq)], "o4"),
        (vec![date(Prefix::Gt), patient("even")], "o8 o6"),
        (vec![date(Prefix::Le)], "o4 o3 o2 o1 o0"),
        (vec![any(param(4, ParamKind::Number), vec![Match::Number(number(Prefix::Eq))])], "o4"),
        (vec![any(param(4, ParamKind::Number), vec![Match::Number(number(Prefix::Lt))])], "o3 o2 o1 o0"),
        (vec![unit(UnitMatch::Named("Kilo".into())), patient("even")], "o8 o6 o4"),
        (
            vec![
                unit(UnitMatch::Coded { system: "http://unitsofmeasure.org".into(), code: "kg".into() }),
                patient("even"),
            ],
            "o8 o6 o4",
        ),
        (vec![unit(UnitMatch::Named("lb".into()))], ""),
        (vec![any(param(7, ParamKind::Uri), vec![Match::Uri("http://example.org/5".into())])], "o5"),
        (vec![patient("odd"), patient("even")], ""),
        (vec![patient("nobody")], ""),
        (vec![Filter::Id(vec!["o3".into(), "o5".into(), "x".into()])], "o5 o3"),
        (vec![Filter::Missing { param: param(8, ParamKind::Token), missing: true }, patient("even")], "o8 o6 o4 o2 o0"),
        (vec![Filter::Missing { param: param(1, ParamKind::Token), missing: true }], ""),
        (
            vec![
                Filter::LastUpdated(vec![DateMatch { prefix: Prefix::Eq, low: SECOND, high: SECOND }]),
                patient("odd"),
            ],
            "o9 o7 o5 o3 o1",
        ),
    ] {
        let found = ids(store, &View::system(), &query(filters.clone())).await.join(" ");
        assert_eq!(found, expected, "{filters:?}");
    }
}

async fn orders_and_pages(store: &Store) {
    let by = |by: SortBy, descending| vec![Sort { by, descending }];
    let all = "o9 o8 o7 o6 o5 o4 o3 o2 o1 o0";
    let forwards = "o1 o2 o3 o4 o5 o6 o7 o8 o9 o0";
    for (sort, expected) in [
        (vec![], all),
        (by(SortBy::Chronology(param(3, ParamKind::Date)), true), all),
        (by(SortBy::Chronology(param(3, ParamKind::Date)), false), forwards),
        (by(SortBy::Param(param(4, ParamKind::Number)), true), all),
        (by(SortBy::Param(param(2, ParamKind::String)), true), all),
        (by(SortBy::Id, true), all),
        (by(SortBy::LastUpdated, false), all),
        (by(SortBy::Param(param(1, ParamKind::Token)), false), "o9 o6 o3 o0 o7 o4 o1 o8 o5 o2"),
        (by(SortBy::Param(param(8, ParamKind::String)), false), all),
    ] {
        let mut asked = Query { sort: sort.clone(), count: 3, ..query(vec![]) };
        let mut found = Vec::new();
        loop {
            let page = store.search(&View::system(), &asked).await.unwrap();
            assert_eq!(page.total, Some(10));
            found.extend(page.matches.into_iter().map(|stored| stored.id));
            asked.cursor = page.next;
            if asked.cursor.is_none() {
                break;
            }
        }
        assert_eq!(found.join(" "), expected, "{sort:?}");
    }
    let first = store.search(&View::system(), &Query { count: 3, ..query(vec![]) }).await.unwrap();
    let elsewhere = Query { cursor: first.next, sort: by(SortBy::Id, true), ..query(vec![]) };
    assert!(matches!(store.search(&View::system(), &elsewhere).await, Err(StoreError::Cursor)), "lk_19");
}

async fn shows_only_the_view(store: &Store) {
    let rules =
        |types: &[&str]| types.iter().map(|name| ((*name).to_owned(), TypeRule::Whole)).collect::<BTreeMap<_, _>>();
    let confined = View::listed(Compartment::Patients(vec!["odd".into()]), rules(&["Observation", "Patient"]));
    assert_eq!(ids(store, &confined, &query(vec![])).await.join(" "), "o9 o7 o5 o3 o1");
    assert!(store.read(&confined, "Observation", "o2").await.unwrap().is_none());
    assert!(store.read(&confined, "Patient", "even").await.unwrap().is_none());
    assert!(store.read(&confined, "Patient", "odd").await.unwrap().is_some());
    assert!(store.vread(&confined, "Observation", "o2", 1).await.unwrap().is_none());
    assert!(versions(store, &confined, "o2").await.is_empty());
    let nothing = View::listed(Compartment::Everyone, rules(&["Patient"]));
    assert!(ids(store, &nothing, &query(vec![])).await.is_empty());
    assert!(store.read(&nothing, "Observation", "o1").await.unwrap().is_none());
    let granular = Filter::Any {
        param: param(1, ParamKind::Token),
        matches: vec![Match::Token { system: None, code: Some("c1".into()) }],
        negated: false,
    };
    let types = BTreeMap::from([("Observation".to_owned(), TypeRule::Granular(vec![vec![granular]]))]);
    let narrowed = View::listed(Compartment::Patients(vec!["odd".into()]), types);
    assert_eq!(ids(store, &narrowed, &query(vec![])).await.join(" "), "o7 o1");
}

async fn rewrites_the_index_on_update_and_delete(store: &Store) {
    let mut moved = observation(3);
    moved.version = 2;
    let extracted = Arc::make_mut(&mut moved.extracted);
    extracted.patients = vec!["even".into()];
    extracted.entries[0] = observation(4).extracted.entries[0].clone();
    extracted.entries[4] = observation(4).extracted.entries[4].clone();
    put(store, vec![moved]).await.unwrap();
    let of = |id: &str| {
        any(
            param(5, ParamKind::Reference),
            vec![Match::Reference(Target::Local { resource_type: "Patient".into(), id: id.into() })],
        )
    };
    assert_eq!(ids(store, &View::system(), &query(vec![of("odd")])).await.join(" "), "o9 o7 o5 o1");
    assert_eq!(ids(store, &View::system(), &query(vec![of("even")])).await.join(" "), "o8 o6 o4 o3 o2 o0");
    let types = BTreeMap::from([("Observation".to_owned(), TypeRule::Whole)]);
    let odd = View::listed(Compartment::Patients(vec!["odd".into()]), types);
    assert_eq!(versions(store, &odd, "o3").await, [1], "lk_11");
    assert!(store.read(&odd, "Observation", "o3").await.unwrap().is_none(), "lk_48");

    let gone = Change { version: 3, method: Method::Delete, body: None, extracted: Arc::default(), ..observation(3) };
    put(store, vec![gone.clone()]).await.unwrap();
    assert!(matches!(put(store, vec![gone]).await, Err(StoreError::Conflict)));
    assert_eq!(ids(store, &View::system(), &query(vec![of("even")])).await.join(" "), "o8 o6 o4 o2 o0");
    assert!(store.read(&View::system(), "Observation", "o3").await.unwrap().unwrap().deleted);
    let mut again = observation(3);
    again.version = 4;
    put(store, vec![again]).await.unwrap();
    assert_eq!(ids(store, &View::system(), &query(vec![of("odd")])).await.join(" "), "o9 o7 o5 o3 o1");
}

async fn undoes_a_failed_write_alone(store: &Store) {
    let mut other = observation(1);
    other.id = "kept".into();
    let mut broken = observation(1);
    broken.id = "lost".into();
    let (kept, lost) = tokio::join!(put(store, vec![other]), put(store, vec![broken, observation(1)]));
    kept.unwrap();
    assert!(matches!(lost, Err(StoreError::Conflict)));
    assert!(store.read(&View::system(), "Observation", "kept").await.unwrap().is_some());
    assert!(store.read(&View::system(), "Observation", "lost").await.unwrap().is_none());
}

/// Writes that wait together share a commit on SQLite: those that fail after they changed something take nothing of the
/// others with them, and leave nothing themselves.
async fn undoes_failed_writes_among_many(store: &Store) {
    let work = |index: i64| {
        let store = store.clone();
        async move {
            let done: Result<(), StoreError> = store
                .write(move |tx| {
                    Box::pin(async move {
                        let mut change = observation(60);
                        change.id = format!("many{index}");
                        tx.put(change).await?;
                        match index {
                            9 => panic!("a work that panics, on purpose"),
                            index if index % 5 == 3 => Err(StoreError::Schema("fails, on purpose".to_owned())),
                            _ => Ok(()),
                        }
                    })
                })
                .await;
            done.is_ok()
        }
    };
    let done = futures::future::join_all((0..30).map(work)).await;
    for (index, done) in done.into_iter().enumerate() {
        let there = store.read(&View::system(), "Observation", &format!("many{index}")).await.unwrap().is_some();
        let expected = index != 9 && index % 5 != 3;
        assert_eq!((done, there), (expected, expected), "many{index}");
    }
}

async fn one_of_many_conditional_creates_wins(store: &Store) {
    let create = |index: i64| {
        let store = store.clone();
        async move {
            let made = store.write(move |tx| -> store::Work<'_, bool, StoreError> {
                Box::pin(async move {
                    tx.lock_key("Observation?p7=unique").await?;
                    let unique = any(param(7, ParamKind::Uri), vec![Match::Uri("unique".into())]);
                    if !tx.search(&View::system(), &query(vec![unique])).await?.matches.is_empty() {
                        return Ok(false);
                    }
                    let mut change = observation(50);
                    change.id = format!("unique{index}");
                    Arc::make_mut(&mut change.extracted).entries[6].value = IndexValue::Uri("unique".into());
                    tx.put(change).await?;
                    Ok(true)
                })
            });
            made.await.unwrap()
        }
    };
    let made = futures::future::join_all((0..64).map(create)).await;
    assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
}

/// What was foreseen is as what was put by itself; what stands already stays, and nothing is left half-made.
async fn puts_what_was_foreseen(store: &Store) {
    let new = |id: &str| Change { id: id.to_owned(), ..observation(70) };
    let foreseen = async |changes: Vec<Change>, put: usize| -> Result<(), StoreError> {
        store
            .write(move |tx| {
                let changes = changes.clone();
                Box::pin(async move {
                    let births: Vec<Birth<'_>> = changes
                        .iter()
                        .map(|it| Birth { resource_type: &it.resource_type, id: &it.id, extracted: &it.extracted })
                        .collect();
                    tx.foresee(&births, SECOND).await?;
                    for change in changes.iter().take(put) {
                        let version = if change.id == "o0" { 2 } else { 1 };
                        tx.put(Change { version, ..change.clone() }).await?;
                    }
                    tx.all_are_put()
                })
            })
            .await
    };
    // one at another instant than was foreseen, one that stands already
    let later = Change { last_updated: 9 * SECOND, ..new("born2") };
    foreseen(vec![new("born1"), later, observation(0)], 3).await.unwrap();
    let code = Match::Token { system: Some("http://loinc.org".into()), code: Some("c1".into()) };
    let found = ids(store, &View::system(), &query(vec![any(param(1, ParamKind::Token), vec![code])])).await;
    assert_eq!(found.iter().filter(|id| id.starts_with("born")).count(), 2, "{found:?}");
    for (id, version, at) in [("born1", 1, 1), ("born2", 1, 9), ("o0", 2, 1)] {
        let stored = store.read(&View::system(), "Observation", id).await.unwrap().unwrap();
        assert_eq!((stored.version, stored.last_updated), (version, at * SECOND), "{id}");
    }
    let half = foreseen(vec![new("born3"), new("born4")], 1).await;
    assert!(half.is_ok() || store.read(&View::system(), "Observation", "born3").await.unwrap().is_none());
    assert!(store.read(&View::system(), "Observation", "born4").await.unwrap().is_none());
}

/// Many questions at once say what each by itself says.
async fn asks_for_many_at_once(store: &Store) {
    let code = |code: &str| {
        let wanted = Match::Token { system: Some("http://loinc.org".into()), code: Some(code.into()) };
        query(vec![any(param(1, ParamKind::Token), vec![wanted])])
    };
    let alone = Change { id: "alone".into(), ..observation(80) };
    let mut extracted = (*alone.extracted).clone();
    extracted.entries[0].value = IndexValue::Token { system: "http://loinc.org".into(), code: "alone".into() };
    put(store, vec![Change { extracted: Arc::new(extracted), ..alone }]).await.unwrap();
    let uri = query(vec![any(param(7, ParamKind::Uri), vec![Match::Uri("http://example.org/1".into())])]);
    let queries = vec![code("alone"), code("nobody"), code("c1"), uri];
    let asked = queries.clone();
    let nothing: Result<Vec<bool>, StoreError> = store
        .write(move |tx| {
            let asked = asked.clone();
            Box::pin(async move { tx.find_nothing(&asked.iter().collect::<Vec<_>>()).await })
        })
        .await;
    assert_eq!(nothing.unwrap(), [false, true, false, false]);
    let found = |found: Vec<Option<store::Stored>>| found.into_iter().map(|it| it.map(|it| it.id)).collect::<Vec<_>>();
    let all = store.standing_alone(&View::system(), &queries).await.unwrap();
    assert_eq!(found(all), [Some("alone".to_owned()), None, None, None]);
    let types = BTreeMap::from([("Observation".to_owned(), TypeRule::Whole)]);
    let odd = View::listed(Compartment::Patients(vec!["odd".into()]), types);
    let hidden = store.standing_alone(&odd, &queries).await.unwrap();
    assert_eq!(found(hidden), [const { None }; 4], "a view is not passed by");
}

/// Nothing of a large event is left out, nothing is changed, and what is old enough goes with all that finds it.
async fn keeps_and_forgets_events(store: &Store, address: &str) {
    use sea_orm::ConnectionTrait;
    use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
    let day = 86_400 * SECOND;
    let id = store::audit::id_at(day, [9; 8]);
    let mut large = store::audit::Event { id, action: 'R', ..Default::default() };
    (0..1_300).for_each(|number| large.concern(&format!("large{number}")));
    let recent = store::audit::Event { id: store::audit::id_at(3 * day, [1; 8]), ..large.clone() };
    store.audit(large.clone()).await.unwrap();
    store.audit(recent).await.unwrap();
    let patient = ("patient".to_owned(), "large1299".to_owned());
    let query = store::audit::TrailQuery {
        filters: vec![store::audit::Filter::Patients(vec![patient.1.clone()])],
        applied: vec![patient],
        oldest_first: true,
        count: 10,
        cursor: None,
        total: false,
    };
    assert_eq!(store.trail(&View::system(), &query).await.unwrap().events.len(), 2, "CO-01: all patients have it");
    let connection = sea_orm::Database::connect(address).await.unwrap();
    let postgres = address.starts_with("postgres");
    let beside = format!("{address}-audit.db");
    let place = if postgres { connection } else { sea_orm::Database::connect(beside).await.unwrap() };
    let id = large.id.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let replaced = format!("INSERT OR REPLACE INTO audit_event SELECT * FROM audit_event WHERE id = x'{id}'");
    let wrong = if postgres { "TRUNCATE audit_event" } else { &replaced };
    let refused = place.execute_unprepared(wrong).await.unwrap_err().to_string();
    assert!(refused.contains("audit events do not change"), "{refused}");
    store.seal_events().await.unwrap();
    assert!(store.forget_events(2 * day).await.unwrap() >= 3);
    let verified = store.verify_trail(&[], &|_| ()).await.unwrap();
    assert!(verified.iter().all(|chain| chain.faults.is_empty()), "CO-06: what is old may go: {verified:?}");
    assert!(verified.iter().any(|chain| chain.removed_before == Some(2 * day)), "{verified:?}");
    assert_eq!(store.forget_events(2 * day).await.unwrap(), 0);
    assert_eq!(store.trail(&View::system(), &query).await.unwrap().events.len(), 1);
    let mut count = Query::select();
    count.expr(Expr::col("id").count()).from("audit_patient").and_where(Expr::col("patient").like("large%"));
    let row = place.query_one(&count).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 1_300, "those of the event that is kept");
}

/// An event of its own for each change.
fn event() -> store::audit::Event {
    static COUNTER: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1);
    let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    store::audit::Event { id: store::audit::id_at(number, [0; 8]), ..Default::default() }
}
