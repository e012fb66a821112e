//! What the cluster wants this node to do.

use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::ids::Epoch;

/// A source this node owns, with everything to be done for it.
#[derive(Clone, Debug)]
pub struct OwnedSource {
    /// The source, passwords readable.
    pub source: SourceConfig,
    /// Epoch of the assignment to this node.
    pub epoch: Epoch,
    /// The subtasks.
    pub subtasks: Vec<DesiredSubtask>,
}

/// One subtask as it is wanted.
#[derive(Clone, Debug)]
pub struct DesiredSubtask {
    /// All references resolved.
    pub config: SubtaskConfig,
    /// Running or idle.
    pub stage: DesiredStage,
    /// Changes with every start and resume: a changed token starts the subtask anew, also after an error.
    pub run_token: u64,
}

/// What a subtask is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DesiredStage {
    /// Work.
    Running,
    /// Be idle, keep everything.
    Paused,
}
