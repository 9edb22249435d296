//! `$convert`: a resource in the format that the client accepts.
//! <https://hl7.org/fhir/R4/resource-operation-convert.html>

use fhir::outcome::{Issue, IssueCode, Severity};

use super::Invocation;
use crate::error::Error;
use crate::rest::response::Answer;

/// The resource, which is written when it is answered. It must be possible in both formats, and what is written must be
/// what a reader takes: elements may be missing, but those that are there have their form.
pub(super) fn execute(invocation: &Invocation) -> Result<Answer, Error> {
    let resource = invocation.input.resource("input")?;
    let mut issues = validation::validate(resource);
    issues.retain(|issue| matches!(issue.code, IssueCode::Structure | IssueCode::Value | IssueCode::TooCostly));
    if issues.iter().any(|issue| issue.severity >= Severity::Error) {
        return Err(Error::unprocessable(issues));
    }
    fhir::xml::from_json(resource)
        .map_err(|error| Error::unprocessable(Issue::error(IssueCode::Structure, error.to_string())))?;
    Ok(Answer::resource(resource.to_string()))
}
