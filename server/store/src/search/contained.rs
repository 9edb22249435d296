//! Contained resources as matches, and chains into them. <https://hl7.org/fhir/R4/search.html#contained>
//!
//! They have index rows like all others, under row ids that tell the container's, identities of parameters and numbers
//! of types of their own: no other search comes upon them. Whether one is visible is asked of its container alone.
//! (LK-24)

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use fhir::json::Json;
use futures::future::BoxFuture;
use sea_orm::sea_query::{Alias, Cond, Expr, ExprTrait, Query as Sql, SelectStatement, UnionType};
use search::contained::{TO_CONTAINER, container, filter};
use search::query::{Contained, Param, Query};
use search::view::{TypeRule, View};

use super::any::{Alternative, Any, is_one_of};
use super::condition::{Condition, Place};
use super::links::{Link, NAMED};
use super::order::{self, Position};
use super::plan::Plan;
use super::question::finds_a_row;
use super::resolve::{Scope, resolve_all};
use super::{SearchPage, count, include, turn};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::index::contained_type;
use crate::resources::Stored;
use crate::row::Row;
use crate::session::Session;
use crate::view::SearchView;

/// Position of the row id in a row of a page; the sort keys follow.
const RID: usize = 0;

/// It is contained in a resource that can be seen and is of one of some types.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    /// Types of containers, and what holds of them.
    alternatives: Vec<(Vec<i64>, SearchView)>,
}

/// It points at a contained resource of its own that satisfies conditions.
#[derive(Clone, Debug)]
pub(crate) struct Inward {
    param: i64,
    /// The number under which contained resources of the type are listed.
    type_id: i64,
    pub(super) conditions: Vec<Condition>,
}

impl Inside {
    /// The containers of these types, as far as the view shows them.
    async fn new<S: Session>(session: &mut S, view: &View, types: &[String]) -> Result<Self, StoreError> {
        // Types that are visible as a whole share one condition, but for this: resources of nobody are visible only where
        // the type is shared.
        let mut whole: [Vec<&str>; 2] = Default::default();
        let mut alternatives = Vec::new();
        for name in types {
            match view.rule(name) {
                TypeRule::Denied => {}
                TypeRule::Whole => whole[usize::from(search::compartment::is_shared(name))].push(name),
                TypeRule::Granular(_) => {
                    if let Some(found) = SearchView::new(session, view, name).await? {
                        alternatives.push((vec![session.known().types.id(name)], found));
                    }
                }
            }
        }
        for names in whole {
            let Some(first) = names.first() else { continue };
            if let Some(found) = SearchView::new(session, view, first).await? {
                let ids = names.iter().map(|name| session.known().types.id(name)).collect();
                alternatives.push((ids, found));
            }
        }
        Ok(Inside { alternatives })
    }

    /// The condition on the contained resource at a place.
    pub(super) fn predicate(&self, place: &Place) -> Expr {
        let holder = Place::of(Expr::col(("holder", "rid")));
        let any = self.alternatives.iter().fold(Cond::any().add(Expr::val(1).eq(0)), |any, (types, view)| {
            let of_type = is_one_of(Expr::col(("holder", "type_id")), types);
            any.add(Cond::all().add(of_type).add(view.condition(&holder)))
        });
        let mut select = Sql::select();
        select.expr(Expr::val(1)).from_as("resource", "holder");
        select.and_where(Expr::col(("holder", "rid")).eq(container_of(place.rid.clone())));
        select.and_where(Expr::col(("holder", "live")).eq(1)).cond_where(any);
        finds_a_row(select)
    }
}

impl Inward {
    /// The condition on the container at a place.
    pub(super) fn predicate(&self, place: &Place) -> Expr {
        let name = |letter: &str| Alias::new(format!("{letter}{}", place.depth + 1));
        let (points, listed) = (name("i"), name("l"));
        let inner = Place { rid: Expr::col((points.clone(), "target")), is_scanned: false, depth: place.depth + 1 };
        let mut select = Sql::select();
        select.expr(Expr::val(1)).from_as("index_reference", points.clone());
        let same = Expr::col((listed.clone(), "rid")).equals((points.clone(), "target"));
        select.join_as(sea_orm::JoinType::InnerJoin, "listing", listed.clone(), same);
        select.and_where(Expr::col((points.clone(), "rid")).eq(place.rid.clone()));
        select.and_where(Expr::col((points, "param")).eq(self.param));
        select.and_where(Expr::col((listed, "type_id")).eq(self.type_id));
        for condition in &self.conditions {
            select.and_where(condition.predicate(&inner));
        }
        finds_a_row(select)
    }
}

/// The row id of the container of a contained resource.
fn container_of(row_id: Expr) -> Expr {
    let (subtracted, divided) = TO_CONTAINER;
    row_id.sub(subtracted).div(divided)
}

/// That a resource points at a contained one of its own that satisfies the filters; nothing if none does. What cannot
/// be asked of contained resources, none satisfies.
pub(super) fn inward<'a, S: Session>(
    session: &'a mut S,
    view: &'a View,
    link: Link<'a>,
) -> BoxFuture<'a, Result<Option<Condition>, StoreError>> {
    Box::pin(async move {
        let type_id = contained_type(session.known().types.id(link.other_type));
        let mut any = Sql::select();
        any.expr(Expr::val(1)).from("listing").and_where(Expr::col("type_id").eq(type_id)).limit(1);
        if session.rows(&any).await?.is_empty() {
            return Ok(None);
        }
        let filters = link.filters.iter().map(|it| filter(link.other_type, it)).collect::<Option<Vec<_>>>();
        let Some(filters) = filters else { return Ok(None) };
        let scope = Scope { view: Some(view), resource_type: link.other_type, narrowed: None };
        let conditions = resolve_all(session, scope, &filters).await?;
        let anybodys = SearchView::of_any(session, view).await?;
        let Some(plan) = Plan::of_conditions(session, anybodys, type_id, conditions).await? else { return Ok(None) };
        let param = link.param.id.into_contained();
        let Some(rids) = plan.rids_up_to(session, NAMED).await? else {
            return Ok(Some(Condition::Inward(Box::new(Inward {
                param: param.0,
                type_id,
                conditions: plan.conditions,
            }))));
        };
        if rids.is_empty() {
            return Ok(None);
        }
        let param = Param { id: param, members: Vec::new(), ..link.param.clone() };
        let named = rids.into_iter().map(Alternative::Target).collect();
        Ok(Some(Condition::Any(Any::of(&param, named, false))))
    })
}

/// One page of contained resources, or of their containers, and of resources that stand by themselves if those are
/// asked for too.
pub(super) async fn search<S: Session>(
    session: &mut S,
    cursor: &Cursor,
    view: &View,
    (query, asked): (&Query, &Contained),
) -> Result<SearchPage, StoreError> {
    let queries = std::slice::from_ref(query);
    let mut position = query.cursor.as_deref().map(|text| cursor.open(text, view, queries)).transpose()?;
    if position.as_ref().is_some_and(|position| position.keys.len() != order::keys(&[]).len()) {
        return Err(StoreError::Cursor);
    }
    let Some(found) = candidates(session, view, query, asked).await? else {
        return Ok(SearchPage { total: query.total.then_some(0), ..SearchPage::default() });
    };
    let total = if query.total { Some(count(session, found.clone()).await?) } else { None };
    if query.count == 0 {
        return Ok(SearchPage { total, ..SearchPage::default() });
    }
    let mut rows = session.rows(&page(found.clone(), position.as_ref(), query.count + 1)).await?;
    if rows.is_empty() && position.take_if(|position| position.backwards).is_some() {
        // All that stood before is gone: what is left begins with the first page.
        rows = session.rows(&page(found, None, query.count + 1)).await?;
    }
    let turned = turn(&mut rows, query.count, position.as_ref(), |row: &Row| row.cells[RID + 1..].to_vec());
    let seal = |position: Position| cursor.seal(&position, view, queries);
    let (next, previous) = (turned.next.map(seal), turned.previous.map(seal));
    let rids = rows.iter().map(|row| row.i64(RID)).collect::<Result<Vec<_>, _>>()?;
    let (matches, containers) = read(session, view, &rids).await?;
    Ok(SearchPage { matches, included: Vec::new(), next, previous, total, containers })
}

/// Row id and chronology of every match.
async fn candidates<S: Session>(
    session: &mut S,
    view: &View,
    query: &Query,
    asked: &Contained,
) -> Result<Option<SelectStatement>, StoreError> {
    let mut parts = Vec::new();
    if let Some(plan) = plan(session, view, query, asked).await? {
        let mut select = Sql::select();
        let rid = Expr::col(("k", "rid"));
        select.expr_as(if asked.alone { rid } else { container_of(rid) }, "rid").column(("k", "chronology"));
        parts.push(select.distinct().from_subquery(plan.candidates(), "k").take());
    }
    if asked.both {
        let plan = Plan::new(session, view, &query.resource_type, &query.filters, &[]).await?;
        parts.extend(plan.map(|plan| plan.candidates()));
    }
    let mut parts = parts.into_iter();
    let Some(mut all) = parts.next() else { return Ok(None) };
    for part in parts {
        all.union(UnionType::Distinct, part);
    }
    Ok(Some(all))
}

/// How contained resources are found.
async fn plan<S: Session>(
    session: &mut S,
    view: &View,
    query: &Query,
    asked: &Contained,
) -> Result<Option<Plan>, StoreError> {
    let mut conditions = vec![Condition::Inside(Box::new(Inside::new(session, view, &asked.containers).await?))];
    let scope = Scope { view: Some(view), resource_type: &query.resource_type, narrowed: None };
    let filters = query.filters.iter().map(|it| filter(&query.resource_type, it)).collect::<Option<Vec<_>>>();
    let Some(filters) = filters else {
        return Err(StoreError::Unsupported("a condition cannot be asked of contained resources".into()));
    };
    conditions.extend(resolve_all(session, scope, &filters).await?);
    let type_id = contained_type(session.known().types.id(&query.resource_type));
    let anybodys = SearchView::of_any(session, view).await?;
    Plan::of_conditions(session, anybodys, type_id, conditions).await
}

/// `rid, keys…` of the page at a position, in order.
fn page(found: SelectStatement, position: Option<&Position>, limit: usize) -> SelectStatement {
    let keys = order::keys(&[]);
    let column = |index: usize| Expr::col(("c", if index == 0 { "chronology" } else { "rid" }));
    let mut select = Sql::select();
    select.column(("c", "rid")).column(("c", "chronology")).expr(column(1)).from_subquery(found, "c");
    if let Some(position) = position {
        select.cond_where(order::beyond(&keys, position, column));
    }
    let backwards = position.is_some_and(|position| position.backwards);
    for (index, key) in keys.iter().enumerate() {
        select.order_by_expr(column(index), order::direction(key, backwards));
    }
    select.limit(limit as u64).take()
}

/// The resources with these row ids, and the containers of those that are contained.
async fn read<S: Session>(
    session: &mut S,
    view: &View,
    rids: &[i64],
) -> Result<(Vec<Stored>, BTreeMap<usize, Stored>), StoreError> {
    let mut standing: Vec<i64> = rids.iter().map(|rid| container(*rid).map_or(*rid, |(rid, _)| rid)).collect();
    standing.sort_unstable();
    standing.dedup();
    // Through the view once more: what was found may have been changed since.
    let mut bodies = BTreeMap::new();
    include::load(session, view, &standing, &mut bodies).await?;
    let mut parsed: BTreeMap<i64, Json> = BTreeMap::new();
    let (mut matches, mut containers) = (Vec::new(), BTreeMap::new());
    for rid in rids {
        let (standing, place) = container(*rid).map_or((*rid, None), |(rid, place)| (rid, Some(place)));
        let Some(stored) = bodies.get(&standing) else { continue };
        let Some(place) = place else {
            matches.push(stored.clone());
            continue;
        };
        let resource = match parsed.entry(standing) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let resource = Json::parse(stored.body.as_bytes());
                new.insert(resource.map_err(|_error| StoreError::Schema(format!("resource {standing} is not JSON")))?)
            }
        };
        let Some(contained) = resource.list("contained").get(place) else { continue };
        containers.insert(matches.len(), stored.clone());
        let text = |name: &str| contained.str(name).unwrap_or_default().to_owned();
        matches.push(Stored {
            resource_type: text("resourceType"),
            id: text("id"),
            body: contained.to_string().into(),
            ..stored.clone()
        });
    }
    Ok((matches, containers))
}
