//! Resources and their versions, read by id. <https://hl7.org/fhir/R4/http.html#read>

use std::sync::Arc;

use sea_orm::sea_query::{Cond, Expr, ExprTrait, Query, SelectStatement};
use search::view::View;

use crate::Store;
use crate::body::{self, text_of};
use crate::error::StoreError;
use crate::fixed::Fixed;
use crate::postgres::asks::Held;
use crate::remembered::AsOf;
use crate::row::Row;
use crate::search::question::one_holds;
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
    ///
    /// What was read before is good as long as nothing has been committed since, by any process.
    pub async fn read(&self, view: &View, resource_type: &str, id: &str) -> Result<Option<Stored>, StoreError> {
        let snapshot = self.snapshot();
        with_session!(self, session => {
            let Some(view) = ResolvedView::new(session, view, resource_type).await? else { return Ok(None) };
            read_again(session, &view, snapshot, (resource_type, id)).await
        })
    }

    /// One version, if `view` shows that version.
    pub async fn vread(
        &self,
        view: &View,
        resource_type: &str,
        id: &str,
        version: i64,
    ) -> Result<Option<Stored>, StoreError> {
        with_session!(self, session => {
            let Some(view) = ResolvedView::new(session, view, resource_type).await? else { return Ok(None) };
            read(session, &view, resource_type, id, Some(version)).await
        })
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
        let Some(view) = ResolvedView::new(self, view, resource_type).await? else { return Ok(None) };
        read(self, &view, resource_type, id, Some(version)).await
    }
}

/// The current version, or that one, if the view shows it.
pub(crate) async fn read<S: Session>(
    session: &mut S,
    view: &ResolvedView,
    resource_type: &str,
    id: &str,
    version: Option<i64>,
) -> Result<Option<Stored>, StoreError> {
    let held = held(session, view, resource_type, id, version).await?;
    Ok(held.filter(|stored| view.shows(stored)))
}

/// The current version, looked up only if anything has been committed since it last was.
async fn read_again<S: Session>(
    session: &mut S,
    view: &ResolvedView,
    snapshot: Option<AsOf>,
    (resource_type, id): (&str, &str),
) -> Result<Option<Stored>, StoreError> {
    let compartment = match view.patients() {
        None => Some(None),
        Some([patient]) => Some(Some(*patient)),
        Some(_) => None,
    };
    let (Some(snapshot), Some(compartment)) = (snapshot, compartment) else {
        return read(session, view, resource_type, id, None).await;
    };
    let key = (session.known().types.id(resource_type), id.to_owned(), compartment);
    let known = session.known().resources.clone();
    let held = if let Some(stored) = known.get(&key, snapshot) {
        Some(stored)
    } else {
        let held = held(session, view, resource_type, id, None).await?;
        held.inspect(|stored| known.put(key, snapshot, stored.clone()))
    };
    Ok(held.filter(|stored| view.shows(stored)))
}

/// What the compartment of the view holds; its granular filters are yet to be asked.
async fn held<S: Session>(
    session: &mut S,
    view: &ResolvedView,
    resource_type: &str,
    id: &str,
    version: Option<i64>,
) -> Result<Option<Stored>, StoreError> {
    let type_id = session.known().types.id(resource_type);
    let question = match view.patients() {
        None => Some(None),
        Some([patient]) => Some(Some(held_by(*patient))),
        Some(_) => None,
    };
    if let (Some((asks, lines)), Some(patients)) = (session.asks(), question) {
        let id = id.to_owned();
        let row = if patients.is_none() && version.is_none() {
            asks.current.ask(&lines, (type_id, id)).await?
        } else {
            let unassigned = view.shows_unassigned();
            asks.held.ask(&lines, Held { type_id, id, version, patients, unassigned }).await?
        };
        return row.map(|row| stored(row, resource_type)).transpose();
    }
    let rows = if view.patients().is_none() && version.is_none() {
        session.rows(&CURRENT_OF.with(vec![type_id.into(), id.into()])).await?
    } else if let (Some([patient]), None) = (view.patients(), version) {
        let mut values = vec![held_by(*patient).into(), type_id.into(), id.into()];
        if view.shows_unassigned() {
            values.insert(1, "".into());
        }
        let statement = if view.shows_unassigned() { &CURRENT_OF_ONE_OR_NONE } else { &CURRENT_OF_ONE };
        session.rows(&statement.with(values)).await?
    } else {
        let select = version_select(view.patients(), view.shows_unassigned());
        session.rows(&one_of(select, (type_id, id), version)).await?
    };
    rows.into_iter().next().map(|row| stored(row, resource_type)).transpose()
}

/// The current version from the resource table alone: one look-up by the unique index.
static CURRENT_OF: Fixed = Fixed::new(|| {
    let mut select = Query::select();
    stored_columns_with_text(&mut select);
    select.from("resource").and_where(Expr::col("type_id").eq(0_i64)).and_where(Expr::col("id").eq(""));
    select
});

/// The same in one patient's compartment: what a patient's app reads.
static CURRENT_OF_ONE: Fixed = Fixed::new(|| one_of(version_select(Some(&[0]), false), (0, ""), None));

/// The same of a type that may be nobody's.
static CURRENT_OF_ONE_OR_NONE: Fixed = Fixed::new(|| one_of(version_select(Some(&[0]), true), (0, ""), None));

/// The current version of a resource, or that one.
fn one_of(mut select: SelectStatement, (type_id, id): (i64, &str), version: Option<i64>) -> SelectStatement {
    select.and_where(Expr::col(("r", "type_id")).eq(type_id)).and_where(Expr::col(("r", "id")).eq(id));
    let wanted = version.map_or(Expr::col(("r", "version")), Expr::val);
    select.and_where(Expr::col(("v", "version")).eq(wanted)).take()
}

/// How the patients of a version are written if this is one of them.
fn held_by(patient: i64) -> String {
    format!("%,{patient},%")
}

/// Versions that the view's compartment holds: each is judged by the patients it had then. (LK-11)
fn version_select(patients: Option<&[i64]>, unassigned: bool) -> SelectStatement {
    let mut select = Query::select();
    select
        .columns([("r", "id"), ("v", "version"), ("v", "last_updated")])
        .expr(text_of("v"))
        .column(("v", "method"))
        .from_as("resource", "r");
    select.join_as(sea_orm::JoinType::InnerJoin, "version", "v", Expr::col(("v", "rid")).equals(("r", "rid")));
    if let Some(patients) = patients {
        let column = || Expr::col(("v", "patients"));
        let held = patients.iter().map(|patient| column().like(held_by(*patient)));
        let held = held.chain(unassigned.then(|| column().eq("")));
        select.cond_where(one_holds(held.map(|it| Cond::all().add(it)).collect()));
    }
    select
}

/// How many columns a [`Stored`] is read from: what else a statement tells of it stands after them.
pub(crate) const AFTER_STORED: usize = 5;

/// Selects what [`stored_of_numbers`] reads, of current resources known as `alias`. How their versions came is not asked
/// here: only a history tells it, and it stands in another table.
pub(crate) fn stored_columns(select: &mut SelectStatement, alias: &'static str) {
    select.columns(["id", "version", "last_updated", "body"].map(|column| (alias, column)));
    select.expr(Expr::val(Method::Put.number()));
}

/// The same with the texts, for [`stored`], from the table `resource`. No value is bound, see [`Fixed`].
pub(crate) fn stored_columns_with_text(select: &mut SelectStatement) {
    select.columns(["id", "version", "last_updated"]).expr(text_of("resource"));
    select.expr(Expr::cust(Method::Put.number().to_string()));
}

/// Reads `id, version, last_updated, number of the text, method` in this order.
pub(crate) async fn stored_of_numbers<S: Session>(
    session: &mut S,
    rows: Vec<Row>,
    resource_type: &str,
) -> Result<Vec<Stored>, StoreError> {
    let types = vec![resource_type; rows.len()];
    stored_of_types(session, rows, &types).await
}

/// The same of rows of as many types.
pub(crate) async fn stored_of_types<S: Session>(
    session: &mut S,
    rows: Vec<Row>,
    types: &[&str],
) -> Result<Vec<Stored>, StoreError> {
    let numbers = rows.iter().map(|row| row.opt_i64(3)).collect::<Result<Vec<_>, _>>()?;
    let texts = body::texts(session, &numbers).await?;
    let with = |((row, text), resource_type): ((Row, _), &&str)| with_text(row, text, resource_type);
    rows.into_iter().zip(texts).zip(types).map(with).collect()
}

/// Reads `id, version, last_updated, text, method` in this order.
pub(crate) fn stored(mut row: Row, resource_type: &str) -> Result<Stored, StoreError> {
    let text = row.take_text(3)?.map(Arc::from);
    with_text(row, text, resource_type)
}

fn with_text(mut row: Row, text: Option<Arc<str>>, resource_type: &str) -> Result<Stored, StoreError> {
    Ok(Stored {
        resource_type: resource_type.into(),
        id: row.take_text(0)?.ok_or(StoreError::Column { column: 0 })?,
        version: row.i64(1)?,
        last_updated: row.i64(2)?,
        deleted: text.is_none(),
        body: text.unwrap_or_default(),
        method: Method::of(row.i64(4)?)?,
    })
}
