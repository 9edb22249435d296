//! Chooses the condition that drives a search and writes the statement.

use std::borrow::Cow;

use sea_orm::JoinType;
use sea_orm::sea_query::{Alias, Cond, Expr, ExprTrait, Query as Sql, SelectStatement, UnionType};
use search::query::{Filter, Sort, SortBy};
use search::view::View;

use super::any::{Any, is_one_of, is_set};
use super::condition::{Condition, MERGED, Place};
use super::links::is_named;
use super::order::{self, Key, Position};
use super::resolve::{Scope, looks_at_resources, resolve};
use crate::error::StoreError;
use crate::index::Table;
use crate::resources::{AFTER_STORED, stored_columns};
use crate::row::{Cell, Row};
use crate::session::Session;
use crate::view::SearchView;

mod choose;

/// Position of the row id in the rows of [`Plan::page`]; the sort keys follow.
pub(crate) const RID_COLUMN: usize = AFTER_STORED;

/// A search, ready to be run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) type_id: i64,
    pub(super) conditions: Vec<Condition>,
    pub(super) driver: Driver,
    /// How many rows the probes found of a condition, by its position; what is missing was not probed.
    pub(super) estimates: Vec<(usize, u64)>,
    /// Values that the patient column may have; none: any.
    pub(super) patients: Option<Vec<i64>>,
    pub(super) view: SearchView,
    pub(super) keys: Vec<Key>,
    /// Whether the order is the one in which index rows stand.
    pub(super) in_natural_order: bool,
    /// Whether `_lastUpdated` is the only sort key.
    pub(super) by_update: bool,
}

/// The keys of a row of [`Plan::page`].
pub(super) fn keys_of(row: &Row) -> Vec<Cell> {
    keys_in(row).to_vec()
}

fn keys_in(row: &Row) -> &[Cell] {
    &row.cells[RID_COLUMN + 1..]
}

/// Which rows are scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// All resources of the type.
    Listing,
    /// The resources that the condition at this position names.
    Rows(usize),
    /// Index rows of the condition at this position.
    Index(usize),
}

impl Plan {
    /// Nothing if the view or the conditions leave nothing to find.
    pub(super) async fn new<S: Session>(
        session: &mut S,
        view: &View,
        resource_type: &str,
        filters: &[Filter],
        sort: &[Sort],
    ) -> Result<Option<Self>, StoreError> {
        let Some(search_view) = SearchView::new(session, view, resource_type).await? else { return Ok(None) };
        let mut plan = Plan {
            keys: order::keys(sort),
            in_natural_order: order::is_natural(sort),
            by_update: matches!(sort, [Sort { by: SortBy::LastUpdated, .. }]),
            ..Plan::of_view(search_view, session.known().types.id(resource_type))
        };
        let scope = Scope { view: Some(view), resource_type, narrowed: None };
        let (looking, indexed): (Vec<&Filter>, Vec<&Filter>) = filters.iter().partition(|it| looks_at_resources(it));
        for filter in indexed {
            plan.add(resolve(session, scope, filter).await?);
        }
        let mut chosen = plan.choose_driver(session).await?;
        for filter in looking {
            let Some(mut plan) = chosen else { return Ok(None) };
            let found = resolve(session, Scope { narrowed: Some(&plan), ..scope }, filter).await?;
            plan.add(found);
            chosen = plan.choose_driver(session).await?;
        }
        Ok(chosen)
    }

    /// What satisfies conditions among resources that are listed under a number; nothing if there is nothing to find.
    pub(super) async fn of_conditions<S: Session>(
        session: &mut S,
        view: SearchView,
        type_id: i64,
        conditions: Vec<Condition>,
    ) -> Result<Option<Self>, StoreError> {
        let mut plan = Plan::of_view(view, type_id);
        for condition in conditions {
            plan.add(condition);
        }
        plan.choose_driver(session).await
    }

    /// Everything that a view holds of what is listed under a number of a type.
    pub(crate) fn of_view(view: SearchView, type_id: i64) -> Self {
        Plan {
            type_id,
            conditions: Vec::new(),
            driver: Driver::Listing,
            estimates: Vec::new(),
            patients: view.patient_values(),
            view,
            keys: order::keys(&[]),
            in_natural_order: true,
            by_update: false,
        }
    }

    fn add(&mut self, condition: Condition) {
        match condition {
            Condition::All(all) => all.into_iter().for_each(|it| self.add(it)),
            other => self.conditions.push(other),
        }
    }

    /// The patient whose rows alone are looked at.
    pub(super) fn only_patient(&self) -> Option<i64> {
        match self.patients.as_deref() {
            Some([only]) => Some(*only),
            _ => None,
        }
    }

    /// Finds out whose rows can match, and which condition drives. None if nothing can be found.
    async fn choose_driver<S: Session>(mut self, session: &mut S) -> Result<Option<Self>, StoreError> {
        self.patients = patients(&self.view, &self.conditions);
        let impossible = |condition: &Condition| match condition {
            Condition::Nothing => true,
            Condition::Any(any) => any.is_impossible(),
            Condition::Rids { rids, .. } => rids.is_empty(),
            _ => false,
        };
        if self.patients.as_ref().is_some_and(Vec::is_empty) || self.conditions.iter().any(impossible) {
            return Ok(None);
        }
        self.estimates.clear();
        self.driver = self.best_driver(session).await?;
        Ok(Some(self))
    }

    /// Row ids of all matches, if they are no more than `most`.
    pub(super) async fn rids_up_to<S: Session>(
        &self,
        session: &mut S,
        most: usize,
    ) -> Result<Option<Vec<i64>>, StoreError> {
        let found = session.numbers(&self.first_rids(most)).await?;
        Ok(Some(found).filter(|found| found.len() <= most))
    }

    /// The names that references use for all matches, as far as anybody refers to them, if the matches are no more than
    /// `most`.
    pub(super) async fn targets_up_to<S: Session>(
        &self,
        session: &mut S,
        most: usize,
    ) -> Result<Option<Vec<i64>>, StoreError> {
        let mut select = Sql::select();
        select.column(("t", "target")).from_subquery(self.first_rids(most), "f");
        select.join_as(JoinType::InnerJoin, "resource", "r", Expr::col(("r", "rid")).equals(("f", "rid")));
        select.join_as(JoinType::LeftJoin, "target", "t", is_named("r", "t"));
        let rows = session.rows(&select).await?;
        if rows.len() > most {
            return Ok(None);
        }
        rows.iter().filter_map(|row| row.opt_i64(0).transpose()).collect::<Result<_, _>>().map(Some)
    }

    /// Row ids of up to `most` matches and of one more, which tells that there are more.
    fn first_rids(&self, most: usize) -> SelectStatement {
        let mut select = Sql::select();
        select.column(("s", "rid")).from_subquery(self.candidates(), "s").limit(most as u64 + 1).take()
    }

    /// Row id and chronology of every match.
    pub(super) fn candidates(&self) -> SelectStatement {
        let mut branches = self.branches().into_iter().map(|scan| self.rows_of(scan.as_deref(), None));
        let mut first = branches.next().unwrap_or_else(|| self.rows_of(None, None));
        for branch in branches {
            first.union(UnionType::Distinct, branch);
        }
        first
    }

    /// The page at `position`: `id, version, last_updated, number of the text, method, rid, keys…`, to be [arranged](Self::arrange).
    pub(super) fn page(&self, position: Option<&Position>, limit: usize) -> Result<SelectStatement, StoreError> {
        let mut select = Sql::select();
        stored_columns(&mut select, "r");
        select.column(("s", "rid")).from_subquery(self.cut(position, limit)?, "s");
        select.join_as(JoinType::InnerJoin, "resource", "r", Expr::col(("r", "rid")).equals(("s", "rid")));
        for index in 0..self.keys.len() {
            select.column(("s", order::alias(index)));
        }
        Ok(select)
    }

    /// Puts the rows of a page in order. The statement that reads them does not: an engine would carry their texts through
    /// its sorter, at half the cost of the whole search.
    pub(super) fn arrange(&self, rows: &mut [Row], position: Option<&Position>) {
        let backwards = position.is_some_and(|position| position.backwards);
        rows.sort_by(|left, right| order::compare(&self.keys, keys_in(left), keys_in(right), backwards));
    }

    /// Row ids and keys of that page, in no order: `rid, …, keys` with the keys by name.
    pub(super) fn cut(&self, position: Option<&Position>, limit: usize) -> Result<SelectStatement, StoreError> {
        if position.is_some_and(|position| position.keys.len() != self.keys.len()) {
            return Err(StoreError::Cursor);
        }
        Ok(if self.in_natural_order {
            self.natural_cut(position, limit)
        } else if self.by_update && self.driver == Driver::Listing {
            self.updated_cut(position, limit)
        } else {
            self.sorted_cut(position, limit)
        })
    }

    /// In the order of `_lastUpdated` over the whole type: an index of the resources stands in it.
    fn updated_cut(&self, position: Option<&Position>, limit: usize) -> SelectStatement {
        let mut select = self.rows_of(None, Some(Cond::all()));
        let same = Expr::col(("o", "rid")).equals(("d", "rid"));
        select.join_as(JoinType::InnerJoin, "resource", "o", same);
        select.and_where(Expr::col(("o", "type_id")).eq(self.type_id)).and_where(Expr::col(("o", "live")).eq(1));
        let column = |index: usize| Expr::col(("o", if index == 0 { "last_updated" } else { "rid" }));
        for index in 0..self.keys.len() {
            select.expr_as(column(index), order::alias(index));
        }
        if let Some(position) = position {
            select.cond_where(order::beyond(&self.keys, position, column));
        }
        self.in_order(&mut select, position, column);
        select.limit(limit as u64).take()
    }

    /// In the order of the index: each scan stops at the limit.
    fn natural_cut(&self, position: Option<&Position>, limit: usize) -> SelectStatement {
        let mut branches = Vec::new();
        for scan in self.split_branches() {
            let mut select = self.rows_of(scan.as_deref(), None);
            for (index, key) in self.keys.iter().enumerate() {
                select.expr_as(key.expr.clone(), order::alias(index));
            }
            let column = |index: usize| self.keys[index].expr.clone();
            if let Some(position) = position {
                select.cond_where(order::beyond(&self.keys, position, column));
            }
            // Named by column: the natural keys are columns of the scanned row, and the index is in their order.
            self.in_order(&mut select, position, column);
            select.limit(limit as u64);
            branches.push(select);
        }
        if branches.len() == 1 {
            return branches.remove(0);
        }
        // What is first of all is among the first of one of them.
        let mut merged: Option<SelectStatement> = None;
        for (number, branch) in branches.into_iter().enumerate() {
            let name = Alias::new(format!("b{number}"));
            let mut select = Sql::select();
            select.column((name.clone(), "rid"));
            for index in 0..self.keys.len() {
                select.column((name.clone(), order::alias(index)));
            }
            select.from_subquery(branch, name);
            match &mut merged {
                None => merged = Some(select),
                Some(merged) => {
                    merged.union(UnionType::Distinct, select);
                }
            }
        }
        self.first_of(merged.unwrap_or_default(), position, limit)
    }

    /// In any other order: the keys of all candidates are computed, then cut.
    fn sorted_cut(&self, position: Option<&Position>, limit: usize) -> SelectStatement {
        let mut keyed = Sql::select();
        keyed.column(("d", "rid")).from_subquery(self.candidates(), "d");
        for (index, key) in self.keys.iter().enumerate() {
            keyed.expr_as(key.expr.clone(), order::alias(index));
        }
        self.first_of(keyed, position, limit)
    }

    /// The first rows of a statement that names the row id and the keys.
    fn first_of(&self, rows: SelectStatement, position: Option<&Position>, limit: usize) -> SelectStatement {
        let mut select = Sql::select();
        select.column(("c", "rid")).from_subquery(rows, "c");
        let column = |index: usize| Expr::col(("c", order::alias(index)));
        for index in 0..self.keys.len() {
            select.column(("c", order::alias(index)));
        }
        if let Some(position) = position {
            select.cond_where(order::beyond(&self.keys, position, column));
        }
        self.in_order(&mut select, position, column);
        select.limit(limit as u64);
        select
    }

    fn in_order(&self, select: &mut SelectStatement, position: Option<&Position>, name: impl Fn(usize) -> Expr) {
        let backwards = position.is_some_and(|position| position.backwards);
        for (index, key) in self.keys.iter().enumerate() {
            select.order_by_expr(name(index), order::direction(key, backwards));
        }
    }

    /// What is scanned: one or several ranges of an index, or (none) the listing.
    fn branches(&self) -> Vec<Option<Cow<'_, Any>>> {
        match self.driver {
            Driver::Index(index) => {
                let scans = self.conditions[index].scans().unwrap_or_default();
                scans.into_iter().map(|any| Some(Cow::Borrowed(any))).collect()
            }
            Driver::Listing | Driver::Rows(_) => vec![None],
        }
    }

    /// The same as ranges that are in the natural order each, where that takes only a few.
    fn split_branches(&self) -> Vec<Option<Cow<'_, Any>>> {
        let branches = self.branches();
        if self.patients.as_ref().is_some_and(|patients| patients.len() > 1) {
            return branches;
        }
        let most = MERGED / branches.len().max(1);
        let split = |branch: Option<Cow<'_, Any>>| match branch {
            None => vec![None],
            Some(any) => any.split(most).into_iter().map(|any| Some(Cow::Owned(any))).collect(),
        };
        branches.into_iter().flat_map(split).collect()
    }

    /// Matches among the rows of an index, or (none) of the listing, which `narrowed` narrows if it is there.
    fn rows_of(&self, scan: Option<&Any>, narrowed: Option<Cond>) -> SelectStatement {
        let mut select = Sql::select();
        select.column(("d", "rid")).column(("d", "chronology"));
        let place = Place::scanned();
        if let Some(any) = scan {
            select.from_as(any.table.name(), "d").cond_where(self.scanned(any));
        } else {
            let asked = narrowed.unwrap_or_else(|| self.listed(&place));
            select.from_as(Table::Listing.name(), "d").cond_where(asked).cond_where(self.patient_column());
        }
        let single = scan.is_none_or(Any::is_single_value);
        if !single || self.patients.as_ref().is_some_and(|patients| patients.len() > 1) {
            select.distinct();
        }
        for (index, condition) in self.conditions.iter().enumerate() {
            let is_done = match self.driver {
                Driver::Listing => false,
                Driver::Rows(driver) => driver == index,
                Driver::Index(driver) => driver == index && condition.is_scanned_exactly(),
            };
            if is_done {
                continue;
            }
            let asked = match self.only_patient() {
                Some(patient) => condition.predicate_for(&place, patient),
                None => Some(condition.predicate(&place)),
            };
            select.cond_where(Cond::all().add_option(asked));
        }
        if let Some(granular) = self.view.granular_condition(&place) {
            select.cond_where(granular);
        }
        select
    }

    /// Which rows of the listing are scanned.
    fn listed(&self, place: &Place) -> Cond {
        Cond::all().add(match self.driver {
            // All of them are of the type: to say so again would offer the engine a worse way.
            Driver::Rows(index) => {
                let condition = &self.conditions[index];
                let named = condition.rows().map(|rows| place.rid.clone().in_subquery(rows));
                named.unwrap_or_else(|| condition.predicate(place))
            }
            _ => Expr::col(("d", "type_id")).eq(self.type_id),
        })
    }

    fn scanned(&self, any: &Any) -> Cond {
        Cond::all().add(Expr::col(("d", "param")).eq(any.param)).add(any.scanned_values()).add(self.patient_column())
    }

    /// The view's compartment, as a condition on the scanned row. Without one, each resource is seen once.
    fn patient_column(&self) -> Cond {
        match self.patients.as_deref() {
            None => Cond::all().add(is_set(Expr::col(("d", "lead")))),
            Some(patients) => Cond::all().add(is_one_of(Expr::col(("d", "patient")), patients)),
        }
    }
}

/// The patients among whose rows each match has one: those of the view, or of a condition that names fewer of them.
///
/// A resource may have several patients. Who is not in the view may still lead to one that is, so a condition narrows
/// the view only where it names nobody else; and two conditions may name one patient each of the same resource.
fn patients(view: &SearchView, conditions: &[Condition]) -> Option<Vec<i64>> {
    let visible = view.patient_values();
    let is_visible =
        |asked: &Vec<i64>| visible.as_ref().is_none_or(|visible| asked.iter().all(|patient| visible.contains(patient)));
    let asked = conditions.iter().filter_map(Condition::patients).filter(is_visible).map(|mut asked| {
        asked.sort_unstable();
        asked.dedup();
        asked
    });
    asked.min_by_key(Vec::len).or(visible)
}
