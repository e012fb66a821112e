//! The durable plan of the copy: one row per chunk in `<task>_dmnode_chunk`, beside the progress.

use std::collections::{BTreeMap, HashMap};

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::gtid::{Flavor, GtidSet};
use dmnode_model::ids::{SourceId, TableName, TaskName};
use dmnode_model::position::{BinlogPosition, Location};
use dmnode_mysql::{Connection, TextRow};

use super::filter::{ChunkFilter, CopiedRange, CopiedTable};
use super::key::{Bound, KeyPart, parse_bound, parse_parts, store_bound, store_parts};
use crate::progress::{push_text, table_name, text_literal};
use crate::target::target_error;

/// The table does not exist.
const ER_NO_SUCH_TABLE: u16 = 1146;
const ER_BAD_DB: u16 = 1049;
/// Size of one INSERT of plan rows.
const INSERT_BYTES_MAX: usize = 512 * 1024;

/// In place of a digest: see [`ChunkTable::outdate_sql`].
const OUTDATED: &str = "outdated";
/// In place of a digest: the table joined a running task, at the position of its only chunk.
pub(super) const JOINED: &str = "joined";

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub number: u32,
    /// Smallest key, `None` open below.
    pub lower: Option<Bound>,
    /// Smallest key of the next chunk, `None` open above.
    pub upper: Option<Bound>,
    pub done: Option<DoneChunk>,
}

/// What is known of a finished chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DoneChunk {
    pub location: Location,
    pub rows: u64,
    pub bytes: u64,
}

/// The chunks of one source table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedTable {
    pub target: TableName,
    /// The columns the table is cut by; none when it is whole.
    pub key: Vec<KeyPart>,
    /// Identity of the source table as it was planned.
    pub digest: String,
    /// The target table was made by this plan.
    pub created: bool,
    pub chunks: Vec<Chunk>,
}

impl PlannedTable {
    pub fn is_done(&self) -> bool {
        self.chunks.iter().all(|chunk| chunk.done.is_some())
    }

    pub fn is_touched(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.done.is_some())
    }
}

/// Where the plan of one source in one task is kept.
#[derive(Clone, Debug)]
pub(super) struct ChunkTable {
    table: String,
    source: String,
}

impl ChunkTable {
    pub fn new(meta_schema: &str, task: &TaskName, source: &SourceId) -> Self {
        Self { table: table_name(meta_schema, task, "dmnode_chunk"), source: text_literal(source.as_str()) }
    }

    pub fn create_sql(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             source_id VARCHAR(64) NOT NULL, src_schema VARCHAR(64) NOT NULL, src_table VARCHAR(64) NOT NULL, \
             chunk INT UNSIGNED NOT NULL, target_schema VARCHAR(64) NOT NULL, target_table VARCHAR(64) NOT NULL, \
             key_column TEXT NULL, lower_key TEXT NULL, upper_key TEXT NULL, \
             done TINYINT NOT NULL DEFAULT 0, created TINYINT NOT NULL, \
             position_file VARCHAR(255) NULL, position_pos BIGINT UNSIGNED NULL, position_gtid LONGTEXT NULL, \
             row_count BIGINT UNSIGNED NULL, byte_count BIGINT UNSIGNED NULL, schema_digest CHAR(64) NOT NULL, \
             updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
             PRIMARY KEY (source_id, src_schema, src_table, chunk), KEY (target_schema, target_table)) \
             ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
            self.table
        )
    }

    /// Makes room for keys of several columns in a table of before there were any.
    pub async fn widen(&self, conn: &mut Connection) -> Result<(), CodedError> {
        let sql = format!("SHOW COLUMNS FROM {} LIKE 'lower_key'", self.table);
        let row = conn.query_one(&sql).await.map_err(|err| target_error(&err))?;
        if row.and_then(|row| row.string(1)).is_some_and(|kind| kind.to_lowercase().starts_with("varchar")) {
            let sql = format!(
                "ALTER TABLE {} MODIFY key_column TEXT NULL, MODIFY lower_key TEXT NULL, MODIFY upper_key TEXT NULL",
                self.table
            );
            conn.execute(sql).await.map_err(|err| target_error(&err))?;
        }
        Ok(())
    }

    fn of_table(&self, table: &TableName) -> String {
        format!(
            "source_id = {} AND src_schema = {} AND src_table = {}",
            self.source,
            text_literal(&table.schema),
            text_literal(&table.table)
        )
    }

    /// Forgets the table's plan.
    pub fn delete_sql(&self, table: &TableName) -> Vec<u8> {
        format!("DELETE FROM {} WHERE {}", self.table, self.of_table(table)).into_bytes()
    }

    /// The table is not the one any more that it was planned as: its plan fits nothing from now on.
    pub fn outdate_sql(&self, table: &TableName) -> Vec<u8> {
        let sql = format!(
            "UPDATE {} SET schema_digest = {} WHERE {}",
            self.table,
            text_literal(OUTDATED),
            self.of_table(table)
        );
        sql.into_bytes()
    }

    /// Writes the plans of tables.
    pub fn insert_sql<'a>(
        &self,
        plans: impl IntoIterator<Item = (&'a TableName, &'a PlannedTable)>,
    ) -> Vec<Vec<u8>> {
        let head = format!(
            "INSERT INTO {} (source_id, src_schema, src_table, chunk, target_schema, target_table, key_column, \
             lower_key, upper_key, done, created, position_file, position_pos, position_gtid, row_count, byte_count, \
             schema_digest) VALUES ",
            self.table
        );
        let mut statements = Vec::new();
        let mut sql: Vec<u8> = Vec::new();
        let chunks = plans
            .into_iter()
            .flat_map(|(table, plan)| plan.chunks.iter().map(move |chunk| (table, plan, chunk)));
        for (table, plan, chunk) in chunks {
            sql.extend_from_slice(if sql.is_empty() { head.as_bytes() } else { b", " });
            sql.extend_from_slice(self.row(table, plan, chunk).as_bytes());
            if sql.len() > INSERT_BYTES_MAX {
                statements.push(std::mem::take(&mut sql));
            }
        }
        if !sql.is_empty() {
            statements.push(sql);
        }
        statements
    }

    fn row(&self, table: &TableName, plan: &PlannedTable, chunk: &Chunk) -> String {
        let done = chunk.done.as_ref();
        let position = done.map(|done| &done.location.position);
        let gtid_set = done.and_then(|done| done.location.gtid_set.as_ref()).map(|set| set.to_string());
        let bound = |bound: Option<&Bound>| bound.and_then(|bound| store_bound(&plan.key, bound));
        let number = |value: Option<u64>| value.map_or_else(|| "NULL".to_owned(), |value| value.to_string());
        let values = [
            self.source.clone(),
            text_literal(&table.schema),
            text_literal(&table.table),
            chunk.number.to_string(),
            text_literal(&plan.target.schema),
            text_literal(&plan.target.table),
            optional(store_parts(&plan.key).as_deref()),
            optional(bound(chunk.lower.as_ref()).as_deref()),
            optional(bound(chunk.upper.as_ref()).as_deref()),
            u8::from(done.is_some()).to_string(),
            u8::from(plan.created).to_string(),
            optional(position.map(|position| position.file.as_str())),
            number(position.map(|position| position.pos)),
            optional(gtid_set.as_deref()),
            number(done.map(|done| done.rows)),
            number(done.map(|done| done.bytes)),
            text_literal(&plan.digest),
        ];
        format!("({})", values.join(", "))
    }

    /// Marks one chunk done, if its plan is still the one it was read for.
    pub fn done_sql(&self, table: &TableName, number: u32, digest: &str, done: &DoneChunk) -> Vec<u8> {
        let mut sql = format!("UPDATE {} SET done = 1, position_file = ", self.table).into_bytes();
        push_text(&mut sql, &done.location.position.file);
        sql.extend_from_slice(
            format!(
                ", position_pos = {}, position_gtid = {}, row_count = {}, byte_count = {} \
                 WHERE {} AND chunk = {number} AND done = 0 AND schema_digest = {}",
                done.location.position.pos,
                optional(done.location.gtid_set.as_ref().map(|set| set.to_string()).as_deref()),
                done.rows,
                done.bytes,
                self.of_table(table),
                text_literal(digest),
            )
            .as_bytes(),
        );
        sql
    }

    /// How many other source tables (of any source) are planned into the same target table.
    pub async fn others(
        &self,
        conn: &mut Connection,
        table: &TableName,
        target: &TableName,
    ) -> Result<u64, CodedError> {
        let sql = format!(
            "SELECT COUNT(*) FROM {} WHERE target_schema = {} AND target_table = {} AND NOT ({})",
            self.table,
            text_literal(&target.schema),
            text_literal(&target.table),
            self.of_table(table)
        );
        let row = conn.query_one(&sql).await.map_err(|err| target_error(&err))?;
        row.and_then(|row| row.u64(0)).ok_or_else(|| damaged("a count is missing"))
    }

    /// Reads the whole plan of the source. Empty when there is none.
    pub async fn read(
        &self,
        conn: &mut Connection,
        flavor: Flavor,
    ) -> Result<BTreeMap<TableName, PlannedTable>, CodedError> {
        let sql = format!(
            "SELECT src_schema, src_table, chunk, target_schema, target_table, key_column, lower_key, upper_key, \
             done, created, position_file, position_pos, position_gtid, row_count, byte_count, schema_digest \
             FROM {} WHERE source_id = {} ORDER BY src_schema, src_table, chunk",
            self.table, self.source
        );
        let mut plan: BTreeMap<TableName, PlannedTable> = BTreeMap::new();
        let mut rows = match conn.stream(&sql).await {
            Ok(rows) => rows,
            Err(error) if matches!(error.code(), Some(ER_NO_SUCH_TABLE | ER_BAD_DB)) => return Ok(plan),
            Err(error) => return Err(target_error(&error)),
        };
        while let Some(row) = rows.next().await.map_err(|err| target_error(&err))? {
            read_row(&mut plan, &row, flavor).map_err(damaged)?;
        }
        Ok(plan)
    }
}

fn read_row(
    plan: &mut BTreeMap<TableName, PlannedTable>,
    row: &TextRow,
    flavor: Flavor,
) -> Result<(), String> {
    let text = |index: usize| row.str(index).map(std::borrow::Cow::into_owned);
    let need = |index: usize, name: &str| text(index).ok_or_else(|| format!("`{name}` is NULL"));
    let number = |index: usize, name: &str| row.u64(index).ok_or_else(|| format!("`{name}` is no number"));
    let key = text(5).map(|stored| parse_parts(&stored)).transpose()?.unwrap_or_default();
    let bound = |index: usize, name: &str| {
        text(index)
            .map(|stored| parse_bound(&key, &stored).ok_or_else(|| format!("`{name}` is no key")))
            .transpose()
    };
    let table = TableName { schema: need(0, "src_schema")?, table: need(1, "src_table")? };
    let done = if number(8, "done")? == 0 {
        None
    } else {
        let gtid_set = text(12)
            .map(|set| GtidSet::parse(flavor, &set).map_err(|err| format!("`position_gtid`: {err}")))
            .transpose()?;
        let position = BinlogPosition { file: need(10, "position_file")?, pos: number(11, "position_pos")? };
        Some(DoneChunk {
            location: Location { position, gtid_set },
            rows: number(13, "row_count")?,
            bytes: number(14, "byte_count")?,
        })
    };
    let chunk = Chunk {
        number: u32::try_from(number(2, "chunk")?).map_err(|err| format!("`chunk`: {err}"))?,
        lower: bound(6, "lower_key")?,
        upper: bound(7, "upper_key")?,
        done,
    };
    let target = TableName { schema: need(3, "target_schema")?, table: need(4, "target_table")? };
    let digest = need(15, "schema_digest")?;
    let created = number(9, "created")? != 0;
    let planned = plan.entry(table).or_insert_with(|| PlannedTable {
        target,
        key,
        digest,
        created,
        chunks: Vec::new(),
    });
    // The ranges must follow each other, else rows would be copied twice or not at all.
    let expected = planned.chunks.last().map_or(Some(None), |last| last.upper.as_ref().map(Some));
    if expected != Some(chunk.lower.as_ref()) {
        return Err(format!("chunk {} does not follow its predecessor", chunk.number));
    }
    planned.chunks.push(chunk);
    Ok(())
}

fn optional(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), text_literal)
}

fn damaged(why: impl std::fmt::Display) -> CodedError {
    CodedError::new(codes::COPY_META, "the plan of the full copy in the target cannot be used").cause(why)
}

/// See [`ChunkFilter::load`].
pub(super) async fn load_filter(
    conn: &mut Connection,
    meta_schema: &str,
    task: &TaskName,
    source: &SourceId,
    flavor: Flavor,
) -> Result<Option<ChunkFilter>, CodedError> {
    let plan = ChunkTable::new(meta_schema, task, source).read(conn, flavor).await?;
    if plan.is_empty() {
        return Ok(None);
    }
    filter_of(&plan).map(Some)
}

/// The filter a complete plan stands for.
pub(super) fn filter_of(plan: &BTreeMap<TableName, PlannedTable>) -> Result<ChunkFilter, CodedError> {
    let mut tables = HashMap::new();
    for (table, planned) in plan {
        let mut copied =
            CopiedTable { key: planned.key.clone(), ranges: Vec::new(), joined: planned.digest == JOINED };
        for chunk in &planned.chunks {
            let done = chunk
                .done
                .as_ref()
                .ok_or_else(|| damaged(format!("chunk {} of {table} is not done", chunk.number)))?;
            copied.ranges.push(CopiedRange { lower: chunk.lower.clone(), location: done.location.clone() });
        }
        tables.insert(table.clone(), copied);
    }
    Ok(ChunkFilter::new(tables))
}
