//! Changes that did not meet in the target what they met at the source: counted in the target, in the same
//! transaction as what was done about them, and shown.

use std::collections::BTreeMap;

use dmnode_model::TableName;
use dmnode_model::error::CodedError;
use dmnode_model::ids::SourceId;
use dmnode_model::status::ConflictCount;
use parking_lot::Mutex;

use super::table::Table;
use crate::progress::{ProgressStore, text_literal};
use crate::target::target_error;

/// What was met, and what was done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conflict {
    /// An UPDATE found no row; its after image was inserted.
    UpdateRepaired,
    /// An UPDATE found no row, and its after image was there already, byte for byte.
    UpdatePresent,
    /// An UPDATE found no row and was left out.
    UpdateIgnored,
    /// A DELETE found no row; there was nothing to do.
    DeleteIgnored,
    /// An INSERT met exactly its own row; there was nothing to do.
    InsertPresent,
    /// An INSERT in safe mode replaced what was in its way.
    SafeModeReplaced,
}

impl Conflict {
    const ALL: [Self; 6] = [
        Self::UpdateRepaired,
        Self::UpdatePresent,
        Self::UpdateIgnored,
        Self::DeleteIgnored,
        Self::InsertPresent,
        Self::SafeModeReplaced,
    ];

    /// Its name in the status and in the meta table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpdateRepaired => "update-repaired",
            Self::UpdatePresent => "update-present",
            Self::UpdateIgnored => "update-ignored",
            Self::DeleteIgnored => "delete-ignored",
            Self::InsertPresent => "insert-present",
            Self::SafeModeReplaced => "safe-mode-replaced",
        }
    }
}

#[derive(Debug)]
struct Entry {
    count: u64,
    key: String,
    first: String,
}

/// The conflicts of one target transaction.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<(TableName, Conflict), Entry>);

impl Tally {
    /// One more.
    pub fn add(&mut self, table: &Table, conflict: Conflict, place: Option<String>) {
        self.0
            .entry((table.target().clone(), conflict))
            .or_insert_with(|| Entry { count: 0, key: key_columns(table), first: place.unwrap_or_default() })
            .count += 1;
    }
}

/// The columns that identify a row, for messages.
pub fn key_columns(table: &Table) -> String {
    let columns: Vec<&str> = table.identity.iter().map(|index| table.column(*index).name.as_str()).collect();
    if columns.is_empty() { "no key".to_owned() } else { format!("key ({})", columns.join(", ")) }
}

/// The counts of one source of a task, over all generations.
#[derive(Debug)]
pub struct ConflictLog {
    table: String,
    source: String,
    totals: Mutex<BTreeMap<Conflict, u64>>,
}

impl ConflictLog {
    /// Reads what earlier generations have counted; makes the table when this one may have to count.
    pub async fn open(store: &ProgressStore, source: &SourceId, may_count: bool) -> Result<Self, CodedError> {
        let table = store.table("dmnode_conflict");
        let source = text_literal(source.as_str());
        let mut conn = store.connect().await?;
        if may_count {
            // A row of its own for every applier: they must not wait for each other.
            let sql = format!(
                "CREATE TABLE IF NOT EXISTS {table} (source_id VARCHAR(64) NOT NULL, applier INT UNSIGNED NOT NULL, \
                 table_schema VARCHAR(64) NOT NULL, table_name VARCHAR(64) NOT NULL, kind VARCHAR(32) NOT NULL, \
                 n BIGINT UNSIGNED NOT NULL, first_location VARCHAR(512) NOT NULL, last_location VARCHAR(512) NOT NULL, \
                 updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
                 PRIMARY KEY (source_id, applier, table_schema, table_name, kind)) \
                 ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin"
            );
            conn.execute(sql).await.map_err(|error| target_error(&error).object(&table))?;
        }
        let sql = format!(
            "SELECT kind, CAST(SUM(n) AS UNSIGNED) FROM {table} WHERE source_id = {source} GROUP BY kind"
        );
        let mut totals = BTreeMap::new();
        match conn.query(sql).await {
            Ok(rows) => {
                for row in rows {
                    let kind =
                        Conflict::ALL.into_iter().find(|kind| row.str(0).as_deref() == Some(kind.as_str()));
                    if let Some(kind) = kind {
                        totals.insert(kind, row.u64(1).unwrap_or(0));
                    }
                }
            }
            // No such table: nothing was ever counted.
            Err(error) if error.code() == Some(1146) => {}
            Err(error) => return Err(target_error(&error).object(&table)),
        }
        conn.close().await;
        Ok(Self { table, source, totals: Mutex::new(totals) })
    }

    /// The statement that counts the conflicts of a transaction inside that transaction.
    pub fn sql(&self, applier: u32, tally: &Tally) -> Option<String> {
        let rows: Vec<String> = tally
            .0
            .iter()
            .map(|((table, kind), entry)| {
                let place = text_literal(&entry.first.chars().take(500).collect::<String>());
                format!(
                    "({}, {applier}, {}, {}, '{}', {}, {place}, {place})",
                    self.source,
                    text_literal(&table.schema),
                    text_literal(&table.table),
                    kind.as_str(),
                    entry.count
                )
            })
            .collect();
        (!rows.is_empty()).then(|| {
            format!(
                "INSERT INTO {} (source_id, applier, table_schema, table_name, kind, n, first_location, last_location) \
                 VALUES {} ON DUPLICATE KEY UPDATE n = n + VALUES(n), last_location = VALUES(last_location)",
                self.table,
                rows.join(", ")
            )
        })
    }

    /// The transaction is committed.
    pub fn committed(&self, tally: &Tally) {
        let mut totals = self.totals.lock();
        for ((table, kind), entry) in &tally.0 {
            *totals.entry(*kind).or_default() += entry.count;
            tracing::warn!(
                table = %table, key = %entry.key, kind = kind.as_str(), count = entry.count, location = %entry.first,
                "changes did not meet in the target what they met at the source"
            );
        }
    }

    /// For the status.
    pub fn report(&self) -> Vec<ConflictCount> {
        let totals = self.totals.lock();
        totals
            .iter()
            .map(|(kind, count)| ConflictCount { kind: kind.as_str().to_owned(), count: *count })
            .collect()
    }
}
