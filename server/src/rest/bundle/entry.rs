//! One entry of a batch or transaction, read into the interaction that it asks for.
//! <https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.request>

use std::sync::Arc;

use fhir::date::{DateTime, http_date};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use fhir::patch::Patch;
use search::query::Elements;

use super::envelope;
use crate::error::Error;
use crate::rest::conditional::Preconditions;
use crate::rest::read::Read;
use crate::rest::request::{self, Pairs, known_type, valid_id};
use crate::rest::search::parameters;
use crate::rest::update::{self, Aimed};
use crate::rest::{capabilities, history, operation, patch};

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
    /// `PATCH Type/id` or `PATCH Type?criteria`.
    Patch { resource_type: String, aim: Aim, patch: Arc<Patch>, preconditions: Preconditions },
    /// `DELETE Type/id` or `DELETE Type?criteria`.
    Delete { resource_type: String, aim: Aim, preconditions: Preconditions },
    /// `GET` or `HEAD`.
    Get { get: Get, head: bool },
    /// `…/$name`, with `GET`, `HEAD` or `POST`.
    Operation { call: Box<operation::Call>, head: bool },
}

/// Which resource an update, patch or delete is about.
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
    Read(Instance),
    /// `Type/id/_history/version`.
    Vread(Instance, String),
    /// `Type/id/_history`.
    History { resource_type: String, id: String, pairs: Pairs },
    /// `Type/_history`, `_history`.
    Histories { resource_type: Option<String>, pairs: Pairs },
    /// `Type?…`.
    Search { resource_type: String, pairs: Pairs },
    /// `?_type=…`: several types.
    SystemSearch { pairs: Pairs },
    /// `Patient/1/Observation?…`, `Patient/1/*?…`.
    CompartmentSearch { compartment: String, id: String, member: String, pairs: Pairs },
    /// `metadata`, `metadata?mode=…`.
    Capabilities(capabilities::Asked),
}

/// One resource that is read, and which version the client has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) resource_type: String,
    pub(super) id: String,
    pub(super) if_none_match: Option<String>,
    pub(super) if_modified_since: Option<String>,
    /// `_summary`, `_elements`.
    pub(super) elements: Elements,
}

impl Instance {
    /// The same as a single request has it.
    pub(super) fn read(&self) -> Read<'_> {
        Read {
            resource_type: &self.resource_type,
            id: &self.id,
            if_none_match: self.if_none_match.as_deref(),
            if_modified_since: self.if_modified_since.as_deref(),
        }
    }
}

impl Aim {
    /// The same of a type as a single request has it.
    pub(super) fn of<'a>(&'a self, resource_type: &'a str) -> Aimed<'a> {
        let aim = match self {
            Aim::Id(id) => update::Aim::Id(id),
            Aim::Criteria(text) => update::Aim::Criteria(text),
        };
        Aimed { resource_type, aim }
    }

    /// The logical id, if that is what it is.
    pub(super) fn id(&self) -> Option<&str> {
        if let Aim::Id(id) = self { Some(id) } else { None }
    }

    /// The criteria, if that is what it is.
    pub(super) fn criteria(&self) -> Option<&str> {
        if let Aim::Criteria(text) = self { Some(text) } else { None }
    }
}

impl Entry {
    /// Reads an entry; URLs may be relative or begin with `base`, and the resource has at most so many bytes.
    pub(super) fn read(entry: Json, base: &str, largest: usize) -> Result<Self, Error> {
        let Json::Object(mut entry) = entry else { return Err(invalid("an entry must be an object")) };
        let mut resource = entry.remove("resource");
        let full_url = entry.get("fullUrl").and_then(Json::as_str).map(str::to_owned);
        let Some(request) = entry.get("request") else { return Err(invalid("the entry has no request")) };
        envelope::check_entry(&entry)?;
        resource.as_ref().map_or(Ok(()), |resource| envelope::check_size(resource, largest))?;
        let method = request.str("method").ok_or_else(|| invalid("request.method is missing"))?;
        let url = request.str("url").ok_or_else(|| invalid("request.url is missing"))?;
        let (path, query) = split(url, base);
        let segments: Vec<&str> = path.split('/').collect();
        let text = |name: &str| request.str(name).map(str::to_owned);
        let preconditions =
            || Preconditions { if_match: text("ifMatch"), if_none_match: text("ifNoneMatch") }.checked();
        if let Some(mut call) = operation::Call::of(&segments).filter(|_| ["GET", "HEAD", "POST"].contains(&method)) {
            call.is_post = method == "POST";
            call.pairs = request::pairs(query.unwrap_or_default())?;
            call.body = resource.take().filter(|_| call.is_post);
            call.preconditions = if call.is_post { preconditions()? } else { Preconditions::default() };
            let action = Action::Operation { call: Box::new(call), head: method == "HEAD" };
            return Ok(Entry { full_url, action });
        }
        let mut body = || resource.take().ok_or_else(|| invalid(&format!("{method} needs a resource")));
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
            ("PUT" | "PATCH" | "DELETE", [resource_type, rest @ ..], query) if rest.len() < 2 => {
                known_type(resource_type)?;
                let (aim, resource_type) = (aim(method, rest.first().copied(), query)?, (*resource_type).to_owned());
                let preconditions = preconditions()?;
                match method {
                    "PUT" => Action::Update { resource_type, aim, resource: body()?, preconditions },
                    "PATCH" => {
                        let change = Arc::new(patch::of_entry(&body()?)?);
                        Action::Patch { resource_type, aim, patch: change, preconditions }
                    }
                    _ => Action::Delete { resource_type, aim, preconditions },
                }
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
    /// The type of resource that it is about; empty for what is about the system.
    pub(super) fn resource_type(&self) -> &str {
        match self {
            Action::Create { resource_type, .. }
            | Action::Update { resource_type, .. }
            | Action::Patch { resource_type, .. }
            | Action::Delete { resource_type, .. } => resource_type,
            Action::Get { get, .. } => match get {
                Get::Read(instance) | Get::Vread(instance, _) => &instance.resource_type,
                Get::History { resource_type, .. } | Get::Search { resource_type, .. } => resource_type,
                Get::Histories { resource_type, .. } => resource_type.as_deref().unwrap_or_default(),
                Get::CompartmentSearch { .. } | Get::SystemSearch { .. } | Get::Capabilities(_) => "",
            },
            Action::Operation { call, .. } => &call.target.resource_type,
        }
    }

    /// The resource that the entry carries, with its type.
    pub(super) fn resource(&self) -> Option<(&str, &Json)> {
        match self {
            Action::Create { resource_type, resource, .. } | Action::Update { resource_type, resource, .. } => {
                Some((resource_type, resource))
            }
            Action::Patch { .. } | Action::Delete { .. } | Action::Get { .. } | Action::Operation { .. } => None,
        }
    }
}

/// Which resource the URL names: by its id, or by criteria.
fn aim(method: &str, id: Option<&str>, query: Option<&str>) -> Result<Aim, Error> {
    match (id, query) {
        (Some(id), query) => {
            valid_id(id)?;
            request::only(query.unwrap_or_default(), &[])?;
            Ok(Aim::Id(id.to_owned()))
        }
        (None, Some(criteria)) => Ok(Aim::Criteria(criteria.to_owned())),
        (None, None) => Err(invalid(&format!("{method} needs an id or criteria: Type/ID or Type?identifier=…"))),
    }
}

fn get(segments: &[&str], query: Option<&str>, request: &Json) -> Result<Get, Error> {
    let query = query.unwrap_or_default();
    match *segments {
        ["metadata"] => capabilities::Asked::of(query).map(Get::Capabilities),
        [""] => Ok(Get::SystemSearch { pairs: parameters(query)? }),
        ["_history"] => Ok(Get::Histories { resource_type: None, pairs: request::only(query, history::PARAMETERS)? }),
        [resource_type, "_history"] => {
            known_type(resource_type)?;
            let pairs = request::only(query, history::PARAMETERS)?;
            Ok(Get::Histories { resource_type: Some(resource_type.to_owned()), pairs })
        }
        [resource_type] => {
            known_type(resource_type)?;
            Ok(Get::Search { resource_type: resource_type.to_owned(), pairs: parameters(query)? })
        }
        [resource_type, id] => Ok(Get::Read(read(resource_type, id, query, request)?)),
        [resource_type, id, "_history"] => {
            let (resource_type, id) = instance(resource_type, id)?;
            Ok(Get::History { resource_type, id, pairs: request::only(query, history::PARAMETERS)? })
        }
        [resource_type, id, "_history", version] => {
            Ok(Get::Vread(read(resource_type, id, query, request)?, version.to_owned()))
        }
        [compartment, id, member] if member == "*" || !member.starts_with(['$', '_']) => {
            let (compartment, id) = instance(compartment, id)?;
            Ok(Get::CompartmentSearch { compartment, id, member: member.to_owned(), pairs: parameters(query)? })
        }
        _ => {
            Err(Error::not_found(Issue::error(IssueCode::NotSupported, format!("{} is not known", segments.join("/")))))
        }
    }
}

fn read(resource_type: &str, id: &str, query: &str, request: &Json) -> Result<Instance, Error> {
    let (resource_type, id) = instance(resource_type, id)?;
    let elements = request::elements(query, &resource_type)?;
    let if_none_match = request.str("ifNoneMatch").map(str::to_owned);
    let if_modified_since = request.str("ifModifiedSince").map(modified_since).transpose()?;
    Ok(Instance { resource_type, id, if_none_match, if_modified_since, elements })
}

/// An entry has an instant where the header has an HTTP date.
fn modified_since(text: &str) -> Result<String, Error> {
    let instant = DateTime::parse(text).filter(|instant| instant.offset.is_some());
    let instant = instant.ok_or_else(|| invalid(&format!("request.ifModifiedSince {text} is no instant")))?;
    Ok(http_date(instant.interval().0))
}

fn instance(resource_type: &str, id: &str) -> Result<(String, String), Error> {
    known_type(resource_type)?;
    valid_id(id)?;
    Ok((resource_type.to_owned(), id.to_owned()))
}

/// Path below the base, and query.
fn split<'a>(url: &'a str, base: &str) -> (&'a str, Option<&'a str>) {
    let below = url.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?'])).unwrap_or(url);
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
        Entry::read(entry, BASE, usize::MAX).map(|entry| entry.action).map_err(|error| error.status().as_u16())
    }

    #[test]
    fn urls_name_interactions() {
        assert!(matches!(read("POST", "Patient"), Ok(Action::Create { .. })));
        assert!(matches!(read("PUT", "/Patient/1"), Ok(Action::Update { aim: Aim::Id(id), .. }) if id == "1"));
        let conditional = read("PUT", "http://s/fhir/Patient?identifier=a|b");
        assert!(matches!(conditional, Ok(Action::Update { aim: Aim::Criteria(it), .. }) if it == "identifier=a|b"));
        assert!(matches!(read("DELETE", "Patient/1"), Ok(Action::Delete { aim: Aim::Id(_), .. })));
        assert!(matches!(read("DELETE", "Patient?name=x"), Ok(Action::Delete { aim: Aim::Criteria(_), .. })));
        let get = |url: &str| match read("GET", url) {
            Ok(Action::Get { get, head: false }) => Some(get),
            _ => None,
        };
        assert!(matches!(get("Patient/1"), Some(Get::Read(_))));
        assert!(matches!(get("Patient/1?_elements=name"), Some(Get::Read(_))));
        assert!(matches!(get("Patient/1/_history/2"), Some(Get::Vread(..))));
        assert!(matches!(get("Patient/1/_history?_count=3"), Some(Get::History { .. })));
        assert!(matches!(get("Patient?name=x"), Some(Get::Search { .. })));
        assert!(matches!(get("metadata"), Some(Get::Capabilities(asked)) if asked.mode == capabilities::Mode::Full));
        let terminology = get("metadata?mode=terminology&_summary=true");
        assert!(matches!(terminology, Some(Get::Capabilities(asked)) if asked.mode == capabilities::Mode::Terminology));
        for url in ["?_type=Patient", "http://s/fhir?_type=Patient", "http://s/fhir/?_type=Patient"] {
            assert!(matches!(get(url), Some(Get::SystemSearch { .. })), "{url}");
        }
        assert!(matches!(get("Patient/1/Observation?x=1"), Some(Get::CompartmentSearch { .. })));
        assert!(matches!(get("Patient/1/*"), Some(Get::CompartmentSearch { .. })));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for (method, url, status) in [
            ("POST", "Patient/1", 400),
            ("POST", "Patient?x=1", 400),
            ("PUT", "Patient", 400),
            ("DELETE", "Patient", 400),
            ("DELETE", "Patient/1?x=1", 400),
            ("DELETE", "Patient/1/2", 400),
            ("PATCH", "Patient/1", 400),
            ("PATCH", "Patient", 400),
            ("GET", "Nothing/1", 404),
            ("GET", "a/b/c/$everything", 404),
            ("GET", "Patient/a_b", 400),
            ("GET", "Patient/1?_count=1", 400),
            ("GET", "http://elsewhere/fhir/Patient/1", 404),
        ] {
            assert_eq!(read(method, url).map(drop), Err(status), "{method} {url}");
        }
        assert!(
            Entry::read(object! { "request": object! { "method": "POST", "url": "Patient" } }, BASE, usize::MAX)
                .is_err()
        );
        assert_eq!(modified_since("1970-01-01T00:00:09Z").unwrap(), "Thu, 01 Jan 1970 00:00:09 GMT");
        assert!(modified_since("1970-01-01T00:00:09").is_err() && modified_since("yesterday").is_err());
        assert!([object! {}, Json::Null].into_iter().all(|entry| Entry::read(entry, BASE, usize::MAX).is_err()));
    }
}
