//! Which entries of a transaction write what criteria mean: no index knows of their resources yet, so these are asked.

use std::collections::HashMap;
use std::rc::Rc;

use fhir::json::Json;
use search::entry::Target;
use search::filter;
use search::query::{Filter, Match, ParamKind, Query};

use super::entry::Action;
use super::links::{Links, rewrite};
use super::resolution::{Settled, Step};
use crate::rest::conditional::Criteria;

/// What the entries write, and what criteria have found among it.
pub(super) struct Writes<'a> {
    steps: &'a [Step],
    base: &'a str,
    /// What links of the resources point at, as far as it has an id already that criteria can name.
    links: Links,
    index: Option<Index<'a>>,
    /// Resources in which links are replaced, where criteria look at them.
    rewritten: HashMap<usize, Json>,
    /// What criteria have found, by their key.
    satisfying: HashMap<&'a str, Rc<[usize]>>,
}

/// Entries by what they write: so that as many criteria as entries do not ask each of them.
#[derive(Default)]
struct Index<'a> {
    /// By type.
    types: HashMap<&'a str, Vec<usize>>,
    /// By type, and what stands as `code` or `value` anywhere in the resource.
    codes: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Writes<'a> {
    pub(super) fn new(steps: &'a [Step], base: &'a str, links: Links) -> Self {
        Writes { steps, base, links, index: None, rewritten: HashMap::new(), satisfying: HashMap::new() }
    }

    /// Entries, in their order, whose resource satisfies the criteria. What looks into other resources cannot be asked:
    /// of that, equal criteria are taken to mean the same resource, and others to mean another.
    pub(super) fn satisfying(&mut self, criteria: &'a Criteria) -> Rc<[usize]> {
        if let Some(known) = self.satisfying.get(criteria.lock_key()) {
            return known.clone();
        }
        let index = self.index.get_or_insert_with(|| Index::of(self.steps));
        let candidates = index.candidates(criteria.query());
        let all: Rc<[usize]> = candidates.into_iter().filter(|entry| self.holds(criteria, *entry)).collect();
        self.satisfying.insert(criteria.lock_key(), all.clone());
        all
    }

    /// Where the entries of these write their resource, of those that write one.
    pub(super) fn ids<'s>(&self, entries: &[usize], settled: &'s [Settled]) -> Vec<&'s str>
    where
        'a: 's,
    {
        let is_written = |one: &Settled| matches!(one, Settled::New | Settled::Update(..) | Settled::Patch(_));
        let written = entries.iter().filter(|entry| is_written(&settled[**entry]));
        written.map(|entry| self.steps[*entry].id(&settled[*entry])).collect()
    }

    fn holds(&mut self, criteria: &Criteria, entry: usize) -> bool {
        let step = &self.steps[entry];
        let filters = &criteria.query().filters;
        let Some((_, mut resource)) = step.resource() else { return false };
        if filters.iter().any(may_look_at_links) {
            let links = &self.links;
            resource = self.rewritten.entry(entry).or_insert_with(|| replaced(step, resource, links));
        }
        filters.iter().all(|filter| match filter {
            // The server gives it an id that no client knows.
            Filter::Id(_) if matches!(step.action, Action::Create { .. }) => false,
            _ if !types_looked_into(filter).is_empty() => step.lock_key() == criteria.lock_key(),
            _ => filter::matches(filter, resource, self.base),
        })
    }
}

impl<'a> Index<'a> {
    fn of(steps: &'a [Step]) -> Self {
        let mut index = Index::default();
        for (entry, step) in steps.iter().enumerate() {
            let Some((resource_type, resource)) = step.resource() else { continue };
            index.types.entry(resource_type).or_default().push(entry);
            codes_in(resource, &mut |code| {
                let entries = index.codes.entry((resource_type, code)).or_default();
                if entries.last() != Some(&entry) {
                    entries.push(entry);
                }
            });
        }
        index
    }

    /// Entries among which those are that satisfy the query.
    fn candidates(&self, query: &Query) -> Vec<usize> {
        let resource_type = query.resource_type.as_str();
        let Some(codes) = query.filters.iter().filter_map(wanted_codes).min_by_key(Vec::len) else {
            return self.types.get(resource_type).cloned().unwrap_or_default();
        };
        let entries = codes.into_iter().filter_map(|code| self.codes.get(&(resource_type, code)));
        let mut entries: Vec<usize> = entries.flatten().copied().collect();
        entries.sort_unstable();
        entries.dedup();
        entries
    }
}

/// The types of other resources on which the answer depends: those behind references, and those that lie above and below
/// each other.
pub(super) fn types_looked_into(filter: &Filter) -> Vec<&str> {
    let mut types = filter.types_looked_into();
    let mut open = vec![filter];
    while let Some(filter) = open.pop() {
        open.extend(filter.children());
        let Filter::Any { matches, .. } = filter else { continue };
        types.extend(matches.iter().filter_map(|wanted| match wanted {
            Match::Hierarchy { target: Target::Local { resource_type, .. }, .. } => Some(resource_type.as_str()),
            _ => None,
        }));
    }
    types
}

/// Codes one of which stands as it is in every resource that satisfies the filter: those of tokens with a system, for
/// only Identifiers, Codings and `ContactPoints` have one.
fn wanted_codes(filter: &Filter) -> Option<Vec<&str>> {
    let Filter::Any { matches, negated: false, .. } = filter else { return None };
    let code = |wanted| match wanted {
        &Match::Token { system: Some(ref system), code: Some(ref code) } if !system.is_empty() => Some(code.as_str()),
        _ => None,
    };
    matches.iter().map(code).collect()
}

/// Calls `found` with what stands as `code` or `value`, at any depth.
fn codes_in<'a>(value: &'a Json, found: &mut impl FnMut(&'a str)) {
    match value {
        Json::Array(items) => items.iter().for_each(|item| codes_in(item, found)),
        Json::Object(object) => {
            for (name, member) in object.iter() {
                match member {
                    Json::String(text) if name == "code" || name == "value" => found(text),
                    _ => codes_in(member, found),
                }
            }
        }
        _ => {}
    }
}

/// Whether the filter may ask where something points, which is known once links are replaced.
fn may_look_at_links(filter: &Filter) -> bool {
    use ParamKind::{Date, Number, Quantity, String, Token};
    !matches!(filter, Filter::Any { param, .. } if matches!(param.kind, Date | Number | Quantity | String | Token))
}

/// The resource with its links replaced.
fn replaced(step: &Step, resource: &Json, links: &Links) -> Json {
    let mut copy = resource.clone();
    // What points nowhere is refused later, with its place.
    let _refused_later = rewrite(&mut copy, step.full_url.as_deref(), links, Some(&resource.to_string()));
    copy
}
