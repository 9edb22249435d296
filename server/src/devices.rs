//! Vendors' messages: taken in once, kept raw, applied in the background.
//!
//! ```text
//! POST /health-data/…  ─▶ webhook   key, size, soundness ─▶ inbox row ─▶ commit ─▶ 200 {"_id": receipt}
//! inbox row            ─▶ ingest    lease ─▶ adapter (pure) ─▶ rest::bundle::execute ─▶ outcome
//! pairing              ─▶ pairing   pairing row, Device, DeviceUseStatement ─▶ quarantined messages of it again
//! ```
//!
//! Whose data it is comes from the pairings only, never from a message. What the vendors send and what becomes of it
//! is in package `adapters`; nothing here knows a vendor by name.

pub mod door;
pub mod ingest;
pub mod mapping_files;
pub mod pairing;
pub mod phone;
mod registry;
mod split;
pub mod stream;
mod twins;
pub mod webhook;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use fhir::json::Json;
use fhir::outcome::Issue;
use smart::error::OAuthError;
use store::StoreError;

use crate::error::Error;

/// An error in the shape that these vendors' receivers answer with: the status is a text.
#[derive(Clone, Debug)]
pub struct Refused {
    status: StatusCode,
    message: String,
    challenge: Option<&'static str>,
}

impl Refused {
    /// A refusal with a status and what is wrong.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Refused { status, message: message.into(), challenge: None }
    }

    /// A refusal that lists everything that is wrong.
    pub fn listing(status: StatusCode, issues: &[Issue]) -> Self {
        let texts: Vec<&str> = issues.iter().filter_map(|issue| issue.diagnostics.as_deref()).collect();
        Refused::new(status, texts.join("; "))
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.status.as_u16(), self.message)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let reason = match self.status {
            StatusCode::BAD_REQUEST => "Bad request",
            other => other.canonical_reason().unwrap_or("Error"),
        };
        let body = fhir::object! {
            "statusCode": self.status.as_str(),
            "error": reason,
            "message": self.message.as_str(),
        };
        let mut response = HttpResponse::build(self.status);
        if let Some(challenge) = self.challenge {
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        response.content_type("application/json").body(body.to_string())
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        if error.status().is_server_error() {
            tracing::error!(%error, "a vendor's request failed");
        }
        let refused = Refused::listing(error.status(), error.issues());
        Refused { challenge: (error.status() == StatusCode::UNAUTHORIZED).then_some("Bearer"), ..refused }
    }
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Refused::new(status, error.description)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        // Not acknowledged, so the vendor sends it again.
        tracing::error!(%error, "a vendor's request failed");
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "not stored; send it again")
    }
}

/// What became of a message, as it is kept with it.
fn outcome(written: &[String], issues: &[Issue]) -> String {
    let written: Vec<Json> = written.iter().map(|location| location.as_str().into()).collect();
    let issues = if issues.is_empty() { Json::Array(Vec::new()) } else { issues_of(issues) };
    fhir::object! { "written": written, "issue": issues }.to_string()
}

fn issues_of(issues: &[Issue]) -> Json {
    fhir::outcome::outcome(issues).get("issue").cloned().unwrap_or(Json::Null)
}
