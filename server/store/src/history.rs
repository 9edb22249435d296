//! Versions of one resource, of types, or of all, in the order in which they came. (LK-11, LK-12)
//! <https://hl7.org/fhir/R4/http.html#history>
//!
//! Each version is judged by itself: by the patients it had, and by the granular filters on its own content. Who may
//! see some patients' data only is led to it by `version_patient`, a range for each patient and type; nobody else's
//! versions are touched. Ranges are read with a limit each and merged.
//!
//! Histories of types end at the [horizon](crate::horizon): whatever becomes visible later is newer than all that was
//! shown. So pages have no gap, and `since` the last instant seen misses nothing.

use sea_orm::DbBackend;
use sea_orm::sea_query::{Cond, Expr, ExprTrait, Order, Query as Sql, SelectStatement, SimpleExpr, UnionType};
use search::query::Query;
use search::view::{Compartment, View};

use crate::Store;
use crate::body::text_of;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::keys::NOBODY;
use crate::resources::{AFTER_STORED, Stored, stored};
use crate::row::{Cell, Row};
use crate::search::order;
use crate::search::question::one_holds;
use crate::session::{SOON, Session};
use crate::view::ResolvedView;

mod count;
pub(crate) mod feed;
mod listed;
pub(crate) mod snapshot;

pub use listed::Listed;

/// Ranges that one statement merges; SQLite takes 500.
const RANGES_PER_STATEMENT: usize = 200;
/// Most ranges, which is patients times types.
const MOST_RANGES: usize = 10_000;
/// Versions whose content is asked for in one statement.
const BODIES_PER_STATEMENT: usize = 250;
/// Versions that are looked at together where not all of them will be shown.
const LOOKED_AT_ONCE: usize = 200;
/// Most versions that are looked at for one page.
const MOST_LOOKED_AT: usize = 100_000;

/// Whose history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryOf {
    /// One resource's.
    Instance {
        /// Resource type.
        resource_type: String,
        /// Logical id.
        id: String,
    },
    /// That of all resources of these types.
    Types(Vec<String>),
    /// Those of what a List names.
    Listed(Vec<Listed>),
}

/// A page to be read.
#[derive(Clone, Debug)]
pub struct HistoryQuery {
    /// Whose history.
    pub of: HistoryOf,
    /// Only versions made at or after this instant, microseconds since 1970.
    pub since: Option<i64>,
    /// Only versions that were current at some time between these instants, both included.
    pub at: Option<(i64, i64)>,
    /// Whether the oldest versions come first.
    pub oldest_first: bool,
    /// Most versions on the page; 0 asks for their number only.
    pub count: usize,
    /// Where the page begins: from [`HistoryPage::next`] or [`HistoryPage::previous`] of the same query.
    pub cursor: Option<String>,
}

/// A version in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The version.
    pub stored: Stored,
    /// Whether the resource was not there before: never, or it was deleted.
    pub created: bool,
}

/// A page of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// In the order that was asked for.
    pub versions: Vec<Version>,
    /// Cursor of the page after this one.
    pub next: Option<String>,
    /// Cursor of the page before this one.
    pub previous: Option<String>,
    /// Whether this page is all there is.
    pub is_all: bool,
    /// Number of versions, if only that was asked for.
    pub total: Option<u64>,
}

impl Store {
    /// One page of the versions that `view` shows.
    pub async fn history(&self, view: &View, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        let (view, query, cursor) = (view.clone(), query.clone(), self.cursor().clone());
        with_long_session!(self, session => history(session, &cursor, &view, &query).await)
    }
}

/// A version's place: all versions are ordered by it, and it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    last_updated: i64,
    rid: i64,
    version: i64,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
struct Start {
    after: Position,
    /// Whether the page lies before the position, not after it.
    back: bool,
}

/// Which of the versions in a range are asked for.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    low: i64,
    high: i64,
    after: Option<Position>,
    descending: bool,
    /// Versions that another took the place of at or before this instant are not asked for.
    current_after: Option<i64>,
}

/// A range of versions, ordered by position.
#[derive(Clone, Copy, Debug)]
enum Range {
    Resource(i64),
    Version { rid: i64, version: i64 },
    Type(i64),
    Patient { patient: i64, type_id: i64 },
}

/// What is looked through.
#[derive(Clone, Debug)]
struct Scope {
    ranges: Vec<Range>,
    views: Vec<(i64, ResolvedView)>,
}

async fn history<S: Session>(
    session: &mut S,
    cursor: &Cursor,
    view: &View,
    query: &HistoryQuery,
) -> Result<HistoryPage, StoreError> {
    let binding = binding(query);
    let start = query.cursor.as_deref().map(|text| cursor.open(text, view, &binding)).transpose()?;
    let start = start.map(|place| start_of(&place).ok_or(StoreError::Cursor)).transpose()?;
    let scope = Scope::resolve(session, view, &query.of).await?;
    let horizon = horizon(session, &query.of).await?;
    let back = start.is_some_and(|start| start.back);
    let bounds = Bounds {
        low: query.since.unwrap_or(i64::MIN),
        high: query.at.map_or(horizon, |(_, high)| Ord::min(high, horizon)),
        after: start.map(|start| start.after),
        descending: query.oldest_first == back,
        current_after: query.at.map(|(low, _)| low),
    };
    if query.count == 0 {
        return Ok(HistoryPage { total: Some(scope.count(session, bounds).await?), ..HistoryPage::default() });
    }
    let mut found = scope.visible(session, bounds, query.count + 1).await?;
    let more = found.len() > query.count;
    found.truncate(query.count);
    if back {
        found.reverse();
    }
    let seal = |place: Option<&(Position, Version)>, backwards: bool| {
        let (Position { last_updated, rid, version }, _) = place?;
        let keys = [*last_updated, *rid, *version].map(Cell::Integer).to_vec();
        Some(cursor.seal(&order::Position { keys, backwards }, view, &binding))
    };
    let (newer_is_there, older_is_there) = if back { (more, true) } else { (start.is_some(), more) };
    Ok(HistoryPage {
        next: if older_is_there { seal(found.last(), false) } else { None },
        previous: if newer_is_there { seal(found.first(), true) } else { None },
        is_all: start.is_none() && !more,
        total: None,
        versions: found.into_iter().map(|(_, version)| version).collect(),
    })
}

/// The last instant that is complete.
async fn horizon<S: Session>(session: &mut S, of: &HistoryOf) -> Result<i64, StoreError> {
    // Versions of one resource are made one after the other, and SQLite has one writer.
    if session.backend() == DbBackend::Sqlite || matches!(of, HistoryOf::Instance { .. }) {
        return Ok(i64::MAX);
    }
    let rows = session.rows(&crate::horizon::horizon()).await?;
    rows.first().map_or(Ok(i64::MAX), |row| row.i64(0).map(|instant| instant - 1))
}

/// What a cursor is bound to.
fn binding(query: &HistoryQuery) -> [Query; 1] {
    let applied = [
        ("_since", query.since.map(|since| since.to_string())),
        ("_at", query.at.map(|(low, high)| format!("{low} {high}"))),
        ("_sort", query.oldest_first.then(|| "_lastUpdated".to_owned())),
    ];
    let applied = applied.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    [Query { applied, ..Query::of(&format!("history {:?}", query.of), query.count) }]
}

fn start_of(place: &order::Position) -> Option<Start> {
    let [Cell::Integer(last_updated), Cell::Integer(rid), Cell::Integer(version)] = *place.keys.as_slice() else {
        return None;
    };
    Some(Start { after: Position { last_updated, rid, version }, back: place.backwards })
}

impl Scope {
    async fn resolve<S: Session>(session: &mut S, view: &View, of: &HistoryOf) -> Result<Self, StoreError> {
        let mut scope = Scope { ranges: Vec::new(), views: Vec::new() };
        let named;
        let types = match of {
            HistoryOf::Instance { resource_type, .. } => std::slice::from_ref(resource_type),
            HistoryOf::Types(types) => types.as_slice(),
            HistoryOf::Listed(listed) => {
                named = listed::types(listed);
                named.as_slice()
            }
        };
        if let (HistoryOf::Types(types), Compartment::Patients(patients)) = (of, view.compartment())
            && types.len() * (patients.len() + 1) > MOST_RANGES
        {
            let text = "the histories of so many patients cannot be merged for all types; ask for one type";
            return Err(StoreError::TooCostly(text.to_owned()));
        }
        for resource_type in types {
            let Some(view) = ResolvedView::new(session, view, resource_type).await? else { continue };
            let type_id = session.known().types.id(resource_type);
            match (of, view.patients()) {
                (HistoryOf::Instance { id, .. }, _) => {
                    let mut select = Sql::select();
                    select.column("rid").from("resource").and_where(Expr::col("type_id").eq(type_id));
                    select.and_where(Expr::col("id").eq(id));
                    for row in session.rows(&select).await? {
                        scope.ranges.push(Range::Resource(row.i64(0)?));
                    }
                }
                (HistoryOf::Listed(listed), _) => {
                    scope.ranges.extend(listed::ranges(session, (resource_type, type_id), listed).await?);
                }
                (HistoryOf::Types(_), None) => scope.ranges.push(Range::Type(type_id)),
                (HistoryOf::Types(_), Some(patients)) => {
                    let nobody = view.shows_unassigned().then_some(NOBODY);
                    let patients = patients.iter().copied().chain(nobody);
                    scope.ranges.extend(patients.map(|patient| Range::Patient { patient, type_id }));
                }
            }
            scope.views.push((type_id, view));
        }
        Ok(scope)
    }

    /// Up to `count` visible versions within the bounds, in order.
    async fn visible<S: Session>(
        &self,
        session: &mut S,
        mut bounds: Bounds,
        count: usize,
    ) -> Result<Vec<(Position, Version)>, StoreError> {
        let mut found = Vec::new();
        let mut looked_at = 0;
        while found.len() < count {
            let wanted = if self.shows_all(bounds) { count } else { Ord::max(count, LOOKED_AT_ONCE) };
            let positions = self.positions(session, bounds, wanted).await?;
            for candidate in candidates(session, &positions).await? {
                if found.len() < count && self.shows(session, &candidate, bounds).await? {
                    found.push((candidate.position, self.judged(candidate)));
                }
            }
            looked_at += positions.len();
            bounds.after = positions.last().copied().or(bounds.after);
            if positions.len() < wanted {
                break;
            }
            if looked_at > MOST_LOOKED_AT {
                let text = "too many versions have to be looked at for one page; narrow it with _since";
                return Err(StoreError::TooCostly(text.to_owned()));
            }
        }
        Ok(found)
    }

    /// Whether whatever stands in the ranges is shown.
    fn shows_all(&self, bounds: Bounds) -> bool {
        let led = |range: &Range| matches!(range, Range::Type(_) | Range::Patient { .. });
        bounds.current_after.is_none()
            && self.views.iter().all(|(_, view)| !view.is_granular())
            && (self.ranges.iter().all(led) || self.views.iter().all(|(_, view)| view.is_unrestricted()))
    }

    /// The first positions within the bounds, merged over all ranges.
    async fn positions<S: Session>(
        &self,
        session: &mut S,
        mut bounds: Bounds,
        count: usize,
    ) -> Result<Vec<Position>, StoreError> {
        // For who sees everything the database leaves out what was not current; for others a hidden successor does not
        // count, which the index does not know.
        if !self.views.iter().all(|(_, view)| view.is_unrestricted()) {
            bounds.current_after = None;
        }
        self.current(session, bounds, count).await
    }

    /// The same, where a successor counts whoever sees it.
    async fn current<S: Session>(
        &self,
        session: &mut S,
        bounds: Bounds,
        count: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let mut merged: Vec<Position> = Vec::new();
        for ranges in self.ranges.chunks(RANGES_PER_STATEMENT) {
            for row in session.rows(&merge(ranges, bounds, count)).await? {
                merged.push(Position { last_updated: row.i64(0)?, rid: row.i64(1)?, version: row.i64(2)? });
            }
            merged.sort_unstable();
            merged.dedup();
            if bounds.descending {
                merged.reverse();
            }
            merged.truncate(count);
        }
        Ok(merged)
    }

    fn view(&self, type_id: i64) -> Option<&ResolvedView> {
        self.views.iter().find(|(id, _)| *id == type_id).map(|(_, view)| view)
    }

    async fn shows<S: Session>(
        &self,
        session: &mut S,
        candidate: &Candidate,
        bounds: Bounds,
    ) -> Result<bool, StoreError> {
        let Some(view) = self.view(candidate.type_id) else { return Ok(false) };
        if session.is_late() {
            return Err(StoreError::took_longer_than(SOON));
        }
        if !holds(view, &candidate.patients) || !view.shows(&candidate.stored) {
            return Ok(false);
        }
        let Some(instant) = bounds.current_after else { return Ok(true) };
        if candidate.stored.deleted && candidate.stored.last_updated < instant {
            return Ok(false); // the deletion lies before: at that time there was nothing
        }
        Ok(view.is_unrestricted() || !superseded(session, view, candidate, instant).await?)
    }

    fn judged(&self, candidate: Candidate) -> Version {
        let deleted_before = match (&candidate.deleted_before, self.view(candidate.type_id)) {
            (Some(patients), Some(view)) => !view.is_granular() && holds(view, patients),
            _ => false,
        };
        let created = !candidate.stored.deleted && (candidate.stored.version == 1 || deleted_before);
        Version { stored: candidate.stored, created }
    }
}

/// Whether the view's compartment holds a version with these patients.
fn holds(view: &ResolvedView, patients: &str) -> bool {
    let Some(visible) = view.patients() else { return true };
    if patients.is_empty() {
        return view.shows_unassigned();
    }
    let mut numbers = patients.split(',').filter_map(|number| number.parse::<i64>().ok());
    numbers.any(|number| visible.contains(&number))
}

/// A version that may be shown.
struct Candidate {
    position: Position,
    stored: Stored,
    type_id: i64,
    patients: String,
    /// Patients of the version before, if that is a deletion.
    deleted_before: Option<String>,
}

/// Whether a version that the view shows took the candidate's place at or before `instant`.
async fn superseded<S: Session>(
    session: &mut S,
    view: &ResolvedView,
    candidate: &Candidate,
    instant: i64,
) -> Result<bool, StoreError> {
    let Position { rid, version, .. } = candidate.position;
    let mut select = Sql::select();
    select.columns(["last_updated", "version", "last_updated"]).expr(text_of("version"));
    select.columns(["method", "patients"]).from("version");
    select.and_where(Expr::col("rid").eq(rid)).and_where(Expr::col("version").gt(version));
    select.and_where(Expr::col("last_updated").lte(instant)).order_by("version", Order::Asc);
    for row in session.rows(&select).await? {
        let patients = row.text(5)?;
        let later = Stored {
            resource_type: candidate.stored.resource_type.clone(),
            id: candidate.stored.id.clone(),
            version: row.i64(1)?,
            last_updated: row.i64(2)?,
            deleted: row.i64(4)? == crate::resources::Method::Delete.number(),
            method: crate::resources::Method::of(row.i64(4)?)?,
            body: row.opt_text(3)?.unwrap_or_default().into(),
        };
        if holds(view, &patients) && view.shows(&later) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The contents at these positions, in their order.
async fn candidates<S: Session>(session: &mut S, positions: &[Position]) -> Result<Vec<Candidate>, StoreError> {
    let mut found = Vec::with_capacity(positions.len());
    for positions in positions.chunks(BODIES_PER_STATEMENT) {
        let one = |position: &Position| {
            let of_resource = Cond::all().add(Expr::col(("v", "rid")).eq(position.rid));
            of_resource.add(Expr::col(("v", "version")).eq(position.version))
        };
        let listed = one_holds(positions.iter().map(one).collect());
        let mut before = Sql::select();
        before.column(("b", "patients")).from_as("version", "b");
        before.and_where(Expr::col(("b", "rid")).equals(("v", "rid")));
        before.and_where(Expr::col(("b", "version")).eq(Expr::col(("v", "version")).sub(1)));
        before.and_where(Expr::col(("b", "body")).is_null());
        let mut select = Sql::select();
        select.columns([("r", "id"), ("v", "version"), ("v", "last_updated")]).expr(text_of("v"));
        select.columns([("v", "method"), ("v", "rid"), ("v", "type_id"), ("v", "patients")]);
        select.expr(SimpleExpr::SubQuery(None, Box::new(before.into())));
        let of_resource = Expr::col(("r", "rid")).equals(("v", "rid"));
        select.from_as("version", "v").join_as(sea_orm::JoinType::InnerJoin, "resource", "r", of_resource);
        let rows = session.rows(select.cond_where(listed)).await?;
        let mut contents = rows.into_iter().map(|row| candidate(session, row)).collect::<Result<Vec<_>, _>>()?;
        contents.sort_unstable_by_key(|candidate| candidate.position);
        let of = |position: &Position| contents.binary_search_by_key(position, |candidate| candidate.position).ok();
        let order: Vec<usize> = positions.iter().filter_map(of).collect();
        let mut contents: Vec<Option<Candidate>> = contents.into_iter().map(Some).collect();
        found.extend(order.into_iter().filter_map(|index| contents[index].take()));
    }
    Ok(found)
}

fn candidate<S: Session>(session: &S, row: Row) -> Result<Candidate, StoreError> {
    let (rid, type_id) = (row.i64(AFTER_STORED)?, row.i64(AFTER_STORED + 1)?);
    let (patients, deleted_before) = (row.text(AFTER_STORED + 2)?, row.opt_text(AFTER_STORED + 3)?);
    let stored = stored(row, session.known().types.name(type_id)?)?;
    let position = Position { last_updated: stored.last_updated, rid, version: stored.version };
    Ok(Candidate { position, stored, type_id, patients, deleted_before })
}

/// The first positions of several ranges together.
fn merge(ranges: &[Range], bounds: Bounds, count: usize) -> SelectStatement {
    let mut merged: Option<SelectStatement> = None;
    for range in ranges {
        let one = first_of(*range, bounds, count);
        if ranges.len() == 1 {
            return one;
        }
        // SQLite takes an order and a limit within a union only inside of a subquery.
        let mut wrapped = Sql::select();
        wrapped.columns(["last_updated", "rid", "version"]).from_subquery(one, "one");
        match &mut merged {
            None => merged = Some(wrapped),
            Some(merged) => drop(merged.union(UnionType::All, wrapped)),
        }
    }
    let mut select = Sql::select();
    // A version of several patients stands in a range of each.
    select.distinct().columns(["last_updated", "rid", "version"]);
    if let Some(merged) = merged {
        select.from_subquery(merged, "merged");
    }
    ordered(&mut select, bounds, count);
    select
}

/// The first positions of a range.
fn first_of(range: Range, bounds: Bounds, count: usize) -> SelectStatement {
    let mut select = Sql::select();
    select.columns([("v", "last_updated"), ("v", "rid"), ("v", "version")]);
    match range {
        Range::Resource(rid) => select.from_as("version", "v").and_where(Expr::col(("v", "rid")).eq(rid)),
        Range::Version { rid, version } => select
            .from_as("version", "v")
            .and_where(Expr::col(("v", "rid")).eq(rid))
            .and_where(Expr::col(("v", "version")).eq(version)),
        Range::Type(type_id) => select.from_as("version", "v").and_where(Expr::col(("v", "type_id")).eq(type_id)),
        Range::Patient { patient, type_id } => select
            .from_as("version_patient", "v")
            .and_where(Expr::col(("v", "patient")).eq(patient))
            .and_where(Expr::col(("v", "type_id")).eq(type_id)),
    };
    if bounds.low > i64::MIN {
        select.and_where(Expr::col(("v", "last_updated")).gte(bounds.low));
    }
    if bounds.high < i64::MAX {
        select.and_where(Expr::col(("v", "last_updated")).lte(bounds.high));
    }
    if let Some(after) = bounds.after {
        let place = Expr::tuple(["last_updated", "rid", "version"].map(|name| Expr::col(("v", name))));
        let after = Expr::tuple([after.last_updated, after.rid, after.version].map(Expr::val));
        select.and_where(if bounds.descending { place.lt(after) } else { place.gt(after) });
    }
    if let Some(instant) = bounds.current_after {
        let mut next = Sql::select();
        next.expr(Expr::val(1)).from_as("version", "n").and_where(Expr::col(("n", "rid")).equals(("v", "rid")));
        next.and_where(Expr::col(("n", "version")).eq(Expr::col(("v", "version")).add(1)));
        next.and_where(Expr::col(("n", "last_updated")).lte(instant));
        select.and_where(Expr::exists(next).not());
    }
    if let Range::Resource(_) = range {
        // Its versions are in the same order by their number, which has an index.
        let order = if bounds.descending { Order::Desc } else { Order::Asc };
        return select.order_by(("v", "version"), order).limit(count as u64).to_owned();
    }
    ordered(&mut select, bounds, count);
    select
}

fn ordered(select: &mut SelectStatement, bounds: Bounds, count: usize) {
    let order = if bounds.descending { Order::Desc } else { Order::Asc };
    for column in ["last_updated", "rid", "version"] {
        select.order_by(column, order.clone());
    }
    select.limit(count as u64);
}
