//! What is on disk: the data directory with its marker, the Raft log and vote, snapshots.

/// Errors of the storage.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StorageError { message: String }
