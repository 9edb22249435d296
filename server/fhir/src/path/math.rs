//! Functions on numbers, and the boundaries of values. <http://hl7.org/fhirpath/N1/#math>

use super::EvaluationError;
use super::calls::Invocation;
use super::functions::Function as F;
use super::item::precision_of;
use super::number::Number;
use super::operators::single_value;
use super::temporal;
use super::value::{CONVERSION, Value};
use crate::date::Precision;

/// Decimal places of a boundary where the call names none.
const BOUNDARY_PLACES: i64 = 8;
/// Most decimal places of a boundary.
const MAX_PLACES: i64 = 28;

pub(super) fn of_number<'a>(call: &Invocation<'a, '_, '_>) -> Result<Option<Value<'a>>, EvaluationError> {
    let Some(value) = single_value(call.input)? else { return Ok(None) };
    match call.call.function {
        F::LowBoundary | F::HighBoundary => return boundary(call, &value),
        F::Precision => return Ok(precision_of(&value).map(Value::Integer)),
        F::Comparable => {
            call.evaluator.charge(CONVERSION)?;
            let other = single_value(&call.argument(0)?)?;
            let both = value.to_quantity().zip(other.and_then(|other| other.to_quantity()));
            return Ok(both.map(|(left, right)| Value::Boolean(left.is_comparable(&right))));
        }
        _ => {}
    }
    if let (F::Abs, Value::Quantity(quantity)) = (call.call.function, &value) {
        let number = absolute(quantity.number);
        return Ok(Some(Value::Quantity(Box::new(quantity.as_ref().clone().with(number)))));
    }
    let number = value.as_number().ok_or_else(|| call.invalid("wants a number"))?;
    let whole =
        |number: Option<Number>| number.and_then(|number| i64::try_from(number.mantissa).ok()).and_then(Value::integer);
    Ok(match call.call.function {
        F::Abs => match value {
            Value::Integer(value) => value.checked_abs().and_then(Value::integer),
            _ => Some(Value::Decimal(absolute(number))),
        },
        F::Ceiling => whole(number.rounded_towards(0, true)),
        F::Floor => whole(number.rounded_towards(0, false)),
        F::Truncate => i64::try_from(number.truncated()).ok().and_then(Value::integer),
        F::Round => match call.integer_argument(0)? {
            Some(places) if !(0..=MAX_PLACES).contains(&places) => return Err(call.invalid("wants 0 to 28 places")),
            places => number.rounded(places.unwrap_or(0) as u32).map(Value::Decimal),
        },
        F::Exp => float(number.to_float().exp()),
        F::Ln => float(number.to_float().ln()),
        F::Sqrt => float(number.to_float().sqrt()),
        F::Log => match number_argument(call)? {
            // No logarithm has the base 0: dividing by its limit would say 0.
            Some(base) if base.mantissa > 0 => float(number.to_float().ln() / base.to_float().ln()),
            _ => None,
        },
        F::Power => match (number_argument(call)?, value) {
            (Some(Number { mantissa, scale: 0 }), Value::Integer(base)) if mantissa >= 0 => {
                u32::try_from(mantissa).ok().and_then(|exponent| base.checked_pow(exponent)).and_then(Value::integer)
            }
            (Some(exponent), _) => float(number.to_float().powf(exponent.to_float())),
            (None, _) => None,
        },
        _ => None,
    })
}

fn float<'a>(value: f64) -> Option<Value<'a>> {
    Number::from_float(value).map(Value::Decimal)
}

fn absolute(number: Number) -> Number {
    if number.mantissa < 0 { number.negated() } else { number }
}

fn number_argument(call: &Invocation<'_, '_, '_>) -> Result<Option<Number>, EvaluationError> {
    let value = single_value(&call.argument(0)?)?;
    value.map(|value| value.as_number().ok_or_else(|| call.invalid("wants a number"))).transpose()
}

/// The least (or greatest) value that the written precision of `value` denotes.
fn boundary<'a>(call: &Invocation<'a, '_, '_>, value: &Value<'a>) -> Result<Option<Value<'a>>, EvaluationError> {
    let wanted = call.integer_argument(0)?;
    let high = call.call.function == F::HighBoundary;
    Ok(match value {
        Value::Integer(_) | Value::Decimal(_) => {
            value.as_number().and_then(|number| number_boundary(number, wanted, high)).map(Value::Decimal)
        }
        Value::Quantity(quantity) => number_boundary(quantity.number, wanted, high)
            .map(|number| Value::Quantity(Box::new(quantity.as_ref().clone().with(number)))),
        Value::Date(date) => match wanted.unwrap_or(8) {
            wanted @ 9.. => temporal::boundary(date, wanted, high).map(Value::DateTime),
            wanted => temporal::boundary(date, wanted, high).map(Value::Date),
        },
        Value::DateTime(date) => temporal::boundary(date, wanted.unwrap_or(17), high).map(Value::DateTime),
        Value::Time(time, precision) => {
            let reached = match wanted.unwrap_or(9) {
                2 => Precision::Hour,
                4 => Precision::Minute,
                6 => Precision::Second,
                9 => Precision::Fraction,
                _ => return Ok(None),
            };
            Some(Value::Time(temporal::time_boundary(*time, *precision, high), reached))
        }
        _ => return Err(call.invalid("wants a number, a quantity, a date or a time")),
    })
}

/// Half a unit of the last place below or above; low ends are cut off, high ends rounded, to the places wanted.
fn number_boundary(number: Number, wanted: Option<i64>, high: bool) -> Option<Number> {
    let places =
        u32::try_from(wanted.filter(|places| *places <= MAX_PLACES).or(wanted.is_none().then_some(BOUNDARY_PLACES))?)
            .ok()?;
    let half = Number { mantissa: if high { 5 } else { -5 }, scale: number.scale + 1 };
    let end = number.add(half)?;
    match end.scale.checked_sub(places) {
        Some(excess) if excess > 0 && !high => {
            Some(Number { mantissa: end.mantissa / 10_i128.checked_pow(excess)?, scale: places })
        }
        _ => end.rounded(places),
    }
}
