//! What contained resources put into the index: values of the parameters of their own types, and which of them their
//! container points at. <https://hl7.org/fhir/R4/search.html#contained>
//!
//! A contained resource is read by itself; what it refers to by `#id` stands in the same container.

use std::collections::HashMap;

use fhir::json::Json;

use super::{Entries, ExtractError, MOST_ENTRIES, Wanted, composites, failed};
use crate::contained::MOST_CONTAINED;
use crate::entry::{Contained, Extracted, ParamId};
use crate::query::ParamKind;
use crate::registry::{Element, Kind, Registry};

/// Adds what the contained resources of a resource say to what it says itself, as far as it is wanted.
pub(super) fn add(
    (registry, wanted): (&Registry, Wanted<'_>),
    resource: &Json,
    base: &str,
    extracted: &mut Extracted,
) -> Result<(), ExtractError> {
    if resource.get("contained").is_none() {
        return Ok(());
    }
    let standing = standing(resource);
    let mut count = extracted.entries.len();
    for (place, (resource_type, contained)) in crate::contained::of(resource) {
        let mut entries = Entries::default();
        read((registry, wanted), (resource_type, contained), base, &mut entries)?;
        count += entries.all.len() + 1;
        if count > MOST_ENTRIES || place >= MOST_CONTAINED {
            return Err(ExtractError::Expression {
                resource_type: resource.str("resourceType").unwrap_or_default().to_owned(),
                code: "contained".to_owned(),
                message: format!("the contained resources have more than {MOST_ENTRIES} values to search by"),
            });
        }
        for entry in &mut entries.all {
            entry.param = entry.param.of_contained();
        }
        let inward = inward((registry, wanted), contained, &standing)?;
        let inward = inward.into_iter().map(|(param, place)| (param.of_contained(), place)).collect();
        let resource_type = resource_type.to_owned();
        extracted.contained.push(Contained { place, resource_type, entries: entries.all, inward });
    }
    extracted.inward = inward((registry, wanted), resource, &standing)?;
    Ok(())
}

/// The values of one contained resource.
fn read(
    (registry, wanted): (&Registry, Wanted<'_>),
    (resource_type, contained): (&str, &Json),
    base: &str,
    entries: &mut Entries,
) -> Result<(), ExtractError> {
    for parameter in wanted.of(registry, resource_type) {
        let Kind::Indexed(kind) = parameter.kind else { continue };
        if parameter.code == "_lastUpdated" {
            continue; // it has no time of its own
        }
        if kind == ParamKind::Composite {
            composites(parameter, contained, base, entries)?;
        } else {
            let elements = parameter.select(contained).map_err(|message| failed(parameter, message))?;
            entries.add_elements(parameter, kind, &elements, base);
        }
    }
    Ok(())
}

/// The places of the contained resources by their ids.
fn standing(resource: &Json) -> HashMap<&str, usize> {
    let mut standing = HashMap::new();
    for (place, (_, contained)) in crate::contained::of(resource) {
        standing.entry(contained.str("id").unwrap_or_default()).or_insert(place);
    }
    standing
}

/// By which parameters a resource, or what it contains, points at which of the contained resources.
fn inward(
    (registry, wanted): (&Registry, Wanted<'_>),
    resource: &Json,
    standing: &HashMap<&str, usize>,
) -> Result<Vec<(ParamId, usize)>, ExtractError> {
    let mut found = Vec::new();
    for parameter in wanted.of(registry, resource.str("resourceType").unwrap_or_default()) {
        if parameter.kind != Kind::Indexed(ParamKind::Reference) {
            continue;
        }
        let elements = parameter.select(resource).map_err(|message| failed(parameter, message))?;
        let places = elements.iter().filter_map(|element| place(standing, element));
        found.extend(places.map(|place| (parameter.id.into_contained(), place)));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn place(standing: &HashMap<&str, usize>, element: &Element<'_>) -> Option<usize> {
    let id = element.json.str("reference").filter(|_| element.type_name == "Reference")?.strip_prefix('#')?;
    standing.get(id).copied()
}
