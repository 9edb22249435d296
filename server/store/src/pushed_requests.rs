//! Pushed authorization requests. <https://www.rfc-editor.org/rfc/rfc9126>

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use smart::grant::lifetime;
use smart::token::Hash;

use crate::{StoreError, Tx};

/// Keeps the parameters, form-urlencoded, that a client pushed, and forgets all that have expired.
pub async fn insert(tx: &mut Tx, hash: Hash, client_id: &str, parameters: &str, now: i64) -> Result<(), StoreError> {
    let expired = Expr::col("expires_at").lte(now);
    tx.execute(&Query::delete().from_table("pushed_request").and_where(expired).to_owned()).await?;
    let statement = Query::insert()
        .into_table("pushed_request")
        .columns(["hash", "client_id", "parameters", "created_at", "expires_at"])
        .values_panic([
            hash.as_bytes().to_vec().into(),
            client_id.into(),
            parameters.into(),
            now.into(),
            (now + lifetime::PUSHED_REQUEST).into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Takes the parameters: once, in time, and only for the client that pushed them.
pub async fn take(tx: &mut Tx, hash: Hash, client_id: &str, now: i64) -> Result<Option<String>, StoreError> {
    let statement = Query::update()
        .table("pushed_request")
        .value("used_at", now)
        .and_where(Expr::col("hash").eq(hash.as_bytes().to_vec()))
        .and_where(Expr::col("client_id").eq(client_id))
        .and_where(Expr::col("expires_at").gt(now))
        .and_where(Expr::col("used_at").is_null())
        .returning_col("parameters")
        .to_owned();
    tx.rows(&statement).await?.first().map(|row| row.text(0)).transpose()
}
