//! Values of settings: how they are read from text, and how they are shown without secrets.

use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::file::Values;

/// Settings whose value is never shown; in others only the password of a URL is hidden.
const SECRETS: [&str; 2] = ["secret-key", "openid-client-secret"];

/// The base URL that follows from the address listened on.
pub(super) const AUTO: &str = "auto";

/// One setting as it took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the file, which is also the flag without `--`.
    pub key: String,
    /// Its value, secrets replaced; nothing where it is not set.
    pub value: Option<String>,
    /// Where the value came from.
    pub source: SettingSource,
}

/// Where a value came from, strongest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// A flag of the command line.
    Flag,
    /// The environment variable of this name.
    Variable(String),
    /// The TOML file at this path.
    File(String),
    /// Nobody set it.
    Default,
}

impl std::fmt::Display for SettingSource {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SettingSource::Flag => out.write_str("flag"),
            SettingSource::Variable(name) => write!(out, "variable {name}"),
            SettingSource::File(path) => write!(out, "file {path}"),
            SettingSource::Default => out.write_str("default"),
        }
    }
}

/// All settings of `command` as `matches` has them.
pub(super) fn list(command: &clap::Command, matches: &ArgMatches, file: Option<(&Path, &Values)>) -> Vec<Setting> {
    let mut settings = Vec::new();
    for arg in command.get_arguments() {
        let (Some(key), Some(variable)) = (arg.get_long(), arg.get_env()) else { continue };
        let id = arg.get_id().as_str();
        let raw = matches.get_raw(id).and_then(|mut values| values.next().map(|value| value.to_string_lossy()));
        let value = raw.map(|text| if SECRETS.contains(&key) { "(set)".into() } else { without_password(&text) });
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => SettingSource::Flag,
            Some(ValueSource::EnvVariable) => SettingSource::Variable(variable.to_string_lossy().into_owned()),
            _ => match file {
                Some((path, values)) if values.contains_key(key) => SettingSource::File(path.display().to_string()),
                _ => SettingSource::Default,
            },
        };
        settings.push(Setting { key: key.to_owned(), value, source });
    }
    settings
}

/// A URL with its password, if it has one, replaced; any other text as it is.
pub(super) fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return text.to_owned() };
    if url.password().is_some() && url.set_password(Some("***")).is_ok() { url.to_string() } else { text.to_owned() }
}

/// `sqlite:PATH` or `postgres://…`.
pub(super) fn database(text: &str) -> Result<String, String> {
    let path = text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        Some(path) if !path.is_empty() => Ok(format!("sqlite:{path}")),
        None if text.starts_with("postgres://") || text.starts_with("postgresql://") => Ok(text.to_owned()),
        _ => Err("write sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME".to_owned()),
    }
}

/// `auto`, or an absolute http(s) URL without query, fragment and final slash.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    if text == AUTO {
        return Ok(text.to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("{error}; write https://HOST or https://HOST/PATH"))?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if matches!(url.scheme(), "http" | "https") && plain && url.has_host() {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err("write an http or https address without user, query and fragment".to_owned())
}

/// An absolute http(s) URL without a slash at its end.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    if text == AUTO { Err("write an http or https address".to_owned()) } else { base_url(text) }
}

/// The issuer of an OpenID provider, byte for byte: its tokens name it so.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    if text == AUTO {
        Err("write an http or https address".to_owned())
    } else {
        base_url(text).map(|_| text.to_owned())
    }
}

/// A number of bytes, plain or with KiB, MiB or GiB.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: usize = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("{other:?} is no unit; there are B, KiB, MiB and GiB")),
    };
    let number: usize =
        digits.parse().map_err(|_| "write a whole number of bytes, such as 1048576 or 16MiB".to_owned())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(|| "out of range".to_owned())
}

/// Directives of the log filter.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_units_and_refuse_others() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("16MiB"), Ok(16 << 20));
        assert!(bytes("16MB").is_err());
        assert!(bytes("MiB").is_err());
        assert!(bytes("0").is_err());
        assert!(bytes("99999999999GiB").is_err());
    }

    #[test]
    fn passwords_in_urls_are_not_shown() {
        assert_eq!(without_password("postgres://me:secret@db/tributary"), "postgres://me:***@db/tributary");
        assert_eq!(without_password("sqlite:./data/x.sqlite"), "sqlite:./data/x.sqlite");
    }

    #[test]
    fn databases_and_base_urls_are_checked() {
        assert_eq!(database("sqlite://data/x"), Ok("sqlite:data/x".to_owned()));
        assert!(database("sqlite:").is_err());
        assert!(database("mysql://x").is_err());
        assert_eq!(base_url("https://fhir.example.org/"), Ok("https://fhir.example.org".to_owned()));
        assert!(base_url("fhir.example.org").is_err());
        assert!(base_url("https://fhir.example.org/?a=b").is_err());
    }
}
