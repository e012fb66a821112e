//! `mydumpers`, `loaders`, `syncers` and `validators`, with DM's defaults.

use std::time::Duration;

use serde::Serialize;

/// Reading side of the full copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DumpConfig {
    /// Path of a program DM no longer uses.
    pub mydumper_path: String,
    /// Connections that read.
    pub threads: usize,
    /// Size of a chunk in bytes.
    pub chunk_filesize: u64,
    /// Approximate size of an INSERT in bytes; 0 for the default.
    pub statement_size: u64,
    /// Rows of a chunk; 0 for the default.
    pub rows: u64,
    /// Only rows that meet this condition.
    pub where_condition: String,
    /// No meaning in DM either.
    pub skip_tz_utc: bool,
    /// Further arguments of DM's dump program.
    pub extra_args: String,
}

impl Default for DumpConfig {
    fn default() -> Self {
        Self {
            mydumper_path: "./bin/mydumper".to_owned(),
            threads: 4,
            chunk_filesize: 64 << 20,
            statement_size: 0,
            rows: 0,
            where_condition: String::new(),
            skip_tz_utc: true,
            extra_args: String::new(),
        }
    }
}

/// How rows get into the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportMode {
    /// By statements.
    #[default]
    Logical,
    /// By TiDB's physical import.
    Physical,
    /// By TiDB's IMPORT INTO.
    ImportInto,
}

/// Writing side of the full copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LoadConfig {
    /// Connections that write.
    pub pool_size: usize,
    /// Directory of dump files.
    pub dir: String,
    /// How rows get into the target.
    pub import_mode: ImportMode,
    /// `replace`, `error` or `ignore`.
    pub on_duplicate_logical: String,
    /// `none` or `manual`.
    pub on_duplicate_physical: String,
    /// Sort space of the physical import.
    pub sorting_dir_physical: String,
    /// Disk quota of the physical import in bytes.
    pub disk_quota_physical: u64,
    /// `required`, `optional` or `off`.
    pub checksum_physical: String,
    /// `required`, `optional` or `off`.
    pub analyze: String,
    /// Write concurrency of the physical import.
    pub range_concurrency: i64,
    /// Compression of the physical import.
    pub compress_kv_pairs: String,
    /// Placement driver of the physical import.
    pub pd_addr: String,
}

impl Default for LoadConfig {
    fn default() -> Self {
        Self {
            pool_size: 16,
            dir: "./dumped_data".to_owned(),
            import_mode: ImportMode::Logical,
            on_duplicate_logical: "replace".to_owned(),
            on_duplicate_physical: "none".to_owned(),
            sorting_dir_physical: String::new(),
            disk_quota_physical: 0,
            checksum_physical: "required".to_owned(),
            analyze: "optional".to_owned(),
            range_concurrency: 0,
            compress_kv_pairs: String::new(),
            pd_addr: String::new(),
        }
    }
}

/// Continuous replication.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SyncConfig {
    /// No meaning in DM either.
    pub meta_file: String,
    /// Connections that apply.
    pub worker_count: usize,
    /// Rows of a target transaction.
    pub batch: usize,
    /// Whether the file gave `batch`; without it the size adapts itself.
    pub batch_given: bool,
    /// Rows that wait for an applier.
    pub queue_size: usize,
    /// How often DM's checkpoint row is brought up to date.
    pub checkpoint_flush_interval: Duration,
    /// Merge changes of the same row.
    pub compact: bool,
    /// Merge rows into multi-row statements.
    pub multiple_rows: bool,
    /// Idempotent rewrite; needless here.
    pub safe_mode: bool,
    /// Length of DM's automatic safe mode; needless here.
    pub safe_mode_duration: Duration,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            meta_file: String::new(),
            worker_count: 16,
            batch: 100,
            batch_given: false,
            queue_size: 1024,
            checkpoint_flush_interval: Duration::from_secs(30),
            compact: false,
            multiple_rows: false,
            safe_mode: false,
            safe_mode_duration: Duration::from_secs(60),
        }
    }
}

/// How thorough a validator is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ValidatorMode {
    /// Off.
    #[default]
    None,
    /// The row exists.
    Fast,
    /// All columns.
    Full,
}

/// Continuous validation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ValidatorConfig {
    /// How thorough.
    pub mode: ValidatorMode,
    /// Connections that compare.
    pub worker_count: usize,
    /// How often it compares.
    pub validate_interval: Duration,
    /// How often it looks for work.
    pub check_interval: Duration,
    /// How long a row may differ before it is an error.
    pub row_error_delay: Duration,
    /// How often it saves its state.
    pub meta_flush_interval: Duration,
    /// Rows per query.
    pub batch_query_size: usize,
    /// Bytes of rows that wait, at most.
    pub max_pending_row_size: u64,
    /// Rows that wait, at most.
    pub max_pending_row_count: u64,
}

impl Default for ValidatorConfig {
    fn default() -> Self {
        Self {
            mode: ValidatorMode::None,
            worker_count: 4,
            validate_interval: Duration::from_secs(10),
            check_interval: Duration::from_secs(5),
            row_error_delay: Duration::from_secs(30 * 60),
            meta_flush_interval: Duration::from_secs(5 * 60),
            batch_query_size: 100,
            max_pending_row_size: 500 << 20,
            max_pending_row_count: 2_147_483_647,
        }
    }
}
