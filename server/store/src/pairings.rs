//! Which device was with which patient, and when. A device is with one patient at a time. (RE-19)

use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Order, Query, SelectStatement};

use crate::{Row, Store, StoreError, Tx};

/// One device with one patient for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// Vendor or provider of the device.
    pub vendor: String,
    /// Device identifier as the vendor writes it.
    pub device: String,
    /// Logical id of the patient.
    pub patient: String,
    /// First moment, microseconds since 1970.
    pub from: i64,
    /// First moment after it, if it has ended.
    pub until: Option<i64>,
}

/// What became of an attempt to pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paired {
    /// It was written.
    Made,
    /// This patient has the device at that time already.
    Already(Pairing),
    /// Another patient has the device at that time.
    Taken(Pairing),
}

/// Pairs a device with a patient, unless the times overlap with another pairing of the device.
pub async fn insert(tx: &mut Tx, pairing: &Pairing, by: &str, now: i64) -> Result<Paired, StoreError> {
    // Two that come at once meet here, so that the second sees the first.
    tx.lock_key(&criteria(&pairing.vendor, &pairing.device)).await?;
    let until = pairing.until.unwrap_or(OPEN);
    let overlapping = of_device(&pairing.vendor, &pairing.device)
        .and_where(Expr::col("from_at").lt(until))
        .and_where(Expr::col("until_at").gt(pairing.from))
        .to_owned();
    let found = tx.rows(&overlapping).await?.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if let Some(other) = found.iter().find(|found| found.patient != pairing.patient) {
        return Ok(Paired::Taken(other.clone()));
    }
    if let Some(same) = found.into_iter().next() {
        return Ok(Paired::Already(same));
    }
    let statement = Query::insert()
        .into_table("pairing")
        .columns(["pairing", "vendor", "device", "patient", "from_at", "until_at", "created_at", "created_by"])
        .values_panic([
            pairing.id.as_str().into(),
            pairing.vendor.as_str().into(),
            pairing.device.as_str().into(),
            pairing.patient.as_str().into(),
            pairing.from.into(),
            until.into(),
            now.into(),
            by.into(),
        ])
        .to_owned();
    tx.execute(&statement).await?;
    Ok(Paired::Made)
}

/// Ends an open pairing; nothing if there is no such open pairing, or it began later than that.
pub async fn end(tx: &mut Tx, id: &str, until: i64) -> Result<Option<Pairing>, StoreError> {
    let statement = Query::update()
        .table("pairing")
        .value("until_at", until)
        .and_where(Expr::col("pairing").eq(id))
        .and_where(Expr::col("until_at").eq(OPEN))
        .and_where(Expr::col("from_at").lt(until))
        .to_owned();
    if tx.execute(&statement).await? == 0 {
        return Ok(None);
    }
    tx.rows(&select().and_where(Expr::col("pairing").eq(id)).to_owned()).await?.first().map(read).transpose()
}

/// A pairing by its id.
pub async fn find(store: &Store, id: &str) -> Result<Option<Pairing>, StoreError> {
    let statement = select().and_where(Expr::col("pairing").eq(id)).to_owned();
    store.rows(&statement).await?.first().map(read).transpose()
}

/// All pairings of some devices of a vendor, oldest first.
pub async fn of_devices(store: &Store, vendor: &str, devices: &[String]) -> Result<Vec<Pairing>, StoreError> {
    store.rows(&of(vendor, devices)).await?.iter().map(read).collect()
}

/// The same inside a transaction, which keeps new pairings of these devices out until it ends.
pub async fn of_devices_now(tx: &mut Tx, vendor: &str, devices: &[String]) -> Result<Vec<Pairing>, StoreError> {
    let mut in_order: Vec<&String> = devices.iter().collect();
    in_order.sort();
    for device in in_order {
        tx.lock_key(&criteria(vendor, device)).await?;
    }
    tx.rows(&of(vendor, devices)).await?.iter().map(read).collect()
}

/// All pairings, or those of one device or patient, oldest first.
pub async fn list(
    store: &Store,
    device: Option<&str>,
    patient: Option<&str>,
    limit: u64,
) -> Result<Vec<Pairing>, StoreError> {
    let condition = Cond::all()
        .add_option(device.map(|device| Expr::col("device").eq(device)))
        .add_option(patient.map(|patient| Expr::col("patient").eq(patient)));
    let mut statement = select();
    statement.cond_where(condition).order_by("vendor", Order::Asc).order_by("device", Order::Asc);
    statement.order_by("from_at", Order::Asc).limit(limit);
    store.rows(&statement).await?.iter().map(read).collect()
}

/// `until_at` of a pairing that has not ended: part of a unique index, which would let several nulls pass.
const OPEN: i64 = i64::MAX;

/// What transactions about one device meet on.
fn criteria(vendor: &str, device: &str) -> String {
    format!("pairing|{vendor}|{device}")
}

fn of(vendor: &str, devices: &[String]) -> SelectStatement {
    select()
        .and_where(Expr::col("vendor").eq(vendor))
        .and_where(Expr::col("device").is_in(devices.iter().map(String::as_str)))
        .order_by("from_at", Order::Asc)
        .order_by("pairing", Order::Asc)
        .to_owned()
}

fn of_device(vendor: &str, device: &str) -> SelectStatement {
    select().and_where(Expr::col("vendor").eq(vendor)).and_where(Expr::col("device").eq(device)).to_owned()
}

fn select() -> SelectStatement {
    Query::select()
        .columns(["pairing", "vendor", "device", "patient", "from_at", "until_at"])
        .from("pairing")
        .to_owned()
}

fn read(row: &Row) -> Result<Pairing, StoreError> {
    Ok(Pairing {
        id: row.text(0)?,
        vendor: row.text(1)?,
        device: row.text(2)?,
        patient: row.text(3)?,
        from: row.i64(4)?,
        until: Some(row.i64(5)?).filter(|until| *until != OPEN),
    })
}
