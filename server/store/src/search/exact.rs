//! Conditions that no index helps with: the resources themselves are looked at.

use std::time::Instant;

use fhir::json::Json;
use sea_orm::sea_query::{Expr, ExprTrait, Query as Sql};
use search::filter::matches_at;
use search::query::Filter;

use super::any::is_listed;
use super::condition::Condition;
use super::plan::Plan;
use crate::body::text_of;
use crate::error::StoreError;
use crate::session::{SOON, Session};

/// Most resources that one search looks at.
const MOST: usize = 100_000;
/// Resources held in memory at once.
const CHUNK: usize = 500;

/// The matches of all other conditions that satisfy the filter.
pub(super) async fn resolve<S: Session>(
    session: &mut S,
    plan: &Plan,
    resource_type: &str,
    filter: &Filter,
) -> Result<Condition, StoreError> {
    let Some(candidates) = plan.rids_up_to(session, MOST).await? else {
        return Err(StoreError::TooCostly(format!(
            "no index helps with {}, and more than {MOST} resources of type {resource_type} would have to be looked at; \
             add a condition that narrows them, such as a patient, a code or a date",
            described(filter)
        )));
    };
    let base = session.known().base.clone();
    let mut rids = Vec::new();
    let (begin, limit) = (Instant::now(), session.known().search_limit);
    for chunk in candidates.chunks(CHUNK) {
        if begin.elapsed() > limit {
            return Err(StoreError::took_longer_than(limit));
        }
        let mut select = Sql::select();
        select.columns(["rid", "last_updated"]).expr(text_of("resource")).from("resource");
        select.and_where(is_listed(session.backend(), Expr::col("rid"), chunk)).and_where(Expr::col("live").eq(1));
        for row in session.rows(&select).await? {
            if session.is_late() {
                return Err(StoreError::took_longer_than(SOON));
            }
            let (rid, last_updated) = (row.i64(0)?, row.i64(1)?);
            let resource = Json::parse(row.text(2)?.as_bytes());
            let resource = resource.map_err(|_error| StoreError::Schema(format!("resource {rid} is not JSON")))?;
            if matches_at(filter, &resource, &base, Some(last_updated)) {
                rids.push(rid);
            }
        }
    }
    Ok(Condition::Rids { rids, how: "found by looking at the resources themselves" })
}

/// The parameters that are asked for.
fn described(filter: &Filter) -> String {
    match filter {
        Filter::Missing { param, .. } | Filter::Any { param, .. } | Filter::Composite { param, .. } => {
            format!("\"{}\"", param.code)
        }
        Filter::Near { param, .. } => format!("\"{param}\""),
        Filter::Words { .. } => "the words of a text".to_owned(),
        other => {
            let mut inner: Vec<String> = other.children().iter().map(described).collect();
            inner.dedup();
            if inner.is_empty() { "a condition".to_owned() } else { inner.join(", ") }
        }
    }
}
