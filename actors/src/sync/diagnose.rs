//! Why a row is in the way (1062): the row is looked at in the target, compared with the event, and the source and our
//! own records are asked. The answer names tables, keys and columns, never values.

use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::config::{Endpoint, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::policy::Fault;
use dmnode_model::{TableName, quote_ident};
use dmnode_mysql::{
    ColumnType, Connection, KeyInfo, Row, SessionOptions, SqlError, TableInfo, Value, write_literal,
};

use super::change::Change;
use super::deliver::without_values;
use super::scope::Scope;
use super::statement::exact_column;
use super::table::Table;
use crate::progress::{table_name, text_literal};
use crate::target::{ApplyError, TargetTransaction};

/// The source may take so long to answer.
const SOURCE_LIMIT: Duration = Duration::from_secs(20);
/// Other source tables that are asked for the key.
const SHARDS_MAX: usize = 200;
/// Longer values are left out of comparisons.
const COMPARED_BYTES: usize = 4096;

/// What can be asked when a row is in the way.
pub struct Evidence {
    source: Endpoint,
    subtask: SubtaskConfig,
}

/// The row in the way, compared with the event's row.
struct InTheWay {
    /// Columns whose values differ, by name.
    differing: Vec<String>,
    /// Columns of the key whose bytes differ though the key takes them for equal.
    key_differing: Vec<String>,
    /// The row's short values as text, in the order of `compared`.
    values: Vec<Option<Vec<u8>>>,
}

/// What the source says.
#[derive(Default)]
struct AtSource {
    /// The source was asked and answered.
    asked: bool,
    /// Its own definition of the table.
    info: Option<TableInfo>,
    /// Further source tables that go to the same target table.
    shards: Vec<TableName>,
    /// One of them that has the key now.
    owner: Option<TableName>,
    /// The source's row of this key, now: the same short values as the row in the way.
    same_row: bool,
}

impl Evidence {
    /// For this subtask.
    pub fn new(source: Endpoint, subtask: SubtaskConfig) -> Self {
        Self { source, subtask }
    }

    /// The error that says why `row` cannot be written.
    pub async fn diagnose(
        &self,
        transaction: &mut TargetTransaction<'_>,
        change: &Change,
        row: &Row,
        error: &SqlError,
    ) -> Result<CodedError, ApplyError> {
        let table = &change.table;
        let cause = format!("Error 1062 (23000): {}", without_values(1062, &error.message));
        let unclear = |why: &str| {
            CodedError::new(codes::ROW_REFUSED, format!("the target refused a row: its key is taken; {why}"))
                .object(object(table))
                .cause(&cause)
        };
        let Some(key) = key_of(&table.info, &error.message) else {
            return Ok(unclear("which key it is cannot be told"));
        };
        let Some(condition) = condition(&table.info, key, row, &|_| true) else {
            return Ok(unclear("the key is over an expression, so the row in the way is not looked for"));
        };
        let found = match self.look(transaction, table, key, row, &condition).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(unclear("the row in the way is gone again; resume-task")),
            Err(ApplyError::Sql(error)) if error.fault() == Fault::Refused => {
                tracing::warn!(error = %error, table = %table.target(), "a row in the way cannot be looked at");
                return Ok(unclear("the row in the way cannot be looked at"));
            }
            Err(error) => return Err(error),
        };
        let copied = self.is_copied(transaction, &table.source).await?;
        let others = self.other_sources(transaction).await?;
        let asked = tokio::time::timeout(SOURCE_LIMIT, self.ask(table, key, row, &found)).await;
        let source = match asked {
            Ok(Ok(source)) => source,
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the source cannot be asked about a row in the way");
                AtSource::default()
            }
            Err(_) => AtSource::default(),
        };
        let (code, text) = judge(table, key, &found, &source, copied, &others);
        let text = if source.asked { text } else { format!("{text} (the source could not be asked)") };
        Ok(CodedError::new(
            code,
            format!("duplicate entry for key {} in the target: {text}", quote_ident(&key.name)),
        )
        .object(object(table))
        .cause(cause))
    }

    /// The row in the way.
    async fn look(
        &self,
        transaction: &mut TargetTransaction<'_>,
        table: &Table,
        key: &KeyInfo,
        row: &Row,
        condition: &str,
    ) -> Result<Option<InTheWay>, ApplyError> {
        let compared = compared(table, row);
        let mut sql = b"SELECT ".to_vec();
        for index in &compared {
            // Compared by the server: what differs is of interest, not what it is.
            sql.extend_from_slice(b"IFNULL(");
            exact_column(table, row, *index, &mut sql);
            sql.extend_from_slice(b", 0), ");
        }
        sql.extend_from_slice(select_list(table, &compared).as_bytes());
        sql.extend_from_slice(format!(" FROM {} WHERE {condition} LIMIT 1", table.target()).as_bytes());
        let rows = transaction.query(sql).await?;
        let Some(found) = rows.first() else { return Ok(None) };
        let mut way = InTheWay { differing: Vec::new(), key_differing: Vec::new(), values: Vec::new() };
        for (place, index) in compared.iter().enumerate() {
            let name = table.column(*index).name.clone();
            if found.u64(place) == Some(0) {
                if key.columns.iter().any(|part| part.column == Some(*index)) {
                    way.key_differing.push(name.clone());
                }
                way.differing.push(name);
            }
            way.values.push(found.bytes(compared.len() + place).map(<[u8]>::to_vec));
        }
        Ok(Some(way))
    }

    /// Whether this task copied the table, so that it knows by itself what the target holds.
    async fn is_copied(
        &self,
        transaction: &mut TargetTransaction<'_>,
        source: &TableName,
    ) -> Result<bool, ApplyError> {
        let sql = format!(
            "SELECT 1 FROM {} WHERE source_id = {} AND src_schema = {} AND src_table = {} LIMIT 1",
            table_name(&self.subtask.meta_schema, &self.subtask.task, "dmnode_chunk"),
            text_literal(self.subtask.source_id.as_str()),
            text_literal(&source.schema),
            text_literal(&source.table)
        );
        match transaction.query(sql).await {
            Ok(rows) => Ok(!rows.is_empty()),
            Err(ApplyError::Sql(error)) if error.code() == Some(1146) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Further sources of this task.
    async fn other_sources(
        &self,
        transaction: &mut TargetTransaction<'_>,
    ) -> Result<Vec<String>, ApplyError> {
        let sql = format!(
            "SELECT DISTINCT source_id FROM {} WHERE source_id <> {} ORDER BY 1 LIMIT 10",
            table_name(&self.subtask.meta_schema, &self.subtask.task, "dmnode_progress"),
            text_literal(self.subtask.source_id.as_str())
        );
        Ok(transaction.query(sql).await?.iter().filter_map(|row| row.string(0)).collect())
    }

    async fn ask(
        &self,
        table: &Table,
        key: &KeyInfo,
        row: &Row,
        found: &InTheWay,
    ) -> Result<AtSource, SqlError> {
        let options = SessionOptions { time_zone: Some("+00:00".into()), ..SessionOptions::default() };
        let mut conn = Connection::connect(&self.source, &options).await?;
        let mut answer = AtSource { asked: true, ..AtSource::default() };
        answer.info = TableInfo::load(&mut conn, &table.source).await?;
        answer.shards = self.shards(&mut conn, table, key).await?;
        // The source does not have what the route adds.
        let condition = condition(&table.info, key, row, &|index| !table.is_extended(index));
        if let Some(condition) = &condition {
            for shard in answer.shards.iter().take(SHARDS_MAX) {
                let sql = format!("SELECT 1 FROM {shard} WHERE {condition} LIMIT 1");
                // A shard may lack one of the columns: it then cannot be the one.
                if conn.query(sql).await.is_ok_and(|rows| !rows.is_empty()) {
                    answer.owner = Some(shard.clone());
                    break;
                }
                if conn.is_closed() {
                    conn = Connection::connect(&self.source, &options).await?;
                }
            }
            let own: Vec<usize> =
                compared(table, row).into_iter().filter(|index| !table.is_extended(*index)).collect();
            let list = select_list(table, &own);
            let sql = format!("SELECT {list} FROM {} WHERE {condition} LIMIT 1", table.source);
            if let Ok(rows) = conn.query(sql).await
                && let Some(now) = rows.first()
            {
                let same_route = table
                    .info
                    .columns
                    .iter()
                    .skip(table.source_columns().len())
                    .all(|column| !found.differing.contains(&column.name));
                answer.same_row = same_route
                    && (0..now.len()).all(|place| {
                        now.bytes(place) == found.values.get(place).and_then(|value| value.as_deref())
                    });
            }
        }
        conn.close().await;
        Ok(answer)
    }

    /// The source's tables, besides this one, that go to the same target table.
    async fn shards(
        &self,
        conn: &mut Connection,
        table: &Table,
        key: &KeyInfo,
    ) -> Result<Vec<TableName>, SqlError> {
        let Ok(scope) = Scope::new(&self.subtask) else { return Ok(Vec::new()) };
        let rows = conn
            .query("SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'")
            .await?;
        Ok(rows
            .iter()
            .filter_map(|row| Some(TableName::new(row.string(0)?, row.string(1)?)))
            .filter(|name| *name != table.source && scope.has_table(name).unwrap_or(false))
            .filter(|name| scope.router().route(name).is_ok_and(|target| target == *table.target()))
            .filter(|name| !keeps_apart(&scope, table, key, name))
            .collect())
    }
}

/// Whether the columns that routes add make the key of another source table's rows another one.
fn keeps_apart(scope: &Scope, table: &Table, key: &KeyInfo, other: &TableName) -> bool {
    let (Ok(ours), Ok(theirs)) = (scope.extended(&table.source), scope.extended(other)) else { return false };
    let in_key = |name: &str| {
        key.columns.iter().any(|part| {
            let column = part.column.and_then(|index| table.info.columns.get(index));
            column.is_some_and(|column| column.name.to_lowercase() == name.to_lowercase())
        })
    };
    ours.iter().any(|own| in_key(&own.column) && !theirs.contains(own))
}

/// Weighs what was found.
fn judge(
    table: &Table,
    key: &KeyInfo,
    found: &InTheWay,
    source: &AtSource,
    copied: bool,
    others: &[String],
) -> (u32, String) {
    if let Some(owner) = &source.owner {
        return (
            codes::DUPLICATE_SHARDS,
            format!("the source tables {} and {owner} are merged into it and share the key", table.source),
        );
    }
    if let Some(info) = &source.info {
        if let Some(why) = wider(table, key, info, found) {
            return (codes::DUPLICATE_COLLATION, why);
        }
        // Among merged tables nobody at the source guarantees the key.
        if source.shards.is_empty() && !has_key(&table.info, key, info) {
            return (
                codes::DUPLICATE_KEY_DIFFERS,
                format!(
                    "{} has no unique key over these columns, so it may hold several such rows",
                    table.source
                ),
            );
        }
    }
    let identical = found.differing.is_empty();
    if !copied && (identical || source.same_row) {
        let what = if identical {
            "the row in the way equals the event in every column that was compared"
        } else {
            "the row in the way is already as the source has it now"
        };
        return (
            codes::DUPLICATE_REPLAY,
            format!(
                "{what}: the change was applied before this task began, which started at an earlier position"
            ),
        );
    }
    let mut text = if identical {
        "the row in the way equals the event; this task copied the table itself and applies every change once, so something else \
         writes the same changes (another replication?)"
            .to_owned()
    } else {
        format!("another writer put the row in the way there; it differs in {}", found.differing.join(", "))
    };
    if !source.shards.is_empty() {
        text.push_str(&format!(
            "; {} further source tables are merged into it, none has the key now",
            source.shards.len()
        ));
    }
    if !others.is_empty() {
        // What they are routed to is not known here.
        text.push_str(&format!(
            "; the row may also come from another source of this task ({}): then two shards share the key",
            others.join(", ")
        ));
    }
    (codes::DUPLICATE_FOREIGN_WRITER, text)
}

/// How the target's key takes for equal what the source's keeps apart.
fn wider(table: &Table, key: &KeyInfo, source: &TableInfo, found: &InTheWay) -> Option<String> {
    for part in &key.columns {
        let column = table.info.columns.get(part.column?)?;
        let (index, from) = source.column(&column.name)?;
        if !found.key_differing.contains(&column.name) {
            continue;
        }
        if from.collation != column.collation {
            return Some(format!(
                "column {} compares by {} at the source and by {} in the target, which takes more values for equal (case, accents or blanks at the end)",
                quote_ident(&column.name),
                from.collation.as_deref().unwrap_or("bytes"),
                column.collation.as_deref().unwrap_or("bytes"),
            ));
        }
        // The longest part of the column that a unique key of the source looks at.
        let from_prefix = source
            .keys
            .iter()
            .filter(|key| key.unique)
            .flat_map(|key| &key.columns)
            .filter(|part| part.column == Some(index))
            .map(|part| part.prefix_len.unwrap_or(u32::MAX))
            .max();
        if let (Some(len), Some(from_prefix)) = (part.prefix_len, from_prefix)
            && len < from_prefix
        {
            let at_source = if from_prefix == u32::MAX {
                "all of it".to_owned()
            } else {
                format!("the first {from_prefix}")
            };
            return Some(format!(
                "the key looks at the first {len} characters of column {} in the target and at {at_source} at the source",
                quote_ident(&column.name),
            ));
        }
    }
    None
}

/// Whether the source has a unique key that is at least as narrow.
fn has_key(target: &TableInfo, key: &KeyInfo, source: &TableInfo) -> bool {
    let wanted: Option<Vec<(usize, Option<u32>)>> = key
        .columns
        .iter()
        .map(|part| Some((source.column(&target.columns.get(part.column?)?.name)?.0, part.prefix_len)))
        .collect();
    let Some(wanted) = wanted else { return true };
    source.keys.iter().filter(|key| key.unique).any(|key| {
        key.columns.iter().all(|part| {
            wanted.iter().any(|(column, prefix)| {
                part.column == Some(*column)
                    && part.prefix_len.unwrap_or(u32::MAX) <= prefix.unwrap_or(u32::MAX)
            })
        })
    })
}

fn object(table: &Table) -> String {
    format!("{} (source {})", table.target(), table.source)
}

/// The key that a server's message names: `… for key 'name'`, since MySQL 8.0.19 `'table.name'`.
fn key_of<'a>(info: &'a TableInfo, message: &str) -> Option<&'a KeyInfo> {
    let (_, rest) = message.rsplit_once(" for key ")?;
    let named = rest.trim().trim_matches('\'');
    let of = |name: &str| info.keys.iter().find(|key| key.unique && key.name.eq_ignore_ascii_case(name));
    of(named).or_else(|| of(named.strip_prefix(&info.name.table)?.strip_prefix('.')?)).or_else(|| {
        // A table's name may be spelt in another case.
        of(named.split_once('.')?.1)
    })
}

/// The condition that finds the row in the way, by the rules of the key.
/// Only parts that `wanted` names.
fn condition(info: &TableInfo, key: &KeyInfo, row: &Row, wanted: &dyn Fn(usize) -> bool) -> Option<String> {
    let mut out = Vec::new();
    for part in &key.columns {
        let index = part.column?;
        if !wanted(index) {
            continue;
        }
        let column = info.columns.get(index)?;
        let value = row.values.get(index).filter(|value| !matches!(value, Value::Absent | Value::Null))?;
        if !out.is_empty() {
            out.extend_from_slice(b" AND ");
        }
        let ident = quote_ident(&column.name);
        match part.prefix_len {
            Some(len) => {
                out.extend_from_slice(format!("LEFT({ident}, {len}) = LEFT(").as_bytes());
                write_literal(value, column, &mut out);
                out.extend_from_slice(format!(", {len})").as_bytes());
            }
            None => {
                out.extend_from_slice(format!("{ident} = ").as_bytes());
                write_literal(value, column, &mut out);
            }
        }
    }
    String::from_utf8(out).ok().filter(|text| !text.is_empty())
}

/// Columns that are compared: those that can be written, with short values.
fn compared(table: &Table, row: &Row) -> Vec<usize> {
    let long = |index: usize| row.values.get(index).is_none_or(|value| value.memory() > COMPARED_BYTES);
    table.writable.iter().copied().filter(|index| !long(*index)).collect()
}

/// Their values in a form that both servers write alike.
fn select_list(table: &Table, columns: &[usize]) -> String {
    let list: Vec<String> = columns
        .iter()
        .map(|index| {
            let column = table.column(*index);
            let name = quote_ident(&column.name);
            match column.data_type {
                ColumnType::Float => format!("{name} * 1e0"),
                _ if column.data_type.is_text() => format!("LEFT({name}, 4096)"),
                ColumnType::Bit(_) | ColumnType::Enum(_) | ColumnType::Set(_) => format!("{name} + 0"),
                _ => format!("HEX(LEFT({name}, 4096))"),
            }
        })
        .collect();
    list.join(", ")
}
