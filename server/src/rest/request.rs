//! What a request says: path, parameters, headers, body. <https://hl7.org/fhir/R4/http.html#general>
//!
//! Nothing is guessed: what is malformed or not supported is an error that names it.

use actix_web::http::{Uri, header};
use actix_web::{HttpRequest, web};
use fhir::definitions::{is_resource_type, resource_types};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use futures::StreamExt;
use percent_encoding::percent_decode_str;
use search::parse::elements_of;
use search::query::Elements;

use crate::compression;
use crate::error::Error;
use crate::rest::response::{Format, is_ours};

/// Largest body of a single resource (IN-07), where the setting `max-body` is not lower.
pub const MAX_RESOURCE: usize = 5 * 1024 * 1024;

/// Most characters of a query string or form. (IN-17)
const MAX_QUERY: usize = 64 * 1024;

/// Most bytes of an address with its parameters. The HTTP library has a bound of its own, above which nobody is told
/// why: this one is reached before.
const MAX_ADDRESS: usize = 32 * 1024;

/// Parameters that every interaction knows. <https://hl7.org/fhir/R4/http.html#parameters>
const GENERAL: &[&str] = &["_format", "_pretty"];

/// Names and values of a query string or form.
pub type Pairs = Vec<(String, String)>;

/// What the client prefers; what it does not say has the server's default. <https://hl7.org/fhir/R4/http.html#ops>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    /// `return=`.
    pub returned: Option<Return>,
    /// `handling=lenient`.
    pub lenient: bool,
    /// `respond-async`.
    pub respond_async: bool,
}

/// What the body of an answer to a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Nothing.
    Minimal,
    /// The resource.
    Representation,
    /// An OperationOutcome.
    OperationOutcome,
}

/// A segment of the path as actix-web matched it.
pub fn segment<'a>(request: &'a HttpRequest, name: &str) -> &'a str {
    request.match_info().get(name).unwrap_or_default()
}

/// The resource type in the path; 404 where there is none of that name.
pub fn resource_type(request: &HttpRequest) -> Result<&str, Error> {
    let name = segment(request, "type");
    known_type(name).map(|()| name)
}

/// 404 where `name` is not a resource type of R4.
pub fn known_type(name: &str) -> Result<(), Error> {
    if is_resource_type(name) {
        return Ok(());
    }
    if name.starts_with(['$', '_']) {
        return Err(Error::not_found(Issue::error(IssueCode::NotSupported, format!("{name} is not supported"))));
    }
    let same = resource_types().iter().find(|known| known.eq_ignore_ascii_case(name));
    let hint = same.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
    let text = format!("{name} is not a resource type of FHIR R4{hint}");
    Err(Error::not_found(Issue::error(IssueCode::NotSupported, text)))
}

/// The logical id in the path.
pub fn id(request: &HttpRequest) -> Result<&str, Error> {
    let id = segment(request, "id");
    valid_id(id).map(|()| id)
}

/// 400 where `id` cannot be a logical id (IN-20); operations say that they are not supported.
pub fn valid_id(id: &str) -> Result<(), Error> {
    if fhir::id::is_valid(id) {
        return Ok(());
    }
    if id.starts_with(['$', '_']) {
        return Err(Error::not_found(Issue::error(IssueCode::NotSupported, format!("{id} is not supported here"))));
    }
    let text = "the logical id must be 1 to 64 letters, digits, - and .";
    Err(Error::bad_request(Issue::error(IssueCode::Value, text)))
}

/// The version id as a number. None where it cannot be one: that is answered like a version that does not exist.
pub fn version(text: &str) -> Option<i64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| canonical)
}

/// Refuses an address that is too long; what needs more room has a form (`POST _search`).
pub fn check_address(address: &Uri) -> Result<(), Error> {
    if address.path_and_query().is_none_or(|it| it.as_str().len() <= MAX_ADDRESS) {
        return Ok(());
    }
    let text = format!("the address is longer than {MAX_ADDRESS} bytes; search with POST and a form");
    Err(Error::uri_too_long(text))
}

/// Names and values of a query string or form, percent-decoded; anything but UTF-8 is refused.
pub fn pairs(text: &str) -> Result<Pairs, Error> {
    if text.len() > MAX_QUERY {
        let text = format!("the parameters are longer than {MAX_QUERY} bytes");
        return Err(Error::bad_request(Issue::error(IssueCode::TooCostly, text)));
    }
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// The parameters of a search without those that concern the format.
pub fn without_general(pairs: Pairs) -> Pairs {
    pairs.into_iter().filter(|(name, _)| !GENERAL.contains(&name.as_str())).collect()
}

/// Refuses every parameter but `_format`, `_pretty` and those in `allowed`; returns the allowed ones.
pub fn only(query: &str, allowed: &[&str]) -> Result<Pairs, Error> {
    if query.is_empty() {
        return Ok(Pairs::new());
    }
    let pairs = without_general(pairs(query)?);
    let unknown: Vec<Issue> = pairs
        .iter()
        .filter(|(name, _)| !allowed.contains(&name.as_str()))
        .map(|(name, _)| {
            let known = GENERAL.iter().chain(allowed).copied().collect::<Vec<_>>().join(", ");
            Issue::error(IssueCode::NotSupported, format!("parameter {name} is not supported here; known: {known}"))
        })
        .collect();
    if unknown.is_empty() { Ok(pairs) } else { Err(Error::bad_request(unknown)) }
}

/// Which elements `_summary` and `_elements` ask for; every other parameter is refused.
pub fn elements(query: &str, resource_type: &str) -> Result<Elements, Error> {
    let pairs = only(query, &["_summary", "_elements"])?;
    elements_of(Some(resource_type), &pairs).map_err(Error::bad_request)
}

/// A header as text; 400 where it is no ASCII text, or is there twice and says different things.
pub fn header<'a>(request: &'a HttpRequest, name: &str) -> Result<Option<&'a str>, Error> {
    let invalid = |text: String| Error::bad_request(Issue::error(IssueCode::Value, text));
    let mut values = request.headers().get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.any(|other| other != value) {
        return Err(invalid(format!("header {name} is given more than once; give it once")));
    }
    let text = value.to_str().map_err(|_| invalid(format!("header {name} holds characters that are not allowed")))?;
    Ok(Some(text))
}

/// A weight (`q=`) in thousandths. <https://www.rfc-editor.org/rfc/rfc9110#name-quality-values>
pub fn weight(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part: u16 = format!("{part:0<3}").parse().ok().filter(|_| digits)?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

/// The `Prefer` header: the first of each counts, what is not known is ignored. <https://www.rfc-editor.org/rfc/rfc7240>
pub fn prefer(request: &HttpRequest) -> Prefer {
    let values = request.headers().get_all("Prefer").filter_map(|value| value.to_str().ok());
    let mut seen: Vec<String> = Vec::new();
    let mut prefer = Prefer::default();
    for wish in values.flat_map(|value| value.split(',')) {
        let wish = wish.split(';').next().unwrap_or_default();
        let (name, value) = wish.split_once('=').unwrap_or((wish, ""));
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
        if seen.contains(&name) {
            continue;
        }
        match (name.as_str(), value) {
            ("return", "minimal") => prefer.returned = Some(Return::Minimal),
            ("return", "representation") => prefer.returned = Some(Return::Representation),
            ("return", "OperationOutcome") => prefer.returned = Some(Return::OperationOutcome),
            ("handling", "lenient") => prefer.lenient = true,
            ("respond-async", "") => prefer.respond_async = true,
            _ => {}
        }
        seen.push(name);
    }
    prefer
}

/// The body as a resource, JSON or XML.
pub async fn resource(request: &HttpRequest, payload: web::Payload, limit: usize) -> Result<Json, Error> {
    sized_resource(request, payload, limit).await.map(|(resource, _)| resource)
}

/// The same, and how many bytes it had.
pub async fn sized_resource(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<(Json, usize), Error> {
    let format = body_format(request)?;
    let body = body(request, payload, limit).await?;
    Ok((parsed(format, &body)?, body.len()))
}

/// A resource in this format.
pub fn parsed(format: Format, bytes: &[u8]) -> Result<Json, Error> {
    match format {
        Format::Json => Json::parse(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
            .map_err(|error| Error::bad_request(Issue::error(IssueCode::Structure, format!("JSON: {error}")))),
        Format::Xml => fhir::xml::to_json(bytes)
            .map_err(|error| Error::bad_request(Issue::error(IssueCode::Structure, format!("XML: {error}")))),
    }
}

/// The bytes of the body without its content coding, at most `limit`. (IN-25)
pub async fn body(request: &HttpRequest, mut payload: web::Payload, limit: usize) -> Result<Vec<u8>, Error> {
    let coding = compression::named(header(request, "Content-Encoding")?)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Error::bad_request("the body broke off"))?;
        if bytes.len() + chunk.len() > limit {
            return Err(Error::payload_too_large(format!("the body is larger than {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    match coding {
        None => Ok(bytes),
        Some(coding) => compression::decoded(bytes, coding, limit).await,
    }
}

/// The fields of a form (`POST _search`); an empty body needs no Content-Type.
pub async fn form(request: &HttpRequest, payload: web::Payload) -> Result<Pairs, Error> {
    let media_type = header(request, header::CONTENT_TYPE.as_str())?.map(media_type);
    let bytes = body(request, payload, MAX_QUERY).await?;
    match media_type {
        Some((name, _)) if name == "application/x-www-form-urlencoded" => {}
        None if bytes.is_empty() => {}
        _ => return Err(Error::unsupported_media_type("send application/x-www-form-urlencoded")),
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::bad_request("the form is not UTF-8"))?;
    pairs(text)
}

/// Media type in lower case, and its parameters.
pub fn media_type(value: &str) -> (String, Vec<(String, String)>) {
    let mut parts = value.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let parameter = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_ascii_lowercase()))
    };
    (name, parts.filter_map(parameter).collect())
}

/// The format of the body; what is no FHIR R4 in UTF-8 is refused.
pub fn body_format(request: &HttpRequest) -> Result<Format, Error> {
    let wanted = "application/fhir+json or application/fhir+xml";
    let Some(value) = header(request, header::CONTENT_TYPE.as_str())? else {
        return Err(Error::unsupported_media_type(format!("Content-Type is missing; send {wanted}")));
    };
    let (name, parameters) = media_type(value);
    if let Some((name, value)) = parameters.iter().find(|parameter| !is_ours(std::slice::from_ref(parameter))) {
        return Err(Error::unsupported_media_type(format!("{name}={value} is not supported; send UTF-8, FHIR 4.0")));
    }
    Format::of_media_type(&name)
        .ok_or_else(|| Error::unsupported_media_type(format!("{name} is not supported; send {wanted}")))
}

fn decoded(text: &str) -> Result<String, Error> {
    let invalid = |what: &str| Error::bad_request(Issue::error(IssueCode::Invalid, what));
    let bytes = text.as_bytes();
    let broken =
        |index: usize| !bytes.get(index + 1..index + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if bytes.iter().enumerate().any(|(index, byte)| *byte == b'%' && broken(index)) {
        return Err(invalid("a % in the parameters is not followed by two hexadecimal digits"));
    }
    let text = text.replace('+', " ");
    let text = percent_decode_str(&text).decode_utf8().map_err(|_| invalid("the parameters are not UTF-8"))?;
    if text.contains('\0') { Err(invalid("the parameters hold U+0000")) } else { Ok(text.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn parameters_are_decoded_once_and_strictly() {
        let decoded = pairs("name=a%2Cb+c&&code=http://x|1&flag").unwrap();
        let expected = [("name", "a,b c"), ("code", "http://x|1"), ("flag", "")];
        assert_eq!(decoded, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff", "a=%00", "%=1"] {
            assert_eq!(pairs(bad).unwrap_err().status(), 400, "{bad}");
        }
    }

    #[test]
    fn unknown_parameters_are_refused_by_name() {
        assert!(only("_format=json&_pretty=true", &[]).unwrap().is_empty());
        let error = only("_summary=true&x=1", &[]).unwrap_err();
        assert_eq!(error.issues().len(), 2);
        assert!(error.to_string().contains("_summary"));
        assert_eq!(only("_count=5", &["_count"]).unwrap().len(), 1);
    }

    #[test]
    fn preferences() {
        let of = |values: &[&str]| {
            let request = values.iter().fold(TestRequest::default(), |it, value| it.append_header(("Prefer", *value)));
            prefer(&request.to_http_request())
        };
        let both = Prefer { returned: Some(Return::Minimal), lenient: true, respond_async: false };
        assert_eq!(of(&["return=minimal; foo=bar, handling=lenient"]), both);
        assert_eq!(of(&["Return = \"minimal\"", "Handling=lenient"]), both);
        assert_eq!(of(&["handling=strict, handling=lenient"]), Prefer::default(), "the first counts");
        assert_eq!(of(&["handling=odd, return=some, wait=5"]), Prefer::default());
        let later = Prefer { respond_async: true, ..Prefer::default() };
        for asked in ["respond-async", "wait=5, Respond-Async; wait=10", "return=odd, respond-async"] {
            assert_eq!(of(&[asked]), later, "{asked}");
        }
        assert_eq!(of(&["handling=lenient", "respond-async"]), Prefer { lenient: true, ..later });
        let parameter = Prefer { returned: Some(Return::Minimal), ..Prefer::default() };
        assert_eq!(of(&["return=minimal; respond-async"]), parameter, "a parameter of another preference");
        assert_eq!(of(&["respond-asynchronously"]), Prefer::default());
    }

    #[test]
    fn weights_have_three_decimals() {
        for (text, value) in [("1", 1000), ("1.000", 1000), ("0", 0), ("0.", 0), ("0.5", 500), ("0.123", 123)] {
            assert_eq!(weight(text), Some(value), "{text}");
        }
        for bad in ["", "2", "1.001", "0.1234", "-0", ".5", "0.x", "0.5.1", "+1"] {
            assert_eq!(weight(bad), None, "{bad}");
        }
    }

    #[test]
    fn in_30_bodies_of_other_kinds_are_415() {
        let format =
            |value: &str| body_format(&TestRequest::default().insert_header(("Content-Type", value)).to_http_request());
        assert_eq!(format("application/fhir+json; charset=UTF-8").unwrap(), Format::Json);
        assert_eq!(format("application/fhir+xml;fhirVersion=4.0").unwrap(), Format::Xml);
        assert_eq!(format("text/json;fhirVersion=4.0.1").unwrap(), Format::Json);
        for bad in [
            "text/plain",
            "application/fhir+json; charset=utf-16",
            "application/json; fhirVersion=5.0",
            "application/json; fhirVersion=4.01",
            "json",
            "xml",
            "",
        ] {
            assert_eq!(format(bad).unwrap_err().status(), 415, "{bad}");
        }
        assert_eq!(body_format(&TestRequest::default().to_http_request()).unwrap_err().status(), 415);
    }

    #[test]
    fn versions_have_one_spelling() {
        assert_eq!(version("12"), Some(12));
        for bad in ["", "0", "01", "-1", "+1", "1.0", "99999999999999999999"] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }

    #[test]
    fn in_20_ids() {
        assert!(valid_id("a-1.B").is_ok());
        assert_eq!(valid_id("$everything").unwrap_err().status(), 404);
        for bad in ["", ".", "..", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(valid_id(bad).unwrap_err().status(), 400, "{bad}");
        }
    }
}
