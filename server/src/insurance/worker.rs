//! Sends claims, and follows them: the worker behind the outbox.
//!
//! A claim is marked as being sent before the request leaves. Whatever is not a clear answer leaves it unknown, and an
//! unknown claim is asked for: only when the payer says, late enough, that it does not know it, is it sent again.

use std::sync::Arc;

use adapters::Context;
use adapters::payer::{Ask, Known, Question, Sent, Standing, Submitted};
use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use futures::StreamExt as _;
use store::StoreError;
use store::claim_submissions::{self, Intent, State, Submission};

use super::account::{self, Account, Silence};
use super::response;
use crate::app::App;
use crate::background::{self, LEASE_MICROS, POLL, Worker};
use crate::caller::Caller;
use crate::error::{Error, Kind};
use crate::rest::bundle::{self, Also};

/// Claims that are taken at once, and worked on at the same time.
const BATCH: usize = 8;

/// Most bytes of what a payer says of a claim that are kept.
const MAX_ANSWER: usize = 1 << 20;

/// How often a claim is sent at most, each time after the payer said that it does not know it.
const ATTEMPTS: i64 = 10;

/// Shortest wait after a question that was in vain, microseconds.
const FIRST_WAIT: i64 = 1_000_000;

/// Longest wait after one.
const LONGEST_WAIT: i64 = 300 * 1_000_000;

/// Starts the worker of this process.
pub fn start(app: App) -> Worker {
    Worker::start(async move { run(&app).await })
}

async fn run(app: &App) {
    background::release_leases(app, "claims", |tx| Box::pin(claim_submissions::release_leases(tx))).await;
    loop {
        let rung = app.claims_changed.notified();
        tokio::pin!(rung);
        rung.as_mut().enable(); // a claim that comes while the queue is drained is not slept through
        if let Err(error) = drain(app).await {
            tracing::error!(%error, "claims cannot be worked on; trying again");
            tokio::time::sleep(POLL).await;
        }
        tokio::select! {
            () = rung => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Works on everything that is due.
async fn drain(app: &App) -> Result<(), Error> {
    while claim_submissions::is_due(&app.store, app.clock.now()).await? {
        let now = app.clock.now();
        let leased = app.store.write(move |tx| {
            Box::pin(async move { claim_submissions::lease(tx, now, now + LEASE_MICROS, BATCH as u64).await })
        });
        let leased: Vec<Submission> = leased.await?;
        if leased.is_empty() {
            return Ok(());
        }
        let work = leased.into_iter().map(|submission| hold(app, submission));
        let results: Vec<_> = futures::stream::iter(work).buffer_unordered(BATCH).collect().await;
        results.into_iter().collect::<Result<Vec<()>, _>>()?;
    }
    Ok(())
}

/// The next step of one claim, which nobody else takes meanwhile.
async fn hold(app: &App, submission: Submission) -> Result<(), Error> {
    let (claim, lease) = (submission.claim.clone(), submission.lease);
    let extend = || {
        let (claim, until) = (claim.clone(), app.clock.now() + LEASE_MICROS);
        let extended = app.store.write(move |tx| {
            let claim = claim.clone();
            Box::pin(async move { claim_submissions::extend(tx, &claim, lease, until).await })
        });
        // A step that was begun is finished: whoever has the claim now, what it writes is refused then.
        async { extended.await.map(|_held| true) }
    };
    background::while_held("a claim", Box::pin(attend(app, submission)), extend).await.unwrap_or(Ok(()))
}

/// The next step of one claim.
async fn attend(app: &App, submission: Submission) -> Result<(), Error> {
    let account = match account::open_named(app, &submission.payer, &submission.connection).await {
        Ok(account) => account,
        Err(error) => {
            let issues = error.issues().to_vec();
            let due_at = app.clock.now() + LONGEST_WAIT;
            return keep(app, Submission { reason: said(&issues), due_at, ..submission }).await;
        }
    };
    match submission.state {
        State::Waiting => send(app, &account, submission).await,
        State::Sending => {
            // Whoever sent it did not say what became of it.
            let unknown = Submission { state: State::Unknown, ..submission };
            ask(app, &account, unknown).await
        }
        _ => ask(app, &account, submission).await,
    }
}

async fn send(app: &App, account: &Account, submission: Submission) -> Result<(), Error> {
    let now = app.clock.now();
    let attempts = submission.attempts + 1;
    let sending =
        Submission { state: State::Sending, attempts, sent_at: now, due_at: now + LEASE_MICROS, ..submission };
    if !advance(app, &sending).await? {
        return Ok(());
    }
    let request = Ask {
        method: "POST",
        path: sending.path.clone(),
        headers: Vec::new(),
        body: Some((account.payer.media_type, sending.body.clone())),
    };
    let outcome = match account.ask(app, &request).await {
        Ok((status, body)) => (account.payer.submitted)(status, &body, &sent(&sending)),
        Err(Silence::Login(issues)) => Submitted::Login(issues),
        Err(silence) => Submitted::Unknown(vec![Issue::error(IssueCode::Transient, silence.text())]),
    };
    tracing::info!(claim = sending.claim, attempts, outcome = word(&outcome), "a claim was sent");
    let now = app.clock.now();
    let settle = account.micros("settle_seconds");
    let unknown = |issues: &[Issue], wait: i64| Submission {
        state: State::Unknown,
        reason: said(issues),
        asked: 0,
        changed_at: now,
        due_at: now + wait,
        ..sending.clone()
    };
    let next = match outcome {
        Submitted::Taken { id, .. } => Submission {
            state: State::Taken,
            reference: id,
            asked: 0,
            changed_at: now,
            due_at: now + FIRST_WAIT,
            ..sending
        },
        Submitted::Answered(known) => learned(account, sending, &known, now),
        Submitted::Refused(issues) if sending.intent == Intent::Cancel => kept_on(sending, &issues, now),
        Submitted::Refused(issues) => {
            Submission { state: State::Refused, reason: said(&issues), changed_at: now, due_at: 0, ..sending }
        }
        Submitted::Later { after, issues } => {
            unknown(&issues, settle.max(after.unwrap_or_default().min(3600) as i64 * 1_000_000))
        }
        Submitted::Login(issues) | Submitted::Unknown(issues) => unknown(&issues, settle.min(FIRST_WAIT)),
    };
    write(app, next).await
}

/// Asks the payer what it knows of a claim.
async fn ask(app: &App, account: &Account, submission: Submission) -> Result<(), Error> {
    let question = Question::Status { sent: sent(&submission) };
    let now = app.clock.now();
    let context = Context { namespace: &app.config.adapter_namespace, now, ..Context::default() };
    let found = match account.ask(app, &(account.payer.ask)(&question, &context)).await {
        Ok((status, body)) => (account.payer.followed)(status, &body, &sent(&submission)),
        Err(Silence::Login(issues)) => Err(Submitted::Login(issues)),
        Err(silence) => Err(Submitted::Unknown(vec![Issue::error(IssueCode::Transient, silence.text())])),
    };
    let now = app.clock.now();
    match found {
        // It is there, but not taken back: what says so did not arrive.
        Ok(Some(known))
            if submission.intent == Intent::Cancel
                && submission.state == State::Unknown
                && known.standing != Standing::Cancelled =>
        {
            not_known(app, account, submission, now).await
        }
        Ok(Some(known)) => write(app, learned(account, submission, &known, now)).await,
        Ok(None) if submission.state == State::Unknown => not_known(app, account, submission, now).await,
        // A claim that was taken and is not known now is asked for again; it is not sent again.
        Ok(None) => in_vain(app, account, submission, Vec::new(), now).await,
        Err(outcome) => in_vain(app, account, submission, issues_of(outcome), now).await,
    }
}

/// What the payer says it is.
fn learned(account: &Account, submission: Submission, known: &Known, now: i64) -> Submission {
    let differs = match (&known.amount, Decimal::parse(&submission.net)) {
        (Some(amount), Some(net)) => *amount != net,
        _ => false,
    };
    let state = match known.standing {
        _ if differs => State::Differs,
        Standing::Pending => State::Taken,
        Standing::Billed => State::Billed,
        Standing::Cancelled => State::Cancelled,
        Standing::Rejected => State::Rejected,
        Standing::Approved => State::Approved,
        Standing::Partial => State::Partial,
        Standing::Denied => State::Denied,
    };
    if submission.intent == Intent::Cancel && !matches!(state, State::Cancelled | State::Taken) {
        let text = format!("the payer did not take it back; it says {}", known.word);
        return kept_on(submission, &[Issue::error(IssueCode::BusinessRule, text)], now);
    }
    let reason = match &known.amount {
        Some(amount) if differs => {
            let text = format!("the payer has {amount}, the claim says {} {}", submission.net, submission.currency);
            said(&[Issue::error(IssueCode::BusinessRule, text)])
        }
        _ if state == State::Rejected => {
            said(&[Issue::error(IssueCode::BusinessRule, format!("the payer says {}", known.word))])
        }
        _ => said(&[]),
    };
    let changed_at = if state == submission.state { submission.changed_at } else { now };
    let due_at = if state.is_open() { now + account.micros("follow_seconds") } else { 0 };
    let reference = if known.reference.is_empty() { submission.reference } else { known.reference.clone() };
    let answer = known.answer.as_ref().map_or(submission.answer, Json::to_string);
    let (answer, reason) = if answer.len() > MAX_ANSWER {
        let text = format!("what the payer said of it is more than {MAX_ANSWER} bytes, and is not kept");
        (String::new(), said(&[Issue::warning(IssueCode::TooLong, text)]))
    } else {
        (answer, reason)
    };
    Submission { state, reason, asked: 0, changed_at, due_at, reference, answer, ..submission }
}

/// A claim that is not taken back: the payer has it as before, and is asked how it stands there.
fn kept_on(submission: Submission, issues: &[Issue], now: i64) -> Submission {
    Submission {
        state: State::Taken,
        intent: Intent::Submit,
        reason: said(issues),
        asked: 0,
        changed_at: now,
        due_at: now + FIRST_WAIT,
        ..submission
    }
}

fn sent(submission: &Submission) -> Sent<'_> {
    Sent {
        invoice: &submission.invoice,
        visit: &submission.visit,
        member: &submission.member,
        session: &submission.session,
        body: &submission.body,
        reference: &submission.reference,
    }
}

/// The payer does not know it: if that was asked late enough after it was sent, it is sent again.
async fn not_known(app: &App, account: &Account, submission: Submission, now: i64) -> Result<(), Error> {
    let certain_at = submission.sent_at + account.micros("settle_seconds");
    if now < certain_at {
        return keep(app, Submission { due_at: certain_at, ..submission }).await;
    }
    if submission.attempts >= ATTEMPTS {
        let text = format!("sent {ATTEMPTS} times, and the payer does not know it");
        return write(app, given_up(submission, &[Issue::error(IssueCode::Transient, text)], now)).await;
    }
    keep(app, Submission { state: State::Waiting, due_at: now, changed_at: now, ..submission }).await?;
    app.claims_changed.notify_one();
    Ok(())
}

async fn in_vain(
    app: &App,
    account: &Account,
    submission: Submission,
    issues: Vec<Issue>,
    now: i64,
) -> Result<(), Error> {
    if now - submission.changed_at > account.micros("follow_hours") {
        return write(app, given_up(submission, &issues, now)).await;
    }
    let asked = submission.asked + 1;
    let wait =
        (FIRST_WAIT << asked.clamp(0, 9)).min(LONGEST_WAIT).min(account.micros("follow_seconds").max(FIRST_WAIT));
    let reason = if issues.is_empty() { submission.reason.clone() } else { said(&issues) };
    keep(app, Submission { asked, reason, due_at: now + wait, ..submission }).await
}

fn given_up(submission: Submission, issues: &[Issue], now: i64) -> Submission {
    Submission { state: State::GivenUp, reason: said(issues), changed_at: now, due_at: 0, ..submission }
}

/// Writes state and ClaimResponse together. What a payer says that is no FHIR is left out, and said to be.
async fn write(app: &App, next: Submission) -> Result<(), Error> {
    let bare = (!next.answer.is_empty()).then(|| {
        let text = "what the payer said of it cannot be kept: it is not valid FHIR";
        let issue = Issue::warning(IssueCode::Invalid, text);
        Submission { answer: String::new(), reason: said(&[issue]), ..next.clone() }
    });
    match (put(app, next).await, bare) {
        (Err(error), Some(bare)) if matches!(error.kind(), Kind::BadRequest | Kind::Unprocessable) => {
            tracing::warn!(claim = bare.claim, %error, "a payer's answer is not valid FHIR");
            put(app, bare).await
        }
        (Err(error), _) if error.kind() == Kind::Conflict => {
            tracing::warn!(%error, "a claim is no longer this worker's; it is taken up again");
            Ok(())
        }
        (done, _) => done,
    }
}

async fn put(app: &App, next: Submission) -> Result<(), Error> {
    let caller = Caller::server("insurance");
    let namespace = &app.config.adapter_namespace;
    let replaced = replaced(app, &next).await?;
    let mut transaction = response::bundle(&next, namespace);
    if let (Some(replaced), Some(Json::Array(entries))) =
        (&replaced, transaction.as_object_mut().and_then(|it| it.get_mut("entry")))
    {
        entries.extend(response::bundle(replaced, namespace).list("entry").iter().cloned());
    }
    let row = Arc::new((next, replaced));
    let also: Also = Arc::new(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            let (next, replaced) = row.as_ref();
            if !claim_submissions::advance(tx, next).await? {
                return Err(Error::conflict("the claim was taken by another worker"));
            }
            let Some(replaced) = replaced else { return Ok(()) };
            if claim_submissions::replace(tx, &replaced.claim, replaced.changed_at).await? {
                return Ok(());
            }
            Err(Error::conflict("the claim that is updated changed at the same time"))
        })
    });
    bundle::execute_with(app, &caller, transaction, also).await.map(drop)
}

/// The claim that the payer has an update of, as it is from now on.
async fn replaced(app: &App, next: &Submission) -> Result<Option<Submission>, Error> {
    if next.related.is_empty() || !next.state.stands() {
        return Ok(None);
    }
    let before = claim_submissions::find(&app.store, &next.related).await?.filter(|before| before.state.stands());
    Ok(before.map(|before| Submission { state: State::Replaced, changed_at: next.changed_at, ..before }))
}

/// Writes the state alone: nothing that is told has changed.
async fn keep(app: &App, next: Submission) -> Result<(), Error> {
    advance(app, &next).await.map(drop).map_err(Error::from)
}

async fn advance(app: &App, next: &Submission) -> Result<bool, StoreError> {
    let row = Arc::new(next.clone());
    app.store
        .write(move |tx| {
            let row = row.clone();
            Box::pin(async move { claim_submissions::advance(tx, &row).await })
        })
        .await
}

fn said(issues: &[Issue]) -> String {
    if issues.is_empty() { "{}".to_owned() } else { fhir::outcome::outcome(issues).to_string() }
}

fn issues_of(outcome: Submitted) -> Vec<Issue> {
    match outcome {
        Submitted::Taken { .. } | Submitted::Answered(_) => Vec::new(),
        Submitted::Refused(issues)
        | Submitted::Later { issues, .. }
        | Submitted::Login(issues)
        | Submitted::Unknown(issues) => issues,
    }
}

fn word(outcome: &Submitted) -> &'static str {
    match outcome {
        Submitted::Taken { .. } => "taken",
        Submitted::Answered(_) => "answered",
        Submitted::Refused(_) => "refused",
        Submitted::Later { .. } => "later",
        Submitted::Login(_) => "login",
        Submitted::Unknown(_) => "unknown",
    }
}
