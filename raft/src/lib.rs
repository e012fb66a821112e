//! dmnode-raft
