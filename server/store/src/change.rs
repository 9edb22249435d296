//! Writing a version: resource, version with its author, and index rows in one transaction. (Invariant 1)

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension as _, params};
use sea_orm::sea_query::{Cond, Expr, ExprTrait, LockType, OnConflict, Order, Query, SelectStatement, Value};
use sea_orm::{DbBackend, JoinType};
use search::entry::{Extracted, IndexValue, Target};
use search::view::View;

use crate::audit::{self, Event};
use crate::error::StoreError;
use crate::fixed::Fixed;
use crate::foresight::Born;
use crate::index::Indexed;
use crate::keys::{NOBODY, ResourceKey};
use crate::replace::Stale;
use crate::resources::{AFTER_STORED, Method, Stored, stored, stored_columns_with_text};
use crate::row::Cell;
use crate::session::Session;
use crate::tx::Tx;
use crate::view::ResolvedView;

/// Resources named in one statement.
const LISTED: usize = 1000;

/// Columns of a version in the order in which [`Tx::put`] gives them.
pub(crate) const VERSION_COLUMNS: &[&str] =
    &["type_id", "rid", "version", "last_updated", "method", "patients", "actor", "body"];

/// Columns of a row that finds a version by its patient.
pub(crate) const VERSION_PATIENT_COLUMNS: &[&str] = &["patient", "type_id", "last_updated", "rid", "version"];

/// A new version of a resource.
#[derive(Clone, Debug)]
pub struct Change {
    /// Resource type.
    pub resource_type: String,
    /// Logical id.
    pub id: String,
    /// The version made: 1, or one more than the version that [`Tx::current`] gave.
    pub version: i64,
    /// `meta.lastUpdated`, microseconds since 1970.
    pub last_updated: i64,
    /// How it came.
    pub method: Method,
    /// The JSON to serve; none deletes.
    pub body: Option<String>,
    /// Index entries of the body.
    pub extracted: Arc<Extracted>,
    /// Who acts, as the version says it.
    pub actor: String,
    /// Who acts, as the audit trail says it: the event of this change, which is written with it.
    pub event: Event,
}

impl Tx {
    /// The current version as `view` shows it, locked until the transaction ends.
    pub async fn current(&mut self, view: &View, resource_type: &str, id: &str) -> Result<Option<Stored>, StoreError> {
        let Some(view) = ResolvedView::new(self, view, resource_type).await? else { return Ok(None) };
        let key = (self.known().types.id(resource_type), id.to_owned());
        let Some(head) = self.head(resource_type, id).await? else { return Ok(None) };
        if self.backend() == DbBackend::Postgres {
            self.heads.insert(key, head.clone());
        }
        if let Some(patients) = view.patients() {
            let of_version = match &head.patients {
                Some(patients) => patients.clone(),
                None => self.patients_of(head.rid, head.stored.version).await?,
            };
            let shown = patients.iter().any(|patient| of_version.contains(&format!(",{patient},")))
                || (of_version.is_empty() && view.shows_unassigned());
            if !shown {
                return Ok(None);
            }
        }
        Ok(Some(head.stored).filter(|stored| view.shows(stored)))
    }

    /// Locks the resources that stand, by type and id, until the transaction ends: in one order for all transactions,
    /// so that two that change the same resources wait for each other one way.
    pub async fn lock(&mut self, resources: &[(&str, &str)]) -> Result<(), StoreError> {
        if self.backend() == DbBackend::Sqlite {
            return Ok(()); // there is one writer
        }
        let mut ids: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        for (resource_type, id) in resources {
            ids.entry(self.known().types.id(resource_type)).or_default().push(id);
        }
        let mut rids = Vec::new();
        for (type_id, ids) in ids {
            for ids in ids.chunks(LISTED) {
                let mut select = Query::select();
                select.column("rid").from("resource").and_where(Expr::col("type_id").eq(type_id));
                select.and_where(Expr::col("id").is_in(ids.iter().copied()));
                for row in self.rows(&select).await? {
                    rids.push(row.i64(0)?);
                }
            }
        }
        rids.sort_unstable();
        for rids in rids.chunks(LISTED) {
            let mut select = Query::select();
            select.column("rid").from("resource").and_where(Expr::col("rid").is_in(rids.iter().copied()));
            select.order_by("rid", Order::Asc).lock(LockType::Update);
            self.rows(&select).await?;
        }
        Ok(())
    }

    /// Makes this transaction the only one that has `key` until it ends, see [`Tx::lock_keys`].
    pub async fn lock_key(&mut self, key: &str) -> Result<(), StoreError> {
        self.lock_keys(&[key]).await
    }

    /// The instant of the versions that this transaction makes, microseconds since 1970. It is never earlier than what
    /// a history has shown before; see decision 10.
    ///
    /// On SQLite that is `clock`: the writer asks while nobody else writes. On PostgreSQL it is the database's clock, the
    /// same for all nodes, read after a shared lock tells histories since when this transaction is under way.
    pub async fn instant(&mut self, clock: i64) -> Result<i64, StoreError> {
        if self.backend() == DbBackend::Sqlite {
            return Ok(clock);
        }
        if let Some(instant) = self.instant {
            return Ok(instant);
        }
        let instant = self.rows(&crate::horizon::enter()).await?.first().map_or(Ok(clock), |row| row.i64(0))?;
        self.instant = Some(instant);
        Ok(instant)
    }

    /// Writes a version. [`StoreError::Conflict`] if the version before it is not the current one.
    pub async fn put(&mut self, mut change: Change) -> Result<(), StoreError> {
        let type_id = self.known().types.id(&change.resource_type);
        if type_id == 0 {
            return Err(StoreError::Schema(format!("{} is not a resource type", change.resource_type)));
        }
        let standing = match self.heads.remove(&(type_id, change.id.clone())) {
            _ if change.version == 1 => None,
            // Nobody else has changed it since: it is locked.
            Some(head) => Some(head),
            None => self.head(&change.resource_type, &change.id).await?,
        };
        self.record_change(&mut change);
        let standing = match standing {
            Some(head) if head.stored.version != change.version - 1 => return Err(self.note(StoreError::Conflict)),
            standing => standing,
        };
        let Some(text) = change.body.take() else {
            return self.put_deletion(standing, &change).await;
        };
        let targets = self.mention(&change.extracted).await?;
        let born = if change.version == 1 { self.born.remove(&(type_id, change.id.clone())) } else { None };
        let body = match born {
            Some(born) => born.body,
            None => self.store_body(targets.first().copied().unwrap_or(NOBODY), &text).await?,
        };
        let (rid, tables) = match (standing, born) {
            (Some(head), _) => (head.rid, head.tables),
            (None, Some(born)) => (self.complete_row(born, &change, text).await?, 0),
            (None, None) => (self.create_row(type_id, &change, body).await?, 0),
        };
        let indexed = Indexed { rid, type_id, extracted: &change.extracted, patients: &targets };
        if self.backend() == DbBackend::Postgres {
            self.pending.touched.insert((type_id, change.id.clone()));
        }
        if change.version == 1 {
            self.index(&indexed, 0).await?;
        } else if self.backend() == DbBackend::Postgres {
            let tables = self.replace_index(&indexed, tables);
            self.replace_row(rid, &change, tables, Cell::Integer(body));
        } else {
            self.rewrite_index(&indexed, tables).await?;
            self.update_row(rid, &change, Some(body)).await?;
        }
        self.put_version((type_id, rid), &change, patient_list(&targets), Cell::Integer(body));
        Ok(())
    }

    /// Every change has its event.
    fn record_change(&mut self, change: &mut Change) {
        let mut event = std::mem::take(&mut change.event);
        let reference = format!("{}/{}", change.resource_type, change.id);
        audit::of_change(&mut event, change.method, (&reference, change.version));
        for patient in &change.extracted.patients {
            event.concern(patient);
        }
        self.record(event);
    }

    /// Tells the event of this work whose data it was about, as a version lists them.
    async fn concern(&mut self, patients: &str) -> Result<(), StoreError> {
        let numbers: Vec<i64> = patients.split(',').filter_map(|number| number.parse().ok()).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let known: Option<Vec<Arc<str>>> = numbers.iter().map(|number| self.known().names.get(number)).collect();
        let names = match known {
            Some(names) => names,
            None => self.names_of(&numbers).await?,
        };
        if let Some(event) = &mut self.event {
            for name in &names {
                event.concern(name);
            }
        }
        Ok(())
    }

    /// Logical ids of targets. They never change.
    async fn names_of(&mut self, numbers: &[i64]) -> Result<Vec<Arc<str>>, StoreError> {
        let mut select = Query::select();
        select.columns(["target", "id"]).from("target").and_where(Expr::col("target").is_in(numbers.iter().copied()));
        let mut names = Vec::new();
        for row in self.rows(&select).await? {
            names.push((row.i64(0)?, Arc::<str>::from(row.text(1)?)));
        }
        // On SQLite a number that this commit gives is another's if it fails; the sequences of PostgreSQL never go back.
        for (number, name) in names.iter().filter(|_| self.backend() == DbBackend::Postgres) {
            self.known().names.insert(*number, name.clone());
        }
        Ok(names.into_iter().map(|(_, name)| name).collect())
    }

    async fn put_deletion(&mut self, standing: Option<Head>, change: &Change) -> Result<(), StoreError> {
        let Some(Head { rid, tables, patients, .. }) = standing else { return Err(self.note(StoreError::Conflict)) };
        let type_id = self.known().types.id(&change.resource_type);
        let patients = match patients {
            Some(patients) => patients,
            None => self.patients_of(rid, change.version - 1).await?,
        };
        self.concern(&patients).await?;
        if self.backend() == DbBackend::Postgres {
            self.pending.touched.insert((type_id, change.id.clone()));
            self.pending.stale.push(Stale { rid, tables });
            self.replace_row(rid, change, 0, Cell::Null);
        } else {
            self.unindex(rid, tables).await?;
            self.update_row(rid, change, None).await?;
        }
        self.put_version((type_id, rid), change, patients, Cell::Null);
        Ok(())
    }

    /// The row of a resource that [`Tx::head`] has locked, from the next flush on; on PostgreSQL.
    fn replace_row(&mut self, rid: i64, change: &Change, tables: i64, body: Cell) {
        let live = i64::from(body != Cell::Null);
        let row = [rid, change.version, change.last_updated, live, tables].map(Cell::Integer);
        self.pending.heads.push(row.into_iter().chain([body]).collect());
    }

    fn put_version(&mut self, (type_id, rid): (i64, i64), change: &Change, patients: String, body: Cell) {
        let found_by =
            patient_rows(&patients, &change.resource_type, [type_id, change.last_updated, rid, change.version]);
        self.pending.version_patients.extend(found_by);
        let integers = [type_id, rid, change.version, change.last_updated, change.method.number()].map(Cell::Integer);
        let texts = [Cell::Text(patients), Cell::Text(change.actor.clone()), body];
        self.pending.versions.push(integers.into_iter().chain(texts).collect());
    }

    async fn create_row(&mut self, type_id: i64, change: &Change, body: i64) -> Result<i64, StoreError> {
        if let Some(connection) = self.sqlite_connection() {
            let text = "INSERT INTO resource (type_id, id, version, live, last_updated, tables, body) \
                        VALUES (?, ?, ?, 1, ?, ?, ?) ON CONFLICT (type_id, id) DO NOTHING RETURNING rid";
            let Change { id, version, last_updated, extracted, .. } = change;
            let values = params![type_id, id, version, last_updated, tables_of(extracted), body];
            let rid = connection.prepare_cached(text)?.query_row(values, |row| row.get(0)).optional()?;
            return rid.ok_or_else(|| self.note(StoreError::Conflict));
        }
        let columns = ["type_id", "id", "version", "live", "last_updated", "tables", "body"];
        let mut insert = Query::insert();
        insert.into_table("resource").columns(columns);
        insert.values_panic([
            type_id.into(),
            change.id.clone().into(),
            change.version.into(),
            1_i64.into(),
            change.last_updated.into(),
            tables_of(&change.extracted).into(),
            body.into(),
        ]);
        insert.on_conflict(OnConflict::columns(["type_id", "id"]).do_nothing().to_owned()).returning_col("rid");
        let rows = self.rows(&insert).await?;
        rows.first().ok_or_else(|| self.note(StoreError::Conflict))?.i64(0)
    }

    /// Makes a row that was there before its version say what the version says.
    async fn complete_row(&mut self, born: Born, change: &Change, text: String) -> Result<i64, StoreError> {
        self.keep_body(born.body, text);
        let (tables, last_updated) = (tables_of(&change.extracted), change.last_updated);
        if (tables, last_updated) != (born.tables, born.last_updated) {
            let mut update = Query::update();
            update.table("resource").value("tables", tables).value("last_updated", last_updated);
            update.and_where(Expr::col("rid").eq(born.rid));
            self.execute(&update).await?;
        }
        Ok(born.rid)
    }

    async fn update_row(&mut self, rid: i64, change: &Change, body: Option<i64>) -> Result<(), StoreError> {
        let live = i64::from(body.is_some());
        let mut update = Query::update();
        update.table("resource").value("version", change.version).value("last_updated", change.last_updated);
        update.value("live", live).value("body", body);
        if live == 0 {
            update.value("tables", 0);
        }
        update.and_where(Expr::col("rid").eq(rid)).and_where(Expr::col("version").eq(change.version - 1));
        if self.execute(&update).await? == 1 { Ok(()) } else { Err(self.note(StoreError::Conflict)) }
    }

    /// Makes the index say what `indexed` says.
    async fn rewrite_index(&mut self, indexed: &Indexed<'_>, tables: i64) -> Result<(), StoreError> {
        if tables != 0 {
            self.flush().await?;
        }
        let bits = self.index(indexed, tables).await?;
        if bits != tables {
            let mut update = Query::update();
            update.table("resource").value("tables", bits).and_where(Expr::col("rid").eq(indexed.rid));
            self.execute(&update).await?;
        }
        Ok(())
    }

    /// The same for a resource whose content stays as it is, so also who its patients are: their list on the version.
    pub(crate) async fn index_again(
        &mut self,
        rid: i64,
        type_id: i64,
        tables: i64,
        extracted: &Extracted,
    ) -> Result<(), StoreError> {
        let targets = self.mention(extracted).await?;
        self.rewrite_index(&Indexed { rid, type_id, extracted, patients: &targets }, tables).await?;
        let patients = patient_list(&targets);
        let mut select = Query::select();
        select.columns([("v", "version"), ("v", "last_updated"), ("v", "patients")]).from_as("version", "v");
        let current = Cond::all()
            .add(Expr::col(("v", "rid")).equals(("r", "rid")))
            .add(Expr::col(("v", "version")).equals(("r", "version")));
        select.join_as(JoinType::InnerJoin, "resource", "r", current).and_where(Expr::col(("r", "rid")).eq(rid));
        let rows = self.rows(&select).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        let (version, last_updated, before) = (row.i64(0)?, row.i64(1)?, row.text(2)?);
        if before == patients {
            return Ok(());
        }
        let mut update = Query::update();
        update.table("version").value("patients", patients.clone()).and_where(Expr::col("rid").eq(rid));
        update.and_where(Expr::col("version").eq(version));
        self.execute(&update).await?;
        let resource_type = self.known().types.name(type_id)?;
        let rows_of = |patients: &str| patient_rows(patients, resource_type, [type_id, last_updated, rid, version]);
        for row in rows_of(&before) {
            let mut delete = Query::delete();
            delete.from_table("version_patient");
            for (column, cell) in VERSION_PATIENT_COLUMNS.iter().zip(row) {
                delete.and_where(Expr::col(*column).eq(Value::from(cell)));
            }
            self.execute(&delete).await?;
        }
        self.pending.version_patients.extend(rows_of(&patients));
        Ok(())
    }

    /// Gives everything that is referred to a number. Returns those of the patients, sorted.
    pub(crate) async fn mention(&mut self, extracted: &Extracted) -> Result<Vec<i64>, StoreError> {
        for key in self.mentioned(extracted).iter().filter(|key| key.0 != 0) {
            if self.recent_target(key).is_none() {
                let target = self.mention_one(key).await?;
                self.found.insert(key.clone(), target);
            }
        }
        let patient = self.known().types.id("Patient");
        let mut patients: Vec<i64> =
            extracted.patients.iter().filter_map(|id| self.recent_target(&(patient, id.clone()))).collect();
        patients.sort_unstable();
        Ok(patients)
    }

    /// What is referred to, in one order for all transactions, so that two never wait for each other crosswise.
    pub(crate) fn mentioned(&self, extracted: &Extracted) -> Vec<ResourceKey> {
        let patient = self.known().types.id("Patient");
        let mut keys: Vec<ResourceKey> = extracted.patients.iter().map(|id| (patient, id.clone())).collect();
        let inside = extracted.contained.iter().flat_map(|inside| &inside.entries);
        for entry in extracted.entries.iter().chain(inside) {
            let values = if let IndexValue::Composite { values, .. } = &entry.value {
                values
            } else {
                std::slice::from_ref(&entry.value)
            };
            for value in values {
                if let IndexValue::Reference(Target::Local { resource_type, id }) = value {
                    keys.push((self.known().types.id(resource_type), id.clone()));
                }
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    async fn mention_one(&mut self, key: &ResourceKey) -> Result<i64, StoreError> {
        let (type_id, id) = key;
        if let Some(connection) = self.sqlite_connection() {
            let mut select = connection.prepare_cached("SELECT target FROM target WHERE type_id = ? AND id = ?")?;
            if let Some(target) = select.query_row(params![type_id, id], |row| row.get(0)).optional()? {
                return Ok(target);
            }
            let text = "INSERT INTO target (type_id, id) VALUES (?, ?) RETURNING target";
            return Ok(connection.prepare_cached(text)?.query_row(params![type_id, id], |row| row.get(0))?);
        }
        let mut select = Query::select();
        select.column("target").from("target");
        select.and_where(Expr::col("type_id").eq(*type_id)).and_where(Expr::col("id").eq(id));
        if let Some(row) = self.rows(&select).await?.first() {
            return row.i64(0);
        }
        let mut insert = Query::insert();
        insert.into_table("target").columns(["type_id", "id"]).values_panic([(*type_id).into(), id.clone().into()]);
        insert.on_conflict(OnConflict::columns(["type_id", "id"]).do_nothing().to_owned()).returning_col("target");
        if let Some(row) = self.rows(&insert).await?.first() {
            return row.i64(0);
        }
        // Another transaction made it in between and has committed: it is there now.
        self.rows(&select).await?.first().ok_or(StoreError::Conflict)?.i64(0)
    }

    async fn head(&mut self, resource_type: &str, id: &str) -> Result<Option<Head>, StoreError> {
        let key = (self.known().types.id(resource_type), id.to_owned());
        if self.born.contains_key(&key) {
            return Ok(None); // it has a row, but no version yet
        }
        if self.pending.touched.contains(&key) {
            self.flush().await?;
        }
        let head = if self.backend() == DbBackend::Postgres { &HEAD_AND_PATIENTS } else { &HEAD };
        let select = head.with(vec![key.0.into(), key.1.into()]);
        let Some(mut row) = self.rows(&select).await?.into_iter().next() else { return Ok(None) };
        if row.opt_text(3)?.is_none() && row.opt_i64(AFTER_STORED + 2)?.is_some() {
            // The text waits to be written with others of this transaction.
            self.flush().await?;
            let Some(again) = self.rows(&select).await?.into_iter().next() else { return Ok(None) };
            row = again;
        }
        let (rid, tables) = (row.i64(AFTER_STORED)?, row.i64(AFTER_STORED + 1)?);
        let patients = if self.backend() == DbBackend::Postgres { row.opt_text(AFTER_STORED + 3)? } else { None };
        Ok(Some(Head { rid, tables, patients, stored: stored(row, resource_type)? }))
    }

    async fn patients_of(&mut self, rid: i64, version: i64) -> Result<String, StoreError> {
        self.flush().await?;
        let mut select = Query::select();
        select
            .column("patients")
            .from("version")
            .and_where(Expr::col("rid").eq(rid))
            .and_where(Expr::col("version").eq(version));
        self.rows(&select).await?.first().map_or(Ok(String::new()), |row| row.text(0))
    }
}

/// A resource's row with its text.
static HEAD: Fixed = Fixed::new(|| head_select().take());

/// The same with the patients of its version, locked.
static HEAD_AND_PATIENTS: Fixed =
    Fixed::new(|| head_select().expr(patients_of_version()).lock(LockType::Update).take());

fn head_select() -> SelectStatement {
    let mut select = Query::select();
    stored_columns_with_text(&mut select);
    select.columns(["rid", "tables", "body"]).from("resource");
    select.and_where(Expr::col("type_id").eq(0_i64)).and_where(Expr::col("id").eq(""));
    select
}

/// A resource's row.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    rid: i64,
    tables: i64,
    /// The patients of its version, where they were read with it.
    patients: Option<String>,
    stored: Stored,
}

/// The patients of the current version, as an expression on `resource`.
fn patients_of_version() -> Expr {
    let mut select = Query::select();
    select.column(("v", "patients")).from_as("version", "v");
    for column in ["rid", "version"] {
        select.and_where(Expr::col(("v", column)).equals(("resource", column)));
    }
    Expr::SubQuery(None, Box::new(select.into()))
}

/// `,12,45,`, or nothing for no patient: so that `%,12,%` finds exactly patient 12.
fn patient_list(patients: &[i64]) -> String {
    if patients.is_empty() {
        return String::new();
    }
    patients.iter().fold(String::from(","), |list, patient| format!("{list}{patient},"))
}

/// Rows that find a version by its patients: one each, and one under 0 for a version of no patient that every patient
/// may see.
fn patient_rows(
    patients: &str,
    resource_type: &str,
    [type_id, last_updated, rid, version]: [i64; 4],
) -> Vec<Vec<Cell>> {
    let numbers = patients.split(',').filter_map(|number| number.parse::<i64>().ok());
    let nobody = patients.is_empty() && search::compartment::is_shared(resource_type);
    let row = |patient: i64| [patient, type_id, last_updated, rid, version].map(Cell::Integer).to_vec();
    numbers.chain(nobody.then_some(NOBODY)).map(row).collect()
}

pub(crate) fn tables_of(extracted: &Extracted) -> i64 {
    use crate::index::{CONTAINED, Table};
    let table = |value: &IndexValue| match value {
        IndexValue::Token { .. } => Table::Token,
        IndexValue::String { .. } | IndexValue::Part(_) => Table::String,
        IndexValue::Date { .. } => Table::Date,
        IndexValue::Number(_) => Table::Number,
        IndexValue::Quantity { .. } => Table::Quantity,
        IndexValue::Reference(_) => Table::Reference,
        IndexValue::Uri(_) => Table::Uri,
        IndexValue::Composite { .. } => Table::Composite,
    };
    let mut bits = extracted.entries.iter().fold(Table::Listing.bit(), |bits, entry| bits | table(&entry.value).bit());
    if !extracted.contained.is_empty() {
        bits |= CONTAINED;
    }
    if !extracted.inward.is_empty() {
        bits |= Table::Reference.bit();
    }
    bits
}
