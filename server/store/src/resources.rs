//! Resources and their versions, read by id. <https://hl7.org/fhir/R4/http.html#read>

use std::sync::Arc;

use sea_orm::sea_query::{Cond, Expr, ExprTrait, Query, SelectStatement};
use search::view::View;

use crate::Store;
use crate::body::text_of;
use crate::error::StoreError;
use crate::fixed::Fixed;
use crate::row::Row;
use crate::session::Session;
use crate::tx::Tx;
use crate::view::ResolvedView;

/// One version of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Resource type.
    pub resource_type: String,
    /// Logical id.
    pub id: String,
    /// `meta.versionId`.
    pub version: i64,
    /// `meta.lastUpdated`, microseconds since 1970.
    pub last_updated: i64,
    /// Whether this version is a deletion.
    pub deleted: bool,
    /// The JSON that is served, byte for byte; empty for a deletion.
    pub body: Arc<str>,
    /// How this version came.
    pub method: Method,
}

/// How a version came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Create.
    Post,
    /// Update.
    Put,
    /// Delete.
    Delete,
    /// Patch.
    Patch,
}

impl Method {
    pub(crate) fn number(self) -> i64 {
        match self {
            Method::Post => 1,
            Method::Put => 2,
            Method::Delete => 3,
            Method::Patch => 4,
        }
    }

    pub(crate) fn of(number: i64) -> Result<Self, StoreError> {
        match number {
            1 => Ok(Method::Post),
            2 => Ok(Method::Put),
            3 => Ok(Method::Delete),
            4 => Ok(Method::Patch),
            other => Err(StoreError::Schema(format!("unknown method {other}"))),
        }
    }
}

impl Store {
    /// The current version. A resource that is hidden from `view` is as one that never was.
    pub async fn read(&self, view: &View, resource_type: &str, id: &str) -> Result<Option<Stored>, StoreError> {
        with_session!(self, session => read(session, view, resource_type, id, None).await)
    }

    /// One version, if `view` shows that version.
    pub async fn vread(
        &self,
        view: &View,
        resource_type: &str,
        id: &str,
        version: i64,
    ) -> Result<Option<Stored>, StoreError> {
        with_session!(self, session => read(session, view, resource_type, id, Some(version)).await)
    }
}

impl Tx {
    /// One version, if `view` shows that version, of what this transaction has written so far.
    pub async fn vread(
        &mut self,
        view: &View,
        resource_type: &str,
        id: &str,
        version: i64,
    ) -> Result<Option<Stored>, StoreError> {
        self.flush().await?;
        read(self, view, resource_type, id, Some(version)).await
    }
}

async fn read<S: Session>(
    session: &mut S,
    view: &View,
    resource_type: &str,
    id: &str,
    version: Option<i64>,
) -> Result<Option<Stored>, StoreError> {
    let Some(view) = ResolvedView::new(session, view, resource_type).await? else { return Ok(None) };
    let type_id = session.known().types.id(resource_type);
    let rows = if view.is_unrestricted() && version.is_none() {
        session.rows(&CURRENT_OF.with(vec![type_id.into(), id.into()])).await?
    } else {
        let mut select = version_select(&view);
        select.and_where(Expr::col(("r", "type_id")).eq(type_id)).and_where(Expr::col(("r", "id")).eq(id));
        let wanted = version.map_or(Expr::col(("r", "version")), Expr::val);
        session.rows(select.and_where(Expr::col(("v", "version")).eq(wanted))).await?
    };
    let stored = rows.into_iter().next().map(|row| stored(row, resource_type)).transpose()?;
    Ok(stored.filter(|stored| view.shows(stored)))
}

/// The current version from the resource table alone: one look-up by the unique index.
static CURRENT_OF: Fixed = Fixed::new(|| {
    let mut select = Query::select();
    select.columns(["id", "version", "last_updated"]).expr(text_of("resource")).expr(Expr::cust("2")).from("resource");
    select.and_where(Expr::col("type_id").eq(0_i64)).and_where(Expr::col("id").eq(""));
    select
});

/// Versions that the view's compartment holds: each is judged by the patients it had then. (LK-11)
fn version_select(view: &ResolvedView) -> SelectStatement {
    let mut select = Query::select();
    select
        .columns([("r", "id"), ("v", "version"), ("v", "last_updated")])
        .expr(text_of("v"))
        .column(("v", "method"))
        .from_as("resource", "r");
    select.join_as(sea_orm::JoinType::InnerJoin, "version", "v", Expr::col(("v", "rid")).equals(("r", "rid")));
    if let Some(patients) = view.patients() {
        let mut held = Cond::any();
        for patient in patients {
            held = held.add(Expr::col(("v", "patients")).like(format!("%,{patient},%")));
        }
        if view.shows_unassigned() {
            held = held.add(Expr::col(("v", "patients")).eq(""));
        }
        select.cond_where(held);
    }
    select
}

/// Reads `id, version, last_updated, body, method` in this order.
pub(crate) fn stored(mut row: Row, resource_type: &str) -> Result<Stored, StoreError> {
    let body = row.take_text(3)?;
    Ok(Stored {
        resource_type: resource_type.into(),
        id: row.text(0)?,
        version: row.i64(1)?,
        last_updated: row.i64(2)?,
        deleted: body.is_none(),
        body: body.unwrap_or_default().into(),
        method: Method::of(row.i64(4)?)?,
    })
}
