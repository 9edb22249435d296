//! `/portal/admin`: what administrators look after. Only where a second factor was given (OA-25); to everybody else these pages
//! are not there.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::client::{Client, ClientKeys};
use smart::redirect_uri::RedirectUri;
use smart::token::{Kind as SecretKind, Secret};
use store::apps::{self as kept, Change, Purpose, Status};
use store::events::{self, Kind};
use store::roles::{self, Role};
use store::{StoreError, Tx, clients, invitations, usage, users};

use super::apps::{Standing, kind_words, standing};
use super::frame::Frame;
use super::plot;
use super::words::{day, moment};
use crate::account::second_factor;
use crate::account::visitor::{Refused, State, Visitor, event, go, show};
use crate::app::App;
use crate::oauth::page;

mod revision;

/// Events that are shown.
const SHOWN_EVENTS: u64 = 200;

/// How long an invitation is good, microseconds: a week.
const INVITATION: i64 = 7 * 24 * 3_600_000_000;

/// Longest reason.
const MAX_REASON: usize = 300;

#[derive(Template)]
#[template(path = "admin-apps.html")]
struct AppsPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    /// Name of the app that was another one when its approval came.
    changed: Option<&'a str>,
    waiting: Vec<AppLine>,
    others: Vec<AppLine>,
    by_command: Vec<ClientLine>,
}

struct AppLine {
    id: String,
    name: String,
    developer: String,
    purpose: &'static str,
    kind: &'static str,
    description: String,
    redirect_uris: Vec<String>,
    launch_uri: String,
    keys_url: String,
    keys: String,
    scopes: String,
    /// The digest of all this.
    shown: String,
    requested: String,
    requests: i64,
    standing: Standing,
    is_stopped: bool,
    is_approved: bool,
    reason: String,
}

/// What came of a decision.
enum Outcome {
    Done,
    /// There is no such app.
    Unknown,
    /// The app of this name is not what was shown any more.
    Changed(String),
}

/// A client that was not made in the portal.
struct ClientLine {
    id: String,
    name: String,
    is_active: bool,
    is_stopped: bool,
}

#[derive(Template)]
#[template(path = "admin-accounts.html")]
struct AccountsPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    accounts: Vec<AccountLine>,
}

struct AccountLine {
    username: String,
    name: String,
    record: String,
    roles: String,
    is_disabled: bool,
}

#[derive(Template)]
#[template(path = "admin-events.html")]
struct EventsPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    events: Vec<EventLine>,
}

struct EventLine {
    at: String,
    who: String,
    what: &'static str,
    app: String,
    address: String,
}

#[derive(Template)]
#[template(path = "admin-invitation.html")]
struct InvitationPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    invitation: &'a str,
    until: String,
    base_url: &'a str,
}

/// All apps, those that wait first.
pub async fn apps(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = administrator(&app, Visitor::of(&app, &request).await?).await?;
    listed(&app, &visitor, None).await
}

async fn listed(app: &App, visitor: &Visitor, changed: Option<&str>) -> Result<HttpResponse, Refused> {
    let now = app.clock.now();
    let totals = usage::totals(&app.store, plot::day_of(now) - plot::DAYS + 1).await?;
    let accounts = users::all(&app.store).await?;
    let mut all = clients::all(&app.store).await?;
    let (mut waiting, mut others) = (Vec::new(), Vec::new());
    for registration in kept::all(&app.store).await? {
        let Some(at) = all.iter().position(|client| client.id == registration.client_id) else { continue };
        let client = all.swap_remove(at);
        let developer = accounts.iter().find(|account| account.id == registration.account_id);
        let requests = totals.iter().find(|(id, _)| *id == client.id).map_or(0, |(_, requests)| *requests);
        let waits = registration.status == Status::Requested;
        let line = app_line(registration, client, developer, requests, now);
        if waits { waiting.push(line) } else { others.push(line) }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let line = |client: Client| ClientLine {
        is_active: client.is_active(now),
        is_stopped: client.disabled_at.is_some(),
        id: client.id,
        name: client.name,
    };
    let by_command = all.into_iter().map(line).collect();
    let frame = Frame::of(visitor, "admin");
    let page = AppsPage { style: page::STYLE, frame, changed, waiting, others, by_command };
    Ok(show(&page, if changed.is_some() { StatusCode::CONFLICT } else { StatusCode::OK }, None))
}

fn app_line(
    registration: kept::Registration,
    client: Client,
    developer: Option<&users::Account>,
    requests: i64,
    now: i64,
) -> AppLine {
    let (keys_url, keys) = match &client.keys {
        ClientKeys::None => (String::new(), String::new()),
        ClientKeys::Inline(text) => (String::new(), text.clone()),
        ClientKeys::Url(url) => (url.clone(), String::new()),
    };
    AppLine {
        developer: developer.map(|it| format!("{} ({})", it.name, it.username)).unwrap_or_default(),
        purpose: if registration.purpose == Purpose::Work { "work" } else { "personal" },
        kind: kind_words(&client),
        redirect_uris: client.redirect_uris.iter().map(|uri: &RedirectUri| uri.to_string()).collect(),
        keys_url,
        keys,
        scopes: client.scopes.to_string(),
        shown: revision::of(&registration, &client),
        requested: day(registration.created_at),
        requests,
        standing: standing(&registration, &client, now),
        is_stopped: registration.stopped_at.is_some(),
        is_approved: registration.status == Status::Approved,
        launch_uri: registration.launch_uri.unwrap_or_default(),
        reason: registration.reason.unwrap_or_default(),
        description: registration.description,
        id: client.id,
        name: client.name,
    }
}

/// Approves, refuses, stops or releases an app. What is stopped loses its tokens with the next request. Approved is what
/// the administrator was shown: where its developer changed it meanwhile, nothing is decided and it is shown again.
pub async fn decide(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let visitor = administrator(&app, visitor).await?;
    let reason: Option<String> = form.get("reason").map(|text| text.chars().take(MAX_REASON).collect());
    let (change, kind) = match form.get("decision") {
        Some("approve") => (Change::Decided(Status::Approved, None), Kind::AppApproved),
        Some("refuse") => (Change::Decided(Status::Refused, reason), Kind::AppRefused),
        Some("stop") => (Change::Stopped(reason), Kind::AppStopped),
        Some("release") => (Change::Released, Kind::AppApproved),
        _ => return Err(Refused::Invalid("Choose what becomes of the app.".to_owned())),
    };
    let client_id = request.match_info().query("app").to_owned();
    let shown = form.get("shown").unwrap_or_default().to_owned();
    let now = app.clock.now();
    let event = event(&request, kind, &visitor.account.id, Some(&client_id));
    let decided = app.store.write(move |tx| {
        let (client_id, shown, change, event) = (client_id.clone(), shown.clone(), change.clone(), event.clone());
        Box::pin(async move {
            if change == Change::Decided(Status::Approved, None)
                && let Some(name) = another(tx, &client_id, &shown).await?
            {
                return Ok(Outcome::Changed(name));
            }
            let mut changed = kept::change(tx, &client_id, &change, now).await?;
            if !changed && matches!(change, Change::Stopped(_) | Change::Released) {
                let at = matches!(change, Change::Stopped(_)).then_some(now);
                changed = clients::set_disabled(tx, &client_id, at).await?;
            }
            if changed {
                events::insert(tx, &event, now).await?;
            }
            Ok::<_, StoreError>(if changed { Outcome::Done } else { Outcome::Unknown })
        })
    });
    match decided.await? {
        Outcome::Done => Ok(go(&app, "/portal/admin")),
        Outcome::Unknown => Err(Refused::NotFound),
        Outcome::Changed(name) => listed(&app, &visitor, Some(&name)).await,
    }
}

/// The name of an app that is not what was shown any more.
async fn another(tx: &mut Tx, client_id: &str, shown: &str) -> Result<Option<String>, StoreError> {
    let Some(registration) = kept::locked(tx, client_id).await? else { return Ok(None) };
    let Some(client) = clients::find_in(tx, client_id).await? else { return Ok(None) };
    Ok((revision::of(&registration, &client) != shown).then_some(client.name))
}

/// All accounts.
pub async fn accounts(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = administrator(&app, Visitor::of(&app, &request).await?).await?;
    let billing = roles::holders(&app.store, Role::Billing).await?;
    let line = |account: users::Account| {
        let developer = account.developer.map(|purpose| match purpose {
            Purpose::Personal => "personal apps",
            Purpose::Work => "apps for work",
        });
        let roles = [
            account.is_admin.then_some("administrator"),
            billing.contains(&account.id).then_some("bills insurers"),
            developer,
        ];
        let roles: Vec<&str> = roles.into_iter().flatten().collect();
        AccountLine {
            record: account.fhir_user.as_ref().map(ToString::to_string).unwrap_or_default(),
            roles: roles.join(", "),
            is_disabled: account.disabled_at.is_some(),
            username: account.username,
            name: account.name,
        }
    };
    let accounts = users::all(&app.store).await?.into_iter().map(line).collect();
    let page = AccountsPage { style: page::STYLE, frame: Frame::of(&visitor, "admin"), accounts };
    Ok(show(&page, StatusCode::OK, None))
}

/// The latest events.
pub async fn events(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = administrator(&app, Visitor::of(&app, &request).await?).await?;
    let line = |seen: events::Seen| EventLine {
        at: moment(seen.at),
        who: seen.username.unwrap_or_else(|| "somebody".to_owned()),
        what: seen.kind.map_or("did something else", Kind::words),
        app: seen.client_id.unwrap_or_default(),
        address: seen.address.unwrap_or_default(),
    };
    let events = events::latest(&app.store, SHOWN_EVENTS).await?.into_iter().map(line).collect();
    let page = EventsPage { style: page::STYLE, frame: Frame::of(&visitor, "admin"), events };
    Ok(show(&page, StatusCode::OK, None))
}

/// Makes an invitation to register one client, and shows it.
pub async fn invite(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, _) = Visitor::sending(&app, &request, &body).await?;
    let visitor = administrator(&app, visitor).await?;
    let secret = Secret::new(SecretKind::Invitation, app.random.bytes());
    let (hash, now) = (secret.hash(), app.clock.now());
    let event = event(&request, Kind::Invited, &visitor.account.id, None);
    app.store
        .write(move |tx| {
            let event = event.clone();
            Box::pin(async move {
                invitations::insert(tx, hash, None, now, now + INVITATION).await?;
                events::insert(tx, &event, now).await
            })
        })
        .await?;
    // Shown once, so there is nothing that a redirect could lead to.
    let page = InvitationPage {
        style: page::STYLE,
        frame: Frame::of(&visitor, "admin"),
        invitation: secret.expose(),
        until: day(now + INVITATION),
        base_url: &app.config.base_url,
    };
    Ok(show(&page, StatusCode::OK, None))
}

/// An administrator who gave a second factor; one who did not learns how, nobody else learns of these pages.
pub(super) async fn administrator(app: &App, visitor: Visitor) -> Result<Visitor, Refused> {
    if !visitor.account.is_admin {
        return Err(Refused::NotFound);
    }
    second_factor::required(app, &visitor).await?;
    Ok(visitor)
}
