//! What a statement runs on: a reader, a pool or a transaction, on either engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use sea_orm::{DbBackend, StatementBuilder};

use crate::error::StoreError;
use crate::keys::{Known, ResourceKey};
use crate::postgres::asks::Asks;
use crate::postgres::lines::Lines;
use crate::remembered::AsOf;
use crate::row::Row;
use crate::sqlite;
use crate::sqlite::commits::Commits;

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: std::ffi::c_int = 10_000;
/// The same of what is to be done soon.
const FEW_STEPS: std::ffi::c_int = 1_000;
/// How long other requests may wait for a search on the thread that answers them too.
pub(crate) const SOON: Duration = Duration::from_millis(2);

/// Runs statements that read.
pub(crate) trait Session: Send {
    /// Rows of a statement.
    fn rows(&mut self, statement: &impl StatementBuilder) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// The integers that a statement of one column finds. Many of them come cheaper so than as [rows](Self::rows).
    fn numbers(
        &mut self,
        statement: &impl StatementBuilder,
    ) -> impl Future<Output = Result<Vec<i64>, StoreError>> + Send {
        let rows = self.rows(statement);
        async move { rows.await?.iter().map(|row| row.i64(0)).collect() }
    }

    /// From now on statements may take this long together; none: as long as they like. (IN-17)
    /// PostgreSQL bounds each statement by itself, see [`crate::postgres::lines()`].
    fn limit(&mut self, limit: Option<Duration>) -> Result<(), StoreError>;

    /// Whether work that is to be done soon takes too long: it is begun again where nobody waits for its thread.
    fn is_late(&self) -> bool {
        false
    }

    /// Where questions are asked together with those of others; not within a transaction, which sees what others do not.
    fn asks(&self) -> Option<(Arc<Asks>, Lines)> {
        None
    }

    /// Which dialect is spoken.
    fn backend(&self) -> DbBackend;

    /// Targets and types known without asking.
    fn known(&self) -> &Known;

    /// What the data is like now, where that is cheap to know: outside of a transaction on SQLite.
    fn as_of(&self) -> Option<AsOf> {
        None
    }

    /// Remembers the number of what is referred to, read from what is committed.
    fn remember_target(&self, key: ResourceKey, target: i64) {
        self.known().targets.insert(key, target);
    }

    /// Remembers the text of a number, read from what is committed.
    fn remember_text(&self, number: i64, text: &Arc<str>) {
        self.known().texts.insert(number, text.clone());
    }

    /// Number of what is referred to, if it is remembered.
    fn recent_target(&self, key: &ResourceKey) -> Option<i64> {
        self.known().targets.get(key)
    }
}

/// A reader on SQLite: futures on it are ready at once.
pub(crate) struct SqliteSession<'a> {
    connection: &'a mut Connection,
    known: &'a Known,
    /// Tells what the data is like; none where it is not the data that is known of.
    commits: Option<&'a Commits>,
    /// When it began, if it is to be done soon.
    begun: Option<Instant>,
}

impl<'a> SqliteSession<'a> {
    /// One that takes the time it needs.
    pub(crate) fn new(connection: &'a mut Connection, known: &'a Known, commits: Option<&'a Commits>) -> Self {
        SqliteSession { connection, known, commits, begun: None }
    }

    /// One whose statements fail if all of them together are not done [soon](SOON).
    pub(crate) fn brief(
        connection: &'a mut Connection,
        known: &'a Known,
        commits: &'a Commits,
    ) -> Result<Self, StoreError> {
        // Before the clock of SQLite: what that one has stopped is late by this one.
        let begun = Instant::now();
        stop_after(connection, FEW_STEPS, Some(SOON))?;
        Ok(SqliteSession { connection, known, commits: Some(commits), begun: Some(begun) })
    }
}

impl Drop for SqliteSession<'_> {
    fn drop(&mut self) {
        if self.begun.is_some() {
            // Fails for a closed connection only.
            let _ = stop_after(self.connection, FEW_STEPS, None);
        }
    }
}

impl Session for SqliteSession<'_> {
    async fn rows(&mut self, statement: &impl StatementBuilder) -> Result<Vec<Row>, StoreError> {
        sqlite::rows(self.connection, statement)
    }

    async fn numbers(&mut self, statement: &impl StatementBuilder) -> Result<Vec<i64>, StoreError> {
        sqlite::numbers(self.connection, statement)
    }

    fn limit(&mut self, limit: Option<Duration>) -> Result<(), StoreError> {
        if self.begun.is_some() { Ok(()) } else { interrupt_after(self.connection, limit) }
    }

    fn is_late(&self) -> bool {
        self.begun.is_some_and(|begun| begun.elapsed() > SOON)
    }

    fn backend(&self) -> DbBackend {
        DbBackend::Sqlite
    }

    fn as_of(&self) -> Option<AsOf> {
        self.commits?.snapshot().map(AsOf::Commit)
    }

    fn known(&self) -> &Known {
        self.known
    }
}

/// The connections to PostgreSQL.
pub(crate) struct LineSession<'a> {
    pub(crate) lines: &'a Lines,
    /// What is asked together, and the connections for that.
    pub(crate) asks: (&'a Arc<Asks>, &'a Lines),
    pub(crate) known: &'a Known,
}

impl Session for LineSession<'_> {
    async fn rows(&mut self, statement: &impl StatementBuilder) -> Result<Vec<Row>, StoreError> {
        let statement = statement.build(&DbBackend::Postgres);
        self.lines.rows(statement).await
    }

    fn asks(&self) -> Option<(Arc<Asks>, Lines)> {
        Some((self.asks.0.clone(), self.asks.1.clone()))
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
    stop_after(connection, STEPS, limit)
}

fn stop_after(connection: &Connection, steps: std::ffi::c_int, limit: Option<Duration>) -> Result<(), StoreError> {
    let handler = limit.map(|limit| {
        let begin = Instant::now();
        move || begin.elapsed() > limit
    });
    Ok(connection.progress_handler(steps, handler)?)
}
