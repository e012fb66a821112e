//! The vocabulary everyone shares: names, positions, GTID sets, configuration files, statuses, requests and
//! error codes. No I/O, and no dependency on any other room.
//!
//! * [`ids`], [`secret`]: names, numbers, passwords
//! * [`position`], [`gtid`]: places in a source's stream
//! * [`error`], [`codes`]: coded errors and what is done about them
//! * [`config`]: source.yaml, task.yaml and the node's TOML
//! * [`api`], [`status`]: requests and answers of the control interface, in DM's JSON

pub mod api;
pub mod codes;
pub mod config;
pub mod decision;
pub mod error;
pub mod gtid;
pub mod ids;
pub mod policy;
pub mod position;
pub mod regular_expression;
pub mod secret;
pub mod status;
pub mod tables;

pub use self::codes::{Level, Policy, Scope};
pub use self::config::{
    Endpoint, NodeConfig, Parsed, SecurityConfig, SourceConfig, SubtaskConfig, TaskConfig, TaskMode,
};
pub use self::decision::{StreamDecision, StreamOp};
pub use self::error::CodedError;
pub use self::gtid::{Flavor, Gtid, GtidSet, Interval, MariadbGtidSet, MysqlGtidSet};
pub use self::ids::{Epoch, NodeId, NodeName, SourceId, TableName, TaskName, quote_ident};
pub use self::position::{BinlogPosition, Location};
pub use self::secret::{Secret, SecretKey};
pub use self::status::{ProcessError, Stage, UnitType};
