//! What pages include besides their matches. <https://hl7.org/fhir/R4/search.html#include>

use std::collections::{BTreeSet, HashSet};

use fhir::json::Json;
use fhir::reference::Reference;

use super::{Sight, World, type_of};
use crate::query::{Include, Param, Query};
use crate::registry::registry;

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
        let only = include.target_type.as_deref();
        let targets_of = |source: usize| -> Vec<usize> {
            let ends = include.params.iter().flat_map(|param| {
                let mut ends = self.behind_canonicals(source, param, only);
                ends.extend(world.referred(source, param, !include.reverse));
                ends
            });
            ends.filter(|target| only.is_none_or(|it| it == type_of(&world.rows[*target]))).collect()
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

impl World<'_> {
    /// What a resource refers to by a parameter. Where versions count, a reference to one leads nowhere but to the current
    /// one: of others there are no rows.
    fn referred(&self, source: usize, param: &Param, versions_count: bool) -> Vec<usize> {
        if !param.leads.by_reference() {
            return Vec::new();
        }
        let resource = self.rows[source].resource;
        let values = self.values(source, param);
        let all = || values.iter().flat_map(|values| values.iter()).filter_map(|it| self.target(it)).collect();
        let registry = registry();
        let Some(parameter) = registry.find(type_of(&self.rows[source]), &param.code).filter(|_| versions_count) else {
            return all();
        };
        let elements = parameter.select_plainly(resource).unwrap_or_default();
        let texts: Vec<&str> = elements.iter().filter_map(|element| element.json.str("reference")).collect();
        if !texts.iter().any(|text| text.contains("/_history/")) {
            return all();
        }
        let current = |text: &str| {
            let Reference::Local { resource_type, id, version } = Reference::parse(text, self.base) else {
                return None;
            };
            let target = self.find(&resource_type, &id)?;
            let now = self.rows[target].resource.at(&["meta", "versionId"]).and_then(Json::as_str);
            version.is_none_or(|version| now == Some(version.as_str())).then_some(target)
        };
        texts.into_iter().filter_map(current).collect()
    }
}
