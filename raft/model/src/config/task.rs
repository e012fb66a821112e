//! task.yaml: a migration.

use serde::Serialize;

use super::warnings::Warnings;
use super::{
    BlockAllowListConfig, DumpConfig, Endpoint, ExpressionFilter, FilterRule, LoadConfig, Parsed, RouteRule,
    SubtaskConfig, SyncConfig, ValidatorConfig, passwords, task_file,
};
use crate::codes;
use crate::error::CodedError;
use crate::ids::{SourceId, TaskName};
use crate::secret::SecretKey;

/// Key of the endpoint in the file.
pub(super) const ENDPOINT: &str = "target-database";

/// What a task does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub enum TaskMode {
    /// Full copy only.
    #[serde(rename = "full")]
    Full,
    /// Continuous replication only.
    #[serde(rename = "incremental")]
    Incremental,
    /// Both.
    #[serde(rename = "all")]
    All,
    /// Into files only.
    #[serde(rename = "dump")]
    Dump,
    /// From files only.
    #[serde(rename = "load")]
    Load,
    /// From files, then continuous replication.
    #[serde(rename = "load&sync")]
    LoadAndSync,
}

impl TaskMode {
    /// DM's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskMode::Full => "full",
            TaskMode::Incremental => "incremental",
            TaskMode::All => "all",
            TaskMode::Dump => "dump",
            TaskMode::Load => "load",
            TaskMode::LoadAndSync => "load&sync",
        }
    }

    /// Whether it copies the tables.
    pub fn has_full_copy(self) -> bool {
        matches!(self, TaskMode::Full | TaskMode::All)
    }

    /// Whether it reads the source's tables.
    pub fn reads_tables(self) -> bool {
        self.has_full_copy() || self == TaskMode::Dump
    }

    /// Whether it works with a directory of files.
    pub fn has_files(self) -> bool {
        matches!(self, TaskMode::Dump | TaskMode::Load | TaskMode::LoadAndSync)
    }

    /// Whether it replicates continuously.
    pub fn has_sync(self) -> bool {
        matches!(self, TaskMode::Incremental | TaskMode::All | TaskMode::LoadAndSync)
    }
}

impl std::fmt::Display for TaskMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How DDL of shards is coordinated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardMode {
    /// Not at all.
    #[default]
    None,
    /// Wait for all shards.
    Pessimistic,
    /// Join the schemas.
    Optimistic,
}

/// `meta` of an instance: where to start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct StartMeta {
    /// File.
    pub binlog_name: String,
    /// Offset in it.
    pub binlog_pos: u32,
    /// GTID set.
    pub binlog_gtid: String,
}

/// An entry of `mysql-instances`, references resolved.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct InstanceConfig {
    /// Source.
    pub source_id: SourceId,
    /// Where to start an incremental task.
    pub meta: Option<StartMeta>,
    /// Routes.
    pub routes: Vec<RouteRule>,
    /// Event filters.
    pub filters: Vec<FilterRule>,
    /// Expression filters.
    pub expression_filters: Vec<ExpressionFilter>,
    /// Tables it takes.
    pub block_allow_list: BlockAllowListConfig,
    /// Reading side of the full copy.
    pub dump: DumpConfig,
    /// Writing side of the full copy.
    pub load: LoadConfig,
    /// Continuous replication.
    pub sync: SyncConfig,
    /// Continuous validation.
    pub validator: ValidatorConfig,
}

/// A task.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TaskConfig {
    /// Its name.
    pub name: TaskName,
    /// What it does.
    pub mode: TaskMode,
    /// DDL coordination of shards.
    pub shard_mode: ShardMode,
    /// Refuse more DDL in optimistic mode.
    pub strict_optimistic_shard_mode: bool,
    /// Checks the precheck leaves out.
    pub ignore_checking_items: Vec<String>,
    /// Schema of metadata in the target.
    pub meta_schema: String,
    /// Session time zone of statements; empty for UTC everywhere.
    pub timezone: String,
    /// Names are case-sensitive.
    pub case_sensitive: bool,
    /// Add the source's default collation to CREATE statements.
    pub collation_strict: bool,
    /// How to reach the target.
    pub target: Endpoint,
    /// Its sources.
    pub instances: Vec<InstanceConfig>,
    /// Recognise gh-ost and pt-online-schema-change.
    pub online_ddl: bool,
    /// Their shadow tables.
    pub shadow_table_rules: Vec<String>,
    /// Their left-over tables.
    pub trash_table_rules: Vec<String>,
    /// Remove dump files after a load.
    pub clean_dump_file: bool,
    /// Deprecated `remove-meta: true` was in the file: a hint is due.
    pub remove_meta: bool,
    /// Flush DM's checkpoints without stopping; no meaning here.
    pub async_checkpoint_flush: bool,
    pub(super) masked_yaml: String,
}

impl TaskConfig {
    /// Reads task.yaml. With a key, encrypted passwords are decrypted.
    ///
    /// # Errors
    /// What DM refuses, with DM's codes; unknown keys with line and column.
    pub fn from_yaml(text: &str, key: Option<&SecretKey>) -> Result<Parsed<TaskConfig>, CodedError> {
        let mut warnings = Warnings::default();
        let value = task_file::read(text, key, &mut warnings).map_err(|err| match err.object {
            Some(_) => err,
            None => err.object("task.yaml"),
        })?;
        Ok(Parsed { value, warnings: warnings.into_vec() })
    }

    /// The sources, in the file's order.
    pub fn source_ids(&self) -> Vec<SourceId> {
        self.instances.iter().map(|instance| instance.source_id.clone()).collect()
    }

    /// What one source has to do.
    ///
    /// # Errors
    /// The source is not one of the task's.
    pub fn subtask(&self, source: &SourceId) -> Result<SubtaskConfig, CodedError> {
        let instance =
            self.instances.iter().find(|instance| instance.source_id == *source).ok_or_else(|| {
                CodedError::new(
                    codes::CONFIG_SOURCE_ID_NOT_FOUND,
                    format!(
                        "source {source} in deployment configuration not found: it is none of the task `{}`",
                        self.name
                    ),
                )
                .remedy("check `mysql-instances` in task.yaml")
            })?;
        let mut load = instance.load.clone();
        if self.mode.has_files() && self.instances.len() > 1 {
            // One node may have several sources.
            load.dir = format!("{}.{source}", load.dir.trim_end_matches('/'));
        }
        Ok(SubtaskConfig {
            task: self.name.clone(),
            mode: self.mode,
            source_id: instance.source_id.clone(),
            meta_schema: self.meta_schema.clone(),
            target: self.target.clone(),
            meta: instance.meta.clone(),
            start_time: None,
            safe_mode_window: None,
            routes: instance.routes.clone(),
            block_allow_list: instance.block_allow_list.clone(),
            filters: instance.filters.clone(),
            expression_filters: instance.expression_filters.clone(),
            dump: instance.dump.clone(),
            load,
            sync: instance.sync.clone(),
            validator: instance.validator.clone(),
            timezone: self.timezone.clone(),
            case_sensitive: self.case_sensitive,
            collation_strict: self.collation_strict,
            shard_mode: self.shard_mode,
            online_ddl: self.online_ddl,
            shadow_table_rules: self.shadow_table_rules.clone(),
            trash_table_rules: self.trash_table_rules.clone(),
            ignore_checking_items: self.ignore_checking_items.clone(),
            decisions: Vec::new(),
            operations: Vec::new(),
            choice: Default::default(),
        })
    }

    /// The file as it was given, passwords as `******`.
    pub fn masked_yaml(&self) -> String {
        self.masked_yaml.clone()
    }

    /// The file with its passwords encrypted; those that already are stay as they are.
    ///
    /// # Errors
    /// No YAML.
    pub fn encrypt_passwords_in_yaml(text: &str, key: &SecretKey) -> Result<String, CodedError> {
        passwords::encrypt(text, ENDPOINT, key)
    }
}

#[cfg(test)]
#[path = "task_test.rs"]
mod tests;
