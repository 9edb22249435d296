//! Reading the trail, newest first or oldest first, a page at a time.

use std::sync::Arc;
use std::time::Instant;

use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Order, Query, SelectStatement};
use search::query::Query as Bound;
use search::view::{Compartment, View};

use super::filter::Filter;
use super::{COLUMNS, Event};
use crate::error::StoreError;
use crate::row::Cell;
use crate::search::order::Position;
use crate::session::{Session, SqliteSession};
use crate::{Executor, SEARCH_LIMIT, Store};

/// Looks at an event where no column tells: whether it is asked for.
pub type Check = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

/// Events that are looked at together.
const CHUNK: usize = 500;

/// A page to be read.
#[derive(Clone, Debug)]
pub struct TrailQuery {
    /// All of these hold.
    pub filters: Vec<Filter>,
    /// The parameters that took effect, to which a cursor is bound.
    pub applied: Vec<(String, String)>,
    /// Whether the oldest events come first.
    pub oldest_first: bool,
    /// Most events on the page; 0 only counts.
    pub count: usize,
    /// Where the page begins.
    pub cursor: Option<String>,
    /// Whether all are counted.
    pub total: bool,
}

/// A page of events.
#[derive(Clone, Debug, Default)]
pub struct TrailPage {
    /// In the order that was asked for.
    pub events: Vec<Event>,
    /// Cursor of the page after this one.
    pub next: Option<String>,
    /// Cursor of the page before this one.
    pub previous: Option<String>,
    /// How many there are, if that was asked.
    pub total: Option<u64>,
}

/// Where a page begins.
#[derive(Clone, Copy)]
struct Start {
    id: [u8; 16],
    back: bool,
}

impl Store {
    /// One page of the events that `view` shows: of a view of patients, those that are about one of them.
    pub async fn trail(&self, view: &View, query: &TrailQuery) -> Result<TrailPage, StoreError> {
        self.trail_that(view, query, None).await
    }

    /// The same of those that pass a check, too.
    pub async fn trail_that(
        &self,
        view: &View,
        query: &TrailQuery,
        check: Option<&Check>,
    ) -> Result<TrailPage, StoreError> {
        let binding = [Bound {
            applied: query.applied.clone(),
            ..Bound::of(&format!("trail {}", query.oldest_first), query.count)
        }];
        let start = query.cursor.as_deref().map(|text| {
            let place = self.cursor().open(text, view, &binding)?;
            start_of(&place).ok_or(StoreError::Cursor)
        });
        let start = start.transpose()?;
        let condition = condition(&query.filters, view.compartment());
        let total = match (query.total, check) {
            (false, _) => None,
            (true, None) => Some(self.count_events(&condition).await?),
            (true, Some(check)) => Some(self.count_checked(&condition, check).await?),
        };
        if query.count == 0 {
            return Ok(TrailPage { total, ..TrailPage::default() });
        }
        let back = start.as_ref().is_some_and(|start| start.back);
        let walk = Walk { condition: &condition, ascending: query.oldest_first != back };
        let start_id = start.as_ref().map(|start| start.id);
        let mut events = match check {
            None => self.events(&walk, start_id, query.count + 1).await?,
            Some(check) => self.checked(&walk, start_id, query.count + 1, check).await?,
        };
        let more = events.len() > query.count;
        events.truncate(query.count);
        if back {
            events.reverse();
        }
        let seal = |event: Option<&Event>, backwards| {
            let keys = vec![Cell::Text(fhir::hexadecimal(&event?.id))];
            Some(self.cursor().seal(&Position { keys, backwards }, view, &binding))
        };
        let (before, after) = if back { (more, true) } else { (start.is_some(), more) };
        let next = if after { seal(events.last(), false) } else { None };
        let previous = if before { seal(events.first(), true) } else { None };
        Ok(TrailPage { events, next, previous, total })
    }

    /// The first events behind a place.
    async fn events(&self, walk: &Walk<'_>, start: Option<[u8; 16]>, most: usize) -> Result<Vec<Event>, StoreError> {
        let rows = self.trail_rows(&walk.page(start, most)).await?;
        let mut events = rows.iter().map(Event::read).collect::<Result<Vec<_>, _>>()?;
        let ascending = walk.ascending;
        events.sort_unstable_by(|one, other| if ascending { one.id.cmp(&other.id) } else { other.id.cmp(&one.id) });
        events.truncate(most);
        Ok(events)
    }

    /// The first events behind a place that pass the check.
    async fn checked(
        &self,
        walk: &Walk<'_>,
        start: Option<[u8; 16]>,
        most: usize,
        check: &Check,
    ) -> Result<Vec<Event>, StoreError> {
        let mut found = Vec::new();
        let looked = self.look_through(walk, start, check, |events| {
            found.extend(events);
            found.len() < most
        });
        looked.await?;
        found.truncate(most);
        Ok(found)
    }

    async fn count_checked(&self, condition: &Cond, check: &Check) -> Result<u64, StoreError> {
        let mut count = 0;
        let walk = Walk { condition, ascending: false };
        let looked = self.look_through(&walk, None, check, |events| {
            count += events.len() as u64;
            true
        });
        looked.await?;
        Ok(count)
    }

    /// Hands over events that pass the check, some at a time, until no more are wanted.
    async fn look_through(
        &self,
        walk: &Walk<'_>,
        mut start: Option<[u8; 16]>,
        check: &Check,
        mut wants_more: impl FnMut(Vec<Event>) -> bool,
    ) -> Result<(), StoreError> {
        let (begin, limit) = (Instant::now(), self.known().search_limit);
        loop {
            let mut events = self.events(walk, start, CHUNK).await?;
            let is_last = events.len() < CHUNK;
            start = events.last().map(|event| event.id);
            let check = Check::clone(check);
            let passed = tokio::task::spawn_blocking(move || {
                events.retain(|event| check(event));
                events
            });
            let passed = passed.await.map_err(|_panicked| StoreError::Stopped)?;
            if !wants_more(passed) || is_last {
                return Ok(());
            }
            if begin.elapsed() > limit {
                return Err(StoreError::took_longer_than(limit));
            }
        }
    }

    async fn count_events(&self, condition: &Cond) -> Result<u64, StoreError> {
        let mut count = Query::select();
        count.expr(Expr::col("id").count()).from("audit_event").cond_where(condition.clone());
        let rows = self.trail_rows(&count).await?;
        rows.iter().map(|row| row.i64(0).map(|count| count as u64)).sum()
    }

    /// The rows of a statement on the trail: on SQLite of both files.
    pub(super) async fn trail_rows(&self, select: &SelectStatement) -> Result<Vec<crate::Row>, StoreError> {
        let select = select.clone();
        let mut rows = {
            let select = select.clone();
            with_long_session!(self, session => within_limit!(session, session.rows(&select)))?
        };
        self.settle_trail().await?;
        if let Executor::Sqlite { .. } = self.executor() {
            let store = self.clone();
            let beside = tokio::task::spawn_blocking(move || {
                let Executor::Sqlite { trail, .. } = store.executor() else { return Err(StoreError::Stopped) };
                if !trail.path.exists() {
                    return Ok(Vec::new());
                }
                trail.readers.with(|connection| {
                    let session = &mut SqliteSession::new(connection, store.known(), None);
                    session.limit(Some(SEARCH_LIMIT))?;
                    let rows = futures::executor::block_on(session.rows(&select));
                    session.limit(None)?;
                    rows
                })
            });
            rows.extend(beside.await.map_err(|_panicked| StoreError::Stopped)??);
        }
        Ok(rows)
    }
}

/// What must hold of the events that a compartment shows.
fn condition(filters: &[Filter], compartment: &Compartment) -> Cond {
    let all = match compartment {
        Compartment::Everyone => Cond::all(),
        Compartment::Patients(_) => Cond::all().add(Filter::HasPatients.condition(compartment)),
    };
    filters.iter().fold(all, |all, filter| all.add(filter.condition(compartment)))
}

/// Events, in an order.
struct Walk<'a> {
    condition: &'a Cond,
    ascending: bool,
}

impl Walk<'_> {
    fn page(&self, start: Option<[u8; 16]>, most: usize) -> SelectStatement {
        let mut select = Query::select();
        select.columns(COLUMNS).from("audit_event").cond_where(self.condition.clone());
        if let Some(start) = start {
            let (id, column) = (start.to_vec(), Expr::col("id"));
            select.and_where(if self.ascending { column.gt(id) } else { column.lt(id) });
        }
        select.order_by("id", if self.ascending { Order::Asc } else { Order::Desc }).limit(most as u64).take()
    }
}

fn start_of(place: &Position) -> Option<Start> {
    let [Cell::Text(text)] = place.keys.as_slice() else { return None };
    let byte = |at: usize| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..16).map(byte).collect();
    Some(Start { id: bytes?.try_into().ok()?, back: place.backwards })
}
