//! `_filter`: conditions with `and`, `or` and `not`. <https://hl7.org/fhir/R4/search_filter.html>
//!
//! "Logical expressions are evaluated left to right, with no precedence between "and" and "or"". What the specification gives no meaning for on a type of parameter is
//! refused with the byte at which it stands. The operators, by type of parameter:
//!
//! | operator | on |
//! |---|---|
//! | `eq`, `ne` | all but composites; strings folded; `ne`: some value differs, as the specification has it |
//! | `co`, `sw`, `ew` | string |
//! | `gt`, `lt`, `ge`, `le`, `ap`, `sa`, `eb` | number, date, quantity |
//! | `po` | date: the periods overlap |
//! | `pr` | all but composites: whether there is a value, `true` or `false` |
//! | `ss`, `sb`, `in`, `ni` | token: subsumes, is subsumed by, in value set, not in value set |
//! | `re` | reference |

use super::chain::{self, Behind};
use super::condition::{exact_unless_indexed, find, kind};
use super::escape::escape;
use super::place::Place;
use super::refusal::Refusal;
use super::{date, hierarchy, modifier, number, quantity, reference, string, token, uri};
use crate::query::{Direction, Filter, Match, ParamKind, Prefix, StringMode};
use crate::registry::Parameter;

use syntax::{Expression, Step, Test};

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

fn compare(place: Place<'_>, code: &str, test: &Test) -> Result<Filter, Refusal> {
    let (operator, value) = (test.operator.as_str(), test.value.as_str());
    let escaped = escape(value);
    let not_here = |what: &str| syntax::refusal(test.operator_at, &format!("{operator} has no meaning on {what}"));
    match code {
        "_id" => {
            let ids = token::ids(&escaped)?;
            return match operator {
                "eq" => Ok(ids),
                "ne" => Ok(Filter::Not(Box::new(ids))),
                "pr" => Ok(if present(test)? { Filter::All(Vec::new()) } else { Filter::Or(Vec::new()) }),
                _ => Err(not_here("_id")),
            };
        }
        "_lastUpdated" => {
            let Some(date) = dated(place, code, operator, &escaped)? else { return Err(not_here("_lastUpdated")) };
            return Ok(Filter::LastUpdated(vec![date]));
        }
        _ => {}
    }
    let parameter = find(place.resource_type, code)?;
    let Some(kind) = kind(&parameter).filter(|it| *it != ParamKind::Composite) else {
        return Err(not_here(&format!("{} parameters", parameter.kind.as_str())));
    };
    let not_here = || not_here(&format!("{} parameters such as {code}", parameter.kind.as_str()));
    let filter = if operator == "pr" {
        Filter::Missing { param: parameter.param().ok_or_else(not_here)?, missing: !present(test)? }
    } else if kind == ParamKind::Quantity {
        let prefix = prefix(operator).ok_or_else(not_here)?;
        quantity::filter(&parameter, &format!("{prefix}{escaped}"))?
    } else {
        let matches = matches(place, &parameter, kind, operator, &escaped)?.ok_or_else(not_here)?;
        Filter::Any { param: parameter.param().ok_or_else(not_here)?, matches, negated: operator == "ni" }
    };
    Ok(exact_unless_indexed(&parameter, filter))
}

/// What the parameter's values are compared with; None where the operator has no meaning.
fn matches(
    place: Place<'_>,
    parameter: &Parameter,
    kind: ParamKind,
    operator: &str,
    value: &str,
) -> Result<Option<Vec<Match>>, Refusal> {
    let code = parameter.code.as_str();
    let words = |mode| string::matches(code, &value.replace('|', "\\|"), mode);
    let matches = match (kind, operator) {
        (ParamKind::Token, "eq" | "ne") => token::of(parameter, value)?,
        (ParamKind::Token, "in" | "ni") => token::value_sets(code, value, place.options)?,
        // The value subsumes a concept of the resource: that lies below it.
        (ParamKind::Token, "ss") => vec![hierarchy::subsumed(code, value, Direction::Below)?],
        (ParamKind::Token, "sb") => vec![hierarchy::subsumed(code, value, Direction::Above)?],
        (ParamKind::String, "eq" | "ne") => words(StringMode::Equals)?,
        (ParamKind::String, "sw") => words(StringMode::StartsWith)?,
        (ParamKind::String, "co") => words(StringMode::Contains)?,
        (ParamKind::String, "ew") => words(StringMode::EndsWith)?,
        (ParamKind::Date, _) => {
            return Ok(dated(place, code, operator, value)?.map(|date| vec![Match::Date(date)]));
        }
        (ParamKind::Number, _) => {
            let Some(prefix) = prefix(operator) else { return Ok(None) };
            vec![Match::Number(number::one(code, &format!("{prefix}{value}"))?)]
        }
        (ParamKind::Uri, "eq" | "ne") => uri::matches(code, &value.replace('|', "\\|"))?,
        (ParamKind::Reference, "re" | "eq" | "ne") => reference::matches(parameter, None, value, place.options)?,
        _ => return Ok(None),
    };
    let is_prefixed = matches!(kind, ParamKind::Number | ParamKind::Date);
    if operator != "ne" || is_prefixed {
        return Ok(Some(matches));
    }
    match <[Match; 1]>::try_from(matches) {
        Ok([one]) => Ok(Some(vec![Match::Other(Box::new(one))])),
        Err(_) => Err(Refusal::invalid(format!("{code} ne {value:?}: write the type of what is pointed at: Type/id"))),
    }
}

fn dated(
    place: Place<'_>,
    code: &str,
    operator: &str,
    value: &str,
) -> Result<Option<crate::query::DateMatch>, Refusal> {
    let prefix = if operator == "po" { Some("eq") } else { prefix(operator) };
    let Some(prefix) = prefix else { return Ok(None) };
    let date = date::one(code, &format!("{prefix}{value}"), place.options.now)?;
    // `ap` is an overlap with the interval, which is not widened here.
    let prefix = if operator == "po" { Prefix::Ap } else { date.prefix };
    Ok(Some(crate::query::DateMatch { prefix, ..date }))
}

/// The prefix of a search value that means the same.
fn prefix(operator: &str) -> Option<&str> {
    matches!(operator, "eq" | "ne" | "gt" | "lt" | "ge" | "le" | "sa" | "eb" | "ap").then_some(operator)
}

fn present(test: &Test) -> Result<bool, Refusal> {
    match test.value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(syntax::refusal(test.value_at, &format!("pr is compared with true or false, not {other:?}"))),
    }
}
