//! A transaction: the only handle that changes anything.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use rusqlite::Connection;
use sea_orm::{DbBackend, StatementBuilder};

use crate::audit::Event;
use crate::audit::seal::Leaf;
use crate::change::Head;
use crate::error::StoreError;
use crate::foresight::Born;
use crate::index::Pending;
use crate::keys::{Known, ResourceKey};
use crate::postgres::lines::Line;
use crate::row::Row;
use crate::session::Session;
use crate::sqlite;

/// Work in a transaction, as [`crate::Store::write`] takes it.
pub type Work<'t, T, E> = BoxFuture<'t, Result<T, E>>;

/// An open transaction on either engine.
///
/// On SQLite its futures are always ready at once: work runs to its end on the writer thread. So work awaits nothing
/// but methods of this type.
#[derive(Debug)]
pub struct Tx {
    engine: Engine,
    known: Known,
    /// Targets found or made by the present work; become known to all when it is committed.
    pub(crate) found: HashMap<ResourceKey, i64>,
    /// Tokens that the present work put into the dictionary.
    pub(crate) found_tokens: Vec<i64>,
    /// The same of earlier works that share the commit.
    kept: HashMap<ResourceKey, i64>,
    kept_tokens: Vec<i64>,
    /// Rows that wait to be written with others of their table.
    pub(crate) pending: Pending,
    /// Rows of resources that are locked and have not been changed, on PostgreSQL.
    pub(crate) heads: HashMap<ResourceKey, Head>,
    /// Rows of resources whose first version the present work is yet to put.
    pub(crate) born: HashMap<ResourceKey, Born>,
    /// The instant of its versions, once it was asked for, on PostgreSQL.
    pub(crate) instant: Option<i64>,
    crossed: bool,
    /// What the present work tells the audit trail.
    pub(crate) event: Option<Event>,
    /// Events of the present work that nothing more is added to.
    pub(crate) ended_events: Vec<Event>,
    /// Its events that are to be sealed with the commit, on SQLite: of the present work, and of earlier ones that share
    /// the commit.
    pub(crate) leaves: Vec<Leaf>,
    kept_leaves: Vec<Leaf>,
    /// What is to be called after the commit: of the present work, and of earlier ones that share it.
    calls: Vec<Call>,
    kept_calls: Vec<Call>,
}

/// See [`Tx::on_commit`].
struct Call(Box<dyn FnOnce() + Send>);

#[derive(Debug)]
enum Engine {
    Sqlite(Connection),
    Postgres(Line),
}

impl Tx {
    /// Rows of a statement, also of one that changes and returns.
    pub(crate) async fn rows(&mut self, statement: &impl StatementBuilder) -> Result<Vec<Row>, StoreError> {
        let result = self.try_rows(statement).await;
        result.map_err(|error| self.note(error))
    }

    async fn try_rows(&mut self, statement: &impl StatementBuilder) -> Result<Vec<Row>, StoreError> {
        match &mut self.engine {
            Engine::Sqlite(connection) => sqlite::rows(connection, statement),
            Engine::Postgres(line) => line.rows(statement.build(&DbBackend::Postgres)).await,
        }
    }

    /// How many rows a statement changed.
    pub(crate) async fn execute(&mut self, statement: &impl StatementBuilder) -> Result<u64, StoreError> {
        let result = self.try_execute(statement).await;
        result.map_err(|error| self.note(error))
    }

    async fn try_execute(&mut self, statement: &impl StatementBuilder) -> Result<u64, StoreError> {
        match &mut self.engine {
            Engine::Sqlite(connection) => sqlite::execute(connection, statement),
            Engine::Postgres(line) => line.execute(statement.build(&DbBackend::Postgres)).await,
        }
    }

    /// Has `call` called when the present work is on disk, before its caller is answered; not if it is undone.
    pub fn on_commit(&mut self, call: impl FnOnce() + Send + 'static) {
        self.calls.push(Call(Box::new(call)));
    }

    pub(crate) fn sqlite(connection: Connection, known: Known) -> Self {
        Tx::new(Engine::Sqlite(connection), known)
    }

    /// A transaction that has begun on a connection.
    pub(crate) fn postgres(line: Line, known: Known) -> Self {
        Tx::new(Engine::Postgres(line), known)
    }

    fn new(engine: Engine, known: Known) -> Self {
        Tx {
            engine,
            known,
            found: HashMap::new(),
            found_tokens: Vec::new(),
            kept: HashMap::new(),
            kept_tokens: Vec::new(),
            pending: Pending::default(),
            heads: HashMap::new(),
            born: HashMap::new(),
            instant: None,
            crossed: false,
            event: None,
            ended_events: Vec::new(),
            leaves: Vec::new(),
            kept_leaves: Vec::new(),
            calls: Vec::new(),
            kept_calls: Vec::new(),
        }
    }

    /// Remembers whether an error came of two transactions that crossed, so that a repetition may succeed.
    pub(crate) fn note(&mut self, error: StoreError) -> StoreError {
        self.crossed |= matches!(error, StoreError::Conflict) || error.is_serialization_failure();
        error
    }

    /// Whether a repetition may succeed.
    pub(crate) fn crossed(&self) -> bool {
        self.crossed
    }

    /// The connection, to run many small statements without building each anew.
    pub(crate) fn sqlite_connection(&self) -> Option<&Connection> {
        if let Engine::Sqlite(connection) = &self.engine { Some(connection) } else { None }
    }

    /// Runs fixed statements that return nothing, on SQLite.
    pub(crate) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// How many rows this connection has changed so far, on SQLite.
    pub(crate) fn changes(&self) -> u64 {
        self.sqlite_connection().map_or(0, Connection::total_changes)
    }

    /// The present work is over: what it found stays known if its changes stay.
    pub(crate) fn end_work(&mut self, keep: bool) {
        self.pending = Pending::default();
        self.born.clear();
        self.event = None;
        self.ended_events.clear();
        if keep {
            self.kept.extend(self.found.drain());
            self.kept_tokens.append(&mut self.found_tokens);
            self.kept_calls.append(&mut self.calls);
            self.kept_leaves.append(&mut self.leaves);
        } else {
            self.calls.clear();
            self.leaves.clear();
            self.found.clear();
            self.found_tokens.clear();
        }
    }

    /// The transaction is over: if it was committed, its targets are known to all from now on.
    pub(crate) fn end_transaction(&mut self, committed: bool) {
        self.kept_leaves.clear();
        for (key, target) in self.kept.drain().filter(|_| committed) {
            self.known.targets.insert(key, target);
        }
        for token in self.kept_tokens.drain(..).filter(|_| committed) {
            self.known.tokens.insert(token, ());
        }
        for Call(call) in self.kept_calls.drain(..).filter(|_| committed) {
            call();
        }
    }

    /// The events that the commit seals.
    pub(crate) fn leaves_to_commit(&self) -> &[Leaf] {
        &self.kept_leaves
    }

    /// Undoes everything, on PostgreSQL. Where that fails, the engine does it when the connection ends.
    pub(crate) async fn undo(self) {
        if let Engine::Postgres(mut line) = self.engine
            && let Err(error) = line.undo().await
        {
            tracing::debug!(%error, "a transaction is undone with its connection");
        }
    }

    /// Commits, on PostgreSQL.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        self.end_work(true);
        let Tx { engine, known, kept, kept_tokens, kept_calls, .. } = self;
        if let Engine::Postgres(mut line) = engine {
            line.commit().await?;
        }
        for (key, target) in kept {
            known.targets.insert(key, target);
        }
        for token in kept_tokens {
            known.tokens.insert(token, ());
        }
        for Call(call) in kept_calls {
            call();
        }
        Ok(())
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Call")
    }
}

impl Session for Tx {
    async fn rows(&mut self, statement: &impl StatementBuilder) -> Result<Vec<Row>, StoreError> {
        Tx::rows(self, statement).await
    }

    fn remember_target(&self, _key: ResourceKey, _target: i64) {
        // It may be this transaction that made it, and that undoes it.
    }

    fn remember_text(&self, _number: i64, _text: &Arc<str>) {
        // Undone, its number is given to another text.
    }

    fn limit(&mut self, limit: Option<std::time::Duration>) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(connection) => crate::session::interrupt_after(connection, limit),
            Engine::Postgres(_) => Ok(()),
        }
    }

    fn backend(&self) -> DbBackend {
        match &self.engine {
            Engine::Sqlite(_) => DbBackend::Sqlite,
            Engine::Postgres(_) => DbBackend::Postgres,
        }
    }

    fn known(&self) -> &Known {
        &self.known
    }

    fn recent_target(&self, key: &ResourceKey) -> Option<i64> {
        let local = self.found.get(key).or_else(|| self.kept.get(key)).copied();
        local.or_else(|| self.known.targets.get(key))
    }
}
