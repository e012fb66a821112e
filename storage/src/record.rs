//! The storage's own words for Raft's vote and log position, so that it does not depend on a Raft library.

use std::fmt;

/// A vote: in `term` for `node`, and whether a quorum has granted it. Ordered: a vote never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VoteRecord {
    /// The term.
    pub term: u64,
    /// The candidate.
    pub node: u64,
    /// Granted by a quorum.
    pub committed: bool,
}

/// The position of a log entry: the leader that made it, and its index. Ordered by leader first, as in Raft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Term of the leader.
    pub term: u64,
    /// The leader.
    pub node: u64,
    /// Index of the entry.
    pub index: u64,
}

/// A log entry: its position and its bytes, opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it stands.
    pub position: LogPosition,
    /// The entry.
    pub bytes: Vec<u8>,
}

impl fmt::Display for VoteRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.committed { "granted" } else { "asked" };
        write!(f, "term {} for node {} ({state})", self.term, self.node)
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index {} of term {} (node {})", self.index, self.term, self.node)
    }
}

impl VoteRecord {
    pub(crate) const SIZE: usize = 17;

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let (term, rest) = bytes.split_at_mut(8);
        term.copy_from_slice(&self.term.to_le_bytes());
        let (node, committed) = rest.split_at_mut(8);
        node.copy_from_slice(&self.node.to_le_bytes());
        committed.copy_from_slice(&[u8::from(self.committed)]);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (term, rest) = bytes.split_first_chunk::<8>()?;
        let (node, rest) = rest.split_first_chunk::<8>()?;
        let [committed @ (0 | 1)] = rest else { return None };
        Some(Self {
            term: u64::from_le_bytes(*term),
            node: u64::from_le_bytes(*node),
            committed: *committed == 1,
        })
    }
}

impl LogPosition {
    pub(crate) const SIZE: usize = 24;

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        for (slot, value) in bytes.chunks_exact_mut(8).zip([self.term, self.node, self.index]) {
            slot.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (term, rest) = bytes.split_first_chunk::<8>()?;
        let (node, rest) = rest.split_first_chunk::<8>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        rest.is_empty().then_some(Self {
            term: u64::from_le_bytes(*term),
            node: u64::from_le_bytes(*node),
            index: u64::from_le_bytes(*index),
        })
    }
}
