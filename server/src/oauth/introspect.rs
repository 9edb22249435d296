//! `POST /oauth/introspect`: what is this token good for? <https://www.rfc-editor.org/rfc/rfc7662>, SM-75 … SM-77
//!
//! A client that authenticates learns about its own tokens, a backend service about any: apps do not learn the launch
//! context of strangers (LK-55).

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::Object;
use smart::client::{Client, ClientKind};
use smart::error::{ErrorCode, OAuthError};
use smart::id_token;
use smart::metadata::Metadata;
use smart::token::{Kind, Secret};
use store::tokens::{self, Access};

use super::authenticate;
use super::error::{Failure, json};
use super::form::Parameters;
use crate::app::App;

/// The endpoint.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Failure> {
    let form = Parameters::of_form(&request, &body)?.each_once()?;
    let client = authenticate::client(&app, &request, &form).await?;
    if !client.authenticates() {
        return Err(OAuthError::new(ErrorCode::InvalidClient, "introspection is for clients that authenticate").into());
    }
    let access = match Secret::parse(Kind::Access, form.required("token")?) {
        Some(token) => tokens::find_access(&app.store, token.hash(), app.clock.now()).await?,
        None => None,
    };
    let body = match access.filter(|access| may_ask(&client, access)) {
        Some(access) => describe(&app, &access),
        None => inactive(),
    };
    Ok(json(&mut HttpResponse::Ok(), body))
}

fn may_ask(client: &Client, access: &Access) -> bool {
    client.kind == ClientKind::Backend || client.id == access.client_id
}

/// SM-76: all that can be said of what is not live, unknown, or somebody else's.
fn inactive() -> Object {
    let mut body = Object::new();
    body.insert("active", false);
    body
}

fn describe(app: &App, access: &Access) -> Object {
    let person = access.terms.person();
    let metadata = Metadata::new(&app.config.base_url);
    let mut body = Object::new();
    body.insert("active", true);
    body.insert("scope", access.terms.scopes().to_string());
    body.insert("client_id", access.client_id.as_str());
    body.insert("token_type", "Bearer");
    body.insert("iat", access.created_at / 1_000_000);
    body.insert("exp", access.expires_at / 1_000_000);
    body.insert("iss", app.config.base_url.as_str());
    body.insert("aud", access.audience.as_str());
    body.insert("sub", person.map_or(access.client_id.as_str(), |person| person.user_id.as_str()));
    // as in the id_token, and only where the grant tells it
    if let Some(fhir_user) = id_token::fhir_user(&metadata, &access.terms) {
        body.insert("fhirUser", fhir_user);
    }
    for (name, value) in super::launch::members(app, &access.terms) {
        body.insert(name, value);
    }
    body
}
