//! Making the index of stored resources anew.

use sea_orm::sea_query::{Expr, ExprTrait, Order, Query, SelectStatement};
use search::entry::Extracted;

use crate::body::text_of;
use crate::error::StoreError;
use crate::resources::stored;
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
        let (rid, type_id) = (row.i64(5)?, row.i64(6)?);
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
        select.and_where(Expr::col("rid").lte(last)).and_where(Expr::col("type_id").is_in(numbers));
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
        let mut select = Query::select();
        select.columns(["rid", "tables"]).from("resource").and_where(Expr::col("type_id").eq(type_id));
        select.and_where(Expr::col("id").eq(id)).and_where(Expr::col("version").eq(version));
        let rows = self.rows(&select).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        self.index_again(row.i64(0)?, type_id, row.i64(1)?, extracted).await
    }
}

fn each(rid: i64, limit: u64) -> SelectStatement {
    let mut select = Query::select();
    select
        .columns(["id", "version", "last_updated"])
        .expr(text_of("resource"))
        .expr(Expr::val(2_i64))
        .columns(["rid", "type_id"]);
    select.from("resource").and_where(Expr::col("rid").gt(rid)).and_where(Expr::col("live").eq(1));
    select.order_by("rid", Order::Asc).limit(limit);
    select
}
