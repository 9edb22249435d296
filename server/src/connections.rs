//! Services of vendors that this server asks by itself.
//!
//! ```text
//! tributary connection add ─▶ row: address, sealed credentials, settings
//! worker: row with a lease ─▶ Kind::poll ─▶ Client (one host, bounded) ─▶ inbox, with the cursor in one transaction
//! operation, job           ─▶ open(app, vendor, name) ─▶ Client
//! ```
//!
//! To add a vendor: write a file in `connections/` with a [`Kind`] and list it in [`KINDS`]. A connection that is
//! switched off, lacks something or fails stops nothing but itself.

use std::collections::BTreeMap;

use adapters::Adapter;
use fhir::json::{Json, Object};
use fhir::nearest::nearest;
use futures::future::BoxFuture;
use store::StoreError;
use store::audit::Event;
use store::connections::{self, Connection, State};

use crate::app::App;
use crate::secret::SecretText;

pub mod client;
mod sealing;
mod smart_meter;
mod smartz;
pub mod validic;
mod worker;

pub use client::{Answer, Client, Failure, Question};
pub use sealing::Credentials;
pub use worker::{Held, Told, arrival, start};

/// All vendors whose services can be asked.
pub const KINDS: &[&Kind] = &[
    &validic::KIND,
    &smart_meter::KIND,
    &smartz::KIND,
    &crate::insurance::account::SMARTLINK,
    &crate::insurance::account::PAS,
];

/// Name of a connection where none is given.
pub const DEFAULT_NAME: &str = "default";

/// Longest credential, setting or name.
const MAX_VALUE: usize = 16 << 10;

/// How a vendor's service is asked.
pub struct Kind {
    /// The vendor's name in adapters, pairings and on the command line.
    pub vendor: &'static str,
    /// What is asked, in a few words.
    pub about: &'static str,
    /// Where the service is unless something else is said.
    pub base_url: Option<&'static str>,
    /// Who we are there.
    pub credentials: &'static [Field],
    /// What else must be known.
    pub settings: &'static [Field],
    /// Asks something harmless: what it says is for people.
    pub check: for<'a> fn(&'a App, &'a Opened) -> BoxFuture<'a, Result<String, Failure>>,
    /// Nothing where the service is only asked on behalf of callers; then it is checked from time to time.
    pub poll: Option<Poll>,
}

/// Fetches what is new; says after how many seconds the service is due again.
pub type Poll = for<'a> fn(&'a Held) -> BoxFuture<'a, Result<u64, Failure>>;

/// A credential or setting.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it can be.
    pub sort: Sort,
    /// What holds if it is not given; nothing if it must be given.
    pub default: Option<&'static str>,
    /// What it says.
    pub what: &'static str,
}

impl Field {
    /// One that can be any text.
    pub const fn text(name: &'static str, default: Option<&'static str>, what: &'static str) -> Self {
        Field { name, sort: Sort::Text, default, what }
    }

    /// One that is a whole number.
    pub const fn number(name: &'static str, default: &'static str, what: &'static str) -> Self {
        Field { name, sort: Sort::Number, default: Some(default), what }
    }
}

/// What a credential or setting can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Any text.
    Text,
    /// An address that is asked; its host is allowed beside that of the base.
    Url,
    /// A whole number.
    Number,
    /// A JSON object.
    Json,
    /// A private key, PKCS#8 in PEM.
    Key,
}

/// What an operator wants.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Vendor.
    pub vendor: String,
    /// Name among several of one vendor.
    pub name: String,
    /// Where the service is.
    pub base_url: Option<String>,
    /// Who we are there.
    pub credentials: Credentials,
    /// What else must be known.
    pub settings: BTreeMap<String, String>,
    /// Whether it is kept without being asked.
    pub disabled: bool,
}

/// A connection whose credentials can be read.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The row.
    pub row: Connection,
    credentials: Credentials,
    settings: Json,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Kind({})", self.vendor)
    }
}

/// How the service of a vendor is asked.
pub fn kind(vendor: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.vendor == vendor)
}

/// The adapter of what a vendor's service says.
fn adapter_of(vendor: &str) -> Result<&'static Adapter, Failure> {
    adapters::find(vendor).ok_or_else(|| settings(format!("there is no adapter for {vendor}")))
}

/// Checks and keeps a connection, in the place of the one with its vendor and name, with the event of that. What is
/// wrong is said at once.
pub async fn add(app: &App, wish: &Wish, event: Event) -> Result<Connection, Failure> {
    let known: Vec<&str> = KINDS.iter().map(|kind| kind.vendor).collect();
    let unknown = || settings(format!("no service of {} is known; there is {}", wish.vendor, known.join(", ")));
    let kind = kind(&wish.vendor).ok_or_else(unknown)?;
    let missing = || settings("it must be said where the service is: --url");
    let base_url = wish.base_url.as_deref().or(kind.base_url).ok_or_else(missing)?.trim_end_matches('/');
    app.outbound.check(base_url).map_err(|error| settings(format!("--url: {error}")))?;
    if wish.name.is_empty() || wish.name.len() > 64 {
        return Err(settings("a name has 1 to 64 characters"));
    }
    let credentials = wish.credentials.iter().map(|(name, value)| (name.as_str(), value.expose()));
    checked(app, "credential", kind.credentials, credentials)?;
    checked(app, "setting", kind.settings, wish.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
    let mut told = Object::new();
    for (name, value) in &wish.settings {
        told.insert(name, value.as_str());
    }
    let row = Connection {
        id: app.random.uuid().replace('-', ""),
        vendor: wish.vendor.clone(),
        name: wish.name.clone(),
        base_url: base_url.to_owned(),
        credentials: sealing::seal(app, &owner(&wish.vendor, &wish.name), &wish.credentials)?,
        settings: Json::from(told).to_string(),
        enabled: !wish.disabled,
        cursor: String::new(),
        state: State::New,
        failing_since: None,
        error: String::new(),
        attempts: 0,
        asked_at: None,
        due_at: 0,
    };
    put(app, row, event).await
}

/// Keeps a row with its event, and has the service asked anew.
async fn put(app: &App, row: Connection, event: Event) -> Result<Connection, Failure> {
    let (kept, now) = (row.clone(), app.clock.now());
    let id = app
        .store
        .write(move |tx| {
            let (row, event) = (kept.clone(), event.clone());
            Box::pin(async move {
                tx.record(event);
                connections::put(tx, &row, now).await
            })
        })
        .await?;
    app.connections_changed.notify_one();
    Ok(Connection { id, ..row })
}

/// The connection of this vendor and name that is switched on, opened; [`Failure::Settings`] if there is none.
pub async fn open(app: &App, vendor: &str, name: &str) -> Result<Opened, Failure> {
    let row = connections::find(&app.store, vendor, name).await?;
    let row = row.filter(|row| row.enabled).ok_or_else(|| {
        settings(format!("there is no connection with {vendor}; `tributary connection add {vendor}` makes one"))
    })?;
    Opened::of(app, row)
}

/// Ties a connection to an organisation of its vendor by a link code, which is kept nowhere, with the event of that; says
/// to which.
pub async fn link(app: &App, vendor: &str, name: &str, code: &SecretText, event: Event) -> Result<String, Failure> {
    if vendor != smartz::KIND.vendor {
        return Err(settings(format!("{vendor} has no link codes")));
    }
    let opened = open(app, vendor, name).await?;
    let (id, called) = smartz::link(app, &opened, code.expose()).await?;
    let mut organisations = smartz::chosen(&opened);
    organisations.retain(|other| *other != id);
    organisations.push(id.clone());
    let mut told = opened.settings.as_object().cloned().unwrap_or_default();
    told.insert("organisations", organisations.join(","));
    put(app, Connection { settings: Json::from(told).to_string(), ..opened.row }, event).await?;
    Ok(called.map_or_else(|| id.clone(), |called| format!("{id} ({called})")))
}

/// Names of a vendor's fields, where the setting `fields` of a connection replaces the usual ones. Also for what the
/// vendor pushes.
pub async fn fields(app: &App, vendor: &str, name: Option<&str>) -> Result<Option<Json>, StoreError> {
    let has_fields = |kind: &Kind| kind.settings.iter().any(|field| field.name == "fields");
    if !kind(vendor).is_some_and(has_fields) {
        return Ok(None);
    }
    let row = connections::find(&app.store, vendor, name.unwrap_or(DEFAULT_NAME)).await?;
    let settings = row.and_then(|row| Json::parse(row.settings.as_bytes()).ok());
    Ok(settings.and_then(|settings| Json::parse(settings.str("fields")?.as_bytes()).ok()))
}

impl Opened {
    /// Opens a row.
    pub fn of(app: &App, row: Connection) -> Result<Self, Failure> {
        let credentials = sealing::open(app, &owner(&row.vendor, &row.name), &row.credentials)?;
        let told = Json::parse(row.settings.as_bytes()).map_err(|_| settings("its settings are damaged"))?;
        Ok(Opened { row, credentials, settings: told })
    }

    /// A credential.
    pub fn credential(&self, name: &str) -> Result<&str, Failure> {
        let found = self.credentials.get(name).map(SecretText::expose).filter(|text| !text.is_empty());
        found.ok_or_else(|| settings(format!("credential {name} is missing")))
    }

    /// A setting, or what holds without it.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let field = kind(&self.row.vendor).and_then(|kind| kind.settings.iter().find(|field| field.name == name));
        self.settings.str(name).or_else(|| field?.default).filter(|text| !text.is_empty())
    }

    /// A setting that must be there.
    pub fn required(&self, name: &str) -> Result<&str, Failure> {
        self.setting(name).ok_or_else(|| settings(format!("setting {name} is missing")))
    }

    /// A setting that is a number.
    pub fn number(&self, name: &str) -> u64 {
        self.setting(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// A setting that is a JSON object.
    pub fn json(&self, name: &str) -> Option<Json> {
        Json::parse(self.setting(name)?.as_bytes()).ok()
    }

    /// How far it was read.
    pub fn cursor(&self) -> Json {
        Json::parse(self.row.cursor.as_bytes()).unwrap_or(Json::Null)
    }

    /// Asks the service.
    pub fn client(&self, app: &App) -> Result<Client, Failure> {
        Client::new(app, &self.row.base_url, &self.credentials)
    }

    /// Asks the part of the service whose address is a setting.
    pub fn client_at(&self, app: &App, setting: &str) -> Result<Client, Failure> {
        Client::new(app, self.required(setting)?, &self.credentials)
    }
}

fn checked<'a>(
    app: &App,
    what: &str,
    fields: &[Field],
    given: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), Failure> {
    let mut named = Vec::new();
    for (name, value) in given {
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            let known = || fields.iter().map(|field| field.name);
            let near = nearest(name, known());
            let near = if near.is_empty() { known().collect() } else { near };
            return Err(settings(format!("there is no {what} {name}; there is {}", near.join(", "))));
        };
        let fits = value.len() <= MAX_VALUE
            && match field.sort {
                Sort::Text => !value.is_empty() && !value.contains(char::is_control),
                Sort::Url => app.outbound.check(value).is_ok(),
                Sort::Number => value.parse::<u32>().is_ok(),
                Sort::Key => crate::insurance::assertion::Key::read(value).is_some(),
                Sort::Json => Json::parse(value.as_bytes()).is_ok_and(|json| json.as_object().is_some()),
            };
        if !fits {
            return Err(settings(format!("{what} {name} must be {}", field.sort.words())));
        }
        named.push(name);
    }
    match fields.iter().find(|field| field.default.is_none() && !named.contains(&field.name)) {
        Some(field) => Err(settings(format!("{what} {} is missing: {}", field.name, field.what))),
        None => Ok(()),
    }
}

impl Sort {
    fn words(self) -> &'static str {
        match self {
            Sort::Text => "a text on one line",
            Sort::Url => "an absolute https address that may be asked",
            Sort::Number => "a whole number",
            Sort::Json => "a JSON object",
            Sort::Key => "a private key of P-384 or RSA, PKCS#8 in PEM",
        }
    }
}

/// What sealed credentials are bound to.
fn owner(vendor: &str, name: &str) -> String {
    format!("{vendor}/{name}")
}

fn settings(text: impl Into<String>) -> Failure {
    Failure::Settings(text.into())
}
