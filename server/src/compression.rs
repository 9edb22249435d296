//! Content codings, both ways: gzip, br and zstd. <https://www.rfc-editor.org/rfc/rfc9110#name-content-encoding>
//!
//! Only FHIR answers are compressed: pages hold secrets of a session that is kept by a cookie, and the length of a
//! compressed page tells about them. A FHIR request carries its token itself, so no other site can make it.

use std::io::{Read, Write as _};

use actix_web::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use actix_web::web::{Bytes, block};
use brotli::enc::BrotliEncoderParams;
use fhir::outcome::{Issue, IssueCode};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::error::Error;
use crate::rest::request;

/// Shorter bodies are sent as they are: compressing them costs more than it saves, in bytes.
const WORTH_IT: usize = 1024;
/// Longer bodies are worked on beside the threads that answer requests, in bytes.
const MAX_IN_PLACE: usize = 64 * 1024;
/// How many bytes one byte of a compressed body may become, once it is more than [`FREE`]. (IN-25)
const MAX_RATIO: usize = 100;
/// As many bytes a compressed body may become however short it is: forms and small resources repeat themselves.
const FREE: usize = 1024 * 1024;
/// Largest window of zstd, as a power of two: what RFC 9659 lets decoders demand.
const ZSTD_WINDOW: u32 = 23;

/// A content coding that this server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878
    Zstd,
    /// RFC 7932
    Brotli,
    /// RFC 1952
    Gzip,
}

/// How the client wants to have the body of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The coding it likes best, if it likes one better than none.
    pub coding: Option<Coding>,
    /// Whether it takes a body without a coding.
    pub plain: bool,
}

impl Default for Accepted {
    /// As it is.
    fn default() -> Self {
        Accepted { coding: None, plain: true }
    }
}

impl Coding {
    /// All, the best first.
    pub const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
    /// What a client may send.
    pub const NAMES: &str = "zstd, br, gzip";

    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    fn of(name: &str) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        Coding::ALL.into_iter().find(|coding| coding.name().eq_ignore_ascii_case(name))
    }

    fn encode(self, body: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(body.len() / 4);
        match self {
            Coding::Zstd => return zstd::encode_all(body, 3),
            Coding::Brotli => {
                let parameters = BrotliEncoderParams { quality: 4, lgwin: 20, ..BrotliEncoderParams::default() };
                brotli::BrotliCompress(&mut &*body, &mut out, &parameters)?;
            }
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::new(5));
                encoder.write_all(body)?;
                out = encoder.finish()?;
            }
        }
        Ok(out)
    }
}

/// What `Accept-Encoding` asks for; 406 where it takes none of ours and refuses to have none.
pub fn accepted(headers: &HeaderMap) -> Result<Accepted, Error> {
    let mut said: Vec<(&str, u16)> = Vec::new();
    for value in headers.get_all(ACCEPT_ENCODING) {
        let unreadable = |_| Error::bad_request("header Accept-Encoding holds characters that are not allowed");
        said.extend(value.to_str().map_err(unreadable)?.split(',').map(weighed).filter(|(name, _)| !name.is_empty()));
    }
    let weight =
        |name: &str| said.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, weight)| *weight);
    let (any, plain) = (weight("*"), weight("identity"));
    let is_plain = plain.or(any) != Some(0);
    // A star invites to nothing by itself: who sends it may know no coding at all.
    let unnamed = if is_plain { 0 } else { any.unwrap_or(0) };
    let weights = Coding::ALL.into_iter().map(|coding| (coding, weight(coding.name()).unwrap_or(unnamed)));
    let best = weights.reduce(|best, other| if other.1 > best.1 { other } else { best });
    let coding = best.filter(|(_, weight)| *weight > 0 && *weight >= plain.unwrap_or(0)).map(|(coding, _)| coding);
    let accepted = Accepted { coding, plain: is_plain };
    if accepted.coding.is_none() && !accepted.plain {
        let text = format!("Accept-Encoding refuses a plain body and takes none of {}", Coding::NAMES);
        return Err(Error::not_acceptable(text));
    }
    Ok(accepted)
}

/// Whether a client takes a coding that it names, and does not rather have none: for what is there in that coding.
pub fn accepts(headers: &HeaderMap, coding: Coding) -> bool {
    let said = headers.get_all(ACCEPT_ENCODING).filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
    let weights: Vec<(&str, u16)> = said.map(weighed).collect();
    let weight = |name: &str| weights.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, weight)| *weight);
    weight(coding.name()).is_some_and(|wanted| wanted > 0 && wanted >= weight("identity").unwrap_or(0))
}

/// The body of an answer in the coding that the client likes; what is short or compressed already stays as it is.
pub async fn encoded(body: Bytes, headers: &mut HeaderMap, accepted: Accepted) -> Bytes {
    let Some(coding) = accepted.coding else { return body };
    if (body.len() < WORTH_IT && accepted.plain) || body.is_empty() || !is_text(headers) {
        return body;
    }
    let same = body.clone();
    let compressed = if body.len() > MAX_IN_PLACE {
        block(move || coding.encode(&same)).await.ok().and_then(Result::ok)
    } else {
        coding.encode(&same).ok()
    };
    let Some(compressed) = compressed.filter(|it| it.len() < body.len() || !accepted.plain) else { return body };
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    Bytes::from(compressed)
}

/// The coding that `Content-Encoding` names: none, or one that this server speaks; layers of them are refused.
pub fn named(content_encoding: Option<&str>) -> Result<Option<Coding>, Error> {
    let name = content_encoding.map(str::trim).filter(|name| !name.eq_ignore_ascii_case("identity"));
    let Some(name) = name else { return Ok(None) };
    Coding::of(name).map(Some).ok_or_else(|| {
        let text = format!("Content-Encoding {name} is not supported; use one of {}, once, or none", Coding::NAMES);
        Error::unsupported_media_type(text).with_header("Accept-Encoding", Coding::NAMES)
    })
}

/// A body without its coding: at most `limit` bytes, and not more than its own length allows. (IN-25)
pub async fn decoded(body: Vec<u8>, coding: Coding, limit: usize) -> Result<Vec<u8>, Error> {
    if body.len() <= MAX_IN_PLACE {
        return decode(&body, coding, limit);
    }
    block(move || decode(&body, coding, limit)).await.map_err(Error::internal)?
}

fn decode(body: &[u8], coding: Coding, limit: usize) -> Result<Vec<u8>, Error> {
    let broken = |_| {
        let text = format!("the body is not what Content-Encoding says: {} cannot be read to its end", coding.name());
        Error::bad_request(Issue::error(IssueCode::Structure, text))
    };
    match coding {
        Coding::Gzip => bounded(MultiGzDecoder::new(body), body.len(), limit, broken),
        Coding::Brotli => bounded(brotli::Decompressor::new(body, 4096), body.len(), limit, broken),
        Coding::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(body).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(broken)?;
            bounded(decoder, body.len(), limit, broken)
        }
    }
}

/// Reads to the end, but never much more than is allowed.
fn bounded(
    mut source: impl Read,
    compressed: usize,
    limit: usize,
    broken: impl Fn(std::io::Error) -> Error,
) -> Result<Vec<u8>, Error> {
    let by_ratio = compressed.saturating_mul(MAX_RATIO).max(FREE);
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let read = source.read(&mut chunk).map_err(&broken)?;
        if read == 0 {
            return Ok(bytes);
        }
        if bytes.len() + read > limit {
            return Err(Error::payload_too_large(format!("the body without its coding is larger than {limit} bytes")));
        }
        if bytes.len() + read > by_ratio {
            let text = format!("the body becomes more than {MAX_RATIO} times as large without its coding");
            return Err(Error::payload_too_large(Issue::error(IssueCode::TooCostly, text)));
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
}

/// Name and weight of one item, the weight in thousandths; one that cannot be read is 0.
fn weighed(item: &str) -> (&str, u16) {
    let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
    let weight = parameters.split(';').find_map(|it| it.trim().strip_prefix(['q', 'Q'])?.trim().strip_prefix('='));
    (name.trim(), weight.map_or(1000, |text| request::weight(text.trim()).unwrap_or(0)))
}

fn is_text(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    !headers.contains_key(CONTENT_ENCODING) && ["json", "xml", "text/"].iter().any(|part| kind.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Result<Accepted, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
        accepted(&headers).map_err(|error| error.status().as_u16())
    }

    #[test]
    fn what_is_there_in_a_coding_is_sent_to_who_names_it() {
        for (header, taken) in [
            ("gzip", true),
            ("br, zstd, gzip;q=0.1", true),
            ("gzip;q=0", false),
            ("gzip;q=0.5, identity", false),
            ("*", false),
            ("br", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(header).unwrap());
            assert_eq!(accepts(&headers, Coding::Gzip), taken, "{header}");
        }
        assert!(!accepts(&HeaderMap::new(), Coding::Gzip));
    }

    #[test]
    fn the_best_of_what_is_accepted() {
        for (header, coding, plain) in [
            ("", None, true),
            ("gzip", Some(Coding::Gzip), true),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd), true),
            ("GZIP;q=1.0, br;q=0.9", Some(Coding::Gzip), true),
            ("identity, gzip;q=0.5", None, true),
            ("identity;q=0.5, gzip;q=0.5", Some(Coding::Gzip), true),
            ("gzip;q=0", None, true),
            ("*", None, true),
            ("identity;q=0, *;q=0.2", Some(Coding::Zstd), false),
            ("br, *;q=0", Some(Coding::Brotli), false),
            ("compress", None, true),
            ("gzip;q=2, br", Some(Coding::Brotli), true),
        ] {
            assert_eq!(of(header), Ok(Accepted { coding, plain }), "{header}");
        }
        assert_eq!(of("identity;q=0"), Err(406));
        assert_eq!(of("*;q=0"), Err(406));
        assert!(accepted(&HeaderMap::new()).unwrap().coding.is_none());
    }

    #[test]
    fn in_25_what_one_writes_the_other_reads_within_bounds() {
        let text: Vec<u8> =
            (0..60_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_string().into_bytes()).collect();
        for coding in Coding::ALL {
            let body = coding.encode(&text).unwrap();
            assert!(body.len() < text.len());
            assert_eq!(decode(&body, coding, text.len()).unwrap(), text, "{coding:?}");
            assert_eq!(decode(&body, coding, text.len() - 1).unwrap_err().status(), 413, "{coding:?}");
            assert_eq!(decode(&body[..body.len() / 2], coding, text.len()).unwrap_err().status(), 400, "{coding:?}");
            assert_eq!(
                decode(b"{\"resourceType\":\"Patient\"}", coding, 1000).unwrap_err().status(),
                400,
                "{coding:?}"
            );
            let bomb = coding.encode(&vec![b' '; 50 * FREE]).unwrap();
            let refused = decode(&bomb, coding, usize::MAX).unwrap_err();
            assert_eq!(
                (refused.status().as_u16(), refused.issues()[0].code),
                (413, IssueCode::TooCostly),
                "{coding:?}"
            );
        }
    }

    #[test]
    fn one_layer_by_name() {
        assert_eq!(named(None).unwrap(), None);
        assert_eq!(named(Some("identity")).unwrap(), None);
        assert_eq!(named(Some("X-GZIP")).unwrap(), Some(Coding::Gzip));
        assert_eq!(named(Some("br")).unwrap(), Some(Coding::Brotli));
        for bad in ["deflate", "compress", "gzip, gzip", ""] {
            assert_eq!(named(Some(bad)).unwrap_err().status(), 415, "{bad}");
        }
    }
}
