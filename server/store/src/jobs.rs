//! Work in the background, as leased rows: whoever works on one extends its lease; when it is killed, the lease runs
//! out and another process takes it.
//!
//! ```text
//! waiting ──► running ──► done ──► (forgotten)
//!                └─ lease ran out: running again, with one attempt more
//! ```
//!
//! Every change by a worker names the attempt that it made, so one that was given up for dead changes nothing.
//!
//! Those who ask take turns: of the jobs that wait, one of whoever has waited longest for a turn comes first, so that many
//! jobs of one party keep nobody else waiting for more than one of them. (LK-52)

use sea_orm::DbBackend;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, OnConflict, Order, Query, SelectStatement, UpdateStatement};
use sha2::{Digest as _, Sha256};

use crate::session::Session as _;
use crate::{Row, Store, StoreError, Tx};

/// How long it is known when a party had a turn.
const TURNS: i64 = 24 * 3_600_000_000;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has begun it.
    Waiting,
    /// Somebody works on it, or was killed while doing so.
    Running,
    /// Its answer is there.
    Done,
}

/// A job to be done.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Random: who knows it and is the owner may ask for it.
    pub id: String,
    /// Which part of the server carries it out.
    pub kind: String,
    /// Who alone may see it; empty for the server's own.
    pub owner: String,
    /// Whose jobs are counted together and take turns with those of others; empty for the server's own.
    pub party: String,
    /// Hash of the access token it was asked for with; empty for the server's own.
    pub token: Vec<u8>,
    /// What is to be done, JSON.
    pub request: String,
    /// Whether doing it twice does no harm.
    pub repeatable: bool,
    /// Now, microseconds since 1970.
    pub created_at: i64,
}

/// A job that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Which part of the server carries it out.
    pub kind: String,
    /// Hash of the access token it was asked for with; empty for the server's own.
    pub token: Vec<u8>,
    /// What is to be done, JSON.
    pub request: String,
    /// Whether doing it twice does no harm.
    pub repeatable: bool,
    /// How often it was begun, this time included.
    pub attempts: i64,
    /// When it was asked for.
    pub created_at: i64,
}

/// What its owner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// How far it is.
    pub state: State,
    /// For people.
    pub progress: String,
    /// When it was asked for, microseconds since 1970.
    pub created_at: i64,
    /// When it is forgotten; 0 before it is done.
    pub expires_at: i64,
    /// What it led to, JSON; empty before it is done.
    pub answer: String,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Running => "running",
            State::Done => "done",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        let all = [State::Waiting, State::Running, State::Done];
        let found = all.into_iter().find(|state| state.as_str() == word);
        found.ok_or_else(|| StoreError::Schema(format!("job state \"{word}\"")))
    }
}

/// Adds a job; false if its party has `most` of the kind already, done ones that are still kept among them.
pub async fn insert(tx: &mut Tx, job: &NewJob, most: i64) -> Result<bool, StoreError> {
    if !job.party.is_empty() {
        one_at_a_time(tx, job).await?;
        let mut select = Query::select();
        select.expr(Expr::col("id").count()).from("job").and_where(Expr::col("party").eq(job.party.as_str()));
        select.and_where(Expr::col("kind").eq(job.kind.as_str()));
        if tx.rows(&select).await?.first().map_or(Ok(0), |row| row.i64(0))? >= most {
            return Ok(false);
        }
    }
    let mut insert = Query::insert();
    insert.into_table("job").columns([
        "id",
        "kind",
        "owner",
        "party",
        "token",
        "request",
        "repeatable",
        "state",
        "progress",
        "attempts",
        "due_at",
        "created_at",
        "settled_at",
        "expires_at",
        "answer",
    ]);
    insert.values_panic([
        job.id.as_str().into(),
        job.kind.as_str().into(),
        job.owner.as_str().into(),
        job.party.as_str().into(),
        job.token.clone().into(),
        job.request.as_str().into(),
        i64::from(job.repeatable).into(),
        State::Waiting.as_str().into(),
        "waiting".into(),
        0_i64.into(),
        0_i64.into(),
        job.created_at.into(),
        0_i64.into(),
        0_i64.into(),
        "".into(),
    ]);
    tx.execute(&insert).await.map(|rows| rows > 0)
}

/// Keeps others of this party from counting until the transaction ends; on SQLite there is one writer.
async fn one_at_a_time(tx: &mut Tx, job: &NewJob) -> Result<(), StoreError> {
    if tx.backend() == DbBackend::Sqlite {
        return Ok(());
    }
    let digest = Sha256::digest(format!("{}\n{}", job.kind, job.party).as_bytes());
    // Far below the keys of the horizon, which are made of the time.
    let key = digest.iter().take(5).fold(0_i64, |key, byte| (key << 8) | i64::from(*byte));
    let mut lock = Query::select();
    lock.expr(Expr::cust(format!("pg_advisory_xact_lock({key}) IS NULL")));
    tx.rows(&lock).await.map(drop)
}

/// Whether there is anything of this kind to take, or anything to forget: asked often, so that nothing is written for it.
pub async fn is_due(store: &Store, kind: &str, now: i64) -> Result<bool, StoreError> {
    let over = Expr::col("expires_at").gt(0_i64).and(Expr::col("expires_at").lte(now));
    for due in [is_due_of(kind, now), over] {
        let mut select = Query::select();
        select.column("id").from("job").and_where(due).limit(1);
        if !store.rows(&select).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes up to `limit` jobs of a kind that are due and keeps them from other workers until `lease_until`: one of each party
/// in turn, of each its oldest.
pub async fn lease(
    tx: &mut Tx,
    kind: &str,
    (now, lease_until): (i64, i64),
    limit: u64,
) -> Result<Vec<Job>, StoreError> {
    let mut jobs = Vec::new();
    for _ in 0..limit {
        let rows = tx.rows(&next(kind, now)).await?;
        let Some(row) = rows.first() else { break };
        let (id, party) = (row.text(0)?, row.text(1)?);
        // The condition again: on PostgreSQL another worker may have taken it in between.
        let mut take = Query::update();
        take.table("job").value("state", State::Running.as_str()).value("due_at", lease_until);
        take.value("attempts", Expr::col("attempts").add(1)).value("progress", "running");
        take.and_where(Expr::col("id").eq(id)).and_where(is_due_of(kind, now));
        take.returning(Query::returning().columns(JOB_COLUMNS.to_vec()));
        let rows = tx.rows(&take).await?;
        if let Some(row) = rows.first() {
            jobs.push(job(row)?);
            had_turn(tx, kind, &party, now).await?;
        }
    }
    Ok(jobs)
}

/// Of a kind, what somebody works on or waits for, and nobody holds.
fn is_due_of(kind: &str, now: i64) -> Expr {
    is_open().and(Expr::col(("job", "due_at")).lte(now)).and(Expr::col(("job", "kind")).eq(kind))
}

/// Hashes of the tokens that open jobs were asked for with.
pub(crate) fn tokens_in_use() -> SelectStatement {
    let mut select = Query::select();
    select.column("token").from("job").and_where(is_open());
    select
}

/// Somebody works on it or waits for it.
fn is_open() -> Expr {
    Expr::col(("job", "state")).is_in([State::Waiting.as_str(), State::Running.as_str()])
}

/// Id and party of the job that comes next.
fn next(kind: &str, now: i64) -> SelectStatement {
    let of_party = Expr::col(("job_turn", "party")).equals(("job", "party"));
    let of_kind = Expr::col(("job_turn", "kind")).equals(("job", "kind"));
    let last = Func::coalesce([Expr::col(("job_turn", "at")), Expr::val(0_i64)]);
    let mut select = Query::select();
    select.columns([("job", "id"), ("job", "party")]).from("job").left_join("job_turn", of_party.and(of_kind));
    select.and_where(is_due_of(kind, now)).order_by_expr(last.into(), Order::Asc);
    select.order_by(("job", "created_at"), Order::Asc).order_by(("job", "id"), Order::Asc).limit(1);
    select
}

/// Notes that a job of a party was taken.
async fn had_turn(tx: &mut Tx, kind: &str, party: &str, now: i64) -> Result<(), StoreError> {
    let mut insert = Query::insert();
    insert.into_table("job_turn").columns(["kind", "party", "at"]);
    insert.values_panic([kind.into(), party.into(), now.into()]);
    insert.on_conflict(OnConflict::columns(["kind", "party"]).update_column("at").to_owned());
    tx.execute(&insert).await.map(drop)
}

/// Extends a lease and says how far the work is; false if the job was cancelled or taken by another.
pub async fn extend(tx: &mut Tx, job: &Job, progress: &str, lease_until: i64) -> Result<bool, StoreError> {
    let statement = held(job).value("due_at", lease_until).value("progress", progress).to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Makes sure that a job is still this worker's until the transaction ends; false if the job was cancelled or taken by another.
pub async fn hold(tx: &mut Tx, job: &Job) -> Result<bool, StoreError> {
    let statement = held(job).value("attempts", job.attempts).to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Keeps the answer until `expires_at`; false if the job was cancelled or taken by another.
pub async fn settle(tx: &mut Tx, job: &Job, answer: &str, now: i64, expires_at: i64) -> Result<bool, StoreError> {
    let statement = held(job)
        .value("state", State::Done.as_str())
        .value("progress", "done")
        .value("answer", answer)
        .value("settled_at", now)
        .value("expires_at", expires_at)
        .value("request", "")
        .to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// How far the job is, if it is `owner`'s and not forgotten.
pub async fn find(store: &Store, id: &str, owner: &str, now: i64) -> Result<Option<Status>, StoreError> {
    let mut select = Query::select();
    select.columns(["state", "progress", "expires_at", "answer", "created_at"]).from("job");
    select.and_where(Expr::col("id").eq(id)).and_where(Expr::col("owner").eq(owner));
    let rows = store.rows(&select).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let status = Status {
        state: State::parse(&row.text(0)?)?,
        progress: row.text(1)?,
        expires_at: row.i64(2)?,
        answer: row.text(3)?,
        created_at: row.i64(4)?,
    };
    Ok(Some(status).filter(|status| status.state != State::Done || status.expires_at > now))
}

/// Forgets a job; one that runs is stopped when its worker next extends the lease. False if it is not `owner`'s.
pub async fn remove(tx: &mut Tx, id: &str, owner: &str) -> Result<bool, StoreError> {
    let mut delete = Query::delete();
    delete.from_table("job").and_where(Expr::col("id").eq(id)).and_where(Expr::col("owner").eq(owner));
    Ok(tx.execute(&delete).await? > 0)
}

/// Forgets the jobs whose time is over, and turns of long ago.
pub async fn remove_expired(tx: &mut Tx, now: i64) -> Result<u64, StoreError> {
    let mut delete = Query::delete();
    delete.from_table("job_turn").and_where(Expr::col("at").lt(now - TURNS));
    tx.execute(&delete).await?;
    let mut delete = Query::delete();
    delete.from_table("job").and_where(Expr::col("expires_at").lte(now)).and_where(Expr::col("expires_at").gt(0_i64));
    tx.execute(&delete).await
}

/// Ends all leases. Only for a process that has the database to itself, when it starts.
pub async fn release_leases(tx: &mut Tx) -> Result<u64, StoreError> {
    let mut update = Query::update();
    update.table("job").value("due_at", 0_i64).and_where(Expr::col("state").eq(State::Running.as_str()));
    tx.execute(&update).await
}

const JOB_COLUMNS: &[&str] = &["id", "kind", "token", "request", "repeatable", "attempts", "created_at"];

fn job(row: &Row) -> Result<Job, StoreError> {
    Ok(Job {
        id: row.text(0)?,
        kind: row.text(1)?,
        token: row.bytes(2)?,
        request: row.text(3)?,
        repeatable: row.i64(4)? == 1,
        attempts: row.i64(5)?,
        created_at: row.i64(6)?,
    })
}

/// The job as the worker of this attempt holds it.
fn held(job: &Job) -> UpdateStatement {
    let mut update = Query::update();
    update.table("job").and_where(Expr::col("id").eq(job.id.as_str()));
    update.and_where(Expr::col("state").eq(State::Running.as_str())).and_where(Expr::col("attempts").eq(job.attempts));
    update
}
