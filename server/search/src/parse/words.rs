//! `_text` and `_content`: words of the narrative or of the whole resource. <https://hl7.org/fhir/R4/search.html#text>
//!
//! All words must occur; case and accents do not count; alternatives stand between commas.

use super::condition::find;
use super::escape::{alternatives, unescape};
use super::refusal::Refusal;
use crate::fold::with_punctuation;
use crate::query::{Filter, Words};

/// Most words of one alternative. (IN-17)
const MAX_WORDS: usize = 50;

/// The condition; types without a narrative have no `_text`.
pub(super) fn filter(resource_type: &str, code: &str, value: &str) -> Result<Filter, Refusal> {
    find(resource_type, code)?;
    let place = if code == "_text" { Words::Narrative } else { Words::Content };
    let mut found = Vec::new();
    for alternative in alternatives(code, value)? {
        let words: Vec<String> =
            with_punctuation(&unescape(code, alternative)?).split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err(Refusal::invalid(format!("{code}: {alternative:?} has no words to look for")));
        }
        if words.len() > MAX_WORDS {
            return Err(Refusal::too_costly(format!("{code}: {} words; at most {MAX_WORDS} are allowed", words.len())));
        }
        found.push(Filter::Exact(Box::new(Filter::Words { place, words })));
    }
    Ok(if found.len() == 1 { found.remove(0) } else { Filter::Or(found) })
}
