//! Uri values: compared as written; `url|version` where a type has both. <https://hl7.org/fhir/R4/search.html#uri>

use std::sync::Arc;

use super::escape::{alternatives, parts, unescape};
use super::refusal::Refusal;
use super::token;
use crate::query::{Filter, Match};
use crate::registry::{Parameter, registry};

/// `url=canonical|version`, of a type with a `version`: "automatically detecting a |\[version\] portion as part of the search
/// parameter, and interpreting that portion as a search on the business version of the target resource". None where no
/// version is asked for. <https://hl7.org/fhir/R4/references.html#canonical>
pub(super) fn versioned(parameter: &Parameter, value: &str) -> Result<Option<Filter>, Refusal> {
    let found = alternatives(&parameter.code, value)?;
    let Some(version) = version(parameter).filter(|_| names_version(&found)) else { return Ok(None) };
    let any = |parameter: &Parameter, matches| {
        let not_here = || Refusal::not_supported(format!("{} has no index", parameter.code));
        Ok(Filter::Any { param: parameter.param().ok_or_else(not_here)?, matches, negated: false })
    };
    let one = |alternative: &&str| match parts(alternative).as_slice() {
        [_] => any(parameter, matches("url", alternative)?),
        [url, business] if !url.is_empty() && !business.is_empty() => {
            Ok(Filter::All(vec![any(parameter, matches("url", url)?)?, any(&version, token::of(&version, business)?)?]))
        }
        _ => Err(Refusal::invalid(format!("url: {alternative:?}: write url or url|version, and \\| for | itself"))),
    };
    found.iter().map(one).collect::<Result<Vec<_>, _>>().map(|all| Some(Filter::Or(all)))
}

/// Whether a version is asked for, of a type with a `version`.
pub(super) fn is_versioned(parameter: &Parameter, value: &str) -> Result<bool, Refusal> {
    Ok(version(parameter).is_some() && names_version(&alternatives(&parameter.code, value)?))
}

fn version(parameter: &Parameter) -> Option<Arc<Parameter>> {
    registry().find(&parameter.resource_type, "version").filter(|_| parameter.code == "url").cloned()
}

fn names_version(alternatives: &[&str]) -> bool {
    alternatives.iter().any(|alternative| parts(alternative).len() > 1)
}

/// The alternatives of a uri parameter.
pub(super) fn matches(name: &str, value: &str) -> Result<Vec<Match>, Refusal> {
    alternatives(name, value)?.into_iter().map(|alternative| unescape(name, alternative).map(Match::Uri)).collect()
}
