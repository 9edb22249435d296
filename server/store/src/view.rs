//! The view as a predicate inside the query, at one place. (Invariant 2; LK-01)

use std::sync::Arc;

use sea_orm::sea_query::{Cond, Expr, ExprTrait, Query};
use search::query::Filter;
use search::view::{Compartment, TypeRule, View};

use crate::error::StoreError;
use crate::resources::Stored;
use crate::search::condition::Condition;
use crate::session::Session;

/// A view of one type, with patients as numbers and filters resolved.
#[derive(Debug)]
pub(crate) struct ResolvedView {
    patients: Option<Vec<i64>>,
    unassigned: bool,
    /// Alternatives, each a conjunction; empty: the whole type.
    granular: Vec<Vec<Condition>>,
    filters: Vec<Vec<Filter>>,
    base: Arc<str>,
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
        let mut granular = Vec::new();
        for alternative in &filters {
            let mut conditions = Vec::new();
            for filter in alternative {
                conditions.push(Condition::resolve(session, resource_type, filter).await?);
            }
            granular.push(conditions);
        }
        let patients = match view.compartment() {
            Compartment::Everyone => None,
            Compartment::Patients(ids) => {
                let mut targets = Vec::new();
                for id in ids {
                    targets.extend(target(session, "Patient", id).await?);
                }
                Some(targets)
            }
        };
        let unassigned = search::compartment::is_shared(resource_type);
        Ok(Some(ResolvedView { patients, unassigned, granular, filters, base: session.known().base.clone() }))
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
            values.push(0);
        }
        Some(values)
    }

    /// What must hold of the resource whose row id is `rid` beyond the patient column of the row it was found by.
    pub(crate) fn granular_condition(&self, rid: &Expr) -> Option<Cond> {
        if self.granular.is_empty() {
            return None;
        }
        let alternative =
            |all: &Vec<Condition>| all.iter().fold(Cond::all(), |cond, condition| cond.add(condition.predicate(rid)));
        Some(self.granular.iter().fold(Cond::any(), |cond, all| cond.add(alternative(all))))
    }

    /// All of the view as a condition on a resource that was found without an index row.
    pub(crate) fn condition(&self, rid: &Expr) -> Cond {
        let mut cond = Cond::all();
        if let Some(values) = self.patient_values() {
            let mut listed = Query::select();
            listed.expr(Expr::val(1)).from_as("listing", "seen").and_where(Expr::col(("seen", "rid")).eq(rid.clone()));
            listed.and_where(Expr::col(("seen", "patient")).is_in(values));
            cond = cond.add(Expr::exists(listed));
        }
        if let Some(granular) = self.granular_condition(rid) {
            cond = cond.add(granular);
        }
        cond
    }
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
    rows.first().map(|row| row.i64(0)).transpose()
}
