//! Which tables and events a task takes, and where they go.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::fields::{Fields, did_you_mean};
use super::warnings::Warnings;
use crate::codes;
use crate::error::CodedError;
use crate::regular_expression;

/// Event names of binlog event filters.
const EVENTS: &[&str] = &[
    "all",
    "all ddl",
    "all dml",
    "none",
    "none ddl",
    "none dml",
    "incompatible ddl changes",
    "insert",
    "update",
    "delete",
    "create database",
    "create schema",
    "alter database",
    "alter schema",
    "create table",
    "create index",
    "create view",
    "drop view",
    "alter table",
    "add table partition",
    "drop database",
    "drop schema",
    "drop table",
    "drop index",
    "rename table",
    "truncate table",
    "drop table partition",
    "truncate table partition",
    "add foreign key",
    "drop foreign key",
    "value range decrease",
    "precision decrease",
    "modify column",
    "rename column",
    "rename index",
    "drop column",
    "drop primary key",
    "drop unique key",
    "modify default value",
    "modify constraint",
    "modify columns order",
    "modify charset",
    "modify collation",
    "remove auto increment",
    "modify storage engine",
    "reorganize table partition",
    "rebuild table partition",
    "coalesce table partition",
    "split table partition",
    "exchange table partition",
    "modify schema charset and collate",
    "modify table charset and collate",
    "modify table comment",
    "recover table",
    "alter table partitioning",
    "remove table partitioning",
    "add column",
    "set default value",
    "rebase auto id",
    "add primary key",
    "alter index visibility",
    "alter ttl info",
    "alter ttl remove",
    "multi schema change",
];

/// A rule of `routes`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RouteRule {
    /// Name of the entry.
    pub name: String,
    /// Pattern of the source schema.
    pub schema_pattern: String,
    /// Pattern of the source table; empty for a rule about the schema.
    pub table_pattern: String,
    /// Target schema.
    pub target_schema: String,
    /// Target table; empty keeps the name.
    pub target_table: String,
    /// Column taken from the table name.
    pub extract_table: Option<ExtractRule>,
    /// Column taken from the schema name.
    pub extract_schema: Option<ExtractRule>,
    /// Column taken from the source id.
    pub extract_source: Option<ExtractRule>,
}

impl RouteRule {
    /// Its extract rules, in the order in which DM adds their columns.
    pub fn extracts(&self) -> impl Iterator<Item = &ExtractRule> {
        [&self.extract_table, &self.extract_schema, &self.extract_source].into_iter().flatten()
    }
}

/// A target column whose value is what a pattern finds in a name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ExtractRule {
    /// Pattern with capture groups.
    pub regexp: String,
    /// Target column.
    pub target_column: String,
}

/// A `{db-name, tbl-name}` pair.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TablePattern {
    /// Schema pattern.
    pub db_name: String,
    /// Table pattern.
    pub tbl_name: String,
}

/// An entry of `block-allow-list`. Empty lists take everything.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct BlockAllowListConfig {
    /// Only these schemas.
    pub do_dbs: Vec<String>,
    /// Not these schemas.
    pub ignore_dbs: Vec<String>,
    /// Only these tables.
    pub do_tables: Vec<TablePattern>,
    /// Not these tables.
    pub ignore_tables: Vec<TablePattern>,
}

/// An entry of `filters`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct FilterRule {
    /// Name of the entry; empty for a source's own.
    pub name: String,
    /// Pattern of the schema.
    pub schema_pattern: String,
    /// Pattern of the table; empty for a rule about the schema.
    pub table_pattern: String,
    /// Event names, lower case.
    pub events: Vec<String>,
    /// Patterns searched in the statement.
    pub sql_pattern: Vec<String>,
    /// What is done: `Do`, `Ignore` or `Error`.
    pub action: String,
}

/// An entry of `expression-filter`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ExpressionFilter {
    /// Name of the entry.
    pub name: String,
    /// Source schema.
    pub schema: String,
    /// Source table.
    pub table: String,
    /// Inserted rows it drops.
    pub insert_value_expr: String,
    /// Updated rows it drops, by their old values.
    pub update_old_value_expr: String,
    /// Updated rows it drops, by their new values.
    pub update_new_value_expr: String,
    /// Deleted rows it drops.
    pub delete_value_expr: String,
}

pub(super) fn read_route(mut fields: Fields<'_>, name: &str) -> Result<RouteRule, CodedError> {
    let mut extract = |key, regexp_key| -> Result<Option<ExtractRule>, CodedError> {
        let Some(mut inner) = fields.map(key)? else { return Ok(None) };
        let rule =
            ExtractRule { regexp: inner.text(regexp_key)?, target_column: inner.text("target-column")? };
        inner.finish()?;
        Ok(Some(rule))
    };
    let rule = RouteRule {
        name: name.to_owned(),
        extract_table: extract("extract-table", "table-regexp")?,
        extract_schema: extract("extract-schema", "schema-regexp")?,
        extract_source: extract("extract-source", "source-regexp")?,
        schema_pattern: fields.text("schema-pattern")?,
        table_pattern: fields.text("table-pattern")?,
        target_schema: fields.text("target-schema")?,
        target_table: fields.text("target-table")?,
    };
    fields.finish()?;
    Ok(rule)
}

pub(super) fn reject_bad_route(rule: &RouteRule) -> Result<(), CodedError> {
    let bad = |message: String| {
        Err(CodedError::new(codes::CONFIG_GEN_TABLE_ROUTER, "generate table router error")
            .cause(message)
            .object(format!("routes.{}", rule.name)))
    };
    if rule.schema_pattern.is_empty() {
        return bad("`schema-pattern` is empty".to_owned());
    }
    if rule.target_schema.is_empty() {
        return bad("`target-schema` is empty".to_owned());
    }
    let mut columns = BTreeSet::new();
    for extract in rule.extracts() {
        if extract.target_column.is_empty() {
            return bad("an extract rule has no `target-column`".to_owned());
        }
        if !columns.insert(extract.target_column.to_lowercase()) {
            return bad(format!("two extract rules fill the column `{}`", extract.target_column));
        }
        if let Err(reason) = regular_expression::compile(&extract.regexp, false, 1000) {
            return bad(format!("`{}`: {reason}", extract.regexp));
        }
    }
    Ok(())
}

/// What of a route probably means something else to its writer.
pub(super) fn route_traps(rule: &RouteRule, warnings: &mut Warnings) {
    for extract in rule.extracts() {
        let groups =
            regular_expression::compile(&extract.regexp, false, 1000).map_or(0, |re| re.captures_len());
        if groups <= 1 {
            warnings.say(format!(
                "routes.{}: `{}` has no group in parentheses, so that the column `{}` is always empty, as in DM",
                rule.name, extract.regexp, extract.target_column
            ));
        }
    }
}

pub(super) fn read_block_allow_list(mut fields: Fields<'_>) -> Result<BlockAllowListConfig, CodedError> {
    let mut tables = |key: &'static str| -> Result<Vec<TablePattern>, CodedError> {
        let read = |item| {
            let mut inner = Fields::new(item, key)?;
            let pattern = TablePattern { db_name: inner.text("db-name")?, tbl_name: inner.text("tbl-name")? };
            inner.finish()?;
            Ok(pattern)
        };
        fields.list(key)?.iter().map(|item| read(item.as_ref())).collect()
    };
    let list = BlockAllowListConfig {
        do_tables: tables("do-tables")?,
        ignore_tables: tables("ignore-tables")?,
        do_dbs: fields.texts("do-dbs")?,
        ignore_dbs: fields.texts("ignore-dbs")?,
    };
    fields.finish()?;
    Ok(list)
}

pub(super) fn read_filter(mut fields: Fields<'_>, name: &str) -> Result<FilterRule, CodedError> {
    let rule = FilterRule {
        name: name.to_owned(),
        schema_pattern: fields.text("schema-pattern")?,
        table_pattern: fields.text("table-pattern")?,
        events: fields.texts("events")?.iter().map(|event| event.to_lowercase()).collect(),
        sql_pattern: fields.texts("sql-pattern")?,
        action: fields.text("action")?,
    };
    fields.finish()?;
    Ok(rule)
}

/// Events that no server of MySQL or MariaDB has.
const NEVER: [&str; 6] = [
    "create view",
    "drop view",
    "recover table",
    "alter ttl info",
    "alter ttl remove",
    "split table partition",
];

/// What of a filter probably means something else to its writer than to DM and to us.
pub(super) fn filter_traps(rule: &FilterRule, what: &str, warnings: &mut Warnings) {
    if rule.action == "Do" && rule.events.is_empty() {
        warnings.say(format!(
            "{what}: action Do without `events` leaves out every change of the tables it matches, as in DM; write \
             `events: [all]` if only statements are to be chosen by `sql-pattern`"
        ));
    }
    if rule.action == "Do" && !rule.sql_pattern.is_empty() && !rule.events.is_empty() {
        warnings.say(format!(
            "{what}: action Do with `sql-pattern` leaves out every statement that matches none of the patterns"
        ));
    }
    let dead: Vec<&str> = rule.events.iter().map(String::as_str).filter(|e| NEVER.contains(e)).collect();
    if !dead.is_empty() {
        warnings.say(format!("{what}: {} has no effect: nothing of the kind is migrated", dead.join(", ")));
    }
}

/// DM drops an invalid filter and says so only in its log; what the user wanted left out would then be migrated.
pub(super) fn reject_bad_filter(rule: &FilterRule) -> Result<(), CodedError> {
    let bad = |message: String| {
        Err(CodedError::new(codes::CONFIG_BINLOG_EVENT_FILTER, "generate binlog event filter")
            .cause(message)
            .object(format!("filters {}", rule.name)))
    };
    if !matches!(rule.action.as_str(), "Do" | "Ignore" | "Error") {
        return bad(format!("`action` is `{}`, expected Do, Ignore or Error", rule.action));
    }
    if rule.schema_pattern.is_empty() {
        return bad("`schema-pattern` is empty".to_owned());
    }
    for event in &rule.events {
        if !EVENTS.contains(&event.as_str()) {
            let hint = did_you_mean(event, EVENTS).map(|meant| format!("; did you mean `{meant}`?"));
            return bad(format!("unknown event `{event}`{}", hint.unwrap_or_default()));
        }
    }
    for pattern in &rule.sql_pattern {
        if let Err(reason) = regular_expression::compile(pattern, true, 1000) {
            return bad(format!("`sql-pattern` `{pattern}`: {reason}"));
        }
    }
    Ok(())
}

pub(super) fn read_expression_filter(
    mut fields: Fields<'_>,
    name: &str,
) -> Result<ExpressionFilter, CodedError> {
    let filter = ExpressionFilter {
        name: name.to_owned(),
        schema: fields.text("schema")?,
        table: fields.text("table")?,
        insert_value_expr: fields.text("insert-value-expr")?,
        update_old_value_expr: fields.text("update-old-value-expr")?,
        update_new_value_expr: fields.text("update-new-value-expr")?,
        delete_value_expr: fields.text("delete-value-expr")?,
    };
    fields.finish()?;
    Ok(filter)
}

pub(super) fn reject_bad_expression_filter(filter: &ExpressionFilter) -> Result<(), CodedError> {
    for (what, value) in [("schema", &filter.schema), ("table", &filter.table)] {
        if value.is_empty() {
            return Err(CodedError::new(
                codes::CONFIG_EXPR_FILTER_EMPTY_NAME,
                format!("expression-filter {} has empty {what}", filter.name),
            ));
        }
    }
    let updates = !filter.update_old_value_expr.is_empty() || !filter.update_new_value_expr.is_empty();
    let kinds = [
        ("insert", !filter.insert_value_expr.is_empty()),
        ("update (old value)", updates),
        ("delete", !filter.delete_value_expr.is_empty()),
    ];
    let given: Vec<&str> = kinds.iter().filter(|(_, given)| *given).map(|(kind, _)| *kind).collect();
    if given.len() > 1 {
        return Err(CodedError::new(
            codes::CONFIG_EXPR_FILTER_MANY_EXPR,
            format!(
                "expression filter can only specify one of (insert, update, delete) expressions, but {} has \
                 specified {given:?}",
                filter.name
            ),
        ));
    }
    Ok(())
}

/// A row that was left out when it was inserted is not there when it is updated or deleted.
pub(super) fn expression_traps<'f>(
    filters: impl Iterator<Item = &'f ExpressionFilter>,
    warnings: &mut Warnings,
) {
    let mut tables: BTreeMap<(&str, &str), [bool; 3]> = BTreeMap::new();
    for filter in filters {
        let kinds = tables.entry((&filter.schema, &filter.table)).or_default();
        kinds[0] |= !filter.insert_value_expr.is_empty();
        kinds[1] |= !filter.update_old_value_expr.is_empty() || !filter.update_new_value_expr.is_empty();
        kinds[2] |= !filter.delete_value_expr.is_empty();
    }
    for ((schema, table), [insert, update, delete]) in tables {
        if insert && !(update && delete) {
            warnings.say(format!(
                "expression-filter leaves out inserted rows of {schema}.{table}, but not their updates and deletes: \
                 these will find no row in the target"
            ));
        }
    }
}
