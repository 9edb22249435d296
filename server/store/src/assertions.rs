//! Names of signed assertions that clients authenticated with: each counts once. (SM-63)

use sea_orm::sea_query::{OnConflict, Query};
use smart::token::Hash;

use crate::{StoreError, Tx};

/// How long a name is kept past the end of its assertion, microseconds: longer than clocks differ.
const KEPT: i64 = 10 * 60 * 1_000_000;

/// Spends a name: true for exactly one caller. `expires_at` is when the assertion ends.
pub async fn spend(tx: &mut Tx, client_id: &str, jti: Hash, expires_at: i64, now: i64) -> Result<bool, StoreError> {
    let statement = Query::insert()
        .into_table("client_assertion")
        .columns(["client_id", "hash", "expires_at"])
        .values_panic([
            client_id.into(),
            jti.as_bytes().to_vec().into(),
            (std::cmp::max(expires_at, now) + KEPT).into(),
        ])
        .on_conflict(OnConflict::columns(["client_id", "hash"]).do_nothing().to_owned())
        .to_owned();
    Ok(tx.execute(&statement).await? == 1)
}
