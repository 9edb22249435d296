//! `/account/second-factor/…`: switching the second factor on and off. (OA-24)
//!
//! | page | what it does |
//! |---|---|
//! | `POST start` | the password once more; a secret is proposed |
//! | `GET setup` | the secret as QR code and text |
//! | `POST setup` | a first code proves that the person has it: it is on, all other sessions end, recovery codes are shown |
//! | `POST remove` | password and a code: it is off |

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use store::events::{self, Kind};
use store::{StoreError, second_factors, signed_in};

use super::attempts;
use super::new_password::is_own;
use super::second_factor::{self, mac_of_code, secret, spend};
use super::settings;
use super::totp::{base32, qr_code};
use super::visitor::{Refused, State, Visitor, event, go, show};
use crate::app::App;
use crate::oauth::page;
use crate::portal::frame::Frame;

/// Recovery codes of an account: of 80 bits each.
const CODES: usize = 10;

#[derive(Template)]
#[template(path = "second-factor-setup.html")]
struct SetupPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    key: String,
    qr_path: String,
    qr_size: i32,
    problem: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "recovery-codes.html")]
struct CodesPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    codes: Vec<String>,
}

/// Proposes a secret.
pub async fn start(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    if let Err(problem) = is_own(&app, &request, &visitor, form.get("password").unwrap_or_default()).await? {
        return settings::page(&app, &visitor, settings::Problem::SecondFactor(problem)).await;
    }
    let (salt, id, now) = (app.random.bytes::<16>(), visitor.account.id, app.clock.now());
    app.store
        .write(move |tx| {
            let id = id.clone();
            Box::pin(async move { second_factors::propose(tx, &id, &salt, now).await })
        })
        .await?;
    Ok(go(&app, "/account/second-factor/setup"))
}

/// The secret.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    offer(&app, &visitor, StatusCode::OK, None).await
}

/// A first code.
pub async fn post(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let id = &visitor.account.id;
    let proposed = second_factors::find(&app.store, id).await?.filter(|factor| factor.confirmed_at.is_none());
    let factor = proposed.ok_or(Refused::Expired)?;
    let now = app.clock.now();
    let typed = form.get("code").unwrap_or_default();
    let Some(step) = secret(&app, id, &factor.salt).step_of(typed, now) else {
        let problem = "This code is not right. Does the clock of your device go right?";
        return offer(&app, &visitor, StatusCode::BAD_REQUEST, Some(problem)).await;
    };
    let codes = new_codes(&app);
    let macs: Vec<[u8; 32]> = codes.iter().map(|code| mac_of_code(&app, id, code)).collect();
    let (account_id, session) = (id.clone(), visitor.browser.secret.hash());
    // Who has one already gives that one: another that is added by password alone proves nothing more.
    let is_first = !second_factor::is_on(&app, id).await?;
    let event = event(&request, Kind::SecondFactorOn, id, None);
    app.store
        .write(move |tx| {
            let (id, macs, event) = (account_id.clone(), macs.clone(), event.clone());
            Box::pin(async move {
                second_factors::spend_step(tx, &id, step).await?;
                second_factors::confirm(tx, &id, &macs, now).await?;
                signed_in::end_all(tx, &id, Some(session), now).await?;
                if is_first {
                    signed_in::note_second_factor(tx, session, now).await?;
                }
                events::insert(tx, &event, now).await
            })
        })
        .await?;
    Ok(show_codes(&visitor, &codes))
}

/// Recovery codes for somebody who has a second factor from now on.
pub fn new_codes(app: &App) -> Vec<String> {
    (0..CODES).map(|_| base32(&app.random.bytes::<10>())).collect()
}

/// The page with them. They are shown once, so there is nothing that a redirect could lead to.
pub fn show_codes(visitor: &Visitor, codes: &[String]) -> HttpResponse {
    let codes = codes.iter().map(|code| [&code[..4], &code[4..8], &code[8..12], &code[12..]].join("-")).collect();
    show(&CodesPage { style: page::STYLE, frame: Frame::of(visitor, "account"), codes }, StatusCode::OK, None)
}

/// Switches it off.
pub async fn remove(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    if let Err(problem) = is_own(&app, &request, &visitor, form.get("password").unwrap_or_default()).await? {
        return settings::page(&app, &visitor, settings::Problem::SecondFactor(problem)).await;
    }
    let tried = attempts::code(&app, &request, &visitor.account.id).await?;
    let proven =
        tried.is_some() && spend(&app, &request, &visitor.account.id, form.get("code").unwrap_or_default()).await?;
    if !proven {
        let problem = "This code is not right, or was used before. Wait for the next one.";
        return settings::page(&app, &visitor, settings::Problem::SecondFactor(problem)).await;
    }
    let (id, now) = (visitor.account.id.clone(), app.clock.now());
    let event = event(&request, Kind::SecondFactorOff, &id, None);
    let removed = app.store.write(move |tx| {
        let (id, event) = (id.clone(), event.clone());
        Box::pin(async move {
            second_factors::remove(tx, &id).await?;
            events::insert(tx, &event, now).await
        })
    });
    removed.await.map_err(|error: StoreError| Refused::from(error))?;
    Ok(go(&app, "/account"))
}

async fn offer(
    app: &App,
    visitor: &Visitor,
    status: StatusCode,
    problem: Option<&str>,
) -> Result<HttpResponse, Refused> {
    let id = &visitor.account.id;
    let proposed = second_factors::find(&app.store, id).await?.filter(|factor| factor.confirmed_at.is_none());
    let Some(factor) = proposed else { return Ok(go(app, "/account")) };
    let secret = secret(app, id, &factor.salt);
    let (qr_path, qr_size) = qr_code(&secret.address(&visitor.account.username)).unwrap_or_default();
    let frame = Frame::of(visitor, "account");
    let page = SetupPage { style: page::STYLE, frame, key: secret.in_groups(), qr_path, qr_size, problem };
    Ok(show(&page, status, None))
}
