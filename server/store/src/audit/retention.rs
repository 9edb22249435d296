//! How long events are kept, and how many there are.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use sea_orm::sea_query::{DeleteStatement, Expr, ExprTrait as _, Order, Query, SelectStatement};

use super::seal::Sealer;
use super::sealing::{self, InFile};
use super::{id_at, instant_of, is_one_of};
use crate::error::StoreError;
use crate::row::Row;
use crate::{Executor, Store, sqlite};

/// Most events that one transaction removes: others wait for it …
const AT_ONCE: u64 = 200;

/// … and most entries of the index of patients, unless one event has more.
const MOST_KEYS: usize = 10_000;

/// How long others come first between two transactions on the file beside an SQLite database.
const PAUSE: Duration = Duration::from_millis(10);

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many events.
    pub events: u64,
    /// When the oldest happened, microseconds since 1970.
    pub oldest: Option<i64>,
}

impl Store {
    /// How many events there are, and since when.
    pub async fn trail_standing(&self) -> Result<Standing, StoreError> {
        let mut first = Query::select();
        first.column("id").from("audit_event").order_by("id", Order::Asc).limit(1);
        let mut count = Query::select();
        count.expr(Expr::col("id").count()).from("audit_event");
        let events = self.trail_rows(&count).await?.iter().map(|row| row.i64(0)).sum::<Result<i64, _>>()?;
        let mut oldest = None;
        for row in self.trail_rows(&first).await? {
            let id: [u8; 16] = row.bytes(0)?.try_into().map_err(|_| StoreError::Column { column: 0 })?;
            let instant = instant_of(&id);
            oldest = Some(oldest.map_or(instant, |known: i64| Ord::min(known, instant)));
        }
        Ok(Standing { events: u64::try_from(events).unwrap_or(0), oldest })
    }

    /// Removes what happened before an instant, microseconds since 1970. Returns how many events that were. (CO-09)
    pub async fn forget_events(&self, before: i64) -> Result<u64, StoreError> {
        let upto = id_at(before, [0; 8]);
        let mut removed = 0;
        loop {
            let old = taken(self.rows(&old(&upto)).await?)?;
            if old.is_empty() {
                break;
            }
            let statements = std::sync::Arc::new(removals(&old)?);
            let (bound, sealer) = (upto, self.known().sealer.clone());
            removed += self
                .write(move |tx| {
                    let (sealer, statements) = (sealer.clone(), statements.clone());
                    Box::pin(async move {
                        sealing::announce(tx, &sealer, &bound).await?;
                        let mut events = 0;
                        for statement in statements.iter() {
                            events = tx.execute(statement).await?;
                        }
                        Ok::<_, StoreError>(events)
                    })
                })
                .await?;
        }
        if removed > 0 {
            while self.prune_seals(upto).await? {}
        }
        Ok(removed + self.forget_beside(upto).await?)
    }

    /// Removes the oldest seals of what is removed; says whether there may be more.
    async fn prune_seals(&self, upto: [u8; 16]) -> Result<bool, StoreError> {
        let sealer = self.known().sealer.clone();
        let pruned = self.write(move |tx| {
            let sealer = sealer.clone();
            Box::pin(async move { sealing::prune(tx, &sealer, &upto).await })
        });
        pruned.await
    }

    /// The same in the file beside an SQLite database.
    async fn forget_beside(&self, upto: [u8; 16]) -> Result<u64, StoreError> {
        let Executor::Sqlite { trail, .. } = self.executor() else { return Ok(0) };
        let (path, sealer) = (trail.path.clone(), trail.sealer.clone());
        let work = move || if path.exists() { forget_in(&path, &sealer, &upto) } else { Ok(0) };
        tokio::task::spawn_blocking(work).await.map_err(|_panicked| StoreError::Stopped)?
    }
}

fn forget_in(path: &Path, sealer: &Sealer, upto: &[u8; 16]) -> Result<u64, StoreError> {
    let mut connection = super::carrier::open(path)?;
    let mut removed = 0;
    loop {
        let old = taken(sqlite::rows(&connection, &old(upto))?)?;
        if old.is_empty() {
            break;
        }
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        block_on(sealing::announce(&mut InFile(&transaction), sealer, upto))?;
        let mut events = 0;
        for statement in removals(&old)? {
            events = sqlite::execute(&transaction, &statement)?;
        }
        transaction.commit()?;
        removed += events;
        thread::sleep(PAUSE);
    }
    let mut more = removed > 0;
    while more {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        more = block_on(sealing::prune(&mut InFile(&transaction), sealer, upto))?;
        transaction.commit()?;
    }
    Ok(removed)
}

/// The oldest events, if they are old enough: with nothing to remove, one look at the first.
fn old(upto: &[u8; 16]) -> SelectStatement {
    let mut old = Query::select();
    old.columns(["id", "patients"]).from("audit_event").and_where(Expr::col("id").lt(upto.to_vec()));
    old.order_by("id", Order::Asc).limit(AT_ONCE).take()
}

/// The first of them that one transaction removes.
fn taken(mut rows: Vec<Row>) -> Result<Vec<Row>, StoreError> {
    let mut keys = 0;
    for at in 0..rows.len() {
        keys += rows[at].text(1)?.split(' ').count();
        if keys > MOST_KEYS {
            rows.truncate(at.max(1));
            break;
        }
    }
    Ok(rows)
}

/// Removes events by their keys alone: what each has in the index of patients, its row names. The last statement is
/// that of the events.
fn removals(old: &[Row]) -> Result<Vec<DeleteStatement>, StoreError> {
    let mut alike: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    let mut ids = Vec::with_capacity(old.len());
    for row in old {
        let id = row.bytes(0)?;
        alike.entry(row.text(1)?).or_default().push(id.clone());
        ids.push(id);
    }
    let by_id = |ids: Vec<Vec<u8>>| Expr::col("id").is_in(ids);
    let mut statements = Vec::with_capacity(alike.len() + 1);
    for (patients, ids) in alike.into_iter().filter(|(patients, _)| !patients.is_empty()) {
        let patients: Vec<String> = patients.split(' ').map(str::to_owned).collect();
        let mut found = Query::delete();
        found.from_table("audit_patient").and_where(is_one_of("patient", &patients)).and_where(by_id(ids));
        statements.push(found);
    }
    let mut events = Query::delete();
    events.from_table("audit_event").and_where(by_id(ids));
    statements.push(events);
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use crate::row::Cell;

    use super::*;

    fn row(id: u8, patients: &str) -> Row {
        Row { cells: vec![Cell::Bytes(vec![id; 16]), Cell::Text(patients.to_owned())] }
    }

    #[test]
    fn co_09_nothing_is_looked_for_in_the_whole_table() {
        let connection = rusqlite::Connection::open_in_memory().expect("a database");
        let tables = "CREATE TABLE audit_event (id BLOB PRIMARY KEY, patients TEXT) WITHOUT ROWID; CREATE TABLE \
                      audit_patient (patient TEXT, id BLOB, PRIMARY KEY (patient, id)) WITHOUT ROWID;";
        connection.execute_batch(tables).expect("tables");
        let statements = removals(&[row(1, "a b"), row(2, ""), row(3, "a b"), row(4, "c")]).expect("statements");
        assert_eq!(statements.len(), 3, "those alike together, the events at last");
        for statement in statements.iter().map(|it| it.to_string(sea_orm::sea_query::SqliteQueryBuilder)) {
            let steps = sqlite::plan_of(&connection, &statement);
            assert!(steps.iter().any(|it| it.starts_with("SEARCH")), "{statement}: {steps:?}");
            assert!(!steps.iter().any(|it| it.starts_with("SCAN")), "{statement}: {steps:?}");
        }
    }

    #[test]
    fn one_transaction_removes_few() {
        let many = (0..500).map(|at| format!("p{at}")).collect::<Vec<_>>().join(" ");
        let rows: Vec<Row> = (0..200).map(|id| row(id, &many)).collect();
        assert_eq!(taken(rows).expect("taken").len(), 20);
        let huge = (0..20_000).map(|at| format!("p{at}")).collect::<Vec<_>>().join(" ");
        assert_eq!(taken(vec![row(1, &huge), row(2, "a")]).expect("taken").len(), 1);
    }
}
