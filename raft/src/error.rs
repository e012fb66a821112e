//! What can go wrong, with DM's code where the condition is DM's.

use dmnode_storage::StorageError;

/// Errors of the control plane.
#[derive(Debug, thiserror::Error)]
pub enum RaftNodeError {
    /// A setting contradicts itself or the data directory.
    #[error("{0}")]
    Config(String),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The cluster does not take this node; the text names possible reasons and the commands (multi-line).
    #[error("{0}")]
    Refused(String),
    /// There was no leader in time: the command was **not** applied.
    #[error("no leader of the cluster could be reached within {seconds} s; nothing was changed ({last})")]
    NoLeader {
        /// How long was tried.
        seconds: u64,
        /// The last obstacle.
        last: String,
    },
    /// The command was sent but not answered in time: it may or may not be applied. Repeating it under the
    /// same request id is safe and tells.
    #[error(
        "no answer within {seconds} s: whether the command took effect is unknown ({last}); repeat it under \
         the same request id {request_id} to find out"
    )]
    Unknown {
        /// The id to repeat the command under.
        request_id: String,
        /// How long was tried.
        seconds: u64,
        /// The last obstacle.
        last: String,
    },
    /// The command is larger than a log entry may be.
    #[error("the command is {size} bytes large, the limit is {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A message between nodes was not understood or not meant for this node.
    #[error("{0}")]
    Rpc(String),
    /// The node stopped, by a failure of its storage or because it was asked to.
    #[error("this node's part in the cluster has stopped: {0}")]
    Stopped(String),
}

impl RaftNodeError {
    /// The error code for `ctl` and the API.
    pub fn code(&self) -> u32 {
        match self {
            Self::NoLeader { .. } => 38043,
            Self::Config(_) | Self::Refused(_) => codes::NODE_REFUSED,
            Self::Unknown { .. } => codes::OUTCOME_UNKNOWN,
            Self::TooLarge { .. } => codes::COMMAND_TOO_LARGE,
            Self::Storage(_) | Self::Stopped(_) => codes::CONTROL_STOPPED,
            Self::Rpc(_) => codes::BAD_RPC,
        }
    }
}

/// Our own codes of the control plane.
pub mod codes {
    pub use dmnode_model::codes::{
        BAD_RPC, CHANGED_MEANWHILE, COMMAND_TOO_LARGE, CONTROL_STOPPED, INVALID_COMMAND, NODE_REFUSED,
        OUTCOME_UNKNOWN, REQUEST_ID_REUSED, TABLES_REFUSED,
    };
}
