//! In which format and spelling the client wants the answer: `_format`, `_pretty`, `Accept`.
//! <https://hl7.org/fhir/R4/http.html#mime-type>, <https://www.rfc-editor.org/rfc/rfc9110#name-accept>

use actix_web::HttpRequest;
use actix_web::http::header;
use fhir::outcome::{Issue, IssueCode};

use crate::error::Error;
use crate::rest::request::{self, media_type, weight};

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
    /// Which Content-Type it has: who asks for a generic media type gets that.
    pub content_type: &'static str,
    /// With indentation.
    pub pretty: bool,
}

/// A media type under which a format goes.
struct Spelling {
    name: &'static str,
    format: Format,
    content_type: &'static str,
}

/// All that are understood, those that are given where the client does not care first; the last two are of DSTU2.
const SPELLINGS: &[Spelling] = &[
    spelling("application/fhir+json", Format::Json, JSON),
    spelling("application/fhir+xml", Format::Xml, XML),
    spelling("application/json", Format::Json, "application/json; charset=utf-8"),
    spelling("application/xml", Format::Xml, "application/xml; charset=utf-8"),
    spelling("text/json", Format::Json, "text/json; charset=utf-8"),
    spelling("text/xml", Format::Xml, "text/xml; charset=utf-8"),
    spelling("application/json+fhir", Format::Json, JSON),
    spelling("application/xml+fhir", Format::Xml, XML),
];

/// What the server can produce, for messages.
const KNOWN: &str = "application/fhir+json and application/fhir+xml in UTF-8, FHIR 4.0";

const fn spelling(name: &'static str, format: Format, content_type: &'static str) -> Spelling {
    Spelling { name, format, content_type }
}

impl Format {
    /// The format of a media type, without parameters, or of its short name.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "json" => Some(Format::Json),
            "xml" => Some(Format::Xml),
            name => Self::of_media_type(name),
        }
    }

    /// The format of a media type, without parameters: a short name is for `_format` only.
    pub fn of_media_type(name: &str) -> Option<Self> {
        SPELLINGS.iter().find(|spelling| spelling.name == name).map(|spelling| spelling.format)
    }

    /// Its own Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => JSON,
            Format::Xml => XML,
        }
    }
}

impl Presentation {
    /// FHIR JSON without indentation: stored texts are this.
    pub const STORED: Presentation = Presentation { format: Format::Json, content_type: JSON, pretty: false };

    /// What `_format`, `_pretty` and `Accept` ask for.
    pub fn of(request: &HttpRequest) -> Result<Self, Error> {
        match request.query_string() {
            "" => Self::with(request, &[]),
            query => Self::with(request, &request::pairs(query)?),
        }
    }

    /// How an error is presented, also where the request does not say it in a way that can be understood.
    pub fn of_error(request: &HttpRequest) -> Self {
        Self::of(request).or_else(|_| accepted(request)).unwrap_or(Self::STORED)
    }

    /// The same with parameters that are read already.
    pub fn with(request: &HttpRequest, pairs: &[(String, String)]) -> Result<Self, Error> {
        let presentation = match only(pairs, "_format")?.filter(|value| !value.is_empty()) {
            // A + in a media type that was not encoded has become a space.
            Some(value) => named(&value.replace(' ', "+"))?,
            None => accepted(request)?,
        };
        accepts_utf8(request)?;
        let pretty = only(pairs, "_pretty")?.map_or(Ok(false), boolean)?;
        Ok(Presentation { pretty, ..presentation })
    }
}

/// The value of a parameter that must not be given twice.
fn only<'a>(pairs: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, Error> {
    let mut values = pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let value = values.next();
    if values.next().is_some() {
        let text = format!("{name} is given more than once; give it once");
        return Err(Error::bad_request(Issue::error(IssueCode::Invalid, text)));
    }
    Ok(value)
}

/// The format that `_format` names; a media type or its short name.
fn named(value: &str) -> Result<Presentation, Error> {
    let (name, parameters) = media_type(value);
    let spelling = SPELLINGS.iter().find(|spelling| spelling.name == name);
    let format = Format::of(&name).filter(|_| is_ours(&parameters));
    let format = format
        .ok_or_else(|| Error::not_acceptable(format!("_format {value} is not supported; known: json, xml, {KNOWN}")))?;
    let content_type = spelling.map_or(format.content_type(), |spelling| spelling.content_type);
    Ok(Presentation { format, content_type, pretty: false })
}

/// The best spelling for the `Accept` header: the weight of each is that of the most specific range that holds it.
fn accepted(request: &HttpRequest) -> Result<Presentation, Error> {
    let mut ranges = Vec::new();
    for value in request.headers().get_all(header::ACCEPT) {
        let value = value.to_str().map_err(|_| {
            Error::bad_request(Issue::error(IssueCode::Value, "header Accept holds characters that are not allowed"))
        })?;
        ranges.extend(value.split(',').filter(|range| !range.trim().is_empty()).map(media_type));
    }
    if ranges.is_empty() {
        return Ok(Presentation::STORED);
    }
    let mut best: Option<((u16, u8), usize, &Spelling)> = None;
    for spelling in SPELLINGS {
        let holding = ranges.iter().enumerate().filter_map(|(place, (range, parameters))| {
            let specific = specificity(range, spelling.name).filter(|_| is_ours(parameters))?;
            Some((specific, place, quality(parameters)))
        });
        // Of ranges that are equally specific the first counts.
        let Some((specific, place, quality)) = holding.reduce(|one, other| if other.0 > one.0 { other } else { one })
        else {
            continue;
        };
        let rank = (quality, specific);
        let better = best.is_none_or(|(other, at, _)| rank > other || (rank == other && place < at));
        if quality > 0 && better {
            best = Some((rank, place, spelling));
        }
    }
    let (.., spelling) = best.ok_or_else(|| Error::not_acceptable(format!("Accept takes none of {KNOWN}")))?;
    Ok(Presentation { format: spelling.format, content_type: spelling.content_type, pretty: false })
}

/// Whether `Accept` names a format of FHIR by its own name, and takes it at least as well as a `media_type` that is none.
pub fn wants_fhir(request: &HttpRequest, media_type: &str) -> bool {
    let (name, _) = request::media_type(media_type);
    let values = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let ranges: Vec<_> = values.flat_map(|value| value.split(',')).map(request::media_type).collect();
    let is_named = |range: &str| SPELLINGS.iter().any(|spelling| spelling.name == range);
    let named = ranges.iter().filter(|(range, _)| is_named(range)).map(|(_, parameters)| quality(parameters)).max();
    let holding = ranges.iter().filter_map(|(range, parameters)| {
        let specific = specificity(range, &name).filter(|_| !is_named(range))?;
        Some((specific, quality(parameters)))
    });
    let other = holding.max_by_key(|(specific, _)| *specific).map_or(0, |(_, quality)| quality);
    named.is_some_and(|named| named > 0 && named >= other)
}

/// How precisely a media range names a media type: 2 itself, 1 its first half, 0 anything.
fn specificity(range: &str, name: &str) -> Option<u8> {
    match range.strip_suffix('*') {
        Some("*/") => Some(0),
        Some(half) if half.ends_with('/') => name.starts_with(half).then_some(1),
        _ => (range == name).then_some(2),
    }
}

/// `Accept-Charset` is out of use, but who takes no UTF-8 cannot read any answer.
fn accepts_utf8(request: &HttpRequest) -> Result<(), Error> {
    let Some(value) = request::header(request, header::ACCEPT_CHARSET.as_str())? else { return Ok(()) };
    let ranges: Vec<_> = value.split(',').map(media_type).filter(|(name, _)| !name.is_empty()).collect();
    let of = |name: &str| ranges.iter().find(|(known, _)| known == name).map(|(_, parameters)| quality(parameters));
    match of("utf-8").or_else(|| of("*")) {
        Some(0) => {}
        None if !ranges.is_empty() => {}
        _ => return Ok(()),
    }
    Err(Error::not_acceptable("Accept-Charset does not take UTF-8, which FHIR is written in"))
}

/// The weight of a media range in thousandths; one that cannot be read is 0.
fn quality(parameters: &[(String, String)]) -> u16 {
    let text = parameters.iter().find(|(name, _)| name == "q").map(|(_, text)| text);
    text.map_or(1000, |text| weight(text).unwrap_or(0))
}

/// Whether the parameters of a media type are what every answer is: FHIR 4.0 in UTF-8.
pub fn is_ours(parameters: &[(String, String)]) -> bool {
    parameters.iter().all(|(name, value)| match name.as_str() {
        "fhirversion" => matches!(value.as_str(), "4.0" | "4.0.1"),
        "charset" => matches!(value.as_str(), "utf-8" | "utf8"),
        _ => true,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn accept(value: &str) -> Result<&'static str, u16> {
        let request = TestRequest::get().uri("/").insert_header(("Accept", value)).to_http_request();
        let presentation = Presentation::of(&request).map_err(|error| error.status().as_u16())?;
        Ok(presentation.content_type.split(';').next().unwrap())
    }

    #[test]
    fn in_30_accept_is_weighed() {
        for (value, expected) in [
            ("", Ok("application/fhir+json")),
            ("*/*", Ok("application/fhir+json")),
            ("application/*", Ok("application/fhir+json")),
            ("text/*", Ok("text/json")),
            ("application/fhir+xml", Ok("application/fhir+xml")),
            ("APPLICATION/FHIR+XML", Ok("application/fhir+xml")),
            ("application/json", Ok("application/json")),
            ("text/xml", Ok("text/xml")),
            ("application/json+fhir", Ok("application/fhir+json")),
            ("application/fhir+xml;q=0.5, application/fhir+json;q=0.9", Ok("application/fhir+json")),
            ("application/fhir+xml, application/fhir+json", Ok("application/fhir+xml")),
            ("text/html, application/xml;q=0.9, */*;q=0.1", Ok("application/xml")),
            ("application/fhir+json;q=0, */*", Ok("application/fhir+xml")),
            ("*/*;q=0.1, application/*;q=0", Ok("text/json")),
            ("application/fhir+json; fhirVersion=4.0", Ok("application/fhir+json")),
            ("application/fhir+json; charset=utf-8", Ok("application/fhir+json")),
            (
                "application/fhir+json; fhirVersion=5.0, application/fhir+xml; fhirVersion=4.0",
                Ok("application/fhir+xml"),
            ),
            ("application/fhir+json; fhirVersion=5.0", Err(406)),
            ("application/fhir+json; charset=utf-16", Err(406)),
            ("text/html", Err(406)),
            ("text/turtle", Err(406)),
            ("application/json;q=0", Err(406)),
            ("application/json;q=2", Err(406)),
            ("json", Err(406)),
        ] {
            assert_eq!(accept(value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_no_fhir_is_wanted_unless_fhir_is_named() {
        let of = |value: &str, media_type: &str| {
            let request = TestRequest::get().uri("/").insert_header(("Accept", value)).to_http_request();
            wants_fhir(&request, media_type)
        };
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("application/*", false),
            ("text/plain", false),
            ("image/png", false),
            ("application/fhir+json", true),
            ("application/xml", true),
            ("application/fhir+json;q=0, */*", false),
            ("application/fhir+json, text/plain", true),
            ("application/fhir+json;q=0.5, text/plain", false),
            ("application/fhir+json;q=0.5, */*;q=0.1", true),
            ("text/html, application/xml;q=0.9, */*;q=0.8", true),
            ("text/plain, application/xml;q=0.9, */*;q=0.8", false),
        ] {
            assert_eq!(of(accept, "text/plain; charset=utf-8"), expected, "{accept}");
        }
        assert!(of("application/json", "application/json"), "the name is FHIR's first");
    }

    #[test]
    fn format_parameter_beats_accept() {
        let of = |uri: &str| {
            let request =
                TestRequest::get().uri(uri).insert_header(("Accept", "application/fhir+xml")).to_http_request();
            Presentation::of(&request).map_err(|error| error.status().as_u16())
        };
        assert_eq!(of("/?_format=json"), Ok(Presentation::STORED));
        assert!(of("/?_format=application/fhir+json&_pretty=true").unwrap().pretty);
        assert_eq!(of("/?_format=application/json").unwrap().content_type, "application/json; charset=utf-8");
        assert_eq!(of("/?_format=text%2Fxml%3Bcharset%3Dutf-8").unwrap().format, Format::Xml);
        for bad in ["turtle", "ttl", "html", "text/html", "application/fhir+json;fhirVersion=3.0", "*/*"] {
            assert_eq!(of(&format!("/?_format={bad}")), Err(406), "{bad}");
        }
        assert_eq!(of("/?_format=").unwrap().format, Format::Xml, "a parameter without a value says nothing");
        assert_eq!(of("/?_pretty=maybe"), Err(400));
        assert_eq!(of("/?_format=json&_format=xml"), Err(400));
    }

    #[test]
    fn who_takes_no_utf8_is_told() {
        let of = |value: &str| {
            let request = TestRequest::get().uri("/").insert_header(("Accept-Charset", value)).to_http_request();
            Presentation::of(&request).map(|_| ()).map_err(|error| error.status().as_u16())
        };
        for good in ["utf-8", "UTF-8, *;q=0", "*", "iso-8859-1, utf-8;q=0.5", ""] {
            assert_eq!(of(good), Ok(()), "{good}");
        }
        for bad in ["iso-8859-1", "utf-8;q=0", "*;q=0"] {
            assert_eq!(of(bad), Err(406), "{bad}");
        }
    }
}
