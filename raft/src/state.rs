//! The replicated state: what every node agrees on.

use std::collections::BTreeMap;

use dmnode_model::tables::TableOperation;
use dmnode_model::{Epoch, NodeId, SourceId, StreamDecision, TaskName};
use serde::{Deserialize, Serialize};

use crate::command::CommandReply;

/// Everything the cluster has agreed on, as of one log index. No data-plane progress: that lives in the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Identity of the cluster; empty until its first command.
    pub cluster_id: String,
    /// The nodes.
    pub nodes: BTreeMap<NodeId, NodeEntry>,
    /// Ids promised to nodes of the initial cluster that have not come up yet.
    pub reserved: BTreeMap<String, NodeId>,
    /// The next id to give out: ids below it are used, or were.
    pub next_node_id: u64,
    /// The sources.
    pub sources: BTreeMap<SourceId, SourceEntry>,
    /// The tasks.
    pub tasks: BTreeMap<TaskName, TaskEntry>,
    /// Who works for which source.
    pub assignments: BTreeMap<SourceId, Assignment>,
    /// Request ids already applied, with their answers.
    pub applied_requests: AppliedRequests,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its name.
    pub name: String,
    /// Where its peers and clients reach it.
    pub addr: String,
    /// Identity of its data directory: another one under the same name is another node.
    pub incarnation: String,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceEntry {
    /// Its configuration, YAML; passwords as the operator's key left them.
    pub config: String,
    /// Log index of the last change.
    pub version: u64,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEntry {
    /// Its configuration, YAML.
    pub config: String,
    /// Log index of the last change of the configuration.
    pub version: u64,
    /// Its subtasks, one per source.
    pub subtasks: BTreeMap<SourceId, SubtaskEntry>,
}

/// A subtask: a task on one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskEntry {
    /// The stage the operator wants.
    pub stage: DesiredStage,
    /// Log index of the last start or resume: a new one means "start afresh".
    pub run_token: u64,
    /// `--start-time` of the start.
    pub start_time: Option<String>,
    /// `--safe-mode-duration` of the start, in seconds.
    pub safe_mode_seconds: Option<u64>,
    /// Log index of the start: which one it was.
    pub started: u64,
    /// What operators decided about events of the stream, by position.
    pub decisions: Vec<StreamDecision>,
    /// Tables that joined or left after the start, oldest first; each table in one of them.
    pub tables: Vec<TableOperation>,
}

impl SubtaskEntry {
    /// A subtask as it is started by the log entry of this index.
    pub(crate) fn new(stage: DesiredStage, index: u64) -> Self {
        Self {
            stage,
            run_token: index,
            start_time: None,
            safe_mode_seconds: None,
            started: index,
            decisions: Vec::new(),
            tables: Vec::new(),
        }
    }
}

/// The stage an operator wants a subtask in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DesiredStage {
    /// Work.
    Running,
    /// Do not.
    Paused,
}

/// Who works for a source, and under which epoch it may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The owner; `None` after the source was taken from it.
    pub node: Option<NodeId>,
    /// The fence: the log index of the assignment, so it never repeats and only grows, even when a source is
    /// removed and created again.
    pub epoch: Epoch,
    /// An operator chose the owner.
    pub pinned: bool,
}

/// The last applied requests and their answers, oldest forgotten first.
///
/// Bounded by count, not by time: every replica must forget the same ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRequests {
    pub(crate) by_id: BTreeMap<String, AppliedRequest>,
    pub(crate) by_index: BTreeMap<u64, String>,
}

/// One applied request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppliedRequest {
    /// Checksum of the command: the same id on another command is a mistake of the client.
    pub digest: u32,
    pub reply: CommandReply,
}

impl State {
    /// The node of that name.
    pub fn node_by_name(&self, name: &str) -> Option<(NodeId, &NodeEntry)> {
        self.nodes.iter().find(|(_, entry)| entry.name == name).map(|(id, entry)| (*id, entry))
    }

    /// The owner of a source and its epoch.
    pub fn owner_of(&self, source: &SourceId) -> Option<(NodeId, Epoch)> {
        let assignment = self.assignments.get(source)?;
        Some((assignment.node?, assignment.epoch))
    }

    /// The sources a node owns, with their epochs.
    pub fn sources_of(&self, node: NodeId) -> impl Iterator<Item = (&SourceId, Epoch)> {
        self.assignments
            .iter()
            .filter(move |(_, a)| a.node == Some(node))
            .map(|(source, a)| (source, a.epoch))
    }

    /// The tasks that run on a source.
    pub fn tasks_of_source<'a>(
        &'a self,
        source: &'a SourceId,
    ) -> impl Iterator<Item = (&'a TaskName, &'a TaskEntry, &'a SubtaskEntry)> {
        self.tasks
            .iter()
            .filter_map(move |(name, task)| task.subtasks.get(source).map(|subtask| (name, task, subtask)))
    }
}

impl AppliedRequests {
    /// The answer that the request of this id was given, if it is still remembered.
    pub fn reply(&self, request_id: &str) -> Option<&CommandReply> {
        self.by_id.get(request_id).map(|applied| &applied.reply)
    }

    /// How many answers are remembered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
