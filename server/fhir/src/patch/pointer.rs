//! JSON Pointer. <https://www.rfc-editor.org/rfc/rfc6901>

use std::fmt;

use super::{Budget, Refusal, echo};
use crate::json::{Json, MAX_DEPTH};

/// A place in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    text: Box<str>,
    tokens: Vec<Box<str>>,
}

impl Pointer {
    /// Reads `/name/0/family`; the empty text is the whole document.
    pub(super) fn parse(text: &str) -> Result<Pointer, String> {
        let Some(rest) = text.strip_prefix('/') else {
            if text.is_empty() {
                return Ok(Pointer { text: text.into(), tokens: Vec::new() });
            }
            return Err(format!("a JSON Pointer is empty or begins with /, not {}", echo(text)));
        };
        let tokens: Vec<Box<str>> =
            rest.split('/').take(MAX_DEPTH + 1).map(unescaped).collect::<Result<_, _>>().map_err(|token| {
                format!("in a JSON Pointer ~ is written ~0 and / is written ~1; {} has another ~", echo(token))
            })?;
        if tokens.len() > MAX_DEPTH {
            return Err(format!("the JSON Pointer is deeper than {MAX_DEPTH}"));
        }
        Ok(Pointer { text: text.into(), tokens })
    }

    /// Whether it leads to the member `name` of the document, into it, or to the whole document.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.tokens.first().is_none_or(|first| **first == *name)
    }

    /// How many containers stand above.
    pub(super) fn depth(&self) -> usize {
        self.tokens.len()
    }

    /// The name or index at the end.
    pub(super) fn last(&self) -> Option<&str> {
        self.tokens.last().map(|token| &**token)
    }

    /// Whether the place lies inside of `other`.
    pub(super) fn is_inside(&self, other: &Pointer) -> bool {
        self.tokens.len() > other.tokens.len() && self.tokens.starts_with(&other.tokens)
    }

    /// The value there.
    pub(super) fn find<'d>(&self, document: &'d Json, budget: &mut Budget) -> Result<&'d Json, Refusal> {
        let mut value = document;
        for token in &self.tokens {
            value = match value {
                Json::Object(object) => {
                    budget.charge(1 + object.len() / 16)?;
                    object.get(token)
                }
                Json::Array(items) => index_of(token, items.len()).ok().and_then(|index| items.get(index)),
                _ => None,
            }
            .ok_or_else(|| self.missing(token))?;
        }
        Ok(value)
    }

    /// The array or object that holds the place, and the name or index in it; nothing for the whole document.
    pub(super) fn parent<'d, 'p>(
        &'p self,
        document: &'d mut Json,
        budget: &mut Budget,
    ) -> Result<Option<(&'d mut Json, &'p str)>, Refusal> {
        let Some((last, above)) = self.tokens.split_last() else { return Ok(None) };
        let mut value = document;
        for token in above {
            value = match value {
                Json::Object(object) => {
                    budget.charge(1 + object.len() / 16)?;
                    object.get_mut(token)
                }
                Json::Array(items) => index_of(token, items.len()).ok().and_then(|index| items.get_mut(index)),
                _ => None,
            }
            .ok_or_else(|| self.missing(token))?;
        }
        Ok(Some((value, last)))
    }

    /// The error that something on the way is not there.
    pub(super) fn missing(&self, token: &str) -> Refusal {
        Refusal::inapplicable(format!("{self} does not exist: there is no {}", echo(token)))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            formatter.write_str("the whole document")
        } else {
            formatter.write_str(&echo(&self.text))
        }
    }
}

/// An index in an array of `len` items: digits without a leading zero, or `-` for the one after the last.
pub(super) fn index_of(token: &str, len: usize) -> Result<usize, String> {
    if token == "-" {
        return Ok(len);
    }
    let canonical = token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    let index = token.parse::<usize>().ok().filter(|_| canonical);
    index.ok_or_else(|| format!("{} is no index of an array: write 0, 1, … or -", echo(token)))
}

fn unescaped(token: &str) -> Result<Box<str>, &str> {
    if !token.contains('~') {
        return Ok(token.into());
    }
    let mut out = String::with_capacity(token.len());
    let mut characters = token.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '~' => match characters.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err(token),
            },
            other => other,
        });
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<String>, String> {
        Pointer::parse(text).map(|pointer| pointer.tokens.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn escapes_are_undone_once() {
        assert_eq!(tokens("/a~1b/~01/m~0n/"), Ok(vec!["a/b".into(), "~1".into(), "m~n".into(), String::new()]));
        assert_eq!(tokens(""), Ok(Vec::new()));
        for bad in ["a", "/~", "/~2", "#/a", " /a"] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
        assert!(tokens(&"/a".repeat(64)).is_ok() && tokens(&"/a".repeat(65)).is_err());
        assert!(tokens(&"/a".repeat(1_000_000)).is_err());
    }

    #[test]
    fn indexes_have_one_spelling() {
        assert_eq!((index_of("0", 3), index_of("12", 3), index_of("-", 3)), (Ok(0), Ok(12), Ok(3)));
        for bad in ["", "01", "1e0", "+1", "-1", " 1", "99999999999999999999999"] {
            assert!(index_of(bad, 3).is_err(), "{bad}");
        }
    }
}
