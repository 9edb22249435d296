//! Combinations of the components of a composite parameter. <https://hl7.org/fhir/R4/search.html#combining>

use super::{quantity, values};
use crate::entry::IndexValue;
use crate::registry::{Component, ComponentElements};

/// Most combinations of one element: a concept of a hundred codings with ten values.
pub(super) const MOST_COMBINATIONS: usize = 1_000;

/// The combinations of one element's component values. Nothing if there are more than [`MOST_COMBINATIONS`].
pub(super) fn combinations(
    components: &[Component],
    elements: &ComponentElements<'_>,
    base: &str,
) -> Option<Vec<IndexValue>> {
    let mut rows: Vec<Vec<IndexValue>> = vec![Vec::with_capacity(components.len())];
    for (component, elements) in components.iter().zip(elements) {
        let found: Vec<IndexValue> =
            elements.iter().flat_map(|element| values(component.kind, element, base)).collect();
        if rows.len().saturating_mul(found.len()) > MOST_COMBINATIONS {
            return None;
        }
        rows = match found.as_slice() {
            [] => return Some(Vec::new()),
            [one] => {
                for row in &mut rows {
                    row.push(one.clone());
                }
                rows
            }
            several => rows.iter().flat_map(|row| several.iter().map(move |value| with(row, value))).collect(),
        };
    }
    let with_canonical = |values: Vec<IndexValue>| {
        let canonical = values.iter().find_map(quantity::canonical);
        IndexValue::Composite { values, canonical }
    };
    Some(rows.into_iter().map(with_canonical).collect())
}

fn with(row: &[IndexValue], value: &IndexValue) -> Vec<IndexValue> {
    row.iter().chain([value]).cloned().collect()
}
