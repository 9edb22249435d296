//! What was looked up before, and is good as long as nothing has been committed since, by any process.

use std::hash::Hash;

use moka::sync::Cache;

use crate::sqlite::commits::Snapshot;

/// Values and what the data was like when they were looked up.
#[derive(Clone, Debug)]
pub(crate) struct Remembered<K, V>(Cache<K, (Snapshot, V)>)
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
        let weigher = move |_: &K, (_, value): &(Snapshot, V)| u32::try_from(weight(value)).unwrap_or(u32::MAX);
        Remembered(Cache::builder().max_capacity(capacity).weigher(weigher).build())
    }

    /// The value, if the data is still as it was.
    pub(crate) fn get(&self, key: &K, now: Snapshot) -> Option<V> {
        self.0.get(key).filter(|(as_of, _)| *as_of == now).map(|(_, value)| value)
    }

    /// Remembers a value. `before` was seen before the value was looked up: what is committed in between makes it too
    /// old at once, never too young.
    pub(crate) fn put(&self, key: K, before: Snapshot, value: V) {
        self.0.insert(key, (before, value));
    }
}
