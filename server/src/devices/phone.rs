//! What an app on a phone asks for that signs in with a name and a password, as at Mia's Device Manager.
//!
//! | request | answer |
//! |---|---|
//! | `POST /oauth/token` with JSON `{username, password}` | 200 and the cookie `sid`; 401; 429 after too many attempts |
//! | `GET /profile` | who is signed in, in the shape of `OpenID` Connect's `UserInfo` |
//! | `POST /reset-password` with `{email}` | 204, whoever it is |
//! | `POST /health-data/{format}` | as `/health-data/healthkit/{format}`, about the record of the person |
//! | `POST /devices/assign` | as with a token, for the own record only |
//!
//! Accounts, passwords, limits, sessions and events are those of the portal (`account/`): this is another door to them,
//! not another house. A cookie is sent by browsers without being asked, so nothing that another site's page sends is
//! taken: the cookie stays away from it (`SameSite=Strict`), and its `Origin` is refused (OA-14).

use std::borrow::Cow;

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::{Json, Object};
use smart::grant::FhirUser;
use smart::scope::ScopeSet;
use store::events::{self, Kind};
use store::users::{self, Account};
use store::{sessions, signed_in};

use super::Refused;
use crate::account::sign_in::tell;
use crate::account::visitor::{address, agent, event};
use crate::account::{attempts, second_factor};
use crate::app::App;
use crate::caller::Caller;
use crate::oauth::login;
use crate::oauth::session::{Browser, new_secret};

/// Name of the cookie.
const COOKIE: &str = "sid";

/// Whose messages come through this door.
const VENDOR: &str = "healthkit";

/// Somebody who is signed in and has a patient's record.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their account.
    pub account: Account,
    /// Logical id of the patient that they are.
    pub patient: String,
}

impl Person {
    /// Who sends a request that changes something.
    pub async fn sending(app: &App, request: &HttpRequest) -> Result<Self, Refused> {
        own_origin(app, request)?;
        let account = account(app, request).await?;
        let Some(FhirUser::Patient(patient)) = account.fhir_user.clone() else {
            return Err(Refused::new(StatusCode::FORBIDDEN, "the account belongs to no patient's record"));
        };
        Ok(Person { account, patient })
    }

    /// The server, for this person: it writes what they sent about the patient that they are.
    pub fn caller(&self, request: &HttpRequest) -> Caller {
        let mut caller = Caller::person(VENDOR, &self.account, Some(&self.patient));
        caller.scopes = ScopeSet::parse("patient/*.cruds").unwrap_or_default();
        let caller = caller.attached(request);
        caller.trail.note(|noted| {
            noted.patients.insert(self.patient.clone());
        });
        caller
    }
}

/// Whether a request is one of somebody with the cookie, and not of an app with a token.
pub fn is_meant(request: &HttpRequest) -> bool {
    !request.headers().contains_key(header::AUTHORIZATION) && request.cookie(COOKIE).is_some()
}

/// The path of a message: with the cookie, the vendor's name may be left out.
pub fn path<'r>(app: &App, request: &'r HttpRequest) -> Cow<'r, str> {
    let path = request.path();
    match path.strip_prefix("/health-data/") {
        Some(format) if app.adapters.at(path).is_none() && is_meant(request) => {
            format!("/health-data/{VENDOR}/{format}").into()
        }
        _ => path.into(),
    }
}

/// Whether somebody signs in with what an app would get a token for.
pub fn is_sign_in(request: &HttpRequest) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// `POST /oauth/token` with a name and a password.
pub async fn sign_in(app: &App, request: &HttpRequest, body: &[u8]) -> Result<HttpResponse, Refused> {
    own_origin(app, request)?;
    let json = json(body)?;
    let (Some(username), Some(password)) = (json.str("username"), json.str("password")) else {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "username and password must be texts"));
    };
    let Some(noted) = attempts::password(app, request, username).await? else {
        return Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, "too many attempts; wait a minute and try again"));
    };
    let Some(account) = login::check(app, username, password).await? else {
        login::note_failure(app, request).await?;
        return Err(Refused::new(StatusCode::UNAUTHORIZED, "this name and password do not belong together"));
    };
    tell(request, &account);
    if second_factor::is_on(app, &account.id).await? {
        let text = "this account has a second factor, which this way of signing in cannot ask for";
        return Err(Refused::new(StatusCode::FORBIDDEN, text));
    }
    let secret = new_secret(app);
    let (session, now, agent) = (secret.hash(), app.clock.now(), agent(request));
    let event = event(request, Kind::SignedIn, &account.id, None);
    let id = account.id.clone();
    app.store
        .write(move |tx| {
            let (id, agent, noted, event) = (id.clone(), agent.clone(), noted.clone(), event.clone());
            Box::pin(async move {
                users::forgive(tx, &noted).await?;
                sessions::open(tx, session, Some(&id), now).await?;
                signed_in::note_agent(tx, session, &agent).await?;
                events::insert(tx, &event, now).await
            })
        })
        .await?;
    let cookie = Cookie::build(COOKIE, secret.expose().to_owned())
        .path("/")
        .http_only(true)
        .secure(true)
        .same_site(SameSite::Strict)
        .finish();
    let answer = user_info(app, &account);
    Ok(private(&mut HttpResponse::Ok()).cookie(cookie).content_type("application/json").body(answer))
}

/// `GET /profile`. <https://openid.net/specs/openid-connect-core-1_0.html#UserInfoResponse>
pub async fn profile(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let account = account(&app, &request).await?;
    let answer = user_info(&app, &account);
    Ok(private(&mut HttpResponse::Ok()).content_type("application/json").body(answer))
}

/// `POST /reset-password`: notes for who runs the server that somebody asked for a link (`tributary user recover`).
/// The answer, and what is done for it, is the same for accounts that are not there (OA-21).
pub async fn reset_password(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Refused> {
    own_origin(&app, &request)?;
    let json = json(&body)?;
    let Some(email) = json.str("email") else {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "email must be a text"));
    };
    if attempts::reset(&app, &request).await?.is_some() {
        let known = match login::fold_username(email) {
            Some(username) => users::find_by_username(&app.store, &username).await?,
            None => None,
        };
        let asked = events::Event {
            kind: Kind::RecoveryAsked,
            account_id: known.map(|(account, _)| account.id),
            client_id: None,
            address: address(&request),
        };
        let now = app.clock.now();
        app.store
            .write(move |tx| {
                let asked = asked.clone();
                Box::pin(async move { events::insert(tx, &asked, now).await })
            })
            .await?;
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Who is signed in by the cookie.
pub async fn account(app: &App, request: &HttpRequest) -> Result<Account, Refused> {
    let refused = || Refused::new(StatusCode::UNAUTHORIZED, "nobody is signed in; sign in at POST /oauth/token");
    let browser = Browser::by_cookie(app, request, COOKIE).await?.ok_or_else(refused)?;
    let id = browser.session.account_id.ok_or_else(refused)?;
    let account = users::find(&app.store, &id).await?.ok_or_else(refused)?;
    tell(request, &account);
    Ok(account)
}

fn user_info(app: &App, account: &Account) -> String {
    let mut info = Object::new();
    info.insert("sub", account.id.as_str());
    info.insert("name", account.name.as_str());
    info.insert("preferred_username", account.username.as_str());
    if let Some(user) = &account.fhir_user {
        let address = format!("{}/{user}", app.config.fhir_base());
        info.insert("fhirUser", address.as_str());
        info.insert("profile", address);
    }
    Json::from(info).to_string()
}

/// Refuses what a page of another site sends: browsers say whose page it is, and apps of phones have none.
fn own_origin(app: &App, request: &HttpRequest) -> Result<(), Refused> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let foreign = header("origin").is_some_and(|origin| !is_own(&app.config.base_url, origin));
    let across = header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if foreign || across {
        return Err(Refused::new(StatusCode::FORBIDDEN, "pages of other sites cannot use this"));
    }
    Ok(())
}

fn is_own(base_url: &str, origin: &str) -> bool {
    base_url == origin || base_url.strip_prefix(origin).is_some_and(|rest| rest.starts_with('/'))
}

fn json(body: &[u8]) -> Result<Json, Refused> {
    Json::parse(body)
        .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, format!("Body is not well formed JSON: {error}")))
}

fn private(response: &mut actix_web::HttpResponseBuilder) -> &mut actix_web::HttpResponseBuilder {
    response.insert_header((header::CACHE_CONTROL, "no-store"))
}
