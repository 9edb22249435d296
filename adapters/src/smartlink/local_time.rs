//! SmartLink's times: local, without an offset, to the second. `2025-06-01 10:45:00`

use jiff::civil;
use jiff::tz::TimeZone;

use super::Facts;
use crate::time;

/// A FHIR dateTime with an offset as SmartLink writes it; nothing for a date without a time.
pub(super) fn written(text: &str, facts: &Facts<'_>) -> Option<String> {
    let moment = time::moment(text, None).ok()?;
    let zone = TimeZone::get(&facts.zone()).ok()?;
    let shown = jiff::Timestamp::from_microsecond(moment.micros).ok()?.to_zoned(zone);
    Some(shown.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// SmartLink's time as FHIR writes it.
pub(super) fn read(text: &str, facts: &Facts<'_>) -> Option<String> {
    time::moment(text, Some(&facts.zone())).ok().map(|moment| moment.text)
}

/// Today, where SmartLink is.
pub(super) fn today(facts: &Facts<'_>) -> Option<civil::Date> {
    let zone = TimeZone::get(&facts.zone()).ok()?;
    Some(jiff::Timestamp::from_microsecond(facts.context.now).ok()?.to_zoned(zone).date())
}
