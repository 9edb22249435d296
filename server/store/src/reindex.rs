//! Making the index of stored resources anew.

use std::collections::HashSet;

use sea_orm::DbBackend;
use sea_orm::sea_query::{Cond, Expr, ExprTrait, LockType, Order, Query, SelectStatement};
use search::entry::Extracted;

use crate::error::StoreError;
use crate::index::{CONTAINED, Indexed, TABLES, Table};
use crate::resources::{AFTER_STORED, stored, stored_columns_with_text};
use crate::session::Session;
use crate::{Store, Stored, Tx};

/// A current resource and its row id.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Row id: where to go on after this one.
    pub rid: i64,
    /// The resource.
    pub stored: Stored,
}

impl Store {
    /// Current resources of all types by row id, after `rid`, at most `limit`. For the server's own work: no view.
    pub async fn each_current(&self, rid: i64, limit: u64) -> Result<Vec<Standing>, StoreError> {
        let select = each(rid, limit);
        let rows = with_session!(self, session => session.rows(&select).await)?;
        rows.into_iter().map(|row| self.standing(row)).collect()
    }

    fn standing(&self, row: crate::Row) -> Result<Standing, StoreError> {
        let (rid, type_id) = (row.i64(AFTER_STORED)?, row.i64(AFTER_STORED + 1)?);
        Ok(Standing { rid, stored: stored(row, self.known().types.name(type_id)?)? })
    }

    /// Current resources of these types by row id, after `rid` and up to `last`, at most `limit`. For the server's own
    /// work: no view.
    pub async fn each_between(
        &self,
        types: &[&str],
        (rid, last): (i64, i64),
        limit: u64,
    ) -> Result<Vec<Standing>, StoreError> {
        let numbers: Vec<i64> = types.iter().map(|name| self.known().types.id(name)).collect();
        let mut select = each(rid, limit);
        // What others contain may be of these types too.
        let holds_some = Expr::col("tables").bit_and(CONTAINED).ne(0);
        select.and_where(Expr::col("rid").lte(last));
        select.cond_where(Cond::any().add(Expr::col("type_id").is_in(numbers)).add(holds_some));
        let rows = with_session!(self, session => session.rows(&select).await)?;
        rows.into_iter().map(|row| self.standing(row)).collect()
    }

    /// The last row id that was given.
    pub async fn last_row(&self) -> Result<i64, StoreError> {
        let mut select = Query::select();
        select.expr(Expr::col("rid").max()).from("resource");
        self.rows(&select).await?.first().map_or(Ok(None), |row| row.opt_i64(0)).map(Option::unwrap_or_default)
    }

    /// How many resources are current.
    pub async fn count_current(&self) -> Result<u64, StoreError> {
        let mut select = Query::select();
        select.expr(Expr::col("rid").count()).from("resource").and_where(Expr::col("live").eq(1));
        let rows = self.rows(&select).await?;
        let count = rows.first().map_or(Ok(0), |row| row.i64(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

impl Tx {
    /// Rewrites the index rows of a resource whose version is still `version`; otherwise its newer version has them.
    pub async fn reindex(
        &mut self,
        resource_type: &str,
        id: &str,
        version: i64,
        extracted: &Extracted,
    ) -> Result<(), StoreError> {
        let type_id = self.known().types.id(resource_type);
        let Some((rid, tables)) = self.still_at((type_id, id, version)).await? else { return Ok(()) };
        self.index_again(rid, type_id, tables, extracted).await
    }

    /// Adds the index rows of parameters that stood for nothing before, and leaves all others as they are; `extracted`
    /// has their entries alone. Nothing if the resource has a newer version, which has them.
    pub async fn index_some(
        &mut self,
        (resource_type, id, version): (&str, &str, i64),
        extracted: &Extracted,
    ) -> Result<(), StoreError> {
        let type_id = self.known().types.id(resource_type);
        let Some((rid, tables)) = self.still_at((type_id, id, version)).await? else { return Ok(()) };
        self.flush().await?;
        let mut listed = Query::select();
        listed.columns(["patient", "chronology"]).from(Table::Listing.name());
        listed.and_where(Expr::col("rid").eq(rid)).order_by("patient", Order::Asc);
        let listed = self.rows(&listed).await?;
        let Some(first) = listed.first() else { return Ok(()) };
        let extracted = Extracted { chronology: first.i64(1)?, ..extracted.clone() };
        let patients = listed.iter().map(|row| row.i64(0)).collect::<Result<Vec<_>, _>>()?;
        self.mention(&extracted).await?;
        let bits = self.add_rows(&Indexed { rid, type_id, extracted: &extracted, patients: &patients }).await?;
        if tables & bits != bits {
            let mut update = Query::update();
            update.table("resource").value("tables", tables | bits).and_where(Expr::col("rid").eq(rid));
            self.execute(&update).await?;
        }
        Ok(())
    }

    /// The row id of a resource whose version is still this one, and which tables hold rows of it. It stays so until this
    /// transaction ends: who writes a version meanwhile would be told of tables that this one changes.
    async fn still_at(&mut self, (type_id, id, version): (i64, &str, i64)) -> Result<Option<(i64, i64)>, StoreError> {
        let mut select = Query::select();
        select.columns(["rid", "tables"]).from("resource").and_where(Expr::col("type_id").eq(type_id));
        select.and_where(Expr::col("id").eq(id)).and_where(Expr::col("version").eq(version));
        if self.backend() == DbBackend::Postgres {
            select.lock(LockType::Update);
        }
        let rows = self.rows(&select).await?;
        rows.first().map(|row| Ok((row.i64(0)?, row.i64(1)?))).transpose()
    }

    /// Adds the rows that do not stand yet; which tables hold rows of the resource by them.
    async fn add_rows(&mut self, indexed: &Indexed<'_>) -> Result<i64, StoreError> {
        let (own, inside) = (self.rows_of(indexed), self.rows_inside(indexed));
        let (first, last) = search::contained::row_ids(indexed.rid);
        let mut bits = 0;
        for (table, (own, inside)) in TABLES.into_iter().zip(own.into_iter().zip(inside)) {
            if table == Table::Listing || (own.is_empty() && inside.is_empty()) {
                continue;
            }
            bits |= if own.is_empty() { 0 } else { table.bit() };
            bits |= if inside.is_empty() { 0 } else { CONTAINED };
            let mut standing = HashSet::new();
            for (rows, (from, to)) in [(&own, (indexed.rid, indexed.rid)), (&inside, (first, last))] {
                if rows.is_empty() {
                    continue;
                }
                let mut select = Query::select();
                select.columns(table.columns().iter().copied()).from(table.name());
                select.and_where(Expr::col("rid").gte(from)).and_where(Expr::col("rid").lte(to));
                standing.extend(self.rows(&select).await?.into_iter().map(|row| row.cells));
            }
            let mut wanted = [own, inside].concat();
            wanted.retain(|row| !standing.contains(row));
            self.pending.rows[table as usize].append(&mut wanted);
        }
        Ok(bits)
    }
}

fn each(rid: i64, limit: u64) -> SelectStatement {
    let mut select = Query::select();
    stored_columns_with_text(&mut select);
    select
        .columns(["rid", "type_id"])
        .from("resource")
        .and_where(Expr::col("rid").gt(rid))
        .and_where(Expr::col("live").eq(1));
    select.order_by("rid", Order::Asc).limit(limit);
    select
}
