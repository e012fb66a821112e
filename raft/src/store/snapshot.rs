//! A snapshot's bytes: the state, what it covers, and a checksum that travels with them over the wire.

use dmnode_storage::{frame, unframe};
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::state::State;
use crate::types::{SnapshotMeta, StoredMembership};

const CONTEXT: &[u8] = b"dmnode state";

/// What a snapshot holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Contents {
    pub last_applied: Option<openraft::LogId<u64>>,
    pub membership: StoredMembership,
    pub state: State,
}

/// Why a snapshot is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot is not usable: {0}")]
pub(super) struct BadSnapshot(pub String);

impl Contents {
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadSnapshot> {
        let bytes = codec::encode(self).map_err(|err| BadSnapshot(err.to_string()))?;
        Ok(frame(CONTEXT, &bytes))
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadSnapshot> {
        let payload = unframe(CONTEXT, bytes).map_err(|err| BadSnapshot(err.to_string()))?;
        codec::decode(payload).map_err(|err| BadSnapshot(err.to_string()))
    }

    /// Equal contents have equal metadata, id included: a snapshot built twice is the same snapshot.
    pub fn meta(&self) -> SnapshotMeta {
        let snapshot_id = match &self.last_applied {
            Some(id) => format!("{}-{}-{}", id.leader_id.term, id.leader_id.node_id, id.index),
            None => "empty".to_owned(),
        };
        SnapshotMeta { last_log_id: self.last_applied, last_membership: self.membership.clone(), snapshot_id }
    }
}
