//! The commands of `dmnode ctl`, on any node.
//!
//! A command reads the state linearizably, checks what only it can check (files, servers), proposes its change
//! under the client's request id, and waits until the owners of the sources show the result. Refusals are
//! answers with `"result": false`; only a cluster that cannot answer is an error of the transport.

mod binlog_schema;
mod check;
mod cipher;
mod clean;
mod config;
mod diff;
mod handle_error;
mod member;
mod source;
mod status;
mod tables;
mod task;
mod transfer;
mod update;
mod wait;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use dmnode_actors::supervision::NodeSupervisorHandle;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{NodeId, SourceId, TaskName};
use dmnode_raft::{Command, CommandKind, CommandReply, RaftNode, RaftNodeError, Refused, State};
use parking_lot::Mutex;

use crate::peers::Peers;
use crate::settings::Settings;
use crate::wiring::Unreadable;

/// A body and the log index it reflects.
#[derive(Debug)]
pub struct Reply<T> {
    /// The answer.
    pub body: T,
    /// The log index.
    pub index: u64,
}

impl<T> Reply<T> {
    fn new(index: u64, body: T) -> Self {
        Self { body, index }
    }
}

/// The cluster could not answer.
pub type CommandResult<T> = Result<Reply<T>, RaftNodeError>;

/// Everything commands need. One per node.
pub struct Control {
    /// This node's part in the cluster.
    pub raft: RaftNode,
    /// What this node was told.
    pub settings: Settings,
    /// The other nodes.
    pub peers: Peers,
    /// This node's work, once it has begun.
    pub supervisor: OnceLock<NodeSupervisorHandle>,
    /// Configurations this node cannot act on.
    pub unreadable: Arc<Unreadable>,
    /// Commands run here, not on the threads that serve connections.
    pub pool: tokio::runtime::Handle,
    latches: Mutex<BTreeSet<TaskName>>,
}

impl Control {
    /// The commands of a node.
    pub fn new(raft: RaftNode, settings: Settings, peers: Peers) -> Self {
        Self {
            raft,
            settings,
            peers,
            supervisor: OnceLock::new(),
            unreadable: Arc::default(),
            pool: tokio::runtime::Handle::current(),
            latches: Mutex::default(),
        }
    }

    /// Proposes a command under a part of the client's request id.
    async fn propose(
        &self,
        request_id: &str,
        step: &str,
        kind: CommandKind,
    ) -> Result<CommandReply, RaftNodeError> {
        self.raft.propose(Command::new(step_id(request_id, step), kind)).await
    }

    /// Keeps other commands of this node off the task while what is returned lives.
    fn latch(&self, task: &TaskName) -> Option<Latch<'_>> {
        self.latches.lock().insert(task.clone()).then(|| Latch { control: self, task: task.clone() })
    }
}

/// A task that a command is working on.
struct Latch<'a> {
    control: &'a Control,
    task: TaskName,
}

impl Drop for Latch<'_> {
    fn drop(&mut self) {
        self.control.latches.lock().remove(&self.task);
    }
}

/// A command with several log entries gives each an id of its own, the same ones when it is repeated.
fn step_id(request_id: &str, step: &str) -> String {
    format!("{request_id}/{step}")
}

/// What an earlier delivery of the same request was answered.
fn earlier_reply<'a>(state: &'a State, request_id: &str, step: &str) -> Option<&'a CommandReply> {
    state.applied_requests.reply(&step_id(request_id, step))
}

/// The text DM would show for a refusal of the state machine.
fn refusal_text(refused: &Refused) -> String {
    CodedError::new(refused.code, refused.message.clone()).to_string()
}

/// Name of the source's owner; empty when it has none.
fn owner_name(state: &State, source: &SourceId) -> String {
    state
        .owner_of(source)
        .and_then(|(node, _)| state.nodes.get(&node))
        .map(|entry| entry.name.clone())
        .unwrap_or_default()
}

/// Address of the source's owner.
fn owner(state: &State, source: &SourceId) -> Option<(NodeId, String, String)> {
    let (node, _) = state.owner_of(source)?;
    let entry = state.nodes.get(&node)?;
    Some((node, entry.name.clone(), entry.addr.clone()))
}

/// The names as DM prints a list: `[a b]`.
fn shown_list<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    format!("[{}]", names.join(" "))
}
