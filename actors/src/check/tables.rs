//! The tables of the task: which there are, and whether the target can hold them.

use dmnode_model::{CodedError, Scope, TableName, codes, regular_expression};
use dmnode_mysql::TableInfo;
use dmnode_schema::BlockAllowList;

use super::connect::{failed, limited};
use super::{Item, Source};
use crate::sync::row_filter::check as check_expressions;

/// A task without tables, and patterns that match nothing: rarely what was meant.
pub(super) async fn scope(sources: &[Source<'_>]) -> Option<Item> {
    let mut item =
        Item::new("table scope check", "check whether the patterns of the task match tables of its sources");
    for source in sources {
        let id = &source.config.source_id;
        if source.inventory.tables.is_empty() {
            let grants = "correct the patterns, or grant the account SELECT: a server shows an account only the tables on \
                          which it has a privilege";
            item = if source.subtask.mode.reads_tables() && source.inventory.schemas.is_empty() {
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
        for pattern in &source.inventory.misread {
            item = item.warn(
                format!("source {id}: {pattern}"),
                "write `*` for any run of characters, or a regular expression: `~^t_([0-9]|[1-5][0-9]|6[0-3])$`",
            );
        }
    }
    Some(item)
}

/// Left-overs of gh-ost or pt-online-schema-change that belong to tables of the task.
pub(super) async fn online_ddl(source: &Source<'_>) -> Option<Item> {
    let mut item = Item::new("online ddl checker", "check whether an online schema change is under way");
    item = item.at(&source.address());
    let list = BlockAllowList::new(&source.subtask.block_allow_list, source.subtask.case_sensitive).ok()?;
    for rule in &source.subtask.shadow_table_rules {
        let Ok(regex) = regular_expression::compile(rule, !source.subtask.case_sensitive, 100_000) else {
            continue;
        };
        for name in &source.inventory.all_tables {
            let Ok(Some(captures)) = regex.captures(&name.table) else { continue };
            let Some(real) = captures.get(1) else { continue };
            let real = TableName::new(name.schema.as_str(), real.as_str());
            if list.table_in_scope(&real).unwrap_or(false) {
                item = item.fail(
                    CodedError::new(
                        codes::CHECK_ONLINE_DDL,
                        format!("your ddl is in pt/ghost online-ddl: {name} is a shadow of {real}"),
                    )
                    .object(&real)
                    .scope(Scope::Upstream)
                    .remedy(format!(
                        "wait until the schema change has ended, or, if it was broken off, DROP TABLE {name}; at the source"
                    )),
                );
            }
        }
    }
    Some(item)
}

/// Expression filters, compiled for the tables as they are now.
pub(super) async fn expressions(sources: &mut [Source<'_>]) -> Option<Item> {
    if sources.iter().all(|source| source.subtask.expression_filters.is_empty()) {
        return None;
    }
    let mut item = Item::new("expression filter check", "check whether expression filters fit their tables");
    for source in sources.iter_mut() {
        for filter in source.subtask.expression_filters.clone() {
            let name = TableName::new(filter.schema.as_str(), filter.table.as_str());
            match limited(TableInfo::load(&mut source.connection, &name)).await {
                Ok(Some(info)) => {
                    for err in check_expressions(std::slice::from_ref(&filter), &info.columns) {
                        item = item.fail(err.scope(Scope::Upstream));
                    }
                }
                Ok(None) => {
                    let text = format!(
                        "source {}: expression-filter.{} is about {name}, which does not exist",
                        source.config.source_id, filter.name
                    );
                    item = item
                        .warn(text, "`schema` and `table` are names, not patterns: one entry for each table");
                }
                Err(err) => return Some(item.fail(failed(&err, Scope::Upstream))),
            }
        }
    }
    Some(item)
}
