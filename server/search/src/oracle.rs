//! What the answer to a search must be, computed from the resources themselves: no index, no database.
//!
//! Simple rather than fast, but for two things: rows are found by type and id, and what was read from a resource is
//! kept. The store's answers are compared with it on both engines (invariant 5 of docs/src/architecture.md), and
//! views are tested against it (invariant 2).
//!
//! ```text
//! rows ─▶ World ─ through(view) ─▶ Sight ─ answer(query) ─▶ Answer
//! ```

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use fhir::json::Json;

use crate::compartment;
use crate::contained;
use crate::entry::ParamId;
use crate::filter::select::select;
use crate::filter::values::Value;
use crate::filter::words::WordList;
use crate::query::{Aspect, Filter, Param, ParamKind, Query, Words};
use crate::registry::registry;
use crate::view::{Compartment, TypeRule, View};
use link::{Links, Seat};

mod canonical;
mod include;
mod link;
mod order;

/// One current resource of the database.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Row id.
    pub rid: i64,
    /// The resource.
    pub resource: &'a Json,
    /// When it was last updated, microseconds since 1970.
    pub last_updated: i64,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Row ids of all matches in order, over all pages.
    pub matches: Vec<i64>,
    /// Row ids of what the first page ([`Query::count`] matches) includes besides its matches.
    pub included: BTreeSet<i64>,
    /// How many matches there are.
    pub total: usize,
}

/// All that is in the database, and what was read from it so far.
#[derive(Debug)]
pub struct World<'a> {
    base: &'a str,
    rows: Vec<Row<'a>>,
    by_type: HashMap<&'a str, Vec<usize>>,
    by_name: HashMap<(&'a str, &'a str), usize>,
    by_rid: HashMap<i64, usize>,
    /// Contained resources, which stand after all others, by type.
    contained: HashMap<&'a str, Vec<usize>>,
    /// Of contained resources: where the container is.
    containers: HashMap<usize, usize>,
    /// Where the contained resources of a container begin, and their places in it.
    inside: HashMap<usize, HashMap<usize, usize>>,
    read: Vec<Read>,
}

/// The values of one parameter in one resource; none if it has no such parameter.
type Values = Option<Rc<[Value]>>;

/// What was read from one resource so far.
#[derive(Debug, Default)]
struct Read {
    values: RefCell<HashMap<(ParamId, Aspect), Values>>,
    narrative: OnceCell<Rc<WordList>>,
    content: OnceCell<Rc<WordList>>,
    chronology: OnceCell<Option<i64>>,
}

/// A world through a view.
#[derive(Debug)]
pub struct Sight<'w, 'a> {
    world: &'w World<'a>,
    view: View,
    visible: Vec<OnceCell<bool>>,
}

impl<'a> World<'a> {
    /// The world of these rows; references below `base` are this server's. Of rows with the same type and id the
    /// last one counts as what references point at.
    pub fn new(rows: &[Row<'a>], base: &'a str) -> Self {
        let mut world = World {
            base,
            rows: rows.to_vec(),
            by_type: HashMap::new(),
            by_name: HashMap::new(),
            by_rid: HashMap::new(),
            contained: HashMap::new(),
            containers: HashMap::new(),
            inside: HashMap::new(),
            read: Vec::new(),
        };
        for (index, row) in rows.iter().enumerate() {
            let name = type_of(row);
            world.by_type.entry(name).or_default().push(index);
            world.by_name.insert((name, row.resource.str("id").unwrap_or_default()), index);
            world.by_rid.insert(row.rid, index);
            world.add_contained(row, index);
        }
        world.read = world.rows.iter().map(|_| Read::default()).collect();
        world
    }

    /// The contained resources of a row as rows of their own.
    fn add_contained(&mut self, row: &Row<'a>, container: usize) {
        for (place, (name, resource)) in contained::of(row.resource) {
            let index = self.rows.len();
            self.rows.push(Row { rid: contained::row_id(row.rid, place), resource, last_updated: row.last_updated });
            self.contained.entry(name).or_default().push(index);
            self.containers.insert(index, container);
            self.inside.entry(container).or_default().insert(place, index);
        }
    }

    /// The part of it that a view holds.
    pub fn through(&self, view: &View) -> Sight<'_, 'a> {
        Sight { world: self, view: view.clone(), visible: self.rows.iter().map(|_| OnceCell::new()).collect() }
    }

    fn of_type(&self, resource_type: &str) -> &[usize] {
        self.by_type.get(resource_type).map_or(&[], Vec::as_slice)
    }

    /// Where the resource that a reference points at is.
    fn target(&self, reference: &Value) -> Option<usize> {
        let Value::Local(resource_type, id) = reference else { return None };
        self.find(resource_type, id)
    }

    /// Where the contained resources are that a resource, or what it contains, points at by the parameter.
    fn inward(&self, index: usize, param: &Param) -> Vec<usize> {
        let resource = self.rows[index].resource;
        let container = self.containers.get(&index).copied().unwrap_or(index);
        let Some(inside) = self.inside.get(&container) else { return Vec::new() };
        let registry = registry();
        let Some(parameter) = registry.find(type_of(&self.rows[index]), &param.code) else { return Vec::new() };
        let elements = parameter.select_plainly(resource).unwrap_or_default();
        let fragments = elements.iter().filter_map(|element| element.json.str("reference")?.strip_prefix('#'));
        let standing = self.rows[container].resource.list("contained");
        let place = |id: &str| standing.iter().position(|contained| contained.str("id") == Some(id));
        fragments.filter_map(|id| inside.get(&place(id)?).copied()).collect()
    }

    fn find(&self, resource_type: &str, id: &str) -> Option<usize> {
        self.by_name.get(&(resource_type, id)).copied()
    }

    fn values(&self, index: usize, param: &Param) -> Option<Rc<[Value]>> {
        let read = &self.read[index].values;
        if let Some(known) = read.borrow().get(&(param.id, param.aspect)) {
            return known.clone();
        }
        let values = select(param, self.rows[index].resource, self.base).map(Rc::from);
        read.borrow_mut().insert((param.id, param.aspect), values.clone());
        values
    }

    fn words(&self, index: usize, filter: &Filter) -> Rc<WordList> {
        let read = &self.read[index];
        let place = match filter {
            Filter::Words { place: Words::Content, .. } => &read.content,
            _ => &read.narrative,
        };
        Rc::clone(place.get_or_init(|| Rc::new(WordList::asked(filter, self.rows[index].resource))))
    }
}

impl Sight<'_, '_> {
    /// Answers a search. The cursor is not looked at: pages are slices of [`Answer::matches`].
    pub fn answer(&self, query: &Query) -> Answer {
        self.answer_types(std::slice::from_ref(query))
    }

    /// Answers a search of several types, one query each, that agree in sort and page size.
    pub fn answer_types(&self, queries: &[Query]) -> Answer {
        let Some(first) = queries.first() else { return Answer::default() };
        let mut found: Vec<usize> = queries.iter().flat_map(|query| self.matches(query)).collect();
        self.world.sort(&mut found, &first.sort);
        let page = &found[..found.len().min(first.count)];
        let included = self.follow_all(queries, page);
        Answer { total: found.len(), included: self.rids(&included).collect(), matches: self.rids(&found).collect() }
    }

    /// Row ids of what a page with these matches includes besides them.
    pub fn included(&self, queries: &[Query], page: &[i64]) -> BTreeSet<i64> {
        let page: Vec<usize> = page.iter().filter_map(|rid| self.world.by_rid.get(rid).copied()).collect();
        self.rids(&self.follow_all(queries, &page)).collect()
    }

    /// Whether the view holds the row at a position.
    fn sees(&self, index: usize) -> bool {
        *self.visible[index].get_or_init(|| {
            let rule = match self.view.rule(type_of(&self.world.rows[index])) {
                TypeRule::Denied => false,
                TypeRule::Whole => true,
                TypeRule::Granular(alternatives) => {
                    let seat = Seat::alone(self.world, index);
                    alternatives.iter().any(|filters| filters.iter().all(|it| crate::filter::holds(it, &seat)))
                }
            };
            rule && self.is_in_compartment(index)
        })
    }

    fn matches(&self, query: &Query) -> Vec<usize> {
        let links = Links::new(self);
        let holds = |index: usize| query.filters.iter().all(|filter| links.holds(filter, index));
        let candidates = self.world.of_type(&query.resource_type).iter().copied();
        let own = || candidates.filter(|index| self.sees(*index) && holds(*index));
        let Some(asked) = &query.contained else { return own().collect() };
        let inside = self.world.contained.get(query.resource_type.as_str()).into_iter().flatten().copied();
        let mut found: BTreeSet<usize> = if asked.both { own().collect() } else { BTreeSet::new() };
        for index in inside {
            let container = self.world.containers[&index];
            let is_searched = asked.containers.iter().any(|name| name == type_of(&self.world.rows[container]));
            if is_searched && self.sees(container) && holds(index) {
                found.insert(if asked.alone { index } else { container });
            }
        }
        found.into_iter().collect()
    }

    fn is_in_compartment(&self, index: usize) -> bool {
        let Compartment::Patients(visible) = self.view.compartment() else { return true };
        let resource = self.world.rows[index].resource;
        let resource_type = resource.str("resourceType").unwrap_or_default();
        if resource_type == "Patient" && resource.str("id").is_some_and(|id| visible.iter().any(|it| it == id)) {
            return true;
        }
        let registry = registry();
        let mut names_someone = resource_type == "Patient";
        for code in compartment::parameters(resource_type) {
            let Some(parameter) = registry.find(resource_type, code) else { continue };
            // Not `values`: whoever is named counts, also where the reference leads nowhere.
            names_someone |= parameter.select_plainly(resource).is_ok_and(|elements| !elements.is_empty());
            let Some(param) = parameter.param().filter(|it| it.kind == ParamKind::Reference) else { continue };
            let values = self.world.values(index, &param);
            let is_visible =
                |it: &Value| matches!(it, Value::Local(name, id) if name == "Patient" && visible.contains(id));
            if values.is_some_and(|values| values.iter().any(is_visible)) {
                return true;
            }
        }
        !names_someone && compartment::is_shared(resource_type)
    }

    fn rids<'b>(&'b self, indices: impl IntoIterator<Item = &'b usize> + 'b) -> impl Iterator<Item = i64> + 'b {
        indices.into_iter().map(|index| self.world.rows[*index].rid)
    }
}

fn type_of<'a>(row: &Row<'a>) -> &'a str {
    row.resource.str("resourceType").unwrap_or_default()
}

#[cfg(test)]
mod tests;
