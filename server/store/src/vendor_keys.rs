//! Secrets that vendors' senders show, kept as hashes. (OA-31)

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};

use crate::{Store, StoreError, Tx};

/// A sender that may deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Adapter that its messages go to.
    pub vendor: String,
    /// Its name, for people.
    pub name: String,
    /// When its key was made, microseconds since 1970.
    pub created_at: i64,
    /// When its key was revoked.
    pub revoked_at: Option<i64>,
}

/// Lets a sender in with the secret of this SHA-256.
pub async fn insert(tx: &mut Tx, secret: [u8; 32], vendor: &str, sender: &str, now: i64) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("vendor_key")
        .columns(["hash", "vendor", "sender", "created_at", "revoked_at"])
        .values_panic([secret.to_vec().into(), vendor.into(), sender.into(), now.into(), 0_i64.into()])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Revokes all keys of a sender; says how many were good until now.
pub async fn revoke(tx: &mut Tx, vendor: &str, sender: &str, now: i64) -> Result<u64, StoreError> {
    let statement = Query::update()
        .table("vendor_key")
        .value("revoked_at", now)
        .and_where(Expr::col("vendor").eq(vendor))
        .and_where(Expr::col("sender").eq(sender))
        .and_where(Expr::col("revoked_at").eq(0_i64))
        .to_owned();
    tx.execute(&statement).await
}

/// The sender whose good key has this SHA-256. Found by the hash, so the time it takes tells nothing about the secret.
pub async fn sender(store: &Store, secret: [u8; 32], vendor: &str) -> Result<Option<String>, StoreError> {
    let statement = Query::select()
        .column("sender")
        .from("vendor_key")
        .and_where(Expr::col("hash").eq(secret.to_vec()))
        .and_where(Expr::col("vendor").eq(vendor))
        .and_where(Expr::col("revoked_at").eq(0_i64))
        .to_owned();
    store.rows(&statement).await?.first().map(|row| row.text(0)).transpose()
}

/// All senders by vendor and age.
pub async fn list(store: &Store) -> Result<Vec<Sender>, StoreError> {
    let statement = Query::select()
        .columns(["vendor", "sender", "created_at", "revoked_at"])
        .from("vendor_key")
        .order_by("vendor", Order::Asc)
        .order_by("created_at", Order::Asc)
        .to_owned();
    let rows = store.rows(&statement).await?;
    let sender = |row: &crate::Row| {
        let revoked_at = Some(row.i64(3)?).filter(|at| *at != 0);
        Ok(Sender { vendor: row.text(0)?, name: row.text(1)?, created_at: row.i64(2)?, revoked_at })
    };
    rows.iter().map(sender).collect()
}
