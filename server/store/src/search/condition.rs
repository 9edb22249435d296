//! A filter with its texts resolved to numbers, as a predicate on a row id.

use sea_orm::sea_query::{Alias, Cond, Expr, ExprTrait, Query as Sql, SelectStatement};
use search::query::DateMatch;

use super::any::{Alternative, Any, date_matches, is_one_of, is_set, rows_of};
use super::contained::{Inside, Inward};
use super::links::Linked;
use super::question::{finds_a_row, one_holds};
use crate::index::Table;

/// Most ranges of which a page is merged.
pub(super) const MERGED: usize = 8;

/// One condition of a search.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// Nothing satisfies it.
    Nothing,
    /// Logical ids.
    Id {
        type_id: i64,
        ids: Vec<String>,
        /// Of Patients: their numbers, if all are known. Each is held by itself.
        patients: Option<Vec<i64>>,
    },
    LastUpdated {
        type_id: i64,
        dates: Vec<DateMatch>,
    },
    Missing {
        /// Name of the parameter, for people.
        code: String,
        table: Table,
        param: i64,
        /// Under which it stands that the element is there without a value.
        stated: i64,
        missing: bool,
    },
    Any(Any),
    /// Row ids that were found before, and how, for people.
    Rids {
        rids: Vec<i64>,
        how: &'static str,
    },
    /// It is contained in a resource that can be seen.
    Inside(Box<Inside>),
    /// It points at a contained resource of its own that satisfies conditions.
    Inward(Box<Inward>),
    /// A resource that it points at, or that points at it, satisfies conditions.
    Linked(Box<Linked>),
    All(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
}

/// The resource that a condition is asked about.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its row id.
    pub(crate) rid: Expr,
    /// Whether it is that of the scanned row `d`, which has the columns that every index row has.
    pub(crate) is_scanned: bool,
    /// How many links lead to it: names of tables differ by it, so that an inner one never hides an outer one.
    pub(crate) depth: usize,
}

impl Place {
    /// The scanned row.
    pub(crate) fn scanned() -> Self {
        Place { rid: Expr::col(("d", "rid")), is_scanned: true, depth: 0 }
    }

    /// A row id of the outermost statement.
    pub(crate) fn of(rid: Expr) -> Self {
        Place { rid, is_scanned: false, depth: 0 }
    }

    /// The row of the table `name` one link further.
    pub(crate) fn linked(&self, name: &str) -> Self {
        let depth = self.depth + 1;
        Place { rid: Expr::col((Alias::new(format!("{name}{depth}")), "rid")), is_scanned: false, depth }
    }
}

impl Condition {
    /// The condition on the resource at a place.
    pub(crate) fn predicate(&self, place: &Place) -> Expr {
        match self {
            Condition::Nothing => Expr::val(1).eq(0),
            Condition::Id { .. } => self.rows().map_or(Expr::val(1).eq(0), |rows| place.rid.clone().in_subquery(rows)),
            Condition::LastUpdated { dates, .. } => {
                let mut select = Sql::select();
                select
                    .expr(Expr::val(1))
                    .from_as("resource", "changed")
                    .and_where(Expr::col(("changed", "rid")).eq(place.rid.clone()))
                    .cond_where(updated("changed", dates));
                finds_a_row(select)
            }
            Condition::Missing { table, param, stated, missing, .. } => {
                let [value, stated] = [(*table, *param), (Table::Token, *stated)]
                    .map(|(table, param)| finds_a_row(rows_of(table, param, place)));
                if *missing { value.not().and(stated.not()) } else { Cond::any().add(value).add(stated).into() }
            }
            Condition::Any(any) => any.predicate(place),
            Condition::Rids { rids, .. } => is_one_of(place.rid.clone(), rids),
            Condition::Linked(linked) => linked.predicate(place),
            Condition::Inside(inside) => inside.predicate(place),
            Condition::Inward(inward) => inward.predicate(place),
            Condition::All(all) if all.is_empty() => Expr::val(1).eq(1),
            Condition::All(all) => all.iter().fold(Cond::all(), |cond, it| cond.add(it.predicate(place))).into(),
            Condition::Or(any) => one_holds(any.iter().map(|it| Cond::all().add(it.predicate(place))).collect()).into(),
            Condition::Not(inner) => Cond::all().add(inner.predicate(place)).not().into(),
        }
    }

    /// Patients of whom each match has at least one, so that a scan of their index rows alone misses nothing. None: the
    /// condition says nothing of patients. A match may have other patients too.
    pub(crate) fn patients(&self) -> Option<Vec<i64>> {
        match self {
            Condition::Nothing => Some(Vec::new()),
            Condition::Any(any) => any.patients.clone(),
            Condition::Id { patients, .. } => patients.clone(),
            // Each list is enough by itself. Who is in both is not: a resource may have one patient of each.
            Condition::All(all) => all.iter().filter_map(Condition::patients).min_by_key(Vec::len),
            Condition::Or(any) => {
                let each: Option<Vec<Vec<i64>>> = any.iter().map(Condition::patients).collect();
                each.map(|lists| lists.concat())
            }
            _ => None,
        }
    }

    /// The condition on a resource that this patient holds. None: all that the patient holds satisfies it. Where there can
    /// be exceptions, rows are asked one by one only if the patient has a resource by one of those other parameters.
    pub(crate) fn predicate_for(&self, place: &Place, patient: i64) -> Option<Expr> {
        let Some(others) = self.exceptions(patient) else { return Some(self.predicate(place)) };
        if others.is_empty() {
            return None;
        }
        let mut held = Sql::select();
        held.expr(Expr::val(1))
            .from_as(Table::Reference.name(), "h")
            .and_where(is_one_of(Expr::col(("h", "param")), &others));
        held.and_where(Expr::col(("h", "target")).eq(patient)).and_where(Expr::col(("h", "patient")).eq(patient));
        Some(Cond::any().add(finds_a_row(held).not()).add(self.predicate(place)).into())
    }

    /// Whether all that this patient holds satisfies it, by the definitions alone.
    pub(crate) fn has_no_exceptions(&self, patient: i64) -> bool {
        self.exceptions(patient).is_some_and(|exceptions| exceptions.is_empty())
    }

    /// The parameters by which a patient holds what does not satisfy it; none: that is not known.
    pub(crate) fn exceptions(&self, patient: i64) -> Option<Vec<i64>> {
        match self {
            Condition::Any(any) => {
                let is_patient = any.alternatives == [Alternative::Target(patient)] && !any.negated;
                any.other_compartment_params.clone().filter(|_| is_patient && any.patients.is_some())
            }
            // What each leaves out, all leave out.
            Condition::Or(any) => any.iter().filter_map(|it| it.exceptions(patient)).reduce(|mut left, others| {
                left.retain(|param| others.contains(param));
                left
            }),
            _ => None,
        }
    }

    /// Index rows that hold all that satisfies it, as ranges to be put together; none: no index has them.
    pub(crate) fn scans(&self) -> Option<Vec<&Any>> {
        match self {
            Condition::Any(any) if !any.negated => Some(vec![any]),
            Condition::All(all) => all.iter().find_map(Condition::scans),
            Condition::Or(any) => {
                let each: Option<Vec<Vec<&Any>>> = any.iter().map(Condition::scans).collect();
                each.map(|lists| lists.concat()).filter(|scans| (1..=MERGED).contains(&scans.len()))
            }
            _ => None,
        }
    }

    /// Whether the rows of [`scans`](Self::scans) hold nothing else.
    pub(crate) fn is_scanned_exactly(&self) -> bool {
        match self {
            Condition::Any(any) => !any.negated,
            Condition::Or(any) => any.iter().all(Condition::is_scanned_exactly),
            _ => false,
        }
    }

    /// Whether it is nothing but that.
    pub(crate) fn is_only(&self, key: &Any) -> bool {
        matches!(self, Condition::Any(any) if std::ptr::eq(any, key))
    }

    /// Row ids of all that satisfies it, if they are found without an index of values.
    pub(crate) fn rows(&self) -> Option<SelectStatement> {
        let mut select = Sql::select();
        select.column("rid").from("resource");
        match self {
            Condition::Id { type_id, ids, .. } => {
                select.and_where(Expr::col("type_id").eq(*type_id));
                select.and_where(Expr::col("id").is_in(ids.iter().map(String::as_str)));
            }
            Condition::LastUpdated { type_id, dates } => {
                select.and_where(Expr::col("type_id").eq(*type_id)).and_where(is_set(Expr::col("live")));
                select.cond_where(updated("resource", dates));
            }
            _ => return None,
        }
        Some(select)
    }
}

fn updated(alias: &'static str, dates: &[DateMatch]) -> Cond {
    let at = || Expr::col((alias, "last_updated"));
    one_holds(dates.iter().map(|date| date_matches(at(), at(), *date)).collect())
}
