//! Rows that a source logs twice as deleted.
//!
//! MySQL carries out actions of foreign keys above the engine since 9.6 (`innodb_native_foreign_keys=OFF`) and logs what
//! they change as row events of their own. When rows refer to one another in a circle (`ON DELETE CASCADE` to the same
//! table), the row the statement deletes is reached once more by its own cascade, and the server writes it twice, with the
//! same image: seen with 9.7. A row with a key cannot be deleted twice unless it appears again in between, so
//! the second one is left out, and counted. Nothing else is: an event must have the flag of such foreign keys, the table a
//! key by which rows are found, and the image must be the same to the byte.

use std::collections::{HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use dmnode_mysql::{Row, RowsEvent};
use sha2::{Digest, Sha256};

use super::change::RowChange;
use super::table::Table;

/// Most rows that are remembered of one statement: the last ones. A row comes again after the rows that hang on it.
/// What is repeated later stops the task, as it would without.
const ROWS_MAX: usize = 1 << 18;

type Fingerprint = [u8; 16];

/// The rows that the statement being read has deleted.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    deleted: HashSet<Fingerprint>,
    /// Oldest first. Has also those of rows that came back, so that one which is deleted again may be forgotten early.
    order: VecDeque<Fingerprint>,
}

impl Repeats {
    /// Whether a change is the deletion of a row that the same statement has deleted already.
    pub fn contains(&mut self, rows: &RowsEvent, table: &Table, change: &RowChange) -> bool {
        if !rows.sql_foreign_keys {
            return false;
        }
        match change {
            // Nothing in an event tells an action's rows from the statement's own: those of one table share events.
            RowChange::Delete(row) if !table.identity.is_empty() => {
                let print = fingerprint(table, row);
                if !self.deleted.insert(print) {
                    return true;
                }
                self.order.push_back(print);
                if self.order.len() > ROWS_MAX
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.deleted.remove(&oldest);
                }
                false
            }
            RowChange::Delete(_) => false,
            RowChange::Insert(row) | RowChange::Update(_, row) => {
                if !self.deleted.is_empty() {
                    self.deleted.remove(&fingerprint(table, row));
                }
                false
            }
        }
    }

    /// Statements are independent of one another.
    pub fn clear(&mut self) {
        // What one large statement took is not held for the next ones.
        self.deleted = HashSet::new();
        self.order = VecDeque::new();
    }
}

/// Rows that are not the same have different ones: nothing but a cryptographic hash is good enough to leave out a change.
fn fingerprint(table: &Table, row: &Row) -> Fingerprint {
    struct Writer(Sha256);
    impl Hasher for Writer {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut writer = Writer(Sha256::new());
    (table.number, row).hash(&mut writer);
    let mut out = [0; 16];
    out.copy_from_slice(&writer.0.finalize()[..16]);
    out
}
