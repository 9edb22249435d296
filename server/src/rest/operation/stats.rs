//! `$stats`: statistics of a subject's observations. <https://hl7.org/fhir/R4/observation-operation-stats.html>
//!
//! ```text
//! subject, codes, time ─▶ search (with the view) ─▶ measurements by code ─▶ one unit each ─▶ Observation each
//! ```
//!
//! A code is looked for in `Observation.code` and in `component.code`; of a panel, the statistics are of its parts:
//! components, and members that the caller can see. Values of other units are converted by UCUM to that of the newest;
//! what cannot be converted has an Observation of its own. A value with a comparator (`<5`) is no number. Observations
//! that are cancelled or entered in error, and those with a modifier extension, do not count at all.

use fhir::date::{DateTime, format_instant};
use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::object;
use fhir::outcome::IssueCode;
use fhir::reference::Reference;
use fhir::statistics::{STATISTICS, Statistic};
use search::query::Filter;
use store::Stored;

use super::{Invocation, invalid, parameters};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::response::Answer;
use crate::rest::search::prepare;

mod measurement;
mod result;

use measurement::{Code, Measurements};

/// Most observations that statistics are of.
const MAX_OBSERVATIONS: usize = 20_000;
/// Most observations that are answered.
const MAX_SOURCES: usize = 1000;
/// How many are looked at together.
const PAGE: usize = 1000;
/// Most ids of one look-up.
const AT_ONCE: usize = 500;

/// What is asked.
struct Asked {
    /// `Patient/1`.
    subject: String,
    codes: Vec<Code>,
    /// Start and end, as written or computed.
    start: Option<String>,
    end: Option<String>,
    statistics: Vec<Statistic>,
}

/// Computes.
pub(super) async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    let asked = asked(app, invocation)?;
    let sources = observations(app, caller, &asked).await?;
    let mut measurements = Measurements::new(&asked.codes);
    let mut members = Vec::new();
    for stored in &sources {
        let observation = Json::parse(stored.body.as_bytes()).map_err(Error::internal)?;
        members.extend(measurements.add(&observation, false));
    }
    let members = members_of(app, caller, &asked, &sources, members).await?;
    for stored in &members {
        measurements.add(&Json::parse(stored.body.as_bytes()).map_err(Error::internal)?, true);
    }
    let mut answered: Vec<Json> = Vec::new();
    for observation in result::observations(&asked, &measurements) {
        answered.push(object! { "name": "statistics", "resource": observation });
    }
    if invocation.input.text("include") == Some("true") {
        let most = invocation.input.number("limit").unwrap_or(MAX_SOURCES).min(MAX_SOURCES);
        for stored in sources.iter().chain(&members).take(most) {
            let observation = Json::parse(stored.body.as_bytes()).map_err(Error::internal)?;
            answered.push(object! { "name": "source", "resource": observation });
        }
    }
    Ok(Answer::resource(parameters(answered).to_string()))
}

fn asked(app: &App, invocation: &Invocation) -> Result<Asked, Error> {
    let input = &invocation.input;
    let text = input.text("subject").unwrap_or_default();
    let Reference::Local { resource_type, id, .. } = Reference::parse(text, &app.config.fhir_base()) else {
        return Err(invalid(
            IssueCode::Value,
            format!("subject {text:?} must be a reference to this server: Patient/[id]"),
        ));
    };
    let mut statistics: Vec<Statistic> = Vec::new();
    for code in input.listed("statistic") {
        let found: Vec<Statistic> = Statistic::of(code).collect();
        if found.is_empty() {
            let mut known: Vec<&str> = STATISTICS.iter().map(|known| known.code).collect();
            known.dedup();
            let text = format!("statistic {code} is not supported; there are {}", known.join(", "));
            return Err(invalid(IssueCode::NotSupported, text));
        }
        for statistic in found {
            if !statistics.contains(&statistic) {
                statistics.push(statistic);
            }
        }
    }
    let (start, end) = time(app, invocation)?;
    Ok(Asked { subject: format!("{resource_type}/{id}"), codes: codes(invocation)?, start, end, statistics })
}

fn codes(invocation: &Invocation) -> Result<Vec<Code>, Error> {
    let input = &invocation.input;
    let system = input.text("system");
    let mut codes: Vec<Code> = Vec::new();
    for text in input.all("code").filter_map(Json::as_str) {
        let (own, code) = text.split_once('|').map_or((None, text), |(system, code)| (Some(system), code));
        codes.push(Code::new(own.or(system), code));
    }
    for coding in input.all("coding") {
        let Some(code) = coding.str("code") else {
            return Err(invalid(IssueCode::Required, "coding needs a code"));
        };
        codes.push(Code::new(coding.str("system"), code));
    }
    codes.dedup();
    if codes.is_empty() || codes.iter().any(Code::is_empty) {
        return Err(invalid(IssueCode::Required, "say what was measured: code=… (and system=…), or coding"));
    }
    if let Some(code) = codes.iter().find(|code| !code.is_valid()) {
        return Err(invalid(IssueCode::Value, format!("{code:?} is no code with the URI of its system")));
    }
    Ok(codes)
}

fn time(app: &App, invocation: &Invocation) -> Result<(Option<String>, Option<String>), Error> {
    const HOUR: i128 = 3_600_000_000;
    let (duration, period) = (invocation.input.text("duration"), invocation.input.value("period"));
    let date = |name: &str, text: &str| match DateTime::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(invalid(IssueCode::Value, format!("period.{name} {text:?} is no date"))),
    };
    match (duration, period) {
        (Some(_), Some(_)) => Err(invalid(IssueCode::Invalid, "duration and period exclude each other")),
        (None, None) => Ok((None, None)),
        (None, Some(period)) => {
            let bound = |name: &str| period.str(name).map(|text| date(name, text)).transpose();
            Ok((bound("start")?, bound("end")?))
        }
        (Some(hours), None) => {
            let micros = Decimal::parse(hours).and_then(|hours| hours.to_scaled()).and_then(|(mantissa, scale)| {
                let micros = mantissa.checked_mul(HOUR)? / 10_i128.checked_pow(scale)?;
                i64::try_from(micros).ok().filter(|micros| (1..=HOUR as i64 * 1_000_000).contains(micros))
            });
            let micros =
                micros.ok_or_else(|| invalid(IssueCode::Value, "duration must be a positive number of hours"))?;
            let now = app.clock.now();
            Ok((Some(format_instant(now - micros)), Some(format_instant(now))))
        }
    }
}

/// What has one of the codes, newest first.
async fn observations(app: &App, caller: &Caller, asked: &Asked) -> Result<Vec<Stored>, Error> {
    let tokens: Vec<String> = asked.codes.iter().map(Code::token).collect();
    let mut pairs = within(asked);
    pairs.push(("combo-code".to_owned(), tokens.join(",")));
    let mut query = prepare(app, caller, "Observation", &pairs, false).await?.query;
    query.count = PAGE;
    let mut found = Vec::new();
    loop {
        let page = app.store.search(&caller.view, &query).await?;
        caller.saw_page(&page);
        found.extend(page.matches);
        if found.len() > MAX_OBSERVATIONS {
            let text = format!("there are more than {MAX_OBSERVATIONS} observations; ask for a shorter period");
            return Err(invalid(IssueCode::TooCostly, text));
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(found),
        }
    }
}

/// What panels name as their members, less what was found already.
async fn members_of(
    app: &App,
    caller: &Caller,
    asked: &Asked,
    sources: &[Stored],
    members: Vec<String>,
) -> Result<Vec<Stored>, Error> {
    let base = app.config.fhir_base();
    let mut ids: Vec<String> = members
        .iter()
        .filter_map(|text| match Reference::parse(text, &base) {
            Reference::Local { resource_type, id, .. } if resource_type == "Observation" => Some(id),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| !sources.iter().any(|stored| stored.id == *id));
    if ids.len() > MAX_OBSERVATIONS {
        return Err(invalid(IssueCode::TooCostly, "the panels have too many members; ask for a shorter period"));
    }
    let mut found = Vec::new();
    for some in ids.chunks(AT_ONCE) {
        let mut query = prepare(app, caller, "Observation", &within(asked), false).await?.query;
        query.filters.push(Filter::Id(some.to_vec()));
        query.count = some.len();
        let page = app.store.search(&caller.view, &query).await?;
        caller.saw_page(&page);
        found.extend(page.matches);
    }
    Ok(found)
}

/// Whose, and when.
fn within(asked: &Asked) -> Vec<(String, String)> {
    let mut pairs = vec![("subject".to_owned(), asked.subject.clone())];
    let bounds = [("ge", &asked.start), ("le", &asked.end)];
    let bounds = bounds.into_iter().filter_map(|(prefix, bound)| Some(format!("{prefix}{}", bound.as_ref()?)));
    pairs.extend(bounds.map(|bound| ("date".to_owned(), bound)));
    pairs
}
