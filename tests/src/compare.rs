//! Compares the rows of two tables, column by column, independent of the product: all rows of both sides are read by an
//! ordinary client, put into one canonical text form, sorted and compared. For tables that fit into memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use crate::server::Server;
use crate::wait::wait_until;

/// Differences shown per table.
const SHOWN_MAX: usize = 6;

/// A column as one side has it.
struct Column {
    name: String,
    data_type: String,
}

/// Compares all tables of `source_schema` with the tables of the same name in `target_schema`; the answer lists what
/// differs and is empty when all is equal. Fails when there is no table to compare.
pub async fn schemas(
    source: &Server,
    source_schema: &str,
    target: &Server,
    target_schema: &str,
) -> Result<Vec<String>> {
    let source_tables = source.tables(source_schema).await?;
    let target_tables = target.tables(target_schema).await?;
    if source_tables.is_empty() {
        bail!("no tables in {source_schema}: nothing would be compared");
    }
    let mut differences = Vec::new();
    if source_tables != target_tables {
        differences.push(format!("tables: {source_tables:?} in the source, {target_tables:?} in the target"));
    }
    for table in source_tables.iter().filter(|table| target_tables.contains(table)) {
        differences.extend(tables(source, (source_schema, table), target, (target_schema, table)).await?);
    }
    Ok(differences)
}

/// Compares one table with another.
pub async fn tables(
    source: &Server,
    (source_schema, source_table): (&str, &str),
    target: &Server,
    (target_schema, target_table): (&str, &str),
) -> Result<Vec<String>> {
    let source_columns = columns(source, source_schema, source_table).await?;
    let target_columns = columns(target, target_schema, target_table).await?;
    let names = |columns: &[Column]| columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    if names(&source_columns) != names(&target_columns) {
        return Ok(vec![format!(
            "{source_table}: columns {:?} against {:?}",
            names(&source_columns),
            names(&target_columns)
        )]);
    }
    // JSON is a type of its own on one side only when the other side is MariaDB.
    let is_json: Vec<bool> = source_columns
        .iter()
        .zip(&target_columns)
        .map(|(a, b)| a.data_type == "json" || b.data_type == "json")
        .collect();
    let source_rows = rows(source, source_schema, source_table, &source_columns, &is_json).await?;
    let target_rows = rows(target, target_schema, target_table, &target_columns, &is_json).await?;
    let mut balance: BTreeMap<&str, i64> = BTreeMap::new();
    for row in &source_rows {
        *balance.entry(row).or_default() += 1;
    }
    for row in &target_rows {
        *balance.entry(row).or_default() -= 1;
    }
    balance.retain(|_, count| *count != 0);
    if balance.is_empty() {
        return Ok(Vec::new());
    }
    let mut text = format!(
        "{source_table}: {} rows in the source, {} in the target, {} differ:",
        source_rows.len(),
        target_rows.len(),
        balance.len()
    );
    for (row, count) in balance.into_iter().take(SHOWN_MAX) {
        let side = if count > 0 { "source" } else { "target" };
        let _ = write!(text, "\n  {} times more in the {side}: {row}", count.abs());
    }
    Ok(vec![text])
}

/// Waits until the schemas are equal; the last differences are shown when they never are.
pub async fn wait_equal(
    source: &Server,
    source_schema: &str,
    target: &Server,
    target_schema: &str,
    limit: Duration,
) -> Result<()> {
    wait_until(&format!("{target_schema} equals {source_schema}"), limit, async || {
        let differences = schemas(source, source_schema, target, target_schema).await?;
        if !differences.is_empty() {
            // A comparison reads everything; do not ask the servers without pause.
            tokio::time::sleep(Duration::from_millis(500)).await;
            return Ok(Err(differences.join("\n")));
        }
        Ok(Ok(()))
    })
    .await
}

async fn columns(server: &Server, schema: &str, table: &str) -> Result<Vec<Column>> {
    let rows: Vec<(String, String)> = server
        .query(&format!(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = '{schema}' \
             AND table_name = '{table}' ORDER BY ordinal_position"
        ))
        .await?;
    Ok(rows
        .into_iter()
        .map(|(name, data_type)| Column { name, data_type: data_type.to_lowercase() })
        .collect())
}

async fn rows(
    server: &Server,
    schema: &str,
    table: &str,
    columns: &[Column],
    is_json: &[bool],
) -> Result<Vec<String>> {
    let selected: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = format!("`{}`", column.name.replace('`', "``"));
            match column.data_type.as_str() {
                // Six digits are shown otherwise.
                "float" => format!("{name} + 0e0"),
                "bit" => format!("HEX({name} + 0)"),
                "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry"
                | "point" => {
                    format!("HEX({name})")
                }
                _ => name,
            }
        })
        .collect();
    let sql = format!("SELECT {} FROM `{schema}`.`{}`", selected.join(", "), table.replace('`', "``"));
    let mut connection = server.root().await?;
    let mut result = connection.query_iter(sql).await?;
    let mut lines = Vec::new();
    while let Some(row) = result.next().await? {
        lines.push(line(row, columns, is_json));
    }
    drop(result);
    connection.disconnect().await?;
    Ok(lines)
}

fn line(row: Row, columns: &[Column], is_json: &[bool]) -> String {
    let mut line = String::new();
    for ((value, column), is_json) in row.unwrap_raw().into_iter().zip(columns).zip(is_json) {
        let text = match value {
            None | Some(Value::NULL) => None,
            Some(Value::Bytes(bytes)) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Some(other) => Some(format!("{other:?}")),
        };
        let text = text.map(|text| match column.data_type.as_str() {
            _ if *is_json => canonical_json(&text),
            "float" | "double" => canonical_double(&text),
            _ => text,
        });
        let _ = match text {
            Some(text) => write!(line, "{}={text:?} ", column.name),
            None => write!(line, "{}=NULL ", column.name),
        };
    }
    line
}

fn canonical_double(text: &str) -> String {
    text.parse::<f64>().map_or_else(|_| text.to_owned(), |value| format!("{value:e}"))
}

fn canonical_json(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text)
        .map_or_else(|_| text.to_owned(), |value| sorted_json(&value))
}

fn sorted_json(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(members) => {
            let sorted: BTreeMap<&String, String> =
                members.iter().map(|(key, value)| (key, sorted_json(value))).collect();
            let members: Vec<String> = sorted.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
            format!("{{{}}}", members.join(","))
        }
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(sorted_json).collect::<Vec<_>>().join(","))
        }
        serde_json::Value::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |value| format!("{value:e}"))
        }
        other => other.to_string(),
    }
}
