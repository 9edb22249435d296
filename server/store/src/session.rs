//! What a statement runs on: a reader, a pool or a transaction, on either engine.

use rusqlite::Connection;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, StatementBuilder};

use crate::error::StoreError;
use crate::keys::{Known, ResourceKey};
use crate::postgres;
use crate::row::Row;
use crate::sqlite;

/// Runs statements that read.
pub(crate) trait Session {
    /// Rows of a statement.
    fn rows(&mut self, statement: &impl StatementBuilder) -> impl Future<Output = Result<Vec<Row>, StoreError>>;

    /// Which dialect is spoken.
    fn backend(&self) -> DbBackend;

    /// Targets and types known without asking.
    fn known(&self) -> &Known;

    /// Number of what is referred to, if it is remembered.
    fn recent_target(&self, key: &ResourceKey) -> Option<i64> {
        self.known().targets.get(key)
    }
}

/// A reader on SQLite: futures on it are ready at once.
pub(crate) struct SqliteSession<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) known: &'a Known,
}

impl Session for SqliteSession<'_> {
    async fn rows(&mut self, statement: &impl StatementBuilder) -> Result<Vec<Row>, StoreError> {
        sqlite::rows(self.connection, statement)
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

    fn backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    fn known(&self) -> &Known {
        self.known
    }
}
