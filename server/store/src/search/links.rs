//! Chains and `_has`: conditions on the resources that a resource points at, or that point at it.
//! <https://hl7.org/fhir/R4/search.html#chaining> <https://hl7.org/fhir/R4/search.html#has>
//!
//! What they lead to is searched first. If that finds few, they are named in the outer statement, where they can
//! drive it; otherwise the outer statement asks each of its rows. Either way only what the view shows is passed
//! through. (LK-14)

use futures::future::BoxFuture;
use moka::sync::Cache;
use sea_orm::JoinType;
use sea_orm::sea_query::{Alias, DynIden, Expr, ExprTrait, IntoIden, Query as Sql, SelectStatement};
use search::canonical::stated;
use search::query::{Filter, Param, ParamKind};
use search::view::View;

use super::any::{Alternative, Any, is_listed, is_one_of, is_set};
use super::canonical::Names;
use super::condition::{Condition, Place};
use super::plan::Plan;
use super::question::finds_a_row;
use crate::error::StoreError;
use crate::session::Session;
use crate::view::SearchView;

/// Up to this many resources at the other end are named in the statement.
pub(super) const NAMED: usize = 1000;

/// The row of the other resource by which [`Linked::of_patient`] finds it.
const KEY_NAME: &str = "w";
const KEY: &str = "w1";

/// A resource that it points at, or that points at it, satisfies conditions.
#[derive(Clone, Debug)]
pub(crate) struct Linked {
    /// Name of the reference parameter, for people.
    pub(crate) code: String,
    param: i64,
    /// Whether the other resource points here.
    pub(crate) is_reverse: bool,
    /// Whether it points here as at the patient whose it is: then its index rows are among that patient's.
    is_of_patient: bool,
    /// Type of the other resource.
    type_id: i64,
    /// What holds of it.
    pub(crate) conditions: Vec<Condition>,
    view: SearchView,
    /// Where canonical URLs lead: what they mean at the other end, or where they lead back, at this one.
    names: Option<Names>,
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
        match self.key() {
            Some(key) if self.is_of_patient && place.depth == 0 => self.of_patient(place, key),
            _ => self.along(place),
        }
    }

    /// The condition on the other resource by which it is found: one that names values, of which an index has the rows of
    /// each patient together.
    fn key(&self) -> Option<&Any> {
        let exact = self.conditions.iter().filter(|condition| condition.is_scanned_exactly());
        let keys = exact.filter_map(|condition| if let Condition::Any(any) = condition { Some(any) } else { None });
        keys.into_iter().find(|any| any.is_ordered() && any.names_values())
    }

    /// Looks at the patient's rows with these values, not at all that refers to the patient: one patient with few such
    /// values and very many references would take as long as all others together.
    fn of_patient(&self, place: &Place, key: &Any) -> Expr {
        let mut patient = Sql::select();
        patient.column(("t1", "target")).from_as("resource", "r1");
        patient.join_as(JoinType::InnerJoin, "target", "t1", is_named("r1", "t1"));
        patient.and_where(Expr::col(("r1", "rid")).eq(place.rid.clone()));
        let mut refers = Sql::select();
        refers.expr(Expr::val(1)).from_as("index_reference", "x").and_where(Expr::col(("x", "param")).eq(self.param));
        refers.and_where(Expr::col(("x", "target")).equals((KEY, "patient")));
        for column in ["patient", "chronology", "rid"] {
            refers.and_where(Expr::col(("x", column)).equals((KEY, column)));
        }
        let mut select = Sql::select();
        select.expr(Expr::val(1)).from_as(key.table.name(), KEY).and_where(Expr::col((KEY, "param")).eq(key.param));
        select.cond_where(key.values(KEY)).and_where(finds_a_row(refers));
        select.and_where(Expr::col((KEY, "patient")).eq(Expr::SubQuery(None, Box::new(patient.into()))));
        let other = place.linked(KEY_NAME);
        select.cond_where(self.view.condition(&other));
        for condition in self.conditions.iter().filter(|condition| !condition.is_only(key)) {
            select.and_where(condition.predicate(&other));
        }
        finds_a_row(select)
    }

    /// Each resource that the references lead to is asked.
    fn along(&self, place: &Place) -> Expr {
        let mut select = Sql::select();
        select.expr(Expr::val(1));
        let other = match &self.names {
            Some(names) => names.join(&mut select, self.param, place, self.is_reverse),
            None => self.join_references(&mut select, place),
        };
        select.cond_where(self.view.condition(&other));
        for condition in &self.conditions {
            select.and_where(condition.predicate(&other));
        }
        finds_a_row(select)
    }

    /// From a place along its references; the place at the other end.
    fn join_references(&self, select: &mut SelectStatement, place: &Place) -> Place {
        let depth = place.depth + 1;
        let name = |letter: &str| Alias::new(format!("{letter}{depth}")).into_iden();
        let [x, t, r] = ["x", "t", "r"].map(name);
        select.from_as("resource", r.clone());
        join_ends(select, &x, &t, &r);
        select.and_where(Expr::col((x.clone(), "param")).eq(self.param));
        if self.is_reverse {
            select.and_where(Expr::col((r, "rid")).eq(place.rid.clone()));
            place.linked("x")
        } else {
            select.and_where(Expr::col((x, "rid")).eq(place.rid.clone()));
            select
                .and_where(Expr::col((r.clone(), "type_id")).eq(self.type_id))
                .and_where(is_set(Expr::col((r, "live"))));
            place.linked("r")
        }
    }
}

/// That a resource is what a target names.
pub(super) fn is_named(resource: impl IntoIden, target: impl IntoIden) -> Expr {
    let (resource, target) = (resource.into_iden(), target.into_iden());
    let same = |column: &'static str| Expr::col((resource.clone(), column)).equals((target.clone(), column));
    same("type_id").and(same("id"))
}

/// Resources `r`, the names `t` that references use for them, the references `x`.
fn join_ends(select: &mut SelectStatement, x: &DynIden, t: &DynIden, r: &DynIden) {
    select.join_as(JoinType::InnerJoin, "target", t.clone(), is_named(r.clone(), t.clone()));
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
        let crowd = Crowd::of(session, view, &link);
        let few = if crowd.is_known() { None } else { crowd.noted(plan.targets_up_to(session, NAMED).await?) };
        let Some(targets) = few else { return Ok(linked(plan, &link, false, false)) };
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
        let is_of_patient = link.param.compartment && own_type == session.known().types.id("Patient");
        let few = few_rids(session, view, &link, &plan).await?;
        let Some(sources) = few else { return Ok(linked(plan, &link, true, is_of_patient)) };
        let rids = pointed_at(session, &[link.param.id.0], &sources, Some(own_type)).await?;
        Ok(Condition::Rids { rids, how: "found through the resources that refer to them" })
    })
}

/// Row ids of what satisfies the conditions of a link, if they are no more than [`NAMED`].
pub(super) async fn few_rids<S: Session>(
    session: &mut S,
    view: &View,
    link: &Link<'_>,
    plan: &Plan,
) -> Result<Option<Vec<i64>>, StoreError> {
    let crowd = Crowd::of(session, view, link);
    Ok(if crowd.is_known() { None } else { crowd.noted(plan.rids_up_to(session, NAMED).await?) })
}

/// What was seen lately to satisfy the conditions of a link in numbers above [`NAMED`]: to look whether they still do costs
/// as much as the search itself. Either way of asking is right, so nothing depends on whether it is still so.
struct Crowd {
    seen: Cache<String, ()>,
    link: String,
}

impl Crowd {
    fn of<S: Session>(session: &mut S, view: &View, link: &Link<'_>) -> Self {
        let Link { param, other_type, filters } = link;
        Crowd {
            seen: session.known().crowds.clone(),
            link: format!("{:?} {other_type} {filters:?} {view:?}", param.id),
        }
    }

    fn is_known(&self) -> bool {
        self.seen.contains_key(&self.link)
    }

    /// What was found, where that is few: else it is a crowd from now on.
    fn noted(self, few: Option<Vec<i64>>) -> Option<Vec<i64>> {
        if few.is_none() {
            self.seen.insert(self.link, ());
        }
        few
    }
}

fn linked(plan: Plan, link: &Link<'_>, is_reverse: bool, is_of_patient: bool) -> Condition {
    let Plan { type_id, conditions, view, .. } = plan;
    let (code, param) = (link.param.code.clone(), link.param.id.0);
    Condition::Linked(Box::new(Linked {
        code,
        param,
        is_reverse,
        is_of_patient,
        type_id,
        conditions,
        view,
        names: None,
    }))
}

/// The same along canonical URLs.
pub(super) fn along_canonicals(plan: Plan, param: &Param, names: Names, is_reverse: bool) -> Condition {
    let Plan { type_id, conditions, view, .. } = plan;
    let (code, param) = (param.code.clone(), stated(param).id.0);
    let is_of_patient = false;
    let names = Some(names);
    Condition::Linked(Box::new(Linked { code, param, is_reverse, is_of_patient, type_id, conditions, view, names }))
}

/// Current resources, perhaps of one type only, that some resources point at by one of the parameters.
async fn pointed_at<S: Session>(
    session: &mut S,
    params: &[i64],
    sources: &[i64],
    type_id: Option<i64>,
) -> Result<Vec<i64>, StoreError> {
    if sources.is_empty() || params.is_empty() {
        return Ok(Vec::new());
    }
    let mut select = Sql::select();
    select.distinct().column(("r", "rid")).from_as("index_reference", "x");
    let target = Expr::col(("t", "target")).equals(("x", "target"));
    select.join_as(JoinType::InnerJoin, "target", "t", target);
    select.join_as(JoinType::InnerJoin, "resource", "r", is_named("r", "t"));
    select
        .and_where(is_listed(session.backend(), Expr::col(("x", "rid")), sources))
        .and_where(is_one_of(Expr::col(("x", "param")), params));
    select.and_where(is_set(Expr::col(("r", "live"))));
    if let Some(type_id) = type_id {
        select.and_where(Expr::col(("t", "type_id")).eq(type_id));
    }
    session.numbers(&select).await
}
