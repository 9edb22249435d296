//! Where the text of versions stands: once each, those of one patient side by side.
//!
//! A page of a patient's resources, newest first, is made of texts that lie together in the file, so it reads a few
//! neighbouring pages of it, not one for each resource; and a resource that nobody changes is stored once, not in its
//! row and in its version. On PostgreSQL texts stand in the order in which they come.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::sea_query::{Expr, ExprTrait, Query as Sql};

use crate::error::StoreError;
use crate::row::Cell;
use crate::search::any::is_listed;
use crate::session::Session;
use crate::tx::Tx;

/// Numbers of one patient's texts: as many as the lower half of an integer has.
const PER_HOME: i64 = 1 << 32;
/// Numbers that a process takes from PostgreSQL's sequence at once.
const BLOCK: i64 = 4096;

/// Texts that one statement reads.
const TEXTS_PER_STATEMENT: usize = 512;

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

    /// Gives up what is left.
    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = 0..0;
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

/// The texts of these numbers, in their order; none for none. Those that were read lately come from memory.
pub(crate) async fn texts<S: Session>(
    session: &mut S,
    numbers: &[Option<i64>],
) -> Result<Vec<Option<Arc<str>>>, StoreError> {
    let mut texts: Vec<Option<Arc<str>>> =
        numbers.iter().map(|number| session.known().texts.get(&(*number)?)).collect();
    let mut missing: Vec<i64> =
        numbers.iter().zip(&texts).filter(|(_, text)| text.is_none()).filter_map(|(number, _)| *number).collect();
    missing.sort_unstable();
    missing.dedup();
    let mut read: HashMap<i64, Arc<str>> = HashMap::with_capacity(missing.len());
    for some in missing.chunks(TEXTS_PER_STATEMENT) {
        let mut select = Sql::select();
        select.columns(["number", "text"]).from("body").and_where(is_listed(
            session.backend(),
            Expr::col("number"),
            some,
        ));
        for mut row in session.rows(&select).await? {
            let (number, text) = (row.i64(0)?, row.take_text(1)?.unwrap_or_default().into());
            session.remember_text(number, &text);
            read.insert(number, text);
        }
    }
    for (number, text) in numbers.iter().zip(&mut texts) {
        if let (Some(number), None) = (number, &text) {
            let found = read.get(number).cloned();
            *text = Some(found.ok_or_else(|| StoreError::Schema(format!("the text {number} is not there")))?);
        }
    }
    Ok(texts)
}

impl Tx {
    /// Stores a text beside the others of the patient `home`, or of [nobody](crate::keys::NOBODY), and returns its number.
    pub(crate) async fn store_body(&mut self, home: i64, text: &str) -> Result<i64, StoreError> {
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
        let number = self.next_body().await?;
        self.keep_body(number, text.to_owned());
        Ok(number)
    }

    /// A number for a text, on PostgreSQL.
    pub(crate) async fn next_body(&mut self) -> Result<i64, StoreError> {
        match self.known().bodies.next() {
            Some(number) => Ok(number),
            None => self.next_block().await,
        }
    }

    /// Stores a text under its number, with others.
    pub(crate) fn keep_body(&mut self, number: i64, text: String) {
        self.pending.bodies.push(vec![Cell::Integer(number), Cell::Text(text)]);
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
