//! A bounded map that forgets what was not asked for lately.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Holds between `limit` and twice that many entries.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    recent: HashMap<K, V>,
    older: HashMap<K, V>,
    limit: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { recent: HashMap::new(), older: HashMap::new(), limit }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if let Some(value) = self.recent.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.older.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.recent.len() >= self.limit {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used() {
        let mut cache = Cache::new(4);
        cache.insert(0, "kept");
        for i in 1..100 {
            cache.insert(i, "new");
            assert_eq!(cache.get(&0), Some("kept"), "{i}");
        }
        assert_eq!(cache.get(&1), None);
        assert!(cache.recent.len() + cache.older.len() <= 8);
    }
}
