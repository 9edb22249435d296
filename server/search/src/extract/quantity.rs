//! Quantities of data types. <https://hl7.org/fhir/R4/search.html#quantity>
//!
//! `Quantity` and its specialisations as they are, open to the side that a `comparator` names; `Money` with the currency as a code of ISO 4217, `Range` from end to
//! end, `SampledData` by the bounds of its points.

use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::ucum;

use super::number::decimal;
use crate::entry::{Extent, IndexValue};

/// System of currency codes.
const CURRENCIES: &str = "urn:iso:std:iso:4217";

pub(super) fn values(type_name: &str, json: &Json, values: &mut Vec<IndexValue>) {
    match type_name {
        "Money" => values.extend(money(json)),
        "Range" => range(json, values),
        "SampledData" => values.extend(series(json)),
        _ => values.extend(measured(json).map(|extent| Unit::of(json).holding(extent))),
    }
}

/// The same quantity in canonical units, as value and unit, if its unit is one of UCUM.
pub(super) fn canonical(value: &IndexValue) -> Option<(Extent, String)> {
    let IndexValue::Quantity { value, system, code, .. } = value else { return None };
    if system != ucum::SYSTEM {
        return None;
    }
    let convert = |number: &Decimal| ucum::canonical(number, code).ok();
    let (extent, unit) = match value {
        Extent::Point(number) => {
            let canonical = convert(number)?;
            (Extent::Point(canonical.value), canonical.code)
        }
        Extent::Range { low: Some(low), high: Some(high) } => {
            let (low, high) = (convert(low)?, convert(high)?);
            (Extent::between(Some(low.value), Some(high.value))?, low.code)
        }
        Extent::Range { low, high } => {
            let end = convert(low.as_ref().or(high.as_ref())?)?;
            // What has no upper end has no lower one in a unit that counts the other way.
            let is_low = low.is_some() != turns_around(code);
            let ends = if is_low { (Some(end.value), None) } else { (None, Some(end.value)) };
            (Extent::between(ends.0, ends.1)?, end.code)
        }
    };
    Some((extent, unit))
}

/// Whether more of a unit is less of the canonical one, as with pH.
fn turns_around(code: &str) -> bool {
    let canonical = |number: i64| ucum::canonical(&Decimal::from(number), code).ok().map(|it| it.value);
    canonical(1).zip(canonical(2)).is_some_and(|(one, two)| one > two)
}

/// A quantity in canonical units as an entry of its own.
pub(super) fn canonical_entry(value: &IndexValue) -> Option<IndexValue> {
    let (value, code) = canonical(value)?;
    Some(IndexValue::Quantity { value, system: ucum::SYSTEM.to_owned(), code, unit: String::new() })
}

/// Unit system, coded unit, and unit as written for people.
#[derive(Clone, PartialEq)]
struct Unit([String; 3]);

impl Unit {
    fn of(json: &Json) -> Self {
        Unit(["system", "code", "unit"].map(|name| json.str(name).unwrap_or_default().to_owned()))
    }

    /// The unit of two ends, one of which may state none; None if they differ.
    fn of_both(low: Unit, high: Unit) -> Option<Self> {
        let is_none = |unit: &Unit| unit.0.iter().all(String::is_empty);
        let is_same = |[system, code, _]: &[String; 3]| !code.is_empty() && [system, code] == [&high.0[0], &high.0[1]];
        if is_none(&high) || low == high || is_same(&low.0) {
            return Some(low);
        }
        is_none(&low).then_some(high)
    }

    fn holding(self, value: Extent) -> IndexValue {
        let Unit([system, code, unit]) = self;
        IndexValue::Quantity { value, system, code, unit }
    }
}

fn value(json: &Json) -> Option<Decimal> {
    decimal(json.get("value")?)
}

/// The value, or all that it may be: "how to understand the value" changes its meaning, so `<5` is not 5. To be less, or no
/// more, is the same here. <https://hl7.org/fhir/R4/datatypes-definitions.html#Quantity.comparator>
fn measured(json: &Json) -> Option<Extent> {
    let value = value(json)?;
    match json.str("comparator") {
        Some("<" | "<=") => Extent::between(None, Some(value)),
        Some(">" | ">=") => Extent::between(Some(value), None),
        _ => Some(Extent::Point(value)),
    }
}

fn money(json: &Json) -> Option<IndexValue> {
    let value = Extent::Point(value(json)?);
    let code = json.str("currency").unwrap_or_default().to_owned();
    let system = if code.is_empty() { String::new() } else { CURRENCIES.to_owned() };
    Some(IndexValue::Quantity { value, system, code, unit: String::new() })
}

/// Ends in different units, which R4 forbids, are not compared with each other: each bounds what is said in its unit.
fn range(json: &Json, values: &mut Vec<IndexValue>) {
    let end = |name: &str| json.get(name).and_then(|end| Some((value(end)?, Unit::of(end))));
    let mut add = |unit: Unit, low, high| values.extend(Extent::between(low, high).map(|value| unit.holding(value)));
    match (end("low"), end("high")) {
        (Some((low, unit)), Some((high, other))) => {
            if let Some(unit) = Unit::of_both(unit.clone(), other.clone()) {
                add(unit, Some(low), Some(high));
            } else {
                add(unit, Some(low), None);
                add(other, None, Some(high));
            }
        }
        (Some((low, unit)), None) => add(unit, Some(low), None),
        (None, Some((high, unit))) => add(unit, None, Some(high)),
        (None, None) => {}
    }
}

/// "Just search on the bounds of the values in sampled data", says R4 of `value-quantity`: its limits, and where it states
/// none the least and the greatest of its points, each times the factor and added to the origin.
fn series(json: &Json) -> Option<IndexValue> {
    let number = |name: &str| json.get(name).and_then(decimal);
    let (lower, upper) = (number("lowerLimit"), number("upperLimit"));
    let [least, greatest] = if lower.is_some() && upper.is_some() { [None, None] } else { points(json) };
    let unit = json.get("origin").map_or_else(|| Unit(Default::default()), Unit::of);
    Some(unit.holding(Extent::between(lower.or(least), upper.or(greatest))?))
}

/// The least and the greatest point. What is not a number (`E`, `L`, `U`) is none.
fn points(json: &Json) -> [Option<Decimal>; 2] {
    let data = json.str("data").unwrap_or_default();
    let mut bounds: Option<(Decimal, Decimal)> = None;
    for point in data.split_ascii_whitespace().filter_map(Decimal::parse) {
        bounds = Some(match bounds {
            None => (point.clone(), point),
            Some((least, greatest)) if point < least => (point, greatest),
            Some((least, greatest)) if point > greatest => (least, point),
            Some(both) => both,
        });
    }
    let factor = json.get("factor").and_then(decimal);
    let origin = json.at(&["origin", "value"]).and_then(decimal);
    let measured = |point: Decimal| {
        let (factor, origin) = (factor.as_ref(), origin.as_ref());
        let (factor, places) = factor.map_or(Some((1, 0)), Decimal::to_scaled)?;
        let (point, more) = point.to_scaled()?;
        sum((point.checked_mul(factor)?, places + more), origin.map_or(Some((0, 0)), Decimal::to_scaled)?)
    };
    let Some((Some(one), Some(other))) = bounds.map(|(least, greatest)| (measured(least), measured(greatest))) else {
        return [None, None];
    };
    // A negative factor turns them around.
    [Some(one.clone().min(other.clone())), Some(one.max(other))]
}

/// The sum of two numbers, each a mantissa and its decimal places.
fn sum((left, places): (i128, u32), (right, more): (i128, u32)) -> Option<Decimal> {
    let scale = places.max(more);
    let to_scale = |number: i128, places: u32| number.checked_mul(10_i128.checked_pow(scale - places)?);
    Some(Decimal::from_scaled(to_scale(left, places)?.checked_add(to_scale(right, more)?)?, scale))
}
