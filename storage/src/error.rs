//! Errors of the storage, each with the path and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong on disk.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// Another process uses the directory.
    #[error(
        "the data directory {} is in use by another process; stop it, or give this node a directory of its own",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The directory belongs to somebody else, or this program does not understand it.
    #[error("{message}")]
    Foreign {
        /// What was found, and what to do.
        message: String,
    },
    /// What was stored cannot be trusted any more.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// What.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// A damaged store was set aside, now or at an earlier start.
    #[error("{message}")]
    Quarantined {
        /// Where it is, why, and the commands to go on.
        message: String,
    },
    /// An earlier write failed: nothing later may be acknowledged.
    #[error("the store has stopped after a failed write: {reason}")]
    Stopped {
        /// The first failure.
        reason: String,
    },
    /// The caller broke the order of log or vote.
    #[error("refused to write {what}")]
    OutOfOrder {
        /// What, against what is there.
        what: String,
    },
}

impl StorageError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}
