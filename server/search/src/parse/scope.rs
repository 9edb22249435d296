//! The conditions of granular scopes, `patient/Observation.rs?category=…`.
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#finer-grained-resource-constraints-using-search-parameters>

use std::cell::Cell;

use fhir::outcome::Issue;

use super::place::Place;
use super::refusal::Refusal;
use super::{MAX_PARAMETERS, Options, condition, control};
use crate::query::{Filter, Match, Prefix};

/// The filters of a granular scope on `resource_type`; all must hold.
///
/// Stricter than a search (SM-25): no modifier, no chain, nothing that shapes answers, no `ap`, which would move with
/// the clock; nothing is ever left out, so that a scope cannot become wider than it reads.
pub fn filters_from_pairs(resource_type: &str, pairs: &[(String, String)], base: &str) -> Result<Vec<Filter>, Issue> {
    let options = Options { base: base.to_owned(), default_count: 0, max_count: 0, lenient: false, now: 0 };
    if pairs.is_empty() || pairs.len() > MAX_PARAMETERS {
        return Err(Refusal::invalid(format!("a granular scope has 1 to {MAX_PARAMETERS} parameters")).error());
    }
    let filters = pairs.iter().map(|(name, value)| one(resource_type, name, value, &options));
    filters.collect::<Result<_, _>>().map_err(Refusal::error)
}

fn one(resource_type: &str, name: &str, value: &str, options: &Options) -> Result<Filter, Refusal> {
    if control::is_control(name) || is_beyond_a_scope(name) {
        return Err(Refusal::not_supported(format!(
            "{name} is not allowed in a scope: parameters without modifier only"
        )));
    }
    let spent = Cell::new(0);
    let filter = condition::filter(Place::new(resource_type, options, &spent), name, value)?;
    if !is_plain(&filter) {
        return Err(Refusal::not_supported(format!("{name} is not allowed in a scope: it has no index of its own")));
    }
    if is_approximate(&filter) {
        return Err(Refusal::not_supported(format!("{name}={value}: the prefix ap is not allowed in a scope")));
    }
    Ok(filter)
}

/// Modifiers and chains, and parameters that look at other resources or have no index.
fn is_beyond_a_scope(name: &str) -> bool {
    name.contains([':', '.']) || matches!(name, "_has" | "_list" | "_filter" | "_text" | "_content" | "_query")
}

/// Whether it looks at nothing but indexed values of the resource itself.
fn is_plain(filter: &Filter) -> bool {
    match filter {
        Filter::Id(_) | Filter::LastUpdated(_) | Filter::Any { negated: false, .. } => true,
        Filter::Or(filters) => !filters.is_empty() && filters.iter().all(is_plain),
        _ => false,
    }
}

fn is_approximate(filter: &Filter) -> bool {
    let is_approximate_match = |it: &Match| matches!(it, Match::Date(date) if date.prefix == Prefix::Ap);
    match filter {
        Filter::LastUpdated(dates) => dates.iter().any(|date| date.prefix == Prefix::Ap),
        Filter::Any { matches, .. } => matches.iter().any(is_approximate_match),
        other => other.children().iter().any(is_approximate),
    }
}
