//! Combinations of the components of a composite parameter. <https://hl7.org/fhir/R4/search.html#combining>

use super::{quantity, values};
use crate::entry::IndexValue;
use crate::query::ParamKind;
use crate::registry::{Component, ComponentElements};

/// Most combinations of one element: a concept of a hundred codings with ten values.
pub(super) const MOST_COMBINATIONS: usize = 1_000;

/// The combinations of one element's component values, and the same in canonical units where they hold a quantity
/// that has such. Nothing if there are more than [`MOST_COMBINATIONS`].
pub(super) fn combinations(
    components: &[Component],
    elements: &ComponentElements<'_>,
    base: &str,
) -> Option<(Vec<IndexValue>, Vec<IndexValue>)> {
    let mut rows: Vec<Vec<IndexValue>> = vec![Vec::with_capacity(components.len())];
    for (component, elements) in components.iter().zip(elements) {
        let found: Vec<IndexValue> =
            elements.iter().flat_map(|element| values(component.kind, element, base)).collect();
        if rows.len().saturating_mul(found.len()) > MOST_COMBINATIONS {
            return None;
        }
        rows = match found.as_slice() {
            [] => return Some((Vec::new(), Vec::new())),
            [one] => {
                for row in &mut rows {
                    row.push(one.clone());
                }
                rows
            }
            several => rows.iter().flat_map(|row| several.iter().map(move |value| with(row, value))).collect(),
        };
    }
    let with_quantity = components.iter().any(|component| component.kind == ParamKind::Quantity);
    let canonical = if with_quantity { rows.iter().filter_map(|row| canonical(row)).collect() } else { Vec::new() };
    Some((rows.into_iter().map(IndexValue::Composite).collect(), canonical))
}

fn with(row: &[IndexValue], value: &IndexValue) -> Vec<IndexValue> {
    row.iter().chain([value]).cloned().collect()
}

/// The combination with all quantities in canonical units that have such; nothing if none has.
fn canonical(row: &[IndexValue]) -> Option<IndexValue> {
    let converted: Vec<Option<IndexValue>> = row.iter().map(quantity::canonical).collect();
    if converted.iter().all(Option::is_none) {
        return None;
    }
    let values = converted.into_iter().zip(row).map(|(converted, value)| converted.unwrap_or_else(|| value.clone()));
    Some(IndexValue::Composite(values.collect()))
}
