//! What the audit trail learns of the entries of a batch: one event for all, which names each with its answer.

use fhir::json::Json;
use store::audit::Entity;

use crate::audit::{Noted, masked};
use crate::rest::response::Answer;

/// Longest address of an entry that is kept, bytes.
const MAX_URL: usize = 500;

/// What an entry asks for: the letter of its action, and where.
pub(super) fn asked(entry: &Json, base: &str) -> (char, String) {
    let text = |name: &str| entry.at(&["request", name]).and_then(Json::as_str).unwrap_or_default();
    let action = match text("method") {
        "POST" => 'C',
        "PUT" | "PATCH" => 'U',
        "DELETE" => 'D',
        _ => 'R',
    };
    let url = text("url");
    let url = url.strip_prefix(base).map_or(url, |rest| rest.trim_start_matches('/'));
    let url = if url.len() > MAX_URL || url.contains(char::is_control) { "" } else { url };
    (action, if url.contains('?') { masked(url) } else { url.to_owned() })
}

/// Adds the entries as they were answered.
pub(super) fn note(noted: &mut Noted, asked: &[(char, String)], answers: &[Answer], base: &str) {
    for ((action, url), answer) in asked.iter().zip(answers) {
        let place = answer.location.as_deref().and_then(|place| place.strip_prefix(base)?.strip_prefix('/'));
        let reference = place.unwrap_or(url);
        noted.entries.touch(Entity { action: *action, status: answer.status.as_u16(), reference });
    }
}
