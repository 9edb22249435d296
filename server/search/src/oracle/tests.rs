//! The oracle and the index entries must agree: what one reads from resources the other must find in entries.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use fhir::{array, object};
use proptest::prelude::*;

use super::*;
use crate::examples::examples;
use crate::generate::{Generated, Generator, Place};
use crate::parse::{Options, filters_from_pairs, parse, parse_types};
use model::Index;

mod model;

const BASE: &str = "http://server/fhir";

fn options() -> Options {
    Options { base: BASE.to_owned(), default_count: 10, max_count: 1000, lenient: false, now: 1_700_000_000_000_000 }
}

/// The query of a search on one type; none if it is not one or is refused.
fn query(generated: &Generated) -> Option<Query> {
    let Place::Type(name) = &generated.place else { return None };
    parse(name, &generated.pairs, &options()).ok().map(|parsed| parsed.query)
}

fn search(resource_type: &str, pairs: &[(&str, &str)]) -> Generated {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Generated { place: Place::Type(resource_type.to_owned()), pairs }
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

/// With the containers that a view lets be searched.
fn through(view: &View, mut query: Query) -> Query {
    if let Some(asked) = &mut query.contained {
        let visible = fhir::definitions::resource_types().iter().filter(|it| *view.rule(it) != TypeRule::Denied);
        asked.containers = visible.cloned().collect();
    }
    query
}

fn agree(index: &Index, world: &World<'_>, generated: &Generated) -> Option<Answer> {
    let query = query(generated)?;
    let mut first = None;
    for view in views() {
        let query = through(&view, query.clone());
        let found = world.through(&view).answer(&query);
        assert_eq!(found, index.answer(&view, &query), "{generated:?} {query:?}");
        first = first.or(Some(found));
    }
    first
}

fn index() -> Option<&'static Index> {
    static INDEX: OnceLock<Option<Index>> = OnceLock::new();
    INDEX
        .get_or_init(|| {
            let mut taken: BTreeMap<String, usize> = BTreeMap::new();
            let mut resources = examples("oracle")?;
            resources.retain(|it| {
                let taken = taken.entry(it.str("resourceType").unwrap_or_default().to_owned()).or_default();
                *taken += usize::from(it.to_string().len() < 20_000);
                it.to_string().len() < 20_000 && *taken <= 6 && it.str("id").is_some()
            });
            Some(Index::of(resources))
        })
        .as_ref()
}

#[test]
fn every_parameter_agrees_with_the_index() {
    let Some(index) = index() else { return };
    let resources: Vec<&Json> = index.resources.iter().collect();
    let every = Generator::new(&resources, BASE, 1).every();
    assert!(every.len() > 8000, "{}", every.len());
    let rows = index.rows();
    let world = World::new(&rows, BASE);
    let everything = View::system();
    let sight = world.through(&everything);
    let (mut hits, mut refused) = (0, 0);
    for generated in &every {
        let Some(query) = query(generated).map(|query| through(&everything, query)) else {
            refused += 1;
            continue;
        };
        let expected = sight.answer(&query);
        hits += usize::from(!expected.matches.is_empty());
        assert_eq!(expected, index.answer(&everything, &query), "{generated:?} {query:?}");
    }
    println!("{} searches, {refused} refused, {hits} found something", every.len());
    assert!(hits > every.len() / 2, "only {hits} of {} searches found anything", every.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn generated_queries_agree_with_the_index(seed in any::<u64>()) {
        if let Some(index) = index() {
            let (rows, resources): (_, Vec<&Json>) = (index.rows(), index.resources.iter().collect());
            let world = World::new(&rows, BASE);
            for generated in Generator::new(&resources[seed as usize % (resources.len() - 99)..][..100], BASE, seed).take(8) {
                agree(index, &world, &generated);
            }
        }
    }
}

/// Row ids of the matches and of what is included, through the first of the views that shows something else or all.
fn found(index: &Index, view: usize, generated: &Generated) -> (Vec<i64>, Vec<i64>) {
    let rows = index.rows();
    let world = World::new(&rows, BASE);
    agree(index, &world, generated);
    let answer = world.through(&views()[view]).answer(&query(generated).expect("a search"));
    (answer.matches, answer.included.into_iter().collect())
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
    let index = Index::of(vec![
        observation("a", Some("final"), Some("2020")),
        observation("b", None, None),
        observation("c", Some("amended"), Some("2021-05")),
        observation("d", Some("final"), Some("2020-01-01")),
    ]);
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
        (&[("_filter", "date ge 2020 and not (status eq final)")][..], &[3][..]),
        (&[("_filter", "status eq amended or _id eq b")][..], &[3, 2][..]),
        (&[("_filter", "status ne final")][..], &[3][..]),
    ] {
        assert_eq!(found(&index, 0, &search("Observation", pairs)).0, expected, "{pairs:?}");
    }
}

fn reference(text: &str) -> Json {
    object! { "reference": text }
}

#[test]
fn lk_15_includes_stay_inside_the_view() {
    let index = Index::of(vec![
        object! { "resourceType": "Patient", "id": "example" },
        object! { "resourceType": "Patient", "id": "other" },
        object! { "resourceType": "Practitioner", "id": "doctor" },
        object! { "resourceType": "Observation", "id": "1", "subject": reference("Patient/example"),
        "performer": array![reference("Patient/other"), reference("Practitioner/doctor")] },
        object! { "resourceType": "Observation", "id": "2", "subject": reference("Patient/other") },
    ]);
    let observations =
        search("Observation", &[("_include", "Observation:subject"), ("_include", "Observation:performer")]);
    let patients = search("Patient", &[("_revinclude", "Observation:subject")]);
    assert_eq!(found(&index, 0, &observations), (vec![5, 4], vec![1, 2, 3]));
    assert_eq!(found(&index, 1, &observations), (vec![4], vec![1, 3]));
    assert_eq!(found(&index, 0, &patients), (vec![2, 1], vec![4, 5]));
    assert_eq!(found(&index, 1, &patients), (vec![1], vec![4]));
}

#[test]
fn includes_go_on_and_have_targets() {
    let index = Index::of(vec![
        object! { "resourceType": "Organization", "id": "top", "partOf": reference("Organization/low") },
        object! { "resourceType": "Organization", "id": "mid", "partOf": reference("Organization/top") },
        object! { "resourceType": "Organization", "id": "low", "partOf": reference("Organization/mid") },
        object! { "resourceType": "Patient", "id": "example", "managingOrganization": reference("Organization/low"),
        "generalPractitioner": array![reference("Organization/mid"), reference("Practitioner/doctor")] },
        object! { "resourceType": "Practitioner", "id": "doctor" },
        object! { "resourceType": "Observation", "id": "1", "subject": reference("Patient/example") },
    ]);
    for (pairs, expected) in [
        (&[("_include", "Patient:organization")][..], &[3][..]),
        (&[("_include", "Patient:*")][..], &[2, 3, 5][..]),
        (&[("_include", "Patient:general-practitioner:Practitioner")][..], &[5][..]),
        (&[("_include", "Patient:organization"), ("_include:iterate", "Organization:partof")][..], &[1, 2, 3][..]),
        (&[("_include:iterate", "Organization:partof")][..], &[][..]),
        (&[("_revinclude", "Observation:subject:Patient")][..], &[6][..]),
        (&[("_revinclude", "Observation:*")][..], &[6][..]),
    ] {
        assert_eq!(found(&index, 0, &search("Patient", pairs)).1, expected, "{pairs:?}");
    }
    let upwards = [("_id", "top"), ("_revinclude:iterate", "Organization:partof")];
    assert_eq!(found(&index, 0, &search("Organization", &upwards)), (vec![1], vec![2, 3]));
}

#[test]
fn lk_14_chains_pass_through_what_is_visible_only() {
    let observation = |id: &str, patient: &str, encounter: &str| {
        object! { "resourceType": "Observation", "id": id, "status": "final", "subject": reference(patient),
        "encounter": reference(encounter), "code": object! { "text": "x" } }
    };
    let encounter = |id: &str, patient: &str, place: &str| {
        object! { "resourceType": "Encounter", "id": id, "status": "finished", "subject": reference(patient),
        "location": array![object! { "location": reference(place) }] }
    };
    let name = |family: &str| array![object! { "family": family }];
    let index = Index::of(vec![
        object! { "resourceType": "Patient", "id": "example", "name": name("Ahl") },
        object! { "resourceType": "Patient", "id": "other", "name": name("Berg") },
        encounter("own", "Patient/example", "Location/room"),
        encounter("hidden", "Patient/other", "Location/room"),
        observation("1", "Patient/example", "Encounter/own"),
        observation("2", "Patient/example", "Encounter/hidden"),
        observation("3", "Patient/other", "Encounter/hidden"),
        object! { "resourceType": "Location", "id": "house" },
        object! { "resourceType": "Location", "id": "floor", "partOf": reference("Location/house") },
        object! { "resourceType": "Location", "id": "room", "partOf": reference("Location/floor") },
    ]);
    for (name, pairs, all, own) in [
        ("Observation", ("subject:Patient.family", "ahl"), &[6, 5][..], &[6, 5][..]),
        ("Observation", ("patient.family", "berg"), &[7][..], &[][..]),
        ("Observation", ("encounter.status", "finished"), &[7, 6, 5][..], &[5][..]),
        ("Observation", ("encounter.subject:Patient.family", "berg"), &[7, 6][..], &[][..]),
        ("Observation", ("encounter.status:not", "planned"), &[7, 6, 5][..], &[5][..]),
        ("Observation", ("encounter.location:missing", "false"), &[7, 6, 5][..], &[5][..]),
        ("Observation", ("encounter.location:below", "Location/house"), &[7, 6, 5][..], &[5][..]),
        ("Encounter", ("location:above", "Location/room"), &[4, 3][..], &[3][..]),
        ("Encounter", ("location:below", "Location/room"), &[4, 3][..], &[3][..]),
        ("Encounter", ("_has:Observation:encounter:_id", "2"), &[4][..], &[][..]),
        ("Patient", ("_has:Encounter:patient:_has:Observation:encounter:status", "final"), &[2, 1][..], &[1][..]),
        ("Patient", ("_has:Observation:patient:encounter:missing", "false"), &[2, 1][..], &[1][..]),
        ("Location", ("partof:below", "Location/house"), &[10, 9][..], &[10, 9][..]),
        ("Location", ("partof:below", "Location/floor"), &[10][..], &[10][..]),
        ("Location", ("partof:above", "Location/floor"), &[10, 9][..], &[10, 9][..]),
    ] {
        let generated = search(name, &[pairs]);
        assert_eq!(found(&index, 0, &generated).0, all, "{pairs:?}");
        assert_eq!(found(&index, 1, &generated).0, own, "{pairs:?} in a view");
    }
}

#[test]
fn composites_are_of_one_element_and_units_are_converted() {
    let part = |code: &str, value: &str, unit: &str| {
        object! { "code": object! { "coding": array![object! { "system": "http://loinc.org", "code": code }] },
        "valueQuantity": object! { "value": Json::Number(value.into()), "system": "http://unitsofmeasure.org", "code": unit } }
    };
    let pressure = |id: &str, one: Json, other: Json| {
        object! { "resourceType": "Observation", "id": id, "component": array![one, other] }
    };
    let index = Index::of(vec![
        pressure("a", part("8480-6", "150", "mm[Hg]"), part("8462-4", "90", "mm[Hg]")),
        pressure("b", part("8480-6", "110", "mm[Hg]"), part("8462-4", "145", "mm[Hg]")),
        pressure("c", part("8480-6", "20.0", "kPa"), part("8462-4", "10.0", "kPa")),
    ]);
    for (pairs, expected) in [
        (("component-code-value-quantity", "8480-6$gt140|http://unitsofmeasure.org|mm[Hg]"), &[3, 1][..]),
        (("component-code-value-quantity", "http://loinc.org|8480-6$lt120|http://unitsofmeasure.org|mm[Hg]"), &[2][..]),
        (("component-code-value-quantity", "8480-6$gt140"), &[1][..]),
        (("component-code-value-quantity", "8480-6$gt140||mm[Hg],8462-4$gt140||mm[Hg]"), &[3, 2, 1][..]),
        (("combo-code-value-quantity", "8462-4$75.0|http://unitsofmeasure.org|mm[Hg]"), &[3][..]),
        (("component-value-quantity", "12|http://unitsofmeasure.org|kPa"), &[1][..]),
    ] {
        assert_eq!(found(&index, 0, &search("Observation", &[pairs])).0, expected, "{pairs:?}");
    }
}

#[test]
fn several_types_have_one_order() {
    let dated = |resource_type: &str, id: &str, name: &str, date: &str| {
        let mut json = object! { "resourceType": resource_type, "id": id };
        json.as_object_mut().unwrap().insert(name, date);
        json
    };
    let index = Index::of(vec![
        dated("Observation", "a", "effectiveDateTime", "2020"),
        dated("Procedure", "b", "performedDateTime", "2021"),
        dated("Observation", "c", "effectiveDateTime", "2022"),
        dated("Procedure", "d", "performedDateTime", "2019"),
    ]);
    let rows = index.rows();
    let world = World::new(&rows, BASE);
    for (pairs, expected) in
        [(&[][..], &[3, 2, 1, 4][..]), (&[("_sort", "_id"), ("_count", "2")][..], &[1, 2, 3, 4][..])]
    {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let parsed = parse_types(&["Observation", "Procedure"], &pairs, &options()).unwrap();
        assert_eq!(world.through(&View::system()).answer_types(&parsed.queries).matches, expected);
    }
}
