//! `_include` and `_revinclude`. <https://hl7.org/fhir/R4/search.html#include>

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::JoinType;
use sea_orm::sea_query::{Expr, ExprTrait, Order, Query as Sql};
use search::query::{Include, Query};
use search::view::View;

use crate::error::StoreError;
use crate::resources::Stored;
use crate::session::Session;
use crate::view::ResolvedView;

/// Most resources that one page includes.
const MOST: usize = 10_000;
/// Row ids listed in one statement.
const CHUNK: usize = 500;

/// What the page with these row ids includes, without the page itself, by row id. (LK-15: each as the view shows it)
pub(super) async fn included<S: Session>(
    session: &mut S,
    view: &View,
    query: &Query,
    page: &[i64],
) -> Result<Vec<Stored>, StoreError> {
    let mut wanted: BTreeSet<i64> = BTreeSet::new();
    for include in &query.includes {
        // What the page names counts; what names the page counts only if it can be seen.
        let view = if include.reverse {
            let Some(view) = ResolvedView::new(session, view, &include.source_type).await? else { continue };
            Some(view)
        } else {
            None
        };
        for rids in page.chunks(CHUNK) {
            wanted.extend(linked(session, include, view.as_ref(), rids).await?);
        }
        if wanted.len() > MOST {
            return Err(StoreError::TooCostly(format!(
                "a page would include more than {MOST} resources; ask for fewer with _count"
            )));
        }
    }
    let wanted: Vec<i64> = wanted.into_iter().filter(|rid| !page.contains(rid)).collect();
    let mut found: BTreeMap<i64, Stored> = BTreeMap::new();
    for rids in wanted.chunks(CHUNK) {
        load(session, view, rids, &mut found).await?;
    }
    Ok(found.into_values().collect())
}

/// Row ids that a page points at, or that point at it as far as the view shows them.
async fn linked<S: Session>(
    session: &mut S,
    include: &Include,
    view: Option<&ResolvedView>,
    page: &[i64],
) -> Result<Vec<i64>, StoreError> {
    // Where a reference ends: `t` is its target, `r` the resource of that name.
    let ends = Expr::col(("r", "type_id")).equals(("t", "type_id")).and(Expr::col(("r", "id")).equals(("t", "id")));
    let same = Expr::col(("t", "target")).equals(("x", "target"));
    let from_page = Expr::col((if include.reverse { "r" } else { "x" }, "rid")).is_in(page.iter().copied());
    let mut select = Sql::select();
    select.distinct().column((if include.reverse { "x" } else { "r" }, "rid"));
    if include.reverse {
        select.from_as("resource", "r").join_as(JoinType::InnerJoin, "target", "t", ends);
        select.join_as(JoinType::InnerJoin, "index_reference", "x", same);
    } else {
        select.from_as("index_reference", "x").join_as(JoinType::InnerJoin, "target", "t", same);
        select.join_as(JoinType::InnerJoin, "resource", "r", ends);
    }
    select.and_where(Expr::col(("x", "param")).is_in(include.params.iter().map(|param| param.id.0))).and_where(from_page).limit(MOST as u64 + 1);
    if let Some(view) = view {
        select.cond_where(view.condition(&Expr::col(("x", "rid"))));
    }
    if let Some(target_type) = include.target_type.as_ref().filter(|_| !include.reverse) {
        select.and_where(Expr::col(("t", "type_id")).eq(session.known().types.id(target_type)));
    }
    session.rows(&select).await?.iter().map(|row| row.i64(0)).collect()
}

async fn load<S: Session>(
    session: &mut S,
    view: &View,
    rids: &[i64],
    found: &mut BTreeMap<i64, Stored>,
) -> Result<(), StoreError> {
    let mut types = Sql::select();
    types.distinct().column("type_id").from("resource").and_where(Expr::col("rid").is_in(rids.iter().copied()));
    types.and_where(Expr::col("live").eq(1)).order_by("type_id", Order::Asc);
    for row in session.rows(&types).await? {
        let type_id = row.i64(0)?;
        let resource_type = session.known().types.name(type_id)?;
        let Some(view) = ResolvedView::new(session, view, resource_type).await? else { continue };
        let mut select = Sql::select();
        select
            .columns([("r", "id"), ("r", "version"), ("r", "last_updated"), ("r", "body")])
            .expr(Expr::val(2_i64))
            .column(("r", "rid"));
        select.from_as("resource", "r").and_where(Expr::col(("r", "rid")).is_in(rids.iter().copied()));
        select.and_where(Expr::col(("r", "type_id")).eq(type_id)).and_where(Expr::col(("r", "live")).eq(1));
        select.cond_where(view.condition(&Expr::col(("r", "rid"))));
        for row in session.rows(&select).await? {
            let rid = row.i64(5)?;
            found.insert(rid, crate::resources::stored(row, resource_type)?);
        }
    }
    Ok(())
}
