//! What was looked up before, and is good as long as nothing that it stands on has changed since, by any process.

use std::hash::Hash;

use moka::sync::Cache;

use crate::sqlite::commits::Snapshot;

/// What the data was like at an instant. Whoever finds the same later sees the same data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsOf {
    /// All of it, on SQLite.
    Commit(Snapshot),
    /// What access tokens stand on, on PostgreSQL: the last change of that.
    Change([u8; 16]),
}

/// Values and what the data was like when they were looked up.
#[derive(Clone, Debug)]
pub(crate) struct Remembered<K, V>(Cache<K, (AsOf, V)>)
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static;

impl<K, V> Remembered<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Room for values of together so much weight.
    pub(crate) fn new(capacity: u64, weight: fn(&V) -> usize) -> Self {
        let weigher = move |_: &K, (_, value): &(AsOf, V)| u32::try_from(weight(value)).unwrap_or(u32::MAX);
        Remembered(Cache::builder().max_capacity(capacity).weigher(weigher).build())
    }

    /// The value, if the data is still as it was.
    pub(crate) fn get(&self, key: &K, now: AsOf) -> Option<V> {
        self.0.get(key).filter(|(as_of, _)| *as_of == now).map(|(_, value)| value)
    }

    /// Remembers a value. `before` was seen before the value was looked up: what is committed in between makes it too
    /// old at once, never too young.
    pub(crate) fn put(&self, key: K, before: AsOf, value: V) {
        self.0.insert(key, (before, value));
    }
}
