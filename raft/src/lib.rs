//! The control plane: what all nodes agree on, replicated by Raft.
//!
//! [`State`] is the agreed state, [`Command`] what can be asked of it, [`RaftNode`] a node's part in it. See
//! OVERVIEW.md beside the sources for the picture.

mod codec;
mod command;
mod config;
mod error;
mod lifecycle;
mod liveness;
mod machine;
mod network;
mod node;
mod rpc;
mod scheduler;
mod state;
mod store;
mod transport;
mod types;

pub use command::{Applied, Command, CommandKind, CommandReply, Expected, Refused, TableChange};
pub use config::{RaftConfig, RaftTiming};
pub use error::{RaftNodeError, codes};
pub use node::{MemberInfo, RaftNode};
pub use state::{
    AppliedRequests, Assignment, DesiredStage, NodeEntry, SourceEntry, State, SubtaskEntry, TaskEntry,
};

/// The largest body of a message between nodes.
pub const MAX_RPC_BODY: usize = 16 * 1024 * 1024;
