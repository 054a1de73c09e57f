use std::{collections::HashMap, hash::Hash};

use rustix::process::{Resource, getrlimit};

/// A bounded cache that gives up what was used longest ago. Meant for open descriptors: small
/// enough that finding the oldest by looking at all costs less than one system call.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    entries: HashMap<K, (V, u64)>,
    capacity: usize,
    tick: u64,
}

/// Of the descriptors this process may have, one holder takes at most this part: there are five of
/// them when one process sends and receives.
const PART: u64 = 6;

/// How many descriptors something may hold that would like `wanted`: at least one.
pub(crate) fn descriptors(wanted: usize) -> usize {
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let part = usize::try_from(allowed / PART).unwrap_or(usize::MAX);
    wanted.min(part).max(1)
}

impl<K: Copy + Eq + Hash, V> Lru<K, V> {
    /// A cache of at most `capacity` descriptors, fewer where the process may not have many.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = descriptors(capacity);
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
            && !self.entries.contains_key(&key)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut cache = Lru::new(2);
        cache.insert(1, 'a');
        cache.insert(2, 'b');
        assert_eq!(cache.get(1), Some(&'a'));
        cache.insert(3, 'c');
        assert_eq!(cache.get(2), None);
        cache.insert(3, 'd');
        assert_eq!(cache.get(1), Some(&'a'));
        assert_eq!(cache.get(3), Some(&'d'));
        assert_eq!(cache.remove(1), Some('a'));
        cache.clear();
        assert_eq!(cache.get(3), None);
    }
}
