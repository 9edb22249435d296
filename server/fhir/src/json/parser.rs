//! Reads JSON text into a document. <https://www.rfc-editor.org/rfc/rfc8259>

use super::{Json, JsonError, Object};

/// From this many members on, duplicate names are found by sorting instead of comparing pairs.
const PAIRWISE_LIMIT: usize = 16;

/// Reads a document whose arrays and objects are nested `deepest` levels at most.
pub(super) fn parse(text: &[u8], deepest: usize) -> Result<Json, JsonError> {
    let text = std::str::from_utf8(text)
        .map_err(|error| JsonError { offset: error.valid_up_to(), message: "not UTF-8".into() })?;
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, deepest };
    parser.skip_space();
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.at < parser.bytes.len() {
        return Err(parser.error("text after the end of the document"));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    deepest: usize,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Json::Bool(true)),
            Some(b'f') => self.literal("false", Json::Bool(false)),
            Some(b'n') => self.literal("null", Json::Null),
            Some(_) => Err(self.error("a JSON value was expected")),
            None => Err(self.error("the document ends where a JSON value was expected")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.enter(depth)?;
        let mut members: Vec<(Box<str>, Json)> = Vec::new();
        if self.leave_if(b'}') {
            return Ok(Json::Object(Object { members }));
        }
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.error("a member name in double quotes was expected"));
            }
            let name = self.string()?;
            if members.len() < PAIRWISE_LIMIT && members.iter().any(|(seen, _)| *seen == name) {
                return Err(duplicate(&name, start));
            }
            self.skip_space();
            if !self.take(b':') {
                return Err(self.error("':' was expected after the member name"));
            }
            self.skip_space();
            let value = self.value(depth + 1)?;
            members.push((name, value));
            if self.end_of_item(b'}', "',' or '}' was expected")? {
                if members.len() > PAIRWISE_LIMIT {
                    self.refuse_duplicates(&members)?;
                }
                return Ok(Json::Object(Object { members }));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.enter(depth)?;
        let mut items = Vec::new();
        if self.leave_if(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.end_of_item(b']', "',' or ']' was expected")? {
                return Ok(Json::Array(items));
            }
        }
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth >= self.deepest {
            return Err(self.error(&format!("nested deeper than {} levels", self.deepest)));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn leave_if(&mut self, close: u8) -> bool {
        self.take(close)
    }

    /// Consumes `,` (false: another item follows) or `close` (true).
    fn end_of_item(&mut self, close: u8, expected: &str) -> Result<bool, JsonError> {
        self.skip_space();
        if self.take(close) {
            return Ok(true);
        }
        if !self.take(b',') {
            return Err(self.error(expected));
        }
        self.skip_space();
        Ok(false)
    }

    fn refuse_duplicates(&self, members: &[(Box<str>, Json)]) -> Result<(), JsonError> {
        let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(duplicate(pair[0], self.at)),
            None => Ok(()),
        }
    }

    fn string(&mut self) -> Result<Box<str>, JsonError> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(text.into());
                }
                Some(b'\\') => return self.escaped_string(start),
                Some(0..0x20) => return Err(self.error("a control character inside a string must be escaped")),
                Some(_) => self.at += 1,
                None => return Err(self.error("the document ends inside a string")),
            }
        }
    }

    fn escaped_string(&mut self, start: usize) -> Result<Box<str>, JsonError> {
        let mut text = String::from(&self.text[start..self.at]);
        loop {
            let run = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..0x20)) {
                self.at += 1;
            }
            text.push_str(&self.text[run..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text.into());
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err(self.error("a control character inside a string must be escaped")),
                None => return Err(self.error("the document ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.at += 2;
        let plain = match self.bytes.get(start + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(start),
            _ => return Err(JsonError { offset: start, message: "unknown escape in a string".into() }),
        };
        Ok(plain)
    }

    fn unicode_escape(&mut self, start: usize) -> Result<char, JsonError> {
        let error = |message: &str| JsonError { offset: start, message: message.into() };
        let high = self.hex4().ok_or_else(|| error("\\u needs four hexadecimal digits"))?;
        let code = match high {
            0 => return Err(error("U+0000 is not allowed in FHIR strings")),
            0xD800..=0xDBFF => {
                let low = if self.take(b'\\') && self.take(b'u') { self.hex4() } else { None };
                match low {
                    Some(low @ 0xDC00..=0xDFFF) => 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00),
                    _ => return Err(error("a high surrogate without its low surrogate")),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| error("a low surrogate without its high surrogate"))
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        let value = digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))?;
        self.at += 4;
        Some(value)
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
        self.take(b'-');
        if self.take(b'0') {
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.error("a number must not start with a superfluous zero"));
            }
        } else {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(Json::Number(self.text[start..self.at].into()))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("a digit was expected")) } else { Ok(()) }
    }

    fn literal(&mut self, word: &str, value: Json) -> Result<Json, JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.error("a JSON value was expected"))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error(&self, message: &str) -> JsonError {
        JsonError { offset: self.at, message: message.into() }
    }
}

fn duplicate(name: &str, offset: usize) -> JsonError {
    JsonError { offset, message: format!("the member \"{name}\" occurs twice") }
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_DEPTH, MAX_OWN_DEPTH};
    use super::*;

    fn parse(text: &[u8]) -> Result<Json, JsonError> {
        super::parse(text, MAX_DEPTH)
    }

    #[test]
    fn what_was_written_here_may_be_deeper() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Json::parse_own(nested(MAX_OWN_DEPTH).as_bytes()).is_ok());
        assert!(Json::parse_own(nested(MAX_OWN_DEPTH + 1).as_bytes()).is_err());
        assert!(Json::parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
    }

    #[test]
    fn in_08_numbers_keep_their_written_form() {
        for text in ["1.00", "-0.0", "1e400000", "0.1E-7", "100000000000000000000000000000.0001"] {
            assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
        }
    }

    #[test]
    fn in_05_in_06_in_11_bad_texts_are_refused_with_their_offset() {
        let deep = "[".repeat(MAX_DEPTH + 1);
        for (text, offset) in [
            (r#"{"a":1,"a":2}"#, 7),
            (r#"{"a":1,}"#, 7),
            ("[1,]", 3),
            ("01", 1),
            ("1.", 2),
            ("NaN", 0),
            ("\"\\ud800\"", 1),
            ("\"\\u0000\"", 1),
            ("\"a\nb\"", 2),
            ("{\"metadata\": {\"x\": \"y\"", 22),
            ("1 2", 2),
            (deep.as_str(), MAX_DEPTH),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().offset, offset, "{text}");
        }
    }

    #[test]
    fn escapes_survive_both_ways() {
        let text = "\"a\\\"b\\\\c\\n\\u0001é😀\"";
        assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
    }
}
