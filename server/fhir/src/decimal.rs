//! Decimal numbers that keep their written form. <https://hl7.org/fhir/R4/datatypes.html#decimal> (IN-08)
//!
//! `1.00` and `1.0` are equal as numbers and differ as text: comparison is exact and numeric, precision is read from
//! the text. No binary floating point is involved anywhere.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Longest text that is accepted: an index row of PostgreSQL holds no more than 2,700 bytes.
const MAX_LENGTH: usize = 1_000;
/// Largest magnitude of a written exponent.
const MAX_EXPONENT: i32 = 5_000;
/// Added to exponents in sort keys, so that they are positive and have five digits.
const KEY_BIAS: i32 = 40_000;

/// A decimal number as written.
#[derive(Clone, Debug)]
pub struct Decimal {
    text: Box<str>,
    negative: bool,
    /// All digits of the mantissa as written, without leading zeros; empty for zero.
    digits: Box<str>,
    /// The value is `digits × 10^exponent`.
    exponent: i32,
}

impl Decimal {
    /// A sort key below those of all numbers.
    pub const LEAST_KEY: &str = "0";
    /// A sort key above those of all numbers.
    pub const GREATEST_KEY: &str = "3";

    /// Reads a JSON number; None for other text, and for numbers too long or with an exponent beyond ±5000.
    pub fn parse(text: &str) -> Option<Decimal> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, written_exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || (whole.len() > 1 && whole.starts_with('0'))
            || !all_digits(whole)
            || !all_digits(fraction)
        {
            return None;
        }
        let digits = format!("{whole}{fraction}").trim_start_matches('0').into();
        Some(Decimal { text: text.into(), negative, digits, exponent: written_exponent - fraction.len() as i32 })
    }

    /// The number as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value as `mantissa × 10^-scale`, precision kept, if it fits.
    pub fn to_scaled(&self) -> Option<(i128, u32)> {
        let magnitude = if self.is_zero() { 0 } else { self.digits.parse::<i128>().ok()? };
        let signed = if self.negative { -magnitude } else { magnitude };
        match u32::try_from(-self.exponent) {
            Ok(scale) => Some((signed, scale)),
            Err(_) => Some((signed.checked_mul(10_i128.checked_pow(self.exponent.unsigned_abs())?)?, 0)),
        }
    }

    /// The number `mantissa × 10^-scale` in plain notation.
    pub fn from_scaled(mantissa: i128, scale: u32) -> Decimal {
        Self::from_parts(mantissa < 0, &mantissa.unsigned_abs().to_string(), -(scale as i32))
    }

    /// How many digits are written after the decimal point (negative: the last written digit stands for tens, …).
    pub fn decimal_places(&self) -> i32 {
        -self.exponent
    }

    /// Whether the value is 0.
    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// ASCII text whose order is the numeric order: equal numbers have equal keys. Digits and the letter `z` only,
    /// so that every collation agrees with byte order.
    pub fn sort_key(&self) -> String {
        let significant = self.digits.trim_end_matches('0');
        if significant.is_empty() {
            return "1".to_owned();
        }
        let order = self.exponent + self.digits.len() as i32;
        if self.negative {
            let complement = |byte: u8| char::from(b'9' - (byte - b'0'));
            let digits: String = significant.bytes().map(complement).collect();
            format!("0{:05}{digits}z", KEY_BIAS - order)
        } else {
            format!("2{:05}{significant}", KEY_BIAS + order)
        }
    }

    /// The range that the written precision denotes: half a unit of the last digit around the value.
    pub fn implicit_range(&self) -> (Decimal, Decimal) {
        let outer = Self::from_parts(self.negative, &format!("{}5", self.digits), self.exponent - 1);
        let inner = match decrement(&self.digits) {
            Some(less) => Self::from_parts(self.negative, &format!("{less}5"), self.exponent - 1),
            None => Self::from_parts(!self.negative, "5", self.exponent - 1),
        };
        if self.negative { (outer, inner) } else { (inner, outer) }
    }

    /// The value minus and plus 10 % of its magnitude, for the search prefix `ap`.
    pub fn widened(&self) -> (Decimal, Decimal) {
        let inner = Self::from_parts(self.negative, &multiply(&self.digits, 9), self.exponent - 1);
        let outer = Self::from_parts(self.negative, &multiply(&self.digits, 11), self.exponent - 1);
        if self.negative { (outer, inner) } else { (inner, outer) }
    }

    /// A number of computed parts, in plain notation as long as that is short.
    pub(crate) fn from_parts(negative: bool, digits: &str, exponent: i32) -> Decimal {
        let digits = digits.trim_start_matches('0');
        let sign = if negative && !digits.is_empty() { "-" } else { "" };
        let shown = if digits.is_empty() { "0" } else { digits };
        let places = -exponent;
        let text = if exponent > 20 || places > MAX_EXPONENT {
            format!("{sign}{shown}e{exponent}")
        } else if exponent >= 0 {
            let zeros = if digits.is_empty() { 0 } else { exponent as usize };
            format!("{sign}{shown}{}", "0".repeat(zeros))
        } else {
            let padded = format!("{shown:0>width$}", width = places as usize + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places as usize);
            format!("{sign}{whole}.{fraction}")
        };
        Decimal { text: text.into(), negative: !sign.is_empty(), digits: digits.into(), exponent }
    }

    fn sign(&self) -> i32 {
        match (self.is_zero(), self.negative) {
            (true, _) => 0,
            (_, true) => -1,
            _ => 1,
        }
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Decimal {
        Decimal::from_scaled(value.into(), 0)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_sign = self.sign().cmp(&other.sign());
        if by_sign != Ordering::Equal || self.is_zero() {
            return by_sign;
        }
        let order = |number: &Decimal| number.exponent + number.digits.len() as i32;
        let significant = |number: &Decimal| number.digits.trim_end_matches('0').to_owned();
        let by_magnitude = order(self).cmp(&order(other)).then_with(|| significant(self).cmp(&significant(other)));
        if self.negative { by_magnitude.reverse() } else { by_magnitude }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sort_key().hash(state);
    }
}

fn parse_exponent(text: &str) -> Option<i32> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.trim_start_matches('0');
    let magnitude =
        if magnitude.is_empty() { 0 } else { magnitude.parse().ok().filter(|value| *value <= MAX_EXPONENT)? };
    Some(if negative { -magnitude } else { magnitude })
}

/// One less; None for zero.
fn decrement(digits: &str) -> Option<String> {
    let last_nonzero = digits.bytes().rposition(|byte| byte != b'0')?;
    let mut result = digits.as_bytes().to_vec();
    result[last_nonzero] -= 1;
    result[last_nonzero + 1..].fill(b'9');
    String::from_utf8(result).ok()
}

fn multiply(digits: &str, factor: u32) -> String {
    let mut reversed = Vec::with_capacity(digits.len() + 2);
    let mut carry = 0;
    for byte in digits.bytes().rev() {
        carry += u32::from(byte - b'0') * factor;
        reversed.push((carry % 10) as u8 + b'0');
        carry /= 10;
    }
    while carry > 0 {
        reversed.push((carry % 10) as u8 + b'0');
        carry /= 10;
    }
    reversed.iter().rev().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a decimal"))
    }

    #[test]
    fn grammar() {
        for good in
            ["0", "-0", "1.00", "1e2", "1E+2", "-1.5e-10", "0.000", "123456789012345678901234567890.1", "1e5000"]
        {
            assert_eq!(decimal(good).as_str(), good);
        }
        for bad in [
            "", "-", "01", "+1", ".5", "1.", "1e", "1e+", "NaN", "Infinity", "0x1", "1 ", " 1", "1e5001", "1e400000",
            "1_0", "１",
        ] {
            assert!(Decimal::parse(bad).is_none(), "{bad}");
        }
        let longest = "9".repeat(1_000);
        assert!(decimal(&longest).sort_key().len() < 2_000, "it fits into an index row");
        assert!(Decimal::parse(&format!("{longest}9")).is_none());
    }

    #[test]
    fn order_is_numeric_and_keys_follow_it() {
        let ascending = [
            "-1e5000", "-101", "-100.5", "-100", "-12.3", "-1.23", "-1.2", "-0.5", "-1e-5000", "0", "1e-5000", "0.09",
            "0.1", "0.11", "1", "1.01", "9", "10", "99.9", "100", "1e3", "1001", "1e5000",
        ];
        for (low, high) in ascending.iter().zip(&ascending[1..]) {
            assert!(decimal(low) < decimal(high), "{low} < {high}");
            assert!(decimal(low).sort_key() < decimal(high).sort_key(), "key {low} < {high}");
            assert!(Decimal::LEAST_KEY < decimal(low).sort_key().as_str());
            assert!(decimal(high).sort_key().as_str() < Decimal::GREATEST_KEY);
        }
        for (one, other) in [("1.0", "1.00"), ("100", "1e2"), ("0", "-0.00"), ("0.10", "1e-1"), ("-5", "-5.0")] {
            assert_eq!(decimal(one), decimal(other));
            assert_eq!(decimal(one).sort_key(), decimal(other).sort_key());
        }
    }

    #[test]
    fn ranges() {
        for (text, low, high) in [
            ("100", "99.5", "100.5"),
            ("1.00", "0.995", "1.005"),
            ("1e2", "50", "150"),
            ("0", "-0.5", "0.5"),
            ("-2.0", "-2.05", "-1.95"),
            ("10", "9.5", "10.5"),
            ("0.001", "0.0005", "0.0015"),
        ] {
            let (lower, upper) = decimal(text).implicit_range();
            assert_eq!((lower.as_str(), upper.as_str()), (low, high), "{text}");
        }
        let (lower, upper) = decimal("-100").widened();
        assert_eq!((lower.as_str(), upper.as_str()), ("-110.0", "-90.0"));
        let (lower, upper) = decimal("0").widened();
        assert_eq!((lower.as_str(), upper.as_str()), ("0.0", "0.0"));
    }

    #[test]
    fn scaled() {
        assert_eq!(decimal("-1.50").to_scaled(), Some((-150, 2)));
        assert_eq!(decimal("1e3").to_scaled(), Some((1000, 0)));
        assert_eq!(decimal("1e300").to_scaled(), None);
        assert_eq!(Decimal::from_scaled(-5, 3).as_str(), "-0.005");
        assert_eq!(Decimal::from(42).as_str(), "42");
    }

    proptest! {
        #[test]
        fn key_order_matches_scaled_integers(left in -1_000_000_i64..1_000_000, right in -1_000_000_i64..1_000_000, scale in 0_u32..6) {
            let (one, other) = (Decimal::from_scaled(left.into(), scale), Decimal::from_scaled(right.into(), scale));
            prop_assert_eq!(one.cmp(&other), left.cmp(&right));
            prop_assert_eq!(one.sort_key().cmp(&other.sort_key()), left.cmp(&right));
            prop_assert_eq!(Decimal::parse(one.as_str()), Some(one.clone()));
            let (low, high) = one.implicit_range();
            prop_assert!(low < one && one < high);
            prop_assert_eq!(Decimal::parse(low.as_str()), Some(low));
        }
    }
}
