//! What pages include besides their matches. <https://hl7.org/fhir/R4/search.html#include>

use std::collections::{BTreeSet, HashSet};

use super::{Sight, type_of};
use crate::query::{Include, Query};

impl Sight<'_, '_> {
    /// Positions of what a page with these matches includes: one step, and with `:iterate` as many as there are.
    pub(super) fn follow_all(&self, queries: &[Query], page: &[usize]) -> BTreeSet<usize> {
        let mut includes: Vec<&Include> = Vec::new();
        for include in queries.iter().flat_map(|query| &query.includes) {
            if !includes.contains(&include) {
                includes.push(include);
            }
        }
        let matches: HashSet<usize> = page.iter().copied().collect();
        let mut found = BTreeSet::new();
        let mut edge = page.to_vec();
        let mut is_first = true;
        while !edge.is_empty() {
            let applied = includes.iter().filter(|include| is_first || include.iterate);
            let reached: BTreeSet<usize> = applied.flat_map(|include| self.follow(include, &edge)).collect();
            edge = reached.into_iter().filter(|it| !matches.contains(it) && found.insert(*it)).collect();
            is_first = false;
        }
        found
    }

    /// What is one step from these rows, and visible.
    fn follow(&self, include: &Include, from: &[usize]) -> Vec<usize> {
        let world = self.world;
        let is_target =
            |index: usize| include.target_type.as_deref().is_none_or(|it| it == type_of(&world.rows[index]));
        let targets_of = |source: usize| -> Vec<usize> {
            let values = include.params.iter().filter_map(|param| world.values(source, param));
            let targets = values.flat_map(|values| values.iter().filter_map(|it| world.target(it)).collect::<Vec<_>>());
            targets.filter(|target| is_target(*target)).collect()
        };
        let sources = world.of_type(&include.source_type);
        let reached: Vec<usize> = if include.reverse {
            let ends: HashSet<usize> = from.iter().copied().collect();
            let points_here = |source: &usize| targets_of(*source).iter().any(|it| ends.contains(it));
            sources.iter().copied().filter(points_here).collect()
        } else {
            let begins = from.iter().copied().filter(|it| type_of(&world.rows[*it]) == include.source_type);
            begins.flat_map(targets_of).collect()
        };
        reached.into_iter().filter(|index| self.sees(*index)).collect()
    }
}
