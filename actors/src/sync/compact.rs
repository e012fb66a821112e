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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dmnode_model::TableName;
    use dmnode_mysql::{ColumnInfo, ColumnType, KeyColumn, KeyInfo, TableInfo, Value};
    use proptest::prelude::*;

    use super::*;
    use crate::sync::table::ForeignKeys;

    fn table() -> Arc<Table> {
        let column = |name: &str, ordinal: usize| ColumnInfo {
            name: name.into(),
            ordinal,
            data_type: ColumnType::Int,
            unsigned: false,
            nullable: false,
            charset: None,
            collation: None,
            generated: false,
            invisible: false,
            auto_increment: false,
            compressed: false,
            column_type_text: "int".into(),
        };
        let info = TableInfo {
            name: TableName::new("d", "t"),
            columns: vec![column("id", 1), column("v", 2)],
            keys: vec![KeyInfo {
                name: "PRIMARY".into(),
                primary: true,
                unique: true,
                columns: vec![KeyColumn { column: Some(0), prefix_len: None, expression: None }],
                nullable: false,
                index_type: "BTREE".into(),
            }],
            engine: "InnoDB".into(),
            charset: None,
            collation: None,
            foreign_keys: Vec::new(),
            create_sql: None,
        };
        Arc::new(Table::new(1, TableName::new("d", "t"), info, ForeignKeys::default(), &[]))
    }

    fn row(id: i64, v: i64) -> Row {
        Row { values: vec![Value::Int(id), Value::Int(v)] }
    }

    fn numbers(row: &Row) -> (i64, i64) {
        match row.values[..] {
            [Value::Int(id), Value::Int(v)] => (id, v),
            _ => unreachable!(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        /// The net effect, in the order in which it is written, equals applying the changes one after the other,
        /// and every statement finds exactly the rows it expects.
        #[test]
        fn equals_serial_application(
            start in prop::collection::btree_map(0i64..6, 0i64..3, 0..5),
            steps in prop::collection::vec((0u8..4, 0i64..6, 0i64..6, 0i64..1000), 0..60),
        ) {
            let table = table();
            let mut serial: BTreeMap<i64, i64> = start.clone();
            let mut changes = Vec::new();
            for (kind, id, other, v) in steps {
                // Only what a source could have done.
                let change = match (kind, serial.get(&id).copied()) {
                    (0, None) => {
                        serial.insert(id, v);
                        RowChange::Insert(row(id, v))
                    }
                    (1, Some(old)) => {
                        serial.remove(&id);
                        RowChange::Delete(row(id, old))
                    }
                    (2, Some(old)) => {
                        serial.insert(id, v);
                        RowChange::Update(row(id, old), row(id, v))
                    }
                    (3, Some(old)) if !serial.contains_key(&other) => {
                        serial.remove(&id);
                        serial.insert(other, v);
                        RowChange::Update(row(id, old), row(other, v))
                    }
                    _ => continue,
                };
                changes.push(Change { table: Arc::clone(&table), row: change, foreign_key_checks: true });
            }
            let mut merged = start;
            for group in compact(changes.iter()).expect("nothing contradicts") {
                let Group::Net { deletes, updates, inserts, .. } = group else { panic!("net table") };
                for gone in deletes {
                    let (id, v) = numbers(gone);
                    prop_assert_eq!(merged.remove(&id), Some(v));
                }
                for (before, after) in updates {
                    let (id, v) = numbers(after);
                    prop_assert_eq!(merged.insert(id, v), Some(numbers(before).1));
                }
                for new in inserts {
                    let (id, v) = numbers(new);
                    prop_assert_eq!(merged.insert(id, v), None);
                }
            }
            prop_assert_eq!(merged, serial);
        }
    }

    #[test]
    fn contradictions_are_noticed() {
        let table = table();
        let change = |row| Change { table: Arc::clone(&table), row, foreign_key_checks: true };
        let twice = [change(RowChange::Insert(row(1, 1))), change(RowChange::Insert(row(1, 2)))];
        assert!(compact(twice.iter()).is_none());
        let gone = [change(RowChange::Delete(row(1, 1))), change(RowChange::Update(row(1, 1), row(1, 2)))];
        assert!(compact(gone.iter()).is_none());
    }
}
