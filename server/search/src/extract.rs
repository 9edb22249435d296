//! What a resource puts into the index. <https://hl7.org/fhir/R4/search.html#ptypes>
//!
//! Each parameter's expression selects elements; each element gives entries as its data type and the parameter type
//! say. Data types that a parameter type does not know give none. Besides its value an element gives entries of the
//! [aspects](crate::query::Aspect) that modifiers look at, under identities of their own.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use fhir::json::Json;
use fhir::reference::Reference;

use crate::canonical;
use crate::compartment::{self, PATIENT_ELSEWHERE};
use crate::entry::{Extracted, IndexEntry, IndexValue, NO_CHRONOLOGY, ParamId, Target};
use crate::query::{Aspect, ParamKind};
use crate::registry::{Element, Kind, Parameter, Registry, elements, registry};

mod composite;
mod contained;
mod date;
mod number;
mod quantity;
mod reference;
mod string;
mod text;
mod token;
mod uri;

pub use reference::{local_references, stated_canonicals};

/// Most entries of one resource: each is a row of the index, and all are written in one transaction. (IN-17)
pub const MOST_ENTRIES: usize = 100_000;

/// Parameters without entries: they are answered from the resource's own row.
const NOT_INDEXED: [&str; 2] = ["_id", "_lastUpdated"];

/// Why a resource cannot be indexed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// `resourceType` is missing or is not a type of R4.
    #[error("{0:?} is not a resource type of FHIR R4")]
    Type(String),
    /// The expression of a parameter failed on this resource, or selects more than can be indexed.
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
    extract_by(&registry(), resource, base)
}

/// As [`extract`], by the parameters of a registry.
pub fn extract_by(registry: &Registry, resource: &Json, base: &str) -> Result<Extracted, ExtractError> {
    let resource_type = resource.str("resourceType").unwrap_or_default();
    if !fhir::definitions::is_resource_type(resource_type) {
        return Err(ExtractError::Type(resource_type.to_owned()));
    }
    let members = compartment::parameters(resource_type);
    let mut patients = Vec::new();
    let mut names_a_patient = false;
    if resource_type == "Patient" {
        patients.extend(resource.str("id").map(str::to_owned));
    }
    let mut entries = Entries::default();
    let mut chronology = NO_CHRONOLOGY;
    for parameter in registry.written(resource_type) {
        let Kind::Indexed(kind) = parameter.kind else { continue };
        if NOT_INDEXED.contains(&parameter.code.as_str()) {
            continue;
        }
        let first = entries.all.len();
        if kind == ParamKind::Composite {
            composites(parameter, resource, base, &mut entries)?;
        } else {
            let elements = parameter.select(resource).map_err(|message| failed(parameter, message))?;
            let is_member = members.contains(&parameter.code);
            names_a_patient |= is_member && !elements.is_empty();
            entries.add_elements(parameter, kind, &elements, base);
            let values = entries.all[first..].iter().filter(|entry| entry.param == parameter.id);
            if is_member {
                patients.extend(values.filter_map(|entry| patient(&entry.value)));
            } else if parameter.code == "date" {
                // A period whose beginning is open is a date all the same: the earliest there is.
                let begin = values.filter_map(|entry| low(&entry.value)).min();
                chronology = begin.map_or(NO_CHRONOLOGY, |begin| begin.max(NO_CHRONOLOGY + 1));
            }
        }
        if entries.all.len() > MOST_ENTRIES {
            return Err(failed(parameter, format!("the resource has more than {MOST_ENTRIES} values to search by")));
        }
    }
    if names_a_patient && patients.is_empty() && compartment::is_shared(resource_type) {
        patients.push(PATIENT_ELSEWHERE.to_owned());
    }
    patients.sort_unstable();
    patients.dedup();
    entries.all.extend(canonical::entries(resource_type, resource));
    let mut extracted = Extracted { entries: entries.all, chronology, patients, ..Extracted::default() };
    contained::add((registry, Wanted::ALL), resource, base, &mut extracted)?;
    Ok(extracted)
}

/// The entries of some parameters alone, by their identities: not whose the resource is, nor when it was.
pub fn extract_some(ids: &BTreeSet<ParamId>, resource: &Json, base: &str) -> Result<Extracted, ExtractError> {
    let resource_type = resource.str("resourceType").unwrap_or_default();
    let (registry, wanted) = (registry(), Wanted(Some(ids)));
    let mut entries = Entries::default();
    for parameter in wanted.of(&registry, resource_type) {
        let Kind::Indexed(kind) = parameter.kind else { continue };
        if kind == ParamKind::Composite {
            composites(parameter, resource, base, &mut entries)?;
        } else {
            let elements = parameter.select(resource).map_err(|message| failed(parameter, message))?;
            entries.add_elements(parameter, kind, &elements, base);
        }
    }
    let mut extracted = Extracted { entries: entries.all, ..Extracted::default() };
    contained::add((&registry, wanted), resource, base, &mut extracted)?;
    Ok(extracted)
}

/// Which parameters are asked for: those with these identities, or all.
#[derive(Clone, Copy)]
struct Wanted<'a>(Option<&'a BTreeSet<ParamId>>);

impl Wanted<'_> {
    const ALL: Wanted<'static> = Wanted(None);

    fn of<'r>(&self, registry: &'r Registry, resource_type: &str) -> impl Iterator<Item = &'r Arc<Parameter>> {
        let is_wanted = |parameter: &&Arc<Parameter>| self.0.is_none_or(|ids| ids.contains(&parameter.id));
        registry.written(resource_type).filter(is_wanted)
    }
}

/// What is collected, without repetitions of a value of one parameter.
#[derive(Default)]
struct Entries {
    all: Vec<IndexEntry>,
    /// Values of the aspect that is being worked on.
    values: Vec<IndexValue>,
}

impl Entries {
    /// The entries of all aspects of a parameter that is not composite.
    fn add_elements(&mut self, parameter: &Parameter, kind: ParamKind, elements: &[Element<'_>], base: &str) {
        if elements.is_empty() {
            return;
        }
        self.each(elements, |name, json, found| values_of(kind, name, json, base, found));
        if kind == ParamKind::String {
            let is_family = parameter.is_family();
            let has_family = |element: &&Element<'_>| is_family || element.type_name == "HumanName";
            for element in elements.iter().filter(has_family) {
                string::parts(&element.type_name, &element.json, &mut self.values);
            }
        }
        let are_strings = || elements.iter().all(|it| it.type_name == "string");
        if kind == ParamKind::Token && are_strings() && elements::are_all(parameter, "string") {
            self.values.iter_mut().for_each(token::without_case);
        }
        if kind == ParamKind::Quantity {
            let canonical: Vec<IndexValue> = self.values.iter().filter_map(quantity::canonical_entry).collect();
            self.keep_value(parameter.id);
            self.values = canonical;
            self.keep(parameter.aspect_id(Aspect::Canonical));
            return;
        }
        self.keep_value(parameter.id);
        match kind {
            ParamKind::Token => {
                self.each(elements, text::values);
                self.keep(parameter.aspect_id(Aspect::Text));
                self.each(elements, token::of_type);
                self.keep(parameter.aspect_id(Aspect::OfType));
            }
            ParamKind::Reference => {
                self.each(elements, text::values);
                self.keep(parameter.aspect_id(Aspect::Text));
                self.each(elements, token::identifier);
                self.keep(parameter.aspect_id(Aspect::Identifier));
                self.each(elements, reference::stated);
                self.keep(parameter.id.as_stated());
            }
            _ => {}
        }
    }

    fn each(&mut self, elements: &[Element<'_>], add: impl Fn(&str, &Json, &mut Vec<IndexValue>)) {
        for element in elements {
            add(&element.type_name, &element.json, &mut self.values);
        }
    }

    /// As [`keep`](Self::keep), for the values themselves. An element without any is noted as being there.
    fn keep_value(&mut self, param: ParamId) {
        if self.values.is_empty() {
            let value = IndexValue::Token { system: String::new(), code: "true".to_owned() };
            self.all.push(IndexEntry { param: param.without_value(), value });
        }
        self.keep(param);
    }

    /// Takes the values over as entries of `param`.
    fn keep(&mut self, param: ParamId) {
        let values = self.values.drain(..);
        if values.len() < 2 {
            self.all.extend(values.map(|value| IndexEntry { param, value }));
            return;
        }
        let mut seen = HashSet::with_capacity(values.len());
        let fresh = values.filter(|value| seen.insert(key(value)));
        self.all.extend(fresh.map(|value| IndexEntry { param, value }));
    }
}

fn composites(parameter: &Parameter, resource: &Json, base: &str, entries: &mut Entries) -> Result<(), ExtractError> {
    let elements = parameter.select_components(resource).map_err(|message| failed(parameter, message))?;
    for element in &elements {
        let Some(combinations) = composite::combinations(&parameter.components, element, base) else {
            let most = composite::MOST_COMBINATIONS;
            return Err(failed(parameter, format!("an element has more than {most} combinations of values")));
        };
        entries.values.extend(combinations);
    }
    entries.keep(parameter.id);
    Ok(())
}

fn failed(parameter: &Parameter, message: String) -> ExtractError {
    ExtractError::Expression { resource_type: parameter.resource_type.clone(), code: parameter.code.clone(), message }
}

/// The id of the Patient of this server that a reference points at.
fn patient(value: &IndexValue) -> Option<String> {
    match value {
        IndexValue::Reference(Target::Local { resource_type, id }) if resource_type == "Patient" => Some(id.clone()),
        _ => None,
    }
}

/// Where a date begins: the type is ordered by the earliest of its `date`.
fn low(value: &IndexValue) -> Option<i64> {
    if let IndexValue::Date { low, .. } = value { Some(*low) } else { None }
}

/// The entries of one element for one kind of parameter.
fn values(kind: ParamKind, element: &Element<'_>, base: &str) -> Vec<IndexValue> {
    let mut values = Vec::new();
    values_of(kind, &element.type_name, &element.json, base, &mut values);
    values
}

fn values_of(kind: ParamKind, name: &str, json: &Json, base: &str, values: &mut Vec<IndexValue>) {
    match kind {
        ParamKind::Number => number::values(name, json, values),
        ParamKind::Date => values.extend(date::value(name, json)),
        ParamKind::String => string::values(name, json, values),
        ParamKind::Token => token::values(name, json, values),
        ParamKind::Reference => reference::values(name, json, base, values),
        ParamKind::Quantity => quantity::values(name, json, values),
        ParamKind::Uri => uri::values(name, json, values),
        ParamKind::Composite => {}
    }
}

/// Text that is equal for equal values of one parameter.
fn key(value: &IndexValue) -> String {
    match value {
        IndexValue::Token { system, code } => format!("{system}|{}|{code}", system.len()),
        IndexValue::String { exact, .. } => exact.clone(),
        // No text contains such a character.
        IndexValue::Part(folded) => format!("\u{1f}{folded}"),
        IndexValue::Date { low, high } => format!("{low} {high}"),
        IndexValue::Number(number) => number.ends().join(" "),
        IndexValue::Quantity { value, system, code, unit } => {
            format!("{} {system}|{code}|{unit}|{}|{}", value.ends().join(" "), system.len(), code.len())
        }
        IndexValue::Reference(Target::Local { resource_type, id }) => format!("{resource_type}/{id}"),
        IndexValue::Reference(Target::Url(url)) => format!(" {url}"),
        IndexValue::Uri(uri) => uri.clone(),
        IndexValue::Composite { values, .. } => {
            values.iter().map(key).fold(String::new(), |all, one| format!("{all}{}:{one}", one.len()))
        }
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
