//! `GET|POST /account/sign-in`, `POST /account/sign-out`: into the portal and out of everything. (OA-14, OA-15, OA-20)

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::token::Secret;
use store::events::{self, Kind};
use store::users::{self, Account};
use store::{StoreError, sessions, signed_in};

use super::passkeys::{Offer, offer, show};
use super::visitor::{
    Refused, State, Visitor, address, agent, anybody, event, form_token, go, own_path, sent_by_anybody,
};
use super::{attempts, second_factor};
use crate::app::App;
use crate::audit;
use crate::oauth::form::Parameters;
use crate::oauth::session::{self, Browser};
use crate::oauth::{external, login, page};

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage<'a> {
    style: &'a str,
    form_token: String,
    to: &'a str,
    username: &'a str,
    problem: Option<&'a str>,
    /// What people call the other OpenID provider at which they may sign in.
    provider: Option<&'a str>,
    passkey: Option<Offer>,
}

/// What follows once somebody is signed in.
#[derive(Clone, Debug)]
pub enum Next {
    /// A page of the portal.
    Page(String),
    /// The consent page of an authorization request.
    Request(Secret),
}

/// By what somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factors {
    /// One thing: a password, or the word of another provider.
    One,
    /// A second factor too, here or there; or a passkey, which stands for both.
    Two,
}

/// The page.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let parameters = Parameters::parse(request.query_string().as_bytes())?;
    let to = parameters.get("to").and_then(own_path).unwrap_or("/portal");
    let (browser, cookie) = anybody(&app, &request).await?;
    if browser.session.account_id.is_some() {
        return Ok(go(&app, to));
    }
    let page = SignInPage {
        style: page::STYLE,
        form_token: form_token(&browser),
        to,
        username: "",
        problem: None,
        provider: external::name(&app),
        passkey: offer(&app, &browser, &Next::Page(to.to_owned())),
    };
    Ok(show(&app, &page, StatusCode::OK, cookie.as_ref()))
}

/// Name and password.
pub async fn post(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (browser, form) = sent_by_anybody(&app, &request, &body).await?;
    let to = form.get("to").and_then(own_path).unwrap_or("/portal");
    let username = form.get("username").unwrap_or_default();
    let again = |status, problem| {
        let form_token = form_token(&browser);
        let provider = external::name(&app);
        let passkey = offer(&app, &browser, &Next::Page(to.to_owned()));
        let page =
            SignInPage { style: page::STYLE, form_token, to, username, problem: Some(problem), provider, passkey };
        show(&app, &page, status, None)
    };
    let Some(noted) = attempts::password(&app, &request, username).await? else {
        return Ok(again(StatusCode::TOO_MANY_REQUESTS, "Too many attempts. Wait a minute and try again."));
    };
    let Some(account) = login::check(&app, username, form.get("password").unwrap_or_default()).await? else {
        let failed =
            events::Event { kind: Kind::SignInFailed, account_id: None, client_id: None, address: address(&request) };
        let now = app.clock.now();
        app.store
            .write(move |tx| {
                let failed = failed.clone();
                Box::pin(async move { events::insert(tx, &failed, now).await })
            })
            .await?;
        return Ok(again(StatusCode::UNAUTHORIZED, "This name and password do not belong together."));
    };
    let next = Next::Page(to.to_owned());
    tell(&request, &account);
    if let Some(asked) = second_factor::ask(&app, &browser, &account, &next, &noted).await? {
        audit::note(&request, |noted| noted.subtype = Some("password-accepted"));
        return Ok(asked);
    }
    enter(&app, &request, &browser, (&account, Factors::One), &next, &noted).await
}

/// Ends the session.
pub async fn sign_out(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, _) = Visitor::sending(&app, &request, &body).await?;
    let (session, now) = (visitor.browser.secret.hash(), app.clock.now());
    let event = event(&request, Kind::SignedOut, &visitor.account.id, None);
    app.store
        .write(move |tx| {
            let event = event.clone();
            Box::pin(async move {
                sessions::end(tx, session, now).await?;
                events::insert(tx, &event, now).await
            })
        })
        .await?;
    Ok(go(&app, "/account/sign-in"))
}

/// Tells the audit trail whose account it is.
pub fn tell(request: &HttpRequest, account: &Account) {
    audit::note(request, |noted| {
        noted.account = Some(account.id.clone());
        noted.fhir_user = account.fhir_user.as_ref().map(ToString::to_string);
    });
}

/// Signs somebody in who proved who they are: the session that was ends, theirs begins, and what they came for goes
/// on. (OA-15, OA-16)
pub async fn enter(
    app: &App,
    request: &HttpRequest,
    before: &Browser,
    (account, factors): (&Account, Factors),
    next: &Next,
    noted: &[i64],
) -> Result<HttpResponse, Refused> {
    tell(request, account);
    let secret = session::new_secret(app);
    let (old, new, now) = (before.secret.hash(), secret.hash(), app.clock.now());
    let handle = if let Next::Request(handle) = next { Some(handle.hash()) } else { None };
    let event = event(request, Kind::SignedIn, &account.id, None);
    let (id, agent, noted) = (account.id.clone(), agent(request), noted.to_vec());
    let entered = app.store.write(move |tx| {
        let (id, agent, noted, event) = (id.clone(), agent.clone(), noted.clone(), event.clone());
        Box::pin(async move {
            users::forgive(tx, &noted).await?;
            sessions::end(tx, old, now).await?;
            sessions::open(tx, new, Some(&id), now).await?;
            signed_in::note_agent(tx, new, &agent).await?;
            if factors == Factors::Two {
                signed_in::note_second_factor(tx, new, now).await?;
            }
            events::insert(tx, &event, now).await?;
            match handle {
                Some(handle) => sessions::sign_in_request(tx, handle, old, new, &id).await,
                None => Ok::<_, StoreError>(true),
            }
        })
    });
    if !entered.await? {
        return Err(Refused::Invalid(
            "Somebody else began to answer this request; start again from the app.".to_owned(),
        ));
    }
    let location = format!("{}{}", app.config.base_url, path_of(next));
    Ok(page::see_other(&location, Some(session::cookie(app, &secret))))
}

fn path_of(next: &Next) -> String {
    match next {
        Next::Page(path) => path.clone(),
        Next::Request(handle) => format!("/oauth/consent?request={}", handle.expose()),
    }
}
