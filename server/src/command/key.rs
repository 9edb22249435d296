//! `tributary key`: the keys that sign `id_token`s. They are made and renewed without it.

use clap::Subcommand;
use fhir::date::format_instant;
use store::signing_keys::SigningKey;

use super::{CommandError, told};
use crate::app::App;
use crate::config::Config;
use crate::oauth::keys::Takeover;

/// Options of `key`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done with signing keys.
#[derive(Subcommand, Clone, Debug)]
pub enum Action {
    /// List the keys: their names, what they are for now, and when they sign.
    List,
    /// Make a new key, which signs from tomorrow on; the server does so by itself every 90 days.
    Rotate(Rotate),
    /// Forget a key that somebody else may know: what it signed is not believed any more.
    Withdraw(Withdraw),
}

/// Options of `key rotate`.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Rotate {
    /// Let the new key sign at once, before all apps have fetched it.
    #[arg(long)]
    pub now: bool,
}

/// Options of `key withdraw`.
#[derive(clap::Args, Clone, Debug)]
pub struct Withdraw {
    /// Name of the key, as `key list` prints it.
    #[arg(allow_hyphen_values = true)]
    pub kid: String,
}

/// Carries it out and prints the keys that there are then.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open_ready(config).await?;
    let keys = match args.action {
        Action::List => app.signer.keys().await?,
        Action::Rotate(rotate) => {
            let takeover = if rotate.now { Takeover::Now } else { Takeover::Announced };
            app.signer.make(takeover, Some(told(&app, "signing-key-made", 'C', "signing-key"))).await?
        }
        Action::Withdraw(withdraw) => {
            let event = told(&app, "signing-key-withdrawn", 'D', &format!("signing-key/{}", withdraw.kid));
            if !app.signer.withdraw(&withdraw.kid, event).await? {
                return Err(CommandError::new(format!("there is no key \"{}\"", withdraw.kid)));
            }
            app.signer.keys().await?
        }
    };
    let now = app.clock.now();
    if args.json {
        let keys: Vec<_> = keys.iter().map(|key| describe(key, now)).collect();
        println!("{}", serde_json::Value::from(keys));
        return Ok(());
    }
    for key in &keys {
        let until = key.term.retired_at.map(format_instant).unwrap_or_default();
        let from = format_instant(key.term.active_from);
        println!("{}\t{}\t{from}\t{until}", key.kid, key.term.stage(now).as_str());
    }
    Ok(())
}

fn describe(key: &SigningKey, now: i64) -> serde_json::Value {
    serde_json::json!({
        "kid": key.kid, "algorithm": key.algorithm, "stage": key.term.stage(now).as_str(),
        "created_at": format_instant(key.created_at), "active_from": format_instant(key.term.active_from),
        "retired_at": key.term.retired_at.map(format_instant),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Action, Args};

    #[derive(Parser)]
    struct Key {
        #[command(flatten)]
        args: Args,
    }

    /// Names of keys are digests in base64url; one of 64 begins with a hyphen.
    #[test]
    fn the_name_of_a_key_may_begin_with_a_hyphen() {
        let parsed = Key::try_parse_from(["key", "withdraw", "-ZpeXzm7dATZ", "--json"]).expect("a name and a flag");
        assert!(parsed.args.json);
        assert!(matches!(parsed.args.action, Action::Withdraw(withdraw) if withdraw.kid == "-ZpeXzm7dATZ"));
    }
}
