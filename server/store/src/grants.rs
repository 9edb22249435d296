//! Grants and the authorization codes that stand for them.

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use smart::grant::{Code, FhirUser, Holder, Person, Terms, lifetime};
use smart::launch::LaunchContext;
use smart::pkce::Challenge;
use smart::scope::ScopeSet;
use smart::token::Hash;

use crate::{StoreError, Tx, jobs};

/// A grant that is about to be written.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Surrogate key.
    pub id: String,
    /// Who it is given to.
    pub client_id: String,
    /// What is given.
    pub terms: Terms,
    /// The FHIR base that its tokens are for.
    pub audience: String,
    /// The session with which renewal ends.
    pub session: Option<Hash>,
    /// `nonce` of the authorization request, for the `id_token`.
    pub nonce: Option<String>,
    /// When the person signed in, microseconds since 1970, for the `id_token`.
    pub auth_time: Option<i64>,
    /// When it ends, microseconds since 1970.
    pub expires_at: i64,
}

/// Writes a grant.
pub async fn insert(tx: &mut Tx, grant: &NewGrant, now: i64) -> Result<(), StoreError> {
    let context = grant.terms.context();
    let statement = Query::insert()
        .into_table("app_grant")
        .columns([
            "id",
            "holder",
            "client_id",
            "account_id",
            "scope",
            "patient",
            "encounter",
            "context",
            "nonce",
            "auth_time",
            "audience",
            "session_hash",
            "created_at",
            "expires_at",
        ])
        .values_panic([
            grant.id.as_str().into(),
            holder_name(grant.terms.holder()).into(),
            grant.client_id.as_str().into(),
            grant.terms.person().map(|person| person.user_id.clone()).into(),
            grant.terms.scopes().to_string().into(),
            context.patient.clone().into(),
            context.encounter.clone().into(),
            rest_of_context(context).into(),
            grant.nonce.clone().into(),
            grant.auth_time.into(),
            grant.audience.as_str().into(),
            grant.session.map(|session| session.as_bytes().to_vec()).into(),
            now.into(),
            grant.expires_at.into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Withdraws a grant, and with it every code and token that comes of it.
pub async fn revoke(tx: &mut Tx, grant_id: &str, now: i64) -> Result<(), StoreError> {
    let statement = Query::update()
        .table("app_grant")
        .value("revoked_at", now)
        .and_where(Expr::col("id").eq(grant_id))
        .and_where(Expr::col("revoked_at").is_null())
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Writes a code.
pub async fn insert_code(tx: &mut Tx, hash: Hash, grant_id: &str, code: &Code, now: i64) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("authorization_code")
        .columns(["hash", "grant_id", "client_id", "redirect_uri", "code_challenge", "created_at", "expires_at"])
        .values_panic([
            bytes(hash),
            grant_id.into(),
            code.client_id.as_str().into(),
            code.redirect_uri.as_str().into(),
            code.challenge.to_string().into(),
            now.into(),
            code.expires_at.into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// A code with the key of its grant, spent or not.
pub async fn find_code(tx: &mut Tx, hash: Hash) -> Result<Option<(Code, String)>, StoreError> {
    let statement = Query::select()
        .columns(["client_id", "redirect_uri", "code_challenge", "expires_at", "used_at", "grant_id"])
        .from("authorization_code")
        .and_where(Expr::col("hash").eq(bytes(hash)))
        .to_owned();
    let rows = tx.rows(&statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let challenge = Challenge::from_text(&row.text(2)?)
        .ok_or_else(|| StoreError::Schema("code_challenge of an authorization code".to_owned()))?;
    let code = Code {
        client_id: row.text(0)?,
        redirect_uri: row.text(1)?,
        challenge,
        expires_at: row.i64(3)?,
        used_at: row.opt_i64(4)?,
    };
    Ok(Some((code, row.text(5)?)))
}

/// Spends a code: true for exactly one caller (OA-04).
pub async fn spend_code(tx: &mut Tx, hash: Hash, now: i64) -> Result<bool, StoreError> {
    let statement = Query::update()
        .table("authorization_code")
        .value("used_at", now)
        .and_where(Expr::col("hash").eq(bytes(hash)))
        .and_where(Expr::col("used_at").is_null())
        .returning_col("hash")
        .to_owned();
    Ok(tx.rows(&statement).await?.len() == 1)
}

/// Removes what ended more than a day ago; replays of it are unknown from then on. Tokens stay as long as a job is open that
/// was asked for with one: whether they were revoked is looked up while it goes on. (RE-28)
pub async fn sweep(tx: &mut Tx, now: i64) -> Result<(), StoreError> {
    const DAY: i64 = 24 * 3_600_000_000;
    for table in [
        "authorization_code",
        "authorization_request",
        "access_token",
        "refresh_token",
        "session",
        "client_assertion",
        "pushed_request",
        "invitation",
    ] {
        let mut delete = Query::delete();
        delete.from_table(table).and_where(Expr::col("expires_at").lt(now - DAY));
        if table == "access_token" {
            delete.and_where(Expr::col("hash").in_subquery(jobs::tokens_in_use()).not());
        }
        tx.execute(&delete).await?;
    }
    Ok(())
}

/// When a grant ends that begins now.
pub fn end_of(terms: &Terms, now: i64) -> i64 {
    let life = if terms.is_renewable() { lifetime::GRANT } else { lifetime::CODE + lifetime::ACCESS };
    now + life
}

/// Puts the terms together again, by the one door that checks them.
pub(crate) fn terms(
    holder: &str,
    person: Option<(String, Option<String>)>,
    scope: &str,
    context: LaunchContext,
) -> Result<Terms, StoreError> {
    let damaged = |what: String| StoreError::Schema(format!("grant: {what}"));
    let holder = match (holder, person) {
        ("person", Some((user_id, fhir_user))) => {
            Holder::Person(Person { user_id, fhir_user: fhir_user.as_deref().and_then(FhirUser::parse) })
        }
        ("service", None) => Holder::Service,
        ("operator", None) => Holder::Operator,
        _ => return Err(damaged(format!("holder \"{holder}\""))),
    };
    let (scopes, _) = ScopeSet::parse_known(scope).map_err(|error| damaged(error.to_string()))?;
    Terms::new(holder, scopes, context).map_err(|error| damaged(error.to_string()))
}

/// What a context holds beside patient and encounter, as the column `context` keeps it; none in most grants.
fn rest_of_context(context: &LaunchContext) -> Option<String> {
    let rest = LaunchContext { patient: None, encounter: None, ..context.clone() };
    (rest != LaunchContext::default()).then(|| rest.to_text())
}

/// The context of a grant from its three columns.
pub(crate) fn context(
    patient: Option<String>,
    encounter: Option<String>,
    rest: Option<&str>,
) -> Result<LaunchContext, StoreError> {
    let rest = match rest {
        None => LaunchContext::default(),
        Some(text) => {
            LaunchContext::from_text(text).ok_or_else(|| StoreError::Schema("context of a grant".to_owned()))?
        }
    };
    Ok(LaunchContext { patient, encounter, ..rest })
}

fn holder_name(holder: &Holder) -> &'static str {
    match holder {
        Holder::Person(_) => "person",
        Holder::Service => "service",
        Holder::Operator => "operator",
    }
}

fn bytes(hash: Hash) -> Expr {
    Expr::val(hash.as_bytes().to_vec())
}
