//! Opaque secrets: 256 random bits to the outside, their SHA-256 inside (OA-31).
//!
//! Each kind has its own prefix, so that one presented where another is expected is not even looked up (OA-06), and
//! so that scanners for leaked secrets can know them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Access token.
    Access,
    /// Refresh token.
    Refresh,
    /// Authorization code.
    Code,
    /// Handle of an authorization request that a person has yet to answer.
    Request,
    /// Browser session.
    Session,
    /// Handle of an EHR launch.
    Launch,
    /// Client secret.
    ClientSecret,
    /// `state` of a sign-in at another OpenID provider.
    ExternalSignIn,
    /// Link with which a person sets a new password.
    Recovery,
    /// Handle of a pushed authorization request.
    PushedRequest,
    /// Initial access token, with which one client can be registered.
    Invitation,
    /// Challenge that a passkey has to answer.
    PasskeyChallenge,
}

/// A secret in clear; exists only between making and handing out, or between reading and hashing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// SHA-256 of a secret: what the database holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 12] = [
        Kind::Access,
        Kind::Refresh,
        Kind::Code,
        Kind::Request,
        Kind::Session,
        Kind::Launch,
        Kind::ClientSecret,
        Kind::ExternalSignIn,
        Kind::Recovery,
        Kind::PushedRequest,
        Kind::Invitation,
        Kind::PasskeyChallenge,
    ];

    fn prefix(self) -> &'static str {
        match self {
            Kind::Access => "tra_",
            Kind::Refresh => "trr_",
            Kind::Code => "trc_",
            Kind::Request => "trq_",
            Kind::Session => "trs_",
            Kind::Launch => "trl_",
            Kind::ClientSecret => "trk_",
            Kind::ExternalSignIn => "trx_",
            Kind::Recovery => "trv_",
            Kind::PushedRequest => "trp_",
            Kind::Invitation => "tri_",
            Kind::PasskeyChallenge => "trh_",
        }
    }
}

impl Secret {
    /// A secret of 256 random bits.
    pub fn new(kind: Kind, random: [u8; 32]) -> Self {
        Secret(format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(random)))
    }

    /// Reads what somebody presents; none if it cannot be of this kind.
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let random = URL_SAFE_NO_PAD.decode(text.strip_prefix(kind.prefix())?).ok()?;
        (random.len() == 32).then(|| Secret(text.to_owned()))
    }

    /// The text to hand out.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What to store or to look up.
    pub fn hash(&self) -> Hash {
        Hash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// A value that only the holder of this secret can know, for one purpose: form tokens are made of it (OA-14).
    pub fn derive(&self, purpose: &str) -> String {
        let digest = Sha256::new_with_prefix(purpose.as_bytes()).chain_update([0]).chain_update(self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(digest.finalize())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)") // OA-32: never in logs
    }
}

impl Hash {
    /// SHA-256 of a name that others chose and that need not be kept in clear.
    pub fn of(name: &[u8]) -> Self {
        Hash(Sha256::digest(name).into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From the database; none if it is not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Hash)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_06_no_kind_is_read_as_another() {
        for made in Kind::ALL {
            let secret = Secret::new(made, [7; 32]);
            for read in Kind::ALL {
                assert_eq!(Secret::parse(read, secret.expose()).is_some(), made == read, "{made:?} as {read:?}");
            }
        }
    }

    #[test]
    fn sm_48_damaged_tokens_are_not_looked_up() {
        let text = Secret::new(Kind::Access, [7; 32]).expose().to_owned();
        for damaged in [&text[1..], &text[..text.len() - 1], &format!("{text}A"), &format!("{text} "), "", "tra_"] {
            assert!(Secret::parse(Kind::Access, damaged).is_none(), "{damaged}");
        }
    }

    #[test]
    fn oa_32_secrets_do_not_print() {
        let secret = Secret::new(Kind::Access, [7; 32]);
        assert!(!format!("{secret:?} {:?}", secret.hash()).contains(&secret.expose()[4..12]));
    }

    #[test]
    fn oa_14_derived_values_differ_by_secret_and_purpose() {
        let (one, two) = (Secret::new(Kind::Session, [1; 32]), Secret::new(Kind::Session, [2; 32]));
        assert_eq!(one.derive("a"), one.derive("a"));
        assert_ne!(one.derive("a"), one.derive("b"));
        assert_ne!(one.derive("a"), two.derive("a"));
    }
}
