//! Functions of special units in integers of 320 fractional bits: every machine computes the same digits.

use std::sync::OnceLock;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One as _, Signed as _, ToPrimitive as _, Zero as _};

/// Bits behind the point: 96 decimal digits, of which 24 are wanted.
const BITS: u32 = 320;
/// Largest argument of an exponential function, either way. (IN-18)
const MAX_ARGUMENT: i32 = 2_000;

/// `e^x`; nothing for arguments beyond ±2000.
pub(super) fn exponential(x: &BigRational) -> Option<BigRational> {
    if x.abs() > BigRational::from(BigInt::from(MAX_ARGUMENT)) {
        return None;
    }
    let x = fixed(x);
    let turns = floor_div(&x, ln2());
    let rest = x - &turns * ln2();
    let (mut sum, mut term, mut n) = (one(), one(), 1_u32);
    while !term.is_zero() {
        term = ((term * &rest) >> BITS) / n;
        sum += &term;
        n += 1;
    }
    let turns = turns.to_i32()?;
    Some(fraction(sum) * BigRational::from(BigInt::from(2)).pow(turns))
}

/// `base^x`, exact for whole exponents; nothing for exponents beyond ±2000.
pub(super) fn power(base: u32, x: &BigRational) -> Option<BigRational> {
    if x.abs() > BigRational::from(BigInt::from(MAX_ARGUMENT)) {
        return None;
    }
    let base = BigRational::from(BigInt::from(base));
    let whole = x.floor();
    let rest = x - &whole;
    let power = base.pow(whole.to_integer().to_i32()?);
    if rest.is_zero() { Some(power) } else { Some(power * exponential(&(rest * logarithm(&base)))?) }
}

/// The natural logarithm of a positive number.
pub(super) fn logarithm(x: &BigRational) -> BigRational {
    let turns = x.numer().bits() as i64 - x.denom().bits() as i64;
    let turns = i32::try_from(turns).unwrap_or_default();
    let near_one = fixed(&(x / BigRational::from(BigInt::from(2)).pow(turns)));
    fraction(near_logarithm(&near_one) + ln2() * turns)
}

/// The angle whose tangent is `x`, in radians.
pub(super) fn arc_tangent(x: &BigRational) -> BigRational {
    // Three times: atan x = 2 atan (x / (1 + √(1 + x²))), until the series converges fast.
    let mut x = fixed(x);
    for _ in 0..3 {
        let root = ((one() << BITS) + &x * &x).sqrt();
        x = (x << BITS) / (one() + root);
    }
    let square = (&x * &x) >> BITS;
    let (mut sum, mut power, mut n) = (BigInt::ZERO, x, 1);
    while !power.is_zero() {
        sum += &power / n;
        power = -((power * &square) >> BITS);
        n += 2;
    }
    fraction(sum << 3_u32)
}

/// The tangent of an angle between the poles.
pub(super) fn tangent(x: &BigRational) -> Option<BigRational> {
    let pole = BigRational::new(157_079_632.into(), 100_000_000.into());
    if x.abs() > pole {
        return None;
    }
    let x = fixed(x);
    let square = (&x * &x) >> BITS;
    let series = |first: BigInt, start: u32| {
        let (mut sum, mut term, mut n) = (first.clone(), first, start);
        loop {
            term = -((term * &square) >> BITS) / (n * (n + 1));
            if term.is_zero() {
                return sum;
            }
            sum += &term;
            n += 2;
        }
    };
    let (sine, cosine) = (series(x.clone(), 2), series(one(), 1));
    Some(BigRational::new(sine, cosine))
}

/// The square root of a number that is not negative.
pub(super) fn square_root(x: &BigRational) -> BigRational {
    // As many bits again as the number lacks, so that the root of a tiny one keeps its digits.
    let lacking = x.denom().bits().saturating_sub(x.numer().bits());
    let shift = u64::from(BITS) + lacking / 2;
    let root = ((x.numer() << (2 * shift)) / x.denom()).sqrt();
    BigRational::new(root, BigInt::one() << shift)
}

/// The natural logarithm of a fixed number between a half and two: 2 atanh ((x - 1) / (x + 1)).
fn near_logarithm(x: &BigInt) -> BigInt {
    let ratio = ((x - one()) << BITS) / (x + one());
    let square = (&ratio * &ratio) >> BITS;
    let (mut sum, mut power, mut n) = (BigInt::ZERO, ratio, 1);
    loop {
        let term: BigInt = &power / n;
        if term.is_zero() {
            return sum * 2;
        }
        sum += term;
        power = (power * &square) >> BITS;
        n += 2;
    }
}

fn ln2() -> &'static BigInt {
    static LN2: OnceLock<BigInt> = OnceLock::new();
    LN2.get_or_init(|| near_logarithm(&(one() * 2)))
}

fn one() -> BigInt {
    BigInt::one() << BITS
}

fn fixed(x: &BigRational) -> BigInt {
    (x.numer() << BITS) / x.denom()
}

fn fraction(fixed: BigInt) -> BigRational {
    BigRational::new(fixed, one())
}

fn floor_div(left: &BigInt, right: &BigInt) -> BigInt {
    BigRational::new(left.clone(), right.clone()).floor().to_integer()
}
