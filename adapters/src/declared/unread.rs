//! Lists of a message that a mapping file says nothing of: what stands in them would be lost without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fhir::json::Json;

use super::path::Step;

/// Lists that are told of one message at most.
const MAX_TOLD: usize = 20;

/// What a file speaks of, as a tree of steps from the top of a message.
#[derive(Debug, Default)]
pub(super) struct Known {
    members: BTreeMap<String, Known>,
    each: Option<Box<Known>>,
    /// Whether all that is below is known.
    all: bool,
}

/// A walk through a message.
struct Walk<'w> {
    /// Places of records whose fate is told already.
    settled: &'w BTreeSet<String>,
    /// Where it is.
    place: String,
    /// The same without numbers.
    sort: String,
    /// One place for each sort of list.
    found: BTreeMap<String, String>,
}

impl Known {
    /// Adds what steps lead to.
    pub(super) fn add(&mut self, steps: &[Step]) {
        self.end(steps);
    }

    /// Adds what steps lead to, and all that is below.
    pub(super) fn add_all(&mut self, steps: &[Step]) {
        self.end(steps).all = true;
    }

    /// Places of lists that hold something and are not known, but for those within the records at `settled`.
    pub(super) fn unread(&self, document: &Json, settled: &BTreeSet<String>) -> Vec<String> {
        let mut walk = Walk { settled, place: String::new(), sort: String::new(), found: BTreeMap::new() };
        walk.look(document, &[self]);
        walk.found.into_values().collect()
    }

    fn end(&mut self, steps: &[Step]) -> &mut Known {
        steps.iter().fold(self, |known, step| match step {
            Step::Member(name) => known.members.entry(name.clone()).or_default(),
            Step::Item(_) | Step::Each => known.each.get_or_insert_default(),
        })
    }
}

impl Walk<'_> {
    fn look(&mut self, json: &Json, known: &[&Known]) {
        if known.iter().any(|known| known.all) || self.settled.contains(&self.place) || self.found.len() >= MAX_TOLD {
            return;
        }
        let within: Vec<&Known> = known.iter().filter_map(|known| known.each.as_deref()).collect();
        match json {
            Json::Array(items) if !items.is_empty() && known.is_empty() => {
                self.found.entry(self.sort.clone()).or_insert_with(|| self.place.clone());
            }
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let (place, sort) = (self.place.len(), self.sort.len());
                    let _ = write!(self.place, "[{index}]");
                    self.sort.push_str("[*]");
                    self.look(item, &within);
                    self.place.truncate(place);
                    self.sort.truncate(sort);
                }
            }
            Json::Object(members) => {
                // What stands once in XML is a list of one.
                let single = !within.is_empty() && self.settled.contains(&format!("{}[0]", self.place));
                let known: Vec<&Known> = known.iter().copied().chain(within).collect();
                for (name, member) in members.iter().filter(|_| !single) {
                    let (place, sort) = (self.place.len(), self.sort.len());
                    for text in [&mut self.place, &mut self.sort] {
                        let point = if text.is_empty() { "" } else { "." };
                        let _ = write!(text, "{point}{name}");
                    }
                    let below: Vec<&Known> = known.iter().filter_map(|known| known.members.get(name)).collect();
                    self.look(member, &below);
                    self.place.truncate(place);
                    self.sort.truncate(sort);
                }
            }
            _ => {}
        }
    }
}
