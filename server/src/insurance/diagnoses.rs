//! `Claim/[id]/$send-diagnoses`: the diagnoses of a visit, where they were made after its claim went to the payer.
//!
//! | status | when |
//! |---|---|
//! | 200 | the ClaimResponse: the diagnoses are on their way, and its extension `record-status` says how far |
//! | 404 | the Claim, its Encounter or a Condition is unknown or hidden |
//! | 409 | the payer does not have the claim yet, or diagnoses of it are on their way |
//! | 422 | no diagnosis is the first one, or one has no code that the payer knows |
//!
//! They are the Conditions of the Encounter with category `encounter-diagnosis`; the rank of `Encounter.diagnosis` says
//! which is the first. They travel in the row of the claim, and are sent again until the payer answers: that moves no
//! money, and says the same of the same invoice.

use std::sync::Arc;

use adapters::Context;
use adapters::payer::Ask;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use store::claim_submissions::{self, FOLLOWED, RecordState, Submission};

use super::gather::gather;
use super::{account, overview, response, submit};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::bundle::{self, Also};
use crate::rest::operation::Invocation;
use crate::rest::response::Answer;

/// The operation.
pub async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    access::decide(caller, Interaction::Update, "Claim")?;
    let id = invocation.target.id.as_str();
    let (claim, _) = submit::stored(app, caller, id).await?;
    let before = claim_submissions::find(&app.store, id).await?;
    let before = before.filter(|before| FOLLOWED.contains(&before.state)).ok_or_else(|| not_now("have the claim"))?;
    let account = account::open_named(app, &before.payer, &before.connection).await?;
    let Some(record) = account.payer.record else {
        let text = format!("{} takes no diagnoses after a claim", account.payer.name);
        return Err(Error::unprocessable(Issue::error(IssueCode::NotSupported, text)));
    };
    let told = fhir::object! {
        "invoiceNumber": before.invoice.as_str(),
        "memberNumber": before.member.as_str(),
        "sessionId": before.session.as_str(),
        "visitNumber": before.visit.as_str(),
        "dialect": account.dialect(),
    };
    let bundle = of_visit(app, caller, &claim).await?;
    let now = app.clock.now();
    let context = Context { namespace: &app.config.adapter_namespace, now, visit: Some(&told), ..Context::default() };
    let ask = record(&bundle, &context).map_err(Error::unprocessable)?;
    let next = Submission { record_state: Some(RecordState::Waiting), record: Some(packed(&ask, 0, &[])), ..before };
    let transaction = response::bundle(&next, &app.config.adapter_namespace);
    let row = Arc::new(next);
    let also: Also = Arc::new(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            if claim_submissions::follow(tx, &row.claim, row.record.as_deref().unwrap_or_default(), now).await? {
                return Ok(());
            }
            Err(not_now("be through with the diagnoses that are on their way"))
        })
    });
    let written = bundle::execute_with(app, caller, transaction, also).await?;
    app.claims_changed.notify_one();
    submit::first(&written)
}

/// A message that follows a claim, as it waits in the row of the claim.
pub(super) fn packed(ask: &Ask, attempts: i64, issues: &[Issue]) -> String {
    let body = ask.body.as_ref().map_or("", |(_, body)| body.as_str());
    let outcome = if issues.is_empty() { Json::Null } else { fhir::outcome::outcome(issues) };
    fhir::object! {
        "method": ask.method, "path": ask.path.as_str(), "body": body, "attempts": attempts, "said": outcome,
    }
    .to_string()
}

/// The same again, and how often it was sent.
pub(super) fn unpacked(record: &str) -> Option<(Ask, i64)> {
    let json = Json::parse(record.as_bytes()).ok()?;
    let method = if json.str("method") == Some("PUT") { "PUT" } else { "POST" };
    let (path, body) = (json.str("path")?.to_owned(), json.str("body")?.to_owned());
    let attempts = json.get("attempts").and_then(Json::as_number).and_then(|text| text.parse().ok()).unwrap_or(0);
    Some((Ask { method, path, headers: Vec::new(), body: Some(("application/json", body)) }, attempts))
}

/// The Claim with what it refers to, and the diagnoses of its visit.
async fn of_visit(app: &App, caller: &Caller, claim: &Json) -> Result<Json, Error> {
    let bundle = gather(app, caller, claim).await?.bundle();
    let resources = || bundle.list("entry").iter().filter_map(|entry| entry.get("resource"));
    let visits: Vec<String> = resources()
        .filter(|it| it.str("resourceType") == Some("Encounter"))
        .filter_map(|it| Some(format!("Encounter/{}", it.str("id")?)))
        .collect();
    access::decide(caller, Interaction::Search, "Condition")?;
    let found = match visits.as_slice() {
        [] => Vec::new(),
        visits => overview::search(app, caller, "Condition", "encounter", visits).await?,
    };
    let is_new =
        |id: &str| !resources().any(|it| (it.str("resourceType"), it.str("id")) == (Some("Condition"), Some(id)));
    let mut entries = bundle.list("entry").to_vec();
    let new = found.into_iter().filter(|(id, _)| is_new(id));
    entries.extend(new.map(|(_, condition)| fhir::object! { "resource": condition }));
    Ok(fhir::object! { "resourceType": "Bundle", "type": "collection", "entry": entries })
}

fn not_now(what: &str) -> Error {
    Error::conflict(Issue::error(IssueCode::BusinessRule, format!("the payer must {what} first; try again then")))
}
