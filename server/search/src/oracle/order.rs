//! The order of matches. <https://hl7.org/fhir/R4/search.html#sort>

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use fhir::decimal::Decimal;

use super::{World, type_of};
use crate::entry::NO_CHRONOLOGY;
use crate::filter::values::Value;
use crate::fold::fold;
use crate::query::{ORDERED_LETTERS, Param, ParamKind, Sort, SortBy};
use crate::registry::registry;

/// What rows are ordered by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Instant(i64),
    /// None: below all numbers.
    Number(Option<Decimal>),
    Text(String),
}

impl World<'_> {
    pub(super) fn sort(&self, rows: &mut [usize], sort: &[Sort]) {
        let rid = |index: usize| self.rows[index].rid;
        if sort.is_empty() {
            rows.sort_by_key(|index| Reverse((self.chronology(*index).unwrap_or(NO_CHRONOLOGY), rid(*index))));
            return;
        }
        let keys: HashMap<usize, Vec<Option<Key>>> =
            rows.iter().map(|index| (*index, sort.iter().map(|it| self.key(it, *index)).collect())).collect();
        rows.sort_by(|left, right| {
            let mut orders = sort.iter().zip(keys[left].iter().zip(&keys[right])).map(compare);
            orders.find(|it| it.is_ne()).unwrap_or_else(|| rid(*right).cmp(&rid(*left)))
        });
    }

    fn key(&self, sort: &Sort, index: usize) -> Option<Key> {
        let row = &self.rows[index];
        match &sort.by {
            SortBy::LastUpdated => Some(Key::Instant(row.last_updated)),
            SortBy::Id => row.resource.str("id").map(|id| Key::Text(id.to_owned())),
            SortBy::Chronology(_) => self.chronology(index).map(Key::Instant),
            SortBy::Param(param) => {
                let keys = self.keys(param, index).into_iter();
                if sort.descending { keys.max() } else { keys.min() }
            }
        }
    }

    /// Where the earliest value of the type's `date` begins, if it says when.
    pub(super) fn chronology(&self, index: usize) -> Option<i64> {
        if let Some(container) = self.containers.get(&index) {
            return self.chronology(*container); // where it comes in the order is up to its container
        }
        let read = || {
            let param = registry().find(type_of(&self.rows[index]), "date")?.param()?;
            let values = self.values(index, &param).filter(|_| param.kind == ParamKind::Date)?;
            let lows = values.iter().filter_map(|it| if let Value::Interval(low, _) = it { Some(*low) } else { None });
            lows.min().map(|begin| if begin == NO_CHRONOLOGY { begin + 1 } else { begin })
        };
        *self.read[index].chronology.get_or_init(read)
    }

    fn keys(&self, param: &Param, index: usize) -> Vec<Key> {
        let values = self.values(index, param);
        values.iter().flat_map(|values| values.iter()).filter_map(Key::of).collect()
    }
}

impl Key {
    /// What elsewhere stands under a reference has no place in the order.
    fn of(value: &Value) -> Option<Key> {
        let text = |text: &str| Key::Text(text.chars().take(ORDERED_LETTERS).collect());
        Some(match value {
            Value::Token(_, code) => text(code),
            Value::Text(written) => text(&fold(written)),
            Value::Interval(low, _) => Key::Instant(*low),
            Value::Number((least, _)) | Value::Amount { value: (least, _), .. } => Key::Number(least.clone()),
            Value::Local(resource_type, id) => text(&format!("{resource_type}/{id}")),
            Value::Uri(uri) => text(uri),
            Value::Url(_) | Value::Part(_) | Value::Composite(_) => return None,
        })
    }
}

/// The order of two keys; rows without a key come last in both directions.
fn compare((sort, (left, right)): (&Sort, (&Option<Key>, &Option<Key>))) -> Ordering {
    match (left, right) {
        (Some(left), Some(right)) if sort.descending => right.cmp(left),
        (Some(left), Some(right)) => left.cmp(right),
        (left, right) => right.is_some().cmp(&left.is_some()),
    }
}
