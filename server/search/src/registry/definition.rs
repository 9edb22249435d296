//! Definitions of search parameters: HL7's, and those that this database holds as SearchParameter resources.
//! <https://hl7.org/fhir/R4/searchparameter.html>
//!
//! A resource becomes a definition when its status is `active`. It must work: what would take no effect, or would
//! change what a parameter of HL7 means, is refused with all reasons at once.

use std::collections::{BTreeSet, HashMap};

use fhir::definitions::is_resource_type;
use fhir::json::Json;
use fhir::object;
use fhir::outcome::{Issue, IssueCode};
use fhir::path::Expression;

use super::parameter::{Compiled, Kind, Parameter, kind_name};
use super::readable::nothing_readable;
use super::{Registry, applies, union};
use crate::compartment;
use crate::entry::ParamId;
use crate::query::{Aspect, ParamKind};

/// Longest code of a parameter.
const LONGEST_CODE: usize = 64;

/// What a SearchParameter says, as far as the search needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Canonical URL.
    pub url: String,
    /// Name in URLs.
    pub code: String,
    /// Search parameter type.
    pub kind: Kind,
    /// Types that have it; `Resource` and `DomainResource` stand for many.
    pub bases: Vec<String>,
    /// Selects its elements, for all of its types.
    pub expression: String,
    /// Types that a reference may point at.
    pub targets: Vec<String>,
    /// For people.
    pub description: String,
    /// Of a composite.
    pub components: Vec<ComponentDefinition>,
}

/// One component of a composite, with what is needed of the parameter that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentDefinition {
    /// Code of the parameter.
    pub code: String,
    /// Its type.
    pub kind: ParamKind,
    /// Types that a reference may point at.
    pub targets: Vec<String>,
    /// Selects its elements from an element of the composite.
    pub expression: String,
}

/// What a component needs of the parameter that it names, by canonical URL.
pub(super) type Urls = HashMap<String, (String, Kind, Vec<String>)>;

impl Definition {
    /// What an active SearchParameter defines; nothing where it is not active, or says only what HL7's definition of
    /// the same code says. `others` are the definitions of the other resources that are in force.
    pub fn of(resource: &Json, r4: &Registry, others: &[Definition]) -> Result<Option<Definition>, Vec<Issue>> {
        if resource.str("status") != Some("active") {
            return Ok(None);
        }
        let mut issues = Vec::new();
        let definition = read(resource, |url| {
            let other = others.iter().find(|it| it.url == url);
            other.map(|it| (it.code.clone(), it.kind, it.targets.clone())).or_else(|| r4.urls.get(url).cloned())
        });
        let definition = match definition {
            Ok(definition) => definition,
            Err(issue) => return Err(vec![issue]),
        };
        if says_the_same(&definition, r4) {
            return Ok(None);
        }
        check_usage(resource, &mut issues);
        check_code(&definition, &mut issues);
        check_bases(&definition, &mut issues);
        check_expressions(&definition, &mut issues);
        check_collisions(&definition, r4, others, &mut issues);
        if issues.is_empty() { Ok(Some(definition.with_all_targets())) } else { Err(issues) }
    }

    /// As a text that [`parse`](Self::parse) reads: complete, so that it means the same whatever else is defined.
    pub fn to_text(&self) -> String {
        let list = |names: &[String]| names.iter().map(|name| Json::from(name.as_str())).collect::<Vec<_>>();
        let component = |it: &ComponentDefinition| {
            object! { "code": it.code.as_str(), "type": kind_name(it.kind), "target": list(&it.targets),
            "expression": it.expression.as_str() }
        };
        let json = object! {
            "url": self.url.as_str(), "code": self.code.as_str(), "type": self.kind.as_str(), "base": list(&self.bases),
            "expression": self.expression.as_str(), "target": list(&self.targets),
            "component": self.components.iter().map(component).collect::<Vec<_>>(),
            "description": self.description.as_str(),
        };
        json.to_string()
    }

    /// As [`to_text`](Self::to_text), without what is for people only, and whatever the order of the types.
    pub fn identity(&self) -> String {
        let mut same = Definition { description: String::new(), ..self.clone() };
        same.bases.sort_unstable();
        same.bases.dedup();
        same.to_text()
    }

    /// Identities of all its parameters and their aspects in the index.
    pub fn param_ids(&self) -> Vec<ParamId> {
        let mut compiled = Compiled::new();
        let parameters = self.types().into_iter().filter_map(|name| Parameter::new(name, self, &mut compiled).ok());
        let aspects = [Aspect::Value, Aspect::Text, Aspect::OfType, Aspect::Identifier, Aspect::Canonical];
        let own = parameters.flat_map(|parameter| aspects.map(|aspect| parameter.aspect_id(aspect)));
        let kinds = |id: ParamId| {
            let stated = id.without_value();
            let canonical = id.as_stated();
            let within = [id, stated, canonical, id.into_contained()].map(ParamId::of_contained);
            [id, id.into_contained(), stated, canonical].into_iter().chain(within)
        };
        own.flat_map(kinds).collect()
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    pub fn parse(text: &str) -> Option<Definition> {
        let json = Json::parse(text.as_bytes()).ok()?;
        let component = |json: &Json| {
            let Kind::Indexed(kind) = Kind::of(json.str("type")?)? else { return None };
            let (code, expression) = (json.str("code")?.to_owned(), json.str("expression")?.to_owned());
            Some(ComponentDefinition { code, kind, targets: texts(json, "target"), expression })
        };
        Some(Definition {
            url: json.str("url")?.to_owned(),
            code: json.str("code")?.to_owned(),
            kind: Kind::of(json.str("type")?)?,
            bases: texts(&json, "base"),
            expression: json.str("expression")?.to_owned(),
            targets: texts(&json, "target"),
            description: json.str("description")?.to_owned(),
            components: json.list("component").iter().map(component).collect::<Option<_>>()?,
        })
    }

    /// The concrete types that have it, in the order of HL7's definitions.
    pub fn types(&self) -> Vec<&'static str> {
        let types = fhir::definitions::resource_types().iter().map(String::as_str);
        types.filter(|name| self.bases.iter().any(|base| applies(base, name))).collect()
    }

    /// A reference without stated targets may point at anything.
    fn with_all_targets(mut self) -> Definition {
        if self.kind == Kind::Indexed(ParamKind::Reference) && self.targets.is_empty() {
            self.targets = fhir::definitions::resource_types().to_vec();
        }
        self
    }
}

/// Reads a SearchParameter; `look_up` knows other parameters by canonical URL.
pub(super) fn read(
    resource: &Json,
    look_up: impl Fn(&str) -> Option<(String, Kind, Vec<String>)>,
) -> Result<Definition, Issue> {
    let text = |name: &str| resource.str(name).unwrap_or_default().to_owned();
    let expression = text("expression");
    let kind = Kind::of(resource.str("type").unwrap_or_default()).unwrap_or(Kind::Special);
    let kind = if expression.is_empty() { Kind::Special } else { kind };
    let mut components = Vec::new();
    for (index, component) in resource.list("component").iter().enumerate() {
        let at = format!("SearchParameter.component[{index}]");
        let url = component.str("definition").unwrap_or_default();
        let unversioned = url.split_once('|').map_or(url, |(url, _)| url);
        let Some((code, kind, targets)) = look_up(unversioned) else {
            let text = format!("{url:?} is no search parameter of R4 and none that is active here");
            return Err(Issue::error(IssueCode::NotFound, text).at(format!("{at}.definition")));
        };
        let Kind::Indexed(kind) = kind else {
            let text = format!("{code} is a special parameter, which cannot be a component");
            return Err(Issue::error(IssueCode::BusinessRule, text).at(format!("{at}.definition")));
        };
        let expression = component.str("expression").unwrap_or_default().to_owned();
        components.push(ComponentDefinition { code, kind, targets, expression });
    }
    Ok(Definition {
        url: text("url"),
        code: text("code"),
        kind,
        bases: texts(resource, "base"),
        expression,
        targets: texts(resource, "target"),
        description: text("description"),
        components,
    })
}

fn texts(json: &Json, name: &str) -> Vec<String> {
    json.list(name).iter().filter_map(Json::as_str).map(str::to_owned).collect()
}

/// Whether HL7's parameters of that code are the same on all these types, under whichever URL: implementation guides, such as
/// US Core, publish HL7's parameters again, a type each, with their own expectations.
fn says_the_same(definition: &Definition, r4: &Registry) -> bool {
    let is_same = |name: &&str| r4.find(name, &definition.code).is_some_and(|known| repeats(definition, known));
    let types = definition.types();
    !types.is_empty() && types.iter().all(is_same)
}

/// Whether the definition selects on the type of a known parameter what that selects. Which targets it names is up to it:
/// they say what an id without a type may be of, which stays as HL7 has it.
fn repeats(definition: &Definition, known: &Parameter) -> bool {
    let components = || known.components.iter().zip(&definition.components);
    // Who names Patients alone as targets need not say so in the expression.
    let are_patients = definition.targets == ["Patient"];
    let elements = |expression: &str| -> BTreeSet<String> {
        let all = union::elements(expression, &known.resource_type);
        if are_patients { all.iter().map(|it| union::without_target(it)).collect() } else { all }
    };
    known.kind == definition.kind
        && elements(&known.expression) == elements(&definition.expression)
        && known.components.len() == definition.components.len()
        && components().all(|(known, it)| known.kind == it.kind && known.expression == it.expression)
}

fn refuse(issues: &mut Vec<Issue>, code: IssueCode, at: &str, text: impl Into<String>) {
    issues.push(Issue::error(code, text).at(format!("SearchParameter.{at}")));
}

fn check_usage(resource: &Json, issues: &mut Vec<Issue>) {
    if let Some(usage) = resource.str("xpathUsage").filter(|usage| *usage != "normal") {
        let text = format!("a parameter of usage {usage} is not supported; only normal is");
        refuse(issues, IssueCode::NotSupported, "xpathUsage", text);
    }
    let stated = resource.str("type").unwrap_or_default();
    if Kind::of(stated).is_none_or(|kind| kind == Kind::Special) {
        let text = format!(
            "the type {stated:?} is not supported; number, date, string, token, reference, composite, quantity and uri are"
        );
        refuse(issues, IssueCode::NotSupported, "type", text);
    } else if resource.str("expression").is_none_or(str::is_empty) {
        refuse(issues, IssueCode::Required, "expression", "a parameter is indexed by its expression; it is missing");
    }
}

fn check_code(definition: &Definition, issues: &mut Vec<Issue>) {
    let code = &definition.code;
    // A hyphen at the beginning keeps a server's own parameters apart from those that R4 may define; _ is R4's.
    let shaped = code.strip_prefix('-').unwrap_or(code).starts_with(|it: char| it.is_ascii_alphabetic())
        && code.len() <= LONGEST_CODE
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !shaped {
        let text = format!(
            "the code {code:?} cannot be written in a URL: a letter, perhaps behind a -, then letters, digits, - and _, at most {LONGEST_CODE}"
        );
        refuse(issues, IssueCode::Value, "code", text);
    }
    if definition.url.is_empty() {
        refuse(issues, IssueCode::Required, "url", "the canonical URL says which parameter this is; it is missing");
    }
}

fn check_bases(definition: &Definition, issues: &mut Vec<Issue>) {
    let known = |base: &String| is_resource_type(base) || matches!(base.as_str(), "Resource" | "DomainResource");
    for base in definition.bases.iter().filter(|base| !known(base)) {
        refuse(issues, IssueCode::Value, "base", format!("{base} is not a resource type of FHIR R4"));
    }
    if definition.bases.is_empty() {
        refuse(issues, IssueCode::Required, "base", "the types that have the parameter are missing");
    }
    for target in definition.targets.iter().filter(|target| !is_resource_type(target)) {
        refuse(issues, IssueCode::Value, "target", format!("{target} is not a resource type of FHIR R4"));
    }
}

fn check_expressions(definition: &Definition, issues: &mut Vec<Issue>) {
    let mut compile = |text: &str, at: &str| {
        if let Err(error) = Expression::compile(text) {
            refuse(issues, IssueCode::Invalid, at, format!("{text:?} is not FHIRPath: {error}"));
        }
    };
    if !definition.expression.is_empty() {
        compile(&definition.expression, "expression");
    }
    for (index, component) in definition.components.iter().enumerate() {
        compile(&component.expression, &format!("component[{index}].expression"));
    }
    if !definition.expression.is_empty()
        && let Some((at, text)) = definition.types().into_iter().find_map(|name| without_effect(definition, name))
    {
        refuse(issues, IssueCode::Invalid, &at, text);
    }
    let composite = definition.kind == Kind::Indexed(ParamKind::Composite);
    if composite == definition.components.is_empty() || (composite && !(2..=3).contains(&definition.components.len())) {
        refuse(issues, IssueCode::Invalid, "component", "a composite has two or three components, others have none");
    }
    check_components(definition, issues);
}

/// Why nothing could be found by the definition among resources of a type, and at which of its elements that lies.
fn without_effect(definition: &Definition, resource_type: &str) -> Option<(String, String)> {
    let expression = &definition.expression;
    let readable = || match definition.kind {
        Kind::Indexed(kind) => nothing_readable(kind, expression, resource_type),
        Kind::Special => None,
    };
    if let Some(text) = nothing_in(expression, resource_type).or_else(readable) {
        return Some(("expression".to_owned(), text));
    }
    definition.components.iter().enumerate().find_map(|(index, component)| {
        let of_branch = |branch: String| format!("({branch}).select({})", component.expression);
        let selected: Vec<String> = union::branches(expression, resource_type).into_iter().map(of_branch).collect();
        let text = selected.iter().map(|branch| nothing_of(branch, resource_type)).collect::<Option<Vec<_>>>()?;
        Some((format!("component[{index}].expression"), text.into_iter().next()?))
    })
}

/// Why the expression can select nothing in any resource of this type.
pub(super) fn nothing_in(expression: &str, resource_type: &str) -> Option<String> {
    let branches = union::branches(expression, resource_type);
    if branches.is_empty() {
        return Some(format!("{expression:?} selects nothing in a resource of type {resource_type}"));
    }
    branches.iter().find_map(|branch| nothing_of(branch, resource_type))
}

fn nothing_of(branch: &str, resource_type: &str) -> Option<String> {
    let error = Expression::compile(branch).ok()?.check_with_typed_names(resource_type).err()?;
    Some(format!("{branch:?} selects nothing in a resource of type {resource_type}: {error}"))
}

/// The index of composites has columns for these kinds alone.
fn check_components(definition: &Definition, issues: &mut Vec<Issue>) {
    for (index, component) in definition.components.iter().enumerate() {
        let possible: &[ParamKind] = match index {
            0 => &[ParamKind::Token, ParamKind::Reference],
            1 => &[
                ParamKind::Token,
                ParamKind::Reference,
                ParamKind::Date,
                ParamKind::Number,
                ParamKind::Quantity,
                ParamKind::String,
                ParamKind::Uri,
            ],
            _ => &[ParamKind::Number],
        };
        if !possible.contains(&component.kind) {
            let names: Vec<&str> = possible.iter().map(|kind| kind_name(*kind)).collect();
            let (code, kind, names) = (&component.code, kind_name(component.kind), names.join(", "));
            let text =
                format!("{code} is a {kind} parameter; as component {} only these are supported: {names}", index + 1);
            refuse(issues, IssueCode::NotSupported, &format!("component[{index}].definition"), text);
        }
    }
}

fn check_collisions(definition: &Definition, r4: &Registry, others: &[Definition], issues: &mut Vec<Issue>) {
    let (code, url) = (definition.code.as_str(), definition.url.as_str());
    let types = definition.types();
    if let Some(name) = types.iter().find(|name| r4.find(name, code).is_some()) {
        let text = format!("{name} has a parameter {code} by HL7's definition, which stays as it is");
        refuse(issues, IssueCode::Duplicate, "code", text);
    } else if r4.urls.contains_key(url) {
        refuse(issues, IssueCode::Duplicate, "url", format!("{url} is HL7's, which stays as it is"));
    }
    if let Some(other) = others.iter().find(|other| other.url == url) {
        let text = format!("{url} is defined already, with the code {}, by another SearchParameter", other.code);
        refuse(issues, IssueCode::Duplicate, "url", text);
    }
    let overlap = |other: &&Definition| other.code == code && other.types().iter().any(|name| types.contains(name));
    if let Some(other) = others.iter().filter(|other| other.url != url).find(overlap) {
        let text = format!("{code} is defined already by {} on one of these types", other.url);
        refuse(issues, IssueCode::Duplicate, "code", text);
    }
    if code == "date" {
        // The order of answers is that of the parameter `date`, and stands in every index row.
        refuse(issues, IssueCode::BusinessRule, "code", "date is kept for HL7's parameters: answers are ordered by it");
    }
    if types.iter().any(|name| compartment::parameters(name).iter().any(|it| it == code)) {
        let text = format!("{code} is kept: it says in whose compartment a resource lies");
        refuse(issues, IssueCode::BusinessRule, "code", text);
    }
}

/// A definition, for tests.
#[cfg(test)]
pub(super) fn sample(code: &str, kind: &str, base: &str, expression: &str) -> Json {
    object! {
        "resourceType": "SearchParameter", "url": format!("http://example.org/SearchParameter/{code}"), "name": "sample",
        "status": "active", "description": "sample", "code": code, "base": fhir::array![base], "type": kind,
        "expression": expression,
    }
}
