//! A search over several types: of the whole system, of a compartment. <https://hl7.org/fhir/R4/http.html#search>
//!
//! Types without any resource are left out first, by one statement. Of each other type the first row ids are found,
//! put in one order, and only what is on the page is read.

use std::collections::BTreeMap;

use sea_orm::DbBackend;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query as Sql, SelectStatement, UnionType};
use search::query::{Include, Query};
use search::view::View;

use super::any::is_one_of;
use super::order::{self, Position};
use super::plan::Plan;
use super::question::finds_a_row;
use super::{SearchPage, count, include, turn};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::keys::NOBODY;
use crate::resources::Stored;
use crate::row::Cell;
use crate::session::Session;
use crate::view::patients_of;

/// Types whose first matches one statement finds.
const TYPES: usize = 16;
/// More types than these are looked for before they are searched: a search that finds nothing costs as much as to look for
/// several.
const UNSEEN: usize = 16;

/// A match before it is read.
struct Found {
    rid: i64,
    keys: Vec<Cell>,
}

pub(super) async fn search<S: Session>(
    session: &mut S,
    cursor: &Cursor,
    view: &View,
    queries: &[Query],
) -> Result<SearchPage, StoreError> {
    let Some(first) = queries.first() else { return Ok(SearchPage::default()) };
    let mut position = first.cursor.as_deref().map(|text| cursor.open(text, view, queries)).transpose()?;
    let keys = order::keys(&first.sort);
    if queries.iter().any(|query| query.sort != first.sort) {
        return Err(StoreError::Unsupported("several types can be sorted by _lastUpdated and _id only".into()));
    }
    let plans = plans(session, view, queries).await?;
    let mut found = if first.count > 0 {
        first_of_all(session, &plans, position.as_ref(), first.count + 1).await?
    } else {
        Vec::new()
    };
    if first.count > 0 && found.is_empty() && position.take_if(|position| position.backwards).is_some() {
        // All that stood before is gone: what is left begins with the first page.
        found = first_of_all(session, &plans, None, first.count + 1).await?;
    }
    let backwards = position.as_ref().is_some_and(|position| position.backwards);
    found.sort_by(|left, right| order::compare(&keys, &left.keys, &right.keys, backwards));
    found.truncate(first.count + 1);
    let turned = turn(&mut found, first.count, position.as_ref(), |found| found.keys.clone());
    let seal = |position: Position| cursor.seal(&position, view, queries);
    let (next, previous) = (turned.next.map(seal), turned.previous.map(seal));
    let total = match (first.total, position.is_none() && next.is_none() && first.count > 0) {
        (true, true) => Some(found.len() as u64), // this page is all
        (true, false) => Some(count_all(session, &plans).await?),
        (false, _) => None,
    };
    let rids: Vec<i64> = found.iter().map(|found| found.rid).collect();
    // Through the view once more: what was found may have been changed since.
    let mut bodies = BTreeMap::new();
    include::load(session, view, &rids, &mut bodies).await?;
    let (rids, matches): (Vec<i64>, Vec<Stored>) =
        rids.into_iter().filter_map(|rid| Some((rid, bodies.remove(&rid)?))).unzip();
    let included = include::included(session, view, &includes(queries), (&rids, &matches)).await?;
    Ok(SearchPage { matches, included, next, previous, total, containers: BTreeMap::new() })
}

/// The queries that can find anything.
async fn plans<S: Session>(session: &mut S, view: &View, queries: &[Query]) -> Result<Vec<Plan>, StoreError> {
    let present = if queries.len() > UNSEEN { Some(types_present(session, view).await?) } else { None };
    let mut plans = Vec::new();
    for query in queries {
        if present.as_ref().is_none_or(|present| present.contains(&session.known().types.id(&query.resource_type))) {
            plans.extend(Plan::new(session, view, &query.resource_type, &query.filters, &query.sort).await?);
        }
    }
    Ok(plans)
}

/// Types of which the compartment of the view holds anything.
pub(super) async fn types_present<S: Session>(session: &mut S, view: &View) -> Result<Vec<i64>, StoreError> {
    let mut listed = Sql::select();
    listed.expr(Expr::val(1)).from_as("listing", "l");
    listed.and_where(Expr::col(("l", "type_id")).equals(("y", "type_id")));
    if let Some(patients) = patients_of(session, view).await? {
        let listed_under: Vec<i64> = std::iter::once(NOBODY).chain(patients).collect();
        listed.and_where(is_one_of(Expr::col(("l", "patient")), &listed_under));
    }
    let mut select = Sql::select();
    select.column(("y", "type_id")).from_as("resource_type", "y").and_where(finds_a_row(listed));
    session.numbers(&select).await
}

/// The first of each type.
async fn first_of_all<S: Session>(
    session: &mut S,
    plans: &[Plan],
    position: Option<&Position>,
    limit: usize,
) -> Result<Vec<Found>, StoreError> {
    // On PostgreSQL a statement of its own for each type would be a message and an answer.
    let at_once = if session.backend() == DbBackend::Postgres { TYPES } else { 1 };
    let mut found = Vec::new();
    for plans in plans.chunks(at_once) {
        found.extend(first_matches(session, plans, position, limit).await?);
    }
    Ok(found)
}

/// The first of each of these, by one statement.
async fn first_matches<S: Session>(
    session: &mut S,
    plans: &[Plan],
    position: Option<&Position>,
    limit: usize,
) -> Result<Vec<Found>, StoreError> {
    let mut all: Option<SelectStatement> = None;
    for (number, plan) in plans.iter().enumerate() {
        let name = Alias::new(format!("s{number}"));
        let mut select = Sql::select();
        select.column((name.clone(), "rid")).from_subquery(plan.cut(position, limit)?, name.clone());
        for index in 0..plan.keys.len() {
            select.column((name.clone(), order::alias(index)));
        }
        match &mut all {
            None => all = Some(select),
            Some(all) => {
                all.union(UnionType::All, select);
            }
        }
    }
    let Some(all) = all else { return Ok(Vec::new()) };
    let rows = session.rows(&all).await?;
    rows.into_iter().map(|mut row| Ok(Found { rid: row.i64(0)?, keys: row.cells.split_off(1) })).collect()
}

async fn count_all<S: Session>(session: &mut S, plans: &[Plan]) -> Result<u64, StoreError> {
    let mut total = 0;
    for plan in plans {
        total += count(session, plan.candidates()).await?;
    }
    Ok(total)
}

/// The includes of all queries, each once.
fn includes(queries: &[Query]) -> Vec<Include> {
    let mut all: Vec<Include> = Vec::new();
    for include in queries.iter().flat_map(|query| &query.includes) {
        if !all.contains(include) {
            all.push(include.clone());
        }
    }
    all
}
