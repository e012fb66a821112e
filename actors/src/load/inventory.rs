//! Which tables there are in the source, and which of them are to be copied.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::codes;
use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::gtid::Flavor;
use dmnode_model::ids::{SourceId, TableName};
use dmnode_model::policy::{self, Side};
use dmnode_mysql::{Connection, SqlError, hex};
use dmnode_schema::{BlockAllowList, ExtendedColumn, OnlineRules, Router};
use sha2::{Digest, Sha256};

use crate::progress::text_literal;

/// Storage engines whose tables a consistent snapshot covers.
const SNAPSHOT_ENGINES: [&str; 3] = ["innodb", "rocksdb", "tokudb"];
const SYSTEM_SCHEMAS: &str = "('information_schema', 'performance_schema', 'mysql', 'sys')";

/// What the task takes of the source, and where it goes.
pub(super) struct Scope {
    allow: BlockAllowList,
    router: Router,
    online: OnlineRules,
    meta_schema: String,
    source: SourceId,
    /// Databases without tables are made in the target only when no table is named.
    empty_schemas: bool,
}

impl Scope {
    pub fn new(source: &SourceConfig, subtask: &SubtaskConfig) -> Result<Self, CodedError> {
        let case_sensitive = subtask.case_sensitive || source.case_sensitive;
        Ok(Self {
            allow: BlockAllowList::of(subtask, case_sensitive)?,
            router: Router::new(&subtask.routes, case_sensitive)?,
            online: OnlineRules::new(subtask)?,
            meta_schema: subtask.meta_schema.clone(),
            source: subtask.source_id.clone(),
            empty_schemas: subtask.block_allow_list.do_tables.is_empty() && subtask.choice.only.is_none(),
        })
    }

    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The columns that the table's route adds to its rows.
    pub fn extended(&self, table: &TableName) -> Result<Vec<ExtendedColumn>, CodedError> {
        self.router.extended(table, &self.source)
    }

    /// The table was taken out of the task by name.
    pub fn is_removed(&self, table: &TableName) -> bool {
        self.allow.is_removed(table)
    }

    /// Whether the task has to do with the table.
    pub fn takes(&self, table: &TableName) -> Result<bool, CodedError> {
        Ok(table.schema != self.meta_schema
            && self.allow.table_in_scope(table)?
            && !self.online.is_helper(&table.table))
    }
}

/// A table to be copied.
#[derive(Clone, Debug)]
pub(super) struct SourceTable {
    pub name: TableName,
    pub target: TableName,
    /// A consistent snapshot covers it; else it is locked while it is read.
    pub transactional: bool,
    /// Estimates.
    pub rows: u64,
    pub bytes: u64,
}

/// A database to be made.
#[derive(Clone, Debug)]
pub(super) struct SourceSchema {
    pub target: String,
    pub charset: String,
    pub collation: String,
}

/// What there is to copy.
#[derive(Default)]
pub(super) struct Inventory {
    pub schemas: Vec<SourceSchema>,
    pub tables: BTreeMap<TableName, SourceTable>,
    /// Views, sequences and other objects in scope that are not copied.
    pub not_migrated: u64,
}

/// A failed read of the source.
pub(crate) fn source_error(error: &SqlError) -> CodedError {
    let code = match error.code() {
        // What was listed a moment ago is gone, a table or a column: the copy begins anew with what there is.
        Some(1049 | 1054 | 1146) => codes::COPY_SNAPSHOT_UNSTABLE,
        _ => policy::code(Side::Source, error.fault()).unwrap_or(codes::COPY_SOURCE_READ),
    };
    CodedError::new(code, "the source cannot be read for the full copy").cause(error)
}

/// Reads the inventory. `conn` speaks utf8mb4.
pub(super) async fn take(
    conn: &mut Connection,
    flavor: Flavor,
    scope: &Scope,
) -> Result<Inventory, CodedError> {
    if flavor == Flavor::Mysql {
        // Else the estimates may be a day old. Servers before 8.0 do not know it and need not.
        let _ = conn.execute("SET SESSION information_schema_stats_expiry = 0").await;
    }
    let mut inventory = Inventory::default();
    let mut filled: BTreeSet<String> = BTreeSet::new();
    let mut nonempty: BTreeSet<String> = BTreeSet::new();
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_ROWS, DATA_LENGTH \
         FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS}"
    );
    for row in conn.query(&sql).await.map_err(|err| source_error(&err))? {
        let text = |index: usize| row.str(index).map(std::borrow::Cow::into_owned).unwrap_or_default();
        let name = TableName { schema: text(0), table: text(1) };
        nonempty.insert(name.schema.clone());
        if !scope.takes(&name)? {
            continue;
        }
        match text(2).as_str() {
            "BASE TABLE" => {}
            "SYSTEM VERSIONED" => {
                return Err(CodedError::new(
                    codes::COPY_TABLE_UNSUPPORTED,
                    "a system-versioned table cannot be copied with its history",
                )
                .object(&name));
            }
            _ => {
                inventory.not_migrated += 1;
                continue;
            }
        }
        let engine = text(3).to_ascii_lowercase();
        let target = scope.router.route(&name)?;
        filled.insert(name.schema.clone());
        let table = SourceTable {
            target,
            transactional: SNAPSHOT_ENGINES.contains(&engine.as_str()),
            rows: row.u64(4).unwrap_or(0),
            bytes: row.u64(5).unwrap_or(0),
            name: name.clone(),
        };
        inventory.tables.insert(name, table);
    }
    let sql = format!(
        "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME \
         FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN {SYSTEM_SCHEMAS}"
    );
    for row in conn.query(&sql).await.map_err(|err| source_error(&err))? {
        let text = |index: usize| row.str(index).map(std::borrow::Cow::into_owned).unwrap_or_default();
        let name = text(0);
        let empty = scope.empty_schemas
            && name != scope.meta_schema
            && !nonempty.contains(&name)
            && scope.allow.schema_in_scope(&name)?;
        if filled.contains(&name) || empty {
            // Tables may be routed elsewhere than their database.
            inventory.schemas.push(SourceSchema {
                target: scope.router.route_schema(&name)?,
                charset: text(1),
                collation: text(2),
            });
        }
    }
    Ok(inventory)
}

/// The names of the base tables in scope, cheaply.
pub(super) async fn names(conn: &mut Connection, scope: &Scope) -> Result<BTreeSet<TableName>, CodedError> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES \
         WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS}"
    );
    let mut names = BTreeSet::new();
    for row in conn.query(&sql).await.map_err(|err| source_error(&err))? {
        let text = |index: usize| row.str(index).map(std::borrow::Cow::into_owned).unwrap_or_default();
        let name = TableName { schema: text(0), table: text(1) };
        if scope.takes(&name)? {
            names.insert(name);
        }
    }
    Ok(names)
}

/// `SHOW CREATE TABLE`; `None` when the table is gone.
pub(super) async fn show_create(
    conn: &mut Connection,
    table: &TableName,
) -> Result<Option<String>, CodedError> {
    match conn.query(format!("SHOW CREATE TABLE {table}")).await {
        Ok(rows) => Ok(rows.first().and_then(|row| row.str(1)).map(std::borrow::Cow::into_owned)),
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => Ok(None),
        Err(error) => Err(source_error(&error).object(table)),
    }
}

/// What tells a table from itself after a DDL: a digest of its definition and of the time it was made. The time tells
/// apart two tables of equal definition that were swapped by RENAME. `None` when the table is gone.
///
/// Always asked on the same kind of session, so that equal tables give equal texts.
pub(super) async fn identity(conn: &mut Connection, table: &TableName) -> Result<Option<String>, CodedError> {
    let Some(create) = show_create(conn, table).await? else { return Ok(None) };
    let sql = format!(
        "SELECT CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        text_literal(&table.schema),
        text_literal(&table.table)
    );
    let row = conn.query_one(&sql).await.map_err(|err| source_error(&err).object(table))?;
    let made = row.as_ref().and_then(|row| row.str(0)).unwrap_or_default().into_owned();
    Ok(Some(digest(&create, &made)))
}

/// [`identity`] of several tables of one database; those that are gone are left out.
pub(super) async fn identities(
    conn: &mut Connection,
    schema: &str,
    tables: &[&TableName],
) -> Result<BTreeMap<TableName, String>, CodedError> {
    let mut found = BTreeMap::new();
    if tables.len() <= 2 {
        for table in tables {
            if let Some(digest) = identity(conn, table).await? {
                found.insert((*table).clone(), digest);
            }
        }
        return Ok(found);
    }
    let names: Vec<String> = tables.iter().map(|table| text_literal(&table.table)).collect();
    let sql = format!(
        "SELECT TABLE_NAME, CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME IN ({})",
        text_literal(schema),
        names.join(", ")
    );
    let rows = conn.query(&sql).await.map_err(|err| source_error(&err).object(schema))?;
    let times: BTreeMap<String, String> = rows
        .iter()
        .filter_map(|row| Some((row.string(0)?, row.str(1).unwrap_or_default().into_owned())))
        .collect();
    for table in tables {
        let digest = match times.get(&table.table) {
            Some(made) => show_create(conn, table).await?.map(|create| digest(&create, made)),
            // Gone, or named in another way than it is listed.
            None => identity(conn, table).await?,
        };
        if let Some(digest) = digest {
            found.insert((*table).clone(), digest);
        }
    }
    Ok(found)
}

fn digest(create: &str, made: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(without_auto_increment(create));
    hash.update("\n");
    hash.update(made);
    hex(&hash.finalize())
}

/// The table option `AUTO_INCREMENT=n` moves with every row. It stands in the last lines, after the closing
/// parenthesis of the columns, so that a column's comment cannot be mistaken for it.
fn without_auto_increment(create: &str) -> String {
    let Some(options) = create.rfind("\n) ") else { return create.to_owned() };
    let (columns, options) = create.split_at(options);
    let Some(at) = options.find(" AUTO_INCREMENT=") else { return create.to_owned() };
    // A table comment comes after it.
    let (before, rest) = options.split_at(at);
    let rest = rest.trim_start_matches(" AUTO_INCREMENT=").trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{columns}{before}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_does_not_change_a_table() {
        let create = |n: &str| {
            format!(
                "CREATE TABLE `t` (\n  `a` int NOT NULL AUTO_INCREMENT COMMENT 'x AUTO_INCREMENT=1'\n) ENGINE=InnoDB{n} DEFAULT CHARSET=utf8mb4"
            )
        };
        assert_eq!(without_auto_increment(&create(" AUTO_INCREMENT=17")), create(""));
        assert_eq!(digest(&create(" AUTO_INCREMENT=17"), "x"), digest(&create(" AUTO_INCREMENT=1800"), "x"));
        assert_ne!(digest(&create(""), "x"), digest(&create(""), "y"));
        assert_ne!(digest(&create(""), "x"), digest(&create(" ROW_FORMAT=DYNAMIC"), "x"));
    }
}
