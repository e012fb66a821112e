//! The node's own configuration, TOML.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::Parsed;
use crate::error::CodedError;

/// Form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What a node was given; missing values are the caller's to fill (flags, defaults).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct NodeConfig {
    /// Name in the cluster.
    pub name: Option<String>,
    /// Directory of its data, absolute or as found.
    pub data_dir: Option<PathBuf>,
    /// `host:port` to listen on.
    pub addr: Option<String>,
    /// `host:port` others reach it by.
    pub advertise_addr: Option<String>,
    /// First members, name and address.
    pub initial_cluster: Vec<(String, String)>,
    /// Addresses of a cluster to join.
    pub join: Vec<String>,
    /// Log file; standard error when missing.
    pub log_file: Option<PathBuf>,
    /// Log level.
    pub log_level: Option<String>,
    /// Log format.
    pub log_format: Option<LogFormat>,
    /// File with the key of passwords.
    pub secret_key_path: Option<PathBuf>,
    /// Silence after which a node's sources move.
    pub source_lost_after: Option<Duration>,
}

impl NodeConfig {
    /// Reads the file's text; relative paths are taken from `base_dir`.
    ///
    /// # Errors
    /// No TOML, unknown keys, bad values.
    pub fn from_toml(text: &str, base_dir: &Path) -> Result<Parsed<NodeConfig>, CodedError> {
        let _ = (text, base_dir);
        todo!()
    }

    /// Parses `n1=host:port,n2=host:port`.
    ///
    /// # Errors
    /// An entry without name or address, a name given twice.
    pub fn parse_initial_cluster(text: &str) -> Result<Vec<(String, String)>, CodedError> {
        let _ = text;
        todo!()
    }
}
