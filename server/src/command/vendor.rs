//! `tributary vendor`: which senders may deliver, and their keys.

use fhir::date::format_instant;
use store::vendor_keys;

use super::{CommandError, told};
use crate::app::App;
use crate::config::Config;
use crate::devices::{mapping_files, webhook};

/// Options of `vendor`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with senders.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// Let a sender in; prints its key, which is not kept and cannot be shown again.
    Add {
        /// Vendor whose messages it sends, such as `medisante`.
        vendor: String,
        /// Name of the sender.
        #[arg(long, default_value = "default")]
        sender: String,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke the keys of a sender.
    Revoke {
        /// Vendor.
        vendor: String,
        /// Name of the sender.
        #[arg(long, default_value = "default")]
        sender: String,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List vendors, their paths and their senders.
    List {
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Adds, revokes or lists.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open_ready(config).await?;
    match args.action {
        Action::Add { vendor, sender, json } => {
            let key = add(&app, &vendor, &sender).await?;
            if json {
                println!("{}", serde_json::json!({ "vendor": vendor, "sender": sender, "key": key }));
            } else {
                println!("{key}");
            }
        }
        Action::Revoke { vendor, sender, json } => {
            let revoked = revoke(&app, &vendor, &sender).await?;
            if json {
                println!("{}", serde_json::json!({ "vendor": vendor, "sender": sender, "revoked": revoked }));
            } else {
                println!("{revoked} key(s) revoked");
            }
        }
        Action::List { json } => list(&app, json).await?,
    }
    Ok(())
}

/// Makes a key for a sender and keeps its hash.
pub async fn add(app: &App, vendor: &str, sender: &str) -> Result<String, CommandError> {
    if app.adapters.find(vendor).is_none() {
        return Err(CommandError::new(mapping_files::unknown(&app.adapters, vendor, &app.config)));
    }
    let key = app.random.token();
    let (hash, now) = (webhook::hash(&key), app.clock.now());
    let event = told(app, "vendor-key-added", 'C', &format!("vendor/{vendor}/{sender}"));
    let (vendor, sender) = (vendor.to_owned(), sender.to_owned());
    app.store
        .write(move |tx| {
            let (vendor, sender, event) = (vendor.clone(), sender.clone(), event.clone());
            Box::pin(async move {
                tx.record(event);
                vendor_keys::insert(tx, hash, &vendor, &sender, now).await
            })
        })
        .await?;
    Ok(key)
}

async fn revoke(app: &App, vendor: &str, sender: &str) -> Result<u64, CommandError> {
    let event = told(app, "vendor-keys-revoked", 'D', &format!("vendor/{vendor}/{sender}"));
    let (vendor, sender, now) = (vendor.to_owned(), sender.to_owned(), app.clock.now());
    let revoked = app
        .store
        .write(move |tx| {
            let (vendor, sender, event) = (vendor.clone(), sender.clone(), event.clone());
            Box::pin(async move {
                tx.record(event);
                vendor_keys::revoke(tx, &vendor, &sender, now).await
            })
        })
        .await?;
    Ok(revoked)
}

async fn list(app: &App, json: bool) -> Result<(), CommandError> {
    let senders = vendor_keys::list(&app.store).await?;
    if json {
        let rows: Vec<_> = senders
            .iter()
            .map(|sender| {
                serde_json::json!({
                    "vendor": sender.vendor, "sender": sender.name, "createdAt": format_instant(sender.created_at),
                    "revokedAt": sender.revoked_at.map(format_instant),
                })
            })
            .collect();
        println!("{}", serde_json::Value::Array(rows));
        return Ok(());
    }
    for adapter in app.adapters.all() {
        for shape in adapter.shapes {
            for route in shape.routes {
                println!("{}  POST {}{route}  {}", adapter.vendor, app.config.base_url, shape.name);
            }
        }
        for sender in senders.iter().filter(|sender| sender.vendor == adapter.vendor) {
            let state = sender
                .revoked_at
                .map_or_else(|| "may deliver".to_owned(), |at| format!("revoked {}", format_instant(at)));
            println!("  {}  since {}  {state}", sender.name, format_instant(sender.created_at));
        }
    }
    Ok(())
}
