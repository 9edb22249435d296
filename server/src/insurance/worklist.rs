//! `Claim/$worklist`: what a billing officer has to look at.
//!
//! Of a claim that the caller cannot see nothing is told, and it is in no sum.

use adapters::money;
use fhir::date::format_instant;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use store::claim_submissions::{STATES, State, Submission, Wanted};

use super::overview::{self, Ending};
use super::response;
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::operation::Invocation;
use crate::rest::response::Answer;

/// Claims of an answer where nothing is said, and at most.
const MOST: usize = 1_000;

/// A Parameters resource: a `claim` for each, the longest unchanged first, a `total` for each payer, state and
/// currency, and a `session` for each that is about to expire or expired lately.
pub async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    let input = &invocation.input;
    let states = states(input.listed("state"))?;
    let wanted = Wanted { states: &states, payer: input.text("payer"), ..Wanted::default() };
    let after = input.text("_cursor").map(|text| cursor(text).ok_or_else(|| wrong("_cursor is none of ours")));
    let of_page = Wanted { after: after.transpose()?, ..wanted.clone() };
    let count = input.number("_count").unwrap_or(MOST).clamp(1, MOST);
    let claims = overview::claims(app, caller, &of_page, count).await?;
    let mut parameters: Vec<Json> = claims.shown.iter().map(|seen| described(&seen.submission)).collect();
    let (sums, is_cut) = overview::sums(app, caller, &wanted).await?;
    for ((payer, state, currency), (count, net)) in sums {
        let amount = fhir::object! { "value": money::json(&net), "currency": currency };
        parameters.push(fhir::object! { "name": "total", "part": fhir::array![
            part("payer", "valueString", payer),
            part("state", "valueCode", state),
            part("count", "valueInteger", count as i64),
            part("net", "valueMoney", amount),
        ]});
    }
    if is_cut {
        parameters.push(part("cut", "valueBoolean", true));
    }
    parameters.extend(overview::sessions(app, caller).await?.iter().map(of_session));
    if let Some((at, claim)) = claims.next {
        parameters.push(part("next", "valueString", format!("{at}:{claim}")));
    }
    let mut resource = fhir::object! { "resourceType": "Parameters" };
    if let Some(members) = resource.as_object_mut().filter(|_| !parameters.is_empty()) {
        members.insert("parameter", parameters);
    }
    Ok(Answer::resource(resource.to_string()))
}

/// The states of these words; where there are none, all in which there is something to do.
pub fn states<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<State>, Error> {
    let mut states = Vec::new();
    for word in words {
        let known = || STATES.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(", ");
        let unknown = || wrong(&format!("there is no state {word}; there are {}", known()));
        states.push(State::parse(word).ok_or_else(unknown)?);
    }
    if states.is_empty() {
        states = STATES.iter().copied().filter(|state| !state.is_done()).collect();
    }
    Ok(states)
}

/// Where a list goes on.
pub fn cursor(text: &str) -> Option<(i64, String)> {
    let (at, claim) = text.split_once(':')?;
    Some((at.parse().ok()?, claim.to_owned())).filter(|_| !claim.is_empty() && claim.len() <= 64)
}

fn wrong(text: &str) -> Error {
    Error::bad_request(Issue::error(IssueCode::Value, text))
}

fn described(submission: &Submission) -> Json {
    let net = Json::Number(submission.net.as_str().into());
    let mut parts = vec![
        part("claim", "valueReference", fhir::object! { "reference": format!("Claim/{}", submission.claim) }),
        part("payer", "valueString", submission.payer.as_str()),
        part("invoice", "valueString", submission.invoice.as_str()),
        part("state", "valueCode", submission.state.as_str()),
        part("since", "valueInstant", format_instant(submission.changed_at)),
        part("net", "valueMoney", fhir::object! { "value": net, "currency": submission.currency.as_str() }),
        part("attempts", "valueInteger", submission.attempts),
        part("again", "valueBoolean", submission.state.may_be_submitted_again()),
        part("advice", "valueString", response::advice(submission.state)),
    ];
    parts.extend(response::reasons(submission).map(|text| part("reason", "valueString", text)));
    fhir::object! { "name": "claim", "part": parts }
}

fn of_session(ending: &Ending) -> Json {
    let session = &ending.session;
    let mut parts = vec![
        part("payer", "valueString", session.payer.as_str()),
        part("session", "valueString", session.session.as_str()),
        part("status", "valueCode", session.status.as_str()),
        part("expires", "valueInstant", format_instant(ending.expires_at)),
    ];
    if let Some(patient) = &ending.patient {
        parts.push(part("patient", "valueReference", fhir::object! { "reference": format!("Patient/{patient}") }));
    }
    if let Some(state) = ending.claim {
        parts.push(part("claim-state", "valueCode", state.as_str()));
    }
    fhir::object! { "name": "session", "part": parts }
}

fn part(name: &str, kind: &str, value: impl Into<Json>) -> Json {
    let mut part = fhir::json::Object::new();
    part.insert("name", name);
    part.insert(kind, value);
    part.into()
}
