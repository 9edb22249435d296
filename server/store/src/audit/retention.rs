//! How long events are kept, and how many there are.

use rusqlite::params;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query};

use super::{id_at, instant_of};
use crate::error::StoreError;
use crate::{EngineKind, Store};

/// Events that one statement removes: others wait for it.
const AT_ONCE: u64 = 10_000;

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
        let upto = id_at(before, [0; 8]).to_vec();
        let mut removed = 0;
        loop {
            let bound = upto.clone();
            let some = self
                .write(move |tx| {
                    let bound = bound.clone();
                    Box::pin(async move {
                        let mut say = Query::insert();
                        say.into_table("audit_retention").columns(["one", "upto"]);
                        say.values_panic([1_i64.into(), bound.clone().into()]);
                        say.on_conflict(OnConflict::column("one").update_column("upto").to_owned());
                        tx.execute(&say).await?;
                        let mut old = Query::select();
                        old.column("id").from("audit_event").and_where(Expr::col("id").lt(bound.clone()));
                        old.order_by("id", Order::Asc).limit(AT_ONCE);
                        let mut found = Query::delete();
                        found.from_table("audit_patient").and_where(Expr::col("id").in_subquery(old.clone()));
                        tx.execute(&found).await?;
                        let mut events = Query::delete();
                        events.from_table("audit_event").and_where(Expr::col("id").in_subquery(old));
                        tx.execute(&events).await
                    })
                })
                .await?;
            removed += some;
            if some < AT_ONCE {
                break;
            }
        }
        Ok(removed + self.forget_beside(upto).await?)
    }

    /// The same in the file beside an SQLite database.
    async fn forget_beside(&self, upto: Vec<u8>) -> Result<u64, StoreError> {
        let EngineKind::Sqlite { trail, .. } = self.engine() else { return Ok(0) };
        let path = trail.path.clone();
        let work = move || {
            if !path.exists() {
                return Ok(0);
            }
            let connection = super::log::open(&path)?;
            connection.execute("INSERT OR REPLACE INTO audit_retention VALUES (1, ?1)", params![upto])?;
            let mut removed = 0;
            loop {
                let old = "SELECT id FROM audit_event WHERE id < ?1 ORDER BY id LIMIT 10000";
                connection.execute_batch("BEGIN IMMEDIATE")?;
                connection.execute(&format!("DELETE FROM audit_patient WHERE id IN ({old})"), params![upto])?;
                let some =
                    connection.execute(&format!("DELETE FROM audit_event WHERE id IN ({old})"), params![upto])?;
                connection.execute_batch("COMMIT")?;
                removed += some as u64;
                if (some as u64) < AT_ONCE {
                    return Ok(removed);
                }
            }
        };
        tokio::task::spawn_blocking(work).await.map_err(|_panicked| StoreError::Stopped)?
    }
}
