//! source.yaml: an upstream server.

use std::time::Duration;

use serde::Serialize;

use super::{Endpoint, FilterRule, Parsed};
use crate::error::CodedError;
use crate::gtid::Flavor;
use crate::ids::SourceId;
use crate::secret::SecretKey;

/// A source.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SourceConfig {
    /// Its id.
    pub source_id: SourceId,
    /// Whether its tasks run.
    pub enable: bool,
    /// Read the stream by GTID.
    pub enable_gtid: bool,
    /// Family of the server; detected when missing.
    pub flavor: Option<Flavor>,
    /// Id under which the stream is read; 0 for one of our own choice.
    pub server_id: u32,
    /// How to reach it.
    pub from: Endpoint,
    /// Names in filters and of all its tasks are case-sensitive.
    pub case_sensitive: bool,
    /// Event filters of all its tasks.
    pub filters: Vec<FilterRule>,
    /// Copy the binlog to disk.
    pub enable_relay: bool,
    /// First file of the relay.
    pub relay_binlog_name: String,
    /// First GTID set of the relay.
    pub relay_binlog_gtid: String,
    /// Directory of the relay.
    pub relay_dir: String,
    /// Removal of old relay files.
    pub purge: PurgeConfig,
    /// Automatic resume.
    pub checker: CheckerConfig,
    masked_yaml: String,
}

/// `purge`: removal of old relay files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PurgeConfig {
    /// How often.
    pub interval: Duration,
    /// Files older than this many hours go; 0 for never.
    pub expires_hours: i64,
    /// Files go when fewer GB are free; 0 for never.
    pub remain_space_gb: i64,
}

impl Default for PurgeConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(3600), expires_hours: 0, remain_space_gb: 15 }
    }
}

/// `checker`: automatic resume after errors that pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CheckerConfig {
    /// On or off.
    pub check_enable: bool,
    /// Healthy time before the back-off steps back.
    pub backoff_rollback: Duration,
    /// Longest back-off.
    pub backoff_max: Duration,
}

impl Default for CheckerConfig {
    fn default() -> Self {
        Self {
            check_enable: true,
            backoff_rollback: Duration::from_secs(300),
            backoff_max: Duration::from_secs(300),
        }
    }
}

impl SourceConfig {
    /// Reads source.yaml. With a key, encrypted passwords are decrypted.
    ///
    /// # Errors
    /// What DM refuses, with DM's codes; unknown keys with line and column.
    pub fn from_yaml(text: &str, key: Option<&SecretKey>) -> Result<Parsed<SourceConfig>, CodedError> {
        let _ = (text, key);
        todo!()
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
        let _ = (text, key);
        todo!()
    }
}
