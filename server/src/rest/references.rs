//! What stored resources refer to, without parsing them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use fhir::reference::Reference;
use memchr::memmem::Finder;

/// Ids by their type.
pub type References = BTreeMap<String, BTreeSet<String>>;

/// Adds the resources of this server that a stored text refers to, wherever in it.
///
/// Stored texts have no white space between their tokens, and a quotation mark within a string has a backslash before
/// it: what looks like the name of the member is one. Parsing the text costs ten times as much.
pub fn references_in(body: &str, base: &str, found: &mut References) {
    const MEMBER: &str = "\"reference\":\"";
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MEMBER));
    let mut last = "";
    for at in FINDER.find_iter(body.as_bytes()) {
        let rest = &body[at + MEMBER.len()..];
        let text = rest.find('"').map_or(rest, |end| &rest[..end]);
        // Most of a resource's references that follow each other are the same. One with an escape is of no resource here.
        if text != last
            && !text.contains('\\')
            && let Reference::Local { resource_type, id, .. } = Reference::parse(text, base)
        {
            found.entry(resource_type).or_default().insert(id);
        }
        last = text;
    }
}

#[cfg(test)]
mod tests {
    use fhir::json::Json;
    use fhir::{array, object};

    use super::*;

    #[test]
    fn references_stand_in_members_of_that_name_only() {
        let found = |json: &Json| {
            let mut found = References::new();
            references_in(&json.to_string(), "http://s/fhir", &mut found);
            found.into_iter().map(|(name, ids)| format!("{name}: {ids:?}")).collect::<Vec<_>>().join(" ")
        };
        let own = object! { "subject": object! { "reference": "Patient/a" }, "x": array![
            object! { "reference": "http://s/fhir/Patient/b/_history/3" }, object! { "reference": "Device/d" },
            object! { "reference": "http://other/fhir/Patient/c" }, object! { "reference": "#e" },
        ] };
        assert_eq!(found(&own), r#"Device: {"d"} Patient: {"a", "b"}"#);
        let said = r#"he said {"reference":"Patient/f"}"#;
        assert_eq!(found(&object! { "text": said, "display": "reference", "reference": said }), "");
        assert_eq!(found(&object! { "a": "reference", "b": array!["reference", "Patient/g"] }), "");
    }
}
