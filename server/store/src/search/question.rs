//! A question that is asked of each row of a statement, with an index that answers it at once.

use sea_orm::sea_query::{Expr, SelectStatement};

/// That the statement, which names columns of the one around it, finds a row.
///
/// PostgreSQL makes a join of an `EXISTS`, and chooses its order by how many rows it believes there are. It takes columns
/// for independent that are not, believes in one row where there are hundreds, and compares all with all. The search has
/// counted and chosen already; a limit and an offset, which change nothing, have the question asked as it is written.
pub(crate) fn finds_a_row(mut select: SelectStatement) -> Expr {
    Expr::exists(select.limit(1).offset(0).take())
}
