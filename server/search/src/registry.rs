//! All search parameters of all types: those of HL7's definitions, and those that this database defines besides.
//! <https://hl7.org/fhir/R4/searchparameter-registry.html>

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use fhir::definitions::resource_types;
use fhir::json::Json;

use crate::compartment;
use crate::entry::ParamId;
use crate::query::ParamKind;

mod definition;
pub(crate) mod elements;
pub(crate) mod implied;
mod members;
mod parameter;
mod readable;
mod union;

pub use definition::{ComponentDefinition, Definition};
pub use parameter::{Component, ComponentElements, Element, Kind, Parameter};

use definition::Urls;
use parameter::Compiled;

type Types = BTreeMap<String, BTreeMap<String, Arc<Parameter>>>;

/// Every search parameter that a type has, by type and code.
#[derive(Debug)]
pub struct Registry {
    types: Types,
    /// Parameters that no one may search by any more, and that resources are indexed by still.
    leaving: BTreeMap<String, Vec<Arc<Parameter>>>,
    /// HL7's parameters by canonical URL.
    urls: Arc<Urls>,
    generation: i64,
}

/// A parameter that this database defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom {
    /// What it is.
    pub definition: Definition,
    /// In which state it is.
    pub standing: Standing,
}

/// How far the index is with a parameter that this database defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What is written is indexed; what was there before may not be.
    Arriving,
    /// All resources are indexed.
    Indexed,
    /// It is gone for searches, but what is written is indexed, for other processes may not know that it is gone.
    Leaving,
}

static CURRENT: OnceLock<RwLock<Arc<Registry>>> = OnceLock::new();

/// The registry in force: R4's definitions, and those of the database that were [installed](install) with them.
pub fn registry() -> Arc<Registry> {
    let current = CURRENT.get_or_init(|| RwLock::new(Arc::clone(r4())));
    Arc::clone(&current.read().unwrap_or_else(PoisonError::into_inner))
}

/// HL7's definitions and those of ours that compartments are made of, without those of the database.
pub fn r4() -> &'static Arc<Registry> {
    static R4: OnceLock<Arc<Registry>> = OnceLock::new();
    R4.get_or_init(|| {
        let text = [&profiles::search_parameters(), profiles::own_search_parameters()].concat();
        Arc::new(Registry::read(&text))
    })
}

/// Puts a registry in force, for all requests that begin from now on; one that is older than that in force is not
/// taken.
pub fn install(registry: Registry) {
    let current = CURRENT.get_or_init(|| RwLock::new(Arc::clone(r4())));
    let mut current = current.write().unwrap_or_else(PoisonError::into_inner);
    if registry.generation >= current.generation {
        *current = Arc::new(registry);
    }
}

impl Registry {
    /// HL7's parameters and these, as they stand in `generation`: a number that grows with every change of the set.
    /// Definitions that do not compile are left out and named.
    pub fn with(customs: &[Custom], generation: i64) -> (Registry, Vec<String>) {
        let r4 = r4();
        let mut registry =
            Registry { types: r4.types.clone(), leaving: BTreeMap::new(), urls: Arc::clone(&r4.urls), generation };
        let (mut compiled, mut broken) = (Compiled::new(), Vec::new());
        for Custom { definition, standing } in customs {
            for name in definition.types() {
                let mut parameter = match Parameter::new(name, definition, &mut compiled) {
                    Ok(parameter) => parameter,
                    Err(error) => {
                        broken.push(format!("{}: {error}", definition.url));
                        break;
                    }
                };
                parameter.is_custom = true;
                parameter.is_indexed = *standing == Standing::Indexed;
                registry.add(name, parameter, *standing);
            }
        }
        (registry, broken)
    }

    /// The parameters of a type, its own and those of all resources, by code.
    pub fn parameters(&self, resource_type: &str) -> impl Iterator<Item = &Arc<Parameter>> {
        self.types.get(resource_type).into_iter().flat_map(BTreeMap::values)
    }

    /// The parameters that resources of a type are indexed by: those of [`parameters`](Self::parameters) that have
    /// rows of their own, and those that are leaving. What leaves may come back under another id or with other bases, as
    /// the same parameter of a type.
    pub fn written(&self, resource_type: &str) -> impl Iterator<Item = &Arc<Parameter>> {
        let own = self.parameters(resource_type).filter(|parameter| parameter.members.is_empty());
        let leaving = self.leaving.get(resource_type).into_iter().flatten();
        let is_gone = |it: &&Arc<Parameter>| self.find(resource_type, &it.code).is_none_or(|own| own.id != it.id);
        own.chain(leaving.filter(is_gone))
    }

    /// The parameter `code` of a type.
    pub fn find(&self, resource_type: &str, code: &str) -> Option<&Arc<Parameter>> {
        self.types.get(resource_type)?.get(code)
    }

    /// Which state of the database's own parameters this is: 0 for none. What is worked out from parameters and kept
    /// is valid for one generation.
    pub fn generation(&self) -> i64 {
        self.generation
    }

    fn add(&mut self, resource_type: &str, parameter: Parameter, standing: Standing) {
        let codes = self.types.entry(resource_type.to_owned()).or_default();
        if standing == Standing::Leaving {
            self.leaving.entry(resource_type.to_owned()).or_default().push(Arc::new(parameter));
        } else if !codes.contains_key(&parameter.code) {
            codes.insert(parameter.code.clone(), Arc::new(parameter));
        }
    }

    fn read(text: &str) -> Registry {
        let resources: Vec<Json> = text
            .lines()
            .map(|line| Json::parse(line.as_bytes()).expect("profiles are valid JSON, a test reads each"))
            .collect();
        let plain = |resource: &Json| definition::read(resource, |_url| None).ok();
        let mut urls: Urls = resources
            .iter()
            .filter_map(plain)
            .map(|definition| (definition.url, (definition.code, definition.kind, definition.targets)))
            .collect();
        let mut types: BTreeMap<String, BTreeMap<String, Parameter>> =
            resource_types().iter().map(|name| (name.clone(), BTreeMap::new())).collect();
        let mut compiled = HashMap::new();
        for resource in &resources {
            let definition = definition::read(resource, |url| urls.get(url).cloned())
                .expect("HL7's components are HL7's parameters, a test reads all");
            for name in definition.types() {
                let parameter = Parameter::new(name, &definition, &mut compiled)
                    .expect("HL7's expressions compile, a test tries all");
                types.entry(name.to_owned()).or_default().insert(parameter.code.clone(), parameter);
            }
            let Definition { url, code, kind, targets, .. } = definition;
            urls.entry(url).or_insert((code, kind, targets));
        }
        for (name, parameters) in &mut types {
            mark_compartment(name, parameters);
            members::mark(name, parameters);
        }
        let share = |parameters: BTreeMap<String, Parameter>| {
            parameters.into_iter().map(|(code, parameter)| (code, Arc::new(parameter))).collect()
        };
        let types = types.into_iter().map(|(name, parameters)| (name, share(parameters))).collect();
        Registry { types, leaving: BTreeMap::new(), urls: Arc::new(urls), generation: 0 }
    }
}

/// Whether a parameter on `base` is one of the concrete type `name`.
fn applies(base: &str, name: &str) -> bool {
    base == name
        || base == "Resource"
        || (base == "DomainResource" && !matches!(name, "Binary" | "Bundle" | "Parameters"))
}

/// Marks the reference parameters whose every element is one that the compartment is made of: `patient` selects
/// nothing that `subject` does not. And of each, by which others a resource can lie there: `performer`.
fn mark_compartment(resource_type: &str, parameters: &mut BTreeMap<String, Parameter>) {
    let elements = |parameter: &Parameter| -> Vec<String> {
        union::branches(&parameter.expression, resource_type)
            .iter()
            .map(|branch| union::without_target(branch))
            .collect()
    };
    let members: Vec<(ParamId, Vec<String>)> = compartment::parameters(resource_type)
        .iter()
        .filter_map(|code| parameters.get(code))
        .map(|member| (member.id, elements(member)))
        .collect();
    for parameter in parameters.values_mut().filter(|it| it.kind == Kind::Indexed(ParamKind::Reference)) {
        let elements = elements(parameter);
        let is_of_member = |element: &String| members.iter().any(|(_, of_member)| of_member.contains(element));
        parameter.compartment = !elements.is_empty() && elements.iter().all(is_of_member);
        if parameter.compartment && resource_type != "Patient" {
            let selects_more = |of_member: &[String]| of_member.iter().any(|element| !elements.contains(element));
            let others = members.iter().filter(|(_, of_member)| selects_more(of_member));
            parameter.other_compartment_params = Some(others.map(|(id, _)| *id).collect());
        }
    }
}

#[cfg(test)]
mod tests;
