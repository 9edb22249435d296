//! The conditions of granular scopes, `patient/Observation.rs?category=…`.
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#finer-grained-resource-constraints-using-search-parameters>

use fhir::outcome::Issue;

use super::refusal::Refusal;
use super::{MAX_PARAMETERS, Options, control, filter};
use crate::query::Filter;

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
    if control::is_control(name) || name.contains([':', '.']) {
        return Err(Refusal::not_supported(format!(
            "{name} is not allowed in a scope: parameters without modifier only"
        )));
    }
    let filter = filter(resource_type, name, value, options)?;
    if is_approximate(&filter) {
        return Err(Refusal::not_supported(format!("{name}={value}: the prefix ap is not allowed in a scope")));
    }
    Ok(filter)
}

fn is_approximate(filter: &Filter) -> bool {
    use crate::query::{Match, Prefix};
    match filter {
        Filter::LastUpdated(dates) => dates.iter().any(|date| date.prefix == Prefix::Ap),
        Filter::Any { matches, .. } => {
            matches.iter().any(|it| matches!(it, Match::Date(date) if date.prefix == Prefix::Ap))
        }
        Filter::Composite { alternatives, .. } => {
            alternatives.iter().flatten().any(|it| matches!(it, Match::Date(date) if date.prefix == Prefix::Ap))
        }
        _ => false,
    }
}
