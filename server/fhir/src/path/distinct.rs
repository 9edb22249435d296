//! Collections without equal items. <http://hl7.org/fhirpath/N1/#equals>

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::EvaluationError;
use super::comparison;
use super::evaluator::Items;
use super::item::Item;
use super::meter::Meter;
use super::temporal;
use super::value::Value;
use crate::json::Json;

/// Most items that are compared one by one.
const FEW: usize = 16;

/// Items of which no two are equal, in the order in which they came.
pub(super) struct Distinct<'a, 'e> {
    meter: &'e Meter,
    items: Items<'a>,
    index: Option<Index>,
}

/// Where the items are by their digests.
#[derive(Default)]
struct Index {
    state: RandomState,
    places: HashMap<u64, Vec<usize>>,
    /// Those without digest.
    others: Vec<usize>,
}

impl<'a, 'e> Distinct<'a, 'e> {
    pub(super) fn new(meter: &'e Meter) -> Self {
        Distinct { meter, items: Vec::new(), index: None }
    }

    pub(super) fn of(meter: &'e Meter, items: &[Item<'a>]) -> Result<Self, EvaluationError> {
        let mut distinct = Distinct::new(meter);
        for item in items {
            distinct.push(item.clone())?;
        }
        Ok(distinct)
    }

    pub(super) fn into_items(self) -> Items<'a> {
        self.items
    }

    /// Appends an item unless an equal one is there. Whether it was new.
    pub(super) fn push(&mut self, item: Item<'a>) -> Result<bool, EvaluationError> {
        if self.items.is_empty() {
            self.meter.charge(1)?;
            self.items.push(item);
            return Ok(true);
        }
        let digest = self.digest(&item)?;
        if self.has(&item, digest)? {
            return Ok(false);
        }
        match &mut self.index {
            Some(index) => index.insert(digest, self.items.len()),
            None if self.items.len() == FEW => {
                let mut index = Index::default();
                for (place, item) in self.items.iter().chain([&item]).enumerate() {
                    index.insert(digest_of(item, &index.state, self.meter)?, place);
                }
                self.index = Some(index);
            }
            None => {}
        }
        self.items.push(item);
        Ok(true)
    }

    /// Whether an equal item is there.
    pub(super) fn contains(&self, item: &Item<'a>) -> Result<bool, EvaluationError> {
        self.has(item, self.digest(item)?)
    }

    fn digest(&self, item: &Item<'a>) -> Result<Option<u64>, EvaluationError> {
        self.index.as_ref().map_or(Ok(None), |index| digest_of(item, &index.state, self.meter))
    }

    fn has(&self, item: &Item<'a>, digest: Option<u64>) -> Result<bool, EvaluationError> {
        self.meter.charge(1)?;
        let (Some(index), Some(digest)) = (&self.index, digest) else {
            return has_equal(&self.items, item, self.meter);
        };
        let same = index.places.get(&digest).map_or(&[][..], Vec::as_slice);
        // A number may equal a quantity, which has no digest.
        let others = if is_number(item) { &index.others[..] } else { &[] };
        has_equal(same.iter().chain(others).map(|place| &self.items[*place]), item, self.meter)
    }
}

impl Index {
    fn insert(&mut self, digest: Option<u64>, place: usize) {
        match digest {
            Some(digest) => self.places.entry(digest).or_default().push(place),
            None => self.others.push(place),
        }
    }
}

/// Whether an item equals one of these.
pub(super) fn has_equal<'i, 'a: 'i>(
    items: impl IntoIterator<Item = &'i Item<'a>>,
    item: &Item<'a>,
    meter: &Meter,
) -> Result<bool, EvaluationError> {
    for other in items {
        meter.charge(1)?;
        if comparison::equal(other, item, meter)? == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_number(item: &Item<'_>) -> bool {
    matches!(item.value(), Some(Value::Integer(_) | Value::Decimal(_)))
}

/// What equal items have in common; nothing of quantities and dates with an hour alone, of which the written form says too
/// little. What has such a digest equals nothing without one, but for numbers.
fn digest_of(item: &Item<'_>, state: &RandomState, meter: &Meter) -> Result<Option<u64>, EvaluationError> {
    Ok(match (item.value(), item.as_element()) {
        (Some(Value::String(text)), _) => {
            meter.charge_text(text.len())?;
            Some(state.hash_one(&*text))
        }
        (Some(Value::Boolean(value)), _) => Some(state.hash_one(value)),
        (Some(Value::Date(date) | Value::DateTime(date)), _) => temporal::key(&date).map(|key| state.hash_one(key)),
        (Some(Value::Time(time, precision)), _) => Some(state.hash_one(temporal::time_key(time, precision))),
        (Some(value), _) => value.as_number().map(|number| {
            let number = number.trimmed();
            state.hash_one((number.mantissa, number.scale))
        }),
        (None, Some(json)) => Some(content(json, state, meter)?),
        (None, None) => None,
    })
}

/// The same for the same content, in whatever order the members are. Numbers count alike: they have many spellings.
fn content(json: &Json, state: &RandomState, meter: &Meter) -> Result<u64, EvaluationError> {
    meter.charge(1)?;
    Ok(match json {
        Json::Object(object) => {
            let mut sum = object.len() as u64;
            for (name, member) in object.iter() {
                sum = sum.wrapping_add(state.hash_one((name, content(member, state, meter)?)));
            }
            sum
        }
        Json::Array(items) => {
            let mut hasher = state.build_hasher();
            for item in items {
                content(item, state, meter)?.hash(&mut hasher);
            }
            hasher.finish()
        }
        Json::String(text) => {
            meter.charge_text(text.len())?;
            state.hash_one(text)
        }
        Json::Bool(value) => state.hash_one(value),
        Json::Number(_) | Json::Null => 0,
    })
}
