//! Small facts a task remembers in the target, by name: `<task>_dmnode_meta`.
//!
//! Facts that belong to a change of progress are written in the same target transaction.

use async_trait::async_trait;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName, quote_ident};
use dmnode_mysql::{Connection, SqlError};

use super::take_over::table_name;
use super::text_literal;
use crate::target::{ApplyBody, ApplyError, TargetTransaction, target_error};

/// Version of the meta tables' layout that this program writes. 1 had no version row.
pub(crate) const LAYOUT: u64 = 2;
const VERSION: &str = "version";

/// Which start (`start-task --start-time`) has been carried out.
pub(crate) const START: &str = "start";
/// DM's checkpoint row as it was written last.
pub(crate) const DM_ROW: &str = "dm-checkpoint";
/// Who the source is, and when its binlog began.
pub(crate) const SOURCE: &str = "source";
/// One of the last transactions that were applied.
pub(crate) const EVIDENCE: &str = "evidence";
/// Decisions of operators about positions of a server that is not the source any more.
pub(crate) const VOID: &str = "void-decisions";
/// What the operator should know of the last starts.
pub(crate) const NOTES: &str = "notes";

/// The facts of one source in one task.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    table: String,
    source: String,
}

impl Facts {
    /// Those of this source.
    pub fn new(meta_schema: &str, task: &TaskName, source: &SourceId) -> Self {
        Self { table: table_name(meta_schema, task, "dmnode_meta"), source: text_literal(source.as_str()) }
    }

    /// The statement that makes the table.
    pub fn create_sql(meta_schema: &str, task: &TaskName) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             source_id VARCHAR(64) NOT NULL, name VARCHAR(64) NOT NULL, value LONGTEXT NOT NULL, \
             updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
             PRIMARY KEY (source_id, name)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
            table_name(meta_schema, task, "dmnode_meta")
        )
    }

    /// A fact, if it is known.
    pub async fn get(&self, conn: &mut Connection, name: &str) -> Result<Option<String>, SqlError> {
        let sql = format!(
            "SELECT value FROM {} WHERE source_id = {} AND name = {}",
            self.table,
            self.source,
            text_literal(name)
        );
        Ok(conn.query_one(sql).await?.and_then(|row| row.string(0)))
    }

    /// The statement that remembers a fact.
    pub fn put_sql(&self, name: &str, value: &str) -> String {
        format!(
            "INSERT INTO {} (source_id, name, value) VALUES ({}, {}, {value}) ON DUPLICATE KEY UPDATE value = {value}",
            self.table,
            self.source,
            text_literal(name),
            value = text_literal(value)
        )
    }
}

/// What was in the target before a task, so that it is never taken for the task's own.
pub(crate) const BEFORE_SUFFIX: &str = "dmnode_before";
/// Longest wait for another unit that writes it down.
const LOCK_SECONDS: u64 = 10;
/// Databases of the servers themselves.
pub(crate) const SYSTEM_SCHEMAS: &str = "'mysql', 'information_schema', 'performance_schema', 'sys'";

/// Writes down what the target has, before the task's first unit makes anything. The units of other sources wait for it.
async fn record_before(conn: &mut Connection, meta_schema: &str, task: &TaskName) -> Result<(), CodedError> {
    let table = table_name(meta_schema, task, BEFORE_SUFFIX);
    // Names of locks have at most 64 characters; newer MySQL servers have no MD5().
    let lock = format!("CONCAT('dmnode ', SHA2({}, 224))", text_literal(&table));
    let locked = conn
        .query_one(format!("SELECT GET_LOCK({lock}, {LOCK_SECONDS})"))
        .await
        .map_err(|error| target_error(&error).object(quote_ident(meta_schema)))?;
    if locked.and_then(|row| row.u64(0)) != Some(1) {
        return Err(CodedError::new(
            codes::TAKE_OVER,
            format!("another unit of the task has held the lock on what the target had before the task for {LOCK_SECONDS} s"),
        )
        .object(table)
        .remedy("it is tried again; if it stays so, look for the connection that holds the lock (SHOW PROCESSLIST in the target)"));
    }
    let recorded = record_locked(conn, meta_schema, task, &table).await;
    // Also when it failed: the connection may live on.
    let released = conn.query(format!("SELECT RELEASE_LOCK({lock})")).await;
    recorded.and(released.map(|_| ())).map_err(|error| target_error(&error).object(quote_ident(meta_schema)))
}

async fn record_locked(
    conn: &mut Connection,
    meta_schema: &str,
    task: &TaskName,
    table: &str,
) -> Result<(), SqlError> {
    let progress = table_name(meta_schema, task, "dmnode_progress");
    let known = conn
        .query_one(format!(
            "SELECT (SELECT COUNT(*) FROM {progress} WHERE watermark_file IS NOT NULL), \
             (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {} AND table_name = {})",
            text_literal(meta_schema),
            text_literal(&format!("{task}_{BEFORE_SUFFIX}")),
        ))
        .await?;
    let number = |index: usize| known.as_ref().and_then(|row| row.u64(index)).unwrap_or(1);
    // A task that has run before this was kept, or another unit that was faster.
    if number(0) == 0 && number(1) == 0 {
        let filling = format!("{table}_new");
        let filling = filling.replace("`_new", "_new`");
        for sql in [
            format!("DROP TABLE IF EXISTS {filling}"),
            format!(
                "CREATE TABLE {filling} (schema_name VARCHAR(64) NOT NULL, table_name VARCHAR(64) NOT NULL, \
                 PRIMARY KEY (schema_name, table_name)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
            ),
            format!(
                "INSERT INTO {filling} SELECT table_schema, table_name FROM information_schema.tables \
                 WHERE table_schema NOT IN ({SYSTEM_SCHEMAS})"
            ),
            format!(
                "INSERT INTO {filling} SELECT schema_name, '' FROM information_schema.schemata \
                 WHERE schema_name NOT IN ({SYSTEM_SCHEMAS})"
            ),
            // Either it is complete or it is not there.
            format!("RENAME TABLE {filling} TO {table}"),
        ] {
            conn.execute(sql).await?;
        }
    }
    Ok(())
}

/// Refuses tables of a newer program, and writes down the version of those that are as this program makes them.
pub(super) async fn check_version(
    conn: &mut Connection,
    meta_schema: &str,
    task: &TaskName,
) -> Result<(), CodedError> {
    let table = table_name(meta_schema, task, "dmnode_meta");
    let error = |error: SqlError| target_error(&error).object(quote_ident(meta_schema));
    let found = conn
        .query_one(format!("SELECT value FROM {table} WHERE source_id = '' AND name = '{VERSION}'"))
        .await
        .map_err(error)?;
    let version = match found.and_then(|row| row.string(0)) {
        Some(text) => text.parse::<u64>().ok(),
        None => {
            record_before(conn, meta_schema, task).await?;
            conn.execute(format!(
                "INSERT IGNORE INTO {table} (source_id, name, value) VALUES ('', '{VERSION}', '{LAYOUT}')"
            ))
            .await
            .map_err(error)?;
            Some(LAYOUT)
        }
    };
    if version.is_some_and(|version| version <= LAYOUT) {
        return Ok(());
    }
    Err(CodedError::new(
        codes::META_NEWER,
        format!("the task's meta tables in the target were written by a newer version (layout {}, this program knows {LAYOUT})",
            version.map_or_else(|| "?".to_owned(), |version| version.to_string())),
    )
    .object(table))
}

/// Statements as the work of one target transaction.
pub(crate) struct Statements(pub Vec<String>);

#[async_trait]
impl ApplyBody for Statements {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        for sql in &self.0 {
            transaction.execute(sql).await?;
        }
        Ok(())
    }
}
