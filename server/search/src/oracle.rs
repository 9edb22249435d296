//! What the answer to a search must be, computed from the resources themselves: no index, no database.
//!
//! Slow and simple. The store's answers are compared with it on both engines (design invariant 5), and views are
//! tested against it (invariant 2).

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use fhir::decimal::Decimal;
use fhir::json::Json;

use crate::compartment;
use crate::entry::NO_CHRONOLOGY;
use crate::filter::values::Value;
use crate::filter::{matches_at, select};
use crate::fold::fold;
use crate::query::{Filter, Param, ParamKind, Query, Sort, SortBy};
use crate::registry::registry;
use crate::view::{Compartment, TypeRule, View};

/// One current resource of the database.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Row id.
    pub rid: i64,
    /// The resource.
    pub resource: &'a Json,
    /// When it was last updated, microseconds since 1970.
    pub last_updated: i64,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Row ids of all matches in order, over all pages.
    pub matches: Vec<i64>,
    /// Row ids of what the first page ([`Query::count`] matches) includes besides its matches.
    pub included: BTreeSet<i64>,
    /// How many matches there are.
    pub total: usize,
}

/// Answers `query` on the part of `rows` that `view` holds; references below `base` are this server's. The cursor is
/// not looked at: pages are slices of [`Answer::matches`].
pub fn answer(rows: &[Row<'_>], view: &View, query: &Query, base: &str) -> Answer {
    let rule_holds = |row: &Row<'_>| query.filters.iter().all(|it| holds(it, row, base));
    let mut found: Vec<&Row<'_>> = rows
        .iter()
        .filter(|row| type_of(row) == query.resource_type && sees(view, row, base) && rule_holds(row))
        .collect();
    sort(&mut found, query, base);
    let matches: Vec<i64> = found.iter().map(|row| row.rid).collect();
    let page = &matches[..matches.len().min(query.count)];
    let included = included(rows, view, query, base, page);
    Answer { total: matches.len(), included, matches }
}

/// What a page with these matches includes besides them.
pub fn included(rows: &[Row<'_>], view: &View, query: &Query, base: &str, page: &[i64]) -> BTreeSet<i64> {
    let (matches, others): (Vec<&Row<'_>>, Vec<&Row<'_>>) = rows.iter().partition(|row| page.contains(&row.rid));
    let mut found = BTreeSet::new();
    for include in &query.includes {
        let (sources, targets) = if include.reverse { (&others, &matches) } else { (&matches, &others) };
        for source in sources.iter().filter(|row| type_of(row) == include.source_type) {
            let values = include.params.iter().filter_map(|param| select(param, source.resource, base));
            let pointed_at: Vec<Value> = values.flatten().collect();
            for target in targets.iter().filter(|row| pointed_at.iter().any(|it| is_of(it, row))) {
                if include.target_type.as_deref().is_none_or(|it| it == type_of(target)) {
                    found.insert(if include.reverse { source.rid } else { target.rid });
                }
            }
        }
    }
    found.retain(|rid| rows.iter().any(|row| row.rid == *rid && sees(view, row, base)));
    found
}

/// Whether a view holds a row.
pub fn sees(view: &View, row: &Row<'_>, base: &str) -> bool {
    let rule = match view.rule(type_of(row)) {
        TypeRule::Denied => false,
        TypeRule::Whole => true,
        TypeRule::Granular(alternatives) => {
            alternatives.iter().any(|filters| filters.iter().all(|it| holds(it, row, base)))
        }
    };
    rule && in_compartment(view.compartment(), row.resource, base)
}

fn in_compartment(compartment: &Compartment, resource: &Json, base: &str) -> bool {
    let Compartment::Patients(visible) = compartment else { return true };
    let resource_type = resource.str("resourceType").unwrap_or_default();
    if resource_type == "Patient" && resource.str("id").is_some_and(|id| visible.iter().any(|it| it == id)) {
        return true;
    }
    let registry = registry();
    let mut names_someone = resource_type == "Patient";
    for code in compartment::parameters(resource_type) {
        let Some(parameter) = registry.find(resource_type, code) else { continue };
        for element in parameter.select_plainly(resource).unwrap_or_default() {
            names_someone = true;
            for value in crate::filter::values::of(ParamKind::Reference, &element.type_name, &element.json, base) {
                if matches!(&value, Value::Local(target, id) if target == "Patient" && visible.contains(id)) {
                    return true;
                }
            }
        }
    }
    !names_someone && compartment::is_shared(resource_type)
}

fn holds(filter: &Filter, row: &Row<'_>, base: &str) -> bool {
    matches_at(filter, row.resource, base, Some(row.last_updated))
}

fn type_of<'a>(row: &Row<'a>) -> &'a str {
    row.resource.str("resourceType").unwrap_or_default()
}

/// Whether a reference is to that row.
fn is_of(reference: &Value, row: &Row<'_>) -> bool {
    matches!(reference, Value::Local(resource_type, id)
        if resource_type == type_of(row) && Some(id.as_str()) == row.resource.str("id"))
}

/// What rows are ordered by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Instant(i64),
    Number(Decimal),
    Text(String),
}

fn sort(rows: &mut [&Row<'_>], query: &Query, base: &str) {
    if query.sort.is_empty() {
        let chronology = |row: &Row<'_>| match chronology(row, base) {
            Some(Key::Instant(instant)) => instant,
            _ => NO_CHRONOLOGY,
        };
        rows.sort_by_cached_key(|row| Reverse((chronology(row), row.rid)));
        return;
    }
    let keys: BTreeMap<i64, Vec<Option<Key>>> =
        rows.iter().map(|row| (row.rid, query.sort.iter().map(|it| key(it, row, base)).collect())).collect();
    rows.sort_by(|left, right| {
        let mut orders = query.sort.iter().zip(keys[&left.rid].iter().zip(&keys[&right.rid])).map(compare);
        orders.find(|it| it.is_ne()).unwrap_or_else(|| right.rid.cmp(&left.rid))
    });
}

/// The order of two keys; rows without a key come last in both directions.
fn compare((sort, (left, right)): (&Sort, (&Option<Key>, &Option<Key>))) -> Ordering {
    match (left, right) {
        (Some(left), Some(right)) if sort.descending => right.cmp(left),
        (Some(left), Some(right)) => left.cmp(right),
        (left, right) => right.is_some().cmp(&left.is_some()),
    }
}

fn key(sort: &Sort, row: &Row<'_>, base: &str) -> Option<Key> {
    match &sort.by {
        SortBy::LastUpdated => Some(Key::Instant(row.last_updated)),
        SortBy::Id => row.resource.str("id").map(|id| Key::Text(id.to_owned())),
        SortBy::Chronology(_) => chronology(row, base),
        SortBy::Param(param) => {
            let keys = keys(param, row, base).into_iter();
            if sort.descending { keys.max() } else { keys.min() }
        }
    }
}

/// Where the earliest value of the type's `date` begins, if it says when.
fn chronology(row: &Row<'_>, base: &str) -> Option<Key> {
    let param = registry().find(type_of(row), "date")?.param().filter(|it| it.kind == ParamKind::Date)?;
    keys(&param, row, base).into_iter().min().filter(|begin| *begin != Key::Instant(NO_CHRONOLOGY))
}

fn keys(param: &Param, row: &Row<'_>, base: &str) -> Vec<Key> {
    let values = select(param, row.resource, base).unwrap_or_default();
    let keys = values.into_iter().map(|value| match value {
        Value::Token(_, code) => Key::Text(code),
        Value::Text(text) => Key::Text(fold(&text)),
        Value::Interval(low, _) => Key::Instant(low),
        Value::Number(number) | Value::Amount { value: number, .. } => Key::Number(number),
        Value::Local(resource_type, id) => Key::Text(format!("{resource_type}/{id}")),
        Value::Url(text) | Value::Uri(text) => Key::Text(text),
    });
    keys.collect()
}

#[cfg(test)]
mod tests;
