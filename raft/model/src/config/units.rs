//! `mydumpers`, `loaders`, `syncers` and `validators`, with DM's defaults.

use std::time::Duration;

use serde::Serialize;

use super::fields::{Fields, parse_duration, parse_size};
use super::warnings::Warnings;
use crate::codes;
use crate::error::CodedError;

/// Most connections of one unit.
const CONNECTIONS_MAX: usize = 1024;

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
    /// Data files of `task-mode: dump`.
    pub file_type: DumpFileType,
    /// Their compression.
    pub compression: DumpCompression,
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
            file_type: DumpFileType::Sql,
            compression: DumpCompression::None,
        }
    }
}

/// What the rows of a dump are written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DumpFileType {
    /// INSERT statements.
    #[default]
    Sql,
    /// Comma-separated values.
    Csv,
}

/// How the files of a dump are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DumpCompression {
    /// Not at all.
    #[default]
    None,
    /// `.gz`.
    Gzip,
    /// `.zst`.
    Zstd,
    /// `.snappy`, in frames.
    Snappy,
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
    /// Merge changes of the same row; not given: wherever that is safe.
    pub compact: Option<bool>,
    /// Merge rows into multi-row statements; not given: wherever that is safe.
    pub multiple_rows: Option<bool>,
    /// A change that finds no row in the target (ours).
    pub on_missing_row: MissingRow,
    /// Transactions take effect in the source's order, one after the other (ours).
    pub strict_commit_order: bool,
    /// Idempotent rewrite, up to where the source is when the task first sees this.
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
            compact: None,
            multiple_rows: None,
            on_missing_row: MissingRow::Strict,
            strict_commit_order: false,
            safe_mode: false,
            safe_mode_duration: Duration::from_secs(60),
        }
    }
}

/// What happens when an UPDATE or DELETE of the source finds no row in the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingRow {
    /// The task stops.
    #[default]
    Strict,
    /// The target gets the state after the change; counted.
    Repair,
    /// The change is left out; counted.
    Ignore,
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

/// A number of connections: what cannot work gives the default and a warning.
pub(super) fn connections(
    given: Option<i64>,
    default: usize,
    setting: &str,
    warnings: &mut Warnings,
) -> Result<usize, CodedError> {
    match given {
        None => Ok(default),
        Some(count) => match usize::try_from(count) {
            Ok(count @ 1..=CONNECTIONS_MAX) => Ok(count),
            Ok(0) | Err(_) => {
                warnings.say(format!("`{setting}` is {count}, which cannot work: {default} is used"));
                Ok(default)
            }
            Ok(_) => Err(CodedError::new(
                codes::CONFIG_VALUE_INVALID,
                format!("`{setting}` is {count}, more than {CONNECTIONS_MAX}"),
            )),
        },
    }
}

/// One of a few words in lower case; an empty text gives the first, as in DM.
fn one_of(text: &str, words: &[&str], code: u32, what: &str) -> Result<String, CodedError> {
    let lower = text.to_lowercase();
    match words.iter().find(|word| **word == lower) {
        Some(word) => Ok((*word).to_owned()),
        None => Err(CodedError::new(code, format!("invalid {what} option '{text}'"))),
    }
}

impl DumpConfig {
    /// Reads an entry; `files` when the task writes files.
    pub(super) fn read(
        mut fields: Fields<'_>,
        path: &str,
        files: bool,
        warnings: &mut Warnings,
    ) -> Result<Self, CodedError> {
        let default = DumpConfig::default();
        if fields.has("mydumper-path") {
            warnings.never(&format!("{path}.mydumper-path"), "no external program is used");
        }
        if fields.has("skip-tz-utc") {
            warnings.never(&format!("{path}.skip-tz-utc"), "timestamps always travel in UTC");
        }
        let setting = |key: &str| format!("{path}.{key}");
        let chunk_filesize = match fields.opt_text("chunk-filesize")?.as_deref() {
            None | Some("") => default.chunk_filesize,
            Some(text) => parse_size(text, 1 << 20).ok_or_else(|| {
                CodedError::new(
                    codes::CONFIG_INVALID_CHUNK_FILE_SIZE,
                    format!("invalid `chunk-filesize` {text}"),
                )
            })?,
        };
        let mut config = DumpConfig {
            mydumper_path: fields.opt_text("mydumper-path")?.unwrap_or(default.mydumper_path),
            threads: connections(fields.opt_int("threads")?, default.threads, &setting("threads"), warnings)?,
            chunk_filesize,
            statement_size: fields.int("statement-size", 0)?,
            rows: fields.int("rows", 0)?,
            where_condition: fields.text("where")?,
            skip_tz_utc: fields.bool("skip-tz-utc", true)?,
            extra_args: fields.text("extra-args")?,
            ..default
        };
        fields.finish()?;
        if config.statement_size != 0 && !files {
            warnings.never(&setting("statement-size"), "statements are cut by what the target takes");
        }
        config.apply_extra_args(path, files, warnings)?;
        if !config.where_condition.is_empty() && !files {
            warnings.say(format!(
                "`{}` is for the copy alone: what happens later to rows that it leaves out is replicated, and an \
                 UPDATE or DELETE of such a row finds none in the target (see `on-missing-row`)",
                setting("where")
            ));
        }
        Ok(config)
    }
}

impl LoadConfig {
    /// Reads an entry; `files` when the task works with a directory of files.
    pub(super) fn read(
        mut fields: Fields<'_>,
        path: &str,
        files: bool,
        warnings: &mut Warnings,
    ) -> Result<Self, CodedError> {
        let default = LoadConfig::default();
        let setting = |key: &str| format!("{path}.{key}");
        let mut text = |key: &'static str, default: String| -> Result<String, CodedError> {
            Ok(fields.opt_text(key)?.filter(|text| !text.is_empty()).unwrap_or(default))
        };
        let import_mode = text("import-mode", "logical".to_owned())?;
        let resolution = text("on-duplicate-logical", default.on_duplicate_logical)?;
        let physical = text("on-duplicate-physical", default.on_duplicate_physical)?;
        let checksum = text("checksum-physical", default.checksum_physical)?;
        let analyze = text("analyze", default.analyze)?;
        let dir = text("dir", default.dir)?;
        let disk_quota = text("disk-quota-physical", "0".to_owned())?;
        for (key, why) in [
            ("on-duplicate", "deprecated, ignored by DM as well"),
            ("on-duplicate-logical", "rows are written exactly once; a duplicate key stops the task"),
            ("dir", "rows are streamed into the target, there are no dump files"),
            ("on-duplicate-physical", "there is no physical import"),
            ("sorting-dir-physical", "there is no physical import"),
            ("disk-quota-physical", "there is no physical import"),
            ("checksum-physical", "there is no physical import"),
            ("range-concurrency", "there is no physical import"),
            ("compress-kv-pairs", "there is no physical import"),
            ("pd-addr", "there is no physical import"),
            ("analyze", "copied tables are always analyzed"),
        ] {
            if fields.has(key) && !(files && key == "dir") {
                warnings.never(&setting(key), why);
            }
        }
        let pool_size = fields.opt_int("pool-size")?.filter(|size| *size != 0);
        let config = LoadConfig {
            pool_size: connections(pool_size, default.pool_size, &setting("pool-size"), warnings)?,
            import_mode: match import_mode.to_lowercase().as_str() {
                "logical" | "sql" | "loader" => ImportMode::Logical,
                "physical" => ImportMode::Physical,
                "import-into" => ImportMode::ImportInto,
                _ => {
                    return Err(CodedError::new(
                        codes::CONFIG_INVALID_LOAD_MODE,
                        format!("invalid load mode '{import_mode}'"),
                    ));
                }
            },
            on_duplicate_logical: one_of(
                &resolution,
                &["replace", "error", "ignore"],
                codes::CONFIG_INVALID_DUPLICATE_RESOLUTION,
                "load on-duplicate-logical or on-duplicate",
            )?,
            on_duplicate_physical: one_of(
                &physical,
                &["none", "manual"],
                codes::CONFIG_INVALID_PHYSICAL_DUPLICATE_RESOLUTION,
                "load on-duplicate-physical",
            )?,
            checksum_physical: one_of(
                &checksum,
                &["required", "optional", "off"],
                codes::CONFIG_INVALID_PHYSICAL_CHECKSUM,
                "load checksum-physical",
            )?,
            analyze: one_of(
                &analyze,
                &["required", "optional", "off"],
                codes::CONFIG_INVALID_LOAD_ANALYZE,
                "load analyze",
            )?,
            sorting_dir_physical: fields.text("sorting-dir-physical")?,
            disk_quota_physical: parse_size(&disk_quota, 1).ok_or_else(|| {
                CodedError::new(
                    codes::CONFIG_VALUE_INVALID,
                    format!("`disk-quota-physical`: invalid size {disk_quota}"),
                )
            })?,
            range_concurrency: fields.int("range-concurrency", 0)?,
            compress_kv_pairs: fields.text("compress-kv-pairs")?,
            pd_addr: fields.text("pd-addr")?,
            dir,
        };
        fields.finish()?;
        if config.import_mode != ImportMode::Logical {
            warnings.never(&setting("import-mode"), "rows are written by statements or LOAD DATA");
        }
        if storage_scheme(&config.dir) == Some("") {
            return Err(CodedError::new(
                codes::CONFIG_LOADER_DIR_INVALID,
                format!("loader's dir {} is invalid", config.dir),
            ));
        }
        if config.import_mode == ImportMode::ImportInto && storage_scheme(&config.dir).is_none() {
            return Err(CodedError::new(
                codes::CONFIG_IMPORT_INTO_REQUIRES_SHARED_STORAGE,
                format!(
                    "import-into mode requires shared storage (s3, gcs, azure, etc.) for loader's dir, but got \
                     local path '{}'",
                    config.dir
                ),
            ));
        }
        Ok(config)
    }
}

/// `s3` of `s3://bucket`; `Some("")` for what looks like a URL and is none; `None` for a path.
fn storage_scheme(dir: &str) -> Option<&str> {
    let (scheme, rest) = dir.split_once("://")?;
    let valid = !rest.is_empty()
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    match (valid, scheme) {
        (true, "file" | "local") => None,
        (true, scheme) => Some(scheme),
        (false, _) => Some(""),
    }
}

impl SyncConfig {
    pub(super) fn read(
        mut fields: Fields<'_>,
        path: &str,
        warnings: &mut Warnings,
    ) -> Result<Self, CodedError> {
        let default = SyncConfig::default();
        let setting = |key: &str| format!("{path}.{key}");
        for (key, why) in [
            ("meta-file", "progress is kept in the target"),
            ("max-retry", "deprecated, ignored by DM as well"),
            ("auto-fix-gtid", "deprecated, ignored by DM as well"),
            ("disable-detect", "deprecated, ignored by DM as well"),
            ("enable-ansi-quotes", "deprecated; the sql_mode of each statement is known"),
            ("enable-gtid", "the source's own `enable-gtid` counts"),
            ("queue-size", "the queue is bounded by memory"),
            ("safe-mode-duration", "restarts are exact without safe mode"),
        ] {
            if fields.has(key) {
                warnings.never(&setting(key), why);
            }
        }
        let positive = |given: Option<i64>| given.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        let batch: Option<i64> = fields.opt_int("batch")?;
        if batch.is_some() && positive(batch).is_none() {
            warnings.say(format!("`{}` cannot work: the size adapts itself", setting("batch")));
        }
        let queue_size = fields.opt_int("queue-size")?;
        let flush = match fields.opt_int::<i64>("checkpoint-flush-interval")?.map(u64::try_from) {
            Some(Ok(seconds)) if seconds > 0 => Duration::from_secs(seconds),
            _ => default.checkpoint_flush_interval,
        };
        let safe_mode = fields.bool("safe-mode", false)?;
        let explicit = fields.has("safe-mode-duration");
        let safe_mode_duration = match fields.opt_text("safe-mode-duration")?.as_deref() {
            None if !explicit => default.safe_mode_duration,
            None | Some("") => flush.saturating_mul(2),
            Some(text) => parse_duration(text).ok_or_else(|| {
                CodedError::new(
                    codes::CONFIG_INVALID_SAFE_MODE_DURATION,
                    format!("safe-mode-duration '{text}' parsed failed: not a duration"),
                )
            })?,
        };
        if safe_mode {
            warnings.say(format!(
                "`{}` is on until the stream reaches the place where the source is when the task first sees the setting",
                setting("safe-mode")
            ));
        }
        if safe_mode && safe_mode_duration.is_zero() {
            return Err(CodedError::new(
                codes::CONFIG_CONFLICT_SAFE_MODE,
                "safe-mode(true) conflicts with safe-mode-duration(0s)",
            ));
        }
        for key in ["max-retry", "auto-fix-gtid", "disable-detect", "enable-ansi-quotes", "enable-gtid"] {
            let _ = fields.node(key);
        }
        let on_missing_row = match fields.text("on-missing-row")?.as_str() {
            "" | "strict" => MissingRow::Strict,
            "repair" => MissingRow::Repair,
            "ignore" => MissingRow::Ignore,
            other => {
                return Err(CodedError::new(
                    codes::CONFIG_VALUE_INVALID,
                    format!("`{other}` is not a value of `{}`", setting("on-missing-row")),
                )
                .remedy("`on-missing-row` is strict, repair or ignore"));
            }
        };
        let given = |key: &'static str, fields: &mut Fields<'_>| {
            Ok::<_, CodedError>(if fields.has(key) { Some(fields.bool(key, false)?) } else { None })
        };
        let config = SyncConfig {
            meta_file: fields.text("meta-file")?,
            worker_count: connections(
                fields.opt_int("worker-count")?,
                default.worker_count,
                &setting("worker-count"),
                warnings,
            )?,
            batch: positive(batch).unwrap_or(default.batch),
            batch_given: positive(batch).is_some(),
            queue_size: positive(queue_size).unwrap_or(default.queue_size),
            checkpoint_flush_interval: flush,
            compact: given("compact", &mut fields)?,
            multiple_rows: given("multiple-rows", &mut fields)?,
            on_missing_row,
            strict_commit_order: fields.bool("strict-commit-order", false)?,
            safe_mode,
            safe_mode_duration,
        };
        fields.finish()?;
        Ok(config)
    }
}

impl ValidatorConfig {
    pub(super) fn read(
        mut fields: Fields<'_>,
        path: &str,
        warnings: &mut Warnings,
    ) -> Result<Self, CodedError> {
        let default = ValidatorConfig::default();
        let mode = fields.text("mode")?;
        let non_zero = |given: Option<Duration>, default: Duration| {
            given.filter(|duration| !duration.is_zero()).unwrap_or(default)
        };
        let count = |given: Option<i64>, default: usize| {
            given.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0).unwrap_or(default)
        };
        let size = fields.opt_text("max-pending-row-size")?.filter(|text| !text.is_empty());
        let config = ValidatorConfig {
            mode: match mode.as_str() {
                "" | "none" => ValidatorMode::None,
                "fast" => ValidatorMode::Fast,
                "full" => ValidatorMode::Full,
                _ => {
                    return Err(CodedError::new(codes::CONFIG_VALIDATION_MODE, "invalid validation mode")
                        .cause(format!("`mode` is `{mode}`"))
                        .object(path));
                }
            },
            worker_count: count(fields.opt_int("worker-count")?, default.worker_count),
            validate_interval: non_zero(fields.duration("validate-interval")?, default.validate_interval),
            check_interval: non_zero(fields.duration("check-interval")?, default.check_interval),
            row_error_delay: non_zero(fields.duration("row-error-delay")?, default.row_error_delay),
            meta_flush_interval: non_zero(
                fields.duration("meta-flush-interval")?,
                default.meta_flush_interval,
            ),
            batch_query_size: count(fields.opt_int("batch-query-size")?, default.batch_query_size),
            max_pending_row_size: match size {
                None => default.max_pending_row_size,
                Some(text) => parse_size(&text, 1).ok_or_else(|| {
                    CodedError::new(
                        codes::CONFIG_VALUE_INVALID,
                        format!("`max-pending-row-size`: invalid size {text}"),
                    )
                    .object(path)
                })?,
            },
            max_pending_row_count: fields
                .opt_int::<u64>("max-pending-row-count")?
                .filter(|count| *count > 0)
                .unwrap_or(default.max_pending_row_count),
        };
        fields.finish()?;
        if config.mode != ValidatorMode::None {
            warnings.later(path, "nothing is validated; use `dmnode ctl diff`");
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn dump(text: &str) -> (Result<DumpConfig, CodedError>, Vec<String>) {
        let root = yaml::parse(text).unwrap();
        let mut warnings = Warnings::default();
        let config =
            DumpConfig::read(Fields::new(&root, "mydumpers.x").unwrap(), "mydumpers.x", false, &mut warnings);
        (config, warnings.into_vec())
    }

    #[test]
    fn extra_args_reach_their_settings() {
        let (config, warnings) = dump(
            "{threads: 8, chunk-filesize: 1, extra-args: \"--consistency none -t 3 --rows='5' -F 2MB --nope\"}",
        );
        let config = config.unwrap();
        assert_eq!((config.threads, config.rows, config.chunk_filesize), (3, 5, 2 << 20));
        assert!(warnings.iter().any(|one| one.contains("--consistency")));
        assert!(warnings.iter().any(|one| one.contains("--nope")));
        assert_eq!(dump("{extra-args: '-t x'}").0.unwrap_err().code, codes::CONFIG_VALUE_INVALID);
        assert_eq!(dump("{chunk-filesize: 1x}").0.unwrap_err().code, 20047);
        assert_eq!(dump("{threads: 0}").0.unwrap().threads, 4);
    }

    #[test]
    fn loader_directories() {
        for (dir, scheme) in [
            ("./x", None),
            ("s3://b/p", Some("s3")),
            ("://x", Some("")),
            ("s3://", Some("")),
            ("file:///x", None),
        ] {
            assert_eq!(storage_scheme(dir), scheme, "{dir}");
        }
    }
}
