//! The view as a predicate inside the query, at one place. (Invariant 2; LK-01)
//!
//! It and the search know each other: rules about types are search filters, so they become conditions as those of a search
//! do, and every plan carries the view that stands in its statement.

use std::sync::Arc;

use sea_orm::sea_query::{Cond, Expr, ExprTrait, Query};
use search::query::Filter;
use search::view::{Compartment, TypeRule, View};

use crate::error::StoreError;
use crate::keys::NOBODY;
use crate::resources::Stored;
use crate::search::any::is_one_of;
use crate::search::condition::{Condition, Place};
use crate::search::plan::Plan;
use crate::search::question::finds_a_row;
use crate::search::resolve::{Scope, looks_at_resources, resolve};
use crate::session::Session;

/// A view of one type, with patients as numbers.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedView {
    patients: Option<Vec<i64>>,
    unassigned: bool,
    /// Alternatives, each a conjunction; empty: the whole type.
    filters: Vec<Vec<Filter>>,
    base: Arc<str>,
}

/// The same as a condition inside a statement.
#[derive(Clone, Debug)]
pub(crate) struct SearchView {
    view: ResolvedView,
    /// The filters of the view, alternatives of conjunctions.
    granular: Vec<Vec<Condition>>,
}

impl ResolvedView {
    /// Nothing if the view denies the type.
    pub(crate) async fn new<S: Session>(
        session: &mut S,
        view: &View,
        resource_type: &str,
    ) -> Result<Option<Self>, StoreError> {
        let filters = match view.rule(resource_type) {
            TypeRule::Denied => return Ok(None),
            TypeRule::Whole => Vec::new(),
            TypeRule::Granular(alternatives) => alternatives.clone(),
        };
        let patients = patients_of(session, view).await?;
        let unassigned = search::compartment::is_shared(resource_type);
        Ok(Some(ResolvedView { patients, unassigned, filters, base: session.known().base.clone() }))
    }

    /// Targets that are the patients whose data is visible; none: everyone's.
    pub(crate) fn patients(&self) -> Option<&[i64]> {
        self.patients.as_deref()
    }

    /// Whether data of no patient is visible.
    pub(crate) fn shows_unassigned(&self) -> bool {
        self.unassigned
    }

    pub(crate) fn is_granular(&self) -> bool {
        !self.filters.is_empty()
    }

    pub(crate) fn is_unrestricted(&self) -> bool {
        self.patients.is_none() && self.filters.is_empty()
    }

    /// Whether the granular filters let this version through.
    pub(crate) fn shows(&self, stored: &Stored) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let Ok(resource) = fhir::json::Json::parse(stored.body.as_bytes()) else { return false };
        self.filters.iter().any(|all| all.iter().all(|filter| search::filter::matches(filter, &resource, &self.base)))
    }

    /// The `patient` values that an index row may have; none: any.
    pub(crate) fn patient_values(&self) -> Option<Vec<i64>> {
        let mut values = self.patients.clone()?;
        if self.unassigned {
            values.push(NOBODY);
        }
        Some(values)
    }
}

impl SearchView {
    /// Nothing if the view denies the type.
    pub(crate) async fn new<S: Session>(
        session: &mut S,
        view: &View,
        resource_type: &str,
    ) -> Result<Option<Self>, StoreError> {
        let Some(view) = ResolvedView::new(session, view, resource_type).await? else { return Ok(None) };
        let mut found = SearchView { granular: Vec::new(), view };
        if !found.view.is_granular() {
            return Ok(Some(found));
        }
        // A rule on a parameter whose index is not complete is decided on everything that the compartment holds.
        let looks = found.view.filters.iter().flatten().any(looks_at_resources);
        let type_id = session.known().types.id(resource_type);
        let narrowed = looks.then(|| Plan::of_view(found.clone(), type_id));
        let scope = Scope { view: None, resource_type, narrowed: narrowed.as_ref() };
        for alternative in found.view.filters.clone() {
            let mut conditions = Vec::new();
            for filter in &alternative {
                conditions.push(resolve(session, scope, filter).await?);
            }
            found.granular.push(conditions);
        }
        Ok(Some(found))
    }

    /// The compartment of the view without its rules about types: for contained resources, which are visible as far as
    /// their container is.
    pub(crate) async fn of_any<S: Session>(session: &mut S, view: &View) -> Result<Self, StoreError> {
        let patients = patients_of(session, view).await?;
        let view = ResolvedView { patients, unassigned: true, filters: Vec::new(), base: session.known().base.clone() };
        Ok(SearchView { granular: Vec::new(), view })
    }

    /// The `patient` values that an index row may have; none: any.
    pub(crate) fn patient_values(&self) -> Option<Vec<i64>> {
        self.view.patient_values()
    }

    /// What must hold of a resource beyond the patient column of the row it was found by.
    pub(crate) fn granular_condition(&self, place: &Place) -> Option<Cond> {
        if self.granular.is_empty() {
            return None;
        }
        let patients = self.patient_values();
        let predicate = |condition: &Condition| match condition {
            Condition::Any(any) => any.predicate_among(place, patients.as_deref()),
            other => other.predicate(place),
        };
        let alternative =
            |all: &Vec<Condition>| all.iter().fold(Cond::all(), |cond, condition| cond.add(predicate(condition)));
        Some(self.granular.iter().fold(Cond::any(), |cond, all| cond.add(alternative(all))))
    }

    /// All of the view as a condition on a resource that was found without an index row.
    pub(crate) fn condition(&self, place: &Place) -> Cond {
        let mut cond = Cond::all();
        if let Some(values) = self.patient_values() {
            let mut listed = Query::select();
            let same = Expr::col(("seen", "rid")).eq(place.rid.clone());
            listed.expr(Expr::val(1)).from_as("listing", "seen").and_where(same);
            listed.and_where(is_one_of(Expr::col(("seen", "patient")), &values));
            cond = cond.add(finds_a_row(listed));
        }
        if let Some(granular) = self.granular_condition(place) {
            cond = cond.add(granular);
        }
        cond
    }
}

/// Targets that are the patients whose data is visible; none: everyone's.
pub(crate) async fn patients_of<S: Session>(session: &mut S, view: &View) -> Result<Option<Vec<i64>>, StoreError> {
    let Compartment::Patients(ids) = view.compartment() else { return Ok(None) };
    let mut targets = Vec::new();
    for id in ids {
        targets.extend(target(session, "Patient", id).await?);
    }
    Ok(Some(targets))
}

/// Number of a resource as the target of references; nothing if nobody refers to it.
pub(crate) async fn target<S: Session>(
    session: &mut S,
    resource_type: &str,
    id: &str,
) -> Result<Option<i64>, StoreError> {
    let key = (session.known().types.id(resource_type), id.to_owned());
    if let Some(target) = session.recent_target(&key) {
        return Ok(Some(target));
    }
    let mut select = Query::select();
    select.column("target").from("target").and_where(Expr::col("type_id").eq(key.0)).and_where(Expr::col("id").eq(id));
    let rows = session.rows(&select).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let target = row.i64(0)?;
    session.remember_target(key, target);
    Ok(Some(target))
}
