//! `fhirContext`: what else was open besides patient and encounter. (SM-40)
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#fhir-context>

use fhir::json::Json;

/// Most entries.
const MAX_ENTRIES: usize = 50;

/// Roles that the specification defines itself; all others are absolute URIs.
const DEFINED_ROLES: [&str; 1] = ["launch"];

/// Reads `fhirContext`, and hands it back as the text that is kept; an error says which rule is broken.
pub fn check(value: &Json) -> Result<String, String> {
    let Json::Array(entries) = value else { return Err("fhirContext must be an array".to_owned()) };
    if entries.len() > MAX_ENTRIES {
        return Err(format!("fhirContext has more than {MAX_ENTRIES} entries"));
    }
    for (position, entry) in entries.iter().enumerate() {
        check_entry(entry).map_err(|problem| format!("fhirContext[{position}]: {problem}"))?;
    }
    Ok(value.to_string())
}

fn check_entry(entry: &Json) -> Result<(), &'static str> {
    if entry.as_object().is_none() {
        return Err("an entry is an object");
    }
    let role = match entry.get("role") {
        None => None,
        Some(role) => Some(role.as_str().ok_or("role is a string")?),
    };
    if role.is_some_and(|role| !DEFINED_ROLES.contains(&role) && !is_absolute(role)) {
        return Err("role is \"launch\" or an absolute URI");
    }
    let reference = entry.get("reference").map(|it| it.as_str().ok_or("reference is a string")).transpose()?;
    let canonical = entry.get("canonical").map(|it| it.as_str().ok_or("canonical is a string")).transpose()?;
    let identifier = entry.get("identifier");
    if identifier.is_some_and(|identifier| identifier.as_object().is_none()) {
        return Err("identifier is an object");
    }
    if canonical.is_some_and(|canonical| !is_absolute(canonical)) {
        return Err("canonical is an absolute URI");
    }
    if reference.is_some_and(str::is_empty) || (reference.is_none() && canonical.is_none() && identifier.is_none()) {
        return Err("an entry needs a reference, a canonical or an identifier");
    }
    let target = reference.and_then(type_of).or_else(|| entry.str("type"));
    if matches!(target, Some("Patient" | "Encounter")) && role.is_none_or(|role| role == "launch") {
        return Err("the patient and the encounter of the launch stand in patient and encounter");
    }
    Ok(())
}

/// `Patient` of `Patient/1`, `https://server.example/fhir/Patient/1` and `Patient/1/_history/2`.
fn type_of(reference: &str) -> Option<&str> {
    let path = reference.split_once("/_history/").map_or(reference, |(path, _)| path);
    let mut segments = path.rsplit('/');
    segments.next()?;
    segments.next()
}

fn is_absolute(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, rest)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(plain) && !rest.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<String, String> {
        check(&Json::parse(text.as_bytes()).expect("JSON"))
    }

    #[test]
    fn sm_40_what_is_allowed() {
        for good in [
            "[]",
            r#"[{"reference":"ImagingStudy/1"}]"#,
            r#"[{"canonical":"https://example.org/Questionnaire/q|1"}]"#,
            r#"[{"identifier":{"system":"urn:x","value":"1"},"type":"DiagnosticReport"}]"#,
            r#"[{"reference":"Patient/2","role":"https://example.org/role/sibling"}]"#,
            r#"[{"reference":"ImagingStudy/1","role":"launch"}]"#,
        ] {
            assert_eq!(checked(good), Ok(good.to_owned()));
        }
    }

    #[test]
    fn sm_40_what_is_not() {
        for bad in [
            "{}",
            r#"["ImagingStudy/1"]"#,
            "[{}]",
            r#"[{"type":"ImagingStudy"}]"#,
            r#"[{"reference":""}]"#,
            r#"[{"reference":7}]"#,
            r#"[{"identifier":"1"}]"#,
            r#"[{"canonical":"Questionnaire/q"}]"#,
            r#"[{"reference":"Patient/1"}]"#,
            r#"[{"reference":"https://server.example/fhir/Patient/1/_history/2"}]"#,
            r#"[{"reference":"Encounter/1","role":"launch"}]"#,
            r#"[{"identifier":{"value":"1"},"type":"Encounter"}]"#,
            r#"[{"reference":"ImagingStudy/1","role":""}]"#,
            r#"[{"reference":"ImagingStudy/1","role":"sibling"}]"#,
            r#"[{"reference":"ImagingStudy/1","role":1}]"#,
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        assert!(checked(&format!("[{}]", vec![r#"{"reference":"Basic/1"}"#; 51].join(","))).is_err());
    }
}
