//! Filters that look at other resources: chains, `_has` and hierarchies. Whatever is passed through must be visible.
//! <https://hl7.org/fhir/R4/search.html#chaining>

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ptr;
use std::rc::Rc;

use fhir::json::Json;

use super::{Sight, World, type_of};
use crate::contained;
use crate::filter::values::Value;
use crate::filter::words::WordList;
use crate::filter::{self, Subject};
use crate::query::{Filter, Param};

/// The links that one query asks about, each looked at once.
pub(super) struct Links<'s, 'w, 'a> {
    sight: &'s Sight<'w, 'a>,
    /// Whether a row is what the chain at this address asks for.
    ends: RefCell<HashMap<(*const Filter, usize), bool>>,
    /// What the sources of the `_has` at this address point at.
    pointed_at: RefCell<HashMap<*const Filter, Rc<HashSet<usize>>>>,
}

impl<'s, 'w, 'a> Links<'s, 'w, 'a> {
    pub(super) fn new(sight: &'s Sight<'w, 'a>) -> Self {
        Links { sight, ends: RefCell::default(), pointed_at: RefCell::default() }
    }

    /// Whether the row at a position, which is visible, satisfies the filter.
    pub(super) fn holds(&self, filter: &Filter, index: usize) -> bool {
        filter::holds(filter, &Seat { world: self.sight.world, index, links: Some(self) })
    }

    fn all_hold(&self, filters: &[Filter], index: usize) -> bool {
        self.sight.sees(index) && filters.iter().all(|it| self.holds(it, index))
    }

    fn is_linked(&self, filter: &Filter, index: usize) -> bool {
        match filter {
            Filter::Chain { param, target_type, filters } => {
                let world = self.sight.world;
                let values = world.values(index, param).filter(|_| param.leads.by_reference());
                let meant = self.sight.behind_canonicals(index, param, Some(target_type));
                values.is_some_and(|values| values.iter().any(|it| self.is_end(filter, it, target_type, filters)))
                    || meant.into_iter().any(|target| self.all_hold(filters, target))
                    || world.inward(index, param).into_iter().any(|inside| {
                        let can_be_asked = |it: &Filter| contained::filter(target_type, it).is_some();
                        type_of(&world.rows[inside]) == target_type
                            && filters.iter().all(|it| can_be_asked(it) && self.holds(it, inside))
                    })
            }
            Filter::Has { source_type, param, filters } => {
                let known = self.pointed_at.borrow().get(&ptr::from_ref(filter)).cloned();
                let pointed_at = known.unwrap_or_else(|| {
                    let found = Rc::new(self.targets(source_type, param, filters));
                    self.pointed_at.borrow_mut().insert(ptr::from_ref(filter), Rc::clone(&found));
                    found
                });
                pointed_at.contains(&index)
            }
            _ => false,
        }
    }

    /// Whether a reference points at a resource of the type that the chain asks for.
    fn is_end(&self, chain: &Filter, reference: &Value, target_type: &str, filters: &[Filter]) -> bool {
        if !matches!(reference, Value::Local(resource_type, _) if resource_type == target_type) {
            return false;
        }
        let Some(target) = self.sight.world.target(reference) else { return false };
        let place = (ptr::from_ref(chain), target);
        let known = self.ends.borrow().get(&place).copied();
        known.unwrap_or_else(|| {
            let is_end = self.all_hold(filters, target);
            self.ends.borrow_mut().insert(place, is_end);
            is_end
        })
    }

    /// What the visible sources that satisfy the filters point at.
    fn targets(&self, source_type: &str, param: &Param, filters: &[Filter]) -> HashSet<usize> {
        let world = self.sight.world;
        let mut targets = HashSet::new();
        for source in world.of_type(source_type).iter().copied().filter(|source| self.all_hold(filters, *source)) {
            targets.extend(self.sight.behind_canonicals(source, param, None));
            let values = world.values(source, param).filter(|_| param.leads.by_reference());
            targets.extend(values.iter().flat_map(|values| values.iter()).filter_map(|it| world.target(it)));
        }
        targets
    }

    /// Follows the `parent` references of visible resources, each once: there may be circles.
    fn leads_to(&self, from: (&str, &str), to: (&str, &str), parent: &Param) -> bool {
        let world = self.sight.world;
        let mut rest: Vec<usize> = world.find(from.0, from.1).into_iter().collect();
        let mut seen: HashSet<usize> = rest.iter().copied().collect();
        while let Some(index) = rest.pop() {
            if !self.sight.sees(index) {
                continue;
            }
            for value in world.values(index, parent).iter().flat_map(|values| values.iter()) {
                if matches!(value, Value::Local(resource_type, id) if (resource_type.as_str(), id.as_str()) == to) {
                    return true;
                }
                rest.extend(world.target(value).filter(|target| seen.insert(*target)));
            }
        }
        false
    }
}

/// A row that filters are asked about.
pub(super) struct Seat<'l, 's, 'w, 'a> {
    world: &'w World<'a>,
    index: usize,
    /// Nothing where the view itself is asked about, whose rules look at single resources.
    links: Option<&'l Links<'s, 'w, 'a>>,
}

impl<'w, 'a> Seat<'_, '_, 'w, 'a> {
    pub(super) fn alone(world: &'w World<'a>, index: usize) -> Self {
        Seat { world, index, links: None }
    }
}

impl Subject for Seat<'_, '_, '_, '_> {
    fn resource(&self) -> &Json {
        self.world.rows[self.index].resource
    }

    fn last_updated(&self) -> Option<i64> {
        Some(self.world.rows[self.index].last_updated)
    }

    fn values(&self, param: &Param) -> Option<Rc<[Value]>> {
        self.world.values(self.index, param)
    }

    fn words(&self, filter: &Filter) -> Rc<WordList> {
        self.world.words(self.index, filter)
    }

    fn is_linked(&self, filter: &Filter) -> bool {
        self.links.is_some_and(|links| links.is_linked(filter, self.index))
    }

    fn leads_to(&self, from: (&str, &str), to: (&str, &str), parent: &Param) -> bool {
        self.links.is_some_and(|links| links.leads_to(from, to, parent))
    }
}
