//! Partial dates and times: comparison, arithmetic, boundaries, text. <http://hl7.org/fhirpath/N1/#datetime-equality>

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::number::Number;
use crate::date::{self, DAY, DateTime, HOUR, MINUTE, Precision, SECOND, Time};

/// Compares what both values state; nothing where one states less and is equal so far, or lacks a time zone.
pub(super) fn compare(left: &DateTime, right: &DateTime) -> Option<Ordering> {
    let timed = left.precision >= Precision::Hour && right.precision >= Precision::Hour;
    let (left, right) = match (left.offset, right.offset) {
        (Some(one), Some(other)) if one != other => (in_utc(left), in_utc(right)),
        (None, Some(_)) | (Some(_), None) if timed => {
            let difference = left.start() - right.start();
            return (difference.abs() > 14 * HOUR).then(|| difference.cmp(&0));
        }
        _ => (*left, *right),
    };
    let date = |value: &DateTime| [i64::from(value.year), value.month.into(), value.day.into()];
    compare_components(
        date(&left).into_iter().chain(clock(left.time)),
        date(&right).into_iter().chain(clock(right.time)),
        components(left.precision),
        components(right.precision),
    )
}

/// As [`compare`], for times of day.
pub(super) fn compare_times(left: (Time, Precision), right: (Time, Precision)) -> Option<Ordering> {
    let count = |precision| components(precision) - 3;
    compare_components(clock(left.0).into_iter(), clock(right.0).into_iter(), count(left.1), count(right.1))
}

/// What values have in common that [`compare`] finds equal: how much they state, and from when on. None for an hour
/// without minutes, which in another time zone is no whole hour.
pub(super) fn key(value: &DateTime) -> Option<(usize, i64)> {
    (value.precision != Precision::Hour).then(|| (components(value.precision), value.start()))
}

/// As [`key`], for times of day.
pub(super) fn time_key(time: Time, precision: Precision) -> (usize, i64) {
    (components(precision), time.micros_of_day())
}

fn compare_components(
    left: impl Iterator<Item = i64>,
    right: impl Iterator<Item = i64>,
    left_count: usize,
    right_count: usize,
) -> Option<Ordering> {
    let order = left.zip(right).take(left_count.min(right_count)).map(|(one, other)| one.cmp(&other));
    let order = order.fold(Ordering::Equal, Ordering::then);
    (order != Ordering::Equal || left_count == right_count).then_some(order)
}

/// Seconds and their fraction are one component.
fn components(precision: Precision) -> usize {
    match precision {
        Precision::Year => 1,
        Precision::Month => 2,
        Precision::Day => 3,
        Precision::Hour => 4,
        Precision::Minute => 5,
        Precision::Second | Precision::Fraction => 6,
    }
}

fn clock(time: Time) -> [i64; 3] {
    [time.hour.into(), time.minute.into(), i64::from(time.second) * SECOND + i64::from(time.micros)]
}

fn in_utc(value: &DateTime) -> DateTime {
    with_precision_of(DateTime::from_micros(value.start()), value, Some(0))
}

fn with_precision_of(mut value: DateTime, model: &DateTime, offset: Option<i16>) -> DateTime {
    value.precision = model.precision;
    value.time.fraction_digits = model.time.fraction_digits;
    value.offset = offset;
    value
}

/// `value` plus `amount` of a calendar unit or a UCUM unit of definite duration; nothing for other units and where the
/// result lies outside the years 1 to 9999.
pub(super) fn add(value: &DateTime, amount: Number, unit: &str) -> Option<DateTime> {
    let whole = i64::try_from(amount.truncated()).ok()?;
    if let Some(months) = months_in(unit) {
        return add_months(value, whole.checked_mul(months)?);
    }
    let micros = duration(amount, whole, unit)?;
    match value.precision {
        Precision::Year => add_months(value, micros / (365 * DAY) * 12),
        Precision::Month => add_months(value, micros / (30 * DAY)),
        precision => {
            let step = match precision {
                Precision::Day => DAY,
                Precision::Hour => HOUR,
                Precision::Minute => MINUTE,
                Precision::Second | Precision::Fraction => 1,
                Precision::Year | Precision::Month => return None,
            };
            let local = DateTime { offset: None, ..*value }.start().checked_add(micros / step * step)?;
            let mut moved = with_precision_of(DateTime::from_micros(local), value, value.offset);
            (moved.time, moved.precision) = with_fraction(moved.time, moved.precision);
            (-62_135_596_800 * SECOND..253_402_300_800 * SECOND).contains(&local).then_some(moved)
        }
    }
}

/// `time` plus an amount, around the clock.
pub(super) fn add_to_time(time: Time, precision: Precision, amount: Number, unit: &str) -> Option<(Time, Precision)> {
    let micros = duration(amount, i64::try_from(amount.truncated()).ok()?, unit)?;
    let step = match precision {
        Precision::Hour => HOUR,
        Precision::Minute => MINUTE,
        _ => 1,
    };
    let moved = (time.micros_of_day() + micros / step * step % DAY).rem_euclid(DAY);
    let moved = Time { fraction_digits: time.fraction_digits, ..Time::from_micros_of_day(moved) };
    Some(with_fraction(moved, precision))
}

/// With as many digits as the fraction of the second needs: seconds and milliseconds are one precision.
fn with_fraction(mut time: Time, precision: Precision) -> (Time, Precision) {
    let unit = 10_u32.pow(6_u32.saturating_sub(time.fraction_digits.into()));
    if precision < Precision::Second || time.micros.is_multiple_of(unit) {
        return (time, precision);
    }
    time.fraction_digits = if time.micros.is_multiple_of(1000) { 3 } else { 6 };
    (time, Precision::Fraction)
}

/// Whether a unit is one of days, which a time of day has none of.
pub(super) fn is_whole_days(unit: &str) -> bool {
    matches!(unit, "week" | "weeks" | "wk" | "day" | "days" | "d")
}

fn months_in(unit: &str) -> Option<i64> {
    match unit {
        "year" | "years" => Some(12),
        "month" | "months" => Some(1),
        _ => None,
    }
}

/// Microseconds; only seconds and less have fractions.
fn duration(amount: Number, whole: i64, unit: &str) -> Option<i64> {
    let scaled = |micros: i64| i64::try_from(amount.multiply(Number::from(micros))?.truncated()).ok();
    match unit {
        "week" | "weeks" | "wk" => whole.checked_mul(7 * DAY),
        "day" | "days" | "d" => whole.checked_mul(DAY),
        "hour" | "hours" | "h" => whole.checked_mul(HOUR),
        "minute" | "minutes" | "min" => whole.checked_mul(MINUTE),
        "second" | "seconds" | "s" => scaled(SECOND),
        "millisecond" | "milliseconds" | "ms" => scaled(1000),
        _ => None,
    }
}

fn add_months(value: &DateTime, months: i64) -> Option<DateTime> {
    let months = match value.precision {
        Precision::Year => months / 12 * 12,
        _ => months,
    };
    let total = (i64::from(value.year) * 12 + i64::from(value.month) - 1).checked_add(months)?;
    let year = u16::try_from(total.div_euclid(12)).ok().filter(|year| (1..=9999).contains(year))?;
    let month = total.rem_euclid(12) as u8 + 1;
    Some(DateTime { year, month, day: value.day.min(date::days_in_month(year, month)), ..*value })
}

/// How many digits a value has: 4 for a year, 17 for a date and time with milliseconds.
pub(super) fn digits(precision: Precision) -> i64 {
    match precision {
        Precision::Year => 4,
        Precision::Month => 6,
        Precision::Day => 8,
        Precision::Hour => 10,
        Precision::Minute => 12,
        Precision::Second => 14,
        Precision::Fraction => 17,
    }
}

/// The first (or last) value with `wanted` digits that `value` may denote.
pub(super) fn boundary(value: &DateTime, wanted: i64, high: bool) -> Option<DateTime> {
    let precision = [
        Precision::Year,
        Precision::Month,
        Precision::Day,
        Precision::Hour,
        Precision::Minute,
        Precision::Second,
        Precision::Fraction,
    ]
    .into_iter()
    .find(|precision| digits(*precision) == wanted)?;
    let mut bound = *value;
    let stated = value.precision;
    if stated < Precision::Month && high {
        bound.month = 12;
    }
    if stated < Precision::Day {
        bound.day = if high { date::days_in_month(bound.year, bound.month) } else { 1 };
    }
    bound.time = time_boundary(value.time, stated, high);
    if precision >= Precision::Hour && value.offset.is_none() {
        bound.offset = Some(if high { -12 * 60 } else { 14 * 60 });
    }
    if precision < Precision::Hour {
        bound.offset = None;
    }
    bound.precision = precision;
    Some(bound)
}

/// The first (or last) millisecond that a time of day may denote.
pub(super) fn time_boundary(time: Time, stated: Precision, high: bool) -> Time {
    let mut bound = time;
    if high {
        if stated < Precision::Hour {
            bound.hour = 23;
        }
        if stated < Precision::Minute {
            bound.minute = if stated == Precision::Hour { 0 } else { 59 };
        }
        if stated < Precision::Second {
            bound.second = 59;
        }
        if stated < Precision::Fraction {
            bound.micros = 999_000;
        }
    }
    bound.fraction_digits = 3;
    bound
}

/// The FHIR form, as precise as the value.
pub(super) fn text(value: &DateTime) -> String {
    let mut out = format!("{:04}", value.year);
    if value.precision >= Precision::Month {
        let _ = write!(out, "-{:02}", value.month);
    }
    if value.precision >= Precision::Day {
        let _ = write!(out, "-{:02}", value.day);
    }
    if value.precision >= Precision::Hour {
        out.push('T');
        out.push_str(&time_text(value.time, value.precision));
        match value.offset {
            None => {}
            Some(0) => out.push('Z'),
            Some(minutes) => {
                let sign = if minutes < 0 { '-' } else { '+' };
                let _ = write!(out, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
            }
        }
    }
    out
}

/// The form of a time of day, as precise as it is.
pub(super) fn time_text(time: Time, precision: Precision) -> String {
    let mut out = format!("{:02}", time.hour);
    if precision >= Precision::Minute {
        let _ = write!(out, ":{:02}", time.minute);
    }
    if precision >= Precision::Second {
        let _ = write!(out, ":{:02}", time.second);
    }
    if precision == Precision::Fraction {
        let micros = format!("{:06}", time.micros);
        let _ = write!(out, ".{}", &micros[..usize::from(time.fraction_digits).clamp(1, 6)]);
    }
    out
}
