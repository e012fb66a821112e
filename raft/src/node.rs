//! A node's part in the cluster.

use std::sync::Arc;

use bytes::Bytes;
use dmnode_model::NodeId;
use tokio::sync::watch;

use crate::{Command, CommandReply, RaftConfig, RaftNodeError, State};

/// A member of the cluster as this node sees it.
#[derive(Clone, Debug)]
pub struct MemberInfo {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its address.
    pub addr: String,
    /// Whether it votes (else it is catching up).
    pub voter: bool,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it was heard of within the time after which its sources would move.
    pub alive: bool,
}

/// A node's part in the cluster: cheap to clone.
#[derive(Clone)]
pub struct RaftNode {}

impl RaftNode {
    /// Opens the data directory and starts in the background. Serve [`Self::handle_rpc`] from then on, then
    /// wait for [`Self::wait_ready`].
    pub async fn start(_config: RaftConfig) -> Result<Self, RaftNodeError> { todo!() }
    /// Waits until this node is a member of a cluster with a leader. A refusal (F25) comes out here.
    pub async fn wait_ready(&self) -> Result<(), RaftNodeError> { todo!() }
    /// Returns when this node can no longer take part: storage failure, or it was replaced. The process should end.
    pub async fn wait_failed(&self) -> RaftNodeError { todo!() }
    /// Has a command decided, wherever the leader is.
    pub async fn propose(&self, _command: Command) -> Result<CommandReply, RaftNodeError> { todo!() }
    /// A linearizable read on any node, with the log index it reflects.
    pub async fn read(&self) -> Result<(Arc<State>, u64), RaftNodeError> { todo!() }
    /// Follows this node's replica.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> { todo!() }
    /// This node's replica, as far as it has come.
    pub fn local_state(&self) -> Arc<State> { todo!() }
    /// Log index up to which this node's replica has come.
    pub fn applied_index(&self) -> u64 { todo!() }
    /// Serves `POST /raft/{path}`: hand over the body, answer the bytes. Bodies are up to
    /// [`crate::MAX_RPC_BODY`] bytes large.
    pub async fn handle_rpc(&self, _path: &str, _body: Bytes) -> Result<Vec<u8>, RaftNodeError> { todo!() }
    /// The leader, when known.
    pub fn leader(&self) -> Option<(NodeId, String)> { todo!() }
    /// Whether this node leads.
    pub fn is_leader(&self) -> bool { todo!() }
    /// The members.
    pub fn members(&self) -> Vec<MemberInfo> { todo!() }
    /// The nodes heard of within `source_lost_after`, this one included.
    pub fn live_nodes(&self) -> Vec<NodeId> { todo!() }
    /// This node's id; `None` until it has joined.
    pub fn id(&self) -> Option<NodeId> { todo!() }
    /// Leaves the work; the data directory is closed when this returns.
    pub async fn shutdown(&self) { todo!() }
}
