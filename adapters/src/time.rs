//! Times of vendor messages: punctuation is put right, instant, offset and precision stay. <https://hl7.org/fhir/R4/datatypes.html#dateTime>

use jiff::civil;
use jiff::tz::{Offset, TimeZone};

/// A moment as FHIR writes it, and as a number to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// FHIR `dateTime`, also valid as `instant`.
    pub(crate) text: String,
    /// Microseconds since 1970.
    pub(crate) micros: i64,
}

/// Why a text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unclear {
    /// It is no date with a time, or lies before 1900.
    Unreadable,
    /// Neither it nor the device says which offset from UTC applies.
    NoOffset,
}

/// Reads `2024-05-21T17:45:12.815903123+02:00` and its usual disfigurements (`+0200`, blanks instead of `T`).
///
/// `zone` is the IANA name to take the offset from where the text has none.
pub(crate) fn moment(text: &str, zone: Option<&str>) -> Result<Moment, Unclear> {
    let (local, offset) = split(text.trim()).ok_or(Unclear::Unreadable)?;
    let datetime: civil::DateTime = truncated(&local).parse().map_err(|_| Unclear::Unreadable)?;
    if datetime.year() < 1900 {
        return Err(Unclear::Unreadable);
    }
    let offset = match offset {
        Some(offset) => offset,
        None => offset_in(zone.ok_or(Unclear::NoOffset)?, datetime)?,
    };
    let timestamp = offset_seconds(&offset)
        .and_then(|seconds| Offset::from_seconds(seconds).ok())
        .and_then(|offset| offset.to_timestamp(datetime).ok())
        .ok_or(Unclear::Unreadable)?;
    Ok(Moment { text: format!("{local}{offset}"), micros: timestamp.as_microsecond() })
}

/// The same moment as clocks showed it at an offset from UTC; unchanged if the offset is no whole minute or too large.
pub(crate) fn at_offset(moment: &Moment, seconds: i64) -> Moment {
    let Some(offset) = i32::try_from(seconds).ok().filter(|it| it % 60 == 0 && it.abs() <= 14 * 3600) else {
        return moment.clone();
    };
    let shown = Offset::from_seconds(offset).ok().and_then(|offset| {
        Some(jiff::Timestamp::from_microsecond(moment.micros).ok()?.to_zoned(TimeZone::fixed(offset)))
    });
    let Some(shown) = shown else { return moment.clone() };
    let fraction = moment.text.find('.').map_or("", |point| {
        let digits = &moment.text[point..];
        let end = digits[1..].find(|digit: char| !digit.is_ascii_digit()).map_or(digits.len(), |end| end + 1);
        &digits[..end]
    });
    let text = format!("{}{fraction}{}", shown.strftime("%Y-%m-%dT%H:%M:%S"), offset_text(offset));
    Moment { text, micros: moment.micros }
}

/// A moment that is known as an instant only, in UTC; nothing before 1900 or after 9999.
pub(crate) fn from_micros(micros: i64) -> Option<Moment> {
    let timestamp = jiff::Timestamp::from_microsecond(micros).ok()?;
    let year = timestamp.to_zoned(TimeZone::UTC).year();
    (1900..=9999).contains(&year).then(|| Moment { text: timestamp.to_string(), micros })
}

/// The moment so many microseconds later, or earlier, at the same offset.
pub(crate) fn later(moment: &Moment, micros: i64) -> Option<Moment> {
    let later = from_micros(moment.micros.checked_add(micros)?)?;
    let clock = moment.text.get(11..)?;
    let seconds = offset(&clock[clock.find(['Z', '+', '-'])?..])?;
    Some(at_offset(&later, seconds))
}

/// The moment at which clocks at an offset from UTC showed a time; nothing if that is no time, or no offset.
pub(crate) fn local(text: &str, seconds: i64) -> Option<Moment> {
    let offset = i32::try_from(seconds).ok().filter(|it| it % 60 == 0 && it.abs() <= 14 * 3600)?;
    moment(&format!("{}{}", text.trim(), offset_text(offset)), None).ok()
}

/// Seconds of an offset from UTC: `+02:00`, `+0200` or `Z`.
pub(crate) fn offset(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match (text, text.len()) {
        ("Z" | "z", _) => Some(0),
        (_, 5) if digits.len() == 4 => offset_seconds(&format!("{}:{}", text.get(..3)?, text.get(3..)?)).map(i64::from),
        (_, 6) if digits.len() == 4 && text.starts_with(['+', '-']) => offset_seconds(text).map(i64::from),
        _ => None,
    }
}

/// Seconds east of UTC that clocks of a zone were at, at a moment.
pub(crate) fn offset_at(zone: &str, moment: &Moment) -> Option<i64> {
    let zone = TimeZone::get(zone).ok()?;
    let timestamp = jiff::Timestamp::from_microsecond(moment.micros).ok()?;
    Some(zone.to_offset(timestamp).seconds().into())
}

/// Date and time with `T`, and the offset as `Z` or `+hh:mm`.
fn split(text: &str) -> Option<(String, Option<String>)> {
    let (date, rest) = (text.get(..10)?, text.get(11..)?);
    if !matches!(text.as_bytes()[10], b'T' | b't' | b' ') {
        return None;
    }
    let end = rest.find(|character: char| !matches!(character, '0'..='9' | ':' | '.')).unwrap_or(rest.len());
    let (time, offset) = (&rest[..end], rest[end..].trim());
    let (clock, fraction) = time.split_once('.').map_or((time, None), |(clock, fraction)| (clock, Some(fraction)));
    if clock.len() != 8 || fraction.is_some_and(|digits| digits.is_empty() || digits.contains([':', '.'])) {
        return None;
    }
    let offset = match offset.as_bytes() {
        [] => None,
        [b'Z' | b'z'] => Some("Z".to_owned()),
        [b'+' | b'-', digits @ ..] if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit) => {
            Some(format!("{}:{}", &offset[..3], &offset[3..]))
        }
        [b'+' | b'-', hour @ .., b':', m1, m2]
            if hour.len() == 2 && hour.iter().chain([m1, m2]).all(u8::is_ascii_digit) =>
        {
            Some(offset.to_owned())
        }
        _ => return None,
    };
    Some((format!("{date}T{time}"), offset))
}

/// The text without what is finer than a nanosecond.
fn truncated(local: &str) -> &str {
    match local.find('.') {
        Some(point) => &local[..local.len().min(point + 10)],
        None => local,
    }
}

fn offset_seconds(offset: &str) -> Option<i32> {
    if offset == "Z" {
        return Some(0);
    }
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes): (i32, i32) = (offset.get(1..3)?.parse().ok()?, offset.get(4..6)?.parse().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// The offset that applies at a local time; none if the clock skipped or repeated it.
fn offset_in(zone: &str, datetime: civil::DateTime) -> Result<String, Unclear> {
    let zone = TimeZone::get(zone).map_err(|_| Unclear::NoOffset)?;
    let ambiguous = zone.to_ambiguous_timestamp(datetime);
    let offset = match ambiguous.offset() {
        jiff::tz::AmbiguousOffset::Unambiguous { offset } => offset.seconds(),
        _ => return Err(Unclear::NoOffset),
    };
    Ok(offset_text(offset))
}

fn offset_text(seconds: i32) -> String {
    if seconds == 0 {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", seconds.abs() / 3600, seconds.abs() % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(from: &str, zone: Option<&str>) -> Result<String, Unclear> {
        moment(from, zone).map(|moment| moment.text)
    }

    #[test]
    fn only_punctuation_changes() {
        assert_eq!(text("2024-05-21T17:45:12+02:00", None).as_deref(), Ok("2024-05-21T17:45:12+02:00"));
        assert_eq!(text("2024-07-24 08:00:00 +0200", None).as_deref(), Ok("2024-07-24T08:00:00+02:00"));
        assert_eq!(text("2024-02-07T11:54:47.262522052Z", None).as_deref(), Ok("2024-02-07T11:54:47.262522052Z"));
        assert_eq!(
            text("2024-02-07T11:54:47.2625220521234Z", None).as_deref(),
            Ok("2024-02-07T11:54:47.2625220521234Z")
        );
    }

    #[test]
    fn the_zone_of_the_device_gives_a_missing_offset_but_never_a_guess() {
        assert_eq!(text("2024-07-01T08:00:00", Some("Europe/Rome")).as_deref(), Ok("2024-07-01T08:00:00+02:00"));
        assert_eq!(text("2024-07-01T08:00:00", Some("UTC")).as_deref(), Ok("2024-07-01T08:00:00Z"));
        assert_eq!(
            text("2024-10-27T02:30:00", Some("Europe/Rome")),
            Err(Unclear::NoOffset),
            "the hour that occurs twice"
        );
        assert_eq!(text("2024-07-01T08:00:00", None), Err(Unclear::NoOffset));
        assert_eq!(text("2024-07-01T08:00:00", Some("Mars/Base")), Err(Unclear::NoOffset));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for bad in [
            "",
            "2024-05-21",
            "2024-05-21T17:45",
            "1899-12-31T23:59:59Z",
            "2024-02-30T00:00:00Z",
            "yesterday at noon",
            "2024-05-21T17:45:12+2:00",
            "2024-05-21T17:45:12.Z",
            "2024-05-21T17:45:12+15:00",
            "2024-05-21T25:00:00Z",
            "é024-05-21T17:45:12Z",
        ] {
            assert_eq!(text(bad, None), Err(Unclear::Unreadable), "{bad}");
        }
    }

    #[test]
    fn a_separate_offset_shows_the_local_time() {
        let shown = |seconds| at_offset(&moment("2024-05-10T00:20:04.858Z", None).expect("a moment"), seconds).text;
        assert_eq!(shown(-14400), "2024-05-09T20:20:04.858-04:00");
        assert_eq!(shown(19800), "2024-05-10T05:50:04.858+05:30");
        assert_eq!(shown(0), "2024-05-10T00:20:04.858Z");
        assert_eq!(shown(90), "2024-05-10T00:20:04.858Z", "no whole minute");
    }

    #[test]
    fn moments_compare_as_instants() {
        let micros = |from| moment(from, None).map(|moment| moment.micros);
        assert_eq!(micros("2024-05-21T17:45:12+02:00"), micros("2024-05-21T15:45:12Z"));
    }
}
