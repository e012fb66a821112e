//! Errors of the conversation with a server.

use std::fmt;

use dmnode_model::policy::{self, Fault};
use thiserror::Error;

use crate::connection::ExecSummary;

/// What kind of failure a [`SqlError`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlErrorKind {
    /// The server refused the statement. The connection goes on.
    Server {
        /// The server's error number, e.g. 1062.
        code: u16,
        /// The five characters of SQLSTATE.
        state: String,
    },
    /// The connection cannot be used any more; whether the last command took effect is not known.
    ConnectionLost,
    /// No answer in time. The connection cannot be used any more.
    Timeout,
    /// The peer said something that is not the protocol. The connection cannot be used any more.
    Protocol,
    /// What was configured cannot be done, e.g. a TLS setting.
    Configuration,
}

/// A failed command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct SqlError {
    /// What kind of failure it is.
    pub kind: SqlErrorKind,
    /// The server's or the driver's words, without SQL text of ours.
    pub message: String,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            SqlErrorKind::Server { code, state } => {
                write!(f, "ERROR {code} ({state}): {}", self.message)
            }
            SqlErrorKind::ConnectionLost => write!(f, "connection lost: {}", self.message),
            SqlErrorKind::Timeout => write!(f, "time-out: {}", self.message),
            SqlErrorKind::Protocol => write!(f, "protocol error: {}", self.message),
            SqlErrorKind::Configuration => write!(f, "{}", self.message),
        }
    }
}

impl SqlError {
    /// An error of the given kind.
    pub fn new(kind: SqlErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A lost connection.
    pub fn connection_lost(message: impl Into<String>) -> Self {
        Self::new(SqlErrorKind::ConnectionLost, message)
    }

    /// A violation of the protocol.
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::new(SqlErrorKind::Protocol, message)
    }

    /// A time-out.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(SqlErrorKind::Timeout, message)
    }

    /// A server's refusal.
    pub fn server(code: u16, state: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(SqlErrorKind::Server { code, state: state.into() }, message)
    }

    /// The server's error number, if the server spoke.
    pub fn code(&self) -> Option<u16> {
        match self.kind {
            SqlErrorKind::Server { code, .. } => Some(code),
            _ => None,
        }
    }

    /// How it failed, by which everything that retries or gives up goes.
    pub fn fault(&self) -> Fault {
        match self.kind {
            SqlErrorKind::ConnectionLost | SqlErrorKind::Timeout | SqlErrorKind::Protocol => {
                Fault::ConnectionGone
            }
            SqlErrorKind::Server { code, .. } => policy::fault(code, &self.message),
            SqlErrorKind::Configuration => Fault::Refused,
        }
    }

    /// True when the connection is gone and a new one may do better. What the last command did is then unknown.
    pub fn is_connection_lost(&self) -> bool {
        self.fault() == Fault::ConnectionGone
    }

    /// True when the transaction met another one, as in a deadlock (1213, which rolled it back) or a lock wait time-out
    /// (1205, which did not).
    pub fn is_transient_conflict(&self) -> bool {
        self.fault() == Fault::Conflict
    }
}

/// A failed command of several statements.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("statement {index} of the command failed: {error}")]
pub struct MultiError {
    /// Zero-based place of the failing statement; those before it took effect, those after it were not run.
    pub index: usize,
    /// Why it failed.
    pub error: SqlError,
    /// Summaries of the statements before it.
    pub done: Vec<ExecSummary>,
}

impl From<MultiError> for SqlError {
    fn from(multi: MultiError) -> Self {
        multi.error
    }
}
