//! Connections to PostgreSQL that stay open, each taken for a statement or a transaction and given back.
//!
//! The pool of sqlx asks a connection whether it still answers whenever it is given back: a message and an answer after
//! each statement, as many again as the statements themselves. And it hands any connection to any thread, while the
//! answers of each wake the thread that opened it, which wakes the other. Here a connection is given back as it is, and
//! to the threads that opened it first. One on which an answer is outstanding, because who asked went away, is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sea_orm::sqlx::error::Error as SqlxError;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{Connection as _, Executor as _};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, Statement};
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{CONNECT, PATIENCE, prepared, read};
use crate::error::StoreError;
use crate::keys::Known;
use crate::row::Row;

/// Where connections are taken from. Cloning is cheap and shares them.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: PgConnectOptions,
    /// One for each connection that may be open: who waits here is served in turn.
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Open>>,
    /// What has been read on them.
    known: Option<Known>,
}

/// An open connection, and the runtime whose threads its answers wake.
#[derive(Debug)]
struct Open {
    connection: PgConnection,
    home: Id,
}

/// A connection that nobody else uses; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Line {
    shared: Arc<Shared>,
    open: Option<Open>,
    state: State,
    /// Whether a transaction is open on it.
    is_transaction: bool,
    /// Held until it is given back.
    turn: Option<OwnedSemaphorePermit>,
}

/// What a connection would have to be asked before others use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing.
    Free,
    /// Whatever is under way: it is in doubt whether its answers have all been read.
    Busy,
    /// It has failed.
    Broken,
}

impl Lines {
    /// Opens nothing yet. Where one is lost, `known` forgets what it had read.
    pub(crate) fn new(options: PgConnectOptions, most: usize, known: Option<Known>) -> Self {
        let turns = Arc::new(Semaphore::new(most));
        Lines { shared: Arc::new(Shared { options, turns, idle: Mutex::default(), known }) }
    }

    /// A connection: one that the present runtime opened, another, or a new one.
    pub(crate) async fn take(&self) -> Result<Line, StoreError> {
        let turn = tokio::time::timeout(PATIENCE, self.shared.turns.clone().acquire_owned());
        let turn = match turn.await {
            Ok(turn) => turn.map_err(|_closed| StoreError::Stopped)?,
            Err(_elapsed) => return Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout).into()),
        };
        let here = Handle::current().id();
        let idle = self.shared.idle(here);
        let open = match idle {
            Some(open) => open,
            None => Open { connection: self.shared.connect().await?, home: here },
        };
        Ok(Line {
            shared: self.shared.clone(),
            open: Some(open),
            state: State::Free,
            is_transaction: false,
            turn: Some(turn),
        })
    }
}

impl Lines {
    /// Rows of a statement that changes nothing, so that it may be asked again where the connection was lost.
    pub(crate) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let mut line = self.take().await?;
        let found = line.rows(statement.clone()).await;
        if !line.is_lost() {
            return found;
        }
        drop(line);
        self.forget();
        self.take().await?.rows(statement).await
    }

    /// A connection on which a transaction has begun.
    pub(crate) async fn begin(&self) -> Result<Line, StoreError> {
        let mut line = self.take().await?;
        let begun = line.begin().await;
        if line.is_lost() {
            drop(line);
            self.forget();
            line = self.take().await?;
            line.begin().await?;
        } else {
            begun?;
        }
        Ok(line)
    }

    /// Closes what is idle: where one connection was lost, such as by a restart of the engine, the others are as well.
    fn forget(&self) {
        self.shared.lock().clear();
        if let Some(known) = &self.shared.known {
            known.forget_numbers();
        }
    }
}

impl Shared {
    /// One that is open and not in use. One of another runtime is taken only where no further one may be opened.
    fn idle(&self, here: Id) -> Option<Open> {
        let mut idle = self.lock();
        let own = idle.iter().rposition(|open| open.home == here);
        // All that are open are idle or have a turn: with this one's, as many may be open.
        let is_full = idle.len() > self.turns.available_permits();
        let position = own.or_else(|| Some(0).filter(|_| is_full && !idle.is_empty()))?;
        Some(idle.remove(position))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Open>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let failed = |error: SqlxError| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)));
        match tokio::time::timeout(CONNECT, PgConnection::connect_with(&self.options)).await {
            Ok(connection) => Ok(connection.map_err(failed)?),
            Err(_elapsed) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout).into()),
        }
    }
}

impl Line {
    /// Rows of a statement.
    pub(crate) async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let query = prepared(statement)?;
        let connection = self.begin_message()?;
        let result = connection.fetch_all(query).await;
        read(&self.end_message(result)?)
    }

    /// How many rows a statement changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let query = prepared(statement)?;
        let connection = self.begin_message()?;
        let result = connection.execute(query).await;
        Ok(self.end_message(result)?.rows_affected())
    }

    /// Whether it has failed: nothing more can be asked on it.
    pub(crate) fn is_lost(&self) -> bool {
        self.state == State::Broken
    }

    /// Begins a transaction. If it is not ended, it is undone when the connection is given back.
    async fn begin(&mut self) -> Result<(), StoreError> {
        self.is_transaction = true;
        self.command("BEGIN").await
    }

    /// Ends the transaction: when this returns, what it did is on disk.
    pub(crate) async fn commit(&mut self) -> Result<(), StoreError> {
        self.command("COMMIT").await?;
        self.is_transaction = false;
        Ok(())
    }

    /// Undoes what the transaction did.
    pub(crate) async fn undo(&mut self) -> Result<(), StoreError> {
        self.command("ROLLBACK").await?;
        self.is_transaction = false;
        Ok(())
    }

    /// Runs fixed text.
    async fn command(&mut self, text: &'static str) -> Result<(), StoreError> {
        let connection = self.begin_message()?;
        let result = connection.execute(text).await;
        self.end_message(result).map(drop)
    }

    /// Closes it: nobody waits for what it may never answer.
    pub(crate) fn abandon(mut self) {
        self.state = State::Broken;
    }

    fn begin_message(&mut self) -> Result<&mut PgConnection, StoreError> {
        if self.state != State::Free {
            return Err(StoreError::Stopped);
        }
        self.state = State::Busy;
        self.open.as_mut().map(|open| &mut open.connection).ok_or(StoreError::Stopped)
    }

    fn end_message<T>(&mut self, result: Result<T, SqlxError>) -> Result<T, StoreError> {
        // What the server refuses leaves the connection as it was, unless it says that it ends (class 57, operator
        // intervention, but for a statement that was given up). <https://www.postgresql.org/docs/current/errcodes-appendix.html>
        let is_answered = match &result {
            Ok(_) | Err(SqlxError::Encode(_)) => true,
            Err(SqlxError::Database(refusal)) => refusal.code().is_none_or(|code| !code.starts_with("57P")),
            Err(_) => false,
        };
        self.state = if is_answered { State::Free } else { State::Broken };
        result.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))).into())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let turn = self.turn.take();
        if self.state == State::Free && !self.is_transaction {
            return self.shared.lock().push(open);
        }
        // Somebody stopped waiting. What is still to be answered comes all the same, and is read first.
        let Ok(here) = Handle::try_current() else { return };
        if self.state == State::Broken {
            return;
        }
        let (shared, is_transaction) = (self.shared.clone(), self.is_transaction);
        here.spawn(async move {
            let settled = async {
                if is_transaction {
                    open.connection.execute("ROLLBACK").await.map(drop)
                } else {
                    open.connection.ping().await
                }
            };
            if let Ok(Ok(())) = tokio::time::timeout(PATIENCE, settled).await {
                shared.lock().push(open);
            }
            drop(turn);
        });
    }
}
