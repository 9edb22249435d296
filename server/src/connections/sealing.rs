//! Credentials at rest: encrypted under a key that is derived from the server's secret, so that a backup alone opens
//! nothing.

use std::collections::BTreeMap;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};
use fhir::json::{Json, Object};

use super::client::Failure;
use crate::app::App;
use crate::secret::SecretText;

/// What credentials are called and what they are.
pub type Credentials = BTreeMap<String, SecretText>;

/// Bytes before the encrypted text.
const NONCE: usize = 24;

/// Encrypts credentials; they open only as those of this vendor and name.
pub(super) fn seal(app: &App, owner: &str, credentials: &Credentials) -> Result<Vec<u8>, Failure> {
    let mut plain = Object::new();
    for (name, value) in credentials {
        plain.insert(name, value.expose());
    }
    let nonce = app.random.bytes::<NONCE>();
    let plain = Json::from(plain).to_string();
    let payload = Payload { msg: plain.as_bytes(), aad: owner.as_bytes() };
    let sealed = cipher(app).encrypt(XNonce::from_slice(&nonce), payload);
    let sealed = sealed.map_err(|_| Failure::Settings("the credentials cannot be encrypted".to_owned()))?;
    Ok([&nonce[..], &sealed].concat())
}

/// Opens what [`seal`] made.
pub(super) fn open(app: &App, owner: &str, sealed: &[u8]) -> Result<Credentials, Failure> {
    let unreadable = || {
        let text = "this server's secret does not open the credentials; add the connection again";
        Failure::Settings(text.to_owned())
    };
    let (nonce, sealed) = sealed.split_at_checked(NONCE).ok_or_else(unreadable)?;
    let payload = Payload { msg: sealed, aad: owner.as_bytes() };
    let plain = cipher(app).decrypt(XNonce::from_slice(nonce), payload).map_err(|_| unreadable())?;
    let plain = Json::parse(&plain).map_err(|_| unreadable())?;
    let members = plain.as_object().ok_or_else(unreadable)?.iter();
    Ok(members.filter_map(|(name, value)| Some((name.to_owned(), SecretText::from(value.as_str()?)))).collect())
}

fn cipher(app: &App) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(Key::from_slice(&app.secret.derive("connections")))
}
