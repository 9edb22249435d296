//! `tributary config`: the settings as they take effect, secrets redacted, and where each came from.

use serde_json::{Map, Value, json};

use super::CommandError;
use crate::config::Config;

/// Options of `config`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Prints every setting; the text form is a valid file where nothing secret is set.
#[expect(clippy::unused_async, reason = "every command has the same shape")]
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let resolved = config.clone().resolved();
    let settings = config.settings.iter().map(|setting| {
        let value = if setting.key == "base-url" { Some(resolved.base_url.clone()) } else { setting.value.clone() };
        (setting, value)
    });
    if args.json {
        let object: Map<String, Value> = settings
            .map(|(setting, value)| {
                (setting.key.clone(), json!({ "value": value, "source": setting.source.to_string() }))
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&object)?);
        return Ok(());
    }
    for (setting, value) in settings {
        match value {
            Some(value) => {
                let line = format!("{} = {}", setting.key, toml::Value::String(value));
                println!("{line:<60} # {}", setting.source);
            }
            None => println!("# {} is not set", setting.key),
        }
    }
    Ok(())
}
