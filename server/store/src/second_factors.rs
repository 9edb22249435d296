//! Second factors of accounts: one-time passwords, and codes for those who lost the device that makes them. (OA-24)

use sea_orm::sea_query::{Expr, ExprTrait as _, Func, OnConflict, Query};

use crate::{Store, StoreError, Tx, signed_in};

/// What is kept of a second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactor {
    /// From this, and a key that is not in the database, the secret is derived.
    pub salt: Vec<u8>,
    /// When a first code proved that the person has it; it is asked for from then on.
    pub confirmed_at: Option<i64>,
}

/// The second factor of an account, also one that is not confirmed.
pub async fn find(store: &Store, account_id: &str) -> Result<Option<SecondFactor>, StoreError> {
    let statement = Query::select()
        .columns(["salt", "confirmed_at"])
        .from("second_factor")
        .and_where(Expr::col("account_id").eq(account_id))
        .to_owned();
    let rows = store.rows(&statement).await?;
    rows.first().map(|row| Ok(SecondFactor { salt: row.bytes(0)?, confirmed_at: row.opt_i64(1)? })).transpose()
}

/// Keeps the salt of a secret that is to be confirmed; one that is confirmed already stays, and false is answered.
pub async fn propose(tx: &mut Tx, account_id: &str, salt: &[u8], now: i64) -> Result<bool, StoreError> {
    let mut replace = OnConflict::column("account_id");
    replace.update_columns(["salt", "last_step", "created_at"]);
    replace.action_and_where(Expr::col(("second_factor", "confirmed_at")).is_null());
    let statement = Query::insert()
        .into_table("second_factor")
        .columns(["account_id", "salt", "last_step", "created_at"])
        .values_panic([account_id.into(), salt.to_vec().into(), 0_i64.into(), now.into()])
        .on_conflict(replace)
        .to_owned();
    Ok(tx.execute(&statement).await? == 1)
}

/// Spends the code of a step: false if that step or a later one was used before.
pub async fn spend_step(tx: &mut Tx, account_id: &str, step: i64) -> Result<bool, StoreError> {
    let statement = Query::update()
        .table("second_factor")
        .value("last_step", step)
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("last_step").lt(step))
        .returning_col("account_id")
        .to_owned();
    Ok(tx.rows(&statement).await?.len() == 1)
}

/// The person has shown a first code, and keeps these recovery codes instead of those from before.
pub async fn confirm(tx: &mut Tx, account_id: &str, codes: &[[u8; 32]], now: i64) -> Result<(), StoreError> {
    let statement = Query::update()
        .table("second_factor")
        .value("confirmed_at", now)
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("confirmed_at").is_null())
        .to_owned();
    tx.execute(&statement).await?;
    replace_codes(tx, account_id, codes, now).await
}

/// Keeps these recovery codes of an account instead of those from before.
pub async fn replace_codes(tx: &mut Tx, account_id: &str, codes: &[[u8; 32]], now: i64) -> Result<(), StoreError> {
    forget_codes(tx, account_id).await?;
    let mut insert =
        Query::insert().into_table("recovery_code").columns(["mac", "account_id", "created_at"]).to_owned();
    for mac in codes {
        insert.values_panic([mac.to_vec().into(), account_id.into(), now.into()]);
    }
    tx.execute(&insert).await.map(drop)
}

/// Takes the one-time passwords away, with the recovery codes unless passkeys are left.
pub async fn remove(tx: &mut Tx, account_id: &str) -> Result<(), StoreError> {
    let own = Expr::col("account_id").eq(account_id);
    tx.execute(&Query::delete().from_table("second_factor").and_where(own).to_owned()).await?;
    forget_without_factor(tx, account_id).await
}

/// Recovery codes stand in for one-time passwords or passkeys; where an account has neither, they go, and no session counts
/// as one in which a second factor was given.
pub async fn forget_without_factor(tx: &mut Tx, account_id: &str) -> Result<(), StoreError> {
    let of = |table: &'static str| {
        let own = Expr::col("account_id").eq(account_id);
        Query::select().column("account_id").from(table).and_where(own).limit(1).to_owned()
    };
    let confirmed = of("second_factor").and_where(Expr::col("confirmed_at").is_not_null()).to_owned();
    if tx.rows(&confirmed).await?.is_empty() && tx.rows(&of("passkey")).await?.is_empty() {
        forget_codes(tx, account_id).await?;
        signed_in::forget_second_factor(tx, account_id).await?;
    }
    Ok(())
}

/// Spends a recovery code: true for exactly one caller.
pub async fn spend_code(tx: &mut Tx, account_id: &str, mac: [u8; 32], now: i64) -> Result<bool, StoreError> {
    let statement = Query::update()
        .table("recovery_code")
        .value("used_at", now)
        .and_where(Expr::col("mac").eq(mac.to_vec()))
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("used_at").is_null())
        .returning_col("mac")
        .to_owned();
    Ok(tx.rows(&statement).await?.len() == 1)
}

/// How many recovery codes of an account are good.
pub async fn codes_left(store: &Store, account_id: &str) -> Result<i64, StoreError> {
    let statement = Query::select()
        .expr(Func::count(Expr::col("mac")))
        .from("recovery_code")
        .and_where(Expr::col("account_id").eq(account_id))
        .and_where(Expr::col("used_at").is_null())
        .to_owned();
    store.rows(&statement).await?.first().map_or(Ok(0), |row| row.i64(0))
}

async fn forget_codes(tx: &mut Tx, account_id: &str) -> Result<(), StoreError> {
    let own = Expr::col("account_id").eq(account_id);
    tx.execute(&Query::delete().from_table("recovery_code").and_where(own).to_owned()).await.map(drop)
}
