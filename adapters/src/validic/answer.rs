//! Errors of the service, in every envelope that is published. <https://helpdocs.validic.com>

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::Refusal;

/// The refusal that an answer is.
pub(super) fn refusal(json: &Json) -> Refusal {
    let issues =
        issues(json).unwrap_or_else(|| vec![Issue::error(IssueCode::Invalid, "Validic answered with an error")]);
    let throttled = issues.iter().all(|issue| issue.code == IssueCode::Throttled);
    Refusal::Vendor { status: if throttled { 503 } else { 502 }, issues, retry_after: None }
}

/// What an error says; nothing if it is no error.
pub(super) fn issues(json: &Json) -> Option<Vec<Issue>> {
    match json {
        Json::String(text) => Some(vec![issue(None, text)]),
        Json::Array(answers) if !answers.is_empty() => {
            let all: Option<Vec<Vec<Issue>>> = answers.iter().map(of_answer).collect();
            Some(all?.into_iter().flatten().collect())
        }
        Json::Object(_) => envelope(json, None),
        _ => None,
    }
}

/// An answer written down with its status.
fn of_answer(answer: &Json) -> Option<Vec<Issue>> {
    let status = answer.get("status")?.as_number()?.parse().ok();
    match answer.get("body")? {
        Json::String(text) => Some(vec![issue(status, text)]),
        body => envelope(body, status),
    }
}

fn envelope(body: &Json, status: Option<u16>) -> Option<Vec<Issue>> {
    match (body.get("errors"), body.str("message"), body.str("error")) {
        (Some(Json::Array(errors)), _, _) => Some(errors.iter().map(|it| issue(status, &words(it))).collect()),
        (Some(Json::Object(fields)), _, _) => {
            Some(fields.iter().map(|(field, it)| issue(status, &format!("{field}: {}", words(it)))).collect())
        }
        (_, Some(message), _) => Some(vec![issue(status, message)]),
        (_, _, Some(error)) => {
            let own = body.get("status").and_then(Json::as_number).and_then(|status| status.parse().ok());
            Some(vec![issue(own.or(status), error)])
        }
        _ => None,
    }
}

fn words(json: &Json) -> String {
    match json {
        Json::String(text) => text.to_string(),
        Json::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn issue(status: Option<u16>, text: &str) -> Issue {
    let code = match status {
        Some(401) => IssueCode::Login,
        Some(403) => IssueCode::Forbidden,
        Some(404) => IssueCode::NotFound,
        Some(422) => IssueCode::BusinessRule,
        Some(429) => IssueCode::Throttled,
        Some(500..) => IssueCode::Transient,
        _ => IssueCode::Invalid,
    };
    Issue::error(code, format!("Validic answered: {text}"))
}
