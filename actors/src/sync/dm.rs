//! Checkpoints that somebody else has written into `<task>_syncer_checkpoint`: DM, whose task is taken over, or an
//! operator, who moves the task by hand.
//!
//! This program keeps the global row up to date, never reads it to go on, and remembers what it wrote last. So a row
//! that differs was changed on purpose: the task begins there. Rows of single tables are never written here; where they
//! are beyond the global row, their tables have everything up to there already, as in DM. Where DM may have written beyond
//! its checkpoint (its exit point), the stream is in safe mode ([`super::safe_mode`]).

use std::collections::{BTreeSet, HashMap};

use dmnode_model::codes;
use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::{BinlogPosition, Flavor, GtidSet, Location, TableName};
use dmnode_mysql::{Connection, ServerInfo, SessionOptions, SqlError, TextRow};
use tokio_util::sync::CancellationToken;

use super::change::describe_location;
use super::notes::Notes;
use super::online::Online;
use super::origin::{Origin, server_name};
use super::rewind::{Rewind, Step};
use super::switch::Void;
use crate::definitions::DefinitionTable;
use crate::load::ChunkFilter;
use crate::load::filter::{CopiedRange, CopiedTable};
use crate::progress::meta::{DM_ROW, EVIDENCE, Facts, SOURCE, Statements, VOID};
use crate::progress::{ProgressStore, ProgressUpdate, TargetSpec, Watermark, table_name, text_literal};
use crate::target::{ApplyError, target_error};
use crate::unit::UnitContext;

/// No such table, no such database, or a name so long that no table can have it.
const MISSING: [u16; 4] = [1146, 1049, 1059, 1103];
/// Columns that DM's layouts have got one after the other, as they are added.
const LATER_COLUMNS: [(&str, &str); 5] = [
    ("binlog_gtid", "TEXT"),
    ("exit_safe_binlog_name", "VARCHAR(128) DEFAULT ''"),
    ("exit_safe_binlog_pos", "INT UNSIGNED DEFAULT 0"),
    ("exit_safe_binlog_gtid", "TEXT"),
    ("table_info", "JSON"),
];

/// A place as DM writes it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Place {
    file: String,
    pos: u64,
    gtid: String,
}

impl Place {
    fn is_empty(&self) -> bool {
        self.file.is_empty() && self.gtid.is_empty()
    }

    /// As it is remembered.
    fn text(&self) -> String {
        format!("{}\n{}\n{}", self.file, self.pos, self.gtid)
    }

    fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, '\n');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (file, pos) = (next(), next());
        Self { file, pos: pos.parse().unwrap_or(0), gtid: next() }
    }

    fn location(&self, flavor: Flavor) -> Result<Location, CodedError> {
        let gtid_set = if self.gtid.is_empty() { None } else { Some(GtidSet::parse(flavor, &self.gtid)?) };
        let pos = if self.file.is_empty() { 0 } else { self.pos.max(4) };
        Ok(Location::new(BinlogPosition::new(without_relay(&self.file), pos), gtid_set))
    }
}

/// What is remembered of a global row.
pub fn remembered(file: &str, pos: u64, gtid: &str) -> String {
    Place { file: file.to_owned(), pos, gtid: gtid.to_owned() }.text()
}

/// `mysql-bin|000002.000003`, as DM writes positions in a relay log, is `mysql-bin.000003` on the source.
fn without_relay(file: &str) -> String {
    match file.split_once('|') {
        Some((base, rest)) => match rest.split_once('.') {
            Some((_, number)) => format!("{base}.{number}"),
            None => file.to_owned(),
        },
        None => file.to_owned(),
    }
}

/// One row of the checkpoint table.
#[derive(Debug)]
struct CheckpointRow {
    table: Option<TableName>,
    place: Place,
}

/// Adds what a checkpoint table of an older DM lacks. Each step leaves the rows as they are and may be repeated.
pub async fn upgrade_layout(conn: &mut Connection, table: &str) -> Result<(), SqlError> {
    let columns: BTreeSet<String> = conn
        .query(format!("SHOW COLUMNS FROM {table}"))
        .await?
        .iter()
        .filter_map(|row| row.string(0))
        .map(|name| name.to_ascii_lowercase())
        .collect();
    let missing: Vec<String> = LATER_COLUMNS
        .iter()
        .filter(|(name, _)| !columns.contains(*name))
        .map(|(name, definition)| format!("ADD COLUMN {name} {definition}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    tracing::info!(
        table,
        added = missing.len(),
        "the checkpoint table is of an older DM, its columns are added"
    );
    match conn.execute(format!("ALTER TABLE {table} {}", missing.join(", "))).await {
        // Another node was faster.
        Err(error) if error.code() == Some(1060) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// What is in the target besides our own progress.
struct Found {
    global: Option<CheckpointRow>,
    remembered: Option<Place>,
}

async fn rows(conn: &mut Connection, subtask: &SubtaskConfig) -> Result<Vec<CheckpointRow>, CodedError> {
    let table = table_name(&subtask.meta_schema, &subtask.task, "syncer_checkpoint");
    let sql = format!(
        "SELECT cp_schema, cp_table, binlog_name, binlog_pos, binlog_gtid, is_global FROM {table} WHERE id = {}",
        text_literal(subtask.source_id.as_str())
    );
    let rows = match conn.query(sql).await {
        Ok(rows) => rows,
        Err(error) if error.code().is_some_and(|code| MISSING.contains(&code)) => Vec::new(),
        Err(error) => return Err(target_error(&error).object(table)),
    };
    let place = |row: &TextRow, first: usize| Place {
        file: row.string(first).unwrap_or_default(),
        pos: row.u64(first + 1).unwrap_or(0),
        gtid: row.string(first + 2).unwrap_or_default(),
    };
    Ok(rows
        .iter()
        .map(|row| {
            let (schema, table) = (row.string(0).unwrap_or_default(), row.string(1).unwrap_or_default());
            let is_global = schema.is_empty() && table.is_empty() && row.u64(5) != Some(0);
            CheckpointRow { table: (!is_global).then(|| TableName::new(schema, table)), place: place(row, 2) }
        })
        .collect())
}

/// Before anything else runs: takes a DM task over, or follows an operator's change of the checkpoint. Nothing is done
/// when the task goes on where it stood.
pub async fn follow(
    ctx: &UnitContext,
    source: &SourceConfig,
    subtask: &SubtaskConfig,
) -> Result<(), ApplyError> {
    let abort = CancellationToken::new();
    let _ends = abort.clone().drop_guard();
    let store = ProgressStore::open(TargetSpec::of(ctx, subtask, abort)).await?;
    let facts = Facts::new(&subtask.meta_schema, &subtask.task, &subtask.source_id);
    let mut conn = store.connect().await?;
    let checkpoint = rows(&mut conn, subtask).await?;
    let remembered = facts.get(&mut conn, DM_ROW).await?.map(|text| Place::parse(&text));
    let found = Found { global: checkpoint.into_iter().find(|row| row.table.is_none()), remembered };
    let Some(row) = found.global.filter(|row| !row.place.is_empty()) else {
        if store.read_watermark().await?.is_none() && found.remembered.is_none() {
            unfinished_copy(&mut conn, subtask).await?;
        }
        return Ok(());
    };
    if found.remembered.as_ref() == Some(&row.place) {
        return Ok(());
    }
    let present = store.read_watermark().await?;
    if present.is_some() && found.remembered.is_none() {
        // Nothing was written since the task has a progress of its own: the row is from before.
        return Ok(());
    }
    let from_dm = present.is_none();
    if from_dm {
        shards(&mut conn, subtask).await?;
    }
    let known = facts.get(&mut conn, SOURCE).await?.map(|text| Origin::parse(&text));
    let mut notes = Notes::load(&mut conn, &facts).await?;
    conn.close().await;

    let mut server = Connection::connect(&source.from, &SessionOptions::default())
        .await
        .map_err(|error| super::source_failed(source, &error))?;
    let info = ServerInfo::probe(&mut server).await.map_err(|error| super::source_failed(source, &error))?;
    let name = server_name(&mut server, &info).await.map_err(|error| super::source_failed(source, &error))?;
    let mut place = row.place.clone();
    if let Some(former) = &found.remembered
        && former.gtid == place.gtid
    {
        // Only the position was changed: the GTID set beside it is the old one.
        place.gtid.clear();
    }
    let location = place.location(info.flavor).map_err(|error| unreadable(subtask, &row.place, error))?;

    let mut taken = store.take_over(1).await?;
    if from_dm != taken.watermark.is_none() {
        // Another generation was faster.
        return Ok(());
    }
    let number = taken.watermark.as_ref().map_or(1, |watermark| watermark.number + 1);
    let former = taken.watermark.map(|watermark| watermark.location);
    let same_server = known.as_ref().is_none_or(|known| known.server == name);
    let origin = Origin { server: name, anchor: None };
    let mut writes = vec![
        facts.put_sql(DM_ROW, &row.place.text()),
        facts.put_sql(SOURCE, &origin.to_string()),
        facts.put_sql(EVIDENCE, ""),
    ];
    if !same_server {
        writes.push(facts.put_sql(VOID, &Void::all(&subtask.decisions).text()));
    }
    if let Some(former) = &former {
        let (applied, to) = (&taken.applied, &location);
        let step = Step { why: Rewind::Checkpoint, former, applied, to, same_server };
        writes.extend(step.window(&store, &subtask.source_id, &mut server, &info).await?);
        let note = format!(
            "the checkpoint row was changed by hand: the task goes on at {} instead of {}",
            describe_location(&location),
            describe_location(former)
        );
        writes.push(notes.add(&facts, &note));
        // What is known of tables is from later.
        let definitions = DefinitionTable::new(&subtask.meta_schema, &subtask.task, &subtask.source_id);
        writes.push(definitions.forget_followed_sql(false));
        // DM's collected schema changes belong to DM's place, these to the former one.
        writes.push(Online::forget_all_sql(&subtask.meta_schema, &subtask.task, &subtask.source_id));
    }
    server.close().await;
    let update = ProgressUpdate::watermark(&Watermark { number, location: location.clone() });
    if let Some(first) = taken.appliers.first_mut() {
        first.apply(&update, &mut Statements(writes)).await?;
    }
    match former {
        None => tracing::info!(
            task = %subtask.task, source = %subtask.source_id, location = %describe_location(&location),
            "the task is taken over from DM at its checkpoint"
        ),
        Some(former) => tracing::warn!(
            task = %subtask.task, source = %subtask.source_id, from = %describe_location(&former),
            to = %describe_location(&location),
            "the checkpoint row was changed by hand, the task begins there"
        ),
    }
    Ok(())
}

fn unreadable(subtask: &SubtaskConfig, place: &Place, error: CodedError) -> CodedError {
    CodedError::new(codes::DM_CHECKPOINT, "the checkpoint row of the task cannot be read")
        .object(table_name(&subtask.meta_schema, &subtask.task, "syncer_checkpoint"))
        .at(format!("({}, {})", place.file, place.pos))
        .cause(error)
        .remedy("correct the row, or give it up with --remove-meta")
}

/// A task of DM that had not finished its copy cannot be continued: its files are DM's.
async fn unfinished_copy(conn: &mut Connection, subtask: &SubtaskConfig) -> Result<(), CodedError> {
    let table = table_name(&subtask.meta_schema, &subtask.task, "lightning_checkpoint_list");
    let sql = format!(
        "SELECT status FROM {table} WHERE source_name = {}",
        text_literal(subtask.source_id.as_str())
    );
    let status = match conn.query_one(sql).await {
        Ok(row) => row.and_then(|row| row.string(0)),
        Err(error) if error.code().is_some_and(|code| MISSING.contains(&code)) => None,
        Err(error) => return Err(target_error(&error).object(table)),
    };
    match status.as_deref() {
        None | Some("init" | "") => Ok(()),
        Some(status) => Err(CodedError::new(
            codes::DM_CHECKPOINT,
            format!("DM's full copy of the task is `{status}` and it has no checkpoint to continue at"),
        )
        .object(table)
        .remedy("let DM finish its copy and reach its sync unit; or empty the target tables and start with --remove-meta")),
    }
}

/// Shard DDL that DM has not finished belongs to DM.
async fn shards(conn: &mut Connection, subtask: &SubtaskConfig) -> Result<(), CodedError> {
    let table = table_name(&subtask.meta_schema, &subtask.task, "syncer_sharding_meta");
    let sql = format!(
        "SELECT source_table_id FROM {table} WHERE source_id = {} AND is_global = 0 \
         AND CAST(data AS CHAR) NOT IN ('[]', 'null') LIMIT 1",
        text_literal(subtask.source_id.as_str())
    );
    match conn.query_one(sql).await {
        Ok(None) => Ok(()),
        Ok(Some(row)) => Err(CodedError::new(
            codes::DM_CHECKPOINT,
            "DM is in the middle of coordinating shard DDL for this source",
        )
        .object(format!("{table}, {}", row.string(0).unwrap_or_default()))
        .remedy("in DM: let the shard group finish (shard-ddl-lock), then stop-task; then start it here")),
        Err(error) if error.code().is_some_and(|code| MISSING.contains(&code)) => Ok(()),
        Err(error) => Err(target_error(&error).object(table)),
    }
}

/// What the stream must skip, rows of single tables included.
pub async fn with_table_points(
    filter: Option<ChunkFilter>,
    conn: &mut Connection,
    subtask: &SubtaskConfig,
    flavor: Flavor,
) -> Result<Option<ChunkFilter>, CodedError> {
    let mut tables = HashMap::new();
    for row in rows(conn, subtask).await? {
        let Some(table) = row.table.filter(|table| !table.table.is_empty()) else { continue };
        if row.place.is_empty() {
            continue;
        }
        let location = row.place.location(flavor).map_err(|error| unreadable(subtask, &row.place, error))?;
        let range = CopiedRange { lower: None, location };
        tables.insert(table, CopiedTable { key: Vec::new(), ranges: vec![range], joined: false });
    }
    if tables.is_empty() {
        return Ok(filter);
    }
    Ok(Some(match filter {
        Some(filter) => filter.with(tables),
        None => ChunkFilter::new(tables),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_of_a_relay_log_is_one_of_the_source() {
        for (given, wanted) in [
            ("mysql-bin|000002.000003", "mysql-bin.000003"),
            ("mysql-bin.000003", "mysql-bin.000003"),
            ("my.bin|000001.000010", "my.bin.000010"),
            ("odd|name", "odd|name"),
        ] {
            assert_eq!(without_relay(given), wanted);
        }
    }

    #[test]
    fn a_row_is_remembered_as_it_was() {
        for place in [
            Place::default(),
            Place { file: "bin.000001".into(), pos: 4, gtid: String::new() },
            Place { file: "bin.000001".into(), pos: 4, gtid: "a:1,\nb:2".into() },
        ] {
            assert_eq!(Place::parse(&place.text()), place);
        }
    }
}
