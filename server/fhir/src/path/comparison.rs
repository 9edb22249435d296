//! `=` and `~` of items. <http://hl7.org/fhirpath/N1/#equality>

use super::EvaluationError;
use super::item::{Element, Item, Repr};
use super::meter::Meter;
use crate::decimal::Decimal;
use crate::json::Json;

/// `=` of two items; nothing where it cannot be said.
pub(super) fn equal(left: &Item<'_>, right: &Item<'_>, meter: &Meter) -> Result<Option<bool>, EvaluationError> {
    if is_same(left, right) {
        return Ok(Some(true));
    }
    match (left.value(), right.value()) {
        (Some(one), Some(other)) if !is_bound(left, right) => {
            meter.charge(one.cost_with(&other))?;
            Ok(one.equals(&other))
        }
        (None, None) | (Some(_), Some(_)) => same_elements(left, right, meter).map(Some),
        _ => Ok(Some(false)),
    }
}

/// Whether both are elements, and one a Quantity with a comparator, which its value as a quantity does not have.
fn is_bound(left: &Item<'_>, right: &Item<'_>) -> bool {
    let comparator = |item: &Item<'_>| item.as_element().map(|json| json.get("comparator").is_some());
    comparator(left).zip(comparator(right)).is_some_and(|(left, right)| left || right)
}

/// `~` of two items.
pub(super) fn equivalent(left: &Item<'_>, right: &Item<'_>, meter: &Meter) -> Result<bool, EvaluationError> {
    if is_same(left, right) {
        return Ok(true);
    }
    match (left.value(), right.value()) {
        (Some(one), Some(other)) if !is_bound(left, right) => {
            // Texts are brought into another form first.
            meter.charge(one.cost_with(&other) + (one.size() + other.size()) / 16)?;
            Ok(one.is_equivalent(&other))
        }
        (None, None) | (Some(_), Some(_)) => equivalent_elements(left, right, meter),
        _ => Ok(false),
    }
}

/// `~` of collections: the same items in any order.
pub(super) fn equivalent_lists(left: &[Item<'_>], right: &[Item<'_>], meter: &Meter) -> Result<bool, EvaluationError> {
    if left.len() != right.len() {
        return Ok(false);
    }
    meter.charge(left.len().saturating_mul(right.len()))?;
    let mut rest: Vec<&Item<'_>> = right.iter().collect();
    'left: for one in left {
        for at in 0..rest.len() {
            if equivalent(one, rest[at], meter)? {
                rest.swap_remove(at);
                continue 'left;
            }
        }
        return Ok(false);
    }
    Ok(true)
}

/// All children are equivalent, "except for "id" elements"; `Coding`s are by system and code, concepts by any coding that both
/// have. <https://hl7.org/fhir/R4/fhirpath.html#functions>
fn equivalent_elements(left: &Item<'_>, right: &Item<'_>, meter: &Meter) -> Result<bool, EvaluationError> {
    let (Repr::Element(one), Repr::Element(other)) = (&left.0, &right.0) else { return Ok(false) };
    if left.type_name() != right.type_name() {
        return Ok(false);
    }
    match left.type_name() {
        "Coding" => Ok(["system", "code"].iter().all(|name| one.json.str(name) == other.json.str(name))),
        "CodeableConcept" => {
            let (mut codings, mut others) = (Vec::new(), Vec::new());
            left.push_children("coding", &mut codings);
            right.push_children("coding", &mut others);
            meter.charge(codings.len().saturating_mul(others.len()))?;
            for coding in &codings {
                for other in &others {
                    if equivalent_elements(coding, other, meter)? {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        }
        _ => {
            let (children, others) = (named_children(one), named_children(other));
            meter.charge(children.len() + others.len())?;
            if children.len() != others.len() {
                return Ok(false);
            }
            for ((name, children), (other_name, others)) in children.iter().zip(&others) {
                if name != other_name || !equivalent_lists(children, others, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

/// The children of an element but for its `id`, by their names in the document.
fn named_children<'a>(element: &Element<'a>) -> Vec<(&'a str, Vec<Item<'a>>)> {
    let mut children = element.children_by_member();
    children.retain(|(name, _)| *name != "id");
    children.sort_unstable_by_key(|(name, _)| *name);
    children
}

/// Whether both are the very same element of a document.
fn is_same(left: &Item<'_>, right: &Item<'_>) -> bool {
    match (&left.0, &right.0) {
        (Repr::Element(left), Repr::Element(right)) => {
            std::ptr::eq(left.json, right.json) && *left.json != Json::Null && left.fhir_type.is_some()
        }
        _ => false,
    }
}

fn same_elements(left: &Item<'_>, right: &Item<'_>, meter: &Meter) -> Result<bool, EvaluationError> {
    let (Repr::Element(left), Repr::Element(right)) = (&left.0, &right.0) else { return Ok(false) };
    if !json_equal(left.json, right.json, meter)? {
        return Ok(false);
    }
    match (left.sibling, right.sibling) {
        (Some(left), Some(right)) => json_equal(left, right, meter),
        (left, right) => Ok(left.is_none() && right.is_none()),
    }
}

/// Equal content: order of members does not matter, numbers are compared as numbers.
fn json_equal(left: &Json, right: &Json, meter: &Meter) -> Result<bool, EvaluationError> {
    meter.charge(1)?;
    match (left, right) {
        (Json::Object(left), Json::Object(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            // Each is looked for among all.
            meter.charge(left.len() * right.len() / 64)?;
            for (name, value) in left.iter() {
                match right.get(name) {
                    Some(other) if json_equal(value, other, meter)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (Json::Array(left), Json::Array(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right) {
                if !json_equal(left, right, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Json::Number(left), Json::Number(right)) => {
            Ok(left == right || Decimal::parse(left).is_some_and(|left| Some(left) == Decimal::parse(right)))
        }
        (Json::String(left), Json::String(right)) => {
            meter.charge_text(left.len().min(right.len()))?;
            Ok(left == right)
        }
        (left, right) => Ok(left == right),
    }
}
