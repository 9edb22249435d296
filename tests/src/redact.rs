//! What differs from run to run, replaced by its name, so that an answer can stand in a snapshot.

use fhir::json::Json;

use crate::client::Answer;

/// Status line and pretty body, with the server's address, ids, instants and versions replaced.
pub fn answer(answer: &Answer) -> String {
    match Json::parse(answer.bytes()) {
        Ok(body) => format!("{}\n{}", answer.status, text(&body.to_pretty())),
        Err(_) => format!("{}\n{}", answer.status, text(&answer.text())),
    }
}

/// A page of a search, with the position in its links replaced too: engines may note it as they like.
pub fn page(page: &Answer) -> String {
    let text = answer(page);
    let mut parts = text.split("_cursor=");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("_cursor=[cursor]");
        out.push_str(
            part.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || "-_.~%=".contains(letter)),
        );
    }
    out
}

/// The text with `[origin]`, `[uuid]` and `[instant]` in place of what stands there.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let found = [(origin(rest), "[origin]"), (uuid(rest), "[uuid]"), (instant(rest), "[instant]")]
            .into_iter()
            .find(|(length, _)| *length > 0);
        let length = if let Some((length, name)) = found {
            out.push_str(name);
            length
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    out
}

/// Length of `http://127.0.0.1:PORT` at the start of `text`, else 0.
fn origin(text: &str) -> usize {
    const HOST: &str = "http://127.0.0.1:";
    let Some(rest) = text.strip_prefix(HOST) else { return 0 };
    HOST.len() + rest.bytes().take_while(u8::is_ascii_digit).count()
}

/// Length of a UUID at the start of `text`, else 0.
fn uuid(text: &str) -> usize {
    let shape = |(index, byte): (usize, &u8)| match index {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.as_bytes().get(..36).filter(|bytes| bytes.iter().enumerate().all(shape)).map_or(0, <[u8]>::len)
}

/// Length of an instant with microseconds in UTC at the start of `text`, else 0.
fn instant(text: &str) -> usize {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd.ddddddZ";
    let matches = |(shape, byte): (&u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { shape == byte };
    text.as_bytes().get(..SHAPE.len()).filter(|bytes| SHAPE.iter().zip(*bytes).all(matches)).map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_varies_is_named() {
        let text =
            "http://127.0.0.1:40123/fhir/Patient/0190f5d4-7b1a-7000-8000-000000000001 at 2026-01-02T03:04:05.678901Z é";
        assert_eq!(super::text(text), "[origin]/fhir/Patient/[uuid] at [instant] é");
    }
}
