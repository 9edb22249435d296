//! The oracle and the index entries must agree: what one reads from resources the other must find in entries.

use std::cmp::Ordering;
use std::sync::OnceLock;

use fhir::object;
use proptest::prelude::*;

use super::*;
use crate::entry::{Extracted, IndexValue, Target};
use crate::examples::examples;
use crate::extract::extract;
use crate::generate::{Generated, Generator};
use crate::parse::{Options, filters_from_pairs, parse};
use crate::query::{Match, NumberMatch, Prefix, StringMode, UnitMatch};

const BASE: &str = "http://server/fhir";

/// A database: resources and what the index holds of them.
struct World {
    resources: Vec<Json>,
    index: Vec<Extracted>,
}

impl World {
    fn of(resources: Vec<Json>) -> World {
        let index = resources.iter().map(|it| extract(it, BASE).unwrap()).collect();
        World { resources, index }
    }

    fn rows(&self) -> Vec<Row<'_>> {
        (1_i64..)
            .zip(&self.resources)
            .map(|(rid, resource)| Row { rid, resource, last_updated: rid % 7 * 86_400_000_000 * 365 * 10 })
            .collect()
    }

    fn entries(&self, row: &Row<'_>, param: &Param) -> Vec<&IndexValue> {
        let entries = self.index[row.rid as usize - 1].entries.iter();
        entries.filter(|it| it.param == param.id).map(|it| &it.value).collect()
    }

    /// The same answer, by index entries.
    fn answer(&self, view: &View, query: &Query) -> Answer {
        let rows = self.rows();
        let mut found: Vec<&Row<'_>> = rows
            .iter()
            .filter(|row| type_of(row) == query.resource_type && self.sees(view, row))
            .filter(|row| query.filters.iter().all(|it| self.holds(it, row)))
            .collect();
        found.sort_by(|left, right| self.order(query, left, right));
        let matches: Vec<i64> = found.iter().map(|it| it.rid).collect();
        let page: Vec<i64> = matches.iter().copied().take(query.count).collect();
        let mut included = BTreeSet::new();
        for include in &query.includes {
            let linked = |source: &Row<'_>, target: &Row<'_>| {
                let id = target.resource.str("id").unwrap_or_default().to_owned();
                let wanted = Target::Local { resource_type: type_of(target).to_owned(), id };
                include.target_type.as_deref().is_none_or(|it| it == type_of(target))
                    && self.entries(source, &include.params[0]).contains(&&IndexValue::Reference(wanted))
            };
            for found in rows.iter().filter(|row| page.contains(&row.rid)) {
                for other in rows.iter().filter(|row| !page.contains(&row.rid)) {
                    let (source, target) = if include.reverse { (other, found) } else { (found, other) };
                    if type_of(source) == include.source_type && linked(source, target) && self.sees(view, other) {
                        included.insert(other.rid);
                    }
                }
            }
        }
        Answer { total: matches.len(), matches, included }
    }

    fn sees(&self, view: &View, row: &Row<'_>) -> bool {
        let patients = &self.index[row.rid as usize - 1].patients;
        let inside = match view.compartment() {
            Compartment::Everyone => true,
            Compartment::Patients(own) if patients.is_empty() => {
                !own.is_empty() && compartment::is_shared(type_of(row))
            }
            Compartment::Patients(own) => patients.iter().any(|it| own.contains(it)),
        };
        inside
            && match view.rule(type_of(row)) {
                TypeRule::Denied => false,
                TypeRule::Whole => true,
                TypeRule::Granular(any) => any.iter().any(|all| all.iter().all(|it| self.holds(it, row))),
            }
    }

    fn holds(&self, filter: &Filter, row: &Row<'_>) -> bool {
        match filter {
            Filter::Id(ids) => ids.iter().any(|id| row.resource.str("id") == Some(id)),
            Filter::LastUpdated(dates) => dates.iter().any(|it| {
                let value = IndexValue::Date { low: row.last_updated, high: row.last_updated };
                entry_matches(&value, &Match::Date(*it))
            }),
            Filter::Missing { param, missing } => self.entries(row, param).is_empty() == *missing,
            Filter::Any { param, matches, negated } => {
                let entries = self.entries(row, param);
                entries.iter().any(|entry| matches.iter().any(|it| entry_matches(entry, it))) != *negated
            }
            other => panic!("this model of the index does not know {other:?}"),
        }
    }

    fn order(&self, query: &Query, left: &Row<'_>, right: &Row<'_>) -> Ordering {
        let chronology = |row: &Row<'_>| self.index[row.rid as usize - 1].chronology;
        if query.sort.is_empty() {
            return chronology(right).cmp(&chronology(left)).then(right.rid.cmp(&left.rid));
        }
        for sort in &query.sort {
            let (left, right) = (self.sort_key(sort, left), self.sort_key(sort, right));
            let order = match (left, right) {
                (Some(left), Some(right)) if sort.descending => right.cmp(&left),
                (Some(left), Some(right)) => left.cmp(&right),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            };
            if order.is_ne() {
                return order;
            }
        }
        right.rid.cmp(&left.rid)
    }

    fn sort_key(&self, sort: &Sort, row: &Row<'_>) -> Option<(i64, String)> {
        let param = match &sort.by {
            SortBy::LastUpdated => return Some((row.last_updated, String::new())),
            SortBy::Id => return row.resource.str("id").map(|id| (0, id.to_owned())),
            SortBy::Chronology(_) => {
                let chronology = self.index[row.rid as usize - 1].chronology;
                return (chronology != NO_CHRONOLOGY).then(|| (chronology, String::new()));
            }
            SortBy::Param(param) => param,
        };
        let keys = self.entries(row, param).into_iter().map(|value| match value {
            IndexValue::Token { code, .. } => (0, code.clone()),
            IndexValue::String { folded, .. } => (0, folded.clone()),
            IndexValue::Date { low, .. } => (*low, String::new()),
            IndexValue::Number(value) | IndexValue::Quantity { value, .. } => (0, value.sort_key()),
            IndexValue::Reference(Target::Local { resource_type, id }) => (0, format!("{resource_type}/{id}")),
            IndexValue::Reference(Target::Url(text)) | IndexValue::Uri(text) => (0, text.clone()),
            IndexValue::Composite(_) => panic!("composites are not sorted by"),
        });
        if sort.descending { keys.max() } else { keys.min() }
    }
}

fn entry_matches(entry: &IndexValue, wanted: &Match) -> bool {
    match (entry, wanted) {
        (IndexValue::Token { system, code }, Match::Token { system: one, code: two }) => {
            one.as_ref().unwrap_or(system) == system && two.as_ref().unwrap_or(code) == code
        }
        (IndexValue::String { folded, exact }, Match::String { mode, text }) => match mode {
            StringMode::StartsWith => folded.starts_with(text),
            StringMode::Contains => folded.contains(text),
            StringMode::Exact => exact == text,
        },
        (IndexValue::Date { low, high }, Match::Date(it)) => match it.prefix {
            Prefix::Eq => it.low <= *low && *high <= it.high,
            Prefix::Ne => it.low > *low || *high > it.high,
            Prefix::Gt => *high > it.high,
            Prefix::Lt => *low < it.low,
            Prefix::Ge => *high >= it.low,
            Prefix::Le => *low <= it.high,
            Prefix::Sa => *low > it.high,
            Prefix::Eb => *high < it.low,
            Prefix::Ap => *high >= it.low && *low <= it.high,
        },
        (IndexValue::Number(value), Match::Number(number)) => number_matches(value, number),
        (IndexValue::Quantity { value, system, code, unit }, Match::Quantity { number, unit: wanted }) => {
            number_matches(value, number)
                && match wanted {
                    None => true,
                    Some(UnitMatch::Coded { system: one, code: two }) => (one, two) == (system, code),
                    Some(UnitMatch::Named(name)) => name == code || name == unit,
                    Some(UnitMatch::Canonical(name)) => name == code,
                }
        }
        (IndexValue::Reference(has), Match::Reference(wanted)) => has == wanted,
        (IndexValue::Uri(has), Match::Uri(wanted)) => has == wanted,
        _ => false,
    }
}

/// By sort keys, as an index compares.
fn number_matches(value: &Decimal, wanted: &NumberMatch) -> bool {
    let [value, at, low, high] = [value, &wanted.value, &wanted.low, &wanted.high].map(Decimal::sort_key);
    match wanted.prefix {
        Prefix::Eq => low <= value && value < high,
        Prefix::Ne => value < low || high <= value,
        Prefix::Gt | Prefix::Sa => value > at,
        Prefix::Lt | Prefix::Eb => value < at,
        Prefix::Ge => value >= at,
        Prefix::Le => value <= at,
        Prefix::Ap => low <= value && value <= high,
    }
}

fn query(generated: &Generated) -> Query {
    let options = Options {
        base: BASE.to_owned(),
        default_count: 10,
        max_count: 1000,
        lenient: false,
        now: 1_700_000_000_000_000,
    };
    let parsed = parse(&generated.resource_type, &generated.pairs, &options);
    parsed.unwrap_or_else(|issues| panic!("{generated:?}: {issues:?}")).query
}

fn views() -> Vec<View> {
    let everything = |compartment: Compartment| {
        let types = fhir::definitions::resource_types().iter().map(|it| (it.clone(), TypeRule::Whole));
        View::listed(compartment, types.collect::<BTreeMap<_, _>>())
    };
    let scope = |category: &str| {
        let pairs = [("category".to_owned(), category.to_owned()), ("status".to_owned(), "final".to_owned())];
        filters_from_pairs("Observation", &pairs, BASE).unwrap()
    };
    let granular = TypeRule::Granular(vec![scope("vital-signs"), scope("laboratory")]);
    let few = [("Observation", granular), ("Patient", TypeRule::Whole), ("Practitioner", TypeRule::Whole)];
    let few = few.into_iter().map(|(name, rule)| (name.to_owned(), rule));
    vec![
        View::system(),
        everything(Compartment::Patients(vec!["example".to_owned(), "f001".to_owned()])),
        View::listed(Compartment::Everyone, few.collect::<BTreeMap<_, _>>()),
    ]
}

fn agree(world: &World, generated: &Generated) {
    let (query, rows) = (query(generated), world.rows());
    for view in views() {
        assert_eq!(answer(&rows, &view, &query, BASE), world.answer(&view, &query), "{generated:?} {query:?}");
    }
}

fn world() -> Option<&'static World> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    WORLD
        .get_or_init(|| {
            let mut taken: BTreeMap<String, usize> = BTreeMap::new();
            let mut resources = examples("oracle")?;
            resources.retain(|it| {
                let taken = taken.entry(it.str("resourceType").unwrap_or_default().to_owned()).or_default();
                *taken += usize::from(it.to_string().len() < 20_000);
                it.to_string().len() < 20_000 && *taken <= 6
            });
            Some(World::of(resources))
        })
        .as_ref()
}

#[test]
fn every_parameter_agrees_with_the_index() {
    let Some(world) = world() else { return };
    let resources: Vec<&Json> = world.resources.iter().collect();
    let every = Generator::new(&resources, BASE, 1).every();
    assert!(every.len() > 5000, "{}", every.len());
    let rows = world.rows();
    let mut hits = 0;
    for generated in every {
        let query = query(&generated);
        let expected = answer(&rows, &View::system(), &query, BASE);
        hits += usize::from(!expected.matches.is_empty());
        assert_eq!(expected, world.answer(&View::system(), &query), "{generated:?} {query:?}");
    }
    assert!(hits > 3000, "only {hits} searches found anything");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn generated_queries_agree_with_the_index(seed in any::<u64>()) {
        if let Some(world) = world() {
            static KNOWN: OnceLock<Vec<&'static Json>> = OnceLock::new();
            let resources = KNOWN.get_or_init(|| world.resources.iter().collect());
            for generated in Generator::new(&resources[seed as usize % (resources.len() - 99)..][..100], BASE, seed).take(5) {
                agree(world, &generated);
            }
        }
    }
}

#[test]
fn negation_missing_and_order() {
    let observation = |id: &str, status: Option<&str>, date: Option<&str>| {
        let mut json = object! { "resourceType": "Observation", "id": id };
        let object = json.as_object_mut().unwrap();
        for (name, value) in [("status", status), ("effectiveDateTime", date)] {
            if let Some(value) = value {
                object.insert(name, value);
            }
        }
        json
    };
    let world = World::of(vec![
        observation("a", Some("final"), Some("2020")),
        observation("b", None, None),
        observation("c", Some("amended"), Some("2021-05")),
        observation("d", Some("final"), Some("2020-01-01")),
    ]);
    let rows = world.rows();
    for (pairs, expected) in [
        (&[][..], &[3, 4, 1, 2][..]),
        (&[("status:not", "final")][..], &[3, 2][..]),
        (&[("status:missing", "true")][..], &[2][..]),
        (&[("_sort", "date")][..], &[4, 1, 3, 2][..]),
        (&[("_sort", "-date")][..], &[3, 4, 1, 2][..]),
        (&[("_sort", "status,_id")][..], &[3, 1, 4, 2][..]),
        (&[("date", "2020")][..], &[4, 1][..]),
        (&[("date", "ne2020")][..], &[3][..]),
        (&[("date", "gt2020-01-01")][..], &[3, 1][..]),
        (&[("date", "sa2020-01-01")][..], &[3][..]),
        (&[("_id", "a,b")][..], &[1, 2][..]),
    ] {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let generated = Generated { resource_type: "Observation".to_owned(), pairs };
        agree(&world, &generated);
        let found = answer(&rows, &View::system(), &query(&generated), BASE);
        assert_eq!(found.matches, expected, "{:?}", generated.pairs);
    }
}

#[test]
fn lk_15_includes_stay_inside_the_view() {
    let reference = |text: &str| object! { "reference": text };
    let world = World::of(vec![
        object! { "resourceType": "Patient", "id": "example" },
        object! { "resourceType": "Patient", "id": "other" },
        object! { "resourceType": "Practitioner", "id": "doctor" },
        object! { "resourceType": "Observation", "id": "1", "subject": reference("Patient/example"),
        "performer": fhir::array![reference("Patient/other"), reference("Practitioner/doctor")] },
        object! { "resourceType": "Observation", "id": "2", "subject": reference("Patient/other") },
    ]);
    let pairs = |it: &[(&str, &str)]| it.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let observations = Generated {
        resource_type: "Observation".to_owned(),
        pairs: pairs(&[("_include", "Observation:subject"), ("_include", "Observation:performer")]),
    };
    let patients =
        Generated { resource_type: "Patient".to_owned(), pairs: pairs(&[("_revinclude", "Observation:subject")]) };
    let rows = world.rows();
    let [system, patient] = [0, 1].map(|index| views().swap_remove(index));
    let found = |view: &View, generated: &Generated| {
        let answer = answer(&rows, view, &query(generated), BASE);
        (answer.matches, answer.included.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(found(&system, &observations), (vec![5, 4], vec![1, 2, 3]));
    assert_eq!(found(&patient, &observations), (vec![4], vec![1, 3]));
    assert_eq!(found(&system, &patients), (vec![2, 1], vec![4, 5]));
    assert_eq!(found(&patient, &patients), (vec![1], vec![4]));
    agree(&world, &observations);
    agree(&world, &patients);
}
