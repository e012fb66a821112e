//! What of the source is migrated, and under which names: pure, from the configuration.

use dmnode_model::TableName;
use dmnode_model::config::SubtaskConfig;
use dmnode_model::error::CodedError;
use dmnode_schema::{BlockAllowList, Router};

/// Scope and names: pure, from the configuration.
pub struct Scope {
    list: BlockAllowList,
    router: Router,
    meta_schema: String,
    /// The source has all its names in lower case, however a statement spells them.
    pub lower_case: bool,
}

impl Scope {
    /// From the subtask's rules.
    pub fn new(subtask: &SubtaskConfig) -> Result<Self, CodedError> {
        Ok(Self {
            list: BlockAllowList::new(&subtask.block_allow_list, subtask.case_sensitive)?,
            router: Router::new(&subtask.routes, subtask.case_sensitive)?,
            meta_schema: subtask.meta_schema.clone(),
            lower_case: false,
        })
    }

    /// Whether the source's table is migrated.
    pub fn has_table(&self, name: &TableName) -> Result<bool, CodedError> {
        Ok(!name.schema.eq_ignore_ascii_case(&self.meta_schema) && self.list.table_in_scope(name)?)
    }

    /// Whether the source's schema is migrated.
    pub fn has_schema(&self, name: &str) -> Result<bool, CodedError> {
        Ok(!name.eq_ignore_ascii_case(&self.meta_schema) && self.list.schema_in_scope(name)?)
    }

    /// Routes.
    pub fn router(&self) -> &Router {
        &self.router
    }
}
