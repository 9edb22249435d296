//! What a resource puts into the index. <https://hl7.org/fhir/R4/search.html#ptypes>
//!
//! Each parameter's expression selects elements; each element gives entries as its data type and the parameter type
//! say. Data types that a parameter type does not know give none.

use std::collections::HashSet;

use fhir::json::Json;
use fhir::reference::Reference;

use crate::compartment::{self, PATIENT_ELSEWHERE};
use crate::entry::{Extracted, IndexEntry, IndexValue, NO_CHRONOLOGY, Target};
use crate::query::ParamKind;
use crate::registry::{Element, Kind, Parameter, registry};

mod date;
mod number;
mod quantity;
mod reference;
mod string;
mod token;
mod uri;

/// Why a resource cannot be indexed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// `resourceType` is missing or is not a type of R4.
    #[error("{0:?} is not a resource type of FHIR R4")]
    Type(String),
    /// The expression of a parameter failed on this resource.
    #[error("search parameter {code} of {resource_type}: {message}")]
    Expression {
        /// Type of the resource.
        resource_type: String,
        /// The parameter.
        code: String,
        /// What went wrong.
        message: String,
    },
}

/// All index entries of a resource; references below `base` are this server's.
pub fn extract(resource: &Json, base: &str) -> Result<Extracted, ExtractError> {
    let resource_type = resource.str("resourceType").unwrap_or_default();
    if !fhir::definitions::is_resource_type(resource_type) {
        return Err(ExtractError::Type(resource_type.to_owned()));
    }
    let members = compartment::parameters(resource_type);
    let mut extracted = Extracted::default();
    let mut seen = HashSet::new();
    let mut names_a_patient = false;
    if resource_type == "Patient" {
        extracted.patients.extend(resource.str("id").map(str::to_owned));
    }
    for parameter in registry().parameters(resource_type) {
        let Kind::Indexed(kind) = parameter.kind else { continue };
        let elements = select(parameter, resource)?;
        let is_member = members.contains(&parameter.code);
        names_a_patient |= is_member && !elements.is_empty();
        seen.clear();
        for value in elements.iter().flat_map(|element| values(kind, element, base)) {
            if !seen.insert(key(&value)) {
                continue;
            }
            if let IndexValue::Reference(Target::Local { resource_type, id }) = &value
                && is_member
                && resource_type == "Patient"
            {
                extracted.patients.push(id.clone());
            }
            extracted.entries.push(IndexEntry { param: parameter.id, value });
        }
    }
    if names_a_patient && extracted.patients.is_empty() && compartment::is_shared(resource_type) {
        extracted.patients.push(PATIENT_ELSEWHERE.to_owned());
    }
    extracted.patients.sort_unstable();
    extracted.patients.dedup();
    extracted.chronology = chronology(resource_type, &extracted.entries);
    Ok(extracted)
}

fn select<'a>(parameter: &'a Parameter, resource: &'a Json) -> Result<Vec<Element<'a>>, ExtractError> {
    parameter.select(resource).map_err(|message| ExtractError::Expression {
        resource_type: parameter.resource_type.clone(),
        code: parameter.code.clone(),
        message,
    })
}

/// The entries of one element for one kind of parameter.
fn values(kind: ParamKind, element: &Element<'_>, base: &str) -> Vec<IndexValue> {
    let mut values = Vec::new();
    let (name, json) = (element.type_name.as_str(), &*element.json);
    match kind {
        ParamKind::Number => number::values(name, json, &mut values),
        ParamKind::Date => values.extend(date::value(name, json)),
        ParamKind::String => string::values(name, json, &mut values),
        ParamKind::Token => token::values(name, json, &mut values),
        ParamKind::Reference => reference::values(name, json, base, &mut values),
        ParamKind::Quantity => quantity::values(name, json, &mut values),
        ParamKind::Uri => uri::values(json, &mut values),
        ParamKind::Composite => {}
    }
    values
}

/// The instant by which the type is ordered: where its earliest `date` begins.
fn chronology(resource_type: &str, entries: &[IndexEntry]) -> i64 {
    let registry = registry();
    let Some(parameter) = registry.find(resource_type, "date") else { return NO_CHRONOLOGY };
    let lows = entries.iter().filter(|entry| entry.param == parameter.id).filter_map(|entry| match entry.value {
        IndexValue::Date { low, .. } => Some(low),
        _ => None,
    });
    lows.min().unwrap_or(NO_CHRONOLOGY)
}

/// Text that is equal for equal values of one parameter.
fn key(value: &IndexValue) -> String {
    match value {
        IndexValue::Token { system, code } => format!("{system}|{}|{code}", system.len()),
        IndexValue::String { exact, .. } => exact.clone(),
        IndexValue::Date { low, high } => format!("{low} {high}"),
        IndexValue::Number(number) => number.sort_key(),
        IndexValue::Quantity { value, system, code, unit } => {
            format!("{} {system}|{code}|{unit}|{}|{}", value.sort_key(), system.len(), code.len())
        }
        IndexValue::Reference(Target::Local { resource_type, id }) => format!("{resource_type}/{id}"),
        IndexValue::Reference(Target::Url(url)) => format!(" {url}"),
        IndexValue::Uri(uri) => uri.clone(),
        IndexValue::Composite(values) => values.iter().map(key).collect::<Vec<_>>().join("\u{1f}"),
    }
}

/// A reference text as an index target; contained resources and fragments are none.
fn target(text: &str, base: &str) -> Option<Target> {
    match Reference::parse(text, base) {
        Reference::Local { resource_type, id, .. } => Some(Target::Local { resource_type, id }),
        Reference::Absolute(url) | Reference::Urn(url) | Reference::Other(url) => {
            Some(Target::Url(url)).filter(|_| !text.is_empty())
        }
        Reference::Contained(_) => None,
    }
}

#[cfg(test)]
mod tests;
