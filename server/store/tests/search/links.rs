//! Chains, `_has`, their combinations, hierarchies, and what must not be passed through.

use search::query::{DateMatch, Direction, Filter, Match, Prefix};
use search::view::View;
use store::StoreError;

use crate::world::{
    CODE, MANY, NAME, ORGANIZATION, PART_OF, PERFORMER, SUBJECT, TITLE, URL, World, any, code, confined, expected,
    local, param, query, refers, starts,
};

fn chain(id: i64, target_type: &str, filters: Vec<Filter>) -> Filter {
    Filter::Chain { param: param(id), target_type: target_type.into(), filters }
}

fn has(source_type: &str, id: i64, filters: Vec<Filter>) -> Filter {
    Filter::Has { source_type: source_type.into(), param: param(id), filters }
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

pub(crate) async fn follows_chains(world: &World) {
    let organization = |filter| chain(SUBJECT, "Patient", vec![chain(ORGANIZATION, "Organization", vec![filter])]);
    for (filter, holds) in [
        (chain(SUBJECT, "Patient", vec![starts(NAME, "name 3")]), (|patient| patient == 3) as fn(usize) -> bool),
        (chain(SUBJECT, "Patient", vec![starts(NAME, "name")]), |_| true),
        (chain(SUBJECT, "Patient", vec![starts(NAME, "nobody")]), |_| false),
        (chain(SUBJECT, "Patient", vec![]), |_| true),
        (chain(SUBJECT, "Group", vec![]), |_| false),
        (organization(starts(TITLE, "org 2")), |patient| patient < 8 && patient % 4 == 2),
        (organization(chain(PART_OF, "Organization", vec![starts(TITLE, "org 0")])), |patient| {
            patient < 8 && patient % 4 == 1
        }),
        (organization(starts(TITLE, "bulk")), |_| false),
    ] {
        assert_eq!(world.observations(vec![filter.clone()]).await, expected(|patient, _| holds(patient)), "{filter:?}");
        let negated = world.observations(vec![not(filter.clone())]).await;
        assert_eq!(negated, expected(|patient, _| !holds(patient)), "not {filter:?}");
    }
    // More targets than are named in the statement.
    let performed =
        |text: &str| query("Observation", vec![chain(PERFORMER, "Organization", vec![starts(TITLE, text)])]);
    assert_eq!(world.find(&View::system(), &performed("bulk")).await.len(), MANY);
    assert_eq!(
        world.find(&View::system(), &performed("bulk 77")).await,
        [
            "bulk77", "bulk770", "bulk771", "bulk772", "bulk773", "bulk774", "bulk775", "bulk776", "bulk777",
            "bulk778", "bulk779"
        ]
    );
}

pub(crate) async fn follows_references_back(world: &World) {
    let patients = |filters| query("Patient", filters);
    let observed = |text: &str| has("Observation", SUBJECT, vec![any(CODE, vec![code(text)])]);
    let all: Vec<String> = (0..10).map(|id| id.to_string()).collect();
    assert_eq!(world.find(&View::system(), &patients(vec![observed("c1")])).await, all);
    assert_eq!(world.find(&View::system(), &patients(vec![observed("bulk")])).await, ["9"], "many sources");
    assert_eq!(world.find(&View::system(), &patients(vec![not(observed("bulk"))])).await, all[..9]);
    assert!(world.find(&View::system(), &patients(vec![observed("none")])).await.is_empty());
    let of_observed = has("Patient", ORGANIZATION, vec![starts(NAME, "name 1"), observed("c1")]);
    assert_eq!(world.find(&View::system(), &query("Organization", vec![of_observed])).await, ["1"], "nested");
    let list = has("Observation", SUBJECT, vec![Filter::Id(vec!["4-4".into(), "5-5".into()])]);
    assert_eq!(world.find(&View::system(), &patients(vec![list])).await, ["4", "5"], "as _list does it");
    let back_and_forth = chain(SUBJECT, "Patient", vec![observed("bulk")]);
    assert_eq!(world.observations(vec![back_and_forth]).await, expected(|patient, _| patient == 9));
}

pub(crate) async fn combines_conditions(world: &World) {
    let of = |id: &str| refers(SUBJECT, "Patient", id);
    let with = |text: &str| any(CODE, vec![code(text)]);
    for (filter, holds) in [
        (Filter::Or(vec![of("1"), of("2")]), (|patient, _| patient == 1 || patient == 2) as fn(usize, usize) -> bool),
        (Filter::Or(vec![of("1"), with("c1")]), |patient, number| patient == 1 || number % 3 == 1),
        (Filter::Or(vec![Filter::All(vec![of("1"), with("c1")]), of("2")]), |patient, number| {
            patient == 1 && number % 3 == 1 || patient == 2
        }),
        (Filter::All(vec![of("1"), Filter::Or(vec![with("c1"), with("c2")])]), |patient, number| {
            patient == 1 && number % 3 != 0
        }),
        (Filter::All(vec![of("1"), not(Filter::Or(vec![with("c1"), with("c2")]))]), |patient, number| {
            patient == 1 && number % 3 == 0
        }),
        (Filter::All(vec![of("1"), not(Filter::All(vec![with("c1"), of("1")]))]), |patient, number| {
            patient == 1 && number % 3 != 1
        }),
        (Filter::Or(vec![]), |_, _| false),
        (Filter::Or(vec![of("nobody"), of("4")]), |patient, _| patient == 4),
        (Filter::All(vec![]), |_, _| true),
        (Filter::Or(vec![of("1"), not(of("1"))]), |_, _| true),
        (any(CODE, vec![code("c1"), code("c2")]), |_, number| number % 3 != 0),
        (any(CODE, vec![Match::Other(Box::new(code("c1")))]), |_, number| number % 3 != 1),
    ] {
        assert_eq!(world.observations(vec![filter.clone()]).await, expected(holds), "{filter:?}");
    }
}

pub(crate) async fn walks_hierarchies(world: &World) {
    let walk = |id: &str, direction| {
        let wanted =
            Match::Hierarchy { target: local("Organization", id), parent: Box::new(param(PART_OF)), direction };
        query("Patient", vec![any(ORGANIZATION, vec![wanted])])
    };
    for (id, direction, expected) in [
        ("1", Direction::Below, "1 2 3 5 6 7"),
        ("3", Direction::Below, "3 7"),
        ("0", Direction::Below, "0 1 2 3 4 5 6 7"),
        ("1", Direction::Above, "0 1 4 5"),
        ("3", Direction::Above, "0 1 2 3 4 5 6 7"),
        ("4", Direction::Below, ""),
        ("5", Direction::Above, ""),
        ("none", Direction::Below, ""),
    ] {
        let found = world.find(&View::system(), &walk(id, direction)).await;
        assert_eq!(found.join(" "), expected, "{id} {direction:?}");
    }
    // Organisations are not visible: nothing leads from one to the next.
    let found = world.find(&confined(&["Patient"]), &walk("1", Direction::Below)).await;
    assert_eq!(found, ["1"], "the reference itself is the patient's own");
    let found = world.find(&confined(&["Patient"]), &walk("0", Direction::Below)).await;
    assert!(found.is_empty(), "lk_14");
    let found = world.find(&confined(&["Patient", "Organization"]), &walk("0", Direction::Below)).await;
    assert_eq!(found, ["1"]);
}

pub(crate) async fn passes_through_nothing_hidden(world: &World) {
    let named = |text: &str| query("Observation", vec![chain(SUBJECT, "Patient", vec![starts(NAME, text)])]);
    let both = confined(&["Observation", "Patient"]);
    assert_eq!(world.find(&both, &named("name 1")).await, expected(|patient, _| patient == 1));
    assert!(world.find(&both, &named("name 2")).await.is_empty(), "lk_14");
    assert!(world.find(&confined(&["Observation"]), &named("name 1")).await.is_empty(), "lk_14: the type is hidden");
    let many = query("Observation", vec![chain(PERFORMER, "Organization", vec![starts(TITLE, "bulk")])]);
    assert!(world.find(&both, &many).await.is_empty());
    let referred = query("Organization", vec![has("Patient", ORGANIZATION, vec![])]);
    let view = confined(&["Patient", "Organization"]);
    assert_eq!(world.find(&view, &referred).await, ["1"], "lk_14");
    assert!(world.find(&confined(&["Organization"]), &referred).await.is_empty(), "lk_14");
    let unreferred = query("Organization", vec![not(has("Patient", ORGANIZATION, vec![])), starts(TITLE, "org")]);
    assert_eq!(world.find(&view, &unreferred).await, ["0", "2", "3", "4", "5"], "lk_14: hidden ones do not exist");
    let of_many = query("Patient", vec![has("Observation", SUBJECT, vec![any(CODE, vec![code("bulk")])])]);
    assert!(world.find(&confined(&["Patient", "Observation"]), &of_many).await.is_empty());
}

pub(crate) async fn looks_at_resources_where_no_index_helps(world: &World) {
    let exact = |filter| Filter::Exact(Box::new(filter));
    let named = |ids: &[&str]| exact(Filter::Id(ids.iter().map(|id| (*id).to_owned()).collect()));
    let system = View::system();
    let found = world.find(&system, &query("Observation", vec![named(&["3-1", "4-1", "x"])])).await;
    assert_eq!(found, ["3-1", "4-1"]);
    let narrowed = vec![named(&["3-1", "4-1"]), refers(SUBJECT, "Patient", "3")];
    assert_eq!(world.find(&system, &query("Observation", narrowed)).await, ["3-1"]);
    let either = Filter::Or(vec![named(&["3-1"]), refers(SUBJECT, "Patient", "2")]);
    let found = world.observations(vec![either, any(CODE, vec![code("c1")])]).await;
    assert_eq!(found, expected(|patient, number| number % 3 == 1 && (patient == 2 || (patient, number) == (3, 1))));
    assert_eq!(world.observations(vec![not(named(&["3-1"])), refers(SUBJECT, "Patient", "3")]).await.len(), 11);
    let then = exact(Filter::LastUpdated(vec![DateMatch { prefix: Prefix::Eq, low: 1_000_000, high: 1_000_000 }]));
    assert_eq!(world.observations(vec![then]).await.len(), 120);
    let inside = chain(SUBJECT, "Patient", vec![named(&["6"])]);
    assert_eq!(world.observations(vec![inside]).await, expected(|patient, _| patient == 6));
    let hidden = world.find(&confined(&["Observation"]), &query("Observation", vec![named(&["3-1", "1-1"])])).await;
    assert_eq!(hidden, ["1-1"]);
    let listed = search::query::Terminology::ValueSet("http://v".into());
    let unlisted = query("Observation", vec![any(CODE, vec![Match::Terminology(listed)])]);
    assert!(matches!(world.store.search(&system, &unlisted).await, Err(StoreError::Unsupported(_))));
}

pub(crate) async fn compares_paths_of_uris(world: &World) {
    for (uri, direction, expected) in [
        ("http://a.b/x", Direction::Below, "1 2 3 5"),
        ("http://a.b/x/", Direction::Below, "2 3 5"),
        ("http://a.b/x/y", Direction::Below, "2 3"),
        ("http://a.b/x/y", Direction::Above, "0 1 2 5"),
        ("http://a.b/xy", Direction::Above, "0 4"),
        ("urn:a.b", Direction::Below, ""),
    ] {
        let wanted = Match::UriHierarchy { uri: uri.into(), direction };
        let found = world.find(&View::system(), &query("Organization", vec![any(URL, vec![wanted])])).await;
        assert_eq!(found.join(" "), expected, "{uri} {direction:?}");
    }
}
