//! The text of a literal reference, taken apart. <https://hl7.org/fhir/R4/references.html#literal>

use crate::id;

/// What the text of `Reference.reference` (or of a canonical or uri used as one) points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A resource of this server: `Patient/1`, `Patient/1/_history/2`, or the same below the base URL.
    Local {
        /// Resource type.
        resource_type: String,
        /// Logical id.
        id: String,
        /// Version, where the reference is version specific.
        version: Option<String>,
    },
    /// A URL of somebody else.
    Absolute(String),
    /// `urn:uuid:…`, `urn:oid:…`.
    Urn(String),
    /// A contained resource, its id without `#`; empty for the container itself.
    Contained(String),
    /// None of these, as written.
    Other(String),
}

impl Reference {
    /// Reads `text`; URLs that begin with `base` (with or without a slash at its end) are local.
    pub fn parse(text: &str, base: &str) -> Reference {
        if let Some(fragment) = text.strip_prefix('#') {
            return Reference::Contained(fragment.to_owned());
        }
        let base = base.trim_end_matches('/');
        let below_base = text.strip_prefix(base).filter(|_| !base.is_empty()).and_then(|rest| rest.strip_prefix('/'));
        if let Some((resource_type, id, version)) = split(below_base.unwrap_or(text)) {
            return Reference::Local {
                resource_type: resource_type.to_owned(),
                id: id.to_owned(),
                version: version.map(str::to_owned),
            };
        }
        if text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn:")) {
            Reference::Urn(text.to_owned())
        } else if is_url(text) {
            Reference::Absolute(text.to_owned())
        } else {
            Reference::Other(text.to_owned())
        }
    }
}

/// The resource type that the text itself names: `Patient` in `Patient/1` and in `https://else.where/fhir/Patient/1`.
pub fn type_in(text: &str) -> Option<&str> {
    let path = text.split_once("/_history/").map_or(text, |(path, _)| path);
    let (rest, id) = path.rsplit_once('/')?;
    let resource_type = rest.rsplit_once('/').map_or(rest, |(_, last)| last);
    (is_type_name(resource_type) && id::is_valid(id)).then_some(resource_type)
}

/// Type, id and version of a relative reference.
fn split(relative: &str) -> Option<(&str, &str, Option<&str>)> {
    let mut segments = relative.split('/');
    let resource_type = segments.next().filter(|name| is_type_name(name))?;
    let id = segments.next().filter(|id| id::is_valid(id))?;
    let version = match segments.next() {
        None => None,
        Some("_history") => Some(segments.next().filter(|version| id::is_valid(version))?),
        Some(_) => return None,
    };
    segments.next().is_none().then_some((resource_type, id, version))
}

fn is_type_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "http://localhost:8080/fhir";

    fn local(resource_type: &str, id: &str, version: Option<&str>) -> Reference {
        Reference::Local {
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
            version: version.map(str::to_owned),
        }
    }

    #[test]
    fn forms() {
        for (text, expected) in [
            ("Patient/1", local("Patient", "1", None)),
            ("Patient/1/_history/2", local("Patient", "1", Some("2"))),
            ("http://localhost:8080/fhir/Patient/a-b", local("Patient", "a-b", None)),
            (
                "http://localhost:8080/fhirX/Patient/1",
                Reference::Absolute("http://localhost:8080/fhirX/Patient/1".into()),
            ),
            ("https://else.where/Patient/1", Reference::Absolute("https://else.where/Patient/1".into())),
            (
                "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
                Reference::Urn("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0".into()),
            ),
            ("#p1", Reference::Contained("p1".into())),
            ("#", Reference::Contained(String::new())),
            ("Patient/", Reference::Other("Patient/".into())),
            ("Patient/1/2", Reference::Other("Patient/1/2".into())),
            ("Patient/../x", Reference::Other("Patient/../x".into())),
            ("patient/1", Reference::Other("patient/1".into())),
            ("", Reference::Other(String::new())),
        ] {
            assert_eq!(Reference::parse(text, BASE), expected, "{text}");
            assert_eq!(Reference::parse(text, &format!("{BASE}/")), expected, "{text}");
        }
    }

    #[test]
    fn type_named_by_text() {
        assert_eq!(type_in("Patient/1"), Some("Patient"));
        assert_eq!(type_in("Patient/1/_history/3"), Some("Patient"));
        assert_eq!(type_in("https://else.where/fhir/Group/1"), Some("Group"));
        assert_eq!(type_in("urn:uuid:1"), None);
        assert_eq!(type_in("#a"), None);
        assert_eq!(type_in("http://x.org"), None);
    }
}
