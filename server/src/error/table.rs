//! Which status and which issue codes each kind of failure has; the reference page of errors is made of it.
//! <https://hl7.org/fhir/R4/valueset-issue-type.html>

use std::fmt::Write as _;

use actix_web::http::StatusCode;
use fhir::outcome::IssueCode;

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
    /// Address longer than the server takes.
    UriTooLong,
    /// Body in a format that the server does not read.
    UnsupportedMediaType,
    /// Understood, but refused by a rule of this server or a profile.
    Unprocessable,
    /// Too many requests of this caller.
    TooManyRequests,
    /// A defect of the server.
    Internal,
    /// A service that this server had to ask did not answer well.
    BadGateway,
    /// A service that this server had to ask did not answer in time.
    GatewayTimeout,
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
    /// What it means to a client: `details.text` of the issue.
    pub meaning: &'static str,
    /// The codes of the places that know better.
    pub also: &'static [Also],
}

/// An issue code that a kind of failure has beside its own, and what it means then.
pub type Also = (IssueCode, &'static str);

/// Status and issue codes of every kind.
pub const TABLE: &[Row] = &[
    Row {
        kind: Kind::BadRequest,
        status: 400,
        code: IssueCode::Invalid,
        meaning: "The request cannot be understood or breaks a rule of FHIR.",
        also: &[
            (IssueCode::Structure, "The body is not well-formed, or not FHIR."),
            (IssueCode::Required, "An element that must be there is missing."),
            (IssueCode::Value, "A value is not one that this place can have."),
            (IssueCode::Invariant, "A rule about the content does not hold."),
            (IssueCode::CodeInvalid, "A code is not one of those that are allowed."),
            (IssueCode::Extension, "An extension is not allowed here."),
            (IssueCode::NotSupported, "FHIR knows it, this server does not support it."),
            (IssueCode::NotFound, "Something that the request refers to is not there."),
            (IssueCode::Duplicate, "Two parts of the request are about the same thing."),
            (IssueCode::MultipleMatches, "Something that the request refers to is not unique."),
            (IssueCode::Processing, "The request cannot be carried out as it is."),
            (IssueCode::Incomplete, "Something that the request needs is not known completely."),
            (IssueCode::TooCostly, "The request asks for more than this server does at once."),
            (IssueCode::TooLong, "A value is longer than this server accepts."),
        ],
    },
    Row {
        kind: Kind::Unauthorized,
        status: 401,
        code: IssueCode::Login,
        meaning: "A valid access token is needed.",
        also: &[],
    },
    Row {
        kind: Kind::Forbidden,
        status: 403,
        code: IssueCode::Forbidden,
        meaning: "The access token does not carry this right.",
        also: &[],
    },
    Row {
        kind: Kind::NotFound,
        status: 404,
        code: IssueCode::NotFound,
        meaning: "Unknown, or not visible with this access token.",
        also: &[(IssueCode::NotSupported, "This server knows no such path, type or operation.")],
    },
    Row {
        kind: Kind::MethodNotAllowed,
        status: 405,
        code: IssueCode::NotSupported,
        meaning: "This path does not know the method.",
        also: &[],
    },
    Row {
        kind: Kind::NotAcceptable,
        status: 406,
        code: IssueCode::NotSupported,
        meaning: "None of the accepted formats can be produced.",
        also: &[],
    },
    Row {
        kind: Kind::Conflict,
        status: 409,
        code: IssueCode::Conflict,
        meaning: "The current state of the resource stands against it.",
        also: &[(IssueCode::Duplicate, "There is such a resource already.")],
    },
    Row {
        kind: Kind::Gone,
        status: 410,
        code: IssueCode::Deleted,
        meaning: "The resource has been deleted.",
        also: &[(IssueCode::Expired, "It was there for a time only.")],
    },
    Row {
        kind: Kind::PreconditionFailed,
        status: 412,
        code: IssueCode::Conflict,
        meaning: "A precondition of the request does not hold.",
        also: &[
            (IssueCode::MultipleMatches, "The criteria match more than one resource."),
            (IssueCode::NotFound, "The criteria match no resource."),
        ],
    },
    Row {
        kind: Kind::PayloadTooLarge,
        status: 413,
        code: IssueCode::TooLong,
        meaning: "The body is larger than this server accepts.",
        also: &[(IssueCode::TooCostly, "The body asks for more than this server does at once.")],
    },
    Row {
        kind: Kind::UriTooLong,
        status: 414,
        code: IssueCode::TooLong,
        meaning: "The address is longer than this server accepts.",
        also: &[],
    },
    Row {
        kind: Kind::UnsupportedMediaType,
        status: 415,
        code: IssueCode::NotSupported,
        meaning: "The format of the body is not supported.",
        also: &[],
    },
    Row {
        kind: Kind::Unprocessable,
        status: 422,
        code: IssueCode::BusinessRule,
        meaning: "The content violates a rule of this server or a profile.",
        also: &[
            (IssueCode::Structure, "The content is not written as FHIR is."),
            (IssueCode::Processing, "The content is well-formed but cannot be worked on."),
            (IssueCode::Value, "A value is not one that can be worked with."),
            (IssueCode::Invariant, "A rule about the content does not hold."),
            (IssueCode::NotFound, "Something that the content refers to is not there."),
            (IssueCode::NotSupported, "FHIR knows it, this server does not support it."),
        ],
    },
    Row {
        kind: Kind::TooManyRequests,
        status: 429,
        code: IssueCode::Throttled,
        meaning: "Too many requests; try again later.",
        also: &[],
    },
    Row {
        kind: Kind::Internal,
        status: 500,
        code: IssueCode::Exception,
        meaning: "The server failed; the request had no effect.",
        also: &[],
    },
    Row {
        kind: Kind::BadGateway,
        status: 502,
        code: IssueCode::Transient,
        meaning: "A vendor's service that had to be asked did not answer well.",
        also: &[
            (IssueCode::Login, "A vendor's service that had to be asked does not take us for who we say we are."),
            (IssueCode::Forbidden, "A vendor's service that had to be asked does not let us do that."),
            (IssueCode::NotFound, "A vendor's service that had to be asked has no such door."),
            (IssueCode::Structure, "A vendor's service that had to be asked gave an answer that cannot be read."),
            (IssueCode::Value, "A vendor's service that had to be asked gave a value that cannot be."),
            (IssueCode::Security, "A vendor's service that had to be asked answered about somebody else."),
        ],
    },
    Row {
        kind: Kind::Unavailable,
        status: 503,
        code: IssueCode::Transient,
        meaning: "The server cannot answer now; try again.",
        also: &[
            (IssueCode::Throttled, "A vendor's service that had to be asked wants fewer questions."),
            (IssueCode::Incomplete, "The connection with a vendor's service is not set up completely."),
        ],
    },
    Row {
        kind: Kind::GatewayTimeout,
        status: 504,
        code: IssueCode::Timeout,
        meaning: "A vendor's service that had to be asked did not answer in time.",
        also: &[],
    },
];

/// The table as a page of the reference, in Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# Errors\n\nEvery error below `/fhir` is an `OperationOutcome`, in the format that the request accepts. Its issues have\n\
         `severity`, `code`, `diagnostics` (what is wrong and what would be right), `details.text` (the meaning below) and,\n\
         where a place is known, `expression`. The entries of a batch have the same statuses and issues. What is no request\n\
         that could be read has an answer without a body: 400 where the address is longer than 64 KiB or the head is no\n\
         HTTP, 431 where the headers are too large. This page is written by `tributary reference errors` from the table\n\
         that runs.\n\n\
         | status | issue code | meaning |\n|---|---|---|\n",
    );
    for row in TABLE {
        let status = row.kind.status();
        let reason = status.canonical_reason().unwrap_or_default();
        for (code, meaning) in std::iter::once(&(row.code, row.meaning)).chain(row.also) {
            let _ = writeln!(page, "| {} {reason} | `{}` | {meaning} |", row.status, code.as_str());
        }
    }
    page
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

impl Row {
    /// What an issue of this code means here.
    pub fn meaning_of(&self, code: IssueCode) -> &'static str {
        let also = self.also.iter().find(|(known, _)| *known == code);
        also.map_or(self.meaning, |(_, meaning)| meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_status_and_code_is_there_once() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.kind.row().status, row.status);
            assert!(!TABLE[..index].iter().any(|other| other.kind == row.kind || other.status == row.status));
            for (place, (code, meaning)) in row.also.iter().enumerate() {
                assert!(*code != row.code && !row.also[..place].iter().any(|(other, _)| other == code), "{code:?}");
                assert!(meaning.ends_with('.'), "{meaning}");
            }
        }
        assert_eq!(TABLE.len(), Kind::Unavailable as usize + 1, "a kind is missing in the table");
    }

    #[test]
    fn the_page_has_a_line_for_each() {
        let lines = TABLE.iter().map(|row| 1 + row.also.len()).sum::<usize>();
        assert_eq!(
            page().lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()).count(),
            lines
        );
        assert!(page().contains("| 404 Not Found | `not-found` |"));
    }
}
