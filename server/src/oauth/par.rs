//! `POST /oauth/par`: an app leaves its authorization request here, and sends the person with a name for it.
//! <https://www.rfc-editor.org/rfc/rfc9126>
//!
//! What is pushed is checked at once as it would be at the authorization endpoint, and checked again there: the client
//! may have changed in the meantime.
//!
//! Anybody can push in the name of a public app. So only parameters that mean something are kept, of bounded length,
//! until they expire, and only so many of one network (OA-33).

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::Object;
use smart::error::{ErrorCode, OAuthError};
use smart::grant::lifetime;
use smart::token::{Kind, Secret};
use store::{StoreError, pushed_requests, users};

use super::error::{Failure, json, server_error};
use super::form::Parameters;
use super::{authenticate, authorize};
use crate::account::attempts;
use crate::app::App;

/// What a `request_uri` begins with; the handle follows.
const URN: &str = "urn:ietf:params:oauth:request_uri:";

/// Parameters that are looked at when the request is taken, see [`authorize`]; others are not kept, least of all those
/// that prove who the client is.
const KEPT: [&str; 15] = [
    "response_type",
    "response_mode",
    "redirect_uri",
    "scope",
    "state",
    "aud",
    "resource",
    "code_challenge",
    "code_challenge_method",
    "launch",
    "nonce",
    "prompt",
    "max_age",
    "login_hint",
    "id_token_hint",
];

/// Longest of these, bytes.
const MAX_PARAMETER: usize = 4096;

/// Longest request, bytes.
const MAX_REQUEST: usize = 16 * 1024;

/// The endpoint.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Failure> {
    let form = Parameters::of_form(&request, &body)?.each_once()?;
    let client = authenticate::client(&app, &request, &form).await?;
    if form.get("request_uri").is_some() {
        return Err(OAuthError::invalid_request("request_uri cannot be pushed").into());
    }
    let form = form.with("client_id", &client.id);
    authorize::check_pushed(&app, &form).await?;
    let text = kept(&form, &client.id)?;
    let handle = Secret::new(Kind::PushedRequest, app.random.bytes());
    let (hash, now, subjects) = (handle.hash(), app.clock.now(), attempts::of_push(&request, &client));
    let pushed = app.store.write(move |tx| {
        let (client_id, text, subjects) = (client.id.clone(), text.clone(), subjects.clone());
        Box::pin(async move {
            if users::note_attempt(tx, &subjects, now, now - attempts::MINUTE).await?.is_none() {
                return Ok(false);
            }
            pushed_requests::insert(tx, hash, &client_id, &text, now).await?;
            Ok(true)
        })
    });
    if !pushed.await.map_err(|error: StoreError| server_error(&error))? {
        return Ok(too_many());
    }
    let mut body = Object::new();
    body.insert("request_uri", format!("{URN}{}", handle.expose()));
    body.insert("expires_in", lifetime::PUSHED_REQUEST / 1_000_000);
    Ok(json(&mut HttpResponse::Created(), body))
}

/// What is kept of the parameters, form-urlencoded.
fn kept(form: &Parameters, client_id: &str) -> Result<String, OAuthError> {
    let mut kept = Parameters::default().with("client_id", client_id);
    for name in KEPT {
        let Some(value) = form.get(name) else { continue };
        if value.len() > MAX_PARAMETER {
            return Err(OAuthError::invalid_request(format!("{name} is too long")));
        }
        kept = kept.with(name, value);
    }
    let text = kept.to_query();
    if text.len() > MAX_REQUEST {
        return Err(OAuthError::invalid_request("the request is too long"));
    }
    Ok(text)
}

/// RFC 9126 §2.3: 429.
fn too_many() -> HttpResponse {
    let mut body = Object::new();
    body.insert("error", ErrorCode::TemporarilyUnavailable.as_str());
    body.insert("error_description", "too many requests were pushed from here; wait a minute and try again");
    json(HttpResponse::TooManyRequests().insert_header(("Retry-After", "60")), body)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_33_only_what_means_something_is_kept_of_a_pushed_request() {
        let read = |text: String| Parameters::parse(text.as_bytes()).expect("a form");
        let sent = read(format!("scope=a+b&client_secret=s&x={}&client_id=other&state=1", "y".repeat(60_000)));
        assert_eq!(kept(&sent, "app").expect("short"), "client_id=app&scope=a+b&state=1");
        for name in KEPT {
            assert!(kept(&read(format!("{name}={}", "y".repeat(MAX_PARAMETER))), "app").is_ok(), "{name}");
            assert!(kept(&read(format!("{name}={}", "y".repeat(MAX_PARAMETER + 1))), "app").is_err(), "{name}");
        }
        let all = KEPT.map(|name| format!("{name}={}", "y".repeat(2_000))).join("&");
        assert!(kept(&read(all), "app").is_err(), "together");
    }
}
