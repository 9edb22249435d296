//! What can go wrong with a FHIR request: status and issue code, one table.
//! <https://hl7.org/fhir/R4/http.html#Status-Codes>, <https://hl7.org/fhir/R4/operationoutcome.html>
//!
//! Every error that leaves the FHIR endpoint is an [`Error`], so every error is an OperationOutcome. [`TABLE`] is
//! what the code runs and what the documentation prints.

use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode, outcome};
use store::StoreError;

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be understood or breaks a rule of the base specification.
    BadRequest,
    /// No token, or one that is unknown, expired or revoked.
    Unauthorized,
    /// The token does not carry the right.
    Forbidden,
    /// Unknown or hidden: both look the same.
    NotFound,
    /// The path exists, the method on it does not.
    MethodNotAllowed,
    /// No format that the client accepts.
    NotAcceptable,
    /// The state of the resource stands against it.
    Conflict,
    /// Deleted.
    Gone,
    /// `If-Match` and its kin did not hold, or criteria match more than one resource.
    PreconditionFailed,
    /// Body larger than the configured bound.
    PayloadTooLarge,
    /// Body in a format that the server does not read.
    UnsupportedMediaType,
    /// Understood, but refused by a rule of this server or a profile.
    Unprocessable,
    /// Too many requests of this caller.
    TooManyRequests,
    /// A defect of the server.
    Internal,
    /// The database does not answer now; trying again is safe.
    Unavailable,
}

/// One row of the table of errors.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kind of failure.
    pub kind: Kind,
    /// HTTP status.
    pub status: u16,
    /// Issue code, where the place that raises the error knows nothing better.
    pub code: IssueCode,
    /// What it means to a client.
    pub meaning: &'static str,
}

/// Status and default issue code of every kind.
pub const TABLE: &[Row] = &[
    row(Kind::BadRequest, 400, IssueCode::Invalid, "The request cannot be understood or breaks a rule of FHIR."),
    row(Kind::Unauthorized, 401, IssueCode::Login, "A valid access token is needed."),
    row(Kind::Forbidden, 403, IssueCode::Forbidden, "The access token does not carry this right."),
    row(Kind::NotFound, 404, IssueCode::NotFound, "Unknown, or not visible with this access token."),
    row(Kind::MethodNotAllowed, 405, IssueCode::NotSupported, "This path does not know the method."),
    row(Kind::NotAcceptable, 406, IssueCode::NotSupported, "None of the accepted formats can be produced."),
    row(Kind::Conflict, 409, IssueCode::Conflict, "The current state of the resource stands against it."),
    row(Kind::Gone, 410, IssueCode::Deleted, "The resource has been deleted."),
    row(Kind::PreconditionFailed, 412, IssueCode::Conflict, "A precondition of the request does not hold."),
    row(Kind::PayloadTooLarge, 413, IssueCode::TooLong, "The body is larger than this server accepts."),
    row(Kind::UnsupportedMediaType, 415, IssueCode::NotSupported, "The format of the body is not supported."),
    row(Kind::Unprocessable, 422, IssueCode::BusinessRule, "The content violates a rule of this server or a profile."),
    row(Kind::TooManyRequests, 429, IssueCode::Throttled, "Too many requests; try again later."),
    row(Kind::Internal, 500, IssueCode::Exception, "The server failed; the request had no effect."),
    row(Kind::Unavailable, 503, IssueCode::Transient, "The server cannot answer now; try again."),
];

const fn row(kind: Kind, status: u16, code: IssueCode, meaning: &'static str) -> Row {
    Row { kind, status, code, meaning }
}

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

    /// The OperationOutcome.
    pub fn outcome(&self) -> Json {
        outcome(&self.issues)
    }

    /// The response with the outcome as `body` of `content_type`.
    pub fn respond(&self, content_type: &str, body: String) -> HttpResponse {
        if let Some(cause) = &self.cause {
            tracing::error!(cause, status = self.kind.row().status, "request failed");
        }
        let mut response = HttpResponse::build(self.status());
        for (name, value) in &self.headers {
            response.insert_header((*name, value.as_str()));
        }
        response.insert_header((header::CONTENT_TYPE, content_type)).insert_header((header::CACHE_CONTROL, "no-store"));
        response.body(body)
    }
}

impl Kind {
    /// The row of the table.
    pub fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.kind == self).expect("a test compares the table with the kinds")
    }

    /// HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().status).expect("the table holds valid statuses")
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
            StoreError::TooCostly(text) => Error::bad_request(Issue::error(IssueCode::TooCostly, text)),
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
    fn table_has_each_kind_and_status_once() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.kind.row().status, row.status);
            assert!(!TABLE[..index].iter().any(|other| other.kind == row.kind || other.status == row.status));
        }
        assert_eq!(TABLE.len(), Kind::Unavailable as usize + 1, "a kind is missing in the table");
    }

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
}
