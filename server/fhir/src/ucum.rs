//! Units of measure: UCUM codes, validated and converted exactly. <https://ucum.org/ucum>
//!
//! ```text
//! code ─ grammar ─▶ term ─ unit ─▶ factor × base units ─ number ─▶ decimal
//!                    └── essence: the table of units ──┘
//! ```
//!
//! Codes are read case-sensitively (`c/s`). Factors are fractions of integers, so that nothing is lost until the result is
//! written with 24 significant digits; the functions of special units (`Cel`, `[pH]`, `dB`) are computed in integers too,
//! so that every machine gives the same digits. Codes are bounded in length, depth and size of factor. (IN-18)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::decimal::Decimal;

mod display;
mod essence;
mod grammar;
pub(crate) mod number;
mod prepared;
mod series;
mod special;
mod unit;

#[cfg(test)]
mod tests;

use prepared::Prepared;

/// The code system of UCUM.
pub const SYSTEM: &str = "http://unitsofmeasure.org";

/// Most codes that are kept parsed.
const MAX_CACHED: usize = 4_096;

/// Why a code is not valid, or a value cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {offset})")]
pub struct UcumError {
    /// Offset in bytes from the start of the code.
    pub offset: usize,
    /// What is wrong, and what would be right where that is known.
    pub message: String,
}

/// A quantity in base units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// The value, rounded to 24 significant digits, without zeros at the end of its fraction.
    pub value: Decimal,
    /// The base units with their exponents in one fixed spelling and order: `g.m-1.s-2`, `1` for a plain number.
    pub code: String,
}

/// Whether `code` is a UCUM code.
pub fn validate(code: &str) -> Result<(), UcumError> {
    prepared(code).map(drop)
}

/// The quantity in base units: equal quantities in whatever units have equal values and codes.
///
/// Fails for codes that are not valid, for special units within a product (`Cel/min` has no meaning), and for values
/// outside of the function of a special unit.
pub fn canonical(value: &Decimal, code: &str) -> Result<Canonical, UcumError> {
    let unit = prepared(code)?;
    Ok(Canonical { value: unit.to_base(value)?, code: unit.code.clone() })
}

/// The value in another unit of the same dimension, rounded to 24 significant digits.
pub fn convert(value: &Decimal, from: &str, to: &str) -> Result<Decimal, UcumError> {
    let (source, target) = (prepared(from)?, prepared(to)?);
    if from == to {
        return Ok(value.clone());
    }
    if source.code != target.code {
        let message = format!("{from} does not convert to {to}: it is {}, not {}", source.code, target.code);
        return Err(UcumError::at(0, message));
    }
    source.convert(value, &target)
}

/// The product of two quantities, in base units.
pub fn multiply(left: (&Decimal, &str), right: (&Decimal, &str)) -> Result<Canonical, UcumError> {
    combined(left, right, false)
}

/// The quotient of two quantities, in base units.
pub fn divide(left: (&Decimal, &str), right: (&Decimal, &str)) -> Result<Canonical, UcumError> {
    combined(left, right, true)
}

/// The code in words: `(milligram) / (deciliter)`.
pub fn display(code: &str) -> Result<String, UcumError> {
    Ok(display::term(&grammar::parse(code)?))
}

impl UcumError {
    fn at(offset: usize, message: impl Into<String>) -> UcumError {
        UcumError { offset, message: message.into() }
    }
}

fn combined(left: (&Decimal, &str), right: (&Decimal, &str), divided: bool) -> Result<Canonical, UcumError> {
    let (first, second) = (prepared(left.1)?, prepared(right.1)?);
    let (value, code) = first.combined(left.0, &second, right.0, divided)?;
    Ok(Canonical { value, code })
}

/// The code ready for computing, from the cache where it is known.
fn prepared(code: &str) -> Result<Arc<Prepared>, UcumError> {
    static CACHE: OnceLock<Mutex<HashMap<Box<str>, Arc<Prepared>>>> = OnceLock::new();
    let cache = CACHE.get_or_init(Mutex::default);
    if let Some(found) = cache.lock().unwrap_or_else(PoisonError::into_inner).get(code) {
        return Ok(Arc::clone(found));
    }
    let made = Arc::new(Prepared::new(unit::of_term(&grammar::parse(code)?)?));
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= MAX_CACHED {
        // Real data names a few hundred codes; whoever sends thousands pays for parsing them.
        cache.clear();
    }
    cache.insert(code.into(), Arc::clone(&made));
    Ok(made)
}
