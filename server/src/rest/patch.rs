//! Patch: `PATCH [base]/[type]/[id]`, `PATCH [base]/[type]?[criteria]`. <https://hl7.org/fhir/R4/http.html#patch>
//!
//! | status | when |
//! |---|---|
//! | 200 | a new version; or the same version, where the patch changes nothing |
//! | 400 | not a patch, or one that costs too much |
//! | 403 | the token does not allow it, before or after the change (LK-28) |
//! | 404 | unknown or hidden; the criteria match nothing |
//! | 410 | deleted |
//! | 412 | `If-Match` or `If-None-Match` does not hold, or the criteria match more than one resource |
//! | 415 | another format than JSON Patch and FHIRPath Patch; XML Patch is not supported |
//! | 422 | does not apply, a `test` does not hold, or the outcome is not a valid resource or another one |
//!
//! "When the operations have all been processed, the server processes the resulting document as an Update operation."
//! The patch is applied before the transaction to what probably stands, and again inside if that has changed since:
//! always to the current version, so that no update is lost, and seldom on the writer's time. (RE-15)

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use fhir::patch::{Fault, Patch, PatchError};
use store::{Method, Stored, Tx};

use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::{Error, Kind};
use crate::rest::conditional::{Criteria, Preconditions, single};
use crate::rest::request::{self, MAX_RESOURCE, Return};
use crate::rest::response::{Answer, Format, Presentation, returned};
use crate::rest::search::terminology::Lookup;
use crate::rest::update::{self, Aim, Aimed};
use crate::rest::{Context, Prepared, Written, create, replaced_references};

/// Media type of JSON Patch.
pub const JSON_PATCH: &str = "application/json-patch+json";

/// What a PATCH takes.
pub const FORMATS: &[&str] = &[JSON_PATCH, "application/fhir+json", "application/fhir+xml"];

/// A patch that is ready to be carried out.
#[derive(Clone, Debug)]
pub struct Patching {
    /// Resource type.
    pub resource_type: String,
    /// Which resource.
    pub target: Target,
    /// What is changed.
    pub patch: Arc<Patch>,
    /// `If-Match`, `If-None-Match`.
    pub preconditions: Preconditions,
    /// What it makes of the version that probably is the current one.
    probably: Patched,
}

/// Which resource is patched.
#[derive(Clone, Debug)]
pub enum Target {
    /// Logical id.
    Id(String),
    /// Criteria that match one.
    Criteria(Box<Criteria>),
}

/// What a patch makes of one version.
#[derive(Clone, Debug)]
struct Patched {
    id: String,
    version: i64,
    prepared: Prepared,
}

/// `PATCH` on an instance.
pub async fn handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    request::only(request.query_string(), &[])?;
    let id = request::id(&request)?.to_owned();
    respond(&request, &app, &caller, payload, Aim::Id(&id)).await
}

/// `PATCH` on a type: conditional patch.
pub async fn conditional_handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    respond(&request, &app, &caller, payload, Aim::Criteria(request.query_string())).await
}

async fn respond(
    request: &HttpRequest,
    app: &App,
    caller: &Caller,
    payload: web::Payload,
    aim: Aim<'_>,
) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(request)?;
    let resource_type = request::resource_type(request)?;
    access::decide(caller, Interaction::Patch, resource_type)?;
    let preconditions = Preconditions::of(request)?;
    let patch = Arc::new(of_request(request, payload, MAX_RESOURCE.min(app.config.max_body)).await?);
    let context = Context::new(app, caller);
    let patching = prepare(app, &context, Aimed { resource_type, aim }, patch, preconditions).await?;
    let written = run(app, &context, patching).await?;
    let returned = returned(request::prefer(request), Return::Representation);
    Answer::written(&written, &context.base, returned).respond(presentation)
}

/// The patch in the body of a request.
async fn of_request(request: &HttpRequest, payload: web::Payload, limit: usize) -> Result<Patch, Error> {
    let media_type = request::header(request, header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    let (name, parameters) = request::media_type(media_type);
    if name != JSON_PATCH {
        if Format::of_media_type(&name).is_none() {
            return Err(unsupported(&name));
        }
        return of_parameters(&request::resource(request, payload, limit).await?);
    }
    if parameters.iter().any(|(name, value)| name == "charset" && !matches!(value.as_str(), "utf-8" | "utf8")) {
        return Err(Error::unsupported_media_type("a JSON Patch is UTF-8"));
    }
    of_json(&request::body(request, payload, limit).await?)
}

/// The patch in an entry of a Bundle: Parameters, or a Binary that holds a JSON Patch.
pub fn of_entry(resource: &Json) -> Result<Patch, Error> {
    if resource.str("resourceType") != Some("Binary") {
        return of_parameters(resource);
    }
    let (name, _) = request::media_type(resource.str("contentType").unwrap_or_default());
    if name != JSON_PATCH {
        return Err(unsupported(&name));
    }
    let data: String = resource.str("data").unwrap_or_default().split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(data).map_err(|error| {
        Error::bad_request(Issue::error(IssueCode::Value, format!("data is not base64: {error}")).at("Binary.data"))
    })?;
    of_json(&bytes)
}

fn of_json(bytes: &[u8]) -> Result<Patch, Error> {
    let document = request::parsed(Format::Json, bytes)?;
    Patch::from_json_patch(&document).map_err(|error| refused(&error))
}

fn of_parameters(resource: &Json) -> Result<Patch, Error> {
    match resource {
        Json::Array(_) => {
            let text = format!("the body is an array: a JSON Patch has the Content-Type {JSON_PATCH}");
            Err(Error::bad_request(Issue::error(IssueCode::Structure, text)))
        }
        _ if resource.str("resourceType") == Some("Parameters") => {
            let issues = validation::validate(resource);
            if issues.iter().any(|issue| issue.severity >= fhir::outcome::Severity::Error) {
                return Err(Error::bad_request(issues));
            }
            Patch::from_parameters(resource).map_err(|error| refused(&error))
        }
        _ => Patch::from_parameters(resource).map_err(|error| refused(&error)),
    }
}

fn unsupported(name: &str) -> Error {
    let what = match name {
        "" => "the Content-Type is missing".to_owned(),
        "application/xml-patch+xml" => "XML Patch is not supported".to_owned(),
        other => format!("{other} is not supported"),
    };
    let text =
        format!("{what}; send a JSON Patch as {JSON_PATCH}, or a FHIRPath Patch as application/fhir+json or +xml");
    Error::unsupported_media_type(text).with_header("Accept-Patch", FORMATS.join(", "))
}

/// Decides access, and applies the patch to what probably stands.
pub async fn prepare(
    app: &App,
    context: &Context,
    Aimed { resource_type, aim }: Aimed<'_>,
    patch: Arc<Patch>,
    preconditions: Preconditions,
) -> Result<Patching, Error> {
    access::decide(&context.caller, Interaction::Patch, resource_type)?;
    let (target, found) = match aim {
        Aim::Id(id) => (Target::Id(id.to_owned()), app.store.read(&context.caller.view, resource_type, id).await?),
        Aim::Criteria(text) => {
            let criteria =
                Criteria::prepare(&mut Lookup::new(app, &context.caller), context, resource_type, text).await?;
            let found = single(criteria.matches_before(&app.store, context).await?)?;
            (Target::Criteria(Box::new(criteria)), found)
        }
    };
    let stored = living(found, resource_type, aim.id())?;
    let probably = patched(context, &stored, &patch, &preconditions)?;
    Ok(Patching { resource_type: resource_type.to_owned(), target, patch, preconditions, probably })
}

/// Carries it out in a transaction of its own.
pub async fn run(app: &App, context: &Context, patching: Patching) -> Result<Written, Error> {
    let written =
        context.in_transaction(app, patching, |tx, context, patching| Box::pin(execute(tx, context, patching))).await?;
    written.tell(context);
    Ok(written)
}

/// Patches the resource that the id or the criteria name.
pub async fn execute(tx: &mut Tx, context: &Context, patching: &Patching) -> Result<Written, Error> {
    let Patching { resource_type, target, patch, preconditions, probably } = patching;
    let stored = match target {
        Target::Id(id) => {
            let current = tx.current(&context.caller.view, resource_type, id).await?;
            living(current, resource_type, Some(id))?
        }
        Target::Criteria(criteria) => {
            tx.lock_key(criteria.lock_key()).await?;
            living(criteria.find_current(tx, context).await?, resource_type, None)?
        }
    };
    if (stored.id.as_str(), stored.version) == (&probably.id, probably.version) {
        return write(tx, context, &probably.prepared, stored).await;
    }
    let now = patched(context, &stored, patch, preconditions)?;
    write(tx, context, &now.prepared, stored).await
}

/// Writes the outcome of a patch on `stored`, which is the current version: every patch ends here, also those of a
/// transaction Bundle.
pub async fn write(tx: &mut Tx, context: &Context, prepared: &Prepared, stored: Stored) -> Result<Written, Error> {
    if prepared.says_the_same(&stored.body) {
        return Ok(create::existing(stored));
    }
    let next = (stored.version + 1, context.instant_after(tx, stored.last_updated).await?);
    prepared.put(tx, context, next, Method::Patch).await
}

/// There must be something to patch, under the id if one was named, else under the criteria.
pub fn living(found: Option<Stored>, resource_type: &str, id: Option<&str>) -> Result<Stored, Error> {
    match (found, id) {
        (Some(stored), _) if stored.deleted => {
            Err(Error::gone(format!("{resource_type}/{} has been deleted", stored.id)))
        }
        (Some(stored), _) => Ok(stored),
        (None, Some(id)) => Err(Error::unknown(resource_type, id)),
        (None, None) => {
            Err(Error::not_found(format!("the criteria match no {resource_type}; a patch creates nothing")))
        }
    }
}

/// What the patch makes of a version. Rights go before preconditions, and both before the patch: neither a 412 nor a
/// `test` tells of what the caller may not write. (LK-28, LK-30)
pub fn applied(
    context: &Context,
    stored: &Stored,
    patch: &Patch,
    preconditions: &Preconditions,
) -> Result<Json, Error> {
    update::check_standing(context, &stored.body)?;
    preconditions.check(Some(stored))?;
    let before = Json::parse(stored.body.as_bytes()).map_err(Error::internal)?;
    let after = patch.apply(&before).map_err(|error| refused(&error))?;
    check_identity(&before, &after)?;
    Ok(after)
}

/// Checks the outcome of a patch like that of an update, and indexes it. What is wrong with it is not wrong with the
/// request as such, so it is 422.
pub fn prepared(context: &Context, resource_type: &str, id: &str, after: Json) -> Result<Prepared, Error> {
    let prepared = Prepared::new(context, resource_type, id, after).map_err(as_outcome)?;
    if prepared.text(i64::MAX, 0).len() > MAX_RESOURCE {
        let text = format!("the patched resource would be larger than {MAX_RESOURCE} bytes");
        return Err(Error::payload_too_large(text));
    }
    Ok(prepared)
}

fn patched(context: &Context, stored: &Stored, patch: &Patch, preconditions: &Preconditions) -> Result<Patched, Error> {
    let after = applied(context, stored, patch, preconditions)?;
    replaced_references::refuse_conditional(&after).map_err(as_outcome)?;
    let prepared = prepared(context, &stored.resource_type, &stored.id, after)?;
    Ok(Patched { id: stored.id.clone(), version: stored.version, prepared })
}

fn as_outcome(error: Error) -> Error {
    if error.kind() == Kind::BadRequest { Error::unprocessable(error.issues().to_vec()) } else { error }
}

/// A patch changes neither which resource it is nor what the server says about the version.
fn check_identity(before: &Json, after: &Json) -> Result<(), Error> {
    let resource_type = before.str("resourceType").unwrap_or_default();
    let refuse = |name: &str, how: &str| {
        let issue = Issue::error(IssueCode::BusinessRule, format!("a patch cannot {how} {name}"));
        Err(Error::unprocessable(issue.at(format!("{resource_type}.{name}"))))
    };
    for name in ["resourceType", "id", "_id"] {
        if before.get(name) != after.get(name) {
            return refuse(name, "change");
        }
    }
    for name in ["versionId", "lastUpdated"] {
        let of = |resource: &Json| resource.get("meta").and_then(|meta| meta.get(name)).cloned();
        if of(after).is_some_and(|after| of(before) != Some(after)) {
            return refuse(&format!("meta.{name}"), "set");
        }
    }
    Ok(())
}

fn refused(error: &PatchError) -> Error {
    let text = error.to_string();
    match error.fault {
        Fault::Malformed => Error::bad_request(Issue::error(IssueCode::Invalid, text)),
        Fault::Inapplicable => Error::unprocessable(Issue::error(IssueCode::Processing, text)),
        Fault::TooCostly => Error::bad_request(Issue::error(IssueCode::TooCostly, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::{array, object};

    #[test]
    fn identity_stays() {
        let before = object! { "resourceType": "Patient", "id": "a", "meta": object! { "versionId": "1" } };
        let with = |name: &str, value: Json| {
            let mut after = before.clone();
            after.as_object_mut().unwrap().insert(name, value);
            check_identity(&before, &after).map_err(|error| error.status().as_u16())
        };
        assert_eq!(with("gender", "male".into()), Ok(()));
        assert_eq!(with("meta", object! { "source": "x" }), Ok(()));
        assert_eq!(with("id", "b".into()), Err(422));
        assert_eq!(with("resourceType", "Device".into()), Err(422));
        assert_eq!(with("meta", object! { "versionId": "2" }), Err(422));
        assert_eq!(with("meta", object! { "lastUpdated": "2026-01-01T00:00:00Z" }), Err(422));
        assert!(check_identity(&before, &Json::Null).is_err());
    }

    #[test]
    fn entries_hold_one_of_two_formats() {
        let binary = |media_type: &str, text: &str| {
            let data = STANDARD.encode(text);
            of_entry(&object! { "resourceType": "Binary", "contentType": media_type, "data": data })
                .map(drop)
                .map_err(|error| error.status().as_u16())
        };
        assert_eq!(binary(JSON_PATCH, "[]"), Ok(()));
        assert_eq!(binary(JSON_PATCH, "{}"), Err(400));
        assert_eq!(binary("application/xml-patch+xml", "<diff/>"), Err(415));
        let bad = object! { "resourceType": "Binary", "contentType": JSON_PATCH, "data": "?" };
        assert_eq!(of_entry(&bad).unwrap_err().status(), 400);
        assert!(of_entry(&object! { "resourceType": "Parameters" }).is_ok());
        assert_eq!(of_entry(&object! { "resourceType": "Patient" }).unwrap_err().status(), 400);
        let unknown = object! { "resourceType": "Parameters", "parameter": array![object! { "nam": "operation" }] };
        assert_eq!(of_entry(&unknown).unwrap_err().status(), 400);
    }
}
