//! `tributary audit`: whether the audit trail is as it was written. (CO-06)

use indicatif::{ProgressBar, ProgressStyle};
use store::audit::{Anchor, BESIDE, DATABASE, Verified};

use super::CommandError;
use crate::app::App;
use crate::audit::seals::noted;
use crate::config::Config;

/// Options of `audit`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// Look through the whole trail: ends with 1 if an event was changed, is missing, or was added.
    Verify {
        /// A seal that was noted elsewhere before, as `audit seal` prints it; may be given several times.
        #[arg(long, value_name = "SEAL", value_parser = parse)]
        noted: Vec<Anchor>,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the last seals, to be kept where nobody who can change the database can change them.
    Seal,
}

/// Does it.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open_ready(config).await?;
    match args.action {
        Action::Verify { noted, json } => verify(&app, &noted, json).await,
        Action::Seal => {
            app.store.seal_events().await?;
            app.store.trail_heads().await?.iter().for_each(|head| println!("{}", noted(head)));
            Ok(())
        }
    }
}

async fn verify(app: &App, noted_before: &[Anchor], json: bool) -> Result<(), CommandError> {
    let bar = ProgressBar::new(app.store.trail_standing().await?.events).with_style(style());
    let progress = |events| bar.inc(events);
    let verified = app.store.verify_trail(noted_before, &progress).await?;
    bar.finish_and_clear();
    if json {
        println!("{}", verified.iter().map(as_json).collect::<serde_json::Value>());
    } else {
        verified.iter().for_each(print);
    }
    match verified.iter().flat_map(|chain| &chain.faults).next() {
        None => Ok(()),
        Some(first) => Err(CommandError::new(format!("the audit trail is not as it was written; first: {first}"))),
    }
}

fn print(chain: &Verified) {
    let Verified { events, seals, unsealed, .. } = chain;
    let before =
        chain.removed_before.map(|before| format!(", older than {} removed", fhir::date::format_instant(before)));
    let waiting = if *unsealed == 0 { String::new() } else { format!(", {unsealed} not sealed yet") };
    let good = if chain.faults.is_empty() { "as written" } else { "NOT as written" };
    println!("{:<8} {good}: {events} events in {seals} seals{waiting}{}", chain.chain, before.unwrap_or_default());
    for fault in &chain.faults {
        println!("         {fault}");
    }
    println!("         sealed up to {}", noted(&chain.head));
}

fn as_json(chain: &Verified) -> serde_json::Value {
    serde_json::json!({
        "chain": chain.chain, "seals": chain.seals, "events": chain.events, "unsealed": chain.unsealed,
        "removedBefore": chain.removed_before.map(fhir::date::format_instant), "seal": noted(&chain.head),
        "faults": chain.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Reads what [`noted`] writes.
fn parse(text: &str) -> Result<Anchor, String> {
    let read = || {
        let mut parts = text.split(':');
        let (chain, number, hash) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let byte = |at: usize| u8::from_str_radix(hash.get(at * 2..at * 2 + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        let known = [DATABASE, BESIDE].contains(&chain) && parts.next().is_none() && hash.len() == 64;
        known.then_some(Anchor { chain: chain.to_owned(), number, hash: bytes?.try_into().ok()? })
    };
    read().ok_or_else(|| "not a seal as `tributary audit seal` prints it: CHAIN:NUMBER:HASH".to_owned())
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:32} {pos}/{len} events, {per_sec}, {eta} left").expect("the template is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_read_as_it_is_printed() {
        let anchor = Anchor { chain: DATABASE.to_owned(), number: 12, hash: [0xa7; 32] };
        assert_eq!(parse(&noted(&anchor)), Ok(anchor));
        for wrong in ["", "database:1", "other:1:00", "database:x:00", "database:1:zz"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
