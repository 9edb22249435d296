//! What an answer looks like: format, validators, location. <https://hl7.org/fhir/R4/http.html#mime-type>
//!
//! | request | answer |
//! |---|---|
//! | `_format`, else `Accept` | FHIR JSON (default) or FHIR XML; neither acceptable: 406 |
//! | `_pretty=true` | indented |
//! | `Accept-Encoding` | compressed, where that is worth it |
//! | `Prefer: return=` | body of an answer to a write |
//!
//! Every answer below the FHIR base passes [`finish`], errors too: it says there for whom an answer may be kept.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use fhir::date::{format_instant, http_date};
use fhir::json::{Json, write_string};
use fhir::outcome::{Issue, IssueCode, outcome};
use search::query::Elements;
use store::Stored;

use crate::compression::{self, Accepted};
use crate::error::Error;
use crate::rest::Written;
use crate::rest::elements::subset;
use crate::rest::request::{self, Prefer, Return};

mod format;
mod links;
mod text;

pub use format::{Format, JSON, Presentation, XML, is_ours, wants_fhir};
pub use links::{link, write_link};
pub use text::Text;

/// What an answer depends on beside the URL.
const VARY: &str = "Accept, Accept-Encoding, Authorization, Origin, Prefer";
/// A shared cache must not hand one caller's data to another; a private one asks again by the entity tag. (LK-47)
const CACHE: &str = "private, no-cache";

/// What an interaction answers; over HTTP and as the entry of a Bundle it is the same.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// JSON of a resource.
    pub body: Option<Text>,
    /// Whether the body is an OperationOutcome about the request, not what was asked for.
    pub is_outcome: bool,
    /// Version of the resource.
    pub version: Option<i64>,
    /// `meta.lastUpdated` of the resource.
    pub last_updated: Option<i64>,
    /// Where it is.
    pub location: Option<String>,
}

impl Presentation {
    /// The text of a resource in this presentation; JSON that is not to be indented is not touched.
    pub fn render(self, body: Text) -> Result<Bytes, Error> {
        if self.format == Format::Json && !self.pretty {
            return Ok(Bytes::from_owner(body));
        }
        let resource = Json::parse_own(body.as_bytes()).map_err(Error::internal)?;
        match self.format {
            Format::Json => Ok(Bytes::from(resource.to_pretty())),
            Format::Xml => fhir::xml::from_json(&resource).map(Bytes::from).map_err(Error::internal),
        }
    }
}

impl Answer {
    /// A status without a body.
    pub fn empty(status: StatusCode) -> Self {
        Answer { status, body: None, is_outcome: false, version: None, last_updated: None, location: None }
    }

    /// A resource that does not stand in the store, such as a Bundle; its text may be kept elsewhere too.
    pub fn resource(body: impl Into<Text>) -> Self {
        Answer { body: Some(body.into()), ..Answer::empty(StatusCode::OK) }
    }

    /// A stored version.
    pub fn stored(stored: Stored) -> Self {
        Answer {
            version: Some(stored.version),
            last_updated: Some(stored.last_updated),
            body: Some(stored.body.into()),
            ..Answer::empty(StatusCode::OK)
        }
    }

    /// A resource that was written, or found by the criteria of a conditional create.
    pub fn written(written: &Written, base: &str, returned: Return) -> Self {
        let Written { resource_type, id, version, .. } = written;
        let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
        let body = match returned {
            Return::Minimal => None,
            Return::Representation => Some(written.body.clone().into()),
            Return::OperationOutcome => {
                let what = if written.created { "created" } else { "stored" };
                let text = format!("{resource_type}/{id} {what} as version {version}");
                Some(outcome(&[Issue::information(IssueCode::Informational, text)]).to_string().into())
            }
        };
        Answer {
            status,
            body,
            is_outcome: returned == Return::OperationOutcome,
            version: Some(*version),
            last_updated: Some(written.last_updated),
            location: Some(format!("{base}/{resource_type}/{id}/_history/{version}")),
        }
    }

    /// An answer without a body, with an OperationOutcome that says this in its place where the client prefers one: 200
    /// then.
    #[must_use]
    pub fn telling(self, prefer: Prefer, text: &str) -> Self {
        if prefer.returned != Some(Return::OperationOutcome) {
            return self;
        }
        let body = outcome(&[Issue::information(IssueCode::Informational, text)]).to_string();
        Answer { status: StatusCode::OK, body: Some(body.into()), is_outcome: true, ..self }
    }

    /// The same without its body, as `HEAD` is answered.
    #[must_use]
    pub fn without_body(self) -> Self {
        Answer { body: None, ..self }
    }

    /// The same with some of the elements of its resource; what is no answer to a read stays as it is.
    pub fn cut(self, elements: &Elements) -> Result<Self, Error> {
        let Some(body) = self.body.as_ref().filter(|_| *elements != Elements::All && !self.is_outcome) else {
            return Ok(self);
        };
        let body = subset(body, elements)?.into_owned();
        Ok(Answer { body: Some(body.into()), ..self })
    }

    /// The HTTP response.
    pub fn respond(self, presentation: Presentation) -> Result<HttpResponse, Error> {
        let mut response = HttpResponse::build(self.status);
        if let Some(version) = self.version {
            response.insert_header((header::ETAG, etag(version)));
        }
        if let Some(micros) = self.last_updated {
            response.insert_header((header::LAST_MODIFIED, http_date(micros)));
        }
        if let Some(location) = self.location {
            response.insert_header((header::LOCATION, location));
        }
        Ok(match self.body {
            None => response.finish(),
            Some(body) => {
                response.insert_header((header::CONTENT_TYPE, presentation.content_type));
                response.body(presentation.render(body)?)
            }
        })
    }

    /// The entry of a batch-response or transaction-response.
    pub fn write_entry(&self, out: &mut String) {
        out.push('{');
        if let Some(body) = self.body.as_ref().filter(|_| !self.is_outcome) {
            out.push_str("\"resource\":");
            out.push_str(body);
            out.push(',');
        }
        out.push_str("\"response\":{\"status\":");
        write_string(&status_line(self.status), out);
        let mut member = |name: &str, value: &str| {
            out.push_str(name);
            write_string(value, out);
        };
        if let Some(location) = &self.location {
            member(",\"location\":", location);
        }
        if let Some(version) = self.version {
            member(",\"etag\":", &etag(version));
        }
        if let Some(micros) = self.last_updated {
            member(",\"lastModified\":", &format_instant(micros));
        }
        if let Some(body) = self.body.as_ref().filter(|_| self.is_outcome) {
            out.push_str(",\"outcome\":");
            out.push_str(body);
        }
        out.push_str("}}");
    }
}

impl From<&Error> for Answer {
    fn from(error: &Error) -> Self {
        Answer { body: Some(error.outcome().to_string().into()), is_outcome: true, ..Answer::empty(error.status()) }
    }
}

/// What is returned for a write where the client says nothing.
pub fn returned(prefer: Prefer, default: Return) -> Return {
    prefer.returned.unwrap_or(default)
}

/// The weak entity tag of a version.
pub fn etag(version: i64) -> String {
    format!("W/\"{version}\"")
}

/// `201 Created`.
pub fn status_line(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

/// Completes every answer below the FHIR base: errors in the format that the client accepts, the headers that all
/// have, and the coding of the body.
pub async fn finish(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let taken = request::check_address(request.uri()).and_then(|()| compression::accepted(request.headers()));
    let coding = match taken {
        Ok(coding) => coding,
        Err(refused) => {
            let response = rendered(request.request(), &refused);
            return Ok(completed(request.into_response(response), Accepted::default()).await);
        }
    };
    let response = next.call(request).await?.map_into_boxed_body();
    let error = response.response().error().and_then(|error| error.as_error::<Error>());
    let rendered = error.map(|error| rendered(response.request(), error));
    let response = match rendered {
        Some(rendered) => response.into_response(rendered),
        None => response,
    };
    Ok(completed(response, coding).await)
}

/// An error in the format that the client accepts; where it accepts none, in JSON.
pub fn rendered(request: &HttpRequest, error: &Error) -> HttpResponse {
    let presentation = Presentation::of_error(request);
    match presentation.render(error.outcome().to_string().into()) {
        Ok(body) => error.respond(presentation.content_type, body),
        Err(_) => error.error_response(),
    }
}

async fn completed(response: ServiceResponse, coding: Accepted) -> ServiceResponse {
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in [(header::VARY, VARY), (header::CACHE_CONTROL, CACHE)] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    let body = match body.try_into_bytes() {
        // Nothing, not even a length: that of the whole would stand here.
        Ok(_) if response.status() == StatusCode::NOT_MODIFIED => BoxBody::new(actix_web::body::None::new()),
        Ok(body) => BoxBody::new(compression::encoded(body, response.headers_mut(), coding).await),
        Err(body) => body,
    };
    ServiceResponse::new(request, response.set_body(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_answers() {
        let mut out = String::new();
        let written = Written {
            changed: true,
            created: true,
            resource_type: "Patient".into(),
            id: "a".into(),
            version: 1,
            last_updated: 0,
            body: "{\"resourceType\":\"Patient\"}".into(),
        };
        Answer::written(&written, "http://s/fhir", Return::Minimal).write_entry(&mut out);
        assert_eq!(
            out,
            "{\"response\":{\"status\":\"201 Created\",\"location\":\"http://s/fhir/Patient/a/_history/1\",\
             \"etag\":\"W/\\\"1\\\"\",\"lastModified\":\"1970-01-01T00:00:00.000000Z\"}}"
        );
        let mut failed = String::new();
        Answer::from(&Error::not_found("no")).write_entry(&mut failed);
        let entry = Json::parse(failed.as_bytes()).unwrap();
        assert_eq!(entry.at(&["response", "status"]).unwrap().as_str(), Some("404 Not Found"));
        assert!(entry.at(&["response", "outcome", "issue"]).is_some());
    }
}
