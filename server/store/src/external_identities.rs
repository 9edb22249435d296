//! Who people are at another OpenID provider, and who of them is expected back from there.

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query};
use smart::grant::FhirUser;
use smart::token::Hash;

use crate::{Store, StoreError, Tx};

/// How long somebody may stay at the provider, microseconds.
pub const SIGN_IN: i64 = 15 * 60 * 1_000_000;

/// The key of the account of that person; none if nobody linked one.
pub async fn find(store: &Store, issuer: &str, subject: &str) -> Result<Option<String>, StoreError> {
    let statement = Query::select()
        .column("account_id")
        .from("external_identity")
        .and_where(Expr::col("issuer").eq(issuer))
        .and_where(Expr::col("subject").eq(subject))
        .to_owned();
    store.rows(&statement).await?.first().map(|row| row.text(0)).transpose()
}

/// The key of the one account that is this record; none if there is none, or more than one.
pub async fn find_by_record(store: &Store, record: &FhirUser) -> Result<Option<String>, StoreError> {
    let statement = Query::select()
        .column("id")
        .from("account")
        .and_where(Expr::col("fhir_user").eq(record.to_string()))
        .limit(2)
        .to_owned();
    match store.rows(&statement).await?.as_slice() {
        [one] => one.text(0).map(Some),
        _ => Ok(None),
    }
}

/// The subjects under which an account is known, by age.
pub async fn of_account(store: &Store, account_id: &str) -> Result<Vec<(String, String)>, StoreError> {
    let statement = Query::select()
        .columns(["issuer", "subject"])
        .from("external_identity")
        .and_where(Expr::col("account_id").eq(account_id))
        .order_by("created_at", Order::Asc)
        .to_owned();
    store.rows(&statement).await?.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
}

/// Links a person there to an account here, instead of any other.
pub async fn link(tx: &mut Tx, (issuer, subject): (&str, &str), account_id: &str, now: i64) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("external_identity")
        .columns(["issuer", "subject", "account_id", "created_at"])
        .values_panic([issuer.into(), subject.into(), account_id.into(), now.into()])
        .on_conflict(OnConflict::columns(["issuer", "subject"]).update_columns(["account_id", "created_at"]).to_owned())
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Expects this browser back, for the authorization request of a handle or for none; forgets those who never came.
pub async fn expect(
    tx: &mut Tx,
    state: Hash,
    session: Hash,
    request: Option<Hash>,
    now: i64,
) -> Result<(), StoreError> {
    let forget = Query::delete().from_table("external_sign_in").and_where(Expr::col("expires_at").lt(now)).to_owned();
    tx.execute(&forget).await?;
    let statement = Query::insert()
        .into_table("external_sign_in")
        .columns(["hash", "session_hash", "request_hash", "created_at", "expires_at"])
        .values_panic([
            bytes(state).into(),
            bytes(session).into(),
            request.map(bytes).into(),
            now.into(),
            (now + SIGN_IN).into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Somebody came back: when they were sent, and the request that they were sent for, if any. Once, and only to the
/// browser that was sent.
pub async fn take(
    tx: &mut Tx,
    state: Hash,
    session: Hash,
    now: i64,
) -> Result<Option<(i64, Option<Hash>)>, StoreError> {
    let statement = Query::update()
        .table("external_sign_in")
        .value("used_at", now)
        .and_where(Expr::col("hash").eq(bytes(state)))
        .and_where(Expr::col("session_hash").eq(bytes(session)))
        .and_where(Expr::col("expires_at").gt(now))
        .and_where(Expr::col("used_at").is_null())
        .returning(Query::returning().columns(["created_at", "request_hash"]))
        .to_owned();
    let rows = tx.rows(&statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let request = row.opt_bytes(1)?.as_deref().and_then(Hash::from_bytes);
    Ok(Some((row.i64(0)?, request)))
}

/// Gives an authorization request that waits in a session another handle; false if it waits there no more.
pub async fn rename_request(tx: &mut Tx, old: Hash, new: Hash, session: Hash, now: i64) -> Result<bool, StoreError> {
    let statement = Query::update()
        .table("authorization_request")
        .value("hash", bytes(new))
        .and_where(Expr::col("hash").eq(bytes(old)))
        .and_where(Expr::col("session_hash").eq(bytes(session)))
        .and_where(Expr::col("expires_at").gt(now))
        .and_where(Expr::col("used_at").is_null())
        .to_owned();
    Ok(tx.execute(&statement).await? == 1)
}

fn bytes(hash: Hash) -> Vec<u8> {
    hash.as_bytes().to_vec()
}
