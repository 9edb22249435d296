//! Vendor messages as they came, and what became of them: kept raw, acknowledged once, applied once. (RE-22, RE-25)
//!
//! ```text
//! received ──► applied                 written as FHIR
//!          ──► quarantined ──► received  when a pairing or a mapping comes, or a person replays it
//!          ──► dead ─────────► received  only when a person replays it
//! duplicate                            same delivery id, other content: kept, never applied
//! ```
//!
//! The queue is the rows in state `received`. A worker takes them with a lease (`due_at` in the future), so a worker
//! that was killed loses nothing: the lease runs out.

use std::collections::BTreeSet;
use std::sync::Arc;

use sea_orm::DbBackend;
use sea_orm::sea_query::{
    Alias, Cond, Expr, ExprTrait as _, Func, InsertStatement, IntoIden as _, OnConflict, Order, Query, SelectStatement,
    TableRef, UpdateStatement,
};
use sha2::{Digest as _, Sha256};

use crate::session::Session as _;
use crate::{Row, Store, StoreError, Tx};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Acknowledged, not yet applied.
    Received,
    /// Written as FHIR.
    Applied,
    /// Same delivery id as another message but other content.
    Duplicate,
    /// Cannot be applied now.
    Quarantined,
    /// Was refused, or could not be applied after many attempts.
    Dead,
}

/// What is known of a message beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Which of the vendor's shapes it is in.
    pub shape: String,
    /// Logical id of the patient whose app sent it.
    pub patient: Option<String>,
    /// What the URL said of it beside the path.
    pub query: String,
}

/// A message at the door.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Receipt that it gets if it is new: 24 hexadecimal digits.
    pub receipt: String,
    /// Adapter.
    pub vendor: String,
    /// The vendor's id of it, or nothing.
    pub delivery: Option<String>,
    /// Its bytes.
    pub body: Arc<[u8]>,
    /// Devices that may be paired, the one on the patient first.
    pub devices: Vec<String>,
    /// What else is known of it.
    pub origin: Origin,
    /// [`State::Received`], or [`State::Dead`] if it was refused.
    pub state: State,
    /// Outcome to keep with it, JSON.
    pub outcome: String,
    /// Now.
    pub at: i64,
}

/// What the vendor is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Receipt of the message that is kept.
    pub receipt: String,
    /// Its state.
    pub state: State,
    /// Its outcome, JSON.
    pub outcome: String,
    /// Whether it came for the first time.
    pub first: bool,
}

/// A kept message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the vendor was answered.
    pub receipt: String,
    /// Adapter.
    pub vendor: String,
    /// The vendor's id of it.
    pub delivery: String,
    /// Device on the patient.
    pub device: Option<String>,
    /// What else is known of it.
    pub origin: Origin,
    /// What became of it.
    pub state: State,
    /// When it came first.
    pub received_at: i64,
    /// How often it came.
    pub deliveries: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// When it got its state, 0 while it is received.
    pub settled_at: i64,
    /// What was written and the issues, JSON.
    pub outcome: String,
}

/// Which messages to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this adapter.
    pub vendor: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only of this device: the first of the message, its gateway, or any other that it speaks of.
    pub device: Option<String>,
    /// Only this message.
    pub receipt: Option<String>,
}

impl State {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Received => "received",
            State::Applied => "applied",
            State::Duplicate => "duplicate",
            State::Quarantined => "quarantined",
            State::Dead => "dead",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<State> {
        let all = [State::Received, State::Applied, State::Duplicate, State::Quarantined, State::Dead];
        all.into_iter().find(|state| state.as_str() == word)
    }
}

/// Keeps a message, or finds that it came before. Runs inside [`Store::write`]; the answer is owed after its commit.
pub async fn receive(tx: &mut Tx, arrival: &Arrival) -> Result<Receipt, StoreError> {
    let (delivery, hash) = name(arrival);
    if insert(tx, arrival, &delivery, &hash, arrival.state, &arrival.outcome).await? {
        return Ok(first(arrival, arrival.state, &arrival.outcome));
    }
    again(tx, arrival, (&delivery, &hash)).await
}

/// The same of several messages. Two of them may be the same one.
pub async fn receive_all(tx: &mut Tx, arrivals: &[Arc<Arrival>]) -> Result<Vec<Receipt>, StoreError> {
    if tx.backend() == DbBackend::Sqlite {
        let mut receipts = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            receipts.push(receive(tx, arrival).await?);
        }
        return Ok(receipts);
    }
    let mut insert = insert_statement();
    let named: Vec<(String, Vec<u8>)> = arrivals.iter().map(|arrival| name(arrival)).collect();
    // One order for all processes, so that two never wait for each other crosswise.
    let mut order: Vec<usize> = (0..arrivals.len()).collect();
    order.sort_unstable_by_key(|index| (&arrivals[*index].vendor, &named[*index].0, *index));
    for index in &order {
        let (arrival, (delivery, hash)) = (&arrivals[*index], &named[*index]);
        insert.values_panic(values(arrival, delivery, hash, arrival.state, &arrival.outcome));
    }
    insert.returning_col("receipt");
    let rows = tx.rows(&insert).await?;
    let new = rows.iter().map(|row| row.text(0)).collect::<Result<BTreeSet<_>, _>>()?;
    let mut receipts = vec![None; arrivals.len()];
    for index in order {
        let (arrival, (delivery, hash)) = (&arrivals[index], &named[index]);
        receipts[index] = Some(if new.contains(&arrival.receipt) {
            wait_for_others(tx, arrival).await?;
            first(arrival, arrival.state, &arrival.outcome)
        } else {
            again(tx, arrival, (delivery, hash)).await?
        });
    }
    Ok(receipts.into_iter().flatten().collect())
}

/// The delivery id under which a message is kept, and the digest of its body.
fn name(arrival: &Arrival) -> (String, Vec<u8>) {
    let hash = Sha256::digest(&arrival.body).to_vec();
    let delivery = arrival.delivery.clone();
    (delivery.unwrap_or_else(|| format!("sha256:{}", fhir::hexadecimal(&hash))), hash)
}

/// What becomes of a message whose delivery id is known.
async fn again(tx: &mut Tx, arrival: &Arrival, (delivery, hash): (&str, &[u8])) -> Result<Receipt, StoreError> {
    let (kept, same) = find(tx, &arrival.vendor, delivery, hash).await?;
    if same {
        count(tx, &kept.receipt, arrival.at).await?;
        return Ok(kept);
    }
    // Kept for a person to look at; the first message stands.
    let contradiction = format!("{delivery}#sha256:{}", fhir::hexadecimal(hash));
    let outcome = format!(
        r#"{{"issue":[{{"severity":"warning","code":"duplicate","diagnostics":"The delivery id was used before with other content; the message with receipt {} stands"}}]}}"#,
        kept.receipt
    );
    if insert(tx, arrival, &contradiction, hash, State::Duplicate, &outcome).await? {
        return Ok(first(arrival, State::Duplicate, &outcome));
    }
    let (kept, _) = find(tx, &arrival.vendor, &contradiction, hash).await?;
    count(tx, &kept.receipt, arrival.at).await?;
    Ok(kept)
}

/// Whether a message of this delivery id is kept, whatever its content; counts that it came again.
pub async fn repeated(tx: &mut Tx, arrival: &Arrival) -> Result<bool, StoreError> {
    let Some(delivery) = &arrival.delivery else { return Ok(false) };
    let statement = Query::update()
        .table("inbox")
        .value("deliveries", Expr::col("deliveries").add(1))
        .value("delivered_at", arrival.at)
        .and_where(Expr::col("vendor").eq(arrival.vendor.as_str()))
        .and_where(Expr::col("delivery").eq(delivery.as_str()))
        .to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Takes up to `limit` messages that are due, with their bytes, and keeps them from other workers until `lease_until`.
pub async fn lease(tx: &mut Tx, now: i64, lease_until: i64, limit: u64) -> Result<Vec<(Message, Vec<u8>)>, StoreError> {
    let due = Query::select()
        .column("receipt")
        .from("inbox")
        .and_where(Expr::col("state").eq(State::Received.as_str()))
        .and_where(Expr::col("due_at").lte(now))
        .order_by("due_at", Order::Asc)
        .order_by("receipt", Order::Asc)
        .limit(limit)
        .to_owned();
    let receipts = tx.rows(&due).await?.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
    if receipts.is_empty() {
        return Ok(Vec::new());
    }
    take(tx, receipts, now, lease_until).await
}

/// The same for one message, if it is due.
pub async fn lease_one(
    tx: &mut Tx,
    receipt: &str,
    now: i64,
    lease_until: i64,
) -> Result<Option<(Message, Vec<u8>)>, StoreError> {
    Ok(take(tx, vec![receipt.to_owned()], now, lease_until).await?.pop())
}

/// Gives a message its state; false if it has another one already.
pub async fn settle(tx: &mut Tx, receipt: &str, state: State, outcome: &str, now: i64) -> Result<bool, StoreError> {
    let statement = of_received(receipt)
        .value("state", state.as_str())
        .value("outcome", outcome)
        .value("settled_at", now)
        .value("due_at", 0_i64)
        .to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Gives messages this state, each with its outcome, as [`settle`] does.
pub async fn settle_all(tx: &mut Tx, settled: &[(String, String)], state: State, now: i64) -> Result<(), StoreError> {
    if tx.backend() == DbBackend::Sqlite {
        for (receipt, outcome) in settled {
            settle(tx, receipt, state, outcome, now).await?;
        }
        return Ok(());
    }
    let (receipts, outcomes): (Vec<String>, Vec<String>) = settled.iter().cloned().unzip();
    let mut told = Query::select();
    told.expr_as(Func::cust("unnest").arg(Expr::val(receipts)), Alias::new("receipt"));
    told.expr_as(Func::cust("unnest").arg(Expr::val(outcomes)), Alias::new("outcome"));
    let statement = Query::update()
        .table("inbox")
        .value("state", state.as_str())
        .value("outcome", Expr::col(("told", "outcome")))
        .value("settled_at", now)
        .value("due_at", 0_i64)
        .from(TableRef::SubQuery(Box::new(told), Alias::new("told").into_iden()))
        .and_where(Expr::col(("inbox", "receipt")).equals(("told", "receipt")))
        .and_where(Expr::col(("inbox", "state")).eq(State::Received.as_str()))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Leaves a message in the queue until `due_at`, with the reason.
pub async fn postpone(tx: &mut Tx, receipt: &str, outcome: &str, due_at: i64) -> Result<(), StoreError> {
    let statement = of_received(receipt).value("outcome", outcome).value("due_at", due_at).to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Ends all leases. Only for a process that has the database to itself, when it starts.
pub async fn release_leases(tx: &mut Tx) -> Result<u64, StoreError> {
    let statement = Query::update()
        .table("inbox")
        .value("due_at", 0_i64)
        .and_where(Expr::col("state").eq(State::Received.as_str()))
        .and_where(Expr::col("due_at").gt(0_i64))
        .to_owned();
    tx.execute(&statement).await
}

/// Puts quarantined and dead messages that fit the filter back into the queue; says how many.
pub async fn replay(tx: &mut Tx, filter: &Filter) -> Result<u64, StoreError> {
    let states = match filter.state {
        Some(state) => vec![state.as_str()],
        None => vec![State::Quarantined.as_str(), State::Dead.as_str()],
    };
    let statement = Query::update()
        .table("inbox")
        .value("state", State::Received.as_str())
        .value("due_at", 0_i64)
        .value("attempts", 0_i64)
        .value("settled_at", 0_i64)
        .cond_where(condition(filter))
        .and_where(Expr::col("state").is_in(states))
        .and_where(Expr::col("state").is_in([State::Quarantined.as_str(), State::Dead.as_str()]))
        .to_owned();
    tx.execute(&statement).await
}

/// A record of a vendor that was deleted: its id, and whose it is.
pub type Buried = (String, String);

/// Remembers that a vendor deleted these records.
pub async fn bury(tx: &mut Tx, vendor: &str, records: &[Buried], at: i64) -> Result<(), StoreError> {
    for (record, holder) in records {
        let statement = Query::insert()
            .into_table("deleted_record")
            .columns(["vendor", "record", "holder", "at"])
            .values_panic([vendor.into(), record.as_str().into(), holder.as_str().into(), at.into()])
            .on_conflict(OnConflict::columns(["vendor", "record", "holder"]).do_nothing().to_owned())
            .to_owned();
        tx.execute(&statement).await?;
    }
    Ok(())
}

/// Under which of these ids the vendor is known to have deleted a record, and whose; nobody's name where that was not
/// kept yet: then it is everybody's.
pub async fn buried(store: &Store, vendor: &str, records: &[String]) -> Result<BTreeSet<Buried>, StoreError> {
    let mut found = BTreeSet::new();
    for some in records.chunks(RECORDS_AT_ONCE) {
        let statement = Query::select()
            .columns(["record", "holder"])
            .from("deleted_record")
            .and_where(Expr::col("vendor").eq(vendor))
            .and_where(Expr::col("record").is_in(some.iter().map(String::as_str)))
            .to_owned();
        for row in store.rows(&statement).await? {
            found.insert((row.text(0)?, row.text(1)?));
        }
    }
    Ok(found)
}

/// Devices that one statement adds.
const DEVICES_AT_ONCE: usize = 200;

/// Records that are asked for in one statement.
const RECORDS_AT_ONCE: usize = 500;

/// Messages that fit the filter, newest first, without their bytes.
pub async fn list(store: &Store, filter: &Filter, limit: u64) -> Result<Vec<Message>, StoreError> {
    let mut statement = select();
    statement.cond_where(condition(filter)).limit(limit);
    statement.order_by("received_at", Order::Desc).order_by("receipt", Order::Desc);
    store.rows(&statement).await?.iter().map(message).collect()
}

/// The bytes of a message as they came.
pub async fn body(store: &Store, receipt: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let statement = Query::select().column("body").from("inbox").and_where(Expr::col("receipt").eq(receipt)).to_owned();
    store.rows(&statement).await?.first().map(|row| row.bytes(0)).transpose()
}

async fn take(
    tx: &mut Tx,
    receipts: Vec<String>,
    now: i64,
    lease_until: i64,
) -> Result<Vec<(Message, Vec<u8>)>, StoreError> {
    // The condition on due_at again: on PostgreSQL another worker may have taken some in between.
    let mut columns: Vec<&'static str> = COLUMNS.to_vec();
    columns.push("body");
    let take = Query::update()
        .table("inbox")
        .value("due_at", lease_until)
        .value("attempts", Expr::col("attempts").add(1))
        .and_where(Expr::col("receipt").is_in(receipts))
        .and_where(Expr::col("state").eq(State::Received.as_str()))
        .and_where(Expr::col("due_at").lte(now))
        .returning(Query::returning().columns(columns))
        .to_owned();
    let rows = tx.rows(&take).await?;
    let mut leased = rows
        .iter()
        .map(|row| Ok((message(row)?, row.bytes(COLUMNS.len())?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    leased.sort_by(|(left, _), (right, _)| left.receipt.cmp(&right.receipt));
    Ok(leased)
}

const COLUMNS: &[&str] = &[
    "receipt",
    "vendor",
    "delivery",
    "device",
    "state",
    "received_at",
    "deliveries",
    "attempts",
    "settled_at",
    "outcome",
    "shape",
    "patient",
    "query",
];

async fn insert(
    tx: &mut Tx,
    arrival: &Arrival,
    delivery: &str,
    hash: &[u8],
    state: State,
    outcome: &str,
) -> Result<bool, StoreError> {
    let mut statement = insert_statement();
    statement.values_panic(values(arrival, delivery, hash, state, outcome));
    let is_new = tx.execute(&statement).await? > 0;
    if is_new {
        wait_for_others(tx, arrival).await?;
    }
    Ok(is_new)
}

/// Rows that are not there yet.
fn insert_statement() -> InsertStatement {
    let columns = [
        "receipt",
        "vendor",
        "delivery",
        "hash",
        "body",
        "device",
        "gateway",
        "shape",
        "patient",
        "query",
        "state",
        "received_at",
        "delivered_at",
        "deliveries",
        "attempts",
        "due_at",
        "settled_at",
        "outcome",
    ];
    let known = OnConflict::columns(["vendor", "delivery"]).do_nothing().to_owned();
    Query::insert().into_table("inbox").columns(columns).on_conflict(known).to_owned()
}

/// A row of [`insert_statement`].
fn values(arrival: &Arrival, delivery: &str, hash: &[u8], state: State, outcome: &str) -> [Expr; 18] {
    let settled_at = if state == State::Received { 0 } else { arrival.at };
    [
        arrival.receipt.as_str().into(),
        arrival.vendor.as_str().into(),
        delivery.into(),
        hash.to_vec().into(),
        arrival.body.to_vec().into(),
        arrival.devices.first().cloned().into(),
        arrival.devices.get(1).cloned().into(),
        arrival.origin.shape.as_str().into(),
        arrival.origin.patient.clone().into(),
        arrival.origin.query.as_str().into(),
        state.as_str().into(),
        arrival.at.into(),
        arrival.at.into(),
        1_i64.into(),
        0_i64.into(),
        0_i64.into(),
        settled_at.into(),
        outcome.into(),
    ]
}

/// Devices that the row has no columns for.
async fn wait_for_others(tx: &mut Tx, arrival: &Arrival) -> Result<(), StoreError> {
    for devices in arrival.devices.get(2..).unwrap_or_default().chunks(DEVICES_AT_ONCE) {
        let mut statement = Query::insert();
        statement.into_table("inbox_device").columns(["vendor", "device", "receipt"]);
        for device in devices {
            statement.values_panic([
                arrival.vendor.as_str().into(),
                device.as_str().into(),
                arrival.receipt.as_str().into(),
            ]);
        }
        statement.on_conflict(OnConflict::columns(["vendor", "device", "receipt"]).do_nothing().to_owned());
        tx.execute(&statement).await?;
    }
    Ok(())
}

async fn find(tx: &mut Tx, vendor: &str, delivery: &str, hash: &[u8]) -> Result<(Receipt, bool), StoreError> {
    let statement = Query::select()
        .columns(["receipt", "state", "outcome", "hash"])
        .from("inbox")
        .and_where(Expr::col("vendor").eq(vendor))
        .and_where(Expr::col("delivery").eq(delivery))
        .to_owned();
    let rows = tx.rows(&statement).await?;
    let row = rows.first().ok_or(StoreError::Conflict)?;
    let receipt = Receipt { receipt: row.text(0)?, state: state(row, 1)?, outcome: row.text(2)?, first: false };
    Ok((receipt, row.bytes(3)? == hash))
}

async fn count(tx: &mut Tx, receipt: &str, at: i64) -> Result<(), StoreError> {
    let statement = Query::update()
        .table("inbox")
        .value("deliveries", Expr::col("deliveries").add(1))
        .value("delivered_at", at)
        .and_where(Expr::col("receipt").eq(receipt))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

fn first(arrival: &Arrival, state: State, outcome: &str) -> Receipt {
    Receipt { receipt: arrival.receipt.clone(), state, outcome: outcome.to_owned(), first: true }
}

fn of_received(receipt: &str) -> UpdateStatement {
    Query::update()
        .table("inbox")
        .and_where(Expr::col("receipt").eq(receipt))
        .and_where(Expr::col("state").eq(State::Received.as_str()))
        .to_owned()
}

fn condition(filter: &Filter) -> Cond {
    let device = filter.device.as_deref().map(|device| {
        let mut others = Query::select();
        others.column("receipt").from("inbox_device").and_where(Expr::col("device").eq(device));
        if let Some(vendor) = &filter.vendor {
            others.and_where(Expr::col("vendor").eq(vendor.as_str()));
        }
        let one = |name: &'static str| Expr::col(name).eq(device);
        Cond::any().add(one("device")).add(one("gateway")).add(Expr::col("receipt").in_subquery(others))
    });
    Cond::all()
        .add_option(filter.vendor.as_deref().map(|vendor| Expr::col("vendor").eq(vendor)))
        .add_option(filter.state.map(|state| Expr::col("state").eq(state.as_str())))
        .add_option(filter.receipt.as_deref().map(|receipt| Expr::col("receipt").eq(receipt)))
        .add_option(device)
}

fn select() -> SelectStatement {
    Query::select().columns(COLUMNS.to_vec()).from("inbox").to_owned()
}

fn message(row: &Row) -> Result<Message, StoreError> {
    Ok(Message {
        receipt: row.text(0)?,
        vendor: row.text(1)?,
        delivery: row.text(2)?,
        device: row.opt_text(3)?,
        state: state(row, 4)?,
        received_at: row.i64(5)?,
        deliveries: row.i64(6)?,
        attempts: row.i64(7)?,
        settled_at: row.i64(8)?,
        outcome: row.text(9)?,
        origin: Origin { shape: row.text(10)?, patient: row.opt_text(11)?, query: row.text(12)? },
    })
}

fn state(row: &Row, column: usize) -> Result<State, StoreError> {
    let word = row.text(column)?;
    State::parse(&word).ok_or_else(|| StoreError::Schema(format!("inbox state \"{word}\"")))
}
