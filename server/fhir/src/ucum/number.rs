//! Between decimals and fractions of integers.

use std::borrow::Cow;

use num_bigint::{BigInt, Sign};
use num_rational::BigRational;

use crate::decimal::Decimal;

/// Significant digits of a result.
const DIGITS: usize = 24;
/// Largest exponent of ten that is written, either way.
const MAX_EXPONENT: i64 = 5_000;

/// The value as mantissa and exponent of ten.
pub(super) fn parts(value: &Decimal) -> (BigInt, i32) {
    if let Some((mantissa, scale)) = value.to_scaled() {
        return (mantissa.into(), -(scale as i32));
    }
    let text = value.as_str();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let places = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let exponent = exponent.parse::<i32>().unwrap_or_default() - places as i32;
    (mantissa.replace('.', "").parse().unwrap_or_default(), exponent)
}

/// The value as a fraction.
pub(crate) fn fraction(value: &Decimal) -> BigRational {
    let (mantissa, exponent) = parts(value);
    let power = BigInt::from(10).pow(exponent.unsigned_abs());
    if exponent < 0 { BigRational::new(mantissa, power) } else { BigRational::from(mantissa * power) }
}

/// `numerator / denominator × 10^exponent`, rounded half away from zero to 24 digits; nothing if that is too large to be
/// written.
pub(crate) fn rounded(numerator: BigInt, denominator: &BigInt, exponent: i32) -> Option<Decimal> {
    let lacking = DIGITS as i64 + 3 - digits(&numerator) + digits(denominator);
    let shift = u32::try_from(lacking).unwrap_or(0);
    let quotient = numerator * BigInt::from(10).pow(shift) / denominator;
    let negative = quotient.sign() == Sign::Minus;
    written(negative, &quotient.magnitude().to_string(), i64::from(exponent) - i64::from(shift))
}

/// These digits `× 10^exponent`, rounded to 24 of them.
pub(super) fn written(negative: bool, digits: &str, exponent: i64) -> Option<Decimal> {
    let (mut kept, mut exponent) = (Cow::Borrowed(digits), exponent);
    if let Some(first_dropped) = digits.as_bytes().get(DIGITS) {
        let up = u128::from(*first_dropped >= b'5');
        kept = (digits[..DIGITS].parse::<u128>().ok()? + up).to_string().into();
        exponent += (digits.len() - DIGITS) as i64;
    }
    let significant = kept.trim_end_matches('0');
    if significant.is_empty() {
        return Some(Decimal::from(0));
    }
    exponent += (kept.len() - significant.len()) as i64;
    (exponent.abs() <= MAX_EXPONENT).then(|| Decimal::from_parts(negative, significant, exponent as i32))
}

/// About how many decimal digits: as many, or one more.
fn digits(number: &BigInt) -> i64 {
    (number.bits() as i64 * 30_103) / 100_000 + 1
}
