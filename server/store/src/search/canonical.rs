//! Chains, `_has` and includes along canonical URLs. <https://hl7.org/fhir/R4/references.html#canonical>
//!
//! A resource states canonical URLs under an identity of the parameter, and is meant by them under two of the `url` of its
//! type: rows of one table with the same target. By `url` alone the newest is meant of those that the view shows: whether
//! there is a newer one is asked through the view as well. (LK-14)

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use sea_orm::JoinType;
use sea_orm::sea_query::{Alias, Cond, DynIden, Expr, ExprTrait, IntoIden, Query as Sql, SelectStatement};
use search::canonical::{self, stated};
use search::extract::stated_canonicals;
use search::query::{Include, Param};
use search::view::View;

use super::any::{Alternative, Any, is_listed, is_one_of};
use super::condition::{Condition, Place};
use super::include::{CHUNK, MOST, Node, seen_alike, together, too_many};
use super::links::{self, Link};
use super::plan::Plan;
use super::question::finds_a_row;
use super::versions::parsed;
use crate::error::StoreError;
use crate::keys;
use crate::session::Session;
use crate::view::SearchView;

/// The rows by which resources of some types, of which the view says the same, are meant.
#[derive(Clone, Debug)]
pub(super) struct Names {
    versioned: Vec<i64>,
    alone: Vec<i64>,
    view: SearchView,
}

impl Names {
    /// Of one type; none if its resources have no canonical URL, or the view denies it.
    async fn of_type<S: Session>(
        session: &mut S,
        view: &View,
        resource_type: &str,
    ) -> Result<Option<Self>, StoreError> {
        Ok(Names::of_types(session, view, &[resource_type]).await?.pop())
    }

    /// Of several.
    async fn of_types<S: Session>(session: &mut S, view: &View, types: &[&str]) -> Result<Vec<Self>, StoreError> {
        let mut found = Vec::new();
        let named = types.iter().copied().filter(|name| canonical::names(name).is_some());
        for types in seen_alike(view, named, |name| name) {
            let Some(view) = SearchView::new(session, view, types[0]).await? else { continue };
            let ids: Vec<canonical::Names> = types.into_iter().filter_map(canonical::names).collect();
            let versioned = ids.iter().map(|it| it.versioned.0).collect();
            found.push(Names { versioned, alone: ids.iter().map(|it| it.alone.0).collect(), view });
        }
        Ok(found)
    }

    /// That the row known by this name means the resource whose it is; the resource itself is seen.
    fn mean(&self, name: &DynIden, place: &Place) -> Cond {
        let newer = place.linked("m");
        let other = Alias::new(format!("m{}", newer.depth)).into_iden();
        let own = |column: &'static str| Expr::col((name.clone(), column));
        let its = |column: &'static str| Expr::col((other.clone(), column));
        let mut select = Sql::select();
        select.expr(Expr::val(1)).from_as("index_reference", other.clone());
        for column in ["param", "target"] {
            select.and_where(its(column).equals((name.clone(), column)));
        }
        let is_later = its("chronology").gt(own("chronology"));
        let is_same = its("chronology").equals((name.clone(), "chronology"));
        let is_behind = Cond::all().add(is_same).add(its("rid").gt(own("rid")));
        select.cond_where(Cond::any().add(is_later).add(is_behind)).cond_where(self.view.condition(&newer));
        let is_newest = Cond::all().add(is_one_of(own("param"), &self.alone)).add(finds_a_row(select).not());
        Cond::any().add(is_one_of(own("param"), &self.versioned)).add(is_newest)
    }

    /// Narrows the rows known by this name to those of the types, so that an index finds them by their targets.
    fn are(&self, name: &DynIden) -> Expr {
        let both = [self.versioned.as_slice(), &self.alone].concat();
        is_one_of(Expr::col((name.clone(), "param")), &both)
    }

    /// A column of the rows `n` by which resources are meant.
    fn rows(&self, column: &'static str) -> SelectStatement {
        let n = Alias::new("n").into_iden();
        let mut select = Sql::select();
        select.distinct().column((n.clone(), column)).from_as("index_reference", n.clone());
        select.and_where(self.are(&n)).cond_where(self.mean(&n, &Place::of(Expr::col((n.clone(), "rid"))))).take()
    }

    /// From a place, the resources that URLs mean which it states, or that state URLs which mean it: rows `x` state, rows `n`
    /// are meant. The place at the other end.
    pub(super) fn join(&self, select: &mut SelectStatement, param: i64, place: &Place, is_reverse: bool) -> Place {
        let depth = place.depth + 1;
        let [x, n] = ["x", "n"].map(|letter| Alias::new(format!("{letter}{depth}")).into_iden());
        self.join_as(select, (&x, &n), &[param], place);
        let (here, there) = if is_reverse { (n, "x") } else { (x, "n") };
        select.and_where(Expr::col((here, "rid")).eq(place.rid.clone()));
        place.linked(there)
    }

    fn join_as(&self, select: &mut SelectStatement, (x, n): (&DynIden, &DynIden), params: &[i64], place: &Place) {
        select.from_as("index_reference", x.clone());
        let same = Expr::col((n.clone(), "target")).equals((x.clone(), "target"));
        select.join_as(JoinType::InnerJoin, "index_reference", n.clone(), same);
        select.and_where(is_one_of(Expr::col((x.clone(), "param")), params));
        select.and_where(self.are(n)).cond_where(self.mean(n, place));
    }
}

/// The resource states a canonical URL that means one which satisfies the filters.
pub(super) fn chain<'a, S: Session>(
    session: &'a mut S,
    view: &'a View,
    link: Link<'a>,
) -> BoxFuture<'a, Result<Condition, StoreError>> {
    Box::pin(async move {
        let Some(names) = Names::of_type(session, view, link.other_type).await? else { return Ok(Condition::Nothing) };
        let Some(plan) = Plan::new(session, view, link.other_type, link.filters, &[]).await? else {
            return Ok(Condition::Nothing);
        };
        let Some(rids) = links::few_rids(session, view, &link, &plan).await? else {
            return Ok(links::along_canonicals(plan, link.param, names, false));
        };
        let mut select = names.rows("target");
        select.and_where(is_listed(session.backend(), Expr::col(("n", "rid")), &rids));
        let urls = if rids.is_empty() { Vec::new() } else { session.numbers(&select).await? };
        if urls.is_empty() {
            return Ok(Condition::Nothing);
        }
        let urls = urls.into_iter().map(Alternative::Target).collect();
        Ok(Condition::Any(Any::of(&stated(link.param), urls, false)))
    })
}

/// A resource that satisfies the filters states a canonical URL that means the resource, which is of this type.
pub(super) fn has<'a, S: Session>(
    session: &'a mut S,
    view: &'a View,
    link: Link<'a>,
    own_type: &'a str,
) -> BoxFuture<'a, Result<Condition, StoreError>> {
    Box::pin(async move {
        let Some(names) = Names::of_type(session, view, own_type).await? else { return Ok(Condition::Nothing) };
        let Some(plan) = Plan::new(session, view, link.other_type, link.filters, &[]).await? else {
            return Ok(Condition::Nothing);
        };
        let Some(sources) = links::few_rids(session, view, &link, &plan).await? else {
            return Ok(links::along_canonicals(plan, link.param, names, true));
        };
        let rids = meant(session, &names, &[stated(link.param).id.0], &sources).await?;
        Ok(Condition::Rids { rids, how: "found through the resources that refer to them" })
    })
}

/// Row ids of what is meant by the canonical URLs that some resources state.
async fn meant<S: Session>(
    session: &mut S,
    names: &Names,
    params: &[i64],
    sources: &[i64],
) -> Result<Vec<i64>, StoreError> {
    let [x, n] = ["x", "n"].map(|letter| Alias::new(letter).into_iden());
    let mut all = BTreeSet::new();
    for sources in sources.chunks(CHUNK) {
        let mut select = Sql::select();
        select.distinct().column((n.clone(), "rid"));
        names.join_as(&mut select, (&x, &n), params, &Place::of(Expr::col((n.clone(), "rid"))));
        select.and_where(is_listed(session.backend(), Expr::col((x.clone(), "rid")), sources));
        all.extend(session.numbers(&select).await?);
    }
    Ok(all.into_iter().collect())
}

/// Row ids that canonical URLs lead to from the frontier, or that lead there.
pub(super) async fn ends<S: Session>(
    session: &mut S,
    view: &View,
    includes: &[&Include],
    frontier: &[Node],
) -> Result<Vec<i64>, StoreError> {
    let mut found = BTreeSet::new();
    for include in includes.iter().filter(|include| !include.reverse) {
        let params = stated_of(&[include]);
        let sources: Vec<&Node> =
            frontier.iter().filter(|node| node.stored.resource_type == include.source_type).collect();
        if params.is_empty() || sources.is_empty() {
            continue;
        }
        let types: Vec<&str> =
            include.target_type.as_deref().map_or_else(|| canonical::types().collect(), |it| vec![it]);
        let (old, current): (Vec<&Node>, Vec<&Node>) = sources.into_iter().partition(|node| node.is_old);
        let rids: Vec<i64> = current.into_iter().map(|node| node.rid).collect();
        for names in Names::of_types(session, view, &types).await? {
            found.extend(meant(session, &names, &params, &rids).await?);
            for node in &old {
                found.extend(meant_by_text(session, &names, &include.params, node).await?);
            }
        }
    }
    // What an old version was called, it may be called no more.
    let mut types: Vec<&str> =
        frontier.iter().filter(|node| !node.is_old).map(|node| node.stored.resource_type.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let back: Vec<&Include> =
        includes.iter().copied().filter(|it| it.reverse && !stated_of(&[it]).is_empty()).collect();
    for includes in together(view, &back) {
        for resource_type in &types {
            let asked: Vec<&Include> = includes.iter().copied().filter(|it| it.may_end_at(resource_type)).collect();
            let Some(first) = asked.first() else { continue };
            let Some(names) = Names::of_type(session, view, resource_type).await? else { continue };
            let Some(sources) = SearchView::new(session, view, &first.source_type).await? else { continue };
            let of_type = |node: &&Node| !node.is_old && node.stored.resource_type == **resource_type;
            let rids: Vec<i64> = frontier.iter().filter(of_type).map(|node| node.rid).collect();
            found.extend(stating(session, &names, (&sources, &stated_of(&asked)), &rids).await?);
        }
    }
    Ok(found.into_iter().collect())
}

/// The identities under which the includes' parameters state canonical URLs.
fn stated_of(includes: &[&Include]) -> Vec<i64> {
    let params = includes.iter().flat_map(|include| &include.params).filter(|param| param.leads.by_canonical());
    params.map(|param| stated(param).id.0).collect()
}

/// Row ids of what is seen and states canonical URLs that mean the frontier.
async fn stating<S: Session>(
    session: &mut S,
    names: &Names,
    (sources, params): (&SearchView, &[i64]),
    frontier: &[i64],
) -> Result<Vec<i64>, StoreError> {
    let [x, n] = ["x", "n"].map(|letter| Alias::new(letter).into_iden());
    let mut all = Vec::new();
    for frontier in frontier.chunks(CHUNK) {
        let mut select = Sql::select();
        select.distinct().column((x.clone(), "rid"));
        names.join_as(&mut select, (&x, &n), params, &Place::of(Expr::col((n.clone(), "rid"))));
        select.and_where(is_listed(session.backend(), Expr::col((n.clone(), "rid")), frontier));
        select.cond_where(sources.condition(&Place::of(Expr::col((x.clone(), "rid"))))).limit(MOST as u64 + 1);
        all.extend(session.numbers(&select).await?);
        if all.len() > MOST {
            return Err(too_many());
        }
    }
    Ok(all)
}

/// The same as [`meant`] for a version that the index does not have.
async fn meant_by_text<S: Session>(
    session: &mut S,
    names: &Names,
    params: &[Param],
    node: &Node,
) -> Result<Vec<i64>, StoreError> {
    let resource = parsed(&node.stored)?;
    let params = params.iter().filter(|param| param.leads.by_canonical());
    let urls: Vec<i64> =
        params.flat_map(|param| stated_canonicals(param, &resource)).map(|url| keys::url(&url)).collect();
    let mut select = names.rows("rid");
    select.and_where(is_listed(session.backend(), Expr::col(("n", "target")), &urls));
    if urls.is_empty() { Ok(Vec::new()) } else { session.numbers(&select).await }
}
