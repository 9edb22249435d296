//! What the search index costs and whether it says what the resources say, for `tributary doctor --search`.

use std::collections::HashSet;

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use search::entry::{Extracted, ParamId};

use crate::index::{Indexed, TABLES, Table};
use crate::row::Cell;
use crate::{Standing, Store, StoreError, Tx};

/// Rows of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterRows {
    /// Which.
    pub param: ParamId,
    /// All rows.
    pub rows: u64,
    /// Different values; of composites, different first components.
    pub values: u64,
    /// Resources that have the commonest of them.
    pub largest: u64,
}

/// Rows of one index table that do not agree with the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// Rows that should be there.
    pub missing: usize,
    /// Rows that should not.
    pub surplus: usize,
}

/// Carries the finding out of a transaction that is undone.
enum Found {
    Differences(Vec<Difference>),
    Failure(StoreError),
}

impl From<StoreError> for Found {
    fn from(error: StoreError) -> Self {
        Found::Failure(error)
    }
}

impl Store {
    /// Rows of each parameter. Reads every index table once.
    pub async fn parameter_rows(&self) -> Result<Vec<ParameterRows>, StoreError> {
        let mut found = Vec::new();
        for table in TABLES {
            let Some(value) = value_column(table) else { continue };
            let number = |expression: &'static str| Expr::cust(format!("CAST({expression} AS bigint)"));
            let of_values = Query::select()
                .columns(["param", value])
                .expr_as(Expr::cust("COUNT(*)"), "rows")
                .expr_as(number("SUM(lead)"), "resources")
                .from(table.name())
                .group_by_columns(["param", value])
                .take();
            let statement = Query::select()
                .column("param")
                .expr(number("SUM(rows)"))
                .expr(number("COUNT(*)"))
                .expr(number("MAX(resources)"))
                .from_subquery(of_values, "of_values")
                .group_by_col("param")
                .take();
            for row in self.long_rows(statement).await? {
                let count = |column| row.i64(column).map(|count| u64::try_from(count).unwrap_or(0));
                found.push(ParameterRows {
                    param: ParamId(row.i64(0)?),
                    rows: count(1)?,
                    values: count(2)?,
                    largest: count(3)?,
                });
            }
        }
        Ok(found)
    }

    /// How many current resources there are of each type that has any.
    pub async fn count_by_type(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let statement = Query::select()
            .column("type_id")
            .expr(Expr::cust("COUNT(*)"))
            .from("resource")
            .and_where(Expr::col("live").eq(1))
            .group_by_col("type_id")
            .take();
        let rows = self.long_rows(statement).await?;
        let count =
            |row: &crate::Row| Ok((self.known().types.name(row.i64(0)?)?, u64::try_from(row.i64(1)?).unwrap_or(0)));
        rows.iter().map(count).collect()
    }

    /// Where the index does not say what `extracted` says of a resource; nothing if it has another version by now.
    /// Changes nothing.
    pub async fn index_differences(
        &self,
        standing: &Standing,
        extracted: &Extracted,
    ) -> Result<Vec<Difference>, StoreError> {
        let (standing, extracted) = (standing.clone(), extracted.clone());
        let undone: Result<(), Found> = self
            .write(move |tx| {
                let (standing, extracted) = (standing.clone(), extracted.clone());
                Box::pin(async move { Err(Found::Differences(tx.differences(&standing, &extracted).await?)) })
            })
            .await;
        match undone {
            Ok(()) => Ok(Vec::new()),
            Err(Found::Differences(differences)) => Ok(differences),
            Err(Found::Failure(error)) => Err(error),
        }
    }

    async fn long_rows(&self, statement: sea_orm::sea_query::SelectStatement) -> Result<Vec<crate::Row>, StoreError> {
        with_long_session!(self, session => crate::session::Session::rows(session, &statement).await)
    }
}

impl Tx {
    async fn differences(&mut self, standing: &Standing, extracted: &Extracted) -> Result<Vec<Difference>, StoreError> {
        let mut current = Query::select();
        current.column("type_id").from("resource").and_where(Expr::col("rid").eq(standing.rid));
        current.and_where(Expr::col("version").eq(standing.stored.version));
        let Some(type_id) = self.rows(&current).await?.first().map(|row| row.i64(0)).transpose()? else {
            return Ok(Vec::new());
        };
        let patients = self.mention(extracted).await?;
        let indexed = Indexed { rid: standing.rid, type_id, extracted, patients: &patients };
        let (wanted, inside) = (self.rows_of(&indexed), self.rows_inside(&indexed));
        let (first, last) = search::contained::row_ids(standing.rid);
        let mut differences = Vec::new();
        for (table, rows) in
            TABLES.into_iter().zip(wanted.into_iter().zip(inside).map(|(own, inside)| [own, inside].concat()))
        {
            let mut select = Query::select();
            select.columns(table.columns().iter().copied()).from(table.name());
            let is_inside = Expr::col("rid").gte(first).and(Expr::col("rid").lte(last));
            select.and_where(Expr::col("rid").eq(standing.rid).or(is_inside));
            let there: HashSet<Vec<Cell>> = self.rows(&select).await?.into_iter().map(|row| row.cells).collect();
            let wanted: HashSet<Vec<Cell>> = rows.into_iter().collect();
            let (missing, surplus) = (wanted.difference(&there).count(), there.difference(&wanted).count());
            if missing + surplus > 0 {
                differences.push(Difference { table: table.name(), missing, surplus });
            }
        }
        Ok(differences)
    }
}

/// The column by which searches find rows.
fn value_column(table: Table) -> Option<&'static str> {
    Some(match table {
        Table::Listing => return None,
        Table::Token => "token",
        Table::Reference => "target",
        Table::Date => "low",
        Table::String => "prefix",
        Table::Number | Table::Quantity => "value",
        Table::Uri => "hash",
        Table::Composite => "first",
    })
}
