//! References that a transaction replaces, refused elsewhere: they would stay and point at nothing.
//! <https://hl7.org/fhir/R4/http.html#trules>, <https://hl7.org/fhir/R4/http.html#brules>
//!
//! | reference | where it is refused |
//! |---|---|
//! | criteria: `Patient?identifier=…`, also without a type | in everything but a transaction |
//! | the `fullUrl` of an entry, if it is a URN | in the batch of that entry |

use std::collections::BTreeSet;
use std::fmt::Write as _;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::error::Error;
use crate::rest::conditional::searched_type;

/// Refuses references that are criteria.
pub fn refuse_conditional(resource: &Json) -> Result<(), Error> {
    refuse(resource, &|text| {
        let is_criteria = searched_type(text).is_some() || text.starts_with('?');
        is_criteria.then(|| {
            format!(
                "the conditional reference {text} is replaced in transactions only, if it names a type; here, write the id \
                 of the resource"
            )
        })
    })
}

/// Refuses references to entries of the same batch: "References within a Bundle.entry.resource to another
/// Bundle.entry.resource that is being created within the batch are considered to be non-conformant."
pub fn refuse_siblings(resource: &Json, full_urls: &BTreeSet<String>) -> Result<(), Error> {
    if full_urls.is_empty() {
        return Ok(());
    }
    refuse(resource, &|text| {
        let sibling = text.split_once("/_history/").map_or(text, |(instance, _)| instance);
        full_urls.contains(sibling).then(|| {
            format!("{text} is an entry of this batch, and entries of a batch cannot refer to each other: send a transaction")
        })
    })
}

/// Refuses the resource for each reference for which `why` gives a reason.
fn refuse(resource: &Json, why: &dyn Fn(&str) -> Option<String>) -> Result<(), Error> {
    let mut issues = Vec::new();
    let mut path = resource.str("resourceType").unwrap_or_default().to_owned();
    find(resource, &mut path, why, &mut issues);
    if issues.is_empty() { Ok(()) } else { Err(Error::bad_request(issues)) }
}

fn find(value: &Json, path: &mut String, why: &dyn Fn(&str) -> Option<String>, issues: &mut Vec<Issue>) {
    let Some(object) = value.as_object() else { return };
    if value.str("resourceType") == Some("Bundle") {
        return; // a world of its own
    }
    for (name, member) in object.iter() {
        let len = path.len();
        path.push('.');
        path.push_str(name);
        match member {
            Json::String(text) if name == "reference" => {
                issues.extend(why(text).map(|text| Issue::error(IssueCode::Invalid, text).at(path.as_str())));
            }
            Json::Array(items) => {
                let len = path.len();
                for (index, item) in items.iter().enumerate() {
                    let _infallible = write!(path, "[{index}]");
                    find(item, path, why, issues);
                    path.truncate(len);
                }
            }
            _ => find(member, path, why, issues),
        }
        path.truncate(len);
    }
}

#[cfg(test)]
mod tests {
    use fhir::{array, object};

    use super::*;

    fn reference(text: &str) -> Json {
        object! { "reference": text }
    }

    fn places(refused: Result<(), Error>) -> Vec<String> {
        refused.err().map(|error| error.issues().iter().map(|it| it.expression.join(" ")).collect()).unwrap_or_default()
    }

    #[test]
    fn conditional_references_are_named() {
        let resource = object! {
            "resourceType": "Observation",
            "subject": reference("Patient/1"),
            "performer": array![reference("Patient/1"), reference("Practitioner?identifier=a|b")],
            "derivedFrom": array![reference("http://s/fhir/Observation?x=1"), reference("Nothing?x=1"), reference("?x=1")],
        };
        let expected = ["Observation.performer[1].reference", "Observation.derivedFrom[2].reference"];
        assert_eq!(places(refuse_conditional(&resource)), expected);
        assert!(refuse_conditional(&reference("Patient/1")).is_ok());
    }

    #[test]
    fn siblings_are_named() {
        let resource = object! {
            "resourceType": "Observation",
            "subject": reference("urn:uuid:1"),
            "performer": array![reference("urn:uuid:2"), reference("urn:uuid:1/_history/1")],
        };
        let expected = ["Observation.subject.reference", "Observation.performer[1].reference"];
        assert_eq!(places(refuse_siblings(&resource, &BTreeSet::from(["urn:uuid:1".to_owned()]))), expected);
        assert!(refuse_siblings(&resource, &BTreeSet::new()).is_ok());
    }
}
