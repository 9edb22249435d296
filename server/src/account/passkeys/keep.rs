//! `POST /account/passkeys…`: adding a passkey to an account, naming it, removing it. (OA-24)
//! <https://www.w3.org/TR/webauthn-3/#sctn-registering-a-new-credential>

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use smart::passkey::{ALGORITHMS, Registered, Registration};
use store::events::{self, Kind};
use store::passkeys::{self, MAX_PASSKEYS, Passkey};
use store::{StoreError, second_factors, signed_in};

use super::{PATIENCE, challenge, party, spend};
use crate::account::new_password::is_own;
use crate::account::settings::{self, browser_name};
use crate::account::visitor::{Refused, State, Visitor, agent, event, go};
use crate::account::{second_factor, setup};
use crate::app::App;
use crate::portal::words::moment;

/// Longest name of a passkey, characters.
const MAX_NAME: usize = 60;

/// A passkey as its person sees it.
#[derive(Clone, Debug)]
pub struct PasskeyLine {
    /// By what it is named in forms.
    pub key: String,
    /// What its person calls it.
    pub name: String,
    /// When it was made.
    pub made: String,
    /// When somebody signed in with it last; none: never.
    pub used: Option<String>,
}

impl PasskeyLine {
    /// What the account page shows.
    pub fn of(passkey: Passkey) -> Self {
        PasskeyLine {
            key: URL_SAFE_NO_PAD.encode(&passkey.id),
            name: passkey.name,
            made: moment(passkey.created_at),
            used: passkey.used_at.map(moment),
        }
    }
}

/// The password once more; what to ask of the authenticator.
pub async fn start(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let party = party(&app).ok_or(Refused::NotFound)?;
    let refuse = |problem: &str| Ok(super::json(StatusCode::BAD_REQUEST, &json!({ "problem": problem })));
    if let Err(problem) = is_own(&app, &request, &visitor, form.get("password").unwrap_or_default()).await? {
        return refuse(problem);
    }
    let account = &visitor.account;
    let known = passkeys::list(&app.store, &account.id).await?;
    if known.len() >= MAX_PASSKEYS {
        return refuse("You have twenty passkeys. Remove one that you do not use.");
    }
    let known: Vec<_> =
        known.iter().map(|it| json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(&it.id) })).collect();
    let algorithms = ALGORITHMS.map(|alg| json!({ "type": "public-key", "alg": alg }));
    let options = json!({
        "challenge": challenge(&app, &visitor.browser, Some(&account.id)).await?,
        "rp": { "id": party.id, "name": "Tributary" },
        "user": {
            "id": URL_SAFE_NO_PAD.encode(&account.id), "name": account.username, "displayName": account.name,
        },
        "pubKeyCredParams": algorithms,
        "excludeCredentials": known,
        "authenticatorSelection": {
            "residentKey": "required", "requireResidentKey": true, "userVerification": "required",
        },
        "attestation": "none",
        "timeout": PATIENCE,
    });
    Ok(super::json(StatusCode::OK, &options))
}

/// The new passkey. The first one is a second factor from now on: other sessions end, recovery codes are shown.
pub async fn add(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let party = party(&app).ok_or(Refused::NotFound)?;
    let refuse = async || {
        let problem = "This passkey cannot be taken. Try again.";
        settings::page(&app, &visitor, settings::Problem::Passkey(problem)).await
    };
    let Ok(registration) = Registration::read(form.get("credential").unwrap_or_default()) else {
        return refuse().await;
    };
    let id = visitor.account.id.clone();
    if !spend(&app, &visitor.browser, registration.challenge(), Some(&id)).await? {
        return refuse().await;
    }
    let registered = match registration.check(&party) {
        Ok(registered) => registered,
        Err(cause) => {
            tracing::warn!(%cause, "a new passkey was refused");
            return refuse().await;
        }
    };
    let had_factor = second_factor::is_on(&app, &id).await?;
    let codes = if had_factor { Vec::new() } else { setup::new_codes(&app) };
    if !write(&app, &request, &visitor, registered, &codes).await? {
        return refuse().await;
    }
    if codes.is_empty() { Ok(go(&app, "/account")) } else { Ok(setup::show_codes(&visitor, &codes)) }
}

async fn write(
    app: &App,
    request: &HttpRequest,
    visitor: &Visitor,
    registered: Registered,
    codes: &[String],
) -> Result<bool, Refused> {
    let id = visitor.account.id.clone();
    let macs: Vec<_> = codes.iter().map(|code| second_factor::mac_of_code(app, &id, code)).collect();
    let added = event(request, Kind::PasskeyAdded, &id, None);
    let (session, now, name) = (visitor.browser.secret.hash(), app.clock.now(), browser_name(&agent(request)));
    let written = app.store.write(move |tx| {
        let (id, added, macs) = (id.clone(), added.clone(), macs.clone());
        let (registered, name) = (registered.clone(), name.clone());
        Box::pin(async move {
            if !passkeys::insert(tx, &id, &registered, &name, now).await? {
                return Ok(false);
            }
            if !macs.is_empty() {
                second_factors::replace_codes(tx, &id, &macs, now).await?;
                signed_in::end_all(tx, &id, Some(session), now).await?;
                signed_in::note_second_factor(tx, session, now).await?;
            }
            events::insert(tx, &added, now).await?;
            Ok::<_, StoreError>(true)
        })
    });
    Ok(written.await?)
}

/// Another name.
pub async fn rename(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let key = key(form.get("passkey"))?;
    let name: String = form.get("name").unwrap_or_default().trim().to_owned();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.contains(char::is_control) {
        let problem = "A name has 1 to 60 characters.";
        return settings::page(&app, &visitor, settings::Problem::Passkey(problem)).await;
    }
    let id = visitor.account.id;
    let renamed = app.store.write(move |tx| {
        let (id, key, name) = (id.clone(), key.clone(), name.clone());
        Box::pin(async move { passkeys::rename(tx, &id, &key, &name).await })
    });
    let is_renamed: Result<bool, StoreError> = renamed.await;
    if is_renamed? { Ok(go(&app, "/account")) } else { Err(Refused::NotFound) }
}

/// The password once more, and it is gone.
pub async fn remove(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let key = key(form.get("passkey"))?;
    if let Err(problem) = is_own(&app, &request, &visitor, form.get("password").unwrap_or_default()).await? {
        return settings::page(&app, &visitor, settings::Problem::Passkey(problem)).await;
    }
    let (id, now) = (visitor.account.id.clone(), app.clock.now());
    let removed = event(&request, Kind::PasskeyRemoved, &id, None);
    let is_removed = app.store.write(move |tx| {
        let (id, key, removed) = (id.clone(), key.clone(), removed.clone());
        Box::pin(async move {
            if !passkeys::remove(tx, &id, &key).await? {
                return Ok(false);
            }
            second_factors::forget_without_factor(tx, &id).await?;
            events::insert(tx, &removed, now).await?;
            Ok::<_, StoreError>(true)
        })
    });
    if is_removed.await? { Ok(go(&app, "/account")) } else { Err(Refused::NotFound) }
}

fn key(text: Option<&str>) -> Result<Vec<u8>, Refused> {
    text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(Refused::NotFound)
}
