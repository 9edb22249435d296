//! Proof Key for Code Exchange, S256 only. <https://www.rfc-editor.org/rfc/rfc7636>
//!
//! SM-14: every client sends a challenge, `plain` (also by leaving the method out) does not exist here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What a client committed to at the authorization endpoint: the SHA-256 of its verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge([u8; 32]);

/// Why a challenge is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PkceError {
    /// No `code_challenge`.
    #[error("code_challenge is required (PKCE)")]
    Missing,
    /// No `code_challenge_method`, which would mean `plain`, or another than `S256`.
    #[error("code_challenge_method must be S256")]
    Method,
    /// Not the 43 characters of base64url that a SHA-256 has.
    #[error("code_challenge must be the base64url text of a SHA-256, 43 characters without padding")]
    Malformed,
}

impl Challenge {
    /// Reads the two parameters of the authorization request.
    pub fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Self, PkceError> {
        let challenge = challenge.filter(|text| !text.is_empty()).ok_or(PkceError::Missing)?;
        if method != Some("S256") {
            return Err(PkceError::Method);
        }
        Self::from_text(challenge).ok_or(PkceError::Malformed)
    }

    /// Reads the base64url text.
    pub fn from_text(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Challenge)
    }

    /// The challenge that a verifier answers.
    pub fn of(verifier: &str) -> Self {
        Challenge(Sha256::digest(verifier.as_bytes()).into())
    }

    /// Whether the verifier is well formed and is the one committed to. (SM-47)
    pub fn is_met_by(&self, verifier: &str) -> bool {
        let well_formed = (43..=128).contains(&verifier.len())
            && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
        let difference = Self::of(verifier).0.iter().zip(self.0).fold(0, |difference, (a, b)| difference | (a ^ b));
        well_formed && difference == 0
    }
}

impl std::fmt::Display for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636 Appendix B
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn sm_14_the_example_of_the_rfc_is_met() {
        let challenge = Challenge::parse(Some(CHALLENGE), Some("S256")).expect("valid");
        assert!(challenge.is_met_by(VERIFIER));
        assert_eq!(challenge.to_string(), CHALLENGE);
    }

    #[test]
    fn sm_14_plain_and_missing_are_refused() {
        assert_eq!(Challenge::parse(None, Some("S256")), Err(PkceError::Missing));
        assert_eq!(Challenge::parse(Some(""), Some("S256")), Err(PkceError::Missing));
        for method in [None, Some("plain"), Some("s256"), Some("")] {
            assert_eq!(Challenge::parse(Some(CHALLENGE), method), Err(PkceError::Method));
        }
        for challenge in [
            "short",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cN",
        ] {
            assert_eq!(Challenge::parse(Some(challenge), Some("S256")), Err(PkceError::Malformed), "{challenge}");
        }
    }

    #[test]
    fn sm_47_wrong_verifiers_do_not_meet_it() {
        let challenge = Challenge::of(VERIFIER);
        let longer = format!("{VERIFIER}x");
        for verifier in ["", " ", CHALLENGE, &VERIFIER[1..], &longer, &VERIFIER.to_lowercase()] {
            assert!(!challenge.is_met_by(verifier), "{verifier}");
        }
        let short = "short-but-committed-to";
        assert!(!Challenge::of(short).is_met_by(short), "too short to be a secret");
    }
}
