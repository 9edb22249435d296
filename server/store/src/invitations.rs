//! Invitations to register a client: initial access tokens of <https://www.rfc-editor.org/rfc/rfc7591#section-3>.

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use smart::token::Hash;

use crate::{StoreError, Tx};

/// Keeps an invitation. `account_id` is the developer whose app it will be; none: the operator's.
pub async fn insert(
    tx: &mut Tx,
    hash: Hash,
    account_id: Option<&str>,
    now: i64,
    expires_at: i64,
) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("invitation")
        .columns(["hash", "account_id", "created_at", "expires_at"])
        .values_panic([
            hash.as_bytes().to_vec().into(),
            account_id.map(str::to_owned).into(),
            now.into(),
            expires_at.into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Spends an invitation for a client: whose app it is, for exactly one caller; none if it is unknown, spent or over.
pub async fn spend(tx: &mut Tx, hash: Hash, client_id: &str, now: i64) -> Result<Option<Option<String>>, StoreError> {
    let statement = Query::update()
        .table("invitation")
        .value("used_at", now)
        .value("client_id", client_id)
        .and_where(Expr::col("hash").eq(hash.as_bytes().to_vec()))
        .and_where(Expr::col("expires_at").gt(now))
        .and_where(Expr::col("used_at").is_null())
        .returning_col("account_id")
        .to_owned();
    tx.rows(&statement).await?.first().map(|row| row.opt_text(0)).transpose()
}
