//! Whether anything was committed since: the header of the WAL index, which changes with each commit of any process.
//! <https://www.sqlite.org/walformat.html#the_wal_index_file_format>
//!
//! One read of 96 bytes tells it, where a statement takes locks and looks through trees.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Bytes of one copy of the header, of which there are two.
const HEADER: usize = 48;

/// Where in it stands whether the index is in use.
const IS_INITIALIZED: usize = 12;

/// What a database was like at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot([u8; HEADER]);

/// Looks at the WAL index beside a database.
#[derive(Debug)]
pub(crate) struct Commits {
    path: PathBuf,
    /// Never closed: closing any handle of a file gives up all locks that this process has on it, SQLite's too.
    /// <https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>
    index: OnceLock<ManuallyDrop<File>>,
}

impl Commits {
    pub(crate) fn of(database: &str) -> Self {
        Commits { path: PathBuf::from(format!("{database}-shm")), index: OnceLock::new() }
    }

    /// The database as it is now. Whoever finds the same later sees the same data. Nothing where it cannot be known:
    /// while a commit is under way, and on systems whose files are not read so.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        let index = if let Some(index) = self.index.get() {
            index
        } else {
            let opened = ManuallyDrop::new(File::open(&self.path).ok()?);
            self.index.get_or_init(|| opened)
        };
        let mut both = [0; 2 * HEADER];
        read(index, &mut both)?;
        let (one, other) = both.split_at(HEADER);
        let settled = one == other && one[IS_INITIALIZED] == 1;
        settled.then(|| Snapshot(std::array::from_fn(|at| one[at])))
    }
}

#[cfg(unix)]
fn read(index: &File, into: &mut [u8]) -> Option<()> {
    use std::os::unix::fs::FileExt as _;
    index.read_exact_at(into, 0).ok()
}

#[cfg(not(unix))]
fn read(_index: &File, _into: &mut [u8]) -> Option<()> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_of_any_connection_is_noticed_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("tributary-commits-{}", std::process::id()));
        let path = folder.join("a.db");
        let database = path.to_string_lossy().into_owned();
        let commits = Commits::of(&database);
        assert_eq!(commits.snapshot(), None, "no database");
        let writer = crate::sqlite::open(&database, false).expect("a database");
        let other = crate::sqlite::open(&database, false).expect("another connection");
        writer.execute_batch("CREATE TABLE t (x)").expect("a table");
        let mut before = commits.snapshot().expect("a header");
        for connection in [&writer, &other, &writer] {
            connection.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").expect("a row");
            assert!(commits.snapshot() == Some(before), "nothing is committed");
            connection.execute_batch("COMMIT").expect("committed");
            assert!(commits.snapshot() != Some(before));
            before = commits.snapshot().expect("a header");
            let count: i64 = other.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("a number");
            assert!(count > 0 && commits.snapshot() == Some(before), "reading changes nothing");
        }
        // After the log has been carried into the file it begins anew.
        writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (2)").expect("a row");
        assert!(commits.snapshot() != Some(before));
        drop((writer, other));
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
