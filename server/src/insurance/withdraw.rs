//! `Claim/[id]/$withdraw`: cancels a claim that its payer does not have.
//!
//! | status | when |
//! |---|---|
//! | 200 | the ClaimResponse: cancelled, and so is the Claim |
//! | 409 | the payer has it, or may have it, and cannot be told: only the insurer's side can cancel it there |
//! | 422 | it was never submitted: its status is written like every other element |
//!
//! A payer that takes withdrawals is told, and the ClaimResponse says so until it has heard.
//! A claim that the payer's side cancelled is cancelled here with it, by the same operation.

use std::sync::Arc;

use fhir::outcome::{Issue, IssueCode};
use store::claim_submissions::{self, Intent, State, Submission};

use super::{response, submit};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::bundle::{self, Also};
use crate::rest::operation::Invocation;
use crate::rest::response::Answer;

/// The operation.
pub async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    of(app, caller, &invocation.target.id).await
}

/// Withdraws the Claim of this id.
pub async fn of(app: &App, caller: &Caller, id: &str) -> Result<Answer, Error> {
    access::decide(caller, Interaction::Update, "Claim")?;
    let (claim, version) = submit::stored(app, caller, id).await?;
    let Some(before) = claim_submissions::find(&app.store, id).await? else {
        let text = "the Claim was never submitted; change its status to cancelled with PUT or PATCH";
        return Err(Error::unprocessable(Issue::error(IssueCode::BusinessRule, text).at("Claim.status")));
    };
    let is_there = before.state == State::Cancelled;
    let is_unsent = before.intent == Intent::Submit && matches!(before.state, State::Waiting | State::Refused);
    if !is_there && !is_unsent {
        let told = submit::take_back(app, caller, &claim, version, &before).await?;
        return told.ok_or_else(is_with_the_payer);
    }
    let text = "withdrawn here; the payer does not have it";
    let reason = if is_there { before.reason.clone() } else { said(text) };
    let now = app.clock.now();
    let next = Submission { state: State::Cancelled, reason, changed_at: now, ..before };
    let mut transaction = response::bundle(&next, &app.config.adapter_namespace);
    response::push(&mut transaction, response::with_status(&claim, version, "cancelled"));
    let row = Arc::new(next);
    let also: Also = Arc::new(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            if is_there || claim_submissions::withdraw(tx, &row.claim, &row.reason, now).await? {
                return Ok(());
            }
            Err(is_with_the_payer())
        })
    });
    submit::first(&bundle::execute_with(app, caller, transaction, also).await?)
}

fn said(text: &str) -> String {
    fhir::outcome::outcome(&[Issue::information(IssueCode::Informational, text)]).to_string()
}

fn is_with_the_payer() -> Error {
    let text = "the payer has this claim, or may have it; the insurer's side has to cancel it, and that is seen here";
    Error::conflict(Issue::error(IssueCode::BusinessRule, text).at("Claim.status"))
}
