//! `GET /account` and its forms: who you are, your password, your second factor, where you are signed in.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use store::apps::Purpose;
use store::events::{self, Kind};
use store::users::{self, Change};
use store::{StoreError, passkeys, second_factors, sharing, signed_in};

use super::new_password::{self, is_own};
use super::passkeys::keep::PasskeyLine;
use super::passkeys::{party, show};
use super::second_factor;
use super::visitor::{Refused, State, Visitor, event, go};
use crate::app::App;
use crate::oauth::page;
use crate::portal::frame::Frame;
use crate::portal::words::{hexadecimal, moment, of_hexadecimal};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    record: String,
    has_one_time_passwords: bool,
    /// None where browsers make no passkeys for this server.
    passkeys: Option<Vec<PasskeyLine>>,
    passkey_problem: Option<&'a str>,
    codes_left: i64,
    sessions: Vec<SessionLine>,
    password_problem: Option<&'a str>,
    second_factor_problem: Option<&'a str>,
}

struct SessionLine {
    key: String,
    agent: String,
    signed_in: String,
    seen: String,
    is_this: bool,
}

/// What could not be done, shown beside its form.
#[derive(Clone, Copy, Debug)]
pub enum Problem<'a> {
    /// Nothing is wrong.
    None,
    /// With the password.
    Password(&'a str),
    /// With the second factor.
    SecondFactor(&'a str),
    /// With a passkey.
    Passkey(&'a str),
}

/// The page.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    page(&app, &visitor, Problem::None).await
}

/// The page with what could not be done.
pub async fn page(app: &App, visitor: &Visitor, problem: Problem<'_>) -> Result<HttpResponse, Refused> {
    let account = &visitor.account;
    let known = passkeys::list(&app.store, &account.id).await?;
    let this = visitor.browser.secret.hash();
    let line = |session: signed_in::SignedIn| SessionLine {
        key: hexadecimal(session.hash),
        agent: browser_name(session.agent.as_deref().unwrap_or_default()),
        signed_in: session.auth_time.map(moment).unwrap_or_default(),
        seen: moment(session.seen_at),
        is_this: session.hash == this,
    };
    let sessions = signed_in::list(&app.store, &account.id, app.clock.now()).await?;
    let text_of = |wanted: fn(Problem<'_>) -> Option<&str>| wanted(problem);
    let status = if matches!(problem, Problem::None) { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let page = AccountPage {
        style: page::STYLE,
        frame: Frame::of(visitor, "account"),
        record: account.fhir_user.as_ref().map(ToString::to_string).unwrap_or_default(),
        has_one_time_passwords: second_factor::has_one_time_passwords(app, &account.id).await?,
        passkeys: party(app).map(|_| known.into_iter().map(PasskeyLine::of).collect()),
        passkey_problem: text_of(|it| if let Problem::Passkey(text) = it { Some(text) } else { None }),
        codes_left: second_factors::codes_left(&app.store, &account.id).await?,
        sessions: sessions.into_iter().map(line).collect(),
        password_problem: text_of(|it| if let Problem::Password(text) = it { Some(text) } else { None }),
        second_factor_problem: text_of(|it| if let Problem::SecondFactor(text) = it { Some(text) } else { None }),
    };
    Ok(show(app, &page, status, None))
}

/// A new password: other sessions end, and all that apps were allowed to see (OA-09).
pub async fn password(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    if let Err(problem) = is_own(&app, &request, &visitor, form.get("password").unwrap_or_default()).await? {
        return page(&app, &visitor, Problem::Password(problem)).await;
    }
    let typed = form.get("new_password").unwrap_or_default();
    let hash = match new_password::accept(&app, &visitor.account.username, typed).await {
        Ok(hash) => hash,
        Err(problem) => return page(&app, &visitor, Problem::Password(&problem)).await,
    };
    let (id, session, now) = (visitor.account.id, visitor.browser.secret.hash(), app.clock.now());
    let event = event(&request, Kind::PasswordChanged, &id, None);
    app.store
        .write(move |tx| {
            let (id, hash, event) = (id.clone(), hash.clone(), event.clone());
            Box::pin(async move {
                users::change(tx, &id, &Change::Password(hash)).await?;
                signed_in::end_all(tx, &id, Some(session), now).await?;
                sharing::revoke_all(tx, &id, now).await?;
                events::insert(tx, &event, now).await
            })
        })
        .await?;
    Ok(go(&app, "/account"))
}

/// Ends one session of the person, or all others.
pub async fn end_session(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let (id, this, now) = (visitor.account.id, visitor.browser.secret.hash(), app.clock.now());
    let one = form.get("session").map(|key| of_hexadecimal(key).ok_or(Refused::NotFound)).transpose()?;
    app.store
        .write(move |tx| {
            let id = id.clone();
            Box::pin(async move {
                match one {
                    Some(one) => signed_in::end(tx, &id, one, now).await,
                    None => signed_in::end_all(tx, &id, Some(this), now).await,
                }
            })
        })
        .await?;
    Ok(go(&app, "/account"))
}

/// Somebody who has an account wants to make apps with it.
pub async fn developer(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let chosen = form.get("purpose").and_then(Purpose::parse);
    let purpose = chosen.ok_or_else(|| Refused::Invalid("Choose what your apps are for.".to_owned()))?;
    if visitor.account.developer.is_none() {
        let id = visitor.account.id;
        app.store
            .write(move |tx| {
                let id = id.clone();
                Box::pin(async move { users::change(tx, &id, &Change::Developer(purpose)).await.map(drop) })
            })
            .await
            .map_err(|error: StoreError| Refused::from(error))?;
    }
    Ok(go(&app, "/portal/apps"))
}

/// What people call the browser of a `User-Agent`.
pub fn browser_name(agent: &str) -> String {
    let first =
        |names: &[(&str, &'static str)]| names.iter().find(|(sign, _)| agent.contains(sign)).map(|(_, name)| *name);
    let browsers =
        [("Firefox/", "Firefox"), ("Edg/", "Edge"), ("OPR/", "Opera"), ("Chrome/", "Chrome"), ("Safari/", "Safari")];
    let systems = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "Mac"),
        ("Linux", "Linux"),
    ];
    match (first(&browsers), first(&systems)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "A browser".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_named_by_browser_and_system() {
        let phone =
            "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605 (KHTML) Version/19.0 Safari/604.1";
        assert_eq!(browser_name(phone), "Safari on iPhone");
        assert_eq!(browser_name("curl/8"), "A browser");
    }
}
