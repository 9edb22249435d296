//! The one thread that writes to SQLite: what waits is committed together.
//!
//! A commit costs one `fsync` however many writes it holds, so writes that arrive while another commit is under way
//! share the next one. Nobody is answered before that commit is on disk.
//!
//! A savepoint around each write would have SQLite copy every page that the write changes. So there is none at first;
//! where a write is to be undone after it changed something, all that shared its transaction is undone and done again,
//! each in a savepoint of its own.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rusqlite::Connection;

use crate::error::StoreError;
use crate::tx::Tx;

/// Most writes that share one commit: bounds what a crash can undo of unanswered work, and the wait of the first.
const BATCH: usize = 256;

/// One write whose caller waits.
pub(crate) trait Job: Send {
    /// Does the work, and says whether its changes stay. May be called again where they were undone.
    fn run(&mut self, tx: &mut Tx) -> bool;

    /// Answers the caller, with the error of the commit if it failed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// Where writes are handed in.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    jobs: Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the thread; it ends when the last handle is dropped.
    pub(crate) fn start(
        connection: Connection,
        tx: impl FnOnce(Connection) -> Tx + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel::<Box<dyn Job>>();
        thread::Builder::new().name("sqlite-writer".into()).spawn(move || run(&mut tx(connection), &queue))?;
        Ok(Writer { jobs })
    }

    pub(crate) fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.jobs.send(job).map_err(|_closed| StoreError::Stopped)
    }
}

fn run(tx: &mut Tx, queue: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        let committed = match together(tx, &mut jobs, queue) {
            Ok(true) => commit(tx),
            Ok(false) => apart(tx, &mut jobs),
            Err(error) => Err(error),
        };
        tx.end_transaction(committed.is_ok());
        if let Err(error) = &committed {
            tracing::error!(%error, "cannot commit");
            if let Err(error) = undo(tx) {
                tracing::error!(%error, "cannot roll back");
            }
        }
        for job in jobs {
            job.answer(if committed.is_ok() { Ok(()) } else { Err(StoreError::Stopped) });
        }
    }
}

/// Runs what waits in one transaction, and leaves it open. False if something has to be undone: then all of it is.
fn together(tx: &mut Tx, jobs: &mut Vec<Box<dyn Job>>, queue: &Receiver<Box<dyn Job>>) -> Result<bool, StoreError> {
    tx.batch("BEGIN IMMEDIATE")?;
    let mut done = 0;
    while let Some(job) = jobs.get_mut(done) {
        let before = tx.changes();
        let keep = carry_out(tx, job.as_mut());
        if is_undone(tx) || (!keep && tx.changes() != before) {
            tx.end_transaction(false);
            undo(tx)?;
            return Ok(false);
        }
        done += 1;
        if jobs.len() < BATCH {
            jobs.extend(queue.try_recv().ok());
        }
    }
    Ok(true)
}

/// Runs each in a savepoint and commits.
fn apart(tx: &mut Tx, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    tx.batch("BEGIN IMMEDIATE")?;
    for job in jobs {
        tx.batch("SAVEPOINT work")?;
        let keep = carry_out(tx, job.as_mut());
        tx.batch(if keep { "RELEASE work" } else { "ROLLBACK TO work; RELEASE work" })?;
    }
    commit(tx)
}

fn commit(tx: &Tx) -> Result<(), StoreError> {
    tx.seal()?;
    tx.batch("COMMIT")
}

fn carry_out(tx: &mut Tx, job: &mut dyn Job) -> bool {
    let keep = std::panic::catch_unwind(AssertUnwindSafe(|| job.run(tx))).unwrap_or(false);
    tx.end_work(keep);
    keep
}

/// Ends the transaction, if one is open, without its changes.
fn undo(tx: &Tx) -> Result<(), StoreError> {
    if is_undone(tx) { Ok(()) } else { tx.batch("ROLLBACK") }
}

/// Whether no transaction is open any more: where there is no space, no memory, or a page that cannot be read, SQLite
/// undoes all of it by itself, and each further statement would be durable alone.
/// <https://sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction>
fn is_undone(tx: &Tx) -> bool {
    tx.sqlite_connection().is_some_and(Connection::is_autocommit)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::RecvTimeoutError;
    use std::time::Duration;

    use super::*;
    use crate::keys::Known;
    use crate::{Sealer, audit};

    /// Says what it does in SQL.
    struct Sql {
        text: &'static str,
        answer: Sender<bool>,
    }

    impl Job for Sql {
        fn run(&mut self, tx: &mut Tx) -> bool {
            tx.batch(self.text).is_ok()
        }

        fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
            self.answer.send(committed.is_ok()).expect("the test waits");
        }
    }

    /// Waits until others wait behind it.
    struct First(Receiver<()>);

    impl Job for First {
        fn run(&mut self, _: &mut Tx) -> bool {
            !matches!(self.0.recv_timeout(Duration::from_secs(10)), Err(RecvTimeoutError::Timeout))
        }

        fn answer(self: Box<Self>, _: Result<(), StoreError>) {}
    }

    #[test]
    fn re_06_what_fails_for_want_of_space_leaves_nothing_of_what_is_said_to_have_failed() {
        let folder = std::env::temp_dir().join(format!("tributary-writer-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("test.sqlite");
        let connection = crate::sqlite::open(&path.to_string_lossy(), false).expect("a database");
        connection.execute_batch("CREATE TABLE made (name TEXT, body BLOB)").expect("a table");
        let known = Known::new("", Duration::from_secs(1), Sealer::of(audit::DATABASE, &[0; 32]));
        let writer = Writer::start(connection, move |connection| Tx::sqlite(connection, known)).expect("a thread");
        let (go, wait) = channel();
        writer.send(Box::new(First(wait))).expect("a writer");
        let texts = [
            ("before", "INSERT INTO made VALUES ('before', '')"),
            ("large", "PRAGMA max_page_count = 4; INSERT INTO made VALUES ('large', zeroblob(1000000))"),
            ("after", "INSERT INTO made VALUES ('after', '')"),
            ("last", "PRAGMA max_page_count = 1000000; INSERT INTO made VALUES ('last', '')"),
        ];
        let answers = texts.map(|(_, text)| {
            let (answer, answered) = channel();
            writer.send(Box::new(Sql { text, answer })).expect("a writer");
            answered
        });
        go.send(()).expect("it waits");
        let said = answers.map(|answered| answered.recv().expect("an answer"));
        let reader = crate::sqlite::open(&path.to_string_lossy(), true).expect("a database");
        let mut rows = reader.prepare("SELECT name FROM made").expect("a statement");
        let there = rows.query_map([], |row| row.get::<_, String>(0)).expect("rows");
        let there = there.collect::<Result<Vec<_>, _>>().expect("names");
        for ((name, _), said) in texts.into_iter().zip(said) {
            let durable = there.iter().any(|it| it == name);
            // The one that failed is told so by its work, not by the commit.
            assert_eq!(durable, said && name != "large", "{name}: {there:?}");
        }
        std::fs::remove_dir_all(folder).expect("it is there");
    }
}
