//! `POST /oauth/register`: an app registers itself, with an invitation that works once.
//! <https://www.rfc-editor.org/rfc/rfc7591>, OA-03, OA-29
//!
//! Invitations come from the operator (`tributary client invite`) or the portal. What an invited developer registers
//! waits until an administrator has looked at it. Backend services are not registered here, and no address that an app
//! names is ever asked by registering it.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::{Json, Object};
use smart::client::{Client, ClientAuthentication, ClientKeys, ClientKind, GrantType};
use smart::error::{ErrorCode, OAuthError};
use smart::redirect_uri::RedirectUri;
use smart::scope::{Scope, ScopeSet};
use smart::token::{Hash, Kind, Secret};
use store::apps::{self, Purpose, Registration, Status};
use store::{StoreError, Tx, clients, invitations};

use super::error::{Failure, json};
use super::form::MAX_BYTES;
use crate::access;
use crate::app::App;
use crate::registration::{self, Field};

/// What an app can be granted that does not say what it wants.
const DEFAULT_SCOPE: &str = "launch launch/patient openid fhirUser offline_access patient/*.rs";

/// The endpoint.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Failure> {
    let Some(invitation) = invitation(&request) else { return Ok(uninvited()) };
    if body.len() > MAX_BYTES {
        return Err(metadata("the request is too long").into());
    }
    let wanted = Json::parse(&body).ok().filter(|wanted| wanted.as_object().is_some());
    let client = read(&app, &wanted.ok_or_else(|| metadata("the body is a JSON object of client metadata"))?)?;
    let secret = client.has_secret().then(|| Secret::new(Kind::ClientSecret, app.random.bytes()));
    let (written, hash, now) = (client.clone(), secret.as_ref().map(Secret::hash), app.clock.now());
    let registered = app.store.write(move |tx| {
        let client = written.clone();
        Box::pin(async move { register(tx, invitation, &client, hash, now).await })
    });
    let registered: Result<bool, StoreError> = registered.await;
    if !registered? {
        return Ok(uninvited());
    }
    Ok(json(&mut HttpResponse::Created(), describe(&client, secret.as_ref(), now)))
}

/// Spends the invitation and keeps the client, or neither.
async fn register(
    tx: &mut Tx,
    invitation: Hash,
    client: &Client,
    secret: Option<Hash>,
    now: i64,
) -> Result<bool, StoreError> {
    let Some(developer) = invitations::spend(tx, invitation, &client.id, now).await? else { return Ok(false) };
    clients::insert(tx, client, now).await?;
    if let Some(secret) = secret {
        clients::insert_secret(tx, &client.id, secret, now).await?;
    }
    if let Some(account_id) = developer {
        let registration = Registration {
            client_id: client.id.clone(),
            account_id,
            purpose: Purpose::Work,
            status: Status::Requested,
            is_on: true,
            stopped_at: None,
            description: String::new(),
            launch_uri: None,
            reason: None,
            decided_at: None,
            created_at: now,
        };
        apps::insert(tx, &registration, now).await?;
    }
    Ok(true)
}

fn invitation(request: &HttpRequest) -> Option<Hash> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let (value, None) = (headers.next()?.to_str().ok()?, headers.next()) else { return None };
    let (scheme, token) = value.split_once(' ')?;
    let secret = Secret::parse(Kind::Invitation, token).filter(|_| scheme.eq_ignore_ascii_case("Bearer"))?;
    Some(secret.hash())
}

/// One answer for missing, unknown, spent and expired. <https://www.rfc-editor.org/rfc/rfc6750#section-3>
fn uninvited() -> HttpResponse {
    let mut body = Object::new();
    body.insert("error", ErrorCode::InvalidToken.as_str());
    body.insert("error_description", "registering needs an invitation, which works once");
    let mut response = HttpResponse::Unauthorized();
    response.insert_header((header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""));
    json(&mut response, body)
}

/// The client that the metadata describe; members that are not known here are not looked at (RFC 7591 §2).
fn read(app: &App, wanted: &Json) -> Result<Client, OAuthError> {
    let authentication = match text(wanted, "token_endpoint_auth_method")?.unwrap_or("client_secret_basic") {
        "none" => ClientAuthentication::None,
        "client_secret_basic" | "client_secret_post" => ClientAuthentication::Secret,
        "private_key_jwt" => ClientAuthentication::PrivateKeyJwt,
        _ => return Err(metadata("token_endpoint_auth_method is none, client_secret_basic or private_key_jwt")),
    };
    let kind = match authentication {
        ClientAuthentication::None => ClientKind::Public,
        ClientAuthentication::Secret | ClientAuthentication::PrivateKeyJwt => ClientKind::Confidential,
    };
    let flows = texts(wanted, "grant_types")?.unwrap_or_default();
    let unknown = |name: &&str| !matches!(*name, "authorization_code" | "refresh_token");
    if flows.iter().any(unknown) {
        return Err(metadata(
            "grant_types are authorization_code and refresh_token; the operator adds backend services",
        ));
    }
    if texts(wanted, "response_types")?.unwrap_or_default().iter().any(|response| *response != "code") {
        return Err(metadata("response_types is code"));
    }
    let uris = texts(wanted, "redirect_uris")?.unwrap_or_default().into_iter().map(|uri| {
        let refused = |error| OAuthError::new(ErrorCode::InvalidRedirectUri, format!("a redirect URI {error}"));
        RedirectUri::register(uri).map_err(refused)
    });
    let keys = match (wanted.get("jwks"), text(wanted, "jwks_uri")?) {
        (Some(_), Some(_)) => return Err(metadata("jwks and jwks_uri exclude each other")),
        (Some(keys), None) => ClientKeys::Inline(keys.to_string()),
        (None, Some(url)) => ClientKeys::Url(url.to_owned()),
        (None, None) => ClientKeys::None,
    };
    let client = Client {
        id: app.random.uuid(),
        name: text(wanted, "client_name")?.unwrap_or_default().trim().to_owned(),
        kind,
        authentication,
        keys,
        redirect_uris: uris.collect::<Result<_, _>>()?,
        scopes: scopes(app, kind, text(wanted, "scope")?.unwrap_or(DEFAULT_SCOPE))?,
        valid_from: None,
        valid_to: None,
        disabled_at: None,
    };
    registration::check(app, &client).map_err(|error| match error.field {
        Field::RedirectUris => OAuthError::new(ErrorCode::InvalidRedirectUri, error.text),
        _ => metadata(error.text),
    })?;
    Ok(client)
}

/// Of what is asked, what a client of that kind can hold; the answer tells what that is.
fn scopes(app: &App, kind: ClientKind, asked: &str) -> Result<ScopeSet, OAuthError> {
    let (asked, _) = ScopeSet::parse_known(asked).map_err(|error| metadata(error.to_string()))?;
    let base = app.config.fhir_base();
    let scopes = asked.filtered(|scope| {
        let honoured = !matches!(scope, Scope::Resource(resource) if !access::is_honoured(resource, &base));
        honoured && kind.can_hold(scope)
    });
    if scopes.gives_anything() { Ok(scopes) } else { Err(metadata("scope holds nothing that an app can be granted")) }
}

/// A member that is a text or not there.
fn text<'a>(wanted: &'a Json, name: &str) -> Result<Option<&'a str>, OAuthError> {
    match wanted.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| metadata(format!("{name} is a text"))),
    }
}

/// A member that is a list of texts or not there.
fn texts<'a>(wanted: &'a Json, name: &str) -> Result<Option<Vec<&'a str>>, OAuthError> {
    let wrong = || metadata(format!("{name} is a list of texts"));
    match wanted.get(name) {
        None => Ok(None),
        Some(Json::Array(items)) => {
            items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(wrong()),
    }
}

fn metadata(text: impl Into<String>) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClientMetadata, text)
}

/// What was registered, with the secret this once.
fn describe(client: &Client, secret: Option<&Secret>, now: i64) -> Object {
    let list = |items: Vec<&str>| Json::Array(items.into_iter().map(Json::from).collect());
    let mut body = Object::new();
    body.insert("client_id", client.id.as_str());
    body.insert("client_id_issued_at", now / 1_000_000);
    if let Some(secret) = secret {
        body.insert("client_secret", secret.expose());
        body.insert("client_secret_expires_at", 0_i64);
    }
    body.insert("client_name", client.name.as_str());
    body.insert("redirect_uris", list(client.redirect_uris.iter().map(RedirectUri::as_str).collect()));
    body.insert(
        "grant_types",
        list(client.kind.grant_types().iter().map(|grant: &GrantType| grant.as_str()).collect()),
    );
    body.insert("response_types", list(vec!["code"]));
    let method = match client.authentication {
        ClientAuthentication::None => "none",
        ClientAuthentication::Secret => "client_secret_basic",
        ClientAuthentication::PrivateKeyJwt => "private_key_jwt",
    };
    body.insert("token_endpoint_auth_method", method);
    body.insert("scope", client.scopes.to_string());
    match &client.keys {
        ClientKeys::None => {}
        ClientKeys::Inline(text) => {
            if let Ok(keys) = Json::parse(text.as_bytes()) {
                body.insert("jwks", keys);
            }
        }
        ClientKeys::Url(url) => body.insert("jwks_uri", url.as_str()),
    }
    body
}
