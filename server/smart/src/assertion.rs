//! Signed assertions with which clients prove who they are: `private_key_jwt`.
//! <https://www.rfc-editor.org/rfc/rfc7523#section-3>,
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html>, SM-62 … SM-66
//!
//! ```text
//! text ──read──▶ Assertion (claims in order, nothing proven) ──verify(keys)──▶ Proven (jti to be spent)
//! ```
//!
//! What can be judged without the client comes first, so that its answer may say what is wrong and still tells nobody
//! which clients exist.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fhir::json::Json;

use crate::client::ClientKeys;
use crate::jwk::{Algorithm, JwkSet};

/// The one value of `client_assertion_type`.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Longest assertion that is looked at, bytes.
pub const MAX_LENGTH: usize = 16 * 1024;

const SECOND: i64 = 1_000_000;
/// How far ahead `exp` may be (SM-62).
const LIFETIME: i64 = 5 * 60 * SECOND;
/// How far the client's clock may be from ours (OA-34).
const SKEW: i64 = 60 * SECOND;
/// Longest name: of a client, a key, an assertion.
const MAX_NAME: usize = 512;
/// Header members that would choose a key or change what is signed (SM-62); `jku` has a rule of its own.
const REFUSED_HEADERS: [&str; 8] = ["jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty"];

/// An assertion whose form and claims are in order; nothing is proven yet.
#[derive(Clone, Debug)]
pub struct Assertion<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: String,
    jku: Option<String>,
    client_id: String,
    jti: String,
    expires_at: i64,
}

/// An assertion that the client signed. It counts once its `jti` is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Who signed it.
    pub client_id: String,
    /// Its name among those of the client (SM-63).
    pub jti: String,
    /// From when on it would be refused anyway, microseconds since 1970.
    pub expires_at: i64,
}

/// What is wrong with an assertion, in our own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Not three parts of canonical base64url, the first two of them JSON objects without repeated names.
    #[error("the assertion is not a signed JWT in compact form")]
    Malformed,
    /// The header asks for something else than one of our algorithms.
    #[error("alg of the assertion must be RS384, ES384 or ES256")]
    Algorithm,
    /// `typ`, `kid`, or a header that is refused.
    #[error("the header of the assertion has alg, kid, typ JWT and, where keys are at an address, jku; no more")]
    Header,
    /// `iss` or `sub`.
    #[error("iss and sub of the assertion must both be the client_id")]
    Issuer,
    /// `aud`.
    #[error("aud of the assertion must be the address of this endpoint, or the issuer")]
    Audience,
    /// `exp`, `nbf` or `iat`.
    #[error("exp of the assertion must be a whole number of seconds, at most 5 minutes ahead; nbf and iat not ahead")]
    Time,
    /// `jti`.
    #[error("jti of the assertion must be a text of 1 to 512 characters")]
    Jti,
    /// The key is unknown, or the signature is not of that key. Nothing more is told.
    #[error("client authentication failed")]
    Unproven,
}

/// Takes an assertion apart and judges all that needs no key. `audiences` are the values of `aud` that name this
/// endpoint (SM-66), `now` is in microseconds since 1970.
pub fn read<'a>(text: &'a str, audiences: &[&str], now: i64) -> Result<Assertion<'a>, AssertionError> {
    if text.len() > MAX_LENGTH {
        return Err(AssertionError::Malformed);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(AssertionError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(AssertionError::Malformed)?;
    let (header, claims) = (object(header)?, object(claims)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| AssertionError::Malformed)?;
    let algorithm = header.str("alg").and_then(Algorithm::parse).ok_or(AssertionError::Algorithm)?;
    let (kid, jku) = names_of_key(&header)?;
    let client_id = name(&claims, "sub").ok_or(AssertionError::Issuer)?;
    if name(&claims, "iss").as_deref() != Some(&client_id) {
        return Err(AssertionError::Issuer);
    }
    if !is_for(claims.get("aud"), audiences) {
        return Err(AssertionError::Audience);
    }
    let expires_at = time(&claims, now)?;
    let jti = name(&claims, "jti").ok_or(AssertionError::Jti)?;
    Ok(Assertion { signed, signature, algorithm, kid, jku, client_id, jti, expires_at })
}

impl Assertion<'_> {
    /// Whom it claims to be from.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The key that it claims to be signed with.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whether it may point to its keys as it does: only to the address that the client is registered with (SM-64).
    pub fn points_rightly(&self, registered: &ClientKeys) -> bool {
        match (&self.jku, registered) {
            (None, _) => true,
            (Some(jku), ClientKeys::Url(url)) => jku == url,
            (Some(_), _) => false,
        }
    }

    /// Checks the signature with the client's keys, and consumes the assertion.
    pub fn verify(self, keys: &JwkSet) -> Result<Proven, AssertionError> {
        let key = keys.select(&self.kid, self.algorithm).ok_or(AssertionError::Unproven)?;
        if !key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature) {
            return Err(AssertionError::Unproven);
        }
        Ok(Proven { client_id: self.client_id, jti: self.jti, expires_at: self.expires_at })
    }
}

fn object(part: &str) -> Result<Json, AssertionError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| AssertionError::Malformed)?;
    let json = Json::parse(&bytes).map_err(|_| AssertionError::Malformed)?;
    if json.as_object().is_some() { Ok(json) } else { Err(AssertionError::Malformed) }
}

fn names_of_key(header: &Json) -> Result<(String, Option<String>), AssertionError> {
    let is_jwt = header.str("typ").is_some_and(|typ| typ.eq_ignore_ascii_case("JWT"));
    if !is_jwt || REFUSED_HEADERS.iter().any(|name| header.get(name).is_some()) {
        return Err(AssertionError::Header);
    }
    let kid = name(header, "kid").ok_or(AssertionError::Header)?;
    let jku = match header.get("jku") {
        None => None,
        Some(jku) => Some(jku.as_str().ok_or(AssertionError::Header)?.to_owned()),
    };
    Ok((kid, jku))
}

/// A text that is there, not too long, and can be kept in any database.
fn name(json: &Json, member: &str) -> Option<String> {
    let text = json.str(member)?;
    (!text.is_empty() && text.len() <= MAX_NAME && !text.contains('\0')).then(|| text.to_owned())
}

/// SM-66: one text that names us, or a list of nothing else.
fn is_for(audience: Option<&Json>, ours: &[&str]) -> bool {
    let is_ours = |value: &Json| value.as_str().is_some_and(|text| ours.contains(&text));
    match audience {
        Some(Json::Array(values)) => !values.is_empty() && values.iter().all(is_ours),
        Some(value) => is_ours(value),
        None => false,
    }
}

/// When it ends, microseconds since 1970.
fn time(claims: &Json, now: i64) -> Result<i64, AssertionError> {
    let instant = |value: &Json| {
        let seconds: i64 = value.as_number()?.parse().ok()?;
        seconds.checked_mul(SECOND).filter(|instant| *instant >= 0)
    };
    let expires_at = claims.get("exp").and_then(instant).ok_or(AssertionError::Time)?;
    if expires_at <= now || expires_at > now + LIFETIME + SKEW {
        return Err(AssertionError::Time);
    }
    for begin in ["nbf", "iat"].iter().filter_map(|member| claims.get(member)) {
        if instant(begin).is_none_or(|begin| begin > now + SKEW) {
            return Err(AssertionError::Time);
        }
    }
    Ok(expires_at)
}

#[cfg(test)]
mod tests;
