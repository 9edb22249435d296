//! Calls of functions: which group each belongs to, and how arguments are read. <http://hl7.org/fhirpath/N1/#functions>

use super::EvaluationError;
use super::evaluator::{Evaluation, Evaluator, Scope};
use super::functions::Function as F;
use super::item::Item;
use super::operators::{single_text, single_value};
use super::tree::{Call, Node};
use super::value::{Text, Value};
use super::{collections, convert, elements, encoding, math, text};

/// One call at work.
pub(super) struct Invocation<'a, 'e, 's> {
    pub(super) evaluator: &'e Evaluator<'a, 'e>,
    pub(super) call: &'a Call,
    pub(super) input: &'s [Item<'a>],
    pub(super) scope: Scope<'a, 's>,
}

pub(super) fn call<'a>(
    evaluator: &Evaluator<'a, '_>,
    call: &'a Call,
    input: &[Item<'a>],
    scope: Scope<'a, '_>,
) -> Evaluation<'a> {
    evaluator.charge(1)?;
    let call = Invocation { evaluator, call, input, scope };
    let value = match call.call.function {
        F::ToBoolean
        | F::ToInteger
        | F::ToDecimal
        | F::ToText
        | F::ToDate
        | F::ToDateTime
        | F::ToTime
        | F::ToQuantity => convert::to(&call)?,
        F::ConvertsToBoolean
        | F::ConvertsToInteger
        | F::ConvertsToDecimal
        | F::ConvertsToText
        | F::ConvertsToDate
        | F::ConvertsToDateTime
        | F::ConvertsToTime
        | F::ConvertsToQuantity => convert::converts_to(&call)?,
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
        | F::Trim => text::of_text(&call)?,
        F::ToChars | F::Split | F::Join => return text::lists(&call),
        F::Encode | F::Decode | F::Escape | F::Unescape => encoding::of_text(&call)?,
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
        | F::HighBoundary
        | F::Precision
        | F::Comparable => math::of_number(&call)?,
        F::Now | F::Today | F::TimeOfDay => Some(convert::clock(&call)?),
        F::Extension
        | F::HasValue
        | F::GetValue
        | F::Resolve
        | F::HtmlChecks
        | F::MemberOf
        | F::Subsumes
        | F::SubsumedBy
        | F::ConformsTo
        | F::ElementDefinition
        | F::Slice
        | F::CheckModifiers
        | F::Children
        | F::Descendants
        | F::Type => return elements::of_elements(&call),
        _ => return collections::of_collection(&call),
    };
    Ok(value.map(Item::of).into_iter().collect())
}

impl<'a> Invocation<'a, '_, '_> {
    pub(super) fn argument_node(&self, index: usize) -> Option<&'a Node> {
        self.call.arguments.get(index)
    }

    /// An argument evaluated once, where the call stands.
    pub(super) fn argument(&self, index: usize) -> Evaluation<'a> {
        self.argument_node(index).map_or(Ok(Vec::new()), |node| self.evaluator.node(node, self.scope))
    }

    pub(super) fn text_argument(&self, index: usize) -> Result<Option<Text<'a>>, EvaluationError> {
        single_text(&self.argument(index)?)
    }

    pub(super) fn integer_argument(&self, index: usize) -> Result<Option<i64>, EvaluationError> {
        match single_value(&self.argument(index)?)? {
            None => Ok(None),
            Some(Value::Integer(value)) => Ok(Some(value)),
            Some(_) => Err(self.invalid("wants an integer")),
        }
    }

    /// An argument evaluated for one item of the input.
    pub(super) fn for_item(&self, node: &'a Node, item: &Item<'a>, index: usize) -> Evaluation<'a> {
        self.evaluator.charge(1)?;
        let scope = Scope { this: std::slice::from_ref(item), index: Some(index), total: self.scope.total };
        self.evaluator.node(node, scope)
    }

    pub(super) fn invalid(&self, message: &str) -> EvaluationError {
        EvaluationError::Invalid(format!("{}() {message}", self.call.function.name()))
    }

    pub(super) fn unsupported(&self) -> EvaluationError {
        EvaluationError::Unsupported(format!("{}()", self.call.function.name()))
    }
}
