//! What was looked up before, and is good as long as nothing that it stands on has changed since, by any process.

use std::hash::Hash;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

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
pub(crate) struct Remembered<K, V>(Arc<Cache<K, (AsOf, V), Weight<V>>>)
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static;

/// How much of the room a value takes.
#[derive(Clone, Debug)]
struct Weight<V>(fn(&V) -> u64);

impl<K, V: Clone> Weighter<K, (AsOf, V)> for Weight<V> {
    fn weight(&self, _: &K, (_, value): &(AsOf, V)) -> u64 {
        (self.0)(value)
    }
}

impl<K, V> Remembered<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Room for values of together so much weight, about so many.
    pub(crate) fn new(count: usize, room: u64, weight: fn(&V) -> u64) -> Self {
        Remembered(Arc::new(Cache::with_weighter(count, room, Weight(weight))))
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
