//! Configuration files: DM's source.yaml and task.yaml, and the node's TOML.
//!
//! Files are read strictly: unknown and repeated keys are refused with line, column and the key that was
//! probably meant. Every field of DM is known; what has no effect here gives a warning that says why.

mod dump_args;
mod endpoint;
mod fields;
mod node;
mod passwords;
mod rules;
mod source;
mod start_time;
mod subtask;
mod task;
mod task_file;
mod units;
mod warnings;
mod yaml;

use serde::Serialize;

pub use self::endpoint::{Endpoint, SecurityConfig};
pub use self::node::{LogFormat, NodeConfig};
pub use self::rules::{
    BlockAllowListConfig, ExpressionFilter, ExtractRule, FilterRule, RouteRule, TablePattern,
};
pub use self::source::{CheckerConfig, PurgeConfig, SOURCE_ID_CHARS_MAX, SourceConfig};
pub use self::start_time::{SafeModeWindow, StartInstant, StartTime};
pub use self::subtask::SubtaskConfig;
pub use self::task::{InstanceConfig, ShardMode, StartMeta, TaskConfig, TaskMode};
pub use self::units::{
    DumpCompression, DumpConfig, DumpFileType, ImportMode, LoadConfig, MissingRow, SyncConfig,
    ValidatorConfig, ValidatorMode,
};

/// Largest configuration file.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;

/// A configuration and what the user should know about it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Parsed<T> {
    /// The configuration.
    pub value: T,
    /// One sentence each: settings that have no effect (yet), deprecated spellings.
    pub warnings: Vec<String>,
}
