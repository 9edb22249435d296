//! Pages in both directions, in every order.

use search::query::{Filter, Query, Sort, SortBy};
use search::view::View;

use crate::world::{
    CODE, NAME, ORGANIZATION, SUBJECT, World, any, code, confined, ids, observation, param, query, refers,
};

fn by(by: SortBy, descending: bool) -> Sort {
    Sort { by, descending }
}

pub(crate) async fn turns_both_ways_in_every_order(world: &World) {
    let value = |id| SortBy::Param(param(id));
    let of_one = || vec![refers(SUBJECT, "Patient", "3")];
    let codes = || vec![any(CODE, vec![code("c0"), code("c2")])];
    let either = || vec![Filter::Or(vec![refers(SUBJECT, "Patient", "3"), refers(SUBJECT, "Patient", "4")])];
    for (resource_type, filters, sort) in [
        ("Observation", of_one(), vec![]),
        ("Observation", codes(), vec![]),
        ("Observation", either(), vec![]),
        ("Observation", either(), vec![by(SortBy::Id, false)]),
        ("Observation", of_one(), vec![by(value(CODE), false), by(SortBy::Id, true)]),
        ("Observation", of_one(), vec![by(value(SUBJECT), true)]),
        ("Observation", codes(), vec![by(value(SUBJECT), false), by(value(CODE), true)]),
        ("Patient", vec![], vec![by(value(ORGANIZATION), false)]),
        ("Patient", vec![], vec![by(value(ORGANIZATION), true), by(value(NAME), true)]),
        ("Patient", vec![], vec![by(SortBy::LastUpdated, true)]),
        ("Observation", vec![], vec![by(SortBy::LastUpdated, false)]),
    ] {
        for view in [View::system(), confined(&["Observation", "Patient", "Organization"])] {
            let whole = Query { sort: sort.clone(), ..query(resource_type, filters.clone()) };
            let all = ids(&world.store.search(&view, &whole).await.unwrap());
            walk(world, &view, &Query { count: if all.len() > 1_000 { 400 } else { 4 }, ..whole }, &all).await;
        }
    }
    let updated = |descending| Query { sort: vec![by(SortBy::LastUpdated, descending)], ..query("Patient", vec![]) };
    for descending in [true, false] {
        // All at the same instant: the row id decides, and falls in both directions.
        let page = world.store.search(&View::system(), &updated(descending)).await.unwrap();
        assert_eq!(ids(&page).join(" "), "9 8 7 6 5 4 3 2 1 0");
    }
    let sort = vec![by(value(ORGANIZATION), false)];
    let page = world.store.search(&View::system(), &Query { sort, ..query("Patient", vec![]) }).await.unwrap();
    assert_eq!(ids(&page).join(" "), "4 0 5 1 6 2 7 3 9 8", "what is elsewhere has no place, as what is missing");
}

/// To the end and back again.
async fn walk(world: &World, view: &View, query: &Query, all: &[String]) {
    let mut query = query.clone();
    let mut pages = Vec::new();
    loop {
        let page = world.store.search(view, &query).await.unwrap();
        assert_eq!(page.previous.is_some(), query.cursor.is_some(), "the first page has none before it");
        assert_eq!(page.total, Some(all.len() as u64));
        pages.push(ids(&page));
        let back = page.previous;
        let is_last = page.next.is_none();
        query.cursor = page.next.or(back);
        if is_last {
            break;
        }
    }
    assert_eq!(pages.concat(), all, "{query:?}");
    pages.pop();
    while let Some(cursor) = query.cursor.take() {
        let page = world.store.search(view, &Query { cursor: Some(cursor), ..query.clone() }).await.unwrap();
        assert_eq!(Some(ids(&page)), pages.pop(), "backwards {query:?}");
        assert!(page.next.is_some());
        query.cursor = page.previous;
    }
    assert!(pages.is_empty(), "{query:?}");
}

pub(crate) async fn stays_in_place_while_others_write(world: &World) {
    let asked = Query { count: 5, ..query("Observation", vec![refers(SUBJECT, "Patient", "7")]) };
    let first = world.store.search(&View::system(), &asked).await.unwrap();
    let second = Query { cursor: first.next.clone(), ..asked.clone() };
    let before = ids(&world.store.search(&View::system(), &second).await.unwrap());
    let mut newest = observation(7, 11);
    newest.id = "7-newest".into();
    std::sync::Arc::make_mut(&mut newest.extracted).chronology = 1_000;
    world.put(vec![newest.clone()]).await;
    let after = world.store.search(&View::system(), &second).await.unwrap();
    assert_eq!(ids(&after), before, "nothing is repeated or left out");
    let back = Query { cursor: after.previous, ..asked };
    assert_eq!(ids(&world.store.search(&View::system(), &back).await.unwrap()), ids(&first));
    newest.version = 2;
    newest.method = store::Method::Delete;
    newest.body = None;
    world.put(vec![newest]).await;
}
