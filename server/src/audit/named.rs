//! Patients that a text is about, and what of a query may be kept.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Longest query that is kept, bytes.
const MAX_QUERY: usize = 8_192;

/// Parts of names of parameters whose values are secrets. (CO-08)
const SECRET: [&str; 5] = ["token", "secret", "password", "assertion", "verifier"];

/// Making ready to look for it costs as much as looking through a resource.
static PATIENT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("Patient/"));

/// Adds the patients that a resource is or refers to: relatively, or below `base`.
pub fn patients_in(body: &str, base: &str, found: &mut BTreeSet<String>) {
    const OWN: &str = "{\"resourceType\":\"Patient\",\"id\":\"";
    let mut add = |id: &str| {
        if !found.contains(id) && fhir::id::is_valid(id) {
            found.insert(id.to_owned());
        }
    };
    if let Some((id, _)) = body.strip_prefix(OWN).and_then(|rest| rest.split_once('"')) {
        add(id);
    }
    for at in PATIENT.find_iter(body.as_bytes()) {
        let (before, rest) = (&body[..at], &body[at + "Patient/".len()..]);
        let is_own = before.ends_with('"')
            || (!base.is_empty() && before.strip_suffix('/').is_some_and(|before| before.ends_with(base)));
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.').unwrap_or(rest.len());
        if is_own && rest[end..].starts_with(['"', '/', '#', '?']) {
            add(&rest[..end]);
        }
    }
}

/// A path with its query, as it was sent, without secrets that stand there by mistake.
pub fn masked(url: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let shown = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let lower = name.to_ascii_lowercase();
        let looks_like = |value: &str| value.len() >= 40 && !value.contains(['/', ':', ',', '|', '%', '?']);
        if SECRET.iter().any(|part| lower.contains(part)) || (lower != "_cursor" && looks_like(value)) {
            format!("{name}=[masked]")
        } else {
            pair.to_owned()
        }
    });
    let mut whole = format!("{path}?{}", shown.collect::<Vec<_>>().join("&"));
    if whole.len() > MAX_QUERY {
        let end = (0..=MAX_QUERY).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
        whole.truncate(end);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patients_are_found_however_they_are_named() {
        let of = |body: &str| {
            let mut found = BTreeSet::new();
            patients_in(body, "http://s/fhir", &mut found);
            found.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(of(r#"{"resourceType":"Patient","id":"a","meta":{}}"#), ["a"]);
        assert_eq!(of(r#"{"subject":{"reference":"Patient/b"},"x":{"reference":"Patient/b"}}"#), ["b"]);
        assert_eq!(of(r#"{"reference":"http://s/fhir/Patient/c/_history/2"}"#), ["c"]);
        for other in
            [r#"{"reference":"http://other/fhir/Patient/d"}"#, r#"{"text":"a Patient/d here"}"#, "\"Patient/\""]
        {
            assert!(of(other).is_empty(), "{other}");
        }
    }

    #[test]
    fn co_01_no_patient_of_many_is_left_out() {
        let body = (0..3000).map(|number| format!("\"Patient/p{number}\"")).collect::<Vec<_>>().join(",");
        let mut found = BTreeSet::new();
        patients_in(&body, "", &mut found);
        assert_eq!(found.len(), 3000);
    }

    #[test]
    fn co_08_secrets_in_a_query_are_not_kept() {
        let token = "x".repeat(48);
        assert_eq!(masked("Patient?name=a&access_token=abc"), "Patient?name=a&access_token=[masked]");
        assert_eq!(masked(&format!("Patient?name={token}")), "Patient?name=[masked]");
        assert_eq!(masked("Observation?code=http://loinc.org|8480-6"), "Observation?code=http://loinc.org|8480-6");
        assert!(masked(&format!("Patient?name={}", "a,".repeat(9000))).len() <= MAX_QUERY);
    }
}
