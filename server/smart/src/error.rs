//! Error codes of OAuth 2. <https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1> and §5.2,
//! <https://www.rfc-editor.org/rfc/rfc6750#section-3.1>

/// An error code of the authorization or token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request is malformed.
    InvalidRequest,
    /// The client did not authenticate.
    InvalidClient,
    /// The code or refresh token is invalid, spent, expired, revoked or another client's.
    InvalidGrant,
    /// The client may not use this grant type.
    UnauthorizedClient,
    /// The grant type does not exist here.
    UnsupportedGrantType,
    /// The response type does not exist here.
    UnsupportedResponseType,
    /// Nothing that was asked can be granted.
    InvalidScope,
    /// The person or the server said no.
    AccessDenied,
    /// `aud` is not this server (RFC 8707).
    InvalidTarget,
    /// `prompt=none`, but the person has to be asked (OpenID Connect).
    InteractionRequired,
    /// `prompt=none`, but nobody is signed in (OpenID Connect).
    LoginRequired,
    /// `prompt=none`, but the person has not agreed (OpenID Connect).
    ConsentRequired,
    /// A redirect URI cannot be registered (RFC 7591).
    InvalidRedirectUri,
    /// Something else of a client cannot be registered (RFC 7591).
    InvalidClientMetadata,
    /// The invitation is unknown, spent or over (RFC 6750).
    InvalidToken,
    /// Something broke here.
    ServerError,
    /// Too much at once.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// As it stands in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::InvalidRequest => "invalid_request",
            ErrorCode::InvalidClient => "invalid_client",
            ErrorCode::InvalidGrant => "invalid_grant",
            ErrorCode::UnauthorizedClient => "unauthorized_client",
            ErrorCode::UnsupportedGrantType => "unsupported_grant_type",
            ErrorCode::UnsupportedResponseType => "unsupported_response_type",
            ErrorCode::InvalidScope => "invalid_scope",
            ErrorCode::AccessDenied => "access_denied",
            ErrorCode::InvalidTarget => "invalid_target",
            ErrorCode::InteractionRequired => "interaction_required",
            ErrorCode::LoginRequired => "login_required",
            ErrorCode::ConsentRequired => "consent_required",
            ErrorCode::InvalidRedirectUri => "invalid_redirect_uri",
            ErrorCode::InvalidClientMetadata => "invalid_client_metadata",
            ErrorCode::InvalidToken => "invalid_token",
            ErrorCode::ServerError => "server_error",
            ErrorCode::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// HTTP status of the token endpoint.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::InvalidClient | ErrorCode::InvalidToken => 401,
            ErrorCode::ServerError => 500,
            ErrorCode::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}

/// An OAuth error: the code for programs, the description for the developer who reads it. Descriptions are our own
/// words, never input, so that nothing can be reflected or logged through them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct OAuthError {
    /// The code.
    pub code: ErrorCode,
    /// What to do about it.
    pub description: String,
}

impl OAuthError {
    /// An error with a description.
    pub fn new(code: ErrorCode, description: impl Into<String>) -> Self {
        OAuthError { code, description: description.into() }
    }

    /// `invalid_request`.
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// `invalid_grant`.
    pub fn invalid_grant(description: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidGrant, description)
    }

    /// `invalid_scope`.
    pub fn invalid_scope(description: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidScope, description)
    }
}
