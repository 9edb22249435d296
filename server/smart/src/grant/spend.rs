//! Codes and refresh tokens: what happens when somebody presents one.

use super::lifetime;
use crate::error::OAuthError;
use crate::pkce::Challenge;
use crate::scope::ScopeSet;

/// An authorization code as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Who it was issued to (OA-05).
    pub client_id: String,
    /// Where it was sent.
    pub redirect_uri: String,
    /// What the verifier must answer.
    pub challenge: Challenge,
    /// When it ends, microseconds since 1970.
    pub expires_at: i64,
    /// When it was spent.
    pub used_at: Option<i64>,
}

/// What a client presents with a code.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The authenticated client.
    pub client_id: &'a str,
    /// `redirect_uri`
    pub redirect_uri: Option<&'a str>,
    /// `code_verifier`
    pub verifier: Option<&'a str>,
}

/// What to do with a presented code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redemption {
    /// Spend it, and issue tokens.
    Accepted,
    /// Everything fits, but it was spent before: deny, and revoke all that came of it (OA-04).
    Replayed,
    /// Deny. Nothing is revoked, so that a guess cannot cut off the rightful client.
    Refused(OAuthError),
}

/// A refresh token as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// Who it was issued to (SM-53).
    pub client_id: String,
    /// What the grant gives, and each renewal may give again.
    pub scopes: ScopeSet,
    /// When it ends, microseconds since 1970.
    pub expires_at: i64,
    /// When it was exchanged for its successor.
    pub used_at: Option<i64>,
}

/// What to do with a presented refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Issue a successor, and an access token with these scopes.
    Accepted(ScopeSet),
    /// It has a successor, since a moment ago. If that was never used the answer with it was lost: issue another in its
    /// place, and an access token with these scopes. If it was, this is reuse.
    Repeated(ScopeSet),
    /// It has a successor already: one of the two was stolen; revoke the family (OA-08).
    Reused,
    /// Deny.
    Refused(OAuthError),
}

impl Code {
    /// Judges a presented code.
    pub fn redeem(self, presented: Presented<'_>, now: i64) -> Redemption {
        let refuse = |text: &str| Redemption::Refused(OAuthError::invalid_grant(text));
        if presented.client_id != self.client_id {
            return refuse("the code is not valid");
        }
        if presented.redirect_uri != Some(&self.redirect_uri) {
            return refuse("redirect_uri is not the one of the authorization request");
        }
        if !presented.verifier.is_some_and(|verifier| self.challenge.is_met_by(verifier)) {
            return refuse("code_verifier is missing or does not answer the code_challenge");
        }
        if self.used_at.is_some() {
            return Redemption::Replayed;
        }
        if now >= self.expires_at {
            return refuse("the code has expired");
        }
        Redemption::Accepted
    }
}

impl Refresh {
    /// Judges a presented refresh token and the narrower scopes that may come with it (SM-54).
    pub fn rotate(self, client_id: &str, narrower: Option<&ScopeSet>, now: i64) -> Rotation {
        let refuse = |text: &str| Rotation::Refused(OAuthError::invalid_grant(text));
        if client_id != self.client_id {
            return refuse("the refresh token is not valid");
        }
        if self.used_at.is_some_and(|used| now - used > lifetime::REFRESH_GRACE) {
            return Rotation::Reused;
        }
        if now >= self.expires_at {
            return refuse("the refresh token has expired");
        }
        let scopes = match narrower {
            None => self.scopes,
            Some(scopes) if !scopes.is_empty() && scopes.is_covered_by(&self.scopes) => scopes.clone(),
            Some(_) => return Rotation::Refused(OAuthError::invalid_scope("scope must be within what was granted")),
        };
        if self.used_at.is_some() { Rotation::Repeated(scopes) } else { Rotation::Accepted(scopes) }
    }
}
