//! What payers were asked about claims, and what they answered: for people who look into one.

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};

use crate::{Row, Store, StoreError, Tx};

/// Exchanges that are kept of a claim.
pub const KEPT: u64 = 20;

/// Most bytes of an answer that are kept.
pub const MOST: usize = 8 << 10;

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Logical id of the Claim.
    pub claim: String,
    /// When it was answered, microseconds since 1970.
    pub at: i64,
    /// Method and path, without the query.
    pub asked: String,
    /// HTTP status; 0 if no answer came.
    pub status: i64,
    /// The answer, cut; what happened where none came.
    pub answer: String,
    /// How far the claim was after it.
    pub state: String,
}

/// Keeps an exchange, and forgets the oldest of many.
pub async fn insert(tx: &mut Tx, exchange: &Exchange) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("claim_exchange")
        .columns(COLUMNS)
        .values_panic([
            exchange.claim.as_str().into(),
            exchange.at.into(),
            exchange.asked.as_str().into(),
            exchange.status.into(),
            exchange.answer.as_str().into(),
            exchange.state.as_str().into(),
        ])
        .to_owned();
    tx.execute(&statement).await?;
    let of_claim = || Expr::col("claim").eq(exchange.claim.as_str());
    let oldest_kept = Query::select()
        .column("exchange")
        .from("claim_exchange")
        .and_where(of_claim())
        .order_by("exchange", Order::Desc)
        .limit(1)
        .offset(KEPT - 1)
        .to_owned();
    let Some(oldest_kept) = tx.rows(&oldest_kept).await?.first().map(|row| row.i64(0)).transpose()? else {
        return Ok(());
    };
    let older = Expr::col("exchange").lt(oldest_kept);
    let forget = Query::delete().from_table("claim_exchange").and_where(of_claim()).and_where(older).to_owned();
    tx.execute(&forget).await.map(drop)
}

/// What is kept of a claim, latest first.
pub async fn of_claim(store: &Store, claim: &str) -> Result<Vec<Exchange>, StoreError> {
    let statement = Query::select()
        .columns(COLUMNS)
        .from("claim_exchange")
        .and_where(Expr::col("claim").eq(claim))
        .order_by("exchange", Order::Desc)
        .to_owned();
    store.rows(&statement).await?.iter().map(read).collect()
}

const COLUMNS: [&str; 6] = ["claim", "at", "asked", "status", "answer", "state"];

fn read(row: &Row) -> Result<Exchange, StoreError> {
    Ok(Exchange {
        claim: row.text(0)?,
        at: row.i64(1)?,
        asked: row.text(2)?,
        status: row.i64(3)?,
        answer: row.text(4)?,
        state: row.text(5)?,
    })
}
