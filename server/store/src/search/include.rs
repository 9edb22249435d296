//! `_include` and `_revinclude`. <https://hl7.org/fhir/R4/search.html#include>

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::JoinType;
use sea_orm::sea_query::{Expr, ExprTrait, Order, Query as Sql};
use search::query::Include;
use search::view::View;

use super::any::{is_one_of, is_set};
use super::condition::Place;
use crate::body::text_of;
use crate::error::StoreError;
use crate::resources::Stored;
use crate::session::Session;
use crate::view::SearchView;

/// Most resources that one page includes.
const MOST: usize = 10_000;
/// Row ids listed in one statement.
const CHUNK: usize = 500;

/// What the page with these row ids includes, without the page itself, by row id. (LK-15: each as the view shows it)
///
/// An include that iterates looks at what was included too, until nothing is added; what the view hides leads nowhere.
pub(super) async fn included<S: Session>(
    session: &mut S,
    view: &View,
    includes: &[Include],
    page: &[i64],
) -> Result<Vec<Stored>, StoreError> {
    let mut seen: BTreeSet<i64> = page.iter().copied().collect();
    let mut found: BTreeMap<i64, Stored> = BTreeMap::new();
    let mut generation: Vec<i64> = page.to_vec();
    let mut is_page = true;
    while !generation.is_empty() {
        let mut wanted: BTreeSet<i64> = BTreeSet::new();
        for include in includes.iter().filter(|include| is_page || include.iterate) {
            for rids in generation.chunks(CHUNK) {
                let ends = linked(session, view, include, rids).await?;
                // Ends of references may be hidden: only what is shown counts against the bound, see `load`.
                if include.reverse && ends.len() > MOST {
                    return Err(too_many());
                }
                wanted.extend(ends);
            }
        }
        wanted.retain(|rid| seen.insert(*rid));
        let wanted: Vec<i64> = wanted.into_iter().collect();
        let mut loaded = BTreeMap::new();
        for rids in wanted.chunks(CHUNK) {
            load(session, view, rids, &mut loaded).await?;
            if found.len() + loaded.len() > MOST {
                return Err(too_many());
            }
        }
        generation = loaded.keys().copied().collect();
        found.append(&mut loaded);
        if found.len() > MOST {
            return Err(too_many());
        }
        is_page = false;
    }
    Ok(found.into_values().collect())
}

fn too_many() -> StoreError {
    StoreError::TooCostly(format!("a page would include more than {MOST} resources; ask for fewer with _count"))
}

/// Row ids that a generation points at, or that point at it as far as the view shows them.
async fn linked<S: Session>(
    session: &mut S,
    view: &View,
    include: &Include,
    generation: &[i64],
) -> Result<Vec<i64>, StoreError> {
    // Where a reference ends: `t` is its target, `r` the resource of that name.
    let ends = Expr::col(("r", "type_id")).equals(("t", "type_id")).and(Expr::col(("r", "id")).equals(("t", "id")));
    let same = Expr::col(("t", "target")).equals(("i", "target"));
    let mut select = Sql::select();
    select.distinct().column((if include.reverse { "i" } else { "r" }, "rid"));
    if include.reverse {
        // What the page names counts; what names the page counts only if it can be seen.
        let Some(view) = SearchView::new(session, view, &include.source_type).await? else { return Ok(Vec::new()) };
        select.from_as("resource", "r").join_as(JoinType::InnerJoin, "target", "t", ends);
        select.join_as(JoinType::InnerJoin, "index_reference", "i", same);
        select.cond_where(view.condition(&Place::of(Expr::col(("i", "rid"))))).limit(MOST as u64 + 1);
    } else {
        select.from_as("index_reference", "i").join_as(JoinType::InnerJoin, "target", "t", same);
        select.join_as(JoinType::InnerJoin, "resource", "r", ends);
    }
    let from = Expr::col((if include.reverse { "r" } else { "i" }, "rid"));
    select.and_where(is_one_of(from, generation));
    let params: Vec<i64> = include.params.iter().map(|param| param.id.0).collect();
    if params.is_empty() {
        return Ok(Vec::new());
    }
    select.and_where(is_one_of(Expr::col(("i", "param")), &params));
    if let Some(target_type) = &include.target_type {
        select.and_where(Expr::col(("t", "type_id")).eq(session.known().types.id(target_type)));
    }
    session.rows(&select).await?.iter().map(|row| row.i64(0)).collect()
}

/// Reads resources as far as the view shows them.
pub(super) async fn load<S: Session>(
    session: &mut S,
    view: &View,
    rids: &[i64],
    found: &mut BTreeMap<i64, Stored>,
) -> Result<(), StoreError> {
    for rids in rids.chunks(CHUNK) {
        load_some(session, view, rids, found).await?;
    }
    Ok(())
}

async fn load_some<S: Session>(
    session: &mut S,
    view: &View,
    rids: &[i64],
    found: &mut BTreeMap<i64, Stored>,
) -> Result<(), StoreError> {
    let mut types = Sql::select();
    types.distinct().column("type_id").from("resource").and_where(is_one_of(Expr::col("rid"), rids));
    types.and_where(is_set(Expr::col("live"))).order_by("type_id", Order::Asc);
    for row in session.rows(&types).await? {
        let type_id = row.i64(0)?;
        let resource_type = session.known().types.name(type_id)?;
        let Some(view) = SearchView::new(session, view, resource_type).await? else { continue };
        let mut select = Sql::select();
        select
            .columns([("r", "id"), ("r", "version"), ("r", "last_updated")])
            .expr(text_of("r"))
            .expr(Expr::val(2_i64))
            .column(("r", "rid"));
        select.from_as("resource", "r").and_where(is_one_of(Expr::col(("r", "rid")), rids));
        // Added to nothing, so that no index on the type is taken: the row ids find the rows.
        let of_type = Expr::col(("r", "type_id")).add(0).eq(type_id);
        select.and_where(of_type).and_where(is_set(Expr::col(("r", "live"))));
        select.cond_where(view.condition(&Place::of(Expr::col(("r", "rid")))));
        for row in session.rows(&select).await? {
            let rid = row.i64(5)?;
            found.insert(rid, crate::resources::stored(row, resource_type)?);
        }
    }
    Ok(())
}
