//! One search parameter on one type: what it selects and how that is named in the index.

use std::borrow::{Borrow, Cow};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use fhir::json::Json;
use fhir::path::{Environment, Expression, Item, PathError};

use super::definition::Definition;
use super::{elements, union};
use crate::entry::ParamId;
use crate::query::{Aspect, Leads, Param, ParamKind};

/// Most steps of an evaluation of an expression that is not HL7's: it runs on every write of its types.
const CUSTOM_BUDGET: u64 = 100_000;

/// Expressions that were compiled already, by their text.
pub(super) type Compiled = HashMap<String, Arc<Expression>>;

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
    /// See [`Param::other_compartment_params`].
    pub other_compartment_params: Option<Vec<ParamId>>,
    /// Of a composite parameter: its components, two or three.
    pub components: Vec<Component>,
    /// Whether the index holds it for all resources. While it does not, filters on it are to be
    /// [`Exact`](crate::query::Filter::Exact) and it cannot be sorted by.
    pub is_indexed: bool,
    /// Whether a SearchParameter resource of this database defines it, and not HL7.
    pub is_custom: bool,
    /// Codes of the parameters of the same type that select together what it selects (`combo-code` is `code` and
    /// `component-code`). The index holds their rows alone, not the same again; empty if it has rows of its own.
    pub members: Vec<String>,
    /// Identities of the members' aspects, in the order of [`Aspect`].
    pub(super) member_ids: Vec<[ParamId; 5]>,
    pub(super) branches: Vec<Arc<Expression>>,
    /// Identities of the aspects but the value, in the order of [`Aspect`].
    aspects: [ParamId; 4],
    whole: OnceLock<Option<Expression>>,
    /// See [`super::elements`].
    pub(super) selected: OnceLock<Option<Vec<String>>>,
    /// See [`super::elements`].
    pub(super) repeats: OnceLock<bool>,
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
    compiled: Arc<Expression>,
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

/// What the components of a composite parameter select, starting at one element: a list for each component.
pub type ComponentElements<'a> = Vec<Vec<Element<'a>>>;

impl Parameter {
    /// What filters, sorts and includes need, if the parameter is one of the index.
    pub fn param(&self) -> Option<Param> {
        self.aspect(Aspect::Value)
    }

    /// As [`param`](Self::param), for an aspect that the kind of parameter has.
    pub fn aspect(&self, aspect: Aspect) -> Option<Param> {
        let Kind::Indexed(kind) = self.kind else { return None };
        let kind = match (aspect, kind) {
            (Aspect::Text, ParamKind::Token | ParamKind::Reference) => ParamKind::String,
            (Aspect::OfType, ParamKind::Token) | (Aspect::Identifier, ParamKind::Reference) => ParamKind::Token,
            (Aspect::Value, kind) | (Aspect::Canonical, kind @ (ParamKind::Quantity | ParamKind::Composite)) => kind,
            _ => return None,
        };
        let compartment = self.compartment && aspect == Aspect::Value;
        let members = self.member_ids.iter().map(|ids| ids[aspect as usize]).collect();
        let other_compartment_params = self.other_compartment_params.clone().filter(|_| compartment);
        Some(Param {
            id: self.aspect_id(aspect),
            code: self.code.clone(),
            kind,
            aspect,
            compartment,
            other_compartment_params,
            leads: self.leads(),
            members,
        })
    }

    fn leads(&self) -> Leads {
        if self.kind != Kind::Indexed(ParamKind::Reference) || !elements::can_select(self, &["canonical", "uri"]) {
            Leads::ByReference
        } else if elements::can_select(self, &["Reference"]) {
            Leads::Both
        } else {
            Leads::ByCanonical
        }
    }

    /// Whether it selects family names by themselves, and not names as a whole.
    pub(crate) fn is_family(&self) -> bool {
        self.expression.split('|').any(|branch| branch.trim().ends_with(".family"))
    }

    /// Identities of all aspects, in the order of [`Aspect`].
    pub(super) fn aspect_ids(&self) -> [ParamId; 5] {
        [Aspect::Value, Aspect::Text, Aspect::OfType, Aspect::Identifier, Aspect::Canonical]
            .map(|it| self.aspect_id(it))
    }

    /// Identity of an aspect in the index.
    pub fn aspect_id(&self, aspect: Aspect) -> ParamId {
        match aspect {
            Aspect::Value => self.id,
            Aspect::Text => self.aspects[0],
            Aspect::OfType => self.aspects[1],
            Aspect::Identifier => self.aspects[2],
            // A composite's row holds its quantity both ways.
            Aspect::Canonical if self.kind == Kind::Indexed(ParamKind::Composite) => self.id,
            Aspect::Canonical => self.aspects[3],
        }
    }

    /// The elements that the parameter selects in a resource of its type.
    pub fn select<'a>(&'a self, resource: &'a Json) -> Result<Vec<Element<'a>>, String> {
        let mut elements = Vec::new();
        for item in self.items(&self.branches, resource)? {
            elements.push(element(&item));
        }
        Ok(elements)
    }

    /// As [`select`](Self::select), by the definition's expression as a whole: slower, and free of any analysis.
    pub fn select_plainly<'a>(&'a self, resource: &'a Json) -> Result<Vec<Element<'a>>, String> {
        let items = self.items(self.whole(), resource)?;
        Ok(items.iter().map(element).collect())
    }

    /// Of a composite parameter: what its components select from each element that it selects itself. Elements of
    /// which some component selects nothing are left out, since no search finds them.
    pub fn select_components<'a>(&'a self, resource: &'a Json) -> Result<Vec<ComponentElements<'a>>, String> {
        let mut selected = Vec::new();
        for item in self.items(&self.branches, resource)? {
            let mut lists = Vec::with_capacity(self.components.len());
            // Backwards: a code is nearly always there, a value of the right type is not.
            for component in self.components.iter().rev() {
                let elements = self.component(component, resource, &item)?;
                if elements.is_empty() {
                    break;
                }
                lists.push(elements);
            }
            if lists.len() == self.components.len() {
                lists.reverse();
                selected.push(lists);
            }
        }
        Ok(selected)
    }

    /// As [`select_components`](Self::select_components), by the definition as it stands, with nothing left out.
    pub fn composites_plainly<'a>(&'a self, resource: &'a Json) -> Result<Vec<ComponentElements<'a>>, String> {
        let items = self.items(self.whole(), resource)?;
        let lists = |item: Item<'a>| {
            self.components.iter().map(|component| self.component(component, resource, &item)).collect()
        };
        items.into_iter().map(lists).collect()
    }

    /// The parameter of `definition` on a type.
    pub(super) fn new(
        resource_type: &str,
        definition: &Definition,
        compiled: &mut Compiled,
    ) -> Result<Parameter, PathError> {
        let Definition { code, url, kind, expression, targets, .. } = definition;
        let branches = match kind {
            Kind::Indexed(_) => union::branches(expression, resource_type),
            Kind::Special => Vec::new(),
        };
        let branches = branches.iter().map(|branch| compile(branch, compiled)).collect::<Result<_, _>>()?;
        let mut components = Vec::with_capacity(definition.components.len());
        let target_list = targets.join(" ");
        let mut parts = vec![resource_type, code, kind.as_str(), url, expression, &target_list];
        for component in &definition.components {
            parts.extend([component.code.as_str(), kind_name(component.kind), &component.expression]);
            components.push(Component {
                code: component.code.clone(),
                kind: component.kind,
                targets: component.targets.clone(),
                expression: component.expression.clone(),
                compiled: compile(&component.expression, compiled)?,
            });
        }
        let id = identity(&parts);
        let aspect = |name: &str| identity(&[&id.0.to_string(), name]);
        Ok(Parameter {
            id,
            aspects: ["text", "of-type", "identifier", "canonical"].map(aspect),
            resource_type: resource_type.to_owned(),
            code: code.clone(),
            url: url.clone(),
            kind: *kind,
            targets: targets.clone(),
            expression: expression.clone(),
            description: definition.description.clone(),
            compartment: false,
            other_compartment_params: None,
            components,
            is_indexed: true,
            is_custom: false,
            members: Vec::new(),
            member_ids: Vec::new(),
            branches,
            whole: OnceLock::new(),
            selected: OnceLock::new(),
            repeats: OnceLock::new(),
        })
    }

    /// The expression as a whole; none of a parameter without.
    fn whole(&self) -> &[Expression] {
        let whole = self.whole.get_or_init(|| {
            Some(&self.expression)
                .filter(|text| !text.is_empty())
                .map(|text| Expression::compile(text).expect("compiled at start, branch by branch"))
        });
        whole.as_slice()
    }

    fn component<'a>(
        &self,
        component: &'a Component,
        resource: &'a Json,
        item: &Item<'a>,
    ) -> Result<Vec<Element<'a>>, String> {
        let environment = self.environment(resource).at(item.clone());
        let items = self.evaluate(&component.compiled, &environment)?;
        Ok(items.iter().map(element).collect())
    }

    fn items<'a, E: Borrow<Expression>>(
        &self,
        expressions: &'a [E],
        resource: &'a Json,
    ) -> Result<Vec<Item<'a>>, String> {
        let environment = self.environment(resource);
        match expressions {
            [one] => self.evaluate(one.borrow(), &environment),
            several => {
                let mut items = Vec::new();
                for expression in several {
                    items.append(&mut self.evaluate(expression.borrow(), &environment)?);
                }
                Ok(items)
            }
        }
    }

    fn environment<'a>(&self, resource: &'a Json) -> Environment<'a> {
        let environment = Environment::new(resource);
        if self.is_custom { environment.budget(CUSTOM_BUDGET).typed_names() } else { environment }
    }

    /// Where an expression that is not HL7's fails on a resource, the resource has no value: it can be written still.
    fn evaluate<'a>(&self, expression: &'a Expression, environment: &Environment<'a>) -> Result<Vec<Item<'a>>, String> {
        match expression.evaluate_in(environment) {
            Ok(items) => Ok(items),
            Err(_) if self.is_custom => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Kind {
    /// The code of `SearchParameter.type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Indexed(kind) => kind_name(kind),
            Kind::Special => "special",
        }
    }

    /// The kind that has this code.
    pub(super) fn of(code: &str) -> Option<Kind> {
        Some(match code {
            "number" => Kind::Indexed(ParamKind::Number),
            "date" => Kind::Indexed(ParamKind::Date),
            "string" => Kind::Indexed(ParamKind::String),
            "token" => Kind::Indexed(ParamKind::Token),
            "reference" => Kind::Indexed(ParamKind::Reference),
            "quantity" => Kind::Indexed(ParamKind::Quantity),
            "uri" => Kind::Indexed(ParamKind::Uri),
            "composite" => Kind::Indexed(ParamKind::Composite),
            "special" => Kind::Special,
            _ => return None,
        })
    }
}

/// The code of `SearchParameter.type`.
pub(super) fn kind_name(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::Number => "number",
        ParamKind::Date => "date",
        ParamKind::String => "string",
        ParamKind::Token => "token",
        ParamKind::Reference => "reference",
        ParamKind::Quantity => "quantity",
        ParamKind::Uri => "uri",
        ParamKind::Composite => "composite",
    }
}

fn compile(text: &str, compiled: &mut Compiled) -> Result<Arc<Expression>, PathError> {
    if let Some(known) = compiled.get(text) {
        return Ok(Arc::clone(known));
    }
    let expression = Arc::new(Expression::compile(text)?);
    compiled.insert(text.to_owned(), Arc::clone(&expression));
    Ok(expression)
}

/// FNV-1a, 64 bits, of the parts, less the last bit. <http://www.isthe.com/chongo/tech/comp/fnv/>
pub(super) fn identity(parts: &[&str]) -> ParamId {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    ParamId((hash >> 1) as i64)
}

fn element<'a>(item: &Item<'a>) -> Element<'a> {
    Element { type_name: name(item.type_name()), json: item.json() }
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
