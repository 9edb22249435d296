//! Where a condition stands: on which type, how deep, and how much the whole search has asked for already.

use std::cell::Cell;

use super::refusal::Refusal;
use super::{MAX_DEPTH, MAX_NODES, Options};

/// Where a condition stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The type that it is about.
    pub(super) resource_type: &'a str,
    /// What the server decides.
    pub(super) options: &'a Options,
    /// Conditions of the whole search that are made so far.
    spent: &'a Cell<usize>,
    /// How many references lead here.
    depth: usize,
}

impl<'a> Place<'a> {
    /// At the type that is searched.
    pub(super) fn new(resource_type: &'a str, options: &'a Options, spent: &'a Cell<usize>) -> Self {
        Place { resource_type, options, spent, depth: 0 }
    }

    /// Behind a reference. (IN-17)
    pub(super) fn behind<'b>(&self, resource_type: &'b str) -> Result<Place<'b>, Refusal>
    where
        'a: 'b,
    {
        if self.depth >= MAX_DEPTH {
            return Err(Refusal::too_costly(format!("more than {MAX_DEPTH} references one behind the other")));
        }
        self.spend(1)?;
        Ok(Place { resource_type, options: self.options, spent: self.spent, depth: self.depth + 1 })
    }

    /// Counts conditions. (IN-17)
    pub(super) fn spend(&self, conditions: usize) -> Result<(), Refusal> {
        self.spent.set(self.spent.get().saturating_add(conditions));
        if self.spent.get() <= MAX_NODES {
            return Ok(());
        }
        Err(Refusal::too_costly(format!(
            "the search comes to more than {MAX_NODES} conditions, one for each type that a reference may point at: \
             name the types, as in subject:Patient.name"
        )))
    }
}
