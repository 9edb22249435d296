//! FHIRPath, compiled once and evaluated over documents without copying them. <http://hl7.org/fhirpath/N1>
//!
//! ```text
//! text ─ lexer ─▶ tokens ─ parser ─▶ tree ─ evaluator ─▶ items
//! ```
//!
//! An item borrows the element it stands for and knows its FHIR type from the definitions. Expressions are bounded in
//! length, depth, operators and patterns when compiled, and in steps when evaluated: see `meter` and `pattern`. (IN-18)

use std::fmt;

use crate::json::Json;

mod calls;
mod collections;
mod comparison;
mod convert;
mod distinct;
mod elements;
mod encoding;
mod evaluator;
mod functions;
mod item;
mod lexer;
mod math;
mod meter;
mod number;
mod operators;
mod parser;
mod pattern;
mod quantity;
mod references;
mod strict;
mod temporal;
mod text;
mod text_value;
mod trace;
mod tree;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub use item::Item;
pub use meter::Meter;
pub use pattern::{Patterns, WholeText};
pub use trace::Trace;

/// Most steps of one evaluation, unless an environment says otherwise.
pub const DEFAULT_BUDGET: u64 = 1_000_000;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    text: Box<str>,
    root: tree::Node,
}

/// What an expression is evaluated in.
#[derive(Clone, Debug)]
pub struct Environment<'a> {
    /// `%resource`, which is the focus unless another is set.
    resource: &'a Json,
    root_resource: &'a Json,
    focus: Item<'a>,
    now: Option<i64>,
    strict: bool,
    typed_names: bool,
    budget: u64,
    shared: Option<&'a Meter>,
    trace: Option<&'a Trace<'a>>,
    variables: Vec<(&'a str, Vec<Item<'a>>)>,
}

/// Why a text is no expression, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at byte {offset}")]
pub struct PathError {
    /// Offset in bytes from the start of the text.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
}

/// Why an expression has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvaluationError {
    /// More steps than permitted.
    TooCostly,
    /// Needs what this evaluation does not have: a terminology, a clock, profiles.
    Unsupported(String),
    /// The specification demands an error: several items where one is wanted, operands of wrong types.
    Invalid(String),
}

impl Expression {
    /// Compiles an expression.
    pub fn compile(text: &str) -> Result<Expression, PathError> {
        Expression::compile_among(text, &mut Patterns::default())
    }

    /// Compiles one of several expressions, which have together what is left for their patterns.
    pub fn compile_among(text: &str, patterns: &mut Patterns) -> Result<Expression, PathError> {
        Ok(Expression { text: text.into(), root: parser::parse(text, patterns)? })
    }

    /// Whether the names and types in the expression fit a focus of the type `focus_type`: `Patient`, `HumanName`.
    ///
    /// Refuses, with its place, what can never have a result: elements that the type does not have, another resource
    /// type at the beginning, functions of texts and numbers on elements with children. Where a type cannot be known
    /// before the evaluation, nothing is refused.
    pub fn check(&self, focus_type: &str) -> Result<(), PathError> {
        strict::check(&self.root, focus_type, false)
    }

    /// The same for an evaluation with [`Environment::typed_names`].
    pub fn check_with_typed_names(&self, focus_type: &str) -> Result<(), PathError> {
        strict::check(&self.root, focus_type, true)
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The result on a resource, without clock and leniently: `as` filters, unknown members are empty.
    pub fn evaluate<'a>(&'a self, resource: &'a Json) -> Result<Vec<Item<'a>>, EvaluationError> {
        self.evaluate_in(&Environment::new(resource))
    }

    /// The result in an environment.
    pub fn evaluate_in<'a>(&'a self, environment: &Environment<'a>) -> Result<Vec<Item<'a>>, EvaluationError> {
        evaluator::evaluate(&self.root, environment)
    }

    /// The items that the last step is taken from, and the name that it asks for; nothing where the last step is no
    /// name. Of `Patient.contact[0].telecom` the contact and `telecom`: tells which list is meant, also an empty one.
    pub fn evaluate_owner<'a>(
        &'a self,
        environment: &Environment<'a>,
    ) -> Result<Option<(Vec<Item<'a>>, &'a str)>, EvaluationError> {
        evaluator::evaluate_owner(&self.root, environment)
    }

    /// Whether the result is true; an empty one is not, and a single item that is no boolean is.
    pub fn holds(&self, environment: &Environment<'_>) -> Result<bool, EvaluationError> {
        let environment = environment.clone();
        let items = evaluator::evaluate(&self.root, &environment)?;
        Ok(operators::singleton_boolean(&items)?.unwrap_or(false))
    }
}

impl<'a> Environment<'a> {
    /// A resource, the focus at the same time.
    pub fn new(resource: &'a Json) -> Environment<'a> {
        Environment {
            resource,
            root_resource: resource,
            focus: Item::resource(resource),
            now: None,
            strict: false,
            typed_names: false,
            budget: DEFAULT_BUDGET,
            shared: None,
            trace: None,
            variables: Vec::new(),
        }
    }

    /// Evaluates on this element of the resource instead of on the resource.
    #[must_use]
    pub fn at(mut self, focus: Item<'a>) -> Self {
        self.focus = focus;
        self
    }

    /// Sets `%rootResource`, the container of a contained resource.
    #[must_use]
    pub fn within(mut self, root_resource: &'a Json) -> Self {
        self.root_resource = root_resource;
        self
    }

    /// Sets the time that `now()` gives, in microseconds since 1970.
    #[must_use]
    pub fn now(mut self, micros: i64) -> Self {
        self.now = Some(micros);
        self
    }

    /// Makes errors of members that the type does not have, and of `as` on several items.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Takes `valueDateTime` for `value.ofType(dateTime)`, as definitions of many implementation guides mean it.
    #[must_use]
    pub fn typed_names(mut self) -> Self {
        self.typed_names = true;
        self
    }

    /// Sets the most steps of an evaluation.
    #[must_use]
    pub fn budget(mut self, steps: u64) -> Self {
        self.budget = steps;
        self
    }

    /// Takes the steps from those that several evaluations have together, besides the bound of each.
    #[must_use]
    pub fn sharing(mut self, steps: &'a Meter) -> Self {
        self.shared = Some(steps);
        self
    }

    /// Tells of each `trace()`; else it does nothing but evaluate its projection.
    #[must_use]
    pub fn trace(mut self, trace: &'a Trace<'a>) -> Self {
        self.trace = Some(trace);
        self
    }

    /// The steps of one evaluation.
    fn granted(&self) -> u64 {
        self.shared.map_or(self.budget, |shared| shared.left().min(self.budget))
    }

    /// Sets `%name`.
    #[must_use]
    pub fn variable(mut self, name: &'a str, items: Vec<Item<'a>>) -> Self {
        self.variables.push((name, items));
        self
    }
}

impl EvaluationError {
    fn invalid(message: impl Into<String>) -> EvaluationError {
        EvaluationError::Invalid(message.into())
    }
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvaluationError::TooCostly => formatter.write_str("the evaluation takes too many steps"),
            EvaluationError::Unsupported(what) => write!(formatter, "not supported here: {what}"),
            EvaluationError::Invalid(message) => formatter.write_str(message),
        }
    }
}

impl std::error::Error for EvaluationError {}
