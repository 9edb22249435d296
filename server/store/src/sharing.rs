//! What a person has let apps see, and taking it back. (OA-19)

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};
use smart::grant::{Terms, lifetime};
use smart::scope::ScopeSet;

use crate::{Row, Store, StoreError, Tx, withdrawals};

/// Grants that live no longer than this are not listed, microseconds.
pub(crate) const SHORT: i64 = 120_000_000;

/// A grant that a person gave and that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The grant.
    pub grant_id: String,
    /// Who it was given to.
    pub client_id: String,
    /// The app's name for people.
    pub client_name: String,
    /// What was given.
    pub scopes: ScopeSet,
    /// Logical id of the patient of the launch.
    pub patient: Option<String>,
    /// When it was given, microseconds since 1970.
    pub created_at: i64,
    /// When it ends, microseconds since 1970.
    pub expires_at: i64,
    /// When the app used it last; none if it has not yet.
    pub seen_at: Option<i64>,
}

/// What an account has given, latest first.
pub async fn list(store: &Store, account_id: &str, now: i64) -> Result<Vec<Shared>, StoreError> {
    let statement = Query::select()
        .columns(["id", "client_id", "scope", "patient", "created_at", "expires_at"].map(|name| ("app_grant", name)))
        .columns([("client", "name"), ("grant_usage", "seen_at")])
        .from("app_grant")
        .inner_join("client", Expr::col(("client", "id")).equals(("app_grant", "client_id")))
        .left_join("grant_usage", Expr::col(("grant_usage", "grant_id")).equals(("app_grant", "id")))
        .and_where(Expr::col(("app_grant", "account_id")).eq(account_id))
        .and_where(Expr::col(("app_grant", "revoked_at")).is_null())
        .and_where(Expr::col(("app_grant", "expires_at")).gt(now))
        // those of the console end within a minute
        .and_where(Expr::col(("app_grant", "expires_at")).gt(Expr::col(("app_grant", "created_at")).add(SHORT)))
        .order_by(("app_grant", "created_at"), Order::Desc)
        .to_owned();
    store.rows(&statement).await?.iter().map(read).collect()
}

/// A live grant of the same terms that was given without a launch, and when it ends: an app that asks again and again
/// goes on with it.
pub async fn standing(
    tx: &mut Tx,
    client_id: &str,
    terms: &Terms,
    now: i64,
) -> Result<Option<(String, i64)>, StoreError> {
    let account_id = terms.person().map(|person| person.user_id.clone());
    let patient = terms.context().patient.clone();
    let same = |column: &'static str, value: Option<String>| match value {
        Some(value) => Expr::col(column).eq(value),
        None => Expr::col(column).is_null(),
    };
    let statement = Query::select()
        .columns(["id", "expires_at"])
        .from("app_grant")
        .and_where(Expr::col("client_id").eq(client_id))
        .and_where(same("account_id", account_id))
        .and_where(same("patient", patient))
        .and_where(Expr::col("scope").eq(terms.scopes().to_string()))
        .and_where(Expr::col("auth_time").is_null())
        .and_where(Expr::col("revoked_at").is_null())
        .and_where(Expr::col("expires_at").gt(now + lifetime::REFRESH_IDLE))
        .order_by("created_at", Order::Desc)
        .limit(1)
        .to_owned();
    tx.rows(&statement).await?.first().map(|row| Ok((row.text(0)?, row.i64(1)?))).transpose()
}

/// Takes a grant back that this account gave, and remembers it of an app that could get another by itself; false if
/// there is no such grant.
pub async fn revoke(tx: &mut Tx, account_id: &str, grant_id: &str, now: i64) -> Result<bool, StoreError> {
    let statement = Query::update()
        .table("app_grant")
        .value("revoked_at", now)
        .and_where(Expr::col("id").eq(grant_id))
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("revoked_at").is_null())
        .returning_col("client_id")
        .to_owned();
    let rows = tx.rows(&statement).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    withdrawals::insert(tx, account_id, &row.text(0)?, now).await?;
    Ok(true)
}

/// Takes back all that an account gave, and remembers it of apps that could get more by themselves (OA-09).
pub async fn revoke_all(tx: &mut Tx, account_id: &str, now: i64) -> Result<(), StoreError> {
    withdrawals::insert_all(tx, account_id, now).await?;
    let statement = Query::update()
        .table("app_grant")
        .value("revoked_at", now)
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("revoked_at").is_null())
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

fn read(row: &Row) -> Result<Shared, StoreError> {
    let (scopes, _) = ScopeSet::parse_known(&row.text(2)?).map_err(|error| StoreError::Schema(error.to_string()))?;
    Ok(Shared {
        grant_id: row.text(0)?,
        client_id: row.text(1)?,
        scopes,
        patient: row.opt_text(3)?,
        created_at: row.i64(4)?,
        expires_at: row.i64(5)?,
        client_name: row.text(6)?,
        seen_at: row.opt_i64(7)?,
    })
}
