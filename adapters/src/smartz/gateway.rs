//! Errors of the gateway in front of the service. <https://learn.microsoft.com/azure/api-management/>

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::Refusal;

/// Whether this is such an error.
pub(super) fn recognises(json: &Json) -> bool {
    json.get("statusCode").and_then(Json::as_number).is_some() && json.str("message").is_some()
}

/// What it means for whoever asked us, and how long to wait.
pub(super) fn refusal(json: &Json) -> Refusal {
    let status = json.get("statusCode").and_then(Json::as_number).unwrap_or_default();
    let message = json.str("message").unwrap_or("no message");
    let quota = message.to_ascii_lowercase().contains("quota");
    let (code, answer) = match status {
        "401" => (IssueCode::Login, 502),
        "403" if quota => (IssueCode::Throttled, 503),
        "403" => (IssueCode::Forbidden, 502),
        "404" => (IssueCode::NotFound, 502),
        "429" => (IssueCode::Throttled, 503),
        _ => (IssueCode::Transient, 502),
    };
    let retry_after = if code == IssueCode::Throttled { seconds(message) } else { None };
    let issues = vec![Issue::error(code, format!("Smartz answered with status {status}: {message}"))];
    Refusal::Vendor { status: answer, issues, retry_after }
}

/// The number before `seconds`.
fn seconds(message: &str) -> Option<u64> {
    let before = message.split(" second").next().filter(|before| before.len() < message.len())?;
    before.rsplit(' ').next()?.parse().ok()
}
