//! `GET|POST /oauth/login`: who is it? (OA-14, OA-15, OA-20, OA-21)

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::error::{ErrorCode, OAuthError};
use smart::token::{Kind, Secret};
use store::users::{self, Account};
use store::{StoreError, clients, events, sessions};

use super::error::server_error;
use super::form::Parameters;
use super::session::Browser;
use super::{external, page, password};
use crate::account::passkeys::{self, Offer};
use crate::account::sign_in::{self, Factors, Next};
use crate::account::visitor::{Refused, address};
use crate::account::{attempts, second_factor};
use crate::app::App;
use crate::audit;

/// Longest username.
const MAX_USERNAME: usize = 128;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    style: &'a str,
    app_name: &'a str,
    handle: &'a str,
    form_token: String,
    username: &'a str,
    problem: Option<&'a str>,
    /// What people call the other OpenID provider at which they may sign in.
    provider: Option<&'a str>,
    passkey: Option<Offer>,
}

/// A browser with a request that it may answer.
struct Waiting {
    browser: Browser,
    handle: Secret,
    app_name: String,
    /// Whom the app expects; fills the field, and proves nothing.
    hint: String,
}

/// The page.
pub async fn get(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let parameters = Parameters::parse(request.query_string().as_bytes())?;
    let waiting = waiting(&app, &request, &parameters).await?;
    Ok(show(&app, &waiting, StatusCode::OK, &waiting.hint, None))
}

/// Name and password.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let form = Parameters::of_form(&request, &body)?.each_once()?;
    let waiting = waiting(&app, &request, &form).await?;
    if !waiting.browser.sent_form(waiting.handle.expose(), form.get("form_token")) {
        let text = "the form has expired; start again from the app";
        return Err(OAuthError::new(ErrorCode::AccessDenied, text).into());
    }
    let typed = form.get("username").unwrap_or_default();
    let Some(noted) = attempts::password(&app, &request, typed).await? else {
        let problem = Some("Too many attempts. Wait a minute and try again.");
        return Ok(show(&app, &waiting, StatusCode::TOO_MANY_REQUESTS, typed, problem));
    };
    let Some(account) = check(&app, typed, form.get("password").unwrap_or_default()).await? else {
        note_failure(&app, &request).await?;
        let problem = Some("This name and password do not belong together.");
        return Ok(show(&app, &waiting, StatusCode::UNAUTHORIZED, typed, problem));
    };
    let next = Next::Request(waiting.handle.clone());
    sign_in::tell(&request, &account);
    if let Some(asked) = second_factor::ask(&app, &waiting.browser, &account, &next, &noted).await? {
        audit::note(&request, |noted| noted.subtype = Some("password-accepted"));
        return Ok(asked);
    }
    let proven = (&account, Factors::One);
    sign_in::enter(&app, &request, &waiting.browser, proven, &next, &noted).await // OA-15, OA-16
}

/// The form of a username under which accounts are found; none if it cannot be one. Plain letters, so that no two
/// names look alike (IN-12).
pub fn fold_username(text: &str) -> Option<String> {
    let folded = text.trim().to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-@+".contains(c);
    (!folded.is_empty() && folded.len() <= MAX_USERNAME && folded.chars().all(plain)).then_some(folded)
}

/// Keeps that somebody failed; whose name was tried stands in the counters alone.
pub(crate) async fn note_failure(app: &App, request: &HttpRequest) -> Result<(), StoreError> {
    let failed = events::Event {
        kind: events::Kind::SignInFailed,
        account_id: None,
        client_id: None,
        address: address(request),
    };
    let now = app.clock.now();
    let written = app.store.write(move |tx| {
        let failed = failed.clone();
        Box::pin(async move { events::insert(tx, &failed, now).await })
    });
    written.await
}

async fn waiting(app: &App, request: &HttpRequest, parameters: &Parameters) -> Result<Waiting, OAuthError> {
    let gone = || OAuthError::invalid_request("this sign-in is no longer open; start again from the app");
    let handle = parameters.get("request").and_then(|text| Secret::parse(Kind::Request, text)).ok_or_else(gone)?;
    let browser = Browser::of(app, request).await.map_err(|error| server_error(&error))?.ok_or_else(gone)?;
    let (store, now) = (&app.store, app.clock.now());
    let found = sessions::find_request(store, handle.hash(), browser.secret.hash(), now).await;
    let authorization = found.map_err(|error| server_error(&error))?.ok_or_else(gone)?;
    let client =
        clients::find(store, &authorization.request().client_id).await.map_err(|error| server_error(&error))?;
    let hint = authorization.request().login_hint.clone().unwrap_or_default();
    let hint = if hint.len() <= MAX_USERNAME && !hint.contains(char::is_control) { hint } else { String::new() };
    Ok(Waiting { browser, handle, app_name: client.ok_or_else(gone)?.name, hint })
}

/// The account, if name and password belong together and it is not disabled; takes as long in every case.
pub(crate) async fn check(app: &App, username: &str, password: &str) -> Result<Option<Account>, OAuthError> {
    let found = match fold_username(username) {
        Some(username) => users::find_by_username(&app.store, &username).await.map_err(|error| server_error(&error))?,
        None => None,
    };
    let (account, stored) = found.unzip();
    let proven = password::verify(password.to_owned(), stored).await;
    Ok(account.filter(|account| proven && account.disabled_at.is_none()))
}

fn show(app: &App, waiting: &Waiting, status: StatusCode, username: &str, problem: Option<&str>) -> HttpResponse {
    let handle = waiting.handle.expose();
    let login = LoginPage {
        style: page::STYLE,
        app_name: &waiting.app_name,
        handle,
        form_token: waiting.browser.form_token(handle),
        username,
        problem,
        provider: external::name(app),
        passkey: passkeys::offer(app, &waiting.browser, &Next::Request(waiting.handle.clone())),
    };
    passkeys::show(app, &login, status, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_12_usernames_are_plain_and_folded() {
        assert_eq!(fold_username(" Ada.Lovelace@Example.org "), Some("ada.lovelace@example.org".to_owned()));
        for text in ["", " ", "ada lovelace", "аda", "ada\u{200b}", "a\tb", &"x".repeat(129)] {
            assert_eq!(fold_username(text), None, "{text}");
        }
    }
}
