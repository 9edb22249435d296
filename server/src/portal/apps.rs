//! `/portal/apps`: a developer's apps, and one of them with its keys, usage figures and latest errors. (OA-30)

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::client::{Client, ClientKeys};
use smart::redirect_uri::RedirectUri;
use store::apps::{self, Change, Purpose, Registration, Status};
use store::events::{self, Kind};
use store::{StoreError, clients, usage};

use super::frame::Frame;
use super::key::{SecretLine, secret_lines};
use super::plot::{self, Plot};
use super::words::{day, moment};
use crate::account::visitor::{Refused, State, Visitor, event, go, show};
use crate::app::App;
use crate::oauth::page;

/// Errors that are shown.
const SHOWN_ERRORS: u64 = 20;

/// An app of the person who asks.
#[derive(Clone, Debug)]
pub struct Own {
    /// What it is to its developer.
    pub registration: Registration,
    /// What it is to the authorization server.
    pub client: Client,
}

/// How an app stands, in words and as a class of the style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// In words.
    pub words: &'static str,
    /// `good`, `wait` or `bad`.
    pub class: &'static str,
}

#[derive(Template)]
#[template(path = "apps.html")]
struct ListPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    apps: Vec<ListLine>,
}

struct ListLine {
    id: String,
    name: String,
    standing: Standing,
    kind: &'static str,
    requests: i64,
}

#[derive(Template)]
#[template(path = "app.html")]
struct AppPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    app: &'a Registration,
    client: &'a Client,
    standing: Standing,
    kind: &'static str,
    is_work: bool,
    patients: Option<usize>,
    redirect_uris: Vec<&'a str>,
    keys: &'static str,
    scopes: Vec<String>,
    valid: String,
    secrets: Vec<SecretLine>,
    newest_secret: i64,
    requested: String,
    plot: Plot,
    errors: Vec<ErrorLine>,
}

struct ErrorLine {
    at: String,
    request: String,
    status: i64,
    problem: String,
}

/// The app of an address, if it is the visitor's: that of another developer is not there.
pub async fn own(app: &App, request: &HttpRequest, visitor: &Visitor) -> Result<Own, Refused> {
    let client_id = request.match_info().query("app");
    let registration = apps::find(&app.store, client_id).await?;
    let registration = registration.filter(|it| it.account_id == visitor.account.id).ok_or(Refused::NotFound)?;
    let client = clients::find(&app.store, client_id).await?.ok_or(Refused::NotFound)?;
    Ok(Own { registration, client })
}

/// How an app stands.
pub fn standing(app: &Registration, client: &Client, now: i64) -> Standing {
    let (words, class) = match app.status {
        Status::Requested => ("waits for approval", "wait"),
        Status::Refused => ("refused", "bad"),
        Status::Approved if app.stopped_at.is_some() => ("switched off by an administrator", "bad"),
        Status::Approved if !app.is_on => ("switched off", "wait"),
        Status::Approved if client.valid_from.is_some_and(|from| now < from) => ("not valid yet", "wait"),
        Status::Approved if client.valid_to.is_some_and(|to| now >= to) => ("no longer valid", "bad"),
        Status::Approved => ("active", "good"),
    };
    Standing { words, class }
}

/// What kind of app it is, in words.
pub fn kind_words(client: &Client) -> &'static str {
    match client.kind {
        smart::client::ClientKind::Public => "app on phones or in browsers",
        smart::client::ClientKind::Confidential => "app on a server",
        smart::client::ClientKind::Backend => "service without people",
    }
}

/// A developer's apps.
pub async fn list(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let now = app.clock.now();
    let totals = usage::totals(&app.store, plot::day_of(now) - plot::DAYS + 1).await?;
    let mut lines = Vec::new();
    for registration in apps::of_account(&app.store, &visitor.account.id).await? {
        let Some(client) = clients::find(&app.store, &registration.client_id).await? else { continue };
        let of_app = totals.iter().find(|(id, _)| *id == client.id);
        lines.push(ListLine {
            standing: standing(&registration, &client, now),
            kind: kind_words(&client),
            requests: of_app.map_or(0, |(_, requests)| *requests),
            id: client.id,
            name: client.name,
        });
    }
    let page = ListPage { style: page::STYLE, frame: Frame::of(&visitor, "apps"), apps: lines };
    Ok(show(&page, StatusCode::OK, None))
}

/// One app.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let own = own(&app, &request, &visitor).await?;
    let (client, now) = (&own.client, app.clock.now());
    let today = plot::day_of(now);
    let days = usage::days(&app.store, &client.id, today - plot::DAYS + 1).await?;
    let errors = usage::errors(&app.store, &client.id, SHOWN_ERRORS).await?;
    let secrets = clients::secrets(&app.store, &client.id).await?;
    let page = AppPage {
        style: page::STYLE,
        frame: Frame::of(&visitor, "apps"),
        standing: standing(&own.registration, client, now),
        kind: kind_words(client),
        is_work: own.registration.purpose == Purpose::Work,
        patients: apps::patients(&app.store, &client.id).await?.map(|patients| patients.len()),
        redirect_uris: client.redirect_uris.iter().map(RedirectUri::as_str).collect(),
        keys: match &client.keys {
            ClientKeys::None => "",
            ClientKeys::Inline(_) => "a key set that is kept here",
            ClientKeys::Url(_) => "a key set at an address of the app",
        },
        scopes: client.scopes.iter().map(ToString::to_string).collect(),
        valid: validity(client),
        newest_secret: secrets.last().map_or(0, |secret| secret.created_at),
        secrets: secret_lines(&secrets, now),
        requested: day(own.registration.created_at),
        plot: plot::draw(&days, today),
        errors: errors.into_iter().map(error_line).collect(),
        app: &own.registration,
        client,
    };
    Ok(show(&page, StatusCode::OK, None))
}

/// Switches an app on or off: its tokens follow with the next request.
pub async fn switch(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let own = own(&app, &request, &visitor).await?;
    let change = match form.get("state") {
        Some("on") => Change::On(true),
        Some("off") => Change::On(false),
        _ => return Err(Refused::Invalid("Choose on or off.".to_owned())),
    };
    let (client_id, now) = (own.client.id.clone(), app.clock.now());
    let event = event(&request, Kind::AppChanged, &visitor.account.id, Some(&client_id));
    let changed = app.store.write(move |tx| {
        let (client_id, change, event) = (client_id.clone(), change.clone(), event.clone());
        Box::pin(async move {
            apps::change(tx, &client_id, &change, now).await?;
            events::insert(tx, &event, now).await
        })
    });
    changed.await.map_err(|error: StoreError| Refused::from(error))?;
    Ok(go(&app, &format!("/portal/apps/{}", own.client.id)))
}

fn validity(client: &Client) -> String {
    // the form names the last day, the client the instant after it
    match (client.valid_from.map(day), client.valid_to.map(|to| day(to - 1))) {
        (None, None) => "without limit".to_owned(),
        (Some(from), None) => format!("from {from}"),
        (None, Some(to)) => format!("until the end of {to}"),
        (Some(from), Some(to)) => format!("from {from} until the end of {to}"),
    }
}

fn error_line(error: usage::Failed) -> ErrorLine {
    ErrorLine { at: moment(error.at), request: error.request, status: error.status, problem: error.problem }
}
