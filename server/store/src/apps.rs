//! What a client is to its developer and to the administrators, where it was made in the portal.
//!
//! A client works only while its app is approved, switched on by its developer and not switched off by an
//! administrator: every change here also settles `client.disabled_at`, which authorization, token endpoint and every
//! request look at.

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};

use crate::{Row, Store, StoreError, Tx};

/// Whose records an app is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The developer's own record.
    Personal,
    /// Patients in somebody's care.
    Work,
}

/// What the administrators said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing yet.
    Requested,
    /// It may work.
    Approved,
    /// It may not.
    Refused,
}

/// An app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The client.
    pub client_id: String,
    /// Key of the developer's account.
    pub account_id: String,
    /// Whose records it is for.
    pub purpose: Purpose,
    /// What the administrators said.
    pub status: Status,
    /// Whether its developer wants it to work.
    pub is_on: bool,
    /// When an administrator switched it off, microseconds since 1970.
    pub stopped_at: Option<i64>,
    /// What it is for.
    pub description: String,
    /// Where an EHR starts it.
    pub launch_uri: Option<String>,
    /// Why an administrator refused it or switched it off.
    pub reason: Option<String>,
    /// When an administrator decided, microseconds since 1970.
    pub decided_at: Option<i64>,
    /// When it was asked for, microseconds since 1970.
    pub created_at: i64,
}

/// Something of an app that can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// What it is for, and where an EHR starts it.
    Described {
        /// What it is for.
        description: String,
        /// Where an EHR starts it.
        launch_uri: Option<String>,
    },
    /// Whether its developer wants it to work.
    On(bool),
    /// What an administrator says, and why.
    Decided(Status, Option<String>),
    /// Switched off by an administrator, and why.
    Stopped(Option<String>),
    /// Switched on by an administrator again.
    Released,
    /// The developer changed what an administrator had looked at.
    RequestedAgain,
}

impl Purpose {
    /// Name in the database and in forms.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Personal => "personal",
            Purpose::Work => "work",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Purpose::Personal, Purpose::Work].into_iter().find(|purpose| purpose.as_str() == text)
    }
}

impl Status {
    /// Name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Requested => "requested",
            Status::Approved => "approved",
            Status::Refused => "refused",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Status::Requested, Status::Approved, Status::Refused].into_iter().find(|status| status.as_str() == text)
    }
}

impl Registration {
    /// Whether its client may be accepted at all, validity aside.
    pub fn works(&self) -> bool {
        self.status == Status::Approved && self.is_on && self.stopped_at.is_none()
    }
}

/// Keeps what belongs to a client that was just registered.
pub async fn insert(tx: &mut Tx, app: &Registration, now: i64) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("app")
        .columns(COLUMNS)
        .values_panic([
            app.client_id.as_str().into(),
            app.account_id.as_str().into(),
            app.purpose.as_str().into(),
            app.status.as_str().into(),
            i64::from(app.is_on).into(),
            app.stopped_at.into(),
            app.description.as_str().into(),
            app.launch_uri.clone().into(),
            app.reason.clone().into(),
            app.decided_at.into(),
            app.created_at.into(),
        ])
        .to_owned();
    tx.execute(&statement).await?;
    settle(tx, &app.client_id, now).await
}

/// The app of a client; none where it was not made in the portal.
pub async fn find(store: &Store, client_id: &str) -> Result<Option<Registration>, StoreError> {
    let statement = select().and_where(Expr::col("client_id").eq(client_id)).to_owned();
    store.rows(&statement).await?.first().map(read).transpose()
}

/// The app of a client; nobody else changes it before this transaction ends.
pub async fn locked(tx: &mut Tx, client_id: &str) -> Result<Option<Registration>, StoreError> {
    let statement = select().and_where(Expr::col("client_id").eq(client_id)).lock_exclusive().to_owned();
    tx.rows(&statement).await?.first().map(read).transpose()
}

/// A developer's apps, oldest first.
pub async fn of_account(store: &Store, account_id: &str) -> Result<Vec<Registration>, StoreError> {
    let by_age =
        select().and_where(Expr::col("account_id").eq(account_id)).order_by("created_at", Order::Asc).to_owned();
    store.rows(&by_age).await?.iter().map(read).collect()
}

/// All apps, latest first.
pub async fn all(store: &Store) -> Result<Vec<Registration>, StoreError> {
    let statement = select().order_by("created_at", Order::Desc).to_owned();
    store.rows(&statement).await?.iter().map(read).collect()
}

/// Changes an app, and settles whether its client is accepted; false if there is none.
pub async fn change(tx: &mut Tx, client_id: &str, change: &Change, now: i64) -> Result<bool, StoreError> {
    let mut statement = Query::update();
    statement.table("app").and_where(Expr::col("client_id").eq(client_id));
    match change.clone() {
        Change::Described { description, launch_uri } => {
            statement.value("description", description).value("launch_uri", launch_uri);
        }
        Change::On(is_on) => {
            statement.value("is_on", i64::from(is_on));
        }
        Change::Decided(status, reason) => {
            statement.value("status", status.as_str()).value("reason", reason).value("decided_at", now);
        }
        Change::Stopped(reason) => {
            statement.value("stopped_at", now).value("reason", reason);
        }
        Change::Released => {
            statement.value("stopped_at", Option::<i64>::None).value("reason", Option::<String>::None);
        }
        Change::RequestedAgain => {
            statement.value("status", Status::Requested.as_str());
        }
    }
    let changed = tx.execute(&statement).await? > 0;
    settle(tx, client_id, now).await?;
    Ok(changed)
}

/// Names the only patients that a client can reach, by logical id; none: whoever its person may see.
pub async fn set_patients(tx: &mut Tx, client_id: &str, patients: Option<&[String]>) -> Result<(), StoreError> {
    let statement = Query::update()
        .table("client")
        .value("patients", patients.map(|patients| patients.join(" ")))
        .and_where(Expr::col("id").eq(client_id))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// The only patients that a client can reach, sorted; none: whoever its person may see.
pub async fn patients(store: &Store, client_id: &str) -> Result<Option<Vec<String>>, StoreError> {
    let statement =
        Query::select().column("patients").from("client").and_where(Expr::col("id").eq(client_id)).to_owned();
    let rows = store.rows(&statement).await?;
    Ok(rows.first().map(|row| row.opt_text(0)).transpose()?.flatten().map(|text| split_patients(&text)))
}

/// The list as it stands in the database, read.
pub(crate) fn split_patients(text: &str) -> Vec<String> {
    let mut patients: Vec<String> = text.split(' ').filter(|id| !id.is_empty()).map(str::to_owned).collect();
    patients.sort_unstable();
    patients
}

/// The client is switched on exactly while the app works.
async fn settle(tx: &mut Tx, client_id: &str, now: i64) -> Result<(), StoreError> {
    let statement = select().and_where(Expr::col("client_id").eq(client_id)).to_owned();
    let Some(app) = tx.rows(&statement).await?.first().map(read).transpose()? else { return Ok(()) };
    crate::clients::set_disabled(tx, client_id, (!app.works()).then_some(now)).await.map(drop)
}

const COLUMNS: [&str; 11] = [
    "client_id",
    "account_id",
    "purpose",
    "status",
    "is_on",
    "stopped_at",
    "description",
    "launch_uri",
    "reason",
    "decided_at",
    "created_at",
];

fn select() -> SelectStatement {
    Query::select().columns(COLUMNS).from("app").to_owned()
}

fn read(row: &Row) -> Result<Registration, StoreError> {
    let damaged = |what: &str| StoreError::Schema(format!("{what} of an app"));
    Ok(Registration {
        client_id: row.text(0)?,
        account_id: row.text(1)?,
        purpose: Purpose::parse(&row.text(2)?).ok_or_else(|| damaged("purpose"))?,
        status: Status::parse(&row.text(3)?).ok_or_else(|| damaged("status"))?,
        is_on: row.i64(4)? != 0,
        stopped_at: row.opt_i64(5)?,
        description: row.text(6)?,
        launch_uri: row.opt_text(7)?,
        reason: row.opt_text(8)?,
        decided_at: row.opt_i64(9)?,
        created_at: row.i64(10)?,
    })
}
