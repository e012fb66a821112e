//! The net effect of a batch, table by table.
//!
//! Inside one target transaction only the end state counts. For a table whose row identity is its only unique key
//! the changes of a key fold into at most one; deletions then go first, so that no key is ever in the way of
//! another. All other tables keep their own order.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use dmnode_mysql::Row;

use super::change::{Change, RowChange};
use super::table::{Shape, Table};

/// The work of a batch on one table (or, with actions of foreign keys, on a group of tables).
#[derive(Debug)]
pub enum Group<'a> {
    /// Net effects; deletions, then updates, then insertions.
    Net {
        /// The table.
        table: &'a Arc<Table>,
        /// Rows to delete.
        deletes: Vec<&'a Row>,
        /// Rows to change: before and after, identity unchanged.
        updates: Vec<(&'a Row, &'a Row)>,
        /// Rows to insert.
        inserts: Vec<&'a Row>,
    },
    /// Changes in their order.
    Sequence(Vec<&'a Change>),
}

/// The values of some columns of a row, for lookup.
struct Key<'a> {
    row: &'a Row,
    columns: &'a [usize],
}

impl Key<'_> {
    fn values(&self) -> impl Iterator<Item = Option<&dmnode_mysql::Value>> {
        self.columns.iter().map(|column| self.row.values.get(*column))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.values().eq(other.values())
    }
}

impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values().for_each(|value| value.hash(state));
    }
}

#[derive(Debug, Clone, Copy)]
enum Net<'a> {
    /// Inserted and deleted again.
    Absent,
    Insert(&'a Row),
    Update(&'a Row, &'a Row),
    Delete(&'a Row),
}

/// The changes contradict each other (a row inserted twice, say). The target will tell which when they are applied
/// one by one.
struct Contradiction;

#[derive(Default)]
struct NetTable<'a> {
    index: HashMap<Key<'a>, usize>,
    nets: Vec<Net<'a>>,
}

impl<'a> NetTable<'a> {
    fn add(&mut self, table: &'a Table, change: &'a RowChange) -> Result<(), Contradiction> {
        match change {
            RowChange::Insert(row) => self.insert(table, row),
            RowChange::Delete(row) => self.delete(table, row),
            RowChange::Update(before, after) => {
                let (old, new) = (key(table, before), key(table, after));
                if old == new {
                    return self.update(old, before, after);
                }
                self.delete(table, before)?;
                self.insert(table, after)
            }
        }
    }

    fn insert(&mut self, table: &'a Table, row: &'a Row) -> Result<(), Contradiction> {
        match self.find(key(table, row)) {
            Ok(net) => {
                *net = match *net {
                    Net::Absent => Net::Insert(row),
                    Net::Delete(before) => Net::Update(before, row),
                    Net::Insert(_) | Net::Update(..) => return Err(Contradiction),
                }
            }
            Err(key) => self.push(key, Net::Insert(row)),
        }
        Ok(())
    }

    fn delete(&mut self, table: &'a Table, row: &'a Row) -> Result<(), Contradiction> {
        match self.find(key(table, row)) {
            Ok(net) => {
                *net = match *net {
                    Net::Insert(_) => Net::Absent,
                    Net::Update(before, _) => Net::Delete(before),
                    Net::Absent | Net::Delete(_) => return Err(Contradiction),
                }
            }
            Err(key) => self.push(key, Net::Delete(row)),
        }
        Ok(())
    }

    fn update(&mut self, key: Key<'a>, before: &'a Row, after: &'a Row) -> Result<(), Contradiction> {
        match self.find(key) {
            Ok(net) => {
                *net = match *net {
                    Net::Insert(_) => Net::Insert(after),
                    Net::Update(first, _) => Net::Update(first, after),
                    Net::Absent | Net::Delete(_) => return Err(Contradiction),
                }
            }
            Err(key) => self.push(key, Net::Update(before, after)),
        }
        Ok(())
    }

    fn find(&mut self, key: Key<'a>) -> Result<&mut Net<'a>, Key<'a>> {
        match self.index.get(&key).and_then(|place| self.nets.get_mut(*place)) {
            Some(net) => Ok(net),
            None => Err(key),
        }
    }

    fn push(&mut self, key: Key<'a>, net: Net<'a>) {
        self.index.insert(key, self.nets.len());
        self.nets.push(net);
    }

    fn finish(self, table: &'a Arc<Table>) -> Group<'a> {
        let (mut deletes, mut updates, mut inserts) = (Vec::new(), Vec::new(), Vec::new());
        for net in self.nets {
            match net {
                Net::Absent => {}
                Net::Insert(row) => inserts.push(row),
                Net::Delete(row) => deletes.push(row),
                Net::Update(before, after) if before == after => {}
                Net::Update(before, after) => updates.push((before, after)),
            }
        }
        Group::Net { table, deletes, updates, inserts }
    }
}

fn key<'a>(table: &'a Table, row: &'a Row) -> Key<'a> {
    Key { row, columns: &table.identity }
}

enum Building<'a> {
    Net(&'a Arc<Table>, NetTable<'a>),
    Sequence(Vec<&'a Change>),
}

/// Folds the changes of a batch. `None` when they contradict each other.
pub fn compact<'a>(changes: impl Iterator<Item = &'a Change>) -> Option<Vec<Group<'a>>> {
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut cascading: Option<usize> = None;
    let mut building: Vec<Building<'a>> = Vec::new();
    for change in changes {
        let table = &change.table;
        let place = if table.cascades {
            // Actions reach across tables, so these keep one common order.
            *cascading.get_or_insert_with(|| {
                building.push(Building::Sequence(Vec::new()));
                building.len() - 1
            })
        } else {
            *places.entry(table.number).or_insert_with(|| {
                building.push(match table.shape {
                    Shape::Net => Building::Net(table, NetTable::default()),
                    Shape::Ordered | Shape::Keyless => Building::Sequence(Vec::new()),
                });
                building.len() - 1
            })
        };
        match building.get_mut(place)? {
            Building::Net(table, net) => net.add(table, &change.row).ok()?,
            Building::Sequence(list) => list.push(change),
        }
    }
    Some(
        building
            .into_iter()
            .map(|built| match built {
                Building::Net(table, net) => net.finish(table),
                Building::Sequence(list) => Group::Sequence(list),
            })
            .collect(),
    )
}
