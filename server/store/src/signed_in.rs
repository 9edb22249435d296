//! The sessions of an account: half open ones that wait for a second factor, a list for the person, and their ends.

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};
use smart::grant::lifetime;
use smart::token::Hash;

use crate::{Store, StoreError, Tx};

/// One session of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// SHA-256 of its cookie.
    pub hash: Hash,
    /// What the browser calls itself.
    pub agent: Option<String>,
    /// When the person signed in, microseconds since 1970.
    pub auth_time: Option<i64>,
    /// Last request, microseconds since 1970.
    pub seen_at: i64,
}

/// Opens a session in which nobody is signed in yet: the password was right, a second factor is asked for.
pub async fn open_half(tx: &mut Tx, session: Hash, account_id: &str, now: i64) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("session")
        .columns(["hash", "half_account_id", "created_at", "seen_at", "expires_at"])
        .values_panic([
            bytes(session),
            account_id.into(),
            now.into(),
            now.into(),
            (now + lifetime::SESSION_IDLE).into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Keeps what a browser calls itself, at most 200 characters of it.
pub async fn note_agent(tx: &mut Tx, session: Hash, agent: &str) -> Result<(), StoreError> {
    let agent: String = agent.chars().filter(|c| !c.is_control()).take(200).collect();
    let statement = Query::update()
        .table("session")
        .value("agent", agent)
        .and_where(Expr::col("hash").eq(bytes(session)))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Notes that a second factor was given in a session.
pub async fn note_second_factor(tx: &mut Tx, session: Hash, now: i64) -> Result<(), StoreError> {
    let statement = Query::update()
        .table("session")
        .value("second_factor_at", now)
        .and_where(Expr::col("hash").eq(bytes(session)))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Forgets it in all sessions of an account, which has no second factor any more.
pub(crate) async fn forget_second_factor(tx: &mut Tx, account_id: &str) -> Result<(), StoreError> {
    let statement = Query::update()
        .table("session")
        .value("second_factor_at", Option::<i64>::None)
        .and_where(Expr::col("account_id").eq(account_id))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// The live sessions of an account, latest first.
pub async fn list(store: &Store, account_id: &str, now: i64) -> Result<Vec<SignedIn>, StoreError> {
    let statement = Query::select()
        .columns(["hash", "agent", "auth_time", "seen_at"])
        .from("session")
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("ended_at").is_null())
        .and_where(Expr::col("expires_at").gt(now))
        .and_where(Expr::col("seen_at").gt(now - lifetime::SESSION_IDLE))
        .order_by("seen_at", Order::Desc)
        .to_owned();
    let read = |row: &crate::Row| {
        let hash = Hash::from_bytes(&row.bytes(0)?).ok_or(StoreError::Column { column: 0 })?;
        Ok(SignedIn { hash, agent: row.opt_text(1)?, auth_time: row.opt_i64(2)?, seen_at: row.i64(3)? })
    };
    store.rows(&statement).await?.iter().map(read).collect()
}

/// Ends one session of an account; those of others stay.
pub async fn end(tx: &mut Tx, account_id: &str, session: Hash, now: i64) -> Result<(), StoreError> {
    let statement = Query::update()
        .table("session")
        .value("ended_at", now)
        .and_where(Expr::col("hash").eq(bytes(session)))
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("ended_at").is_null())
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Ends all sessions of an account, half open ones too, but the one that is to go on.
pub async fn end_all(tx: &mut Tx, account_id: &str, but: Option<Hash>, now: i64) -> Result<(), StoreError> {
    let own = Expr::col("account_id").eq(account_id).or(Expr::col("half_account_id").eq(account_id));
    let mut statement = Query::update();
    statement.table("session").value("ended_at", now).and_where(own).and_where(Expr::col("ended_at").is_null());
    if let Some(but) = but {
        statement.and_where(Expr::col("hash").ne(bytes(but)));
    }
    tx.execute(&statement).await.map(drop)
}

fn bytes(hash: Hash) -> Expr {
    Expr::val(hash.as_bytes().to_vec())
}
