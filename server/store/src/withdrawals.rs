//! Apps that may see nothing by themselves, because their person took it back. (OA-19, SM-57)
//!
//! An app that asks for a grant with its own key, without its person (`server/src/qsmartcare.rs`), would have the next
//! one at once: withdrawing a grant holds only while this is remembered. Its person ends it, in the portal.

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query, SelectStatement};
use smart::client::ClientKind;

use crate::sharing::SHORT;
use crate::{Store, StoreError, Tx};

/// An app that may see nothing by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// The app.
    pub client_id: String,
    /// Its name for people.
    pub client_name: String,
    /// Since when, microseconds since 1970.
    pub at: i64,
}

/// The apps of an account that may see nothing by themselves, latest first.
pub async fn list(store: &Store, account_id: &str) -> Result<Vec<Withdrawn>, StoreError> {
    let statement = Query::select()
        .columns([("withdrawal", "client_id"), ("client", "name"), ("withdrawal", "at")])
        .from("withdrawal")
        .inner_join("client", Expr::col(("client", "id")).equals(("withdrawal", "client_id")))
        .and_where(Expr::col(("withdrawal", "account_id")).eq(account_id))
        .order_by(("withdrawal", "at"), Order::Desc)
        .order_by(("withdrawal", "client_id"), Order::Asc)
        .to_owned();
    let rows = store.rows(&statement).await?;
    rows.iter()
        .map(|row| Ok(Withdrawn { client_id: row.text(0)?, client_name: row.text(1)?, at: row.i64(2)? }))
        .collect()
}

/// Whether an app may see nothing by itself.
pub async fn is_one(store: &Store, account_id: &str, client_id: &str) -> Result<bool, StoreError> {
    Ok(!store.rows(&of(account_id, client_id)).await?.is_empty())
}

/// The same before a grant is made: nobody takes it back until this transaction has ended.
pub async fn is_one_now(tx: &mut Tx, account_id: &str, client_id: &str) -> Result<bool, StoreError> {
    tx.lock_key(&lock_key(client_id)).await?;
    Ok(!tx.rows(&of(account_id, client_id)).await?.is_empty())
}

/// Remembers it of an app, if it is one of this account's own: no other gets a grant without its person. Grants are
/// withdrawn after it, so that none is made in between.
pub async fn insert(tx: &mut Tx, account_id: &str, client_id: &str, now: i64) -> Result<(), StoreError> {
    tx.lock_key(&lock_key(client_id)).await?;
    let own = own_apps(account_id).and_where(Expr::col(("app", "client_id")).eq(client_id)).to_owned();
    insert_found(tx, account_id, &own, now).await
}

/// Remembers it of all apps of an account that ever had a grant by themselves, before all grants are withdrawn.
pub async fn insert_all(tx: &mut Tx, account_id: &str, now: i64) -> Result<(), StoreError> {
    let own = tx.rows(&own_apps(account_id)).await?;
    let keys = own.iter().map(|row| Ok(lock_key(&row.text(0)?))).collect::<Result<Vec<_>, StoreError>>()?;
    tx.lock_keys(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let asked = Query::select()
        .column("client_id")
        .from("app_grant")
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("auth_time").is_null())
        .and_where(Expr::col("expires_at").gt(Expr::col("created_at").add(SHORT)))
        .to_owned();
    let own = own_apps(account_id).and_where(Expr::col(("app", "client_id")).in_subquery(asked)).to_owned();
    insert_found(tx, account_id, &own, now).await
}

/// The app may see by itself again what it is registered for; false if it was not withdrawn.
pub async fn remove(tx: &mut Tx, account_id: &str, client_id: &str) -> Result<bool, StoreError> {
    let statement = Query::delete()
        .from_table("withdrawal")
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("client_id").eq(client_id))
        .to_owned();
    Ok(tx.execute(&statement).await? == 1)
}

async fn insert_found(tx: &mut Tx, account_id: &str, apps: &SelectStatement, now: i64) -> Result<(), StoreError> {
    let found = tx.rows(apps).await?.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Ok(());
    }
    let mut insert = Query::insert().into_table("withdrawal").columns(["account_id", "client_id", "at"]).to_owned();
    for client_id in found {
        insert.values_panic([account_id.into(), client_id.into(), now.into()]);
    }
    insert.on_conflict(OnConflict::columns(["account_id", "client_id"]).do_nothing().to_owned());
    tx.execute(&insert).await.map(drop)
}

/// The apps that an account made and that can have a key.
fn own_apps(account_id: &str) -> SelectStatement {
    Query::select()
        .column(("app", "client_id"))
        .from("app")
        .inner_join("client", Expr::col(("client", "id")).equals(("app", "client_id")))
        .and_where(Expr::col(("app", "account_id")).eq(account_id))
        .and_where(Expr::col(("client", "kind")).eq(ClientKind::Confidential.as_str()))
        .to_owned()
}

fn of(account_id: &str, client_id: &str) -> SelectStatement {
    Query::select()
        .column("at")
        .from("withdrawal")
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("client_id").eq(client_id))
        .to_owned()
}

fn lock_key(client_id: &str) -> String {
    format!("withdrawal {client_id}")
}
