//! `Claim/$worklist`: what a billing officer has to look at.
//!
//! Of a claim that the caller cannot see nothing is told, and it is in no sum.

use std::collections::BTreeMap;

use adapters::money;
use fhir::date::format_instant;
use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::IssueCode;
use store::claim_submissions::{self, STATES, State, Submission};

use super::response;
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::operation::Invocation;
use crate::rest::response::Answer;

/// Most claims of a list.
const MOST: u64 = 1_000;

/// A Parameters resource: a `claim` for each, the longest unchanged first, and a `total` for each payer, state and
/// currency.
pub async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    access::decide(caller, Interaction::Read, "Claim")?;
    let mut states = Vec::new();
    for word in invocation.input.listed("state") {
        let known = || STATES.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(", ");
        let unknown = || format!("there is no state {word}; there are {}", known());
        let issue = |text| Error::bad_request(fhir::outcome::Issue::error(IssueCode::Value, text));
        states.push(State::parse(word).ok_or_else(|| issue(unknown()))?);
    }
    if states.is_empty() {
        states = STATES.iter().copied().filter(|state| !state.is_done()).collect();
    }
    let (mut parameters, mut sums) = (Vec::new(), BTreeMap::new());
    for submission in claim_submissions::list(&app.store, &states, MOST).await? {
        let claim = app.store.read(&caller.view, "Claim", &submission.claim).await?;
        let Some(claim) = claim.filter(|claim| !claim.deleted) else { continue };
        caller.saw(&claim.body);
        let key = (submission.payer.clone(), submission.state.as_str(), submission.currency.clone());
        let sum: &mut (usize, Decimal) = sums.entry(key).or_insert_with(|| (0, Decimal::from(0)));
        let net = Decimal::parse(&submission.net).ok_or_else(|| Error::internal("a submission without an amount"))?;
        sum.0 += 1;
        sum.1 = money::sum([&sum.1, &net]).ok_or_else(|| Error::internal("a sum that is too large"))?;
        parameters.push(described(&submission));
    }
    for ((payer, state, currency), (count, net)) in sums {
        let amount = fhir::object! { "value": money::json(&net), "currency": currency };
        parameters.push(fhir::object! { "name": "total", "part": fhir::array![
            part("payer", "valueString", payer),
            part("state", "valueCode", state),
            part("count", "valueInteger", count as i64),
            part("net", "valueMoney", amount),
        ]});
    }
    let mut resource = fhir::object! { "resourceType": "Parameters" };
    if let Some(members) = resource.as_object_mut().filter(|_| !parameters.is_empty()) {
        members.insert("parameter", parameters);
    }
    Ok(Answer::resource(resource.to_string()))
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
    ];
    parts.extend(response::reasons(submission).map(|text| part("reason", "valueString", text)));
    fhir::object! { "name": "claim", "part": parts }
}

fn part(name: &str, kind: &str, value: impl Into<Json>) -> Json {
    let mut part = fhir::json::Object::new();
    part.insert("name", name);
    part.insert(kind, value);
    part.into()
}
