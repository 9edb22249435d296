//! `:above` and `:below` of references: the resources along which the parent leads.
//! <https://hl7.org/fhir/R4/search.html#recursive>

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use sea_orm::JoinType;
use sea_orm::sea_query::{Expr, ExprTrait, Query as Sql};
use search::entry::Target;
use search::query::{Direction, Param};
use search::view::View;

use super::any::{Alternative, is_one_of, is_set};
use super::condition::Place;
use super::links::is_named;
use crate::error::StoreError;
use crate::keys;
use crate::session::Session;
use crate::view::{SearchView, target};

/// Most resources of one hierarchy.
const MOST: usize = 10_000;

/// The target and everything above or below it, as far as the view shows what leads there.
pub(super) fn expand<'a, S: Session>(
    session: &'a mut S,
    view: &'a View,
    from: &'a Target,
    parent: &'a Param,
    direction: Direction,
) -> BoxFuture<'a, Result<Vec<Alternative>, StoreError>> {
    Box::pin(walk(session, view, from, parent, direction))
}

async fn walk<S: Session>(
    session: &mut S,
    view: &View,
    from: &Target,
    parent: &Param,
    direction: Direction,
) -> Result<Vec<Alternative>, StoreError> {
    let (resource_type, id) = match from {
        Target::Local { resource_type, id } => (resource_type, id),
        Target::Url(text) => return Ok(vec![Alternative::Target(keys::url(text))]),
    };
    // What nobody refers to has nothing below it; what it refers to itself counts above it, but is found by its id.
    let start = target(session, resource_type, id).await?;
    let mut found: BTreeSet<i64> = start.into_iter().collect();
    if let Some(view) = SearchView::new(session, view, resource_type).await? {
        let mut frontier: Vec<i64> = found.iter().copied().collect();
        if start.is_none() && direction == Direction::Above {
            frontier = parents_of_unnamed(session, &view, resource_type, id, parent).await?;
            found.extend(&frontier);
        }
        while !frontier.is_empty() {
            let next = step(session, &view, resource_type, &frontier, parent, direction).await?;
            frontier = next.into_iter().filter(|target| found.insert(*target)).collect();
            if found.len() > MOST {
                return Err(StoreError::TooCostly(format!(
                    "more than {MOST} resources lie above or below {resource_type}/{id}; begin further down"
                )));
            }
        }
    }
    Ok(found.into_iter().map(Alternative::Target).collect())
}

/// Parents of a resource that nobody refers to.
async fn parents_of_unnamed<S: Session>(
    session: &mut S,
    view: &SearchView,
    resource_type: &str,
    id: &str,
    parent: &Param,
) -> Result<Vec<i64>, StoreError> {
    let type_id = session.known().types.id(resource_type);
    let mut select = Sql::select();
    select.distinct().column(("p", "target")).from_as("resource", "r");
    let of_it = Expr::col(("p", "rid")).equals(("r", "rid"));
    select.join_as(JoinType::InnerJoin, "index_reference", "p", of_it);
    select.and_where(Expr::col(("r", "type_id")).eq(type_id)).and_where(Expr::col(("r", "id")).eq(id));
    select.and_where(Expr::col(("p", "param")).eq(parent.id.0));
    select.cond_where(view.condition(&Place::of(Expr::col(("r", "rid")))));
    session.numbers(&select).await
}

/// One step up or down from all of the frontier.
async fn step<S: Session>(
    session: &mut S,
    view: &SearchView,
    resource_type: &str,
    frontier: &[i64],
    parent: &Param,
    direction: Direction,
) -> Result<Vec<i64>, StoreError> {
    let type_id = session.known().types.id(resource_type);
    let mut select = Sql::select();
    select.distinct();
    // The lower one of two is the resource `r`, known to references as `t`, whose reference `p` names the upper one.
    let of_it = || Expr::col(("p", "rid")).equals(("r", "rid"));
    match direction {
        Direction::Above => {
            select.column(("p", "target")).from_as("target", "t");
            select.join_as(JoinType::InnerJoin, "resource", "r", is_named("r", "t"));
            select.join_as(JoinType::InnerJoin, "index_reference", "p", of_it());
            select.and_where(is_one_of(Expr::col(("t", "target")), frontier));
        }
        Direction::Below => {
            select.column(("t", "target")).from_as("index_reference", "p");
            select.join_as(JoinType::InnerJoin, "resource", "r", of_it());
            select.join_as(JoinType::InnerJoin, "target", "t", is_named("r", "t"));
            select.and_where(is_one_of(Expr::col(("p", "target")), frontier));
        }
    }
    select.and_where(Expr::col(("p", "param")).eq(parent.id.0)).and_where(Expr::col(("r", "type_id")).eq(type_id));
    select.and_where(is_set(Expr::col(("r", "live"))));
    select.cond_where(view.condition(&Place::of(Expr::col(("r", "rid")))));
    session.numbers(&select).await
}
