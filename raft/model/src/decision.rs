//! What an operator decided about an event of a source's stream (`binlog skip|replace|inject`).

use serde::{Deserialize, Serialize};

use crate::position::BinlogPosition;

/// What is to become of the event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum StreamOp {
    /// It is dropped.
    Skip,
    /// The operator's statements take its place.
    Replace,
    /// The operator's statements come before it.
    Inject,
}

impl StreamOp {
    /// DM's number of the operation.
    pub fn number(self) -> u8 {
        match self {
            StreamOp::Skip => 1,
            StreamOp::Replace => 2,
            StreamOp::Inject => 4,
        }
    }

    /// The command's word.
    pub fn as_str(self) -> &'static str {
        match self {
            StreamOp::Skip => "skip",
            StreamOp::Replace => "replace",
            StreamOp::Inject => "inject",
        }
    }
}

/// A decision about the event that starts at a position.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StreamDecision {
    /// Start of the event in the source's binlog.
    pub position: BinlogPosition,
    /// What is to become of it.
    pub op: StreamOp,
    /// The statements of `Replace` and `Inject`, in the target's dialect and with the source's names.
    pub statements: Vec<String>,
    /// Tells this decision from an earlier one about the same event.
    pub number: u64,
}
