//! `Claim/[id]/$submit`, `Claim/$submit`: checks a claim and puts it in the outbox, in the transaction that makes it
//! active. <https://hl7.org/fhir/R4/claim-operation-submit.html>
//!
//! What a person should know all the same (what the payer's format cannot carry, a balance that is too small, a session
//! that is about to expire) stands in `ClaimResponse.processNote`.
//!
//! | status | when |
//! |---|---|
//! | 200 | the ClaimResponse: it is on its way, or how far it is if it was submitted before |
//! | 404 | the Claim, or something that it refers to, is unknown or hidden |
//! | 409 | the invoice number belongs to another Claim; it is to be taken back while it is on its way |
//! | 422 | it may not be sent as it is: each reason with its FHIRPath and what would be right |
//! | 503 | there is no connection to the payer |

use std::sync::Arc;

use adapters::Context;
use adapters::payer::{Draft, Session};
use fhir::decimal::Decimal;
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode, Severity};
use store::claim_submissions::{self, Intent, State, Submission};
use store::insurance_sessions;

use super::account::Account;
use super::gather::{self, Gathered, gather, with};
use super::{account, given, response, route, whose};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::{Error, Kind};
use crate::rest::bundle::{self, Also};
use crate::rest::operation::Invocation;
use crate::rest::response::Answer;

/// Warnings that the ClaimResponse holds at most.
const MOST_NOTES: usize = 100;

/// Submits.
pub async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    access::decide(caller, Interaction::Update, "Claim")?;
    let id = invocation.target.id.as_str();
    if id.is_empty() {
        return given::execute(app, caller, invocation).await;
    }
    if invocation.input.value("resource").is_some() {
        let text = "the Claim of this address is submitted as it is stored; send another one to Claim/$submit";
        return Err(Error::bad_request(Issue::error(IssueCode::Invalid, text)));
    }
    let (claim, version) = stored(app, caller, id).await?;
    match one(app, caller, &claim, version, &Choice::of(invocation)).await {
        // Somebody else was faster: it is on its way.
        Err(error) if matches!(error.kind(), Kind::Conflict | Kind::PreconditionFailed) => {
            match claim_submissions::find(&app.store, id).await? {
                Some(other) if !other.state.may_be_submitted_again() => standing(app, caller, &other).await,
                _ => Err(error),
            }
        }
        done => done,
    }
}

/// What is chosen with a claim.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Id of the benefit that is used.
    pub benefit: Option<&'a str>,
    /// Whether it is a part of what a stay will come to.
    pub interim: bool,
}

impl<'a> Choice<'a> {
    pub(super) fn of(invocation: &'a Invocation) -> Self {
        let input = &invocation.input;
        Choice { benefit: input.text("benefit"), interim: input.text("interim") == Some("true") }
    }
}

/// What was chosen when a claim was submitted before: the benefit, and whether it is a part.
pub fn chosen_before(submission: &Submission) -> (Option<String>, bool) {
    let refs = Json::parse(submission.refs.as_bytes()).unwrap_or(Json::Null);
    (refs.str("benefit").map(str::to_owned), refs.get("interim").and_then(Json::as_bool) == Some(true))
}

/// A Claim and its version.
pub async fn stored(app: &App, caller: &Caller, id: &str) -> Result<(Json, i64), Error> {
    gather::stored(app, caller, "Claim", id).await
}

/// Submits a claim that is stored in this version, perhaps with another text than the stored one.
pub async fn one(app: &App, caller: &Caller, claim: &Json, version: i64, choice: &Choice<'_>) -> Result<Answer, Error> {
    let before = claim_submissions::find(&app.store, claim.str("id").unwrap_or_default()).await?;
    if let Some(before) = before.as_ref().filter(|before| !before.state.may_be_submitted_again()) {
        let is_cancelled = claim.str("status") == Some("cancelled");
        if is_cancelled && let Some(answer) = take_back(app, caller, claim, version, before).await? {
            return Ok(answer);
        }
        return standing(app, caller, before).await;
    }
    if let Some(before) = before.as_ref().filter(|before| before.state == State::GivenUp) {
        // The payer may have it: what was sent is asked for again, and is not changed.
        let asked = Submission { state: State::Unknown, changed_at: app.clock.now(), ..before.clone() };
        return write(app, caller, claim, version, asked, Some(State::GivenUp)).await;
    }
    let submission = ready(app, caller, claim, choice, before.as_ref()).await?;
    write(app, caller, claim, version, submission, before.map(|before| before.state)).await
}

/// The submission of a claim after all checks.
pub(super) async fn ready(
    app: &App,
    caller: &Caller,
    claim: &Json,
    choice: &Choice<'_>,
    before: Option<&Submission>,
) -> Result<Submission, Error> {
    if !matches!(claim.str("status"), Some("draft" | "active")) {
        let text = format!("the Claim is {}; only a draft is submitted", claim.str("status").unwrap_or("nothing"));
        return Err(Error::unprocessable(Issue::error(IssueCode::BusinessRule, text).at("Claim.status")));
    }
    let mut gathered = gather(app, caller, claim).await?;
    let account = match before {
        // A claim that was refused is corrected where it was sent.
        Some(before) => account::open_named(app, &before.payer, &before.connection).await?,
        None => route::account(app, caller, &gathered).await?,
    };
    gathered.further(app, caller, account.payer.follows).await?;
    let related = if account.payer.takes_changes { prior(app, &account, &gathered, claim).await? } else { None };
    let bundle = gathered.bundle();
    let visit = if account.payer.has_sessions { Some(visit_of(app, &account, claim, &bundle).await?) } else { None };
    let (draft, warnings) = checked(app, &account, &bundle, visit.as_ref(), choice)?;
    let made = submission(app, claim, &account, draft, before, (&warnings, choice));
    Ok(Submission { related: related.unwrap_or_default(), ..made })
}

/// A claim that was cancelled here, taken back at the payer; nothing if that payer cannot be told so.
pub(super) async fn take_back(
    app: &App,
    caller: &Caller,
    claim: &Json,
    version: i64,
    before: &Submission,
) -> Result<Option<Answer>, Error> {
    let takes = adapters::payer::find(&before.payer).is_some_and(|payer| payer.takes_changes);
    if !takes || before.intent == Intent::Cancel {
        return Ok(None);
    }
    if matches!(before.state, State::Waiting | State::Sending | State::Unknown) {
        let text = "the claim is on its way, and the payer has not said that it has it; submit it again when it has";
        return Err(Error::conflict(Issue::error(IssueCode::Conflict, text).at("Claim.status")));
    }
    if !before.state.stands() {
        return Ok(None);
    }
    let account = account::open_named(app, &before.payer, &before.connection).await?;
    let mut gathered = gather(app, caller, claim).await?;
    gathered.further(app, caller, account.payer.follows).await?;
    let told = fhir::object! { "intent": "cancel", "uses": account.setting("uses").unwrap_or_default() };
    let now = app.clock.now();
    let context = Context { namespace: &app.config.adapter_namespace, now, visit: Some(&told), ..Context::default() };
    let draft = (account.payer.draft)(&gathered.bundle(), &context).map_err(Error::unprocessable)?;
    if draft.invoice != before.invoice {
        let text = format!("it was sent as {}; a claim that is taken back keeps its identifier", before.invoice);
        return Err(Error::unprocessable(Issue::error(IssueCode::BusinessRule, text).at("Claim.identifier")));
    }
    let (_, body) = draft.ask.body.unwrap_or_default();
    let taken_back = Submission {
        path: draft.ask.path,
        body,
        state: State::Waiting,
        reason: "{}".to_owned(),
        changed_at: now,
        intent: Intent::Cancel,
        ..before.clone()
    };
    write(app, caller, claim, version, taken_back, Some(before.state)).await.map(Some)
}

/// The Claim that this one updates: the payer must have it.
async fn prior(app: &App, account: &Account, gathered: &Gathered, claim: &Json) -> Result<Option<String>, Error> {
    let code = |it: &Json| it.at(&["relationship", "coding", "code"]).and_then(Json::as_str).map(str::to_owned);
    let Some(related) = claim.list("related").iter().find(|it| code(it).as_deref() == Some("prior")) else {
        return Ok(None);
    };
    let wrong = |text: String| Error::unprocessable(Issue::error(IssueCode::BusinessRule, text).at("Claim.related"));
    let Some(id) = gathered.target(related.get("claim")).and_then(|it| it.str("id")) else {
        return Err(wrong("the claim that this one updates must be a Claim of this server".to_owned()));
    };
    let found = claim_submissions::find(&app.store, id).await?;
    let is_there =
        |it: &&Submission| it.payer == account.payer.vendor && it.connection == account.name() && it.state.stands();
    if found.as_ref().is_some_and(|it| it.intent == Intent::Submit && is_there(&it)) {
        return Ok(Some(id.to_owned()));
    }
    let state = found.map_or("not submitted", |it| it.state.as_str());
    Err(wrong(format!("Claim/{id} is {state}; only a claim that this payer has can be updated")))
}

/// The ClaimResponse as it stands, if the caller may see it.
pub(super) async fn standing(app: &App, caller: &Caller, submission: &Submission) -> Result<Answer, Error> {
    let url = response::url(submission, &app.config.adapter_namespace);
    let entry = fhir::object! { "request": fhir::object! { "method": "GET", "url": url } };
    let asked = fhir::object! { "resourceType": "Bundle", "type": "batch", "entry": fhir::array![entry] };
    let answer = bundle::execute(app, caller, asked).await?;
    let found = answer.at(&["entry", "resource", "entry", "resource"]).cloned();
    found.map(|found| Answer::resource(found.to_string())).ok_or_else(|| Error::unknown("Claim", &submission.claim))
}

/// What is known of the visit of a claim.
struct Visit {
    session: insurance_sessions::Session,
    facts: Json,
}

/// The session of the Encounters; one that is not of the claim's patient is none.
async fn visit_of(app: &App, account: &Account, claim: &Json, bundle: &Json) -> Result<Visit, Error> {
    let system = whose::system(app, account.payer.vendor, "session");
    let resources = bundle.list("entry").iter().filter_map(|entry| entry.get("resource"));
    let mut encounters = resources.filter(|it| it.str("resourceType") == Some("Encounter"));
    let named = encounters.find_map(|it| whose::identifier(it, &system)).unwrap_or_default();
    let patient = whose::patient_of(app, claim.get("patient"));
    let session = whose::session(app, account, named, patient.as_deref()).await?;
    let Some(session) = session else {
        let text = "the Encounter has no session of the payer; fetch the visit and merge it with the Encounter first";
        return Err(Error::unprocessable(Issue::error(IssueCode::BusinessRule, text).at("Claim.item[0].encounter")));
    };
    let facts = Json::parse(session.facts.as_bytes()).map_err(Error::internal)?;
    Ok(Visit { session, facts })
}

/// The claim as it would be sent, after all checks, with what a person should know.
fn checked(
    app: &App,
    account: &Account,
    bundle: &Json,
    visit: Option<&Visit>,
    choice: &Choice<'_>,
) -> Result<(Draft, Vec<Issue>), Error> {
    let (session, told) = match visit {
        Some(visit) => {
            let benefit = chosen(&visit.facts, choice.benefit).map_err(Error::unprocessable)?;
            let interim = if choice.interim { "true" } else { "false" };
            (session(account, visit, benefit), with(&told(account, visit, benefit), "interim", interim))
        }
        None => (Session::default(), fhir::object! { "uses": account.setting("uses").unwrap_or_default() }),
    };
    let now = app.clock.now();
    let context = Context { namespace: &app.config.adapter_namespace, now, visit: Some(&told), ..Context::default() };
    let draft = (account.payer.draft)(bundle, &context);
    let (net, currency) = match &draft {
        Ok(draft) => (draft.net.clone(), draft.currency.clone()),
        Err(_) => (Decimal::from(0), session.currency.clone().unwrap_or_default()),
    };
    let mut issues = (account.payer.check)(&session, &net, &currency, now);
    match draft {
        Ok(draft) => {
            issues.extend(draft.warnings.iter().cloned());
            if issues.iter().any(|issue| issue.severity >= Severity::Error) {
                return Err(Error::unprocessable(issues));
            }
            Ok((draft, issues))
        }
        Err(wrong) => {
            issues.extend(wrong);
            Err(Error::unprocessable(issues))
        }
    }
}

fn session(account: &Account, visit: &Visit, benefit: Option<&Json>) -> Session {
    let expires_at = visit.session.seen_at + account.times().open;
    Session {
        status: visit.session.status.clone(),
        expires_at,
        expiring_at: expires_at - account.times().soon,
        currency: visit.facts.str("currency").map(str::to_owned),
        balance: benefit.and_then(|it| it.get("amount")).and_then(Json::as_number).and_then(Decimal::parse),
    }
}

/// The benefit that is used: the one that was named, else the only one that can be.
pub(super) fn chosen<'a>(facts: &'a Json, named: Option<&str>) -> Result<Option<&'a Json>, Issue> {
    let claimable = |it: &&Json| it.get("claimable").and_then(Json::as_bool) == Some(true);
    let benefits: Vec<&Json> = facts.list("benefits").iter().filter(claimable).collect();
    if let Some(named) = named {
        let found = benefits.iter().find(|it| it.str("id") == Some(named));
        let text = || format!("the member has no benefit {named} that can be claimed");
        return found.map(|found| Some(*found)).ok_or_else(|| Issue::error(IssueCode::BusinessRule, text()));
    }
    match benefits.as_slice() {
        [] if facts.list("benefits").is_empty() => Ok(None),
        [] => Err(Issue::error(IssueCode::BusinessRule, "none of the member's benefits can be claimed")),
        [only] => Ok(Some(only)),
        several => {
            let listed: Vec<String> = several
                .iter()
                .map(|it| format!("{} ({})", it.str("id").unwrap_or_default(), it.str("name").unwrap_or_default()))
                .collect();
            let text = format!("say which benefit is used with parameter benefit: {}", listed.join(", "));
            Err(Issue::error(IssueCode::Required, text))
        }
    }
}

/// What the adapter is told of the visit.
fn told(account: &Account, visit: &Visit, benefit: Option<&Json>) -> Json {
    let mut told = visit.facts.as_object().cloned().unwrap_or_else(Object::new);
    told.remove("benefits");
    told.insert("dialect", account.dialect());
    for (name, setting) in [("zone", "zone"), ("spId", "sp_id"), ("locationCode", "location_code")] {
        if let Some(value) = account.setting(setting) {
            told.insert(name, value);
        }
    }
    let mut session = Object::new();
    session.insert("session_id", visit.session.session.as_str());
    session.insert("patientNumber", visit.session.patient_number.as_str());
    if let Some(number) = &visit.session.visit_number {
        session.insert("visit_number", number.as_str());
    }
    if let Some(benefit) = benefit {
        let of = |name: &str| benefit.get(name).cloned().unwrap_or(Json::Null);
        let selected = fhir::object! { "id": of("id"), "pool_number": of("pool"), "service_type": of("name") };
        session.insert("selected_benefit", selected);
    }
    told.insert("session", session);
    told.into()
}

fn submission(
    app: &App,
    claim: &Json,
    account: &Account,
    draft: Draft,
    before: Option<&Submission>,
    (warnings, choice): (&[Issue], &Choice<'_>),
) -> Submission {
    let now = app.clock.now();
    let of = |name: &str| claim.get(name).cloned().unwrap_or(Json::Null);
    let insurer = claim.get("insurer").cloned();
    let insurer = insurer.unwrap_or_else(|| fhir::object! { "display": account.payer.name });
    let notes: Vec<Json> = warnings.iter().take(MOST_NOTES).map(|issue| in_words(issue).into()).collect();
    let refs = fhir::object! {
        "type": of("type"), "use": of("use"), "patient": of("patient"), "insurer": insurer, "notes": notes,
        "benefit": choice.benefit.map_or(Json::Null, Json::from), "interim": choice.interim,
    };
    let (_, body) = draft.ask.body.unwrap_or_default();
    Submission {
        claim: claim.str("id").unwrap_or_default().to_owned(),
        payer: account.payer.vendor.to_owned(),
        connection: account.name().to_owned(),
        invoice: draft.invoice,
        visit: draft.visit,
        session: draft.session,
        member: draft.member,
        path: draft.ask.path,
        body,
        net: draft.net.as_str().to_owned(),
        currency: draft.currency,
        refs: refs.to_string(),
        state: State::Waiting,
        reason: fhir::outcome::outcome(warnings).to_string(),
        reference: before.map(|before| before.reference.clone()).unwrap_or_default(),
        attempts: 0,
        asked: 0,
        sent_at: before.map_or(0, |before| before.sent_at),
        created_at: before.map_or(now, |before| before.created_at),
        changed_at: now,
        due_at: 0,
        lease: 0,
        answer: before.map(|before| before.answer.clone()).unwrap_or_default(),
        intent: Intent::Submit,
        related: String::new(),
        record_state: None,
        record: None,
    }
}

/// An issue as a person reads it, in the ClaimResponse and on pages.
pub fn in_words(issue: &Issue) -> String {
    let text = issue.diagnostics.as_deref().unwrap_or_default();
    issue.expression.first().map_or_else(|| text.to_owned(), |at| format!("{at}: {text}"))
}

/// Claim, ClaimResponse and outbox row in one transaction: none without the others.
async fn write(
    app: &App,
    caller: &Caller,
    claim: &Json,
    version: i64,
    submission: Submission,
    was: Option<State>,
) -> Result<Answer, Error> {
    let mut transaction = response::bundle(&submission, &app.config.adapter_namespace);
    let status = if submission.intent == Intent::Cancel { "cancelled" } else { "active" };
    response::push(&mut transaction, response::with_status(claim, version, status));
    let row = Arc::new(submission);
    let also: Also = Arc::new(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            let kept = match was {
                None => claim_submissions::insert(tx, &row).await?,
                Some(was) => claim_submissions::again(tx, &row, was).await?,
            };
            if kept {
                return Ok(());
            }
            let text =
                format!("invoice number {} was submitted before, for another Claim or at the same time", row.invoice);
            Err(Error::conflict(Issue::error(IssueCode::Duplicate, text).at("Claim.identifier")))
        })
    });
    let answer = bundle::execute_with(app, caller, transaction, also).await?;
    app.claims_changed.notify_one();
    first(&answer)
}

/// The ClaimResponse of a transaction that was carried out: its first entry.
pub(super) fn first(answer: &Json) -> Result<Answer, Error> {
    let written = answer.at(&["entry", "resource"]).map(Json::to_string);
    written.map(Answer::resource).ok_or_else(|| Error::internal("the transaction answers without the ClaimResponse"))
}
