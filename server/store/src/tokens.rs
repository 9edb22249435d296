//! Access and refresh tokens.

use std::sync::Arc;

use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement};
use smart::grant::{Refresh, Terms, lifetime};
use smart::scope::ScopeSet;
use smart::token::Hash;

use crate::apps::split_patients;
use crate::fixed::Fixed;
use crate::grants::{context, terms};
use crate::{Row, Store, StoreError, Tx};

/// `client_id` of tokens that the operator mints at the command line; nobody can be registered under it.
pub const OPERATOR: &str = "operator";

/// A live access token.
#[derive(Clone, Debug)]
pub struct Access {
    /// The grant it comes of.
    pub grant_id: String,
    /// Who it was given to.
    pub client_id: String,
    /// What it gives: what was given, within what its client is registered for now (SM-28).
    pub terms: Terms,
    /// The FHIR base that it is for.
    pub audience: String,
    /// The only patients that its app can reach, sorted logical ids; none: whoever its person may see.
    pub patients: Option<Vec<String>>,
    /// When it was made, microseconds since 1970.
    pub created_at: i64,
    /// When it ends, microseconds since 1970.
    pub expires_at: i64,
}

/// A refresh token whose grant lives.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The token.
    pub refresh: Refresh,
    /// The grant it comes of.
    pub grant: Granted,
    /// What it was exchanged for; none if it never was.
    pub successor: Option<Hash>,
}

/// A grant that lives, with all that its tokens are made of.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Surrogate key.
    pub id: String,
    /// Who it was given to.
    pub client_id: String,
    /// What it gives: what was given, within what its client is registered for now (SM-28).
    pub terms: Terms,
    /// The FHIR base that its tokens are for.
    pub audience: String,
    /// When it ends, microseconds since 1970.
    pub expires_at: i64,
    /// What the app wants to find in its `id_token`.
    pub nonce: Option<String>,
    /// When the person signed in, microseconds since 1970.
    pub auth_time: Option<i64>,
    /// The only patients that its app can reach, sorted logical ids; none: whoever its person may see.
    pub patients: Option<Vec<String>>,
}

/// Writes an access token; `beside` is the refresh token that is handed out with it.
pub async fn insert_access(
    tx: &mut Tx,
    hash: Hash,
    grant_id: &str,
    (scope, beside): (&str, Option<Hash>),
    now: i64,
    expires_at: i64,
) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("access_token")
        .columns(["hash", "grant_id", "scope", "refresh_hash", "created_at", "expires_at"])
        .values_panic([
            bytes(hash),
            grant_id.into(),
            scope.into(),
            beside.map(|beside| beside.as_bytes().to_vec()).into(),
            now.into(),
            expires_at.into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// The token if all it stands on lives: itself, its grant, its client, its person (SM-48, SM-57).
///
/// A row that was looked up before is good as long as nothing of that has been changed since, by any process.
pub async fn find_access(store: &Store, hash: Hash, now: i64) -> Result<Option<Access>, StoreError> {
    static LIVE: Fixed = Fixed::new(|| {
        with_grant("access_token")
            .columns(["scope", "created_at", "expires_at"].map(|name| ("access_token", name)))
            .and_where(Expr::col(("access_token", "hash")).eq(Vec::<u8>::new()))
            .and_where(Expr::col(("access_token", "expires_at")).gt(0_i64))
            .and_where(Expr::col(("access_token", "revoked_at")).is_null())
            .to_owned()
    });
    let (as_of, known) = (store.access_as_of().await?, &store.known().access);
    let row = if let Some(row) = as_of.and_then(|as_of| known.get(&hash, as_of)) {
        row
    } else {
        let rows = store.rows(&LIVE.with(vec![hash.as_bytes().to_vec().into(), now.into()])).await?;
        let Some(row) = rows.into_iter().next().map(Arc::new) else { return Ok(None) };
        if let Some(as_of) = as_of {
            known.put(hash, as_of, row.clone());
        }
        row
    };
    let expires_at = row.i64(GRANT_COLUMNS + 2)?;
    if expires_at <= now {
        return Ok(None);
    }
    let row = &*row;
    let Some(grant) = read_grant(row, &row.text(GRANT_COLUMNS)?, now)? else { return Ok(None) };
    Ok(Some(Access {
        grant_id: grant.id,
        client_id: grant.client_id,
        terms: grant.terms,
        audience: grant.audience,
        patients: grant.patients,
        created_at: row.i64(GRANT_COLUMNS + 1)?,
        expires_at,
    }))
}

/// The grant behind a code, if it lives.
pub async fn find_grant(tx: &mut Tx, grant_id: &str, now: i64) -> Result<Option<Granted>, StoreError> {
    let statement = with_account_and_client(Query::select().from("app_grant").to_owned())
        .and_where(Expr::col(("app_grant", "id")).eq(grant_id))
        .to_owned();
    let rows = tx.rows(&statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    read_grant(row, &row.text(GRANT_SCOPE)?, now)
}

/// Writes a refresh token; when it ends, but never after its grant.
pub async fn insert_refresh(
    tx: &mut Tx,
    hash: Hash,
    grant_id: &str,
    grant_expires_at: i64,
    now: i64,
) -> Result<(), StoreError> {
    let expires_at = std::cmp::min(grant_expires_at, now + lifetime::REFRESH_IDLE);
    let statement = Query::insert()
        .into_table("refresh_token")
        .columns(["hash", "grant_id", "created_at", "expires_at"])
        .values_panic([bytes(hash), grant_id.into(), now.into(), expires_at.into()])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Has others who present the same refresh token wait for the end of this transaction.
pub async fn lock_refresh(tx: &mut Tx, hash: Hash) -> Result<(), StoreError> {
    let statement = Query::update()
        .table("refresh_token")
        .value("expires_at", Expr::col("expires_at"))
        .and_where(Expr::col("hash").eq(bytes(hash)))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// The client that a refresh token was given to, spent or not.
pub async fn client_of_refresh(store: &Store, hash: Hash) -> Result<Option<String>, StoreError> {
    let statement = Query::select()
        .column(("app_grant", "client_id"))
        .from("refresh_token")
        .inner_join("app_grant", Expr::col(("app_grant", "id")).equals(("refresh_token", "grant_id")))
        .and_where(Expr::col(("refresh_token", "hash")).eq(bytes(hash)))
        .to_owned();
    store.rows(&statement).await?.first().map(|row| row.text(0)).transpose()
}

/// A refresh token, spent or not, if its grant lives.
pub async fn find_refresh(tx: &mut Tx, hash: Hash, now: i64) -> Result<Option<Renewal>, StoreError> {
    let statement = with_grant("refresh_token")
        .columns([("refresh_token", "expires_at"), ("refresh_token", "used_at")])
        .columns([("session", "ended_at"), ("session", "expires_at"), ("session", "hash")])
        .columns([("refresh_token", "successor_hash")])
        .left_join("session", Expr::col(("session", "hash")).equals(("app_grant", "session_hash")))
        .and_where(Expr::col(("refresh_token", "hash")).eq(bytes(hash)))
        .to_owned();
    let rows = tx.rows(&statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let Some(grant) = read_grant(row, &row.text(GRANT_SCOPE)?, now)? else { return Ok(None) };
    // online_access ends with its session (SM-52); a swept session has ended
    let session_lives =
        row.opt_i64(GRANT_COLUMNS + 2)?.is_none() && row.opt_i64(GRANT_COLUMNS + 3)?.is_some_and(|end| end > now);
    let outlived = grant.terms.ends_with_session() && !session_lives;
    // nor is a grant renewed whose client may not stay connected any more
    if outlived || !grant.terms.is_renewable() {
        return Ok(None);
    }
    let used_at = row.opt_i64(GRANT_COLUMNS + 1)?;
    let successor = match used_at {
        Some(_) => Hash::from_bytes(&row.bytes(GRANT_COLUMNS + 5)?),
        None => None,
    };
    Ok(Some(Renewal {
        refresh: Refresh {
            client_id: grant.client_id.clone(),
            scopes: grant.terms.scopes().clone(),
            expires_at: row.i64(GRANT_COLUMNS)?,
            used_at,
        },
        grant,
        successor,
    }))
}

/// Exchanges a refresh token for its successor: true for exactly one caller (OA-08).
pub async fn spend_refresh(tx: &mut Tx, hash: Hash, successor: Hash, now: i64) -> Result<bool, StoreError> {
    let statement = Query::update()
        .table("refresh_token")
        .value("used_at", now)
        .value("successor_hash", bytes(successor))
        .and_where(Expr::col("hash").eq(bytes(hash)))
        .and_where(Expr::col("used_at").is_null())
        .returning_col("hash")
        .to_owned();
    Ok(tx.rows(&statement).await?.len() == 1)
}

/// Exchanges a spent refresh token once more, for a client that lost the answer: its successor is spent in the place
/// of whoever holds it, and the access token that came with it ends. False if the successor has been used: then one of
/// the two was stolen (OA-08).
pub async fn spend_refresh_again(
    tx: &mut Tx,
    hash: Hash,
    grant_id: &str,
    lost: Hash,
    successor: Hash,
    now: i64,
) -> Result<bool, StoreError> {
    // It becomes its own successor: whoever presents it from now on is taken for a thief.
    if !spend_refresh(tx, lost, lost, now).await? {
        return Ok(false);
    }
    let statement = Query::update()
        .table("refresh_token")
        .value("successor_hash", bytes(successor))
        .and_where(Expr::col("hash").eq(bytes(hash)))
        .to_owned();
    tx.execute(&statement).await?;
    let statement = Query::update()
        .table("access_token")
        .value("revoked_at", now)
        .and_where(Expr::col("grant_id").eq(grant_id))
        .and_where(Expr::col("refresh_hash").eq(bytes(lost)))
        .and_where(Expr::col("revoked_at").is_null())
        .to_owned();
    tx.execute(&statement).await?;
    Ok(true)
}

/// Withdraws one access token of a client; tokens of others stay (OA-12).
pub async fn revoke_access(tx: &mut Tx, hash: Hash, client_id: &str, now: i64) -> Result<(), StoreError> {
    let own_grants =
        Query::select().column("id").from("app_grant").and_where(Expr::col("client_id").eq(client_id)).to_owned();
    let statement = Query::update()
        .table("access_token")
        .value("revoked_at", now)
        .and_where(Expr::col("hash").eq(bytes(hash)))
        .and_where(Expr::col("grant_id").in_subquery(own_grants))
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Withdraws the grant of a client's refresh token, and with it all its tokens (OA-12).
pub async fn revoke_refresh(tx: &mut Tx, hash: Hash, client_id: &str, now: i64) -> Result<(), StoreError> {
    let grant = Query::select()
        .column("grant_id")
        .from("refresh_token")
        .and_where(Expr::col("hash").eq(bytes(hash)))
        .to_owned();
    let statement = Query::update()
        .table("app_grant")
        .value("revoked_at", now)
        .and_where(Expr::col("id").in_subquery(grant))
        .and_where(Expr::col("client_id").eq(client_id))
        .and_where(Expr::col("revoked_at").is_null())
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Columns of [`with_account_and_client`], before those of the statement itself.
const GRANT_COLUMNS: usize = 21;
const GRANT_SCOPE: usize = 4;

fn with_grant(token_table: &'static str) -> SelectStatement {
    let joined = Query::select()
        .from(token_table)
        .inner_join("app_grant", Expr::col(("app_grant", "id")).equals((token_table, "grant_id")))
        .to_owned();
    with_account_and_client(joined)
}

fn with_account_and_client(mut statement: SelectStatement) -> SelectStatement {
    let grant = [
        "id",
        "holder",
        "client_id",
        "account_id",
        "scope",
        "patient",
        "encounter",
        "audience",
        "expires_at",
        "revoked_at",
        "context",
        "nonce",
        "auth_time",
    ];
    statement
        .columns(grant.map(|name| ("app_grant", name)))
        .columns(["id", "valid_from", "valid_to", "disabled_at"].map(|name| ("client", name)))
        .columns(["fhir_user", "disabled_at"].map(|name| ("account", name)))
        .columns(["patients", "scope"].map(|name| ("client", name)))
        .left_join("client", Expr::col(("client", "id")).equals(("app_grant", "client_id")))
        .left_join("account", Expr::col(("account", "id")).equals(("app_grant", "account_id")));
    statement
}

fn read_grant(row: &Row, scope: &str, now: i64) -> Result<Option<Granted>, StoreError> {
    let expires_at = row.i64(8)?;
    let withdrawn = row.opt_i64(9)?.is_some();
    let (registered, from, to, off) = (row.opt_text(13)?, row.opt_i64(14)?, row.opt_i64(15)?, row.opt_i64(16)?);
    let account_off = row.opt_i64(18)?.is_some();
    let context = context(row.opt_text(5)?, row.opt_text(6)?, row.opt_text(10)?.as_deref())?;
    let person = row.opt_text(3)?.map(|id| Ok::<_, StoreError>((id, row.opt_text(17)?))).transpose()?;
    let terms = terms(&row.text(1)?, person, scope, context)?;
    let client_id = row.text(2)?;
    let client_lives = match registered {
        None => client_id == OPERATOR,
        Some(_) => off.is_none() && from.is_none_or(|from| from <= now) && to.is_none_or(|to| now < to),
    };
    if withdrawn || expires_at <= now || !client_lives || account_off {
        return Ok(None);
    }
    let Some(terms) = within_registered(terms, row.opt_text(20)?.as_deref())? else { return Ok(None) };
    Ok(Some(Granted {
        id: row.text(0)?,
        client_id,
        terms,
        audience: row.text(7)?,
        expires_at,
        nonce: row.opt_text(11)?,
        auth_time: row.opt_i64(12)?,
        patients: row.opt_text(19)?.as_deref().map(split_patients),
    }))
}

/// What remains of the terms while their client is registered for these scopes; none if that is nothing. The row keeps
/// what was given: scopes that the client gets back come back to the grant too, and never more than was given. (SM-28)
fn within_registered(terms: Terms, registered: Option<&str>) -> Result<Option<Terms>, StoreError> {
    let Some(registered) = registered else { return Ok(Some(terms)) };
    let (registered, _) =
        ScopeSet::parse_known(registered).map_err(|error| StoreError::Schema(format!("scope of a client: {error}")))?;
    if terms.scopes().is_covered_by(&registered) {
        return Ok(Some(terms));
    }
    let narrowed = terms.scopes().narrowed_to(&registered);
    Ok(terms.with_scopes(narrowed).ok())
}

fn bytes(hash: Hash) -> Expr {
    Expr::val(hash.as_bytes().to_vec())
}
