//! Numbers of vendors in another power of ten, without a float in between.

use fhir::decimal::Decimal;

/// Largest shift and magnitude that is taken: beyond it nothing measures anything.
const MAX_POWER: u32 = 18;

/// The number times ten to a power, in plain notation; nothing if it is no number or far too long.
pub(crate) fn shifted(text: &str, power: i32) -> Option<String> {
    let (mantissa, scale) = Decimal::parse(text)?.to_scaled()?;
    let scale = i32::try_from(scale).ok()? - power;
    if scale < 0 {
        let factor = 10_i128.checked_pow(scale.unsigned_abs()).filter(|_| scale.unsigned_abs() <= MAX_POWER)?;
        return Some(plain(mantissa.checked_mul(factor)?, 0));
    }
    (scale <= 64).then(|| plain(mantissa, scale.unsigned_abs() as usize))
}

/// Whether a text is a JSON number.
pub(crate) fn is_number(text: &str) -> bool {
    Decimal::parse(text).is_some()
}

fn plain(mantissa: i128, scale: usize) -> String {
    let sign = if mantissa < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", mantissa.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifting_moves_the_point_and_nothing_else() {
        assert_eq!(shifted("0.97", 2).as_deref(), Some("97"));
        assert_eq!(shifted("0.970", 2).as_deref(), Some("97.0"));
        assert_eq!(shifted("1", 2).as_deref(), Some("100"));
        assert_eq!(shifted("-1.2e-5", 6).as_deref(), Some("-12"));
        assert_eq!(shifted("0.000012", 6).as_deref(), Some("12"));
        assert_eq!(shifted("0.0000125", 6).as_deref(), Some("12.5"));
        assert_eq!(shifted("5", 0).as_deref(), Some("5"));
        assert_eq!(shifted("NaN", 2), None);
        assert_eq!(shifted("1e4000", 2), None);
    }
}
