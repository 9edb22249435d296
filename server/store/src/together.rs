//! Rows of several tables in one statement, for PostgreSQL: each statement of its own would be a message and an answer.
//! <https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING>

use sea_orm::sea_query::{
    ArrayType, CommonTableExpression, Expr, Func, InsertStatement, OnConflict, Query, SelectStatement,
    SubQueryStatement, Value, WithClause, WithQuery,
};
use sea_orm::{DbBackend, Statement, StatementBuilder};

/// Rows of one statement and table, which binds at most 65,535 values.
const AT_ONCE: usize = 2_000;

/// Rows that are to be put into a table.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Name of the table.
    pub(crate) table: &'static str,
    /// The columns that are given.
    pub(crate) columns: &'static [&'static str],
    /// As many values each as there are columns. What is null is so as the type of its column.
    pub(crate) values: Vec<Vec<Value>>,
    /// Whether rows that are there already are passed over.
    pub(crate) known: bool,
}

impl Rows {
    /// New rows of a table.
    pub(crate) fn new(table: &'static str, columns: &'static [&'static str], values: Vec<Vec<Value>>) -> Self {
        Rows { table, columns, values, known: false }
    }
}

/// A statement that writes rows.
#[derive(Debug)]
pub(crate) enum Insert {
    /// Of one table.
    One(Box<InsertStatement>),
    /// Of several.
    Several(Box<WithQuery>),
}

impl StatementBuilder for Insert {
    fn build(&self, backend: &DbBackend) -> Statement {
        match self {
            Insert::One(insert) => StatementBuilder::build(insert.as_ref(), backend),
            Insert::Several(with) => StatementBuilder::build(with.as_ref(), backend),
        }
    }
}

/// Statements that write all rows; one, unless they are thousands. No row of one table may need one of another.
pub(crate) fn statements(tables: Vec<Rows>) -> Vec<Insert> {
    statements_with(Vec::new(), tables)
}

/// The same with `others`, of which none may need a row that is written, nor touch its table: they are part of the
/// first statement.
pub(crate) fn statements_with(mut others: Vec<SubQueryStatement>, mut tables: Vec<Rows>) -> Vec<Insert> {
    let mut statements = Vec::new();
    loop {
        tables.retain(|rows| !rows.values.is_empty());
        let mut inserts = tables.iter_mut().map(insert);
        let last = match inserts.next() {
            Some(only) if inserts.len() == 0 && others.is_empty() => {
                statements.push(Insert::One(Box::new(only)));
                continue;
            }
            Some(last) => SubQueryStatement::from(last),
            None if others.is_empty() => return statements,
            None => Query::select().expr(Expr::val(1)).to_owned().into(),
        };
        let mut with = WithClause::new();
        let inserts = inserts.map(SubQueryStatement::InsertStatement);
        for (number, insert) in std::mem::take(&mut others).into_iter().chain(inserts).enumerate() {
            let mut part = CommonTableExpression::new();
            with.cte(part.table_name(format!("i{number}")).query(insert).to_owned());
        }
        statements.push(Insert::Several(Box::new(with.query(last))));
    }
}

/// Rows of one table as one statement, whose text does not depend on how many they are; what to do where one is there
/// already.
pub(crate) fn insert_lists(
    table: &'static str,
    columns: &'static [&'static str],
    values: Vec<Vec<Value>>,
    known: OnConflict,
) -> InsertStatement {
    let mut insert = insert(&mut Rows::new(table, columns, values));
    insert.on_conflict(known);
    insert
}

/// Takes rows out and makes them a statement.
fn insert(rows: &mut Rows) -> InsertStatement {
    let rest = rows.values.split_off(rows.values.len().min(AT_ONCE));
    let taken = std::mem::replace(&mut rows.values, rest);
    let mut insert = Query::insert();
    insert.into_table(rows.table).columns(rows.columns.iter().copied());
    // A list is one value, however long: the statement is the same and stays known to the engine.
    insert.select_from(lists(columns(taken, rows.columns.len()))).expect("there are as many lists as columns");
    if rows.known {
        insert.on_conflict(OnConflict::new().do_nothing().to_owned());
    }
    insert
}

/// The rows as lists, one a column, of the type that its first row has.
fn columns(rows: Vec<Vec<Value>>, count: usize) -> Vec<Value> {
    let mut lists: Vec<Vec<Value>> = (0..count).map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        lists.iter_mut().zip(row).for_each(|(list, value)| list.push(value));
    }
    let kind = |list: &[Value]| list.first().map_or(ArrayType::String, Value::array_type);
    lists.into_iter().map(|list| Value::Array(kind(&list), Some(Box::new(list)))).collect()
}

/// The lists side by side, element by element.
fn lists(columns: Vec<Value>) -> SelectStatement {
    let mut select = Query::select();
    for list in columns {
        select.expr(Func::cust("unnest").arg(Expr::val(list)));
    }
    select
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tables: Vec<Rows>) -> Vec<(String, usize)> {
        let built = statements(tables).into_iter().map(|insert| insert.build(&DbBackend::Postgres));
        built.map(|built| (built.sql, built.values.map_or(0, |values| values.0.len()))).collect()
    }

    #[test]
    fn many_rows_are_one_statement_that_does_not_depend_on_how_many() {
        let of = |count: i64| {
            let pair = |number: i64| vec![Value::from(number), Value::from(format!("t{number}"))];
            Rows::new("pair", &["number", "text"], (0..count).map(pair).collect())
        };
        let one = text(vec![of(1), Rows { known: true, ..of(3) }, of(0)]);
        insta::assert_snapshot!(one[0].0, @r#"WITH "i0" AS (INSERT INTO "pair" ("number", "text") SELECT unnest($1), unnest($2) ON CONFLICT  DO NOTHING) INSERT INTO "pair" ("number", "text") SELECT unnest($3), unnest($4)"#);
        assert_eq!(one, text(vec![of(7), Rows { known: true, ..of(9) }]));
        assert_eq!(text(vec![of(4_001)]).len(), 3);
        assert!(text(Vec::new()).is_empty());
    }

    #[test]
    fn what_is_nothing_stands_in_lists_too() {
        let rows = vec![vec![Value::from(1_i64), Value::String(None)], vec![Value::from(2_i64), Value::from("b")]];
        let written = text(vec![Rows::new("pair", &["number", "text"], rows)]);
        insta::assert_snapshot!(written[0].0, @r#"INSERT INTO "pair" ("number", "text") SELECT unnest($1), unnest($2)"#);
    }
}
