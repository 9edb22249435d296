//! How much apps ask, what goes wrong for them, and when each grant was used last. Counted in memory, written in
//! batches: see `server/src/usage.rs`.

use sea_orm::sea_query::{Expr, ExprTrait as _, Func, OnConflict, Order, Query};

use crate::{Store, StoreError, Tx};

/// Errors that are kept of each client.
pub const KEPT_ERRORS: u64 = 50;

/// Rows of one statement.
const ROWS: usize = 200;

/// What a client asked on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// Days since 1970, UTC.
    pub day: i64,
    /// Requests.
    pub requests: i64,
    /// How many of them were answered with 4xx or 5xx.
    pub errors: i64,
}

/// An error that an app got, without anything that tells about a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// When, microseconds since 1970.
    pub at: i64,
    /// Method and pattern of the path.
    pub request: String,
    /// HTTP status.
    pub status: i64,
    /// What kind of problem; empty where there is none to tell.
    pub problem: String,
}

/// Adds to the figures of clients.
pub async fn add(tx: &mut Tx, counts: &[(String, Day)]) -> Result<(), StoreError> {
    for counts in counts.chunks(ROWS) {
        let mut insert = Query::insert();
        insert.into_table("app_usage").columns(["client_id", "day", "requests", "errors"]);
        for (client_id, day) in counts {
            insert.values_panic([client_id.as_str().into(), day.day.into(), day.requests.into(), day.errors.into()]);
        }
        let sum = |column: &'static str| Expr::col(("app_usage", column)).add(Expr::col(("excluded", column)));
        let mut add = OnConflict::columns(["client_id", "day"]);
        add.value("requests", sum("requests")).value("errors", sum("errors"));
        tx.execute(&insert.on_conflict(add).to_owned()).await?;
    }
    Ok(())
}

/// Keeps errors of a client, and forgets its older ones.
pub async fn add_errors(tx: &mut Tx, client_id: &str, errors: &[Failed]) -> Result<(), StoreError> {
    let mut insert = Query::insert();
    insert.into_table("app_error").columns(["client_id", "at", "request", "status", "problem"]);
    for error in errors {
        insert.values_panic([
            client_id.into(),
            error.at.into(),
            error.request.as_str().into(),
            error.status.into(),
            error.problem.as_str().into(),
        ]);
    }
    tx.execute(&insert).await?;
    let oldest_kept = Query::select()
        .column("error")
        .from("app_error")
        .and_where(Expr::col("client_id").eq(client_id))
        .order_by("error", Order::Desc)
        .offset(KEPT_ERRORS - 1)
        .limit(1)
        .to_owned();
    let rows = tx.rows(&oldest_kept).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let forget = Query::delete()
        .from_table("app_error")
        .and_where(Expr::col("client_id").eq(client_id))
        .and_where(Expr::col("error").lt(row.i64(0)?))
        .to_owned();
    tx.execute(&forget).await.map(drop)
}

/// Notes when grants were used.
pub async fn note_grants(tx: &mut Tx, seen: &[(String, i64)]) -> Result<(), StoreError> {
    for seen in seen.chunks(ROWS) {
        let mut insert = Query::insert();
        insert.into_table("grant_usage").columns(["grant_id", "seen_at"]);
        for (grant_id, at) in seen {
            insert.values_panic([grant_id.as_str().into(), (*at).into()]);
        }
        insert.on_conflict(OnConflict::column("grant_id").update_column("seen_at").to_owned());
        tx.execute(&insert).await?;
    }
    Ok(())
}

/// What a client asked since a day, oldest first; days without requests are left out.
pub async fn days(store: &Store, client_id: &str, since: i64) -> Result<Vec<Day>, StoreError> {
    let statement = Query::select()
        .columns(["day", "requests", "errors"])
        .from("app_usage")
        .and_where(Expr::col("client_id").eq(client_id))
        .and_where(Expr::col("day").gte(since))
        .order_by("day", Order::Asc)
        .to_owned();
    let read = |row: &crate::Row| Ok(Day { day: row.i64(0)?, requests: row.i64(1)?, errors: row.i64(2)? });
    store.rows(&statement).await?.iter().map(read).collect()
}

/// Requests of each client since a day.
pub async fn totals(store: &Store, since: i64) -> Result<Vec<(String, i64)>, StoreError> {
    let statement = Query::select()
        .column("client_id")
        .expr(Func::cast_as(Func::sum(Expr::col("requests")), "bigint"))
        .from("app_usage")
        .and_where(Expr::col("day").gte(since))
        .group_by_col("client_id")
        .to_owned();
    store.rows(&statement).await?.iter().map(|row| Ok((row.text(0)?, row.i64(1)?))).collect()
}

/// The latest errors of a client.
pub async fn errors(store: &Store, client_id: &str, most: u64) -> Result<Vec<Failed>, StoreError> {
    let statement = Query::select()
        .columns(["at", "request", "status", "problem"])
        .from("app_error")
        .and_where(Expr::col("client_id").eq(client_id))
        .order_by("error", Order::Desc)
        .limit(most)
        .to_owned();
    let read = |row: &crate::Row| {
        Ok(Failed { at: row.i64(0)?, request: row.text(1)?, status: row.i64(2)?, problem: row.text(3)? })
    };
    store.rows(&statement).await?.iter().map(read).collect()
}
