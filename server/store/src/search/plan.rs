//! Chooses the condition that drives a search and writes the statement.

use sea_orm::sea_query::{Cond, Expr, ExprTrait, Order, Query as Sql, SelectStatement};
use search::query::Query;
use search::view::View;

use super::condition::{Any, Condition};
use super::order::{self, Key};
use crate::error::StoreError;
use crate::index::Table;
use crate::row::{Cell, Row};
use crate::session::Session;
use crate::view::ResolvedView;

/// Position of the row id in the rows of [`Plan::page`]; the sort keys follow.
pub(super) const RID_COLUMN: usize = 5;
/// Candidates are counted up to here to choose among them: beyond it, all are equally bad.
const PROBE: u64 = 256;

/// A search, ready to be run.
#[derive(Debug)]
pub(super) struct Plan {
    type_id: i64,
    conditions: Vec<Condition>,
    driver: Driver,
    /// Values that the patient column may have; none: any.
    patients: Option<Vec<i64>>,
    view: ResolvedView,
    keys: Vec<Key>,
    natural: bool,
}

/// The position of a row of [`Plan::page`].
pub(super) fn position(row: &Row) -> Vec<Cell> {
    row.cells[RID_COLUMN + 1..].to_vec()
}

/// Which rows are scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    /// All resources of the type.
    Listing,
    /// The resources that the condition at this position names.
    Ids(usize),
    /// Index rows of the condition at this position.
    Index(usize),
}

impl Plan {
    /// Nothing if the view or the conditions leave nothing to find.
    pub(super) async fn new<S: Session>(
        session: &mut S,
        view: &View,
        query: &Query,
    ) -> Result<Option<Self>, StoreError> {
        let Some(view) = ResolvedView::new(session, view, &query.resource_type).await? else { return Ok(None) };
        let mut conditions = Vec::new();
        for filter in &query.filters {
            conditions.push(Condition::resolve(session, &query.resource_type, filter).await?);
        }
        let patients = patients(&view, &conditions);
        if patients.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let type_id = session.known().types.id(&query.resource_type);
        let (keys, natural) = (order::keys(&query.sort), order::is_natural(&query.sort));
        let mut plan = Plan { type_id, conditions, driver: Driver::Listing, patients, view, keys, natural };
        plan.driver = plan.choose(session).await?;
        Ok(Some(plan))
    }

    /// Row id and chronology of every match.
    pub(super) fn candidates(&self) -> SelectStatement {
        self.rows_of(self.driver)
    }

    /// The page after `position`: `id, version, last_updated, body, method, rid, keys…`.
    pub(super) fn page(&self, position: Option<&[Cell]>, limit: usize) -> Result<SelectStatement, StoreError> {
        if position.is_some_and(|position| position.len() != self.keys.len()) {
            return Err(StoreError::Cursor);
        }
        let cut = if self.natural { self.natural_cut(position) } else { self.sorted_cut(position) };
        let mut select = Sql::select();
        select.columns([("r", "id"), ("r", "version"), ("r", "last_updated"), ("r", "body")]);
        select.expr(Expr::val(2_i64)).column(("s", "rid"));
        let mut cut = cut;
        cut.limit(limit as u64);
        select.from_subquery(cut, "s");
        select.join_as(sea_orm::JoinType::InnerJoin, "resource", "r", Expr::col(("r", "rid")).equals(("s", "rid")));
        for (index, key) in self.keys.iter().enumerate() {
            select.column(("s", order::alias(index))).order_by(("s", order::alias(index)), order::direction(key));
        }
        Ok(select)
    }

    /// In the order of the index: the scan stops at the limit.
    fn natural_cut(&self, position: Option<&[Cell]>) -> SelectStatement {
        let mut select = self.candidates();
        for (index, key) in self.keys.iter().enumerate() {
            select.expr_as(key.expr.clone(), order::alias(index));
        }
        if let Some(position) = position {
            select.cond_where(order::after(&self.keys, position, |index| self.keys[index].expr.clone()));
        }
        // Named by column: the natural keys are columns of the scanned row, and the index is in their order.
        select.order_by(("d", "chronology"), Order::Desc).order_by(("d", "rid"), Order::Desc);
        select
    }

    /// In any other order: the keys of all candidates are computed, then cut.
    fn sorted_cut(&self, position: Option<&[Cell]>) -> SelectStatement {
        let mut keyed = Sql::select();
        keyed.column(("d", "rid")).from_subquery(self.candidates(), "d");
        for (index, key) in self.keys.iter().enumerate() {
            keyed.expr_as(key.expr.clone(), order::alias(index));
        }
        let mut select = Sql::select();
        select.column(("c", "rid")).from_subquery(keyed, "c");
        for (index, key) in self.keys.iter().enumerate() {
            select.column(("c", order::alias(index))).order_by(("c", order::alias(index)), order::direction(key));
        }
        if let Some(position) = position {
            select.cond_where(order::after(&self.keys, position, |index| Expr::col(("c", order::alias(index)))));
        }
        select
    }

    async fn choose<S: Session>(&self, session: &mut S) -> Result<Driver, StoreError> {
        if let Some(index) = self.conditions.iter().position(|condition| matches!(condition, Condition::Id { .. })) {
            return Ok(Driver::Ids(index));
        }
        let drives = |(index, condition): (usize, &Condition)| match condition {
            Condition::Any(any) if !any.negated => Some((index, any.table)),
            _ => None,
        };
        let candidates: Vec<(usize, Table)> = self.conditions.iter().enumerate().filter_map(drives).collect();
        if let [] | [(_, Table::Token | Table::Reference | Table::Uri)] = candidates.as_slice() {
            return Ok(candidates.first().map_or(Driver::Listing, |(index, _)| Driver::Index(*index)));
        }
        let mut best = (u64::MAX, Driver::Listing);
        for (index, table) in candidates {
            let found = self.probe(session, index).await?;
            // Rows of these stand in the natural order, others would all have to be sorted.
            let ordered = matches!(table, Table::Token | Table::Reference);
            let cost = if found < PROBE { found } else { PROBE + u64::from(!ordered) };
            if cost < best.0 {
                best = (cost, Driver::Index(index));
            }
        }
        // Many values and no order: for a page in natural order the listing is no worse, and stops early.
        Ok(if best.0 > PROBE && self.natural { Driver::Listing } else { best.1 })
    }

    async fn probe<S: Session>(&self, session: &mut S, index: usize) -> Result<u64, StoreError> {
        let Condition::Any(any) = &self.conditions[index] else { return Ok(PROBE) };
        let mut rows = Sql::select();
        rows.expr_as(Expr::val(1), "one").from_as(any.table.name(), "d").cond_where(self.scanned(any)).limit(PROBE);
        let mut select = Sql::select();
        select.expr(Expr::col("one").count()).from_subquery(rows, "probe");
        let found = session.rows(&select).await?;
        found.first().map_or(Ok(0), |row| row.i64(0)).map(|count| u64::try_from(count).unwrap_or(0))
    }

    fn rows_of(&self, driver: Driver) -> SelectStatement {
        let mut select = Sql::select();
        select.column(("d", "rid")).column(("d", "chronology"));
        let (table, asked, single) = match driver {
            Driver::Listing => (Table::Listing, Cond::all().add(Expr::col(("d", "type_id")).eq(self.type_id)), true),
            Driver::Ids(index) => {
                (Table::Listing, Cond::all().add(self.conditions[index].predicate(&Expr::col(("d", "rid")))), true)
            }
            Driver::Index(index) => match &self.conditions[index] {
                Condition::Any(any) => (any.table, self.scanned(any), any.is_single_value()),
                other => (Table::Listing, Cond::all().add(other.predicate(&Expr::col(("d", "rid")))), true),
            },
        };
        select.from_as(table.name(), "d").cond_where(asked);
        if driver == Driver::Listing || matches!(driver, Driver::Ids(_)) {
            select.cond_where(self.patient_column());
        }
        if !single || self.patients.as_ref().is_some_and(|patients| patients.len() > 1) {
            select.distinct();
        }
        let rid = Expr::col(("d", "rid"));
        for (index, condition) in self.conditions.iter().enumerate() {
            if driver != Driver::Index(index) && driver != Driver::Ids(index) {
                select.and_where(condition.predicate_beside_scanned());
            }
        }
        if let Some(granular) = self.view.granular_condition(&rid) {
            select.cond_where(granular);
        }
        select
    }

    fn scanned(&self, any: &Any) -> Cond {
        Cond::all().add(Expr::col(("d", "param")).eq(any.param)).add(any.values("d")).add(self.patient_column())
    }

    /// The view's compartment, as a condition on the scanned row. Without one, each resource is seen once.
    fn patient_column(&self) -> Cond {
        match self.patients.as_deref() {
            None => Cond::all().add(Expr::col(("d", "lead")).eq(1)),
            Some([only]) => Cond::all().add(Expr::col(("d", "patient")).eq(*only)),
            Some(several) => Cond::all().add(Expr::col(("d", "patient")).is_in(several.iter().copied())),
        }
    }
}

/// The patients whose rows can match: those of the view, narrowed by conditions that name patients.
fn patients(view: &ResolvedView, conditions: &[Condition]) -> Option<Vec<i64>> {
    let mut patients = view.patient_values();
    for condition in conditions {
        if let Condition::Any(Any { patients: Some(asked), .. }) = condition {
            patients = Some(match patients {
                None => asked.clone(),
                Some(held) => held.into_iter().filter(|patient| asked.contains(patient)).collect(),
            });
        }
    }
    if let Some(patients) = &mut patients {
        patients.sort_unstable();
        patients.dedup();
    }
    patients
}
