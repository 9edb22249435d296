//! One comparison of `_filter`. <https://hl7.org/fhir/R4/search_filter.html#ops>
//!
//! What the specification gives no meaning for on a type of parameter is refused. The operators, by type of parameter:
//!
//! | operator | on |
//! |---|---|
//! | `eq`, `ne` | all but composites; strings folded, tokens in any case; `ne`: some value differs, as R4 has it |
//! | `co`, `sw`, `ew` | string |
//! | `co` | number, date: what the resource states may denote the value, or has all of it in its period |
//! | `gt`, `lt`, `ge`, `le` | number, date, quantity; string: the first letter, by its number in Unicode |
//! | `ap`, `sa`, `eb` | number, date, quantity |
//! | `po` | date: the periods overlap |
//! | `pr` | all but composites: whether there is a value, `true` or `false` |
//! | `ss`, `sb`, `in`, `ni` | token: subsumes, is subsumed by, in value set, not in value set |
//! | `re` | reference |

use super::syntax::{self, Test};
use crate::parse::condition::{everything, exact_unless_indexed, find, kind, list};
use crate::parse::escape::escape;
use crate::parse::place::Place;
use crate::parse::refusal::Refusal;
use crate::parse::{date, hierarchy, number, quantity, reference, string, token, uri};
use crate::query::{DateMatch, Direction, Filter, Match, Order, ParamKind, Prefix, StringMode};
use crate::registry::{Parameter, elements, implied};

/// Names that "can be used in place of their associated full namespace".
const NAMESPACES: [(&str, &str); 4] = [
    ("loinc", "http://loinc.org"),
    ("snomed", "http://snomed.info/sct"),
    ("rxnorm", "http://www.nlm.nih.gov/research/umls/rxnorm"),
    ("ucum", fhir::ucum::SYSTEM),
];

/// The condition that `code operator value` states.
pub(super) fn compare(place: Place<'_>, code: &str, test: &Test) -> Result<Filter, Refusal> {
    let operator = test.operator.as_str();
    let not_here = |what: &str| syntax::refusal(test.operator_at, &format!("{operator} has no meaning on {what}"));
    match code {
        "_id" | "_lastUpdated" if operator == "pr" => return Ok(everything(present(test)?)),
        "_id" => {
            let ids = token::ids(&escape(&test.value))?;
            return match operator {
                "eq" => Ok(ids),
                "ne" => Ok(Filter::Not(Box::new(ids))),
                _ => Err(not_here("_id")),
            };
        }
        "_lastUpdated" => {
            let date = dated(place, code, operator, &escape(&test.value))?;
            return Ok(Filter::LastUpdated(vec![date.ok_or_else(|| not_here("_lastUpdated"))?]));
        }
        "_list" if operator == "eq" => return list(&escape(&test.value)),
        "_list" => return Err(not_here("_list, which has eq: write _list eq 1, or not (_list eq 1)")),
        "_has" => return Err(syntax::refusal(test.at, "write _has:Type:reference:parameter in front of the operator")),
        "_filter" | "_text" | "_content" => {
            let why = format!("{code} is no parameter of an expression: write {code}=… beside _filter, both must hold");
            return Err(syntax::refusal(test.at, &why));
        }
        _ => {}
    }
    let parameter = find(place.resource_type, code)?;
    let Some(kind) = kind(&parameter).filter(|it| *it != ParamKind::Composite) else {
        return Err(not_here(&format!("{} parameters", parameter.kind.as_str())));
    };
    let not_here = || not_here(&format!("{} parameters such as {code}", parameter.kind.as_str()));
    if operator == "ne" && elements::can_select(&parameter, &["canonical"]) {
        // Each stands in the index with and without its version: one of the two always differs.
        let why = format!("ne has no meaning on canonical URLs with and without a version: write not ({code} eq …)");
        return Err(syntax::refusal(test.operator_at, &why));
    }
    let param = parameter.param().ok_or_else(not_here)?;
    let value = escape(&with_namespace(kind, &test.value));
    let filter = if operator == "pr" {
        Filter::Missing { param, missing: !present(test)? }
    } else if kind == ParamKind::Quantity {
        let prefix = prefix(operator).ok_or_else(not_here)?;
        quantity::filter(&parameter, &format!("{prefix}{value}"))?
    } else if kind == ParamKind::Uri
        && matches!(operator, "eq" | "ne")
        && let Some(filter) = uri::versioned(&parameter, &value)?
    {
        let has_url = Filter::Missing { param, missing: false };
        if operator == "eq" { filter } else { Filter::All(vec![has_url, Filter::Not(Box::new(filter))]) }
    } else {
        let matches = matches(place, &parameter, kind, operator, &value)?.ok_or_else(not_here)?;
        Filter::Any { param, matches, negated: operator == "ni" }
    };
    if kind == ParamKind::Number && operator == "co" {
        // The index orders numbers, and keeps nothing of how they were written.
        return Ok(Filter::Exact(Box::new(filter)));
    }
    Ok(exact_unless_indexed(&parameter, filter))
}

/// The alternatives that `operator value` states of a parameter: of tokens and references.
pub(super) fn alternatives(place: Place<'_>, code: &str, test: &Test) -> Result<Vec<Match>, Refusal> {
    let parameter = find(place.resource_type, code)?;
    let kind = kind(&parameter).filter(|it| matches!(it, ParamKind::Token | ParamKind::Reference));
    let found = match kind {
        Some(kind) => {
            let value = escape(&with_namespace(kind, &test.value));
            matches(place, &parameter, kind, &test.operator, &value)?
        }
        None => None,
    };
    found.ok_or_else(|| {
        let why = format!("{} has no meaning on {} parameters such as {code}", test.operator, parameter.kind.as_str());
        syntax::refusal(test.operator_at, &why)
    })
}

/// The value with the full namespace where one of the names for it stands.
fn with_namespace(kind: ParamKind, value: &str) -> String {
    let mut parts: Vec<&str> = value.split('|').collect();
    let place = usize::from(kind == ParamKind::Quantity);
    let is_there = matches!(kind, ParamKind::Token | ParamKind::Quantity) && parts.len() > place + 1;
    if let Some((_, url)) = NAMESPACES.iter().find(|(name, _)| is_there && name.eq_ignore_ascii_case(parts[place])) {
        parts[place] = url;
    }
    parts.join("|")
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
        (ParamKind::Token, "eq" | "ne") => {
            token::of(parameter, value)?.into_iter().map(|it| in_any_case(parameter, it)).collect()
        }
        (ParamKind::Token, "in" | "ni") => token::value_sets(code, value, place.options)?,
        // The value subsumes a concept of the resource: that lies below it.
        (ParamKind::Token, "ss") => vec![hierarchy::subsumed(code, value, Direction::Below)?],
        (ParamKind::Token, "sb") => vec![hierarchy::subsumed(code, value, Direction::Above)?],
        (ParamKind::String, "eq" | "ne") => words(StringMode::Equals)?,
        (ParamKind::String, "sw") => words(StringMode::StartsWith)?,
        (ParamKind::String, "co") => words(StringMode::Contains)?,
        (ParamKind::String, "ew") => words(StringMode::EndsWith)?,
        (ParamKind::String, "gt") => words(StringMode::Initial(Order::After))?,
        (ParamKind::String, "ge") => words(StringMode::Initial(Order::From))?,
        (ParamKind::String, "lt") => words(StringMode::Initial(Order::Before))?,
        (ParamKind::String, "le") => words(StringMode::Initial(Order::UpTo))?,
        (ParamKind::Date, "co") => {
            let DateMatch { low, high, .. } = date::one(code, &format!("eq{value}"), place.options.now)?;
            vec![Match::Period { low, high }]
        }
        (ParamKind::Date, _) => {
            return Ok(dated(place, code, operator, value)?.map(|date| vec![Match::Date(date)]));
        }
        (ParamKind::Number, "co") => vec![Match::Imprecise(number::one(code, &format!("eq{value}"))?.value)],
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

/// "Token is the same, including namespace if specified (case insensitive)": also the namespace that codes imply.
fn in_any_case(parameter: &Parameter, wanted: Match) -> Match {
    match wanted {
        Match::Token { system, code: Some(code) } => {
            let is_implied = |system: &String| implied::may_be_in_any_case(parameter, system);
            let system = system.map(|it| if is_implied(&it) { String::new() } else { it });
            Match::AnyCase { system, code }
        }
        // What asks for a namespace alone asks for just that one.
        other => other,
    }
}

fn dated(place: Place<'_>, code: &str, operator: &str, value: &str) -> Result<Option<DateMatch>, Refusal> {
    let prefix = if operator == "po" { Some("eq") } else { prefix(operator) };
    let Some(prefix) = prefix else { return Ok(None) };
    let date = date::one(code, &format!("{prefix}{value}"), place.options.now)?;
    // `ap` is an overlap with the interval, which is not widened here.
    let prefix = if operator == "po" { Prefix::Ap } else { date.prefix };
    Ok(Some(DateMatch { prefix, ..date }))
}

/// The prefix of a search value that means the same.
fn prefix(operator: &str) -> Option<&str> {
    matches!(operator, "eq" | "ne" | "gt" | "lt" | "ge" | "le" | "sa" | "eb" | "ap").then_some(operator)
}

fn present(test: &Test) -> Result<bool, Refusal> {
    match &test.value {
        value if value.eq_ignore_ascii_case("true") => Ok(true),
        value if value.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(syntax::refusal(test.value_at, &format!("pr is compared with true or false, not {other:?}"))),
    }
}
