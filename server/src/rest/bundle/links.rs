//! Links between the entries of a transaction, replaced by what they point at once ids are settled.
//! <https://hl7.org/fhir/R4/http.html#transaction>
//!
//! | what | is replaced where it is |
//! |---|---|
//! | `Reference.reference` | another entry's `fullUrl` (as it stands, or relative to the own `fullUrl`), or criteria (`Patient?identifier=…`) |
//! | elements of type uri and url | a `fullUrl`; those of type oid and uuid could not hold what it becomes, and stay |
//! | links and images in narratives | a `fullUrl`, also a relative one |
//!
//! A reference to a version (`/_history/…`) stays one: to the version that the entry leaves, unless the entry's resource
//! states another `meta.versionId`. Strings of other types, such as `Identifier.value`, stay as they are, and so do
//! canonicals: "Elements of type canonical are not replaced." A Bundle inside of the transaction is a world of its own and
//! stays as it is.

use std::collections::HashMap;

use fhir::definitions::{definition_type_of, is_resource_type};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::narrative;
use crate::rest::conditional::searched_type;

/// Types of elements that hold a URI.
const URI_TYPES: &[&str] = &["uri", "url"];

/// What links point at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    /// By `fullUrl`.
    pub(super) entries: HashMap<String, Linked>,
    /// `Type/id` by criteria, as written in references.
    pub(super) criteria: HashMap<String, String>,
}

/// What a `fullUrl` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Linked {
    /// `Type/id`.
    pub(super) target: String,
    /// `meta.versionId` that the entry's resource states.
    pub(super) stated: Option<String>,
    /// The version that the entry leaves, where it is known before it is carried out.
    pub(super) version: Option<i64>,
}

/// Calls `found` with every reference that is a search: `Patient?identifier=…`.
pub(super) fn conditional_references<'a>(resource: &'a Json, found: &mut impl FnMut(&'a str, &'a str)) {
    match resource {
        Json::Array(items) => items.iter().for_each(|item| conditional_references(item, found)),
        Json::Object(object) if !is_bundle(resource) => {
            for (name, member) in object.iter() {
                match member.as_str() {
                    Some(text) if name == "reference" => {
                        if let Some(resource_type) = searched_type(text) {
                            found(resource_type, text);
                        }
                    }
                    _ => conditional_references(member, found),
                }
            }
        }
        _ => {}
    }
}

/// Replaces the links in `resource`; a `urn:uuid` or criteria that point nowhere are an issue, unless they stand in
/// `before` already, the text of the version that a patch changes.
pub(super) fn rewrite(
    resource: &mut Json,
    full_url: Option<&str>,
    links: &Links,
    before: Option<&str>,
) -> Result<(), Issue> {
    let base = full_url.and_then(service_base);
    walk(resource, &Place { outer: None, name: "", resource_type: None }, &Rewriter { links, base, before })
}

struct Rewriter<'a> {
    links: &'a Links,
    /// The server that the entry's `fullUrl` names.
    base: Option<&'a str>,
    before: Option<&'a str>,
}

/// Where the walk is; types are looked up only when there is something to replace.
struct Place<'a> {
    outer: Option<&'a Place<'a>>,
    name: &'a str,
    resource_type: Option<&'a str>,
}

fn walk(value: &mut Json, place: &Place<'_>, rewriter: &Rewriter<'_>) -> Result<(), Issue> {
    if is_bundle(value) {
        return Ok(());
    }
    match value {
        Json::Array(items) => items.iter_mut().try_for_each(|item| walk(item, place, rewriter)),
        Json::Object(object) => {
            let resource_type = object.get("resourceType").and_then(Json::as_str).map(str::to_owned);
            let here = Place { resource_type: resource_type.as_deref(), ..*place };
            for (name, member) in object.iter_mut() {
                walk(member, &Place { outer: Some(&here), name, resource_type: None }, rewriter)?;
            }
            Ok(())
        }
        Json::String(text) => {
            if let Some(target) = rewriter.target(text, place)? {
                *value = target.into();
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

impl Rewriter<'_> {
    fn target(&self, text: &str, place: &Place<'_>) -> Result<Option<String>, Issue> {
        if place.name == "div" {
            return Ok(narrative::rewritten(text, |link| self.entry(link).ok().flatten()));
        }
        if place.name != "reference" {
            let entry = self.links.entries.get(text).map(|linked| linked.target.clone());
            return Ok(entry.filter(|_| place.type_name().is_some_and(|name| URI_TYPES.contains(&name))));
        }
        if let Some(target) = self.entry(text)? {
            return Ok(Some(target));
        }
        let dangling = |what: &str| {
            let stands = self.before.is_some_and(|before| before.contains(&Json::from(text).to_string()));
            let issue = || Issue::error(IssueCode::NotFound, format!("{what} {text} points at nothing"));
            if stands { Ok(None) } else { Err(issue()) }
        };
        if searched_type(text).is_some() {
            let target = self.links.criteria.get(text).cloned();
            return target.map_or_else(|| dangling("the conditional reference"), |target| Ok(Some(target)));
        }
        if text.starts_with("urn:uuid:") || text.starts_with("urn:oid:") {
            return dangling("no entry has this fullUrl:");
        }
        Ok(None)
    }

    /// What a link to an entry, or to a version of it, becomes.
    fn entry(&self, text: &str) -> Result<Option<String>, Issue> {
        if let Some(linked) = self.linked(text) {
            return Ok(Some(linked.target.clone()));
        }
        let Some((instance, version)) = text.rsplit_once("/_history/") else { return Ok(None) };
        let is_meant = |linked: &&Linked| linked.stated.as_deref().is_none_or(|stated| stated == version);
        let Some(linked) = self.linked(instance).filter(is_meant) else { return Ok(None) };
        let Some(version) = linked.version else {
            let text = format!(
                "{text} names the version that an entry makes of {}, which is known only once it is made: leave the \
                 version out",
                linked.target
            );
            return Err(Issue::error(IssueCode::NotSupported, text));
        };
        Ok(Some(format!("{}/_history/{version}", linked.target)))
    }

    /// The entry with this `fullUrl`, as it stands or relative to the own one.
    fn linked(&self, text: &str) -> Option<&Linked> {
        let relative = || self.base.filter(|_| !text.contains(':') && !text.starts_with('#'));
        let entries = &self.links.entries;
        entries.get(text).or_else(|| relative().and_then(|base| entries.get(&format!("{base}/{text}"))))
    }
}

impl Place<'_> {
    /// The FHIR type of the element, from the definitions.
    fn type_name(&self) -> Option<&str> {
        if let Some(name) = self.resource_type {
            return Some(name);
        }
        let outer = self.outer?;
        let (element, element_type) = definition_type_of(outer.type_name()?, self.name)?;
        Some(element.content.as_deref().unwrap_or(&element_type.code))
    }
}

fn is_bundle(value: &Json) -> bool {
    value.str("resourceType") == Some("Bundle")
}

/// `http://a/fhir` of `http://a/fhir/Patient/1`.
fn service_base(full_url: &str) -> Option<&str> {
    let (rest, _) = full_url.rsplit_once('/')?;
    let (base, resource_type) = rest.rsplit_once('/')?;
    (is_resource_type(resource_type) && base.starts_with("http")).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::{array, object};

    fn links() -> Links {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let linked = |target: &str, stated: Option<&str>, version| Linked {
            target: target.to_owned(),
            stated: stated.map(str::to_owned),
            version,
        };
        let entries = [
            ("urn:uuid:1", linked("Patient/a", None, Some(1))),
            ("http://x/fhir/Patient/7", linked("Patient/b", Some("3"), Some(2))),
            ("http://x/fhir/Patient/8", linked("Patient/8", None, None)),
        ];
        Links {
            entries: entries.map(|(full_url, linked)| (full_url.to_owned(), linked)).into(),
            criteria: pairs(&[("Patient?identifier=s|v", "Patient/c")]),
        }
    }

    fn rewritten(mut resource: Json, full_url: Option<&str>) -> Result<Json, Issue> {
        rewrite(&mut resource, full_url, &links(), None).map(|()| resource)
    }

    fn observation(reference: &str) -> Json {
        object! { "resourceType": "Observation", "subject": object! { "reference": reference } }
    }

    fn subject(reference: &str, full_url: Option<&str>) -> Result<String, IssueCode> {
        let rewritten = rewritten(observation(reference), full_url).map_err(|issue| issue.code)?;
        Ok(rewritten.at(&["subject", "reference"]).unwrap().as_str().unwrap().to_owned())
    }

    #[test]
    fn references_to_entries_and_criteria_are_replaced() {
        assert_eq!(subject("urn:uuid:1", None).unwrap(), "Patient/a");
        assert_eq!(subject("http://x/fhir/Patient/7", None).unwrap(), "Patient/b");
        assert_eq!(subject("Patient?identifier=s|v", None).unwrap(), "Patient/c");
        assert_eq!(subject("Patient/7", Some("http://x/fhir/Observation/1")).unwrap(), "Patient/b");
    }

    #[test]
    fn other_references_stay() {
        for reference in ["Patient/7", "#contained", "http://y/fhir/Patient/7", "urn:other:1"] {
            assert_eq!(subject(reference, Some("urn:uuid:9")).unwrap(), reference);
        }
    }

    #[test]
    fn references_to_versions_stay_such() {
        let of = |reference: &str| subject(reference, Some("http://x/fhir/Observation/1"));
        assert_eq!(of("urn:uuid:1/_history/9").unwrap(), "Patient/a/_history/1");
        assert_eq!(of("http://x/fhir/Patient/7/_history/3").unwrap(), "Patient/b/_history/2");
        assert_eq!(of("Patient/7/_history/3").unwrap(), "Patient/b/_history/2");
        assert_eq!(of("Patient/7/_history/4").unwrap(), "Patient/7/_history/4");
        assert_eq!(of("Patient/8/_history/1"), Err(IssueCode::NotSupported));
    }

    #[test]
    fn links_that_point_nowhere_are_refused() {
        assert_eq!(subject("urn:uuid:2", None), Err(IssueCode::NotFound));
        assert_eq!(subject("Patient?identifier=other", None), Err(IssueCode::NotFound));
    }

    #[test]
    fn what_a_patch_leaves_alone_may_point_nowhere() {
        let before = observation("urn:uuid:2").to_string();
        let mut resource = observation("urn:uuid:2");
        assert!(rewrite(&mut resource, None, &links(), Some(&before)).is_ok());
        assert_eq!(resource, observation("urn:uuid:2"));
        let mut other = observation("urn:uuid:3");
        assert!(rewrite(&mut other, None, &links(), Some(&before)).is_err());
    }

    #[test]
    fn uris_are_replaced_and_strings_are_not() {
        let resource = object! {
            "resourceType": "Patient",
            "identifier": array![object! { "system": "urn:uuid:1", "value": "urn:uuid:1" }],
            "photo": array![object! { "url": "urn:uuid:1" }],
            "text": object! { "div": "<div><a href=\"urn:uuid:1\">urn:uuid:1</a></div>" },
            "meta": object! { "profile": array!["urn:uuid:1"] },
            "extension": array![object! { "url": "http://e", "valueUri": "urn:uuid:1" }, object! { "url": "http://f", "valueString": "urn:uuid:1" }],
            "contained": array![object! { "resourceType": "Observation", "subject": object! { "reference": "urn:uuid:1" } }],
        };
        let text = rewritten(resource, None).unwrap().to_string();
        assert!(text.contains("\"system\":\"Patient/a\",\"value\":\"urn:uuid:1\""), "{text}");
        assert!(text.contains("\"photo\":[{\"url\":\"Patient/a\"}]"), "{text}");
        assert!(text.contains(r#"<a href=\"Patient/a\">urn:uuid:1</a>"#), "{text}");
        assert!(text.contains("\"profile\":[\"urn:uuid:1\"]"), "{text}");
        assert!(
            text.contains("\"valueUri\":\"Patient/a\"") && text.contains("\"valueString\":\"urn:uuid:1\""),
            "{text}"
        );
        assert!(text.contains("\"reference\":\"Patient/a\""), "{text}");
    }

    #[test]
    fn a_document_inside_stays_as_it_is() {
        let document = object! {
            "resourceType": "Bundle",
            "entry": array![object! { "resource": observation("urn:uuid:2") }],
        };
        assert_eq!(rewritten(document.clone(), None).unwrap(), document);
    }

    #[test]
    fn conditional_references_are_found_at_any_depth() {
        let mut resource = observation("Patient?identifier=s|v");
        resource.as_object_mut().unwrap().insert("performer", array![object! { "reference": "Practitioner?name=x" }]);
        let mut found = Vec::new();
        conditional_references(&resource, &mut |resource_type, text| found.push((resource_type, text)));
        assert_eq!(found, [("Patient", "Patient?identifier=s|v"), ("Practitioner", "Practitioner?name=x")]);
    }
}
