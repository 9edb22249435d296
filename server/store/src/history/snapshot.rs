//! The state at an instant: the versions that were current then, whatever has been written since. (Decisions 10, 21)
//!
//! A state is read in pages, in the order of histories. As long as its instant lies before the
//! [horizon](crate::horizon), all pages are of one state, and a state read later of what changed since then has all
//! that this one lacks.

use sea_orm::sea_query::{Expr, ExprTrait as _, Query as Sql};
use search::view::{Compartment, View};

use super::feed::Place;
use super::{Bounds, Candidate, HistoryOf, Range, Scope, candidates, holds, horizon};
use crate::Store;
use crate::error::StoreError;
use crate::resources::Stored;
use crate::session::Session;
use crate::view::ResolvedView;

/// Patients whose versions one page merges.
const PATIENTS_AT_ONCE: usize = 200;
/// Ids that one statement looks for.
const IDS_AT_ONCE: usize = 500;

/// Some patients, ready to be asked for a part after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Their numbers as the targets of references, ascending.
    numbers: Vec<i64>,
}

/// Whose resources are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Among<'a> {
    /// All that the view holds.
    All,
    /// Those in the compartments of one part of these patients; what lies in several compartments is in one part only.
    Part(&'a Members, usize),
}

/// A page to be read.
#[derive(Clone, Copy, Debug)]
pub struct StateQuery<'a> {
    /// Resource type.
    pub resource_type: &'a str,
    /// Only what changed after this instant, microseconds since 1970.
    pub since: Option<i64>,
    /// Whose state it is, microseconds since 1970: not after [`Store::complete_until`].
    pub at: i64,
    /// Where the page begins.
    pub after: Option<Place>,
    /// Most versions that are looked at.
    pub count: usize,
}

/// A resource as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The version that was current; it may be a deletion.
    pub stored: Stored,
    /// Whether it is data of a patient.
    pub of_patient: bool,
}

/// A page of a state.
#[derive(Clone, Debug, Default)]
pub struct StatePage {
    /// What the view shows, oldest change first.
    pub held: Vec<Held>,
    /// Where the next page begins; none where this is the last.
    pub next: Option<Place>,
}

impl Members {
    /// How many parts they have.
    pub fn parts(&self) -> usize {
        self.numbers.len().div_ceil(PATIENTS_AT_ONCE)
    }

    fn part(&self, number: usize) -> &[i64] {
        self.numbers.chunks(PATIENTS_AT_ONCE).nth(number).unwrap_or_default()
    }

    /// Whether a version with these patients belongs to a part: that of the first of its patients who are members.
    fn own(&self, number: usize, patients: &str) -> bool {
        let numbers = patients.split(',').filter_map(|number| number.parse::<i64>().ok());
        let first = numbers.filter(|patient| self.numbers.binary_search(patient).is_ok()).min();
        first.is_some_and(|patient| self.part(number).binary_search(&patient).is_ok())
    }
}

impl Store {
    /// The last instant up to which nothing comes in between any more, microseconds since 1970. On SQLite, where
    /// versions are made one after the other, all instants are.
    pub async fn complete_until(&self) -> Result<i64, StoreError> {
        with_session!(self, session => horizon(session, &HistoryOf::Types(Vec::new())).await)
    }

    /// Those of these patients (logical ids) whom the view holds and anything refers to.
    pub async fn members(&self, view: &View, ids: &[String]) -> Result<Members, StoreError> {
        let view = view.clone().within(ids);
        let Compartment::Patients(ids) = view.compartment() else { return Ok(Members::default()) };
        let type_id = self.known().types.id("Patient");
        let mut numbers = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS_AT_ONCE) {
            let mut select = Sql::select();
            select.column("target").from("target").and_where(Expr::col("type_id").eq(type_id));
            select.and_where(Expr::col("id").is_in(ids.iter().map(String::as_str)));
            for row in self.rows(&select).await? {
                numbers.push(row.i64(0)?);
            }
        }
        numbers.sort_unstable();
        Ok(Members { numbers })
    }

    /// One page of the state of a type.
    pub async fn state(&self, view: &View, query: &StateQuery<'_>, among: Among<'_>) -> Result<StatePage, StoreError> {
        let (view, resource_type) = (view.clone(), query.resource_type.to_owned());
        let StateQuery { since, at, after, count, .. } = *query;
        let low = since.map_or(i64::MIN, |since| since.saturating_add(1));
        let after = after.map(|Place(after)| after);
        let bounds = Bounds { low, high: at, after, descending: false, current_after: Some(at) };
        let part = match among {
            Among::All => None,
            Among::Part(members, number) => Some((members.clone(), number)),
        };
        with_long_session!(self, session => {
            let Some(scope) = scope(session, &view, &resource_type, part.as_ref()).await? else {
                return Ok(StatePage::default());
            };
            let positions = scope.current(session, bounds, count).await?;
            let next = positions.last().copied().filter(|_| positions.len() >= count).map(Place);
            let mut found = candidates(session, &positions).await?;
            found.retain(|it| part.as_ref().is_none_or(|(members, number)| members.own(*number, &it.patients)));
            Ok(StatePage { held: scope.held(found), next })
        })
    }

    /// What these resources were at an instant; those that were not there, and deleted ones, are missing.
    pub async fn state_of(
        &self,
        view: &View,
        resource_type: &str,
        ids: &[String],
        at: i64,
    ) -> Result<Vec<Held>, StoreError> {
        let (view, resource_type, ids) = (view.clone(), resource_type.to_owned(), ids.to_vec());
        let bounds = Bounds { low: i64::MIN, high: at, after: None, descending: false, current_after: Some(at) };
        with_long_session!(self, session => {
            let Some(resolved) = ResolvedView::new(session, &view, &resource_type).await? else {
                return Ok(Vec::new());
            };
            let type_id = session.known().types.id(&resource_type);
            let mut scope = Scope { ranges: Vec::new(), views: vec![(type_id, resolved)] };
            for ids in ids.chunks(IDS_AT_ONCE) {
                let mut select = Sql::select();
                select.column("rid").from("resource").and_where(Expr::col("type_id").eq(type_id));
                select.and_where(Expr::col("id").is_in(ids.iter().map(String::as_str)));
                for row in session.rows(&select).await? {
                    scope.ranges.push(Range::Resource(row.i64(0)?));
                }
            }
            let positions = scope.current(session, bounds, ids.len()).await?;
            let mut held = scope.held(candidates(session, &positions).await?);
            held.retain(|it| !it.stored.deleted);
            Ok(held)
        })
    }
}

/// What is looked through; nothing where the view denies the type.
async fn scope<S: Session>(
    session: &mut S,
    view: &View,
    resource_type: &str,
    part: Option<&(Members, usize)>,
) -> Result<Option<Scope>, StoreError> {
    let Some((members, number)) = part else {
        let scope = Scope::resolve(session, view, &HistoryOf::Types(vec![resource_type.to_owned()])).await?;
        return Ok(Some(scope));
    };
    let Some(resolved) = ResolvedView::new(session, view, resource_type).await? else { return Ok(None) };
    let type_id = session.known().types.id(resource_type);
    let ranges = members.part(*number).iter().map(|patient| Range::Patient { patient: *patient, type_id }).collect();
    Ok(Some(Scope { ranges, views: vec![(type_id, resolved)] }))
}

impl Scope {
    fn held(&self, candidates: Vec<Candidate>) -> Vec<Held> {
        let visible = candidates.into_iter().filter(|candidate| {
            let view = self.view(candidate.type_id);
            view.is_some_and(|view| holds(view, &candidate.patients) && view.shows(&candidate.stored))
        });
        visible.map(|it| Held { of_patient: !it.patients.is_empty(), stored: it.stored }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_several_compartments_is_in_one_part() {
        let members = Members { numbers: (0..450).map(|number| number * 2).collect() };
        assert_eq!(members.parts(), 3);
        let parts = |patients: &str| (0..3).filter(|part| members.own(*part, patients)).collect::<Vec<_>>();
        assert_eq!(parts("0"), [0]);
        assert_eq!(parts("898,3"), [2]);
        assert_eq!(parts("898,400,2"), [0]);
        assert_eq!(parts("898,400,1"), [1]);
        assert!(parts("1").is_empty() && parts("").is_empty());
        assert_eq!(Members::default().parts(), 0);
    }
}
