//! Search parameters that this database defines: its active SearchParameter resources.
//! <https://hl7.org/fhir/R4/searchparameter.html>
//!
//! ```text
//! write of a SearchParameter ─▶ written (checks it, keeps its definition; same transaction)
//!        commit ─▶ every process: load (at once where it was written, else within POLL)
//!               ─▶ one process:   indexing (what stood before), then all know that it is indexed
//! ```
//!
//! Who knows a parameter indexes by it whatever it writes; until what stood before is indexed too, searches by it look
//! at the resources themselves. So answers are right at every moment. Why processes wait for each other as they do
//! stands in `docs/src/decisions/0009-search-parameters-of-a-database.md`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use search::entry::Extracted;
use search::registry::{self, Custom, Definition, Registry, Standing};
use store::search_parameters::{self as kept, Kept, Set, State};
use store::{Store, StoreError, Tx};

use crate::app::App;
use crate::clock::Clock;
use crate::error::Error;
use crate::rest::Context;

mod indexing;

pub use indexing::{start, watch};

/// How often a process looks whether another one has changed the set.
pub const POLL: Duration = Duration::from_secs(1);

/// A process that has not looked for so long looks before it writes anything.
const OLD: Duration = Duration::from_secs(2);

/// How long after a change all processes know it: each writes by what it saw at most [`OLD`] ago.
const ALL_KNOW: Duration = Duration::from_secs(5);

/// Generation that this process has written itself.
static WRITTEN: AtomicI64 = AtomicI64::new(0);

/// Generation that is in force in this process.
static IN_FORCE: AtomicI64 = AtomicI64::new(0);

/// When this process looked last, microseconds since 1970.
static LOOKED: AtomicI64 = AtomicI64::new(0);

/// Puts the parameters in force that the database defines now. Returns them.
pub async fn load(store: &Store, clock: &Clock) -> Result<Set, StoreError> {
    let now = clock.now();
    let set = store.search_parameters().await?;
    LOOKED.store(now, Ordering::Release);
    put_in_force(&set);
    Ok(set)
}

/// Makes what this process itself has changed take effect before the next request is answered.
pub async fn current(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if WRITTEN.load(Ordering::Acquire) > IN_FORCE.load(Ordering::Acquire)
        && let Some(app) = request.app_data::<web::Data<App>>()
        && let Err(error) = load(&app.store, &app.clock).await
    {
        tracing::error!(%error, "cannot read the search parameters of the database");
    }
    next.call(request).await
}

/// The index entries of a resource that is about to be written, if other parameters are in force than those of
/// `generation`, by which it was indexed.
pub async fn indexed_anew(
    tx: &mut Tx,
    context: &Context,
    generation: i64,
    resource: &Json,
) -> Result<Option<Extracted>, Error> {
    let in_force = registry::registry();
    let now = context.clock.now();
    let age = now.saturating_sub(LOOKED.load(Ordering::Acquire));
    let is_old = !(0..OLD.as_micros() as i64).contains(&age);
    if is_old || WRITTEN.load(Ordering::Acquire) > IN_FORCE.load(Ordering::Acquire) {
        if kept::generation(tx).await? != in_force.generation() {
            // Not put in force: what this transaction sees may be its own change, and undone yet.
            let registry = registry_of(&kept::all(tx).await?);
            return extract_by(&registry, resource, &context.base).map(Some);
        }
        LOOKED.store(now, Ordering::Release);
    }
    if in_force.generation() == generation {
        return Ok(None);
    }
    extract_by(&in_force, resource, &context.base).map(Some)
}

/// Carries what a write does to a SearchParameter into the set: `resource` is what stands from now on, nothing after
/// a deletion. Other types concern nobody here. A definition that would not work is refused, and the write with it.
pub async fn written(
    tx: &mut Tx,
    context: &Context,
    (resource_type, id): (&str, &str),
    resource: Option<&Json>,
) -> Result<(), Error> {
    if resource_type != "SearchParameter" {
        return Ok(());
    }
    let active = resource.filter(|resource| resource.str("status") == Some("active"));
    if active.is_none() && !kept::all(tx).await?.kept.iter().any(|kept| kept.id == id) {
        return Ok(());
    }
    let generation = kept::change(tx).await?;
    let set = kept::all(tx).await?;
    let others: Vec<Definition> =
        set.kept.iter().filter(|kept| kept.id != id && is_wanted(kept)).filter_map(definition).collect();
    let definition = active.map(|resource| Definition::of(resource, registry::r4(), &others)).transpose();
    let now = context.clock.now();
    match definition.map_err(Error::unprocessable)?.flatten() {
        Some(definition) => {
            kept::arrive(tx, id, &definition.identity(), &definition.to_text(), now).await?;
        }
        None => kept::leave(tx, id, now).await?,
    }
    tx.on_commit(move || {
        WRITTEN.fetch_max(generation, Ordering::AcqRel);
    });
    Ok(())
}

/// A line on each definition for people: what it is, and how far the index is with it.
pub fn status(kept: &[Kept]) -> Vec<String> {
    let line = |kept: &Kept| {
        let definition = definition(kept);
        let (code, bases) = definition.map(|it| (it.code, it.bases.join(", "))).unwrap_or_default();
        let progress = match kept.state {
            State::Indexing => format!("indexing, {} %", kept.done_rid * 100 / kept.last_rid.max(1)),
            state => state.as_str().to_owned(),
        };
        format!("SearchParameter/{}: {code} of {bases}: {progress}", kept.id)
    };
    kept.iter().map(line).collect()
}

fn put_in_force(set: &Set) {
    if set.generation > registry::registry().generation() {
        registry::install(registry_of(set));
    }
    IN_FORCE.fetch_max(set.generation, Ordering::AcqRel);
}

fn registry_of(set: &Set) -> Registry {
    let custom = |kept: &Kept| {
        let standing = match kept.state {
            State::Waiting | State::Indexing => Standing::Arriving,
            State::Indexed => Standing::Indexed,
            State::Leaving => Standing::Leaving,
            State::Gone => return None,
        };
        Some(Custom { definition: definition(kept)?, standing })
    };
    let customs: Vec<Custom> = set.kept.iter().filter_map(custom).collect();
    let (registry, broken) = Registry::with(&customs, set.generation);
    for text in broken {
        tracing::error!(text, "a search parameter of the database does not compile");
    }
    registry
}

fn definition(kept: &Kept) -> Option<Definition> {
    let definition = Definition::parse(&kept.definition);
    if definition.is_none() {
        tracing::error!(id = kept.id, "a search parameter of the database cannot be read");
    }
    definition
}

/// Whether searches may name it.
fn is_wanted(kept: &Kept) -> bool {
    matches!(kept.state, State::Waiting | State::Indexing | State::Indexed)
}

fn extract_by(registry: &Registry, resource: &Json, base: &str) -> Result<Extracted, Error> {
    search::extract::extract_by(registry, resource, base)
        .map_err(|error| Error::unprocessable(Issue::error(IssueCode::Processing, error.to_string())))
}
