//! The versions that a List names. <https://hl7.org/fhir/R4/http.html#history>

use std::collections::BTreeMap;

use sea_orm::sea_query::{Expr, ExprTrait, Query as Sql};

use super::{MOST_RANGES, Range};
use crate::error::StoreError;
use crate::session::Session;

/// Ids that one statement asks for.
const IDS_PER_STATEMENT: usize = 500;

/// A resource that is named, all of its versions or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Resource type.
    pub resource_type: String,
    /// Logical id.
    pub id: String,
    /// The version, where one is named.
    pub version: Option<i64>,
}

/// The types that are named, each once.
pub(super) fn types(listed: &[Listed]) -> Vec<String> {
    let mut types: Vec<String> = listed.iter().map(|one| one.resource_type.clone()).collect();
    types.sort_unstable();
    types.dedup();
    types
}

/// The ranges of what is named of one type.
pub(super) async fn ranges<S: Session>(
    session: &mut S,
    (resource_type, type_id): (&str, i64),
    listed: &[Listed],
) -> Result<Vec<Range>, StoreError> {
    if listed.len() > MOST_RANGES {
        return Err(StoreError::TooCostly(format!("the List names more than {MOST_RANGES} resources")));
    }
    let mut by_id: BTreeMap<&str, Vec<Option<i64>>> = BTreeMap::new();
    for one in listed.iter().filter(|one| one.resource_type == resource_type) {
        by_id.entry(&one.id).or_default().push(one.version);
    }
    let ids: Vec<&str> = by_id.keys().copied().collect();
    let mut ranges = Vec::new();
    for ids in ids.chunks(IDS_PER_STATEMENT) {
        let mut select = Sql::select();
        select.columns(["rid", "id"]).from("resource").and_where(Expr::col("type_id").eq(type_id));
        select.and_where(Expr::col("id").is_in(ids.iter().copied()));
        for row in session.rows(&select).await? {
            let (rid, id) = (row.i64(0)?, row.text(1)?);
            let versions = by_id.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
            if versions.contains(&None) {
                ranges.push(Range::Resource(rid));
            } else {
                ranges.extend(versions.iter().flatten().map(|version| Range::Version { rid, version: *version }));
            }
        }
    }
    Ok(ranges)
}
