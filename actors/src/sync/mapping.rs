//! From a source table's columns to those of its target: by name, never by place.
//!
//! Rows stay as they come, in the source's order. What the rest of the unit sees of the target ([`Mapping::table`]) is
//! the target's description cut to the source's columns and put into their order, so that nothing is moved per row.

use std::collections::HashMap;

use dmnode_mysql::{ColumnInfo, ColumnType, KeyColumn, KeyInfo, TableInfo, TableMap};

use super::hidden::{GENERATED_KEY, with_hashes, with_hidden};
use crate::extended::Constant;
use crate::fit::{Misfit, inconvertible};

/// How rows of a source table become rows of its target.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// How the rows are read: the source's columns.
    pub source: TableInfo,
    /// How they are written: the target's columns in the order of the source.
    pub table: TableInfo,
    /// Columns that only the target has, by name; without a value they must be able to stand.
    pub target_only: Vec<String>,
    /// The rows are found by a key of the source that the target does not have.
    pub source_key: bool,
    /// The binlog has a key column that the target does not have, and that is left out.
    pub hidden: bool,
}

impl Mapping {
    /// Maps `source`, the definition at the position of `map`, onto `target`. `alone` says that no other source table
    /// is written into the target, so that a key of the source identifies a row there as well.
    pub fn new(map: &TableMap, source: &TableInfo, target: &TableInfo, alone: bool) -> Result<Self, Misfit> {
        let (source, hashes) = with_hashes(map, source.clone());
        let (mut source, hidden) = with_hidden(map, source);
        let mut dropped = false;
        let mut columns = Vec::with_capacity(source.columns.len());
        // By place in the target: place in the source.
        let mut places: HashMap<usize, usize> = HashMap::new();
        for (index, from) in source.columns.iter_mut().enumerate() {
            if hashes.contains(&index) {
                columns.push(from.clone());
                continue;
            }
            let Some((place, to)) = target.column(&from.name) else {
                if Some(index) == hidden || is_generated_key(index, from) {
                    from.generated = true;
                    columns.push(from.clone());
                    dropped = true;
                    continue;
                }
                return Err(Misfit {
                    column: from.name.clone(),
                    why: "does not exist in the target table".to_owned(),
                });
            };
            places.insert(place, index);
            if from.data_type.is_text() && from.charset.is_none() {
                // A definition that was followed may not know the default of its database.
                from.charset = map.collation(index).map(|collation| collation.charset.to_string());
                from.charset = from.charset.take().or_else(|| to.charset.clone());
            }
            if !to.generated
                && let Some(why) = inconvertible(from, to)
            {
                return Err(Misfit {
                    column: from.name.clone(),
                    why: format!(
                        "{why} ({} in the source, {} in the target)",
                        from.column_type_text, to.column_type_text
                    ),
                });
            }
            if to.data_type == ColumnType::Json && from.data_type.is_text() {
                from.data_type = ColumnType::Json;
            }
            columns.push(written(from, to));
            // A value the target computes by itself may be missing; one it does not compute may not.
            from.generated &= to.generated;
        }
        let target_only = target
            .columns
            .iter()
            .enumerate()
            .filter(|(place, column)| {
                !places.contains_key(place) && !column.nullable && !column.generated && !column.auto_increment
            })
            .map(|(_, column)| column.name.clone())
            .collect();
        let mut table = TableInfo {
            columns,
            keys: target.keys.iter().filter_map(|key| mapped_key(key, target, &places)).collect(),
            ..target.clone()
        };
        let mut source_key = false;
        if alone
            && table.row_identity().is_none()
            && let Some(key) = source.row_identity()
            && key.columns.iter().all(|part| {
                part.column.and_then(|index| table.columns.get(index)).is_some_and(|column| !column.generated)
            })
        {
            // Without a name: the target has no such key.
            table.keys.push(KeyInfo { name: String::new(), primary: false, ..key.clone() });
            source_key = true;
        }
        Ok(Self { source, table, target_only, source_key, hidden: dropped })
    }
}

impl Mapping {
    /// Adds the columns of the table's route behind the source's. `target` is the table as it is, with them; the mapping
    /// was made without.
    #[must_use]
    pub fn extended(mut self, target: &TableInfo, constants: &[Constant]) -> Self {
        if constants.is_empty() {
            return self;
        }
        self.table.columns.extend(constants.iter().map(|constant| constant.column.clone()));
        let mut places: HashMap<usize, usize> = HashMap::new();
        for (index, column) in self.table.columns.iter().enumerate() {
            if let Some((place, _)) = target.column(&column.name) {
                places.insert(place, index);
            }
        }
        let own = self.source_key.then(|| self.table.keys.pop()).flatten();
        self.table.keys = target.keys.iter().filter_map(|key| mapped_key(key, target, &places)).collect();
        self.source_key = false;
        if self.table.row_identity().is_none()
            && let Some(key) = own
        {
            self.table.keys.push(key);
            self.source_key = true;
        }
        self
    }
}

/// MySQL's generated invisible primary key, where the server shows it.
fn is_generated_key(index: usize, column: &ColumnInfo) -> bool {
    index == 0 && column.invisible && column.auto_increment && column.name.eq_ignore_ascii_case(GENERATED_KEY)
}

/// The column as it is written: the target's, but its text is in the source's character set.
fn written(from: &ColumnInfo, to: &ColumnInfo) -> ColumnInfo {
    let mut column = to.clone();
    if from.data_type.is_text() && to.data_type.is_text() && from.charset != to.charset {
        column.charset.clone_from(&from.charset);
        // The same text has other bytes at the target: equality by bytes is not equality there.
        if column.collation.as_deref().is_some_and(|name| name.ends_with("_bin")) {
            column.collation = None;
        }
    }
    column
}

/// A key of the target over the source's columns. A unique key with a part that the source does not have becomes one
/// over the others, by which rows may conflict but are not found.
fn mapped_key(key: &KeyInfo, target: &TableInfo, places: &HashMap<usize, usize>) -> Option<KeyInfo> {
    let mut parts = Vec::with_capacity(key.columns.len());
    let mut reduced = false;
    for part in &key.columns {
        match part.column {
            Some(place) => match places.get(&place) {
                Some(index) => parts.push(KeyColumn { column: Some(*index), ..part.clone() }),
                None => reduced = true,
            },
            None => parts.push(part.clone()),
        }
    }
    if parts.is_empty() {
        // Numbers given by the target never conflict; anything else might.
        let counted = key.columns.iter().all(|part| {
            part.column
                .and_then(|place| target.columns.get(place))
                .is_some_and(|column| column.auto_increment)
        });
        if counted {
            return None;
        }
        parts.push(KeyColumn { column: None, prefix_len: None, expression: Some(String::new()) });
    }
    Some(KeyInfo {
        columns: parts,
        nullable: key.nullable || reduced,
        primary: key.primary && !reduced,
        ..key.clone()
    })
}
