//! Statements of the hot path: always the same but for their values, so written once and kept as text.
//!
//! Building a statement costs as much as SQLite takes to run it; a read by id cannot afford that twice a request.

use std::sync::OnceLock;

use sea_orm::sea_query::{SelectStatement, Value, Values};
use sea_orm::{DbBackend, Statement, StatementBuilder};

/// A statement whose values are given anew each time.
pub(crate) struct Fixed {
    build: fn() -> SelectStatement,
    sqlite: OnceLock<String>,
    postgres: OnceLock<String>,
}

/// A fixed statement with the values of one run.
pub(crate) struct Filled<'a> {
    fixed: &'a Fixed,
    values: Vec<Value>,
}

impl Fixed {
    /// `build` writes the statement with any values; constants stand in it as text, not as values.
    pub(crate) const fn new(build: fn() -> SelectStatement) -> Self {
        Fixed { build, sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    /// The statement with these values, in the order in which they stand in it.
    pub(crate) fn with(&self, values: Vec<Value>) -> Filled<'_> {
        Filled { fixed: self, values }
    }

    fn text(&self, backend: DbBackend) -> &str {
        let text = if backend == DbBackend::Postgres { &self.postgres } else { &self.sqlite };
        text.get_or_init(|| StatementBuilder::build(&(self.build)(), &backend).sql)
    }
}

impl StatementBuilder for Filled<'_> {
    fn build(&self, backend: &DbBackend) -> Statement {
        let sql = self.fixed.text(*backend).to_owned();
        Statement { sql, values: Some(Values(self.values.clone())), db_backend: *backend }
    }
}
