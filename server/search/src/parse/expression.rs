//! `_filter`: conditions with `and`, `or` and `not`. <https://hl7.org/fhir/R4/search_filter.html>
//!
//! "Logical expressions are evaluated left to right, with no precedence between "and" and "or"". What is refused is
//! named with the byte at which it stands.

use super::chain::{self, Behind};
use super::modifier;
use super::place::Place;
use super::refusal::Refusal;
use crate::query::Filter;

use compare::compare;
use syntax::{Expression, Step, Test};

mod additional;
mod compare;
mod syntax;

/// The condition that the expression states.
pub(super) fn filter(place: Place<'_>, text: &str) -> Result<Filter, Refusal> {
    syntax::parse(text).and_then(|expression| read(place, &expression)).map_err(Refusal::firm)
}

fn read(place: Place<'_>, expression: &Expression) -> Result<Filter, Refusal> {
    let all = |list: &[Expression]| list.iter().map(|it| read(place, it)).collect::<Result<Vec<_>, _>>();
    let filter = match expression {
        Expression::And(list) => Filter::All(all(list)?),
        Expression::Or(list) => Filter::Or(all(list)?),
        Expression::Not(inner) => Filter::Not(Box::new(read(place, inner)?)),
        Expression::Test(test) => return path(place, &test.path, test),
    };
    place.spend(1)?;
    Ok(filter)
}

/// The rest of a path: references, and in the end what is compared.
fn path(place: Place<'_>, steps: &[Step], test: &Test) -> Result<Filter, Refusal> {
    let Some((step, rest)) = steps.split_first() else {
        return Err(syntax::refusal(test.at, "a parameter is missing"));
    };
    let here = |refusal: Refusal| refusal.within(&syntax::place(step.at));
    if let Some(written) = step.name.strip_prefix("_has:") {
        let behind = |place: Place<'_>, name: &str| {
            let step = Step { name: name.to_owned(), ..step.clone() };
            path(place, &[std::slice::from_ref(&step), rest].concat(), test)
        };
        return chain::pointed_at(place, written, &behind).map_err(here);
    }
    if let Some(additional) = additional::named(place.resource_type, step, rest) {
        return additional.filter(place, step, rest, test).map_err(here);
    }
    let (code, only) = step.name.split_once(':').map_or((step.name.as_str(), None), |(code, only)| (code, Some(only)));
    let Some(next) = rest.first() else {
        if step.filter.is_some() {
            return Err(syntax::refusal(step.at, "behind [ … ] a . and a parameter of what is pointed at must follow"));
        }
        modifier::none(code, only).map_err(here)?;
        let filter = compare(place, code, test).map_err(here)?;
        place.spend(filter.size())?;
        return Ok(filter);
    };
    let filters = |place: Place<'_>| {
        let mut filters = Vec::new();
        if let Some(filter) = &step.filter {
            filters.push(read(place, filter)?);
        }
        filters.push(path(place, rest, test)?);
        Ok(filters)
    };
    chain::forward(place, code, &Behind { only, next: &next.name, filters: &filters }).map_err(here)
}
