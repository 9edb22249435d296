//! Passkeys of accounts, and the challenges that they answer. (OA-24, OA-06)

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use smart::passkey::Registered;
use smart::token::Hash;

use crate::{Row, Store, StoreError, Tx};

/// How long a challenge may be answered, microseconds.
pub const LIFETIME: i64 = 5 * 60 * 1_000_000;

/// Most passkeys of an account.
pub const MAX_PASSKEYS: usize = 20;

/// What is kept of a passkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// By what the authenticator knows it.
    pub id: Vec<u8>,
    /// Whose it is.
    pub account_id: String,
    /// In the form of COSE.
    pub public_key: Vec<u8>,
    /// What its person calls it.
    pub name: String,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// When somebody signed in with it last, microseconds since 1970.
    pub used_at: Option<i64>,
}

/// Asks a browser: to add a passkey to an account, or to sign in with one. What it was asked before is over.
pub async fn challenge(
    tx: &mut Tx,
    challenge: Hash,
    session: Hash,
    account_id: Option<&str>,
    now: i64,
) -> Result<(), StoreError> {
    let over = Expr::col("session_hash").eq(bytes(session)).or(Expr::col("expires_at").lt(now));
    tx.execute(&Query::delete().from_table("passkey_challenge").and_where(over).to_owned()).await?;
    let statement = Query::insert()
        .into_table("passkey_challenge")
        .columns(["hash", "session_hash", "account_id", "created_at", "expires_at"])
        .values_panic([
            bytes(challenge),
            bytes(session),
            account_id.map(str::to_owned).into(),
            now.into(),
            (now + LIFETIME).into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Spends a challenge: true for exactly one caller, in the browser and for the purpose that it was made for.
pub async fn spend(
    tx: &mut Tx,
    challenge: Hash,
    session: Hash,
    account_id: Option<&str>,
    now: i64,
) -> Result<bool, StoreError> {
    let purpose = match account_id {
        Some(account_id) => Expr::col("account_id").eq(account_id),
        None => Expr::col("account_id").is_null(),
    };
    let statement = Query::update()
        .table("passkey_challenge")
        .value("used_at", now)
        .and_where(Expr::col("hash").eq(bytes(challenge)))
        .and_where(Expr::col("session_hash").eq(bytes(session)))
        .and_where(purpose)
        .and_where(Expr::col("expires_at").gt(now))
        .and_where(Expr::col("used_at").is_null())
        .returning_col("hash")
        .to_owned();
    Ok(tx.rows(&statement).await?.len() == 1)
}

/// Adds a passkey to an account; false if it is there already, whosever it is.
pub async fn insert(
    tx: &mut Tx,
    account_id: &str,
    passkey: &Registered,
    name: &str,
    now: i64,
) -> Result<bool, StoreError> {
    let known =
        Query::select().column("id").from("passkey").and_where(Expr::col("id").eq(passkey.id.clone())).to_owned();
    if !tx.rows(&known).await?.is_empty() {
        return Ok(false);
    }
    let statement = Query::insert()
        .into_table("passkey")
        .columns(["id", "account_id", "public_key", "sign_count", "name", "created_at"])
        .values_panic([
            passkey.id.clone().into(),
            account_id.into(),
            passkey.public_key.clone().into(),
            i64::from(passkey.sign_count).into(),
            name.into(),
            now.into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(|_| true)
}

/// The passkey of that id.
pub async fn find(store: &Store, id: &[u8]) -> Result<Option<Passkey>, StoreError> {
    let statement = select().and_where(Expr::col("id").eq(id.to_vec())).to_owned();
    store.rows(&statement).await?.first().map(read).transpose()
}

/// The passkeys of an account, the oldest first.
pub async fn list(store: &Store, account_id: &str) -> Result<Vec<Passkey>, StoreError> {
    let statement = select()
        .and_where(Expr::col("account_id").eq(account_id))
        .order_by("created_at", Order::Asc)
        .order_by("id", Order::Asc)
        .to_owned();
    store.rows(&statement).await?.iter().map(read).collect()
}

/// Notes a signature with its counter: false if that does not go up, which says that there are two of the passkey
/// (§7.2 of the specification). Authenticators that do not count say 0 always.
pub async fn count(tx: &mut Tx, id: &[u8], sign_count: u32, now: i64) -> Result<bool, StoreError> {
    let kept = Expr::col("sign_count");
    let mut goes_on = kept.clone().lt(i64::from(sign_count));
    if sign_count == 0 {
        goes_on = kept.eq(0);
    }
    let statement = Query::update()
        .table("passkey")
        .value("sign_count", i64::from(sign_count))
        .value("used_at", now)
        .and_where(Expr::col("id").eq(id.to_vec()))
        .and_where(goes_on)
        .returning_col("id")
        .to_owned();
    Ok(tx.rows(&statement).await?.len() == 1)
}

/// Gives a passkey of an account another name; false if there is none.
pub async fn rename(tx: &mut Tx, account_id: &str, id: &[u8], name: &str) -> Result<bool, StoreError> {
    let statement = Query::update()
        .table("passkey")
        .value("name", name)
        .and_where(Expr::col("id").eq(id.to_vec()))
        .and_where(Expr::col("account_id").eq(account_id))
        .to_owned();
    Ok(tx.execute(&statement).await? == 1)
}

/// Removes a passkey of an account; false if there is none.
pub async fn remove(tx: &mut Tx, account_id: &str, id: &[u8]) -> Result<bool, StoreError> {
    let own = Expr::col("id").eq(id.to_vec()).and(Expr::col("account_id").eq(account_id));
    Ok(tx.execute(&Query::delete().from_table("passkey").and_where(own).to_owned()).await? == 1)
}

/// Removes all passkeys of an account.
pub async fn remove_all(tx: &mut Tx, account_id: &str) -> Result<(), StoreError> {
    let own = Expr::col("account_id").eq(account_id);
    tx.execute(&Query::delete().from_table("passkey").and_where(own).to_owned()).await.map(drop)
}

fn select() -> SelectStatement {
    let columns = ["id", "account_id", "public_key", "name", "created_at", "used_at"];
    Query::select().columns(columns).from("passkey").to_owned()
}

fn read(row: &Row) -> Result<Passkey, StoreError> {
    Ok(Passkey {
        id: row.bytes(0)?,
        account_id: row.text(1)?,
        public_key: row.bytes(2)?,
        name: row.text(3)?,
        created_at: row.i64(4)?,
        used_at: row.opt_i64(5)?,
    })
}

fn bytes(hash: Hash) -> Expr {
    Expr::val(hash.as_bytes().to_vec())
}
