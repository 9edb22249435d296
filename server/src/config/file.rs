//! The TOML file: flat, its keys are the flags' names. <https://toml.io/en/v1.0.0>

use std::collections::BTreeMap;
use std::path::Path;

use clap::error::{ContextKind, ErrorKind};

use super::nearest;

/// Keys of the file with their values as text.
pub(super) type Values = BTreeMap<String, String>;

/// Reads `path`; every key must be a setting of `command`.
pub(super) fn read(command: &clap::Command, path: &Path) -> Result<Values, clap::Error> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot read {shown}: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| refuse(format!("{shown}: {error}")))?;
    let known: Vec<&str> = command
        .get_arguments()
        .filter(|arg| arg.get_env().is_some() && arg.get_id() != "config")
        .filter_map(|arg| arg.get_long())
        .collect();
    let mut values = Values::new();
    for (key, value) in table {
        if !known.contains(&key.as_str()) {
            let hint = nearest::hint(&key, known.iter().copied());
            return Err(refuse(format!("{shown}: {key} is not a setting; {hint}")));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            other => {
                let kind = other.type_str();
                return Err(refuse(format!("{shown}: {key} is a {kind}; write a text, whole number or boolean")));
            }
        };
        values.insert(key, text);
    }
    Ok(values)
}

/// Says that a refused value stands in the file, where it does: the parser only knows the flag of that name.
pub(super) fn blame(error: clap::Error, path: &Path, values: &Values) -> clap::Error {
    let invalid = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let (argument, value) = (invalid(ContextKind::InvalidArg), invalid(ContextKind::InvalidValue));
    let key = argument.trim_start_matches("--").split(' ').next().unwrap_or_default();
    if values.get(key).is_some_and(|written| *written == value) {
        let reason = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        return refuse(format!("{}: {key} = {value:?} is not valid{reason}", path.display()));
    }
    error
}

fn refuse(mut message: String) -> clap::Error {
    message.push('\n');
    clap::Error::raw(ErrorKind::InvalidValue, message)
}
