//! Several types in one order.

use search::query::{Filter, Query, Sort, SortBy};
use search::view::View;

use crate::world::{NAME, World, confined, ids, starts};

fn queries(sort: &[Sort], count: usize) -> Vec<Query> {
    let types = ["Account", "Observation", "Organization", "Patient", "VisionPrescription"];
    let one = |name: &&str| Query { sort: sort.to_vec(), total: true, ..Query::of(name, count) };
    types.iter().map(one).collect()
}

pub(crate) async fn merges_several_types(world: &World) {
    let store = &world.store;
    let view = confined(&["Observation", "Patient"]);
    for sort in [
        vec![],
        vec![Sort { by: SortBy::Id, descending: false }],
        vec![Sort { by: SortBy::LastUpdated, descending: true }],
    ] {
        let all = store.search_types(&view, &queries(&sort, 100)).await.unwrap();
        assert_eq!((all.matches.len(), all.total), (13, Some(13)), "{sort:?}");
        let all = ids(&all);
        let mut asked = queries(&sort, 4);
        let (mut found, mut back) = (Vec::new(), None);
        for page in 0.. {
            let answer = store.search_types(&view, &asked).await.unwrap();
            assert_eq!(answer.total, Some(13));
            found.extend(ids(&answer));
            if page == 1 {
                back = answer.previous;
            }
            let Some(next) = answer.next else { break };
            for query in &mut asked {
                query.cursor = Some(next.clone());
            }
        }
        assert_eq!(found, all, "{sort:?}");
        for query in &mut asked {
            query.cursor.clone_from(&back);
        }
        assert_eq!(ids(&store.search_types(&view, &asked).await.unwrap()), all[..4]);
    }
    let everything = store.search_types(&View::system(), &queries(&[], 0)).await.unwrap();
    assert!(everything.total > Some(2_000) && everything.matches.is_empty());
    let named = |name: &str, filters: Vec<Filter>| Query { filters, ..Query::of(name, 10) };
    let some =
        [named("Patient", vec![starts(NAME, "name 3")]), named("Observation", vec![Filter::Id(vec!["3-1".into()])])];
    assert_eq!(ids(&store.search_types(&View::system(), &some).await.unwrap()), ["3-1", "3"]);
}
