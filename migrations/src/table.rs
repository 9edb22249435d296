//! Tables described as data, so that none lacks a comment and both engines get the same.

use std::fmt::Write as _;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// One table.
#[derive(Debug)]
pub struct Table {
    /// Name, singular.
    pub name: &'static str,
    /// What a row is.
    pub comment: &'static str,
    /// Columns in order.
    pub columns: &'static [Column],
    /// Columns of the primary key; a single [`Kind::Serial`] column is numbered by the database.
    pub primary_key: &'static [&'static str],
    /// On SQLite, store rows inside the primary key (`WITHOUT ROWID`): for tables that are only ever scanned by it.
    pub clustered: bool,
    /// Secondary indexes.
    pub indexes: &'static [Index],
}

/// One column.
#[derive(Debug)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Meaning and unit.
    pub comment: &'static str,
}

/// Types that mean the same on both engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 64-bit number given by the database, growing.
    Serial,
    /// 64-bit integer.
    Integer,
    /// 64-bit integer or nothing.
    OptionalInteger,
    /// Text compared byte by byte.
    Text,
    /// Text or nothing.
    OptionalText,
    /// Bytes.
    Bytes,
    /// Bytes or nothing.
    OptionalBytes,
}

/// One index.
#[derive(Debug)]
pub struct Index {
    /// Name, unique in the schema.
    pub name: &'static str,
    /// Columns in order.
    pub columns: &'static [&'static str],
    /// Whether two rows may not be equal in these columns.
    pub unique: bool,
    /// Only rows for which this column is 1 are indexed.
    pub only_where: Option<&'static str>,
    /// Which query needs it.
    pub comment: &'static str,
}

/// A column of integers.
pub const fn integer(name: &'static str, comment: &'static str) -> Column {
    Column { name, kind: Kind::Integer, comment }
}

/// A column of integers that may be absent.
pub const fn optional_integer(name: &'static str, comment: &'static str) -> Column {
    Column { name, kind: Kind::OptionalInteger, comment }
}

/// A column of texts.
pub const fn text(name: &'static str, comment: &'static str) -> Column {
    Column { name, kind: Kind::Text, comment }
}

/// A column of texts that may be absent.
pub const fn optional_text(name: &'static str, comment: &'static str) -> Column {
    Column { name, kind: Kind::OptionalText, comment }
}

/// A column of bytes.
pub const fn bytes(name: &'static str, comment: &'static str) -> Column {
    Column { name, kind: Kind::Bytes, comment }
}

/// An index of all rows, of which several may be equal in it.
pub const fn index(name: &'static str, columns: &'static [&'static str], comment: &'static str) -> Index {
    Index { name, columns, unique: false, only_where: None, comment }
}

/// An index of all rows, no two of which are equal in it.
pub const fn unique_index(name: &'static str, columns: &'static [&'static str], comment: &'static str) -> Index {
    Index { name, columns, unique: true, only_where: None, comment }
}

/// Creates `table` with its indexes and comments.
pub async fn create(manager: &SchemaManager<'_>, table: &Table) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    manager.create_table(create_statement(table, backend, None)).await?;
    for index in table.indexes {
        manager.create_index(index_statement(table.name, index)).await?;
    }
    if backend == DbBackend::Postgres {
        comment(manager, table).await?;
    }
    Ok(())
}

/// Adds a column to a table; rows that are there already hold `before`.
pub async fn add(
    manager: &SchemaManager<'_>,
    table: &'static str,
    column: &Column,
    before: &'static str,
) -> Result<(), DbErr> {
    let mut added = definition(column, manager.get_database_backend());
    added.default(before);
    manager.alter_table(sea_query::Table::alter().table(table).add_column(added).to_owned()).await?;
    told(manager, &format!("COLUMN \"{table}\".\"{}\"", column.name), column.comment).await
}

/// Adds an optional column to a table that is there.
pub async fn add_column(manager: &SchemaManager<'_>, table: &str, column: &Column) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let mut statement = sea_query::Table::alter();
    statement.table(Alias::new(table)).add_column(definition(column, backend));
    manager.alter_table(statement).await?;
    told(manager, &format!("COLUMN \"{table}\".\"{}\"", column.name), column.comment).await
}

/// Adds a column that is part of the primary key; rows that are there already hold an empty text in it. `table` is the
/// table as it is afterwards.
///
/// SQLite changes no primary key: there the table is made anew, in one transaction, and its rows are copied.
pub async fn add_to_key(manager: &SchemaManager<'_>, table: &'static Table, column: &Column) -> Result<(), DbErr> {
    let name = table.name;
    if manager.get_database_backend() == DbBackend::Postgres {
        add(manager, name, column, "").await?;
        let key = table.primary_key.join("\", \"");
        let sql = format!("ALTER TABLE \"{name}\" DROP CONSTRAINT \"{name}_pkey\", ADD PRIMARY KEY (\"{key}\")");
        return manager.get_connection().execute_unprepared(&sql).await.map(drop);
    }
    let kept: Vec<&str> = table.columns.iter().map(|it| it.name).filter(|it| *it != column.name).collect();
    let kept = kept.join(", ");
    let mut sql = String::from("BEGIN IMMEDIATE;");
    for index in table.indexes {
        let _infallible = write!(sql, "DROP INDEX {};", index.name);
    }
    let _infallible = write!(sql, "ALTER TABLE {name} RENAME TO {name}_before;");
    let created = create_statement(table, DbBackend::Sqlite, Some(column.name)).to_string(SqliteQueryBuilder);
    let _infallible = write!(sql, "{created};INSERT INTO {name} ({kept}) SELECT {kept} FROM {name}_before;");
    let _infallible = write!(sql, "DROP TABLE {name}_before;");
    for index in table.indexes {
        let _infallible = write!(sql, "{};", index_statement(name, index).to_string(SqliteQueryBuilder));
    }
    sql.push_str("COMMIT;");
    manager.get_connection().execute_unprepared(&sql).await.map(drop)
}

/// Adds an index to a table that is there.
pub async fn add_index(manager: &SchemaManager<'_>, table: &'static str, index: &Index) -> Result<(), DbErr> {
    manager.create_index(index_statement(table, index)).await?;
    told(manager, &format!("INDEX \"{}\"", index.name), index.comment).await
}

/// Adds an index of the rows that satisfy a condition to a table that is there; on PostgreSQL while the table is written,
/// not inside of a transaction.
pub async fn add_index_where(
    manager: &SchemaManager<'_>,
    table: &'static str,
    index: &Index,
    condition: &'static str,
) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    // One that was not finished is there, but is not used.
    connection.execute_unprepared(&format!("DROP INDEX IF EXISTS {}", index.name)).await?;
    let beside = if manager.get_database_backend() == DbBackend::Postgres { "CONCURRENTLY " } else { "" };
    let columns = index.columns.join(", ");
    let sql = format!("CREATE INDEX {beside}{} ON {table} ({columns}) WHERE {condition}", index.name);
    connection.execute_unprepared(&sql).await?;
    told(manager, &format!("INDEX \"{}\"", index.name), index.comment).await
}

/// Says what something is, where the engine can be told.
async fn told(manager: &SchemaManager<'_>, what: &str, comment: &str) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let sql = format!("COMMENT ON {what} IS '{}'", comment.replace('\'', "''"));
    manager.get_connection().execute_unprepared(&sql).await.map(drop)
}

fn index_statement(table: &'static str, index: &Index) -> IndexCreateStatement {
    let mut statement = sea_query::Index::create();
    statement.name(index.name).table(table);
    for column in index.columns {
        statement.col(*column);
    }
    if index.unique {
        statement.unique();
    }
    if let Some(column) = index.only_where {
        statement.and_where(Expr::col(column).eq(1));
    }
    statement
}

/// `empty` is the column that holds an empty text where a row does not name it.
fn create_statement(table: &Table, backend: DbBackend, empty: Option<&str>) -> TableCreateStatement {
    let mut statement = sea_query::Table::create();
    statement.table(table.name);
    let serial = |column: &Column| column.kind == Kind::Serial;
    for column in table.columns {
        let mut defined = definition(column, backend);
        if empty == Some(column.name) {
            defined.default("");
        }
        statement.col(defined);
    }
    if !table.columns.iter().any(serial) {
        let mut key = sea_query::Index::create();
        for column in table.primary_key {
            key.col(*column);
        }
        statement.primary_key(&mut key);
    }
    if table.clustered && backend == DbBackend::Sqlite {
        statement.extra("WITHOUT ROWID");
    }
    statement
}

fn definition(column: &Column, backend: DbBackend) -> ColumnDef {
    let mut definition = ColumnDef::new(column.name);
    // SQLite's default collation compares bytes already; PostgreSQL's follows the locale of the database.
    let text = |definition: &mut ColumnDef| {
        if backend == DbBackend::Postgres {
            definition.custom("text COLLATE \"C\"");
        } else {
            definition.text();
        }
    };
    match column.kind {
        Kind::Serial => definition.big_integer().not_null().auto_increment().primary_key(),
        Kind::Integer => definition.big_integer().not_null(),
        Kind::OptionalInteger => definition.big_integer().null(),
        Kind::Text => {
            text(&mut definition);
            definition.not_null()
        }
        Kind::OptionalText => {
            text(&mut definition);
            definition.null()
        }
        Kind::Bytes => definition.blob().not_null(),
        Kind::OptionalBytes => definition.blob().null(),
    };
    definition
}

async fn comment(manager: &SchemaManager<'_>, table: &Table) -> Result<(), DbErr> {
    let quoted = |text: &str| text.replace('\'', "''");
    let mut sql = format!("COMMENT ON TABLE \"{}\" IS '{}';", table.name, quoted(table.comment));
    for column in table.columns {
        let _infallible =
            write!(sql, "COMMENT ON COLUMN \"{}\".\"{}\" IS '{}';", table.name, column.name, quoted(column.comment));
    }
    for index in table.indexes {
        let _infallible = write!(sql, "COMMENT ON INDEX \"{}\" IS '{}';", index.name, quoted(index.comment));
    }
    manager.get_connection().execute_unprepared(&sql).await.map(drop)
}
