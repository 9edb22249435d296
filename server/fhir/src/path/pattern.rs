//! Regular expressions, and what they may cost: they run in linear time, but a few letters can make a large machine.
//! (IN-18)

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

use super::EvaluationError;
use super::meter::Meter;
use super::operators::bounded;

/// Most bytes of a machine, and the first that is tried; each further one is four times as large.
const MAX_SIZE: usize = 512 * 1024;
const LEAST_SIZE: usize = 2 * 1024;
/// Longest pattern.
const MAX_LENGTH: usize = 8 * 1024;
/// What reading a pattern counts as, and reading a class in it, in bytes of a machine that takes as long to make.
const READING: usize = 2 * 1024;
const CLASS: usize = 4 * 1024;
/// What a class counts as whose cases are folded: each of its characters is looked up.
const FOLDED_CLASS: usize = 256 * 1024;
/// Bytes of a machine that are made in one step.
const MADE: usize = 16;
/// A byte of text takes a step for each so many bytes of the machine: at worst all of its states are looked at.
const RUN: usize = 16 * 1024;

/// Most digits of the number of a group: no pattern has so many groups.
const MAX_GROUP_DIGITS: usize = 6;

/// What is left for the patterns of one expression, or of several that are compiled together.
#[derive(Debug)]
pub struct Patterns(usize);

impl Default for Patterns {
    /// Enough for hundreds of patterns of few letters, and for four of the largest.
    fn default() -> Patterns {
        Patterns(2 * 1024 * 1024)
    }
}

/// A pattern that no expression has, and that a text must match as a whole: filters of value sets have such.
#[derive(Clone, Debug)]
pub struct WholeText(Pattern);

impl WholeText {
    /// Compiles it; the text says why it is none.
    pub fn new(text: &str, patterns: &mut Patterns) -> Result<WholeText, String> {
        Pattern::of_expression(text, true, patterns).map(WholeText)
    }

    /// Whether it matches the whole text.
    pub fn matches(&self, text: &str, meter: &Meter) -> Result<bool, EvaluationError> {
        self.0.matches(text, meter)
    }
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// No machine of a smaller size that was tried holds it.
    size: usize,
}

impl Pattern {
    /// Compiles a pattern of an expression; `full`: it must match the whole text.
    pub(super) fn of_expression(text: &str, full: bool, patterns: &mut Patterns) -> Result<Pattern, String> {
        let mut spend = |size: usize| -> Result<(), String> {
            let left = patterns.0.checked_sub(size);
            patterns.0 = left.ok_or_else(|| "too many patterns, or too large ones".to_owned())?;
            Ok(())
        };
        Pattern::compile(text, full, &mut spend)?
    }

    /// Compiles a pattern that an evaluation made.
    pub(super) fn of_evaluation(text: &str, full: bool, meter: &Meter) -> Result<Pattern, EvaluationError> {
        let mut spend = |size: usize| meter.charge(size / MADE);
        Pattern::compile(text, full, &mut spend)?.map_err(EvaluationError::Invalid)
    }

    /// Compiles with the smallest machine that will do; each is paid before it is made.
    fn compile<E>(
        text: &str,
        full: bool,
        spend: &mut impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Result<Pattern, String>, E> {
        if text.len() > MAX_LENGTH {
            return Ok(Err(format!("a pattern has at most {MAX_LENGTH} bytes")));
        }
        spend(reading(text))?;
        let anchored = if full { Cow::Owned(format!("^(?:{text})$")) } else { Cow::Borrowed(text) };
        let (mut size, mut paid) = (LEAST_SIZE, 0);
        loop {
            spend(size - paid)?;
            paid = size;
            match RegexBuilder::new(&anchored).size_limit(size).dot_matches_new_line(true).build() {
                Ok(regex) => return Ok(Ok(Pattern { regex, size })),
                Err(regex::Error::CompiledTooBig(_)) if size < MAX_SIZE => size *= 4,
                Err(error) => return Ok(Err(format!("not a pattern: {error}"))),
            }
        }
    }

    pub(super) fn matches(&self, text: &str, meter: &Meter) -> Result<bool, EvaluationError> {
        meter.charge(self.steps(text.len()))?;
        Ok(self.regex.is_match(text))
    }

    /// The text with the replacement for each match.
    pub(super) fn replaced(&self, text: &str, replacement: &str, meter: &Meter) -> Result<String, EvaluationError> {
        if self.regex.as_str().is_empty() {
            return Ok(text.to_owned());
        }
        let replacement = with_groups(replacement, &self.regex);
        let (mut out, mut end) = (String::new(), 0);
        for captures in self.regex.captures_iter(text) {
            let whole = captures.get_match();
            // Up to the match all states may be looked at; to know where it ends, all that follows may have to be read.
            meter.charge(1 + self.steps(whole.end() - end))?;
            meter.charge_text(text.len() - whole.end())?;
            out.push_str(&text[end..whole.start()]);
            captures.expand(&replacement, &mut out);
            out = bounded(out)?;
            end = whole.end();
        }
        meter.charge(self.steps(text.len() - end))?;
        out.push_str(&text[end..]);
        meter.charge_text(out.len())?;
        bounded(out)
    }

    fn steps(&self, bytes: usize) -> usize {
        bytes.saturating_mul(self.size) / RUN
    }
}

/// The replacement with `${1}` for `$1`: a number ends at the first character that is no digit, or that makes it more
/// than there are groups, as in other dialects; the name of a group would go on through letters.
fn with_groups<'r>(replacement: &'r str, regex: &Regex) -> Cow<'r, str> {
    if !replacement.contains('$') {
        return Cow::Borrowed(replacement);
    }
    let mut out = String::with_capacity(replacement.len() + 16);
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        out.push('$');
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let known = |end: &usize| rest[..*end].parse().is_ok_and(|group: usize| group < regex.captures_len());
        if let Some(end) = (1..=digits.min(MAX_GROUP_DIGITS)).rev().find(known).or((digits > 0).then_some(digits)) {
            out.push('{');
            out.push_str(&rest[..end]);
            out.push('}');
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// What reading a pattern counts as: its classes may have many characters, which are put in order, and folded where case
/// does not matter.
fn reading(text: &str) -> usize {
    READING + text.len() + classes(text) * if folds_case(text) { FOLDED_CLASS } else { CLASS }
}

/// Classes in brackets, and those that a letter stands for: `\w`, `\pL`.
fn classes(text: &str) -> usize {
    let (mut classes, mut escaped) = (0, false);
    for byte in text.bytes() {
        classes += usize::from(if escaped { b"dDsSwWpP".contains(&byte) } else { byte == b'[' });
        escaped = byte == b'\\' && !escaped;
    }
    classes
}

/// Whether flags of a group may switch case off: `(?i)`, `(?s-mi:`.
fn folds_case(text: &str) -> bool {
    text.split("(?").skip(1).any(|rest| {
        let flags = rest.bytes().take_while(|byte| byte.is_ascii_alphabetic() || *byte == b'-');
        flags.take(8).any(|flag| flag == b'i')
    })
}
