//! What can go wrong in the store.

use std::time::Duration;

use sea_orm::sqlx::error::Error as SqlxError;
use sea_orm::{DbErr, RuntimeErr};

/// Codes of PostgreSQL. <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK_DETECTED: &str = "40P01";
const QUERY_CANCELED: &str = "57014";

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database address is none.
    #[error("\"{0}\" is not a database address: use sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Address(String),
    /// The database is newer or older than this program, or damaged.
    #[error("the database does not fit this program: {0}")]
    Schema(String),
    /// PostgreSQL or the migrations reported an error.
    #[error("database: {0}")]
    Database(#[from] DbErr),
    /// SQLite reported an error.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A column held something that this program never writes.
    #[error("column {column} holds an unexpected type")]
    Column {
        /// Position in the select list.
        column: usize,
    },
    /// The row was changed by someone else since it was read in this transaction.
    #[error("the resource was changed at the same time")]
    Conflict,
    /// The page cursor was not made by this server for this search and this caller.
    #[error("the page cursor does not belong to this search")]
    Cursor,
    /// It cannot be asked like that, however little there is to look at.
    #[error("{0}")]
    Unsupported(String),
    /// More would have to be looked at than the bounds allow.
    #[error("{0}")]
    TooCostly(String),
    /// The audit trail cannot be written, so what it would tell of was not done.
    #[error("the audit trail cannot be written: {0}")]
    Audit(String),
    /// The writer stopped: the process is shutting down, or a write panicked.
    #[error("the write was not carried out")]
    Stopped,
}

impl StoreError {
    /// Whether PostgreSQL asks to run the same transaction again.
    pub fn is_serialization_failure(&self) -> bool {
        matches!(self.sqlstate().as_deref(), Some(SERIALIZATION_FAILURE | DEADLOCK_DETECTED))
    }

    /// Whether whatever was asked of PostgreSQL instead would have failed as well: there is no connection, or the server
    /// ends what it does (class 57, operator intervention).
    pub(crate) fn concerns_all(&self) -> bool {
        match self {
            StoreError::Database(DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) => true,
            StoreError::Database(DbErr::Exec(runtime) | DbErr::Query(runtime)) => {
                let refused =
                    matches!(runtime, RuntimeErr::SqlxError(error) if matches!(**error, SqlxError::Database(_)));
                !refused || self.sqlstate().is_some_and(|code| code.starts_with("57"))
            }
            _ => false,
        }
    }

    /// What PostgreSQL calls the error, in every language.
    fn sqlstate(&self) -> Option<String> {
        let StoreError::Database(DbErr::Exec(runtime) | DbErr::Query(runtime)) = self else { return None };
        let RuntimeErr::SqlxError(error) = runtime else { return None };
        Some(error.as_database_error()?.code()?.into_owned())
    }

    /// Says of a statement that was given up because of its time what the caller can do about it.
    pub(crate) fn of_search(self, limit: Duration) -> Self {
        let interrupted = match &self {
            StoreError::Sqlite(rusqlite::Error::SqliteFailure(failure, _)) => {
                failure.code == rusqlite::ErrorCode::OperationInterrupted
            }
            _ => self.sqlstate().as_deref() == Some(QUERY_CANCELED),
        };
        if interrupted { StoreError::took_longer_than(limit) } else { self }
    }

    /// A statement would bind more values than an engine takes.
    pub(crate) fn too_many_values() -> Self {
        StoreError::TooCostly("the search names too many values; ask for fewer at once".into())
    }

    /// A search was given up.
    pub(crate) fn took_longer_than(limit: Duration) -> Self {
        let limit = limit.as_secs_f64();
        StoreError::TooCostly(format!(
            "the search took longer than {limit} seconds and was given up; add a condition that narrows it, such as a \
             patient, a code or a date, or leave out _total"
        ))
    }

    /// The same for one more of those who share a statement.
    pub(crate) fn again(&self) -> Self {
        match self {
            StoreError::Database(error) => StoreError::Database(error.clone()),
            StoreError::Column { column } => StoreError::Column { column: *column },
            StoreError::Schema(text) => StoreError::Schema(text.clone()),
            StoreError::Unsupported(text) => StoreError::Unsupported(text.clone()),
            StoreError::TooCostly(text) => StoreError::TooCostly(text.clone()),
            _ => StoreError::Stopped,
        }
    }

    /// Whether no connection to PostgreSQL became free in time.
    pub fn is_overload(&self) -> bool {
        matches!(self, StoreError::Database(DbErr::ConnectionAcquire(_)))
    }
}
