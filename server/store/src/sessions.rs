//! Browser sessions, and the authorization requests that wait in them for an answer.

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use smart::grant::{Authorization, FhirUser, Person, Request, lifetime};
use smart::launch::{LaunchContext, Launched};
use smart::pkce::Challenge;
use smart::scope::ScopeSet;
use smart::token::Hash;

use crate::{Row, Store, StoreError, Tx};

/// How stale `seen_at` may be before it is written again, microseconds.
const SEEN_EVERY: i64 = 60_000_000;

/// A live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who is signed in.
    pub account_id: Option<String>,
    /// Whose password was right, while the second factor is still asked for; nobody is signed in then.
    pub half_account_id: Option<String>,
    /// When the person signed in, microseconds since 1970.
    pub auth_time: Option<i64>,
    /// Last request that was written down, microseconds since 1970.
    pub seen_at: i64,
    /// When a second factor was given in it, microseconds since 1970.
    pub second_factor_at: Option<i64>,
}

impl Session {
    /// Whether [`touch`] is due.
    pub fn is_stale(&self, now: i64) -> bool {
        now - self.seen_at > SEEN_EVERY
    }
}

/// Opens a session, with somebody signed in or not.
pub async fn open(tx: &mut Tx, session: Hash, account_id: Option<&str>, now: i64) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("session")
        .columns(["hash", "account_id", "auth_time", "created_at", "seen_at", "expires_at"])
        .values_panic([
            bytes(session),
            account_id.map(str::to_owned).into(),
            account_id.map(|_| now).into(),
            now.into(),
            now.into(),
            (now + lifetime::SESSION).into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// The session, if it lives: not ended, not idle, not too old, its account not disabled (OA-26).
pub async fn find(store: &Store, session: Hash, now: i64) -> Result<Option<Session>, StoreError> {
    let statement = Query::select()
        .columns(["account_id", "seen_at", "half_account_id", "auth_time"].map(|name| ("session", name)))
        .column(("account", "disabled_at"))
        .column(("session", "second_factor_at"))
        .from("session")
        .left_join("account", Expr::col(("account", "id")).equals(("session", "account_id")))
        .and_where(Expr::col(("session", "hash")).eq(bytes(session)))
        .and_where(Expr::col(("session", "ended_at")).is_null())
        .and_where(Expr::col(("session", "expires_at")).gt(now))
        .and_where(Expr::col(("session", "seen_at")).gt(now - lifetime::SESSION_IDLE))
        .to_owned();
    let rows = store.rows(&statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    if row.opt_i64(4)?.is_some() {
        return Ok(None);
    }
    Ok(Some(Session {
        account_id: row.opt_text(0)?,
        seen_at: row.i64(1)?,
        half_account_id: row.opt_text(2)?,
        auth_time: row.opt_i64(3)?,
        second_factor_at: row.opt_i64(5)?,
    }))
}

/// Notes that the session was used.
pub async fn touch(tx: &mut Tx, session: Hash, now: i64) -> Result<(), StoreError> {
    let statement = Query::update()
        .table("session")
        .value("seen_at", now)
        .and_where(Expr::col("hash").eq(bytes(session)))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Ends a session.
pub async fn end(tx: &mut Tx, session: Hash, now: i64) -> Result<(), StoreError> {
    let statement = Query::update()
        .table("session")
        .value("ended_at", now)
        .and_where(Expr::col("hash").eq(bytes(session)))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Keeps an authorization request until its person answers.
pub async fn insert_request(
    tx: &mut Tx,
    handle: Hash,
    session: Hash,
    account_id: Option<&str>,
    request: &Request,
    now: i64,
) -> Result<(), StoreError> {
    let launch = request.launch.as_ref();
    let statement = Query::insert()
        .into_table("authorization_request")
        .columns(
            ["hash", "session_hash", "account_id"]
                .into_iter()
                .chain(REQUEST_COLUMNS)
                .chain(["created_at", "expires_at"]),
        )
        .values_panic([
            bytes(handle),
            bytes(session),
            account_id.map(str::to_owned).into(),
            request.client_id.as_str().into(),
            request.redirect_uri.as_str().into(),
            request.scopes.to_string().into(),
            request.state.as_str().into(),
            request.challenge.to_string().into(),
            request.audience.as_str().into(),
            request.nonce.clone().into(),
            request.login_hint.clone().into(),
            launch.map(|launched| launched.account_id.clone()).into(),
            launch.map(|launched| launched.context.to_text()).into(),
            now.into(),
            (now + lifetime::REQUEST).into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// The request of that handle, if this session may still answer it.
pub async fn find_request(
    store: &Store,
    handle: Hash,
    session: Hash,
    now: i64,
) -> Result<Option<Authorization>, StoreError> {
    let statement = Query::select()
        .columns(REQUEST_COLUMNS.map(|name| ("authorization_request", name)))
        .columns([("account", "id"), ("account", "fhir_user")])
        .from("authorization_request")
        .left_join("account", Expr::col(("account", "id")).equals(("authorization_request", "account_id")))
        .and_where(Expr::col(("authorization_request", "hash")).eq(bytes(handle)))
        .and_where(Expr::col(("authorization_request", "session_hash")).eq(bytes(session)))
        .and_where(Expr::col(("authorization_request", "expires_at")).gt(now))
        .and_where(Expr::col(("authorization_request", "used_at")).is_null())
        .to_owned();
    store.rows(&statement).await?.first().map(read_request).transpose()
}

/// Somebody signed in to answer a request: it moves to the new session, and is theirs alone from now on.
pub async fn sign_in_request(
    tx: &mut Tx,
    handle: Hash,
    old: Hash,
    new: Hash,
    account_id: &str,
) -> Result<bool, StoreError> {
    let unclaimed = Expr::col("account_id").is_null().or(Expr::col("account_id").eq(account_id));
    let statement = Query::update()
        .table("authorization_request")
        .value("session_hash", bytes(new))
        .value("account_id", account_id)
        .and_where(Expr::col("hash").eq(bytes(handle)))
        .and_where(Expr::col("session_hash").eq(bytes(old)))
        .and_where(Expr::col("used_at").is_null())
        .and_where(unclaimed)
        .to_owned();
    Ok(tx.execute(&statement).await? == 1)
}

/// Gives a request back to nobody, because the person wants to sign in as another.
pub async fn release_request(tx: &mut Tx, handle: Hash, old: Hash, new: Hash) -> Result<bool, StoreError> {
    let statement = Query::update()
        .table("authorization_request")
        .value("session_hash", bytes(new))
        .value("account_id", Option::<String>::None)
        .and_where(Expr::col("hash").eq(bytes(handle)))
        .and_where(Expr::col("session_hash").eq(bytes(old)))
        .and_where(Expr::col("used_at").is_null())
        .to_owned();
    Ok(tx.execute(&statement).await? == 1)
}

/// Spends a request: true for exactly one caller.
pub async fn spend_request(tx: &mut Tx, handle: Hash, session: Hash, now: i64) -> Result<bool, StoreError> {
    let statement = Query::update()
        .table("authorization_request")
        .value("used_at", now)
        .and_where(Expr::col("hash").eq(bytes(handle)))
        .and_where(Expr::col("session_hash").eq(bytes(session)))
        .and_where(Expr::col("expires_at").gt(now))
        .and_where(Expr::col("used_at").is_null())
        .returning_col("hash")
        .to_owned();
    Ok(tx.rows(&statement).await?.len() == 1)
}

/// As they are written, and as [`read_request`] reads them; those of the account come after.
const REQUEST_COLUMNS: [&str; 10] = [
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "audience",
    "nonce",
    "login_hint",
    "launch_account",
    "launch_context",
];

fn read_request(row: &Row) -> Result<Authorization, StoreError> {
    let damaged = |what: &str| StoreError::Schema(format!("{what} of an authorization request"));
    let scope = row.text(2)?;
    let (scopes, _) = ScopeSet::parse_known(&scope).map_err(|_| damaged("scope"))?;
    let request = Request {
        client_id: row.text(0)?,
        redirect_uri: row.text(1)?,
        scopes,
        state: row.text(3)?,
        challenge: Challenge::from_text(&row.text(4)?).ok_or_else(|| damaged("code_challenge"))?,
        audience: row.text(5)?,
        nonce: row.opt_text(6)?,
        login_hint: row.opt_text(7)?,
        launch: match (row.opt_text(8)?, row.opt_text(9)?) {
            (Some(account_id), Some(context)) => {
                let context = LaunchContext::from_text(&context).ok_or_else(|| damaged("launch_context"))?;
                Some(Launched { account_id, context })
            }
            _ => None,
        },
    };
    Ok(match row.opt_text(REQUEST_COLUMNS.len())? {
        None => Authorization::Requested(request),
        Some(user_id) => {
            let fhir_user = row.opt_text(REQUEST_COLUMNS.len() + 1)?.as_deref().and_then(FhirUser::parse);
            Authorization::SignedIn { request, person: Person { user_id, fhir_user } }
        }
    })
}

fn bytes(hash: Hash) -> Expr {
    Expr::val(hash.as_bytes().to_vec())
}
