//! `tributary inbox`: what vendors delivered and what became of it; the dead-letter list and its way back. (RE-25)

use std::io::Write as _;

use fhir::date::format_instant;
use store::inbox::{self, Filter, Message, State};

use super::{CommandError, told};
use crate::app::App;
use crate::config::Config;
use crate::devices::ingest;

/// Options of `inbox`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with the inbox.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// List messages, newest first.
    List {
        /// Which messages.
        #[command(flatten)]
        which: Which,
        /// Most messages to list.
        #[arg(long, default_value_t = 50)]
        limit: u64,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the bytes of one message as they came.
    Show {
        /// Its receipt.
        receipt: String,
    },
    /// Apply quarantined and dead messages again.
    Replay {
        /// Which messages.
        #[command(flatten)]
        which: Which,
        /// Replay all of them.
        #[arg(long)]
        all: bool,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Which messages.
#[derive(clap::Args, Clone, Debug)]
pub struct Which {
    /// Only the one with this receipt.
    #[arg(long)]
    pub receipt: Option<String>,
    /// Only of this vendor.
    #[arg(long)]
    pub vendor: Option<String>,
    /// Only of this device.
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Only in this state: received, applied, duplicate, quarantined or dead.
    #[arg(long, value_parser = state)]
    pub state: Option<State>,
}

/// Lists, shows or replays.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open_ready(config).await?;
    match args.action {
        Action::List { which, limit, json } => {
            show(&inbox::list(&app.store, &which.filter(), limit).await?, json);
            Ok(())
        }
        Action::Show { receipt } => {
            let body = inbox::body(&app.store, &receipt).await?;
            let body = body.ok_or_else(|| CommandError::new(format!("there is no message with receipt {receipt}")))?;
            Ok(std::io::stdout().write_all(&body)?)
        }
        Action::Replay { which, all, json } => replay(&app, &which, all, json).await,
    }
}

async fn replay(app: &App, which: &Which, all: bool, json: bool) -> Result<(), CommandError> {
    let filter = which.filter();
    if !all && which.receipt.is_none() && which.device.is_none() && which.vendor.is_none() && which.state.is_none() {
        return Err(CommandError::new("say which messages: --receipt, --device, --vendor, --state or --all"));
    }
    let wanted = filter.clone();
    let event = told(app, "messages-replayed", 'U', "inbox");
    let replayed = app
        .store
        .write(move |tx| {
            let (filter, event) = (wanted.clone(), event.clone());
            Box::pin(async move {
                tx.record(event);
                inbox::replay(tx, &filter).await
            })
        })
        .await?;
    ingest::drain(app).await?;
    if json {
        println!("{}", serde_json::json!({ "replayed": replayed }));
    } else {
        println!("{replayed} message(s) replayed; see `tributary inbox list`");
    }
    Ok(())
}

impl Which {
    fn filter(&self) -> Filter {
        Filter {
            vendor: self.vendor.clone(),
            state: self.state,
            device: self.device.clone(),
            receipt: self.receipt.clone(),
        }
    }
}

fn state(word: &str) -> Result<State, String> {
    State::parse(word).ok_or_else(|| "received, applied, duplicate, quarantined or dead".to_owned())
}

fn show(messages: &[Message], json: bool) {
    if json {
        println!("{}", serde_json::Value::Array(messages.iter().map(described).collect()));
        return;
    }
    for message in messages {
        let issues = outcome(message)["issue"].as_array().cloned().unwrap_or_default();
        let reason = issues.first().and_then(|issue| issue["diagnostics"].as_str()).unwrap_or_default();
        println!(
            "{}  {}  {:<11}  {}  {}  {reason}",
            message.receipt,
            format_instant(message.received_at),
            message.state.as_str(),
            message.vendor,
            message.device.as_deref().unwrap_or("-"),
        );
    }
}

fn described(message: &Message) -> serde_json::Value {
    serde_json::json!({
        "receipt": message.receipt,
        "vendor": message.vendor,
        "delivery": message.delivery,
        "device": message.device,
        "state": message.state.as_str(),
        "receivedAt": format_instant(message.received_at),
        "deliveries": message.deliveries,
        "attempts": message.attempts,
        "outcome": outcome(message),
    })
}

fn outcome(message: &Message) -> serde_json::Value {
    serde_json::from_str(&message.outcome).unwrap_or_default()
}
