//! Search: a query becomes one statement that finds, orders and cuts a page. <https://hl7.org/fhir/R4/search.html>
//!
//! One condition drives: its index rows are scanned, restricted to the patients of the view, and every other
//! condition is asked about the row ids found. Rows stand in the default order (newest first), so a page of
//! `patient + code` is the beginning of one range. The planner of the engine is left no join to order.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Expr, ExprTrait, Query as Sql, SelectStatement};
use search::query::Query;
use search::view::View;

use crate::Store;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::resources::{Stored, stored_of_numbers};
use crate::row::Cell;
use crate::session::Session;
use crate::tx::Tx;

pub(crate) mod any;
mod canonical;
pub(crate) mod condition;
mod contained;
mod exact;
mod explain;
mod hierarchy;
mod include;
mod links;
pub(crate) mod order;
pub(crate) mod plan;
pub(crate) mod question;
pub(crate) mod resolve;
mod several;
mod versions;

pub use explain::ExplainedStep;

use order::Position;
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
    /// Where the page before this one ends, if there is one: it holds what stands there when it is asked for.
    pub previous: Option<String>,
    /// Number of matches over all pages, if it was asked for.
    pub total: Option<u64>,
    /// By position among the matches, of those that are contained resources: the container.
    pub containers: BTreeMap<usize, Stored>,
}

impl Store {
    /// One page of matches.
    pub async fn search(&self, view: &View, query: &Query) -> Result<SearchPage, StoreError> {
        let (view, query, cursor) = (view.clone(), query.clone(), self.cursor().clone());
        with_long_session!(self, session => within_limit!(session, search(session, &cursor, &view, &query)))
    }

    /// One page of the matches of several queries, one a type, in one order: the same sort, page size and cursor in
    /// each. Only the default order, `_lastUpdated` and `_id` are common to all types.
    pub async fn search_types(&self, view: &View, queries: &[Query]) -> Result<SearchPage, StoreError> {
        let (view, queries, cursor) = (view.clone(), queries.to_vec(), self.cursor().clone());
        with_long_session!(self, session => within_limit!(session, several::search(session, &cursor, &view, &queries)))
    }

    /// Types of which the compartment of the view holds anything; whether the view allows the type is not asked.
    pub async fn types_held(&self, view: &View) -> Result<Vec<&'static str>, StoreError> {
        let view = view.clone();
        with_long_session!(self, session => {
            let held = several::types_present(session, &view).await?;
            held.into_iter().map(|type_id| session.known().types.name(type_id)).collect::<Result<Vec<_>, _>>()
        })
    }

    /// How a search would be run, for people. Tells nothing that an answer to it would not tell.
    pub async fn explain(&self, view: &View, query: &Query) -> Result<Vec<ExplainedStep>, StoreError> {
        let (view, query) = (view.clone(), query.clone());
        with_long_session!(self, session => within_limit!(session, explain::explain(session, &view, &query)))
    }
}

impl Tx {
    /// One page of matches, of what this transaction has written so far.
    pub async fn search(&mut self, view: &View, query: &Query) -> Result<SearchPage, StoreError> {
        self.flush().await?;
        within_limit!(self, search(self, &Cursor::none(), view, query))
    }
}

async fn search<S: Session>(
    session: &mut S,
    cursor: &Cursor,
    view: &View,
    query: &Query,
) -> Result<SearchPage, StoreError> {
    if let Some(asked) = query.contained.as_deref() {
        return contained::search(session, cursor, view, (query, asked)).await;
    }
    let nothing = SearchPage { total: query.total.then_some(0), ..SearchPage::default() };
    let queries = std::slice::from_ref(query);
    let mut position = query.cursor.as_deref().map(|text| cursor.open(text, view, queries)).transpose()?;
    let plan = Plan::new(session, view, &query.resource_type, &query.filters, &query.sort).await?;
    let Some(plan) = plan else { return Ok(nothing) };
    if query.count == 0 {
        let total = if query.total { Some(count(session, plan.candidates()).await?) } else { None };
        return Ok(SearchPage { total, ..SearchPage::default() });
    }
    let mut rows = session.rows(&plan.page(position.as_ref(), query.count + 1)?).await?;
    if rows.is_empty() && position.take_if(|position| position.backwards).is_some() {
        // All that stood before is gone: what is left begins with the first page.
        rows = session.rows(&plan.page(None, query.count + 1)?).await?;
    }
    plan.arrange(&mut rows, position.as_ref());
    let turned = turn(&mut rows, query.count, position.as_ref(), plan::keys_of);
    let seal = |position: Position| cursor.seal(&position, view, queries);
    let (next, previous) = (turned.next.map(seal), turned.previous.map(seal));
    let total = match (query.total, position.is_none() && next.is_none()) {
        (true, true) => Some(rows.len() as u64), // this page is all
        (true, false) => Some(count(session, plan.candidates()).await?),
        (false, _) => None,
    };
    let rids = rows.iter().map(|row| row.i64(plan::RID_COLUMN)).collect::<Result<Vec<_>, _>>()?;
    let matches = stored_of_numbers(session, rows, &query.resource_type).await?;
    let included = include::included(session, view, &query.includes, (&rids, &matches)).await?;
    Ok(SearchPage { matches, included, next, previous, total, containers: BTreeMap::new() })
}

/// Where it goes on from a page.
struct Turned {
    next: Option<Position>,
    previous: Option<Position>,
}

/// Puts the rows of a page in order, one row more than the page if there are more, and says what lies around it.
fn turn<R>(rows: &mut Vec<R>, count: usize, position: Option<&Position>, keys: impl Fn(&R) -> Vec<Cell>) -> Turned {
    let backwards = position.is_some_and(|position| position.backwards);
    let more = rows.len() > count;
    rows.truncate(count);
    if backwards {
        rows.reverse();
    }
    let beside = |row: Option<&R>, backwards| row.map(|row| Position { keys: keys(row), backwards });
    // The row that the position names lies on the side where this page came from.
    let (has_next, has_previous) = if backwards { (true, more) } else { (more, position.is_some()) };
    Turned {
        next: beside(rows.last(), false).filter(|_| has_next),
        previous: beside(rows.first(), true).filter(|_| has_previous),
    }
}

/// How many rows with a row id there are.
async fn count<S: Session>(session: &mut S, found: SelectStatement) -> Result<u64, StoreError> {
    let mut select = Sql::select();
    select.expr(Expr::col("rid").count()).from_subquery(found, "all");
    let rows = session.rows(&select).await?;
    let count = rows.first().map_or(Ok(0), |row| row.i64(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}
