//! PostgreSQL through sea-orm's pool. <https://www.postgresql.org/docs/current/>

use std::time::Duration;

use sea_orm::sqlx::{Column, Row as _, TypeInfo};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, QueryResult};

use crate::error::StoreError;
use crate::row::{Cell, Row};

/// Most connections that one process opens.
const CONNECTIONS: u32 = 24;

/// Statements that a connection keeps parsed; searches come in some hundred shapes.
const STATEMENTS: usize = 300;

/// A statement is planned once a connection, not for its values each time: which index drives a search has been decided
/// before, by counting. A table is read as a whole only where no index will do: for a type that has no resources, what
/// PostgreSQL knows of the others says that the first row is one. Compiling a plan takes longer than any of them.
const SETTINGS: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// Opens the pool. A statement that takes longer than `limit` is given up by the server; none: never. (IN-17)
pub(crate) async fn connect(address: &str, limit: Option<Duration>) -> Result<DatabaseConnection, StoreError> {
    let mut options = lasting(address);
    options
        .max_connections(CONNECTIONS)
        .min_connections(1)
        .connect_timeout(Duration::from_secs(10))
        .acquire_timeout(Duration::from_secs(30))
        .test_before_acquire(false)
        .sqlx_logging(false);
    if let Some(limit) = limit {
        options.statement_timeout(limit);
    }
    Ok(Database::connect(options).await?)
}

/// Opens a pool of one connection, which waits no longer than `patience` for the server.
pub(crate) async fn connect_one(address: &str, patience: Duration) -> Result<DatabaseConnection, StoreError> {
    let mut options = lasting(address);
    options
        .max_connections(1)
        .min_connections(0)
        .connect_timeout(patience)
        .acquire_timeout(patience)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .statement_timeout(patience);
    Ok(Database::connect(options).await?)
}

/// Options of a pool whose connections stay. The task of sqlx that ends old ones reads how many are idle; between two
/// steps of handing one out that number lies below zero, which is read as the largest of all, and the task then looks
/// through as many connections without ever giving its thread back.
pub(crate) fn lasting(address: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(address);
    options.idle_timeout(None::<Duration>).max_lifetime(None::<Duration>);
    options.map_sqlx_postgres_opts(|connect| connect.statement_cache_capacity(STATEMENTS).options(SETTINGS));
    options
}

pub(crate) fn rows(results: &[QueryResult]) -> Result<Vec<Row>, StoreError> {
    results.iter().map(row).collect()
}

fn row(result: &QueryResult) -> Result<Row, StoreError> {
    let row = result.try_as_pg_row().ok_or_else(|| StoreError::Schema("not a PostgreSQL row".into()))?;
    let cells = (0..row.len()).map(|column| cell(row, column)).collect::<Result<_, _>>()?;
    Ok(Row { cells })
}

fn cell(row: &sea_orm::sqlx::postgres::PgRow, column: usize) -> Result<Cell, StoreError> {
    let unexpected = |_error| StoreError::Column { column };
    let cell = match row.column(column).type_info().name() {
        "INT8" => row.try_get::<Option<i64>, _>(column).map_err(unexpected)?.map(Cell::Integer),
        "INT4" => row.try_get::<Option<i32>, _>(column).map_err(unexpected)?.map(|value| Cell::Integer(value.into())),
        "BOOL" => row.try_get::<Option<bool>, _>(column).map_err(unexpected)?.map(|value| Cell::Integer(value.into())),
        "BYTEA" => row.try_get::<Option<Vec<u8>>, _>(column).map_err(unexpected)?.map(Cell::Bytes),
        _ => row.try_get::<Option<String>, _>(column).map_err(unexpected)?.map(Cell::Text),
    };
    Ok(cell.unwrap_or(Cell::Null))
}
