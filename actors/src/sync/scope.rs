//! What of the source is migrated, and under which names: pure, from the configuration.

use dmnode_model::codes;
use dmnode_model::config::SubtaskConfig;
use dmnode_model::error::CodedError;
use dmnode_model::{SourceId, TableName};
use dmnode_mysql::RowsKind;
use dmnode_schema::{
    BlockAllowList, Event, EventFilter, ExtendedColumn, OnlineRules, Router, Subject, TableRole, Verdict,
};

/// Scope and names: pure, from the configuration.
pub struct Scope {
    list: BlockAllowList,
    router: Router,
    filter: EventFilter,
    online: OnlineRules,
    meta_schema: String,
    source: SourceId,
    /// The source has all its names in lower case, however a statement spells them.
    pub lower_case: bool,
}

impl Scope {
    /// From the subtask's rules.
    pub fn new(subtask: &SubtaskConfig) -> Result<Self, CodedError> {
        Ok(Self {
            list: BlockAllowList::of(subtask, subtask.case_sensitive)?,
            router: Router::new(&subtask.routes, subtask.case_sensitive)?,
            filter: EventFilter::new(&subtask.filters, subtask.case_sensitive)?,
            online: OnlineRules::new(subtask)?,
            meta_schema: subtask.meta_schema.clone(),
            source: subtask.source_id.clone(),
            lower_case: false,
        })
    }

    /// Whether the source's table is migrated. The tables that online schema changes work with are not.
    pub fn has_table(&self, name: &TableName) -> Result<bool, CodedError> {
        Ok(self.lists(name)? && !self.online.is_helper(&name.table))
    }

    /// Whether the block-allow list has the table.
    fn lists(&self, name: &TableName) -> Result<bool, CodedError> {
        Ok(!name.schema.eq_ignore_ascii_case(&self.meta_schema) && self.list.table_in_scope(name)?)
    }

    /// Whether the table's definition is followed: that of a table which is migrated, or will be when an online schema
    /// change puts it into the place of one that is.
    pub fn follows(&self, name: &TableName) -> Result<bool, CodedError> {
        Ok(self.has_table(name)? || self.has_shadow(name)?)
    }

    /// Whether the table is the shadow of one that is migrated.
    pub fn has_shadow(&self, name: &TableName) -> Result<bool, CodedError> {
        Ok(self.online.role(&name.table) == TableRole::Shadow && self.belongs(name)?)
    }

    /// Whether a helper of online schema changes belongs to a table that is migrated.
    pub fn belongs(&self, helper: &TableName) -> Result<bool, CodedError> {
        for real in self.online.real_names(helper) {
            if self.has_table(&real)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the table is left out for its name alone, or belongs to one that is migrated.
    pub fn is_left_out(&self, helper: &TableName) -> Result<bool, CodedError> {
        Ok(self.online.is_helper(&helper.table) && (self.lists(helper)? || self.belongs(helper)?))
    }

    /// The names of online schema changes.
    pub fn online(&self) -> &OnlineRules {
        &self.online
    }

    /// Whether the source's schema is migrated.
    pub fn has_schema(&self, name: &str) -> Result<bool, CodedError> {
        Ok(!name.eq_ignore_ascii_case(&self.meta_schema) && self.list.schema_in_scope(name)?)
    }

    /// Whether tables of the source's schema are migrated although the schema is not.
    pub fn has_tables_without(&self, name: &str) -> Result<bool, CodedError> {
        self.list.has_tables_without(name)
    }

    /// Routes.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The columns that the table's route adds to its rows.
    pub fn extended(&self, name: &TableName) -> Result<Vec<ExtendedColumn>, CodedError> {
        self.router.extended(name, &self.source)
    }

    /// Event filters.
    pub fn filter(&self) -> &EventFilter {
        &self.filter
    }

    /// Whether the event filters leave out changes of this kind, of a table that is migrated.
    pub fn leaves_out(&self, name: &TableName, kind: RowsKind) -> Result<bool, CodedError> {
        if self.filter.is_empty() {
            return Ok(false);
        }
        let event = match kind {
            RowsKind::Insert => Event::INSERT,
            RowsKind::Update => Event::UPDATE,
            RowsKind::Delete => Event::DELETE,
        };
        let subject =
            Subject { schema: &name.schema, table: Some(&name.table), events: &[event], text: None };
        match self.filter.decide(subject)? {
            Verdict::Do => Ok(false),
            Verdict::Ignore(_) => Ok(true),
            Verdict::Error(rule) => Err(CodedError::new(
                codes::SYNCER_UNIT_BINLOG_EVENT_FILTER,
                format!("{} is forbidden by a filter", event.0),
            )
            .object(name)
            .cause(rule)
            .remedy("skip the event with `binlog skip`, or change the filter and resume-task")),
        }
    }

    /// A sentence about a new table that is left out, or keeps its name, although the patterns nearly match it.
    pub fn misses(&self, name: &TableName) -> Result<Option<String>, CodedError> {
        if name.schema.eq_ignore_ascii_case(&self.meta_schema) {
            return Ok(None);
        }
        if let Some(why) = self.list.unmatched_table(name)? {
            return Ok(Some(format!("{name} was created at the source and is not migrated: {why}")));
        }
        if !self.list.table_in_scope(name)? {
            return Ok(None);
        }
        let near = self.router.near_miss(name)?;
        Ok(near.map(|route| {
            format!("{name} was created at the source and keeps its name: it does not match the {route}")
        }))
    }
}
