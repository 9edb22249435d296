//! Units on scales that are no ratios: temperatures, levels, acidity. <https://ucum.org/ucum#section-Special-Units-on-non-ratio-Scales>

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed as _, Zero as _};

use super::series;

/// The function from a value to a multiple of the reference unit, and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// The zero of the scale lies so many hundredths of its degrees above absolute zero.
    Offset(u32),
    /// 100 times the tangent of an angle.
    Tangent,
    SquareRoot,
    /// The logarithm to this base, in so many parts of one: 2 for levels of field quantities, -1 for pH.
    Logarithm {
        base: u32,
        times: i32,
    },
    /// The natural logarithm.
    Natural,
}

impl Function {
    /// The function that UCUM's table calls so.
    pub(super) fn of(name: &str) -> Option<Function> {
        let logarithm = |base, times| Function::Logarithm { base, times };
        Some(match name {
            "Cel" => Function::Offset(27_315),
            "degF" => Function::Offset(45_967),
            "degRe" => Function::Offset(21_852),
            "tanTimes100" | "100tan" => Function::Tangent,
            "sqrt" => Function::SquareRoot,
            "lg" => logarithm(10, 1),
            "lgTimes2" => logarithm(10, 2),
            "ld" => logarithm(2, 1),
            "ln" => Function::Natural,
            "pH" | "hpX" => logarithm(10, -1),
            "hpC" => logarithm(100, -1),
            "hpM" => logarithm(1_000, -1),
            "hpQ" => logarithm(50_000, -1),
            _ => return None,
        })
    }

    /// How many of the reference unit the value on the scale is; nothing outside of what can be computed.
    pub(super) fn to_ratio(self, value: &BigRational) -> Option<BigRational> {
        match self {
            Function::Offset(hundredths) => Some(value + offset(hundredths)),
            Function::Tangent => Some(series::arc_tangent(&(value / BigInt::from(100)))),
            Function::SquareRoot => (!value.is_negative()).then(|| value * value),
            Function::Logarithm { base, times } => series::power(base, &(value / BigInt::from(times))),
            Function::Natural => series::exponential(value),
        }
    }

    /// The value on the scale of so many of the reference unit; nothing where there is none.
    pub(super) fn value_of(self, ratio: &BigRational) -> Option<BigRational> {
        match self {
            Function::Offset(hundredths) => Some(ratio - offset(hundredths)),
            Function::Tangent => series::tangent(ratio).map(|tangent| tangent * BigInt::from(100)),
            Function::SquareRoot => (!ratio.is_negative()).then(|| series::square_root(ratio)),
            _ if ratio.is_zero() || ratio.is_negative() => None,
            Function::Logarithm { base, times } => {
                let base = series::logarithm(&BigRational::from(BigInt::from(base)));
                Some(series::logarithm(ratio) / base * BigInt::from(times))
            }
            Function::Natural => Some(series::logarithm(ratio)),
        }
    }
}

fn offset(hundredths: u32) -> BigRational {
    BigRational::new(hundredths.into(), 100.into())
}
