//! `tributary client`: registers OAuth clients and looks after their secrets. (SM-61, OA-03)

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use smart::client::{Client, ClientKind};
use smart::redirect_uri::RedirectUri;
use smart::scope::{Scope, ScopeSet};
use smart::token::{Kind, Secret};
use store::{StoreError, clients, tokens};

use super::CommandError;
use crate::access;
use crate::app::App;
use crate::config::Config;

/// Options of `client`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done with clients.
#[derive(Subcommand, Clone, Debug)]
pub enum Action {
    /// Register a client; a secret, if its kind has one, is printed this once.
    Add(Add),
    /// List the clients.
    List,
    /// Give a client a new secret.
    Rotate(Rotate),
    /// Switch a client off: its tokens stop working at once.
    Disable {
        /// Its client id.
        id: String,
    },
    /// Switch a client on again.
    Enable {
        /// Its client id.
        id: String,
    },
}

/// Options of `client add`.
#[derive(clap::Args, Clone, Debug)]
pub struct Add {
    /// Name for people, shown at consent.
    #[arg(long)]
    pub name: String,
    /// public: an app that cannot keep a secret; confidential: an app on a server; backend: a program without a person.
    #[arg(long, default_value = "public", value_parser = PossibleValuesParser::new(["public", "confidential", "backend"]))]
    pub kind: String,
    /// The most that it can be granted.
    #[arg(
        long,
        value_name = "SCOPES",
        default_value = "launch/patient offline_access online_access patient/*.cruds user/*.cruds"
    )]
    #[arg(default_value_if("kind", "backend", "system/*.cruds"))]
    pub scope: String,
    /// Where it gets its answers; may be given more than once.
    #[arg(long = "redirect-uri", value_name = "URI")]
    pub redirect_uris: Vec<String>,
    /// Its client id [default: a random one].
    #[arg(long)]
    pub id: Option<String>,
}

/// Options of `client rotate`.
#[derive(clap::Args, Clone, Debug)]
pub struct Rotate {
    /// Its client id.
    pub id: String,
    /// How long the old secrets are still accepted.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = super::token::duration)]
    pub overlap: std::time::Duration,
}

/// Carries it out and prints the result.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open_ready(config).await?;
    match args.action {
        Action::Add(add) => self::add(&app, add, args.json).await,
        Action::List => list(&app, args.json).await,
        Action::Rotate(rotate) => self::rotate(&app, rotate, args.json).await,
        Action::Disable { id } => switch(&app, id, false, args.json).await,
        Action::Enable { id } => switch(&app, id, true, args.json).await,
    }
}

async fn add(app: &App, add: Add, json: bool) -> Result<(), CommandError> {
    let client = checked(app, &add)?;
    let secret = client.kind.has_secret().then(|| Secret::new(Kind::ClientSecret, app.random.bytes()));
    let (written, hash, now) = (client.clone(), secret.as_ref().map(Secret::hash), app.clock.now());
    let added = app.store.write(move |tx| {
        let client = written.clone();
        Box::pin(async move {
            if clients::exists(tx, &client.id).await? {
                return Ok(false);
            }
            clients::insert(tx, &client, now).await?;
            if let Some(hash) = hash {
                clients::add_secret(tx, &client.id, hash, now).await?;
            }
            Ok::<_, StoreError>(true)
        })
    });
    if !added.await? {
        return Err(CommandError::new(format!("there is a client \"{}\" already", client.id)));
    }
    let secret = secret.as_ref().map(Secret::expose);
    if json {
        let mut object = describe(&client);
        object["client_secret"] = secret.into();
        println!("{object}");
        return Ok(());
    }
    println!("client_id      {}", client.id);
    if let Some(secret) = secret {
        println!("client_secret  {secret}");
        eprintln!("The secret is not shown again.");
    }
    Ok(())
}

fn checked(app: &App, add: &Add) -> Result<Client, CommandError> {
    let kind =
        ClientKind::parse(&add.kind).ok_or_else(|| CommandError::new("--kind is public, confidential or backend"))?;
    let id = add.id.clone().unwrap_or_else(|| app.random.uuid());
    if id.is_empty() || id.len() > 128 || !id.chars().all(|c| c.is_ascii_graphic()) || id == tokens::OPERATOR {
        return Err(CommandError::new(
            "--id is 1 to 128 printable ASCII characters without spaces, and not \"operator\"",
        ));
    }
    let uris = add.redirect_uris.iter().map(|uri| {
        RedirectUri::register(uri).map_err(|error| CommandError::new(format!("--redirect-uri {uri}: {error}")))
    });
    let redirect_uris = uris.collect::<Result<Vec<_>, _>>()?;
    if (kind == ClientKind::Backend) != redirect_uris.is_empty() {
        return Err(CommandError::new("--redirect-uri is needed for apps, and backend services have none"));
    }
    let scopes = ScopeSet::parse(&add.scope)?;
    let base = app.config.fhir_base();
    if let Some(scope) = scopes.iter().find(|scope| !kind.can_hold(scope)) {
        return Err(CommandError::new(format!("a {} client cannot hold {scope}", kind.as_str())));
    }
    let unusable = |scope: &&Scope| matches!(scope, Scope::Resource(resource) if !access::is_honoured(resource, &base));
    if let Some(scope) = scopes.iter().find(unusable) {
        return Err(CommandError::new(format!("the conditions of {scope} cannot be honoured by a search of its type")));
    }
    let name = add.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(CommandError::new("--name is 1 to 100 characters without control characters"));
    }
    Ok(Client { id, name, kind, redirect_uris, scopes, valid_from: None, valid_to: None, disabled_at: None })
}

async fn list(app: &App, json: bool) -> Result<(), CommandError> {
    let clients = clients::all(&app.store).await?;
    if json {
        println!("{}", serde_json::Value::from(clients.iter().map(describe).collect::<Vec<_>>()));
        return Ok(());
    }
    for client in &clients {
        let state = if client.is_active(app.clock.now()) { "active" } else { "disabled" };
        println!("{}\t{}\t{state}\t{}\t{}", client.id, client.kind.as_str(), client.name, client.scopes);
    }
    Ok(())
}

async fn rotate(app: &App, rotate: Rotate, json: bool) -> Result<(), CommandError> {
    let client = clients::find(&app.store, &rotate.id).await?.ok_or_else(|| unknown(&rotate.id))?;
    if !client.kind.has_secret() {
        return Err(CommandError::new(format!("\"{}\" is a public client and has no secret", client.id)));
    }
    let secret = Secret::new(Kind::ClientSecret, app.random.bytes());
    let (hash, now) = (secret.hash(), app.clock.now());
    let ends = now + rotate.overlap.as_micros() as i64;
    let id = client.id.clone();
    let rotated = app.store.write(move |tx| {
        let id = id.clone();
        Box::pin(async move {
            clients::end_secrets(tx, &id, ends).await?;
            clients::add_secret(tx, &id, hash, now).await
        })
    });
    rotated.await.map_err(|error: StoreError| CommandError::from(error))?;
    let overlap = rotate.overlap.as_secs();
    if json {
        println!(
            "{}",
            serde_json::json!({ "client_id": client.id, "client_secret": secret.expose(), "old_ends_in": overlap })
        );
        return Ok(());
    }
    println!("client_id      {}\nclient_secret  {}", client.id, secret.expose());
    eprintln!("The secret is not shown again. The old one ends in {overlap} seconds.");
    Ok(())
}

async fn switch(app: &App, id: String, on: bool, json: bool) -> Result<(), CommandError> {
    let at = (!on).then(|| app.clock.now());
    let written = id.clone();
    let known = app.store.write(move |tx| {
        let id = written.clone();
        Box::pin(async move { clients::set_disabled(tx, &id, at).await })
    });
    if !known.await.map_err(|error: StoreError| CommandError::from(error))? {
        return Err(unknown(&id));
    }
    let state = if on { "active" } else { "disabled" };
    if json {
        println!("{}", serde_json::json!({ "client_id": id, "state": state }));
    } else {
        println!("{id} is {state}");
    }
    Ok(())
}

fn unknown(id: &str) -> CommandError {
    CommandError::new(format!("there is no client \"{id}\"; `tributary client list` shows all"))
}

fn describe(client: &Client) -> serde_json::Value {
    let uris: Vec<&str> = client.redirect_uris.iter().map(RedirectUri::as_str).collect();
    serde_json::json!({
        "client_id": client.id, "name": client.name, "kind": client.kind.as_str(), "redirect_uris": uris,
        "scope": client.scopes.to_string(), "disabled": client.disabled_at.is_some(),
    })
}
