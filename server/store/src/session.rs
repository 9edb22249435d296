//! What a statement runs on: a reader, a pool or a transaction, on either engine.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, StatementBuilder};

use crate::error::StoreError;
use crate::keys::{Known, ResourceKey};
use crate::postgres;
use crate::row::Row;
use crate::sqlite;

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: std::ffi::c_int = 10_000;

/// Runs statements that read.
pub(crate) trait Session: Send {
    /// Rows of a statement.
    fn rows(&mut self, statement: &impl StatementBuilder) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// From now on statements may take this long together; none: as long as they like. (IN-17)
    /// PostgreSQL bounds each statement by itself, see [`postgres::connect`].
    fn limit(&mut self, limit: Option<Duration>) -> Result<(), StoreError>;

    /// Which dialect is spoken.
    fn backend(&self) -> DbBackend;

    /// Targets and types known without asking.
    fn known(&self) -> &Known;

    /// Remembers the number of what is referred to, read from what is committed.
    fn remember_target(&self, key: ResourceKey, target: i64) {
        self.known().targets.insert(key, target);
    }

    /// Number of what is referred to, if it is remembered.
    fn recent_target(&self, key: &ResourceKey) -> Option<i64> {
        self.known().targets.get(key)
    }
}

/// A reader on SQLite: futures on it are ready at once.
pub(crate) struct SqliteSession<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) known: &'a Known,
}

impl Session for SqliteSession<'_> {
    async fn rows(&mut self, statement: &impl StatementBuilder) -> Result<Vec<Row>, StoreError> {
        sqlite::rows(self.connection, statement)
    }

    fn limit(&mut self, limit: Option<Duration>) -> Result<(), StoreError> {
        interrupt_after(self.connection, limit)
    }

    fn backend(&self) -> DbBackend {
        DbBackend::Sqlite
    }

    fn known(&self) -> &Known {
        self.known
    }
}

/// The pool of PostgreSQL connections.
pub(crate) struct PoolSession<'a> {
    pub(crate) pool: &'a DatabaseConnection,
    pub(crate) known: &'a Known,
}

impl Session for PoolSession<'_> {
    async fn rows(&mut self, statement: &impl StatementBuilder) -> Result<Vec<Row>, StoreError> {
        let statement = statement.build(&DbBackend::Postgres);
        postgres::rows(&self.pool.query_all_raw(statement).await?)
    }

    fn limit(&mut self, _limit: Option<Duration>) -> Result<(), StoreError> {
        Ok(())
    }

    fn backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    fn known(&self) -> &Known {
        self.known
    }
}

/// Lets SQLite give up what it does on this connection when the time is over.
pub(crate) fn interrupt_after(connection: &Connection, limit: Option<Duration>) -> Result<(), StoreError> {
    let handler = limit.map(|limit| {
        let begin = Instant::now();
        move || begin.elapsed() > limit
    });
    Ok(connection.progress_handler(STEPS, handler)?)
}
