//! The writer of events that no change comes with: what waits is committed together. (CO-05)
//!
//! An event that is answered outlives this process: SQLite has written it to the file (`synchronous=normal`),
//! PostgreSQL has it in its memory (`synchronous_commit=off`). Neither waits for the disk, so a machine that loses its
//! power may lose the reads of the last moments, never a write's event, which is on disk with the write.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, params};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, StatementBuilder};
use tokio::sync::{mpsc, oneshot};

use super::{Event, Kind, inserts};
use crate::error::StoreError;
use crate::{postgres, sqlite};

/// Most events of one commit.
const BATCH: usize = 256;

/// How long an event waits for the file of another process before the access is refused.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pages of the write-ahead log after which they are carried into the file by the writer itself …
const OWN_CHECKPOINT: i64 = 16_384;

/// … and events after which somebody else begins to, so that the writer finds little left to do.
const EVENTS_BETWEEN_CHECKPOINTS: usize = 8_192;

/// An event whose access waits for it.
struct Waiting {
    event: Event,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

/// Where events are handed in.
#[derive(Debug)]
pub(crate) struct Log {
    events: mpsc::UnboundedSender<Waiting>,
}

impl Log {
    /// Starts the thread that writes to a file; it opens it with the first event and ends when the last handle is
    /// dropped.
    pub(crate) fn to_file(path: &Path) -> std::io::Result<Self> {
        let (events, mut queue) = mpsc::unbounded_channel();
        let (rung, bell) = sync_channel(1);
        let (path, same) = (path.to_owned(), path.to_owned());
        thread::Builder::new().name("audit-writer".into()).spawn(move || write_all(&path, &mut queue, &rung))?;
        thread::Builder::new().name("audit-checkpoint".into()).spawn(move || checkpoint(&same, &bell))?;
        Ok(Log { events })
    }

    /// Starts the task that writes to a PostgreSQL; it connects with the first event and ends when the last handle is
    /// dropped.
    pub(crate) fn to_server(address: &str) -> Self {
        let (events, queue) = mpsc::unbounded_channel();
        tokio::spawn(write_remotely(relaxed(address), queue));
        Log { events }
    }

    pub(crate) async fn write(&self, event: Event) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.events.send(Waiting { event, answer }).map_err(|_closed| StoreError::Stopped)?;
        answered.await.unwrap_or_else(|_stopped| Err(StoreError::Stopped))
    }
}

/// Writes one event on a connection of SQLite.
pub(crate) fn insert(connection: &Connection, event: &Event) -> Result<(), StoreError> {
    let mut written =
        connection.prepare_cached("INSERT INTO audit_event VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)")?;
    written.execute(params![
        event.id,
        Kind::ALL.iter().position(|kind| *kind == event.kind).unwrap_or(0) as i64,
        event.subtype,
        event.action.encode_utf8(&mut [0; 4]) as &str,
        event.status,
        event.client,
        event.account,
        event.fhir_user,
        event.address,
        event.request,
        event.joined_patients(),
        event.entities,
        event.query,
    ])?;
    if !event.patients.is_empty() {
        let mut found = connection.prepare_cached("INSERT INTO audit_patient VALUES (?1,?2)")?;
        for patient in &event.patients {
            found.execute(params![patient, event.id])?;
        }
    }
    Ok(())
}

pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let connection = sqlite::open(&path.to_string_lossy(), false)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "wal_autocheckpoint", OWN_CHECKPOINT)?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    Ok(connection)
}

fn write_all(path: &Path, queue: &mut mpsc::UnboundedReceiver<Waiting>, rung: &SyncSender<()>) {
    let mut connection = None;
    let mut since = 0;
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        let written = match begin(&mut connection, path) {
            Ok(open) => write_batch(open, &batch),
            Err(error) => {
                take_all(queue, &mut batch);
                Err(error)
            }
        };
        if written.is_err() {
            connection = None; // what is wrong with it may be over when it is opened again
        }
        since += batch.len();
        answer_all(&mut batch, &written);
        if since >= EVENTS_BETWEEN_CHECKPOINTS {
            since = 0;
            match rung.try_send(()) {
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
    }
}

fn begin<'a>(standing: &'a mut Option<Connection>, path: &Path) -> Result<&'a mut Connection, StoreError> {
    let connection = match standing {
        Some(connection) => connection,
        None => standing.insert(open(path)?),
    };
    connection.execute_batch("BEGIN IMMEDIATE")?;
    Ok(connection)
}

fn write_batch(connection: &mut Connection, batch: &[Waiting]) -> Result<(), StoreError> {
    let written = batch.iter().try_for_each(|waiting| insert(connection, &waiting.event));
    let committed = written.and_then(|()| Ok(connection.execute_batch("COMMIT")?));
    if committed.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    committed
}

/// Carries the write-ahead log into the file, without anybody waiting for it.
fn checkpoint(path: &Path, bell: &Receiver<()>) {
    while bell.recv().is_ok() {
        let carried = open(path)
            .and_then(|connection| Ok(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_row| Ok(()))?));
        if let Err(error) = carried {
            tracing::warn!(%error, "cannot check the audit trail in");
        }
    }
}

/// The address of connections whose commits do not wait for the disk.
fn relaxed(address: &str) -> String {
    let separator = if address.contains('?') { '&' } else { '?' };
    format!("{address}{separator}options=-c%20synchronous_commit%3Doff")
}

async fn write_remotely(address: String, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    let mut pool = None;
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let work = write_remote_batch(&mut pool, &address, &batch);
        let written = match tokio::time::timeout(PATIENCE, work).await {
            Ok(written) => written,
            Err(elapsed) => {
                pool = None; // its connection may never answer again
                Err(StoreError::Audit(format!("the database does not answer: {elapsed}")))
            }
        };
        if written.is_err() && pool.is_none() {
            take_all(&mut queue, &mut batch);
        }
        answer_all(&mut batch, &written);
    }
}

/// Takes what has waited meanwhile too, so that it does not wait as long again, batch after batch.
fn take_all(queue: &mut mpsc::UnboundedReceiver<Waiting>, batch: &mut Vec<Waiting>) {
    while let Ok(next) = queue.try_recv() {
        batch.push(next);
    }
}

/// Tells all who wait what became of their events.
fn answer_all(batch: &mut Vec<Waiting>, written: &Result<(), StoreError>) {
    if let Err(error) = written {
        tracing::error!(%error, "cannot write the audit trail: accesses are refused");
    }
    for Waiting { answer, .. } in batch.drain(..) {
        // Who asked may be gone.
        let _gone = answer.send(written.as_ref().map_err(|error| StoreError::Audit(error.to_string())).copied());
    }
}

/// Each statement by itself: of an event whose second half fails nobody is told that it is written.
async fn write_remote_batch(
    standing: &mut Option<DatabaseConnection>,
    address: &str,
    batch: &[Waiting],
) -> Result<(), StoreError> {
    let pool = match standing {
        Some(pool) => pool,
        None => standing.insert(postgres::connect_one(address, PATIENCE).await?),
    };
    let events: Vec<Event> = batch.iter().map(|waiting| waiting.event.clone()).collect();
    let mut rest = events.as_slice();
    // Few different lengths, so that the statements are known to the server.
    for size in [64, 16, 4, 1] {
        while let Some((some, others)) = rest.split_at_checked(size) {
            for statement in inserts(some) {
                pool.execute_raw(StatementBuilder::build(&statement, &DbBackend::Postgres)).await?;
            }
            rest = others;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn re_06_a_busy_file_refuses_all_that_waits_at_once() {
        let folder = std::env::temp_dir().join(format!("tributary-busy-trail-{}", std::process::id()));
        let path = folder.join("trail.db");
        let other = open(&path).expect("a file");
        other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        let log = Log::to_file(&path).expect("a thread");
        let begun = Instant::now();
        let refused = futures::future::join_all((0..3 * BATCH).map(|_| log.write(Event::default()))).await;
        assert!(refused.iter().all(Result::is_err));
        assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", begun.elapsed());
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[tokio::test]
    async fn re_06_a_database_that_does_not_answer_refuses_in_time() {
        // It accepts connections and says nothing.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let remote = Log::to_server(&format!("postgres://nobody@127.0.0.1:{port}/none"));
        let begun = Instant::now();
        let refused = futures::future::join_all((0..3 * BATCH).map(|_| remote.write(Event::default()))).await;
        assert!(refused.iter().all(Result::is_err));
        assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", begun.elapsed());
    }
}
