//! What a search costs, and where it ends.

use std::time::Duration;

use search::query::{Filter, Match, NumberMatch, Prefix, Query, Sort, SortBy, UnitMatch};
use search::view::View;
use store::{Engine, Store, StoreError};

use crate::world::{
    CODE, CODE_VALUE, NAME, PERFORMER, SUBJECT, TITLE, World, any, code, decimal, param, query, refers, starts,
};

fn chain(id: i64, target_type: &str, filters: Vec<Filter>) -> Filter {
    Filter::Chain { param: param(id), target_type: target_type.into(), filters }
}

pub(crate) async fn explains_without_values(world: &World) {
    let asked = query(
        "Observation",
        vec![
            refers(SUBJECT, "Patient", "3"),
            any(CODE, vec![code("c1")]),
            chain(SUBJECT, "Patient", vec![starts(NAME, "name 3")]),
            chain(PERFORMER, "Organization", vec![starts(TITLE, "bulk")]),
        ],
    );
    let steps = world.store.explain(&View::system(), &asked).await.unwrap();
    let abouts: Vec<&str> = steps.iter().map(|step| step.about).collect();
    for about in ["driver", "patients", "condition", "order", "sql", "plan"] {
        assert!(abouts.contains(&about), "{about} in {steps:?}");
    }
    let all = steps.iter().map(|step| step.text.as_str()).collect::<Vec<_>>().join("\n");
    assert!(all.contains("index_token") && all.contains("one patient"));
    assert!(!all.contains("name 3") && !all.contains("'bulk"), "{all}");
    let composite = |filters: Vec<Filter>| {
        let value = NumberMatch { prefix: Prefix::Gt, value: decimal("4"), low: decimal("4"), high: decimal("4") };
        let alternatives =
            vec![vec![code("c1"), Match::Quantity { number: value, unit: Some(UnitMatch::Named("mg".into())) }]];
        let mut all = vec![Filter::Composite { param: param(CODE_VALUE), alternatives }];
        all.extend(filters);
        Query { count: 5, ..query("Observation", all) }
    };
    let about = |filter: Filter| Query { count: 5, ..query("Observation", vec![Filter::Not(Box::new(filter))]) };
    let by_resource = "index_string_by_resource (rid=?)";
    for (asked, index) in [
        (about(starts(NAME, "n")), by_resource),
        (about(Filter::Missing { param: param(NAME), missing: true }), by_resource),
        (
            about(composite(vec![]).filters.remove(0)),
            "PRIMARY KEY (param=? AND first=? AND patient=? AND chronology=? AND rid>? AND rid<?)",
        ),
        (about(composite(vec![]).filters.remove(0)), "USING COVERING INDEX listing_of_all"),
        (
            Query {
                sort: vec![Sort { by: SortBy::Param(param(NAME)), descending: false }],
                ..query("Observation", vec![any(CODE, vec![code("c1")])])
            },
            by_resource,
        ),
        (composite(vec![]), "USING COVERING INDEX index_composite_of_all"),
        (composite(vec![refers(SUBJECT, "Patient", "3")]), "PRIMARY KEY (param=? AND first=? AND patient=?)"),
        (composite(vec![starts(NAME, "n")]), "index_string"),
    ] {
        let steps = world.store.explain(&View::system(), &asked).await.unwrap();
        let all = steps.iter().map(|step| format!("{}: {}", step.about, step.text)).collect::<Vec<_>>().join("\n");
        println!("{all}");
        assert!(world.store.engine() == Engine::Postgres || all.contains(index), "{index} in {all}");
    }
    let nobody = query("Observation", vec![refers(SUBJECT, "Patient", "x")]);
    assert_eq!(world.store.explain(&View::system(), &nobody).await.unwrap().len(), 1);
}

pub(crate) async fn gives_up_in_time(world: &World, address: &str) {
    let hurried = Store::open_with(address, [7; 32], "http://127.0.0.1/fhir", Duration::from_millis(1)).await.unwrap();
    let slow =
        || chain(PERFORMER, "Organization", vec![starts(TITLE, "bulk"), chain(PERFORMER, "Organization", vec![])]);
    let asked = Query {
        sort: vec![],
        ..query("Observation", vec![Filter::Not(Box::new(slow())), Filter::Or(vec![slow(), starts(NAME, "n")])])
    };
    let result = hurried.search(&View::system(), &asked).await;
    assert!(matches!(&result, Err(StoreError::TooCostly(text)) if text.contains("0.001 seconds")), "{result:?}");
    // The connection is as good as before.
    let limited = hurried.search(&View::system(), &Query::of("Account", 1)).await;
    assert!(matches!(limited, Ok(_) | Err(StoreError::TooCostly(_))), "{limited:?}");
    assert!(world.store.search(&View::system(), &asked).await.is_ok());
}
