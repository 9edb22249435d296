//! Validic Inform: records by event stream or by asking, and Smart Meter's devices connected to users.
//! <https://helpdocs.validic.com>
//!
//! The service wants its token in the URL, which is therefore never logged. A message is known by the record's id, its
//! checksum and its deletion: however often and by whichever way it comes, it is applied once.

use fhir::json::Json;

use super::{Failure, Field, Held, Kind, Opened, Question, Sort};
use crate::app::App;

pub mod devices;
mod records;
mod stream;

/// The row of the table of kinds.
pub const KIND: Kind = Kind {
    vendor: VENDOR,
    about: "Validic Inform: records by event stream, else by asking; devices of Smart Meter",
    base_url: Some("https://api.v2.validic.com"),
    credentials: &[Field::text("token", None, "token of the organization")],
    settings: &[
        Field::text("organization", None, "id of the organization"),
        Field::text("stream", Some(""), "id of the stream to read; without one the service is asked again and again"),
        Field {
            sort: Sort::Url,
            ..Field::text("stream-url", Some("https://streams.v2.validic.com"), "where streams are")
        },
        Field {
            sort: Sort::Url,
            ..Field::text("connect-url", Some("https://syncmydevice.com"), "where devices connect")
        },
        Field::text("resources", Some("measurements"), "what is asked for, separated by commas"),
        Field::number("poll-seconds", "300", "how often, where there is no stream"),
        Field::number("catch-up-days", "7", "how far back the first time, 30 at most"),
    ],
    check: |app, opened| Box::pin(check(app, opened)),
    poll: Some(|held| Box::pin(poll(held))),
};

/// Name of the vendor.
const VENDOR: &str = "validic";

/// Most days that one question may be about.
const MOST_DAYS: i64 = 30;

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

async fn check(app: &App, opened: &Opened) -> Result<String, Failure> {
    let question = users(opened)?.with("limit", "1");
    opened.client(app)?.ask(&question).await?.json()?;
    Ok("the service answers, and knows the organization".to_owned())
}

async fn poll(held: &Held) -> Result<u64, Failure> {
    if held.opened.setting("stream").is_some() {
        stream::follow(held).await?;
        return Ok(0);
    }
    records::catch_up(held).await?;
    Ok(held.opened.number("poll-seconds").max(1))
}

/// The users of the organization.
fn users(opened: &Opened) -> Result<Question, Failure> {
    let organization = opened.required("organization")?;
    Ok(Question::get(&["organizations", organization, "users"]).with("token", opened.credential("token")?))
}

/// From which day on records are asked for: the day before the one up to which all is known, or as far back as the
/// settings say.
fn since(held: &Held) -> i64 {
    let now = held.app.clock.now();
    let days = i64::try_from(held.opened.number("catch-up-days")).unwrap_or(MOST_DAYS).min(MOST_DAYS);
    let known = held.opened.cursor().str("at").and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let known = known.map(|at| at.as_microsecond() - DAY_MICROS);
    known.unwrap_or(now - days * DAY_MICROS).max(now - MOST_DAYS * DAY_MICROS)
}

/// The cursor that says that all up to an instant is known.
fn known_until(micros: i64) -> Json {
    let at = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    fhir::object! { "at": at.to_string() }
}

/// A day as the service writes it.
fn day(micros: i64) -> String {
    let at = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    at.strftime("%Y-%m-%d").to_string()
}
