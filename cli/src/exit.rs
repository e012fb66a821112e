//! What the process tells its caller when it ends.

/// Exit codes of `dmnode ctl`. Scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command was carried out and everything it looked at is well.
    Done = 0,
    /// The cluster, or a file of the user, does not allow the command; nothing was changed.
    Refused = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No node answered in time, so the outcome is not known from here.
    NotReachable = 3,
    /// The command was carried out, and something it reports is unhealthy or different.
    Unhealthy = 4,
}

/// Why a command ended without an answer of the cluster to print.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// Wrong arguments that clap cannot see.
    #[error("{0}")]
    Usage(String),
    /// A local file or the answer does not allow going on.
    #[error("{0}")]
    Refused(String),
    /// No node answered.
    #[error("{0}")]
    NotReachable(String),
    /// A change was sent, and nobody knows yet whether it was carried out.
    #[error("{0}")]
    UnknownOutcome(String),
}

impl CtlError {
    /// The exit code that belongs to this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused(_) => Exit::Refused,
            Self::NotReachable(_) | Self::UnknownOutcome(_) => Exit::NotReachable,
        }
    }
}
