//! SQLite: one writer thread, several readers, on one file. <https://www.sqlite.org/wal.html>

use std::num::NonZero;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, config::DbConfig, types::ValueRef};
use sea_orm::sea_query::Value;
use sea_orm::{DbBackend, Statement, StatementBuilder};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::StoreError;
use crate::memory;
use crate::row::{Cell, Row};

pub(crate) mod commits;
pub(crate) mod writer;

/// How long a connection waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that are mapped of a file which is too large to be cached as a whole. No more, because a fault on a page that is
/// not cached reads megabytes around it, where a call reads the page alone.
const MAPPED: i64 = 256 << 20;
/// Statements that a connection keeps compiled.
const STATEMENT_CACHE: usize = 256;
/// Statements longer than this list what one search found; they never come again.
const CACHED_LENGTH: usize = 16_384;
/// Most values that a statement binds. <https://sqlite.org/limits.html#max_variable_number>
const MOST_VALUES: usize = 32_766;
/// Connections kept open for reading when nobody reads.
const IDLE_READERS: usize = 16;

/// Connections for reading; taken and given back, made when none is idle.
#[derive(Debug)]
pub(crate) struct Readers {
    path: String,
    idle: Mutex<Vec<Connection>>,
    /// Long reads that may run at once: more than the processors can run would share out the same pages to more caches.
    turns: Semaphore,
}

impl Readers {
    pub(crate) fn new(path: &str) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Readers { path: path.into(), idle: Mutex::new(Vec::new()), turns: Semaphore::new(processors.max(2) * 2) }
    }

    /// Waits until a long read may run; it may as long as what is returned lives.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.turns.acquire().await.map_err(|_closed| StoreError::Stopped)
    }

    /// Runs `work` on a connection of its own.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => open(&self.path, true)?,
        };
        let result = work(&mut connection);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
        result
    }
}

/// Opens the database file, durable: an acknowledged commit is on disk.
pub(crate) fn open(path: &str, read_only: bool) -> Result<Connection, StoreError> {
    if let Some(folder) = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|error| StoreError::Schema(format!("{}: {error}", folder.display())))?;
    }
    let access = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // Without this guarantee a statement is compiled anew whenever a value that is bound to it might change its plan.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if !read_only {
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "wal_autocheckpoint", 10_000)?;
    }
    // A transaction that changes more than the cache holds writes pages twice.
    connection.pragma_update(None, "cache_size", if read_only { -65_536 } else { -262_144 })?;
    connection.pragma_update(None, "mmap_size", mapped(path))?;
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

/// How many bytes of the file are read through memory, not by calls: all of a file that fits into half of the machine's
/// memory with room to grow, as it is in the system's cache soon and then costs neither a call nor a copy a page.
fn mapped(path: &str) -> i64 {
    let half = i64::try_from(memory::available() / 2).unwrap_or(i64::MAX);
    let length = std::fs::metadata(path).map_or(0, |file| i64::try_from(file.len()).unwrap_or(i64::MAX));
    if length.saturating_mul(2) < half { half.max(MAPPED) } else { MAPPED }
}

pub(crate) fn rows(connection: &Connection, statement: &impl StatementBuilder) -> Result<Vec<Row>, StoreError> {
    read(connection, statement, |row, columns| {
        let cells = (0..columns).map(|column| Ok(cell(row.get_ref(column)?))).collect::<Result<_, rusqlite::Error>>();
        Ok(Row { cells: cells? })
    })
}

/// What the first column holds, which must be integers.
pub(crate) fn numbers(connection: &Connection, statement: &impl StatementBuilder) -> Result<Vec<i64>, StoreError> {
    read(connection, statement, |row, _| Ok(row.get(0)?))
}

/// Reads each row of a statement; a row and how many columns it has.
fn read<T>(
    connection: &Connection,
    statement: &impl StatementBuilder,
    take: impl Fn(&rusqlite::Row<'_>, usize) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let Statement { sql, values, .. } = statement.build(&DbBackend::Sqlite);
    let values = values.map(|values| values.0).unwrap_or_default();
    if values.len() > MOST_VALUES {
        return Err(StoreError::too_many_values());
    }
    let all = |prepared: &mut rusqlite::Statement<'_>| {
        let columns = prepared.column_count();
        let mut cursor = prepared.query(rusqlite::params_from_iter(values.iter().map(Bound)))?;
        let mut found = Vec::new();
        while let Some(row) = cursor.next()? {
            found.push(take(row, columns)?);
        }
        Ok(found)
    };
    if sql.len() > CACHED_LENGTH {
        all(&mut connection.prepare(&sql)?)
    } else {
        all(&mut *connection.prepare_cached(&sql)?)
    }
}

pub(crate) fn execute(connection: &Connection, statement: &impl StatementBuilder) -> Result<u64, StoreError> {
    let Statement { sql, values, .. } = statement.build(&DbBackend::Sqlite);
    let mut prepared = connection.prepare_cached(&sql)?;
    let values = values.map(|values| values.0).unwrap_or_default();
    Ok(prepared.execute(rusqlite::params_from_iter(values.iter().map(Bound)))? as u64)
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(value) => Cell::Integer(value),
        // The schema has no real numbers; a sum or average of integers may come back as one.
        ValueRef::Real(value) => Cell::Integer(value as i64),
        ValueRef::Text(bytes) => Cell::Text(text(bytes)),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
    }
}

/// What SQLite hands out as text is UTF-8: checking that at once is much cheaper than looking for what to replace.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes).into_owned(), str::to_owned)
}

/// A value of the query builder as SQLite binds it.
struct Bound<'a>(&'a Value);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, Value as Owned};
        let borrowed = |value| Ok(ToSqlOutput::Borrowed(value));
        match self.0 {
            Value::BigInt(Some(value)) => borrowed(ValueRef::Integer(*value)),
            Value::Int(Some(value)) => borrowed(ValueRef::Integer(i64::from(*value))),
            Value::BigUnsigned(Some(value)) => i64::try_from(*value)
                .map(|value| ToSqlOutput::Owned(Owned::Integer(value)))
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error))),
            Value::Unsigned(Some(value)) => borrowed(ValueRef::Integer(i64::from(*value))),
            Value::Bool(Some(value)) => borrowed(ValueRef::Integer(i64::from(*value))),
            Value::String(Some(text)) => borrowed(ValueRef::Text(text.as_bytes())),
            Value::Bytes(Some(bytes)) => borrowed(ValueRef::Blob(bytes)),
            _ => borrowed(ValueRef::Null),
        }
    }
}

/// How SQLite would run a statement, step by step.
#[cfg(test)]
pub(crate) fn plan_of(connection: &Connection, statement: &str) -> Vec<String> {
    let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).expect("a plan");
    let steps = explained.query_map([], |row| row.get(3)).expect("steps");
    steps.collect::<Result<_, _>>().expect("steps")
}
