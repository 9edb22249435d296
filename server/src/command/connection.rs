//! `tributary connection`: the vendors' services that this server asks by itself.

use std::collections::BTreeMap;
use std::io::Read as _;

use fhir::date::format_instant;
use serde_json::{Value, json};
use store::audit::Event;
use store::connections::{self as rows, Connection};

use super::{CommandError, told};
use crate::app::App;
use crate::config::{self, Config};
use crate::connections::{self, DEFAULT_NAME, Field, KINDS, Kind, Wish};
use crate::secret::SecretText;

/// Longest credential that is read from a file or from standard input.
const MAX_CREDENTIAL: u64 = 16 << 10;

/// Options of `connection`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done with connections.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// Make a connection, or put it in the place of the one with this vendor and name.
    Add(Add),
    /// List the connections and how they are.
    List,
    /// List the vendors whose services can be asked, with their credentials and settings.
    Kinds,
    /// Forget a connection.
    Remove {
        /// Vendor.
        vendor: String,
        /// Name among several of one vendor.
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
    },
    /// Tie a connection to an organisation by the link code that its vendor gave; the code is not kept.
    Link {
        /// Vendor, such as `smartz`.
        vendor: String,
        /// Name among several of one vendor.
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
        /// The code; also `env:VARIABLE`, `file:PATH`, or `-` for standard input.
        #[arg(long)]
        code: String,
    },
    /// Print the public half of the key that a connection signs with, a JWK Set, to register it with the vendor.
    Key {
        /// Vendor.
        vendor: String,
        /// Name among several of one vendor.
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
    },
    /// Ask something harmless, to see whether the connection works.
    Check {
        /// Vendor.
        vendor: String,
        /// Name among several of one vendor.
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
    },
}

/// Options of `connection add`.
#[derive(clap::Args, Clone, Debug)]
pub struct Add {
    /// Vendor, such as `validic`; `tributary connection kinds` lists them.
    pub vendor: String,
    /// Name among several of one vendor.
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
    /// Where the service is; only this host is asked, and those of settings that are addresses.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A credential; never shown again. VALUE may also be `env:VARIABLE`, `file:PATH`, or `-` for standard input.
    #[arg(long = "credential", value_name = "NAME=VALUE")]
    pub credentials: Vec<String>,
    /// What else must be known of the service.
    #[arg(long = "setting", value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
    /// Keep it without asking the service.
    #[arg(long)]
    pub disabled: bool,
}

/// Adds, lists, removes or checks.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    if let Action::Kinds = args.action {
        kinds(args.json);
        return Ok(());
    }
    let app = App::open_ready(config).await?;
    match args.action {
        Action::Kinds => {}
        Action::Add(wanted) => {
            let wish = wish(wanted)?;
            let event = kept(&app, &wish.vendor, &wish.name);
            let made = connections::add(&app, &wish, event).await?;
            say(args.json, &described(&made), &format!("{} {} at {}", made.vendor, made.name, made.base_url));
        }
        Action::List => list(&app, args.json).await?,
        Action::Remove { vendor, name } => {
            let (of, named) = (vendor.clone(), name.clone());
            let event = told(&app, "connection-removed", 'D', &format!("connection/{vendor}/{name}"));
            let removed = app
                .store
                .write(move |tx| {
                    let (vendor, name, event) = (of.clone(), named.clone(), event.clone());
                    Box::pin(async move {
                        tx.record(event);
                        rows::remove(tx, &vendor, &name).await
                    })
                })
                .await?;
            let text = if removed { "removed" } else { "there was none" };
            say(args.json, &json!({ "vendor": vendor, "name": name, "removed": removed }), text);
        }
        Action::Link { vendor, name, code } => {
            let (code, event) = (secret("code", &code)?, kept(&app, &vendor, &name));
            let organisation = connections::link(&app, &vendor, &name, &code, event).await?;
            let value = json!({ "vendor": vendor, "name": name, "organisation": organisation });
            say(args.json, &value, &format!("tied to organisation {organisation}"));
        }
        Action::Key { vendor, name } => {
            let opened = connections::open(&app, &vendor, &name).await?;
            let key = crate::insurance::assertion::Key::read(opened.credential("private_key")?);
            println!("{}", key.ok_or_else(|| CommandError::new("the private key cannot be read"))?.public());
        }
        Action::Check { vendor, name } => {
            let opened = connections::open(&app, &vendor, &name).await?;
            let kind = connections::kind(&vendor).ok_or_else(|| CommandError::new("no such vendor"))?;
            let text = (kind.check)(&app, &opened).await?;
            say(args.json, &json!({ "vendor": vendor, "name": name, "ok": true, "text": text }), &text);
        }
    }
    Ok(())
}

fn wish(wanted: Add) -> Result<Wish, CommandError> {
    let mut credentials = BTreeMap::new();
    for pair in &wanted.credentials {
        let (name, value) = split("--credential", pair)?;
        credentials.insert(name.to_owned(), secret(name, value)?);
    }
    let mut settings = BTreeMap::new();
    for pair in &wanted.settings {
        let (name, value) = split("--setting", pair)?;
        settings.insert(name.to_owned(), value.to_owned());
    }
    let Add { vendor, name, url, disabled, .. } = wanted;
    Ok(Wish { vendor, name, base_url: url, credentials, settings, disabled })
}

fn split<'a>(option: &str, pair: &'a str) -> Result<(&'a str, &'a str), CommandError> {
    // The value may be a secret: it is not repeated.
    pair.split_once('=').ok_or_else(|| CommandError::usage(format!("{option} takes NAME=VALUE")))
}

/// The event of a connection that is made or changed.
pub(super) fn kept(app: &App, vendor: &str, name: &str) -> Event {
    told(app, "connection-kept", 'U', &format!("connection/{vendor}/{name}"))
}

/// A credential as it is given, or from where it is said to be.
fn secret(name: &str, value: &str) -> Result<SecretText, CommandError> {
    let mut text = String::new();
    if value == "-" {
        std::io::stdin().take(MAX_CREDENTIAL).read_to_string(&mut text)?;
    } else if let Some(path) = value.strip_prefix("file:") {
        std::fs::File::open(path)?.take(MAX_CREDENTIAL).read_to_string(&mut text)?;
    } else if let Some(variable) = value.strip_prefix("env:") {
        let missing = || CommandError::usage(format!("variable {variable}, which holds credential {name}, is not set"));
        text = config::variable(variable).ok_or_else(missing)?;
    } else {
        value.clone_into(&mut text);
    }
    Ok(text.trim().into())
}

async fn list(app: &App, json: bool) -> Result<(), CommandError> {
    let found = rows::list(&app.store, None).await?;
    if json {
        println!("{}", Value::Array(found.iter().map(described).collect()));
        return Ok(());
    }
    for row in &found {
        let state = if row.enabled { row.state.as_str() } else { "disabled" };
        println!("{}  {}  {}  {state}", row.vendor, row.name, row.base_url);
        if let Some(since) = row.failing_since {
            println!("  failing since {}: {}", format_instant(since), row.error);
            println!("  next attempt {}", format_instant(row.due_at));
        }
    }
    Ok(())
}

/// A connection without what is secret.
fn described(row: &Connection) -> Value {
    json!({
        "vendor": row.vendor, "name": row.name, "baseUrl": row.base_url, "enabled": row.enabled,
        "settings": serde_json::from_str::<Value>(&row.settings).unwrap_or(Value::Null),
        "state": row.state.as_str(), "failingSince": row.failing_since.map(format_instant),
        "error": Some(&row.error).filter(|error| !error.is_empty()), "attempts": row.attempts,
        "askedAt": row.asked_at.map(format_instant), "dueAt": Some(row.due_at).filter(|at| *at > 0).map(format_instant),
        "cursor": serde_json::from_str::<Value>(&row.cursor).unwrap_or(Value::Null),
    })
}

fn kinds(json: bool) {
    let field = |field: &Field| json!({ "name": field.name, "default": field.default, "what": field.what });
    let all = |fields: &[Field]| fields.iter().map(field).collect::<Vec<_>>();
    if json {
        let kinds = KINDS.iter().map(|kind| {
            json!({
                "vendor": kind.vendor, "about": kind.about, "baseUrl": kind.base_url,
                "credentials": all(kind.credentials), "settings": all(kind.settings),
            })
        });
        println!("{}", kinds.collect::<Value>());
        return;
    }
    for kind in KINDS {
        print_kind(kind);
    }
}

fn print_kind(kind: &Kind) {
    println!("{}  {}", kind.vendor, kind.about);
    for (option, fields) in [("--credential", kind.credentials), ("--setting", kind.settings)] {
        for field in fields {
            let default = match field.default {
                None => "needed".to_owned(),
                Some("") => "optional".to_owned(),
                Some(text) => format!("default {text}"),
            };
            println!("  {option} {}=…  {} ({default})", field.name, field.what);
        }
    }
}

fn say(json: bool, value: &Value, text: &str) {
    if json {
        println!("{value}");
    } else {
        println!("{text}");
    }
}
