//! OAuth errors as JSON. <https://www.rfc-editor.org/rfc/rfc6749#section-5.2>

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use fhir::json::Object;
use smart::error::{ErrorCode, OAuthError};
use store::StoreError;

/// A failed request to the token, revocation or introspection endpoint.
#[derive(Debug)]
pub struct Failure {
    error: OAuthError,
    basic: bool,
}

impl Failure {
    /// The same, telling the client that it may authenticate by the Authorization header, as it tried to.
    #[must_use]
    pub fn after_basic(mut self, basic: bool) -> Self {
        self.basic = basic;
        self
    }

    /// The error.
    pub fn error(&self) -> &OAuthError {
        &self.error
    }
}

impl From<OAuthError> for Failure {
    fn from(error: OAuthError) -> Self {
        Failure { error, basic: false }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        server_error(&error).into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut body = Object::new();
        body.insert("error", self.error.code.as_str());
        body.insert("error_description", self.error.description.as_str());
        let mut response = HttpResponse::build(self.status_code());
        if self.error.code == ErrorCode::InvalidClient && self.basic {
            response.insert_header(("WWW-Authenticate", "Basic realm=\"token\", charset=\"UTF-8\""));
        }
        json(&mut response, body)
    }
}

/// A JSON answer that no cache keeps (SM-45).
pub fn json(response: &mut HttpResponseBuilder, body: Object) -> HttpResponse {
    response
        .insert_header(("Cache-Control", "no-store"))
        .insert_header(("Pragma", "no-cache"))
        .content_type("application/json")
        .body(fhir::json::Json::from(body).to_string())
}

/// The database failed: the cause goes to the log, never to the client.
pub fn server_error(cause: &dyn fmt::Display) -> OAuthError {
    tracing::error!(%cause, "authorization server");
    OAuthError::new(ErrorCode::ServerError, "the server failed; try again")
}
