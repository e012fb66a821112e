//! The tables of the task: which there are, and whether the target can hold them.

use std::collections::BTreeSet;

use dmnode_model::{CodedError, Scope, TableName, codes};
use dmnode_mysql::SqlError;
use dmnode_schema::{SqlMode, translate};

use super::connect::{failed, limited};
use super::{Item, Source, Target};

/// A task without tables, and patterns that match nothing: rarely what was meant.
pub(super) async fn scope(sources: &[Source<'_>]) -> Option<Item> {
    let mut item =
        Item::new("table scope check", "check whether the patterns of the task match tables of its sources");
    for source in sources {
        let id = &source.config.source_id;
        if source.inventory.tables.is_empty() {
            let grants = "correct the patterns, or grant the account SELECT: a server shows an account only the tables on \
                          which it has a privilege";
            item = if source.subtask.mode.has_full_copy() && source.inventory.schemas.is_empty() {
                item.fail(
                    CodedError::new(
                        codes::CHECK_PRIVILEGE,
                        format!(
                            "source {id}: no table and no database is in scope that {} can see",
                            source.account
                        ),
                    )
                    .scope(Scope::Upstream)
                    .remedy(grants),
                )
            } else {
                item.warn(
                    format!("source {id}: no table is in scope that {} can see", source.account),
                    grants,
                )
            };
        }
        for pattern in &source.inventory.unmatched {
            item = item.warn(
                format!("source {id}: {pattern} matches nothing"),
                "correct the pattern; `*` is any run of characters, `[0-9]` one character, `~` starts a regular expression",
            );
        }
    }
    Some(item)
}

/// Definitions that the target's flavour cannot hold.
pub(super) async fn structure(sources: &mut [Source<'_>], target: &mut Target) -> Option<Item> {
    let mut item = Item::new("table structure compatibility check", "check compatibility of table structure");
    let existing = match existing_tables(target).await {
        Ok(existing) => existing,
        Err(err) => return Some(item.fail(failed(&err, Scope::Downstream))),
    };
    let (major, minor, patch) = target.info.version;
    let version = (u32::from(major), u32::from(minor), u32::from(patch));
    for source in sources.iter_mut() {
        let from = source.info.flavor;
        if !source.subtask.mode.has_full_copy() || from == target.info.flavor {
            continue;
        }
        for table in source.inventory.tables.iter().filter(|t| !existing.contains(&t.to)) {
            let sql = format!("SHOW CREATE TABLE {}", table.from);
            let row = match limited(source.connection.query_one(sql)).await {
                Ok(row) => row,
                Err(err) if err.is_connection_lost() => {
                    return Some(item.fail(failed(&err, Scope::Upstream)));
                }
                // Dropped meanwhile, or not to be read: told elsewhere.
                Err(_) => continue,
            };
            let Some(definition) = row.and_then(|row| row.string(1)) else { continue };
            if let Err(mut err) =
                translate(&definition, SqlMode::default(), from, target.info.flavor, version)
            {
                err.statement = None;
                item = item.fail(err.object(&table.from));
            }
        }
    }
    Some(item)
}

async fn existing_tables(target: &mut Target) -> Result<BTreeSet<TableName>, SqlError> {
    let rows =
        limited(target.connection.query("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES"))
            .await?;
    Ok(rows.iter().filter_map(|row| Some(TableName::new(row.string(0)?, row.string(1)?))).collect())
}
