//! The command line: `tributary [OPTIONS] [COMMAND]`, one file a command.
//!
//! Each command file exports `Args` (clap) and `run(args, &config)`. Results go to standard output, as text or with
//! `--json` as one JSON document; progress and logs go to standard error.

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use store::audit::{Entity, Event, Kind};
use store::tokens;

use crate::app::App;
use crate::caller::Caller;
use crate::config::{Config, SettingSource};
use crate::logging;

pub mod adapter;
pub mod audit;
pub mod client;
pub mod config;
pub mod connection;
pub mod demo;
pub mod doctor;
pub mod fhirpath;
pub mod import;
pub mod inbox;
pub mod key;
pub mod migrate;
pub mod pair;
pub mod reference;
pub mod reindex;
pub mod serve;
pub mod simulate;
pub mod token;
pub mod ucum;
pub mod user;
pub mod vendor;

/// A FHIR R4 server into which devices, phones, insurers and apps flow. Without a command it serves.
#[derive(Parser)]
#[command(name = "tributary", bin_name = "tributary", version, about, max_term_width = 110)]
pub struct CommandLine {
    /// Settings of the server: each also as variable and as key of the TOML file.
    #[command(flatten)]
    pub config: Config,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the binary can do.
#[derive(Subcommand)]
pub enum Command {
    /// Start the server (the default).
    Serve(serve::Args),
    /// Bring the database's tables up to date.
    Migrate(migrate::Args),
    /// Check this installation and say what to fix.
    Doctor(doctor::Args),
    /// Show the whole product on a fresh, temporary database.
    Demo(demo::Args),
    /// Load resources from NDJSON files and bundles.
    Import(import::Args),
    /// Rebuild the search index from the stored resources.
    Reindex(reindex::Args),
    /// Print a page of the documentation that is made of the tables that run.
    #[command(hide = true)]
    Reference(reference::Args),
    /// Check that the audit trail is as it was written.
    Audit(audit::Args),
    /// Print the effective configuration, without secrets.
    Config(config::Args),
    /// Mint an access token straight from the database.
    Token(token::Args),
    /// Manage OAuth clients.
    Client(client::Args),
    /// Manage the keys that sign `id_token`s.
    Key(key::Args),
    /// Manage the accounts people log in with.
    User(user::Args),
    /// Manage which patient a device belongs to.
    Pair(pair::Args),
    /// Look into received vendor messages and replay them.
    Inbox(inbox::Args),
    /// Manage the vendors that may deliver, and their keys.
    Vendor(vendor::Args),
    /// Manage the vendors' services that this server asks by itself.
    Connection(connection::Args),
    /// Play a vendor's side, to try an integration without the vendor.
    Simulate(simulate::Args),
    /// Say what vendors' messages become, without a server.
    Adapter(adapter::Args),
    /// Evaluate a FHIRPath expression on a file.
    Fhirpath(fhirpath::Args),
    /// Check and convert units of measure.
    Ucum(ucum::Args),
}

/// Why a command failed, in words for the person at the terminal. Any error converts into it with `?`.
pub struct CommandError {
    message: String,
    exit_code: u8,
}

/// Runs the process's command line to its end.
pub fn main() -> ExitCode {
    end_quietly_on_a_closed_pipe();
    let mut line = match CommandLine::read(std::env::args_os().collect()) {
        Ok(line) => line,
        Err(error) => error.exit(),
    };
    line.quiet_unless_asked();
    logging::start(&line.config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&CommandError::from(error)),
    };
    match runtime.block_on(run(line)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Runs one parsed command line.
pub async fn run(line: CommandLine) -> Result<(), CommandError> {
    let config = &line.config;
    match line.command.unwrap_or_else(|| Command::Serve(serve::Args::default())) {
        Command::Serve(args) => serve::run(args, config).await,
        Command::Migrate(args) => migrate::run(args, config).await,
        Command::Doctor(args) => doctor::run(args, config).await,
        Command::Demo(args) => demo::run(args, config).await,
        Command::Import(args) => import::run(args, config).await,
        Command::Reindex(args) => reindex::run(args, config).await,
        Command::Reference(args) => reference::run(args, config).await,
        Command::Audit(args) => audit::run(args, config).await,
        Command::Config(args) => config::run(args, config).await,
        Command::Token(args) => token::run(args, config).await,
        Command::Client(args) => client::run(args, config).await,
        Command::Key(args) => key::run(args, config).await,
        Command::User(args) => user::run(args, config).await,
        Command::Pair(args) => pair::run(args, config).await,
        Command::Inbox(args) => inbox::run(args, config).await,
        Command::Vendor(args) => vendor::run(args, config).await,
        Command::Connection(args) => connection::run(args, config).await,
        Command::Simulate(args) => simulate::run(args, config).await,
        Command::Adapter(args) => adapter::run(args, config).await,
        Command::Fhirpath(args) => fhirpath::run(args, config).await,
        Command::Ucum(args) => ucum::run(args, config).await,
    }
}

impl CommandLine {
    /// Reads a command line, its first argument being the program's name, over variables and file.
    pub fn read(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let (matches, settings) = crate::config::parse(CommandLine::command(), arguments)?;
        let mut line = CommandLine::from_arg_matches(&matches)?;
        line.config.settings = settings;
        Ok(line)
    }

    /// Only the server tells what it does; commands print their result, unless a log level is asked for.
    fn quiet_unless_asked(&mut self) {
        let serves = matches!(self.command, None | Some(Command::Serve(_)));
        let mut settings = self.config.settings.iter();
        let asked = settings.any(|setting| setting.key == "log-level" && setting.source != SettingSource::Default);
        if !serves && !asked {
            "warn".clone_into(&mut self.config.log_level);
        }
    }
}

impl CommandError {
    /// An error that says what is wrong and what to do about it.
    pub fn new(message: impl Into<String>) -> Self {
        CommandError { message: message.into(), exit_code: 1 }
    }

    /// An error in what was asked for on the command line; the process ends with 2, as for unknown options.
    pub fn usage(message: impl Into<String>) -> Self {
        CommandError { message: message.into(), exit_code: 2 }
    }
}

// `CommandError` is deliberately no `std::error::Error`: that leaves room for this conversion.
impl<E: std::error::Error> From<E> for CommandError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message.push_str(": ");
                message.push_str(&cause_text);
            }
            source = cause.source();
        }
        CommandError::new(message)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl fmt::Debug for CommandError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

/// `tributary … | head` closes our output early: that is no failure to report.
fn end_quietly_on_a_closed_pipe() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.starts_with("failed printing to stdout: Broken pipe")) {
            std::process::exit(0);
        }
        report(panic);
    }));
}

/// The event of a change that an operator makes, for the transaction of the change. `what` names what is changed:
/// `client/ID`, `account/NAME` …
fn told(app: &App, subtype: &'static str, action: char, what: &str) -> Event {
    let mut event = Event {
        kind: Kind::Administration,
        subtype: subtype.into(),
        action,
        status: 200,
        ..Caller::server(tokens::OPERATOR).event(app)
    };
    event.touch(Entity { action, status: 200, reference: &what.replace(char::is_control, "") });
    event
}

fn fail(error: &CommandError) -> ExitCode {
    eprintln!("tributary: {error}");
    ExitCode::from(error.exit_code)
}
