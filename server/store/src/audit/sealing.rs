//! Where seals are written: with the events themselves on SQLite, soon after them on PostgreSQL. (CO-06, CO-07)
//!
//! On PostgreSQL many connections write at once. One lock for all of them would have them wait for each other, so the
//! database itself notes which events are committed and not sealed, and one server at a time seals what it finds.

use std::collections::HashMap;

use rusqlite::Connection;
use sea_orm::StatementBuilder;
use sea_orm::sea_query::{
    DeleteStatement, Expr, ExprTrait as _, InsertStatement, OnConflict, Order, Query, SelectStatement,
};

use super::seal::{Head, Leaf, MOST, Removed, Seal, Sealer};
use super::{COLUMNS, carrier};
use crate::error::StoreError;
use crate::row::Row;
use crate::session::Session as _;
use crate::tx::Tx;
use crate::{Executor, Store, sqlite};

/// Most events that one transaction seals of those that wait.
const AT_ONCE: u64 = 1_024;

/// Seals that are looked at together to see whether they are old enough.
const OLD_AT_ONCE: u64 = 16;

/// The lock that one server has while it seals, on PostgreSQL. The number means nothing; no other lock has it.
const TURN: &str = "pg_try_advisory_xact_lock(8316292837261)";

/// Where a chain is written: a transaction on either engine, or one on the file beside an SQLite database.
pub(super) trait Chain {
    fn rows(&mut self, statement: &impl StatementBuilder) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;
    fn execute(&mut self, statement: &impl StatementBuilder) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// A transaction on a connection of SQLite; its futures are ready at once.
pub(super) struct InFile<'a>(pub(super) &'a Connection);

impl Tx {
    /// Seals the events of the works that are about to be committed, on SQLite.
    pub(crate) fn seal(&self) -> Result<(), StoreError> {
        let Some(connection) = self.sqlite_connection() else { return Ok(()) };
        seal_in(connection, &self.known().sealer, self.leaves_to_commit())
    }
}

impl Store {
    /// Seals events that are committed and wait for it; returns how many. On PostgreSQL every server calls this all the
    /// time, on SQLite there are none unless they were written before there were seals.
    pub async fn seal_events(&self) -> Result<u64, StoreError> {
        let mut all = 0;
        while !self.rows(&waiting(1)).await?.is_empty() {
            let sealer = self.known().sealer.clone();
            let some = self.write(move |tx| {
                let sealer = sealer.clone();
                Box::pin(async move { if has_turn(tx).await? { seal_waiting(tx, &sealer).await } else { Ok(0) } })
            });
            match some.await? {
                0 => break,
                some => all += some,
            }
        }
        let Executor::Sqlite { trail, .. } = self.executor() else { return Ok(all) };
        let (path, sealer) = (trail.path.clone(), trail.sealer.clone());
        let beside = tokio::task::spawn_blocking(move || seal_all_in(&path, &sealer));
        Ok(all + beside.await.map_err(|_panicked| StoreError::Stopped)??)
    }
}

/// Seals events in the transaction that writes them, on SQLite.
pub(super) fn seal_in(connection: &Connection, sealer: &Sealer, leaves: &[Leaf]) -> Result<(), StoreError> {
    if leaves.is_empty() {
        return Ok(());
    }
    futures::executor::block_on(append(&mut InFile(connection), sealer, leaves))
}

/// Says up to where events go because they are old enough, without which neither they nor their seals may.
pub(super) async fn announce<C: Chain>(chain: &mut C, sealer: &Sealer, upto: &[u8; 16]) -> Result<(), StoreError> {
    let Removed { upto: before, head } = removed(chain).await?.map(|(removed, _)| removed).unwrap_or_default();
    // Where events are kept longer than before, those that went stay away.
    let upto = Ord::max(before, *upto);
    let mut say = Query::insert();
    say.into_table("audit_retention").columns(["one", "upto"]).values_panic([1_i64.into(), upto.to_vec().into()]);
    say.on_conflict(OnConflict::column("one").update_column("upto").to_owned());
    chain.execute(&say).await?;
    chain.execute(&anchor(sealer, Removed { upto, head })).await.map(drop)
}

/// Removes the oldest seals, if all of their events are old enough; says whether there may be more.
pub(super) async fn prune<C: Chain>(chain: &mut C, sealer: &Sealer, upto: &[u8; 16]) -> Result<bool, StoreError> {
    let mut oldest = Query::select();
    oldest.columns(["number", "hash", "events"]).from("audit_seal").order_by("number", Order::Asc).limit(OLD_AT_ONCE);
    let rows = chain.rows(&oldest).await?;
    let mut last = None;
    for row in &rows {
        let leaves = Leaf::all(&row.bytes(2)?).unwrap_or_default();
        if leaves.is_empty() || leaves.iter().any(|leaf| leaf.id >= *upto) {
            break;
        }
        last = Some(head_of(row)?);
    }
    let Some(head) = last else { return Ok(false) };
    let before = removed(chain).await?.map_or([0; 16], |(removed, _)| removed.upto);
    chain.execute(&anchor(sealer, Removed { upto: Ord::max(before, *upto), head })).await?;
    let mut old = DeleteStatement::new();
    old.from_table("audit_seal").and_where(Expr::col("number").lte(head.number));
    let removed = chain.execute(&old).await?;
    Ok(removed == OLD_AT_ONCE)
}

/// What has been removed, and the signature of it.
async fn removed<C: Chain>(chain: &mut C) -> Result<Option<(Removed, Vec<u8>)>, StoreError> {
    chain.rows(&anchored()).await?.first().map(read_removed).transpose()
}

/// The row that [`read_removed`] reads.
pub(super) fn anchored() -> SelectStatement {
    Query::select().columns(["seal", "hash", "upto", "mac"]).from("audit_anchor").take()
}

/// The last seal, as [`head_of`] reads it.
pub(super) fn newest() -> SelectStatement {
    let mut newest = Query::select();
    newest.columns(["number", "hash"]).from("audit_seal").order_by("number", Order::Desc).limit(1).take()
}

/// Events by their ids, as [`leaves`] reads them.
pub(super) fn events(ids: impl IntoIterator<Item = Vec<u8>>) -> SelectStatement {
    Query::select().columns(COLUMNS).from("audit_event").and_where(Expr::col("id").is_in(ids)).take()
}

/// What rows of events are to a seal, by id.
pub(super) fn leaves(rows: &[Row]) -> HashMap<[u8; 16], Leaf> {
    rows.iter().filter_map(|row| Leaf::of_row(&row.cells)).map(|leaf| (leaf.id, leaf)).collect()
}

pub(super) fn read_removed(row: &Row) -> Result<(Removed, Vec<u8>), StoreError> {
    Ok((Removed { upto: fixed(row.bytes(2)?, 2)?, head: head_of(row)? }, row.bytes(3)?))
}

/// Number and hash, the first two columns.
pub(super) fn head_of(row: &Row) -> Result<Head, StoreError> {
    Ok(Head { number: row.i64(0)?, hash: fixed(row.bytes(1)?, 1)? })
}

pub(super) fn fixed<const LENGTH: usize>(bytes: Vec<u8>, column: usize) -> Result<[u8; LENGTH], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Column { column })
}

/// Adds seals at the end of the chain.
async fn append<C: Chain>(chain: &mut C, sealer: &Sealer, leaves: &[Leaf]) -> Result<(), StoreError> {
    let mut head = match chain.rows(&newest()).await?.first() {
        Some(row) => head_of(row)?,
        None => removed(chain).await?.map_or_else(Head::default, |(removed, _)| removed.head),
    };
    for some in leaves.chunks(MOST) {
        let seal = sealer.next(head, some);
        head = seal.head;
        chain.execute(&insertion(seal)).await?;
    }
    Ok(())
}

/// Seals some of what waits.
async fn seal_waiting<C: Chain>(chain: &mut C, sealer: &Sealer) -> Result<u64, StoreError> {
    let ids = chain.rows(&waiting(AT_ONCE)).await?.iter().map(|row| row.bytes(0)).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() {
        return Ok(0);
    }
    let standing = leaves(&chain.rows(&events(ids.clone())).await?);
    let upto = removed(chain).await?.map_or([0; 16], |(removed, _)| removed.upto);
    let mut found = Vec::with_capacity(ids.len());
    for id in &ids {
        let id = fixed(id.clone(), 0)?;
        match standing.get(&id) {
            Some(leaf) => found.push(*leaf),
            // Whoever took it away did not know that it was noted here.
            None if id >= upto => found.push(Leaf::gone(id)),
            None => {}
        }
    }
    append(chain, sealer, &found).await?;
    let mut done = DeleteStatement::new();
    done.from_table("audit_unsealed").and_where(Expr::col("id").is_in(ids));
    chain.execute(&done).await
}

/// Whether this server may seal until the end of the transaction.
async fn has_turn(tx: &mut Tx) -> Result<bool, StoreError> {
    if tx.sqlite_connection().is_some() {
        return Ok(true);
    }
    let rows = Tx::rows(tx, &Query::select().expr(Expr::cust(TURN)).take()).await?;
    rows.first().map_or(Ok(false), |row| row.i64(0).map(|got| got == 1))
}

fn seal_all_in(path: &std::path::Path, sealer: &Sealer) -> Result<u64, StoreError> {
    let mut all = 0;
    if !path.exists() {
        return Ok(all);
    }
    let mut connection = carrier::open(path)?;
    while !sqlite::rows(&connection, &waiting(1))?.is_empty() {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        all += futures::executor::block_on(seal_waiting(&mut InFile(&transaction), sealer))?;
        transaction.commit()?;
    }
    Ok(all)
}

/// The first of those that wait.
pub(super) fn waiting(most: u64) -> SelectStatement {
    let mut waiting = Query::select();
    waiting.column("id").from("audit_unsealed").order_by("id", Order::Asc).limit(most);
    waiting
}

fn insertion(Seal { head, mac, events }: Seal) -> InsertStatement {
    let mut insert = Query::insert();
    insert.into_table("audit_seal").columns(["number", "hash", "mac", "events"]);
    insert.values_panic([head.number.into(), head.hash.to_vec().into(), mac.to_vec().into(), events.into()]);
    insert
}

fn anchor(sealer: &Sealer, removed: Removed) -> InsertStatement {
    let columns = ["one", "upto", "seal", "hash", "mac"];
    let mut insert = Query::insert();
    insert.into_table("audit_anchor").columns(columns);
    insert.values_panic([
        1_i64.into(),
        removed.upto.to_vec().into(),
        removed.head.number.into(),
        removed.head.hash.to_vec().into(),
        sealer.sign_removed(&removed).to_vec().into(),
    ]);
    insert.on_conflict(OnConflict::column("one").update_columns(columns).to_owned());
    insert
}

impl Chain for Tx {
    async fn rows(&mut self, statement: &impl StatementBuilder) -> Result<Vec<Row>, StoreError> {
        Tx::rows(self, statement).await
    }

    async fn execute(&mut self, statement: &impl StatementBuilder) -> Result<u64, StoreError> {
        Tx::execute(self, statement).await
    }
}

impl Chain for InFile<'_> {
    fn rows(&mut self, statement: &impl StatementBuilder) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send {
        std::future::ready(sqlite::rows(self.0, statement))
    }

    fn execute(&mut self, statement: &impl StatementBuilder) -> impl Future<Output = Result<u64, StoreError>> + Send {
        std::future::ready(sqlite::execute(self.0, statement))
    }
}
