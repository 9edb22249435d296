//! `encode`, `decode`, `escape`, `unescape`. <https://hl7.org/fhirpath/#additional-string-functions>

use super::EvaluationError;
use super::calls::Invocation;
use super::functions::Function as F;
use super::operators::single_text;
use super::value::Value;
use crate::json::{self, Json};

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ENTITIES: [(char, &str); 5] = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&#39;")];

pub(super) fn of_text<'a>(call: &Invocation<'a, '_, '_>) -> Result<Option<Value<'a>>, EvaluationError> {
    let (Some(text), Some(form)) = (single_text(call.input)?, call.text_argument(0)?) else { return Ok(None) };
    call.evaluator.charge(text.len() / 16)?;
    let decoded = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let result = match (call.call.function, &*form) {
        (F::Encode, "hex") => Some(crate::hexadecimal(text.as_bytes())),
        (F::Encode, "base64") => Some(to_base64(text.as_bytes(), STANDARD)),
        (F::Encode, "urlbase64") => Some(to_base64(text.as_bytes(), URL_SAFE)),
        (F::Decode, "hex") => decoded(from_hex(&text)),
        (F::Decode, "base64") => decoded(from_base64(&text, STANDARD)),
        (F::Decode, "urlbase64") => decoded(from_base64(&text, URL_SAFE)),
        (F::Escape, "html") => Some(escape_html(&text)),
        (F::Escape, "json") => {
            let mut out = String::new();
            json::write_string(&text, &mut out);
            Some(out[1..out.len() - 1].to_owned())
        }
        (F::Unescape, "html") => Some(unescape_html(&text)),
        (F::Unescape, "json") => {
            let quoted = format!("\"{}\"", with_escaped_quotes(&text));
            Json::parse(quoted.as_bytes()).ok().and_then(|json| json.as_str().map(str::to_owned))
        }
        _ => None,
    };
    Ok(result.map(Value::text))
}

fn to_base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = alphabet[(group >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

fn from_base64(text: &str, alphabet: &[u8; 64]) -> Option<Vec<u8>> {
    let (mut out, mut group, mut bits) = (Vec::new(), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        group = (group << 6 | alphabet.iter().position(|digit| *digit == byte)? as u32) & 0xff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((group >> bits) as u8);
        }
    }
    Some(out)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Quotes that stand for themselves get the escape that JSON demands.
fn with_escaped_quotes(text: &str) -> String {
    let (mut out, mut escaped) = (String::with_capacity(text.len()), false);
    for character in text.chars() {
        if character == '"' && !escaped {
            out.push('\\');
        }
        escaped = character == '\\' && !escaped;
        out.push(character);
    }
    out
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match ENTITIES.iter().find(|(plain, _)| *plain == character) {
            Some((_, entity)) => out.push_str(entity),
            None => out.push(character),
        }
    }
    out
}

fn unescape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = ENTITIES.iter().find(|(_, entity)| rest.starts_with(entity));
        let (plain, length) = found.map_or(('&', 1), |(plain, entity)| (*plain, entity.len()));
        out.push(plain);
        rest = &rest[length..];
    }
    out + rest
}
