//! Passkeys: signing in without a password, or with one as the second factor. <https://www.w3.org/TR/webauthn-3/>, OA-24
//!
//! | path | what it does |
//! |---|---|
//! | `GET /account/passkeys.js` | the script of the pages that ask for a passkey; without it they work as before |
//! | `POST /account/passkeys/options`, `sign-in` | asks a browser to sign in, and takes the answer |
//! | `POST /account/passkeys/start`, `/account/passkeys` | the password once more; takes the new passkey |
//! | `POST /account/passkeys/rename`, `remove` | another name; the password once more, and it is gone |
//!
//! Each ceremony answers a challenge of its own, which is spent before anything else in the answer is believed. An
//! account with a passkey is not entered by its password alone: a one-time password or a recovery code comes with it.

use actix_web::HttpResponse;
use actix_web::cookie::Cookie;
use actix_web::http::{StatusCode, header};
use askama::Template;
use smart::passkey::{self, RelyingParty};
use smart::token::{Kind, Secret};
use store::{StoreError, passkeys};

use super::sign_in::Next;
use super::visitor::form_token;
use crate::app::App;
use crate::oauth::page;
use crate::oauth::session::Browser;

pub mod keep;
pub mod sign_in;

/// How long browsers wait for the person, milliseconds: as long as the challenge is good.
const PATIENCE: i64 = passkeys::LIFETIME / 1000;

/// What the form that asks for a passkey needs; see `templates/passkey-sign-in.html`.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The value of its hidden field.
    pub form_token: String,
    /// Handle of the authorization request that goes on; may be empty.
    pub request: String,
    /// The page that follows where there is no such request.
    pub to: String,
}

/// The script, the same for all pages.
pub async fn script() -> HttpResponse {
    page::script(include_str!("../../templates/passkeys.js"))
}

/// This server as browsers know it; none where they make no passkeys for it.
pub fn party(app: &App) -> Option<RelyingParty> {
    RelyingParty::of(&app.config.base_url)
}

/// What a page needs to ask for a passkey; none where browsers make no passkeys for this server.
pub fn offer(app: &App, browser: &Browser, next: &Next) -> Option<Offer> {
    party(app)?;
    let (request, to) = match next {
        Next::Page(path) => (String::new(), path.clone()),
        Next::Request(handle) => (handle.expose().to_owned(), String::new()),
    };
    Some(Offer { form_token: form_token(browser), request, to })
}

/// A page that may run the script, with a cookie if there is one to set.
pub fn show(app: &App, page: &impl Template, status: StatusCode, cookie: Option<&Cookie<'static>>) -> HttpResponse {
    let mut response = page::html_with_passkeys(&app.config.base_url, status, page);
    if let Some(cookie) = cookie {
        // a cookie made here is never malformed
        drop(response.add_cookie(cookie));
    }
    response
}

/// Asks a browser for a passkey; `adds` is the account that gets a new one. The challenge, as the browser takes it.
async fn challenge(app: &App, browser: &Browser, adds: Option<&str>) -> Result<String, StoreError> {
    let secret = Secret::new(Kind::PasskeyChallenge, app.random.bytes());
    let (hash, session, now) = (secret.hash(), browser.secret.hash(), app.clock.now());
    let adds = adds.map(str::to_owned);
    app.store
        .write(move |tx| {
            let adds = adds.clone();
            Box::pin(async move { passkeys::challenge(tx, hash, session, adds.as_deref(), now).await })
        })
        .await?;
    Ok(passkey::challenge_text(&secret))
}

/// Spends what a browser was asked: false unless it was asked this, for this purpose, and not answered yet.
async fn spend(app: &App, browser: &Browser, challenge: &Secret, adds: Option<&str>) -> Result<bool, StoreError> {
    let (hash, session, now) = (challenge.hash(), browser.secret.hash(), app.clock.now());
    let adds = adds.map(str::to_owned);
    let spent = app.store.write(move |tx| {
        let adds = adds.clone();
        Box::pin(async move { passkeys::spend(tx, hash, session, adds.as_deref(), now).await })
    });
    spent.await
}

fn json(status: StatusCode, body: &serde_json::Value) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}
