//! Checking the names and types of an expression before it is evaluated. <http://hl7.org/fhirpath/N1/#type-safety-and-strict-evaluation>
//!
//! Each node gets the types that its items can have, from the definitions; what is refused is what no item can have.

use std::cell::Cell;

use super::PathError;
use super::functions::Function as F;
use super::tree::{Call, Node, Operator, Path, Step, TypeOperation};
use super::types::{FhirType, SystemType, TypeSpecifier, is_subtype};
use super::value::Value;
use crate::definitions::{self, Kind};

mod names;

/// Most nodes that are looked at, since `repeat()` looks at its argument more than once. (IN-18)
const BUDGET: u32 = 100_000;
/// Most rounds of `repeat()`: by then its types are all found, or the expression is made to puzzle us.
const MAX_ROUNDS: usize = 4;

/// A type that an item can have.
#[derive(Clone, Copy, Debug)]
enum Type {
    Fhir(FhirType),
    System(SystemType),
}

/// The types that items can have; nothing where that is not known.
type Types = Option<Vec<Type>>;

/// The types of a node, or why the expression makes no sense.
type Checked = Result<Types, PathError>;

/// Checks an expression on a focus of this type.
///
/// With `typed_names`, `valueDateTime` is an element too.
pub(super) fn check(root: &Node, focus_type: &str, typed_names: bool) -> Result<(), PathError> {
    let focus = definitions::r4().get(focus_type).map(|fhir_type| vec![Type::Fhir(fhir_type)]);
    let owner = definitions::r4().get(focus_type.split('.').next().unwrap_or_default());
    let resource = owner.filter(|owner| owner.kind == Kind::Resource).map(|owner| vec![Type::Fhir(owner)]);
    let checker = Checker { focus: focus.clone(), resource, typed_names, left: Cell::new(BUDGET) };
    checker.node(root, &focus).map(drop)
}

struct Checker {
    focus: Types,
    /// The resource that the focus is in: of a data type any can be.
    resource: Types,
    typed_names: bool,
    left: Cell<u32>,
}

impl Checker {
    fn node(&self, node: &Node, this: &Types) -> Checked {
        let Some(left) = self.left.get().checked_sub(1) else { return Ok(None) };
        self.left.set(left);
        match node {
            Node::Nothing => Ok(Some(Vec::new())),
            Node::Literal(Value::Type { .. }) | Node::Total => Ok(None),
            Node::Literal(value) => Ok(system(value.system_type())),
            Node::This => Ok(this.clone()),
            Node::Index => Ok(system(SystemType::Integer)),
            Node::Variable(name) => Ok(match &**name {
                "context" => self.focus.clone(),
                "resource" => self.resource.clone(),
                "ucum" | "sct" | "loinc" => system(SystemType::String),
                _ => None,
            }),
            Node::Path(path) => self.path(path, this),
            Node::Negate(operand) | Node::Plus(operand) => self.node(operand, this),
            Node::Binary(operator, operands) => {
                self.node(&operands[0], this)?;
                self.node(&operands[1], this)?;
                Ok(of_operator(*operator))
            }
            Node::Union(operands) => {
                let mut types = Some(Vec::new());
                for operand in operands {
                    types = either(types, self.node(operand, this)?);
                }
                Ok(types)
            }
            Node::Type(operation, specifier, operand) => {
                Ok(of_type_operation(*operation, specifier, &self.node(operand, this)?))
            }
        }
    }

    fn path(&self, path: &Path, this: &Types) -> Checked {
        let mut types = match &path.start {
            Some(start) => self.node(start, this)?,
            None => this.clone(),
        };
        let mut unordered = false;
        for (step, offset) in path.steps.iter().zip(&path.offsets) {
            if unordered && step.wants_order() {
                return error(*offset, "children() and descendants() have no order");
            }
            unordered = step.is_unordered();
            types = self.step(step, *offset, types, this)?;
        }
        Ok(types)
    }

    fn step(&self, step: &Step, offset: usize, types: Types, this: &Types) -> Checked {
        match step {
            Step::Member(name) => self.member(&types, name, offset),
            Step::Root(specifier) => {
                let narrowed = narrowed(&types, specifier);
                match (&types, &narrowed) {
                    (Some(known), Some(found)) if found.is_empty() && !known.is_empty() => {
                        let wanted = specifier.fhir.map_or("that", |wanted| &wanted.name);
                        error(offset, format!("the focus is {}, not {wanted}", names::list(known)))
                    }
                    _ => Ok(narrowed),
                }
            }
            Step::Item(index) => {
                self.node(index, this)?;
                Ok(types)
            }
            Step::Special(node) => self.node(node, this),
            Step::Call(call) => self.call(call, offset, types, this),
            Step::Type(operation, specifier) => Ok(of_type_operation(*operation, specifier, &types)),
        }
    }

    fn call(&self, call: &Call, offset: usize, types: Types, this: &Types) -> Checked {
        if let Some(wanted) = wants(call.function)
            && let Some(known) = &types
            && !known.is_empty()
            && known.iter().all(Type::has_children)
        {
            let name = call.function.name();
            return error(offset, format!("{name}() wants {wanted}, not {}", names::list(known)));
        }
        if call.function == F::Repeat {
            return self.repeat(call, types);
        }
        let each = matches!(call.function, F::Where | F::Select | F::Exists | F::All | F::Aggregate | F::Sort | F::Iif);
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for (index, argument) in call.arguments.iter().enumerate() {
            let each = each || (call.function == F::Trace && index == 1);
            arguments.push(self.node(argument, if each { &types } else { this })?);
        }
        if call.function == F::Iif && never_boolean(&call.arguments[0], &arguments[0]) {
            return error(offset, "iif() wants a single boolean as its first argument");
        }
        Ok(of_call(call.function, types, arguments))
    }

    /// The children called `name`.
    fn member(&self, types: &Types, name: &str, offset: usize) -> Checked {
        let Some(types) = types else { return Ok(None) };
        let (mut out, mut found) = (Some(Vec::new()), types.is_empty());
        for parent in types {
            let chosen = || if self.typed_names { choice(*parent, name) } else { None };
            if let Some(children) = children(*parent, name).or_else(chosen) {
                found = true;
                out = either(out, children);
            }
        }
        if found { Ok(out) } else { error(offset, names::unknown(types, name)) }
    }

    fn repeat(&self, call: &Call, types: Types) -> Checked {
        let mut found = Some(Vec::new());
        let mut input = types;
        for _ in 0..MAX_ROUNDS {
            let output = self.node(&call.arguments[0], &input)?;
            let before = found.as_ref().map_or(0, Vec::len);
            found = either(found, output.clone());
            match &found {
                None => return Ok(None),
                Some(types) if types.len() == before => return Ok(found),
                Some(_) => input = output,
            }
        }
        Ok(None)
    }
}

impl Type {
    /// Whether it is an element with children, from which no text or number can be read. Quantities can be computed with.
    fn has_children(&self) -> bool {
        match self {
            Type::Fhir(fhir_type) => {
                fhir_type.kind != Kind::Primitive && !is_quantity(fhir_type) && !fhir_type.abstract_
            }
            Type::System(_) => false,
        }
    }

    fn is_same(self, other: Type) -> bool {
        match (self, other) {
            (Type::Fhir(one), Type::Fhir(other)) => std::ptr::eq(one, other),
            (Type::System(one), Type::System(other)) => one == other,
            _ => false,
        }
    }
}

fn is_quantity(fhir_type: FhirType) -> bool {
    fhir_type.name == "Quantity" || fhir_type.base.as_deref() == Some("Quantity")
}

fn error(offset: usize, message: impl Into<String>) -> Checked {
    Err(PathError { offset, message: message.into() })
}

fn system(system_type: SystemType) -> Types {
    (system_type != SystemType::Any).then(|| vec![Type::System(system_type)])
}

/// The types of both; nothing known of one is nothing known of both.
fn either(left: Types, right: Types) -> Types {
    let (mut types, more) = left.zip(right)?;
    for new in more {
        if !types.iter().any(|known| known.is_same(new)) {
            types.push(new);
        }
    }
    Some(types)
}

/// The types of the children called `name`; nothing if there are none.
fn children(parent: Type, name: &str) -> Option<Types> {
    let fhir_type = match parent {
        Type::Fhir(fhir_type) => fhir_type,
        Type::System(SystemType::Quantity) => {
            return match name {
                "value" => Some(system(SystemType::Decimal)),
                "unit" | "code" => Some(system(SystemType::String)),
                _ => None,
            };
        }
        Type::System(_) => return None,
    };
    if let Some(element) = fhir_type.element(name) {
        let types = element.types.iter().map(|element_type| definitions::r4().definition(element_type).map(Type::Fhir));
        return Some(types.collect());
    }
    if !fhir_type.abstract_ {
        return None;
    }
    // Of `Resource` and the like the subtypes may have it.
    let mut of_subtypes = definitions::r4().types().iter().filter(|subtype| is_subtype(subtype, fhir_type));
    of_subtypes.any(|subtype| subtype.element(name).is_some()).then_some(None)
}

/// The type that a choice has under a name with its type: `valueDateTime`.
fn choice(parent: Type, name: &str) -> Option<Types> {
    let Type::Fhir(fhir_type) = parent else { return None };
    let (_, element_type) = fhir_type.member(name).filter(|(element, _)| element.choice)?;
    Some(definitions::r4().definition(element_type).map(|found| vec![Type::Fhir(found)]))
}

/// Those of the types that are what is specified, and what is specified where it is one of them.
fn narrowed(types: &Types, specifier: &TypeSpecifier) -> Types {
    let Some(types) = types else { return specified(specifier) };
    let narrow = |known: &Type| match *known {
        Type::Fhir(fhir_type) => specifier.fhir.and_then(|wanted| {
            if is_subtype(fhir_type, wanted) {
                Some(Type::Fhir(fhir_type))
            } else {
                is_subtype(wanted, fhir_type).then_some(Type::Fhir(wanted))
            }
        }),
        Type::System(system_type) => specifier.system.filter(|wanted| *wanted == system_type).map(Type::System),
    };
    Some(types.iter().filter_map(narrow).collect())
}

fn specified(specifier: &TypeSpecifier) -> Types {
    let fhir = specifier.fhir.map(Type::Fhir);
    let types: Vec<_> = fhir.into_iter().chain(specifier.system.map(Type::System)).collect();
    (!types.is_empty() && specifier.system != Some(SystemType::Any)).then_some(types)
}

fn of_type_operation(operation: TypeOperation, specifier: &TypeSpecifier, types: &Types) -> Types {
    if operation == TypeOperation::Is {
        return system(SystemType::Boolean);
    }
    if operation == TypeOperation::As && specifier.fhir.is_none() {
        return specified(specifier);
    }
    narrowed(types, specifier).filter(|found| !found.is_empty()).or_else(|| specified(specifier))
}

fn of_operator(operator: Operator) -> Types {
    match operator {
        Operator::Multiply | Operator::Divide | Operator::Div | Operator::Mod | Operator::Add | Operator::Subtract => {
            None
        }
        Operator::Concatenate => system(SystemType::String),
        _ => system(SystemType::Boolean),
    }
}

/// Whether a condition can be no boolean: several literals, or elements with children, text and numbers only.
fn never_boolean(node: &Node, types: &Types) -> bool {
    let literals = match node {
        Node::Union(operands) => operands.iter().all(|operand| matches!(operand, Node::Literal(_))),
        Node::Path(path) => match &path.start {
            Some(start) if path.steps.is_empty() => never_boolean(start, &None),
            _ => false,
        },
        _ => false,
    };
    let boolean = |known: &Type| match known {
        Type::Fhir(fhir_type) => fhir_type.name == "boolean" || fhir_type.abstract_,
        Type::System(system_type) => *system_type == SystemType::Boolean,
    };
    literals || types.as_ref().is_some_and(|types| !types.is_empty() && !types.iter().any(boolean))
}

/// What the input of a function must be, if it cannot be an element with children.
fn wants(function: F) -> Option<&'static str> {
    match function {
        F::IndexOf
        | F::LastIndexOf
        | F::Substring
        | F::StartsWith
        | F::EndsWith
        | F::Contains
        | F::Upper
        | F::Lower
        | F::Replace
        | F::Matches
        | F::MatchesFull
        | F::ReplaceMatches
        | F::Length
        | F::ToChars
        | F::Trim
        | F::Split
        | F::Join
        | F::Encode
        | F::Decode
        | F::Escape
        | F::Unescape => Some("a string"),
        F::Abs
        | F::Ceiling
        | F::Exp
        | F::Floor
        | F::Ln
        | F::Log
        | F::Power
        | F::Round
        | F::Sqrt
        | F::Truncate
        | F::LowBoundary
        | F::HighBoundary => Some("a number"),
        _ => None,
    }
}

/// The types of a function's result.
fn of_call(function: F, types: Types, arguments: Vec<Types>) -> Types {
    use SystemType as S;
    let mut arguments = arguments.into_iter();
    match function {
        F::Where
        | F::Single
        | F::First
        | F::Last
        | F::Tail
        | F::Skip
        | F::Take
        | F::Distinct
        | F::Intersect
        | F::Exclude
        | F::Sort
        | F::Trace
        | F::CheckModifiers => types,
        F::Select => arguments.next().flatten(),
        F::Union | F::Combine => either(types, arguments.next().flatten()),
        F::Iif => {
            let chosen = arguments.nth(1).flatten();
            either(chosen, arguments.next().unwrap_or(Some(Vec::new())))
        }
        F::Extension => definitions::r4().get("Extension").map(|extension| vec![Type::Fhir(extension)]),
        F::Count | F::ToInteger | F::IndexOf | F::LastIndexOf | F::Length | F::Precision => system(S::Integer),
        F::ToDecimal => system(S::Decimal),
        F::Today | F::ToDate => system(S::Date),
        F::Now | F::ToDateTime => system(S::DateTime),
        F::TimeOfDay | F::ToTime => system(S::Time),
        F::ToQuantity => system(S::Quantity),
        F::ToText
        | F::Substring
        | F::Upper
        | F::Lower
        | F::Replace
        | F::ReplaceMatches
        | F::ToChars
        | F::Trim
        | F::Split
        | F::Join
        | F::Encode
        | F::Decode
        | F::Escape
        | F::Unescape => system(S::String),
        _ if is_condition(function) => system(S::Boolean),
        _ => None,
    }
}

fn is_condition(function: F) -> bool {
    matches!(
        function,
        F::Empty
            | F::Exists
            | F::All
            | F::AllTrue
            | F::AnyTrue
            | F::AllFalse
            | F::AnyFalse
            | F::SubsetOf
            | F::SupersetOf
            | F::IsDistinct
            | F::Not
            | F::ToBoolean
            | F::ConvertsToBoolean
            | F::ConvertsToInteger
            | F::ConvertsToDecimal
            | F::ConvertsToText
            | F::ConvertsToDate
            | F::ConvertsToDateTime
            | F::ConvertsToTime
            | F::ConvertsToQuantity
            | F::StartsWith
            | F::EndsWith
            | F::Contains
            | F::Matches
            | F::MatchesFull
            | F::Comparable
            | F::HasValue
            | F::HtmlChecks
            | F::MemberOf
            | F::Subsumes
            | F::SubsumedBy
            | F::ConformsTo
    )
}
