//! Keeps the units of a node alive: `NodeSupervisor → SourceSupervisor(source, epoch) → units`.
//!
//! The node says what is wanted ([`NodeSupervisorHandle::apply`]), as often as it likes; the tree reconciles. A unit
//! that panics, fails or hangs is replaced as a new generation with back-off, its siblings do not notice. An error
//! whose policy is not "retry" leaves the subtask paused until its run token changes. A pause is acknowledged (stage
//! Paused) only when the unit is idle.

mod board;
mod child;
mod desired;
mod guardian;
mod node;
mod options;
mod runner;
mod source;

use std::sync::Arc;
use std::time::Duration;

use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::status::SourceStatusEntry;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use self::board::NodeBoard;
pub use self::desired::{DesiredStage, DesiredSubtask, OwnedSource};
pub use self::options::{SupervisionLimits, SupervisorOptions};
use crate::unit::{UnitContext, UnitResult};

/// How long a shutdown waits for the units to reach a transaction boundary.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(20);

/// Makes the work of a subtask. The tests of the supervision bring their own.
pub trait UnitFactory: Send + Sync + 'static {
    /// The future that is one generation. Making it must do nothing yet.
    fn unit(
        &self,
        ctx: UnitContext,
        source: Arc<SourceConfig>,
        subtask: Arc<SubtaskConfig>,
    ) -> BoxFuture<'static, UnitResult>;
}

struct Subtasks;

impl UnitFactory for Subtasks {
    fn unit(
        &self,
        ctx: UnitContext,
        source: Arc<SourceConfig>,
        subtask: Arc<SubtaskConfig>,
    ) -> BoxFuture<'static, UnitResult> {
        Box::pin(crate::subtask::run(ctx, source, subtask))
    }
}

/// Starts the tree.
pub struct NodeSupervisor;

impl NodeSupervisor {
    /// Starts the supervision of a node. Units run on the current tokio runtime, which should be multi-threaded.
    pub fn start(options: SupervisorOptions) -> NodeSupervisorHandle {
        Self::start_with(options, Arc::new(Subtasks))
    }

    /// Like [`Self::start`], with other units.
    pub fn start_with(options: SupervisorOptions, factory: Arc<dyn UnitFactory>) -> NodeSupervisorHandle {
        let board = Arc::new(NodeBoard::default());
        let options = Arc::new(options);
        let (wishes, wanted) = watch::channel(Arc::new(Vec::new()));
        let pool = tokio::runtime::Handle::current();
        let plan = guardian::Plan {
            options: Arc::clone(&options),
            pool: pool.clone(),
            factory,
            board: Arc::clone(&board),
        };
        #[cfg(test)]
        let (top_sender, top) = watch::channel(None);
        pool.spawn(guardian::guard(
            plan,
            wanted,
            #[cfg(test)]
            top_sender,
        ));
        NodeSupervisorHandle {
            inner: Arc::new(Inner {
                options,
                board,
                wishes,
                #[cfg(test)]
                top,
            }),
        }
    }
}

struct Inner {
    options: Arc<SupervisorOptions>,
    board: Arc<NodeBoard>,
    wishes: watch::Sender<guardian::Wishes>,
    #[cfg(test)]
    top: watch::Receiver<Option<actix::Addr<node::NodeSupervisor>>>,
}

/// The node's hold on its supervision. When the last clone is dropped the units are cancelled.
#[derive(Clone)]
pub struct NodeSupervisorHandle {
    inner: Arc<Inner>,
}

impl NodeSupervisorHandle {
    /// Everything this node is to do from now on; what is not named ends. Returns at once.
    pub fn apply(&self, wanted: Vec<OwnedSource>) {
        self.inner.wishes.send_replace(Arc::new(wanted.into_iter().map(Arc::new).collect()));
    }

    /// The state of every source and subtask on this node. Does not wait for anything.
    pub fn status(&self) -> Vec<SourceStatusEntry> {
        self.inner.board.status(&self.inner.options.node_name)
    }

    /// Ends all units at a transaction boundary and waits until they are idle (for a bounded time).
    pub async fn shutdown(&self) {
        self.apply(Vec::new());
        let deadline = tokio::time::Instant::now() + SHUTDOWN_PATIENCE;
        // One look is not enough: the wish must have arrived before an empty board means anything.
        while !self.inner.board.is_empty() {
            if tokio::time::Instant::now() >= deadline {
                tracing::warn!("some units did not end in time; their work is fenced and will be resumed");
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[cfg(test)]
mod tests;
