//! PostgreSQL: statements and rows, on connections of our own; migrations on a pool of sea-orm.
//! <https://www.postgresql.org/docs/current/>

use std::str::FromStr as _;
use std::time::Duration;

use sea_orm::sea_query::{ArrayType, Value};
use sea_orm::sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, ConnectOptions as _, Postgres, Row as _, TypeInfo as _,
};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, Statement};

use crate::error::StoreError;
use crate::keys::Known;
use crate::row::{Cell, Row};

pub(crate) mod asks;
pub(crate) mod lines;

use lines::Lines;

/// Most connections that one process opens for what is short: tokens, reads, writes.
const CONNECTIONS: usize = 16;

/// The same for what may take long: however many searches run to their limit, others are still let in.
const LONG_CONNECTIONS: usize = 8;

/// How long a new connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a statement waits for one of them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Statements that a connection keeps parsed; searches come in some hundred shapes.
const STATEMENTS: usize = 300;

/// A statement is planned once a connection, not for its values each time: which index drives a search has been decided
/// before, by counting. A table is read as a whole only where no index will do: for a type that has no resources, what
/// PostgreSQL knows of the others says that the first row is one. Compiling a plan takes longer than any of them.
const SETTINGS: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// Connections for requests. A statement that takes longer than `limit` is given up by the server. (IN-17)
pub(crate) fn lines(address: &str, limit: Duration, known: &Known) -> Result<Lines, StoreError> {
    Ok(Lines::new(options(address, limit)?, CONNECTIONS, Some(known.clone())))
}

/// Connections for searches, histories and exports.
pub(crate) fn long_lines(address: &str, limit: Duration, known: &Known) -> Result<Lines, StoreError> {
    Ok(Lines::new(options(address, limit)?, LONG_CONNECTIONS, Some(known.clone())))
}

/// One connection whose commits do not wait for the disk.
pub(crate) fn relaxed_line(address: &str, limit: Duration) -> Result<Lines, StoreError> {
    Ok(Lines::new(options(address, limit)?.options([("synchronous_commit", "off")]), 1, None))
}

fn options(address: &str, limit: Duration) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(address).map_err(|_error| StoreError::Address(address.into()))?;
    let limit = [("statement_timeout", limit.as_millis().to_string())];
    Ok(options.statement_cache_capacity(STATEMENTS).options(SETTINGS).options(limit).disable_statement_logging())
}

/// Opens a pool for migrations, whose statements may take as long as they like: building an index takes longer than any
/// search.
pub(crate) async fn connect(address: &str) -> Result<DatabaseConnection, StoreError> {
    let mut options = lasting(address);
    options
        .max_connections(1)
        .min_connections(0)
        .connect_timeout(CONNECT)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .sqlx_logging(false);
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

/// A statement as sqlx runs it.
fn prepared(statement: Statement) -> Result<Query<'static, Postgres, PgArguments>, StoreError> {
    let mut arguments = PgArguments::default();
    let values = statement.values.map(|values| values.0).unwrap_or_default();
    // A message counts them in two bytes; that it cannot be sent would look like a lost connection.
    if values.len() > usize::from(u16::MAX) {
        return Err(StoreError::too_many_values());
    }
    for value in values {
        bind(&mut arguments, value)?;
    }
    Ok(sea_orm::sqlx::query_with(AssertSqlSafe(statement.sql), arguments))
}

fn bind(arguments: &mut PgArguments, value: Value) -> Result<(), StoreError> {
    let bound = match value {
        Value::BigInt(number) => arguments.add(number),
        Value::Int(number) => arguments.add(number),
        Value::BigUnsigned(number) => arguments.add(number.map(i64::try_from).transpose().unwrap_or(Some(i64::MAX))),
        Value::Unsigned(number) => arguments.add(number.map(i64::from)),
        Value::Bool(truth) => arguments.add(truth),
        Value::String(text) => arguments.add(text),
        Value::Bytes(bytes) => arguments.add(bytes),
        Value::Array(kind, values) => return bind_list(arguments, &kind, values.map(|values| *values)),
        other => return Err(unbindable(&other)),
    };
    bound.map_err(|error| StoreError::Schema(format!("a value cannot be bound: {error}")))
}

/// Lists may hold nothing in places.
fn bind_list(arguments: &mut PgArguments, kind: &ArrayType, values: Option<Vec<Value>>) -> Result<(), StoreError> {
    macro_rules! list {
        ($variant:ident) => {{
            let element = |value| if let Value::$variant(value) = value { Ok(value) } else { Err(unbindable(&value)) };
            let list = values.map(|values| values.into_iter().map(element).collect::<Result<Vec<_>, _>>());
            arguments.add(list.transpose()?)
        }};
    }
    let bound = match kind {
        ArrayType::BigInt => list!(BigInt),
        ArrayType::String => list!(String),
        ArrayType::Bytes => list!(Bytes),
        other => return Err(StoreError::Schema(format!("no statement binds lists of {other:?}"))),
    };
    bound.map_err(|error| StoreError::Schema(format!("a list cannot be bound: {error}")))
}

fn unbindable(value: &Value) -> StoreError {
    StoreError::Schema(format!("no statement binds {value:?}"))
}

fn read(rows: &[PgRow]) -> Result<Vec<Row>, StoreError> {
    // All rows of a statement have the same columns.
    let kinds: Vec<Kind> = rows.first().map_or_else(Vec::new, |row| row.columns().iter().map(Kind::of).collect());
    rows.iter().map(|row| row_of(row, &kinds)).collect()
}

fn row_of(row: &PgRow, kinds: &[Kind]) -> Result<Row, StoreError> {
    let cells = kinds.iter().enumerate().map(|(column, kind)| cell(row, column, *kind)).collect::<Result<_, _>>()?;
    Ok(Row { cells })
}

/// What a column holds.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Long,
    Integer,
    Truth,
    Bytes,
    Text,
}

impl Kind {
    fn of(column: &sea_orm::sqlx::postgres::PgColumn) -> Self {
        match column.type_info().name() {
            "INT8" => Kind::Long,
            "INT4" => Kind::Integer,
            "BOOL" => Kind::Truth,
            "BYTEA" => Kind::Bytes,
            _ => Kind::Text,
        }
    }
}

fn cell(row: &PgRow, column: usize, kind: Kind) -> Result<Cell, StoreError> {
    let unexpected = |_error| StoreError::Column { column };
    let cell = match kind {
        Kind::Long => row.try_get::<Option<i64>, _>(column).map_err(unexpected)?.map(Cell::Integer),
        Kind::Integer => {
            row.try_get::<Option<i32>, _>(column).map_err(unexpected)?.map(|value| Cell::Integer(value.into()))
        }
        Kind::Truth => {
            row.try_get::<Option<bool>, _>(column).map_err(unexpected)?.map(|value| Cell::Integer(value.into()))
        }
        Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(column).map_err(unexpected)?.map(Cell::Bytes),
        Kind::Text => row.try_get::<Option<String>, _>(column).map_err(unexpected)?.map(Cell::Text),
    };
    Ok(cell.unwrap_or(Cell::Null))
}
