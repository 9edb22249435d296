//! Quantities and their units. <http://hl7.org/fhirpath/N1/#quantity>

use std::borrow::Cow;

use super::number::Number;
use crate::decimal::Decimal;
use crate::ucum::{self, Canonical, UcumError};

/// A number with a unit; `calendar` units are words: `day`, `month`.
#[derive(Clone, Debug)]
pub(super) struct Quantity<'a> {
    pub(super) number: Number,
    pub(super) unit: Cow<'a, str>,
    pub(super) calendar: bool,
}

impl<'a> Quantity<'a> {
    /// Both numbers in one unit; nothing where the units do not convert into each other.
    pub(super) fn aligned(&self, other: &Quantity<'_>) -> Option<(Number, Number)> {
        if self.unit == other.unit {
            return Some((self.number, other.number));
        }
        if let (Some(left), Some(right)) = (self.months(), other.months()) {
            return Some((self.number.multiply(left)?, other.number.multiply(right)?));
        }
        // Equal quantities come out equal: the number of the left one is a decimal, so the right one converts exactly.
        Some((self.number, other.in_unit(ucum_code(&self.unit)?)?))
    }

    /// Whether the units convert into each other.
    pub(super) fn is_comparable(&self, other: &Quantity<'_>) -> bool {
        self.aligned(other).is_some()
    }

    /// The sum, in the smaller of both units.
    pub(super) fn plus(self, other: Quantity<'a>) -> Option<Quantity<'a>> {
        if self.unit == other.unit {
            return Some(Quantity { number: self.number.add(other.number)?, ..self });
        }
        let one = Quantity { number: Number::from(1), ..self.clone() };
        let (_, ratio) = other.aligned(&one)?;
        let (smaller, larger) = if ratio.compare(Number::from(1)).is_lt() { (self, other) } else { (other, self) };
        let (left, right) = smaller.aligned(&larger)?;
        Some(Quantity { number: left.add(right)?, ..smaller })
    }

    pub(super) fn negated(self) -> Quantity<'a> {
        Quantity { number: self.number.negated(), ..self }
    }

    /// The product, in base units.
    pub(super) fn times(&self, other: &Quantity<'_>) -> Option<Quantity<'a>> {
        self.combined(other, ucum::multiply)
    }

    /// The quotient, in base units.
    pub(super) fn over(&self, other: &Quantity<'_>) -> Option<Quantity<'a>> {
        self.combined(other, ucum::divide)
    }

    fn combined(&self, other: &Quantity<'_>, combine: Combine) -> Option<Quantity<'a>> {
        let (left, right) = (self.number.to_decimal(), other.number.to_decimal());
        let result = combine((&left, ucum_code(&self.unit)?), (&right, ucum_code(&other.unit)?)).ok()?;
        let number = Number::parse(result.value.as_str())?;
        Some(Quantity { number, unit: result.code.into(), calendar: false })
    }

    /// The quantity in another unit, as `toQuantity(unit)` gives it.
    pub(super) fn converted(&self, unit: &str) -> Option<Quantity<'a>> {
        let number = self.in_unit(ucum_code(unit)?)?;
        Some(Quantity { number, unit: Cow::Owned(unit.to_owned()), calendar: false })
    }

    fn in_unit(&self, code: &str) -> Option<Number> {
        let converted = ucum::convert(&self.number.to_decimal(), ucum_code(&self.unit)?, code).ok()?;
        Number::nearest(&converted)
    }

    /// How many months the unit has, if it is one of the calendar: those have no fixed length in days.
    fn months(&self) -> Option<Number> {
        match &*self.unit {
            "month" => Some(Number::from(1)),
            "year" => Some(Number::from(12)),
            _ => None,
        }
    }

    pub(super) fn with(self, number: Number) -> Quantity<'a> {
        Quantity { number, ..self }
    }

    /// `1 day`, `1 'mg'`.
    pub(super) fn text(&self) -> String {
        let number = self.number.to_decimal();
        if self.calendar { format!("{number} {}", self.unit) } else { format!("{number} '{}'", self.unit) }
    }
}

/// The singular of a calendar unit.
pub(super) fn calendar_unit(word: &str) -> Option<&'static str> {
    const WORDS: [&str; 8] = ["year", "month", "week", "day", "hour", "minute", "second", "millisecond"];
    let singular = word.strip_suffix('s').unwrap_or(word);
    WORDS.into_iter().find(|unit| *unit == singular)
}

type Combine = fn((&Decimal, &str), (&Decimal, &str)) -> Result<Canonical, UcumError>;

/// The code of a unit; calendar units of fixed length have one, months and years do not.
fn ucum_code(unit: &str) -> Option<&str> {
    match unit {
        "month" | "year" => None,
        "week" => Some("wk"),
        "day" => Some("d"),
        "hour" => Some("h"),
        "minute" => Some("min"),
        "second" => Some("s"),
        "millisecond" => Some("ms"),
        code => Some(code),
    }
}
