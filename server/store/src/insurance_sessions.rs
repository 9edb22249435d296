//! Visits as payers opened them.

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query, SelectStatement};

use crate::{Row, Store, StoreError, Tx};

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Adapter of the payer.
    pub payer: String,
    /// The payer's id of it.
    pub session: String,
    /// The payer's number of the patient.
    pub patient_number: String,
    /// Our number of the visit, once it was merged.
    pub visit_number: Option<String>,
    /// `PENDING`, `ACTIVE`, `BILLED`, `CLOSED` or `EXPIRED`.
    pub status: String,
    /// When it was first seen, microseconds since 1970.
    pub seen_at: i64,
    /// JSON: payer code, coverage, member number, currency, benefits.
    pub facts: String,
    /// When it was told that it is about to expire.
    pub told_at: Option<i64>,
}

/// States in which a session is used, and can expire.
const USED: [&str; 2] = ["PENDING", "ACTIVE"];

/// Keeps what is known of a session now; when it was first seen stays, and so do facts and visit number where nothing
/// is said of them.
pub async fn put(tx: &mut Tx, known: &Session) -> Result<(), StoreError> {
    let mut changed = vec!["status", "told_at"];
    if known.facts != "{}" {
        changed.push("facts");
    }
    if known.visit_number.is_some() {
        changed.push("visit_number");
    }
    let insert = Query::insert()
        .into_table("insurance_session")
        .columns(COLUMNS.to_vec())
        .values_panic([
            known.payer.as_str().into(),
            known.session.as_str().into(),
            known.patient_number.as_str().into(),
            known.visit_number.clone().into(),
            known.status.as_str().into(),
            known.seen_at.into(),
            known.facts.as_str().into(),
            known.told_at.into(),
        ])
        .on_conflict(OnConflict::columns(["payer", "session"]).update_columns(changed).to_owned())
        .to_owned();
    tx.execute(&insert).await.map(drop)
}

/// A session by its id.
pub async fn find(store: &Store, payer: &str, session: &str) -> Result<Option<Session>, StoreError> {
    let mut select = select();
    select.and_where(Expr::col("payer").eq(payer)).and_where(Expr::col("session").eq(session));
    store.rows(&select).await?.first().map(read).transpose()
}

/// Whether any session is used: asked often, so that nothing else is looked up where none is.
pub async fn any_used(store: &Store, payer: &str) -> Result<bool, StoreError> {
    Ok(!used(store, payer, i64::MAX, false, 1).await?.is_empty())
}

/// Sessions that are used and were first seen before `seen_before`, the oldest first; `untold`: only those of which it
/// was not told that they are about to expire.
pub async fn used(
    store: &Store,
    payer: &str,
    seen_before: i64,
    untold: bool,
    limit: u64,
) -> Result<Vec<Session>, StoreError> {
    let mut select = select();
    select.and_where(Expr::col("status").is_in(USED)).and_where(Expr::col("seen_at").lte(seen_before));
    select.and_where(Expr::col("payer").eq(payer));
    if untold {
        select.and_where(Expr::col("told_at").is_null());
    }
    select.order_by("seen_at", Order::Asc).order_by("session", Order::Asc).limit(limit);
    store.rows(&select).await?.iter().map(read).collect()
}

/// Sessions that have expired and were first seen at or after an instant, the latest first.
pub async fn expired(store: &Store, payer: &str, seen_from: i64, limit: u64) -> Result<Vec<Session>, StoreError> {
    let mut select = select();
    select.and_where(Expr::col("status").eq(EXPIRED)).and_where(Expr::col("seen_at").gte(seen_from));
    select.and_where(Expr::col("payer").eq(payer));
    select.order_by("seen_at", Order::Desc).order_by("session", Order::Desc).limit(limit);
    store.rows(&select).await?.iter().map(read).collect()
}

/// Marks a session as expired; false if it is not used any more.
pub async fn expire(tx: &mut Tx, session: &Session) -> Result<bool, StoreError> {
    mark(tx, session, "status", EXPIRED.into()).await
}

/// Notes that it was told that a session is about to expire; false if it is not used any more.
pub async fn tell(tx: &mut Tx, session: &Session, now: i64) -> Result<bool, StoreError> {
    mark(tx, session, "told_at", now.into()).await
}

async fn mark(tx: &mut Tx, session: &Session, column: &'static str, value: Expr) -> Result<bool, StoreError> {
    let update = Query::update()
        .table("insurance_session")
        .value(column, value)
        .and_where(Expr::col("payer").eq(session.payer.as_str()))
        .and_where(Expr::col("session").eq(session.session.as_str()))
        .and_where(Expr::col("status").is_in(USED))
        .to_owned();
    Ok(tx.execute(&update).await? > 0)
}

const EXPIRED: &str = "EXPIRED";

const COLUMNS: &[&str] =
    &["payer", "session", "patient_number", "visit_number", "status", "seen_at", "facts", "told_at"];

fn select() -> SelectStatement {
    Query::select().columns(COLUMNS.to_vec()).from("insurance_session").to_owned()
}

fn read(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        payer: row.text(0)?,
        session: row.text(1)?,
        patient_number: row.text(2)?,
        visit_number: row.opt_text(3)?,
        status: row.text(4)?,
        seen_at: row.i64(5)?,
        facts: row.text(6)?,
        told_at: row.opt_i64(7)?,
    })
}
