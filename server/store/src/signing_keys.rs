//! Keys that sign `id_token`s. Private keys come here encrypted; this file cannot read them.

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use smart::signing::Term;

use crate::{Row, Store, StoreError, Tx};

/// A signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its name.
    pub kid: String,
    /// How it signs: RS256.
    pub algorithm: String,
    /// What is published, a JWK.
    pub public_key: String,
    /// PKCS#8, encrypted.
    pub private_key: Vec<u8>,
    /// When it was made, microseconds since 1970.
    pub created_at: i64,
    /// When it signs.
    pub term: Term,
}

/// All keys, oldest first.
pub async fn all(store: &Store) -> Result<Vec<SigningKey>, StoreError> {
    store.rows(&select()).await?.iter().map(read).collect()
}

/// All keys, oldest first, as they are for this transaction; others wait with theirs until it is over.
pub async fn all_for_change(tx: &mut Tx) -> Result<Vec<SigningKey>, StoreError> {
    tx.lock_key("signing keys").await?;
    tx.rows(&select()).await?.iter().map(read).collect()
}

/// Adds a key and retires all others at the instant from which it signs, unless they retire earlier.
pub async fn insert(tx: &mut Tx, key: &SigningKey) -> Result<(), StoreError> {
    let from = key.term.active_from;
    let retire = Query::update()
        .table("signing_key")
        .value("retired_at", from)
        .and_where(Expr::col("retired_at").is_null().or(Expr::col("retired_at").gt(from)))
        .to_owned();
    tx.execute(&retire).await?;
    let insert = Query::insert()
        .into_table("signing_key")
        .columns(["kid", "algorithm", "public_key", "private_key", "created_at", "active_from", "retired_at"])
        .values_panic([
            key.kid.as_str().into(),
            key.algorithm.as_str().into(),
            key.public_key.as_str().into(),
            key.private_key.clone().into(),
            key.created_at.into(),
            from.into(),
            key.term.retired_at.into(),
        ])
        .to_owned();
    tx.execute(&insert).await.map(drop)
}

/// Removes the keys of these names.
pub async fn delete(tx: &mut Tx, kids: &[String]) -> Result<(), StoreError> {
    let named = Expr::col("kid").is_in(kids.iter().map(String::as_str));
    let statement = Query::delete().from_table("signing_key").and_where(named).to_owned();
    tx.execute(&statement).await.map(drop)
}

fn select() -> SelectStatement {
    Query::select()
        .columns(["kid", "algorithm", "public_key", "private_key", "created_at", "active_from", "retired_at"])
        .from("signing_key")
        .order_by("active_from", Order::Asc)
        .order_by("created_at", Order::Asc)
        .order_by("kid", Order::Asc)
        .to_owned()
}

fn read(row: &Row) -> Result<SigningKey, StoreError> {
    Ok(SigningKey {
        kid: row.text(0)?,
        algorithm: row.text(1)?,
        public_key: row.text(2)?,
        private_key: row.bytes(3)?,
        created_at: row.i64(4)?,
        term: Term { active_from: row.i64(5)?, retired_at: row.opt_i64(6)? },
    })
}
