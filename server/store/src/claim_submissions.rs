//! Claims on their way to a payer: an outbox with a state for each.
//!
//! ```text
//! waiting ──► sending ──► taken ──► billed | approved | partial | denied | cancelled | rejected | differs
//!    ▲           ├──────► refused
//!    │           └──────► unknown ──► taken, billed, …        the payer knows it
//!    └─────────────────────┘   the payer was asked and does not know it: only then it is sent again
//! unknown, taken ──► given-up                                 nothing was learned for long: a person has to look
//! taken, approved, … ──► waiting                              it is withdrawn; or ──► replaced, an update was taken
//! ```
//!
//! A row is in `sending` before the request leaves, so whoever finds it there does not know what became of it.
//!
//! What follows a claim, its record, waits in the same row until the payer has the claim.

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query, SelectStatement};

use crate::{Row, Store, StoreError, Tx};

/// How far a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be sent.
    Waiting,
    /// The request has left, or was about to.
    Sending,
    /// Whether the payer has it is not known.
    Unknown,
    /// The payer has it.
    Taken,
    /// The payer did not take it.
    Refused,
    /// In the payer's books.
    Billed,
    /// Withdrawn at the payer.
    Cancelled,
    /// Refused by the payer after it had taken it.
    Rejected,
    /// The payer has it for another amount.
    Differs,
    /// Nothing was learned for long.
    GivenUp,
    /// Granted by the payer as it was asked for.
    Approved,
    /// Granted in part, or changed.
    Partial,
    /// Decided against by the payer.
    Denied,
    /// The payer has an update of it.
    Replaced,
}

/// What is wanted of the payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// To take the claim, or the update of another.
    Submit,
    /// To take it back.
    Cancel,
}

/// All states.
pub const STATES: &[State] = &[
    State::Waiting,
    State::Sending,
    State::Unknown,
    State::Taken,
    State::Refused,
    State::Billed,
    State::Cancelled,
    State::Rejected,
    State::Differs,
    State::GivenUp,
    State::Approved,
    State::Partial,
    State::Denied,
    State::Replaced,
];

/// A claim on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Logical id of the Claim.
    pub claim: String,
    /// Adapter of the payer.
    pub payer: String,
    /// Name of the connection to it.
    pub connection: String,
    /// Invoice number.
    pub invoice: String,
    /// Visit number.
    pub visit: String,
    /// The payer's id of the session.
    pub session: String,
    /// Member number.
    pub member: String,
    /// Path and query of the request.
    pub path: String,
    /// The request.
    pub body: String,
    /// What the payer is asked for, a decimal.
    pub net: String,
    /// Its currency.
    pub currency: String,
    /// JSON: what the ClaimResponse refers to.
    pub refs: String,
    /// How far it is.
    pub state: State,
    /// JSON: issues of the last answer.
    pub reason: String,
    /// The payer's id of the claim; empty until it is known.
    pub reference: String,
    /// How often it was sent.
    pub attempts: i64,
    /// How often its status was asked for in vain.
    pub asked: i64,
    /// When it was last sent, microseconds since 1970; 0 before.
    pub sent_at: i64,
    /// When it was submitted.
    pub created_at: i64,
    /// When its state last changed.
    pub changed_at: i64,
    /// When it is due.
    pub due_at: i64,
    /// Counts the leases.
    pub lease: i64,
    /// JSON: what the payer said that stands in the ClaimResponse too; empty until it said anything.
    pub answer: String,
    /// What is wanted.
    pub intent: Intent,
    /// Logical id of the Claim that this one updates; empty if it is none.
    pub related: String,
    /// How far what follows the claim is, if anything does.
    pub record_state: Option<RecordState>,
    /// JSON: path and body of that message, attempts, issues.
    pub record: Option<String>,
}

/// How far a message is that follows a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// To be sent, once the payer has the claim.
    Waiting,
    /// The payer has it.
    Sent,
    /// The payer did not take it.
    Refused,
    /// Sent often, and nothing was learned.
    GivenUp,
}

/// What is looked for among submissions.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// In which states; in any where none is named.
    pub states: &'a [State],
    /// Of which payer.
    pub payer: Option<&'a str>,
    /// Of this Claim, invoice, visit or member.
    pub named: Option<&'a str>,
    /// After this one: when its state changed, and its Claim.
    pub after: Option<(i64, String)>,
    /// Whether the requests themselves stay where they are: for sums of many.
    pub without_bodies: bool,
}

impl RecordState {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            RecordState::Waiting => "waiting",
            RecordState::Sent => "sent",
            RecordState::Refused => "refused",
            RecordState::GivenUp => "given-up",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        const ALL: [RecordState; 4] =
            [RecordState::Waiting, RecordState::Sent, RecordState::Refused, RecordState::GivenUp];
        ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl State {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Sending => "sending",
            State::Unknown => "unknown",
            State::Taken => "taken",
            State::Refused => "refused",
            State::Billed => "billed",
            State::Cancelled => "cancelled",
            State::Rejected => "rejected",
            State::Differs => "differs",
            State::GivenUp => "given-up",
            State::Approved => "approved",
            State::Partial => "partial",
            State::Denied => "denied",
            State::Replaced => "replaced",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<State> {
        STATES.iter().copied().find(|state| state.as_str() == word)
    }

    /// Whether a worker has something to do.
    pub fn is_open(self) -> bool {
        OPEN.contains(&self)
    }

    /// Whether the payer has it, as something that can be changed or taken back.
    pub fn stands(self) -> bool {
        STANDING.contains(&self)
    }

    /// Whether nobody has to do anything about it.
    pub fn is_done(self) -> bool {
        matches!(self, State::Billed | State::Approved | State::Cancelled | State::Replaced)
    }

    /// Whether it may be submitted again.
    pub fn may_be_submitted_again(self) -> bool {
        matches!(self, State::Refused | State::GivenUp)
    }
}

const OPEN: &[State] = &[State::Waiting, State::Sending, State::Unknown, State::Taken];

const STANDING: &[State] = &[State::Taken, State::Billed, State::Approved, State::Partial];

impl Intent {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Intent::Submit => "submit",
            Intent::Cancel => "cancel",
        }
    }

    fn parse(word: &str) -> Option<Intent> {
        [Intent::Submit, Intent::Cancel].into_iter().find(|intent| intent.as_str() == word)
    }
}

/// States in which the payer has a claim, so that something can follow it.
pub const FOLLOWED: &[State] = &[State::Taken, State::Billed];

/// Adds a submission; false if the claim or the invoice has one already.
pub async fn insert(tx: &mut Tx, wanted: &Submission) -> Result<bool, StoreError> {
    let insert = Query::insert()
        .into_table("claim_submission")
        .columns(COLUMNS.to_vec())
        .values_panic([
            wanted.claim.as_str().into(),
            wanted.payer.as_str().into(),
            wanted.connection.as_str().into(),
            wanted.invoice.as_str().into(),
            wanted.visit.as_str().into(),
            wanted.session.as_str().into(),
            wanted.member.as_str().into(),
            wanted.path.as_str().into(),
            wanted.body.as_str().into(),
            wanted.net.as_str().into(),
            wanted.currency.as_str().into(),
            wanted.refs.as_str().into(),
            wanted.state.as_str().into(),
            wanted.reason.as_str().into(),
            wanted.reference.as_str().into(),
            wanted.attempts.into(),
            wanted.asked.into(),
            wanted.sent_at.into(),
            wanted.created_at.into(),
            wanted.changed_at.into(),
            wanted.due_at.into(),
            0_i64.into(),
            wanted.answer.as_str().into(),
            wanted.intent.as_str().into(),
            wanted.related.as_str().into(),
            wanted.record_state.map(RecordState::as_str).into(),
            wanted.record.clone().into(),
        ])
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .to_owned();
    Ok(tx.execute(&insert).await? > 0)
}

/// Puts a submission in the queue again, with what is sent now; false if it is not in the state that it was read in.
pub async fn again(tx: &mut Tx, wanted: &Submission, was: State) -> Result<bool, StoreError> {
    let update = Query::update()
        .table("claim_submission")
        .value("visit", wanted.visit.as_str())
        .value("session", wanted.session.as_str())
        .value("member", wanted.member.as_str())
        .value("path", wanted.path.as_str())
        .value("body", wanted.body.as_str())
        .value("net", wanted.net.as_str())
        .value("currency", wanted.currency.as_str())
        .value("refs", wanted.refs.as_str())
        .value("state", wanted.state.as_str())
        .value("reason", wanted.reason.as_str())
        .value("attempts", 0_i64)
        .value("asked", 0_i64)
        .value("changed_at", wanted.changed_at)
        .value("due_at", 0_i64)
        .value("answer", wanted.answer.as_str())
        .value("intent", wanted.intent.as_str())
        .value("related", wanted.related.as_str())
        .value("lease", Expr::col("lease").add(1))
        .and_where(Expr::col("claim").eq(wanted.claim.as_str()))
        .and_where(Expr::col("payer").eq(wanted.payer.as_str()))
        .and_where(Expr::col("connection").eq(wanted.connection.as_str()))
        .and_where(Expr::col("invoice").eq(wanted.invoice.as_str()))
        .and_where(Expr::col("state").eq(was.as_str()))
        .to_owned();
    Ok(tx.execute(&update).await? > 0)
}

/// Whether anything is due: asked often, so that nothing is written for it.
pub async fn is_due(store: &Store, now: i64) -> Result<bool, StoreError> {
    Ok(!store.rows(due(now).limit(1)).await?.is_empty())
}

/// Takes up to `limit` submissions that are due, the longest due first, and keeps them from other workers until
/// `until`.
pub async fn lease(tx: &mut Tx, now: i64, until: i64, limit: u64) -> Result<Vec<Submission>, StoreError> {
    let claims = tx.rows(due(now).order_by("due_at", Order::Asc).order_by("claim", Order::Asc).limit(limit)).await?;
    let claims = claims.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    // The condition again: on PostgreSQL another worker may have taken some in between.
    let mut take = Query::update();
    take.table("claim_submission").value("due_at", until).value("lease", Expr::col("lease").add(1));
    take.and_where(Expr::col("claim").is_in(claims)).and_where(Expr::col("due_at").lte(now));
    take.and_where(open()).returning(Query::returning().columns(COLUMNS.to_vec()));
    tx.rows(&take).await?.iter().map(read).collect()
}

/// Writes how far a submission is, as the worker of this lease has it; false if another has it now.
pub async fn advance(tx: &mut Tx, now: &Submission) -> Result<bool, StoreError> {
    let update = Query::update()
        .table("claim_submission")
        .value("state", now.state.as_str())
        .value("reason", now.reason.as_str())
        .value("reference", now.reference.as_str())
        .value("attempts", now.attempts)
        .value("asked", now.asked)
        .value("sent_at", now.sent_at)
        .value("changed_at", now.changed_at)
        .value("due_at", now.due_at)
        .value("answer", now.answer.as_str())
        .value("intent", now.intent.as_str())
        .value("record_state", now.record_state.map(RecordState::as_str))
        .value("record", now.record.clone())
        .and_where(Expr::col("claim").eq(now.claim.as_str()))
        .and_where(Expr::col("lease").eq(now.lease))
        .to_owned();
    Ok(tx.execute(&update).await? > 0)
}

/// Notes that the payer has an update of a submission; false if it is not one that stands. Whoever works on it loses it.
pub async fn replace(tx: &mut Tx, claim: &str, at: i64) -> Result<bool, StoreError> {
    let update = Query::update()
        .table("claim_submission")
        .value("state", State::Replaced.as_str())
        .value("changed_at", at)
        .value("due_at", 0_i64)
        .value("lease", Expr::col("lease").add(1))
        .and_where(Expr::col("claim").eq(claim))
        .and_where(Expr::col("state").is_in(STANDING.iter().map(|state| state.as_str())))
        .to_owned();
    Ok(tx.execute(&update).await? > 0)
}

/// Takes a claim back that the payer does not have: one that was not sent yet, or that was refused; false if it is not
/// so any more. A worker that is about to send it finds that it has lost it.
pub async fn withdraw(tx: &mut Tx, claim: &str, reason: &str, now: i64) -> Result<bool, StoreError> {
    let unsent = Expr::col("state").eq(State::Waiting.as_str()).and(Expr::col("attempts").eq(0_i64));
    let unsent = unsent.and(Expr::col("intent").eq(Intent::Submit.as_str()));
    let update = Query::update()
        .table("claim_submission")
        .value("state", State::Cancelled.as_str())
        .value("reason", reason)
        .value("changed_at", now)
        .value("due_at", 0_i64)
        .value("lease", Expr::col("lease").add(1))
        .and_where(Expr::col("claim").eq(claim))
        .and_where(unsent.or(Expr::col("state").eq(State::Refused.as_str())))
        .to_owned();
    Ok(tx.execute(&update).await? > 0)
}

/// Puts a message in the row of the claim that it follows; false if the payer does not have that claim, or such a
/// message waits already.
pub async fn follow(tx: &mut Tx, claim: &str, record: &str, now: i64) -> Result<bool, StoreError> {
    let update = Query::update()
        .table("claim_submission")
        .value("record_state", RecordState::Waiting.as_str())
        .value("record", record)
        .value("due_at", now)
        .value("lease", Expr::col("lease").add(1))
        .and_where(Expr::col("claim").eq(claim))
        .and_where(Expr::col("record_state").is_null().or(Expr::col("record_state").ne(RecordState::Waiting.as_str())))
        .and_where(Expr::col("state").is_in(FOLLOWED.iter().map(|state| state.as_str())))
        .to_owned();
    Ok(tx.execute(&update).await? > 0)
}

/// Extends a lease; false if another worker has the submission now.
pub async fn extend(tx: &mut Tx, claim: &str, lease: i64, until: i64) -> Result<bool, StoreError> {
    let update = Query::update()
        .table("claim_submission")
        .value("due_at", until)
        .and_where(Expr::col("claim").eq(claim))
        .and_where(Expr::col("lease").eq(lease))
        .to_owned();
    Ok(tx.execute(&update).await? > 0)
}

/// Makes everything due that a worker may have had. Only for a process that has the database to itself, when it starts:
/// what was being sent is found in that state, and asked for.
pub async fn release_leases(tx: &mut Tx) -> Result<u64, StoreError> {
    let update = Query::update().table("claim_submission").value("due_at", 0_i64).and_where(open()).to_owned();
    tx.execute(&update).await
}

/// The submission of a Claim.
pub async fn find(store: &Store, claim: &str) -> Result<Option<Submission>, StoreError> {
    let statement = select().and_where(Expr::col("claim").eq(claim)).to_owned();
    store.rows(&statement).await?.first().map(read).transpose()
}

/// The submission of an invoice.
pub async fn of_invoice(store: &Store, payer: &str, invoice: &str) -> Result<Option<Submission>, StoreError> {
    let mut statement = select();
    statement.and_where(Expr::col("payer").eq(payer)).and_where(Expr::col("invoice").eq(invoice));
    store.rows(&statement).await?.first().map(read).transpose()
}

/// The submissions of sessions of a payer.
pub async fn of_sessions(store: &Store, payer: &str, sessions: &[String]) -> Result<Vec<Submission>, StoreError> {
    let mut statement = select();
    statement
        .and_where(Expr::col("payer").eq(payer))
        .and_where(Expr::col("session").is_in(sessions.iter().map(String::as_str)));
    store.rows(&statement).await?.iter().map(read).collect()
}

/// What is wanted, the longest unchanged first.
pub async fn list(store: &Store, wanted: &Wanted<'_>, limit: u64) -> Result<Vec<Submission>, StoreError> {
    let mut statement = if wanted.without_bodies { select_without_bodies() } else { select() };
    if !wanted.states.is_empty() {
        statement.and_where(Expr::col("state").is_in(wanted.states.iter().map(|state| state.as_str())));
    }
    if let Some(payer) = wanted.payer {
        statement.and_where(Expr::col("payer").eq(payer));
    }
    if let Some(named) = wanted.named {
        let is = |column: &'static str| Expr::col(column).eq(named);
        statement.and_where(is("claim").or(is("invoice")).or(is("visit")).or(is("member")));
    }
    if let Some((at, claim)) = &wanted.after {
        let same = Expr::col("changed_at").eq(*at).and(Expr::col("claim").gt(claim.as_str()));
        statement.and_where(Expr::col("changed_at").gt(*at).or(same));
    }
    statement.order_by("changed_at", Order::Asc).order_by("claim", Order::Asc).limit(limit);
    store.rows(&statement).await?.iter().map(read).collect()
}

const COLUMNS: &[&str] = &[
    "claim",
    "payer",
    "connection",
    "invoice",
    "visit",
    "session",
    "member",
    "path",
    "body",
    "net",
    "currency",
    "refs",
    "state",
    "reason",
    "reference",
    "attempts",
    "asked",
    "sent_at",
    "created_at",
    "changed_at",
    "due_at",
    "lease",
    "answer",
    "intent",
    "related",
    "record_state",
    "record",
];

fn open() -> Expr {
    let waits = Expr::col("record_state").eq(RecordState::Waiting.as_str());
    Expr::col("state").is_in(OPEN.iter().map(|state| state.as_str())).or(waits)
}

fn due(now: i64) -> SelectStatement {
    let mut select = Query::select();
    select.column("claim").from("claim_submission").and_where(open()).and_where(Expr::col("due_at").lte(now));
    select
}

fn select() -> SelectStatement {
    Query::select().columns(COLUMNS.to_vec()).from("claim_submission").to_owned()
}

fn select_without_bodies() -> SelectStatement {
    let mut select = Query::select();
    for column in COLUMNS {
        match *column {
            "body" => select.expr(Expr::val("")),
            other => select.column(other),
        };
    }
    select.from("claim_submission").to_owned()
}

fn read(row: &Row) -> Result<Submission, StoreError> {
    let (word, intent) = (row.text(12)?, row.text(23)?);
    Ok(Submission {
        claim: row.text(0)?,
        payer: row.text(1)?,
        connection: row.text(2)?,
        invoice: row.text(3)?,
        visit: row.text(4)?,
        session: row.text(5)?,
        member: row.text(6)?,
        path: row.text(7)?,
        body: row.text(8)?,
        net: row.text(9)?,
        currency: row.text(10)?,
        refs: row.text(11)?,
        state: State::parse(&word).ok_or_else(|| StoreError::Schema(format!("claim state \"{word}\"")))?,
        reason: row.text(13)?,
        reference: row.text(14)?,
        attempts: row.i64(15)?,
        asked: row.i64(16)?,
        sent_at: row.i64(17)?,
        created_at: row.i64(18)?,
        changed_at: row.i64(19)?,
        due_at: row.i64(20)?,
        lease: row.i64(21)?,
        answer: row.text(22)?,
        intent: Intent::parse(&intent).ok_or_else(|| StoreError::Schema(format!("intent of a claim \"{intent}\"")))?,
        related: row.text(24)?,
        record_state: row.opt_text(25)?.as_deref().and_then(RecordState::parse),
        record: row.opt_text(26)?,
    })
}
