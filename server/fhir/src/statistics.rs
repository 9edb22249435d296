//! Statistics of measurements, exact. <https://hl7.org/fhir/R4/valueset-observation-statistics.html>
//!
//! | code | what it is here |
//! |---|---|
//! | `average`, `sum`, `minimum`, `maximum`, `median` | as named |
//! | `variance`, `std-dev` | of a sample: divided by N − 1; none of one measurement |
//! | `20-percent` … `5-4` | percentiles, with linear interpolation between the measurements on both sides |
//! | `4-dev` | half the distance of the quartiles |
//! | `skew`, `kurtosis` | third and fourth standardised moment; none where all measurements are equal |
//! | `count`, `total-count` | with a value; all. Whoever has the measurements counts them |
//! | `regression` | least squares over time: gradient per day, and intercept where the earliest measurement stands; none unless two were made at different instants |
//!
//! Numbers are fractions until they are written, rounded to 24 digits then.

use num_bigint::BigInt;
use num_rational::BigRational;

use crate::decimal::Decimal;
use crate::ucum::number::{fraction, rounded};

/// The code system of the statistics.
pub const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/observation-statistics";

/// Digits of a square root beyond those that are written.
const ROOT_DIGITS: u32 = 40;

/// Microseconds.
const DAY: i64 = 86_400_000_000;

/// One of the statistics that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistic {
    /// Code in [`SYSTEM`].
    pub code: &'static str,
    /// Name for people.
    pub display: &'static str,
    /// What the result is measured in.
    pub measured: Measured,
    compute: Compute,
}

/// What a statistic is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The unit of the measurements.
    Same,
    /// Its square.
    Squared,
    /// Nothing: it is a number.
    Number,
    /// The unit of the measurements a day.
    Daily,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compute {
    Count,
    TotalCount,
    Sum,
    Average,
    /// In percent of the way from the smallest to the largest.
    Percentile(i64),
    QuartileDeviation,
    Variance,
    Deviation,
    Skew,
    Kurtosis,
    Gradient,
    Intercept,
}

const fn row(code: &'static str, display: &'static str, measured: Measured, compute: Compute) -> Statistic {
    Statistic { code, display, measured, compute }
}

/// All statistics; `regression` is two numbers.
pub const STATISTICS: &[Statistic] = &[
    row("average", "Average", Measured::Same, Compute::Average),
    row("maximum", "Maximum", Measured::Same, Compute::Percentile(100)),
    row("minimum", "Minimum", Measured::Same, Compute::Percentile(0)),
    row("count", "Count", Measured::Number, Compute::Count),
    row("total-count", "Total Count", Measured::Number, Compute::TotalCount),
    row("median", "Median", Measured::Same, Compute::Percentile(50)),
    row("std-dev", "Standard Deviation", Measured::Same, Compute::Deviation),
    row("sum", "Sum", Measured::Same, Compute::Sum),
    row("variance", "Variance", Measured::Squared, Compute::Variance),
    row("20-percent", "20th Percentile", Measured::Same, Compute::Percentile(20)),
    row("80-percent", "80th Percentile", Measured::Same, Compute::Percentile(80)),
    row("4-lower", "Lower Quartile", Measured::Same, Compute::Percentile(25)),
    row("4-upper", "Upper Quartile", Measured::Same, Compute::Percentile(75)),
    row("4-dev", "Quartile Deviation", Measured::Same, Compute::QuartileDeviation),
    row("5-1", "1st Quintile", Measured::Same, Compute::Percentile(20)),
    row("5-2", "2nd Quintile", Measured::Same, Compute::Percentile(40)),
    row("5-3", "3rd Quintile", Measured::Same, Compute::Percentile(60)),
    row("5-4", "4th Quintile", Measured::Same, Compute::Percentile(80)),
    row("skew", "Skew", Measured::Number, Compute::Skew),
    row("kurtosis", "Kurtosis", Measured::Number, Compute::Kurtosis),
    row("regression", "Regression", Measured::Daily, Compute::Gradient),
    row("regression", "Regression", Measured::Same, Compute::Intercept),
];

impl Statistic {
    /// The statistics with this code, of which there is one, but for `regression`; none of an unknown code. `max` and
    /// `min`, which the specification also writes, are two of them.
    pub fn of(code: &str) -> impl Iterator<Item = Statistic> {
        let code = match code {
            "max" => "maximum",
            "min" => "minimum",
            other => other,
        };
        STATISTICS.iter().filter(move |known| known.code == code).copied()
    }

    /// What tells it apart from another one of the same code.
    pub fn aspect(self) -> Option<&'static str> {
        match self.compute {
            Compute::Gradient => Some("gradient"),
            Compute::Intercept => Some("intercept"),
            _ => None,
        }
    }
}

/// Measurements in one unit.
#[derive(Clone, Debug)]
pub struct Sample {
    sorted: Vec<BigRational>,
    /// Microseconds since 1970, and what was measured then.
    points: Vec<(i64, BigRational)>,
    total: usize,
}

impl Sample {
    /// Of these values, each with the microsecond since 1970 at which it was measured, if that is known; `total` is how
    /// many measurements there are, those without a value included.
    pub fn new(values: &[(Decimal, Option<i64>)], total: usize) -> Self {
        let mut sorted: Vec<BigRational> = values.iter().map(|(value, _)| fraction(value)).collect();
        sorted.sort_unstable();
        let points = values.iter().filter_map(|(value, instant)| Some(((*instant)?, fraction(value)))).collect();
        Sample { sorted, points, total }
    }

    /// A statistic of it, if it has one.
    pub fn value(&self, statistic: Statistic) -> Option<Decimal> {
        let value = match statistic.compute {
            Compute::Count => integer(self.sorted.len()),
            Compute::TotalCount => integer(self.total),
            Compute::Sum => (!self.sorted.is_empty()).then(|| self.sum())?,
            Compute::Average => self.average()?,
            Compute::Percentile(percent) => self.percentile(percent)?,
            Compute::QuartileDeviation => (self.percentile(75)? - self.percentile(25)?) / integer(2),
            Compute::Variance => self.variance()?,
            Compute::Deviation => root(&self.variance()?),
            Compute::Skew => {
                let (second, third) = (self.moment(2)?, self.moment(3)?);
                let spread = root(&second.pow(3));
                nonzero(&spread).then(|| third / spread)?
            }
            Compute::Kurtosis => {
                let (second, fourth) = (self.moment(2)?, self.moment(4)?);
                nonzero(&second).then(|| fourth / second.pow(2))?
            }
            Compute::Gradient => self.line()?.0,
            Compute::Intercept => self.line()?.1,
        };
        rounded(value.numer().clone(), value.denom(), 0)
    }

    /// Gradient a day and intercept at the earliest measurement, of the line that the measurements lie closest to.
    fn line(&self) -> Option<(BigRational, BigRational)> {
        let first = self.points.iter().map(|(instant, _)| *instant).min()?;
        let count = integer(self.points.len());
        let [mut x, mut y, mut xx, mut xy] = [(); 4].map(|()| integer(0));
        for (instant, value) in &self.points {
            let days = BigRational::new((i128::from(*instant) - i128::from(first)).into(), DAY.into());
            xx += &days * &days;
            xy += &days * value;
            x += days;
            y += value;
        }
        let spread = &count * xx - &x * &x;
        if !nonzero(&spread) {
            return None;
        }
        let gradient = (&count * xy - &x * &y) / spread;
        let intercept = (y - &gradient * x) / count;
        Some((gradient, intercept))
    }

    fn sum(&self) -> BigRational {
        self.sorted.iter().fold(integer(0), |sum, value| sum + value)
    }

    fn average(&self) -> Option<BigRational> {
        (!self.sorted.is_empty()).then(|| self.sum() / integer(self.sorted.len()))
    }

    fn percentile(&self, percent: i64) -> Option<BigRational> {
        let steps = percent * i64::try_from(self.sorted.len().checked_sub(1)?).ok()?;
        let (below, part) = (usize::try_from(steps / 100).ok()?, steps % 100);
        let low = self.sorted.get(below)?;
        let high = self.sorted.get(below + 1).unwrap_or(low);
        Some(low + (high - low) * BigRational::new(part.into(), 100.into()))
    }

    fn variance(&self) -> Option<BigRational> {
        let count = self.sorted.len();
        (count > 1).then(|| Some(self.moment(2)? * integer(count) / integer(count - 1)))?
    }

    /// Average power of the distances from the average.
    fn moment(&self, power: i32) -> Option<BigRational> {
        let average = self.average()?;
        let sum = self.sorted.iter().fold(integer(0), |sum, value| sum + (value - &average).pow(power));
        Some(sum / integer(self.sorted.len()))
    }
}

fn integer(value: usize) -> BigRational {
    BigRational::from(BigInt::from(value))
}

fn nonzero(value: &BigRational) -> bool {
    *value != integer(0)
}

/// The square root of what is not negative; of a square of a short number it is exact.
fn root(value: &BigRational) -> BigRational {
    let scale = BigInt::from(10).pow(ROOT_DIGITS);
    let radicand = value.numer() * value.denom() * &scale * &scale;
    BigRational::new(radicand.sqrt(), value.denom() * scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[&str], code: &str) -> Option<String> {
        let values: Vec<_> = values.iter().map(|text| (Decimal::parse(text).unwrap(), None)).collect();
        let value = Sample::new(&values, values.len() + 1).value(Statistic::of(code).next().unwrap());
        value.map(|value| value.to_string())
    }

    /// Gradient and intercept of values at these days.
    fn line(points: &[(i64, &str)]) -> Option<[String; 2]> {
        let at = |(day, text): &(i64, &str)| (Decimal::parse(text).unwrap(), Some(1_700_000_000_000_000 + day * DAY));
        let values: Vec<_> = points.iter().map(at).collect();
        let sample = Sample::new(&values, values.len());
        let found: Option<Vec<_>> = Statistic::of("regression").map(|it| sample.value(it)).collect();
        found.map(|found| [found[0].to_string(), found[1].to_string()])
    }

    #[test]
    fn lines_through_measurements() {
        // By numpy.polyfit(x, y, 1), where it is not plain.
        for (points, gradient, intercept) in [
            (vec![(0, "1"), (1, "3")], "2", "1"),
            (vec![(3, "10"), (1, "10"), (2, "10")], "0", "10"),
            (vec![(10, "5.5"), (0, "0.5"), (4, "2.5")], "0.5", "0.5"),
            (
                vec![(0, "80"), (1, "79.5"), (2, "80.5"), (7, "77"), (30, "70.5")],
                "-0.3241324921135",
                "80.0930599369085",
            ),
        ] {
            let [found, begin] = line(&points).unwrap();
            assert!(found.starts_with(gradient), "{points:?}: {found}");
            assert!(begin.starts_with(intercept), "{points:?}: {begin}");
        }
        assert_eq!(line(&[(0, "1")]), None);
        assert_eq!(line(&[(2, "1"), (2, "3")]), None, "at one instant there is no gradient");
        assert_eq!(line(&[]), None);
    }

    /// By numpy.percentile (linear), statistics.variance and stdev, and the moments about the mean as scipy.stats has them.
    #[test]
    fn values_of_another_sample() {
        let sample = ["98.6", "-3", "12.25", "40", "40", "7", "1000.5"];
        for (code, expected) in [
            ("average", "170.76428571428571"),
            ("median", "40"),
            ("maximum", "1000.5"),
            ("minimum", "-3"),
            ("sum", "1195.35"),
            ("count", "7"),
            ("total-count", "8"),
            ("variance", "135001.19726190476"),
            ("std-dev", "367.42509068095058"),
            ("20-percent", "8.05"),
            ("80-percent", "86.88"),
            ("4-lower", "9.625"),
            ("4-upper", "69.3"),
            ("4-dev", "29.8375"),
            ("5-1", "8.05"),
            ("5-2", "23.35"),
            ("5-3", "40"),
            ("5-4", "86.88"),
            ("skew", "2.0061411435641551"),
            ("kurtosis", "5.0875068727351254"),
        ] {
            let found = of(&sample, code).unwrap();
            assert!(found.starts_with(expected), "{code}: {found}, not {expected}");
        }
    }

    #[test]
    fn values_of_a_known_sample() {
        let sample = ["2", "4", "4.0", "4", "5", "5", "7", "9"];
        for (code, expected) in [
            ("average", "5"),
            ("max", "9"),
            ("minimum", "2"),
            ("count", "8"),
            ("total-count", "9"),
            ("sum", "40"),
            ("median", "4.5"),
            ("variance", "4.57142857142857142857143"),
            ("std-dev", "2.1380899352993950774764"),
            ("20-percent", "4"),
            ("5-1", "4"),
            ("4-lower", "4"),
            ("4-upper", "5.5"),
            ("4-dev", "0.75"),
            ("80-percent", "6.2"),
            ("skew", "0.65625"),
            ("kurtosis", "2.78125"),
        ] {
            let found = of(&sample, code).unwrap();
            assert!(found.starts_with(expected), "{code}: {found}, not {expected}");
        }
    }

    #[test]
    fn nothing_is_made_up() {
        assert_eq!(of(&[], "average"), None);
        assert_eq!(of(&[], "count").as_deref(), Some("0"));
        assert_eq!(of(&[], "total-count").as_deref(), Some("1"));
        assert_eq!(of(&["3"], "std-dev"), None);
        assert_eq!(of(&["3"], "median").as_deref(), Some("3"));
        assert_eq!(of(&["3", "3"], "skew"), None);
        assert_eq!(of(&["3", "3"], "std-dev").as_deref(), Some("0"));
        assert_eq!(Statistic::of("nothing").next(), None);
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(of(&["0.1", "0.2"], "sum").as_deref(), Some("0.3"));
        assert_eq!(of(&["-1.5", "0.5"], "average").as_deref(), Some("-0.5"));
        assert_eq!(of(&["1", "2", "2"], "average").as_deref(), Some("1.66666666666666666666667"));
    }

    proptest! {
        #[test]
        fn averages_lie_between_the_ends(values in prop::collection::vec(-10_000_i64..10_000, 1..30)) {
            let values: Vec<_> =
                values.into_iter().map(|value| (Decimal::from_scaled(value.into(), 2), None)).collect();
            let sample = Sample::new(&values, values.len());
            let value = |code: &str| sample.value(Statistic::of(code).next().unwrap());
            let (low, high) = (value("minimum").unwrap(), value("maximum").unwrap());
            for code in ["average", "median", "4-lower", "80-percent"] {
                let value = value(code).unwrap();
                prop_assert!(low <= value && value <= high, "{code}");
            }
            prop_assert!(value("4-lower") <= value("median") && value("median") <= value("4-upper"));
            prop_assert!(value("std-dev").is_none_or(|it| it >= Decimal::from(0)));
        }
    }
}
