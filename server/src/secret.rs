//! The server's secret key: 32 bytes from which every other key (cursors, sessions, …) is derived.
//!
//! It comes from `secret-key` or from a key file that the first start makes, readable by its owner only. The file is
//! the default on both engines; nodes that share one PostgreSQL database must be given one key, because a cursor or
//! a session made by one node is checked by another. It is not stored in the database: whoever reads a backup must
//! not be able to forge sessions. `tributary doctor` checks the file's rights.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Config;
use crate::random::Random;

/// Key file where the database is not a file itself.
const DEFAULT_KEY_FILE: &str = "./data/tributary.key";

/// A text that is never shown: not in logs, not by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

/// The server's secret key.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

/// Why there is no secret key.
#[derive(Debug, thiserror::Error)]
pub enum SecretKeyError {
    /// The text is not 32 bytes.
    #[error(
        "{0}: a secret key is 32 bytes as 64 hexadecimal digits or 43 characters of base64url; \
             `openssl rand -hex 32` makes one"
    )]
    NotAKey(String),
    /// The key file cannot be read or made.
    #[error("secret key file {0}: {1}")]
    File(PathBuf, std::io::Error),
}

impl SecretText {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        SecretText(text)
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        SecretText(text.to_owned())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(secret)")
    }
}

impl SecretKey {
    /// The key that `config` names; where there is none yet, a new one in the key file.
    pub fn load(config: &Config, random: &Random) -> Result<Self, SecretKeyError> {
        if let Some(text) = &config.secret_key {
            return parse(text.expose()).ok_or_else(|| SecretKeyError::NotAKey("secret-key".to_owned()));
        }
        let path = key_file(config);
        let at = |error| SecretKeyError::File(path.clone(), error);
        match std::fs::read_to_string(&path) {
            Ok(text) => parse(text.trim()).ok_or_else(|| SecretKeyError::NotAKey(path.display().to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(&path, random).map_err(at),
            Err(error) => Err(at(error)),
        }
    }

    /// The key for one purpose; knowing it tells nothing of the others.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(secret)")
    }
}

/// Where the key file is or will be.
pub fn key_file(config: &Config) -> PathBuf {
    match (&config.secret_key_file, config.sqlite_path()) {
        (Some(path), _) => path.clone(),
        (None, Some(database)) => database.with_extension("key"),
        (None, None) => PathBuf::from(DEFAULT_KEY_FILE),
    }
}

/// Two processes may start at once: the link is atomic, the one that comes second reads the first's key.
fn create(path: &Path, random: &Random) -> std::io::Result<SecretKey> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let key = random.bytes::<32>();
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", random.uuid()));
    let draft = PathBuf::from(draft);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    writeln!(file, "{}", URL_SAFE_NO_PAD.encode(key))?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Ok(()) => Ok(SecretKey(key)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let text = std::fs::read_to_string(path)?;
            parse(text.trim()).ok_or_else(|| std::io::Error::other("holds no secret key"))
        }
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Option<SecretKey> {
    let bytes = match text.len() {
        64 => (0..64).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect::<Option<_>>()?,
        43 => URL_SAFE_NO_PAD.decode(text).ok()?,
        44 => URL_SAFE.decode(text).ok()?,
        _ => return None,
    };
    Some(SecretKey(<[u8; 32]>::try_from(bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> Config {
        let database = format!("sqlite:{}", folder.join("x.sqlite").display());
        Config::from_flags(&["--database", &database])
    }

    #[test]
    fn the_first_start_makes_a_private_file_and_later_starts_read_it() {
        let folder = std::env::temp_dir().join(format!("tributary-{}", Random::system().uuid()));
        let config = config(&folder);
        let first = SecretKey::load(&config, &Random::system()).expect("made");
        let second = SecretKey::load(&config, &Random::system()).expect("read");
        assert_eq!(first.derive("cursor"), second.derive("cursor"));
        assert_ne!(first.derive("cursor"), first.derive("session"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(folder.join("x.key")).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn keys_are_32_bytes_in_hexadecimal_or_base64url() {
        assert!(parse(&"0f".repeat(32)).is_some());
        assert!(parse(&URL_SAFE_NO_PAD.encode([7; 32])).is_some());
        assert!(parse(&"zz".repeat(32)).is_none());
        assert!(parse("short").is_none());
    }
}
