//! Decimal arithmetic of FHIRPath: exact, within 38 digits. <http://hl7.org/fhirpath/N1/#decimal>

use std::cmp::Ordering;

use crate::decimal::Decimal;

/// Decimal places a quotient is computed to.
const QUOTIENT_SCALE: u32 = 16;
/// Most decimal places of any number.
const MAX_SCALE: u32 = 28;

/// `mantissa × 10^-scale`; the scale is the written precision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) mantissa: i128,
    pub(super) scale: u32,
}

impl Number {
    pub(super) fn parse(text: &str) -> Option<Number> {
        if let Ok(mantissa) = text.parse::<i64>() {
            return Some(Number { mantissa: mantissa.into(), scale: 0 });
        }
        let (mantissa, scale) = Decimal::parse(text)?.to_scaled()?;
        (scale <= MAX_SCALE).then_some(Number { mantissa, scale })
    }

    /// The number with as many decimal places as there can be; nothing if it is too large, or too small to be told from 0.
    pub(super) fn nearest(value: &Decimal) -> Option<Number> {
        let (mantissa, scale) = value.to_scaled()?;
        let number = Number { mantissa, scale };
        if scale <= MAX_SCALE {
            return Some(number);
        }
        number.rounded(MAX_SCALE).filter(|rounded| rounded.mantissa != 0 || mantissa == 0)
    }

    pub(super) fn from_float(value: f64) -> Option<Number> {
        if !value.is_finite() || value.abs() > 1e20 {
            return None;
        }
        Number::parse(&format!("{value:.8}")).map(Number::trimmed)
    }

    pub(super) fn to_float(self) -> f64 {
        self.to_decimal().as_str().parse().unwrap_or(f64::NAN)
    }

    pub(super) fn to_decimal(self) -> Decimal {
        Decimal::from_scaled(self.mantissa, self.scale)
    }

    pub(super) fn add(self, other: Number) -> Option<Number> {
        let (left, right, scale) = self.aligned(other)?;
        Some(Number { mantissa: left.checked_add(right)?, scale })
    }

    pub(super) fn negated(self) -> Number {
        Number { mantissa: -self.mantissa, scale: self.scale }
    }

    pub(super) fn multiply(self, other: Number) -> Option<Number> {
        let product = Number { mantissa: self.mantissa.checked_mul(other.mantissa)?, scale: self.scale + other.scale };
        if product.scale > MAX_SCALE { product.rounded(MAX_SCALE) } else { Some(product) }
    }

    /// The quotient; nothing for a divisor of zero.
    pub(super) fn divide(self, other: Number) -> Option<Number> {
        let (left, right, _) = self.aligned(other)?;
        (0..=QUOTIENT_SCALE).rev().find_map(|scale| {
            let mantissa = left.checked_mul(10_i128.pow(scale))?.checked_div(right)?;
            Some(Number { mantissa, scale }.trimmed())
        })
    }

    /// The quotient without its fraction.
    pub(super) fn quotient(self, other: Number) -> Option<Number> {
        let (left, right, _) = self.aligned(other)?;
        Some(Number { mantissa: left.checked_div(right)?, scale: 0 })
    }

    pub(super) fn remainder(self, other: Number) -> Option<Number> {
        let (left, right, scale) = self.aligned(other)?;
        Some(Number { mantissa: left.checked_rem(right)?, scale })
    }

    /// Rounded half away from zero to `scale` decimal places.
    pub(super) fn rounded(self, scale: u32) -> Option<Number> {
        if scale >= self.scale {
            let mantissa = self.mantissa.checked_mul(10_i128.checked_pow(scale - self.scale)?)?;
            return Some(Number { mantissa, scale });
        }
        let unit = 10_i128.checked_pow(self.scale - scale)?;
        let carry = if (self.mantissa % unit).abs() * 2 >= unit { self.mantissa.signum() } else { 0 };
        Some(Number { mantissa: self.mantissa / unit + carry, scale })
    }

    /// Rounded down (`up` false) or up to `scale` decimal places.
    pub(super) fn rounded_towards(self, scale: u32, up: bool) -> Option<Number> {
        if scale >= self.scale {
            return self.rounded(scale);
        }
        let unit = 10_i128.checked_pow(self.scale - scale)?;
        let floor = self.mantissa.div_euclid(unit);
        let exact = self.mantissa.rem_euclid(unit) == 0;
        Some(Number { mantissa: floor + i128::from(up && !exact), scale })
    }

    pub(super) fn truncated(self) -> i128 {
        10_i128.checked_pow(self.scale).map_or(0, |unit| self.mantissa / unit)
    }

    /// Without zeros at the end of the fraction.
    pub(super) fn trimmed(mut self) -> Number {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }

    pub(super) fn compare(self, other: Number) -> Ordering {
        match self.aligned(other) {
            Some((left, right, _)) => left.cmp(&right),
            None => self.to_decimal().cmp(&other.to_decimal()),
        }
    }

    fn aligned(self, other: Number) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        Some((self.rounded(scale)?.mantissa, other.rounded(scale)?.mantissa, scale))
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Number {
        Number { mantissa: value.into(), scale: 0 }
    }
}
