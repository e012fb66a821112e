//! openraft's types with ours filled in, and the way between them and the storage's.

use std::fmt;
use std::io::Cursor;

use dmnode_storage::{LogPosition, VoteRecord};
use openraft::{CommittedLeaderId, LeaderId, LogId, Vote};
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandReply};

/// A node as the membership remembers it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub name: String,
    pub addr: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.addr)
    }
}

impl fmt::Display for CommandReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(applied) => write!(f, "{applied:?} at {}", self.index),
            Err(refused) => write!(f, "{refused} at {}", self.index),
        }
    }
}

openraft::declare_raft_types!(
    /// Raft over our commands.
    pub(crate) TypeConfig:
        D = Command,
        R = CommandReply,
        NodeId = u64,
        Node = Member,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Member>;
pub(crate) type StoredMembership = openraft::StoredMembership<u64, Member>;

pub(crate) fn position(id: &LogId<u64>) -> LogPosition {
    LogPosition { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub(crate) fn log_id(position: &LogPosition) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(position.term, position.node), position.index)
}

pub(crate) fn vote_record(vote: &Vote<u64>) -> VoteRecord {
    VoteRecord { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

pub(crate) fn vote(record: &VoteRecord) -> Vote<u64> {
    Vote { leader_id: LeaderId::new(record.term, record.node), committed: record.committed }
}
