//! References to one version of a resource, where that version is wanted: "if a resource has a reference that is versioned and
//! _include is performed, the specified version SHOULD be provided". <https://hl7.org/fhir/R4/search.html#versions>
//!
//! The index has references without their versions, so they are read from the texts. A version is shown as vread shows it; one
//! that is not there, is a deletion or is hidden is left out: "If there is no reference, or no matching resource … then the
//! resource is omitted".

use std::collections::{BTreeMap, BTreeSet};

use fhir::json::Json;
use sea_orm::sea_query::{Expr, ExprTrait, Query as Sql};
use search::extract::local_references;
use search::query::Include;
use search::view::View;

use super::include::{CHUNK, MOST, Node};
use crate::error::StoreError;
use crate::resources::{self, Stored};
use crate::session::Session;
use crate::view::ResolvedView;

/// What was referred to.
#[derive(Default)]
pub(super) struct Named {
    /// Row ids of resources whose current version is meant.
    pub(super) current: Vec<i64>,
    /// Other versions, with the row ids of their resources.
    pub(super) old: Vec<(i64, Stored)>,
}

/// By type: logical id and version, none for the current one.
type Wanted = BTreeMap<String, BTreeSet<(String, Option<String>)>>;

/// What these resources refer to by the includes, as they say it themselves.
pub(super) async fn referred<S: Session>(
    session: &mut S,
    view: &View,
    includes: &[&Include],
    nodes: &[&Node],
) -> Result<Named, StoreError> {
    let base = session.known().base.clone();
    let mut wanted = Wanted::new();
    for node in nodes {
        let concerns = |include: &&&Include| !include.reverse && include.source_type == node.stored.resource_type;
        let mut asked = includes.iter().filter(concerns).peekable();
        if asked.peek().is_none() {
            continue;
        }
        let resource = parsed(&node.stored)?;
        for include in asked {
            let params = include.params.iter().filter(|param| param.leads.by_reference());
            for (resource_type, id, version) in params.flat_map(|param| local_references(param, &resource, &base)) {
                if include.target_type.as_ref().is_none_or(|it| *it == resource_type) {
                    wanted.entry(resource_type).or_default().insert((id, version));
                }
            }
        }
    }
    let mut named = Named::default();
    for (resource_type, wanted) in &wanted {
        look_up(session, view, (resource_type, wanted), &mut named).await?;
    }
    Ok(named)
}

/// A resource of which the text is looked at.
pub(super) fn parsed(stored: &Stored) -> Result<Json, StoreError> {
    let broken = |_error| StoreError::Schema(format!("{}/{} is not JSON", stored.resource_type, stored.id));
    Json::parse(stored.body.as_bytes()).map_err(broken)
}

async fn look_up<S: Session>(
    session: &mut S,
    view: &View,
    (resource_type, wanted): (&str, &BTreeSet<(String, Option<String>)>),
    named: &mut Named,
) -> Result<(), StoreError> {
    let Some(view) = ResolvedView::new(session, view, resource_type).await? else { return Ok(()) };
    let type_id = session.known().types.id(resource_type);
    let mut ids: Vec<&str> = wanted.iter().map(|(id, _)| id.as_str()).collect();
    ids.dedup();
    let mut standing: BTreeMap<String, (i64, i64, bool)> = BTreeMap::new();
    for ids in ids.chunks(CHUNK) {
        let mut select = Sql::select();
        select.columns(["id", "rid", "version", "live"]).from("resource").and_where(Expr::col("type_id").eq(type_id));
        select.and_where(Expr::col("id").is_in(ids.iter().copied()));
        for mut row in session.rows(&select).await? {
            let Some(id) = row.take_text(0)? else { continue };
            standing.insert(id, (row.i64(1)?, row.i64(2)?, row.i64(3)? == 1));
        }
    }
    for (id, version) in wanted {
        let Some((rid, newest, is_live)) = standing.get(id).copied() else { continue };
        let version = version.as_deref().map(str::parse::<i64>);
        match version {
            Some(Ok(version)) if version < newest => {
                let old = resources::read(session, &view, resource_type, id, Some(version)).await?;
                named.old.extend(old.filter(|stored| !stored.deleted).map(|stored| (rid, stored)));
                if named.old.len() > MOST {
                    return Err(super::include::too_many());
                }
            }
            None => named.current.extend(is_live.then_some(rid)),
            Some(Ok(version)) => named.current.extend((is_live && version == newest).then_some(rid)),
            Some(Err(_)) => {}
        }
    }
    Ok(())
}
