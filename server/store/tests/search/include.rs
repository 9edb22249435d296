//! `_include` and `_revinclude`, one step and all steps.

use search::query::{Filter, Include, Query};
use search::view::View;

use crate::world::{ORGANIZATION, PART_OF, SUBJECT, World, confined, param, query};

fn include(reverse: bool, source_type: &str, params: &[i64], iterate: bool) -> Include {
    let params = params.iter().map(|id| param(*id)).collect();
    Include { reverse, source_type: source_type.into(), params, target_type: None, iterate, wildcard: false }
}

async fn included(world: &World, view: &View, resource_type: &str, id: &str, includes: Vec<Include>) -> String {
    let only = Query { includes, ..query(resource_type, vec![Filter::Id(vec![id.into()])]) };
    let page = world.store.search(view, &only).await.unwrap();
    assert_eq!(page.total, Some(1));
    let mut names: Vec<String> = page.included.iter().map(|it| format!("{}/{}", it.resource_type, it.id)).collect();
    names.sort();
    names.join(" ")
}

pub(crate) async fn includes_and_iterates(world: &World) {
    let to_patient = || include(false, "Observation", &[SUBJECT], false);
    let to_organization = |iterate| include(false, "Patient", &[ORGANIZATION], iterate);
    let upwards = |iterate| include(false, "Organization", &[PART_OF], iterate);
    let downwards = |iterate| include(true, "Organization", &[PART_OF], iterate);
    let system = View::system();
    for (resource_type, id, includes, expected) in [
        ("Observation", "3-1", vec![to_patient()], "Patient/3"),
        ("Observation", "3-1", vec![to_patient(), to_organization(false)], "Patient/3"),
        ("Observation", "3-1", vec![to_patient(), to_organization(true)], "Organization/3 Patient/3"),
        (
            "Observation",
            "3-1",
            vec![to_patient(), to_organization(true), upwards(true)],
            "Organization/0 Organization/1 Organization/2 Organization/3 Patient/3",
        ),
        ("Organization", "4", vec![upwards(true)], "Organization/5"),
        ("Organization", "1", vec![downwards(false)], "Organization/2"),
        ("Organization", "1", vec![downwards(true)], "Organization/2 Organization/3"),
        ("Organization", "1", vec![include(true, "Patient", &[ORGANIZATION], false)], "Patient/1 Patient/5"),
        ("Patient", "3", vec![include(false, "Patient", &[ORGANIZATION, SUBJECT], false)], "Organization/3"),
    ] {
        assert_eq!(included(world, &system, resource_type, id, includes.clone()).await, expected, "{includes:?}");
    }
    let group = Include { target_type: Some("Group".into()), ..to_patient() };
    assert_eq!(included(world, &system, "Observation", "3-1", vec![group]).await, "");
    let of_patient = Include { target_type: Some("Patient".into()), ..include(true, "Observation", &[SUBJECT], false) };
    assert_eq!(included(world, &system, "Patient", "3", vec![of_patient.clone()]).await.split(' ').count(), 12);
    let of_group = Include { target_type: Some("Group".into()), ..of_patient };
    assert_eq!(included(world, &system, "Patient", "3", vec![of_group]).await, "");

    let ways = || vec![to_patient(), to_organization(true), upwards(true)];
    let without_patients = confined(&["Observation", "Organization"]);
    assert_eq!(included(world, &without_patients, "Observation", "1-1", ways()).await, "", "lk_15: a dead end");
    let all = confined(&["Observation", "Organization", "Patient"]);
    assert_eq!(included(world, &all, "Observation", "1-1", ways()).await, "Organization/0 Organization/1 Patient/1");
    let back = include(true, "Patient", &[ORGANIZATION], false);
    assert_eq!(included(world, &all, "Organization", "1", vec![back]).await, "Patient/1", "lk_15");
}
