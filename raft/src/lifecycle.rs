//! Whether this node takes part: starting, ready, or over, and why.

use tokio::sync::watch;

use crate::error::RaftNodeError;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Refused(String),
    Stopped(String),
}

/// A node's phase; once over it stays over.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    phase: watch::Sender<Phase>,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Starting) }
    }

    pub fn ready(&self) {
        self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Starting;
            if first {
                *phase = Phase::Ready;
            }
            first
        });
    }

    /// The cluster does not take this node (any more).
    pub fn refuse(&self, reason: String) {
        self.end(Phase::Refused(reason));
    }

    /// This node cannot go on.
    pub fn stop(&self, reason: String) {
        self.end(Phase::Stopped(reason));
    }

    fn end(&self, end: Phase) {
        self.phase.send_if_modified(|phase| {
            let over = matches!(phase, Phase::Refused(_) | Phase::Stopped(_));
            if !over {
                *phase = end;
            }
            !over
        });
    }

    /// Why it is over, if it is.
    pub fn failure(&self) -> Option<RaftNodeError> {
        failure_of(&self.phase.borrow())
    }

    pub async fn wait_ready(&self) -> Result<(), RaftNodeError> {
        let mut phase = self.phase.subscribe();
        loop {
            {
                let now = phase.borrow_and_update();
                if *now == Phase::Ready {
                    return Ok(());
                }
                if let Some(failure) = failure_of(&now) {
                    return Err(failure);
                }
            }
            if phase.changed().await.is_err() {
                return Err(RaftNodeError::Stopped("it was dropped".to_owned()));
            }
        }
    }

    pub async fn wait_failed(&self) -> RaftNodeError {
        let mut phase = self.phase.subscribe();
        loop {
            if let Some(failure) = failure_of(&phase.borrow_and_update()) {
                return failure;
            }
            if phase.changed().await.is_err() {
                return RaftNodeError::Stopped("it was dropped".to_owned());
            }
        }
    }
}

fn failure_of(phase: &Phase) -> Option<RaftNodeError> {
    match phase {
        Phase::Starting | Phase::Ready => None,
        Phase::Refused(reason) => Some(RaftNodeError::Refused(reason.clone())),
        Phase::Stopped(reason) => Some(RaftNodeError::Stopped(reason.clone())),
    }
}
