//! Registered clients: what they are, and what their kind may do. <https://www.rfc-editor.org/rfc/rfc6749#section-2>

use crate::error::{ErrorCode, OAuthError};
use crate::redirect_uri::RedirectUri;
use crate::scope::{Level, Scope, ScopeSet};

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// Name for people, shown at consent.
    pub name: String,
    /// What it is.
    pub kind: ClientKind,
    /// How it proves who it is.
    pub authentication: ClientAuthentication,
    /// Its public keys; none unless it authenticates with them.
    pub keys: ClientKeys,
    /// Where it gets its answers; empty for backend services.
    pub redirect_uris: Vec<RedirectUri>,
    /// The most that it can be granted.
    pub scopes: ScopeSet,
    /// Microseconds since 1970 before which it is not accepted.
    pub valid_from: Option<i64>,
    /// Microseconds since 1970 from which on it is not accepted.
    pub valid_to: Option<i64>,
    /// Microseconds since 1970 when an operator switched it off.
    pub disabled_at: Option<i64>,
}

/// What a client is, and with it what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// An app that cannot keep a secret: phone, browser.
    Public,
    /// An app on a server, with a secret or a key.
    Confidential,
    /// A program without a person, with a key.
    Backend,
}

/// How a client proves who it is, by the one method that it is registered for (SM-60).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// Not at all: a public client.
    None,
    /// With a shared secret, in the Authorization header or in the form.
    Secret,
    /// With a signed assertion (RFC 7523).
    PrivateKeyJwt,
}

/// Where the public keys of a client are (SM-65).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientKeys {
    /// It has none.
    #[default]
    None,
    /// The text of its JWK Set.
    Inline(String),
    /// The address of its JWK Set.
    Url(String),
}

/// Grant types of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantType {
    /// `authorization_code`
    AuthorizationCode,
    /// `refresh_token`
    RefreshToken,
    /// `client_credentials`
    ClientCredentials,
}

/// What a client presented at the token endpoint to prove who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Only its name, `client_id` in the form.
    Named(String),
    /// Name and secret, in the Authorization header or in the form.
    Secret {
        /// `client_id`.
        client_id: String,
        /// `client_secret`.
        secret: String,
    },
    /// A signed assertion, not looked into yet but for the name in it.
    Assertion {
        /// `sub` of the assertion; nothing is proven by it.
        client_id: String,
        /// `client_assertion`.
        assertion: String,
    },
}

impl ClientKind {
    /// All kinds.
    pub const ALL: [ClientKind; 3] = [ClientKind::Public, ClientKind::Confidential, ClientKind::Backend];

    /// Name in the database and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientKind::Public => "public",
            ClientKind::Confidential => "confidential",
            ClientKind::Backend => "backend",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it may be registered for that method: public clients prove nothing, all others do, and backend services
    /// have no shared secret (OA-10, SM-53, SM-60).
    pub fn may_use(self, authentication: ClientAuthentication) -> bool {
        match self {
            ClientKind::Public => authentication == ClientAuthentication::None,
            ClientKind::Confidential => authentication != ClientAuthentication::None,
            ClientKind::Backend => authentication == ClientAuthentication::PrivateKeyJwt,
        }
    }

    /// Grant types that it may use (OA-11).
    pub fn grant_types(self) -> &'static [GrantType] {
        match self {
            ClientKind::Public | ClientKind::Confidential => &[GrantType::AuthorizationCode, GrantType::RefreshToken],
            ClientKind::Backend => &[GrantType::ClientCredentials],
        }
    }

    /// Whether a scope can be registered for it: `system/` is for programs without a person, and nothing else is
    /// (SM-31, SM-67).
    pub fn can_hold(self, scope: &Scope) -> bool {
        if *scope == Scope::Launch {
            return true; // an app is launched, an EHR launches
        }
        let is_system = matches!(scope, Scope::Resource(resource) if resource.level == Level::System);
        is_system == (self == ClientKind::Backend)
    }
}

impl ClientAuthentication {
    /// All methods.
    pub const ALL: [ClientAuthentication; 3] =
        [ClientAuthentication::None, ClientAuthentication::Secret, ClientAuthentication::PrivateKeyJwt];

    /// Name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientAuthentication::None => "none",
            ClientAuthentication::Secret => "secret",
            ClientAuthentication::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }
}

impl GrantType {
    /// All grant types.
    pub const ALL: [GrantType; 3] =
        [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::ClientCredentials];

    /// Value of `grant_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            GrantType::AuthorizationCode => "authorization_code",
            GrantType::RefreshToken => "refresh_token",
            GrantType::ClientCredentials => "client_credentials",
        }
    }

    /// Reads `grant_type`.
    pub fn parse(text: &str) -> Result<Self, OAuthError> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == text).ok_or_else(|| {
            OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                "grant_type must be authorization_code, refresh_token or client_credentials",
            )
        })
    }
}

impl Credentials {
    /// The name that is claimed.
    pub fn client_id(&self) -> &str {
        match self {
            Credentials::Named(client_id)
            | Credentials::Secret { client_id, .. }
            | Credentials::Assertion { client_id, .. } => client_id,
        }
    }
}

impl Client {
    /// Whether it is accepted at an instant.
    pub fn is_active(&self, now: i64) -> bool {
        self.disabled_at.is_none()
            && self.valid_from.is_none_or(|from| from <= now)
            && self.valid_to.is_none_or(|to| now < to)
    }

    /// Whether it has a shared secret.
    pub fn has_secret(&self) -> bool {
        self.authentication == ClientAuthentication::Secret
    }

    /// Whether it has to prove who it is, at every endpoint (OA-10, SM-53).
    pub fn authenticates(&self) -> bool {
        self.authentication != ClientAuthentication::None
    }

    /// Whether an answer may be sent there.
    pub fn has_redirect_uri(&self, requested: &str) -> bool {
        self.redirect_uris.iter().any(|uri| uri.matches(requested))
    }

    /// `unauthorized_client` unless its kind may use the grant type.
    pub fn check_grant_type(&self, grant: GrantType) -> Result<(), OAuthError> {
        if self.kind.grant_types().contains(&grant) {
            return Ok(());
        }
        let text = format!("a {} client cannot use grant_type {}", self.kind.as_str(), grant.as_str());
        Err(OAuthError::new(ErrorCode::UnauthorizedClient, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(kind: ClientKind) -> Client {
        Client {
            id: "app".to_owned(),
            name: "App".to_owned(),
            kind,
            authentication: ClientAuthentication::None,
            keys: ClientKeys::None,
            redirect_uris: Vec::new(),
            scopes: ScopeSet::default(),
            valid_from: Some(10),
            valid_to: Some(20),
            disabled_at: None,
        }
    }

    #[test]
    fn oa_11_grant_types_are_those_of_the_kind() {
        for kind in [ClientKind::Public, ClientKind::Confidential] {
            assert!(client(kind).check_grant_type(GrantType::AuthorizationCode).is_ok());
            let refused = client(kind).check_grant_type(GrantType::ClientCredentials).expect_err("not theirs");
            assert_eq!(refused.code, ErrorCode::UnauthorizedClient);
        }
        assert!(client(ClientKind::Backend).check_grant_type(GrantType::AuthorizationCode).is_err());
        for never in ["password", "token", "implicit", "", "Authorization_code"] {
            assert!(GrantType::parse(never).is_err(), "{never}");
        }
    }

    #[test]
    fn sm_67_system_scopes_are_for_backend_services_only() {
        let system = Scope::parse("system/*.rs").expect("valid");
        let patient = Scope::parse("patient/*.rs").expect("valid");
        assert!(ClientKind::Backend.can_hold(&system) && !ClientKind::Backend.can_hold(&patient));
        assert!(ClientKind::Public.can_hold(&patient) && !ClientKind::Public.can_hold(&system));
    }

    #[test]
    fn sm_60_backend_services_have_no_shared_secret() {
        let allowed = |kind: ClientKind| ClientAuthentication::ALL.map(|method| kind.may_use(method));
        assert_eq!(allowed(ClientKind::Public), [true, false, false]);
        assert_eq!(allowed(ClientKind::Confidential), [false, true, true]);
        assert_eq!(allowed(ClientKind::Backend), [false, false, true]);
        for method in ClientAuthentication::ALL {
            assert_eq!(ClientAuthentication::parse(method.as_str()), Some(method));
        }
    }

    #[test]
    fn validity_is_half_open() {
        let client = client(ClientKind::Public);
        assert_eq!([9, 10, 19, 20].map(|now| client.is_active(now)), [false, true, true, false]);
        assert!(!Client { disabled_at: Some(5), ..client }.is_active(15));
    }
}
