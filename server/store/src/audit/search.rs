//! Reading the trail, newest first or oldest first, a page at a time.

use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Order, Query, SelectStatement};
use search::query::Query as Bound;
use search::view::{Compartment, View};

use super::{COLUMNS, Event, id_at, is_one_of};
use crate::error::StoreError;
use crate::row::Cell;
use crate::search::order::Position;
use crate::search::question::one_holds;
use crate::session::{Session, SqliteSession};
use crate::{Executor, SEARCH_LIMIT, Store};

/// What must hold of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// It is one of these.
    Ids(Vec<[u8; 16]>),
    /// It happened between these instants, both included, microseconds since 1970; or not.
    Between(i64, i64, bool),
    /// It is about one of these patients.
    Patients(Vec<String>),
    /// One of these apps did it.
    Client(Vec<String>),
    /// One of these accounts, or people by their records, did it.
    User(Vec<String>),
    /// One of these did it: app, account or person.
    Agent(Vec<String>),
    /// It came from one of these addresses.
    Address(Vec<String>),
    /// It touched one of these, `Type/id`.
    Entity(Vec<String>),
    /// `C`, `R`, `U`, `D`, `E`.
    Action(Vec<String>),
    /// The status lies in one of these ranges, both ends included.
    Status(Vec<(i64, i64)>),
    /// Kinds, by their numbers.
    Kind(Vec<i64>),
    /// What happened.
    Subtype(Vec<String>),
    /// None of these.
    Never,
}

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
struct Start {
    id: [u8; 16],
    back: bool,
}

impl Store {
    /// One page of the events that `view` shows: of a view of patients, those that are about one of them.
    pub async fn trail(&self, view: &View, query: &TrailQuery) -> Result<TrailPage, StoreError> {
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
        let total = if query.total { Some(self.count_events(&condition).await?) } else { None };
        if query.count == 0 {
            return Ok(TrailPage { total, ..TrailPage::default() });
        }
        let back = start.as_ref().is_some_and(|start| start.back);
        let ascending = query.oldest_first != back;
        let select = page_of(condition, start.as_ref(), ascending, query.count as u64 + 1);
        let rows = self.trail_rows(&select).await?;
        let mut events = rows.iter().map(Event::read).collect::<Result<Vec<_>, _>>()?;
        events.sort_unstable_by(|one, other| if ascending { one.id.cmp(&other.id) } else { other.id.cmp(&one.id) });
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
                    let session = &mut SqliteSession::new(connection, store.known());
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

/// What must hold. Who sees some patients only cannot ask for others either: an event about several is found by what is
/// shown of it, so not by what it touched; nor is one that touched several things.
fn condition(filters: &[Filter], compartment: &Compartment) -> Cond {
    let Compartment::Patients(seen) = compartment else {
        return filters.iter().fold(Cond::all(), |all, filter| all.add(filter.condition()));
    };
    let mut all = Cond::all().add(Filter::Patients(seen.clone()).condition());
    for filter in filters {
        all = match filter {
            Filter::Patients(asked) => {
                let own = asked.iter().filter(|patient| seen.contains(patient)).cloned().collect();
                all.add(Filter::Patients(own).condition())
            }
            Filter::Entity(_) => all
                .add(filter.condition())
                .add(is_one_of("patients", seen))
                .add(Expr::col("entities").not_like("%\n%\n%")),
            // Which other patient it was, and from where, is not told, so it cannot be tried out either.
            Filter::User(_) | Filter::Address(_) => all.add(filter.condition()).add(is_told(seen)),
            Filter::Agent(agents) => all.add(
                Cond::any()
                    .add(is_one_of("client", agents))
                    .add(Cond::all().add(Filter::User(agents.clone()).condition()).add(is_told(seen))),
            ),
            _ => all.add(filter.condition()),
        };
    }
    all
}

/// Whether the person is no patient, or one of these.
fn is_told(seen: &[String]) -> Cond {
    let own: Vec<String> = seen.iter().map(|patient| format!("Patient/{patient}")).collect();
    let person = || Expr::col("fhir_user");
    Cond::any().add(person().is_null()).add(person().not_like("Patient/%")).add(is_one_of("fhir_user", &own))
}

fn page_of(condition: Cond, start: Option<&Start>, ascending: bool, limit: u64) -> SelectStatement {
    let mut select = Query::select();
    select.columns(COLUMNS).from("audit_event").cond_where(condition);
    if let Some(start) = start {
        let (id, column) = (start.id.to_vec(), Expr::col("id"));
        select.and_where(if ascending { column.gt(id) } else { column.lt(id) });
    }
    select.order_by("id", if ascending { Order::Asc } else { Order::Desc }).limit(limit);
    select
}

impl Filter {
    fn condition(&self) -> Cond {
        let any = |expressions: Vec<Expr>| one_holds(expressions.into_iter().map(|it| Cond::all().add(it)).collect());
        let one_of = |column, values: &[String]| any(vec![is_one_of(column, values)]);
        match self {
            Filter::Ids(ids) => any(vec![Expr::col("id").is_in(ids.iter().map(|id| id.to_vec()))]),
            Filter::Between(low, high, true) => Cond::all()
                .add(Expr::col("id").gte(id_at(*low, [0; 8]).to_vec()))
                .add(Expr::col("id").lte(id_at(*high, [0xff; 8]).to_vec())),
            Filter::Between(low, high, false) => Cond::any()
                .add(Expr::col("id").lt(id_at(*low, [0; 8]).to_vec()))
                .add(Expr::col("id").gt(id_at(*high, [0xff; 8]).to_vec())),
            Filter::Patients(patients) => {
                let mut found = Query::select();
                found.column("id").from("audit_patient").and_where(is_one_of("patient", patients));
                any(vec![Expr::col("id").in_subquery(found)])
            }
            Filter::Client(clients) => one_of("client", clients),
            Filter::User(people) => any(vec![is_one_of("account", people), is_one_of("fhir_user", people)]),
            Filter::Agent(agents) => {
                any(["client", "account", "fhir_user"].map(|column| is_one_of(column, agents)).to_vec())
            }
            Filter::Address(addresses) => one_of("address", addresses),
            Filter::Entity(references) => any(references.iter().flat_map(|it| touches(it)).collect()),
            Filter::Action(actions) => one_of("action", actions),
            Filter::Status(ranges) => {
                any(ranges.iter().map(|(low, high)| Expr::col("status").between(*low, *high)).collect())
            }
            Filter::Kind(kinds) => any(vec![Expr::col("kind").is_in(kinds.iter().copied())]),
            Filter::Subtype(subtypes) => one_of("subtype", subtypes),
            Filter::Never => any(Vec::new()),
        }
    }
}

/// Whether a resource stands among what was touched; ids have no letter that a pattern would read otherwise but `_`,
/// which they cannot have.
fn touches(reference: &str) -> [Expr; 2] {
    ["% {}\n%", "% {}/\\_history/%"].map(|pattern| {
        let pattern = pattern.replace("{}", reference);
        Expr::col("entities").like(sea_orm::sea_query::LikeExpr::new(pattern).escape('\\'))
    })
}

fn start_of(place: &Position) -> Option<Start> {
    let [Cell::Text(text)] = place.keys.as_slice() else { return None };
    let byte = |at: usize| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..16).map(byte).collect();
    Some(Start { id: bytes?.try_into().ok()?, back: place.backwards })
}
