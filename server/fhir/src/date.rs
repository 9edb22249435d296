//! Dates and instants of FHIR and of HTTP. <https://hl7.org/fhir/R4/datatypes.html#dateTime>
//!
//! A written date denotes an interval: `2020` is the whole year, `2020-01-01T10:00:00.5Z` a tenth of a second.
//! Time is counted in microseconds since 1970-01-01T00:00:00Z, years 1 to 9999.

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub const DAY: i64 = 24 * HOUR;

/// The number of a leap second in its minute.
const LEAP: u8 = 60;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The last component that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// `2020`
    Year,
    /// `2020-01`
    Month,
    /// `2020-01-31`
    Day,
    /// `2020-01-31T10`, which FHIRPath knows and FHIR does not.
    Hour,
    /// `2020-01-31T10:00`, which searches may say.
    Minute,
    /// `2020-01-31T10:00:00`
    Second,
    /// `2020-01-31T10:00:00.5`
    Fraction,
}

/// A date, dateTime or instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DateTime {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12; 1 where not written.
    pub month: u8,
    /// 1 to 31; 1 where not written.
    pub day: u8,
    /// Time of day.
    pub time: Time,
    /// Minutes east of UTC, where a time zone is written.
    pub offset: Option<i16>,
    /// The last component that is written.
    pub precision: Precision,
}

/// A time of day; components that are not written are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
    /// Fraction of the second, truncated.
    pub micros: u32,
    /// How many digits of the fraction are written.
    pub fraction_digits: u8,
}

impl DateTime {
    /// Reads a FHIR date, dateTime or instant. More lenient than FHIR in what searches may leave out: seconds and the
    /// time zone. Fractions of any length are accepted, beyond microseconds they are truncated.
    pub fn parse(text: &str) -> Option<DateTime> {
        let value = DateTime::parse_partial(text)?;
        (value.precision != Precision::Hour).then_some(value)
    }

    /// As [`parse`](Self::parse), and accepts a time of hours only, as FHIRPath literals have.
    pub fn parse_partial(text: &str) -> Option<DateTime> {
        let (date, clock) = match text.split_once('T') {
            Some((date, clock)) => (date, Some(clock)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let year: u16 = digits(parts.next()?, 4)?;
        let month: Option<u8> = parts.next().map(|part| digits(part, 2).ok_or(())).transpose().ok()?;
        let day: Option<u8> = parts.next().map(|part| digits(part, 2).ok_or(())).transpose().ok()?;
        if parts.next().is_some() || year == 0 || !(1..=12).contains(&month.unwrap_or(1)) {
            return None;
        }
        if !(1..=days_in_month(year, month.unwrap_or(1))).contains(&day.unwrap_or(1)) {
            return None;
        }
        let mut precision = match (month, day) {
            (None, _) => Precision::Year,
            (_, None) => Precision::Month,
            _ => Precision::Day,
        };
        let (mut time, mut offset) = (Time::default(), None);
        if let Some(clock) = clock {
            let zone_at = clock.find(['Z', '+', '-']).unwrap_or(clock.len());
            offset = parse_offset(&clock[zone_at..])?;
            if precision != Precision::Day {
                return None;
            }
            (time, precision) = Time::parse_partial(&clock[..zone_at])?;
        }
        Some(DateTime { year, month: month.unwrap_or(1), day: day.unwrap_or(1), time, offset, precision })
    }

    /// The first and last microsecond that the value may denote; without a time zone it is taken as UTC.
    pub fn interval(&self) -> (i64, i64) {
        let start = self.start();
        let width = match self.precision {
            Precision::Year => i64::from(days_before_year(self.year + 1) - days_before_year(self.year)) * DAY,
            Precision::Month => i64::from(days_in_month(self.year, self.month)) * DAY,
            Precision::Day => DAY,
            Precision::Hour => HOUR,
            Precision::Minute => MINUTE,
            _ if self.time.second == LEAP => 1,
            Precision::Second => SECOND,
            Precision::Fraction => 10_i64.pow(6_u32.saturating_sub(self.time.fraction_digits.into())),
        };
        (start, start + width - 1)
    }

    /// The first microsecond that the value may denote.
    pub fn start(&self) -> i64 {
        let days = days_before_year(self.year) + days_before_month(self.year, self.month) + i32::from(self.day) - 1;
        i64::from(days) * DAY + self.time.micros_of_day() - i64::from(self.offset.unwrap_or(0)) * MINUTE
    }

    /// The date and time of day, microseconds precise, at an instant, written in UTC; within the years 1 to 9999.
    pub fn from_micros(micros: i64) -> DateTime {
        let days = micros.div_euclid(DAY).clamp(-719_162, 2_932_896) as i32;
        let mut year = (1970 + days.div_euclid(366)).clamp(1, 9999) as u16;
        while year < 9999 && days_before_year(year + 1) <= days {
            year += 1;
        }
        while days_before_year(year) > days {
            year -= 1;
        }
        let day_of_year = days - days_before_year(year);
        let month = (1..=12).rev().find(|month| days_before_month(year, *month) <= day_of_year).unwrap_or(1);
        DateTime {
            year,
            month,
            day: (day_of_year - days_before_month(year, month) + 1) as u8,
            time: Time::from_micros_of_day(micros.rem_euclid(DAY)),
            offset: Some(0),
            precision: Precision::Fraction,
        }
    }
}

impl Time {
    /// Reads a FHIR time; seconds may be left out.
    pub fn parse(text: &str) -> Option<Time> {
        let (time, precision) = Time::parse_partial(text)?;
        (precision >= Precision::Minute).then_some(time)
    }

    /// Reads `hh`, `hh:mm`, `hh:mm:ss` or `hh:mm:ss.f…`.
    pub fn parse_partial(text: &str) -> Option<(Time, Precision)> {
        let mut time = Time::default();
        let mut parts = text.split(':');
        time.hour = digits(parts.next()?, 2).filter(|hour| *hour < 24)?;
        let Some(minute) = parts.next() else { return Some((time, Precision::Hour)) };
        time.minute = digits(minute, 2).filter(|minute| *minute < 60)?;
        let Some(seconds) = parts.next() else { return Some((time, Precision::Minute)) };
        let (second, fraction) = seconds.split_once('.').map_or((seconds, None), |(second, rest)| (second, Some(rest)));
        time.second = digits(second, 2).filter(|second| *second <= LEAP)?;
        if parts.next().is_some() {
            return None;
        }
        let Some(fraction) = fraction else { return Some((time, Precision::Second)) };
        if fraction.is_empty() || fraction.len() > 200 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        time.fraction_digits = fraction.len() as u8;
        let first = &fraction[..fraction.len().min(6)];
        time.micros = format!("{first:0<6}").parse().ok()?;
        Some((time, Precision::Fraction))
    }

    /// Microseconds since midnight. A leap second, for which there are none, is the last of them before it: it belongs to the
    /// day that it ends.
    pub fn micros_of_day(&self) -> i64 {
        if self.second == LEAP {
            return Time { second: LEAP - 1, micros: (SECOND - 1) as u32, ..*self }.micros_of_day();
        }
        i64::from(self.hour) * HOUR
            + i64::from(self.minute) * MINUTE
            + i64::from(self.second) * SECOND
            + i64::from(self.micros)
    }

    /// The time that many microseconds (less than a day) after midnight, six digits of fraction.
    pub fn from_micros_of_day(micros: i64) -> Time {
        Time {
            hour: (micros / HOUR) as u8,
            minute: (micros / MINUTE % 60) as u8,
            second: (micros / SECOND % 60) as u8,
            micros: (micros % SECOND) as u32,
            fraction_digits: 6,
        }
    }
}

/// An instant as FHIR writes it: UTC, always six digits of fraction.
pub fn format_instant(micros: i64) -> String {
    let DateTime { year, month, day, time, .. } = DateTime::from_micros(micros);
    let Time { hour, minute, second, micros, .. } = time;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// An instant as HTTP headers write it (IMF-fixdate). <https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats>
pub fn http_date(micros: i64) -> String {
    let DateTime { year, month, day, time, .. } = DateTime::from_micros(micros);
    let weekday = WEEKDAYS[(micros.div_euclid(DAY) + 3).rem_euclid(7) as usize];
    let month = MONTHS[usize::from(month) - 1];
    format!("{weekday}, {day:02} {month} {year:04} {:02}:{:02}:{:02} GMT", time.hour, time.minute, time.second)
}

/// Reads a date of an HTTP header in any of the three forms that recipients must accept; the day of week is not
/// checked. Two-digit years below 70 are of this century.
pub fn parse_http_date(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.split([' ', '-']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, clock) = match words.as_slice() {
        [weekday, day, month, year, clock, "GMT"] if weekday.ends_with(',') => (day, month, *year, clock),
        [_, month, day, clock, year] => (day, month, *year, clock),
        _ => return None,
    };
    let year: u16 = match year.len() {
        2 => digits::<u16>(year, 2).map(|year| if year < 70 { 2000 + year } else { 1900 + year })?,
        _ => digits(year, 4)?,
    };
    let month = MONTHS.iter().position(|name| name == month)? as u8 + 1;
    let day: u8 = day.parse().ok()?;
    let (time, precision) = Time::parse_partial(clock)?;
    if year == 0 || precision != Precision::Second || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    Some(DateTime { year, month, day, time, offset: None, precision }.start())
}

/// How many days a month has.
pub fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days from 1970-01-01 to the first of January.
fn days_before_year(year: u16) -> i32 {
    let past = i32::from(year) - 1;
    past * 365 + past / 4 - past / 100 + past / 400 - 719_162
}

fn days_before_month(year: u16, month: u8) -> i32 {
    (1..month).map(|earlier| i32::from(days_in_month(year, earlier))).sum()
}

/// A number of exactly `length` ASCII digits.
fn digits<T: std::str::FromStr>(text: &str, length: usize) -> Option<T> {
    (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Minutes east of UTC; `Some(None)` if there is no time zone.
#[expect(clippy::option_option, reason = "outer: well formed, inner: present")]
fn parse_offset(zone: &str) -> Option<Option<i16>> {
    let (sign, rest) = match zone.as_bytes().first() {
        None => return Some(None),
        Some(b'Z') => return (zone.len() == 1).then_some(Some(0)),
        Some(b'-') => (-1, &zone[1..]),
        _ => (1, &zone[1..]),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let minutes = digits::<i16>(hours, 2)? * 60 + digits::<i16>(minutes, 2).filter(|minutes| *minutes < 60)?;
    (minutes <= 14 * 60).then_some(Some(sign * minutes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(text: &str) -> (String, String) {
        let (low, high) = DateTime::parse(text).unwrap_or_else(|| panic!("{text} is a date")).interval();
        (format_instant(low), format_instant(high))
    }

    #[test]
    fn intervals() {
        for (text, low, high) in [
            ("2020", "2020-01-01T00:00:00.000000Z", "2020-12-31T23:59:59.999999Z"),
            ("2020-02", "2020-02-01T00:00:00.000000Z", "2020-02-29T23:59:59.999999Z"),
            ("1900-02", "1900-02-01T00:00:00.000000Z", "1900-02-28T23:59:59.999999Z"),
            ("2026-01-02", "2026-01-02T00:00:00.000000Z", "2026-01-02T23:59:59.999999Z"),
            ("2026-01-02T03:04", "2026-01-02T03:04:00.000000Z", "2026-01-02T03:04:59.999999Z"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:05.999999Z"),
            ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05.000000Z", "2026-01-02T01:04:05.999999Z"),
            ("2026-01-01T00:30:00-05:00", "2026-01-01T05:30:00.000000Z", "2026-01-01T05:30:00.999999Z"),
            ("2026-01-02T03:04:05.12Z", "2026-01-02T03:04:05.120000Z", "2026-01-02T03:04:05.129999Z"),
            ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.123456Z"),
            ("9999-12-31", "9999-12-31T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"),
            ("0001", "0001-01-01T00:00:00.000000Z", "0001-12-31T23:59:59.999999Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z", "2016-12-31T23:59:59.999999Z"),
            ("2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.999999Z", "2016-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(interval(text), (low.to_owned(), high.to_owned()), "{text}");
        }
    }

    #[test]
    fn not_dates() {
        for bad in [
            "",
            "20",
            "0000",
            "2020-13",
            "2020-00",
            "2020-1-1",
            "2021-02-29",
            "2020-01-32",
            "2020-01-01T",
            "2020-01T10:00",
            "2020-01-01T24:00:00Z",
            "2020-01-01T10",
            "2020-01-01T10:60",
            "2020-01-01T10:00:61Z",
            "2020-01-01T10:00:00.Z",
            "2020-01-01T10:00:00+15:00",
            "2020-01-01T10:00:00+1:00",
            "2020-01-01 10:00",
            "2020-01-01T10:00:00ZZ",
            "２０２０",
            "+020",
            "2020-01-01-01",
            "-001",
            "2020-01-01T10:00:00Z+01:00",
        ] {
            assert_eq!(DateTime::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn http_dates() {
        let instant = DateTime::parse("1994-11-06T08:49:37Z").expect("valid").start();
        assert_eq!(http_date(instant), "Sun, 06 Nov 1994 08:49:37 GMT");
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse_http_date(text), Some(instant), "{text}");
        }
        for bad in [
            "",
            "yesterday",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
        ] {
            assert_eq!(parse_http_date(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn instants_round_trip(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let text = format_instant(micros);
            prop_assert_eq!(DateTime::parse(&text).map(|value| value.interval()), Some((micros, micros)), "{}", text);
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,30}") {
            let _ = DateTime::parse(&text);
            let _ = parse_http_date(&text);
        }
    }
}
