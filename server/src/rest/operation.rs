//! Operations: `GET|POST [base]/…/$name`. <https://hl7.org/fhir/R4/operations.html>
//!
//! [`TABLE`] is what the routes, the CapabilityStatement and the `OperationDefinition` of this server are made of.
//!
//! ```text
//! request ─▶ Invocation (row of the table, checked input) ─▶ run of the row ─▶ Answer
//! ```
//!
//! | status | when |
//! |---|---|
//! | 200 | the answer; of `$validate` also where the resource is not valid |
//! | 400 | a parameter is unknown, missing, given twice or has a value that it cannot have |
//! | 403 | the token lacks a scope that the operation needs |
//! | 404 | no such operation here; or the resource is unknown or hidden (LK-10) |
//! | 405 | `GET` of an operation that changes something |
//! | 412 | `If-Match` does not hold, of an operation that changes something |

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::conditional::Preconditions;
use crate::rest::projected;
use crate::rest::request::{self, MAX_RESOURCE};
use crate::rest::response::{Answer, Presentation};

mod convert;
pub mod definition;
mod device_connections;
mod diff;
mod everything;
pub mod export;
mod input;
mod lastn;
mod meta;
mod stats;
mod table;
mod validate;

pub use definition::{add_own, definition_handler, of_system, of_type, refuse_own};
pub use input::Input;
pub use table::{Level, Operation, Parameter, Run, TABLE};

/// What an operation is asked of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Resource type; empty for the system.
    pub resource_type: String,
    /// Logical id; empty for a type.
    pub id: String,
    /// Version; empty for the current one.
    pub version: String,
}

/// An operation that is to be carried out.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Which operation.
    pub operation: &'static Operation,
    /// What it is asked of.
    pub target: Target,
    /// Its parameters.
    pub input: Input,
    /// On the version of the instance that is changed.
    pub preconditions: Preconditions,
}

/// A call of an operation before it is known whether there is such a one: an entry of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Name with `$`.
    pub name: String,
    /// What it is asked of.
    pub target: Target,
    /// Whether it may change something.
    pub is_post: bool,
    /// Parameters of the URL.
    pub pairs: request::Pairs,
    /// The resource of the entry.
    pub body: Option<Json>,
    /// `ifMatch`.
    pub preconditions: Preconditions,
}

impl Call {
    /// The call that a path below the FHIR base makes; nothing if it does not end in the name of an operation.
    pub fn of(segments: &[&str]) -> Option<Self> {
        let (name, above) = segments.split_last().filter(|(name, _)| name.starts_with('$'))?;
        let (resource_type, id, version) = match *above {
            [] => ("", "", ""),
            [resource_type] => (resource_type, "", ""),
            [resource_type, id] => (resource_type, id, ""),
            [resource_type, id, "_history", version] => (resource_type, id, version),
            _ => return None,
        };
        let target = Target { resource_type: resource_type.into(), id: id.into(), version: version.into() };
        let (pairs, preconditions) = (request::Pairs::new(), Preconditions::default());
        Some(Call { name: (*name).to_owned(), target, is_post: false, pairs, body: None, preconditions })
    }

    /// Carries it out.
    pub async fn execute(&self, app: &App, caller: &Caller) -> Result<Answer, Error> {
        let Call { name, target, is_post, pairs, body, preconditions } = self.clone();
        let prepared = prepare(&name, target, is_post, request::without_general(pairs), body)?;
        Invocation { preconditions, ..prepared }.execute(app, caller).await
    }
}

impl Invocation {
    /// Carries it out.
    async fn execute(&self, app: &App, caller: &Caller) -> Result<Answer, Error> {
        (self.operation.run)(app, caller, self).await
    }
}

impl Target {
    /// What is in the path of a request.
    fn of(request: &HttpRequest) -> Result<Self, Error> {
        let segment = |name| request::segment(request, name).to_owned();
        Target { resource_type: segment("type"), id: segment("id"), version: segment("version") }.checked()
    }

    /// Types must be known and ids possible.
    fn checked(self) -> Result<Self, Error> {
        if !self.resource_type.is_empty() {
            request::known_type(&self.resource_type)?;
        }
        if !self.id.is_empty() {
            request::valid_id(&self.id)?;
        }
        Ok(self)
    }

    /// At which level that is.
    pub fn level(&self) -> Level {
        match (self.resource_type.is_empty(), self.id.is_empty(), self.version.is_empty()) {
            (true, ..) => Level::System,
            (_, true, _) => Level::Type,
            (_, _, true) => Level::Instance,
            _ => Level::Version,
        }
    }

    /// The path below the FHIR base.
    fn path(&self) -> String {
        match self.level() {
            Level::System => String::new(),
            Level::Type => self.resource_type.clone(),
            Level::Instance => format!("{}/{}", self.resource_type, self.id),
            Level::Version => format!("{}/{}/_history/{}", self.resource_type, self.id, self.version),
        }
    }
}

/// `GET`, `HEAD` and `POST`, at every level.
pub async fn handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    let name = request::segment(&request, "operation");
    let target = Target::of(&request)?;
    let body = if request.method() == Method::POST { body(&request, payload, &app).await? } else { None };
    let pairs = request::without_general(request::pairs(request.query_string())?);
    let prepared = prepare(name, target, request.method() == Method::POST, pairs, body)?;
    let preconditions =
        if prepared.operation.changes { Preconditions::of(&request)? } else { Preconditions::default() };
    Invocation { preconditions, ..prepared }.execute(&app, &caller).await?.respond(presentation)
}

/// Finds the operation and reads its parameters; `name` begins with `$`.
pub fn prepare(
    name: &str,
    target: Target,
    is_post: bool,
    pairs: request::Pairs,
    body: Option<Json>,
) -> Result<Invocation, Error> {
    let target = target.checked()?;
    let operation = table::find(name, &target)?;
    if !operation.of_projected {
        projected::refuse_among_others(&target.resource_type)?;
    }
    if operation.changes && !is_post {
        let text = format!("{name} changes something; use POST");
        return Err(Error::method_not_allowed(text).with_header("Allow", "POST, OPTIONS"));
    }
    let input = Input::read(operation, &target, pairs, body)?;
    Ok(Invocation { operation, target, input, preconditions: Preconditions::default() })
}

/// The body of a `POST`; nothing if it is empty.
pub async fn body(request: &HttpRequest, payload: web::Payload, app: &App) -> Result<Option<Json>, Error> {
    let says_empty = request::header(request, "Content-Length")?.is_none_or(|length| length == "0");
    let has_type = request.headers().contains_key("Content-Type");
    if says_empty && !has_type && !request.headers().contains_key("Transfer-Encoding") {
        return Ok(None);
    }
    request::resource(request, payload, MAX_RESOURCE.min(app.config.max_body)).await.map(Some)
}

/// A Parameters resource.
fn parameters(parameters: Vec<Json>) -> Json {
    let mut resource = fhir::object! { "resourceType": "Parameters" };
    if let Some(object) = resource.as_object_mut().filter(|_| !parameters.is_empty()) {
        object.insert("parameter", parameters);
    }
    resource
}

fn invalid(code: IssueCode, text: impl Into<String>) -> Error {
    Error::bad_request(Issue::error(code, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_paths() {
        let of = |path: &str| {
            let call = Call::of(&path.split('/').collect::<Vec<_>>())?;
            Some((call.target.level(), call.target.path(), call.name))
        };
        let some = |level, path: &str, name: &str| Some((level, path.to_owned(), name.to_owned()));
        assert_eq!(of("$convert"), some(Level::System, "", "$convert"));
        assert_eq!(of("Patient/$meta"), some(Level::Type, "Patient", "$meta"));
        assert_eq!(of("Patient/1/$meta"), some(Level::Instance, "Patient/1", "$meta"));
        assert_eq!(of("Patient/1/_history/2/$meta"), some(Level::Version, "Patient/1/_history/2", "$meta"));
        for other in ["Patient", "Patient/1", "Patient/$x/1", "a/b/c/$meta"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
