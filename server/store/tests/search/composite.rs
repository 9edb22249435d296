//! Composite parameters.

use search::query::{Filter, Match, NumberMatch, Prefix, UnitMatch};
use search::view::View;

use crate::world::{CODE_VALUE, SUBJECT, World, code, confined, decimal, expected, param, query, refers};

fn pair(id: i64, token: &str, prefix: Prefix, value: &str, unit: Option<UnitMatch>) -> Filter {
    Filter::Composite { param: param(id), alternatives: vec![vec![code(token), amount(prefix, value, unit)]] }
}

fn amount(prefix: Prefix, value: &str, unit: Option<UnitMatch>) -> Match {
    let (low, high) = decimal(value).implicit_range();
    Match::Quantity { number: NumberMatch { prefix, value: decimal(value), low, high }, unit }
}

pub(crate) async fn finds_elements_that_match_all_components(world: &World) {
    let mg = || Some(UnitMatch::Coded { system: "u".into(), code: "mg".into() });
    let named = || Some(UnitMatch::Named("Milli".into()));
    let value = |prefix, text| pair(CODE_VALUE, "c1", prefix, text, mg());
    for (filter, holds) in [
        (
            value(Prefix::Gt, "6"),
            (|number| number % 3 == 1 && number > 6 || (number + 1) % 3 == 1 && number > 0) as fn(usize) -> bool,
        ),
        (value(Prefix::Gt, "60"), |number| (number + 1) % 3 == 1 && number > 6),
        (value(Prefix::Eq, "4"), |number| number == 4),
        (value(Prefix::Lt, "1"), |number| number == 0),
        (pair(CODE_VALUE, "c1", Prefix::Eq, "4", named()), |number| number == 4),
        (pair(CODE_VALUE, "c1", Prefix::Eq, "4", None), |number| number == 4),
        (pair(CODE_VALUE, "c1", Prefix::Eq, "4", Some(UnitMatch::Named("kg".into()))), |_| false),
        (pair(CODE_VALUE, "c9", Prefix::Gt, "0", None), |_| false),
        (pair(CODE_VALUE, "c2", Prefix::Eq, "4", None), |_| false),
        (
            Filter::Or(vec![
                pair(CODE_VALUE, "c1", Prefix::Eq, "4", named()),
                pair(CODE_VALUE, "c2", Prefix::Ge, "8000", Some(UnitMatch::Canonical("g".into()))),
            ]),
            |number| number == 4 || number == 8 || number == 11,
        ),
        (
            Filter::Composite {
                param: param(CODE_VALUE),
                alternatives: vec![
                    vec![code("c0"), amount(Prefix::Eq, "3", None)],
                    vec![code("c2"), amount(Prefix::Eq, "5", None)],
                ],
            },
            |number| number == 3 || number == 5,
        ),
        (Filter::Not(Box::new(value(Prefix::Gt, "0"))), |number| {
            !(number % 3 == 1 || (number + 1) % 3 == 1 && number > 0)
        }),
        (Filter::Missing { param: param(CODE_VALUE), missing: true }, |_| false),
    ] {
        assert_eq!(world.observations(vec![filter.clone()]).await, expected(|_, number| holds(number)), "{filter:?}");
        let of_one = vec![filter.clone(), refers(SUBJECT, "Patient", "3")];
        let one = expected(|patient, number| patient == 3 && holds(number));
        assert_eq!(world.observations(of_one).await, one, "{filter:?}");
        let seen = world.find(&confined(&["Observation"]), &query("Observation", vec![filter.clone()])).await;
        assert_eq!(seen, expected(|patient, number| patient == 1 && holds(number)), "{filter:?}");
    }
    let impossible = vec![vec![code("c1"), code("c1"), code("c1")]];
    let impossible = Filter::Composite { param: param(CODE_VALUE), alternatives: impossible };
    assert!(world.store.search(&View::system(), &query("Observation", vec![impossible])).await.is_err());
}
