//! Sums of money, exact: decimals as written, no binary floating point. <https://hl7.org/fhir/R4/datatypes.html#Money>

use fhir::decimal::Decimal;
use fhir::json::Json;

/// Most digits after the point that amounts are computed with; more than any currency has.
const MAX_SCALE: u32 = 18;

/// Most digits before the point; so any number of amounts that is held at once can be added exactly.
const MAX_DIGITS: u32 = 15;

/// The number of a JSON number; nothing for what is none, and for what no sum of money is.
pub fn amount(json: &Json) -> Option<Decimal> {
    let number = Decimal::parse(json.as_number()?)?;
    let is_money = |(mantissa, scale): &(i128, u32)| {
        *scale <= MAX_SCALE && mantissa.unsigned_abs() < 10_u128.pow(MAX_DIGITS + *scale)
    };
    number.to_scaled().filter(is_money).map(|_| number)
}

/// The sum; nothing if it is too large to be computed exactly.
pub fn sum<'a>(amounts: impl IntoIterator<Item = &'a Decimal>) -> Option<Decimal> {
    let mut total = Decimal::from(0);
    for amount in amounts {
        total = combined(&total, amount, i128::checked_add)?;
    }
    Some(total)
}

/// What is left.
pub fn difference(from: &Decimal, less: &Decimal) -> Option<Decimal> {
    combined(from, less, i128::checked_sub)
}

/// The product, with the digits of both: 2 × 250.25 is 500.50.
pub fn product(one: &Decimal, other: &Decimal) -> Option<Decimal> {
    let ((left, scale), (right, more)) = (one.to_scaled()?, other.to_scaled()?);
    Some(Decimal::from_scaled(left.checked_mul(right)?, scale.checked_add(more)?))
}

/// As a JSON number.
pub fn json(amount: &Decimal) -> Json {
    Json::Number(amount.as_str().into())
}

fn combined(one: &Decimal, other: &Decimal, with: fn(i128, i128) -> Option<i128>) -> Option<Decimal> {
    let ((left, left_scale), (right, right_scale)) = (one.to_scaled()?, other.to_scaled()?);
    let scale = left_scale.max(right_scale);
    let at = |value: i128, from: u32| value.checked_mul(10_i128.checked_pow(scale - from)?);
    Some(Decimal::from_scaled(with(at(left, left_scale)?, at(right, right_scale)?)?, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).expect("a decimal")
    }

    #[test]
    fn sums_are_exact() {
        let lines = [decimal("0.1"), decimal("0.2"), decimal("1500")];
        assert_eq!(sum(&lines).expect("a sum").as_str(), "1500.3");
        assert_eq!(sum([]).expect("a sum").as_str(), "0");
        assert_eq!(difference(&decimal("3200.5"), &decimal("500")).expect("a rest").as_str(), "2700.5");
        assert_eq!(difference(&decimal("1"), &decimal("1.01")).expect("a rest").as_str(), "-0.01");
        assert_eq!(product(&decimal("2"), &decimal("250.25")), Some(decimal("500.5")));
    }

    #[test]
    fn what_is_no_amount_is_none() {
        assert_eq!(amount(&Json::from("12")), None, "a string");
        assert_eq!(amount(&Json::Number("1e300".into())), None, "too large to add");
        assert_eq!(amount(&Json::Number("1e-30".into())), None, "finer than any currency");
        assert_eq!(amount(&Json::Number("100000000000000000000000000000.01".into())), None, "more than there is");
        assert!(amount(&Json::Number("999999999999999.99".into())).is_some());
        assert_eq!(sum(&[decimal("9e37"), decimal("9e37")]), None);
    }
}
