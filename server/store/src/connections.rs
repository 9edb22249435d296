//! Services of vendors that this server asks by itself. Credentials come here encrypted; this file cannot read them.
//!
//! Of several servers one asks: it takes a connection with a lease, extends it, and names itself in every change, so
//! one that was given up for dead changes nothing.

use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Order, Query, SelectStatement, UpdateStatement};

use crate::{Row, Store, StoreError, Tx};

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// Which part of the server asks it.
    pub vendor: String,
    /// Name among several of one vendor.
    pub name: String,
    /// Where it is.
    pub base_url: String,
    /// Encrypted.
    pub credentials: Vec<u8>,
    /// JSON.
    pub settings: String,
    /// Whether it is asked.
    pub enabled: bool,
    /// How far it was read; empty before the first time.
    pub cursor: String,
    /// How it is.
    pub state: State,
    /// When it failed first since it last worked, microseconds since 1970.
    pub failing_since: Option<i64>,
    /// Why it failed last; empty while it works.
    pub error: String,
    /// How often in a row it failed.
    pub attempts: i64,
    /// When it last worked.
    pub asked_at: Option<i64>,
    /// When it may be asked next, or until when a worker has it.
    pub due_at: i64,
}

/// How a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Never asked.
    New,
    /// The last time it worked.
    Ok,
    /// The last time it did not work.
    Failing,
}

impl State {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            State::New => "new",
            State::Ok => "ok",
            State::Failing => "failing",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        let mut all = [State::New, State::Ok, State::Failing].into_iter();
        let found = all.find(|state| state.as_str() == word);
        found.ok_or_else(|| StoreError::Schema(format!("connection state \"{word}\"")))
    }
}

/// Keeps a connection, in the place of the one with its vendor and name; what was read of that stays read if it is at
/// the same address. Says the id under which it stands.
pub async fn put(tx: &mut Tx, wanted: &Connection, now: i64) -> Result<String, StoreError> {
    tx.lock_key(&format!("connection|{}|{}", wanted.vendor, wanted.name)).await?;
    let standing = tx.rows(&named(&wanted.vendor, &wanted.name)).await?;
    if let Some(standing) = standing.first().map(read).transpose()? {
        let cursor = if standing.base_url == wanted.base_url { standing.cursor } else { String::new() };
        let update = Query::update()
            .table("connection")
            .value("base_url", wanted.base_url.as_str())
            .value("credentials", wanted.credentials.clone())
            .value("settings", wanted.settings.as_str())
            .value("enabled", i64::from(wanted.enabled))
            .value("cursor", cursor)
            .value("state", State::New.as_str())
            .value("failing_since", None::<i64>)
            .value("error", "")
            .value("attempts", 0_i64)
            .value("due_at", 0_i64)
            .value("holder", "")
            .and_where(Expr::col("id").eq(standing.id.as_str()))
            .to_owned();
        tx.execute(&update).await?;
        return Ok(standing.id);
    }
    let mut columns = COLUMNS.to_vec();
    columns.extend(["holder", "created_at"]);
    let insert = Query::insert()
        .into_table("connection")
        .columns(columns)
        .values_panic([
            wanted.id.as_str().into(),
            wanted.vendor.as_str().into(),
            wanted.name.as_str().into(),
            wanted.base_url.as_str().into(),
            wanted.credentials.clone().into(),
            wanted.settings.as_str().into(),
            i64::from(wanted.enabled).into(),
            "".into(),
            State::New.as_str().into(),
            None::<i64>.into(),
            "".into(),
            0_i64.into(),
            None::<i64>.into(),
            0_i64.into(),
            "".into(),
            now.into(),
        ])
        .to_owned();
    tx.execute(&insert).await?;
    Ok(wanted.id.clone())
}

/// Forgets a connection; false if there is none of that name.
pub async fn remove(tx: &mut Tx, vendor: &str, name: &str) -> Result<bool, StoreError> {
    let mut delete = Query::delete();
    delete.from_table("connection").and_where(Expr::col("vendor").eq(vendor)).and_where(Expr::col("name").eq(name));
    Ok(tx.execute(&delete).await? > 0)
}

/// A connection by vendor and name.
pub async fn find(store: &Store, vendor: &str, name: &str) -> Result<Option<Connection>, StoreError> {
    store.rows(&named(vendor, name)).await?.first().map(read).transpose()
}

/// All connections, or those of one vendor, by vendor and name.
pub async fn list(store: &Store, vendor: Option<&str>) -> Result<Vec<Connection>, StoreError> {
    let mut statement = select();
    statement.cond_where(Cond::all().add_option(vendor.map(|vendor| Expr::col("vendor").eq(vendor))));
    statement.order_by("vendor", Order::Asc).order_by("name", Order::Asc);
    store.rows(&statement).await?.iter().map(read).collect()
}

/// Whether any connection is due: asked often, so that nothing is written for it.
pub async fn is_due(store: &Store, now: i64) -> Result<bool, StoreError> {
    let statement = due(now).limit(1).to_owned();
    Ok(!store.rows(&statement).await?.is_empty())
}

/// Takes up to `limit` connections that are due, the longest due first, and keeps them from other workers until
/// `until`.
pub async fn lease(tx: &mut Tx, holder: &str, now: i64, until: i64, limit: u64) -> Result<Vec<Connection>, StoreError> {
    let statement = due(now).order_by("due_at", Order::Asc).order_by("id", Order::Asc).limit(limit).to_owned();
    let ids = tx.rows(&statement).await?.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // The condition again: on PostgreSQL another worker may have taken some in between.
    let mut take = Query::update();
    take.table("connection").value("due_at", until).value("holder", holder);
    take.and_where(Expr::col("id").is_in(ids)).and_where(Expr::col("enabled").eq(1_i64));
    take.and_where(Expr::col("due_at").lte(now)).returning(Query::returning().columns(COLUMNS.to_vec()));
    tx.rows(&take).await?.iter().map(read).collect()
}

/// Extends a lease; false if the connection was removed, changed or taken by another.
pub async fn extend(tx: &mut Tx, id: &str, holder: &str, until: i64) -> Result<bool, StoreError> {
    let statement = held(id, holder).value("due_at", until).to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Keeps how far a connection was read; false if it is no longer the worker's. In the transaction that keeps what was
/// read, so that nothing is read twice or passed over.
pub async fn advance(tx: &mut Tx, id: &str, holder: &str, cursor: &str) -> Result<bool, StoreError> {
    let statement = held(id, holder).value("cursor", cursor).to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Notes that a connection works; the lease stays.
pub async fn works(tx: &mut Tx, id: &str, holder: &str, now: i64) -> Result<bool, StoreError> {
    let statement = working(held(id, holder), now);
    Ok(tx.execute(&statement).await? > 0)
}

/// Gives a connection back that worked, until it is due again.
pub async fn settle(tx: &mut Tx, id: &str, holder: &str, now: i64, due_at: i64) -> Result<bool, StoreError> {
    let statement = working(held(id, holder), now).value("due_at", due_at).value("holder", "").to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Gives a connection back that failed.
pub async fn fail(
    tx: &mut Tx,
    id: &str,
    holder: &str,
    (now, due_at): (i64, i64),
    error: &str,
) -> Result<bool, StoreError> {
    let since = Expr::col("failing_since").if_null(now);
    let statement = held(id, holder)
        .value("state", State::Failing.as_str())
        .value("failing_since", since)
        .value("error", error)
        .value("attempts", Expr::col("attempts").add(1))
        .value("due_at", due_at)
        .value("holder", "")
        .to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Ends all leases. Only for a process that has the database to itself, when it starts.
pub async fn release_leases(tx: &mut Tx) -> Result<u64, StoreError> {
    let mut update = Query::update();
    update.table("connection").value("due_at", 0_i64).value("holder", "").and_where(Expr::col("holder").ne(""));
    tx.execute(&update).await
}

const COLUMNS: &[&str] = &[
    "id",
    "vendor",
    "name",
    "base_url",
    "credentials",
    "settings",
    "enabled",
    "cursor",
    "state",
    "failing_since",
    "error",
    "attempts",
    "asked_at",
    "due_at",
];

fn select() -> SelectStatement {
    Query::select().columns(COLUMNS.to_vec()).from("connection").to_owned()
}

fn named(vendor: &str, name: &str) -> SelectStatement {
    select().and_where(Expr::col("vendor").eq(vendor)).and_where(Expr::col("name").eq(name)).to_owned()
}

fn due(now: i64) -> SelectStatement {
    let mut select = Query::select();
    select.column("id").from("connection");
    select.and_where(Expr::col("enabled").eq(1_i64)).and_where(Expr::col("due_at").lte(now)).to_owned()
}

/// The connection as this worker holds it.
fn held(id: &str, holder: &str) -> UpdateStatement {
    let mut update = Query::update();
    update.table("connection").and_where(Expr::col("id").eq(id)).and_where(Expr::col("holder").eq(holder)).to_owned()
}

fn working(mut update: UpdateStatement, now: i64) -> UpdateStatement {
    update
        .value("state", State::Ok.as_str())
        .value("failing_since", None::<i64>)
        .value("error", "")
        .value("attempts", 0_i64)
        .value("asked_at", now)
        .to_owned()
}

fn read(row: &Row) -> Result<Connection, StoreError> {
    Ok(Connection {
        id: row.text(0)?,
        vendor: row.text(1)?,
        name: row.text(2)?,
        base_url: row.text(3)?,
        credentials: row.bytes(4)?,
        settings: row.text(5)?,
        enabled: row.i64(6)? == 1,
        cursor: row.text(7)?,
        state: State::parse(&row.text(8)?)?,
        failing_since: row.opt_i64(9)?,
        error: row.text(10)?,
        attempts: row.i64(11)?,
        asked_at: row.opt_i64(12)?,
        due_at: row.i64(13)?,
    })
}
