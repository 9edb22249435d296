//! Visits as payers opened them.

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query};

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
}

/// Keeps what is known of a session now; when it was first seen stays, and so do facts and visit number where nothing
/// is said of them.
pub async fn put(tx: &mut Tx, known: &Session) -> Result<(), StoreError> {
    let mut changed = vec!["status"];
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
        ])
        .on_conflict(OnConflict::columns(["payer", "session"]).update_columns(changed).to_owned())
        .to_owned();
    tx.execute(&insert).await.map(drop)
}

/// A session by its id.
pub async fn find(store: &Store, payer: &str, session: &str) -> Result<Option<Session>, StoreError> {
    let mut select = Query::select();
    select.columns(COLUMNS.to_vec()).from("insurance_session");
    select.and_where(Expr::col("payer").eq(payer)).and_where(Expr::col("session").eq(session));
    store.rows(&select).await?.first().map(read).transpose()
}

const COLUMNS: &[&str] = &["payer", "session", "patient_number", "visit_number", "status", "seen_at", "facts"];

fn read(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        payer: row.text(0)?,
        session: row.text(1)?,
        patient_number: row.text(2)?,
        visit_number: row.opt_text(3)?,
        status: row.text(4)?,
        seen_at: row.i64(5)?,
        facts: row.text(6)?,
    })
}
