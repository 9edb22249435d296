//! `_text` and `_content`: words of the narrative or of the whole resource. <https://hl7.org/fhir/R4/search.html#text>
//!
//! "The request `Condition?_text=(bone OR liver) and metastases` is to be interpreted as a logical condition": `not` binds
//! closest, then `and`, which may be left out, then `or`. Case and accents do not count; alternatives stand between
//! commas.

use super::condition::find;
use super::escape::{alternatives, unescape};
use super::refusal::Refusal;
use crate::fold::with_punctuation;
use crate::query::{Filter, Words};

/// Most words, operators and parentheses of one alternative. (IN-17)
const MAX_WORDS: usize = 50;

/// The condition; types without a narrative have no `_text`.
pub(super) fn filter(resource_type: &str, code: &str, value: &str) -> Result<Filter, Refusal> {
    find(resource_type, code)?;
    let place = if code == "_text" { Words::Narrative } else { Words::Content };
    let mut found = Vec::new();
    for alternative in alternatives(code, value)? {
        let text = with_punctuation(&unescape(code, alternative)?).replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() > MAX_WORDS {
            return Err(Refusal::too_costly(format!("{code}: {} words; at most {MAX_WORDS} are allowed", words.len())));
        }
        let mut reader = Reader { code, place, words: &words };
        let condition = reader.either()?;
        if let Some(rest) = reader.words.first() {
            return Err(reader.refuse(&format!("{rest:?} closes what was not opened")));
        }
        found.push(Filter::Exact(Box::new(condition)));
    }
    Ok(if found.len() == 1 { found.remove(0) } else { Filter::Or(found) })
}

/// What is not read yet.
struct Reader<'a> {
    code: &'a str,
    place: Words,
    words: &'a [&'a str],
}

impl Reader<'_> {
    fn either(&mut self) -> Result<Filter, Refusal> {
        let mut found = vec![self.all()?];
        while self.takes("or") {
            found.push(self.all()?);
        }
        Ok(if found.len() == 1 { found.remove(0) } else { Filter::Or(found) })
    }

    fn all(&mut self) -> Result<Filter, Refusal> {
        let mut found = vec![self.one()?];
        while self.takes("and") || self.words.first().is_some_and(|it| !matches!(*it, "or" | ")")) {
            match (found.last_mut(), self.one()?) {
                (Some(Filter::Words { words, .. }), Filter::Words { words: mut more, .. }) => words.append(&mut more),
                (_, other) => found.push(other),
            }
        }
        Ok(if found.len() == 1 { found.remove(0) } else { Filter::All(found) })
    }

    fn one(&mut self) -> Result<Filter, Refusal> {
        if self.takes("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.takes("(") {
            let inner = self.either()?;
            return if self.takes(")") { Ok(inner) } else { Err(self.refuse("a \")\" is missing")) };
        }
        match self.words.split_first() {
            Some((word, rest)) if !matches!(*word, "and" | "or" | ")") => {
                self.words = rest;
                Ok(Filter::Words { place: self.place, words: vec![(*word).to_owned()] })
            }
            Some((word, _)) => Err(self.refuse(&format!("a word is expected before {word:?}"))),
            None => Err(self.refuse("a word to look for is missing")),
        }
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        self.words = &self.words[usize::from(is_next)..];
        is_next
    }

    fn refuse(&self, text: &str) -> Refusal {
        let code = self.code;
        Refusal::invalid(format!("{code}: {text}: write words, and, or, not and parentheses"))
    }
}
