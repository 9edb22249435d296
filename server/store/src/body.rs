//! Where the text of versions stands: once each, those of one patient side by side.
//!
//! A page of a patient's resources, newest first, is made of texts that lie together in the file, so it reads a few
//! neighbouring pages of it, not one for each resource; and a resource that nobody changes is stored once, not in its
//! row and in its version. On PostgreSQL texts stand in the order in which they come.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use sea_orm::sea_query::{Expr, ExprTrait, Query as Sql};

use crate::error::StoreError;
use crate::row::Cell;
use crate::session::Session;
use crate::tx::Tx;

/// Numbers of one patient's texts: as many as the lower half of an integer has.
const PER_HOME: i64 = 1 << 32;
/// Numbers that a process takes from PostgreSQL's sequence at once.
const BLOCK: i64 = 4096;

/// Numbers taken and not used yet.
#[derive(Debug)]
pub(crate) struct Block(Mutex<Range<i64>>);

impl Block {
    pub(crate) fn empty() -> Self {
        Block(Mutex::new(0..0))
    }

    fn next(&self) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// Takes the first of `numbers`, keeps the rest.
    fn refill(&self, mut numbers: Range<i64>) -> Option<i64> {
        let first = numbers.next();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
        first
    }
}

/// The text whose number stands in this column, as an expression.
pub(crate) fn text_of(alias: &'static str) -> Expr {
    let mut select = Sql::select();
    select.column("text").from("body").and_where(Expr::col(("body", "number")).equals((alias, "body")));
    Expr::SubQuery(None, Box::new(select.into()))
}

impl Tx {
    /// Stores a text beside the others of the patient `home` (0: of nobody) and returns its number.
    pub(crate) async fn store_body(&mut self, home: i64, text: String) -> Result<i64, StoreError> {
        if let Some(connection) = self.sqlite_connection() {
            let first = (home % (1 << 30)) * PER_HOME;
            let mut last =
                connection.prepare_cached("SELECT max(number) FROM body WHERE number >= ? AND number < ?")?;
            let last: Option<i64> = last.query_row([first, first + PER_HOME], |row| row.get(0))?;
            let number = last.unwrap_or(first) + 1;
            let mut insert = connection.prepare_cached("INSERT INTO body (number, text) VALUES (?, ?)")?;
            insert.execute(rusqlite::params![number, text])?;
            return Ok(number);
        }
        let number = match self.known().bodies.next() {
            Some(number) => number,
            None => self.next_block().await?,
        };
        self.pending.bodies.push(vec![Cell::Integer(number), Cell::Text(text)]);
        Ok(number)
    }

    async fn next_block(&mut self) -> Result<i64, StoreError> {
        let mut select = Sql::select();
        select.expr(Expr::cust("nextval(pg_get_serial_sequence('body', 'number'))"));
        let rows = self.rows(&select).await?;
        let block = rows.first().ok_or_else(|| StoreError::Schema("a sequence gave no number".into()))?.i64(0)?;
        let numbers = block * BLOCK..(block + 1) * BLOCK;
        self.known().bodies.refill(numbers).ok_or_else(|| StoreError::Schema("no numbers left".into()))
    }
}
