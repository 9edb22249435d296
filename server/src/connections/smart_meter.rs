//! Smart Meter's own service, asked again and again for what it took in since. The shapes are known from public code of
//! those who ask it, not from the vendor.
//!
//! ```text
//! POST /readings/ {api_key, date_start, date_end, ingest_date_start, ingest_date_end} ─▶ one message a reading ─▶ inbox
//! ```
//!
//! There are no pages: what was taken in is asked for in windows of a day, and each window overlaps what was read before.
//! A reading is known by its id and its content; told again, it is counted and not applied again.

use adapters::Refusal;
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use sha2::{Digest as _, Sha256};

use super::{Failure, Field, Held, Kind, Opened, Question, Told, adapter_of};
use crate::app::App;

/// The row of the table of kinds.
pub(super) const KIND: Kind = Kind {
    vendor: VENDOR,
    about: "Smart Meter's own service: readings by the time at which it took them in",
    base_url: Some("https://api.iglucose.com"),
    credentials: &[Field::text("api-key", None, "key, sent in the body of each question")],
    settings: &[
        Field::text("reading-types", Some(""), "which readings, separated by commas; without it all"),
        Field::text("recorded-time", Some("utc"), "utc or local: what date_recorded is"),
        Field::number("poll-seconds", "300", "how often it is asked"),
        Field::number("catch-up-days", "7", "how far back the first time"),
        Field::number("overlap-minutes", "60", "how much is asked for again: what came late"),
        Field::number("late-days", "60", "how old a reading may be when it comes"),
    ],
    check: |app, opened| Box::pin(check(app, opened)),
    poll: Some(|held| Box::pin(poll(held))),
};

/// Name of the vendor.
const VENDOR: &str = "smart_meter";

const MINUTE_MICROS: i64 = 60 * 1_000_000;
const DAY_MICROS: i64 = 24 * 60 * MINUTE_MICROS;

/// Longest time that one question is about: bounds its answer.
const WINDOW_MICROS: i64 = DAY_MICROS;

async fn check(app: &App, opened: &Opened) -> Result<String, Failure> {
    let now = app.clock.now();
    let found = readings(app, opened, (now - MINUTE_MICROS, now)).await?;
    Ok(format!("the service answers, with {} reading(s) of the last minute", found.len()))
}

async fn poll(held: &Held) -> Result<u64, Failure> {
    let (app, opened) = (&held.app, &held.opened);
    let now = app.clock.now();
    let micros = |name: &str, unit: i64| i64::try_from(opened.number(name)).unwrap_or(0).saturating_mul(unit);
    let known = opened.cursor().str("at").and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let known = known.map(|at| at.as_microsecond() - micros("overlap-minutes", MINUTE_MICROS));
    let mut from = known.unwrap_or(now - micros("catch-up-days", DAY_MICROS)).min(now);
    loop {
        let until = (from + WINDOW_MICROS).min(now);
        let found = readings(app, opened, (from, until)).await?;
        let told = found.iter().filter_map(|reading| told(opened, reading)).collect();
        let cursor = fhir::object! { "at": written(until, "%Y-%m-%dT%H:%M:%SZ") };
        held.keep(told, Some(&cursor)).await?;
        if until == now {
            return Ok(opened.number("poll-seconds").max(1));
        }
        from = until;
    }
}

/// The readings that the service took in between two instants.
async fn readings(app: &App, opened: &Opened, (from, until): (i64, i64)) -> Result<Vec<Json>, Failure> {
    let late = i64::try_from(opened.number("late-days")).unwrap_or(0).saturating_mul(DAY_MICROS);
    let text = |micros: i64| written(micros, "%Y-%m-%dT%H:%M:%S");
    let mut body = Object::new();
    body.insert("api_key", opened.credential("api-key")?);
    // A meter's clock may be wrong by a day.
    body.insert("date_start", text(from.saturating_sub(late)));
    body.insert("date_end", text(until.saturating_add(DAY_MICROS)));
    body.insert("ingest_date_start", text(from));
    body.insert("ingest_date_end", text(until));
    if let Some(kinds) = opened.setting("reading-types") {
        let kinds: Vec<Json> = kinds.split(',').map(|kind| kind.trim().into()).collect();
        body.insert("reading_type", kinds);
    }
    let question = Question::post(&["readings", ""]).json(&body.into());
    let answer = opened.client(app)?.ask(&question).await?;
    refused(&answer.body)?;
    let missing = || Failure::Unreadable("it holds no readings".to_owned());
    match answer.json()?.get("readings") {
        Some(Json::Array(readings)) => Ok(readings.clone()),
        _ => Err(missing()),
    }
}

/// What is wrong is said in the body.
fn refused(body: &[u8]) -> Result<(), Failure> {
    let shape = adapter_of(VENDOR)?.shape("readings");
    let Some(Err(Refusal::Vendor { status, issues, retry_after })) = shape.map(|shape| (shape.receive)(body)) else {
        return Ok(());
    };
    let text = issues.iter().filter_map(|issue: &Issue| issue.diagnostics.as_deref()).collect::<Vec<_>>().join("; ");
    Err(match issues.first().map(|issue| issue.code) {
        Some(IssueCode::Login) => Failure::Login(text),
        Some(IssueCode::Throttled) => Failure::Throttled(retry_after),
        _ => Failure::Refused { status, text },
    })
}

fn told(opened: &Opened, reading: &Json) -> Option<Told> {
    let text = reading.to_string();
    let id = reading.get("reading_id").and_then(|id| id.as_str().or(id.as_number()));
    let Some(id) = id else {
        tracing::warn!(vendor = VENDOR, "a reading without reading_id is passed over");
        return None;
    };
    let content = fhir::hexadecimal(&Sha256::digest(text.as_bytes())[..16]);
    let local = opened.setting("recorded-time") == Some("local");
    Some(Told {
        shape: "push",
        delivery: Some(format!("reading:{id}:{content}")),
        query: if local { "recorded_time=local".to_owned() } else { String::new() },
        body: text.into_bytes(),
        ..Told::default()
    })
}

fn written(micros: i64, format: &str) -> String {
    jiff::Timestamp::from_microsecond(micros).unwrap_or_default().strftime(format).to_string()
}
