//! A map by table name that forgets what was not used for longest when it holds too much.

use std::collections::HashMap;

use dmnode_model::TableName;

/// Descriptions of tables are kept up to about so many columns, most recently used first. A column takes some hundred bytes
/// with everything that is known of it, so this is some 10 MB for each of the two maps: 1,400 tables of ten columns, or
/// fewer wider ones.
pub(super) const COLUMNS_MOST: usize = 20_000;

/// What a table costs, in columns, beside them.
const TABLE_COST: usize = 4;

/// The map. What is forgotten can be read again.
pub(super) struct Bounded<V> {
    entries: HashMap<TableName, Entry<V>>,
    most: usize,
    cost: usize,
    clock: u64,
}

struct Entry<V> {
    value: V,
    cost: usize,
    used: u64,
}

impl<V> Bounded<V> {
    /// Holds about this cost.
    pub fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), most, cost: 0, clock: 0 }
    }

    /// Looks without using.
    pub fn peek(&self, name: &TableName) -> Option<&V> {
        self.entries.get(name).map(|entry| &entry.value)
    }

    /// The entry, which is used now.
    pub fn get(&mut self, name: &TableName) -> Option<&V> {
        self.clock += 1;
        let entry = self.entries.get_mut(name)?;
        entry.used = self.clock;
        Some(&entry.value)
    }

    /// Puts a table of so many columns.
    pub fn insert(&mut self, name: TableName, value: V, columns: usize) {
        self.clock += 1;
        let cost = columns + TABLE_COST;
        let former = self.entries.insert(name, Entry { value, cost, used: self.clock });
        self.cost += cost;
        self.cost -= former.map_or(0, |former| former.cost);
    }

    pub fn remove(&mut self, name: &TableName) -> Option<V> {
        let entry = self.entries.remove(name)?;
        self.cost -= entry.cost;
        Some(entry.value)
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.cost = 0;
    }

    /// How many tables it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What more would be too much.
    pub fn is_full(&self) -> bool {
        self.cost >= self.most
    }

    /// When it holds too much, takes out what was not used for longest, a quarter of it at once.
    pub fn shrink(&mut self) -> Vec<(TableName, V)> {
        if self.cost <= self.most {
            return Vec::new();
        }
        let mut order: Vec<(u64, &TableName)> =
            self.entries.iter().map(|(name, entry)| (entry.used, name)).collect();
        order.sort_unstable_by_key(|(used, _)| *used);
        let mut left = self.cost;
        let mut old = Vec::new();
        for (_, name) in order {
            // What was used last stays whatever it costs.
            if left <= self.most / 4 * 3 || old.len() + 1 == self.entries.len() {
                break;
            }
            left -= self.entries.get(name).map_or(0, |entry| entry.cost);
            old.push(name.clone());
        }
        old.into_iter().filter_map(|name| self.remove(&name).map(|value| (name, value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_forgotten() {
        let name = |number: u32| TableName::new("s", format!("t{number}"));
        let mut map = Bounded::new(100);
        for number in 0..10 {
            map.insert(name(number), number, 6);
        }
        assert!(map.shrink().is_empty() && map.is_full());
        assert_eq!(map.get(&name(0)), Some(&0));
        map.insert(name(10), 10, 6);
        let mut gone: Vec<u32> = map.shrink().into_iter().map(|(_, number)| number).collect();
        gone.sort_unstable();
        assert_eq!(gone, [1, 2, 3, 4]);
        assert_eq!((map.peek(&name(0)), map.peek(&name(1)), map.cost), (Some(&0), None, 70));
        // One that is larger than all is kept while it is used.
        map.insert(name(11), 11, 5000);
        assert_eq!(map.shrink().len(), 7);
        assert_eq!(map.get(&name(11)), Some(&11));
        map.insert(name(11), 12, 1);
        assert_eq!((map.remove(&name(11)), map.cost), (Some(12), 0));
    }
}
