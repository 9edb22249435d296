//! Passkeys: what an authenticator says, and whether it may be believed. <https://www.w3.org/TR/webauthn-3/>, OA-24
//!
//! | § | ceremony | what is looked at |
//! |---|---|---|
//! | 7.1 | [`Registration`] | type, challenge, origin, RP id, presence, verification, credential id, public key |
//! | 7.2 | [`Assertion`] | the same, and the signature; the caller compares the counter with the one it keeps |
//!
//! Attestation is not asked for and not looked at: whose make an authenticator is decides nothing here. That a person
//! was verified, by a finger or a PIN, is required in both ceremonies: a passkey stands for both factors.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fhir::json::Json;
use sha2::{Digest as _, Sha256};
use url::{Host, Url};

use crate::token::{Kind, Secret};

mod authenticator_data;
mod cose_key;

use authenticator_data::AuthenticatorData;
pub use cose_key::ALGORITHMS;
use cose_key::CoseKey;

/// Longest JSON of a credential that is looked at, bytes.
pub const MAX_TEXT: usize = 32 * 1024;

/// Longest credential id (§4, "credential ID").
const MAX_ID: usize = 1023;

/// Who asks: this server, as browsers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    /// The host name, to which passkeys are bound.
    pub id: String,
    /// Scheme, host and port of the pages.
    pub origin: String,
}

/// What is kept of a new passkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// By what the authenticator knows it.
    pub id: Vec<u8>,
    /// The public key, in the form of COSE.
    pub public_key: Vec<u8>,
    /// Signatures that the authenticator has made with it; 0 from those that do not count.
    pub sign_count: u32,
}

/// A new passkey, as a browser hands it over; not checked yet.
#[derive(Clone, Debug)]
pub struct Registration {
    said: Said,
    attestation: Vec<u8>,
}

/// A signature with a passkey, as a browser hands it over; not checked yet.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// Of which passkey.
    pub id: Vec<u8>,
    /// Whose passkey it is, in the words with which it was made.
    pub user: Option<Vec<u8>>,
    said: Said,
    data: Vec<u8>,
    signature: Vec<u8>,
}

/// What the browser says it did (§5.8.1).
#[derive(Clone, Debug)]
struct Said {
    kind: String,
    challenge: Secret,
    origin: String,
    is_foreign: bool,
    hash: [u8; 32],
}

/// Why a passkey is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// Not what a browser sends.
    #[error("this is not what a browser sends after asking for a passkey")]
    Malformed,
    /// Made for the other ceremony.
    #[error("the type is that of the other ceremony")]
    Type,
    /// Made on another site, or in a frame of another site.
    #[error("the origin is not that of this server")]
    Origin,
    /// Made for another site.
    #[error("the RP id is not that of this server")]
    RelyingParty,
    /// Nobody was there, or nobody was verified.
    #[error("the authenticator did not verify the person")]
    NotVerified,
    /// A key of a kind that was not asked for.
    #[error("the public key is of no kind that was asked for")]
    Key,
    /// Not signed by the key.
    #[error("the signature is not of this passkey")]
    Signature,
}

impl RelyingParty {
    /// This server; none where browsers make no passkeys: at IP addresses, and without TLS anywhere but at `localhost`.
    pub fn of(base_url: &str) -> Option<Self> {
        let url = Url::parse(base_url).ok()?;
        let Host::Domain(host) = url.host()? else { return None };
        let is_secure = url.scheme() == "https" || host == "localhost" || host.ends_with(".localhost");
        is_secure.then(|| RelyingParty { id: host.to_owned(), origin: url.origin().ascii_serialization() })
    }
}

impl Registration {
    /// Reads the JSON of a `PublicKeyCredential` (§5.1, `toJSON`).
    pub fn read(text: &str) -> Result<Self, PasskeyError> {
        let (_, response) = credential(text)?;
        let said = Said::read(&binary(&response, "clientDataJSON")?)?;
        Ok(Registration { said, attestation: binary(&response, "attestationObject")? })
    }

    /// What it answers; to be spent before anything else is believed.
    pub fn challenge(&self) -> &Secret {
        &self.said.challenge
    }

    /// The passkey, if it was made for this server and its person was verified.
    pub fn check(&self, party: &RelyingParty) -> Result<Registered, PasskeyError> {
        self.said.check("webauthn.create", party)?;
        let data = authenticator_data::of_attestation(&self.attestation).ok_or(PasskeyError::Malformed)?;
        let data = AuthenticatorData::read(&data).ok_or(PasskeyError::Malformed)?;
        data.check(party)?;
        let (id, public_key) = data.credential.ok_or(PasskeyError::Malformed)?;
        if id.is_empty() || id.len() > MAX_ID {
            return Err(PasskeyError::Malformed);
        }
        CoseKey::read(&public_key).ok_or(PasskeyError::Key)?;
        Ok(Registered { id, public_key, sign_count: data.sign_count })
    }
}

impl Assertion {
    /// Reads the JSON of a `PublicKeyCredential` (§5.1, `toJSON`).
    pub fn read(text: &str) -> Result<Self, PasskeyError> {
        let (id, response) = credential(text)?;
        let user = response.get("userHandle").filter(|value| !matches!(value, Json::Null));
        Ok(Assertion {
            id,
            user: user.map(|_| binary(&response, "userHandle")).transpose()?,
            said: Said::read(&binary(&response, "clientDataJSON")?)?,
            data: binary(&response, "authenticatorData")?,
            signature: binary(&response, "signature")?,
        })
    }

    /// What it answers; to be spent before anything else is believed.
    pub fn challenge(&self) -> &Secret {
        &self.said.challenge
    }

    /// The counter that the authenticator sent, if the passkey with this public key made the signature for this server
    /// and its person was verified.
    pub fn check(&self, party: &RelyingParty, public_key: &[u8]) -> Result<u32, PasskeyError> {
        self.said.check("webauthn.get", party)?;
        let data = AuthenticatorData::read(&self.data).ok_or(PasskeyError::Malformed)?;
        data.check(party)?;
        let key = CoseKey::read(public_key).ok_or(PasskeyError::Key)?;
        let signed = [self.data.as_slice(), &self.said.hash].concat();
        if key.verifies(&signed, &self.signature) { Ok(data.sign_count) } else { Err(PasskeyError::Signature) }
    }
}

impl Said {
    fn read(bytes: &[u8]) -> Result<Self, PasskeyError> {
        let json = Json::parse(bytes).map_err(|_| PasskeyError::Malformed)?;
        let text = |name: &str| json.str(name).ok_or(PasskeyError::Malformed);
        let challenge = URL_SAFE_NO_PAD.decode(text("challenge")?).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let challenge = challenge.and_then(|text| Secret::parse(Kind::PasskeyChallenge, &text));
        Ok(Said {
            kind: text("type")?.to_owned(),
            challenge: challenge.ok_or(PasskeyError::Malformed)?,
            origin: text("origin")?.to_owned(),
            is_foreign: json.get("topOrigin").is_some()
                || !matches!(json.get("crossOrigin"), None | Some(Json::Bool(false))),
            hash: Sha256::digest(bytes).into(),
        })
    }

    fn check(&self, kind: &str, party: &RelyingParty) -> Result<(), PasskeyError> {
        if self.kind != kind {
            return Err(PasskeyError::Type);
        }
        if self.is_foreign || self.origin != party.origin { Err(PasskeyError::Origin) } else { Ok(()) }
    }
}

/// A challenge as a browser takes it: the secret's text in base64url.
pub fn challenge_text(challenge: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(challenge.expose())
}

/// The id and the `response` of a credential.
fn credential(text: &str) -> Result<(Vec<u8>, Json), PasskeyError> {
    if text.len() > MAX_TEXT {
        return Err(PasskeyError::Malformed);
    }
    let json = Json::parse(text.as_bytes()).map_err(|_| PasskeyError::Malformed)?;
    if json.str("type") != Some("public-key") {
        return Err(PasskeyError::Malformed);
    }
    let response = json.get("response").cloned().ok_or(PasskeyError::Malformed)?;
    Ok((binary(&json, "rawId")?, response))
}

fn binary(json: &Json, name: &str) -> Result<Vec<u8>, PasskeyError> {
    let text = json.str(name).ok_or(PasskeyError::Malformed)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| PasskeyError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_are_of_names_with_tls_or_of_this_machine() {
        let party = |url: &str| RelyingParty::of(url).map(|party| (party.id, party.origin));
        let expected = |id: &str, origin: &str| Some((id.to_owned(), origin.to_owned()));
        assert_eq!(party("https://Ehr.Example:8443/x"), expected("ehr.example", "https://ehr.example:8443"));
        assert_eq!(party("http://localhost:8080"), expected("localhost", "http://localhost:8080"));
        for url in ["http://ehr.example", "http://127.0.0.1:8080", "https://[::1]", "https://192.0.2.1", "nonsense"] {
            assert_eq!(party(url), None, "{url}");
        }
    }

    #[test]
    fn oa_24_what_no_browser_sends_is_malformed() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for text in ["", "{}", "[]", &deep, r#"{"type":"public-key","rawId":"AA","response":{}}"#, &"x".repeat(40_000)]
        {
            assert_eq!(Registration::read(text).err(), Some(PasskeyError::Malformed));
            assert_eq!(Assertion::read(text).err(), Some(PasskeyError::Malformed));
        }
    }
}
