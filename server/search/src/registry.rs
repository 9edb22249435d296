//! All search parameters of all types, from HL7's definitions. <https://hl7.org/fhir/R4/searchparameter-registry.html>

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use fhir::definitions::resource_types;
use fhir::json::Json;
use fhir::path::Expression;

use crate::compartment;
use crate::entry::ParamId;
use crate::query::{Aspect, Param, ParamKind};

mod union;

/// Every search parameter that a type has, by type and code.
#[derive(Debug)]
pub struct Registry {
    types: BTreeMap<String, BTreeMap<String, Arc<Parameter>>>,
}

/// One search parameter on one concrete type.
#[derive(Debug)]
pub struct Parameter {
    /// Identity in the index, made of the definition.
    pub id: ParamId,
    /// The type that is searched.
    pub resource_type: String,
    /// Name in URLs.
    pub code: String,
    /// Canonical URL of the definition.
    pub url: String,
    /// Search parameter type.
    pub kind: Kind,
    /// Types that a reference may point at.
    pub targets: Vec<String>,
    /// The definition's expression, for all types of the definition.
    pub expression: String,
    /// What the definition says about it, for people.
    pub description: String,
    /// See [`Param::compartment`].
    pub compartment: bool,
    /// Of a composite parameter: its components, two or three.
    pub components: Vec<Component>,
    /// Whether the index holds it for all resources. While it does not, filters on it are to be
    /// [`Exact`](crate::query::Filter::Exact) and it cannot be sorted by.
    pub is_indexed: bool,
    branches: Vec<Arc<Expression>>,
    whole: OnceLock<Option<Expression>>,
}

/// One component of a composite parameter.
#[derive(Debug)]
pub struct Component {
    /// Code of the parameter that it is, for messages.
    pub code: String,
    /// How its values compare.
    pub kind: ParamKind,
    /// Types that a reference may point at.
    pub targets: Vec<String>,
    /// The definition's expression, from each element that the composite selects.
    pub expression: String,
}

/// Search parameter types. <https://hl7.org/fhir/R4/valueset-search-param-type.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Indexed by value.
    Indexed(ParamKind),
    /// Has its own rules or no expression.
    Special,
}

/// A value that an expression selected.
#[derive(Debug)]
pub struct Element<'a> {
    /// FHIR type, such as `Quantity`, `code`, `Patient`; `boolean`, `string`… for values that were computed.
    pub type_name: String,
    /// Its JSON, for primitives the value.
    pub json: Cow<'a, Json>,
}

static CURRENT: OnceLock<RwLock<Arc<Registry>>> = OnceLock::new();

/// The registry in force: R4's definitions, and what [`install`] has put in place of them.
pub fn registry() -> Arc<Registry> {
    let current = CURRENT.get_or_init(|| RwLock::new(Arc::new(Registry::read(&profiles::search_parameters()))));
    Arc::clone(&current.read().unwrap_or_else(PoisonError::into_inner))
}

/// Puts a registry in force, for all requests that begin from now on.
pub fn install(registry: Registry) {
    let registry = Arc::new(registry);
    let current = CURRENT.get_or_init(|| RwLock::new(Arc::clone(&registry)));
    *current.write().unwrap_or_else(PoisonError::into_inner) = registry;
}

impl Registry {
    /// The parameters of a type, its own and those of all resources, by code.
    pub fn parameters(&self, resource_type: &str) -> impl Iterator<Item = &Arc<Parameter>> {
        self.types.get(resource_type).into_iter().flat_map(BTreeMap::values)
    }

    /// The parameter `code` of a type.
    pub fn find(&self, resource_type: &str, code: &str) -> Option<&Arc<Parameter>> {
        self.types.get(resource_type)?.get(code)
    }

    fn read(text: &str) -> Registry {
        let definitions: Vec<Json> = text
            .lines()
            .map(|line| Json::parse(line.as_bytes()).expect("profiles are valid JSON, a test reads each"))
            .collect();
        let mut types: BTreeMap<String, BTreeMap<String, Parameter>> =
            resource_types().iter().map(|name| (name.clone(), BTreeMap::new())).collect();
        let mut compiled = HashMap::new();
        for definition in &definitions {
            for (name, parameters) in &mut types {
                let bases = definition.list("base");
                if bases.iter().filter_map(Json::as_str).any(|base| applies(base, name)) {
                    let parameter = Parameter::read(name, definition, &mut compiled);
                    parameters.insert(parameter.code.clone(), parameter);
                }
            }
        }
        for (name, parameters) in &mut types {
            mark_compartment(name, parameters);
        }
        let share = |parameters: BTreeMap<String, Parameter>| {
            parameters.into_iter().map(|(code, parameter)| (code, Arc::new(parameter))).collect()
        };
        Registry { types: types.into_iter().map(|(name, parameters)| (name, share(parameters))).collect() }
    }
}

impl Parameter {
    /// What filters, sorts and includes need, if the parameter is one of the index.
    pub fn param(&self) -> Option<Param> {
        self.aspect(Aspect::Value)
    }

    /// As [`param`](Self::param), for an aspect that the kind of parameter has.
    pub fn aspect(&self, aspect: Aspect) -> Option<Param> {
        let Kind::Indexed(kind) = self.kind else { return None };
        let kind = match (aspect, kind) {
            (Aspect::Value, kind) => kind,
            (Aspect::Text, ParamKind::Token | ParamKind::Reference) => ParamKind::String,
            (Aspect::OfType, ParamKind::Token) | (Aspect::Identifier, ParamKind::Reference) => ParamKind::Token,
            (Aspect::Canonical, kind @ (ParamKind::Quantity | ParamKind::Composite)) => kind,
            _ => return None,
        };
        let compartment = self.compartment && aspect == Aspect::Value;
        Some(Param { id: self.aspect_id(aspect), code: self.code.clone(), kind, aspect, compartment })
    }

    /// Identity of an aspect in the index.
    pub fn aspect_id(&self, aspect: Aspect) -> ParamId {
        let name = match aspect {
            Aspect::Value => return self.id,
            Aspect::Text => "text",
            Aspect::OfType => "of-type",
            Aspect::Identifier => "identifier",
            Aspect::Canonical => "canonical",
        };
        identity(&[&self.id.0.to_string(), name])
    }

    /// The elements that the parameter selects in a resource of its type.
    pub fn select<'a>(&'a self, resource: &'a Json) -> Result<Vec<Element<'a>>, String> {
        let mut elements = Vec::new();
        for expression in &self.branches {
            evaluate(expression, resource, &mut elements)?;
        }
        Ok(elements)
    }

    /// As [`select`](Self::select), by the definition's expression as a whole: slower, and free of any analysis.
    pub fn select_plainly<'a>(&'a self, resource: &'a Json) -> Result<Vec<Element<'a>>, String> {
        let mut elements = Vec::new();
        let whole = self.whole.get_or_init(|| {
            Some(&self.expression)
                .filter(|text| !text.is_empty())
                .map(|text| Expression::compile(text).expect("compiled at start, branch by branch"))
        });
        if let Some(expression) = whole {
            evaluate(expression, resource, &mut elements)?;
        }
        Ok(elements)
    }

    fn read(resource_type: &str, definition: &Json, compiled: &mut HashMap<String, Arc<Expression>>) -> Parameter {
        let text = |name: &str| definition.str(name).unwrap_or_default().to_owned();
        let (code, url, expression) = (text("code"), text("url"), text("expression"));
        let targets: Vec<String> =
            definition.list("target").iter().filter_map(Json::as_str).map(str::to_owned).collect();
        let kind = kind(definition.str("type").unwrap_or_default(), &expression);
        let branches = match kind {
            Kind::Indexed(_) => union::branches(&expression, resource_type),
            Kind::Special => Vec::new(),
        };
        let mut compile = |branch: &str| {
            let compile = || Expression::compile(branch).expect("HL7's expressions compile, a test tries all");
            Arc::clone(compiled.entry(branch.to_owned()).or_insert_with(|| Arc::new(compile())))
        };
        Parameter {
            id: identity(&[resource_type, &code, kind.as_str(), &url, &expression, &targets.join(" ")]),
            resource_type: resource_type.to_owned(),
            branches: branches.iter().map(|branch| compile(branch)).collect(),
            description: text("description"),
            compartment: false,
            components: Vec::new(),
            is_indexed: true,
            whole: OnceLock::new(),
            code,
            url,
            kind,
            targets,
            expression,
        }
    }
}

impl Kind {
    /// The code of `SearchParameter.type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Indexed(ParamKind::Number) => "number",
            Kind::Indexed(ParamKind::Date) => "date",
            Kind::Indexed(ParamKind::String) => "string",
            Kind::Indexed(ParamKind::Token) => "token",
            Kind::Indexed(ParamKind::Reference) => "reference",
            Kind::Indexed(ParamKind::Quantity) => "quantity",
            Kind::Indexed(ParamKind::Uri) => "uri",
            Kind::Indexed(ParamKind::Composite) => "composite",
            Kind::Special => "special",
        }
    }
}

fn kind(code: &str, expression: &str) -> Kind {
    if expression.is_empty() {
        return Kind::Special;
    }
    match code {
        "number" => Kind::Indexed(ParamKind::Number),
        "date" => Kind::Indexed(ParamKind::Date),
        "string" => Kind::Indexed(ParamKind::String),
        "token" => Kind::Indexed(ParamKind::Token),
        "reference" => Kind::Indexed(ParamKind::Reference),
        "quantity" => Kind::Indexed(ParamKind::Quantity),
        "uri" => Kind::Indexed(ParamKind::Uri),
        "composite" => Kind::Indexed(ParamKind::Composite),
        _ => Kind::Special,
    }
}

/// Whether a parameter on `base` is one of the concrete type `name`.
fn applies(base: &str, name: &str) -> bool {
    base == name
        || base == "Resource"
        || (base == "DomainResource" && !matches!(name, "Binary" | "Bundle" | "Parameters"))
}

/// FNV-1a, 64 bits, of the parts, less the last bit. <http://www.isthe.com/chongo/tech/comp/fnv/>
fn identity(parts: &[&str]) -> ParamId {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    ParamId((hash >> 1) as i64)
}

/// Marks the reference parameters whose every element is one that the compartment is made of: `patient` selects
/// nothing that `subject` does not.
fn mark_compartment(resource_type: &str, parameters: &mut BTreeMap<String, Parameter>) {
    let elements = |parameter: &Parameter| -> Vec<String> {
        union::branches(&parameter.expression, resource_type)
            .iter()
            .map(|branch| union::without_target(branch))
            .collect()
    };
    let members: Vec<String> = compartment::parameters(resource_type)
        .iter()
        .filter_map(|code| parameters.get(code))
        .flat_map(elements)
        .collect();
    for parameter in parameters.values_mut().filter(|it| it.kind == Kind::Indexed(ParamKind::Reference)) {
        let elements = elements(parameter);
        parameter.compartment = !elements.is_empty() && elements.iter().all(|it| members.contains(it));
    }
}

fn evaluate<'a>(expression: &'a Expression, resource: &'a Json, elements: &mut Vec<Element<'a>>) -> Result<(), String> {
    let items = expression.evaluate(resource).map_err(|error| error.to_string())?;
    elements.extend(items.into_iter().map(|item| Element { type_name: name(item.type_name()), json: item.json() }));
    Ok(())
}

/// Names of computed values as those of FHIR's primitives.
fn name(type_name: &str) -> String {
    match type_name.trim_start_matches("System.").trim_start_matches("FHIR.") {
        "Boolean" => "boolean".to_owned(),
        "String" => "string".to_owned(),
        "Integer" => "integer".to_owned(),
        "Decimal" => "decimal".to_owned(),
        "Date" => "date".to_owned(),
        "DateTime" => "dateTime".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_definitions_are_there() {
        let registry = registry();
        let all: Vec<&Arc<Parameter>> = resource_types().iter().flat_map(|name| registry.parameters(name)).collect();
        let urls: BTreeSet<&str> = all.iter().map(|it| it.url.as_str()).collect();
        assert_eq!(urls.len(), 1375);
        let ids: BTreeSet<ParamId> = all.iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), all.len(), "identities differ");
        assert!(ids.iter().all(|id| id.0 >= 0));
        for parameter in &all {
            assert_eq!(
                parameter.branches.is_empty(),
                parameter.param().is_none(),
                "{} {}",
                parameter.resource_type,
                parameter.code
            );
        }
    }

    #[test]
    fn identities_are_stable() {
        // A change here makes every index row of a parameter stale: it must come from a changed definition.
        let find = |name: &str, code: &str| Arc::clone(registry().find(name, code).expect(code));
        assert_eq!(find("Observation", "code").id, find("Observation", "code").id);
        assert_ne!(find("Observation", "code").id, find("Condition", "code").id, "one definition, two types");
        assert_eq!(identity(&["a", "b"]), ParamId(0x55a0_6bc1_06a0_403b));
        assert_ne!(identity(&["a", "b"]), identity(&["ab"]));
    }

    #[test]
    fn compartment_parameters_are_marked() {
        for (name, code, expected) in [
            ("Observation", "subject", true),
            ("Observation", "patient", true),
            ("Observation", "performer", true),
            ("Observation", "focus", false),
            ("Observation", "code", false),
            ("Condition", "subject", true),
            ("Condition", "patient", true),
            ("MedicationRequest", "patient", true),
            ("Device", "patient", true),
            ("Group", "member", false),
            ("AuditEvent", "patient", false),
            ("Task", "patient", false),
        ] {
            assert_eq!(registry().find(name, code).expect(code).compartment, expected, "{name} {code}");
        }
    }

    #[test]
    fn kinds() {
        for (name, code, kind) in [
            ("Patient", "birthdate", "date"),
            ("Location", "near", "special"),
            ("Patient", "_content", "special"),
            ("Observation", "code-value-quantity", "composite"),
            ("Patient", "_tag", "token"),
            ("Patient", "_source", "uri"),
        ] {
            assert_eq!(registry().find(name, code).expect(code).kind.as_str(), kind, "{name} {code}");
        }
        assert!(registry().find("Bundle", "_text").is_none(), "_text is of DomainResource");
    }
}
