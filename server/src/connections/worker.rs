//! Asks services as they become due: the worker behind the connections.
//!
//! Each connection that is due is taken with a lease by one server, which extends it while it asks. What a connection
//! tells is put into the inbox in the transaction that moves its cursor, so a server that is killed loses nothing and
//! repeats nothing.

use std::sync::Arc;

use adapters::Adapter;
use fhir::json::Json;
use store::StoreError;
use store::connections::{self, Connection};
use store::inbox::{self, Arrival, Origin};
use tokio::task::JoinSet;

use super::{Failure, Opened, adapter_of, kind};
use crate::app::App;
use crate::background::{self, LEASE_MICROS, POLL, Worker};
use crate::devices::webhook;

/// Connections that one server asks at the same time.
const AT_ONCE: usize = 16;

/// How often a service is checked that is only asked on behalf of callers.
const CHECK_SECONDS: u64 = 300;

/// First delay after a failure, doubled with each up to the longest.
const FIRST_DELAY_MICROS: i64 = 1_000_000;

/// Longest delay after a failure.
const LONGEST_DELAY_MICROS: i64 = 5 * 60 * 1_000_000;

/// A connection that this server has a lease of.
pub struct Held {
    /// The server.
    pub app: App,
    /// The connection.
    pub opened: Opened,
    holder: String,
}

/// A message that a service told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// In which of the adapter's shapes.
    pub shape: &'static str,
    /// Its identity; what is known by it already is passed over. Without one its bytes are.
    pub delivery: Option<String>,
    /// Devices that the adapter does not see in it.
    pub devices: Vec<String>,
    /// What must be known of it beside its bytes, as the query of a URL.
    pub query: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Starts the worker of this process.
pub fn start(app: App) -> Worker {
    Worker::start(async move { run(&app).await })
}

impl Held {
    /// Puts messages into the inbox and moves the cursor, both or neither; says how many were new. A message that the
    /// adapter refuses is kept as dead; one that cannot be read at all is passed over with a line in the log.
    pub async fn keep(&self, told: Vec<Told>, cursor: Option<&Json>) -> Result<usize, Failure> {
        let adapter = adapter_of(&self.opened.row.vendor)?;
        let arrivals: Arc<Vec<(Arrival, bool)>> =
            Arc::new(told.into_iter().filter_map(|told| arrival(&self.app, adapter, told)).collect());
        let (id, holder, cursor) = (self.opened.row.id.clone(), self.holder.clone(), cursor.map(Json::to_string));
        let kept = self
            .app
            .store
            .write(move |tx| {
                let (arrivals, id) = (arrivals.clone(), id.clone());
                let (holder, cursor) = (holder.clone(), cursor.clone());
                Box::pin(async move {
                    let ours = match &cursor {
                        Some(cursor) => connections::advance(tx, &id, &holder, cursor).await?,
                        None => true,
                    };
                    if !ours {
                        return Ok(None);
                    }
                    let mut new = 0;
                    for (arrival, identified) in arrivals.iter() {
                        if *identified && inbox::repeated(tx, arrival).await? {
                            continue;
                        }
                        new += usize::from(inbox::receive(tx, arrival).await?.first);
                    }
                    Ok::<_, StoreError>(Some(new))
                })
            })
            .await?;
        let new = kept.ok_or(Failure::Lost)?;
        if new > 0 {
            self.app.inbox_changed.notify_waiters();
        }
        Ok(new)
    }

    /// Notes that the service answers, before all that it has to say was read.
    pub async fn works(&self) -> Result<(), Failure> {
        let (id, holder, now) = (self.opened.row.id.clone(), self.holder.clone(), self.app.clock.now());
        let noted = self
            .app
            .store
            .write(move |tx| {
                let (id, holder) = (id.clone(), holder.clone());
                Box::pin(async move { connections::works(tx, &id, &holder, now).await })
            })
            .await?;
        if noted { Ok(()) } else { Err(Failure::Lost) }
    }
}

/// What is kept of a message, and whether it has an identity beside its bytes.
pub fn arrival(app: &App, adapter: &Adapter, told: Told) -> Option<(Arrival, bool)> {
    let shape = adapter.shape(told.shape)?;
    let origin = Origin { shape: shape.name.to_owned(), patient: None, query: told.query };
    match webhook::arrival(app, adapter, shape, origin, told.body) {
        Ok(mut read) => {
            let identified = told.delivery.is_some();
            if identified {
                read.arrival.delivery = told.delivery;
            }
            read.arrival.devices.splice(0..0, told.devices);
            Some((read.arrival, identified))
        }
        Err(refused) => {
            tracing::warn!(vendor = adapter.vendor, %refused, "a message of a service cannot be read");
            None
        }
    }
}

async fn run(app: &App) {
    background::release_leases(app, "connections", |tx| Box::pin(connections::release_leases(tx))).await;
    let mut running = JoinSet::new();
    loop {
        match take(app, AT_ONCE.saturating_sub(running.len())).await {
            Ok(taken) => {
                for (row, holder) in taken {
                    let app = app.clone();
                    running.spawn(async move { attend(app, row, holder).await });
                }
            }
            Err(error) => tracing::error!(%error, "the connections cannot be looked at; trying again"),
        }
        tokio::select! {
            Some(_) = running.join_next() => {}
            () = app.connections_changed.notified() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

async fn take(app: &App, free: usize) -> Result<Vec<(Connection, String)>, StoreError> {
    let now = app.clock.now();
    if free == 0 || !connections::is_due(&app.store, now).await? {
        return Ok(Vec::new());
    }
    let holder = app.random.uuid();
    let name = holder.clone();
    let taken = app
        .store
        .write(move |tx| {
            let holder = name.clone();
            Box::pin(async move { connections::lease(tx, &holder, now, now + LEASE_MICROS, free as u64).await })
        })
        .await?;
    Ok(taken.into_iter().map(|row| (row, holder.clone())).collect())
}

/// Asks one connection, and gives it back.
async fn attend(app: App, row: Connection, holder: String) {
    let (id, vendor, attempts) = (row.id.clone(), row.vendor.clone(), row.attempts);
    let result = match Opened::of(&app, row) {
        Ok(opened) => ask(&Held { app: app.clone(), opened, holder: holder.clone() }).await,
        Err(failure) => Err(failure),
    };
    let now = app.clock.now();
    let written = match result {
        Err(Failure::Lost) => {
            tracing::info!(vendor, "stopped: the connection was changed or taken by another server");
            return;
        }
        Ok(pause) => {
            let due_at = now + i64::try_from(pause).unwrap_or(i64::MAX / 2_000_000) * 1_000_000;
            let settle = app.store.write(move |tx| {
                let (id, holder) = (id.clone(), holder.clone());
                Box::pin(async move { connections::settle(tx, &id, &holder, now, due_at).await })
            });
            settle.await
        }
        Err(failure) => {
            let (due_at, error) = (now + delay(&app, attempts, &failure), failure.to_string());
            tracing::warn!(vendor, error, "a service cannot be asked; trying again later");
            let fail = app.store.write(move |tx| {
                let (id, holder, error) = (id.clone(), holder.clone(), error.clone());
                Box::pin(async move { connections::fail(tx, &id, &holder, (now, due_at), &error).await })
            });
            fail.await
        }
    };
    if let Err(error) = written {
        tracing::error!(%error, "how a connection went cannot be kept; its lease runs out");
    }
}

/// Asks while the lease is extended.
async fn ask(held: &Held) -> Result<u64, Failure> {
    let unknown = || Failure::Settings("this server does not know the vendor's service".to_owned());
    let kind = kind(&held.opened.row.vendor).ok_or_else(unknown)?;
    let Some(poll) = kind.poll else {
        (kind.check)(&held.app, &held.opened).await?;
        return Ok(CHECK_SECONDS);
    };
    let extend = || {
        let (id, holder) = (held.opened.row.id.clone(), held.holder.clone());
        let until = held.app.clock.now() + LEASE_MICROS;
        held.app.store.write(move |tx| {
            let (id, holder) = (id.clone(), holder.clone());
            Box::pin(async move { connections::extend(tx, &id, &holder, until).await })
        })
    };
    background::while_held("a connection", poll(held), extend).await.unwrap_or(Err(Failure::Lost))
}

/// How long a connection that failed is left alone. What only an operator can change is not asked often.
fn delay(app: &App, attempts: i64, failure: &Failure) -> i64 {
    let exponent = u32::try_from(attempts).unwrap_or(u32::MAX).min(20);
    let doubled = (FIRST_DELAY_MICROS << exponent).min(LONGEST_DELAY_MICROS);
    let [chance] = app.random.bytes::<1>();
    let jittered = doubled / 2 + doubled / 2 * i64::from(chance) / 255;
    match failure {
        Failure::Throttled(Some(seconds)) => jittered.max(i64::try_from(*seconds).unwrap_or(3600) * 1_000_000),
        Failure::Settings(_) => LONGEST_DELAY_MICROS,
        _ => jittered,
    }
}
