//! The one thread that writes to SQLite: what waits is committed together, each in a savepoint of its own.
//!
//! A commit costs one `fsync` however many writes it holds, so writes that arrive while another commit is under way
//! share the next one. Nobody is answered before that commit is on disk.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rusqlite::Connection;

use crate::error::StoreError;
use crate::tx::Tx;

/// Most writes that share one commit: bounds what a crash can undo of unanswered work, and the wait of the first.
const BATCH: usize = 256;

/// One write: does its work in the transaction and says how to answer once it is durable.
pub(crate) type Job = Box<dyn FnOnce(&mut Tx) -> Outcome + Send>;

/// What became of a write before the commit.
pub(crate) struct Outcome {
    /// Whether its changes stay.
    pub(crate) keep: bool,
    /// Answers the caller, with the error of the commit if it failed.
    pub(crate) answer: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// Where writes are handed in.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    jobs: Sender<Job>,
}

impl Writer {
    /// Starts the thread; it ends when the last handle is dropped.
    pub(crate) fn start(
        connection: Connection,
        tx: impl FnOnce(Connection) -> Tx + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        thread::Builder::new().name("sqlite-writer".into()).spawn(move || run(&mut tx(connection), &queue))?;
        Ok(Writer { jobs })
    }

    pub(crate) fn send(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.send(job).map_err(|_closed| StoreError::Stopped)
    }
}

fn run(tx: &mut Tx, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        if let Err(error) = tx.batch("BEGIN IMMEDIATE") {
            tracing::error!(%error, "cannot begin a transaction");
            // Dropping the job drops its answer, which the caller reads as `Stopped`.
            continue;
        }
        let mut answers = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            answers.extend(carry_out(tx, job));
            next = if answers.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        commit(tx, answers);
    }
}

fn carry_out(tx: &mut Tx, job: Job) -> Option<Outcome> {
    if let Err(error) = tx.batch("SAVEPOINT work") {
        tracing::error!(%error, "cannot set a savepoint");
        return None;
    }
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| job(tx))).ok();
    let keep = outcome.as_ref().is_some_and(|outcome| outcome.keep);
    let end = if keep { "RELEASE work" } else { "ROLLBACK TO work; RELEASE work" };
    tx.end_work(keep);
    match tx.batch(end) {
        Ok(()) => outcome,
        Err(error) => {
            tracing::error!(%error, "cannot end a savepoint");
            None
        }
    }
}

fn commit(tx: &mut Tx, outcomes: Vec<Outcome>) {
    let committed = tx.batch("COMMIT");
    tx.end_transaction(committed.is_ok());
    if let Err(error) = &committed {
        tracing::error!(%error, "cannot commit");
        if let Err(error) = tx.batch("ROLLBACK") {
            tracing::error!(%error, "cannot roll back");
        }
    }
    for outcome in outcomes {
        (outcome.answer)(if committed.is_ok() { Ok(()) } else { Err(StoreError::Stopped) });
    }
}
