//! The words of a resource, for `_text` and `_content`. <https://hl7.org/fhir/R4/search.html#text>
//!
//! Text is [folded](with_punctuation) and taken apart at everything that is neither a letter nor a digit. Every word that
//! is asked for, taken apart the same way, must be one of the resource's as a whole.

use std::collections::HashSet;

use fhir::json::{Json, Object};

use crate::fold::with_punctuation;
use crate::query::{Filter, Words};

/// Distinct words.
#[derive(Debug, Default)]
pub(crate) struct WordList(HashSet<Box<str>>);

impl WordList {
    /// The words where the filter looks for them; none if it does not look for words.
    pub(crate) fn asked(filter: &Filter, resource: &Json) -> WordList {
        let mut words = WordList::default();
        match filter {
            Filter::Words { place: Words::Narrative, .. } => {
                if let Some(narrative) = resource.at(&["text", "div"]).and_then(Json::as_str) {
                    words.add(&without_markup(narrative));
                }
            }
            Filter::Words { place: Words::Content, .. } => {
                for (name, member) in resource.as_object().into_iter().flat_map(Object::iter) {
                    match name {
                        "resourceType" => {}
                        "meta" => words.add_meta(member),
                        _ => words.add_all(name, member),
                    }
                }
            }
            _ => {}
        }
        words
    }

    /// Whether these words are all there.
    pub(crate) fn has_all(&self, words: &[String]) -> bool {
        words.iter().all(|word| {
            let mut parts = split(word).peekable();
            parts.peek().is_some() && parts.all(|part| self.0.contains(part))
        })
    }

    fn add(&mut self, text: &str) {
        for word in split(&with_punctuation(text)) {
            if !self.0.contains(word) {
                self.0.insert(word.into());
            }
        }
    }

    fn add_all(&mut self, name: &str, json: &Json) {
        match json {
            Json::String(text) if name == "div" => self.add(&without_markup(text)),
            Json::String(text) => self.add(text),
            Json::Array(items) => items.iter().for_each(|item| self.add_all(name, item)),
            Json::Object(members) => members.iter().for_each(|(name, member)| self.add_all(name, member)),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    /// All but what the server writes: it is no content.
    fn add_meta(&mut self, meta: &Json) {
        let members = meta.as_object().into_iter().flat_map(Object::iter);
        for (name, member) in members.filter(|(name, _)| !matches!(*name, "versionId" | "lastUpdated")) {
            self.add_all(name, member);
        }
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// The text of XHTML: each tag is a space, entities are what they stand for.
fn without_markup(xhtml: &str) -> String {
    let mut text = String::with_capacity(xhtml.len());
    let mut rest = xhtml;
    while let Some(at) = rest.find(['<', '&']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if rest.starts_with('<') {
            text.push(' ');
            tag(rest)
        } else {
            entity(rest, &mut text)
        };
        rest = &rest[length..];
    }
    text + rest
}

/// Length of the tag or comment that begins the text.
fn tag(text: &str) -> usize {
    if text.starts_with("<!--") {
        return text.find("-->").map_or(text.len(), |end| end + 3);
    }
    let mut quote = None;
    for (at, letter) in text.char_indices() {
        match quote {
            Some(open) => quote = Some(open).filter(|it| *it != letter),
            None if letter == '>' => return at + 1,
            None => quote = Some(letter).filter(|it| matches!(it, '"' | '\'')),
        }
    }
    text.len()
}

/// Appends what the entity that begins the text stands for, a space where it is unknown; gives its length.
fn entity(text: &str, out: &mut String) -> usize {
    let Some(end) = text.find(';').filter(|end| *end <= 10) else {
        out.push('&');
        return 1;
    };
    let name = &text[1..end];
    let number = name.strip_prefix('#').and_then(|digits| match digits.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok(),
        None => digits.parse().ok(),
    });
    out.push(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => number.and_then(char::from_u32).unwrap_or(' '),
    });
    end + 1
}
