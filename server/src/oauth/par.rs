//! `POST /oauth/par`: an app leaves its authorization request here, and sends the person with a name for it.
//! <https://www.rfc-editor.org/rfc/rfc9126>
//!
//! What is pushed is checked at once as it would be at the authorization endpoint, and checked again there: the client
//! may have changed in the meantime.

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::Object;
use smart::error::OAuthError;
use smart::grant::lifetime;
use smart::token::{Kind, Secret};
use store::{StoreError, pushed_requests};

use super::error::{Failure, json, server_error};
use super::form::Parameters;
use super::{authenticate, authorize};
use crate::app::App;

/// What a `request_uri` begins with; the handle follows.
const URN: &str = "urn:ietf:params:oauth:request_uri:";

/// Parameters that prove who the client is: they are no part of the request, and are not kept.
const CREDENTIALS: [&str; 3] = ["client_secret", "client_assertion", "client_assertion_type"];

/// The endpoint.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Failure> {
    let form = Parameters::of_form(&request, &body)?.each_once()?;
    let client = authenticate::client(&app, &request, &form).await?;
    if form.get("request_uri").is_some() {
        return Err(OAuthError::invalid_request("request_uri cannot be pushed").into());
    }
    let parameters = form.without(&CREDENTIALS).with("client_id", &client.id);
    authorize::check_pushed(&app, &parameters).await?;
    let handle = Secret::new(Kind::PushedRequest, app.random.bytes());
    let (hash, text, now) = (handle.hash(), parameters.to_query(), app.clock.now());
    let pushed = app.store.write(move |tx| {
        let (client_id, text) = (client.id.clone(), text.clone());
        Box::pin(async move { pushed_requests::insert(tx, hash, &client_id, &text, now).await })
    });
    pushed.await.map_err(|error: StoreError| server_error(&error))?;
    let mut body = Object::new();
    body.insert("request_uri", format!("{URN}{}", handle.expose()));
    body.insert("expires_in", lifetime::PUSHED_REQUEST / 1_000_000);
    Ok(json(&mut HttpResponse::Created(), body))
}

/// The parameters that this client pushed under this name, once.
pub(super) async fn take(app: &App, client_id: &str, request_uri: &str) -> Result<Parameters, OAuthError> {
    let unknown = || OAuthError::invalid_request("request_uri is unknown, used, expired or of another app");
    let handle = request_uri.strip_prefix(URN).and_then(|handle| Secret::parse(Kind::PushedRequest, handle));
    let (hash, client_id, now) = (handle.ok_or_else(unknown)?.hash(), client_id.to_owned(), app.clock.now());
    let taken = app.store.write(move |tx| {
        let client_id = client_id.clone();
        Box::pin(async move { pushed_requests::take(tx, hash, &client_id, now).await })
    });
    let text = taken.await.map_err(|error: StoreError| server_error(&error))?.ok_or_else(unknown)?;
    Parameters::parse(text.as_bytes())
}
