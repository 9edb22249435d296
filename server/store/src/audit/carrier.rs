//! Where events are handed in that no change comes with, on SQLite: written to the [journal](super::journal) at once,
//! carried into the file of the trail by a thread, many in one commit. (CO-05; decision 14)

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, params};
use tokio::sync::oneshot;

use super::journal::Journal;
use super::seal::{Leaf, Sealer};
use super::{Event, Kind, sealing};
use crate::error::StoreError;
use crate::sqlite;

/// How long events are gathered before they are carried.
const GATHER: Duration = Duration::from_millis(250);

/// How long a commit waits for the file of another process.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long after a failure carrying is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Events that wait in the journal at most; then accesses are refused.
const MOST_WAITING: usize = 200_000;

/// The trail's entrance.
#[derive(Debug)]
pub(crate) struct Carrier {
    shared: Arc<Shared>,
    bell: Sender<Ring>,
}

/// What the thread is woken for.
enum Ring {
    /// The first event after all others were carried.
    Event,
    /// Somebody wants to read the trail.
    Settle(oneshot::Sender<Result<(), StoreError>>),
}

#[derive(Debug)]
struct Shared {
    trail: PathBuf,
    sealer: Sealer,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Made with the first event.
    journal: Option<Journal>,
    /// What is in the journal and nobody carries yet.
    events: Vec<Event>,
    /// How many are being carried.
    carried: usize,
    /// Why the trail cannot be written: until it can, accesses are refused.
    broken: Option<String>,
}

impl Carrier {
    /// Starts the thread; it first carries what processes before it have left, and ends when the handle is dropped.
    pub(crate) fn start(trail: &Path, sealer: Sealer) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { trail: trail.to_owned(), sealer, waiting: Mutex::default() });
        let (bell, rung) = channel();
        let own = shared.clone();
        thread::Builder::new().name("audit-carrier".into()).spawn(move || Work::new(&own).run(&rung))?;
        Ok(Carrier { shared, bell })
    }

    /// Writes an event; when this returns, it outlives the process.
    pub(crate) fn write(&self, event: Event) -> Result<(), StoreError> {
        let mut waiting = self.shared.waiting();
        if let Some(why) = &waiting.broken {
            return Err(StoreError::Audit(why.clone()));
        }
        if waiting.events.len() + waiting.carried >= MOST_WAITING {
            return Err(StoreError::Audit("too many events wait for the file of the trail".into()));
        }
        let failed = |error: std::io::Error| StoreError::Audit(error.to_string());
        let journal = match &mut waiting.journal {
            Some(journal) => journal,
            None => waiting.journal.insert(Journal::open(&self.shared.trail).map_err(failed)?),
        };
        journal.append(&event).map_err(failed)?;
        waiting.events.push(event);
        if waiting.events.len() == 1 {
            self.bell.send(Ring::Event).map_err(|_ended| StoreError::Stopped)?;
        }
        Ok(())
    }

    /// Waits until all that has been written so far is in the file of the trail.
    pub(crate) async fn settle(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.bell.send(Ring::Settle(answer)).map_err(|_ended| StoreError::Stopped)?;
        answered.await.unwrap_or_else(|_ended| Err(StoreError::Stopped))
    }
}

/// Writes one event on a connection of SQLite.
pub(crate) fn insert(connection: &Connection, event: &Event) -> Result<(), StoreError> {
    insert_event(connection, event)?;
    insert_patients(connection, event.patients.iter().map(|patient| (patient, &event.id)))
}

pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let connection = sqlite::open(&path.to_string_lossy(), false)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    Ok(connection)
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread has.
struct Work<'a> {
    shared: &'a Shared,
    connection: Option<Connection>,
    /// What is in the journal's other file, and not yet in the trail.
    events: Vec<Event>,
    /// Whether the journals of processes before this one have been carried.
    recovered: bool,
    /// Whether carrying failed, so that nobody knows what of it is in the trail.
    doubtful: bool,
}

impl<'a> Work<'a> {
    fn new(shared: &'a Shared) -> Self {
        Work { shared, connection: None, events: Vec::new(), recovered: false, doubtful: false }
    }

    fn run(mut self, rung: &Receiver<Ring>) {
        let mut carried = self.carry();
        while let Some(settle) = self.gathered(rung) {
            carried = self.carry();
            for answer in settle {
                // Who asked may be gone.
                let _gone = answer.send(carried.as_ref().map_err(|why| StoreError::Audit(why.clone())).copied());
            }
        }
        if let Err(why) = carried.and_then(|()| self.carry()) {
            tracing::warn!(why, "events of the audit trail stay in their journal, for the next process");
        }
    }

    /// Waits until there is something to do, and a moment longer unless somebody waits; none at the end.
    fn gathered(&self, rung: &Receiver<Ring>) -> Option<Vec<oneshot::Sender<Result<(), StoreError>>>> {
        let failed = !self.recovered || !self.events.is_empty();
        let first = if failed { rung.recv_timeout(PAUSE) } else { rung.recv().map_err(RecvTimeoutError::from) };
        let first = match first {
            Err(RecvTimeoutError::Disconnected) => return None,
            Ok(Ring::Settle(answer)) => Some(answer),
            Ok(Ring::Event) => match rung.recv_timeout(GATHER) {
                Ok(Ring::Settle(answer)) => Some(answer),
                _ => None,
            },
            Err(RecvTimeoutError::Timeout) => None,
        };
        let others = rung.try_iter().filter_map(|ring| match ring {
            Ring::Settle(answer) => Some(answer),
            Ring::Event => None,
        });
        Some(first.into_iter().chain(others).collect())
    }

    /// Carries what there is; says of a failure to all accesses what it is.
    fn carry(&mut self) -> Result<(), String> {
        let carried = self.try_carry();
        let mut waiting = self.shared.waiting();
        waiting.carried = self.events.len();
        let Err(error) = carried else {
            if waiting.broken.take().is_some() {
                tracing::info!("the audit trail can be written again");
            }
            return Ok(());
        };
        self.connection = None; // what is wrong with it may be over when it is opened again
        let why = error.to_string();
        if !is_busy(&error) && waiting.broken.as_ref() != Some(&why) {
            tracing::error!(error = why, "cannot write the audit trail: accesses are refused");
            waiting.broken = Some(why.clone());
        }
        Err(why)
    }

    fn try_carry(&mut self) -> Result<(), StoreError> {
        if !self.recovered {
            self.recover()?;
            self.recovered = true;
        }
        loop {
            self.take();
            if self.events.is_empty() {
                return Ok(());
            }
            self.commit()?;
            self.events.clear();
            let mut waiting = self.shared.waiting();
            waiting.carried = 0;
            if let Some(journal) = &waiting.journal {
                journal.empty_other().map_err(|error| StoreError::Audit(error.to_string()))?;
            }
            if waiting.events.is_empty() {
                return Ok(());
            }
        }
    }

    /// Takes what waits, unless the last that were taken have not been carried yet.
    fn take(&mut self) {
        if !self.events.is_empty() {
            return;
        }
        let mut waiting = self.shared.waiting();
        if waiting.events.is_empty() {
            return;
        }
        std::mem::swap(&mut self.events, &mut waiting.events);
        waiting.carried = self.events.len();
        if let Some(journal) = &mut waiting.journal {
            journal.turn();
        }
    }

    fn recover(&mut self) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| StoreError::Audit(error.to_string());
        for mut journal in Journal::left(&self.shared.trail).map_err(failed)? {
            self.events = journal.events().map_err(failed)?;
            let count = self.events.len();
            if count > 0 {
                self.doubtful = true;
                let carried = self.commit();
                self.events.clear();
                carried?;
                tracing::info!(count, "events of the audit trail carried that a process before this one left");
            }
            journal.empty().map_err(failed)?;
        }
        Ok(())
    }

    /// Adds the events to the trail, and their seal.
    fn commit(&mut self) -> Result<(), StoreError> {
        let doubtful = std::mem::replace(&mut self.doubtful, true);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(open(&self.shared.trail)?),
        };
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        if doubtful {
            let mut known = transaction.prepare("SELECT 1 FROM audit_event WHERE id = ?1")?;
            let mut fresh = Vec::with_capacity(self.events.len());
            for event in self.events.drain(..) {
                if !known.exists([event.id])? {
                    fresh.push(event);
                }
            }
            self.events = fresh;
        }
        let mut about = Vec::with_capacity(self.events.len());
        for event in &self.events {
            insert_event(&transaction, event)?;
            about.extend(event.patients.iter().map(|patient| (patient, &event.id)));
        }
        // In the order of the table, pages are looked for and written once.
        about.sort_unstable();
        insert_patients(&transaction, about)?;
        let leaves: Vec<Leaf> = self.events.iter().map(Leaf::of).collect();
        sealing::seal_in(&transaction, &self.shared.sealer, &leaves)?;
        transaction.commit()?;
        self.doubtful = false;
        Ok(())
    }
}

fn insert_event(connection: &Connection, event: &Event) -> Result<(), StoreError> {
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
    Ok(())
}

fn insert_patients<'a>(
    connection: &Connection,
    about: impl IntoIterator<Item = (&'a String, &'a [u8; 16])>,
) -> Result<(), StoreError> {
    let mut written = connection.prepare_cached("INSERT INTO audit_patient VALUES (?1,?2)")?;
    for (patient, id) in about {
        written.execute(params![patient, id])?;
    }
    Ok(())
}

/// Whether another process has the file: the journal waits for it.
fn is_busy(error: &StoreError) -> bool {
    matches!(error, StoreError::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::id_at;
    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// An empty trail in a folder of its own.
    fn trail(name: &str) -> (Folder, PathBuf, Connection) {
        let folder = std::env::temp_dir().join(format!("tributary-trail-{name}-{}", std::process::id()));
        let path = folder.join("trail.db");
        let connection = open(&path).expect("a file");
        let columns = "id PRIMARY KEY, b, c, d, e, f, g, h, i, j, k, l, m";
        let seals =
            "CREATE TABLE audit_seal (number, hash, mac, events); CREATE TABLE audit_anchor (seal, hash, upto, mac)";
        let tables = format!("CREATE TABLE audit_event ({columns}); CREATE TABLE audit_patient (patient, id); {seals}");
        connection.execute_batch(&tables).expect("tables");
        (Folder(folder), path, connection)
    }

    fn sealer() -> Sealer {
        Sealer::of(super::super::BESIDE, &[7; 32])
    }

    fn event(number: i64) -> Event {
        Event { id: id_at(number, [0; 8]), patients: ["a".to_owned()].into(), ..Event::default() }
    }

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM audit_event", [], |row| row.get(0)).expect("a number")
    }

    #[tokio::test]
    async fn co_05_events_outlive_the_process_and_are_carried_once() {
        let (_folder, path, connection) = trail("left");
        let mut journal = Journal::open(&path).expect("a journal");
        (0..10).for_each(|number| journal.append(&event(number)).expect("written"));
        insert(&connection, &event(3)).expect("one that had been carried");
        drop(journal);
        let carrier = Carrier::start(&path, sealer()).expect("a thread");
        (10..1_000).for_each(|number| carrier.write(event(number)).expect("written"));
        carrier.settle().await.expect("carried");
        assert_eq!(count(&connection), 1_000);
        assert!(Journal::left(&path).expect("readable").iter().all(|left| left.events().expect("readable").is_empty()));
    }

    #[tokio::test]
    async fn re_06_a_busy_file_is_waited_for_and_a_broken_one_refuses() {
        let (_folder, path, connection) = trail("busy");
        let carrier = Carrier::start(&path, sealer()).expect("a thread");
        connection.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        (0..100).for_each(|number| carrier.write(event(number)).expect("the journal takes it"));
        assert!(carrier.settle().await.is_err(), "who reads the trail is told");
        carrier.write(event(100)).expect("the journal takes it");
        connection.execute_batch("COMMIT; ALTER TABLE audit_event RENAME TO away").expect("broken");
        assert!(carrier.settle().await.is_err());
        assert!(matches!(carrier.write(event(101)), Err(StoreError::Audit(why)) if why.contains("audit_event")));
        connection.execute_batch("ALTER TABLE away RENAME TO audit_event").expect("mended");
        carrier.settle().await.expect("carried");
        carrier.write(event(102)).expect("written");
        carrier.settle().await.expect("carried");
        assert_eq!(count(&connection), 102, "all that were taken, and no other");
    }
}
