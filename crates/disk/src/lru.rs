use std::{collections::HashMap, hash::Hash};

/// A bounded cache that gives up what was used longest ago. Meant for open descriptors: small
/// enough that finding the oldest by looking at all costs less than one system call.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    entries: HashMap<K, (V, u64)>,
    capacity: usize,
    tick: u64,
}

impl<K: Copy + Eq + Hash, V> Lru<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::with_capacity(capacity),
            capacity,
            tick: 0,
        }
    }

    pub(crate) fn get(&mut self, key: K) -> Option<&V> {
        self.tick += 1;
        let (value, used) = self.entries.get_mut(&key)?;
        *used = self.tick;
        Some(value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.entries.len() >= self.capacity
            && let Some(oldest) = self.oldest()
        {
            self.entries.remove(&oldest);
        }
        self.tick += 1;
        self.entries.insert(key, (value, self.tick));
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        self.entries.remove(&key).map(|(value, _)| value)
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    fn oldest(&self) -> Option<K> {
        let oldest = self.entries.iter().min_by_key(|(_, (_, used))| *used);
        oldest.map(|(key, _)| *key)
    }
}
