//! Operators. <http://hl7.org/fhirpath/N1/#operations>

use std::cmp::Ordering;

use super::EvaluationError;
use super::comparison;
use super::evaluator::{Evaluation, Evaluator, Scope};
use super::item::{Item, Repr};
use super::meter::Meter;
use super::number::Number;
use super::temporal;
use super::tree::{Node, Operator};
use super::value::{CONVERSION, Incomparable, Quantity, Text, Value};

/// Most bytes of a text that an expression makes.
pub(super) const MAX_TEXT: usize = 1 << 20;

pub(super) fn binary<'a>(
    evaluator: &Evaluator<'a, '_>,
    operator: Operator,
    operands: &'a [Node; 2],
    scope: Scope<'a, '_>,
) -> Evaluation<'a> {
    let left = evaluator.node(&operands[0], scope)?;
    if matches!(operator, Operator::And | Operator::Or | Operator::Xor | Operator::Implies) {
        return logic(evaluator, operator, &left, &operands[1], scope);
    }
    let right = evaluator.node(&operands[1], scope)?;
    evaluator.charge(1 + left.len().min(right.len()))?;
    let result = match operator {
        Operator::Equal => equal(&left, &right, &evaluator.meter)?.map(Value::Boolean),
        Operator::NotEqual => equal(&left, &right, &evaluator.meter)?.map(|equal| Value::Boolean(!equal)),
        Operator::Equivalent => Some(Value::Boolean(comparison::equivalent_lists(&left, &right, &evaluator.meter)?)),
        Operator::NotEquivalent => {
            Some(Value::Boolean(!comparison::equivalent_lists(&left, &right, &evaluator.meter)?))
        }
        Operator::In => membership(evaluator, &left, &right)?,
        Operator::Contains => membership(evaluator, &right, &left)?,
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            compare(evaluator, operator, &left, &right)?
        }
        Operator::Concatenate => {
            let mut text = String::new();
            for side in [&left, &right] {
                text.push_str(&single_text(side)?.unwrap_or_default());
            }
            evaluator.charge(text.len() / 64)?;
            Some(Value::text(bounded(text)?))
        }
        _ => match (single_value(&left)?, single_value(&right)?) {
            (Some(left), Some(right)) => arithmetic(evaluator, operator, &left, &right)?,
            _ => None,
        },
    };
    Ok(result.map(Item::of).into_iter().collect())
}

/// The only value of a collection; nothing if it is empty.
pub(super) fn single_value<'a>(items: &[Item<'a>]) -> Result<Option<Value<'a>>, EvaluationError> {
    match items {
        [] => Ok(None),
        [item] => {
            let value = item.value();
            // Of an element without a value, and of a quantity without a unit of UCUM, nothing comes.
            let is_absent = matches!(&item.0, Repr::Element(it) if it.sibling.is_some() || it.is_quantity());
            let unreadable = value.is_none() && !is_absent;
            if unreadable {
                return Err(EvaluationError::invalid(format!("{} is no value to compute with", item.type_name())));
            }
            Ok(value)
        }
        _ => Err(EvaluationError::invalid("several items where a single one is wanted")),
    }
}

/// The only text of a collection; nothing if it is empty.
pub(super) fn single_text<'a>(items: &[Item<'a>]) -> Result<Option<Text<'a>>, EvaluationError> {
    match single_value(items)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(EvaluationError::invalid(format!("{} where text is wanted", other.system_type().name()))),
    }
}

/// A collection as a condition: a single item that is no boolean is true.
pub(super) fn singleton_boolean(items: &[Item<'_>]) -> Result<Option<bool>, EvaluationError> {
    match items {
        [] => Ok(None),
        [item] => match item.value() {
            Some(Value::Boolean(value)) => Ok(Some(value)),
            _ => Ok(Some(true)),
        },
        _ => Err(EvaluationError::invalid("several items where a condition is wanted")),
    }
}

pub(super) fn negate<'a>(items: &[Item<'a>]) -> Evaluation<'a> {
    let negated = match single_value(items)? {
        None => None,
        Some(Value::Integer(value)) => value.checked_neg().and_then(Value::integer),
        Some(Value::Decimal(value)) => Some(Value::Decimal(value.negated())),
        Some(Value::Quantity(quantity)) => {
            let number = quantity.number.negated();
            Some(Value::Quantity(Box::new(quantity.with(number))))
        }
        Some(_) => return Err(EvaluationError::invalid("a sign wants a number")),
    };
    Ok(negated.map(Item::of).into_iter().collect())
}

/// `=` of collections.
pub(super) fn equal(left: &[Item<'_>], right: &[Item<'_>], meter: &Meter) -> Result<Option<bool>, EvaluationError> {
    if left.is_empty() || right.is_empty() {
        return Ok(None);
    }
    if left.len() != right.len() {
        return Ok(Some(false));
    }
    let mut result = Some(true);
    for (one, other) in left.iter().zip(right) {
        match comparison::equal(one, other, meter)? {
            Some(true) => {}
            Some(false) => return Ok(Some(false)),
            None => result = None,
        }
    }
    Ok(result)
}

/// Text no longer than permitted.
pub(super) fn bounded(text: String) -> Result<String, EvaluationError> {
    if text.len() > MAX_TEXT { Err(EvaluationError::TooCostly) } else { Ok(text) }
}

fn logic<'a>(
    evaluator: &Evaluator<'a, '_>,
    operator: Operator,
    left: &[Item<'a>],
    right: &'a Node,
    scope: Scope<'a, '_>,
) -> Evaluation<'a> {
    let left = singleton_boolean(left)?;
    let decided = match (operator, left) {
        (Operator::And, Some(false)) => Some(false),
        (Operator::Or, Some(true)) | (Operator::Implies, Some(false)) => Some(true),
        _ => None,
    };
    if let Some(value) = decided {
        return Ok(vec![Item::of(Value::Boolean(value))]);
    }
    let right = singleton_boolean(&evaluator.node(right, scope)?)?;
    let result = match (operator, left, right) {
        (Operator::And, _, Some(false)) => Some(false),
        (Operator::Or | Operator::Implies, _, Some(true)) => Some(true),
        (Operator::Xor, Some(left), Some(right)) => Some(left != right),
        (Operator::And | Operator::Or | Operator::Implies, Some(_), Some(right)) => Some(right),
        _ => None,
    };
    Ok(result.map(|value| Item::of(Value::Boolean(value))).into_iter().collect())
}

fn membership<'a>(
    evaluator: &Evaluator<'a, '_>,
    element: &[Item<'a>],
    collection: &[Item<'a>],
) -> Result<Option<Value<'a>>, EvaluationError> {
    match element {
        [] => Ok(None),
        [item] => Ok(Some(Value::Boolean(evaluator.has(collection, item)?))),
        _ => Err(EvaluationError::invalid("in and contains want a single item")),
    }
}

fn compare<'a>(
    evaluator: &Evaluator<'a, '_>,
    operator: Operator,
    left: &[Item<'a>],
    right: &[Item<'a>],
) -> Result<Option<Value<'a>>, EvaluationError> {
    let (Some(left), Some(right)) = (single_value(left)?, single_value(right)?) else { return Ok(None) };
    evaluator.charge(left.cost_with(&right))?;
    let order = left.order(&right).map_err(|Incomparable| {
        let names = (left.system_type().name(), right.system_type().name());
        EvaluationError::invalid(format!("{} and {} have no order", names.0, names.1))
    })?;
    Ok(order.map(|order| {
        Value::Boolean(match operator {
            Operator::Less => order == Ordering::Less,
            Operator::LessOrEqual => order != Ordering::Greater,
            Operator::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        })
    }))
}

fn arithmetic<'a>(
    evaluator: &Evaluator<'a, '_>,
    operator: Operator,
    left: &Value<'a>,
    right: &Value<'a>,
) -> Result<Option<Value<'a>>, EvaluationError> {
    match (operator, left, right) {
        (Operator::Add, Value::String(left), Value::String(right)) => {
            evaluator.charge((left.len() + right.len()) / 64)?;
            Ok(Some(Value::text(bounded(format!("{left}{right}"))?)))
        }
        (_, Value::Integer(left), Value::Integer(right)) if operator != Operator::Divide => {
            Ok(integers(operator, *left, *right).and_then(Value::integer))
        }
        (
            Operator::Add | Operator::Subtract,
            Value::Date(_) | Value::DateTime(_) | Value::Time(..),
            Value::Quantity(amount),
        ) => moved(operator, left, amount).map(Some),
        (_, Value::Quantity(_), _) | (_, _, Value::Quantity(_)) => {
            evaluator.charge(CONVERSION)?;
            quantities(operator, left, right)
        }
        _ => {
            let names = (left.system_type().name(), right.system_type().name());
            let error = || EvaluationError::invalid(format!("no arithmetic between {} and {}", names.0, names.1));
            let (left, right) = left.as_number().zip(right.as_number()).ok_or_else(error)?;
            Ok(numbers(operator, left, right))
        }
    }
}

fn integers(operator: Operator, left: i64, right: i64) -> Option<i64> {
    match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Div => left.checked_div(right),
        Operator::Mod => left.checked_rem(right),
        _ => None,
    }
}

fn numbers<'a>(operator: Operator, left: Number, right: Number) -> Option<Value<'a>> {
    let result = match operator {
        Operator::Add => left.add(right),
        Operator::Subtract => left.add(right.negated()),
        Operator::Multiply => left.multiply(right),
        Operator::Divide => left.divide(right),
        Operator::Div => {
            return left.quotient(right).and_then(|value| i64::try_from(value.mantissa).ok()).and_then(Value::integer);
        }
        Operator::Mod => left.remainder(right),
        _ => None,
    };
    result.map(Value::Decimal)
}

fn quantities<'a>(
    operator: Operator,
    left: &Value<'a>,
    right: &Value<'a>,
) -> Result<Option<Value<'a>>, EvaluationError> {
    let both = left.to_quantity().zip(right.to_quantity());
    let (left, right) = both.ok_or_else(|| EvaluationError::invalid("no arithmetic between a quantity and this"))?;
    if !left.has_known_unit() || !right.has_known_unit() {
        return Ok(None);
    }
    let boxed =
        |number: Option<Number>, unit: Quantity<'a>| number.map(|number| Value::Quantity(Box::new(unit.with(number))));
    let quantity = |quantity: Option<Quantity<'a>>| quantity.map(|quantity| Value::Quantity(Box::new(quantity)));
    Ok(match operator {
        Operator::Add => quantity(left.plus(right)),
        Operator::Subtract => quantity(left.plus(right.negated())),
        Operator::Multiply if right.unit == "1" => boxed(left.number.multiply(right.number), left),
        Operator::Multiply if left.unit == "1" => boxed(left.number.multiply(right.number), right),
        Operator::Multiply => quantity(left.times(&right)),
        Operator::Divide if right.unit == "1" => boxed(left.number.divide(right.number), left),
        Operator::Divide => match left.aligned(&right) {
            Some((left, right)) => left.divide(right).map(|number| Value::quantity(number, "1", false)),
            None => quantity(left.over(&right)),
        },
        _ => None,
    })
}

/// A date or time moved by an amount of time.
fn moved<'a>(operator: Operator, value: &Value<'a>, amount: &Quantity<'_>) -> Result<Value<'a>, EvaluationError> {
    if matches!(value, Value::Time(..)) && temporal::is_whole_days(&amount.unit) {
        let message =
            format!("a time of day moves by hours, minutes, seconds or milliseconds, not by {}", amount.text());
        return Err(EvaluationError::invalid(message));
    }
    let number = if operator == Operator::Subtract { amount.number.negated() } else { amount.number };
    let result = match value {
        Value::Date(date) => temporal::add(date, number, &amount.unit).map(Value::Date),
        Value::DateTime(date) => temporal::add(date, number, &amount.unit).map(Value::DateTime),
        Value::Time(time, precision) => temporal::add_to_time(*time, *precision, number, &amount.unit)
            .map(|(time, precision)| Value::Time(time, precision)),
        _ => None,
    };
    result.ok_or_else(|| EvaluationError::invalid(format!("cannot move a date by {}", amount.text())))
}
