//! New versions of resources that stand, on PostgreSQL: what is taken out of the index and how their rows change, for
//! all resources of a work together. A statement for each table, or for each row, would be a message and an answer.

use std::collections::HashMap;

use sea_orm::DbBackend;
use sea_orm::sea_query::{
    Alias, ArrayType, CommonTableExpression, DeleteStatement, Expr, ExprTrait as _, Func, IntoIden as _, Query,
    SelectStatement, SubQueryStatement, TableRef, UpdateStatement, Value, WithClause, WithQuery,
};
use search::contained;

use crate::index::{CONTAINED, TABLES, Table};
use crate::row::Cell;
use crate::search::any::is_listed;

/// Resources whose rows one statement takes out: each row that stands is compared with each that is wanted.
const AT_ONCE: usize = 64;

/// A resource whose rows in some tables are replaced by those that wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stale {
    pub(crate) rid: i64,
    /// The tables, as `resource.tables` has them.
    pub(crate) tables: i64,
}

/// Columns of [`crate::index::Pending::heads`].
const HEAD: [(&str, ArrayType); 6] = [
    ("rid", ArrayType::BigInt),
    ("version", ArrayType::BigInt),
    ("last_updated", ArrayType::BigInt),
    ("live", ArrayType::BigInt),
    ("tables", ArrayType::BigInt),
    ("body", ArrayType::BigInt),
];

/// Whether any of them may have rows in a table.
pub(crate) fn has_rows(stale: &[Stale], table: Table) -> bool {
    stale.iter().any(|it| it.tables & (table.bit() | CONTAINED) != 0)
}

/// Statements that take out what stands and is not among `wanted`, the rows that wait by table. What is wanted stays or
/// is yet to come.
pub(crate) fn removals(stale: &[Stale], wanted: &[&[Vec<Cell>]]) -> Vec<Vec<DeleteStatement>> {
    let by_resource: Vec<ByResource<'_>> =
        TABLES.into_iter().zip(wanted).map(|(table, rows)| by_resource(stale, table, rows)).collect();
    let of_some = |stale: &[Stale]| {
        let tables = TABLES.into_iter().zip(&by_resource);
        tables.flat_map(|(table, wanted)| of_table(stale, table, wanted)).collect()
    };
    stale.chunks(AT_ONCE).map(of_some).collect()
}

/// Rows of one table.
type ByResource<'a> = HashMap<i64, Vec<&'a Vec<Cell>>>;

fn by_resource<'a>(stale: &[Stale], table: Table, rows: &'a [Vec<Cell>]) -> ByResource<'a> {
    let position = table.columns().iter().position(|column| *column == "rid").unwrap_or_default();
    let mut found: ByResource<'a> = stale.iter().map(|it| (it.rid, Vec::new())).collect();
    for row in rows {
        if let Cell::Integer(rid) = &row[position]
            && let Some(of_it) = found.get_mut(rid)
        {
            of_it.push(row);
        }
    }
    found
}

fn of_table(stale: &[Stale], table: Table, wanted: &ByResource<'_>) -> Vec<DeleteStatement> {
    let own: Vec<i64> = stale.iter().filter(|it| it.tables & table.bit() != 0).map(|it| it.rid).collect();
    let mut deletes = Vec::new();
    if !own.is_empty() {
        let rows: Vec<&Vec<Cell>> = own.iter().filter_map(|rid| wanted.get(rid)).flatten().copied().collect();
        let mut delete = Query::delete();
        delete.from_table(table.name()).and_where(is_listed(DbBackend::Postgres, Expr::col("rid"), &own));
        if !rows.is_empty() {
            delete.and_where(Expr::exists(same_row(table, &rows)).not());
        }
        deletes.push(delete);
    }
    // What a resource contains is few, and written anew.
    for holder in stale.iter().filter(|it| it.tables & CONTAINED != 0) {
        let (first, last) = contained::row_ids(holder.rid);
        let mut delete = Query::delete();
        delete.from_table(table.name()).and_where(Expr::col("rid").between(first, last));
        deletes.push(delete);
    }
    deletes
}

/// A row that is wanted and is the one that stands, in all its columns.
fn same_row(table: Table, rows: &[&Vec<Cell>]) -> SelectStatement {
    let mut listed = Query::select();
    for (column, name) in table.columns().iter().enumerate() {
        let values: Vec<Value> = rows.iter().map(|row| row[column].clone().into()).collect();
        let kind = if matches!(rows[0][column], Cell::Text(_)) { ArrayType::String } else { ArrayType::BigInt };
        listed.expr_as(list(kind, values), Alias::new(*name));
    }
    let mut same = Query::select();
    same.expr(Expr::val(1)).from_subquery(listed, "n");
    for name in table.columns() {
        same.and_where(Expr::col(("n", *name)).equals((table.name(), *name)));
    }
    same
}

/// The rows of resources that have new versions. They are locked, and their versions have been compared.
pub(crate) fn heads(rows: &[Vec<Cell>]) -> Option<UpdateStatement> {
    if rows.is_empty() {
        return None;
    }
    let mut listed = Query::select();
    for (column, (name, kind)) in HEAD.into_iter().enumerate() {
        let value = |row: &Vec<Cell>| if let Cell::Integer(value) = row[column] { Some(value) } else { None };
        let values = rows.iter().map(|row| Value::BigInt(value(row))).collect();
        listed.expr_as(list(kind, values), Alias::new(name));
    }
    let mut update = Query::update();
    update.table("resource").from(TableRef::SubQuery(Box::new(listed), "n".into_iden()));
    for (name, _) in HEAD.iter().skip(1) {
        update.value(*name, Expr::col(("n", *name)));
    }
    let before = Expr::col(("n", "version")).sub(1);
    update.and_where(Expr::col(("resource", "rid")).equals(("n", "rid")));
    Some(update.and_where(Expr::col(("resource", "version")).eq(before)).to_owned())
}

fn list(kind: ArrayType, values: Vec<Value>) -> Expr {
    Func::cust("unnest").arg(Expr::val(Value::Array(kind, Some(Box::new(values))))).into()
}

/// Several statements as one, which finds nothing.
pub(crate) fn at_once(statements: Vec<DeleteStatement>) -> WithQuery {
    let mut with = WithClause::new();
    for (number, statement) in statements.into_iter().enumerate() {
        let mut part = CommonTableExpression::new();
        with.cte(part.table_name(format!("d{number}")).query(SubQueryStatement::DeleteStatement(statement)).to_owned());
    }
    with.query(Query::select().expr(Expr::val(1)).to_owned())
}

#[cfg(test)]
mod tests {
    use sea_orm::StatementBuilder;

    use super::*;

    #[test]
    fn a_table_is_a_statement_whose_text_does_not_depend_on_how_many_rows_there_are() {
        let row = |rid: i64, value: i64| [3, 4, value, 0, rid, 1].map(Cell::Integer).to_vec();
        let text = |stale: &[Stale], rows: Vec<Vec<Cell>>| {
            let none: &[Vec<Cell>] = &[];
            let mut wanted = [none; 9];
            wanted[Table::Token as usize] = &rows;
            let removals = removals(stale, &wanted);
            let built = removals
                .into_iter()
                .map(|deletes| StatementBuilder::build(&at_once(deletes), &DbBackend::Postgres).sql);
            built.collect::<Vec<_>>()
        };
        let stale = |rid: i64| Stale { rid, tables: Table::Listing.bit() | Table::Token.bit() };
        let few = text(&[stale(7), stale(8)], vec![row(7, 1), row(8, 1), row(9, 1)]);
        // How many parentheses the builder writes depends on what other crates of the build ask of it.
        let words = few[0].replace(['(', ')'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
        insta::assert_snapshot!(words, @r#"WITH "d0" AS DELETE FROM "listing" WHERE "rid" = ANY $1 , "d1" AS DELETE FROM "index_token" WHERE "rid" = ANY $2 AND NOT EXISTS SELECT $3 FROM SELECT unnest $4 AS "param", unnest $5 AS "token", unnest $6 AS "patient", unnest $7 AS "chronology", unnest $8 AS "rid", unnest $9 AS "lead" AS "n" WHERE "n"."param" = "index_token"."param" AND "n"."token" = "index_token"."token" AND "n"."patient" = "index_token"."patient" AND "n"."chronology" = "index_token"."chronology" AND "n"."rid" = "index_token"."rid" AND "n"."lead" = "index_token"."lead" SELECT $10"#);
        assert_eq!(few, text(&[stale(7), stale(8), stale(9)], (0..50).map(|value| row(7, value)).collect()));
        let many: Vec<Stale> = (0..200).map(stale).collect();
        assert_eq!(text(&many, vec![row(7, 1)]).len(), 200_usize.div_ceil(AT_ONCE));
    }
}
