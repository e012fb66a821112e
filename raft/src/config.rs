//! How a node takes part in the cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a node.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// Name of the node, unique in the cluster.
    pub name: String,
    /// Address (host:port) under which peers and clients reach this node.
    pub addr: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// Names and addresses of the first nodes, this one among them. Empty: a cluster of one, or `join`.
    pub initial_cluster: BTreeMap<String, String>,
    /// Addresses of nodes of an existing cluster to join.
    pub join: Vec<String>,
    /// This node's disk is lost: come back under the same name as a new node.
    pub replace: bool,
    /// A source moves when its node was not heard of for so long.
    pub source_lost_after: Duration,
    /// How long [`crate::RaftNode::propose`] and [`crate::RaftNode::read`] try before they give up.
    pub request_timeout: Duration,
    /// Timing of Raft.
    pub timing: RaftTiming,
}

/// Timing and sizes inside Raft; the defaults suit anything but tests.
#[derive(Clone, Debug)]
pub struct RaftTiming {
    /// The leader's heartbeat; also the time-out of one append.
    pub heartbeat: Duration,
    /// A follower waits at least so long before it stands for election …
    pub election_min: Duration,
    /// … and at most so long.
    pub election_max: Duration,
    /// Nodes ping each other so often.
    pub ping: Duration,
    /// A snapshot is made after so many log entries.
    pub snapshot_after: u64,
    /// So many log entries are kept behind a snapshot.
    pub keep_entries: u64,
}

impl Default for RaftTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(300),
            election_min: Duration::from_millis(1000),
            election_max: Duration::from_millis(1800),
            ping: Duration::from_millis(500),
            snapshot_after: 500,
            keep_entries: 1000,
        }
    }
}

impl RaftConfig {
    /// A cluster of one in `data_dir`.
    pub fn single(name: impl Into<String>, addr: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            addr: addr.into(),
            data_dir: data_dir.into(),
            initial_cluster: BTreeMap::new(),
            join: Vec::new(),
            replace: false,
            source_lost_after: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            timing: RaftTiming::default(),
        }
    }
}
