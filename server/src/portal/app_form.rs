//! `/portal/apps/new` and `/portal/apps/{app}/edit`: asking for an app and changing it. (OA-03, OA-29)
//!
//! A new app waits for an administrator. So does one whose developer changes what an administrator looked at: its
//! name, where answers go, or scopes beyond those that it had.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::client::{Client, ClientAuthentication, ClientKeys, ClientKind};
use smart::redirect_uri::RedirectUri;
use store::apps::{self, Change, Purpose, Registration, Status};
use store::events::{self, Kind};
use store::{StoreError, clients};

use super::apps::{Own, own};
use super::frame::Frame;
use super::words::{DAY, date_field};
use crate::account::visitor::{Refused, State, Visitor, event, go, show};
use crate::app::App;
use crate::oauth::form::Parameters;
use crate::oauth::page;
use crate::registration;

mod read;

/// Apps of one developer.
const MOST_APPS: usize = 50;

/// What a personal app usually asks for.
const PERSONAL: &str = "launch/patient openid fhirUser offline_access patient/*.rs";
/// What an app for work usually asks for.
const WORK: &str = "launch/patient openid fhirUser offline_access patient/*.rs user/*.rs";

/// The fields of the form, as they were typed.
#[derive(Clone, Debug, Default)]
struct Fields {
    name: String,
    description: String,
    kind: String,
    authentication: String,
    redirect_uris: String,
    launch_uri: String,
    keys: String,
    scopes: String,
    valid_from: String,
    valid_to: String,
}

/// A field, and what is wrong with it.
type Problem = (&'static str, String);

#[derive(Template)]
#[template(path = "app-form.html")]
struct FormPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    /// The app that is changed; none for a new one.
    client_id: Option<&'a str>,
    is_work: bool,
    fields: &'a Fields,
    problems: &'a [Problem],
}

impl FormPage<'_> {
    /// What is wrong with a field.
    fn problem_of(&self, field: &str) -> Option<&str> {
        self.problems.iter().find(|(of, _)| *of == field).map(|(_, text)| text.as_str())
    }
}

/// The form for a new app.
pub async fn new_page(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let purpose = visitor.account.developer.ok_or(Refused::NotFound)?;
    let scopes = if purpose == Purpose::Work { WORK } else { PERSONAL };
    let fields = Fields { scopes: scopes.to_owned(), kind: "public".to_owned(), ..Fields::default() };
    Ok(filled(&visitor, None, purpose, &fields, &[]))
}

/// Asks for an app.
pub async fn create(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let purpose = visitor.account.developer.ok_or(Refused::NotFound)?;
    if apps::of_account(&app.store, &visitor.account.id).await?.len() >= MOST_APPS {
        return Err(Refused::Invalid(format!("You have {MOST_APPS} apps already.")));
    }
    let fields = Fields::of(&form);
    let base = app.config.fhir_base();
    let read = fields.read(app.random.uuid(), None, purpose, &base);
    let client = match read.and_then(|client| registrable(&app, client)) {
        Ok(client) => client,
        Err(problems) => return Ok(filled(&visitor, None, purpose, &fields, &problems)),
    };
    let now = app.clock.now();
    let registration = Registration {
        client_id: client.id.clone(),
        account_id: visitor.account.id.clone(),
        purpose,
        status: Status::Requested,
        is_on: true,
        stopped_at: None,
        description: fields.description.clone(),
        launch_uri: fields.launch_uri(),
        reason: None,
        decided_at: None,
        created_at: now,
    };
    let event = event(&request, Kind::AppRequested, &visitor.account.id, Some(&client.id));
    let client_id = client.id.clone();
    app.store
        .write(move |tx| {
            let (client, registration, event) = (client.clone(), registration.clone(), event.clone());
            Box::pin(async move {
                clients::insert(tx, &client, now).await?;
                apps::insert(tx, &registration, now).await?;
                events::insert(tx, &event, now).await
            })
        })
        .await
        .map_err(|error: StoreError| Refused::from(error))?;
    Ok(go(&app, &format!("/portal/apps/{client_id}")))
}

/// The form for one's app.
pub async fn edit_page(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let own = own(&app, &request, &visitor).await?;
    let fields = Fields::shown(&own);
    Ok(filled(&visitor, Some(&own.client.id), own.registration.purpose, &fields, &[]))
}

/// Changes one's app.
pub async fn edit(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let own = own(&app, &request, &visitor).await?;
    let (purpose, base) = (own.registration.purpose, app.config.fhir_base());
    let mut fields = Fields::of(&form);
    own.client.kind.as_str().clone_into(&mut fields.kind); // what it is does not change
    let read = fields.read(own.client.id.clone(), Some(&own.client), purpose, &base);
    let client = match read.and_then(|client| registrable(&app, client)) {
        Ok(client) => client,
        Err(problems) => return Ok(filled(&visitor, Some(&own.client.id), purpose, &fields, &problems)),
    };
    let described = Change::Described { description: fields.description.clone(), launch_uri: fields.launch_uri() };
    let (launch_uri, now) = (fields.launch_uri(), app.clock.now());
    let event = event(&request, Kind::AppChanged, &visitor.account.id, Some(&client.id));
    let client_id = client.id.clone();
    let written = app.store.write(move |tx| {
        let (client, launch_uri, event) = (client.clone(), launch_uri.clone(), event.clone());
        let mut changes = vec![described.clone()];
        Box::pin(async move {
            // Compared with what stands there now: the form may have begun with what nobody has approved since.
            let before = (apps::locked(tx, &client.id).await?, clients::find_in(tx, &client.id).await?);
            let (Some(registration), Some(before)) = before else { return Ok(()) };
            if needs_approval(&Own { registration, client: before }, &client, launch_uri.as_deref()) {
                changes.push(Change::RequestedAgain);
            }
            clients::update(tx, &client).await?;
            for change in &changes {
                apps::change(tx, &client.id, change, now).await?;
            }
            events::insert(tx, &event, now).await
        })
    });
    written.await.map_err(|error: StoreError| Refused::from(error))?;
    Ok(go(&app, &format!("/portal/apps/{client_id}")))
}

/// The client, if it passes the rules that hold however a client is registered. An app with a secret needs no redirect
/// URI here: its access key alone is enough for what was chosen for it.
fn registrable(app: &App, client: Client) -> Result<Client, Vec<Problem>> {
    let needs_no_redirect = client.has_secret() && client.redirect_uris.is_empty();
    let Err(error) = registration::check(app, &client) else { return Ok(client) };
    let field = match error.field {
        registration::Field::RedirectUris if needs_no_redirect => return Ok(client),
        registration::Field::RedirectUris => "redirect_uris",
        registration::Field::Scope => "scopes",
        registration::Field::Authentication => "keys",
        registration::Field::Id | registration::Field::Name => "name",
    };
    Err(vec![(field, format!("{error}."))])
}

/// Whether an administrator has to look again.
fn needs_approval(own: &Own, new: &Client, launch_uri: Option<&str>) -> bool {
    let before = &own.client;
    let goes_elsewhere = new.redirect_uris.iter().any(|uri| !before.redirect_uris.contains(uri));
    let starts_elsewhere = launch_uri.is_some() && launch_uri != own.registration.launch_uri.as_deref();
    new.name != before.name || goes_elsewhere || starts_elsewhere || !new.scopes.is_covered_by(&before.scopes)
}

fn filled(
    visitor: &Visitor,
    client_id: Option<&str>,
    purpose: Purpose,
    fields: &Fields,
    problems: &[Problem],
) -> HttpResponse {
    let frame = Frame::of(visitor, "apps");
    let is_work = purpose == Purpose::Work;
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    show(&FormPage { style: page::STYLE, frame, client_id, is_work, fields, problems }, status, None)
}

impl Fields {
    fn of(form: &Parameters) -> Self {
        let field = |name: &str| form.get(name).unwrap_or_default().trim().to_owned();
        Fields {
            name: field("name"),
            description: field("description"),
            kind: field("kind"),
            authentication: field("authentication"),
            redirect_uris: field("redirect_uris"),
            launch_uri: field("launch_uri"),
            keys: field("keys"),
            scopes: field("scopes"),
            valid_from: field("valid_from"),
            valid_to: field("valid_to"),
        }
    }

    fn shown(own: &Own) -> Self {
        let Own { client, registration } = own;
        let uris: Vec<&str> = client.redirect_uris.iter().map(RedirectUri::as_str).collect();
        Fields {
            name: client.name.clone(),
            description: registration.description.clone(),
            kind: client.kind.as_str().to_owned(),
            authentication: client.authentication.as_str().to_owned(),
            redirect_uris: uris.join("\n"),
            launch_uri: registration.launch_uri.clone().unwrap_or_default(),
            keys: match &client.keys {
                ClientKeys::None => String::new(),
                ClientKeys::Inline(keys) | ClientKeys::Url(keys) => keys.clone(),
            },
            scopes: client.scopes.to_string(),
            valid_from: client.valid_from.map(date_field).unwrap_or_default(),
            valid_to: client.valid_to.map(|to| date_field(to - DAY)).unwrap_or_default(),
        }
    }

    fn launch_uri(&self) -> Option<String> {
        (!self.launch_uri.is_empty()).then(|| self.launch_uri.clone())
    }

    fn authentication(&self, kind: ClientKind) -> ClientAuthentication {
        match kind {
            ClientKind::Public => ClientAuthentication::None,
            ClientKind::Backend => ClientAuthentication::PrivateKeyJwt,
            ClientKind::Confidential if self.authentication == "private_key_jwt" => ClientAuthentication::PrivateKeyJwt,
            ClientKind::Confidential => ClientAuthentication::Secret,
        }
    }
}
