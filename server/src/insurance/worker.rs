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
use futures::stream::FuturesUnordered;
use store::StoreError;
use store::claim_exchanges::{self, Exchange};
use store::claim_submissions::{self, FOLLOWED, Intent, RecordState, State, Submission};

use super::account::{self, Account, Answer, Silence};
use super::{diagnoses, response, sessions};
use crate::app::App;
use crate::background::{self, LEASE_MICROS, POLL, Worker};
use crate::caller::Caller;
use crate::error::{Error, Kind};
use crate::rest::bundle::{self, Also};

/// Claims that are worked on at the same time.
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
    Worker::start(async move {
        tokio::join!(run(&app), sessions::run(&app));
    })
}

async fn run(app: &App) {
    background::release_leases(app, "claims", |tx| Box::pin(claim_submissions::release_leases(tx))).await;
    let mut work = FuturesUnordered::new();
    loop {
        let rung = app.claims_changed.notified();
        tokio::pin!(rung);
        rung.as_mut().enable(); // a claim that comes while others are taken up is not slept through
        match due(app, BATCH - work.len()).await {
            Ok(leased) => work.extend(leased.into_iter().map(|submission| hold(app, submission))),
            Err(error) => failed(&error).await,
        }
        // Who waits for a slow payer does not hold up the others.
        tokio::select! {
            Some(done) = work.next() => if let Err(error) = done { failed(&error).await },
            () = rung => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

async fn failed(error: &Error) {
    tracing::error!(%error, "claims cannot be worked on; trying again");
    tokio::time::sleep(POLL).await;
}

/// Up to `most` claims that are due, which nobody else takes meanwhile.
async fn due(app: &App, most: usize) -> Result<Vec<Submission>, Error> {
    let now = app.clock.now();
    if most == 0 || !claim_submissions::is_due(&app.store, now).await? {
        return Ok(Vec::new());
    }
    let leased = app.store.write(move |tx| {
        Box::pin(async move { claim_submissions::lease(tx, now, now + LEASE_MICROS, most as u64).await })
    });
    Ok(leased.await?)
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
    if submission.record_state == Some(RecordState::Waiting) && FOLLOWED.contains(&submission.state) {
        return send_record(app, &account, submission).await;
    }
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
    let answer = account.ask(app, &request).await;
    let now = app.clock.now();
    let exchange = exchange(&sending, &request, &answer, now);
    let outcome = understood(answer, |status, body| (account.payer.submitted)(status, body, &sent(&sending)));
    tracing::info!(claim = sending.claim, attempts, outcome = word(&outcome), "a claim was sent");
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
        Submitted::Login(issues) | Submitted::Unknown(issues) | Submitted::Mismatched(issues) => {
            unknown(&issues, settle.min(FIRST_WAIT))
        }
    };
    write(app, next, Some(exchange)).await
}

/// Sends what follows a claim, until the payer answers: it says the same of the same invoice, however often.
async fn send_record(app: &App, account: &Account, submission: Submission) -> Result<(), Error> {
    let now = app.clock.now();
    let settled = |state: RecordState, record: Option<String>, now: i64| {
        let due_at = if submission.state.is_open() { now } else { 0 };
        Submission { record_state: Some(state), record, due_at, ..submission.clone() }
    };
    let Some((request, attempts)) = submission.record.as_deref().and_then(diagnoses::unpacked) else {
        return write(app, settled(RecordState::GivenUp, None, now), None).await;
    };
    let answer = account.ask(app, &request).await;
    let now = app.clock.now();
    let exchange = exchange(&submission, &request, &answer, now);
    let outcome = understood(answer, account.payer.recorded);
    let attempts = attempts + 1;
    tracing::info!(claim = submission.claim, attempts, outcome = word(&outcome), "diagnoses were sent");
    let state = match &outcome {
        Submitted::Taken { .. } => RecordState::Sent,
        Submitted::Refused(_) => RecordState::Refused,
        _ if attempts >= ATTEMPTS => RecordState::GivenUp,
        _ => RecordState::Waiting,
    };
    let after = if let Submitted::Later { after, .. } = &outcome { after.unwrap_or_default().min(3600) } else { 0 };
    let record = Some(diagnoses::packed(&request, attempts, &issues_of(outcome)));
    if state == RecordState::Waiting {
        let wait = (FIRST_WAIT << attempts.clamp(0, 9)).min(LONGEST_WAIT).max(after as i64 * 1_000_000);
        return keep(app, Submission { record, due_at: now + wait, ..submission }).await;
    }
    write(app, settled(state, record, now), Some(exchange)).await
}

/// What an answer means, or that there is none.
fn understood(answer: Result<Answer, Silence>, means: impl FnOnce(u16, &[u8]) -> Submitted) -> Submitted {
    match answer {
        Ok(Answer { status, body, retry_after }) => match means(status, &body) {
            Submitted::Later { after, issues } => Submitted::Later { after: after.or(retry_after), issues },
            other => other,
        },
        Err(silence) => silent(silence),
    }
}

fn silent(silence: Silence) -> Submitted {
    match silence {
        Silence::Login(issues) => Submitted::Login(issues),
        silence @ (Silence::Late | Silence::Transport(_)) => {
            Submitted::Unknown(vec![Issue::error(IssueCode::Transient, silence.text())])
        }
    }
}

/// What was asked and answered, for people.
fn exchange(submission: &Submission, request: &Ask, answer: &Result<Answer, Silence>, now: i64) -> Exchange {
    let (status, text) = match answer {
        Ok(answer) => (i64::from(answer.status), String::from_utf8_lossy(&answer.body).replace('\0', "")),
        Err(silence) => (0, silence.text()),
    };
    let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= claim_exchanges::MOST).unwrap_or(text.len());
    Exchange {
        claim: submission.claim.clone(),
        at: now,
        asked: format!("{} {}", request.method, request.path.split('?').next().unwrap_or_default()),
        status,
        answer: text[..end].to_owned(),
        state: String::new(), // what it led to is written with it
    }
}

/// Asks the payer what it knows of a claim.
async fn ask(app: &App, account: &Account, submission: Submission) -> Result<(), Error> {
    let question = Question::Status { sent: sent(&submission) };
    let now = app.clock.now();
    let context = Context { namespace: &app.config.adapter_namespace, now, ..Context::default() };
    let request = (account.payer.ask)(&question, &context);
    let answer = account.ask(app, &request).await;
    let now = app.clock.now();
    let exchange = exchange(&submission, &request, &answer, now);
    let found = match answer {
        Ok(answer) => (account.payer.followed)(answer.status, &answer.body, &sent(&submission)),
        Err(silence) => Err(silent(silence)),
    };
    match found {
        // It is there, but not taken back: what says so did not arrive.
        Ok(Some(known))
            if submission.intent == Intent::Cancel
                && submission.state == State::Unknown
                && known.standing != Standing::Cancelled =>
        {
            not_known(app, account, submission, now).await
        }
        Ok(Some(known)) => {
            let was = submission.state;
            let next = learned(account, submission, &known, now);
            // That nothing is new is not worth a line.
            let exchange = Some(exchange).filter(|_| next.state != was);
            write(app, next, exchange).await
        }
        Ok(None) if submission.state == State::Unknown => not_known(app, account, submission, now).await,
        // A claim that was taken and is not known now is asked for again; it is not sent again.
        Ok(None) => in_vain(app, account, submission, Vec::new(), now).await,
        Err(Submitted::Mismatched(issues)) if submission.reason != said(&issues) => {
            // What was said of somebody else is kept, and told to people once.
            let next = Submission { reason: said(&issues), due_at: now + FIRST_WAIT, ..submission };
            write(app, next, Some(exchange)).await
        }
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
        return write(app, given_up(submission, &[Issue::error(IssueCode::Transient, text)], now), None).await;
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
        return write(app, given_up(submission, &issues, now), None).await;
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

/// Writes state and ClaimResponse together, and what was said. What a payer says that is no FHIR is left out, and said
/// to be.
async fn write(app: &App, next: Submission, exchange: Option<Exchange>) -> Result<(), Error> {
    let bare = (!next.answer.is_empty()).then(|| {
        let text = "what the payer said of it cannot be kept: it is not valid FHIR";
        let issue = Issue::warning(IssueCode::Invalid, text);
        Submission { answer: String::new(), reason: said(&[issue]), ..next.clone() }
    });
    let exchange = exchange.map(|exchange| Exchange { state: next.state.as_str().to_owned(), ..exchange });
    match (put(app, next, exchange.clone()).await, bare) {
        (Err(error), Some(bare)) if matches!(error.kind(), Kind::BadRequest | Kind::Unprocessable) => {
            tracing::warn!(claim = bare.claim, %error, "a payer's answer is not valid FHIR");
            put(app, bare, exchange).await
        }
        (Err(error), _) if error.kind() == Kind::Conflict => {
            tracing::warn!(%error, "a claim is no longer this worker's; it is taken up again");
            Ok(())
        }
        (done, _) => done,
    }
}

async fn put(app: &App, next: Submission, exchange: Option<Exchange>) -> Result<(), Error> {
    let caller = Caller::server("insurance");
    let namespace = &app.config.adapter_namespace;
    let replaced = replaced(app, &next).await?;
    let mut transaction = response::bundle(&next, namespace);
    for entry in replaced.iter().flat_map(|it| response::bundle(it, namespace).list("entry").to_vec()) {
        response::push(&mut transaction, entry);
    }
    let row = Arc::new((next, replaced, exchange));
    let also: Also = Arc::new(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            let (next, replaced, exchange) = row.as_ref();
            if !claim_submissions::advance(tx, next).await? {
                return Err(Error::conflict("the claim was taken by another worker"));
            }
            if let Some(exchange) = exchange {
                claim_exchanges::insert(tx, exchange).await?;
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
        | Submitted::Mismatched(issues)
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
        Submitted::Mismatched(_) => "mismatched",
    }
}
