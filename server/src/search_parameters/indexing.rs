//! The worker that moves parameters of the database on: waits until all processes know them, indexes what stood
//! before, and takes out of the index what is gone.
//!
//! One process does it at a time, under a lease. How far it is stands in the database, written in one transaction with
//! the index rows themselves: a process that is killed loses nothing, and the next one goes on from there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fhir::json::Json;
use search::entry::{Extracted, ParamId};
use search::registry::Definition;
use store::search_parameters::{self as kept, Kept, Set, State};
use store::{Store, StoreError};

use super::{ALL_KNOW, POLL, definition, load};
use crate::app::App;
use crate::background::Worker;
use crate::clock::Clock;

/// Resources in one transaction: the writer is free again after some tens of milliseconds.
const BATCH: u64 = 50;

/// Row ids looked through for them at once.
const WINDOW: i64 = 5_000;

/// Resources whose rows of a parameter that is gone are deleted at once, of each table.
const PURGED: u64 = 1_000;

/// How long a process may be silent before another one takes over.
const LEASE: Duration = Duration::from_secs(6);

/// Longest pause between two batches.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often progress is told in the log.
const TELL: Duration = Duration::from_secs(10);

/// Since when a definition is seen in its state, and which transactions have to end before all know it.
struct Seen {
    since: Instant,
    gate: Option<i64>,
}

/// What the worker remembers between its rounds.
struct Memory {
    /// Name of this process in the lease.
    holder: String,
    seen: HashMap<(String, i64, &'static str), Seen>,
    /// When the lease was taken last.
    leased: Option<Instant>,
    told: Instant,
}

/// Starts the worker of this process.
pub fn start(app: App) -> Worker {
    Worker::start(async move { run(&app).await })
}

/// Keeps the parameters in force that the database defines, in a process without a worker.
pub fn watch(store: &Store, clock: &Clock) -> Worker {
    let (store, clock) = (store.clone(), clock.clone());
    Worker::start(async move {
        loop {
            tokio::time::sleep(POLL).await;
            if let Err(error) = load(&store, &clock).await {
                tracing::warn!(%error, "cannot read the search parameters of the database");
            }
        }
    })
}

async fn run(app: &App) {
    let mut memory = Memory { holder: app.random.uuid(), seen: HashMap::new(), leased: None, told: Instant::now() };
    loop {
        let begun = Instant::now();
        let pause = match round(app, &mut memory).await {
            // As long as it worked it leaves the writer to others.
            Ok(true) => begun.elapsed().clamp(Duration::from_millis(1), LONGEST_PAUSE),
            Ok(false) => POLL,
            Err(error) => {
                tracing::error!(%error, "search parameters of the database cannot be worked on; trying again");
                POLL
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// One step; whether there may be another one at once.
async fn round(app: &App, memory: &mut Memory) -> Result<bool, StoreError> {
    let set = load(&app.store, &app.clock).await?;
    memory.seen.retain(|(id, hash, state), _| {
        set.kept.iter().any(|kept| kept.id == *id && kept.hash == *hash && kept.state.as_str() == *state)
    });
    if set.kept.iter().all(|kept| kept.state == State::Indexed) || !lease(app, memory).await? {
        return Ok(false);
    }
    for kept in &set.kept {
        if matches!(kept.state, State::Indexing | State::Indexed) || !all_know(app, memory, kept).await? {
            continue;
        }
        match kept.state {
            State::Waiting => proceed(app, kept, State::Indexing).await?,
            State::Leaving => proceed(app, kept, State::Gone).await?,
            _ => purge(app, kept).await?,
        }
        return Ok(true);
    }
    index(app, memory, &set).await
}

/// Whether this process is the one that works; the lease is renewed long before it ends.
async fn lease(app: &App, memory: &mut Memory) -> Result<bool, StoreError> {
    if memory.leased.is_some_and(|leased| leased.elapsed() < LEASE / 3) {
        return Ok(true);
    }
    let (holder, now) = (memory.holder.clone(), app.clock.now());
    let begun = Instant::now();
    let until = now + LEASE.as_micros() as i64;
    let mine = app
        .store
        .write(move |tx| {
            let holder = holder.clone();
            Box::pin(async move { kept::lease(tx, &holder, now, until).await })
        })
        .await?;
    memory.leased = mine.then_some(begun);
    Ok(mine)
}

/// Whether every process has acted by this state for long enough that nothing written without it is still under way.
async fn all_know(app: &App, memory: &mut Memory, kept: &Kept) -> Result<bool, StoreError> {
    let key = (kept.id.clone(), kept.hash, kept.state.as_str());
    let seen = memory.seen.entry(key).or_insert_with(|| Seen { since: Instant::now(), gate: None });
    if seen.since.elapsed() < ALL_KNOW {
        return Ok(false);
    }
    let gate = match seen.gate {
        Some(gate) => gate,
        None => *seen.gate.insert(app.store.next_transaction().await?),
    };
    Ok(app.store.oldest_transaction().await? >= gate)
}

async fn proceed(app: &App, kept: &Kept, to: State) -> Result<(), StoreError> {
    tracing::info!(id = kept.id, from = kept.state.as_str(), to = to.as_str(), "search parameter of the database");
    let (kept, now) = (kept.clone(), app.clock.now());
    app.store
        .write(move |tx| {
            let kept = kept.clone();
            Box::pin(async move {
                kept::change(tx).await?;
                kept::proceed(tx, &kept, to, now).await.map(drop)
            })
        })
        .await
}

/// Deletes some index rows of what is gone, and forgets it when there are none left. Rows that another definition has too
/// stay: the same parameter of a type may have come back under another id, or with other types beside it.
async fn purge(app: &App, kept: &Kept) -> Result<(), StoreError> {
    let set = app.store.search_parameters().await?;
    let others = set.kept.iter().filter(|it| it.state != State::Gone).filter_map(definition);
    let in_use: BTreeSet<ParamId> = others.flat_map(|other| other.param_ids()).collect();
    let ids = definition(kept).map(|definition| definition.param_ids()).unwrap_or_default();
    let params: Arc<[i64]> = ids.iter().filter(|id| !in_use.contains(id)).map(|id| id.0).collect();
    let (kept, generation) = (kept.clone(), set.generation);
    app.store
        .write(move |tx| {
            let (kept, params) = (kept.clone(), params.clone());
            Box::pin(async move {
                // Who has come since may have the same rows: another round. Who comes from now on indexes everything anew,
                // and waits until this transaction has ended.
                if kept::generation(tx).await? != generation {
                    return Ok(());
                }
                if params.is_empty() || kept::purge(tx, &kept, &params, PURGED).await? == 0 {
                    kept::forget(tx, &kept).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Indexes the next resources by the parameters that are furthest behind.
async fn index(app: &App, memory: &mut Memory, set: &Set) -> Result<bool, StoreError> {
    let under_way: Vec<&Kept> = set.kept.iter().filter(|kept| kept.state == State::Indexing).collect();
    if let Some(done) = under_way.iter().find(|kept| kept.done_rid >= kept.last_rid) {
        proceed(app, done, State::Indexed).await?;
        return Ok(true);
    }
    let Some(from) = under_way.iter().map(|kept| kept.done_rid).min() else { return Ok(false) };
    let group: Arc<[Kept]> = under_way.iter().filter(|kept| kept.done_rid == from).map(|&kept| kept.clone()).collect();
    // Up to where the next parameter is: from there on they go together.
    let others = under_way.iter().map(|kept| kept.done_rid).filter(|rid| *rid > from);
    let last = group.iter().map(|kept| kept.last_rid).chain(others).min().unwrap_or(from).min(from + WINDOW);
    let mut types: Vec<&str> =
        group.iter().filter_map(definition).flat_map(|definition: Definition| definition.types()).collect();
    types.sort_unstable();
    types.dedup();
    let standing = app.store.each_between(&types, (from, last), BATCH).await?;
    let is_full = standing.len() as u64 == BATCH;
    let reached = standing.last().filter(|_| is_full).map_or(last, |last| last.rid);
    let base = app.config.fhir_base();
    let definitions: Vec<Definition> = group.iter().filter_map(definition).collect();
    // The instants by which a type is ordered stand in all rows: where they change, all are made anew.
    let orders = definitions.iter().any(|definition| definition.code == "date");
    let ids: BTreeSet<ParamId> = definitions.iter().flat_map(Definition::param_ids).collect();
    let ids = Some(ids).filter(|_| !orders);
    let work = move || standing.iter().filter_map(|standing| extract(ids.as_ref(), &standing.stored, &base)).collect();
    let batch: Arc<[(String, String, i64, Extracted)]> =
        tokio::task::spawn_blocking(work).await.map_err(|_panicked| StoreError::Stopped)?;
    tell(memory, &group, reached);
    app.store
        .write(move |tx| {
            let (group, batch) = (group.clone(), batch.clone());
            Box::pin(async move {
                for (resource_type, id, version, extracted) in batch.iter() {
                    if orders {
                        tx.reindex(resource_type, id, *version, extracted).await?;
                    } else {
                        tx.index_some((resource_type, id, *version), extracted).await?;
                    }
                }
                for kept in group.iter() {
                    kept::progress(tx, kept, reached).await?;
                }
                Ok(true)
            })
        })
        .await
}

/// By the parameters with these identities alone, or by all in force.
fn extract(
    ids: Option<&BTreeSet<ParamId>>,
    stored: &store::Stored,
    base: &str,
) -> Option<(String, String, i64, Extracted)> {
    let read = |resource: &Json| match ids {
        Some(ids) => search::extract::extract_some(ids, resource, base),
        None => search::extract::extract(resource, base),
    };
    let resource = Json::parse(stored.body.as_bytes()).map_err(|error| error.to_string());
    let extracted = resource.and_then(|resource| read(&resource).map_err(|error| error.to_string()));
    match extracted {
        Ok(extracted) => Some((stored.resource_type.clone(), stored.id.clone(), stored.version, extracted)),
        Err(error) => {
            tracing::warn!(resource = format!("{}/{}", stored.resource_type, stored.id), error, "cannot be indexed");
            None
        }
    }
}

fn tell(memory: &mut Memory, group: &[Kept], reached: i64) {
    if memory.told.elapsed() < TELL {
        return;
    }
    memory.told = Instant::now();
    for kept in group {
        tracing::info!(id = kept.id, row = reached, of = kept.last_rid, "search parameter is being indexed");
    }
}
