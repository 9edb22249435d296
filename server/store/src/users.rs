//! Accounts of people, and failed sign-ins.

use sea_orm::sea_query::{Expr, ExprTrait as _, Func, Order, Query, SelectStatement, Value};
use smart::grant::{FhirUser, Person};

use crate::apps::Purpose;
use crate::{Row, Store, StoreError, Tx};

/// How long failures are kept, microseconds: as long as any limit looks back.
const KEPT: i64 = 3_600_000_000;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Surrogate key.
    pub id: String,
    /// Name to sign in with, folded.
    pub username: String,
    /// Name for people.
    pub name: String,
    /// The record that the person is.
    pub fhir_user: Option<FhirUser>,
    /// Whether the person looks after this server in the portal.
    pub is_admin: bool,
    /// What the apps are for that the person makes; none for those who make none.
    pub developer: Option<Purpose>,
    /// When an operator switched it off, microseconds since 1970.
    pub disabled_at: Option<i64>,
}

impl Account {
    /// The person as grants know them.
    pub fn person(&self) -> Person {
        Person { user_id: self.id.clone(), fhir_user: self.fhir_user.clone() }
    }
}

/// Something of an account that can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new password, as argon2id in PHC form.
    Password(String),
    /// Whether the person looks after this server.
    Admin(bool),
    /// What the person's apps are for.
    Developer(Purpose),
    /// The record that the person is.
    FhirUser(FhirUser),
    /// Switched off at an instant, or on again.
    DisabledAt(Option<i64>),
}

/// The account of a folded username with its password hash, also a disabled one.
pub async fn find_by_username(store: &Store, username: &str) -> Result<Option<(Account, String)>, StoreError> {
    let statement = select().column("password_hash").and_where(Expr::col("username").eq(username)).to_owned();
    store.rows(&statement).await?.first().map(|row| Ok((read(row)?, row.text(COLUMNS.len())?))).transpose()
}

/// The account of that key, also a disabled one.
pub async fn find(store: &Store, id: &str) -> Result<Option<Account>, StoreError> {
    let statement = select().and_where(Expr::col("id").eq(id)).to_owned();
    store.rows(&statement).await?.first().map(read).transpose()
}

/// All accounts by name.
pub async fn all(store: &Store) -> Result<Vec<Account>, StoreError> {
    let statement = select().order_by("username", Order::Asc).to_owned();
    store.rows(&statement).await?.iter().map(read).collect()
}

/// Adds an account; false if the username is taken.
pub async fn insert(tx: &mut Tx, account: &Account, password_hash: &str, now: i64) -> Result<bool, StoreError> {
    tx.lock_key(&format!("account {}", account.username)).await?;
    let same_name = select().and_where(Expr::col("username").eq(account.username.as_str())).to_owned();
    if !tx.rows(&same_name).await?.is_empty() {
        return Ok(false);
    }
    let statement = Query::insert()
        .into_table("account")
        .columns(COLUMNS.into_iter().chain(["password_hash", "created_at"]))
        .values_panic([
            account.id.as_str().into(),
            account.username.as_str().into(),
            account.name.as_str().into(),
            account.fhir_user.as_ref().map(ToString::to_string).into(),
            i64::from(account.is_admin).into(),
            account.developer.map(Purpose::as_str).into(),
            account.disabled_at.into(),
            password_hash.into(),
            now.into(),
        ])
        .to_owned();
    tx.execute(&statement).await?;
    Ok(true)
}

/// Changes an account; false if there is none of that key.
pub async fn change(tx: &mut Tx, id: &str, change: &Change) -> Result<bool, StoreError> {
    let (column, value): (&str, Value) = match change {
        Change::Password(hash) => ("password_hash", hash.as_str().into()),
        Change::Admin(is_admin) => ("is_admin", i64::from(*is_admin).into()),
        Change::Developer(purpose) => ("developer", purpose.as_str().into()),
        Change::FhirUser(user) => ("fhir_user", user.to_string().into()),
        Change::DisabledAt(at) => ("disabled_at", (*at).into()),
    };
    let statement = Query::update().table("account").value(column, value).and_where(Expr::col("id").eq(id)).to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Counts an attempt to sign in as failed for each subject until [`forgive`] takes it back, and forgets those of more
/// than an hour ago; none, and nothing is counted, where a subject has had as many as it may since `since`. Attempts
/// on one subject wait for each other: many at once are no way around the limit. (OA-20)
pub async fn note_attempt(
    tx: &mut Tx,
    subjects: &[(String, i64)],
    now: i64,
    since: i64,
) -> Result<Option<Vec<i64>>, StoreError> {
    let keys: Vec<String> = subjects.iter().map(|(subject, _)| format!("sign-in {subject}")).collect();
    tx.lock_keys(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    for (subject, most) in subjects {
        let statement = Query::select()
            .expr(Func::count(Expr::col("failure")))
            .from("login_failure")
            .and_where(Expr::col("subject").eq(subject))
            .and_where(Expr::col("at").gte(since))
            .to_owned();
        let failures = tx.rows(&statement).await?.first().map_or(Ok(0), |row| row.i64(0))?;
        if failures >= *most {
            return Ok(None);
        }
    }
    let mut insert = Query::insert().into_table("login_failure").columns(["subject", "at"]).to_owned();
    for (subject, _) in subjects {
        insert.values_panic([subject.as_str().into(), now.into()]);
    }
    insert.returning_col("failure");
    let noted = tx.rows(&insert).await?.iter().map(|row| row.i64(0)).collect::<Result<Vec<_>, _>>()?;
    let old = Expr::col("at").lt(now - KEPT);
    let forget = Query::delete().from_table("login_failure").and_where(old).to_owned();
    tx.execute(&forget).await?;
    Ok(Some(noted))
}

/// The attempt did not fail.
pub async fn forgive(tx: &mut Tx, noted: &[i64]) -> Result<(), StoreError> {
    let noted = Expr::col("failure").is_in(noted.iter().copied());
    let statement = Query::delete().from_table("login_failure").and_where(noted).to_owned();
    tx.execute(&statement).await.map(drop)
}

const COLUMNS: [&str; 7] = ["id", "username", "name", "fhir_user", "is_admin", "developer", "disabled_at"];

fn select() -> SelectStatement {
    Query::select().columns(COLUMNS).from("account").to_owned()
}

fn read(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        id: row.text(0)?,
        username: row.text(1)?,
        name: row.text(2)?,
        fhir_user: row.opt_text(3)?.as_deref().and_then(FhirUser::parse),
        is_admin: row.i64(4)? != 0,
        developer: row.opt_text(5)?.as_deref().and_then(Purpose::parse),
        disabled_at: row.opt_i64(6)?,
    })
}
