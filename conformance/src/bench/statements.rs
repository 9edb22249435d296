//! The hand-written SQL that each search is compared with: over tables that hold nothing else, with the index that
//! the statement would wish for, as many rows of the same length.

use super::data::Plan;
use super::workload as row;

/// A statement that both engines run: SQLite behind actix-web, PostgreSQL by `pgbench`.
pub(crate) struct Statement {
    /// What it does, in the table.
    what: &'static str,
    /// Gives bodies; takes two numbers, `:a` and `:b`.
    pub(crate) sql: &'static str,
    /// The least and the greatest that each number may be.
    pub(crate) bounds: fn(&Plan) -> [(usize, usize); 2],
    /// Rows of the table that it is the ceiling of.
    pub(crate) of: &'static [&'static str],
}

impl Statement {
    /// Name of its row behind actix-web on SQLite.
    pub(crate) fn on_sqlite(&self) -> String {
        format!("ceiling: actix-web + SQLite {}", self.what)
    }

    /// Name of its row on PostgreSQL.
    pub(crate) fn on_postgres(&self) -> String {
        format!("ceiling: PostgreSQL {}", self.what)
    }

    /// The numbers of a request.
    pub(crate) fn values(&self, number: usize, plan: &Plan) -> [usize; 2] {
        (self.bounds)(plan).map(|(least, most)| least + number.wrapping_mul(STRIDE) % (most - least + 1))
    }
}

/// Coprime to most sizes: every request another row, no pattern that a cache could love.
const STRIDE: usize = 7919;

/// A number that a statement does not take.
const NONE: (usize, usize) = (0, 0);

/// Tables without their secondary indexes.
pub(crate) const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE resource (rid INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE patient (rid INTEGER PRIMARY KEY, family TEXT NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE TABLE entry (patient INTEGER, code INTEGER, moment INTEGER, rid INTEGER, value INTEGER,
        PRIMARY KEY (patient, code, moment DESC, rid DESC)) STRICT, WITHOUT ROWID;
    CREATE TABLE written (rid INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE written_entry (param INTEGER, value INTEGER, rid INTEGER, PRIMARY KEY (param, value, rid)) STRICT, WITHOUT ROWID;";

/// Made when the tables are full.
pub(crate) const INDEXES: &str = "CREATE INDEX entry_by_code ON entry (code, moment DESC, rid DESC);
    CREATE INDEX patient_by_family ON patient (family); ANALYZE;";

/// Every statement.
pub(crate) static STATEMENTS: &[Statement] = &[
    Statement {
        what: "primary key",
        sql: "SELECT body FROM resource WHERE rid = :a AND :b >= 0",
        bounds: |plan| [(0, plan.observations() - 1), NONE],
        of: &[row::READ, row::VREAD],
    },
    Statement {
        what: "range scan, 50 rows",
        sql: "SELECT body FROM entry JOIN resource USING (rid)
            WHERE patient = :a AND code = :b ORDER BY moment DESC, rid DESC LIMIT 50",
        bounds: |plan| [(0, plan.patients() - 1), (0, Plan::codes() - 1)],
        of: &[row::SEARCH, row::TOTAL, row::INCLUDES, row::EVERYTHING, row::CHAINED],
    },
    Statement {
        what: "unique index",
        sql: "SELECT body FROM patient WHERE rid = :a AND :b >= 0",
        bounds: |plan| [(0, plan.patients() - 1), NONE],
        of: &[row::IDENTIFIER],
    },
    Statement {
        what: "prefix of a name, 50 rows",
        sql: "SELECT body FROM patient
            WHERE family >= 'family' || :a AND family < 'family' || :a || 'z' AND :b >= 0 ORDER BY rid DESC LIMIT 50",
        bounds: |_| [(0, 9), NONE],
        of: &[row::NAME],
    },
    Statement {
        what: "newest 50 of a code",
        sql: "SELECT body FROM entry JOIN resource USING (rid)
            WHERE code = :a AND :b >= 0 ORDER BY moment DESC, rid DESC LIMIT 50",
        bounds: |_| [(0, Plan::codes() - 1), NONE],
        of: &[row::POPULATION, row::DEEP],
    },
    Statement {
        what: "patient's values above, 50 rows",
        sql: "SELECT body FROM entry JOIN resource USING (rid)
            WHERE patient = :a AND code = 4 AND value > :b ORDER BY moment DESC, rid DESC LIMIT 50",
        bounds: |plan| [(0, plan.patients() - 1), (91, 110)],
        of: &[row::COMPONENT],
    },
    Statement {
        what: "patients that have a code, 50 rows",
        sql: "SELECT body FROM patient
            WHERE EXISTS (SELECT 1 FROM entry WHERE patient = patient.rid AND code = :a) AND :b >= 0 ORDER BY rid DESC LIMIT 50",
        bounds: |_| [(0, Plan::codes() - 1), NONE],
        of: &[row::HAS],
    },
    Statement {
        what: "all 256 of a patient",
        sql: "SELECT body FROM entry JOIN resource USING (rid) WHERE patient = :a AND :b >= 0",
        bounds: |plan| [(0, plan.patients() - 1), NONE],
        of: &[row::REVERSE],
    },
];
