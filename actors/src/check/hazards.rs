//! What endangers rows although every statement is allowed: triggers in the target, packets that are too small.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::{Scope, TableName, quote_ident};
use dmnode_mysql::{Connection, SqlError};

use super::connect::{failed, limited};
use super::{Item, Source, Target};
use crate::progress::text_literal;

/// Tables whose largest row is looked for.
const SEARCHED_TABLES_MAX: usize = 5;
/// Larger tables are not searched.
const SEARCHED_BYTES_MAX: u64 = 1 << 30;
/// The server ends a search after this time.
const SEARCH_SECONDS: u64 = 5;

/// Triggers of target tables fire for every row that is applied: what the source's triggers did has come as rows already.
pub(super) async fn triggers(sources: &[Source<'_>], target: &mut Target) -> Option<Item> {
    let mut item = Item::new(
        "target triggers check",
        "check whether triggers of target tables would change rows a second time",
    )
    .at(&target.address);
    let tables: BTreeSet<String> =
        sources.iter().flat_map(|source| &source.inventory.tables).map(|table| table.to.quoted()).collect();
    let sql = "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, TRIGGER_NAME, EVENT_MANIPULATION FROM information_schema.TRIGGERS";
    let rows = match limited(target.connection.query(sql)).await {
        Ok(rows) => rows,
        Err(err) => return Some(item.fail(failed(&err, Scope::Downstream))),
    };
    for row in rows {
        let (Some(schema), Some(table), Some(name), Some(event)) =
            (row.string(0), row.string(1), row.string(2), row.string(3))
        else {
            continue;
        };
        let table = TableName::new(schema.as_str(), table);
        if tables.contains(&table.quoted()) {
            let trigger = format!("{}.{}", quote_ident(&schema), quote_ident(&name));
            item = item.warn(
                format!(
                    "table {table} in the target has the trigger {trigger} ({event}): it fires for every row that is applied, \
                     and what it writes is written a second time if the source has it too"
                ),
                &format!("DROP TRIGGER {trigger}; in the target, and create it anew when the migration has ended"),
            );
        }
    }
    Some(item)
}

/// A row above the target's max_allowed_packet cannot be applied.
pub(super) async fn packets(sources: &mut [Source<'_>], target: &Target) -> Option<Item> {
    let mut item = Item::new(
        "packet size check",
        "check whether the target takes packets as large as the source's rows",
    )
    .at(&target.address);
    let limit = target.info.max_allowed_packet;
    for source in sources.iter_mut() {
        let theirs = source.info.max_allowed_packet;
        if theirs <= limit {
            continue;
        }
        let wide = match wide_tables(source).await {
            Ok(wide) => wide,
            Err(err) => return Some(item.fail(failed(&err, Scope::Upstream))),
        };
        let Some((first, _)) = wide.first_key_value() else { continue };
        let id = &source.config.source_id;
        let more = if wide.len() > 1 { format!(" and {} more", wide.len() - 1) } else { String::new() };
        let raise =
            format!("SET GLOBAL max_allowed_packet = {theirs}; in the target, and in its configuration");
        item = item.warn(
            format!(
                "max_allowed_packet is {theirs} at source {id} and {limit} in the target: a row that is larger cannot be applied \
                 ({first}{more} could have one)"
            ),
            &raise,
        );
        for (table, columns) in wide.iter().take(SEARCHED_TABLES_MAX) {
            if let Ok(Some(bytes)) =
                largest_row(&mut source.connection, table, columns, source.info.is_mariadb()).await
                && bytes >= limit
            {
                item = item.warn(
                    format!("table {table} at source {id} has a row of about {bytes} bytes, the target takes {limit}"),
                    &raise,
                );
            }
        }
    }
    Some(item)
}

/// Tables in scope with columns of any length, and these.
async fn wide_tables(source: &mut Source<'_>) -> Result<BTreeMap<TableName, Vec<String>>, SqlError> {
    let schemas: Vec<String> = source.inventory.schemas.iter().map(|schema| text_literal(schema)).collect();
    if schemas.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN ({}) \
         AND DATA_TYPE IN ('mediumtext', 'mediumblob', 'longtext', 'longblob', 'json')",
        schemas.join(", ")
    );
    let mut wide: BTreeMap<TableName, Vec<String>> = BTreeMap::new();
    for row in limited(source.connection.query(sql)).await? {
        if let (Some(schema), Some(table), Some(column)) = (row.string(0), row.string(1), row.string(2)) {
            wide.entry(TableName::new(schema, table)).or_default().push(column);
        }
    }
    let known: BTreeSet<&TableName> = source.inventory.tables.iter().map(|table| &table.from).collect();
    wide.retain(|table, _| known.contains(table));
    Ok(wide)
}

/// The size of the largest row, as far as its long columns go; `None` where the table is too large to be searched.
async fn largest_row(
    connection: &mut Connection,
    table: &TableName,
    columns: &[String],
    mariadb: bool,
) -> Result<Option<u64>, SqlError> {
    let sql = format!(
        "SELECT DATA_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        text_literal(&table.schema),
        text_literal(&table.table)
    );
    let bytes = limited(connection.query_one(sql)).await?.and_then(|row| row.u64(0));
    if bytes.is_none_or(|bytes| bytes > SEARCHED_BYTES_MAX) {
        return Ok(None);
    }
    let lengths: Vec<String> =
        columns.iter().map(|column| format!("COALESCE(LENGTH({}), 0)", quote_ident(column))).collect();
    let (before, hint) = if mariadb {
        (format!("SET STATEMENT max_statement_time = {SEARCH_SECONDS} FOR "), String::new())
    } else {
        (String::new(), format!("/*+ MAX_EXECUTION_TIME({}) */ ", SEARCH_SECONDS * 1000))
    };
    let sql = format!("{before}SELECT {hint}MAX({}) FROM {table}", lengths.join(" + "));
    Ok(limited(connection.query_one(sql)).await?.and_then(|row| row.u64(0)))
}
