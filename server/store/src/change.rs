//! Writing a version: resource, version with its author, and index rows in one transaction. (Invariant 1)

use std::collections::BTreeMap;

use sea_orm::sea_query::{Cond, Expr, ExprTrait, LockType, OnConflict, Order, Query, Value};
use sea_orm::{DbBackend, JoinType};
use search::entry::{Extracted, IndexValue, Target};
use search::view::View;

use crate::audit::{self, Event};
use crate::body::text_of;
use crate::error::StoreError;
use crate::index::Indexed;
use crate::keys::{self, ResourceKey};
use crate::resources::{Method, Stored};
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
    pub extracted: Extracted,
    /// Who acts, as the version says it.
    pub actor: String,
    /// Who acts, as the audit trail says it: the event of this change, which is written with it.
    pub event: Event,
}

impl Tx {
    /// The current version as `view` shows it, locked until the transaction ends.
    pub async fn current(&mut self, view: &View, resource_type: &str, id: &str) -> Result<Option<Stored>, StoreError> {
        let Some(view) = ResolvedView::new(self, view, resource_type).await? else { return Ok(None) };
        let Some(head) = self.head(resource_type, id).await? else { return Ok(None) };
        if let Some(patients) = view.patients() {
            let of_version = self.patients_of(head.rid, head.stored.version).await?;
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

    /// Makes this transaction the only one that works on `criteria` until it ends: of several conditional creates
    /// with the same criteria each sees what the one before it made.
    pub async fn claim(&mut self, criteria: &str) -> Result<(), StoreError> {
        if self.backend() == DbBackend::Sqlite {
            return Ok(()); // there is one writer
        }
        let mut insert = Query::insert();
        insert
            .into_table("claim")
            .columns(["hash", "claims"])
            .values_panic([keys::hash(criteria).into(), 1_i64.into()]);
        let raised = Expr::col(("claim", "claims")).add(1);
        insert.on_conflict(OnConflict::column("hash").value("claims", raised).to_owned());
        self.execute(&insert).await.map(drop)
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
        let standing = if change.version == 1 { None } else { self.head(&change.resource_type, &change.id).await? };
        self.record_change(&mut change);
        let standing = match standing {
            Some(head) if head.stored.version != change.version - 1 => return Err(self.note(StoreError::Conflict)),
            standing => standing,
        };
        let Some(text) = change.body.take() else {
            return self.put_deletion(standing, &change).await;
        };
        let targets = self.mention(&change.extracted).await?;
        let body = self.store_body(targets.first().copied().unwrap_or(0), text).await?;
        let (rid, tables) = match standing {
            None => (self.create_row(type_id, &change, body).await?, 0),
            Some(head) => (head.rid, head.tables),
        };
        let indexed = Indexed { rid, type_id, extracted: &change.extracted, patients: &targets };
        if change.version == 1 {
            self.index(&indexed, 0).await?;
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
        let mut select = Query::select();
        select.column("id").from("target").and_where(Expr::col("target").is_in(numbers));
        for row in self.rows(&select).await? {
            let patient = row.text(0)?;
            if let Some(event) = &mut self.event {
                event.concern(&patient);
            }
        }
        Ok(())
    }

    async fn put_deletion(&mut self, standing: Option<Head>, change: &Change) -> Result<(), StoreError> {
        let Some(Head { rid, tables, .. }) = standing else { return Err(self.note(StoreError::Conflict)) };
        self.unindex(rid, tables).await?;
        let patients = self.patients_of(rid, change.version - 1).await?;
        self.concern(&patients).await?;
        self.update_row(rid, change, None).await?;
        self.put_version((self.known().types.id(&change.resource_type), rid), change, patients, Cell::Null);
        Ok(())
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
        // One order for all transactions, so that two never wait for each other crosswise.
        keys.sort_unstable();
        keys.dedup();
        for key in keys.iter().filter(|key| key.0 != 0) {
            if self.recent_target(key).is_none() {
                let target = self.mention_one(key).await?;
                self.found.insert(key.clone(), target);
            }
        }
        let mut patients: Vec<i64> =
            extracted.patients.iter().filter_map(|id| self.recent_target(&(patient, id.clone()))).collect();
        patients.sort_unstable();
        Ok(patients)
    }

    async fn mention_one(&mut self, key: &ResourceKey) -> Result<i64, StoreError> {
        let (type_id, id) = key;
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
        let mut select = Query::select();
        select
            .columns(["id", "version", "last_updated"])
            .expr(text_of("resource"))
            .expr(Expr::val(Method::Put.number()))
            .columns(["rid", "tables", "body"]);
        select.from("resource").and_where(Expr::col("type_id").eq(self.known().types.id(resource_type)));
        select.and_where(Expr::col("id").eq(id));
        if self.backend() == DbBackend::Postgres {
            select.lock(LockType::Update);
        }
        let Some(mut row) = self.rows(&select).await?.into_iter().next() else { return Ok(None) };
        if row.opt_text(3)?.is_none() && row.opt_i64(7)?.is_some() {
            // The text waits to be written with others of this transaction.
            self.flush().await?;
            let Some(again) = self.rows(&select).await?.into_iter().next() else { return Ok(None) };
            row = again;
        }
        let (rid, tables) = (row.i64(5)?, row.i64(6)?);
        Ok(Some(Head { rid, tables, stored: crate::resources::stored(row, resource_type)? }))
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

/// A resource's row.
struct Head {
    rid: i64,
    tables: i64,
    stored: Stored,
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
    numbers.chain(nobody.then_some(0)).map(row).collect()
}

fn tables_of(extracted: &Extracted) -> i64 {
    use crate::index::{CONTAINED, Table};
    let table = |value: &IndexValue| match value {
        IndexValue::Token { .. } => Table::Token,
        IndexValue::String { .. } => Table::String,
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
