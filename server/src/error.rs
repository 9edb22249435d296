//! What can go wrong with a FHIR request: status and issue code, one table.
//! <https://hl7.org/fhir/R4/http.html#Status-Codes>, <https://hl7.org/fhir/R4/operationoutcome.html>
//!
//! Every error that leaves the FHIR endpoint is an [`Error`], so every error is an OperationOutcome. [`TABLE`] is
//! what the code runs and what `docs/src/reference/errors.md` prints.

use std::fmt;

use actix_web::body::MessageBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode, outcome};
use store::StoreError;

mod table;

pub use table::{Also, Kind, Row, TABLE, page};

/// A failed FHIR request.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    issues: Vec<Issue>,
    headers: Vec<(&'static str, String)>,
    cause: Option<String>,
}

/// What an error says: a text, which gets the issue code of the table, or issues.
pub struct Reason(Said);

enum Said {
    Text(String),
    Issues(Vec<Issue>),
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        $(
            #[doc = concat!("An error of [`Kind::", stringify!($kind), "`].")]
            pub fn $name(reason: impl Into<Reason>) -> Self {
                Self::new(Kind::$kind, reason)
            }
        )*
    };
}

impl Error {
    constructors! {
        bad_request => BadRequest,
        unauthorized => Unauthorized,
        forbidden => Forbidden,
        not_found => NotFound,
        method_not_allowed => MethodNotAllowed,
        not_acceptable => NotAcceptable,
        conflict => Conflict,
        gone => Gone,
        precondition_failed => PreconditionFailed,
        payload_too_large => PayloadTooLarge,
        uri_too_long => UriTooLong,
        unsupported_media_type => UnsupportedMediaType,
        unprocessable => Unprocessable,
        too_many_requests => TooManyRequests,
        unavailable => Unavailable,
    }

    /// An error of `kind`.
    pub fn new(kind: Kind, reason: impl Into<Reason>) -> Self {
        let issues = match reason.into().0 {
            Said::Text(text) => vec![Issue::error(kind.row().code, text)],
            Said::Issues(issues) => issues,
        };
        Error { kind, issues, headers: Vec::new(), cause: None }
    }

    /// A defect: `cause` goes to the log, never to the client. (LK-41)
    pub fn internal(cause: impl fmt::Display) -> Self {
        let mut error = Self::new(Kind::Internal, "internal error");
        error.cause = Some(cause.to_string());
        error
    }

    /// Unknown or hidden instance; the text depends on what was asked only. (LK-10)
    pub fn unknown(resource_type: &str, id: &str) -> Self {
        Self::not_found(format!("{resource_type}/{id} is not known"))
    }

    /// The same error with a response header, for example `WWW-Authenticate` or `Allow`.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same error, each issue located at `expression` first: an entry of a Bundle.
    #[must_use]
    pub fn within(mut self, expression: &str) -> Self {
        for issue in &mut self.issues {
            issue.expression.insert(0, expression.to_owned());
        }
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What is wrong.
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// HTTP status.
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The OperationOutcome; issues that have no text for users get that of the table.
    pub fn outcome(&self) -> Json {
        let with_details = |issue: &Issue| match &issue.details {
            Some(_) => issue.clone(),
            None => issue.clone().details(self.kind.row().meaning_of(issue.code)),
        };
        outcome(&self.issues.iter().map(with_details).collect::<Vec<_>>())
    }

    /// The response with the outcome as `body` of `content_type`.
    pub fn respond(&self, content_type: &str, body: impl MessageBody + 'static) -> HttpResponse {
        if let Some(cause) = &self.cause {
            tracing::error!(cause, status = self.kind.row().status, "request failed");
        }
        let mut response = HttpResponse::build(self.status());
        for (name, value) in &self.headers {
            response.insert_header((*name, value.as_str()));
        }
        response.insert_header((header::CONTENT_TYPE, content_type)).insert_header((header::CACHE_CONTROL, "no-store"));
        response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
        response.body(body)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.kind.row().status)?;
        for issue in &self.issues {
            write!(formatter, " {}: {}", issue.code.as_str(), issue.diagnostics.as_deref().unwrap_or_default())?;
        }
        self.cause.as_ref().map_or(Ok(()), |cause| write!(formatter, " ({cause})"))
    }
}

impl std::error::Error for Error {}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    /// JSON; the FHIR scope renders it anew in the format that the client accepts.
    fn error_response(&self) -> HttpResponse {
        self.respond(crate::rest::response::JSON, self.outcome().to_string())
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        Reason(Said::Text(text.to_owned()))
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Reason(Said::Text(text))
    }
}

impl From<Issue> for Reason {
    fn from(issue: Issue) -> Self {
        Reason(Said::Issues(vec![issue]))
    }
}

impl From<Vec<Issue>> for Reason {
    fn from(issues: Vec<Issue>) -> Self {
        Reason(Said::Issues(issues))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Error::conflict("the resource was changed at the same time; read it again"),
            StoreError::Cursor => {
                Error::bad_request(Issue::error(IssueCode::Value, "_cursor does not belong to this search; start anew"))
            }
            StoreError::Unsupported(text) => Error::bad_request(Issue::error(IssueCode::NotSupported, text)),
            StoreError::TooCostly(text) => Error::bad_request(Issue::error(IssueCode::TooCostly, text)),
            StoreError::Audit(cause) => {
                tracing::error!(cause, "refused, because the audit trail cannot be written");
                Error::unavailable("the audit trail cannot be written, so nothing is answered; try again")
                    .with_header("Retry-After", "1")
            }
            StoreError::Stopped => {
                Error::unavailable("the write was not carried out; try again").with_header("Retry-After", "1")
            }
            crossed if crossed.is_serialization_failure() => {
                Error::conflict("the same resources were changed at the same time again and again; try again")
            }
            overload if overload.is_overload() => {
                Error::unavailable("the database is busy; try again").with_header("Retry-After", "1")
            }
            defect => Error::internal(defect),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lk_41_cause_of_internal_error_is_not_shown() {
        let error = Error::internal("UNIQUE constraint failed: resource.id");
        assert!(!error.outcome().to_string().contains("UNIQUE"));
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn issues_of_an_entry_say_where() {
        let error =
            Error::bad_request(Issue::error(IssueCode::Value, "no").at("Patient.birthDate")).within("Bundle.entry[2]");
        assert_eq!(error.issues()[0].expression, ["Bundle.entry[2]", "Patient.birthDate"]);
    }

    #[test]
    fn issues_have_a_text_for_users() {
        let outcome = Error::bad_request(Issue::error(IssueCode::Structure, "byte 3")).outcome();
        let issue = &outcome.list("issue")[0];
        assert_eq!(
            issue.at(&["details", "text"]).and_then(Json::as_str),
            Some("The body is not well-formed, or not FHIR.")
        );
        let own = Error::bad_request(Issue::error(IssueCode::Structure, "byte 3").details("own")).outcome();
        assert_eq!(own.list("issue")[0].at(&["details", "text"]).and_then(Json::as_str), Some("own"));
    }
}
