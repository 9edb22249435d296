//! A set of codes: whole systems, and single ones.

use std::collections::BTreeSet;

use super::{MAX_CODES, TerminologyError};
use crate::query::Match;

/// A set of codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Codes {
    /// Systems of which all codes are in it.
    pub(super) whole: BTreeSet<String>,
    /// System and code.
    pub(super) single: BTreeSet<(String, String)>,
}

impl Codes {
    /// A whole system.
    pub(super) fn whole(system: &str) -> Self {
        Codes { whole: BTreeSet::from([system.to_owned()]), single: BTreeSet::new() }
    }

    /// Codes of one system.
    pub(super) fn of<'a>(system: &str, codes: impl IntoIterator<Item = &'a str>) -> Self {
        let single = codes.into_iter().map(|code| (system.to_owned(), code.to_owned())).collect();
        Codes { whole: BTreeSet::new(), single }
    }

    /// Adds those of another set.
    pub(super) fn add(&mut self, other: Codes) {
        self.whole.extend(other.whole);
        self.single.extend(other.single);
    }

    /// Those that are in both.
    pub(super) fn and(&self, other: &Codes) -> Codes {
        let mine = self.single.iter().filter(|it| other.contains(it));
        let theirs = other.single.iter().filter(|it| self.contains(it));
        let whole = self.whole.intersection(&other.whole).cloned().collect();
        Codes { whole, single: mine.chain(theirs).cloned().collect() }
    }

    /// Those that are not in the other; whole systems of which the other has single codes must be listed before.
    pub(super) fn without(mut self, other: &Codes) -> Codes {
        self.whole.retain(|it| !other.whole.contains(it));
        self.single.retain(|it| !other.contains(it));
        self
    }

    /// Fails if there are too many.
    pub(super) fn bounded(self, name: &str) -> Result<Self, TerminologyError> {
        if self.single.len() > MAX_CODES { Err(TerminologyError::TooCostly(name.to_owned())) } else { Ok(self) }
    }

    /// As matches of a token; where elements may have no system also without it.
    pub(super) fn into_tokens(self, bare: bool) -> Vec<Match> {
        let whole = self.whole.iter().map(|system| Match::Token { system: Some(system.clone()), code: None });
        let mut tokens: Vec<Match> = whole.collect();
        let codes: BTreeSet<&str> = self.single.iter().map(|(_, code)| code.as_str()).filter(|_| bare).collect();
        tokens.extend(codes.into_iter().map(|code| token("", code)));
        let outside = self.single.iter().filter(|(system, _)| !self.whole.contains(system));
        tokens.extend(outside.map(|(system, code)| token(system, code)));
        tokens
    }

    fn contains(&self, code: &(String, String)) -> bool {
        self.whole.contains(&code.0) || self.single.contains(code)
    }
}

fn token(system: &str, code: &str) -> Match {
    Match::Token { system: Some(system.to_owned()), code: Some(code.to_owned()) }
}
