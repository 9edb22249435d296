//! What a code means: a factor, base units with exponents, and perhaps a function. <https://ucum.org/ucum#section-Semantics>

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::One as _;

use super::UcumError;
use super::essence::{Atom, Definition};
use super::grammar::{self, Component, Part, Term};
use super::special::Function;

/// Most bits of the numerator and of the denominator of a factor. (IN-18)
const MAX_BITS: u64 = 8_192;

/// A unit in terms of base units.
#[derive(Clone)]
pub(super) struct Unit {
    pub(super) factor: BigRational,
    /// Exponents by the codes of base units, without zeros.
    pub(super) dimensions: BTreeMap<&'static str, i32>,
    pub(super) scale: Scale,
}

/// How a value becomes a multiple of the unit.
#[derive(Clone)]
pub(super) enum Scale {
    /// It is the multiple.
    Ratio,
    /// By a function, of the value times the second: `dB` is a tenth of `B`.
    Special(Function, BigRational),
    /// Not at all: a special unit within a product or with an exponent.
    Meaningless,
}

/// The meaning of a code.
pub(super) fn of_term(term: &Term) -> Result<Unit, UcumError> {
    let mut product = Unit::one();
    for part in &term.parts {
        let unit = of_component(part)?;
        product.combine(&unit, part.divided);
        if !product.is_bounded() {
            return Err(UcumError::at(part.offset, "the factor is too large"));
        }
    }
    Ok(product)
}

impl Unit {
    fn one() -> Unit {
        Unit { factor: BigRational::one(), dimensions: BTreeMap::new(), scale: Scale::Ratio }
    }

    fn is_bounded(&self) -> bool {
        self.factor.numer().bits().max(self.factor.denom().bits()) <= MAX_BITS
    }

    fn is_number(&self) -> bool {
        self.dimensions.is_empty() && matches!(self.scale, Scale::Ratio)
    }

    /// The base units with their exponents in one spelling.
    pub(super) fn code(&self) -> String {
        if self.dimensions.is_empty() {
            return "1".to_owned();
        }
        let spelled = self.dimensions.iter().map(|(code, exponent)| match exponent {
            1 => (*code).to_owned(),
            _ => format!("{code}{exponent}"),
        });
        spelled.collect::<Vec<_>>().join(".")
    }

    /// Multiplies or divides by another unit.
    pub(super) fn combine(&mut self, other: &Unit, divided: bool) {
        let scaled = |alpha: &BigRational, by: &BigRational| if divided { alpha / by } else { alpha * by };
        let scale = match (&self.scale, &other.scale) {
            (Scale::Ratio, Scale::Ratio) => Scale::Ratio,
            (Scale::Special(function, alpha), _) if other.is_number() => {
                self.scale = Scale::Special(*function, scaled(alpha, &other.factor));
                return;
            }
            (_, Scale::Special(function, alpha)) if self.is_number() && !divided => {
                *self = Unit { scale: Scale::Special(*function, alpha * &self.factor), ..other.clone() };
                return;
            }
            _ => Scale::Meaningless,
        };
        self.scale = scale;
        self.factor = scaled(&self.factor, &other.factor);
        for (code, exponent) in &other.dimensions {
            let sum = self.dimensions.entry(code).or_insert(0);
            *sum += if divided { -exponent } else { *exponent };
        }
        self.dimensions.retain(|_, exponent| *exponent != 0);
    }
}

fn of_component(part: &Part) -> Result<Unit, UcumError> {
    match &part.component {
        Component::Annotation => Ok(Unit::one()),
        Component::Number(number) => Ok(Unit { factor: number.clone().into(), ..Unit::one() }),
        Component::Group(term) => of_term(term),
        Component::Unit { prefix, atom, exponent } => {
            let mut unit = of_atom(atom).clone();
            if let Some(prefix) = prefix {
                match &mut unit.scale {
                    Scale::Special(_, alpha) => *alpha *= &prefix.factor,
                    _ => unit.factor *= &prefix.factor,
                }
            }
            raise(unit, *exponent).ok_or_else(|| UcumError::at(part.offset, "the factor is too large"))
        }
    }
}

fn raise(mut unit: Unit, exponent: i32) -> Option<Unit> {
    if exponent == 1 {
        return Some(unit);
    }
    if !matches!(unit.scale, Scale::Ratio) {
        unit.scale = Scale::Meaningless;
    }
    let bits = unit.factor.numer().bits().max(unit.factor.denom().bits());
    // A factor of 1 has one bit and stays it.
    if bits > 1 && bits * u64::from(exponent.unsigned_abs()) > MAX_BITS {
        return None;
    }
    unit.factor = unit.factor.pow(exponent);
    unit.dimensions.values_mut().for_each(|own| *own *= exponent);
    unit.dimensions.retain(|_, exponent| *exponent != 0);
    Some(unit)
}

/// The definition of a unit followed down to base units.
fn of_atom(atom: &'static Atom) -> &'static Unit {
    atom.unit.get_or_init(|| match &atom.definition {
        Definition::Base => Unit { dimensions: BTreeMap::from([(&*atom.code, 1)]), ..Unit::one() },
        Definition::Multiple(value, code) => {
            let mut unit = of_definition(code);
            unit.factor *= value;
            unit
        }
        Definition::Function(name, value, code) => {
            let mut unit = of_definition(code);
            let function =
                Function::of(name).expect("the functions of the embedded table are known, a test asks for each");
            // Tangents are of radians, whatever unit the table names.
            unit.factor =
                if function == Function::Tangent { BigRational::from(BigInt::one()) } else { unit.factor * value };
            unit.scale = Scale::Special(function, BigRational::one());
            unit
        }
    })
}

fn of_definition(code: &str) -> Unit {
    let unit = grammar::parse(code).and_then(|term| of_term(&term));
    unit.expect("the definitions of the embedded table are codes, a test follows each")
}
