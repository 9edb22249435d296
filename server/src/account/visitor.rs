//! Who is in front of a page, and what a page answers when they may not see it.

use std::fmt;

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use askama::Template;
use smart::error::OAuthError;
use store::events::{self, Event};
use store::roles::{self, Role};
use store::users::{self, Account};
use store::{StoreError, sessions};

use crate::app::App;
use crate::client_address;
use crate::error::Error;
use crate::oauth::form::Parameters;
use crate::oauth::page;
use crate::oauth::session::{self, Browser};

/// What the forms of all these pages are bound to, beside the session (OA-14).
const FORMS: &str = "portal";

/// A person who is signed in.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Their browser.
    pub browser: Browser,
    /// Who they are.
    pub account: Account,
    /// Whether they bill insurers.
    pub is_billing: bool,
}

/// Why there is no page.
#[derive(Debug)]
pub enum Refused {
    /// Somebody has to sign in first; then this address is shown.
    SignIn(String),
    /// There is nothing, or nothing that this person may know of: one answer for both (OA-30).
    NotFound,
    /// The form is of another session, or was sent by another page (OA-14).
    Expired,
    /// What was sent makes no sense, told to the person.
    Invalid(String),
    /// Something broke; the cause is in the log.
    Broken(String),
}

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage<'a> {
    style: &'a str,
    title: &'a str,
    reason: &'a str,
    way_on: &'a str,
    way_on_words: &'a str,
}

impl Visitor {
    /// Who is signed in; the way to sign in, if nobody is.
    pub async fn of(app: &App, request: &HttpRequest) -> Result<Self, Refused> {
        let sign_in = || Refused::SignIn(request.path().to_owned());
        let browser = Browser::of(app, request).await?.ok_or_else(sign_in)?;
        let account_id = browser.session.account_id.clone().ok_or_else(sign_in)?;
        let account = users::find(&app.store, &account_id).await?.ok_or_else(sign_in)?;
        super::sign_in::tell(request, &account);
        let is_billing = roles::has(&app.store, &account.id, Role::Billing).await?;
        Ok(Visitor { browser, account, is_billing })
    }

    /// The same for a form that they sent from a page of ours.
    pub async fn sending(app: &App, request: &HttpRequest, body: &[u8]) -> Result<(Self, Parameters), Refused> {
        let visitor = Self::of(app, request).await?;
        let form = Parameters::of_form(request, body)?;
        if is_own_form(&visitor.browser, &form) { Ok((visitor, form)) } else { Err(Refused::Expired) }
    }

    /// Whether a second factor was given in this session, which is more than that the account has one.
    pub fn gave_second_factor(&self) -> bool {
        self.browser.session.second_factor_at.is_some()
    }

    /// The value of the hidden field of forms.
    pub fn form_token(&self) -> String {
        form_token(&self.browser)
    }
}

/// The value of the hidden field of forms in this browser.
pub fn form_token(browser: &Browser) -> String {
    browser.form_token(FORMS)
}

/// Whether a form came from a page that this browser was shown.
pub fn is_own_form(browser: &Browser, form: &Parameters) -> bool {
    browser.sent_form(FORMS, form.get("form_token"))
}

/// The browser, with a session that was opened for it if it had none: forms are bound to it before anybody signs in.
pub async fn anybody(app: &App, request: &HttpRequest) -> Result<(Browser, Option<Cookie<'static>>), Refused> {
    if let Some(browser) = Browser::of(app, request).await? {
        return Ok((browser, None));
    }
    let secret = session::new_secret(app);
    let (hash, now) = (secret.hash(), app.clock.now());
    app.store.write(move |tx| Box::pin(async move { sessions::open(tx, hash, None, now).await })).await?;
    let session = sessions::find(&app.store, hash, now).await?.ok_or(Refused::Expired)?;
    let cookie = session::cookie(app, &secret);
    Ok((Browser { secret, session }, Some(cookie)))
}

/// A browser's form, whoever is in front of it.
pub async fn sent_by_anybody(app: &App, request: &HttpRequest, body: &[u8]) -> Result<(Browser, Parameters), Refused> {
    let browser = Browser::of(app, request).await?.ok_or(Refused::Expired)?;
    let form = Parameters::of_form(request, body)?;
    if is_own_form(&browser, &form) { Ok((browser, form)) } else { Err(Refused::Expired) }
}

/// Where a request came from.
pub fn address(request: &HttpRequest) -> Option<String> {
    client_address::of(request).map(|address| address.to_string())
}

/// What the browser calls itself.
pub fn agent(request: &HttpRequest) -> String {
    let header = request.headers().get(actix_web::http::header::USER_AGENT);
    header.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// An event of an account, about an app or not.
pub fn event(request: &HttpRequest, kind: events::Kind, account_id: &str, client_id: Option<&str>) -> Event {
    Event {
        kind,
        account_id: Some(account_id.to_owned()),
        client_id: client_id.map(str::to_owned),
        address: address(request),
    }
}

/// A page with a cookie, if there is one to set.
pub fn show(page: &impl Template, status: StatusCode, cookie: Option<&Cookie<'static>>) -> HttpResponse {
    let mut response = page::html(status, page, None);
    if let Some(cookie) = cookie {
        // a cookie made here is never malformed
        drop(response.add_cookie(cookie));
    }
    response
}

/// 303 to a page of this server.
pub fn go(app: &App, path: &str) -> HttpResponse {
    page::see_other(&format!("{}{path}", app.config.base_url), None)
}

/// A page to go to after signing in; only ours (OA-02).
pub fn own_path(path: &str) -> Option<&str> {
    let is_ours = ["/portal", "/account", "/ehr"]
        .iter()
        .any(|start| path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/_-".contains(c)) && !path.contains("//");
    (is_ours && is_plain && path.len() < 200).then_some(path)
}

impl Refused {
    fn page(&self) -> (StatusCode, RefusedPage<'_>) {
        let page = |title, reason, way_on, way_on_words| RefusedPage {
            style: page::STYLE,
            title,
            reason,
            way_on,
            way_on_words,
        };
        match self {
            Refused::SignIn(_) => (StatusCode::UNAUTHORIZED, page("Sign in", "", "/account/sign-in", "Sign in")),
            Refused::NotFound => {
                let reason = "There is nothing at this address, or nothing that is yours.";
                (StatusCode::NOT_FOUND, page("Not found", reason, "/portal", "To the start"))
            }
            Refused::Expired => {
                let reason = "The form has expired, because you signed in or out meanwhile. Nothing was changed.";
                (StatusCode::BAD_REQUEST, page("Please try again", reason, "/portal", "To the start"))
            }
            Refused::Invalid(reason) => {
                (StatusCode::BAD_REQUEST, page("This did not work", reason, "/portal", "To the start"))
            }
            Refused::Broken(_) => {
                let reason = "The server failed. Try again in a moment.";
                (StatusCode::INTERNAL_SERVER_ERROR, page("This did not work", reason, "/portal", "To the start"))
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Refused {}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.page().0
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Refused::SignIn(to) => {
                let to = own_path(to).map(|to| format!("?to={to}")).unwrap_or_default();
                return page::see_other(&format!("/account/sign-in{to}"), None);
            }
            Refused::Broken(cause) => tracing::error!(cause, "portal"),
            _ => {}
        }
        let (status, page) = self.page();
        page::html(status, &page, None)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Refused::Broken(error.to_string())
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::Broken(error.to_string())
    }
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        match error.code.status() {
            500.. => Refused::Broken(error.description),
            _ => Refused::Invalid(format!("{}.", error.description)),
        }
    }
}

/// What every handler of these pages takes.
pub type State = web::Data<App>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_02_after_signing_in_only_our_pages_follow() {
        for path in ["/portal", "/portal/apps/a-1", "/account/second-factor"] {
            assert_eq!(own_path(path), Some(path));
        }
        for path in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https:evil.example",
            "/portal//evil.example",
            "/portalevil",
            "/portal/%09/evil",
            "/portal/../fhir",
            "/portal?x=y",
            "portal",
        ] {
            assert_eq!(own_path(path), None, "{path}");
        }
    }

    #[test]
    fn oa_30_what_is_not_yours_is_not_there() {
        assert_eq!(Refused::NotFound.error_response().status(), StatusCode::NOT_FOUND);
        let sent = Refused::SignIn("/portal/apps".to_owned()).error_response();
        assert_eq!(
            sent.headers().get("location").and_then(|it| it.to_str().ok()),
            Some("/account/sign-in?to=/portal/apps")
        );
    }
}
