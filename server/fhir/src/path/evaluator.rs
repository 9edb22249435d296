//! Walks the tree of an expression over a document.

use std::cell::RefCell;

use super::distinct::{self, Distinct};
use super::item::Item;
use super::meter::Meter;
use super::pattern::Pattern;
use super::tree::{Node, Path, Step, TypeOperation};
use super::types::TypeSpecifier;
use super::value::Value;
use super::{Environment, EvaluationError, calls, operators};
use crate::ucum;

pub(super) type Items<'a> = Vec<Item<'a>>;
pub(super) type Evaluation<'a> = Result<Items<'a>, EvaluationError>;

/// State of one evaluation.
pub(super) struct Evaluator<'a, 'e> {
    pub(super) environment: &'e Environment<'a>,
    pub(super) meter: Meter,
    /// The last pattern that was made, since it seldom is another one for the next item.
    pattern: RefCell<Option<(Box<str>, bool, Pattern)>>,
}

/// What `$this`, `$index` and `$total` are at a place.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a, 's> {
    pub(super) this: &'s [Item<'a>],
    pub(super) index: Option<usize>,
    pub(super) total: Option<&'s [Item<'a>]>,
}

/// Evaluates `root` on the focus of the environment.
pub(super) fn evaluate<'a>(root: &'a Node, environment: &Environment<'a>) -> Evaluation<'a> {
    let evaluator = Evaluator::new(environment);
    let result = evaluator.node(root, evaluator.scope());
    evaluator.settle()?;
    result
}

/// Evaluates all but the last step of `root` where that is a member, and gives its name.
pub(super) fn evaluate_owner<'a>(
    root: &'a Node,
    environment: &Environment<'a>,
) -> Result<Option<(Items<'a>, &'a str)>, EvaluationError> {
    let Node::Path(path) = root else { return Ok(None) };
    let Some((Step::Member(name), steps)) = path.steps.split_last() else { return Ok(None) };
    let evaluator = Evaluator::new(environment);
    let items = evaluator.steps(path.start.as_ref(), steps, evaluator.scope());
    evaluator.settle()?;
    Ok(Some((items?, name)))
}

impl<'a, 'e> Evaluator<'a, 'e> {
    fn new(environment: &'e Environment<'a>) -> Self {
        let granted = environment.granted();
        Evaluator { environment, meter: Meter::new(granted), pattern: RefCell::new(None) }
    }

    fn scope(&self) -> Scope<'a, 'e> {
        Scope { this: std::slice::from_ref(&self.environment.focus), index: None, total: None }
    }

    /// Takes what was spent from what several evaluations share.
    fn settle(&self) -> Result<(), EvaluationError> {
        let Some(shared) = self.environment.shared else { return Ok(()) };
        shared.charge((self.environment.granted() - self.meter.left()) as usize)
    }

    /// Counts steps; each touches one item or a piece of text.
    pub(super) fn charge(&self, steps: usize) -> Result<(), EvaluationError> {
        self.meter.charge(steps)
    }

    pub(super) fn node(&self, node: &'a Node, scope: Scope<'a, '_>) -> Evaluation<'a> {
        self.charge(1)?;
        match node {
            Node::Path(path) => self.path(path, scope),
            Node::Literal(value) => Ok(vec![Item::of(value.borrowed())]),
            Node::Nothing => Ok(Vec::new()),
            Node::This => self.copied(scope.this),
            Node::Index => Ok(scope.index.map(|index| Item::of(Value::Integer(index as i64))).into_iter().collect()),
            Node::Total => self.copied(scope.total.unwrap_or_default()),
            Node::Variable(name) => self.variable(name),
            Node::Union(operands) => self.union(operands, scope),
            Node::Type(operation, specifier, operand) => {
                let items = self.node(operand, scope)?;
                self.type_operation(*operation, specifier, items)
            }
            Node::Binary(operator, operands) => operators::binary(self, *operator, operands, scope),
            Node::Negate(operand) => operators::negate(&self.node(operand, scope)?),
            Node::Plus(operand) => {
                let items = self.node(operand, scope)?;
                operators::negate(&items).map(|_| items)
            }
        }
    }

    /// The same items again.
    pub(super) fn copied(&self, items: &[Item<'a>]) -> Evaluation<'a> {
        self.charge(items.len())?;
        Ok(items.to_vec())
    }

    /// A pattern that is no literal.
    pub(super) fn pattern(&self, text: &str, full: bool) -> Result<Pattern, EvaluationError> {
        let mut last = self.pattern.borrow_mut();
        match &*last {
            Some((known, is_full, pattern)) if **known == *text && *is_full == full => Ok(pattern.clone()),
            _ => {
                let pattern = Pattern::of_evaluation(text, full, &self.meter)?;
                *last = Some((text.into(), full, pattern.clone()));
                Ok(pattern)
            }
        }
    }

    fn path(&self, path: &'a Path, scope: Scope<'a, '_>) -> Evaluation<'a> {
        self.steps(path.start.as_ref(), &path.steps, scope)
    }

    fn steps(&self, start: Option<&'a Node>, steps: &'a [Step], scope: Scope<'a, '_>) -> Evaluation<'a> {
        let (mut items, rest) = match (start, steps.split_first()) {
            (Some(start), _) => (self.node(start, scope)?, steps),
            (None, Some((first, rest))) => (self.step(first, scope.this, scope)?, rest),
            (None, None) => (scope.this.to_vec(), &[][..]),
        };
        for (at, step) in rest.iter().enumerate() {
            if self.environment.strict
                && step.wants_order()
                && at.checked_sub(1).is_some_and(|before| rest[before].is_unordered())
            {
                return Err(EvaluationError::invalid("children() and descendants() have no order"));
            }
            if items.is_empty() && matches!(step, Step::Member(_) | Step::Item(_) | Step::Type(..)) {
                return Ok(items);
            }
            items = self.step(step, &items, scope)?;
        }
        Ok(items)
    }

    fn step(&self, step: &'a Step, input: &[Item<'a>], scope: Scope<'a, '_>) -> Evaluation<'a> {
        match step {
            Step::Member(name) => self.member(name, input),
            Step::Root(specifier) => {
                self.charge(input.len())?;
                let found: Items<'a> = input.iter().filter(|item| item.is(specifier)).cloned().collect();
                if found.is_empty() && self.environment.strict {
                    return Err(EvaluationError::invalid("the focus is of another type"));
                }
                Ok(found)
            }
            Step::Item(index) => {
                let index = self.node(index, scope)?;
                match operators::single_value(&index)? {
                    Some(Value::Integer(index)) => Ok(usize::try_from(index)
                        .ok()
                        .and_then(|index| input.get(index))
                        .cloned()
                        .into_iter()
                        .collect()),
                    None => Ok(Vec::new()),
                    Some(_) => Err(EvaluationError::invalid("an index is an integer")),
                }
            }
            Step::Special(node) => self.node(node, scope),
            Step::Call(call) => calls::call(self, call, input, scope),
            Step::Type(operation, specifier) => self.type_operation(*operation, specifier, self.copied(input)?),
        }
    }

    /// Children named `name` of all items.
    pub(super) fn member(&self, name: &str, input: &[Item<'a>]) -> Evaluation<'a> {
        let mut out = Vec::new();
        self.charge(input.len())?;
        for item in input {
            let known = item.push_children(name, &mut out)
                || (self.environment.typed_names && item.push_choice(name, &mut out));
            if !known && self.environment.strict {
                return Err(EvaluationError::invalid(format!("{} has no element {name}", item.type_name())));
            }
        }
        self.charge(out.len())?;
        Ok(out)
    }

    fn union(&self, operands: &'a [Node], scope: Scope<'a, '_>) -> Evaluation<'a> {
        let mut out = Distinct::new(&self.meter);
        for operand in operands {
            for item in self.node(operand, scope)? {
                out.push(item)?;
            }
        }
        Ok(out.into_items())
    }

    fn type_operation(
        &self,
        operation: TypeOperation,
        specifier: &TypeSpecifier,
        mut items: Items<'a>,
    ) -> Evaluation<'a> {
        self.charge(1 + items.len())?;
        let single = operation == TypeOperation::Is || (operation == TypeOperation::As && self.environment.strict);
        if single && items.len() > 1 {
            return Err(EvaluationError::invalid("is and as want a single item; ofType() takes several"));
        }
        if operation == TypeOperation::Is {
            return Ok(items.first().map(|item| Item::of(Value::Boolean(item.is(specifier)))).into_iter().collect());
        }
        if let (TypeOperation::As, TypeSpecifier { fhir: None, system: Some(system) }) = (operation, specifier) {
            return Ok(items.into_iter().filter_map(|item| item.cast(*system)).collect());
        }
        items.retain(|item| item.is_exactly(specifier));
        Ok(items)
    }

    fn variable(&self, name: &str) -> Evaluation<'a> {
        let environment = self.environment;
        if let Some((_, items)) = environment.variables.iter().find(|(known, _)| *known == name) {
            return self.copied(items);
        }
        let text = |text: String| Ok(vec![Item::of(Value::text(text))]);
        match name {
            "context" => Ok(vec![environment.focus.clone()]),
            "resource" => Ok(vec![Item::resource(environment.resource)]),
            "rootResource" => Ok(vec![Item::resource(environment.root_resource)]),
            "ucum" => text(ucum::SYSTEM.to_owned()),
            "sct" => text("http://snomed.info/sct".to_owned()),
            "loinc" => text("http://loinc.org".to_owned()),
            _ => {
                if let Some(name) = name.strip_prefix("vs-") {
                    text(format!("http://hl7.org/fhir/ValueSet/{name}"))
                } else if let Some(name) = name.strip_prefix("ext-") {
                    text(format!("http://hl7.org/fhir/StructureDefinition/{name}"))
                } else {
                    Err(EvaluationError::invalid(format!("there is no %{name}")))
                }
            }
        }
    }

    /// Whether an item equals one of these.
    pub(super) fn has(&self, items: &[Item<'a>], item: &Item<'a>) -> Result<bool, EvaluationError> {
        self.charge(1)?;
        distinct::has_equal(items, item, &self.meter)
    }
}
