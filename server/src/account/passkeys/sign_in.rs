//! `POST /account/passkeys/options`, `POST /account/passkeys/sign-in`: signing in with a passkey. (OA-24)
//! <https://www.w3.org/TR/webauthn-3/#sctn-verifying-assertion>
//!
//! The browser is not told who has passkeys: the authenticator shows the person those that it has for this server. In
//! a session that waits for the second factor only a passkey of that person is taken.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use smart::passkey::{Assertion, PasskeyError, RelyingParty};
use smart::token::{Kind as SecretKind, Secret};
use store::events::{self, Kind};
use store::users::{self, Account};
use store::{StoreError, passkeys};

use super::{PATIENCE, challenge, party, spend};
use crate::account::attempts;
use crate::account::sign_in::{Factors, Next, enter, tell};
use crate::account::visitor::{Refused, State, address, own_path, sent_by_anybody};
use crate::app::App;
use crate::oauth::session::Browser;

/// Why nobody is signed in; for the log.
#[derive(Debug, thiserror::Error)]
enum Doubt {
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    #[error("the challenge is not one that this browser was asked, or was answered before")]
    Challenge,
    #[error("there is no such passkey")]
    Unknown,
    #[error("it is somebody else's passkey")]
    Person,
    #[error("the counter did not go up: there may be a copy of the passkey")]
    Counter,
}

/// What to ask of the authenticator.
pub async fn options(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (browser, _) = sent_by_anybody(&app, &request, &body).await?;
    let party = party(&app).ok_or(Refused::NotFound)?;
    let challenge = challenge(&app, &browser, None).await?;
    let options =
        json!({ "challenge": challenge, "rpId": party.id, "userVerification": "required", "timeout": PATIENCE });
    Ok(super::json(StatusCode::OK, &options))
}

/// What it answered.
pub async fn post(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (browser, form) = sent_by_anybody(&app, &request, &body).await?;
    let party = party(&app).ok_or(Refused::NotFound)?;
    let Some(noted) = attempts::passkey(&app, &request).await? else {
        return Err(Refused::Invalid("Too many attempts. Wait a minute and try again.".to_owned()));
    };
    let account = match prove(&app, &request, (&browser, &party), form.get("credential").unwrap_or_default()).await? {
        Ok(account) => account,
        Err(doubt) => {
            tracing::warn!(cause = %doubt, "sign-in with a passkey was refused");
            note_failure(&app, &request).await?;
            let text = "This passkey does not sign you in here. Try again, or sign in with your password.";
            return Err(Refused::Invalid(text.to_owned()));
        }
    };
    let handle = form.get("request").and_then(|text| Secret::parse(SecretKind::Request, text));
    let next = match handle {
        Some(handle) => Next::Request(handle),
        None => Next::Page(form.get("to").and_then(own_path).unwrap_or("/portal").to_owned()),
    };
    enter(&app, &request, &browser, (&account, Factors::Two), &next, &noted).await
}

/// Who is there; nothing is believed before the challenge is spent.
async fn prove(
    app: &App,
    request: &HttpRequest,
    (browser, party): (&Browser, &RelyingParty),
    credential: &str,
) -> Result<Result<Account, Doubt>, StoreError> {
    let assertion = match Assertion::read(credential) {
        Ok(assertion) => assertion,
        Err(error) => return Ok(Err(error.into())),
    };
    if !spend(app, browser, assertion.challenge(), None).await? {
        return Ok(Err(Doubt::Challenge));
    }
    let Some(passkey) = passkeys::find(&app.store, &assertion.id).await? else { return Ok(Err(Doubt::Unknown)) };
    let is_named = assertion.user.as_deref() == Some(passkey.account_id.as_bytes());
    let is_expected = browser.session.half_account_id.as_ref().is_none_or(|half| *half == passkey.account_id);
    if !is_named || !is_expected {
        return Ok(Err(Doubt::Person));
    }
    let sign_count = match assertion.check(party, &passkey.public_key) {
        Ok(sign_count) => sign_count,
        Err(error) => return Ok(Err(error.into())),
    };
    let found = users::find(&app.store, &passkey.account_id).await?;
    let Some(account) = found.filter(|account| account.disabled_at.is_none()) else { return Ok(Err(Doubt::Person)) };
    tell(request, &account); // who it is, is proved, whatever the counter says
    let (id, now) = (passkey.id, app.clock.now());
    let counted = app.store.write(move |tx| {
        let id = id.clone();
        Box::pin(async move { passkeys::count(tx, &id, sign_count, now).await })
    });
    let is_counted: Result<bool, StoreError> = counted.await;
    Ok(if is_counted? { Ok(account) } else { Err(Doubt::Counter) })
}

async fn note_failure(app: &App, request: &HttpRequest) -> Result<(), StoreError> {
    let failed =
        events::Event { kind: Kind::SignInFailed, account_id: None, client_id: None, address: address(request) };
    let now = app.clock.now();
    let written = app.store.write(move |tx| {
        let failed = failed.clone();
        Box::pin(async move { events::insert(tx, &failed, now).await })
    });
    written.await
}
