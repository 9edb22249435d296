//! Parameters that select what others select together: `combo-code` is `code | component-code`. The index holds a value
//! once, under the others. <https://hl7.org/fhir/R4/observation.html#search>

use std::collections::{BTreeMap, BTreeSet};

use super::parameter::{Kind, Parameter};
use super::union;
use crate::query::ParamKind;

/// Marks the parameters of a type that need no rows of their own.
///
/// Reference parameters always have them: links and includes follow one of them at a time. So has `date`, by which a
/// type is naturally ordered.
pub(super) fn mark(resource_type: &str, parameters: &mut BTreeMap<String, Parameter>) {
    let branches: BTreeMap<String, BTreeSet<String>> = parameters
        .iter()
        .map(|(code, parameter)| (code.clone(), branches(resource_type, &parameter.expression)))
        .collect();
    let mut codes: Vec<&String> = branches.keys().collect();
    codes.sort_by_key(|code| branches[*code].len());
    for code in codes {
        let found = members(&parameters[code], parameters, &branches);
        let member_ids = found.iter().map(|member| parameters[member].aspect_ids()).collect();
        let parameter = parameters.get_mut(code).expect("its code was read from the map");
        (parameter.members, parameter.member_ids) = (found, member_ids);
    }
}

/// Codes of others that have each a part of its branches, and all of them together.
fn members(
    parameter: &Parameter,
    all: &BTreeMap<String, Parameter>,
    branches: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let own = &branches[&parameter.code];
    let has_own =
        matches!(parameter.kind, Kind::Special | Kind::Indexed(ParamKind::Reference)) || parameter.code == "date";
    if own.len() < 2 || has_own {
        return Vec::new();
    }
    let mut left = own.clone();
    let mut members = Vec::new();
    for other in all.values().filter(|other| is_alike(parameter, other)) {
        let parts = &branches[&other.code];
        if parts.len() < own.len() && parts.is_subset(&left) && !parts.is_empty() {
            left.retain(|branch| !parts.contains(branch));
            members.push(other.code.clone());
        }
    }
    if left.is_empty() { members } else { Vec::new() }
}

/// Whether one element gives both the same values.
fn is_alike(parameter: &Parameter, other: &Parameter) -> bool {
    let components = |parameter: &Parameter| -> Vec<_> {
        parameter.components.iter().map(|component| (component.kind, component.expression.clone())).collect()
    };
    other.members.is_empty() && parameter.kind == other.kind && components(parameter) == components(other)
}

fn branches(resource_type: &str, expression: &str) -> BTreeSet<String> {
    union::branches(expression, resource_type).iter().map(|branch| branch.split_whitespace().collect()).collect()
}
