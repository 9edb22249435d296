//! Conversions, and the clock. <http://hl7.org/fhirpath/N1/#conversion>

use super::EvaluationError;
use super::calls::Invocation;
use super::functions::Function as F;
use super::item::Item;
use super::number::Number;
use super::operators::single_value;
use super::value::{self, Value, calendar_unit};
use crate::date::{DateTime, Precision};
use crate::decimal::Decimal;

/// Most bytes of a unit that is read from a text; codes of UCUM are shorter.
const MAX_UNIT: usize = 1_000;

/// `toInteger()` and the like.
pub(super) fn to<'a>(call: &Invocation<'a, '_, '_>) -> Result<Option<Value<'a>>, EvaluationError> {
    let Some(value) = only(call)? else { return Ok(None) };
    Ok(match call.call.function {
        F::ToBoolean => boolean(&value).map(Value::Boolean),
        F::ToInteger => integer(&value).and_then(Value::integer),
        F::ToDecimal => decimal(&value).map(Value::Decimal),
        F::ToText => text(&value),
        F::ToDate => date(&value),
        F::ToDateTime => date_time(&value),
        F::ToTime => time(&value),
        _ => in_unit(call, quantity(value))?,
    })
}

/// `convertsToInteger()` and the like.
pub(super) fn converts_to<'a>(call: &Invocation<'a, '_, '_>) -> Result<Option<Value<'a>>, EvaluationError> {
    let [item] = call.input else {
        return if call.input.is_empty() { Ok(None) } else { Err(call.invalid("wants a single item")) };
    };
    let Some(value) = value_of(call, item)? else { return Ok(Some(Value::Boolean(false))) };
    Ok(Some(Value::Boolean(match call.call.function {
        F::ConvertsToBoolean => boolean(&value).is_some(),
        F::ConvertsToInteger => integer(&value).and_then(Value::integer).is_some(),
        F::ConvertsToDecimal => decimal(&value).is_some(),
        F::ConvertsToText => text(&value).is_some(),
        F::ConvertsToDate => date(&value).is_some(),
        F::ConvertsToDateTime => date_time(&value).is_some(),
        F::ConvertsToTime => time(&value).is_some(),
        _ => in_unit(call, quantity(value))?.is_some(),
    })))
}

/// `now()`, `today()`, `timeOfDay()`: the same throughout an evaluation.
pub(super) fn clock<'a>(call: &Invocation<'a, '_, '_>) -> Result<Value<'a>, EvaluationError> {
    let micros = call.evaluator.environment.now.ok_or_else(|| call.unsupported())?;
    let now = DateTime::from_micros(micros - micros.rem_euclid(1000));
    let now = DateTime { time: crate::date::Time { fraction_digits: 3, ..now.time }, ..now };
    Ok(match call.call.function {
        F::Now => Value::DateTime(now),
        F::Today => Value::Date(DateTime { precision: Precision::Day, offset: None, ..now }),
        _ => Value::Time(now.time, Precision::Fraction),
    })
}

fn only<'a>(call: &Invocation<'a, '_, '_>) -> Result<Option<Value<'a>>, EvaluationError> {
    match call.input {
        [item] => value_of(call, item),
        input => single_value(input),
    }
}

/// The value of an item, which is going to be read if it is a text.
fn value_of<'a>(call: &Invocation<'a, '_, '_>, item: &Item<'a>) -> Result<Option<Value<'a>>, EvaluationError> {
    let value = item.value();
    call.evaluator.meter.charge_text(value.as_ref().map_or(0, Value::size))?;
    Ok(value)
}

fn boolean(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Boolean(value) => Some(*value),
        Value::String(text) => match &*text.to_ascii_lowercase() {
            "true" | "t" | "yes" | "y" | "1" | "1.0" => Some(true),
            "false" | "f" | "no" | "n" | "0" | "0.0" => Some(false),
            _ => None,
        },
        number => match number.as_number()?.trimmed() {
            Number { mantissa: 0, .. } => Some(false),
            Number { mantissa: 1, scale: 0 } => Some(true),
            _ => None,
        },
    }
}

fn integer(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(value) => Some(*value),
        Value::Boolean(value) => Some((*value).into()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn decimal(value: &Value<'_>) -> Option<Number> {
    match value {
        Value::Boolean(value) => Some(Number::from(i64::from(*value))),
        Value::String(text) => parse_decimal(text),
        number => number.as_number(),
    }
}

/// Digits with an optional sign and fraction, without exponent.
fn parse_decimal(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) || text.contains(['e', 'E']) {
        return None;
    }
    let plain = digits.trim_start_matches('0');
    let plain =
        if plain.starts_with(|first: char| first.is_ascii_digit()) { plain.to_owned() } else { format!("0{plain}") };
    let number = Decimal::parse(&plain).and_then(|number| Number::parse(number.as_str()))?;
    Some(if text.starts_with('-') { number.negated() } else { number })
}

fn text<'a>(value: &Value<'a>) -> Option<Value<'a>> {
    (!matches!(value, Value::Type { .. })).then(|| Value::String(value.to_text()))
}

fn date<'a>(value: &Value<'_>) -> Option<Value<'a>> {
    match value {
        Value::Date(value) => Some(Value::Date(*value)),
        Value::DateTime(value) => {
            let precision = value.precision.min(Precision::Day);
            Some(Value::Date(DateTime { precision, time: crate::date::Time::default(), offset: None, ..*value }))
        }
        Value::String(text) => {
            DateTime::parse_partial(text).filter(|value| value.precision <= Precision::Day).map(Value::Date)
        }
        _ => None,
    }
}

fn date_time<'a>(value: &Value<'_>) -> Option<Value<'a>> {
    match value {
        Value::Date(value) | Value::DateTime(value) => Some(Value::DateTime(*value)),
        Value::String(text) => DateTime::parse_partial(text).map(Value::DateTime),
        _ => None,
    }
}

fn time<'a>(value: &Value<'_>) -> Option<Value<'a>> {
    match value {
        Value::Time(time, precision) => Some(Value::Time(*time, *precision)),
        Value::String(text) => value::parse_time(text),
        _ => None,
    }
}

fn quantity(value: Value<'_>) -> Option<Value<'_>> {
    match value {
        Value::Quantity(_) => Some(value),
        Value::Boolean(value) => Some(Value::quantity(Number::from(i64::from(value)), "1", false)),
        Value::String(text) => {
            let text = text.trim();
            let end = text
                .find(|next: char| !next.is_ascii_digit() && !matches!(next, '.' | '+' | '-'))
                .unwrap_or(text.len());
            let number = parse_decimal(text[..end].trim())?;
            let unit = text[end..].trim();
            if unit.is_empty() {
                return Some(Value::quantity(number, "1", false));
            }
            if let Some(quoted) = unit.strip_prefix('\'').and_then(|unit| unit.strip_suffix('\'')) {
                let possible = (1..=MAX_UNIT).contains(&quoted.len());
                return possible.then(|| Value::quantity(number, quoted.to_owned(), false));
            }
            calendar_unit(unit).map(|unit| Value::quantity(number, unit, true))
        }
        number => Some(Value::quantity(number.as_number()?, "1", false)),
    }
}

/// The quantity in the unit that the argument names, if there is one.
fn in_unit<'a>(call: &Invocation<'a, '_, '_>, value: Option<Value<'a>>) -> Result<Option<Value<'a>>, EvaluationError> {
    let (Some(unit), Some(Value::Quantity(quantity))) = (call.text_argument(0)?, &value) else { return Ok(value) };
    call.evaluator.charge(value::CONVERSION)?;
    Ok(quantity.converted(&unit).map(|quantity| Value::Quantity(Box::new(quantity))))
}
