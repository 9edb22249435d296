//! The concepts of a CodeSystem and what subsumes what. <https://hl7.org/fhir/R4/codesystem.html#hierarchy>
//!
//! A concept lies below the one that it is nested in, and below those that its properties `parent` and `subsumedBy`
//! name; concepts named by `child` lie below it.

use std::collections::{BTreeMap, BTreeSet};

use fhir::json::Json;

use super::codes::Codes;
use super::{Halt, MAX_CODES, Need, Sources, TerminologyError};
use crate::query::Direction;

/// The concepts of a code system.
#[derive(Debug, Default)]
pub(super) struct Concepts<'a> {
    /// Each concept, by code.
    pub(super) all: BTreeMap<&'a str, &'a Json>,
    /// What lies directly below a code.
    below: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// What lies directly above a code.
    above: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

/// The code and what subsumes it or what it subsumes.
pub(super) fn subsumed(system: &str, code: &str, direction: Direction, sources: &Sources) -> Result<Codes, Halt> {
    let concepts = concepts(system, sources)?;
    if !concepts.all.contains_key(code) {
        return Err(TerminologyError::Invalid(format!("the code system {system} has no code {code:?}")).into());
    }
    let found = concepts.closure(code, direction);
    Ok(Codes::of(system, found).bounded(&format!("{system}|{code} with what lies {}", name(direction)))?)
}

/// The concepts of a code system of which all are known.
pub(super) fn concepts<'a>(system: &str, sources: &'a Sources) -> Result<Concepts<'a>, Halt> {
    let definition = sources.get(Need::CodeSystem(system.to_owned()))?;
    let content = definition.str("content").unwrap_or("complete");
    if content != "complete" {
        let text = format!("the code system {system} is here with content {content:?}; all of its codes are needed");
        return Err(TerminologyError::NotSupported(text).into());
    }
    // "The meaning of the hierarchy of concepts": only is-a says what is subsumed.
    let is_hierarchy = definition.str("hierarchyMeaning").is_none_or(|it| it == "is-a");
    let mut concepts = Concepts::default();
    let mut open: Vec<(&Json, Option<&str>)> = definition.list("concept").iter().map(|it| (it, None)).collect();
    while let Some((concept, parent)) = open.pop() {
        let Some(code) = concept.str("code") else { continue };
        concepts.all.insert(code, concept);
        if let Some(parent) = parent.filter(|_| is_hierarchy) {
            concepts.link(parent, code);
        }
        for property in concept.list("property") {
            match (property.str("code"), property.str("valueCode")) {
                (Some("parent" | "subsumedBy"), Some(parent)) => concepts.link(parent, code),
                (Some("child"), Some(child)) => concepts.link(code, child),
                _ => {}
            }
        }
        open.extend(concept.list("concept").iter().map(|it| (it, Some(code))));
    }
    Ok(concepts)
}

impl<'a> Concepts<'a> {
    /// The code and all above or below it.
    pub(super) fn closure(&self, code: &str, direction: Direction) -> BTreeSet<&'a str> {
        let next = if direction == Direction::Below { &self.below } else { &self.above };
        let Some((code, _)) = self.all.get_key_value(code) else { return BTreeSet::new() };
        let (mut found, mut open) = (BTreeSet::from([*code]), vec![*code]);
        while let Some(code) = open.pop() {
            if found.len() > MAX_CODES {
                break;
            }
            open.extend(next.get(code).into_iter().flatten().copied().filter(|it| found.insert(it)));
        }
        found
    }

    /// What lies directly below the code.
    pub(super) fn children(&self, code: &str) -> BTreeSet<&'a str> {
        self.below.get(code).cloned().unwrap_or_default()
    }

    /// What lies directly above the code.
    pub(super) fn parents(&self, code: &str) -> BTreeSet<&'a str> {
        self.above.get(code).cloned().unwrap_or_default()
    }

    fn link(&mut self, parent: &'a str, child: &'a str) {
        if parent != child {
            self.below.entry(parent).or_default().insert(child);
            self.above.entry(child).or_default().insert(parent);
        }
    }
}

fn name(direction: Direction) -> &'static str {
    if direction == Direction::Below { "below" } else { "above" }
}
