//! The plain task that keeps the supervisors themselves alive.
//!
//! The actors live on a thread of their own, so that nothing else on the node can hold them up. Nobody restarts an
//! actor that panicked, and a thread may end: this task pings the top one and builds the tree again from the last
//! wishes. Units of a lost tree are cancelled by its drop guards; new generations wait for them.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::UnitFactory;
use super::board::NodeBoard;
use super::desired::OwnedSource;
use super::node::{Apply, NodeSupervisor, Ping};
use super::options::SupervisorOptions;

pub(super) type Wishes = Arc<Vec<Arc<OwnedSource>>>;

/// What it takes to build the tree.
pub(super) struct Plan {
    pub options: Arc<SupervisorOptions>,
    pub pool: Handle,
    pub factory: Arc<dyn UnitFactory>,
    pub board: Arc<NodeBoard>,
}

/// A living tree: the top actor and the way to end its thread.
struct Tree {
    top: Addr<NodeSupervisor>,
    system: actix::System,
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.system.stop();
    }
}

/// Runs until the sender of the wishes is dropped; then ends the tree.
pub(super) async fn guard(
    plan: Plan,
    mut wishes: watch::Receiver<Wishes>,
    #[cfg(test)] top: watch::Sender<Option<Addr<NodeSupervisor>>>,
) {
    let interval = plan.options.limits.ping_interval;
    let patience = plan.options.limits.ping_timeout;
    loop {
        let Some(tree) = plan.build().await else {
            tokio::time::sleep(interval).await;
            continue;
        };
        #[cfg(test)]
        top.send_replace(Some(tree.top.clone()));
        wishes.mark_changed();
        loop {
            let told = tokio::select! {
                changed = wishes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let wanted = Arc::clone(&wishes.borrow_and_update());
                    answer(tree.top.send(Apply(wanted)), patience).await
                }
                () = tokio::time::sleep(interval) => answer(tree.top.send(Ping), patience).await,
            };
            if !told {
                tracing::error!("the node's supervisor does not answer; rebuilding it");
                break;
            }
        }
    }
}

async fn answer(request: impl Future<Output = Result<(), actix::MailboxError>>, patience: Duration) -> bool {
    matches!(tokio::time::timeout(patience, request).await, Ok(Ok(())))
}

impl Plan {
    async fn build(&self) -> Option<Tree> {
        let (ready, built) = oneshot::channel();
        let top = NodeSupervisor::new(
            Arc::clone(&self.options),
            self.pool.clone(),
            Arc::clone(&self.factory),
            Arc::clone(&self.board),
        );
        let thread = std::thread::Builder::new().name("supervision".to_owned()).spawn(move || {
            let runner = actix::System::new();
            runner.block_on(async {
                let _ = ready.send(Tree { top: top.start(), system: actix::System::current() });
            });
            if let Err(err) = runner.run() {
                tracing::error!(error = %err, "the supervision thread ended");
            }
        });
        if let Err(err) = thread {
            tracing::error!(error = %err, "cannot start the supervision thread");
            return None;
        }
        built.await.ok()
    }
}
