//! Whether a resource satisfies a filter, found by looking at the resource alone, without any index.
//! <https://hl7.org/fhir/R4/search.html>
//!
//! The oracle is made of this, granular scopes check what is about to be written with it (SM-24), and the store asks
//! it for [`Filter::Exact`]. It shares the parameter definitions with [`extract`](crate::extract), nothing else: data
//! types are read by [`values`] anew.

use std::cell::OnceCell;
use std::rc::Rc;

use fhir::date::DateTime;
use fhir::json::Json;

use crate::query::{Direction, Filter, Match, Param, Words};
use compare::{dates, satisfies};
use select::select;
use values::Value;
use words::WordList;

mod compare;
mod near;
pub(crate) mod select;
pub(crate) mod values;
pub(crate) mod words;

/// Whether `resource` satisfies `filter`; `_lastUpdated` looks at `meta.lastUpdated`. References below `base` are this
/// server's. A parameter that the type does not have (or has by another definition) is never satisfied, not even
/// negated. As [`matches_at`], without other resources.
pub fn matches(filter: &Filter, resource: &Json, base: &str) -> bool {
    let last_updated = resource.at(&["meta", "lastUpdated"]).and_then(Json::as_str).and_then(DateTime::parse);
    matches_at(filter, resource, base, last_updated.map(|instant| instant.interval().0))
}

/// As [`matches()`], for a resource that was last updated at the given microsecond since 1970.
///
/// Only this resource is looked at. What concerns others is therefore not satisfied: [`Filter::Chain`] and
/// [`Filter::Has`] never, [`Match::Hierarchy`] only by its beginning itself. The parser puts none of them where
/// this function decides.
pub fn matches_at(filter: &Filter, resource: &Json, base: &str, last_updated: Option<i64>) -> bool {
    holds(filter, &Alone { resource, base, last_updated, words: [OnceCell::new(), OnceCell::new()] })
}

/// A resource that filters are asked about, and what it is among.
pub(crate) trait Subject {
    fn resource(&self) -> &Json;

    /// Microseconds since 1970.
    fn last_updated(&self) -> Option<i64>;

    /// The values of a parameter; None if the type has no such parameter.
    fn values(&self, param: &Param) -> Option<Rc<[Value]>>;

    fn words(&self, filter: &Filter) -> Rc<WordList>;

    /// Whether a [`Filter::Chain`] or [`Filter::Has`] holds.
    fn is_linked(&self, filter: &Filter) -> bool;

    /// Whether the path along `parent` from one resource (type, id) upwards comes to the other.
    fn leads_to(&self, from: (&str, &str), to: (&str, &str), parent: &Param) -> bool;
}

/// Whether the filter holds.
pub(crate) fn holds(filter: &Filter, subject: &impl Subject) -> bool {
    match filter {
        Filter::Id(ids) => subject.resource().str("id").is_some_and(|id| ids.iter().any(|it| it == id)),
        Filter::LastUpdated(wanted) => {
            subject.last_updated().is_some_and(|instant| wanted.iter().any(|date| dates(date, instant, instant)))
        }
        Filter::Missing { param, missing } => {
            select::has_element(param, subject.resource()).is_some_and(|has| has != *missing)
        }
        Filter::Any { param, matches, negated } => subject.values(param).is_some_and(|values| {
            let any = values.iter().any(|value| matches.iter().any(|wanted| is_match(value, wanted, subject)));
            any != *negated
        }),
        Filter::Composite { param, alternatives } => subject.values(param).is_some_and(|elements| {
            elements.iter().any(|element| alternatives.iter().any(|wanted| is_combined(element, wanted, subject)))
        }),
        Filter::Chain { .. } | Filter::Has { .. } => subject.is_linked(filter),
        Filter::All(filters) => filters.iter().all(|it| holds(it, subject)),
        Filter::Or(filters) => filters.iter().any(|it| holds(it, subject)),
        Filter::Not(inner) => !holds(inner, subject),
        Filter::Exact(inner) => holds(inner, subject),
        Filter::Near { circle, .. } => near::is_inside(subject.resource(), circle),
        Filter::Words { words, .. } => subject.words(filter).has_all(words),
    }
}

fn is_match(value: &Value, wanted: &Match, subject: &impl Subject) -> bool {
    if let Match::Other(wanted) = wanted {
        return !matches!(value, Value::Part(_)) && !is_match(value, wanted, subject);
    }
    let (Match::Hierarchy { target, parent, direction }, Value::Local(resource_type, id)) = (wanted, value) else {
        return satisfies(value, wanted);
    };
    let crate::entry::Target::Local { resource_type: wanted_type, id: wanted_id } = target else { return false };
    let (has, wanted) = ((resource_type.as_str(), id.as_str()), (wanted_type.as_str(), wanted_id.as_str()));
    has == wanted
        || match direction {
            Direction::Above => subject.leads_to(wanted, has, parent),
            Direction::Below => subject.leads_to(has, wanted, parent),
        }
}

/// One element has, for each component, a value that matches.
fn is_combined(element: &Value, wanted: &[Match], subject: &impl Subject) -> bool {
    let Value::Composite(components) = element else { return false };
    components.len() == wanted.len()
        && components.iter().zip(wanted).all(|(values, wanted)| values.iter().any(|it| is_match(it, wanted, subject)))
}

/// A resource without others.
struct Alone<'a> {
    resource: &'a Json,
    base: &'a str,
    last_updated: Option<i64>,
    /// Of the narrative and of all of it, once they were asked for.
    words: [OnceCell<Rc<WordList>>; 2],
}

impl Subject for Alone<'_> {
    fn resource(&self) -> &Json {
        self.resource
    }

    fn last_updated(&self) -> Option<i64> {
        self.last_updated
    }

    fn values(&self, param: &Param) -> Option<Rc<[Value]>> {
        select(param, self.resource, self.base).map(Rc::from)
    }

    fn words(&self, filter: &Filter) -> Rc<WordList> {
        let is_whole = matches!(filter, Filter::Words { place: Words::Content, .. });
        Rc::clone(self.words[usize::from(is_whole)].get_or_init(|| Rc::new(WordList::asked(filter, self.resource))))
    }

    fn is_linked(&self, _filter: &Filter) -> bool {
        false
    }

    fn leads_to(&self, _from: (&str, &str), _to: (&str, &str), _parent: &Param) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
