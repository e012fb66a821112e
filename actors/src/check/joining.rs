//! May these tables join a task that has begun? Asked before anything is recorded.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::{CodedError, Scope, SourceId, TableName, codes};

use super::connect::{self, failed, limited};
use super::open_source;

/// What the names of meta tables need beside the task's: the longest suffix, and that of a copy beside the task.
const NAME_ROOM: usize = 32;
/// Longest name of a table.
const NAME_MAX: usize = 64;

/// The source's base tables that are in the subtask's scope.
pub async fn tables_in_scope(
    source: &SourceConfig,
    subtask: &SubtaskConfig,
) -> Result<BTreeSet<TableName>, CodedError> {
    let opened = open_source(source, subtask).await?;
    let tables = opened.inventory.tables.iter().map(|table| table.from.clone()).collect();
    opened.connection.close().await;
    Ok(tables)
}

/// Refuses tables whose rows could not be told from those of others. `plan` is the task with the tables in its scope;
/// `new` says of each source which they are, and `emptied` that their target tables are emptied first.
pub async fn may_join(
    plan: &[(SourceConfig, SubtaskConfig)],
    new: &BTreeMap<SourceId, BTreeSet<TableName>>,
    emptied: bool,
) -> Result<(), CodedError> {
    let refuse = |message: String| CodedError::new(codes::TABLES_REFUSED, message);
    let Some((_, first)) = plan.first() else { return Ok(()) };
    if first.task.as_str().len() + NAME_ROOM > NAME_MAX {
        return Err(refuse(format!(
            "the task's name is longer than {} characters: the tables with the progress of the copy could not be named after it",
            NAME_MAX - NAME_ROOM
        ))
        .object(&first.task));
    }
    let mut by_target: BTreeMap<TableName, Vec<String>> = BTreeMap::new();
    let mut targets = Vec::new();
    for (source, subtask) in plan {
        let none = BTreeSet::new();
        let new = new.get(&source.source_id).unwrap_or(&none);
        let mut opened = open_source(source, subtask).await?;
        let mappings = opened.inventory.mappings(&source.source_id);
        let in_scope: BTreeSet<&TableName> = mappings.iter().map(|mapping| &mapping.from).collect();
        if let Some(missing) = new.iter().find(|table| !in_scope.contains(table)) {
            return Err(refuse("the source has no such base table that can be migrated".to_owned())
                .object(format!("{missing} (source {})", source.source_id)));
        }
        for mapping in &mappings {
            by_target
                .entry(mapping.to.clone())
                .or_default()
                .push(format!("{} (source {})", mapping.from, source.source_id));
            if new.contains(&mapping.from) {
                targets.push(mapping.to.clone());
            }
        }
        if !new.is_empty() {
            for (child, parent) in foreign_keys(&mut opened.connection).await? {
                let tied = in_scope.contains(&child) && in_scope.contains(&parent);
                if tied && new.contains(&child) != new.contains(&parent) {
                    return Err(refuse(format!(
                        "a foreign key of {child} refers to {parent}: tables that foreign keys connect must be copied at one time"
                    ))
                    .object(&source.source_id)
                    .remedy("name all the tables that foreign keys connect in one resync-table, or copy the task again"));
                }
            }
        }
        opened.connection.close().await;
    }
    for target in &targets {
        if let Some(sources) = by_target.get(target).filter(|sources| sources.len() > 1) {
            return Err(refuse(format!(
                "several source tables go into one target table, whose rows cannot be told apart: {}",
                sources.join(", ")
            ))
            .object(target)
            .remedy("copy the task again: stop-task, empty the target tables, start-task --remove-meta"));
        }
    }
    if !emptied {
        must_be_empty(first, &targets).await?;
    }
    Ok(())
}

async fn must_be_empty(subtask: &SubtaskConfig, targets: &[TableName]) -> Result<(), CodedError> {
    let mut conn = connect::open(&subtask.target, Scope::Downstream).await?;
    for target in targets {
        match limited(conn.query(format!("SELECT 1 FROM {target} LIMIT 1"))).await {
            Ok(rows) if rows.is_empty() => {}
            Ok(_) => {
                return Err(CodedError::new(codes::TABLES_REFUSED, "the target table has rows already")
                    .object(target)
                    .remedy("empty or drop it in the target if its rows may go, then repeat the command"));
            }
            Err(error) if matches!(error.code(), Some(1146 | 1049)) => {}
            Err(error) => return Err(failed(&error, Scope::Downstream).object(target)),
        }
    }
    conn.close().await;
    Ok(())
}

/// Child and parent of every foreign key between different tables.
async fn foreign_keys(
    conn: &mut dmnode_mysql::Connection,
) -> Result<Vec<(TableName, TableName)>, CodedError> {
    let sql = "SELECT DISTINCT CONSTRAINT_SCHEMA, TABLE_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME \
               FROM information_schema.REFERENTIAL_CONSTRAINTS";
    let rows = limited(conn.query(sql)).await.map_err(|error| failed(&error, Scope::Upstream))?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let child = TableName::new(row.string(0)?, row.string(1)?);
            let parent = TableName::new(row.string(2)?, row.string(3)?);
            (child != parent).then_some((child, parent))
        })
        .collect())
}
