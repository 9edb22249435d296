//! Ten patients in a tree of organisations, twelve observations each, and many of a kind.

use std::collections::BTreeMap;

use fhir::decimal::Decimal;
use search::entry::{Extent, Extracted, IndexEntry, IndexValue, NO_CHRONOLOGY, ParamId, Target};
use search::query::{Aspect, Filter, Leads, Match, Param, ParamKind, Query};
use search::view::{Compartment, TypeRule, View};
use store::{Change, Method, SearchPage, Store};

pub(crate) const SUBJECT: i64 = 10;
pub(crate) const CODE: i64 = 11;
pub(crate) const CODE_VALUE: i64 = 12;
pub(crate) const PERFORMER: i64 = 14;
pub(crate) const NAME: i64 = 20;
pub(crate) const ORGANIZATION: i64 = 21;
pub(crate) const PART_OF: i64 = 30;
pub(crate) const TITLE: i64 = 31;
pub(crate) const URL: i64 = 32;

/// More than are named in one statement.
pub(crate) const MANY: usize = 1_010;

pub(crate) struct World {
    pub(crate) store: Store,
}

pub(crate) fn param(id: i64) -> Param {
    let kind = match id {
        SUBJECT | PERFORMER | ORGANIZATION | PART_OF => ParamKind::Reference,
        CODE => ParamKind::Token,
        CODE_VALUE => ParamKind::Composite,
        NAME | TITLE => ParamKind::String,
        _ => ParamKind::Uri,
    };
    Param {
        id: ParamId(id),
        code: format!("p{id}"),
        kind,
        aspect: Aspect::Value,
        compartment: id == SUBJECT,
        other_compartment_params: (id == SUBJECT).then(Vec::new),
        leads: Leads::ByReference,
        members: Vec::new(),
    }
}

pub(crate) fn any(id: i64, matches: Vec<Match>) -> Filter {
    Filter::Any { param: param(id), matches, negated: false }
}

pub(crate) fn code(code: &str) -> Match {
    Match::Token { system: None, code: Some(code.into()) }
}

pub(crate) fn starts(id: i64, text: &str) -> Filter {
    any(id, vec![Match::String { mode: search::query::StringMode::StartsWith, text: text.into() }])
}

pub(crate) fn local(resource_type: &str, id: &str) -> Target {
    Target::Local { resource_type: resource_type.into(), id: id.into() }
}

pub(crate) fn refers(param: i64, resource_type: &str, id: &str) -> Filter {
    any(param, vec![Match::Reference(local(resource_type, id))])
}

pub(crate) fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

pub(crate) fn query(resource_type: &str, filters: Vec<Filter>) -> Query {
    Query { filters, total: true, ..Query::of(resource_type, 5_000) }
}

/// What patient 1 sees of these types.
pub(crate) fn confined(types: &[&str]) -> View {
    let rules: BTreeMap<_, _> = types.iter().map(|name| ((*name).to_owned(), TypeRule::Whole)).collect();
    View::listed(Compartment::Patients(vec!["1".into()]), rules)
}

/// Ids of a page in order.
pub(crate) fn ids(page: &SearchPage) -> Vec<String> {
    page.matches.iter().map(|stored| stored.id.clone()).collect()
}

impl World {
    pub(crate) async fn new(address: &str) -> Self {
        let store = Store::open(address, [7; 32], "http://127.0.0.1/fhir").await.unwrap();
        store.migrate().await.unwrap();
        let world = World { store };
        let mut changes = Vec::new();
        for index in 0..6 {
            changes.push(organization(index));
        }
        for patient in 0..10 {
            changes.push(person(patient));
            changes.extend((0..12).map(|number| observation(patient, number)));
        }
        for index in 0..MANY {
            let entries = vec![entry(TITLE, text(&format!("bulk {index}")))];
            changes.push(change("Organization", &format!("bulk{index}"), entries, None, NO_CHRONOLOGY));
            let entries = vec![
                entry(CODE, token("bulk")),
                entry(SUBJECT, IndexValue::Reference(local("Patient", "9"))),
                entry(PERFORMER, IndexValue::Reference(local("Organization", &format!("bulk{index}")))),
            ];
            changes.push(change("Observation", &format!("bulk{index}"), entries, Some("9"), -(index as i64)));
        }
        world.put(changes).await;
        // As after an import: what is asked by counts that nobody has taken may be asked in the worst order.
        world.store.count_rows().await.unwrap();
        world
    }

    pub(crate) async fn put(&self, changes: Vec<Change>) {
        let write = self.store.write(move |tx| -> store::Work<'_, (), store::StoreError> {
            let changes = changes.clone();
            Box::pin(async move {
                for change in changes {
                    tx.put(Change { event: event(), ..change }).await?;
                }
                Ok(())
            })
        });
        write.await.unwrap();
    }

    /// Ids of all matches, sorted; the total agrees.
    pub(crate) async fn find(&self, view: &View, query: &Query) -> Vec<String> {
        let page = self.store.search(view, query).await.unwrap();
        let mut found = ids(&page);
        assert_eq!(page.total, Some(found.len() as u64), "{query:?}");
        assert!(page.next.is_none() && page.previous.is_none());
        let counted = self.store.search(view, &Query { count: 0, ..query.clone() }).await.unwrap();
        assert_eq!(counted.total, page.total, "{query:?}");
        found.sort();
        found
    }

    /// Ids of observations, but for the many of a kind.
    pub(crate) async fn observations(&self, filters: Vec<Filter>) -> Vec<String> {
        let mut found = self.find(&View::system(), &query("Observation", filters)).await;
        found.retain(|id| !id.starts_with("bulk"));
        found
    }
}

/// Ids of the observations for which it holds, given the patient and the number.
pub(crate) fn expected(holds: impl Fn(usize, usize) -> bool) -> Vec<String> {
    let all = (0..10).flat_map(|patient| (0..12).map(move |number| (patient, number)));
    let mut ids: Vec<String> = all
        .filter(|(patient, number)| holds(*patient, *number))
        .map(|(patient, number)| format!("{patient}-{number}"))
        .collect();
    ids.sort();
    ids
}

pub(crate) fn change(
    resource_type: &str,
    id: &str,
    entries: Vec<IndexEntry>,
    patient: Option<&str>,
    chronology: i64,
) -> Change {
    let body = format!("{{\"resourceType\":\"{resource_type}\",\"id\":\"{id}\"}}");
    let patients = patient.map(str::to_owned).into_iter().collect();
    Change {
        resource_type: resource_type.into(),
        id: id.into(),
        version: 1,
        last_updated: 1_000_000,
        method: Method::Put,
        body: Some(body),
        extracted: Extracted { entries, chronology, patients, ..Extracted::default() }.into(),
        actor: "test".into(),
        event: event(),
    }
}

fn entry(param: i64, value: IndexValue) -> IndexEntry {
    IndexEntry { param: ParamId(param), value }
}

fn token(code: &str) -> IndexValue {
    IndexValue::Token { system: "s".into(), code: code.into() }
}

fn text(text: &str) -> IndexValue {
    IndexValue::String { folded: text.to_lowercase(), exact: text.into() }
}

/// `0 ← 1 ← 2 ← 3`, and `4` and `5`, which are part of each other.
fn organization(index: usize) -> Change {
    let parent = match index {
        0 => None,
        4 => Some(5),
        5 => Some(4),
        other => Some(other - 1),
    };
    let mut entries = vec![
        entry(TITLE, text(&format!("org {index}"))),
        entry(URL, IndexValue::Uri(format!("http://a.b/{}", ["", "x", "x/y", "x/y/z", "xy", "x/"][index]))),
    ];
    if let Some(parent) = parent {
        entries.push(entry(PART_OF, IndexValue::Reference(local("Organization", &parent.to_string()))));
    }
    change("Organization", &index.to_string(), entries, None, NO_CHRONOLOGY)
}

/// Patient 9 names an organisation elsewhere, patient 8 none.
fn person(index: usize) -> Change {
    let mut entries = vec![entry(NAME, text(&format!("name {index}")))];
    let managed = match index {
        9 => Some(Target::Url("http://elsewhere/Organization/0".into())),
        8 => None,
        other => Some(local("Organization", &(other % 4).to_string())),
    };
    entries.extend(managed.map(|target| entry(ORGANIZATION, IndexValue::Reference(target))));
    let id = index.to_string();
    change("Patient", &id, entries, Some(&id), NO_CHRONOLOGY)
}

/// Code `c0`, `c1` or `c2`; the value is the number, in mg, under the code and under the next one.
pub(crate) fn observation(patient: usize, number: usize) -> Change {
    let quantity = |value: usize, code: &str| IndexValue::Quantity {
        value: Extent::Point(decimal(&value.to_string())),
        system: "u".into(),
        code: code.into(),
        unit: "Milli".into(),
    };
    let pair = |code: usize, value: usize, unit: &str, canonical: Option<usize>| IndexValue::Composite {
        values: vec![token(&format!("c{}", code % 3)), quantity(value, unit)],
        canonical: canonical.map(|value| (Extent::Point(decimal(&value.to_string())), "g".to_owned())),
    };
    let entries = vec![
        entry(CODE, token(&format!("c{}", number % 3))),
        entry(SUBJECT, IndexValue::Reference(local("Patient", &patient.to_string()))),
        entry(CODE_VALUE, pair(number, number, "mg", Some(number * 1000))),
        entry(CODE_VALUE, pair(number + 1, number * 10, "mg", None)),
    ];
    let (id, patient) = (format!("{patient}-{number}"), patient.to_string());
    change("Observation", &id, entries, Some(&patient), (number / 2) as i64)
}

/// An event of its own for each change.
pub(crate) fn event() -> store::audit::Event {
    static COUNTER: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1);
    let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    store::audit::Event { id: store::audit::id_at(number, [0; 8]), ..Default::default() }
}
