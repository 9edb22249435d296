//! Values of FHIRPath's own types, and how they compare. <http://hl7.org/fhirpath/N1/#equality>

use std::borrow::Cow;
use std::cmp::Ordering;

use super::number::Number;
pub(super) use super::quantity::{Quantity, calendar_unit};
use super::temporal;
pub(super) use super::text_value::Text;
use super::types::SystemType;
use crate::date::{DateTime, Precision, Time};
use crate::json::Json;
use crate::ucum;

/// A value of a system type.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Boolean(bool),
    Integer(i64),
    Decimal(Number),
    String(Text<'a>),
    Date(DateTime),
    DateTime(DateTime),
    Time(Time, Precision),
    Quantity(Box<Quantity<'a>>),
    /// What `type()` gives.
    Type {
        namespace: &'static str,
        name: Cow<'a, str>,
    },
}

/// Steps that a conversion between units counts as.
pub(super) const CONVERSION: usize = 100;

/// Two values that have no order.
pub(super) struct Incomparable;

impl<'a> Value<'a> {
    pub(super) fn quantity(number: Number, unit: impl Into<Cow<'a, str>>, calendar: bool) -> Value<'a> {
        Value::Quantity(Box::new(Quantity { number, unit: unit.into(), calendar }))
    }

    /// An integer; nothing beyond the 32 bits that it has, as overflow is to be empty.
    pub(super) fn integer(value: i64) -> Option<Value<'a>> {
        i32::try_from(value).is_ok().then_some(Value::Integer(value))
    }

    pub(super) fn text(text: impl Into<Text<'a>>) -> Value<'a> {
        Value::String(text.into())
    }

    /// The same, without a copy of its texts.
    pub(super) fn borrowed(&self) -> Value<'_> {
        match self {
            Value::String(text) => Value::text(&**text),
            Value::Quantity(quantity) => Value::quantity(quantity.number, &*quantity.unit, quantity.calendar),
            other => other.clone(),
        }
    }

    /// Bytes of a text.
    pub(super) fn size(&self) -> usize {
        if let Value::String(text) = self { text.len() } else { 0 }
    }

    /// Steps that comparing it with another value takes, besides one.
    pub(super) fn cost_with(&self, other: &Value<'_>) -> usize {
        match (self, other) {
            (Value::String(left), Value::String(right)) => left.len().min(right.len()) / 64,
            (Value::Quantity(left), Value::Quantity(right)) if left.unit == right.unit => 10 + left.unit.len() / 64,
            (Value::Quantity(_), _) | (_, Value::Quantity(_)) => CONVERSION,
            _ => 0,
        }
    }

    pub(super) fn system_type(&self) -> SystemType {
        match self {
            Value::Boolean(_) => SystemType::Boolean,
            Value::Integer(_) => SystemType::Integer,
            Value::Decimal(_) => SystemType::Decimal,
            Value::String(_) => SystemType::String,
            Value::Date(_) => SystemType::Date,
            Value::DateTime(_) => SystemType::DateTime,
            Value::Time(..) => SystemType::Time,
            Value::Quantity(_) => SystemType::Quantity,
            Value::Type { .. } => SystemType::Any,
        }
    }

    /// The value of an integer or decimal.
    pub(super) fn as_number(&self) -> Option<Number> {
        match self {
            Value::Integer(value) => Some(Number::from(*value)),
            Value::Decimal(value) => Some(*value),
            _ => None,
        }
    }

    /// A quantity, or a number as quantity of unit 1.
    pub(super) fn to_quantity(&self) -> Option<Quantity<'a>> {
        match self {
            Value::Quantity(quantity) => Some((**quantity).clone()),
            _ => Some(Quantity { number: self.as_number()?, unit: "1".into(), calendar: false }),
        }
    }

    /// What `toString()` gives.
    pub(super) fn to_text(&self) -> Text<'a> {
        match self {
            Value::Boolean(value) => if *value { "true" } else { "false" }.into(),
            Value::Integer(value) => value.to_string().into(),
            Value::Decimal(value) => value.to_decimal().as_str().to_owned().into(),
            Value::String(text) => text.clone(),
            Value::Date(value) | Value::DateTime(value) => temporal::text(value).into(),
            Value::Time(value, precision) => temporal::time_text(*value, *precision).into(),
            Value::Quantity(quantity) => quantity.text().into(),
            Value::Type { namespace, name } => format!("{namespace}.{name}").into(),
        }
    }

    pub(super) fn to_json(&self) -> Json {
        match self {
            Value::Boolean(value) => Json::Bool(*value),
            Value::Integer(value) => Json::from(*value),
            Value::Decimal(value) => Json::Number(value.to_decimal().as_str().into()),
            Value::Quantity(quantity) => {
                let system =
                    if quantity.calendar { "http://hl7.org/fhirpath/CodeSystem/calendar-units" } else { ucum::SYSTEM };
                crate::object! {
                    "value": Json::Number(quantity.number.to_decimal().as_str().into()),
                    "unit": &*quantity.unit,
                    "system": system,
                    "code": &*quantity.unit,
                }
            }
            Value::Type { namespace, name } => crate::object! { "namespace": *namespace, "name": &**name },
            _ => Json::from(self.to_text().to_string()),
        }
    }

    /// `=`; nothing where it cannot be said.
    pub(super) fn equals(&self, other: &Value<'_>) -> Option<bool> {
        match (self, other) {
            (Value::Boolean(left), Value::Boolean(right)) => Some(left == right),
            (Value::Type { namespace, name }, Value::Type { namespace: other_namespace, name: other_name }) => {
                Some(namespace == other_namespace && name == other_name)
            }
            _ if self.kind() != other.kind() && self.to_quantity().is_none() => Some(false),
            _ => match self.order(other) {
                Ok(order) => order.map(|order| order == Ordering::Equal),
                Err(Incomparable) => Some(false),
            },
        }
    }

    /// `~`
    pub(super) fn is_equivalent(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::String(left), Value::String(right)) => normalised(left) == normalised(right),
            (Value::Quantity(left), Value::Quantity(right)) => left.is_equivalent(right),
            _ => match (self.as_number(), other.as_number()) {
                (Some(left), Some(right)) => {
                    let scale = left.trimmed().scale.min(right.trimmed().scale);
                    let rounded = |number: Number| number.rounded(scale).unwrap_or(number);
                    rounded(left).compare(rounded(right)) == Ordering::Equal
                }
                _ => self.equals(other) == Some(true),
            },
        }
    }

    /// `<`, `>`; nothing where it cannot be said.
    pub(super) fn order(&self, other: &Value<'_>) -> Result<Option<Ordering>, Incomparable> {
        match (self, other) {
            (Value::String(left), Value::String(right)) => Ok(Some((**left).cmp(right))),
            (Value::Time(left, left_precision), Value::Time(right, right_precision)) => {
                Ok(temporal::compare_times((*left, *left_precision), (*right, *right_precision)))
            }
            (Value::Date(left) | Value::DateTime(left), Value::Date(right) | Value::DateTime(right)) => {
                Ok(temporal::compare(left, right))
            }
            _ => {
                if let (Some(left), Some(right)) = (self.as_number(), other.as_number()) {
                    return Ok(Some(left.compare(right)));
                }
                let (left, right) = (self.to_quantity().ok_or(Incomparable)?, other.to_quantity().ok_or(Incomparable)?);
                Ok(left.aligned(&right).map(|(left, right)| left.compare(right)))
            }
        }
    }

    /// Values of one kind compare with each other.
    fn kind(&self) -> u8 {
        match self {
            Value::Boolean(_) => 0,
            Value::Integer(_) | Value::Decimal(_) | Value::Quantity(_) => 1,
            Value::String(_) => 2,
            Value::Date(_) | Value::DateTime(_) => 3,
            Value::Time(..) => 4,
            Value::Type { .. } => 5,
        }
    }
}

/// A literal after `@`: with `T` it is a date and time, else a date.
pub(super) fn parse_date_literal(text: &str) -> Option<Value<'static>> {
    match text.strip_suffix('T') {
        Some(date) => DateTime::parse_partial(date).map(Value::DateTime),
        None if text.contains('T') => DateTime::parse_partial(text).map(Value::DateTime),
        None => DateTime::parse_partial(text).map(Value::Date),
    }
}

/// A time of day.
pub(super) fn parse_time(text: &str) -> Option<Value<'static>> {
    Time::parse_partial(text).map(|(time, precision)| Value::Time(time, precision))
}

/// Lower case, with spaces for tabs and ends of lines: those count alike, but none is left out.
fn normalised(text: &str) -> String {
    text.to_lowercase().replace(['\t', '\r', '\n'], " ")
}
