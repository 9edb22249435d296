//! Values of primitive types. <https://hl7.org/fhir/R4/datatypes.html#primitive>

use fhir::date::{DateTime, Precision, Time};
use fhir::decimal::Decimal;
use fhir::definitions::Primitive;
use fhir::json::Json;
use fhir::xml::has_noncharacter;

/// Longest string, in bytes. <https://hl7.org/fhir/R4/datatypes.html#string>
const MAX_STRING: usize = 1024 * 1024;
/// Numbers up to this length and without exponent need no closer look.
const PLAIN_NUMBER: usize = 64;
/// How much of a wrong value is quoted.
const MAX_QUOTED: usize = 60;

/// What would be right, if `value` is no value of the type. Narratives are not looked into here.
pub(crate) fn check(primitive: Primitive, value: &Json) -> Result<(), String> {
    let right = match (primitive, value) {
        (Primitive::Boolean, Json::Bool(_)) => true,
        (Primitive::Decimal, Json::Number(text)) => is_decimal(text),
        (Primitive::Integer, Json::Number(text)) => text.parse::<i32>().is_ok(),
        (Primitive::PositiveInt, Json::Number(text)) => text.parse::<i32>().is_ok_and(|number| number > 0),
        (Primitive::UnsignedInt, Json::Number(text)) => text.parse::<i32>().is_ok_and(|number| number >= 0),
        (primitive, Json::String(text)) if primitive != Primitive::Boolean && !primitive.is_number() => {
            is_text(primitive, text)
        }
        _ => false,
    };
    if right { Ok(()) } else { Err(format!("{} is not {}", quoted(value), expectation(primitive))) }
}

fn is_text(primitive: Primitive, text: &str) -> bool {
    match primitive {
        Primitive::String | Primitive::Markdown => !text.is_empty() && text.len() <= MAX_STRING && !has_control(text),
        Primitive::Code => is_code(text),
        Primitive::Id => fhir::id::is_valid(text),
        Primitive::Uri | Primitive::Url | Primitive::Canonical => !text.is_empty() && !has_space(text),
        Primitive::Oid => text.strip_prefix("urn:oid:").is_some_and(is_oid),
        Primitive::Uuid => text.strip_prefix("urn:uuid:").is_some_and(is_uuid),
        Primitive::Date => DateTime::parse(text).is_some_and(|date| date.precision <= Precision::Day),
        Primitive::DateTime => {
            DateTime::parse(text).is_some_and(|date| date.precision <= Precision::Day || is_instant(&date))
        }
        Primitive::Instant => DateTime::parse(text).is_some_and(|date| is_instant(&date)),
        Primitive::Time => Time::parse_partial(text).is_some_and(|(_, precision)| precision >= Precision::Second),
        Primitive::Base64Binary => is_base64(text),
        Primitive::Xhtml => true,
        Primitive::Boolean
        | Primitive::Decimal
        | Primitive::Integer
        | Primitive::PositiveInt
        | Primitive::UnsignedInt => false,
    }
}

fn is_decimal(text: &str) -> bool {
    let plain = text.len() <= PLAIN_NUMBER && !text.bytes().any(|byte| matches!(byte, b'e' | b'E'));
    plain || Decimal::parse(text).is_some()
}

fn is_instant(date: &DateTime) -> bool {
    date.precision >= Precision::Second && date.offset.is_some()
}

/// Whether there are control characters other than tab, line feed and carriage return, or what XML cannot hold. Without
/// a way out of the loop, so that it is done many bytes at a time.
fn has_control(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127))
        || has_noncharacter(text)
}

/// Whether there is white space or a control character.
fn has_space(text: &str) -> bool {
    if text.is_ascii() {
        return text.bytes().fold(false, |found, byte| found | matches!(byte, 0..=b' ' | 127));
    }
    text.chars().any(|character| character.is_whitespace() || character.is_control()) || has_noncharacter(text)
}

/// Words with single white space between them, none at the ends.
fn is_code(text: &str) -> bool {
    let mut spaces_before = 1;
    for character in text.chars() {
        spaces_before = if character.is_whitespace() { spaces_before + 1 } else { 0 };
        if spaces_before > 1 || (character.is_control() && !character.is_whitespace()) {
            return false;
        }
    }
    spaces_before == 0 && !has_noncharacter(text)
}

fn is_oid(text: &str) -> bool {
    let mut arcs = text.split('.');
    matches!(arcs.next(), Some("0" | "1" | "2"))
        && text.contains('.')
        && arcs.all(|arc| {
            !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'))
        })
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// What a byte is in base64: 1 of the alphabet, 2 white space, 3 padding, 0 foreign.
const BASE64: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => 1,
            b' ' | b'\t' | b'\n' | b'\r' => 2,
            b'=' => 3,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// Four characters for three bytes, `=` only at the end; white space is permitted.
fn is_base64(text: &str) -> bool {
    let (mut count, mut padding) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match BASE64[usize::from(byte)] {
            1 if padding == 0 => count += 1,
            2 => {}
            3 => padding += 1,
            _ => return false,
        }
    }
    count > 0 && (count + padding).is_multiple_of(4) && padding <= 2
}

fn expectation(primitive: Primitive) -> &'static str {
    match primitive {
        Primitive::Boolean => "a boolean: true or false, without quotes",
        Primitive::Decimal => "a decimal: a number without quotes, exponent within ±5000",
        Primitive::Integer => "an integer: a whole number of 32 bits, without quotes",
        Primitive::PositiveInt => "a positiveInt: a whole number from 1 to 2147483647, without quotes",
        Primitive::UnsignedInt => "an unsignedInt: a whole number from 0 to 2147483647, without quotes",
        Primitive::String => "a string: not empty, at most 1 MiB, no control characters",
        Primitive::Markdown => "a markdown: a string, not empty, at most 1 MiB, no control characters",
        Primitive::Code => "a code: a string, not empty, no white space at the ends nor two in a row",
        Primitive::Id => "an id: 1 to 64 letters, digits, '-' and '.'",
        Primitive::Uri => "a uri: a string, not empty, no white space",
        Primitive::Url => "a url: a string, not empty, no white space",
        Primitive::Canonical => "a canonical: a uri, not empty, no white space",
        Primitive::Oid => "an oid: urn:oid:2.16.840.1 and so on",
        Primitive::Uuid => "a uuid: urn:uuid: followed by 36 characters in lower case",
        Primitive::Date => "a date: YYYY, YYYY-MM or YYYY-MM-DD, a day that exists",
        Primitive::DateTime => "a dateTime: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz, a day that exists",
        Primitive::Instant => "an instant: YYYY-MM-DDThh:mm:ss+zz:zz, a day that exists",
        Primitive::Time => "a time: hh:mm:ss",
        Primitive::Base64Binary => "a base64Binary: groups of four of the characters A-Z a-z 0-9 + /, padded with =",
        Primitive::Xhtml => "a narrative: a string",
    }
}

/// The value as JSON, shortened.
fn quoted(value: &Json) -> String {
    match value {
        Json::Object(_) => "an object".into(),
        Json::Array(_) => "an array".into(),
        scalar => {
            let text = scalar.to_string();
            match text.char_indices().nth(MAX_QUOTED) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(primitive: &str, json: &str) -> bool {
        check(Primitive::of(primitive).unwrap(), &Json::parse(json.as_bytes()).unwrap()).is_ok()
    }

    #[test]
    fn in_08_in_09_numbers_have_their_ranges() {
        for (primitive, good, bad) in [
            ("integer", &["0", "-0", "2147483647", "-2147483648"][..], &["2147483648", "1.0", "1e2", "\"1\""][..]),
            ("positiveInt", &["1", "2147483647"], &["0", "-1", "2147483648"]),
            ("unsignedInt", &["0", "1"], &["-1", "4294967296"]),
            ("decimal", &["1.00", "-0.0", "1e5000", "1E-5000"], &["1e5001", "1e400000", "\"1.0\"", "true"]),
            ("boolean", &["true", "false"], &["\"true\"", "1", "null", "{}", "[]"]),
        ] {
            for json in good {
                assert!(accepts(primitive, json), "{primitive} {json}");
            }
            for json in bad {
                assert!(!accepts(primitive, json), "{primitive} {json}");
            }
        }
    }

    #[test]
    fn in_10_dates_are_of_the_calendar() {
        let moments = ["2020-02-29T23:59:60Z", "2020-01-01T00:00:00.123456789+14:00", "0001-01-01T00:00:00-13:59"];
        let not_moments = [
            "2021-02-29T00:00:00Z",
            "2020-01-01T00:00Z",
            "2020-01-01T00:00:00",
            "2020-01-01T24:00:00Z",
            "2020-01-01T00:00:00+14:01",
            "2020-01-01T00:00:00z",
            "2020-01-01 00:00:00Z",
            "2020-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
        ];
        let days = ["2020", "2020-12", "2020-02-29", "2000-02-29", "9999-12-31"];
        let not_days =
            ["0000", "20", "2020-13", "2020-00", "2020-1", "1900-02-29", "2020-04-31", "2020-1-1", "", " 2020"];
        for (primitive, good, bad) in [
            ("date", vec![&days[..]], vec![&moments[..], &not_moments, &not_days]),
            ("dateTime", vec![&days, &moments], vec![&not_moments, &not_days]),
            ("instant", vec![&moments], vec![&days, &not_moments, &not_days]),
            ("time", vec![&["00:00:00", "23:59:59.9"]], vec![&["24:00:00", "10:00", "10", "1:00:00", "10:00:00Z"]]),
        ] {
            for text in good.concat() {
                assert!(accepts(primitive, &format!("\"{text}\"")), "{primitive} {text}");
            }
            for text in bad.concat() {
                assert!(!accepts(primitive, &format!("\"{text}\"")), "{primitive} {text}");
            }
        }
    }

    #[test]
    fn texts_have_their_forms() {
        for (primitive, good, bad) in [
            ("string", &["a", " a\\nb ", "\\ufffd"][..], &["", "a\\u0007", "a\\ufffe", "\\uffff"][..]),
            ("markdown", &["# a\\n\\tb"], &["", "\\u001b", "\\uffff"]),
            ("code", &["a", "a b"], &["", " a", "a ", "a  b", "a\\u0001", "a\\uffff"]),
            ("id", &["a-1.B"], &["", "a_b", "a b", "."]),
            ("uri", &["urn:oid:1.2", "http://a/b?c#d", "x"], &["", "http://a b", "a\\n", "a\\uffff"]),
            ("canonical", &["http://a|1"], &["a b"]),
            ("oid", &["urn:oid:2.16.840", "urn:oid:1.0.3"], &["2.16", "urn:oid:3.1", "urn:oid:2", "urn:oid:2.01"]),
            (
                "uuid",
                &["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
                &["c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873d-ec9a-4326-a141-556f43239520"],
            ),
            ("base64Binary", &["QUJD", "QUI=", "QQ==", "QU\\nJD"], &["", "QUJ", "Q===", "QU=D", "QU-D", "=QUJ"]),
        ] {
            for text in good {
                assert!(accepts(primitive, &format!("\"{text}\"")), "{primitive} {text}");
            }
            for text in bad {
                assert!(!accepts(primitive, &format!("\"{text}\"")), "{primitive} {text}");
            }
        }
    }

    #[test]
    fn messages_say_what_would_be_right() {
        let message = check(Primitive::Date, &Json::from("2021-02-30")).unwrap_err();
        assert_eq!(message, "\"2021-02-30\" is not a date: YYYY, YYYY-MM or YYYY-MM-DD, a day that exists");
        let long = check(Primitive::Id, &Json::from("é".repeat(500))).unwrap_err();
        assert!(long.len() < 250, "{long}");
    }
}
