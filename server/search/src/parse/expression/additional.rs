//! The names that `_filter` has besides the search parameters: children of one element.
//! <https://hl7.org/fhir/R4/search_filter.html#params>
//!
//! "Any time these names are used in a parameter, they must have a filter and a chained name under them":
//! `relatesTo[code eq replaces].target re DocumentReference/1`. A composite parameter has the children of each element side
//! by side, so that is what they ask. Of what R4 lists, Observation and `ServiceRequest` have not even the parameters.

use super::compare;
use super::syntax::{self, Expression, Step, Test};
use crate::parse::MAX_ALTERNATIVES;
use crate::parse::condition::{exact_unless_indexed, find};
use crate::parse::place::Place;
use crate::parse::refusal::Refusal;
use crate::query::{Filter, Match};
use crate::registry::registry;

/// A name, and what it asks.
pub(super) struct Additional {
    resource_type: &'static str,
    name: &'static str,
    composite: &'static str,
    /// Names of the children, and the parameters that they are.
    children: [(&'static str, &'static str); 2],
}

static ADDITIONAL: [Additional; 2] = [
    Additional {
        resource_type: "DocumentReference",
        name: "relatesTo",
        composite: "relationship",
        children: [("code", "relation"), ("target", "relatesto")],
    },
    Additional {
        resource_type: "Group",
        name: "characteristic",
        composite: "characteristic-value",
        children: [("code", "characteristic"), ("value", "value")],
    },
];

/// The name that a path begins with, if it is one of these. A parameter of the same name stands by itself.
pub(super) fn named(resource_type: &str, step: &Step, rest: &[Step]) -> Option<&'static Additional> {
    let found = ADDITIONAL.iter().find(|it| it.resource_type == resource_type && it.name == step.name)?;
    let is_parameter = registry().find(resource_type, &step.name).is_some();
    (step.filter.is_some() || !rest.is_empty() || !is_parameter).then_some(found)
}

impl Additional {
    /// The condition on one element: what stands in brackets about one child, and the test of the other.
    pub(super) fn filter(&self, place: Place<'_>, step: &Step, rest: &[Step], test: &Test) -> Result<Filter, Refusal> {
        let (Some(filter), [last @ Step { filter: None, .. }]) = (&step.filter, rest) else {
            return Err(Refusal::invalid(self.usage()));
        };
        let [first, second] = self.children;
        let (other, last) = if last.name == second.0 {
            (first, second)
        } else if last.name == first.0 {
            (second, first)
        } else {
            return Err(syntax::refusal(last.at, &self.usage()));
        };
        let others = self.within(place, other, filter)?;
        let lasts = of_child(place, last, test)?;
        if others.len().saturating_mul(lasts.len()) > MAX_ALTERNATIVES {
            return Err(Refusal::too_costly(format!("{}: more than {MAX_ALTERNATIVES} alternatives", self.name)));
        }
        let composite = find(place.resource_type, self.composite)?;
        let no_index = || Refusal::not_supported(format!("{} has no index", self.composite));
        let param = composite.param().ok_or_else(no_index)?;
        let is_last_first = composite.components.first().is_some_and(|it| it.code == last.1);
        let both = |other: &Match, last: &Match| {
            let (first, second) = if is_last_first { (last, other) } else { (other, last) };
            vec![first.clone(), second.clone()]
        };
        let alternatives = others.iter().flat_map(|other| lasts.iter().map(move |last| both(other, last))).collect();
        place.spend(1)?;
        Ok(exact_unless_indexed(&composite, Filter::Composite { param, alternatives }))
    }

    /// The values of the child that an expression in brackets names.
    fn within(&self, place: Place<'_>, child: (&str, &str), expression: &Expression) -> Result<Vec<Match>, Refusal> {
        match expression {
            Expression::Or(list) => {
                let each = list.iter().map(|it| self.within(place, child, it)).collect::<Result<Vec<_>, _>>()?;
                Ok(each.concat())
            }
            Expression::Test(test) => match test.path.as_slice() {
                [Step { filter: None, name, .. }] if name == child.0 => of_child(place, child, test),
                _ => Err(syntax::refusal(test.at, &self.usage())),
            },
            Expression::And(_) | Expression::Not(_) => Err(Refusal::not_supported(format!(
                "{}[ … ] has tests of {} with or between them; neither and nor not",
                self.name, child.0
            ))),
        }
    }

    fn usage(&self) -> String {
        let (name, [(first, _), (second, _)]) = (self.name, self.children);
        format!("write {name}[{first} …].{second} … or {name}[{second} …].{first} …")
    }
}

/// What a test says of a child. Of whether there is one no composite knows: it has elements with a value of each child.
fn of_child(place: Place<'_>, (name, code): (&str, &str), test: &Test) -> Result<Vec<Match>, Refusal> {
    if !matches!(test.operator.as_str(), "eq" | "ne" | "re") {
        return Err(syntax::refusal(test.operator_at, &format!("of {name} there are eq, ne and re here")));
    }
    compare::alternatives(place, code, test)
}
