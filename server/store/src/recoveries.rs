//! Links with which a person who lost the password sets a new one. (OA-23)

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use smart::token::Hash;

use crate::{Store, StoreError, Tx};

/// How long a link is good, microseconds.
pub const LIFETIME: i64 = 15 * 60 * 1_000_000;

/// Keeps a link; those that the account had before are good no longer.
pub async fn insert(tx: &mut Tx, link: Hash, account_id: &str, now: i64) -> Result<(), StoreError> {
    let own = Expr::col("account_id").eq(account_id);
    tx.execute(&Query::delete().from_table("recovery_link").and_where(own).to_owned()).await?;
    let statement = Query::insert()
        .into_table("recovery_link")
        .columns(["hash", "account_id", "created_at", "expires_at"])
        .values_panic([bytes(link), account_id.into(), now.into(), (now + LIFETIME).into()])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Whether a link is good, without spending it.
pub async fn is_good(store: &Store, link: Hash, now: i64) -> Result<bool, StoreError> {
    let statement = Query::select()
        .column("account_id")
        .from("recovery_link")
        .and_where(Expr::col("hash").eq(bytes(link)))
        .and_where(Expr::col("expires_at").gt(now))
        .and_where(Expr::col("used_at").is_null())
        .to_owned();
    Ok(!store.rows(&statement).await?.is_empty())
}

/// Spends a link: the account for exactly one caller, none for all others.
pub async fn spend(tx: &mut Tx, link: Hash, now: i64) -> Result<Option<String>, StoreError> {
    let statement = Query::update()
        .table("recovery_link")
        .value("used_at", now)
        .and_where(Expr::col("hash").eq(bytes(link)))
        .and_where(Expr::col("expires_at").gt(now))
        .and_where(Expr::col("used_at").is_null())
        .returning_col("account_id")
        .to_owned();
    tx.rows(&statement).await?.first().map(|row| row.text(0)).transpose()
}

fn bytes(hash: Hash) -> Expr {
    Expr::val(hash.as_bytes().to_vec())
}
