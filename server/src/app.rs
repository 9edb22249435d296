//! What every handler and command shares: configuration, store, clock, randomness and keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::audit::strangers::Strangers;
use crate::background::Worker;
use crate::clock::Clock;
use crate::config::Config;
use crate::cors::Origins;
use crate::devices::door::Door;
use crate::devices::mapping_files::{self, MappingError};
use crate::devices::stream::Listeners;
use crate::insurance;
use crate::oauth::client_keys::ClientKeyCache;
use crate::oauth::external::{self, Discovered};
use crate::oauth::keys::Signer;
use crate::outbound::Outbound;
use crate::random::Random;
use crate::rates::Rates;
use crate::rest::capabilities;
use crate::rest::capabilities::instantiated::Instantiated;
use crate::search_parameters;
use crate::secret::{SecretKey, SecretKeyError};
use crate::usage::Usage;
use adapters::Registry;
use moka::sync::Cache;
use search::view::TypeRule;
use store::{Store, StoreError};
use tokio::sync::Notify;

/// How many different sets of scopes are remembered.
const REMEMBERED_SCOPES: u64 = 10_000;

/// One running server's state; handlers hold it as `web::Data<App>`.
#[derive(Clone)]
pub struct App {
    /// What was set, `auto` values resolved.
    pub config: Config,
    /// Resources, accounts, grants, inbox.
    pub store: Store,
    /// Where "now" comes from.
    pub clock: Clock,
    /// Where ids, codes and tokens come from.
    pub random: Random,
    /// From which the keys of sessions are derived: `app.secret.derive("session")`.
    pub secret: SecretKey,
    /// Signs `id_token`s: `app.signer.id_token(claims)`.
    pub signer: Signer,
    /// What is known of the other OpenID provider.
    pub discovered: Discovered,
    /// Whose scripts may read answers.
    pub origins: Origins,
    /// Sends requests to addresses that others name.
    pub outbound: Outbound,
    /// The same, to services of vendors.
    pub services: Outbound,
    /// What is known of vendors' messages: the compiled adapters and the mapping files.
    pub adapters: Registry,
    /// Public keys of clients that were fetched from their addresses.
    pub client_keys: ClientKeyCache,
    /// What sets of scopes show of each type: a function of their text, remembered.
    pub rules: Cache<String, Arc<BTreeMap<String, TypeRule>>>,
    /// Rung when vendors' messages wait to be applied.
    pub inbox_changed: Arc<Notify>,
    /// Where vendors' messages are kept.
    pub door: Arc<Door>,
    /// Rung when a vendor's service is to be asked anew.
    pub connections_changed: Arc<Notify>,
    /// What capability statements the server is said to fulfil, as it was when it started.
    pub instantiated: Arc<Instantiated>,
    /// What the server can do, as it is answered.
    pub capabilities: Arc<capabilities::Cache>,
    /// Keeps the search parameters in force that the database defines, as long as the state is in use.
    pub parameters: Arc<OnceLock<Worker>>,
    /// Rung when jobs wait to be carried out.
    pub jobs_changed: Arc<Notify>,
    /// Rung when claims wait to be sent.
    pub claims_changed: Arc<Notify>,
    /// Access tokens of payers.
    pub payer_tokens: Arc<insurance::account::Tokens>,
    /// How much apps ask, until it is written.
    pub usage: Arc<Usage>,
    /// How many events of requests by nobody known the trail has just got.
    pub strangers: Arc<Strangers>,
    /// How many requests each client makes just now.
    pub rates: Arc<Rates>,
    /// Who listens to what is committed.
    pub listeners: Arc<Listeners>,
}

/// Why the state could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No secret key.
    #[error(transparent)]
    SecretKey(#[from] SecretKeyError),
    /// The folder of an SQLite database cannot be made.
    #[error("cannot make folder {0}: {1}")]
    Folder(PathBuf, std::io::Error),
    /// The database cannot be opened or brought up to date.
    #[error("database {0}: {1}")]
    Database(String, StoreError),
    /// A mapping file that cannot be used.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// Settings that do not go together.
    #[error("{0}")]
    Settings(&'static str),
    /// The tables are of an older version.
    #[error("the database lacks {} migration(s), first {}; run `tributary migrate`", .0.len(), .0[0])]
    Outdated(Vec<String>),
}

impl App {
    /// Opens the database that `config` names, without touching its tables.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let config = config.clone().resolved();
        external::check(&config).map_err(OpenError::Settings)?;
        let adapters = mapping_files::registry(&config)?;
        let random = Random::system();
        if let Some(folder) = config.sqlite_path().and_then(Path::parent) {
            make_private(folder).map_err(|error| OpenError::Folder(folder.to_owned(), error))?;
        }
        let secret = SecretKey::load(&config, &random)?;
        let limit = Duration::from_secs(config.search_seconds.into());
        let store = Store::open_with(&config.database, secret.derive("cursor"), &config.fhir_base(), limit)
            .await
            .map_err(|error| OpenError::Database(config.database_for_display(), error))?;
        let rules = Cache::new(REMEMBERED_SCOPES);
        let clock = Clock::system();
        let signer = Signer::new(&store, &clock, &random, &secret);
        let (outbound, services) = (Outbound::new(&config), Outbound::to_services(&config));
        Ok(App {
            config,
            store,
            clock,
            random,
            secret,
            signer,
            discovered: Discovered::default(),
            origins: Origins::default(),
            outbound,
            services,
            adapters,
            client_keys: ClientKeyCache::default(),
            rules,
            inbox_changed: Arc::default(),
            door: Arc::default(),
            connections_changed: Arc::default(),
            instantiated: Arc::default(),
            capabilities: Arc::default(),
            parameters: Arc::default(),
            jobs_changed: Arc::default(),
            claims_changed: Arc::default(),
            payer_tokens: Arc::default(),
            usage: Arc::default(),
            rates: Arc::default(),
            strangers: Arc::default(),
            listeners: Arc::default(),
        })
    }

    /// Opens the database and sees to its tables: brings them up to date, or refuses where `auto-migrate` is off.
    pub async fn open_ready(config: &Config) -> Result<Self, OpenError> {
        let mut app = App::open(config).await?;
        let database = app.config.database_for_display();
        let at = |error| OpenError::Database(database.clone(), error);
        if app.config.auto_migrate {
            app.store.migrate().await.map_err(at)?;
        } else {
            let pending = app.store.pending_migrations().await.map_err(at)?;
            if !pending.is_empty() {
                return Err(OpenError::Outdated(pending));
            }
        }
        search_parameters::load(&app.store, &app.clock).await.map_err(at)?;
        app.parameters.get_or_init(|| search_parameters::watch(&app.store, &app.clock));
        app.instantiated = Arc::new(Instantiated::load(&app).await.map_err(at)?);
        Ok(app)
    }
}

/// Makes a folder that only its owner can enter; one that exists stays as it is.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    if folder.as_os_str().is_empty() { Ok(()) } else { builder.create(folder) }
}
