//! `OperationOutcome` and its issues. <https://hl7.org/fhir/R4/operationoutcome.html>

use crate::json::{Json, Object};

/// One issue of an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// How bad.
    pub severity: Severity,
    /// What kind.
    pub code: IssueCode,
    /// Text for developers: what is wrong and what would be right.
    pub diagnostics: Option<String>,
    /// FHIRPath of the elements concerned.
    pub expression: Vec<String>,
    /// Text for users.
    pub details: Option<String>,
}

/// How bad an issue is. <https://hl7.org/fhir/R4/valueset-issue-severity.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing went wrong.
    Information,
    /// The action went on.
    Warning,
    /// The action failed.
    Error,
    /// The action failed and checks were not finished.
    Fatal,
}

impl Issue {
    /// An issue of any severity.
    pub fn new(severity: Severity, code: IssueCode, diagnostics: impl Into<String>) -> Issue {
        Issue { severity, code, diagnostics: Some(diagnostics.into()), expression: Vec::new(), details: None }
    }

    /// An error.
    pub fn error(code: IssueCode, diagnostics: impl Into<String>) -> Issue {
        Issue::new(Severity::Error, code, diagnostics)
    }

    /// A warning.
    pub fn warning(code: IssueCode, diagnostics: impl Into<String>) -> Issue {
        Issue::new(Severity::Warning, code, diagnostics)
    }

    /// A piece of information.
    pub fn information(code: IssueCode, diagnostics: impl Into<String>) -> Issue {
        Issue::new(Severity::Information, code, diagnostics)
    }

    /// Adds the FHIRPath of an element concerned.
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Issue {
        self.expression.push(expression.into());
        self
    }

    /// Sets the text for users.
    #[must_use]
    pub fn details(mut self, text: impl Into<String>) -> Issue {
        self.details = Some(text.into());
        self
    }

    fn to_json(&self) -> Json {
        let mut issue = Object::new();
        issue.insert("severity", self.severity.as_str());
        issue.insert("code", self.code.as_str());
        if let Some(text) = &self.details {
            issue.insert("details", crate::object! { "text": printable(text) });
        }
        if let Some(text) = &self.diagnostics {
            issue.insert("diagnostics", printable(text));
        }
        if !self.expression.is_empty() {
            issue.insert(
                "expression",
                self.expression.iter().map(|path| Json::from(printable(path))).collect::<Vec<_>>(),
            );
        }
        Json::Object(issue)
    }
}

impl Severity {
    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Information => "information",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        }
    }
}

/// An `OperationOutcome` of these issues; without any it says that all is well, since one issue is the minimum.
pub fn outcome(issues: &[Issue]) -> Json {
    let fine = [Issue::information(IssueCode::Informational, "All OK")];
    let issues = if issues.is_empty() { &fine } else { issues };
    crate::object! {
        "resourceType": "OperationOutcome",
        "issue": issues.iter().map(Issue::to_json).collect::<Vec<_>>(),
    }
}

/// The text with U+FFFD in place of what XML cannot hold: issues quote what is wrong with a request, and must be told in
/// any format.
fn printable(text: &str) -> String {
    text.chars().map(|it| if crate::xml::is_xml_character(it) { it } else { char::REPLACEMENT_CHARACTER }).collect()
}

macro_rules! issue_codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal),* $(,)?) => {
        /// Kind of an issue. <https://hl7.org/fhir/R4/valueset-issue-type.html>
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum IssueCode {
            $($(#[doc = $doc])* $name,)*
        }

        impl IssueCode {
            /// The code.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(IssueCode::$name => $code,)*
                }
            }
        }
    };
}

issue_codes! {
    /// Content is invalid against specification or profile.
    Invalid = "invalid",
    /// Structural: wrong namespace, unparsable.
    Structure = "structure",
    /// A required element is missing.
    Required = "required",
    /// An element or header value is invalid.
    Value = "value",
    /// A rule about content failed.
    Invariant = "invariant",
    /// Authentication or authorisation.
    Security = "security",
    /// The client must log in.
    Login = "login",
    /// The user or system could not be identified.
    Unknown = "unknown",
    /// The session is over.
    Expired = "expired",
    /// Not permitted.
    Forbidden = "forbidden",
    /// Some information was held back.
    Suppressed = "suppressed",
    /// Processing failed.
    Processing = "processing",
    /// The interaction, resource, profile or parameter is not supported.
    NotSupported = "not-supported",
    /// There is such a record already.
    Duplicate = "duplicate",
    /// Several records match.
    MultipleMatches = "multiple-matches",
    /// The thing referred to was not found.
    NotFound = "not-found",
    /// The thing referred to was deleted.
    Deleted = "deleted",
    /// Content is too long.
    TooLong = "too-long",
    /// A code or system is not understood or not valid.
    CodeInvalid = "code-invalid",
    /// An extension is unacceptable.
    Extension = "extension",
    /// The operation was stopped to protect the server.
    TooCostly = "too-costly",
    /// A business rule failed.
    BusinessRule = "business-rule",
    /// An edit conflict.
    Conflict = "conflict",
    /// Transient; trying again may help.
    Transient = "transient",
    /// A lock could not be had.
    LockError = "lock-error",
    /// The store is not available.
    NoStore = "no-store",
    /// An unexpected internal error.
    Exception = "exception",
    /// An internal timeout.
    Timeout = "timeout",
    /// Not all data sources could be reached.
    Incomplete = "incomplete",
    /// The load is too high.
    Throttled = "throttled",
    /// Nothing but a message.
    Informational = "informational",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_can_be_written_in_xml() {
        let issue = Issue::error(IssueCode::Value, "a\u{1}b\u{ffff}\n").details("\u{0}").at("Patient.\u{b}");
        let outcome = outcome(&[issue]);
        assert_eq!(outcome.at(&["issue", "diagnostics"]).and_then(Json::as_str), Some("a\u{fffd}b\u{fffd}\n"));
        assert!(crate::xml::from_json(&outcome).is_ok());
    }

    #[test]
    fn shape() {
        let text =
            outcome(&[Issue::error(IssueCode::NotFound, "no Patient/1").at("Patient").details("gone")]).to_string();
        assert_eq!(
            text,
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found","details":{"text":"gone"},"diagnostics":"no Patient/1","expression":["Patient"]}]}"#
        );
        assert!(outcome(&[]).to_string().contains("All OK"));
    }
}
