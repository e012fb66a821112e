//! What one source has to do for a task.

use serde::Serialize;

use super::{
    BlockAllowListConfig, DumpConfig, Endpoint, ExpressionFilter, FilterRule, LoadConfig, RouteRule,
    SafeModeWindow, ShardMode, SourceConfig, StartMeta, StartTime, SyncConfig, TaskMode, ValidatorConfig,
};
use crate::decision::StreamDecision;
use crate::ids::{SourceId, TaskName};
use crate::tables::{TableChoice, TableOperation};

/// A task on one source, all references resolved.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SubtaskConfig {
    /// Task.
    pub task: TaskName,
    /// What it does.
    pub mode: TaskMode,
    /// Source.
    pub source_id: SourceId,
    /// Schema of metadata in the target.
    pub meta_schema: String,
    /// How to reach the target.
    pub target: Endpoint,
    /// Where to start an incremental task that has no checkpoint.
    pub meta: Option<StartMeta>,
    /// `--start-time` of start-task; the caller sets it.
    pub start_time: Option<StartTime>,
    /// `--safe-mode-duration` of start-task; the caller sets it.
    pub safe_mode_window: Option<SafeModeWindow>,
    /// Routes.
    pub routes: Vec<RouteRule>,
    /// Tables it takes.
    pub block_allow_list: BlockAllowListConfig,
    /// Event filters.
    pub filters: Vec<FilterRule>,
    /// Expression filters.
    pub expression_filters: Vec<ExpressionFilter>,
    /// Reading side of the full copy.
    pub dump: DumpConfig,
    /// Writing side of the full copy.
    pub load: LoadConfig,
    /// Continuous replication.
    pub sync: SyncConfig,
    /// Continuous validation.
    pub validator: ValidatorConfig,
    /// Session time zone of statements.
    pub timezone: String,
    /// Names are case-sensitive.
    pub case_sensitive: bool,
    /// Add the source's default collation to CREATE statements.
    pub collation_strict: bool,
    /// DDL coordination of shards.
    pub shard_mode: ShardMode,
    /// Recognise gh-ost and pt-online-schema-change.
    pub online_ddl: bool,
    /// Their shadow tables.
    pub shadow_table_rules: Vec<String>,
    /// Their left-over tables.
    pub trash_table_rules: Vec<String>,
    /// Checks the precheck leaves out.
    pub ignore_checking_items: Vec<String>,
    /// What operators decided about events of the stream; the caller sets it.
    pub decisions: Vec<StreamDecision>,
    /// Tables that joined or left since the start; the caller sets it.
    pub operations: Vec<TableOperation>,
    /// What the list does not decide, of this run.
    pub choice: TableChoice,
}

impl SubtaskConfig {
    /// Adds what comes from the source: its case-sensitivity and its filters. For the same pair of patterns
    /// the task's filter wins.
    pub fn merge_source(&mut self, source: &SourceConfig) {
        self.case_sensitive |= source.case_sensitive;
        for filter in &source.filters {
            let same = |own: &FilterRule| {
                own.schema_pattern == filter.schema_pattern && own.table_pattern == filter.table_pattern
            };
            if !self.filters.iter().any(same) {
                self.filters.push(filter.clone());
            }
        }
    }
}
