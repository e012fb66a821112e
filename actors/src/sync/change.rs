//! Row changes and source transactions on their way through the unit.

use std::sync::Arc;

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::{BinlogPosition, Location};
use dmnode_mysql::Row;

use super::table::Table;
use crate::progress::{Ordinal, TxnId};

/// What happens to one row.
#[derive(Debug, Clone, PartialEq)]
pub enum RowChange {
    /// It appears.
    Insert(Row),
    /// It changes from one image to the other.
    Update(Row, Row),
    /// It vanishes.
    Delete(Row),
}

/// A row change and the table it belongs to.
#[derive(Debug, Clone)]
pub struct Change {
    /// Source and target table.
    pub table: Arc<Table>,
    /// What happens.
    pub row: RowChange,
    /// The session at the source had `foreign_key_checks=1`, so actions of foreign keys took place, in the engine: the
    /// binlog does not have them.
    pub foreign_key_checks: bool,
}

impl Change {
    /// About how much memory it keeps alive.
    pub fn memory(&self) -> usize {
        std::mem::size_of::<Self>()
            + match &self.row {
                RowChange::Insert(row) | RowChange::Delete(row) => row.memory(),
                RowChange::Update(before, after) => before.memory() + after.memory(),
            }
    }
}

/// Whether actions of foreign keys (CASCADE, SET NULL) follow from the change of a parent's row.
pub fn fires_action(table: &Table, row: &RowChange) -> bool {
    match row {
        RowChange::Insert(_) => false,
        RowChange::Delete(_) => true,
        // A foreign key may refer to any key.
        RowChange::Update(before, after) => {
            table.info.keys.iter().flat_map(|key| &key.columns).any(|part| match part.column {
                Some(index) => before.values.get(index) != after.values.get(index),
                None => true,
            })
        }
    }
}

/// Such a change in a part of the binlog that only a part of the copied tables contains.
pub fn torn_action(table: &Table) -> CodedError {
    CodedError::new(
        codes::COPY_CASCADE_TORN,
        "a row with foreign key actions changed between the snapshots of an interrupted copy: what the actions did to the children cannot be told",
    )
    .object(format!("{} (source {})", table.target(), table.source))
}

/// A whole source transaction, filtered and routed.
#[derive(Debug)]
pub struct Transaction {
    /// Its place in this generation's stream.
    pub ordinal: Ordinal,
    /// Its identity.
    pub id: TxnId,
    /// Where it ends.
    pub end: BinlogPosition,
    /// When it began, seconds since 1970 by the source's clock.
    pub timestamp: u32,
    /// Its changes in order.
    pub changes: Vec<Change>,
    /// Memory it keeps alive, for the budget.
    pub bytes: usize,
    /// It lies in a window of safe mode.
    pub safe: bool,
}

/// The place of a transaction for people.
pub fn describe(id: &TxnId, end: &BinlogPosition) -> String {
    match id {
        TxnId::Gtid(gtid) => format!("{end}, {gtid}"),
        TxnId::Position(_) => end.to_string(),
    }
}

/// A location for people, in DM's words.
pub fn describe_location(location: &Location) -> String {
    match &location.gtid_set {
        Some(set) => format!("position: {}, gtid-set: {set}", location.position),
        None => format!("position: {}", location.position),
    }
}
