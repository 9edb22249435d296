//! Storage of resources, their search index and everything around them, on SQLite and on PostgreSQL.
//!
//! One SQL, two executors: sea-query builds statements once for both, but for a few on the hottest paths, which are
//! written by hand for one of them. PostgreSQL runs them on connections of its own, SQLite through rusqlite. On SQLite
//! each read has a connection to itself and runs on the event loop; a search that takes longer than two milliseconds is
//! begun again off it. All writes run on one thread, which commits many together. Schema: package `migrations`.
//!
//! To add a query: write a function on [`Store`] (reads) or [`Tx`] (writes) in the file of its table; build the
//! statement with sea-query; address columns by their position in the select list; return `Option` for look-ups.
//! Preconditions stand in the statement (`UPDATE … WHERE used_at IS NULL RETURNING …`), never before it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use sea_orm_migration::MigratorTrait;

/// Runs an expression on a session of the store: a SQLite reader, inline, or the connections to PostgreSQL.
macro_rules! with_session {
    ($store:expr, $session:ident => $work:expr) => {
        match $store.executor() {
            $crate::Executor::Sqlite { readers, commits, .. } => readers.with(|connection| {
                let $session = &mut $crate::session::SqliteSession::new(connection, $store.known(), Some(commits));
                futures::executor::block_on(async { $work })
            }),
            $crate::Executor::Postgres { lines, asks, .. } => {
                let $session = &mut $crate::session::LineSession { lines, asks: (asks, lines), known: $store.known() };
                // On the heap: what waits for an answer would be as large as all that asks.
                Box::pin(async move { $work }).await
            }
        }
    };
}

/// The same for work that may take long: what SQLite has not done soon is begun again outside of the event loop. Most
/// is, for less than it costs to change threads twice.
macro_rules! with_long_session {
    ($store:expr, $session:ident => $work:expr) => {
        match $store.executor() {
            $crate::Executor::Sqlite { readers, commits, .. } => {
                let soon = readers.with(|connection| {
                    let $session = &mut $crate::session::SqliteSession::brief(connection, $store.known(), commits)?;
                    let done = futures::executor::block_on(async { $work });
                    // What failed in time fails again.
                    if done.is_err() && $crate::session::Session::is_late($session) { Ok(None) } else { done.map(Some) }
                });
                if let Some(soon) = soon.transpose() {
                    soon
                } else {
                    let store = $store.clone();
                    let _turn = readers.turn().await?;
                    let work = move || {
                        let $crate::Executor::Sqlite { readers, commits, .. } = store.executor() else {
                            return Err($crate::StoreError::Stopped);
                        };
                        readers.with(|connection| {
                            let $session =
                                &mut $crate::session::SqliteSession::new(connection, store.known(), Some(commits));
                            futures::executor::block_on(async { $work })
                        })
                    };
                    tokio::task::spawn_blocking(work).await.map_err(|_panicked| $crate::StoreError::Stopped)?
                }
            }
            $crate::Executor::Postgres { lines, long, asks, .. } => {
                let $session =
                    &mut $crate::session::LineSession { lines: long, asks: (asks, lines), known: $store.known() };
                Box::pin(async move { $work }).await
            }
        }
    };
}

/// Runs a search for as long as it may take; one that takes longer is too costly. (IN-17)
macro_rules! within_limit {
    ($session:expr, $work:expr) => {{
        let limit = $session.known().search_limit;
        $session.limit(Some(limit))?;
        let result = $work.await;
        $session.limit(None)?;
        result.map_err(|error: $crate::StoreError| error.of_search(limit))
    }};
}

pub mod apps;
pub mod assertions;
pub mod audit;
mod body;
pub mod bulk;
mod change;
pub mod claim_exchanges;
pub mod claim_submissions;
pub mod clients;
pub mod connections;
mod cursor;
mod error;
pub mod events;
pub mod external_identities;
mod facts;
mod fixed;
mod foresight;
mod gather;
pub mod grants;
mod history;
mod horizon;
pub mod inbox;
mod index;
mod index_facts;
pub mod insurance_sessions;
pub mod invitations;
pub mod jobs;
mod keys;
pub mod launches;
mod memory;
pub mod pairings;
pub mod passkeys;
mod postgres;
pub mod pushed_requests;
pub mod recoveries;
mod reindex;
mod remembered;
mod replace;
mod resources;
pub mod roles;
mod row;
mod search;
pub mod search_parameters;
pub mod second_factors;
mod session;
pub mod sessions;
pub mod sharing;
pub mod signed_in;
pub mod signing_keys;
mod sqlite;
mod together;
pub mod tokens;
mod tx;
pub mod usage;
pub mod users;
pub mod vendor_keys;
mod view;
pub mod withdrawals;
mod write;

pub use change::Change;
pub use error::StoreError;
pub use foresight::Birth;
pub use history::feed::{Fed, Happening, Place, Sight};
pub use history::snapshot::{Among, Held, Members, StatePage, StateQuery};
pub use history::{HistoryOf, HistoryPage, HistoryQuery, Listed, Version};
pub use index_facts::{Difference, ParameterRows};
pub use reindex::Standing;
pub use resources::{Method, Stored};
pub use search::{ExplainedStep, SearchPage};
pub use tx::{Tx, Work};

use audit::carrier::Carrier;
use audit::log::Log;
use audit::seal::Sealer;
use cursor::Cursor;
use keys::Known;
use postgres::asks::Asks;
use postgres::lines::Lines;
use remembered::AsOf;
use row::Row;
use session::Session;
use sqlite::Readers;
use sqlite::commits::Commits;
use sqlite::writer::Writer;

/// How long a search may take if nothing else is said.
pub const SEARCH_LIMIT: Duration = Duration::from_secs(30);

/// A database. Cloning is cheap and shares the connections.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    executor: Executor,
    known: Known,
    cursor: Cursor,
}

/// What runs the statements.
#[derive(Debug)]
enum Executor {
    Sqlite { path: String, readers: Readers, commits: Commits, writer: Writer, trail: Box<Trail> },
    Postgres { address: String, lines: Lines, long: Lines, asks: Arc<Asks>, trail: Log },
}

/// The file beside an SQLite database that holds the audit trail of everything but writes.
#[derive(Debug)]
struct Trail {
    path: PathBuf,
    readers: Readers,
    carrier: Carrier,
    sealer: Sealer,
}

/// Which database holds the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Embedded, one file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Trail {
    fn beside(database: &str, sealer: Sealer) -> std::io::Result<Self> {
        let path = PathBuf::from(format!("{database}-audit.db"));
        let carrier = Carrier::start(&path, sealer.clone())?;
        Ok(Trail { readers: Readers::new(&path.to_string_lossy()), carrier, path, sealer })
    }
}

impl Store {
    /// Opens `sqlite:PATH` (made if missing) or `postgres://…`; `key` encrypts page cursors and signs the seals of the
    /// audit trail, `base` is the FHIR base of this server without a slash at its end. Does not migrate.
    pub async fn open(database: &str, key: [u8; 32], base: &str) -> Result<Self, StoreError> {
        Self::open_with(database, key, base, SEARCH_LIMIT).await
    }

    /// As [`Store::open`]; a search that takes longer than `search_limit` is given up with
    /// [`StoreError::TooCostly`]. On PostgreSQL it bounds every single statement. (IN-17)
    pub async fn open_with(
        database: &str,
        key: [u8; 32],
        base: &str,
        search_limit: Duration,
    ) -> Result<Self, StoreError> {
        let known = Known::new(base, search_limit, Sealer::of(audit::DATABASE, &key));
        let executor = if let Some(path) = database.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path).to_owned();
            let (connection, shared) = (sqlite::open(&path, false)?, known.clone());
            let writer = Writer::start(connection, move |connection| Tx::sqlite(connection, shared));
            let writer = writer.map_err(|error| StoreError::Schema(format!("cannot start the writer: {error}")))?;
            let trail = Trail::beside(&path, Sealer::of(audit::BESIDE, &key));
            let trail = trail.map_err(|error| StoreError::Schema(format!("cannot start the audit: {error}")))?;
            let (readers, commits) = (Readers::new(&path), Commits::of(&path));
            Executor::Sqlite { readers, commits, path, writer, trail: Box::new(trail) }
        } else if database.starts_with("postgres://") || database.starts_with("postgresql://") {
            let lines = postgres::lines(database, search_limit, &known)?;
            // Whoever starts the server is told at once that it does not answer.
            drop(lines.take().await?);
            Executor::Postgres {
                lines,
                long: postgres::long_lines(database, search_limit, &known)?,
                asks: Arc::new(Asks::new()),
                trail: Log::start(database)?,
                address: database.into(),
            }
        } else {
            return Err(StoreError::Address(database.into()));
        };
        Ok(Store { inner: Arc::new(Inner { executor, known, cursor: Cursor::new(key) }) })
    }

    /// Which engine this is.
    pub fn engine(&self) -> Engine {
        match self.executor() {
            Executor::Sqlite { .. } => Engine::Sqlite,
            Executor::Postgres { .. } => Engine::Postgres,
        }
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let connection = self.schema_connection().await?;
        migrations::Migrator::up(&connection, None).await?;
        if let Some(trail) = self.trail_connection().await? {
            migrations::TrailMigrator::up(&trail, None).await?;
            self.seal_events().await?;
        }
        self.number_types().await
    }

    /// Names of migrations that [`Store::migrate`] would apply.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        let connection = self.schema_connection().await?;
        let pending = migrations::Migrator::get_pending_migrations(&connection).await?;
        let mut names: Vec<String> = pending.iter().map(|migration| migration.name().to_owned()).collect();
        let Executor::Sqlite { trail, .. } = self.executor() else { return Ok(names) };
        // looking makes no file
        let beside = if trail.path.exists() { self.trail_connection().await? } else { None };
        let beside = match beside {
            Some(connection) => migrations::TrailMigrator::get_pending_migrations(&connection).await?.len(),
            None => migrations::TrailMigrator::migrations().len(),
        };
        if beside > 0 {
            names.push(format!("{beside} of the audit trail"));
        }
        Ok(names)
    }

    /// Has PostgreSQL count what a load has brought; by itself it would within minutes. SQLite does not plan by counts.
    pub async fn count_rows(&self) -> Result<(), StoreError> {
        if self.engine() == Engine::Postgres {
            self.schema_connection().await?.execute_unprepared("ANALYZE").await?;
        }
        Ok(())
    }

    /// Rows of a statement that reads.
    pub(crate) async fn rows(&self, statement: &impl sea_orm::StatementBuilder) -> Result<Vec<Row>, StoreError> {
        with_session!(self, session => session.rows(statement).await)
    }

    pub(crate) fn executor(&self) -> &Executor {
        &self.inner.executor
    }

    /// What the data is like now, where that is cheap to know: on SQLite.
    pub(crate) fn snapshot(&self) -> Option<AsOf> {
        match self.executor() {
            Executor::Sqlite { commits, .. } => commits.snapshot().map(AsOf::Commit),
            Executor::Postgres { .. } => None,
        }
    }

    /// What all that access tokens stand on is like now, where that can be known.
    pub(crate) async fn access_as_of(&self) -> Result<Option<AsOf>, StoreError> {
        match self.executor() {
            Executor::Sqlite { .. } => Ok(self.snapshot()),
            Executor::Postgres { lines, asks, .. } => asks.access.ask(lines, ()).await.map(Some),
        }
    }

    pub(crate) fn known(&self) -> &Known {
        &self.inner.known
    }

    pub(crate) fn cursor(&self) -> &Cursor {
        &self.inner.cursor
    }

    /// The file of the audit trail, on SQLite.
    async fn trail_connection(&self) -> Result<Option<DatabaseConnection>, StoreError> {
        let Executor::Sqlite { trail, .. } = self.executor() else { return Ok(None) };
        let address = format!("sqlite://{}?mode=rwc", trail.path.display());
        Ok(Some(Database::connect(postgres::lasting(&address)).await?))
    }

    /// Migrations speak sea-orm on both engines.
    async fn schema_connection(&self) -> Result<DatabaseConnection, StoreError> {
        match self.executor() {
            Executor::Sqlite { path, .. } => {
                Ok(Database::connect(postgres::lasting(&format!("sqlite://{path}?mode=rwc"))).await?)
            }
            Executor::Postgres { address, .. } => postgres::connect(address).await,
        }
    }
}
