//! Rows of the index tables: what a resource puts there, and how they are written.

use std::collections::HashSet;
use std::fmt::Write as _;

use rusqlite::Connection;
use sea_orm::sea_query::{DeleteStatement, Expr, ExprTrait, Query, SubQueryStatement, Value};
use search::contained;
use search::entry::{Extent, Extracted, IndexEntry, IndexValue, Target};

use crate::error::StoreError;
use crate::keys::{self, NOBODY, ResourceKey};
use crate::replace::{self, Stale};
use crate::row::Cell;
use crate::session::Session;
use crate::together::{self, Rows};
use crate::tx::Tx;

/// Length of the indexed start of a string, in characters.
pub(crate) const STRING_PREFIX: usize = 40;

/// A table of index rows. The discriminant is its bit in `resource.tables`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    Listing,
    Token,
    Reference,
    Date,
    String,
    Number,
    Quantity,
    Uri,
    Composite,
}

pub(crate) const TABLES: [Table; 9] = [
    Table::Listing,
    Table::Token,
    Table::Reference,
    Table::Date,
    Table::String,
    Table::Number,
    Table::Quantity,
    Table::Uri,
    Table::Composite,
];

impl Table {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Listing => "listing",
            Table::Token => "index_token",
            Table::Reference => "index_reference",
            Table::Date => "index_date",
            Table::String => "index_string",
            Table::Number => "index_number",
            Table::Quantity => "index_quantity",
            Table::Uri => "index_uri",
            Table::Composite => "index_composite",
        }
    }

    pub(crate) fn bit(self) -> i64 {
        1 << self as i64
    }

    pub(crate) fn columns(self) -> &'static [&'static str] {
        match self {
            Table::Listing => &["type_id", "patient", "chronology", "rid", "lead"],
            Table::Token => &["param", "token", "patient", "chronology", "rid", "lead"],
            Table::Reference => &["param", "target", "patient", "chronology", "rid", "lead"],
            Table::Date => &["param", "low", "high", "patient", "chronology", "rid", "lead"],
            Table::String => &["param", "prefix", "folded", "exact", "value", "patient", "chronology", "rid", "lead"],
            Table::Number => &["param", "value", "other", "patient", "chronology", "rid", "lead"],
            Table::Quantity => {
                &["param", "value", "other", "unit", "code", "name", "patient", "chronology", "rid", "lead"]
            }
            Table::Uri => &["param", "hash", "value", "patient", "chronology", "rid", "lead"],
            Table::Composite => &[
                "param",
                "first",
                "second",
                "low",
                "high",
                "value",
                "unit",
                "code",
                "name",
                "prefix",
                "folded",
                "exact",
                "third",
                "canonical",
                "canonical_unit",
                "other",
                "third_other",
                "canonical_other",
                "element",
                "patient",
                "chronology",
                "rid",
                "lead",
            ],
        }
    }
}

/// Bit in `resource.tables` of a resource whose contained resources have rows, in any of the tables.
pub(crate) const CONTAINED: i64 = 1 << 32;

/// The number under which contained resources of a type are listed.
pub(crate) fn contained_type(type_id: i64) -> i64 {
    -type_id
}

/// Rows by table.
type ByTable = [Vec<Vec<Cell>>; 9];

/// Rows of a table, by its name and columns.
type Filling = (&'static str, &'static [&'static str], Vec<Vec<Cell>>);

/// Rows that wait for [`Tx::flush`].
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) rows: ByTable,
    tokens: Vec<(i64, String, String)>,
    pub(crate) versions: Vec<Vec<Cell>>,
    pub(crate) version_patients: Vec<Vec<Cell>>,
    /// Texts, on PostgreSQL.
    pub(crate) bodies: Vec<Vec<Cell>>,
    /// Rows of the audit trail, on PostgreSQL.
    pub(crate) events: Vec<Rows>,
    /// Resources whose rows are replaced, on PostgreSQL.
    pub(crate) stale: Vec<Stale>,
    /// Rows of resources that have new versions, on PostgreSQL: `rid, version, last_updated, live, tables, body`.
    pub(crate) heads: Vec<Vec<Cell>>,
    /// Resources of which anything waits, on PostgreSQL.
    pub(crate) touched: HashSet<ResourceKey>,
}

/// A resource as the index sees it.
pub(crate) struct Indexed<'a> {
    pub(crate) rid: i64,
    pub(crate) type_id: i64,
    pub(crate) extracted: &'a Extracted,
    /// Targets that are its patients, sorted.
    pub(crate) patients: &'a [i64],
}

/// Rows of one resource, each under all of its patients.
struct Spread<'a> {
    tables: ByTable,
    seen: HashSet<(Table, Vec<Cell>)>,
    rid: i64,
    chronology: i64,
    patients: &'a [i64],
}

impl<'a> Spread<'a> {
    fn new(rid: i64, chronology: i64, patients: &'a [i64]) -> Self {
        let patients: &[i64] = if patients.is_empty() { &[NOBODY] } else { patients };
        Spread { tables: ByTable::default(), seen: HashSet::new(), rid, chronology, patients }
    }

    fn add(&mut self, table: Table, values: Vec<Cell>) {
        if !self.seen.insert((table, values.clone())) {
            return;
        }
        let copies = std::iter::repeat_n(values, self.patients.len());
        for (position, (patient, mut row)) in self.patients.iter().zip(copies).enumerate() {
            row.extend([*patient, self.chronology, self.rid, i64::from(position == 0)].map(Cell::Integer));
            self.tables[table as usize].push(row);
        }
    }
}

impl Tx {
    /// Makes the index hold exactly the rows of `indexed`; `tables` is what it held before. Returns what it holds now.
    pub(crate) async fn index(&mut self, indexed: &Indexed<'_>, tables: i64) -> Result<i64, StoreError> {
        let mut wanted = self.rows_of(indexed);
        let mut bits = 0;
        for (table, rows) in TABLES.into_iter().zip(&mut wanted) {
            if tables & table.bit() != 0 {
                self.keep_or_delete(table, indexed.rid, rows).await?;
            }
            let held = !rows.is_empty() || tables & table.bit() != 0;
            bits |= if held { table.bit() } else { 0 };
            self.pending.rows[table as usize].append(rows);
        }
        if tables & CONTAINED != 0 {
            self.unindex_inside(indexed.rid).await?;
        }
        if !indexed.extracted.contained.is_empty() {
            bits |= CONTAINED;
            for (pending, mut rows) in self.rows_inside(indexed).into_iter().enumerate() {
                self.pending.rows[pending].append(&mut rows);
            }
        }
        Ok(bits)
    }

    /// Has the index hold exactly the rows of `indexed` from the next flush on, on PostgreSQL. Returns the tables that it
    /// is in.
    pub(crate) fn replace_index(&mut self, indexed: &Indexed<'_>, tables: i64) -> i64 {
        let mut bits = if indexed.extracted.contained.is_empty() { 0 } else { CONTAINED };
        let (own, inside) = (self.rows_of(indexed), self.rows_inside(indexed));
        for (table, (mut own, mut inside)) in TABLES.into_iter().zip(own.into_iter().zip(inside)) {
            bits |= if own.is_empty() { 0 } else { table.bit() };
            self.pending.rows[table as usize].append(&mut own);
            self.pending.rows[table as usize].append(&mut inside);
        }
        self.pending.stale.push(Stale { rid: indexed.rid, tables });
        bits
    }

    /// Takes the rows of what a resource contains out of the index.
    async fn unindex_inside(&mut self, rid: i64) -> Result<(), StoreError> {
        let (first, last) = contained::row_ids(rid);
        for table in TABLES {
            let range = Expr::col("rid").gte(first).and(Expr::col("rid").lte(last));
            self.execute(Query::delete().from_table(table.name()).and_where(range)).await?;
        }
        Ok(())
    }

    /// Takes every row of a resource out of the index.
    pub(crate) async fn unindex(&mut self, rid: i64, tables: i64) -> Result<(), StoreError> {
        self.flush().await?;
        for table in TABLES.into_iter().filter(|table| tables & table.bit() != 0) {
            self.execute(Query::delete().from_table(table.name()).and_where(Expr::col("rid").eq(rid))).await?;
        }
        if tables & CONTAINED != 0 {
            self.unindex_inside(rid).await?;
        }
        Ok(())
    }

    /// Deletes the rows that are no longer wanted and takes those that stand already out of `wanted`.
    async fn keep_or_delete(&mut self, table: Table, rid: i64, wanted: &mut Vec<Vec<Cell>>) -> Result<(), StoreError> {
        let mut select = Query::select();
        select.columns(table.columns().iter().copied()).from(table.name()).and_where(Expr::col("rid").eq(rid));
        let standing: HashSet<Vec<Cell>> = self.rows(&select).await?.into_iter().map(|row| row.cells).collect();
        let fresh: HashSet<&Vec<Cell>> = wanted.iter().collect();
        for row in standing.iter().filter(|row| !fresh.contains(row)) {
            let mut delete = Query::delete();
            delete.from_table(table.name());
            for (column, cell) in table.columns().iter().zip(row) {
                delete.and_where(Expr::col(*column).eq(Value::from(cell.clone())));
            }
            self.execute(&delete).await?;
        }
        wanted.retain(|row| !standing.contains(row));
        Ok(())
    }

    pub(crate) fn rows_of(&mut self, indexed: &Indexed<'_>) -> ByTable {
        let Indexed { rid, type_id, extracted, patients } = *indexed;
        let mut rows = Spread::new(rid, extracted.chronology, patients);
        rows.add(Table::Listing, vec![Cell::Integer(type_id)]);
        self.add_entries(&extracted.entries, &mut rows);
        for (param, place) in &extracted.inward {
            rows.add(Table::Reference, [param.0, contained::row_id(rid, *place)].map(Cell::Integer).to_vec());
        }
        rows.tables
    }

    /// The rows of what a resource contains: each as if it stood by itself, but for whose it is and when it was.
    pub(crate) fn rows_inside(&mut self, indexed: &Indexed<'_>) -> ByTable {
        let mut all = ByTable::default();
        for inside in &indexed.extracted.contained {
            let rid = contained::row_id(indexed.rid, inside.place);
            let mut rows = Spread::new(rid, indexed.extracted.chronology, indexed.patients);
            let type_id = contained_type(self.known().types.id(&inside.resource_type));
            rows.add(Table::Listing, vec![Cell::Integer(type_id)]);
            self.add_entries(&inside.entries, &mut rows);
            for (param, place) in &inside.inward {
                let target = contained::row_id(indexed.rid, *place);
                rows.add(Table::Reference, [param.0, target].map(Cell::Integer).to_vec());
            }
            for (all, rows) in all.iter_mut().zip(&mut rows.tables) {
                all.append(rows);
            }
        }
        all
    }

    /// The rows of entries.
    fn add_entries(&mut self, entries: &[IndexEntry], rows: &mut Spread<'_>) {
        for entry in entries {
            let param = Cell::Integer(entry.param.0);
            match &entry.value {
                IndexValue::Token { system, code } => {
                    let token = self.token_key(system, code);
                    rows.add(Table::Token, vec![param, Cell::Integer(token)]);
                }
                IndexValue::Reference(target) => {
                    if let Some(target) = self.target_key(target) {
                        rows.add(Table::Reference, vec![param, Cell::Integer(target)]);
                    }
                }
                IndexValue::Date { low, high } => {
                    rows.add(Table::Date, vec![param, Cell::Integer(*low), Cell::Integer(*high)]);
                }
                IndexValue::String { folded, exact } => {
                    let prefix = folded.chars().take(STRING_PREFIX).collect();
                    let value = Cell::Integer(keys::hash(exact));
                    rows.add(
                        Table::String,
                        vec![param, Cell::Text(prefix), Cell::Text(folded.clone()), Cell::Text(exact.clone()), value],
                    );
                }
                IndexValue::Part(folded) => {
                    let prefix = folded.chars().take(STRING_PREFIX).collect();
                    let value = Cell::Integer(keys::hash(&format!("\u{1f}{folded}")));
                    let texts = [prefix, folded.clone(), String::new()].map(Cell::Text);
                    rows.add(Table::String, std::iter::once(param).chain(texts).chain([value]).collect());
                }
                IndexValue::Number(value) => {
                    for ends in value.rows() {
                        let row = std::iter::once(param.clone()).chain(ends.map(Cell::Text));
                        rows.add(Table::Number, row.collect());
                    }
                }
                IndexValue::Quantity { value, system, code, unit } => {
                    let units = [keys::token(system, code), keys::hash(code), keys::hash(unit)].map(Cell::Integer);
                    for ends in value.rows() {
                        let row = std::iter::once(param.clone()).chain(ends.map(Cell::Text)).chain(units.clone());
                        rows.add(Table::Quantity, row.collect());
                    }
                }
                IndexValue::Uri(value) => {
                    rows.add(Table::Uri, vec![param, Cell::Integer(keys::hash(value)), Cell::Text(value.clone())]);
                }
                IndexValue::Composite { values, canonical } => {
                    for row in self.composite_rows(values, canonical.as_ref()) {
                        rows.add(Table::Composite, [vec![param.clone()], row].concat());
                    }
                }
            }
        }
    }

    /// Key of a token, which is put into the dictionary if it is not there.
    fn token_key(&mut self, system: &str, code: &str) -> i64 {
        let token = keys::token(system, code);
        if !self.known().tokens.contains_key(&token) {
            self.pending.tokens.push((token, system.to_owned(), code.to_owned()));
        }
        token
    }

    /// The columns `first` to `element` of an element that has these values: a row for each end of its ranges; none if the
    /// table has no place for them.
    fn composite_rows(&mut self, values: &[IndexValue], canonical: Option<&(Extent, String)>) -> Vec<Vec<Cell>> {
        let Some(shared) = self.composite_row(values, canonical) else { return Vec::new() };
        let extent = |value: Option<&IndexValue>| match value {
            Some(IndexValue::Number(value) | IndexValue::Quantity { value, .. }) => value.rows(),
            _ => vec![[String::new(), String::new()]],
        };
        let (numbers, thirds) = (extent(values.get(1)), extent(values.get(2)));
        let canonical = canonical.map_or_else(|| vec![[String::new(), String::new()]], |(value, _)| value.rows());
        let mut rows = Vec::with_capacity(numbers.len() * thirds.len());
        for (position, number) in numbers.iter().enumerate() {
            // No condition asks for both, so it does not matter which of their ends stand beside each other.
            let canonical = &canonical[position.min(canonical.len() - 1)];
            for third in &thirds {
                rows.extend(with_ends(shared.clone(), [number, third, canonical]));
            }
        }
        rows
    }

    /// The columns `first` to `canonical_unit`, without the numbers.
    fn composite_row(&mut self, values: &[IndexValue], canonical: Option<&(Extent, String)>) -> Option<Vec<Cell>> {
        let zero = Cell::Integer(0);
        let mut keys = [zero.clone(), zero.clone()];
        let (mut interval, mut units) = ([zero.clone(), zero.clone()], [zero.clone(), zero.clone(), zero]);
        let mut texts = [const { Cell::Text(String::new()) }; 3];
        for (position, value) in values.iter().enumerate() {
            match (position, value) {
                (0 | 1, IndexValue::Token { system, code }) => {
                    keys[position] = Cell::Integer(self.token_key(system, code));
                }
                (0 | 1, IndexValue::Reference(target)) => keys[position] = Cell::Integer(self.target_key(target)?),
                (1, IndexValue::Date { low, high }) => interval = [*low, *high].map(Cell::Integer),
                (1 | 2, IndexValue::Number(_)) => {}
                (1, IndexValue::Quantity { system, code, unit, .. }) => {
                    units = [keys::token(system, code), keys::hash(code), keys::hash(unit)].map(Cell::Integer);
                }
                (1, IndexValue::String { folded, exact }) => {
                    keys[1] = Cell::Integer(keys::hash(exact));
                    texts =
                        [folded.chars().take(STRING_PREFIX).collect(), folded.clone(), exact.clone()].map(Cell::Text);
                }
                (1, IndexValue::Uri(value)) => {
                    keys[1] = Cell::Integer(keys::hash(value));
                    texts[2] = Cell::Text(value.clone());
                }
                _ => return None,
            }
        }
        let number = || Cell::Text(String::new());
        let mut row: Vec<Cell> = keys.into_iter().chain(interval).chain([number()]).chain(units).chain(texts).collect();
        let unit = canonical.map_or(0, |(_, unit)| keys::hash(unit));
        row.extend([number(), number(), Cell::Integer(unit)]);
        Some(row)
    }

    fn target_key(&self, target: &Target) -> Option<i64> {
        match target {
            Target::Local { resource_type, id } => {
                self.recent_target(&(self.known().types.id(resource_type), id.clone()))
            }
            Target::Url(text) => Some(keys::url(text)),
        }
    }

    /// Writes what waits.
    pub(crate) async fn flush(&mut self) -> Result<(), StoreError> {
        let Pending { rows, tokens, versions, version_patients, bodies, events, stale, heads, touched: _ } =
            std::mem::take(&mut self.pending);
        self.found_tokens.extend(tokens.iter().map(|token| token.0));
        let tokens = dictionary_rows(tokens);
        let mut tables: Vec<Filling> = vec![
            ("body", &["number", "text"][..], bodies),
            ("token", &["token", "system", "code", "code_hash", "system_hash", "folded_hash"], tokens),
            ("version", crate::change::VERSION_COLUMNS, versions),
            ("version_patient", crate::change::VERSION_PATIENT_COLUMNS, version_patients),
        ];
        // In the order of the tables, last: see `take_out`.
        tables.extend(TABLES.into_iter().zip(rows).map(|(table, rows)| (table.name(), table.columns(), rows)));
        if let Some(connection) = self.sqlite_connection() {
            return tables.iter().try_for_each(|(table, columns, rows)| insert(connection, table, columns, rows));
        }
        let others = self.take_out(&stale, &tables).await?;
        let others = others.into_iter().map(SubQueryStatement::DeleteStatement);
        let others = others.chain(replace::heads(&heads).map(SubQueryStatement::UpdateStatement)).collect();
        let replaced = |table: &str| TABLES.into_iter().any(|it| it.name() == table && replace::has_rows(&stale, it));
        let together = tables.into_iter().map(|(table, columns, rows)| {
            let values = rows.into_iter().map(|row| columns.iter().zip(row).map(value).collect()).collect();
            Rows { known: is_dictionary(table) || replaced(table), ..Rows::new(table, columns, values) }
        });
        for statement in together::statements_with(others, together.chain(events).collect()) {
            self.execute(&statement).await?;
        }
        Ok(())
    }

    /// Takes out of the index what is replaced; what may go in the statement that writes the rest is returned.
    async fn take_out(&mut self, stale: &[Stale], tables: &[Filling]) -> Result<Vec<DeleteStatement>, StoreError> {
        if stale.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<&[Vec<Cell>]> =
            tables.iter().rev().take(TABLES.len()).rev().map(|it| it.2.as_slice()).collect();
        let is_removal = wanted.iter().all(|rows| rows.is_empty());
        let mut removals = replace::removals(stale, &wanted);
        let last = if is_removal { removals.pop() } else { None };
        // A row that comes in the place of another with its key has to wait for that one to go.
        for deletes in removals.into_iter().filter(|deletes| !deletes.is_empty()) {
            self.rows(&replace::at_once(deletes)).await?;
        }
        Ok(last.unwrap_or_default())
    }
}

/// A row of a composite with its numbers, each with its other end; None if they are too long for an index row.
fn with_ends(mut row: Vec<Cell>, numbers: [&[String; 2]; 3]) -> Option<Vec<Cell>> {
    const LONGEST: usize = 2_500;
    for (name, [end, _]) in ["value", "third", "canonical"].into_iter().zip(numbers) {
        // The columns of the table begin with the parameter.
        let place = Table::Composite.columns().iter().position(|column| *column == name)? - 1;
        row[place] = Cell::Text(end.clone());
    }
    let mut element = format!("{row:?}");
    let others = numbers.map(|[_, other]| Cell::Text(other.clone()));
    if numbers.iter().any(|[_, other]| !other.is_empty()) {
        if [numbers[0], numbers[2]].into_iter().flatten().map(String::len).sum::<usize>() > LONGEST {
            return None;
        }
        let _infallible = write!(element, "{others:?}");
    }
    row.extend(others);
    row.push(Cell::Integer(keys::hash(&element)));
    Some(row)
}

/// No round trips to save on SQLite: one short prepared statement, run for each row, is the cheapest.
fn insert(connection: &Connection, table: &str, columns: &[&str], rows: &[Vec<Cell>]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let marks = vec!["?"; columns.len()].join(",");
    let ending = if is_dictionary(table) { " ON CONFLICT DO NOTHING" } else { "" };
    let text = format!("INSERT INTO {table} ({}) VALUES ({marks}){ending}", columns.join(","));
    let mut statement = connection.prepare_cached(&text)?;
    for row in rows {
        statement.execute(rusqlite::params_from_iter(row))?;
    }
    Ok(())
}

/// Whether rows of a table that are there already are passed over: many transactions meet the same words.
fn is_dictionary(table: &str) -> bool {
    table == "token"
}

/// A cell as PostgreSQL takes it: nothing is nothing of a type.
fn value((column, cell): (&&'static str, Cell)) -> Value {
    let is_number = matches!(*column, "body" | "folded_hash");
    if is_number && cell == Cell::Null { Value::BigInt(None) } else { cell.into() }
}

/// Sorted, so that two transactions never wait for each other crosswise.
fn dictionary_rows(mut tokens: Vec<(i64, String, String)>) -> Vec<Vec<Cell>> {
    tokens.sort_unstable();
    tokens.dedup_by_key(|token| token.0);
    let row = |(token, system, code): (i64, String, String)| {
        let hashes = [keys::hash(&code), keys::hash(&system)].map(Cell::Integer);
        let folded = Some(code.to_lowercase()).filter(|it| *it != code);
        let folded = folded.map_or(Cell::Null, |it| Cell::Integer(keys::hash(&it)));
        let mut row = vec![Cell::Integer(token), Cell::Text(system), Cell::Text(code)];
        row.extend(hashes);
        row.push(folded);
        row
    };
    tokens.into_iter().map(row).collect()
}

impl From<Cell> for Value {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Null => Value::String(None),
            Cell::Integer(value) => Value::BigInt(Some(value)),
            Cell::Text(text) => Value::String(Some(text)),
            Cell::Bytes(bytes) => Value::Bytes(Some(bytes)),
        }
    }
}

impl rusqlite::ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Cell::Null => ValueRef::Null,
            Cell::Integer(value) => ValueRef::Integer(*value),
            Cell::Text(text) => ValueRef::Text(text.as_bytes()),
            Cell::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
