//! Binary in its native form: the content itself goes in and out. <https://hl7.org/fhir/R4/binary.html#rest>
//!
//! | request | answer |
//! |---|---|
//! | read without `_format`, and `Accept` names no format of FHIR | the content, of the type that the resource states |
//! | read where `Accept` names both, with weights | what weighs more; the Binary, if both weigh the same |
//! | create, update of another Content-Type than FHIR's, or of what is no Binary | the body becomes the content |
//!
//! `X-Security-Context` is `securityContext`, both ways. What a browser would run in this origin is handed out as a
//! file to keep: anybody who may write a Binary says what type it has.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir::json::Json;
use fhir::object;
use search::query::Elements;

use crate::error::{Error, Kind};
use crate::rest::request::{self, media_type};
use crate::rest::response::{Answer, Format, Presentation, wants_fhir};

/// The type whose resources have a native form.
const BINARY: &str = "Binary";

/// The header that stands for `securityContext`.
const SECURITY_CONTEXT: &str = "X-Security-Context";

/// Media types that a browser shows without running anything of them in this origin.
const HARMLESS: &[&str] = &["text/plain", "application/pdf"];
const HARMLESS_KINDS: &[&str] = &["image/", "audio/", "video/"];

/// What a Binary has beside its data: names, type, context.
const AROUND: usize = 4096;

/// What a read wants to have.
pub struct Wish<'a> {
    request: &'a HttpRequest,
    /// In case that it is the resource.
    presentation: Result<Presentation, Error>,
    may_be_content: bool,
}

impl<'a> Wish<'a> {
    /// What a read of `resource_type` asks for; whoever asks for some of the elements wants the resource.
    pub fn of(request: &'a HttpRequest, resource_type: &str, elements: &Elements) -> Result<Self, Error> {
        let names_format = || -> Result<bool, Error> {
            Ok(request::pairs(request.query_string())?.iter().any(|(name, _)| name == "_format"))
        };
        let may_be_content = resource_type == BINARY && *elements == Elements::All && !names_format()?;
        match Presentation::of(request) {
            Err(error) if !may_be_content || error.kind() != Kind::NotAcceptable => Err(error),
            presentation => Ok(Wish { request, presentation, may_be_content }),
        }
    }

    /// The HTTP response.
    pub fn respond(self, answer: Answer) -> Result<HttpResponse, Error> {
        let body = answer.body.as_ref().filter(|_| self.may_be_content && !answer.is_outcome);
        let Some(body) = body else {
            let presentation = if answer.body.is_none() { Ok(Presentation::STORED) } else { self.presentation };
            return answer.respond(presentation?);
        };
        let binary = Json::parse(body.as_bytes()).map_err(Error::internal)?;
        if wants_fhir(self.request, binary.str("contentType").unwrap_or_default()) {
            return answer.respond(self.presentation?);
        }
        content(answer, &binary)
    }
}

/// The content of a Binary, as it was answered.
fn content(answer: Answer, binary: &Json) -> Result<HttpResponse, Error> {
    let data: String = binary.str("data").unwrap_or_default().split_ascii_whitespace().collect();
    let data = STANDARD.decode(data).map_err(Error::internal)?;
    let mut response = answer.without_body().respond(Presentation::STORED)?;
    let headers = response.headers_mut();
    let stated = binary.str("contentType").unwrap_or_default();
    let (name, _) = media_type(stated);
    let stated = HeaderValue::from_str(stated).ok().filter(|_| is_media_type(&name));
    let is_harmless = stated.is_some() && is_harmless(&name);
    headers.insert(header::CONTENT_TYPE, stated.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    if !is_harmless {
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
        let policy = HeaderValue::from_static("default-src 'none'; sandbox");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let context = binary.at(&["securityContext", "reference"]).and_then(Json::as_str);
    if let Some(context) = context.and_then(|reference| HeaderValue::from_str(reference).ok()) {
        headers.insert(HeaderName::from_static("x-security-context"), context);
    }
    Ok(response.set_body(Bytes::from(data)).map_into_boxed_body())
}

/// The body of a create or update as a resource: for a Binary it may be the content. `id` is that of the address.
pub async fn resource(
    request: &HttpRequest,
    payload: web::Payload,
    (resource_type, id): (&str, Option<&str>),
    limit: usize,
) -> Result<Json, Error> {
    if resource_type != BINARY {
        return request::resource(request, payload, limit).await;
    }
    let Some(stated) = request::header(request, header::CONTENT_TYPE.as_str())?.filter(|it| !it.trim().is_empty())
    else {
        return Err(Error::unsupported_media_type("Content-Type is missing; it says what the content is"));
    };
    let context = request::header(request, SECURITY_CONTEXT)?;
    let bytes = request::body(request, payload, limit).await?;
    if let Some(format) = Format::of_media_type(&media_type(stated).0) {
        let parsed = request::parsed(format, &bytes);
        let is_meant = match &parsed {
            Ok(resource) => resource.str("resourceType") == Some(BINARY),
            // What cannot be read is content too, unless it seems to be a Binary with a mistake in it.
            Err(_) => String::from_utf8_lossy(&bytes).contains(BINARY),
        };
        if is_meant {
            request::body_format(request)?;
            if context.is_some() {
                let text = format!("{SECURITY_CONTEXT} goes with content; a Binary resource has securityContext");
                return Err(Error::bad_request(text));
            }
            return parsed;
        }
    }
    let most = (limit / 4 * 3).saturating_sub(AROUND);
    if bytes.len() > most {
        return Err(Error::payload_too_large(format!("the content of a Binary is larger than {most} bytes")));
    }
    Ok(holding(stated, &bytes, (id, context)))
}

/// A Binary with this content.
fn holding(content_type: &str, bytes: &[u8], (id, context): (Option<&str>, Option<&str>)) -> Json {
    let content_type = content_type.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let mut binary = object! { "resourceType": BINARY, "contentType": content_type };
    if let Some(members) = binary.as_object_mut() {
        if let Some(id) = id {
            members.insert("id", id);
        }
        if let Some(context) = context {
            members.insert("securityContext", object! { "reference": context });
        }
        if !bytes.is_empty() {
            members.insert("data", STANDARD.encode(bytes));
        }
    }
    binary
}

/// Whether it is `type/subtype`. <https://www.rfc-editor.org/rfc/rfc9110#name-media-type>
fn is_media_type(name: &str) -> bool {
    let is_token = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !part.is_empty() && part.bytes().all(fits)
    };
    name.split_once('/').is_some_and(|(first, second)| is_token(first) && is_token(second))
}

fn is_harmless(name: &str) -> bool {
    let is_of_kind = HARMLESS_KINDS.iter().any(|kind| name.starts_with(kind));
    HARMLESS.contains(&name) || (is_of_kind && !name.ends_with("xml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_run_is_not_shown() {
        for harmless in ["text/plain", "application/pdf", "image/png", "video/mp4"] {
            assert!(is_harmless(harmless), "{harmless}");
        }
        for other in ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "text/javascript", "x"] {
            assert!(!is_harmless(other), "{other}");
        }
        for bad in ["", "text", "text/", "text/plain, text/html", "a b/c", "text/pl ain"] {
            assert!(!is_media_type(bad), "{bad}");
        }
        assert!(is_media_type("application/dicom+json"));
    }

    #[test]
    fn content_becomes_a_valid_binary() {
        for (bytes, id, context) in [(&b"hi"[..], None, None), (b"", Some("a"), Some("Patient/a"))] {
            let binary = holding("text/plain;  charset=utf-8", bytes, (id, context));
            assert_eq!(validation::validate(&binary), []);
            assert_eq!(binary.str("contentType"), Some("text/plain; charset=utf-8"));
            assert_eq!((binary.str("data"), binary.str("id")), ((!bytes.is_empty()).then_some("aGk="), id));
        }
    }
}
