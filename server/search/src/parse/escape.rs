//! Separators and escapes of search values. <https://hl7.org/fhir/R4/search.html#escaping>
//!
//! `,` separates alternatives, `|` parts of a value, `$` parts of a composite; `\,` `\|` `\$` `\\` are the characters
//! themselves. A backslash before anything else is refused: guessing its meaning could change the question.

use super::MAX_ALTERNATIVES;
use super::refusal::Refusal;

/// The alternatives of a value, still escaped; none may be empty.
pub(super) fn alternatives<'a>(name: &str, value: &'a str) -> Result<Vec<&'a str>, Refusal> {
    let found = split(value, b',');
    if found.len() > MAX_ALTERNATIVES {
        let text = format!("{name} has {} values; at most {MAX_ALTERNATIVES} are allowed", found.len());
        return Err(Refusal::too_costly(text));
    }
    if found.iter().any(|it| it.is_empty()) {
        return Err(Refusal::invalid(format!(
            "{name} has an empty value; leave the parameter out, or write {name}:missing=true for resources without it"
        )));
    }
    Ok(found)
}

/// The parts between `|`, still escaped.
pub(super) fn parts(value: &str) -> Vec<&str> {
    split(value, b'|')
}

/// The components of a composite value, between `$`, still escaped.
pub(super) fn components(value: &str) -> Vec<&str> {
    split(value, b'$')
}

/// The text with escapes, so that it is one alternative; `|` separates still.
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace(',', "\\,").replace('$', "\\$")
}

/// The text as one part of a value: all separators are the characters themselves.
pub fn literal(text: &str) -> String {
    escape(text).replace('|', "\\|")
}

/// The text that is meant.
pub(super) fn unescape(name: &str, value: &str) -> Result<String, Refusal> {
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some(escaped @ (',' | '|' | '$' | '\\')) => text.push(escaped),
            _ => {
                return Err(Refusal::invalid(format!(
                    "{name}: a backslash in {value:?} escapes nothing; write \\\\ for a backslash"
                )));
            }
        }
    }
    Ok(text)
}

fn split(value: &str, separator: u8) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, byte) in value.bytes().enumerate() {
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if byte == separator {
            parts.push(&value[start..index]);
            start = index + 1;
        }
    }
    parts.push(&value[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_and_escapes() {
        assert_eq!(alternatives("x", r"a\,b,c").unwrap(), [r"a\,b", "c"]);
        assert_eq!(alternatives("x", r"a\\,c").unwrap(), [r"a\\", "c"]);
        assert_eq!(parts(r"a\|b|c"), [r"a\|b", "c"]);
        assert_eq!(components(r"a\$b$c|d$e"), [r"a\$b", "c|d", "e"]);
        assert_eq!(unescape("x", &escape(r"a,b$c\d")).unwrap(), r"a,b$c\d");
        assert_eq!(unescape("x", r"a\,b\|c\$d\\e").unwrap(), r"a,b|c$d\e");
        for bad in [r"a\n", r"a\"] {
            assert!(unescape("x", bad).is_err(), "{bad}");
        }
        for bad in ["", "a,", ",a", "a,,b"] {
            assert!(alternatives("x", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn in_17_too_many_alternatives() {
        let value = vec!["1"; MAX_ALTERNATIVES].join(",");
        assert!(alternatives("x", &value).is_ok());
        assert!(alternatives("x", &format!("{value},1")).is_err());
    }
}
