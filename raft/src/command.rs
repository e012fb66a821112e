//! What can be asked of the replicated state: each command is one log entry, checked by the state
//! machine against the version it was made on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dmnode_model::tables::TableOp;
use dmnode_model::{BinlogPosition, Epoch, NodeId, SourceId, StreamOp, TableName, TaskName};
use serde::{Deserialize, Serialize};

use crate::state::DesiredStage;

/// One mutation of the replicated state.
///
/// The request id makes it idempotent: a command that arrives twice under one id is applied once, and the
/// second answer equals the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Chosen by the client, unique per intended effect; a retry keeps it.
    pub request_id: String,
    /// What to do.
    pub kind: CommandKind,
}

impl Command {
    /// A command under the client's request id.
    pub fn new(request_id: impl Into<String>, kind: CommandKind) -> Self {
        Self { request_id: request_id.into(), kind }
    }

    /// A command under a fresh request id, for callers that keep the command for their retries.
    pub fn fresh(kind: CommandKind) -> Self {
        Self::new(uuid::Uuid::new_v4().to_string(), kind)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.kind.name(), self.request_id)
    }
}

/// Which earlier state of an object a command was made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expected {
    /// The object must not exist.
    Absent,
    /// The object must exist with exactly this version.
    Version(u64),
    /// The object must exist, in whatever version.
    Present,
    /// No expectation: create or replace.
    Any,
}

/// The commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandKind {
    /// First command of a cluster: names it and reserves the ids of the nodes expected to join.
    InitCluster {
        /// Identity of the cluster; checked on every message between nodes and in every data directory.
        cluster_id: String,
        /// Node ids of the initial cluster, by name.
        reserved: BTreeMap<String, NodeId>,
    },
    /// Makes a node known and gives it its id. Repeated with the same incarnation it answers the same id and
    /// takes over a changed address. A known name with another incarnation is refused unless `replace`.
    RegisterNode {
        /// Name of the node.
        name: String,
        /// Address under which its peers reach it.
        addr: String,
        /// Identity of its data directory.
        incarnation: String,
        /// The node of this name lost its disk: give the name a new id and drop the old one.
        replace: bool,
    },
    /// Drops a node for good; its id is never used again.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// Creates or updates a source. The text is stored as it is: encrypt passwords before.
    PutSource {
        /// The source.
        source: SourceId,
        /// Its configuration, YAML.
        config: String,
        /// What the caller saw.
        expected: Expected,
    },
    /// Removes a source that no task uses.
    RemoveSource {
        /// The source.
        source: SourceId,
    },
    /// Creates a task with its subtasks, or adds the missing subtasks to an existing one and stores the new
    /// configuration. Refused when all the subtasks exist already.
    PutTask {
        /// The task.
        task: TaskName,
        /// Its configuration, YAML.
        config: String,
        /// What the caller saw; `Any` is what `start-task` wants.
        expected: Expected,
        /// The sources to start the task on.
        sources: Vec<SourceId>,
        /// Start of the new subtasks.
        stage: DesiredStage,
        /// `--start-time`, for the new subtasks.
        start_time: Option<String>,
        /// `--safe-mode-duration` in seconds, for the new subtasks.
        safe_mode_seconds: Option<u64>,
    },
    /// Replaces the configuration of a task and leaves its subtasks alone.
    UpdateTask {
        /// The task.
        task: TaskName,
        /// Its configuration, YAML.
        config: String,
        /// What the caller saw.
        expected: Expected,
        /// Tables that join or leave with it.
        tables: BTreeMap<SourceId, Vec<TableChange>>,
    },
    /// Adds subtasks to an existing task.
    AddSubtasks {
        /// The task.
        task: TaskName,
        /// The sources.
        sources: Vec<SourceId>,
        /// Desired stage of the new subtasks.
        stage: DesiredStage,
        /// `--start-time`.
        start_time: Option<String>,
    },
    /// Removes subtasks; a task without subtasks is gone.
    RemoveSubtasks {
        /// The task.
        task: TaskName,
        /// The sources; empty means all.
        sources: Vec<SourceId>,
    },
    /// Pauses or resumes subtasks. `Running` always gives a new run token: the subtask is started afresh.
    SetStage {
        /// The task.
        task: TaskName,
        /// The sources; empty means all.
        sources: Vec<SourceId>,
        /// The stage wanted.
        stage: DesiredStage,
    },
    /// Gives a source to a node under a new epoch.
    Assign {
        /// The source.
        source: SourceId,
        /// Its new owner.
        node: NodeId,
        /// The epoch of the assignment the decision was made on; `None` when there was no assignment.
        expected_epoch: Option<Epoch>,
        /// Decided by an operator.
        pinned: bool,
    },
    /// Takes a source from its owner.
    Unassign {
        /// The source.
        source: SourceId,
        /// The epoch of the assignment the decision was made on.
        expected_epoch: Epoch,
    },
    /// Records or takes back an operator's decision about an event, and starts the subtasks afresh with it.
    DecideEvent {
        /// The task.
        task: TaskName,
        /// Position of the event in each source's stream.
        positions: BTreeMap<SourceId, BinlogPosition>,
        /// What is to become of it; `None` takes an earlier decision back.
        op: Option<StreamOp>,
        /// The operator's statements.
        statements: Vec<String>,
    },
    /// Drops the decisions about events that are applied for good.
    SettleDecisions {
        /// The task.
        task: TaskName,
        /// The source.
        source: SourceId,
        /// Everything before it is applied.
        before: BinlogPosition,
    },
    /// Lets tables join or leave a task; subtasks that run are started afresh with them.
    ChangeTables {
        /// The task.
        task: TaskName,
        /// What changes on which source.
        changes: BTreeMap<SourceId, Vec<TableChange>>,
    },
    /// Notes operations whose tables have joined.
    SettleTables {
        /// The task.
        task: TaskName,
        /// The source.
        source: SourceId,
        /// Their numbers.
        joined: BTreeSet<u64>,
    },
}

/// What is to become of some tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableChange {
    /// What.
    pub op: TableOp,
    /// Of which; the source's names.
    pub tables: BTreeSet<TableName>,
}

impl CommandKind {
    /// The command's name for logs; configurations are not shown.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InitCluster { .. } => "init-cluster",
            Self::RegisterNode { .. } => "register-node",
            Self::RemoveNode { .. } => "remove-node",
            Self::PutSource { .. } => "put-source",
            Self::RemoveSource { .. } => "remove-source",
            Self::PutTask { .. } => "put-task",
            Self::UpdateTask { .. } => "update-task",
            Self::AddSubtasks { .. } => "add-subtasks",
            Self::RemoveSubtasks { .. } => "remove-subtasks",
            Self::SetStage { .. } => "set-stage",
            Self::Assign { .. } => "assign",
            Self::Unassign { .. } => "unassign",
            Self::DecideEvent { .. } => "decide-event",
            Self::SettleDecisions { .. } => "settle-decisions",
            Self::ChangeTables { .. } => "change-tables",
            Self::SettleTables { .. } => "settle-tables",
        }
    }

    /// Whether the command carries an operator's intent, as against the cluster's own housekeeping.
    pub(crate) fn is_operators(&self) -> bool {
        !matches!(
            self,
            Self::InitCluster { .. }
                | Self::RegisterNode { .. }
                | Self::RemoveNode { .. }
                | Self::SettleDecisions { .. }
                | Self::SettleTables { .. }
        )
    }
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReply {
    /// Index of the log entry that decided.
    pub index: u64,
    /// What was decided.
    pub outcome: Result<Applied, Refused>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// Nothing to report.
    Done,
    /// A node is registered.
    Node {
        /// Its id.
        node: NodeId,
        /// The cluster it belongs to.
        cluster_id: String,
    },
    /// A source was stored.
    Source {
        /// Its new version.
        version: u64,
    },
    /// A task was stored or its subtasks changed.
    Task {
        /// Version of the task's configuration.
        version: u64,
        /// The sources whose subtasks the command touched.
        sources: Vec<SourceId>,
    },
    /// A source has a new owner.
    Assigned {
        /// The new epoch.
        epoch: Epoch,
    },
}

/// Why a command was refused: nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// DM's code where the condition is DM's, else one of ours.
    pub code: u32,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[code={}] {}", self.code, self.message)
    }
}

impl std::error::Error for Refused {}
