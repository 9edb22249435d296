//! What is asked of each row of a statement: whether an index has a row for it, and whether one of many conditions holds.

use sea_orm::sea_query::{Cond, Expr, ExprTrait, SelectStatement};

/// Alternatives that stand beside each other.
const BESIDE: usize = 8;

/// That the statement, which names columns of the one around it, finds a row.
///
/// PostgreSQL makes a join of an `EXISTS`, and chooses its order by how many rows it believes there are. It takes columns
/// for independent that are not, believes in one row where there are hundreds, and compares all with all. The search has
/// counted and chosen already; a limit and an offset, which change nothing, have the question asked as it is written.
pub(crate) fn finds_a_row(mut select: SelectStatement) -> Expr {
    Expr::exists(select.limit(1).offset(0).take())
}

/// That one of the conditions holds; of none, none does.
///
/// `a OR b OR c` is a tree as deep as it is long. SQLite takes no more than 1,000 levels, and who writes a statement goes
/// down all of them, on a stack that ends. Halves of halves are ten levels for as many.
pub(crate) fn one_holds(mut conditions: Vec<Cond>) -> Cond {
    if conditions.is_empty() {
        return Cond::any().add(Expr::val(1).eq(0));
    }
    if conditions.len() <= BESIDE {
        return conditions.into_iter().fold(Cond::any(), Cond::add);
    }
    let second = conditions.split_off(conditions.len() / 2);
    Cond::any().add(one_holds(conditions)).add(one_holds(second))
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::{Query, SqliteQueryBuilder};

    use super::*;

    #[test]
    fn in_17_many_alternatives_are_a_shallow_statement() {
        let conditions = (0..5_000_i64).map(|number| Cond::all().add(Expr::col("a").eq(number))).collect();
        let mut select = Query::select();
        select.column("a").from("t").cond_where(one_holds(conditions));
        let sql = select.to_string(SqliteQueryBuilder);
        let mut depth = 0_usize;
        let deepest = sql.bytes().map(|byte| {
            depth = depth + usize::from(byte == b'(') - usize::from(byte == b')');
            depth
        });
        assert!(deepest.max().is_some_and(|deepest| deepest < 40));
        let connection = rusqlite::Connection::open_in_memory().expect("a database");
        connection.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (4999), (5000)").expect("a table");
        let found: i64 = connection.query_row(&sql, [], |row| row.get(0)).expect("a row");
        assert_eq!(found, 4_999);
    }
}
