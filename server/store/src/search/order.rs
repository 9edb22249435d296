//! Sort keys as expressions, and what lies before or after a row. <https://hl7.org/fhir/R4/search.html#sort>
//!
//! Every key is never null: a resource without a value sorts by a leading flag, so that it comes last in both
//! directions. The last key is always the row id, descending.

use std::cmp::Ordering;

use sea_orm::JoinType;
use sea_orm::sea_query::{Alias, Cond, Expr, ExprTrait, Func, Order, Query as Sql, Value};
use search::query::{ORDERED_LETTERS, Param, ParamKind, Sort, SortBy};

use super::any::{is_of, table_of};
use crate::row::Cell;

/// One key of the order.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Value for the candidate row known as `d`.
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
}

impl Key {
    /// Whether it falls from row to row; going backwards, the opposite.
    fn falls(&self, backwards: bool) -> bool {
        self.descending != backwards
    }
}

/// A place between two rows: where a page begins, or, going backwards, where it ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Position {
    /// Keys of the row beside it, which is not on the page.
    pub(crate) keys: Vec<Cell>,
    /// Whether the page lies before that row.
    pub(crate) backwards: bool,
}

/// Whether the order is the one in which index rows stand.
pub(crate) fn is_natural(sort: &[Sort]) -> bool {
    match sort {
        [] => true,
        [only] => only.descending && matches!(only.by, SortBy::Chronology(_)),
        _ => false,
    }
}

/// Keys of an order, the row id last.
pub(crate) fn keys(sort: &[Sort]) -> Vec<Key> {
    let chronology = || Expr::col(("d", "chronology"));
    let mut keys = Vec::new();
    if is_natural(sort) {
        // A resource without a chronology has the smallest: descending it is last as it is.
        keys.push(Key { expr: chronology(), descending: true });
        keys.push(Key { expr: Expr::col(("d", "rid")), descending: true });
        return keys;
    }
    for Sort { by, descending } in sort {
        let descending = *descending;
        match by {
            SortBy::LastUpdated => keys.push(Key { expr: of_resource("last_updated"), descending }),
            SortBy::Id => keys.push(Key { expr: of_resource("id"), descending }),
            SortBy::Chronology(_) => {
                keys.push(Key { expr: flag(chronology().eq(search::entry::NO_CHRONOLOGY)), descending: false });
                keys.push(Key { expr: chronology(), descending });
            }
            SortBy::Param(param) => {
                let value = of_param(param, descending);
                keys.push(Key { expr: flag(value.clone().is_null()), descending: false });
                let missing = if sorts_as_integer(param.kind) { Expr::val(0_i64) } else { Expr::val("") };
                keys.push(Key { expr: Func::coalesce([value, missing]).into(), descending });
            }
        }
    }
    keys.push(Key { expr: Expr::col(("d", "rid")), descending: true });
    keys
}

/// Name of the key at `index` in the select list.
pub(crate) fn alias(index: usize) -> Alias {
    Alias::new(format!("k{index}"))
}

/// Direction of a key; going backwards, the opposite.
pub(crate) fn direction(key: &Key, backwards: bool) -> Order {
    if key.falls(backwards) { Order::Desc } else { Order::Asc }
}

/// Which of two rows comes first, as the engines order: integers as numbers, texts by bytes.
pub(crate) fn compare(keys: &[Key], left: &[Cell], right: &[Cell], backwards: bool) -> Ordering {
    let order = keys.iter().zip(left.iter().zip(right)).map(|(key, pair)| {
        let order = match pair {
            (Cell::Integer(left), Cell::Integer(right)) => left.cmp(right),
            (Cell::Text(left), Cell::Text(right)) => left.cmp(right),
            _ => Ordering::Equal,
        };
        if key.falls(backwards) { order.reverse() } else { order }
    });
    order.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// That a row lies beyond `position`, given how to name its keys.
pub(crate) fn beyond(keys: &[Key], position: &Position, name: impl Fn(usize) -> Expr) -> Cond {
    let value = |index: usize| Value::from(position.keys[index].clone());
    let mut any = Cond::any();
    for (index, key) in keys.iter().enumerate() {
        let equal = (0..index).fold(Cond::all(), |all, before| all.add(name(before).eq(value(before))));
        let beyond =
            if key.falls(position.backwards) { name(index).lt(value(index)) } else { name(index).gt(value(index)) };
        any = any.add(equal.add(beyond));
    }
    // Says the same of the first key alone, in a form that an index range can use.
    let first = if keys[0].falls(position.backwards) { name(0).lte(value(0)) } else { name(0).gte(value(0)) };
    Cond::all().add(first).add(any)
}

fn of_resource(column: &'static str) -> Expr {
    let mut select = Sql::select();
    select.column(("o", column)).from_as("resource", "o").and_where(Expr::col(("o", "rid")).equals(("d", "rid")));
    scalar(select)
}

fn of_param(param: &Param, descending: bool) -> Expr {
    let mut select = Sql::select();
    let value = match param.kind {
        ParamKind::Token => Expr::col(("t", "code")),
        // Only what is on this server has a place in the order: it alone has a type and an id.
        ParamKind::Reference => Expr::cust("\"y\".\"name\" || '/' || \"t\".\"id\""),
        ParamKind::Date => Expr::col(("o", "low")),
        ParamKind::String => Expr::col(("o", "folded")),
        // A range by its lower end, as a period by its begin.
        ParamKind::Number | ParamKind::Quantity if descending => {
            let (end, other) = (|| Expr::col(("o", "value")), || Expr::col(("o", "other")));
            Expr::case(Cond::any().add(other().eq("")).add(end().lt(other())), end()).into()
        }
        ParamKind::Number | ParamKind::Quantity | ParamKind::Uri | ParamKind::Composite => Expr::col(("o", "value")),
    };
    select.expr(if descending { value.max() } else { value.min() }).from_as(table_of(param.kind).name(), "o");
    let same = |left: (&'static str, &'static str), right| Expr::col(left).equals(right);
    match param.kind {
        ParamKind::Token => {
            select.join_as(JoinType::InnerJoin, "token", "t", same(("t", "token"), ("o", "token")));
        }
        ParamKind::Reference => {
            select.join_as(JoinType::InnerJoin, "target", "t", same(("t", "target"), ("o", "target")));
            select.join_as(JoinType::InnerJoin, "resource_type", "y", same(("y", "type_id"), ("t", "type_id")));
        }
        _ => {}
    }
    let params: Vec<i64> = param.held_as().iter().map(|param| param.id.0).collect();
    select.and_where(Expr::col(("o", "rid")).equals(("d", "rid")));
    select.and_where(is_of("o", table_of(param.kind), &params));
    if param.kind == ParamKind::String {
        // A part of a name is found by its beginning, and never sorted by.
        select.and_where(Expr::col(("o", "exact")).ne(""));
    }
    if sorts_as_integer(param.kind) { scalar(select) } else { beginning(scalar(select)) }
}

/// What of a text counts in the order. (IN-17)
fn beginning(text: Expr) -> Expr {
    Func::cust("SUBSTR").args([text, Expr::cust("1"), Expr::cust(ORDERED_LETTERS.to_string())]).into()
}

/// Whether the sort key is an integer; all other keys are texts, numbers by their sort key.
fn sorts_as_integer(kind: ParamKind) -> bool {
    kind == ParamKind::Date
}

fn flag(condition: Expr) -> Expr {
    Expr::case(condition, 1_i64).finally(0_i64).into()
}

fn scalar(select: sea_orm::sea_query::SelectStatement) -> Expr {
    Expr::SubQuery(None, Box::new(select.into()))
}
