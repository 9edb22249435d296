//! What an answer looks like: format, validators, location. <https://hl7.org/fhir/R4/http.html#mime-type>
//!
//! | request | answer |
//! |---|---|
//! | `_format`, else `Accept` | FHIR JSON (default) or FHIR XML; neither acceptable: 406 |
//! | `_pretty=true` | indented |
//! | `Prefer: return=` | body of an answer to a write |

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use fhir::date::{format_instant, http_date};
use fhir::json::{Json, write_string};
use fhir::outcome::{Issue, IssueCode, outcome};
use store::Stored;

use crate::error::Error;
use crate::rest::Written;
use crate::rest::request::{self, Prefer, Return, media_type};

/// Content-Type of FHIR JSON.
pub const JSON: &str = "application/fhir+json; charset=utf-8";
/// Content-Type of FHIR XML.
pub const XML: &str = "application/fhir+xml; charset=utf-8";

/// A format of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// FHIR JSON.
    Json,
    /// FHIR XML.
    Xml,
}

/// How the client wants to have the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presentation {
    /// In which format.
    pub format: Format,
    /// With indentation.
    pub pretty: bool,
}

/// What an interaction answers; over HTTP and as the entry of a Bundle it is the same.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// JSON of a resource.
    pub body: Option<Arc<str>>,
    /// Whether the body is an OperationOutcome about the request, not what was asked for.
    pub is_outcome: bool,
    /// Version of the resource.
    pub version: Option<i64>,
    /// `meta.lastUpdated` of the resource.
    pub last_updated: Option<i64>,
    /// Where it is.
    pub location: Option<String>,
}

impl Format {
    /// The format of a media type, without parameters.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/fhir+json" | "application/json" | "text/json" | "application/json+fhir" | "json" => {
                Some(Format::Json)
            }
            "application/fhir+xml" | "application/xml" | "text/xml" | "application/xml+fhir" | "xml" => {
                Some(Format::Xml)
            }
            _ => None,
        }
    }

    /// Content-Type of the format.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => JSON,
            Format::Xml => XML,
        }
    }
}

impl Presentation {
    /// What `_format`, `_pretty` and `Accept` ask for.
    pub fn of(request: &HttpRequest) -> Result<Self, Error> {
        match request.query_string() {
            "" => Self::with(request, &[]),
            query => Self::with(request, &request::pairs(query)?),
        }
    }

    /// The same with parameters that are read already.
    pub fn with(request: &HttpRequest, pairs: &[(String, String)]) -> Result<Self, Error> {
        let (mut format, mut pretty) = (None, false);
        for (name, value) in pairs {
            match name.as_str() {
                // A + in a media type that was not encoded has become a space.
                "_format" => format = Some(named(&value.replace(' ', "+"))?),
                "_pretty" => pretty = boolean(value)?,
                _ => {}
            }
        }
        let format = match format {
            Some(format) => format,
            None => accepted(request)?,
        };
        Ok(Presentation { format, pretty })
    }

    /// The text of a resource in this presentation; JSON that is not to be indented is not touched.
    pub fn render(self, body: Arc<str>) -> Result<Bytes, Error> {
        if self == (Presentation { format: Format::Json, pretty: false }) {
            return Ok(Bytes::from_owner(Shared(body)));
        }
        let resource = Json::parse(body.as_bytes()).map_err(Error::internal)?;
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

    /// A resource that does not stand in the store, such as a Bundle.
    pub fn resource(body: String) -> Self {
        Answer { body: Some(body.into()), ..Answer::empty(StatusCode::OK) }
    }

    /// A stored version.
    pub fn stored(stored: Stored) -> Self {
        Answer {
            version: Some(stored.version),
            last_updated: Some(stored.last_updated),
            body: Some(stored.body),
            ..Answer::empty(StatusCode::OK)
        }
    }

    /// A resource that was written, or found by the criteria of a conditional create.
    pub fn written(written: &Written, base: &str, returned: Return) -> Self {
        let Written { resource_type, id, version, .. } = written;
        let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
        let body = match returned {
            Return::Minimal => None,
            Return::Representation => Some(written.body.clone()),
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
        // A shared cache must not hand one caller's data to another. (LK-47)
        response.insert_header((header::CACHE_CONTROL, "private, no-cache"));
        response.insert_header((header::VARY, "Accept, Authorization"));
        response.insert_header(("X-Content-Type-Options", "nosniff"));
        Ok(match self.body {
            None => response.finish(),
            Some(body) => {
                response.insert_header((header::CONTENT_TYPE, presentation.format.content_type()));
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

/// Renders errors in the format that the client accepts: wraps all of `/fhir`.
pub async fn render_errors(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    let Some(error) = response.response().error().and_then(|error| error.as_error::<Error>()) else {
        return Ok(response);
    };
    let presentation = Presentation::of(response.request());
    let Ok(presentation) = presentation else { return Ok(response) };
    let Ok(body) = presentation.render(error.outcome().to_string().into()) else { return Ok(response) };
    let body = String::from_utf8_lossy(&body).into_owned();
    let rendered = error.respond(presentation.format.content_type(), body);
    Ok(ServiceResponse::new(response.request().clone(), rendered))
}

/// The format that `_format` names; a media type or its short name.
fn named(value: &str) -> Result<Format, Error> {
    let (name, parameters) = media_type(value);
    let format = Format::of(&name).filter(|_| speaks_r4(&parameters));
    format.ok_or_else(|| Error::not_acceptable(format!("_format {value} is not supported; known: json, xml")))
}

/// The best format of the `Accept` header. <https://www.rfc-editor.org/rfc/rfc9110#name-accept>
fn accepted(request: &HttpRequest) -> Result<Format, Error> {
    let mut best: Option<(u16, Format)> = None;
    let mut said = false;
    for value in request.headers().get_all(header::ACCEPT) {
        let value =
            value.to_str().map_err(|_| Error::bad_request("header Accept holds characters that are not allowed"))?;
        for range in value.split(',').filter(|range| !range.trim().is_empty()) {
            said = true;
            let (name, parameters) = media_type(range);
            let any = matches!(name.as_str(), "*/*" | "application/*");
            let Some(format) = Format::of(&name).or(any.then_some(Format::Json)) else { continue };
            let quality = quality(&parameters);
            if quality > 0 && speaks_r4(&parameters) && best.is_none_or(|(other, _)| quality > other) {
                best = Some((quality, format));
            }
        }
    }
    match best {
        Some((_, format)) => Ok(format),
        None if !said => Ok(Format::Json),
        None => Err(Error::not_acceptable("Accept application/fhir+json or application/fhir+xml")),
    }
}

/// The weight of a media range in thousandths; one that cannot be read is 0.
fn quality(parameters: &[(String, String)]) -> u16 {
    let Some((_, text)) = parameters.iter().find(|(name, _)| name == "q") else { return 1000 };
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => (value * 1000.0) as u16,
        _ => 0,
    }
}

fn speaks_r4(parameters: &[(String, String)]) -> bool {
    parameters.iter().all(|(name, value)| name != "fhirversion" || value.starts_with("4.0"))
}

fn boolean(value: &str) -> Result<bool, Error> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        other => {
            Err(Error::bad_request(Issue::error(IssueCode::Value, format!("_pretty {other} is not true or false"))))
        }
    }
}

/// Lets a stored text be sent without copying it.
struct Shared(Arc<str>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn format(accept: &str) -> Result<Format, u16> {
        let request = TestRequest::get().uri("/").insert_header(("Accept", accept)).to_http_request();
        Presentation::of(&request).map(|it| it.format).map_err(|error| error.status().as_u16())
    }

    #[test]
    fn in_30_accept_is_weighed() {
        assert_eq!(format("*/*"), Ok(Format::Json));
        assert_eq!(format("application/fhir+xml"), Ok(Format::Xml));
        assert_eq!(format("application/fhir+xml;q=0.5, application/fhir+json;q=0.9"), Ok(Format::Json));
        assert_eq!(format("text/html, application/xml;q=0.9, */*;q=0.1"), Ok(Format::Xml));
        assert_eq!(format("application/fhir+json; fhirVersion=4.0"), Ok(Format::Json));
        assert_eq!(format("application/fhir+json; fhirVersion=5.0"), Err(406));
        assert_eq!(format("text/html"), Err(406));
        assert_eq!(format("application/json;q=0"), Err(406));
    }

    #[test]
    fn format_parameter_beats_accept() {
        let of = |uri: &str| {
            let request =
                TestRequest::get().uri(uri).insert_header(("Accept", "application/fhir+xml")).to_http_request();
            Presentation::of(&request).map_err(|error| error.status().as_u16())
        };
        assert_eq!(of("/?_format=json"), Ok(Presentation { format: Format::Json, pretty: false }));
        assert!(of("/?_format=application/fhir+json&_pretty=true").unwrap().pretty);
        assert_eq!(of("/?_format=turtle"), Err(406));
        assert_eq!(of("/?_pretty=maybe"), Err(400));
    }

    #[test]
    fn entries_of_answers() {
        let mut out = String::new();
        let written = Written {
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
