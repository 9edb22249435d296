//! A unit ready for converting many values.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One as _, Signed as _, ToPrimitive as _, Zero as _};

use super::UcumError;
use super::number;
use super::unit::{Scale, Unit};
use crate::decimal::Decimal;

/// Largest exponent of ten, either way, of a value on a scale that is no ratio. (IN-18)
const MAX_SPECIAL_EXPONENT: i32 = 1_000;

/// A unit: its factor is `numerator / denominator × 10^exponent`, the denominator no multiple of 2 or 5, so that it is 1
/// for nearly all units.
pub(super) struct Prepared {
    /// The base units.
    pub(super) code: String,
    unit: Unit,
    numerator: BigInt,
    denominator: BigInt,
    exponent: i32,
    /// The numerator where the denominator is 1 and it is small.
    small: Option<i128>,
}

impl Prepared {
    pub(super) fn new(unit: Unit) -> Prepared {
        let (numerator, denominator, exponent) = without_tens(&unit.factor);
        let small = numerator.to_i128().filter(|_| denominator.is_one());
        Prepared { code: unit.code(), unit, numerator, denominator, exponent, small }
    }

    /// The value in base units.
    pub(super) fn to_base(&self, value: &Decimal) -> Result<Decimal, UcumError> {
        if let (Scale::Ratio, Some(factor)) = (&self.unit.scale, self.small)
            && let Some((mantissa, scale)) = value.to_scaled()
            && let Some(product) = mantissa.checked_mul(factor)
        {
            let exponent = i64::from(self.exponent) - i64::from(scale);
            return number::written(product < 0, &product.unsigned_abs().to_string(), exponent).ok_or_else(too_large);
        }
        if let Scale::Ratio = self.unit.scale {
            let (mantissa, exponent) = number::parts(value);
            return number::rounded(mantissa * &self.numerator, &self.denominator, exponent + self.exponent)
                .ok_or_else(too_large);
        }
        written(&(self.to_ratio(value)? * &self.unit.factor))
    }

    /// The value in `target`, which has the same base units.
    pub(super) fn convert(&self, value: &Decimal, target: &Prepared) -> Result<Decimal, UcumError> {
        if let (Scale::Ratio, Scale::Ratio) = (&self.unit.scale, &target.unit.scale) {
            let (mantissa, exponent) = number::parts(value);
            let numerator = mantissa * &self.numerator * &target.denominator;
            let denominator = &self.denominator * &target.numerator;
            return number::rounded(numerator, &denominator, exponent + self.exponent - target.exponent)
                .ok_or_else(too_large);
        }
        let ratio = self.to_ratio(value)? * &self.unit.factor / &target.unit.factor;
        let result = match &target.unit.scale {
            Scale::Ratio => ratio,
            Scale::Special(function, alpha) => {
                let found = function.value_of(&ratio);
                found.ok_or_else(|| UcumError::at(0, format!("{value} has no value on that scale")))? / alpha
            }
            Scale::Meaningless => return Err(meaningless()),
        };
        written(&result)
    }

    /// The product or quotient of two quantities, in base units.
    pub(super) fn combined(
        &self,
        value: &Decimal,
        other: &Prepared,
        other_value: &Decimal,
        divided: bool,
    ) -> Result<(Decimal, String), UcumError> {
        let mut unit = self.unit.clone();
        unit.combine(&other.unit, divided);
        if !matches!((&self.unit.scale, &other.unit.scale), (Scale::Ratio, Scale::Ratio)) {
            return Err(meaningless());
        }
        let (left, right) = (self.to_ratio(value)?, other.to_ratio(other_value)?);
        if divided && right.is_zero() {
            return Err(UcumError::at(0, "nothing divides by zero"));
        }
        let value = if divided { left / right } else { left * right };
        Ok((written(&(value * &unit.factor))?, unit.code()))
    }

    /// How many of the unit without its function the value is.
    fn to_ratio(&self, value: &Decimal) -> Result<BigRational, UcumError> {
        if !value.is_zero() && value.decimal_places().abs() > MAX_SPECIAL_EXPONENT {
            return Err(too_large());
        }
        let value = number::fraction(value);
        match &self.unit.scale {
            Scale::Ratio => Ok(value),
            Scale::Special(function, alpha) => function
                .to_ratio(&(value * alpha))
                .ok_or_else(|| UcumError::at(0, "the value is outside of the scale of this unit")),
            Scale::Meaningless => Err(meaningless()),
        }
    }
}

fn written(value: &BigRational) -> Result<Decimal, UcumError> {
    number::rounded(value.numer().clone(), value.denom(), 0).ok_or_else(too_large)
}

fn too_large() -> UcumError {
    UcumError::at(0, "the number has too many digits to be written in that unit")
}

fn meaningless() -> UcumError {
    UcumError::at(0, "a special unit such as Cel or [pH] has no meaning within a product or with an exponent")
}

/// The factor with powers of ten apart.
fn without_tens(factor: &BigRational) -> (BigInt, BigInt, i32) {
    let (mut numerator, mut denominator) = (factor.numer().clone(), factor.denom().clone());
    let mut exponent = 0;
    for (divisor, complement) in [(2_u32, 5_u32), (5, 2)] {
        while (&denominator % divisor).is_zero() {
            denominator /= divisor;
            numerator *= complement;
            exponent -= 1;
        }
    }
    while !numerator.is_zero() && (&numerator % 10_u32).is_zero() {
        numerator /= 10_u32;
        exponent += 1;
    }
    debug_assert!(denominator.is_positive(), "fractions are kept with positive denominators");
    (numerator, denominator, exponent)
}
