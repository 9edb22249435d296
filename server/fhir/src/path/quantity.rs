//! Quantities and their units. <http://hl7.org/fhirpath/N1/#quantity>

use std::borrow::Cow;

use super::number::Number;

/// A number with a unit; `calendar` units are words: `day`, `month`.
#[derive(Clone, Debug)]
pub(super) struct Quantity<'a> {
    pub(super) number: Number,
    pub(super) unit: Cow<'a, str>,
    pub(super) calendar: bool,
}

/// Units that convert: name, dimension, factor as text.
const UNITS: [(&str, &str, &str); 42] = [
    ("ms", "time", "0.001"),
    ("s", "time", "1"),
    ("min", "time", "60"),
    ("h", "time", "3600"),
    ("d", "time", "86400"),
    ("wk", "time", "604800"),
    ("millisecond", "time", "0.001"),
    ("second", "time", "1"),
    ("minute", "time", "60"),
    ("hour", "time", "3600"),
    ("day", "time", "86400"),
    ("week", "time", "604800"),
    ("month", "calendar", "1"),
    ("year", "calendar", "12"),
    ("ng", "mass", "0.000000001"),
    ("ug", "mass", "0.000001"),
    ("mg", "mass", "0.001"),
    ("g", "mass", "1"),
    ("kg", "mass", "1000"),
    ("t", "mass", "1000000"),
    ("[lb_av]", "mass", "453.59237"),
    ("[oz_av]", "mass", "28.349523125"),
    ("nm", "length", "0.000000001"),
    ("um", "length", "0.000001"),
    ("mm", "length", "0.001"),
    ("cm", "length", "0.01"),
    ("dm", "length", "0.1"),
    ("m", "length", "1"),
    ("km", "length", "1000"),
    ("[in_i]", "length", "0.0254"),
    ("[ft_i]", "length", "0.3048"),
    ("uL", "volume", "0.000001"),
    ("mL", "volume", "0.001"),
    ("dL", "volume", "0.1"),
    ("L", "volume", "1"),
    ("ml", "volume", "0.001"),
    ("dl", "volume", "0.1"),
    ("l", "volume", "1"),
    ("%", "one", "0.01"),
    ("1", "one", "1"),
    ("mm[Hg]", "pressure", "133.322"),
    ("kPa", "pressure", "1000"),
];

impl<'a> Quantity<'a> {
    /// Both numbers in one unit; nothing where the units do not convert into each other.
    pub(super) fn aligned(&self, other: &Quantity<'_>) -> Option<(Number, Number)> {
        if self.unit == other.unit {
            return Some((self.number, other.number));
        }
        let (left, right) = (conversion(&self.unit)?, conversion(&other.unit)?);
        if left.0 != right.0 {
            return None;
        }
        Some((self.number.multiply(left.1)?, other.number.multiply(right.1)?))
    }

    /// Whether the units convert into each other.
    pub(super) fn is_comparable(&self, other: &Quantity<'_>) -> bool {
        self.aligned(other).is_some()
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

fn conversion(unit: &str) -> Option<(&'static str, Number)> {
    let (_, dimension, factor) = UNITS.iter().find(|row| row.0 == unit)?;
    Some((dimension, Number::parse(factor)?))
}
