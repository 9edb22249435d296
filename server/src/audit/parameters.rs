//! What a search of the trail asks for: all that R4 has for `AuditEvent`, read as the searches of other types are.
//! <https://hl7.org/fhir/R4/auditevent.html#search>
//!
//! ```text
//! pairs ─▶ parse ─▶ value sets ─▶ links (chains, hierarchies) ─▶ conditions ─┬─▶ columns of the trail
//!                                                                           └─▶ what is asked of the events themselves
//! ```

use fhir::outcome::{Issue, IssueCode};
use search::parse::{Parsed, parse};
use search::query::{Query, SortBy};
use store::audit::TrailQuery;

use super::serve::TYPE;
use crate::access;
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::search::{options, terminology};

use super::links;

/// Reads the pairs of a search.
pub(super) async fn read(
    app: &App,
    caller: &Caller,
    pairs: &[(String, String)],
    lenient: bool,
) -> Result<Parsed, Error> {
    let (pairs, ignored) = if lenient { without_unsupported(app, pairs) } else { (pairs.to_vec(), Vec::new()) };
    let mut parsed = parse(TYPE, &pairs, &options(app, lenient)).map_err(Error::bad_request)?;
    parsed.warnings.extend(ignored);
    if let Some(text) = unsupported(&parsed.query) {
        return Err(Error::bad_request(Issue::error(IssueCode::NotSupported, text)));
    }
    access::decide_conditions(caller, &parsed.query)?;
    terminology::Lookup::new(app, caller).resolve(&mut parsed.query).await?;
    links::resolve(app, caller, &mut parsed.query).await?;
    Ok(parsed)
}

/// Where on the trail the page lies; the conditions are yet to come.
pub(super) fn page(query: &Query) -> TrailQuery {
    TrailQuery {
        filters: Vec::new(),
        applied: query.applied.clone(),
        oldest_first: query.sort.first().is_some_and(|key| !key.descending),
        count: query.count,
        cursor: query.cursor.clone(),
        total: query.total,
    }
}

/// What the trail has no answer to.
fn unsupported(query: &Query) -> Option<String> {
    let is_time = |by: &SortBy| match by {
        SortBy::LastUpdated | SortBy::Id | SortBy::Chronology(_) => true,
        SortBy::Param(param) => param.code == "date",
    };
    let is_one_order = query.sort.iter().all(|key| Some(key.descending) == query.sort.first().map(|it| it.descending));
    if !is_one_order || query.sort.iter().any(|key| !is_time(&key.by)) {
        return Some(format!(
            "_sort: {TYPE} has the order of time alone: -date (newest first) or date; _lastUpdated and _id are the same"
        ));
    }
    if !query.includes.is_empty() {
        return Some(format!("_include, _revinclude: {TYPE} is searched by itself; ask for what it names by its id"));
    }
    if query.contained.is_some() {
        return Some(format!("_contained: nothing is contained in an {TYPE} here"));
    }
    query.explain.then(|| format!("__explain: {TYPE} is searched in the audit trail, in the order of time"))
}

/// The pairs without those that [`unsupported`] refuses, and a warning for each of them.
fn without_unsupported(app: &App, pairs: &[(String, String)]) -> (Vec<(String, String)>, Vec<Issue>) {
    let options = options(app, true);
    let (mut kept, mut ignored) = (Vec::new(), Vec::new());
    for pair in pairs {
        let parsed = parse(TYPE, std::slice::from_ref(pair), &options).ok();
        match parsed.and_then(|parsed| unsupported(&parsed.query)) {
            None => kept.push(pair.clone()),
            Some(text) => ignored.push(Issue::warning(IssueCode::NotSupported, format!("ignored: {text}"))),
        }
    }
    (kept, ignored)
}
