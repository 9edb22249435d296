//! Chains and `_has`: conditions on the resources that a resource points at, or that point at it.
//! <https://hl7.org/fhir/R4/search.html#chaining> <https://hl7.org/fhir/R4/search.html#has>
//!
//! What they lead to is searched first. If that finds few, they are named in the outer statement, where they can
//! drive it; otherwise the outer statement asks each of its rows. Either way only what the view shows is passed
//! through. (LK-14)

use futures::future::BoxFuture;
use sea_orm::JoinType;
use sea_orm::sea_query::{Alias, DynIden, Expr, ExprTrait, IntoIden, Query as Sql, SelectStatement};
use search::query::{Filter, Param, ParamKind};
use search::view::View;

use super::any::{Alternative, Any, is_one_of, is_set};
use super::condition::{Condition, Place};
use super::plan::Plan;
use super::question::finds_a_row;
use crate::error::StoreError;
use crate::session::Session;
use crate::view::SearchView;

/// Up to this many resources at the other end are named in the statement.
pub(super) const NAMED: usize = 1000;

/// A resource that it points at, or that points at it, satisfies conditions.
#[derive(Clone, Debug)]
pub(crate) struct Linked {
    /// Name of the reference parameter, for people.
    pub(crate) code: String,
    param: i64,
    /// Whether the other resource points here.
    pub(crate) is_reverse: bool,
    /// Type of the other resource.
    type_id: i64,
    /// What holds of it.
    pub(crate) conditions: Vec<Condition>,
    view: SearchView,
}

/// A link as it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    pub(super) param: &'a Param,
    /// Type of the resource at the other end.
    pub(super) other_type: &'a str,
    pub(super) filters: &'a [Filter],
}

impl Linked {
    /// The condition on the resource at a place.
    pub(super) fn predicate(&self, place: &Place) -> Expr {
        let depth = place.depth + 1;
        let name = |letter: &str| Alias::new(format!("{letter}{depth}")).into_iden();
        let [x, t, r] = ["x", "t", "r"].map(name);
        let mut select = Sql::select();
        select.expr(Expr::val(1)).from_as("resource", r.clone());
        join_ends(&mut select, &x, &t, &r);
        select.and_where(Expr::col((x.clone(), "param")).eq(self.param));
        let other = if self.is_reverse {
            select.and_where(Expr::col((r, "rid")).eq(place.rid.clone()));
            place.linked("x")
        } else {
            select.and_where(Expr::col((x, "rid")).eq(place.rid.clone()));
            select
                .and_where(Expr::col((r.clone(), "type_id")).eq(self.type_id))
                .and_where(is_set(Expr::col((r, "live"))));
            place.linked("r")
        };
        select.cond_where(self.view.condition(&other));
        for condition in &self.conditions {
            select.and_where(condition.predicate(&other));
        }
        finds_a_row(select)
    }
}

/// Resources `r`, the names `t` that references use for them, the references `x`.
fn join_ends(select: &mut SelectStatement, x: &DynIden, t: &DynIden, r: &DynIden) {
    let same = |column: &'static str| Expr::col((r.clone(), column)).equals((t.clone(), column));
    select.join_as(JoinType::InnerJoin, "target", t.clone(), same("type_id").and(same("id")));
    let target = Expr::col((x.clone(), "target")).equals((t.clone(), "target"));
    select.join_as(JoinType::InnerJoin, "index_reference", x.clone(), target);
}

/// The resource points at one that satisfies the filters.
pub(super) fn chain<'a, S: Session>(
    session: &'a mut S,
    view: &'a View,
    link: Link<'a>,
) -> BoxFuture<'a, Result<Condition, StoreError>> {
    Box::pin(async move {
        let Some(plan) = Plan::new(session, view, link.other_type, link.filters, &[]).await? else {
            return Ok(Condition::Nothing);
        };
        let Some(rids) = plan.few(session, NAMED).await? else { return Ok(linked(plan, &link, false)) };
        let targets = targets_of(session, &rids).await?;
        if targets.is_empty() {
            return Ok(Condition::Nothing);
        }
        let named = targets.iter().copied().map(Alternative::Target).collect();
        let param = Param { kind: ParamKind::Reference, ..link.param.clone() };
        let mut any = Any::of(&param, named, false);
        any.patients = Some(targets).filter(|_| param.compartment && link.other_type == "Patient");
        Ok(Condition::Any(any))
    })
}

/// A resource that satisfies the filters points at the resource, which is of the type numbered `own_type`.
pub(super) fn has<'a, S: Session>(
    session: &'a mut S,
    view: &'a View,
    link: Link<'a>,
    own_type: i64,
) -> BoxFuture<'a, Result<Condition, StoreError>> {
    Box::pin(async move {
        let Some(plan) = Plan::new(session, view, link.other_type, link.filters, &[]).await? else {
            return Ok(Condition::Nothing);
        };
        let Some(sources) = plan.few(session, NAMED).await? else { return Ok(linked(plan, &link, true)) };
        let rids = pointed_at(session, &[link.param.id.0], &sources, Some(own_type)).await?;
        Ok(Condition::Rids { rids, how: "found through the resources that refer to them" })
    })
}

fn linked(plan: Plan, link: &Link<'_>, is_reverse: bool) -> Condition {
    let Plan { type_id, conditions, view, .. } = plan;
    let (code, param) = (link.param.code.clone(), link.param.id.0);
    Condition::Linked(Box::new(Linked { code, param, is_reverse, type_id, conditions, view }))
}

/// The names that references use for resources, as far as anybody refers to them.
pub(super) async fn targets_of<S: Session>(session: &mut S, rids: &[i64]) -> Result<Vec<i64>, StoreError> {
    if rids.is_empty() {
        return Ok(Vec::new());
    }
    let same = |column: &'static str| Expr::col(("r", column)).equals(("t", column));
    let mut select = Sql::select();
    select.column(("t", "target")).from_as("resource", "r");
    select.join_as(JoinType::InnerJoin, "target", "t", same("type_id").and(same("id")));
    select.and_where(is_one_of(Expr::col(("r", "rid")), rids));
    session.rows(&select).await?.iter().map(|row| row.i64(0)).collect()
}

/// Current resources, perhaps of one type only, that some resources point at by one of the parameters.
pub(super) async fn pointed_at<S: Session>(
    session: &mut S,
    params: &[i64],
    sources: &[i64],
    type_id: Option<i64>,
) -> Result<Vec<i64>, StoreError> {
    if sources.is_empty() || params.is_empty() {
        return Ok(Vec::new());
    }
    let same = |column: &'static str| Expr::col(("r", column)).equals(("t", column));
    let mut select = Sql::select();
    select.distinct().column(("r", "rid")).from_as("index_reference", "x");
    let target = Expr::col(("t", "target")).equals(("x", "target"));
    select.join_as(JoinType::InnerJoin, "target", "t", target);
    select.join_as(JoinType::InnerJoin, "resource", "r", same("type_id").and(same("id")));
    select
        .and_where(is_one_of(Expr::col(("x", "rid")), sources))
        .and_where(is_one_of(Expr::col(("x", "param")), params));
    select.and_where(is_set(Expr::col(("r", "live"))));
    if let Some(type_id) = type_id {
        select.and_where(Expr::col(("t", "type_id")).eq(type_id));
    }
    session.rows(&select).await?.iter().map(|row| row.i64(0)).collect()
}
