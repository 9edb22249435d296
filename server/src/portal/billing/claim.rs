//! `GET|POST /portal/billing/{claim}`: one claim: what was sent, what was answered, what to do; sending it again, and
//! taking it back.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use fhir::json::Json;
use store::claim_exchanges;
use store::claim_submissions::{self, Intent, RecordState, State, Submission};

use super::super::frame::Frame;
use super::super::page;
use super::super::words::moment;
use super::{Tag, biller, patient_of, payer_name, tag};
use crate::account::visitor::{Refused, State as AppState, Visitor, go, show};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Kind;
use crate::insurance::submit::{self, Choice};
use crate::insurance::{overview, response, withdraw};
use crate::oauth::patients::of_patient;

#[derive(Template)]
#[template(path = "billing-claim.html")]
struct ClaimPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    id: String,
    invoice: String,
    who: String,
    visit: String,
    payer: String,
    amount: String,
    tag: Tag,
    since: String,
    advice: &'static str,
    reasons: Vec<String>,
    notes: Vec<String>,
    record: Option<&'static str>,
    /// Why the last thing that was asked for did not happen.
    problems: Vec<String>,
    attempts: i64,
    sent: Option<String>,
    path: String,
    body: String,
    exchanges: Vec<Line>,
    may_resubmit: bool,
    may_withdraw: bool,
}

/// A question and its answer.
struct Line {
    at: String,
    asked: String,
    status: String,
    answer: String,
    led_to: &'static str,
}

/// The page.
pub async fn get(app: AppState, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let caller = biller(&app, &visitor).await?.attached(&request);
    shown(&app, &visitor, &caller, &request, Vec::new()).await
}

/// Sends it again, or takes it back; where that cannot be, the page says why.
pub async fn post(app: AppState, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let caller = biller(&app, &visitor).await?.attached(&request);
    let (claim, version) = claim_of(&app, &caller, &request).await?;
    let id = claim.str("id").unwrap_or_default();
    let done = match form.get("do") {
        Some("submit") => {
            let before = claim_submissions::find(&app.store, id).await?.ok_or(Refused::NotFound)?;
            let (benefit, interim) = submit::chosen_before(&before);
            let choice = Choice { benefit: benefit.as_deref(), interim };
            submit::one(&app, &caller, &claim, version, &choice).await
        }
        Some("withdraw") => withdraw::of(&app, &caller, id).await,
        _ => return Err(Refused::Invalid("Choose what becomes of the claim.".to_owned())),
    };
    match done {
        Ok(_) => Ok(go(&app, &format!("/portal/billing/{id}"))),
        Err(error) if error.kind() == Kind::Internal => Err(error.into()),
        Err(error) => {
            let problems = error.issues().iter().map(submit::in_words).collect();
            shown(&app, &visitor, &caller, &request, problems).await
        }
    }
}

/// The Claim of the address, and its version; what was never submitted is not here.
async fn claim_of(app: &App, caller: &Caller, request: &HttpRequest) -> Result<(Json, i64), Refused> {
    let id = request.match_info().query("claim");
    match submit::stored(app, caller, id).await {
        Ok(found) => Ok(found),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Gone) => Err(Refused::NotFound),
        Err(error) => Err(error.into()),
    }
}

async fn shown(
    app: &App,
    visitor: &Visitor,
    caller: &Caller,
    request: &HttpRequest,
    problems: Vec<String>,
) -> Result<HttpResponse, Refused> {
    let (claim, _) = claim_of(app, caller, request).await?;
    let id = claim.str("id").unwrap_or_default().to_owned();
    let submission = claim_submissions::find(&app.store, &id).await?.ok_or(Refused::NotFound)?;
    let exchanges = claim_exchanges::of_claim(&app.store, &id).await?;
    let patient = patient_of(&claim);
    let people = overview::visible(app, caller, "Patient", patient.iter().map(String::as_str)).await?;
    let who = people.iter().next().map(|(id, patient)| of_patient(id, patient).name).or(patient);
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = ClaimPage {
        style: page::STYLE,
        frame: Frame::of(visitor, "billing"),
        who: who.unwrap_or_default(),
        payer: payer_name(&submission.payer),
        amount: format!("{} {}", submission.net, submission.currency),
        tag: tag(submission.state),
        since: moment(submission.changed_at),
        advice: response::advice(submission.state),
        reasons: response::reasons(&submission).collect(),
        notes: response::notes(&submission),
        record: submission.record_state.map(record_words),
        problems,
        attempts: submission.attempts,
        sent: (submission.sent_at > 0).then(|| moment(submission.sent_at)),
        path: submission.path.split('?').next().unwrap_or_default().to_owned(),
        body: pretty(&submission.body),
        exchanges: exchanges.iter().map(line).collect(),
        may_resubmit: submission.state.may_be_submitted_again(),
        may_withdraw: may_withdraw(&submission, &claim),
        invoice: submission.invoice,
        visit: submission.visit,
        id,
    };
    Ok(show(&page, status, None))
}

fn may_withdraw(submission: &Submission, claim: &Json) -> bool {
    match submission.state {
        State::Refused => true,
        State::Waiting => submission.attempts == 0 && submission.intent == Intent::Submit,
        State::Cancelled => claim.str("status") != Some("cancelled"),
        // A payer that takes changes is told.
        state if state.stands() && submission.intent == Intent::Submit => {
            adapters::payer::find(&submission.payer).is_some_and(|payer| payer.takes_changes)
        }
        _ => false,
    }
}

fn record_words(state: RecordState) -> &'static str {
    match state {
        RecordState::Waiting => "Diagnoses that came later are on their way.",
        RecordState::Sent => "The payer has the diagnoses that came later.",
        RecordState::Refused => "The payer did not take the diagnoses that came later.",
        RecordState::GivenUp => "The diagnoses that came later could not be sent.",
    }
}

fn line(exchange: &claim_exchanges::Exchange) -> Line {
    Line {
        at: moment(exchange.at),
        asked: exchange.asked.clone(),
        status: if exchange.status == 0 { "no answer".to_owned() } else { exchange.status.to_string() },
        answer: pretty(&exchange.answer),
        led_to: State::parse(&exchange.state).map_or("", |state| tag(state).words),
    }
}

/// JSON with a line for each member; anything else as it is.
fn pretty(text: &str) -> String {
    Json::parse(text.as_bytes()).map_or_else(|_| text.to_owned(), |json| json.to_pretty())
}
