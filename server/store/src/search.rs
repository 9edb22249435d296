//! Search: a query becomes one statement that finds, orders and cuts a page. <https://hl7.org/fhir/R4/search.html>
//!
//! One condition drives: its index rows are scanned, restricted to the patients of the view, and every other
//! condition is asked about the row ids found. Rows stand in the default order (newest first), so a page of
//! `patient + code` is the beginning of one range. The planner of the engine is left no join to order.

use sea_orm::sea_query::{Expr, ExprTrait, Query as Sql};
use search::query::Query;
use search::view::View;

use crate::Store;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::resources::Stored;
use crate::row::Row;
use crate::session::Session;
use crate::tx::Tx;

pub(crate) mod condition;
mod include;
mod order;
mod plan;

use plan::Plan;

/// A page of results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPage {
    /// Matches in order.
    pub matches: Vec<Stored>,
    /// Included resources that are not among the matches of this page.
    pub included: Vec<Stored>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// Number of matches over all pages, if it was asked for.
    pub total: Option<u64>,
}

impl Store {
    /// One page of matches.
    pub async fn search(&self, view: &View, query: &Query) -> Result<SearchPage, StoreError> {
        let (view, query, cursor) = (view.clone(), query.clone(), self.cursor().clone());
        with_long_session!(self, session => search(session, &cursor, &view, &query).await)
    }
}

impl Tx {
    /// One page of matches, of what this transaction has written so far.
    pub async fn search(&mut self, view: &View, query: &Query) -> Result<SearchPage, StoreError> {
        self.flush().await?;
        search(self, &Cursor::none(), view, query).await
    }
}

async fn search<S: Session>(
    session: &mut S,
    cursor: &Cursor,
    view: &View,
    query: &Query,
) -> Result<SearchPage, StoreError> {
    let nothing = SearchPage { total: query.total.then_some(0), ..SearchPage::default() };
    let after = query.cursor.as_deref().map(|text| cursor.open(text, view, query)).transpose()?;
    let Some(plan) = Plan::new(session, view, query).await? else { return Ok(nothing) };
    let total = if query.total { Some(count(session, &plan).await?) } else { None };
    if query.count == 0 {
        return Ok(SearchPage { total, ..SearchPage::default() });
    }
    let mut rows = session.rows(&plan.page(after.as_deref(), query.count + 1)?).await?;
    let more = rows.len() > query.count;
    rows.truncate(query.count);
    let next = match rows.last() {
        Some(last) if more => Some(cursor.seal(&plan::position(last), view, query)),
        _ => None,
    };
    let rids = rows.iter().map(|row| row.i64(plan::RID_COLUMN)).collect::<Result<Vec<_>, _>>()?;
    let stored = |row: Row| crate::resources::stored(row, &query.resource_type);
    let matches = rows.into_iter().map(stored).collect::<Result<Vec<_>, _>>()?;
    let included = include::included(session, view, query, &rids).await?;
    Ok(SearchPage { matches, included, next, total })
}

async fn count<S: Session>(session: &mut S, plan: &Plan) -> Result<u64, StoreError> {
    let mut select = Sql::select();
    select.expr(Expr::col("rid").count()).from_subquery(plan.candidates(), "all");
    let rows = session.rows(&select).await?;
    let count = rows.first().map_or(Ok(0), |row| row.i64(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}
