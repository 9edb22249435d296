//! Storage of resources, their search index and everything around them, on SQLite and on PostgreSQL.
//!
//! One SQL, two executors: statements are built once with sea-query; PostgreSQL runs them through sea-orm's pool,
//! SQLite runs them through rusqlite, reads inline on a connection of their own and writes on one thread that commits
//! many together. Schema: package `migrations`.
//!
//! To add a query: write a function on [`Store`] (reads) or [`Tx`] (writes) in the file of its table; build the
//! statement with sea-query; address columns by their position in the select list; return `Option` for look-ups.
//! Preconditions stand in the statement (`UPDATE … WHERE used_at IS NULL RETURNING …`), never before it.

use std::sync::Arc;

use sea_orm::{Database, DatabaseConnection};
use sea_orm_migration::MigratorTrait;

/// Runs an expression on a session of the store: a SQLite reader, inline, or the PostgreSQL pool.
macro_rules! with_session {
    ($store:expr, $session:ident => $work:expr) => {
        match $store.engine() {
            $crate::EngineKind::Sqlite { readers, .. } => readers.with(|connection| {
                let $session = &mut $crate::session::SqliteSession { connection, known: $store.known() };
                futures::executor::block_on(async { $work })
            }),
            $crate::EngineKind::Postgres(pool) => {
                let $session = &mut $crate::session::PoolSession { pool, known: $store.known() };
                $work
            }
        }
    };
}

/// The same for work that may take long: on SQLite it leaves the event loop.
macro_rules! with_long_session {
    ($store:expr, $session:ident => $work:expr) => {
        match $store.engine() {
            $crate::EngineKind::Sqlite { .. } => {
                let store = $store.clone();
                let work = move || {
                    let $crate::EngineKind::Sqlite { readers, .. } = store.engine() else {
                        return Err($crate::StoreError::Stopped);
                    };
                    readers.with(|connection| {
                        let $session = &mut $crate::session::SqliteSession { connection, known: store.known() };
                        futures::executor::block_on(async { $work })
                    })
                };
                tokio::task::spawn_blocking(work).await.map_err(|_panicked| $crate::StoreError::Stopped)?
            }
            $crate::EngineKind::Postgres(pool) => {
                let $session = &mut $crate::session::PoolSession { pool, known: $store.known() };
                $work
            }
        }
    };
}

mod change;
pub mod clients;
mod cursor;
mod error;
mod facts;
mod fixed;
pub mod grants;
pub mod inbox;
mod index;
mod keys;
pub mod pairings;
mod postgres;
mod reindex;
mod resources;
mod row;
mod search;
mod session;
pub mod sessions;
mod sqlite;
pub mod tokens;
mod tx;
pub mod users;
pub mod vendor_keys;
mod view;
mod write;

pub use change::Change;
pub use error::StoreError;
pub use reindex::Standing;
pub use resources::{Method, Stored};
pub use row::Row;
pub use search::SearchPage;
pub use tx::{Tx, Work};

use cursor::Cursor;
use keys::Known;
use session::Session;
use sqlite::Readers;
use sqlite::writer::Writer;

/// A database. Cloning is cheap and shares the connections.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: EngineKind,
    known: Known,
    cursor: Cursor,
}

/// Where statements run.
#[derive(Debug)]
enum EngineKind {
    Sqlite { path: String, readers: Readers, writer: Writer },
    Postgres(DatabaseConnection),
}

/// Which database holds the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Embedded, one file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Store {
    /// Opens `sqlite:PATH` (made if missing) or `postgres://…`; `key` encrypts page cursors, `base` is the FHIR base
    /// of this server without a slash at its end. Does not migrate.
    pub async fn open(database: &str, key: [u8; 32], base: &str) -> Result<Self, StoreError> {
        let known = Known::new(base);
        let engine = if let Some(path) = database.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path).to_owned();
            let (connection, shared) = (sqlite::open(&path, false)?, known.clone());
            let writer = Writer::start(connection, move |connection| Tx::sqlite(connection, shared));
            let writer = writer.map_err(|error| StoreError::Schema(format!("cannot start the writer: {error}")))?;
            EngineKind::Sqlite { readers: Readers::new(&path), path, writer }
        } else if database.starts_with("postgres://") || database.starts_with("postgresql://") {
            EngineKind::Postgres(postgres::connect(database).await?)
        } else {
            return Err(StoreError::Address(database.into()));
        };
        Ok(Store { inner: Arc::new(Inner { engine, known, cursor: Cursor::new(key) }) })
    }

    /// Which engine this is.
    pub fn kind(&self) -> Engine {
        match self.engine() {
            EngineKind::Sqlite { .. } => Engine::Sqlite,
            EngineKind::Postgres(_) => Engine::Postgres,
        }
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let connection = self.schema_connection().await?;
        migrations::Migrator::up(&connection, None).await?;
        self.number_types().await
    }

    /// Names of migrations that [`Store::migrate`] would apply.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        let connection = self.schema_connection().await?;
        let pending = migrations::Migrator::get_pending_migrations(&connection).await?;
        Ok(pending.iter().map(|migration| migration.name().to_owned()).collect())
    }

    /// Rows of a statement that reads.
    pub async fn rows(&self, statement: &impl sea_orm::StatementBuilder) -> Result<Vec<Row>, StoreError> {
        with_session!(self, session => session.rows(statement).await)
    }

    pub(crate) fn engine(&self) -> &EngineKind {
        &self.inner.engine
    }

    pub(crate) fn known(&self) -> &Known {
        &self.inner.known
    }

    pub(crate) fn cursor(&self) -> &Cursor {
        &self.inner.cursor
    }

    /// Migrations speak sea-orm on both engines.
    async fn schema_connection(&self) -> Result<DatabaseConnection, StoreError> {
        match self.engine() {
            EngineKind::Sqlite { path, .. } => Ok(Database::connect(format!("sqlite://{path}?mode=rwc")).await?),
            EngineKind::Postgres(pool) => Ok(pool.clone()),
        }
    }
}
