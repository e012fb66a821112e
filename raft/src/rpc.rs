//! The messages between nodes.

use dmnode_model::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::command::{Command, CommandReply, Refused};
use crate::error::RaftNodeError;

/// A Raft message, addressed: a node takes only what is meant for it and comes from its own cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    pub cluster_id: String,
    pub from: NodeId,
    pub to: NodeId,
    pub body: T,
}

/// Why a node does not take a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejection {
    pub reason: String,
    /// The sender's id is out of use: it has to stop.
    pub retired: bool,
}

/// Where the leader is, as far as a node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaderHint {
    pub node: NodeId,
    pub addr: String,
}

/// A command sent to the leader.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProposeRequest {
    pub cluster_id: String,
    pub command: Command,
    pub timeout_ms: u64,
}

/// The leader's answer to a command.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ProposeReply {
    Decided(CommandReply),
    NotLeader(Option<LeaderHint>),
    /// Nothing was done; try again.
    NotReady(String),
    /// No decision in time.
    Unclear(String),
}

/// Asks the leader up to which log index a read has to wait.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadRequest {
    pub cluster_id: String,
    pub timeout_ms: u64,
}

/// The leader's answer to a read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ReadReply {
    Index(u64),
    NotLeader(Option<LeaderHint>),
    NotReady(String),
}

/// "I am here."
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ping {
    pub cluster_id: Option<String>,
    pub from: Option<NodeId>,
}

/// Who a node is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub name: String,
    pub cluster_id: Option<String>,
    pub node_id: Option<NodeId>,
    pub leader: Option<LeaderHint>,
    /// The sender of the ping uses an id that is out of use.
    pub you_are_retired: bool,
}

/// A new node asks to be taken in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    pub name: String,
    pub addr: String,
    pub incarnation: String,
    pub replace: bool,
}

/// The answer to a node that wants to join.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum JoinReply {
    Accepted { node: NodeId, cluster_id: String },
    Refused { refused: Refused, cluster_id: String },
    NotReady(String),
}

pub(crate) fn decode<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, RaftNodeError> {
    codec::decode(body)
        .map_err(|err| RaftNodeError::Rpc(format!("/raft/{path}: the message is not understood: {err}")))
}

pub(crate) fn encode<T: Serialize>(path: &str, value: &T) -> Result<Vec<u8>, RaftNodeError> {
    codec::encode(value).map_err(|err| RaftNodeError::Rpc(format!("/raft/{path}: cannot encode: {err}")))
}
