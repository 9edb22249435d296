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
            return self.has_known_unit().then_some((self.number, other.number));
        }
        if let (Some(left), Some(right)) = (self.months(), other.months()) {
            return Some((self.number.multiply(left)?, other.number.multiply(right)?));
        }
        // Equal quantities come out equal: the number of the left one is a decimal, so the right one converts exactly.
        Some((self.number, other.in_unit(ucum_code(&self.unit)?)?))
    }

    /// Whether the unit is one of UCUM or of the calendar; nothing can be said of others, not even that they are equal.
    pub(super) fn has_known_unit(&self) -> bool {
        ucum_code(&self.unit).is_none_or(|code| ucum::validate(code).is_ok())
    }

    /// `~`: as `=`, but a year of the calendar is also `a`, and a month `mo`.
    pub(super) fn is_equivalent(&self, other: &Quantity<'_>) -> bool {
        let aligned = self.aligned(other).or_else(|| {
            let mixed = self.calendar != other.calendar;
            mixed.then(|| self.definite().aligned(&other.definite())).flatten()
        });
        aligned.is_some_and(|(left, right)| left.compare(right).is_eq())
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

    /// The product, in base units unless both units are powers of one.
    pub(super) fn times(&self, other: &Quantity<'_>) -> Option<Quantity<'a>> {
        let base = self.in_base_units(other, ucum::multiply)?;
        let number = || self.number.multiply(other.number);
        self.in_power(other, |left, right| left + right, number).or_else(|| from_base(&base))
    }

    /// The quotient, in base units unless both units are powers of one.
    pub(super) fn over(&self, other: &Quantity<'_>) -> Option<Quantity<'a>> {
        let base = self.in_base_units(other, ucum::divide)?;
        let number = || self.number.divide(other.number);
        self.in_power(other, |left, right| left - right, number).or_else(|| from_base(&base))
    }

    fn in_base_units(&self, other: &Quantity<'_>, combine: Combine) -> Option<Canonical> {
        let (left, right) = (self.number.to_decimal(), other.number.to_decimal());
        combine((&left, ucum_code(&self.unit)?), (&right, ucum_code(&other.unit)?)).ok()
    }

    /// `number` in `cm3` where the units are `cm` and `cm2` and their exponents are added.
    fn in_power(
        &self,
        other: &Quantity<'_>,
        combine: fn(i32, i32) -> i32,
        number: impl Fn() -> Option<Number>,
    ) -> Option<Quantity<'a>> {
        let (symbol, left) = power(ucum_code(&self.unit)?)?;
        let (_, right) = power(ucum_code(&other.unit)?).filter(|(other, _)| *other == symbol)?;
        let unit = match combine(left, right) {
            0 => "1".to_owned(),
            1 => symbol.to_owned(),
            exponent => format!("{symbol}{exponent}"),
        };
        ucum::validate(&unit).ok()?;
        Some(Quantity { number: number()?, unit: unit.into(), calendar: false })
    }

    /// The quantity in another unit, as `toQuantity(unit)` gives it: a code, or a word of the calendar, which may be a
    /// plural. Here alone a year has 365 days and a month 30, unless both units are years or months.
    pub(super) fn converted(&self, unit: &str) -> Option<Quantity<'a>> {
        let word = calendar_unit(unit);
        let unit = word.unwrap_or(unit);
        let (from, to) = match (definite_months(&self.unit), definite_months(unit)) {
            (Some(from), Some(to)) => (from, to),
            _ => (code_in_days(&self.unit)?, code_in_days(unit)?),
        };
        let number = convert(self.number, from, to)?;
        Some(Quantity {
            number,
            unit: word.map_or_else(|| Cow::Owned(unit.to_owned()), Cow::Borrowed),
            calendar: word.is_some(),
        })
    }

    /// With years and months of UCUM for those of the calendar.
    fn definite(&self) -> Quantity<'_> {
        let unit = definite_months(&self.unit).unwrap_or(&self.unit);
        Quantity { number: self.number, unit: unit.into(), calendar: false }
    }

    fn in_unit(&self, code: &str) -> Option<Number> {
        convert(self.number, ucum_code(&self.unit)?, code)
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

fn from_base(base: &Canonical) -> Option<Quantity<'static>> {
    let number = Number::parse(base.value.as_str())?;
    Some(Quantity { number, unit: base.code.clone().into(), calendar: false })
}

/// A unit and its exponent; nothing for products, quotients and numbers.
fn power(code: &str) -> Option<(&str, i32)> {
    let symbol = code.trim_end_matches(|last: char| last.is_ascii_digit()).trim_end_matches(['+', '-']);
    if symbol.is_empty() || symbol.contains(['.', '/', '(', '{']) {
        return None;
    }
    let exponent = &code[symbol.len()..];
    Some((symbol, if exponent.is_empty() { 1 } else { exponent.parse().ok()? }))
}

type Combine = fn((&Decimal, &str), (&Decimal, &str)) -> Result<Canonical, UcumError>;

fn convert(number: Number, from: &str, to: &str) -> Option<Number> {
    Number::nearest(&ucum::convert(&number.to_decimal(), from, to).ok()?)
}

/// The code of a year or a month, whose mean length it is, be it of the calendar or not.
fn definite_months(unit: &str) -> Option<&'static str> {
    match unit {
        "year" | "a" => Some("a"),
        "month" | "mo" => Some("mo"),
        _ => None,
    }
}

/// The code of a unit, with the days that conversions take a year and a month of the calendar for.
fn code_in_days(unit: &str) -> Option<&str> {
    match unit {
        "year" => Some("365.d"),
        "month" => Some("30.d"),
        unit => ucum_code(unit),
    }
}

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
