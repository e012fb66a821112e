//! Which tables and events a task takes, and where they go.

use serde::Serialize;

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

/// What a binlog event filter does with what it matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum FilterAction {
    /// Only what matches passes.
    #[default]
    Do,
    /// What matches is dropped.
    Ignore,
    /// What matches stops the task.
    Error,
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
    /// What is done.
    pub action: FilterAction,
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
