//! The hand-written SQL that each search is compared with: over tables that hold nothing else, with the index that
//! the statement would wish for, as many rows of the same length.

use super::data::Plan;
use super::workload as row;

/// A statement that actix-web answers with.
pub(crate) struct Statement {
    /// Name in the table.
    pub(crate) name: &'static str,
    /// Gives one text; takes two numbers.
    pub(crate) sql: &'static str,
    /// The numbers of a request.
    pub(crate) values: fn(usize, &Plan) -> (usize, usize),
    /// Rows of the table that it is the ceiling of.
    pub(crate) of: &'static [&'static str],
}

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
        name: "ceiling: actix-web + SQLite primary key",
        sql: "SELECT body FROM resource WHERE rid = ?1 AND ?2 >= 0",
        values: |number, plan| (number.wrapping_mul(7919) % plan.observations(), 0),
        of: &[row::READ, row::VREAD],
    },
    Statement {
        name: "ceiling: actix-web + SQLite range scan, 50 rows",
        sql: "SELECT group_concat(body) FROM (SELECT body FROM entry JOIN resource USING (rid)
            WHERE patient = ?1 AND code = ?2 ORDER BY moment DESC, rid DESC LIMIT 50)",
        values: |number, plan| (number.wrapping_mul(31) % plan.patients(), number % Plan::codes()),
        of: &[row::SEARCH, row::TOTAL, row::INCLUDES, row::EVERYTHING, row::CHAINED],
    },
    Statement {
        name: "ceiling: actix-web + SQLite unique index",
        sql: "SELECT body FROM patient WHERE rid = ?1 AND ?2 >= 0",
        values: |number, plan| (number.wrapping_mul(31) % plan.patients(), 0),
        of: &[row::IDENTIFIER],
    },
    Statement {
        name: "ceiling: actix-web + SQLite prefix of a name, 50 rows",
        sql: "SELECT group_concat(body) FROM (SELECT body FROM patient
            WHERE family >= 'family' || ?1 AND family < 'family' || ?1 || 'z' AND ?2 >= 0 ORDER BY rid DESC LIMIT 50)",
        values: |number, _| (number % 10, 0),
        of: &[row::NAME],
    },
    Statement {
        name: "ceiling: actix-web + SQLite newest 50 of a code",
        sql: "SELECT group_concat(body) FROM (SELECT body FROM entry JOIN resource USING (rid)
            WHERE code = ?1 AND ?2 >= 0 ORDER BY moment DESC, rid DESC LIMIT 50)",
        values: |number, _| (number % Plan::codes(), 0),
        of: &[row::POPULATION, row::DEEP],
    },
    Statement {
        name: "ceiling: actix-web + SQLite patient's values above, 50 rows",
        sql: "SELECT group_concat(body) FROM (SELECT body FROM entry JOIN resource USING (rid)
            WHERE patient = ?1 AND code = 4 AND value > ?2 ORDER BY moment DESC, rid DESC LIMIT 50)",
        values: |number, plan| (number.wrapping_mul(31) % plan.patients(), 91 + number % 20),
        of: &[row::COMPONENT],
    },
    Statement {
        name: "ceiling: actix-web + SQLite patients that have a code, 50 rows",
        sql: "SELECT group_concat(body) FROM (SELECT body FROM patient
            WHERE EXISTS (SELECT 1 FROM entry WHERE patient = patient.rid AND code = ?1) AND ?2 >= 0 ORDER BY rid DESC LIMIT 50)",
        values: |number, _| (number % Plan::codes(), 0),
        of: &[row::HAS],
    },
    Statement {
        name: "ceiling: actix-web + SQLite all 256 of a patient",
        sql: "SELECT group_concat(body) FROM (SELECT body FROM entry JOIN resource USING (rid) WHERE patient = ?1 AND ?2 >= 0)",
        values: |number, plan| (number.wrapping_mul(31) % plan.patients(), 0),
        of: &[row::REVERSE],
    },
];
