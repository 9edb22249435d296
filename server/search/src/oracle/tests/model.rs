//! The same answers by index entries, as naively as it goes: what the oracle reads from resources must be found in
//! the entries.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use fhir::decimal::Decimal;
use fhir::json::Json;

use super::super::{Answer, Row, type_of};
use super::BASE;
use crate::canonical;
use crate::compartment;
use crate::contained;
use crate::entry::{Extent, Extracted, IndexValue, NO_CHRONOLOGY, ParamId, Target};
use crate::extract::extract;
use crate::query::{
    Direction, Filter, Match, NumberMatch, Order, Param, Prefix, Query, Sort, SortBy, StringMode, UnitMatch,
};
use crate::view::{Compartment, TypeRule, View};

/// A database: resources and what the index holds of them.
pub(super) struct Index {
    pub(super) resources: Vec<Json>,
    extracted: Vec<Extracted>,
    /// Where a resource is, by type and id.
    places: BTreeMap<(String, String), usize>,
}

impl Index {
    pub(super) fn of(resources: Vec<Json>) -> Index {
        let extracted = resources.iter().map(|it| extract(it, BASE).unwrap()).collect();
        let text = |it: &Json, name: &str| it.str(name).unwrap_or_default().to_owned();
        let name = |it: &Json| (text(it, "resourceType"), text(it, "id"));
        let places = resources.iter().enumerate().map(|(place, it)| (name(it), place)).collect();
        Index { resources, extracted, places }
    }

    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        (1_i64..)
            .zip(&self.resources)
            .map(|(rid, resource)| Row { rid, resource, last_updated: rid % 7 * 86_400_000_000 * 365 * 10 })
            .collect()
    }

    /// What the index holds of the resource, or of its container.
    fn of_row(&self, row: &Row<'_>) -> &Extracted {
        let rid = contained::container(row.rid).map_or(row.rid, |(rid, _)| rid);
        &self.extracted[rid as usize - 1]
    }

    /// The contained resources of a type, with their containers.
    fn inside<'a>(&self, rows: &'a [Row<'a>], resource_type: &str) -> Vec<(&'a Row<'a>, Row<'a>)> {
        let of_row = |row: &'a Row<'a>| {
            let inside = self.of_row(row).contained.iter().filter(|it| it.resource_type == resource_type);
            inside.map(move |it| (row, inner(row, it.place))).collect::<Vec<_>>()
        };
        rows.iter().flat_map(of_row).collect()
    }

    /// By which parameters the resource points at which of those that its container, or it itself, contains.
    fn inward(&self, row: &Row<'_>) -> &[(ParamId, usize)] {
        let extracted = self.of_row(row);
        let Some((_, place)) = contained::container(row.rid) else { return &extracted.inward };
        &extracted.contained.iter().find(|it| it.place == place).expect("it is there").inward
    }

    fn entries(&self, row: &Row<'_>, param: &Param) -> Vec<&IndexValue> {
        let held = param.held_as();
        let extracted = self.of_row(row);
        let entries = match contained::container(row.rid) {
            Some((_, place)) => &extracted.contained.iter().find(|it| it.place == place).expect("it is there").entries,
            None => &extracted.entries,
        };
        entries.iter().filter(|it| held.iter().any(|held| held.id == it.param)).map(|it| &it.value).collect()
    }

    fn row<'a>(&self, rows: &'a [Row<'a>], target: &IndexValue) -> Option<&'a Row<'a>> {
        let IndexValue::Reference(Target::Local { resource_type, id }) = target else { return None };
        self.places.get(&(resource_type.clone(), id.clone())).map(|place| &rows[*place])
    }

    /// The same answer, by index entries.
    pub(super) fn answer(&self, view: &View, query: &Query) -> Answer {
        let rows = self.rows();
        let model = Model { index: self, rows: &rows, view };
        let is_plain = query.contained.as_ref().is_none_or(|asked| asked.both);
        let mut found: Vec<Row<'_>> = rows
            .iter()
            .filter(|row| is_plain && type_of(row) == query.resource_type && model.sees(row))
            .filter(|row| query.filters.iter().all(|it| model.holds(it, row)))
            .copied()
            .collect();
        if let Some(asked) = &query.contained {
            for (container, inner) in self.inside(&rows, &query.resource_type) {
                let is_searched = asked.containers.iter().any(|it| it == type_of(container)) && model.sees(container);
                let is_new = asked.alone || !found.iter().any(|it| it.rid == container.rid);
                if is_searched && is_new && model.holds_inside(&query.resource_type, &query.filters, &inner) {
                    found.push(if asked.alone { inner } else { *container });
                }
            }
        }
        found.sort_by(|left, right| self.order(query, left, right));
        let matches: Vec<i64> = found.iter().map(|it| it.rid).collect();
        let included = model.included(query, &matches[..matches.len().min(query.count)]);
        Answer { total: matches.len(), matches, included }
    }

    fn order(&self, query: &Query, left: &Row<'_>, right: &Row<'_>) -> Ordering {
        let chronology = |row: &Row<'_>| self.of_row(row).chronology;
        if query.sort.is_empty() {
            return chronology(right).cmp(&chronology(left)).then(right.rid.cmp(&left.rid));
        }
        for sort in &query.sort {
            let (left, right) = (self.sort_key(sort, left), self.sort_key(sort, right));
            let order = match (left, right) {
                (Some(left), Some(right)) if sort.descending => right.cmp(&left),
                (Some(left), Some(right)) => left.cmp(&right),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            };
            if order.is_ne() {
                return order;
            }
        }
        right.rid.cmp(&left.rid)
    }

    fn sort_key(&self, sort: &Sort, row: &Row<'_>) -> Option<(i64, String)> {
        let param = match &sort.by {
            SortBy::LastUpdated => return Some((row.last_updated, String::new())),
            SortBy::Id => return row.resource.str("id").map(|id| (0, id.to_owned())),
            SortBy::Chronology(_) => {
                let chronology = self.extracted[row.rid as usize - 1].chronology;
                return (chronology != NO_CHRONOLOGY).then(|| (chronology, String::new()));
            }
            SortBy::Param(param) => param,
        };
        let keys = self.entries(row, param).into_iter().filter_map(|value| match value {
            IndexValue::Token { code, .. } => Some((0, code.clone())),
            IndexValue::String { folded, .. } => Some((0, folded.clone())),
            IndexValue::Date { low, .. } => Some((*low, String::new())),
            IndexValue::Number(value) | IndexValue::Quantity { value, .. } => Some((0, value.ends()[0].clone())),
            IndexValue::Reference(Target::Local { resource_type, id }) => Some((0, format!("{resource_type}/{id}"))),
            IndexValue::Reference(Target::Url(_)) | IndexValue::Part(_) => None,
            IndexValue::Uri(text) => Some((0, text.clone())),
            IndexValue::Composite { .. } => panic!("composites are not sorted by"),
        });
        if sort.descending { keys.max() } else { keys.min() }
    }
}

/// The index through a view, asked as naively as it goes.
struct Model<'a> {
    index: &'a Index,
    rows: &'a [Row<'a>],
    view: &'a View,
}

impl Model<'_> {
    fn sees(&self, row: &Row<'_>) -> bool {
        let patients = &self.index.extracted[row.rid as usize - 1].patients;
        let inside = match self.view.compartment() {
            Compartment::Everyone => true,
            Compartment::Patients(own) if patients.is_empty() => {
                !own.is_empty() && compartment::is_shared(type_of(row))
            }
            Compartment::Patients(own) => patients.iter().any(|it| own.contains(it)),
        };
        inside
            && match self.view.rule(type_of(row)) {
                TypeRule::Denied => false,
                TypeRule::Whole => true,
                TypeRule::Granular(any) => any.iter().any(|all| all.iter().all(|it| self.holds(it, row))),
            }
    }

    /// Whether a contained resource satisfies all filters.
    fn holds_inside(&self, resource_type: &str, filters: &[Filter], inner: &Row<'_>) -> bool {
        filters.iter().all(|it| contained::filter(resource_type, it).is_some_and(|it| self.holds(&it, inner)))
    }

    fn holds(&self, filter: &Filter, row: &Row<'_>) -> bool {
        let all = |filters: &[Filter], row: &Row<'_>| self.sees(row) && filters.iter().all(|it| self.holds(it, row));
        match filter {
            Filter::Id(ids) => ids.iter().any(|id| row.resource.str("id") == Some(id)),
            Filter::LastUpdated(dates) => dates.iter().any(|it| {
                let value = IndexValue::Date { low: row.last_updated, high: row.last_updated };
                entry_matches(&value, &Match::Date(*it))
            }),
            Filter::Missing { param, missing } => {
                let stated = Param { id: param.id.without_value(), ..param.clone() };
                let is_there = |param: &Param| !self.index.entries(row, param).is_empty();
                (is_there(param) || is_there(&stated)) != *missing
            }
            Filter::Any { param, matches, negated } => {
                let entries = self.index.entries(row, param);
                entries.iter().any(|entry| matches.iter().any(|it| self.matches(entry, it))) != *negated
            }
            Filter::Composite { param, alternatives } => self.index.entries(row, param).iter().any(|entry| {
                let IndexValue::Composite { values: parts, canonical } = entry else { return false };
                let fits = |wanted: &Vec<Match>| {
                    parts.iter().zip(wanted).all(|(part, it)| match (it, canonical) {
                        (Match::Quantity { unit: Some(UnitMatch::Canonical(unit)), number }, canonical) => {
                            canonical.as_ref().is_some_and(|(value, of)| of == unit && number_matches(value, number))
                        }
                        _ => self.matches(part, it),
                    })
                };
                alternatives.iter().any(fits)
            }),
            Filter::Chain { param, target_type, filters } => {
                let outward = param.leads.by_reference()
                    && self.index.entries(row, param).iter().any(|entry| {
                        let target = self.index.row(self.rows, entry).filter(|it| type_of(it) == target_type);
                        target.is_some_and(|target| all(filters, target))
                    });
                let stated = self.index.entries(row, &canonical::stated(param));
                let mut meant = stated.into_iter().flat_map(|url| self.meant(url, target_type));
                let inward = self.index.inward(row).iter().filter(|(id, _)| *id == param.id.into_contained());
                outward
                    || meant.any(|target| all(filters, target))
                    || inward
                        .map(|(_, place)| inner(self.container(row), *place))
                        .any(|inner| type_of(&inner) == target_type && self.holds_inside(target_type, filters, &inner))
            }
            Filter::Has { source_type, param, filters } => {
                let (resource_type, id) =
                    (type_of(row).to_owned(), row.resource.str("id").unwrap_or_default().to_owned());
                let this = IndexValue::Reference(Target::Local { resource_type, id });
                let points_here = |source: &Row<'_>| {
                    let stated = self.index.entries(source, &canonical::stated(param));
                    let mut meant = stated.into_iter().flat_map(|url| self.meant(url, type_of(row)));
                    meant.any(|it| it.rid == row.rid)
                        || param.leads.by_reference() && self.index.entries(source, param).contains(&&this)
                };
                let mut sources = self.rows.iter().filter(|it| type_of(it) == source_type);
                sources.any(|it| points_here(it) && all(filters, it))
            }
            Filter::All(filters) => filters.iter().all(|it| self.holds(it, row)),
            Filter::Or(filters) => filters.iter().any(|it| self.holds(it, row)),
            Filter::Not(inner) => !self.holds(inner, row),
            Filter::Exact(_) | Filter::Near { .. } | Filter::Words { .. } => {
                crate::filter::matches_at(filter, row.resource, BASE, Some(row.last_updated))
            }
        }
    }

    fn container(&self, row: &Row<'_>) -> &Row<'_> {
        let rid = contained::container(row.rid).map_or(row.rid, |(rid, _)| rid);
        &self.rows[rid as usize - 1]
    }

    /// What of a type a canonical URL means.
    fn meant(&self, url: &IndexValue, resource_type: &str) -> Vec<&Row<'_>> {
        let Some(names) = canonical::names(resource_type) else { return Vec::new() };
        let has = |row: &&Row<'_>, id| {
            let entries = &self.index.of_row(row).entries;
            entries.iter().any(|it| it.param == id && it.value == *url)
        };
        let visible = || self.rows.iter().filter(|row| type_of(row) == resource_type && self.sees(row));
        let alone = visible().filter(|row| has(row, names.alone));
        let newest = alone.max_by_key(|row| (self.index.of_row(row).chronology, row.rid));
        visible().filter(|row| has(row, names.versioned)).chain(newest).collect()
    }

    fn matches(&self, entry: &IndexValue, wanted: &Match) -> bool {
        match wanted {
            Match::Hierarchy { target, parent, direction } => {
                let begin = IndexValue::Reference(target.clone());
                let upwards = match direction {
                    Direction::Above => self.and_above(begin, parent, 0),
                    Direction::Below => return self.and_above(entry.clone(), parent, 0).contains(&begin),
                };
                upwards.contains(entry)
            }
            Match::Other(_) if matches!(entry, IndexValue::Part(_)) => false,
            Match::Other(inner) => !self.matches(entry, inner),
            plain => entry_matches(entry, plain),
        }
    }

    /// What a reference points at, and what that points at as its parents.
    fn and_above(&self, begin: IndexValue, parent: &Param, depth: usize) -> Vec<IndexValue> {
        let mut found = Vec::new();
        if depth < 20
            && let Some(row) = self.index.row(self.rows, &begin).filter(|row| self.sees(row))
        {
            let parents = self.index.entries(row, parent).into_iter();
            found.extend(parents.flat_map(|it| self.and_above(it.clone(), parent, depth + 1)));
        }
        found.push(begin);
        found
    }

    fn included(&self, query: &Query, page: &[i64]) -> BTreeSet<i64> {
        let mut found: BTreeSet<i64> = BTreeSet::new();
        loop {
            let before = found.len();
            for include in &query.includes {
                let from = |rid: i64| page.contains(&rid) || (include.iterate && found.contains(&rid));
                let mut more = Vec::new();
                for source in self.rows.iter().filter(|it| type_of(it) == include.source_type) {
                    let mut targets = Vec::new();
                    for param in &include.params {
                        if param.leads.by_reference() {
                            let entries = self.index.entries(source, param).into_iter();
                            targets.extend(entries.filter_map(|entry| self.index.row(self.rows, entry)));
                        }
                        for url in self.index.entries(source, &canonical::stated(param)) {
                            targets.extend(canonical::types().flat_map(|name| self.meant(url, name)));
                        }
                    }
                    for target in targets {
                        let (near, far) = if include.reverse { (target, source) } else { (source, target) };
                        let is_wanted = include.target_type.as_deref().is_none_or(|it| it == type_of(target));
                        if is_wanted && from(near.rid) && !page.contains(&far.rid) && self.sees(far) {
                            more.push(far.rid);
                        }
                    }
                }
                found.extend(more);
            }
            if found.len() == before {
                return found;
            }
        }
    }
}

/// What stands at a place in a row, as a row.
fn inner<'a>(row: &Row<'a>, place: usize) -> Row<'a> {
    let resource = &row.resource.list("contained")[place];
    Row { rid: contained::row_id(row.rid, place), resource, last_updated: row.last_updated }
}

fn entry_matches(entry: &IndexValue, wanted: &Match) -> bool {
    match (entry, wanted) {
        (IndexValue::Token { system, code }, Match::Token { system: one, code: two }) => {
            one.as_ref().unwrap_or(system) == system && two.as_ref().unwrap_or(code) == code
        }
        (IndexValue::Token { system, code }, Match::AnyCase { system: one, code: two }) => {
            let wanted = (one.as_ref().unwrap_or(system).to_lowercase(), two.to_lowercase());
            (system.to_lowercase(), code.to_lowercase()) == wanted
        }
        (IndexValue::String { folded, exact }, Match::String { mode, text }) => match mode {
            StringMode::StartsWith => folded.starts_with(text),
            StringMode::Contains => folded.contains(text),
            StringMode::Exact => exact == text,
            StringMode::Equals => folded == text,
            StringMode::EndsWith => folded.ends_with(text.as_str()),
            StringMode::Initial(order) => {
                let (has, asked) = (folded.chars().next(), text.chars().next());
                has.is_some()
                    && match order {
                        Order::After => has > asked,
                        Order::From => has >= asked,
                        Order::Before => has < asked,
                        Order::UpTo => has <= asked,
                    }
            }
        },
        (IndexValue::Part(folded), Match::String { mode: StringMode::StartsWith, text }) => folded.starts_with(text),
        (IndexValue::Date { low, high }, Match::Date(it)) => match it.prefix {
            Prefix::Eq => it.low <= *low && *high <= it.high,
            Prefix::Ne => it.low > *low || *high > it.high,
            Prefix::Gt => *high > it.high,
            Prefix::Lt => *low < it.low,
            Prefix::Ge => *high >= it.low,
            Prefix::Le => *low <= it.high,
            Prefix::Sa => *low > it.high,
            Prefix::Eb => *high < it.low,
            Prefix::Ap => *high >= it.low && *low <= it.high,
        },
        (IndexValue::Date { low, high }, Match::Period { low: from, high: to }) => low <= from && to <= high,
        (IndexValue::Number(value), Match::Number(number)) => number_matches(value, number),
        (IndexValue::Quantity { value, system, code, unit }, Match::Quantity { number, unit: wanted }) => {
            number_matches(value, number)
                && match wanted {
                    None => true,
                    Some(UnitMatch::Coded { system: one, code: two }) => (one, two) == (system, code),
                    Some(UnitMatch::OfSystem(one)) => one == system,
                    Some(UnitMatch::Named(name)) => name == code || name == unit,
                    Some(UnitMatch::Canonical(name)) => name == code,
                }
        }
        (IndexValue::Reference(has), Match::Reference(wanted)) => has == wanted,
        (IndexValue::Uri(has), Match::Uri(wanted)) => has == wanted,
        (IndexValue::Uri(has), Match::UriHierarchy { uri, direction }) => {
            let (upper, lower) = if *direction == Direction::Below { (uri, has) } else { (has, uri) };
            let segments = format!("{}/", upper.trim_end_matches('/'));
            has == uri || (!upper.starts_with("urn:") && !lower.starts_with("urn:") && lower.starts_with(&segments))
        }
        _ => false,
    }
}

/// By sort keys, as an index compares.
fn number_matches(value: &Extent, wanted: &NumberMatch) -> bool {
    let [first, last] = value.ends();
    let [at, low, high] = [&wanted.value, &wanted.low, &wanted.high].map(Decimal::sort_key);
    match wanted.prefix {
        Prefix::Eq => low <= first && last < high,
        Prefix::Ne => first < low || high <= last,
        Prefix::Gt => last > at,
        Prefix::Lt => first < at,
        Prefix::Ge => last >= at,
        Prefix::Le => first <= at,
        Prefix::Sa => first > at,
        Prefix::Eb => last < at,
        Prefix::Ap => low <= last && first <= high,
    }
}
