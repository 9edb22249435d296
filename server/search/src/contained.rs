//! Contained resources as what is searched. <https://hl7.org/fhir/R4/search.html#contained>
//!
//! `_contained=true` asks for contained resources of the searched type that satisfy all conditions, `both` for them and
//! for those that stand by themselves. They are visible as far as their container is: a view that shows the container
//! shows what is in it, whatever it says about the type of what is contained. (LK-24)

use fhir::definitions::is_resource_type;
use fhir::json::Json;

use crate::query::{Filter, Match, Param};
use crate::registry::registry;

/// Most contained resources of one resource that are searched; a resource with more is refused.
pub const MOST_CONTAINED: usize = 1 << 16;

/// The same as a step between row ids.
const PLACES: i64 = 1 << 16;

/// Row ids of contained resources lie above those of all others: they are made of the container's.
const FIRST_ROW: i64 = 1 << 62;

/// The row id of what stands at a place in the container with that row id. Those of one container are one range,
/// newer containers come later, and what comes first in its container has the largest.
pub fn row_id(container: i64, place: usize) -> i64 {
    FIRST_ROW + container * PLACES + (PLACES - 1 - i64::try_from(place).unwrap_or(PLACES - 1))
}

/// The first and the last row id that what one container holds can have.
pub fn row_ids(container: i64) -> (i64, i64) {
    (row_id(container, MOST_CONTAINED - 1), row_id(container, 0))
}

/// The row id of the container, and the place in it, of a contained resource; none of a resource that is not
/// contained.
pub fn container(row_id: i64) -> Option<(i64, usize)> {
    let number = row_id.checked_sub(FIRST_ROW).filter(|number| *number >= 0)?;
    Some((number / PLACES, usize::try_from(PLACES - 1 - number % PLACES).ok()?))
}

/// What is subtracted from the row id of a contained resource and what it is divided by, to have its container's.
pub const TO_CONTAINER: (i64, i64) = (FIRST_ROW, PLACES);

/// The contained resources of a resource with their types, by place; those without a type of R4 are left out.
pub fn of(resource: &Json) -> impl Iterator<Item = (usize, (&str, &Json))> {
    let typed = |(place, contained)| {
        let resource_type = Json::str(contained, "resourceType").filter(|name| is_resource_type(name))?;
        Some((place, (resource_type, contained)))
    };
    resource.list("contained").iter().enumerate().filter_map(typed)
}

/// The same condition on contained resources of a type, as the index holds their values; none for a condition that
/// cannot be asked of them: on other resources that point at it, on when it was updated, and on what has no index.
pub fn filter(resource_type: &str, filter: &Filter) -> Option<Filter> {
    let all = |filters: &[Filter]| -> Option<Vec<Filter>> {
        filters.iter().map(|inner| self::filter(resource_type, inner)).collect()
    };
    Some(match filter {
        Filter::Id(ids) => {
            let param = registry().find(resource_type, "_id")?.param()?;
            let token = |id: &String| Match::Token { system: None, code: Some(id.clone()) };
            Filter::Any { param: inside(&param), matches: ids.iter().map(token).collect(), negated: false }
        }
        Filter::Missing { param, missing } => Filter::Missing { param: inside(param), missing: *missing },
        Filter::Any { param, matches, negated } => {
            Filter::Any { param: inside(param), matches: matches.clone(), negated: *negated }
        }
        Filter::Composite { param, alternatives } => {
            Filter::Composite { param: inside(param), alternatives: alternatives.clone() }
        }
        Filter::Chain { param, target_type, filters } => {
            Filter::Chain { param: inside(param), target_type: target_type.clone(), filters: filters.clone() }
        }
        Filter::All(filters) => Filter::All(all(filters)?),
        Filter::Or(filters) => Filter::Or(all(filters)?),
        Filter::Not(inner) => Filter::Not(Box::new(self::filter(resource_type, inner)?)),
        Filter::LastUpdated(_) | Filter::Has { .. } | Filter::Exact(_) | Filter::Near { .. } | Filter::Words { .. } => {
            return None;
        }
    })
}

/// The parameter as contained resources have it. Whose patient's data they are is up to their container.
fn inside(param: &Param) -> Param {
    let members = param.members.iter().map(|id| id.of_contained()).collect();
    Param { id: param.id.of_contained(), compartment: false, other_compartment_params: None, members, ..param.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use fhir::definitions::resource_types;
    use fhir::{array, object};

    #[test]
    fn no_two_identities_of_any_parameter_are_the_same() {
        let registry = registry();
        let mut seen = HashSet::new();
        let own: HashSet<_> = resource_types()
            .iter()
            .flat_map(|name| registry.parameters(name).filter_map(|parameter| Some(parameter.param()?.id)))
            .collect();
        for id in own {
            for id in [id, id.into_contained(), id.without_value(), id.as_stated()] {
                assert!(seen.insert(id) && seen.insert(id.of_contained()), "{id:?}");
            }
            assert!(seen.insert(id.named_alone()) && seen.insert(id.named_with_version()), "{id:?}");
        }
    }

    #[test]
    fn row_ids_tell_container_and_place() {
        for (rid, place) in [(1, 0), (1, 1), (7, MOST_CONTAINED - 1), (1 << 40, 3)] {
            let id = row_id(rid, place);
            assert_eq!(container(id), Some((rid, place)));
            assert_eq!((id - TO_CONTAINER.0) / TO_CONTAINER.1, rid);
            assert!((row_ids(rid).0..=row_ids(rid).1).contains(&id) && row_ids(rid + 1).0 > id);
        }
        assert!(row_id(5, 0) > row_id(5, 1) && row_id(6, 1) > row_id(5, 0));
        assert_eq!(container(12), None);
    }

    #[test]
    fn contained_resources_keep_their_places() {
        let resource = object! {
            "contained": array![object! { "resourceType": "Nothing" }, object! { "resourceType": "Patient", "id": "p" }],
        };
        let found: Vec<_> = of(&resource).map(|(place, (name, json))| (place, name, json.str("id"))).collect();
        assert_eq!(found, [(1, "Patient", Some("p"))]);
    }
}
