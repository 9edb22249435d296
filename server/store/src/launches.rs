//! Launch handles of EHR launches. (SM-35)

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use smart::client::{Client, GrantType};
use smart::launch::{self, LaunchContext, Launched};
use smart::scope::Scope;
use smart::token::Hash;

use crate::{Row, Store, StoreError, Tx};

/// How long a launch that ended is kept, microseconds.
const KEPT: i64 = 24 * 3_600_000_000;

/// A launch that is about to be written.
#[derive(Clone, Debug)]
pub struct NewLaunch {
    /// SHA-256 of the handle.
    pub hash: Hash,
    /// The app that is launched.
    pub client_id: String,
    /// Who launches it, and what is open.
    pub launched: Launched,
    /// The browser it is launched in; none: in an EHR of its own.
    pub session: Option<Hash>,
}

/// Writes a launch, to be taken within [`launch::LIFETIME`], and removes those that ended long ago.
pub async fn insert(tx: &mut Tx, new: &NewLaunch, now: i64) -> Result<(), StoreError> {
    let sweep = Query::delete().from_table("launch").and_where(Expr::col("expires_at").lt(now - KEPT)).to_owned();
    tx.execute(&sweep).await?;
    let context = &new.launched.context;
    let statement = Query::insert()
        .into_table("launch")
        .columns([
            "hash",
            "client_id",
            "account_id",
            "session_hash",
            "patient",
            "encounter",
            "context",
            "created_at",
            "expires_at",
        ])
        .values_panic([
            bytes(new.hash),
            new.client_id.as_str().into(),
            new.launched.account_id.as_str().into(),
            new.session.map(|session| session.as_bytes().to_vec()).into(),
            context.patient.clone().into(),
            context.encounter.clone().into(),
            context.to_text().into(),
            now.into(),
            (now + launch::LIFETIME).into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Takes a launch: it is there for exactly one authorization request, of its app, in its browser. The wrong app or
/// browser takes nothing and leaves it as it was.
pub async fn take(
    tx: &mut Tx,
    hash: Hash,
    client_id: &str,
    session: Hash,
    now: i64,
) -> Result<Option<Launched>, StoreError> {
    let in_browser = Expr::col("session_hash").is_null().or(Expr::col("session_hash").eq(bytes(session)));
    let statement = Query::update()
        .table("launch")
        .value("used_at", now)
        .and_where(Expr::col("hash").eq(bytes(hash)))
        .and_where(Expr::col("client_id").eq(client_id))
        .and_where(Expr::col("expires_at").gt(now))
        .and_where(Expr::col("used_at").is_null())
        .and_where(in_browser)
        .returning(Query::returning().columns(["account_id", "context"]))
        .to_owned();
    let rows = tx.rows(&statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let context =
        LaunchContext::from_text(&row.text(1)?).ok_or_else(|| StoreError::Schema("context of a launch".to_owned()))?;
    Ok(Some(Launched { account_id: row.text(0)?, context }))
}

/// An app that an EHR can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchableApp {
    /// The client.
    pub client_id: String,
    /// Name for people.
    pub name: String,
}

/// All apps that an EHR can start, by name: they are active, say where, and are registered for the scope `launch`.
pub async fn apps(store: &Store, now: i64) -> Result<Vec<LaunchableApp>, StoreError> {
    let said: Vec<String> = store
        .rows(&launch_uris())
        .await?
        .iter()
        .filter_map(|row| read_launch_uri(row).transpose())
        .map(|found| found.map(|(client_id, _)| client_id))
        .collect::<Result<_, _>>()?;
    let can_be = |client: &Client| {
        client.is_active(now)
            && client.scopes.contains(&Scope::Launch)
            && client.check_grant_type(GrantType::AuthorizationCode).is_ok()
            && said.contains(&client.id)
    };
    let mut apps: Vec<LaunchableApp> = crate::clients::all(store)
        .await?
        .into_iter()
        .filter(can_be)
        .map(|client| LaunchableApp { client_id: client.id, name: client.name })
        .collect();
    apps.sort_by_key(|app| (app.name.to_lowercase(), app.client_id.clone()));
    Ok(apps)
}

/// Where an EHR starts an app: as the operator said or, if not, as its developer did.
pub async fn launch_uri(store: &Store, client_id: &str) -> Result<Option<String>, StoreError> {
    let statement = launch_uris().and_where(Expr::col(("client", "id")).eq(client_id)).to_owned();
    let rows = store.rows(&statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(read_launch_uri(row)?.map(|(_, uri)| uri))
}

/// Keeps where an EHR starts an app, as the operator said.
pub async fn set_launch_uri(tx: &mut Tx, client_id: &str, uri: &str) -> Result<(), StoreError> {
    let statement =
        Query::update().table("client").value("launch_uri", uri).and_where(Expr::col("id").eq(client_id)).to_owned();
    tx.execute(&statement).await.map(drop)
}

fn launch_uris() -> SelectStatement {
    Query::select()
        .columns([("client", "id"), ("client", "launch_uri")])
        .column(("app", "launch_uri"))
        .from("client")
        .left_join("app", Expr::col(("app", "client_id")).equals(("client", "id")))
        .order_by(("client", "id"), Order::Asc)
        .to_owned()
}

fn read_launch_uri(row: &Row) -> Result<Option<(String, String)>, StoreError> {
    let uri = row.opt_text(1)?.or(row.opt_text(2)?);
    Ok(match uri {
        Some(uri) => Some((row.text(0)?, uri)),
        None => None,
    })
}

fn bytes(hash: Hash) -> Expr {
    Expr::val(hash.as_bytes().to_vec())
}
