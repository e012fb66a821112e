//! The tables of the task: which there are, and whether the target can hold them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dmnode_model::{CodedError, Scope, TableName, codes, quote_ident, regular_expression};
use dmnode_mysql::{SqlError, TableInfo};
use dmnode_schema::{BlockAllowList, SqlMode, translate};

use super::connect::{failed, limited};
use super::{Item, Source, Target};
use crate::progress::text_literal;
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

/// How target tables that exist differ from those of the source, as far as that matters to rows.
async fn differences(
    mut item: Item,
    source: &mut Source<'_>,
    target: &mut Target,
) -> Result<Item, (SqlError, Scope)> {
    let mut by_schema: BTreeMap<(String, String), Vec<(TableName, TableName)>> = BTreeMap::new();
    for table in &source.inventory.tables {
        let key = (table.from.schema.clone(), table.to.schema.clone());
        by_schema.entry(key).or_default().push((table.from.clone(), table.to.clone()));
    }
    for ((from_schema, to_schema), pairs) in by_schema {
        let theirs = limited(TableInfo::load_schema_tables(&mut target.connection, &to_schema))
            .await
            .map_err(|err| (err, Scope::Downstream))?;
        if theirs.is_empty() {
            continue;
        }
        let sql = format!(
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND IS_NULLABLE = 'NO' \
             AND COLUMN_DEFAULT IS NULL AND EXTRA NOT LIKE '%auto_increment%' AND EXTRA NOT LIKE '%GENERATED%'",
            text_literal(&to_schema)
        );
        let rows = limited(target.connection.query(sql)).await.map_err(|err| (err, Scope::Downstream))?;
        let required: BTreeSet<(String, String)> =
            rows.iter().filter_map(|row| Some((row.string(0)?, row.string(1)?.to_lowercase()))).collect();
        let ours = limited(TableInfo::load_schema_tables(&mut source.connection, &from_schema))
            .await
            .map_err(|err| (err, Scope::Upstream))?;
        let ours: HashMap<&str, &TableInfo> =
            ours.iter().map(|info| (info.name.table.as_str(), info)).collect();
        let theirs: HashMap<&str, &TableInfo> =
            theirs.iter().map(|info| (info.name.table.as_str(), info)).collect();
        for (from, to) in pairs {
            let (Some(ours), Some(theirs)) = (ours.get(from.table.as_str()), theirs.get(to.table.as_str()))
            else {
                continue;
            };
            for (text, instruction) in compare(&from, ours, theirs, &required) {
                item = item.warn(text, &instruction);
            }
        }
    }
    Ok(item)
}

fn compare(
    from: &TableName,
    ours: &TableInfo,
    theirs: &TableInfo,
    required: &BTreeSet<(String, String)>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let to = &theirs.name;
    let lacking: Vec<String> = ours
        .columns
        .iter()
        .filter(|c| theirs.column(&c.name).is_none())
        .map(|c| quote_ident(&c.name))
        .collect();
    if !lacking.is_empty() {
        let adds: Vec<String> = ours
            .columns
            .iter()
            .filter(|c| theirs.column(&c.name).is_none())
            .map(|c| format!("ADD COLUMN {} {}", quote_ident(&c.name), c.column_type_text))
            .collect();
        found.push((
            format!("table {from} has columns that {to} in the target lacks: {}", lacking.join(", ")),
            format!("ALTER TABLE {to} {};", adds.join(", ")),
        ));
    }
    for column in theirs.columns.iter().filter(|c| ours.column(&c.name).is_none()) {
        if required.contains(&(to.table.clone(), column.name.to_lowercase())) {
            let name = quote_ident(&column.name);
            found.push((
                format!(
                    "table {to} in the target has the further column {name}, NOT NULL and without a default"
                ),
                format!("ALTER TABLE {to} MODIFY {name} {} NULL;", column.column_type_text),
            ));
        }
    }
    let sets = |info: &TableInfo| -> BTreeSet<Vec<String>> {
        let unique = info.keys.iter().filter(|key| key.unique);
        unique
            .map(|key| {
                let mut columns: Vec<String> = key
                    .columns
                    .iter()
                    .map(|part| {
                        part.column
                            .and_then(|at| info.columns.get(at))
                            .map_or_else(String::new, |c| c.name.to_lowercase())
                    })
                    .collect();
                columns.sort();
                columns
            })
            .collect()
    };
    let (ours, theirs) = (sets(ours), sets(theirs));
    for columns in ours.difference(&theirs) {
        found.push((
            format!("table {from} is unique in ({}), {to} in the target is not", columns.join(", ")),
            format!("give {to} the same primary and unique keys"),
        ));
    }
    for columns in theirs.difference(&ours) {
        found.push((
            format!("table {to} in the target is unique in ({}), {from} is not", columns.join(", ")),
            format!("rows that the source allows may be refused: drop the key of {to}, or make sure that they do not occur"),
        ));
    }
    found
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
        item = match differences(item, source, target).await {
            Ok(item) => item,
            Err((err, scope)) => {
                let item = Item::new(
                    "table structure compatibility check",
                    "check compatibility of table structure",
                );
                return Some(item.fail(failed(&err, scope)));
            }
        };
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
