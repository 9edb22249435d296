//! `tributary client`: registers OAuth clients and looks after their secrets. (SM-61, OA-03)

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use smart::client::{Client, ClientAuthentication, ClientKeys, ClientKind};
use smart::redirect_uri::RedirectUri;
use smart::scope::ScopeSet;
use smart::token::{Kind, Secret};
use store::{StoreError, clients, invitations};

use super::{CommandError, told};
use crate::app::App;
use crate::config::Config;
use crate::registration;

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
    /// Invite somebody to register one app at /oauth/register (RFC 7591): prints an initial access token.
    Invite {
        /// How long the invitation can be used.
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = super::token::duration)]
        ttl: std::time::Duration,
    },
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
        default_value = "openid fhirUser launch launch/patient launch/encounter offline_access online_access patient/*.cruds user/*.cruds"
    )]
    #[arg(default_value_if("kind", "backend", "system/*.cruds"))]
    pub scope: String,
    /// Where it gets its answers; may be given more than once.
    #[arg(long = "redirect-uri", value_name = "URI")]
    pub redirect_uris: Vec<String>,
    /// Where an EHR starts it, with `iss` and `launch`.
    #[arg(long, value_name = "URI")]
    pub launch_uri: Option<String>,
    /// File with its public keys, a JWK Set: it signs instead of having a secret. Backend services need this or
    /// --jwks-url.
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_url")]
    pub jwks: Option<std::path::PathBuf>,
    /// Address of its public keys, fetched when they are needed.
    #[arg(long, value_name = "URL")]
    pub jwks_url: Option<String>,
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
        Action::Invite { ttl } => invite(&app, ttl, args.json).await,
        Action::Disable { id } => switch(&app, id, false, args.json).await,
        Action::Enable { id } => switch(&app, id, true, args.json).await,
    }
}

async fn add(app: &App, add: Add, json: bool) -> Result<(), CommandError> {
    let client = checked(app, &add)?;
    let secret = client.has_secret().then(|| Secret::new(Kind::ClientSecret, app.random.bytes()));
    let (written, hash, now) = (client.clone(), secret.as_ref().map(Secret::hash), app.clock.now());
    let launch_uri = add.launch_uri.as_deref().map(checked_launch_uri).transpose()?;
    let event = told(app, "client-added", 'C', &format!("client/{}", client.id));
    let added = app.store.write(move |tx| {
        let (client, launch_uri, event) = (written.clone(), launch_uri.clone(), event.clone());
        Box::pin(async move {
            if clients::exists(tx, &client.id).await? {
                return Ok(false);
            }
            tx.record(event);
            clients::insert(tx, &client, now).await?;
            if let Some(uri) = launch_uri {
                store::launches::set_launch_uri(tx, &client.id, &uri).await?;
            }
            if let Some(hash) = hash {
                clients::insert_secret(tx, &client.id, hash, now).await?;
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
    let uris = add.redirect_uris.iter().map(|uri| {
        RedirectUri::register(uri).map_err(|error| CommandError::new(format!("--redirect-uri {uri}: {error}")))
    });
    let keys = match (&add.jwks, &add.jwks_url) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file);
            ClientKeys::Inline(text.map_err(|error| CommandError::new(format!("--jwks {}: {error}", file.display())))?)
        }
        (None, Some(url)) => ClientKeys::Url(url.clone()),
        (None, None) => ClientKeys::None,
    };
    let authentication = match (kind, &keys) {
        (_, ClientKeys::Inline(_) | ClientKeys::Url(_)) => ClientAuthentication::PrivateKeyJwt,
        (ClientKind::Confidential, ClientKeys::None) => ClientAuthentication::Secret,
        (ClientKind::Public | ClientKind::Backend, ClientKeys::None) => ClientAuthentication::None,
    };
    let client = Client {
        id: add.id.clone().unwrap_or_else(|| app.random.uuid()),
        name: add.name.trim().to_owned(),
        kind,
        authentication,
        keys,
        redirect_uris: uris.collect::<Result<Vec<_>, _>>()?,
        scopes: ScopeSet::parse(&add.scope)?,
        valid_from: None,
        valid_to: None,
        disabled_at: None,
    };
    registration::check(app, &client).map_err(|error| CommandError::new(error.text))?;
    Ok(client)
}

async fn invite(app: &App, ttl: std::time::Duration, json: bool) -> Result<(), CommandError> {
    let secret = Secret::new(Kind::Invitation, app.random.bytes());
    let (hash, now) = (secret.hash(), app.clock.now());
    let ends = now + ttl.as_micros() as i64;
    let event = told(app, "invitation-made", 'C', "invitation");
    let kept = app.store.write(move |tx| {
        let event = event.clone();
        Box::pin(async move {
            tx.record(event);
            invitations::insert(tx, hash, None, now, ends).await
        })
    });
    kept.await.map_err(|error: StoreError| CommandError::from(error))?;
    let endpoint = format!("{}/oauth/register", app.config.base_url);
    if json {
        let invitation = serde_json::json!({
            "initial_access_token": secret.expose(), "registration_endpoint": endpoint, "expires_in": ttl.as_secs(),
        });
        println!("{invitation}");
        return Ok(());
    }
    println!("{}", secret.expose());
    eprintln!("Good for one registration at {endpoint}, for {} hours. It is not shown again.", ttl.as_secs() / 3600);
    Ok(())
}

/// The same rules as for where answers go: what is opened there gets a launch handle.
fn checked_launch_uri(text: &str) -> Result<String, CommandError> {
    let checked = RedirectUri::register(text);
    checked.map(|uri| uri.to_string()).map_err(|error| CommandError::new(format!("--launch-uri: \"{text}\" {error}")))
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
    if !client.has_secret() {
        return Err(CommandError::new(format!(
            "\"{}\" has no secret: it is public, or signs with its keys",
            client.id
        )));
    }
    let secret = Secret::new(Kind::ClientSecret, app.random.bytes());
    let (hash, now) = (secret.hash(), app.clock.now());
    let ends = now + rotate.overlap.as_micros() as i64;
    let id = client.id.clone();
    let event = told(app, "client-secret-made", 'U', &format!("client/{id}"));
    let rotated = app.store.write(move |tx| {
        let (id, event) = (id.clone(), event.clone());
        Box::pin(async move {
            tx.record(event);
            clients::end_secrets(tx, &id, ends).await?;
            clients::insert_secret(tx, &id, hash, now).await
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
    let event = told(app, if on { "client-enabled" } else { "client-disabled" }, 'U', &format!("client/{id}"));
    let known = app.store.write(move |tx| {
        let (id, event) = (written.clone(), event.clone());
        Box::pin(async move {
            let known = clients::set_disabled(tx, &id, at).await?;
            if known {
                tx.record(event);
            }
            Ok(known)
        })
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
        "authentication": client.authentication.as_str(),
    })
}
