//! `GET|POST /account/second-factor`: the second factor of somebody whose password was right, or whom another
//! provider named without saying that it asked for two: a one-time password, a
//! recovery code, or a passkey, which goes its own way (`passkeys/sign_in.rs`). (OA-24)
//!
//! Until it is given nobody is signed in: the session is half open, and nothing but this page looks at it.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use smart::token::{Kind as SecretKind, Secret};
use store::events::{self, Kind};
use store::users::{self, Account};
use store::{StoreError, passkeys, second_factors, sessions, signed_in};

use super::attempts;
use super::passkeys::{Offer, offer, show};
use super::sign_in::{Factors, Next, enter, tell};
use super::totp::TotpSecret;
use super::visitor::{Refused, State, Visitor, event, form_token, own_path, sent_by_anybody};
use crate::app::App;
use crate::oauth::form::Parameters;
use crate::oauth::page;
use crate::oauth::session::{self, Browser};

#[derive(Template)]
#[template(path = "second-factor.html")]
struct QuestionPage<'a> {
    style: &'a str,
    form_token: String,
    request: &'a str,
    to: &'a str,
    has_one_time_passwords: bool,
    passkey: Option<Offer>,
    problem: Option<&'a str>,
}

/// What proves the second factor.
enum Proof {
    /// The one-time password of a step.
    Step(i64),
    /// Perhaps a recovery code, as it is kept.
    Code([u8; 32]),
}

/// Whether an account has a second factor that is asked for: one-time passwords, or a passkey.
pub async fn is_on(app: &App, account_id: &str) -> Result<bool, StoreError> {
    Ok(has_one_time_passwords(app, account_id).await? || has_passkey(app, account_id).await?)
}

/// Whether an account has one-time passwords.
pub async fn has_one_time_passwords(app: &App, account_id: &str) -> Result<bool, StoreError> {
    Ok(second_factors::find(&app.store, account_id).await?.is_some_and(|factor| factor.confirmed_at.is_some()))
}

async fn has_passkey(app: &App, account_id: &str) -> Result<bool, StoreError> {
    Ok(!passkeys::list(&app.store, account_id).await?.is_empty())
}

/// Refuses a session in which no second factor was given, whatever its account has, and says what to do. (OA-25)
pub async fn required(app: &App, visitor: &Visitor) -> Result<(), Refused> {
    if visitor.gave_second_factor() {
        return Ok(());
    }
    let text = if is_on(app, &visitor.account.id).await? {
        "These pages need your second factor, and you signed in without it. Sign out, and sign in again."
    } else {
        "These pages need a second factor. Switch it on in your account, then come back."
    };
    Err(Refused::Invalid(text.to_owned()))
}

/// The way to the question, where the account has a second factor: the password was right, and nobody is signed in
/// yet. None where there is nothing more to ask.
pub async fn ask(
    app: &App,
    browser: &Browser,
    account: &Account,
    next: &Next,
    noted: &[i64],
) -> Result<Option<HttpResponse>, StoreError> {
    if !is_on(app, &account.id).await? {
        return Ok(None);
    }
    let secret = session::new_secret(app);
    let (old, new, now) = (browser.secret.hash(), secret.hash(), app.clock.now());
    let handle = if let Next::Request(handle) = next { Some(handle.hash()) } else { None };
    let (id, noted) = (account.id.clone(), noted.to_vec());
    app.store
        .write(move |tx| {
            let (id, noted) = (id.clone(), noted.clone());
            Box::pin(async move {
                users::forgive(tx, &noted).await?;
                sessions::end(tx, old, now).await?;
                signed_in::open_half(tx, new, &id, now).await?;
                if let Some(handle) = handle {
                    sessions::release_request(tx, handle, old, new).await?;
                }
                Ok::<_, StoreError>(())
            })
        })
        .await?;
    let query = match next {
        Next::Page(path) => format!("to={path}"),
        Next::Request(handle) => format!("request={}", handle.expose()),
    };
    let location = format!("{}/account/second-factor?{query}", app.config.base_url);
    Ok(Some(page::see_other(&location, Some(session::cookie(app, &secret)))))
}

/// The page.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let parameters = Parameters::parse(request.query_string().as_bytes())?;
    let browser = Browser::of(&app, &request).await?;
    let browser = browser.filter(|browser| browser.session.half_account_id.is_some());
    let browser = browser.ok_or_else(|| Refused::SignIn("/portal".to_owned()))?;
    Ok(question(&app, &browser, &parameters, StatusCode::OK, None).await?)
}

/// The code.
pub async fn post(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (browser, form) = sent_by_anybody(&app, &request, &body).await?;
    let account_id = browser.session.half_account_id.clone().ok_or(Refused::Expired)?;
    let account = users::find(&app.store, &account_id).await?.ok_or(Refused::Expired)?;
    tell(&request, &account);
    if account.disabled_at.is_some() {
        return Err(Refused::Expired);
    }
    let Some(noted) = attempts::code(&app, &request, &account_id).await? else {
        let problem = "Too many attempts. Wait a minute and try again.";
        return Ok(question(&app, &browser, &form, StatusCode::TOO_MANY_REQUESTS, Some(problem)).await?);
    };
    if !spend(&app, &request, &account_id, form.get("code").unwrap_or_default()).await? {
        let problem = "This code is not right, or was used before.";
        return Ok(question(&app, &browser, &form, StatusCode::UNAUTHORIZED, Some(problem)).await?);
    }
    enter(&app, &request, &browser, (&account, Factors::Two), &next(&form), &noted).await
}

/// Spends a code of an account, a one-time password or a recovery code: neither is good a second time.
pub async fn spend(app: &App, request: &HttpRequest, account_id: &str, code: &str) -> Result<bool, Refused> {
    let factor = second_factors::find(&app.store, account_id).await?.filter(|factor| factor.confirmed_at.is_some());
    let now = app.clock.now();
    let step = factor.and_then(|factor| secret(app, account_id, &factor.salt).step_of(code, now));
    let proof = step.map_or_else(|| Proof::Code(mac_of_code(app, account_id, code)), Proof::Step);
    let proof = std::sync::Arc::new(proof);
    let (id, used) = (account_id.to_owned(), event(request, Kind::RecoveryCodeUsed, account_id, None));
    let spent = app.store.write(move |tx| {
        let (id, used, proof) = (id.clone(), used.clone(), proof.clone());
        Box::pin(async move {
            match *proof {
                Proof::Step(step) => second_factors::spend_step(tx, &id, step).await,
                Proof::Code(mac) => {
                    let spent = second_factors::spend_code(tx, &id, mac, now).await?;
                    if spent {
                        events::insert(tx, &used, now).await?;
                    }
                    Ok(spent)
                }
            }
        })
    });
    spent.await.map_err(|error: StoreError| error.into())
}

/// The secret of an account's one-time passwords.
pub fn secret(app: &App, account_id: &str, salt: &[u8]) -> TotpSecret {
    TotpSecret::derive(&app.secret.derive("one-time passwords"), account_id, salt)
}

/// How a recovery code is kept: without the server's key nobody can try codes on a copy of the database.
pub fn mac_of_code(app: &App, account_id: &str, code: &str) -> [u8; 32] {
    let key = app.secret.derive("recovery codes");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    mac.update(account_id.as_bytes());
    mac.update(&[0]);
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    mac.update(code.to_ascii_uppercase().as_bytes());
    mac.finalize().into_bytes().into()
}

/// What the person came for.
fn next(parameters: &Parameters) -> Next {
    let handle = parameters.get("request").and_then(|text| Secret::parse(SecretKind::Request, text));
    match handle {
        Some(handle) => Next::Request(handle),
        None => Next::Page(parameters.get("to").and_then(own_path).unwrap_or("/portal").to_owned()),
    }
}

async fn question(
    app: &App,
    browser: &Browser,
    parameters: &Parameters,
    status: StatusCode,
    problem: Option<&str>,
) -> Result<HttpResponse, StoreError> {
    let account_id = browser.session.half_account_id.as_deref().unwrap_or_default();
    let has_passkey = has_passkey(app, account_id).await?;
    let page = QuestionPage {
        style: page::STYLE,
        form_token: form_token(browser),
        request: parameters.get("request").unwrap_or_default(),
        to: parameters.get("to").and_then(own_path).unwrap_or("/portal"),
        has_one_time_passwords: has_one_time_passwords(app, account_id).await?,
        passkey: offer(app, browser, &next(parameters)).filter(|_| has_passkey),
        problem,
    };
    Ok(show(app, &page, status, None))
}
