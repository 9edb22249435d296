//! One entry of a batch or transaction, read into the interaction that it asks for.
//! <https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.request>

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::error::Error;
use crate::rest::conditional::Preconditions;
use crate::rest::request::{self, Pairs, known_type, valid_id};

/// An entry that is understood.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// `fullUrl`.
    pub(super) full_url: Option<String>,
    /// What is to be done.
    pub(super) action: Action,
}

/// What an entry asks for.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// `POST Type`, with `ifNoneExist`.
    Create { resource_type: String, resource: Json, if_none_exist: Option<String> },
    /// `PUT Type/id` or `PUT Type?criteria`.
    Update { resource_type: String, aim: Aim, resource: Json, preconditions: Preconditions },
    /// `DELETE Type/id`.
    Delete { resource_type: String, id: String, preconditions: Preconditions },
    /// `GET` or `HEAD`.
    Get { get: Get, head: bool },
}

/// Which resource an update is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Logical id.
    Id(String),
    /// Criteria.
    Criteria(String),
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Get {
    /// `Type/id`.
    Read { resource_type: String, id: String, if_none_match: Option<String>, if_modified_since: Option<String> },
    /// `Type/id/_history/version`.
    Vread { resource_type: String, id: String, version: String, if_none_match: Option<String> },
    /// `Type/id/_history`.
    History { resource_type: String, id: String, pairs: Pairs },
    /// `Type?…`.
    Search { resource_type: String, pairs: Pairs },
    /// `metadata`.
    Capabilities,
}

impl Entry {
    /// Reads an entry; URLs may be relative or begin with `base`.
    pub(super) fn read(entry: Json, base: &str) -> Result<Self, Error> {
        let Json::Object(mut entry) = entry else { return Err(invalid("an entry must be an object")) };
        let resource = entry.remove("resource");
        let full_url = entry.get("fullUrl").and_then(Json::as_str).map(str::to_owned);
        let Some(request) = entry.get("request") else { return Err(invalid("the entry has no request")) };
        let method = request.str("method").ok_or_else(|| invalid("request.method is missing"))?;
        let url = request.str("url").ok_or_else(|| invalid("request.url is missing"))?;
        let (path, query) = split(url, base);
        let segments: Vec<&str> = path.split('/').collect();
        let text = |name: &str| request.str(name).map(str::to_owned);
        let preconditions =
            || Preconditions { if_match: text("ifMatch"), if_none_match: text("ifNoneMatch") }.checked();
        let body = || resource.clone().ok_or_else(|| invalid(&format!("{method} needs a resource")));
        let action = match (method, segments.as_slice(), query) {
            ("POST", [resource_type], None) => {
                known_type(resource_type)?;
                let (resource_type, resource) = ((*resource_type).to_owned(), body()?);
                Action::Create { resource_type, resource, if_none_exist: text("ifNoneExist") }
            }
            ("POST", [resource_type, "_search"], _) => {
                let text = format!("POST {resource_type}/_search has no place for a form; use GET {resource_type}?…");
                return Err(Error::bad_request(Issue::error(IssueCode::NotSupported, text)));
            }
            ("PUT", [resource_type, id], None) => {
                known_type(resource_type)?;
                valid_id(id)?;
                update(resource_type, Aim::Id((*id).to_owned()), body()?, preconditions()?)
            }
            ("PUT", [resource_type], Some(criteria)) => {
                known_type(resource_type)?;
                update(resource_type, Aim::Criteria(criteria.to_owned()), body()?, preconditions()?)
            }
            ("DELETE", [resource_type, id], None) => {
                known_type(resource_type)?;
                valid_id(id)?;
                let (resource_type, id) = ((*resource_type).to_owned(), (*id).to_owned());
                Action::Delete { resource_type, id, preconditions: preconditions()? }
            }
            ("GET" | "HEAD", segments, query) => {
                Action::Get { get: get(segments, query, request)?, head: method == "HEAD" }
            }
            _ => {
                let text = format!("{method} {url} is not supported in a Bundle");
                return Err(Error::bad_request(Issue::error(IssueCode::NotSupported, text).at("request")));
            }
        };
        Ok(Entry { full_url, action })
    }
}

impl Action {
    /// The resource that the entry carries, with its type.
    pub(super) fn resource(&self) -> Option<(&str, &Json)> {
        match self {
            Action::Create { resource_type, resource, .. } | Action::Update { resource_type, resource, .. } => {
                Some((resource_type, resource))
            }
            Action::Delete { .. } | Action::Get { .. } => None,
        }
    }
}

fn update(resource_type: &str, aim: Aim, resource: Json, preconditions: Preconditions) -> Action {
    Action::Update { resource_type: resource_type.to_owned(), aim, resource, preconditions }
}

fn get(segments: &[&str], query: Option<&str>, request: &Json) -> Result<Get, Error> {
    let query = query.unwrap_or_default();
    let text = |name: &str| request.str(name).map(str::to_owned);
    match *segments {
        ["metadata"] => request::only(query, &[]).map(|_| Get::Capabilities),
        [resource_type] => {
            known_type(resource_type)?;
            Ok(Get::Search { resource_type: resource_type.to_owned(), pairs: request::pairs(query)? })
        }
        [resource_type, id] => {
            request::only(query, &[])?;
            let (resource_type, id) = instance(resource_type, id)?;
            let (if_none_match, if_modified_since) = (text("ifNoneMatch"), text("ifModifiedSince"));
            Ok(Get::Read { resource_type, id, if_none_match, if_modified_since })
        }
        [resource_type, id, "_history"] => {
            let (resource_type, id) = instance(resource_type, id)?;
            Ok(Get::History { resource_type, id, pairs: request::only(query, &["_count", "_cursor"])? })
        }
        [resource_type, id, "_history", version] => {
            request::only(query, &[])?;
            let (resource_type, id) = instance(resource_type, id)?;
            Ok(Get::Vread { resource_type, id, version: version.to_owned(), if_none_match: text("ifNoneMatch") })
        }
        _ => {
            Err(Error::not_found(Issue::error(IssueCode::NotSupported, format!("{} is not known", segments.join("/")))))
        }
    }
}

fn instance(resource_type: &str, id: &str) -> Result<(String, String), Error> {
    known_type(resource_type)?;
    valid_id(id)?;
    Ok((resource_type.to_owned(), id.to_owned()))
}

/// Path below the base, and query.
fn split<'a>(url: &'a str, base: &str) -> (&'a str, Option<&'a str>) {
    let below = url.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(url);
    let below = below.strip_prefix('/').unwrap_or(below);
    below.split_once('?').map_or((below, None), |(path, query)| (path, Some(query)))
}

fn invalid(text: &str) -> Error {
    Error::bad_request(Issue::error(IssueCode::Invalid, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::object;

    const BASE: &str = "http://s/fhir";

    fn read(method: &str, url: &str) -> Result<Action, u16> {
        let entry = object! {
            "fullUrl": "urn:uuid:1",
            "resource": object! { "resourceType": "Patient" },
            "request": object! { "method": method, "url": url },
        };
        Entry::read(entry, BASE).map(|entry| entry.action).map_err(|error| error.status().as_u16())
    }

    #[test]
    fn urls_name_interactions() {
        assert!(matches!(read("POST", "Patient"), Ok(Action::Create { .. })));
        assert!(matches!(read("PUT", "/Patient/1"), Ok(Action::Update { aim: Aim::Id(id), .. }) if id == "1"));
        let conditional = read("PUT", "http://s/fhir/Patient?identifier=a|b");
        assert!(matches!(conditional, Ok(Action::Update { aim: Aim::Criteria(it), .. }) if it == "identifier=a|b"));
        assert!(matches!(read("DELETE", "Patient/1"), Ok(Action::Delete { .. })));
        let get = |url: &str| match read("GET", url) {
            Ok(Action::Get { get, head: false }) => Some(get),
            _ => None,
        };
        assert!(matches!(get("Patient/1"), Some(Get::Read { .. })));
        assert!(matches!(get("Patient/1/_history/2"), Some(Get::Vread { .. })));
        assert!(matches!(get("Patient/1/_history?_count=3"), Some(Get::History { .. })));
        assert!(matches!(get("Patient?name=x"), Some(Get::Search { .. })));
        assert!(matches!(get("metadata"), Some(Get::Capabilities)));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for (method, url, status) in [
            ("POST", "Patient/1", 400),
            ("POST", "Patient?x=1", 400),
            ("PUT", "Patient", 400),
            ("DELETE", "Patient?name=x", 400),
            ("PATCH", "Patient/1", 400),
            ("GET", "Nothing/1", 404),
            ("GET", "Patient/1/$everything", 404),
            ("GET", "Patient/a_b", 400),
            ("GET", "Patient/1?_elements=name", 400),
            ("GET", "http://elsewhere/fhir/Patient/1", 404),
        ] {
            assert_eq!(read(method, url).map(drop), Err(status), "{method} {url}");
        }
        assert!(Entry::read(object! { "request": object! { "method": "POST", "url": "Patient" } }, BASE).is_err());
        assert!(Entry::read(object! {}, BASE).is_err() && Entry::read(Json::Null, BASE).is_err());
    }
}
