//! What can be set, and where each value comes from: flag, then `TRIBUTARY_…` variable, then TOML file, then default.
//!
//! The fields below are the only list: flags, variables, keys of the file, help and `tributary config` are made from
//! it. A key or variable that is not in the list refuses to start, so that a typing error cannot pass as a setting.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{ArgAction, ArgMatches, Args, FromArgMatches, ValueEnum};

use crate::client_address::TrustedProxies;
use crate::rest::capabilities::instantiated::Canonicals;
use crate::secret::SecretText;

mod file;
mod nearest;
mod setting;

pub use setting::{Setting, SettingSource};

/// File that is read where none is named and it exists.
pub const DEFAULT_FILE: &str = "tributary.toml";

/// Database where none is named.
const DEFAULT_DATABASE: &str = "sqlite:./data/tributary.sqlite";

/// What `auto` is with the default address.
const DEFAULT_BASE_URL: &str = "http://127.0.0.1:8080";

/// Start of the name of every variable.
pub const VARIABLE_PREFIX: &str = "TRIBUTARY_";

/// Variables with this start belong to the tests and are not looked at.
const TEST_VARIABLE_PREFIX: &str = "TRIBUTARY_TEST_";

/// The settings of one server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Settings")]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Config {
    /// TOML file with settings [default: ./tributary.toml if it exists].
    #[arg(long, env = "TRIBUTARY_CONFIG", global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, env = "TRIBUTARY_LISTEN", global = true, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the data is: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`.
    #[arg(long, env = "TRIBUTARY_DATABASE", global = true, value_name = "DATABASE")]
    #[arg(default_value = DEFAULT_DATABASE, value_parser = setting::database, hide_env_values = true)]
    pub database: String,
    /// Address under which clients reach this server, as it stands in tokens, links and Locations; `auto` is
    /// `http://LISTEN`.
    #[arg(long, env = "TRIBUTARY_BASE_URL", global = true, value_name = "URL", default_value = "auto")]
    #[arg(value_parser = setting::base_url)]
    pub base_url: String,
    /// What people call who runs this server, as apps show it in their lists of servers.
    #[arg(long, env = "TRIBUTARY_ORGANIZATION", global = true, value_name = "NAME", default_value = "Tributary")]
    pub organization: String,
    /// Whether `serve` brings the tables up to date itself; else it refuses to start until `migrate` has run.
    #[arg(long, env = "TRIBUTARY_AUTO_MIGRATE", global = true, value_name = "BOOL", default_value_t = true)]
    #[arg(action = ArgAction::Set)]
    pub auto_migrate: bool,
    /// The server's secret key, 32 bytes in hexadecimal or base64url. Give the same to every node of one database.
    #[arg(long, env = "TRIBUTARY_SECRET_KEY", global = true, value_name = "KEY", hide_env_values = true)]
    pub secret_key: Option<SecretText>,
    /// File that holds the secret key; made on the first start [default: beside the SQLite database, or
    /// ./data/tributary.key].
    #[arg(long, env = "TRIBUTARY_SECRET_KEY_FILE", global = true, value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// Requests a second that one client may make, each of its people by themselves; more are 429. 0 is no bound.
    #[arg(long, env = "TRIBUTARY_CLIENT_REQUESTS", global = true, value_name = "COUNT", default_value_t = 100_000)]
    pub client_requests: u32,
    /// What tokens below `system/` see of resources labelled restricted or very restricted (`meta.security` R, V) where
    /// no scope names the label.
    #[arg(long, env = "TRIBUTARY_RESTRICTED", global = true, value_name = "MODE", default_value = "shown")]
    pub restricted: Restricted,
    /// Largest body of a FHIR request.
    #[arg(long, env = "TRIBUTARY_MAX_BODY", global = true, value_name = "BYTES", default_value = "16MiB")]
    #[arg(value_parser = setting::bytes)]
    pub max_body: usize,
    /// Largest body of a vendor's delivery.
    #[arg(long, env = "TRIBUTARY_MAX_DELIVERY", global = true, value_name = "BYTES", default_value = "10MiB")]
    #[arg(value_parser = setting::bytes)]
    pub max_delivery: usize,
    /// Whether addresses that others name (key sets of clients, identity providers) may lie on this machine or in a
    /// private network, also without TLS. For development, and where such a provider is inside the house.
    #[arg(long, env = "TRIBUTARY_OUTBOUND_PRIVATE", global = true, value_name = "BOOL", default_value_t = false)]
    #[arg(action = ArgAction::Set)]
    pub outbound_private: bool,
    /// Seconds that a service of a vendor or a payer may take for an answer, from the connection to its last byte.
    #[arg(long, env = "TRIBUTARY_OUTBOUND_SECONDS", global = true, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=300))]
    pub outbound_seconds: u32,
    /// Proxies in front of this server, addresses and networks with commas between them: where a request comes from is
    /// taken from their `X-Forwarded-For`.
    #[arg(long, env = "TRIBUTARY_TRUSTED_PROXIES", global = true, value_name = "NETWORKS", default_value = "")]
    pub trusted_proxies: TrustedProxies,
    /// Capability statements that this server is to fulfil, canonical URLs with commas between them. They are stated at
    /// `/metadata`, and so are the profiles that they ask of a server if they are stored here when it starts.
    #[arg(long, env = "TRIBUTARY_INSTANTIATES", global = true, value_name = "URLS", default_value = "")]
    pub instantiates: Canonicals,
    /// Most listeners to live readings at once, of all apps and pages together.
    #[arg(long, env = "TRIBUTARY_STREAM_LISTENERS", global = true, value_name = "COUNT", default_value_t = 1000)]
    pub stream_listeners: usize,
    /// Base of the identifier systems, code systems and extensions that vendors' data gets. Set it to an address of
    /// your own before the first device delivers: it is part of every identifier.
    #[arg(long, env = "TRIBUTARY_ADAPTER_NAMESPACE", global = true, value_name = "URL")]
    #[arg(default_value = "https://example.org/fhir/adapters", value_parser = setting::namespace)]
    pub adapter_namespace: String,
    /// Folder with mapping files (`*.toml`): vendors that are added without a compiler.
    #[arg(long, env = "TRIBUTARY_ADAPTERS", global = true, value_name = "FOLDER")]
    pub adapters: Option<PathBuf>,
    /// Whether a reading that comes by two vendors counts once: same IMEI, same second, same LOINC codes and values.
    #[arg(long, env = "TRIBUTARY_JOIN_TWIN_READINGS", global = true, value_name = "BOOL", default_value_t = false)]
    #[arg(action = ArgAction::Set)]
    pub join_twin_readings: bool,
    /// Most entries of a batch or transaction.
    #[arg(long, env = "TRIBUTARY_MAX_BUNDLE_ENTRIES", global = true, value_name = "COUNT", default_value_t = 10_000)]
    pub max_bundle_entries: usize,
    /// What `DELETE Type?criteria` does where several resources match: refuse, or delete them all.
    #[arg(long, env = "TRIBUTARY_CONDITIONAL_DELETE", global = true, value_name = "MODE", default_value = "single")]
    pub conditional_delete: ConditionalDelete,
    /// Matches on a search page where `_count` is not given.
    #[arg(long, env = "TRIBUTARY_PAGE_SIZE", global = true, value_name = "COUNT", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub page_size: u32,
    /// Most matches on a search page, whatever `_count` says.
    #[arg(long, env = "TRIBUTARY_MAX_PAGE_SIZE", global = true, value_name = "COUNT", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_page_size: u32,
    /// Seconds that a search may take before it is refused as too costly.
    #[arg(long, env = "TRIBUTARY_SEARCH_SECONDS", global = true, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub search_seconds: u32,
    /// Seconds that the answer of an asynchronous request (`Prefer: respond-async`) is kept.
    #[arg(long, env = "TRIBUTARY_ASYNC_KEEP_SECONDS", global = true, value_name = "SECONDS", default_value_t = 3600)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=604_800))]
    pub async_keep_seconds: u32,
    /// Bulk exports that one client may have, those under way and those that are kept together; more are 429.
    #[arg(long, env = "TRIBUTARY_BULK_EXPORTS", global = true, value_name = "COUNT", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub bulk_exports: u32,
    /// Seconds that the files of a bulk export are kept.
    #[arg(long, env = "TRIBUTARY_BULK_KEEP_SECONDS", global = true, value_name = "SECONDS", default_value_t = 86_400)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=604_800))]
    pub bulk_keep_seconds: u32,
    /// Most resources in one file of a bulk export.
    #[arg(long, env = "TRIBUTARY_BULK_FILE_RESOURCES", global = true, value_name = "COUNT", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    pub bulk_file_resources: u32,
    /// Most bytes that the files of one bulk export may take in the database, where they are compressed.
    #[arg(long, env = "TRIBUTARY_MAX_BULK", global = true, value_name = "BYTES", default_value = "10GiB")]
    #[arg(value_parser = setting::bytes)]
    pub max_bulk: usize,
    /// Days that events of the audit trail are kept; the default is six years, as HIPAA has it (45 CFR 164.316(b)(2)).
    #[arg(long, env = "TRIBUTARY_AUDIT_RETENTION", global = true, value_name = "DAYS", default_value_t = 2192)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub audit_retention: u32,
    /// Threads that answer requests; 0 is one a processor.
    #[arg(long, env = "TRIBUTARY_WORKERS", global = true, value_name = "COUNT", default_value_t = 0)]
    pub workers: usize,
    /// Seconds that requests in flight get to finish when the server is stopped.
    #[arg(long, env = "TRIBUTARY_SHUTDOWN_SECONDS", global = true, value_name = "SECONDS", default_value_t = 20)]
    pub shutdown_seconds: u64,
    /// Another OpenID provider at which people may sign in, such as a hospital's: its issuer.
    #[arg(long, env = "TRIBUTARY_OPENID_ISSUER", global = true, value_name = "URL")]
    #[arg(value_parser = setting::issuer)]
    pub openid_issuer: Option<String>,
    /// `client_id` of this server at that provider; its redirect URI there is
    /// `BASE_URL/oauth/external/callback`.
    #[arg(long, env = "TRIBUTARY_OPENID_CLIENT_ID", global = true, value_name = "ID")]
    pub openid_client_id: Option<String>,
    /// Secret of this server at that provider.
    #[arg(long, env = "TRIBUTARY_OPENID_CLIENT_SECRET", global = true, value_name = "SECRET", hide_env_values = true)]
    pub openid_client_secret: Option<SecretText>,
    /// What people call that provider: the sign-in page offers "Sign in with NAME".
    #[arg(long, env = "TRIBUTARY_OPENID_NAME", global = true, value_name = "NAME")]
    #[arg(default_value = "your organisation")]
    pub openid_name: String,
    /// Whether that provider's claim `fhirUser` decides whose account it is; else only people who were linked with
    /// `tributary user` can sign in there.
    #[arg(long, env = "TRIBUTARY_OPENID_FHIR_USER", global = true, value_name = "BOOL", default_value_t = false)]
    #[arg(action = ArgAction::Set)]
    pub openid_fhir_user: bool,
    /// How log lines look.
    #[arg(long, env = "TRIBUTARY_LOG_FORMAT", global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Which log lines are written: error, warn, info, debug, trace, or per target as `info,store=debug`.
    #[arg(long, env = "TRIBUTARY_LOG_LEVEL", global = true, value_name = "LEVEL", default_value = "info")]
    #[arg(value_parser = setting::log_level)]
    pub log_level: String,
    /// Every setting with its value, without secrets, and where it came from.
    #[arg(skip)]
    pub settings: Vec<Setting>,
}

/// What becomes of resources that are labelled restricted. (LK-45)
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restricted {
    /// They are shown like all others.
    #[default]
    Shown,
    /// They are not there but for a scope that names the label.
    Withheld,
}

/// How many resources a conditional delete may be about.
/// <https://hl7.org/fhir/R4/valueset-conditional-delete-status.html>
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConditionalDelete {
    /// One; several are 412.
    #[default]
    Single,
    /// All that match, up to a bound.
    Multiple,
}

impl ConditionalDelete {
    /// The code in the CapabilityStatement.
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionalDelete::Single => "single",
            ConditionalDelete::Multiple => "multiple",
        }
    }
}

/// How log lines look.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Parses a command line whose `command` holds the [`Config`] options, with variables and file beneath the flags.
pub fn parse(command: clap::Command, arguments: Vec<OsString>) -> Result<(ArgMatches, Vec<Setting>), clap::Error> {
    refuse_unknown_variables(&command)?;
    let first = command.clone().try_get_matches_from(&arguments);
    let named = first.as_ref().ok().and_then(|matches| matches.get_one::<PathBuf>("config").cloned());
    let file = match (named, Path::new(DEFAULT_FILE)) {
        (Some(path), _) => path,
        (None, default) if first.is_ok() && default.exists() => default.to_path_buf(),
        (None, _) => {
            let matches = first?;
            let settings = setting::list(&command, &matches, None);
            return Ok((matches, settings));
        }
    };
    let values = file::read(&command, &file)?;
    let mut layered = command;
    for (key, value) in &values {
        layered = layered.mut_arg(id_of(key), |arg| arg.default_value(value.clone()));
    }
    let matches =
        layered.clone().try_get_matches_from(arguments).map_err(|error| file::blame(error, &file, &values))?;
    let settings = setting::list(&layered, &matches, Some((&file, &values)));
    Ok((matches, settings))
}

impl Config {
    /// A configuration from flags alone, for tests and for servers inside another process.
    ///
    /// # Panics
    /// Where a flag does not parse.
    pub fn from_flags(flags: &[&str]) -> Self {
        let command = Config::augment_args(clap::Command::new("tributary").no_binary_name(true));
        let matches = command.get_matches_from(flags);
        Config::from_arg_matches(&matches).expect("the matches are of Config's own arguments")
    }

    /// The same with `auto` values filled in, once the address is known.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        if self.base_url == setting::AUTO {
            self.base_url = format!("http://{}", self.listen);
        }
        self.page_size = self.page_size.min(self.max_page_size);
        self
    }

    /// Address of the FHIR service, without a slash at the end.
    pub fn fhir_base(&self) -> String {
        format!("{}/fhir", self.base_url)
    }

    /// The flags with which another command reaches this server's database and makes tokens for its address; empty
    /// where they are the defaults. For hints to people: a password is not in it.
    pub fn flags_to_reach(&self) -> String {
        let mut flags = String::new();
        if self.base_url != DEFAULT_BASE_URL {
            flags += " --base-url ";
            flags += &self.base_url;
        }
        if self.database != DEFAULT_DATABASE {
            flags += " --database '";
            flags += &self.database_for_display();
            flags.push('\'');
        }
        flags
    }

    /// The file of an SQLite database.
    pub fn sqlite_path(&self) -> Option<&Path> {
        self.database.strip_prefix("sqlite:").map(Path::new)
    }

    /// The database's address without its password, fit for logs.
    pub fn database_for_display(&self) -> String {
        setting::without_password(&self.database)
    }
}

/// The value of a variable that a command was told to read something from; nothing if it is not set, or no text.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A variable that no setting knows is a typing error, so say so before it does harm.
fn refuse_unknown_variables(command: &clap::Command) -> Result<(), clap::Error> {
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|arg| arg.get_env())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let ours = name.starts_with(VARIABLE_PREFIX) && !name.starts_with(TEST_VARIABLE_PREFIX);
        if ours && !known.iter().any(|known| *known == name) {
            let hint = nearest::hint(&name, known.iter().map(String::as_str));
            let message = format!("environment variable {name} is not a setting; {hint}\n");
            return Err(clap::Error::raw(clap::error::ErrorKind::UnknownArgument, message));
        }
    }
    Ok(())
}

/// The argument behind a key of the file: keys are the flags' names.
fn id_of(key: &str) -> String {
    key.replace('-', "_")
}
