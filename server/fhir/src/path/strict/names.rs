//! What to say of a name that no type has.

use super::Type;
use crate::nearest::nearest;

/// Most types that a message names.
const SHOWN: usize = 3;

/// `Patient`; `Quantity, CodeableConcept, string or 8 others`
pub(super) fn list(types: &[Type]) -> String {
    let names: Vec<&str> = types.iter().take(SHOWN).map(|known| name(*known)).collect();
    match (names.split_last(), types.len().saturating_sub(SHOWN)) {
        (Some((last, [])), 0) => (*last).to_owned(),
        (Some((last, first)), 0) => format!("{} or {last}", first.join(", ")),
        (_, more) => format!("{} or {more} others", names.join(", ")),
    }
}

/// Why there are no children of this name, and what was perhaps meant.
pub(super) fn unknown(types: &[Type], wanted: &str) -> String {
    let verb = if types.len() == 1 { "has no" } else { "have no" };
    let problem = format!("{} {verb} element {wanted}", list(types));
    let definitions =
        || types.iter().filter_map(|known| if let Type::Fhir(known) = known { Some(*known) } else { None });
    let choice = definitions().find_map(|known| known.member(wanted).filter(|(element, _)| element.choice));
    if let Some((element, element_type)) = choice {
        return format!("{problem}; write {}.ofType({})", element.name, element_type.code);
    }
    let elements = definitions().flat_map(|known| known.elements.iter().map(|element| &*element.name));
    match nearest(wanted, elements) {
        near if near.is_empty() => problem,
        near => format!("{problem}; near it {} {}", if near.len() == 1 { "is" } else { "are" }, near.join(", ")),
    }
}

fn name(known: Type) -> &'static str {
    match known {
        Type::Fhir(fhir_type) => &fhir_type.name,
        Type::System(system_type) => system_type.qualified_name(),
    }
}
