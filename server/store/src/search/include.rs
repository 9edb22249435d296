//! `_include` and `_revinclude`. <https://hl7.org/fhir/R4/search.html#include>

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{Cond, Expr, ExprTrait, Order, Query as Sql, SelectStatement, UnionType};
use sea_orm::{DbBackend, JoinType};
use search::query::Include;
use search::view::{TypeRule, View};

use super::any::{is_listed, is_one_of, is_set};
use super::condition::Place;
use super::links::is_named;
use super::{canonical, versions};
use crate::error::StoreError;
use crate::resources::{AFTER_STORED, Stored, stored_columns, stored_of_numbers, stored_of_types};
use crate::session::Session;
use crate::view::SearchView;

/// Most resources that one page includes.
pub(super) const MOST: usize = 10_000;
/// Row ids listed in one statement.
pub(super) const CHUNK: usize = 500;

/// A resource from which includes go on.
pub(super) struct Node {
    /// Row id of the resource, whichever version this is.
    pub(super) rid: i64,
    pub(super) stored: Stored,
    /// Whether a newer version is current: the index says nothing of this one.
    pub(super) is_old: bool,
}

impl Node {
    fn current(rid: i64, stored: &Stored) -> Self {
        Node { rid, stored: stored.clone(), is_old: false }
    }

    /// Whether what it refers to is to be read from its text: the index has references without their versions.
    fn is_read(&self) -> bool {
        self.is_old || self.stored.body.contains("/_history/")
    }
}

/// What was found, besides the page.
struct Found {
    /// Row ids that were come upon, those of the page among them, be they shown or not.
    seen: BTreeSet<i64>,
    /// Current versions, by row id.
    shown: BTreeMap<i64, Stored>,
    /// Other versions that were named, by row id and version.
    old: BTreeMap<(i64, i64), Stored>,
}

impl Found {
    /// The resources of these row ids that nobody has come upon yet, as far as the view shows them.
    async fn load<S: Session>(
        &mut self,
        session: &mut S,
        view: &View,
        mut wanted: Vec<i64>,
        loaded: &mut BTreeMap<i64, Stored>,
    ) -> Result<(), StoreError> {
        wanted.retain(|rid| self.seen.insert(*rid));
        for rids in wanted.chunks(CHUNK) {
            load(session, view, rids, loaded).await?;
            self.check(loaded)?;
        }
        Ok(())
    }

    fn check(&self, loaded: &BTreeMap<i64, Stored>) -> Result<(), StoreError> {
        if self.shown.len() + self.old.len() + loaded.len() > MOST { Err(too_many()) } else { Ok(()) }
    }
}

/// What a page includes, without the page itself, by row id; last the versions that are not current. (LK-15: each as the view
/// shows it)
///
/// An include that iterates looks at what was included too, until nothing is added; what the view hides leads nowhere.
pub(super) async fn included<S: Session>(
    session: &mut S,
    view: &View,
    includes: &[Include],
    (rids, page): (&[i64], &[Stored]),
) -> Result<Vec<Stored>, StoreError> {
    if includes.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Found { seen: rids.iter().copied().collect(), shown: BTreeMap::new(), old: BTreeMap::new() };
    let mut frontier: Vec<Node> = rids.iter().zip(page).map(|(rid, stored)| Node::current(*rid, stored)).collect();
    let mut is_page = true;
    while !frontier.is_empty() {
        let asked: Vec<&Include> = includes.iter().filter(|include| is_page || include.iterate).collect();
        frontier =
            if asked.is_empty() { Vec::new() } else { step(session, view, &asked, &frontier, &mut found).await? };
        is_page = false;
    }
    Ok(found.shown.into_values().chain(found.old.into_values()).collect())
}

/// One step from the frontier: what it leads to that nobody has come upon yet.
async fn step<S: Session>(
    session: &mut S,
    view: &View,
    asked: &[&Include],
    frontier: &[Node],
    found: &mut Found,
) -> Result<Vec<Node>, StoreError> {
    let mut loaded = BTreeMap::new();
    let back: Vec<&Include> = asked.iter().copied().filter(|include| include.reverse).collect();
    let (read, indexed): (Vec<&Node>, Vec<&Node>) = frontier.iter().partition(|node| node.is_read());
    let rids = |nodes: &[&Node]| nodes.iter().map(|node| node.rid).collect::<Vec<_>>();
    for (includes, rids) in [(asked, rids(&indexed)), (back.as_slice(), rids(&read))] {
        if view.is_unrestricted() {
            for rids in rids.chunks(CHUNK) {
                load_ends(session, includes, rids, &mut loaded).await?;
            }
        } else {
            let wanted = ends(session, view, includes, &rids).await?;
            found.load(session, view, wanted, &mut loaded).await?;
        }
    }
    if view.is_unrestricted() {
        loaded.retain(|rid, _| found.seen.insert(*rid));
    }
    let meant = canonical::ends(session, view, asked, frontier).await?;
    found.load(session, view, meant, &mut loaded).await?;
    let named = versions::referred(session, view, asked, &read).await?;
    found.load(session, view, named.current, &mut loaded).await?;
    let mut nodes: Vec<Node> = loaded.iter().map(|(rid, stored)| Node::current(*rid, stored)).collect();
    found.shown.append(&mut loaded);
    for (rid, stored) in named.old {
        if found.old.insert((rid, stored.version), stored.clone()).is_none() {
            nodes.push(Node { rid, stored, is_old: true });
        }
    }
    found.check(&loaded)?;
    Ok(nodes)
}

pub(super) fn too_many() -> StoreError {
    StoreError::TooCostly(format!("a page would include more than {MOST} resources; ask for fewer with _count"))
}

/// Row ids that the frontier leads to.
async fn ends<S: Session>(
    session: &mut S,
    view: &View,
    includes: &[&Include],
    frontier: &[i64],
) -> Result<Vec<i64>, StoreError> {
    let mut wanted: BTreeSet<i64> = BTreeSet::new();
    for includes in together(view, includes) {
        for rids in frontier.chunks(CHUNK) {
            let ends = linked(session, view, &includes, rids).await?;
            // Ends of references may be hidden: only what is shown counts against the bound, see `load`.
            if includes.iter().any(|include| include.reverse) && ends.len() > MOST {
                return Err(too_many());
            }
            wanted.extend(ends);
        }
    }
    Ok(wanted.into_iter().collect())
}

/// The includes that one statement answers: those forwards, and those back to types of which the view says the same. All
/// that `*` stands for are a few statements.
pub(super) fn together<'a>(view: &View, includes: &[&'a Include]) -> Vec<Vec<&'a Include>> {
    let leading = includes.iter().copied().filter(|include| !include.params.is_empty());
    let (back, forwards): (Vec<&Include>, Vec<&Include>) = leading.partition(|include| include.reverse);
    let mut groups = seen_alike(view, back, |include| include.source_type.as_str());
    groups.extend(Some(forwards).filter(|includes| !includes.is_empty()));
    groups
}

/// What is of types that the view shows, put together where it says the same of them: what is nobody's is seen only where the
/// type is shared.
pub(super) fn seen_alike<T>(
    view: &View,
    items: impl IntoIterator<Item = T>,
    type_of: impl Fn(&T) -> &str,
) -> Vec<Vec<T>> {
    let (mut whole, mut alone) = ([Vec::new(), Vec::new()], Vec::new());
    for item in items {
        let resource_type = type_of(&item);
        match view.rule(resource_type) {
            TypeRule::Denied => {}
            TypeRule::Whole => whole[usize::from(search::compartment::is_shared(resource_type))].push(item),
            TypeRule::Granular(_) => alone.push(vec![item]),
        }
    }
    whole.into_iter().filter(|items| !items.is_empty()).chain(alone).collect()
}

/// What the frontier leads to, where nothing is hidden: found and read by one statement on PostgreSQL, where a second would
/// be a message and an answer; by two on SQLite, which may read all resources to look for those of the first.
async fn load_ends<S: Session>(
    session: &mut S,
    includes: &[&Include],
    frontier: &[i64],
    found: &mut BTreeMap<i64, Stored>,
) -> Result<(), StoreError> {
    let Some(rids) = ends_of(session, includes, frontier) else { return Ok(()) };
    if session.backend() == DbBackend::Sqlite {
        let rids = session.numbers(&rids).await?;
        if rids.len() > MOST + frontier.len() {
            return Err(too_many());
        }
        for rids in rids.chunks(CHUNK) {
            load_all(session, rids, found).await?;
        }
        return Ok(());
    }
    let mut select = of_any_type();
    select.and_where(Expr::col(("r", "rid")).in_subquery(rids)).limit(2 * MOST as u64);
    if read_all(session, select, found).await? > MOST + frontier.len() {
        return Err(too_many());
    }
    Ok(())
}

/// Reads resources of which none is hidden.
async fn load_all<S: Session>(
    session: &mut S,
    rids: &[i64],
    found: &mut BTreeMap<i64, Stored>,
) -> Result<(), StoreError> {
    let mut select = of_any_type();
    select.and_where(is_listed(session.backend(), Expr::col(("r", "rid")), rids));
    read_all(session, select, found).await.map(drop)
}

/// Resources that are there, of whichever type.
fn of_any_type() -> SelectStatement {
    let mut select = Sql::select();
    stored_columns(&mut select, "r");
    select.columns([("r", "rid"), ("r", "type_id")]).from_as("resource", "r");
    select.and_where(is_set(Expr::col(("r", "live")))).take()
}

/// Reads what [`of_any_type`] finds; how many.
async fn read_all<S: Session>(
    session: &mut S,
    select: SelectStatement,
    found: &mut BTreeMap<i64, Stored>,
) -> Result<usize, StoreError> {
    let rows = session.rows(&select).await?;
    let rids = rows.iter().map(|row| row.i64(AFTER_STORED)).collect::<Result<Vec<_>, _>>()?;
    let types =
        rows.iter().map(|row| session.known().types.name(row.i64(AFTER_STORED + 1)?)).collect::<Result<Vec<_>, _>>()?;
    let count = rows.len();
    found.extend(rids.into_iter().zip(stored_of_types(session, rows, &types).await?));
    Ok(count)
}

/// Row ids that the frontier leads to; none if no include has a parameter.
fn ends_of<S: Session>(session: &S, includes: &[&Include], frontier: &[i64]) -> Option<SelectStatement> {
    let mut all: Option<SelectStatement> = None;
    for reverse in [false, true] {
        let has_params = |include: &&Include| include.reverse == reverse && params_of(include).next().is_some();
        let asked: Vec<&Include> = includes.iter().copied().filter(has_params).collect();
        if asked.is_empty() {
            continue;
        }
        // Of what is pointed at, the row ids find the references: see `ends_of_references`.
        let param = if reverse { Expr::col(("i", "param")) } else { Expr::col(("i", "param")).add(0_i64) };
        let any = condition_of(session, &asked, &param);
        let params: Vec<i64> = asked.iter().flat_map(|include| params_of(include)).collect();
        let ends = if reverse {
            pointing_at(session, any, frontier)
        } else {
            ends_of_references(session, (any, &params), frontier)
        };
        match &mut all {
            None => all = Some(ends),
            Some(all) => {
                all.union(UnionType::Distinct, ends);
            }
        }
    }
    all
}

/// The parameters of an include that lead on by references.
fn params_of(include: &Include) -> impl Iterator<Item = i64> {
    include.params.iter().filter(|param| param.leads.by_reference()).map(|param| param.id.0)
}

/// That the reference `i` to the target `t` is one that is asked for.
fn condition_of<S: Session>(session: &S, includes: &[&Include], param: &Expr) -> Cond {
    let mut by_target: BTreeMap<Option<i64>, Vec<i64>> = BTreeMap::new();
    for include in includes {
        let target_type = include.target_type.as_ref().map(|target| session.known().types.id(target));
        by_target.entry(target_type).or_default().extend(params_of(include));
    }
    let towards = |(target_type, params): (Option<i64>, Vec<i64>)| {
        let own = Cond::all().add(is_one_of(param.clone(), &params));
        own.add_option(target_type.map(|it| Expr::col(("t", "type_id")).eq(it)))
    };
    by_target.into_iter().map(towards).fold(Cond::any(), Cond::add)
}

/// Row ids that the references of the frontier point at. Most of them point at the same few.
fn ends_of_references<S: Session>(session: &S, (asked, params): (Cond, &[i64]), frontier: &[i64]) -> SelectStatement {
    let mut names = Sql::select();
    names.distinct().columns([("x", "param"), ("x", "target")]).from_as("index_reference", "x");
    names.and_where(is_listed(session.backend(), Expr::col(("x", "rid")), frontier));
    // Added to nothing, here and by who asks for the parameter of `i`, so that no engine reads all rows of the parameter.
    names.and_where(is_one_of(Expr::col(("x", "param")).add(0_i64), params));
    let mut select = Sql::select();
    select.distinct().column(("r", "rid")).from_subquery(names, "i");
    select.join_as(JoinType::InnerJoin, "target", "t", Expr::col(("t", "target")).equals(("i", "target")));
    select.join_as(JoinType::InnerJoin, "resource", "r", is_named("r", "t")).cond_where(asked).take()
}

/// Row ids whose references point at the frontier.
fn pointing_at<S: Session>(session: &S, asked: Cond, frontier: &[i64]) -> SelectStatement {
    let mut select = Sql::select();
    select.distinct().column(("i", "rid")).from_as("resource", "r");
    select.join_as(JoinType::InnerJoin, "target", "t", is_named("r", "t"));
    let same = Expr::col(("t", "target")).equals(("i", "target"));
    select.join_as(JoinType::InnerJoin, "index_reference", "i", same);
    select.and_where(is_listed(session.backend(), Expr::col(("r", "rid")), frontier));
    select.cond_where(asked).limit(2 * MOST as u64).take()
}

/// Row ids that the frontier points at, or that point at it as far as the view shows them: by includes that go
/// [together].
async fn linked<S: Session>(
    session: &mut S,
    view: &View,
    includes: &[&Include],
    frontier: &[i64],
) -> Result<Vec<i64>, StoreError> {
    let Some(first) = includes.first() else { return Ok(Vec::new()) };
    // Where a reference ends: `t` is its target, `r` the resource of that name.
    let ends = is_named("r", "t");
    let same = Expr::col(("t", "target")).equals(("i", "target"));
    let mut select = Sql::select();
    select.distinct().column((if first.reverse { "i" } else { "r" }, "rid"));
    if first.reverse {
        // What the page names counts; what names the page counts only if it can be seen.
        let Some(view) = SearchView::new(session, view, &first.source_type).await? else { return Ok(Vec::new()) };
        select.from_as("resource", "r").join_as(JoinType::InnerJoin, "target", "t", ends);
        select.join_as(JoinType::InnerJoin, "index_reference", "i", same);
        select.cond_where(view.condition(&Place::of(Expr::col(("i", "rid"))))).limit(MOST as u64 + 1);
    } else {
        select.from_as("index_reference", "i").join_as(JoinType::InnerJoin, "target", "t", same);
        select.join_as(JoinType::InnerJoin, "resource", "r", ends);
    }
    let from = Expr::col((if first.reverse { "r" } else { "i" }, "rid"));
    select.and_where(is_listed(session.backend(), from, frontier));
    select.cond_where(condition_of(session, includes, &Expr::col(("i", "param"))));
    session.numbers(&select).await
}

/// Reads resources as far as the view shows them.
pub(super) async fn load<S: Session>(
    session: &mut S,
    view: &View,
    rids: &[i64],
    found: &mut BTreeMap<i64, Stored>,
) -> Result<(), StoreError> {
    for rids in rids.chunks(CHUNK) {
        load_some(session, view, rids, found).await?;
    }
    Ok(())
}

async fn load_some<S: Session>(
    session: &mut S,
    view: &View,
    rids: &[i64],
    found: &mut BTreeMap<i64, Stored>,
) -> Result<(), StoreError> {
    if view.is_unrestricted() {
        return load_all(session, rids, found).await;
    }
    let mut types = Sql::select();
    types.distinct().column("type_id").from("resource").and_where(is_listed(session.backend(), Expr::col("rid"), rids));
    types.and_where(is_set(Expr::col("live"))).order_by("type_id", Order::Asc);
    for type_id in session.numbers(&types).await? {
        let resource_type = session.known().types.name(type_id)?;
        let Some(view) = SearchView::new(session, view, resource_type).await? else { continue };
        let mut select = Sql::select();
        stored_columns(&mut select, "r");
        select.column(("r", "rid")).from_as("resource", "r").and_where(is_listed(
            session.backend(),
            Expr::col(("r", "rid")),
            rids,
        ));
        // Added to nothing, so that no index on the type is taken: the row ids find the rows.
        let of_type = Expr::col(("r", "type_id")).add(0).eq(type_id);
        select.and_where(of_type).and_where(is_set(Expr::col(("r", "live"))));
        select.cond_where(view.condition(&Place::of(Expr::col(("r", "rid")))));
        let rows = session.rows(&select).await?;
        let rids = rows.iter().map(|row| row.i64(AFTER_STORED)).collect::<Result<Vec<_>, _>>()?;
        found.extend(rids.into_iter().zip(stored_of_numbers(session, rows, resource_type).await?));
    }
    Ok(())
}
