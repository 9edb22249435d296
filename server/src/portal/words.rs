//! Instants and days as people read them, and hashes as forms carry them.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use smart::token::Hash;

/// A day, microseconds.
pub const DAY: i64 = 24 * 3_600_000_000;

/// `22 November 2026, 14:03 UTC`.
pub fn moment(micros: i64) -> String {
    format_at(micros, "%-d %B %Y, %H:%M UTC")
}

/// `22 November 2026, 14:03:07 UTC`.
pub fn instant(micros: i64) -> String {
    format_at(micros, "%-d %B %Y, %H:%M:%S UTC")
}

/// `22 November 2026`.
pub fn day(micros: i64) -> String {
    format_at(micros, "%-d %B %Y")
}

/// `2026-11-22`, as date fields of forms have it.
pub fn date_field(micros: i64) -> String {
    format_at(micros, "%Y-%m-%d")
}

/// The start of a day that a date field names, microseconds since 1970, UTC.
pub fn of_date_field(text: &str) -> Option<i64> {
    let date: Date = text.parse().ok()?;
    let start = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond();
    (0..=253_402_300_799_000_000).contains(&start).then_some(start)
}

/// A hash as the field of a form has it.
pub fn hexadecimal(hash: Hash) -> String {
    fhir::hexadecimal(hash.as_bytes())
}

/// Reads it back.
pub fn of_hexadecimal(text: &str) -> Option<Hash> {
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    Hash::from_bytes(&bytes?)
}

fn format_at(micros: i64, format: &str) -> String {
    let instant = Timestamp::from_microsecond(micros).unwrap_or_default();
    instant.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_told_in_words() {
        let instant = 1_795_356_180_000_000; // 2026-11-22T14:03:00Z
        assert_eq!(moment(instant), "22 November 2026, 14:03 UTC");
        assert_eq!(date_field(instant), "2026-11-22");
        assert_eq!(of_date_field("2026-11-22"), Some(instant - instant % DAY));
        for wrong in ["", "22.11.2026", "2026-13-01", "1969-12-31", "-000001-01-01"] {
            assert_eq!(of_date_field(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hashes_are_read_back() {
        let hash = Hash::from_bytes(&[0xab; 32]).expect("32 bytes");
        assert_eq!(of_hexadecimal(&hexadecimal(hash)), Some(hash));
        for damaged in ["", "ab", "zz", "abc"] {
            assert_eq!(of_hexadecimal(damaged), None);
        }
    }
}
