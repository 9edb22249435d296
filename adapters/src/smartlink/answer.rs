//! Envelopes and errors. The HTTP status is not reliable: `code` and `response_type` decide.
//!
//! ```text
//! {code: "200"|"201"|"400.2002", content, message, response_type: SUCCESS|WARNING|ERROR}   SmartLink
//! {timestamp, status, error, message, path}                                                 the framework below it
//! {error, error_description}                                                                 tokens
//! ```

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::Facts;
use super::facts::member;
use crate::{Mapping, Refusal};

/// What is inside an answer: wrapped in `content` or bare.
pub(super) fn content(json: &Json) -> &[Json] {
    match json.get("content") {
        Some(Json::Null) => &[],
        Some(content) => content.items(),
        None => json.items(),
    }
}

/// Whether this is an error.
pub(super) fn recognises(json: &Json) -> bool {
    refusal(json).is_some()
}

/// An error is refused before it is read; anything else is not understood.
pub(super) fn read(_: &Json, _: &Facts<'_>) -> Result<Mapping, Refusal> {
    Err(unreadable("the answer is neither an error nor anything else that is known", ""))
}

/// The refusal that an answer is; nothing if it is no error.
pub(super) fn refusal(json: &Json) -> Option<Refusal> {
    let code = member(json, "code");
    let failed = json.str("response_type") == Some("ERROR");
    match &code {
        Some(code) if failed || !is_success(code) => return Some(of_smartlink(code, json)),
        None if failed => return Some(of_smartlink("without a code", json)),
        _ => {}
    }
    if json.get("timestamp").is_some() && json.get("status").is_some() && json.get("error").is_some() {
        return Some(of_framework(json));
    }
    let error = json.str("error").filter(|_| code.is_none())?;
    let text = json.str("error_description").unwrap_or(error);
    let expired = text.to_ascii_lowercase().contains("expired");
    let kind = if expired { IssueCode::Expired } else { IssueCode::Login };
    Some(vendor(502, kind, format!("SmartLink refused the token: {text}")))
}

/// The refusal that an answer is by its body, and where that says nothing by its HTTP status.
pub(super) fn refusal_of(status: u16, bytes: &[u8]) -> Option<Refusal> {
    let said = crate::json(bytes).ok();
    if let Some(refusal) = said.as_ref().and_then(refusal) {
        return Some(refusal);
    }
    let is_readable = said.as_ref().is_some_and(|json| matches!(json, Json::Object(_) | Json::Array(_)));
    // What says that it was done was done, whatever status a proxy gave it.
    let is_done = said.as_ref().is_some_and(|json| json.get("code").is_some());
    if is_done || (is_readable && (200..300).contains(&status)) {
        return None;
    }
    let (answer, kind) = of_http(&status.to_string());
    Some(vendor(answer, kind, format!("SmartLink answered with status {status} and nothing that can be read")))
}

/// Somebody else than the one who was asked about: nothing of the answer is used. (LK-51)
pub(super) fn stranger(told: Option<&String>, asked: Option<&String>, at: &str) -> Result<(), Refusal> {
    if let (Some(told), Some(asked)) = (told, asked)
        && told != asked
    {
        let issue = Issue::error(IssueCode::Security, "SmartLink answered about somebody else; nothing of it is used");
        return Err(Refusal::Vendor { status: 502, issues: vec![issue.at(at)], retry_after: None });
    }
    Ok(())
}

/// What an unreadable answer is: nothing of it is used, and whether the question was carried out is not known.
pub(super) fn unreadable(text: &str, at: &str) -> Refusal {
    let issue = Issue::error(IssueCode::Structure, format!("SmartLink: {text}"));
    let issue = if at.is_empty() { issue } else { issue.at(at) };
    Refusal::Vendor { status: 502, issues: vec![issue], retry_after: None }
}

fn is_success(code: &str) -> bool {
    matches!(code, "200" | "201")
}

/// `400.2002` is a rule of SmartLink's; what the other first parts mean is what HTTP means by them.
fn of_smartlink(code: &str, json: &Json) -> Refusal {
    let text = format!("SmartLink {code}: {}", member(json, "message").unwrap_or_else(|| "no message".to_owned()));
    let (status, kind) = match code.split('.').next().unwrap_or_default() {
        "401" => (502, IssueCode::Login),
        "403" => (502, IssueCode::Forbidden),
        "404" => (404, IssueCode::NotFound),
        "409" => (409, IssueCode::Duplicate),
        "429" => (503, IssueCode::Throttled),
        first if first.len() == 3 && first.starts_with('5') => (502, IssueCode::Transient),
        _ => (422, IssueCode::BusinessRule),
    };
    vendor(status, kind, text)
}

fn of_framework(json: &Json) -> Refusal {
    let status = member(json, "status").unwrap_or_default();
    let error = member(json, "error").unwrap_or_default();
    let (answer, kind) = of_http(&status);
    // Its message quotes statements and names of the vendor's classes: nothing for our callers.
    vendor(answer, kind, format!("SmartLink answered with status {status} {error}; what it did is not known"))
}

/// What a status of HTTP means where there is nothing better: our own status, and the kind of issue.
fn of_http(status: &str) -> (u16, IssueCode) {
    match status {
        "400" | "415" | "422" => (422, IssueCode::Invalid),
        "401" => (502, IssueCode::Login),
        "403" => (502, IssueCode::Forbidden),
        "404" => (502, IssueCode::NotFound),
        "409" => (409, IssueCode::Duplicate),
        "429" => (503, IssueCode::Throttled),
        status if status.starts_with('5') => (502, IssueCode::Transient),
        _ => (502, IssueCode::Structure),
    }
}

fn vendor(status: u16, kind: IssueCode, text: String) -> Refusal {
    let issue = Issue::error(kind, text.clone()).details(text);
    Refusal::Vendor { status, issues: vec![issue], retry_after: None }
}
