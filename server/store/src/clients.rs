//! Registered clients and their secrets.

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use smart::client::{Client, ClientAuthentication, ClientKeys, ClientKind};
use smart::redirect_uri::RedirectUri;
use smart::scope::ScopeSet;
use smart::token::Hash;

use crate::{Row, Store, StoreError, Tx};

/// The client of that name, also a disabled one.
pub async fn find(store: &Store, client_id: &str) -> Result<Option<Client>, StoreError> {
    let statement = select().and_where(Expr::col("id").eq(client_id)).to_owned();
    store.rows(&statement).await?.first().map(read).transpose()
}

/// All clients by name.
pub async fn all(store: &Store) -> Result<Vec<Client>, StoreError> {
    let statement = select().order_by("id", Order::Asc).to_owned();
    store.rows(&statement).await?.iter().map(read).collect()
}

/// Whether somebody is registered under that name, inside a transaction.
pub async fn exists(tx: &mut Tx, client_id: &str) -> Result<bool, StoreError> {
    let statement = select().and_where(Expr::col("id").eq(client_id)).to_owned();
    Ok(!tx.rows(&statement).await?.is_empty())
}

/// The client of that name inside a transaction.
pub async fn find_in(tx: &mut Tx, client_id: &str) -> Result<Option<Client>, StoreError> {
    let statement = select().and_where(Expr::col("id").eq(client_id)).to_owned();
    tx.rows(&statement).await?.first().map(read).transpose()
}

/// Registers a client. Whether its kind, method, keys, addresses and scopes go together is for the caller to have checked.
pub async fn insert(tx: &mut Tx, client: &Client, now: i64) -> Result<(), StoreError> {
    let uris: Vec<&str> = client.redirect_uris.iter().map(RedirectUri::as_str).collect();
    let (inline, url) = keys(&client.keys);
    let statement = Query::insert()
        .into_table("client")
        .columns([
            "id",
            "name",
            "kind",
            "authentication",
            "jwks",
            "jwks_url",
            "redirect_uris",
            "scope",
            "valid_from",
            "valid_to",
            "disabled_at",
            "created_at",
        ])
        .values_panic([
            client.id.as_str().into(),
            client.name.as_str().into(),
            client.kind.as_str().into(),
            client.authentication.as_str().into(),
            inline.into(),
            url.into(),
            uris.join(" ").into(),
            client.scopes.to_string().into(),
            client.valid_from.into(),
            client.valid_to.into(),
            client.disabled_at.into(),
            now.into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Writes what can change of a client: name, method, keys, addresses, scopes and validity; its kind and its secrets
/// stay. False if there is none. Checks are the caller's, as at [`insert`].
pub async fn update(tx: &mut Tx, client: &Client) -> Result<bool, StoreError> {
    let uris: Vec<&str> = client.redirect_uris.iter().map(RedirectUri::as_str).collect();
    let (inline, url) = keys(&client.keys);
    let statement = Query::update()
        .table("client")
        .value("name", client.name.as_str())
        .value("authentication", client.authentication.as_str())
        .value("jwks", inline)
        .value("jwks_url", url)
        .value("redirect_uris", uris.join(" "))
        .value("scope", client.scopes.to_string())
        .value("valid_from", client.valid_from)
        .value("valid_to", client.valid_to)
        .value("disabled_at", client.disabled_at)
        .and_where(Expr::col("id").eq(client.id.as_str()))
        .to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Switches a client off (at an instant) or on again; false if there is none.
pub async fn set_disabled(tx: &mut Tx, client_id: &str, at: Option<i64>) -> Result<bool, StoreError> {
    let statement =
        Query::update().table("client").value("disabled_at", at).and_where(Expr::col("id").eq(client_id)).to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Adds a secret, which lives until it is ended.
pub async fn insert_secret(tx: &mut Tx, client_id: &str, secret: Hash, now: i64) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("client_secret")
        .columns(["hash", "client_id", "created_at"])
        .values_panic([secret.as_bytes().to_vec().into(), client_id.into(), now.into()])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// Ends all secrets of a client at an instant, unless they end earlier.
pub async fn end_secrets(tx: &mut Tx, client_id: &str, at: i64) -> Result<(), StoreError> {
    let lives_longer = Expr::col("expires_at").is_null().or(Expr::col("expires_at").gt(at));
    let statement = Query::update()
        .table("client_secret")
        .value("expires_at", at)
        .and_where(Expr::col("client_id").eq(client_id))
        .and_where(lives_longer)
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// A secret of a client, without the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSecret {
    /// SHA-256 of it: by this it is named to [`end_secret`].
    pub hash: Hash,
    /// When it was made, microseconds since 1970.
    pub created_at: i64,
    /// From when on it is not accepted, microseconds since 1970; none: until it is ended.
    pub expires_at: Option<i64>,
}

/// All secrets of a client, oldest first, also ended ones.
pub async fn secrets(store: &Store, client_id: &str) -> Result<Vec<KnownSecret>, StoreError> {
    let statement = Query::select()
        .columns(["hash", "created_at", "expires_at"])
        .from("client_secret")
        .and_where(Expr::col("client_id").eq(client_id))
        .order_by("created_at", Order::Asc)
        .to_owned();
    let rows = store.rows(&statement).await?;
    let read = |row: &Row| {
        let hash =
            Hash::from_bytes(&row.bytes(0)?).ok_or_else(|| StoreError::Schema("client_secret.hash".to_owned()))?;
        Ok(KnownSecret { hash, created_at: row.i64(1)?, expires_at: row.opt_i64(2)? })
    };
    rows.iter().map(read).collect()
}

/// Ends one secret of a client at an instant; false if the client has no such secret.
pub async fn end_secret(tx: &mut Tx, client_id: &str, secret: Hash, at: i64) -> Result<bool, StoreError> {
    let statement = Query::update()
        .table("client_secret")
        .value("expires_at", at)
        .and_where(Expr::col("hash").eq(secret.as_bytes().to_vec()))
        .and_where(Expr::col("client_id").eq(client_id))
        .to_owned();
    Ok(tx.execute(&statement).await? > 0)
}

/// Whether this is a live secret of the client. Found by its hash, so nothing is compared byte by byte with what
/// was presented (SM-61).
pub async fn has_secret(store: &Store, client_id: &str, secret: Hash, now: i64) -> Result<bool, StoreError> {
    let statement = Query::select()
        .columns(["created_at"])
        .from("client_secret")
        .and_where(Expr::col("hash").eq(secret.as_bytes().to_vec()))
        .and_where(Expr::col("client_id").eq(client_id))
        .and_where(Expr::col("expires_at").is_null().or(Expr::col("expires_at").gt(now)))
        .to_owned();
    Ok(!store.rows(&statement).await?.is_empty())
}

fn select() -> SelectStatement {
    Query::select()
        .columns(["id", "name", "kind", "redirect_uris", "scope", "valid_from", "valid_to", "disabled_at"])
        .columns(["authentication", "jwks", "jwks_url"])
        .from("client")
        .to_owned()
}

/// Columns `jwks` and `jwks_url`.
fn keys(keys: &ClientKeys) -> (Option<String>, Option<String>) {
    match keys {
        ClientKeys::None => (None, None),
        ClientKeys::Inline(text) => (Some(text.clone()), None),
        ClientKeys::Url(url) => (None, Some(url.clone())),
    }
}

fn read(row: &Row) -> Result<Client, StoreError> {
    let kind = row.text(2)?;
    let kind = ClientKind::parse(&kind).ok_or_else(|| StoreError::Schema(format!("client kind \"{kind}\"")))?;
    let method = row.text(8)?;
    let authentication = ClientAuthentication::parse(&method)
        .ok_or_else(|| StoreError::Schema(format!("client authentication \"{method}\"")))?;
    let keys = match (row.opt_text(9)?, row.opt_text(10)?) {
        (Some(text), _) => ClientKeys::Inline(text),
        (None, Some(url)) => ClientKeys::Url(url),
        (None, None) => ClientKeys::None,
    };
    let uris = row.text(3)?;
    let scope = row.text(4)?;
    let (scopes, _) = ScopeSet::parse_known(&scope).map_err(|error| StoreError::Schema(error.to_string()))?;
    Ok(Client {
        id: row.text(0)?,
        name: row.text(1)?,
        kind,
        authentication,
        keys,
        // a rule that became stricter closes what was registered under the laxer one
        redirect_uris: uris.split(' ').filter_map(|uri| RedirectUri::register(uri).ok()).collect(),
        scopes,
        valid_from: row.opt_i64(5)?,
        valid_to: row.opt_i64(6)?,
        disabled_at: row.opt_i64(7)?,
    })
}
