//! A source table, the target table it goes to, and what follows from the target's keys.

use std::sync::atomic::{AtomicBool, Ordering};

use dmnode_model::TableName;
use dmnode_mysql::{ColumnInfo, ColumnType, Row, TableInfo, Value};

use super::change::RowChange;
use super::write_set::KeyPlan;
use crate::computed::{Computed, is_of_operand};
use crate::load::key::KeyPart;

/// How changes of a table may be rearranged inside one target transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The row identity is the only unique key: only the net effect per key counts.
    Net,
    /// Further unique keys (or foreign keys with actions): original order, neighbours merged.
    Ordered,
    /// No row identity: rows are found by all their columns, one at a time.
    Keyless,
}

/// One source table and its target, as of one moment of the schema.
#[derive(Debug)]
pub struct Table {
    /// Number of the source and target pair, unique within the unit.
    pub number: u32,
    /// Name at the source.
    pub source: TableName,
    /// The target's description; its name is the target's name.
    pub info: TableInfo,
    /// How changes may be rearranged.
    pub shape: Shape,
    /// Indexes of the columns that identify a row; empty for [`Shape::Keyless`].
    pub identity: Vec<usize>,
    /// Name of the key that identifies a row.
    pub identity_name: Option<String>,
    /// Indexes of the columns that can be written.
    pub writable: Vec<usize>,
    /// What conflicts with what.
    pub keys: KeyPlan,
    /// Belongs to tables connected by foreign keys with actions that the source does not log: they keep one order.
    pub cascades: bool,
    /// Deleting or changing its rows fires such actions, which must take place in the target.
    pub fires_actions: bool,
    /// The columns by whose values the copy was cut, with their indexes; none where the target lacks one of them.
    pub copy_key: Vec<(usize, KeyPart)>,
    /// Values of the last columns, which the source does not have: the route gives them.
    pub extended: Vec<Value>,
    /// What the target computes: its rows are written by lenient statements.
    pub computed: Computed,
    /// Rows may have values that only a lenient statement can write.
    pub error_values: bool,
    /// Among them empty vectors, which are written as what a column without a default gets: that it has none shows in
    /// the warnings.
    pub vectors: bool,
    /// Statements on this table give warnings: they travel alone, so that every warning is looked at.
    pub gives_warnings: AtomicBool,
    /// A constraint's expression does not fit values that the source has taken: rows are written by lenient statements.
    pub constraints_warn: AtomicBool,
}

/// What the rest of the target's schema says about a table.
#[derive(Debug, Clone, Copy, Default)]
pub struct ForeignKeys {
    /// The connected component of the graph of foreign keys the table belongs to.
    pub component: Option<u64>,
    /// The component has actions (CASCADE, SET NULL) that must be left to the target.
    pub cascades: bool,
    /// One of these actions is fired by this table's rows.
    pub fires_actions: bool,
}

impl Table {
    /// Derives everything from the target's description.
    pub fn new(
        number: u32,
        source: TableName,
        info: TableInfo,
        foreign: ForeignKeys,
        copy_key: &[KeyPart],
    ) -> Self {
        let identity_key = info.row_identity();
        let identity: Vec<usize> = identity_key
            .map(|key| key.columns.iter().filter_map(|part| part.column).collect())
            .unwrap_or_default();
        let identity_name = identity_key.map(|key| key.name.clone());
        let other_unique = info
            .keys
            .iter()
            .any(|key| key.unique && identity_key.is_none_or(|identity| identity.name != key.name));
        let shape = if identity.is_empty() {
            Shape::Keyless
        } else if other_unique || foreign.cascades {
            Shape::Ordered
        } else {
            Shape::Net
        };
        let writable = (0..info.columns.len()).filter(|index| !info.columns[*index].generated).collect();
        let keys = KeyPlan::new(&info, foreign.component);
        let copy_key: Option<Vec<_>> =
            copy_key.iter().map(|part| Some((info.column(&part.name)?.0, part.clone()))).collect();
        Self {
            number,
            source,
            shape,
            identity,
            identity_name,
            writable,
            keys,
            cascades: foreign.cascades,
            error_values: info
                .columns
                .iter()
                .any(|column| matches!(column.data_type, ColumnType::Enum(_) | ColumnType::Vector(_))),
            vectors: info.columns.iter().any(|column| matches!(column.data_type, ColumnType::Vector(_))),
            fires_actions: foreign.fires_actions,
            copy_key: copy_key.unwrap_or_default(),
            extended: Vec::new(),
            gives_warnings: AtomicBool::new(false),
            constraints_warn: AtomicBool::new(false),
            computed: Computed::of(&info),
            info,
        }
    }

    /// The rows are found by a key that the target does not have: no statement may rely on the target's refusing a
    /// second row of the same key.
    pub fn found_by_source_key(&mut self) {
        self.identity_name = None;
        if self.shape == Shape::Net {
            self.shape = Shape::Ordered;
        }
    }

    /// The columns that the source has, in its order.
    pub fn source_columns(&self) -> &[ColumnInfo] {
        let own = self.info.columns.len().saturating_sub(self.extended.len());
        self.info.columns.get(..own).unwrap_or(&self.info.columns)
    }

    /// Whether a column is one that the route adds.
    pub fn is_extended(&self, index: usize) -> bool {
        index >= self.source_columns().len()
    }

    /// Adds the route's values to the row images of a change.
    pub fn extend(&self, change: &mut RowChange) {
        if self.extended.is_empty() {
            return;
        }
        let add = |row: &mut Row| row.values.extend_from_slice(&self.extended);
        match change {
            RowChange::Insert(row) | RowChange::Delete(row) => add(row),
            RowChange::Update(before, after) => {
                add(before);
                add(after);
            }
        }
    }

    /// The target's name.
    pub fn target(&self) -> &TableName {
        &self.info.name
    }

    /// A column by index. Indexes of this structure are always in range.
    pub fn column(&self, index: usize) -> &ColumnInfo {
        &self.info.columns[index]
    }

    /// Whether its rows are written by lenient statements.
    pub fn is_lenient(&self) -> bool {
        self.computed.any() || self.constraints_warn.load(Ordering::Relaxed)
    }

    /// Whether a warning is about what the target computes or checks, not about a value that is written.
    pub fn explains(&self, code: u64, text: &str) -> bool {
        self.computed.explains(code, text)
            || (self.constraints_warn.load(Ordering::Relaxed) && is_of_operand(code, text))
    }

    /// Whether its statements give warnings.
    pub fn gives_warnings(&self) -> bool {
        self.gives_warnings.load(Ordering::Relaxed)
    }
}
