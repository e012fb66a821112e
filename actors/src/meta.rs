//! The task's meta tables in the target.

use std::collections::BTreeSet;

use dmnode_model::TableName;
use dmnode_model::codes;
use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::ids::quote_ident;
use dmnode_mysql::{Connection, SessionOptions, SqlError};

use crate::check::mapped_tables;
use crate::progress::meta::BEFORE_SUFFIX;
use crate::progress::{table_name, text_literal};
use crate::target::target_error;

/// Suffixes of the tables of dmnode and of DM.
const SUFFIXES: [&str; 19] = [
    "dmnode_progress",
    "dmnode_chunk",
    "dmnode_file",
    "dmnode_ddl",
    "dmnode_conflict",
    "dmnode_meta",
    "dmnode_safe_mode",
    "dmnode_schema",
    "dmnode_before",
    "dmnode_before_new",
    "syncer_checkpoint",
    "loader_checkpoint",
    "lightning_checkpoint_list",
    "onlineddl",
    "syncer_sharding_meta",
    "validator_checkpoint",
    "validator_pending_change",
    "validator_error_change",
    "validator_table_status",
];

/// Between a task's name and the number of an operation in the name of the task that copies tables beside it.
pub(crate) const SIDE: &str = "_dmj";

/// Removes everything dmnode and DM keep in the target for this subtask's task (`start-task --remove-meta`).
pub async fn remove_meta(subtask: &SubtaskConfig) -> Result<(), CodedError> {
    let mut conn = Connection::connect(&subtask.target, &SessionOptions::default())
        .await
        .map_err(|error| target_error(&error))?;
    let mut tables: Vec<String> =
        SUFFIXES.iter().map(|suffix| table_name(&subtask.meta_schema, &subtask.task, suffix)).collect();
    for name in crate::sync::marker_names(&subtask.task, &subtask.source_id) {
        tables.push(format!("{}.{}", quote_ident(&subtask.meta_schema), quote_ident(&name)));
    }
    tables.extend(side_tables(&mut conn, subtask).await.map_err(|error| target_error(&error))?);
    let statements = [
        format!("DROP TABLE IF EXISTS {}", tables.join(", ")),
        format!(
            "DROP DATABASE IF EXISTS {}",
            quote_ident(&format!("{}_{}", subtask.meta_schema, subtask.task))
        ),
    ];
    for sql in statements {
        if let Err(error) = conn.execute(&sql).await {
            // Without the meta schema there is nothing to remove; servers differ in how they say so.
            if error.code() == Some(1049) {
                continue;
            }
            return Err(target_error(&error).object(quote_ident(&subtask.meta_schema)).statement(sql));
        }
    }
    conn.close().await;
    Ok(())
}

/// What copies of single tables beside the task have left. Their names go on with a number.
async fn side_tables(conn: &mut Connection, subtask: &SubtaskConfig) -> Result<Vec<String>, SqlError> {
    let own = format!("{}{SIDE}", subtask.task);
    let rows = conn
        .query(format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = {}",
            text_literal(&subtask.meta_schema)
        ))
        .await?;
    let is_side = |name: &String| {
        let rest = name.strip_prefix(&own).map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        rest.is_some_and(|rest| SUFFIXES.iter().any(|suffix| rest.strip_prefix('_') == Some(suffix)))
    };
    Ok(rows
        .iter()
        .filter_map(|row| row.string(0))
        .filter(is_side)
        .map(|name| format!("{}.{}", quote_ident(&subtask.meta_schema), quote_ident(&name)))
        .collect())
}

/// What the task has created in the target and is still there: tables that its sources' tables go to, and their databases,
/// as far as they were not there before the task's first start. Quoted names, tables before databases.
pub async fn created_objects(plan: &[(SourceConfig, SubtaskConfig)]) -> Result<Vec<String>, CodedError> {
    let Some((_, first)) = plan.first() else { return Ok(Vec::new()) };
    let mut conn = connect(first).await?;
    let before = before(&mut conn, first).await?;
    let mut candidates = BTreeSet::new();
    for (source, subtask) in plan {
        candidates.extend(mapped_tables(source, subtask).await?);
    }
    let chunks = table_name(&first.meta_schema, &first.task, "dmnode_chunk");
    match conn.query(format!("SELECT DISTINCT target_schema, target_table FROM {chunks}")).await {
        Ok(rows) => candidates
            .extend(rows.iter().filter_map(|row| Some(TableName::new(row.string(0)?, row.string(1)?)))),
        Err(error) if error.code() == Some(1146) => {}
        Err(error) => return Err(target_error(&error)),
    }
    let tables = names(
        &mut conn,
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'",
    )
    .await
    .map_err(|error| target_error(&error))?;
    let schemas = names(&mut conn, "SELECT schema_name, '' FROM information_schema.schemata")
        .await
        .map_err(|error| target_error(&error))?;
    conn.close().await;
    let own = |name: &TableName| name.schema == first.meta_schema;
    let mut objects: Vec<String> = candidates
        .iter()
        .filter(|name| tables.contains(name) && !before.contains(name) && !own(name))
        .map(ToString::to_string)
        .collect();
    let databases: BTreeSet<TableName> =
        candidates.iter().map(|name| TableName::new(name.schema.clone(), "")).collect();
    objects.extend(
        databases
            .iter()
            .filter(|name| schemas.contains(name) && !before.contains(name) && !own(name))
            .map(|name| quote_ident(&name.schema)),
    );
    Ok(objects)
}

/// Drops what was confirmed and is still what the task has created. A database that has anything else in it stays. Says
/// what was done.
pub async fn drop_created(
    plan: &[(SourceConfig, SubtaskConfig)],
    confirmed: &[String],
) -> Result<String, CodedError> {
    let Some((_, first)) = plan.first() else { return Ok(String::new()) };
    let objects = created_objects(plan).await?;
    let mut conn = connect(first).await?;
    let failed = |error: &SqlError, object: &str| {
        CodedError::new(codes::CLEAN_TARGET, "an object that the task has created cannot be dropped")
            .object(object)
            .cause(error)
    };
    let (mut dropped, mut kept) = (Vec::new(), Vec::new());
    conn.execute("SET SESSION foreign_key_checks = 0").await.map_err(|error| target_error(&error))?;
    for object in objects.iter().filter(|object| confirmed.contains(object)) {
        // Quoted names: a table has two parts.
        let is_table = object.contains("`.`");
        if is_table {
            conn.execute(format!("DROP TABLE IF EXISTS {object}"))
                .await
                .map_err(|error| failed(&error, object))?;
        } else if is_empty(&mut conn, object).await.map_err(|error| target_error(&error))? {
            conn.execute(format!("DROP DATABASE IF EXISTS {object}"))
                .await
                .map_err(|error| failed(&error, object))?;
        } else {
            kept.push(object.as_str());
            continue;
        }
        tracing::info!(task = %first.task, object = object.as_str(), "dropped in the target, as was confirmed");
        dropped.push(object.as_str());
    }
    conn.close().await;
    let mut text = format!(
        "dropped in the target: {}",
        if dropped.is_empty() { "nothing".to_owned() } else { dropped.join(", ") }
    );
    if !kept.is_empty() {
        text.push_str(&format!("; kept, because there is something else in them: {}", kept.join(", ")));
    }
    Ok(text)
}

/// Whether nothing is left in a database.
async fn is_empty(conn: &mut Connection, quoted: &str) -> Result<bool, SqlError> {
    let name = quoted.trim_matches('`').replace("``", "`");
    let name = crate::progress::text_literal(&name);
    let row = conn
        .query_one(format!(
            "SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {name}) \
             + (SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = {name}) \
             + (SELECT COUNT(*) FROM information_schema.events WHERE event_schema = {name})"
        ))
        .await?;
    Ok(row.and_then(|row| row.u64(0)) == Some(0))
}

async fn connect(subtask: &SubtaskConfig) -> Result<Connection, CodedError> {
    Connection::connect(&subtask.target, &SessionOptions::default())
        .await
        .map_err(|error| target_error(&error))
}

async fn names(conn: &mut Connection, sql: &str) -> Result<BTreeSet<TableName>, SqlError> {
    let rows = conn.query(sql).await?;
    Ok(rows.iter().filter_map(|row| Some(TableName::new(row.string(0)?, row.string(1)?))).collect())
}

/// What was there before the task's first start.
async fn before(conn: &mut Connection, subtask: &SubtaskConfig) -> Result<BTreeSet<TableName>, CodedError> {
    let table = table_name(&subtask.meta_schema, &subtask.task, BEFORE_SUFFIX);
    match names(conn, &format!("SELECT schema_name, table_name FROM {table}")).await {
        Ok(names) => Ok(names),
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => Err(CodedError::new(
            codes::CLEAN_TARGET,
            "it is not known what was in the target before the task: the task has not run, or its metadata was removed",
        )
        .object(table)),
        Err(error) => Err(target_error(&error).object(table)),
    }
}
