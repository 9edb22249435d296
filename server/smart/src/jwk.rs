//! Public keys of clients and the signatures they verify. <https://www.rfc-editor.org/rfc/rfc7517>,
//! <https://www.rfc-editor.org/rfc/rfc7518#section-3>, SM-64, SM-65, OA-28
//!
//! A key is chosen by its name and by what its algorithm needs, never by what a token brings along; which algorithm
//! may be used with which key is fixed here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fhir::json::Json;
use ring::signature;

/// Longest text of a set that is looked at, bytes.
pub const MAX_SET: usize = 128 * 1024;
/// Most keys of a set.
pub const MAX_KEYS: usize = 32;

/// Members that only a private or shared key has.
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// How an assertion may be signed (SM-62).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-384.
    Rs384,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

/// A public key that can verify a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    kid: Option<String>,
    alg: Option<String>,
    key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// Point in uncompressed form: 4, x, y.
    P256(Vec<u8>),
    P384(Vec<u8>),
}

/// The keys of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwkSet(Vec<Jwk>);

/// Why a text is not the key set of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Longer than [`MAX_SET`] or more than [`MAX_KEYS`].
    #[error("the key set is longer than 128 KiB or has more than 32 keys")]
    TooLarge,
    /// Not an object with a list `keys` of objects.
    #[error("a key set is a JSON object with the list \"keys\"")]
    Malformed,
    /// Holds a private or a shared key: whatever it signed proves nothing.
    #[error("the key set holds a private or shared key; publish public keys only, and replace that one")]
    Private,
    /// Holds no key of a kind that is known here.
    #[error("the key set has no usable key: RSA of 2048 to 8192 bits, P-384 or P-256, each with a kid")]
    Empty,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 3] = [Algorithm::Rs384, Algorithm::Es384, Algorithm::Es256];

    /// Value of `alg`.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Rs384 => "RS384",
            Algorithm::Es384 => "ES384",
            Algorithm::Es256 => "ES256",
        }
    }

    /// Reads `alg`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }
}

impl JwkSet {
    /// Reads a set. Keys of other kinds and for other uses are left out; a set without any left is an error.
    pub fn parse(text: &[u8]) -> Result<Self, JwkError> {
        if text.len() > MAX_SET {
            return Err(JwkError::TooLarge);
        }
        let json = Json::parse(text).map_err(|_| JwkError::Malformed)?;
        let Some(Json::Array(keys)) = json.get("keys") else { return Err(JwkError::Malformed) };
        if keys.len() > MAX_KEYS {
            return Err(JwkError::TooLarge);
        }
        if keys.iter().any(|key| key.as_object().is_none()) {
            return Err(JwkError::Malformed);
        }
        if keys.iter().any(|key| SECRET_MEMBERS.iter().any(|name| key.get(name).is_some())) {
            return Err(JwkError::Private);
        }
        let keys: Vec<Jwk> = keys.iter().filter_map(Jwk::read).collect();
        if keys.is_empty() { Err(JwkError::Empty) } else { Ok(JwkSet(keys)) }
    }

    /// The one key of that name which fits the algorithm; none if there is no such key, or more than one (SM-64).
    pub fn select(&self, kid: &str, algorithm: Algorithm) -> Option<&Jwk> {
        let mut fitting = self.0.iter().filter(|key| key.kid.as_deref() == Some(kid) && key.fits(algorithm));
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }

    /// Whether any key has that name.
    pub fn has(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid.as_deref() == Some(kid))
    }
}

impl Jwk {
    /// One key; none if it is not one that can verify here.
    fn read(json: &Json) -> Option<Self> {
        if json.get("use").is_some_and(|usage| usage.as_str() != Some("sig")) {
            return None;
        }
        let verifies = |operations: &Json| operations.items().iter().any(|item| item.as_str() == Some("verify"));
        if json.get("key_ops").is_some_and(|operations| !verifies(operations)) {
            return None;
        }
        let member = |name: &str| URL_SAFE_NO_PAD.decode(json.str(name)?).ok();
        let key = match (json.str("kty")?, json.str("crv")) {
            ("RSA", _) => rsa(&member("n")?, &member("e")?)?,
            ("EC", Some("P-256")) => Key::P256(point(&member("x")?, &member("y")?, 32)?),
            ("EC", Some("P-384")) => Key::P384(point(&member("x")?, &member("y")?, 48)?),
            _ => return None,
        };
        let text = |name: &str| match json.get(name) {
            None => Some(None),
            Some(value) => value.as_str().map(|text| Some(text.to_owned())),
        };
        Some(Jwk { kid: text("kid")?, alg: text("alg")?, key })
    }

    /// Whether the algorithm is one for this key, and the one that it is published for.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::Rs384 => matches!(self.key, Key::Rsa { .. }),
            Algorithm::Es384 => matches!(self.key, Key::P384(_)),
            Algorithm::Es256 => matches!(self.key, Key::P256(_)),
        };
        kind && self.alg.as_deref().is_none_or(|alg| alg == algorithm.as_str())
    }

    /// Whether the key's owner signed the message.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signed: &[u8]) -> bool {
        let elliptic = |curve: &'static signature::EcdsaVerificationAlgorithm, point: &[u8]| {
            signature::UnparsedPublicKey::new(curve, point).verify(message, signed).is_ok()
        };
        match (&self.key, algorithm) {
            (Key::Rsa { modulus, exponent }, Algorithm::Rs384) => {
                let key = signature::RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA384, message, signed).is_ok()
            }
            (Key::P384(point), Algorithm::Es384) => elliptic(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Key::P256(point), Algorithm::Es256) => elliptic(&signature::ECDSA_P256_SHA256_FIXED, point),
            _ => false,
        }
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Key> {
    let trimmed = |bytes: &[u8]| bytes.iter().position(|&byte| byte != 0).map(|start| bytes[start..].to_vec());
    let (modulus, exponent) = (trimmed(modulus)?, trimmed(exponent)?);
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
    ((2048..=8192).contains(&bits) && exponent.len() <= 4).then_some(Key::Rsa { modulus, exponent })
}

fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}

#[cfg(test)]
mod tests;
