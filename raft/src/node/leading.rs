//! Listening to the other nodes, and, on the leader, placing the sources.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmnode_model::NodeId;
use parking_lot::Mutex;

use super::Inner;
use crate::command::Command;
use crate::rpc::ProposeReply;
use crate::scheduler::{Outlook, plan};

const LOOK_EVERY: Duration = Duration::from_millis(200);
const DECISION: Duration = Duration::from_secs(3);
/// A fresh leader first asks everybody itself for so long. Every node has listened all the time, so the silence
/// before its election counts.
const FIRST_LOOK: Duration = Duration::from_millis(1000);

impl Inner {
    /// Every node pings every other: whoever becomes leader has listened already.
    pub(super) async fn ping_peers(self: Arc<Self>) {
        let in_flight: Arc<Mutex<BTreeSet<NodeId>>> = Arc::default();
        let mut ticks = tokio::time::interval(self.config.timing.ping);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.liveness.tick(Instant::now(), self.config.timing.ping);
            let Some(running) = self.running.get() else { continue };
            for member in self.members() {
                if member.id == running.id || !in_flight.lock().insert(member.id) {
                    continue;
                }
                let inner = Arc::clone(&self);
                let in_flight = Arc::clone(&in_flight);
                tokio::spawn(async move {
                    inner.ping(member.id, &member.addr).await;
                    in_flight.lock().remove(&member.id);
                });
            }
        }
    }

    async fn ping(&self, node: NodeId, addr: &str) {
        let (Some(identity), Some(running)) = (self.ask(addr).await, self.running.get()) else {
            self.liveness.missed(node);
            return;
        };
        if identity.cluster_id.as_ref() != Some(&running.cluster_id) || identity.node_id != Some(node) {
            tracing::debug!(addr, expected = %node, found = %identity.name, "another node answers there");
            self.liveness.missed(node);
            return;
        }
        self.liveness.heard(node, Instant::now());
        if identity.you_are_retired {
            self.lifecycle.refuse(format!(
                "node `{}` (id {}) was replaced or removed from the cluster, says the node at {addr}. The data \
                 directory {} must not be used any more; to come back, start with an empty one and `--join {addr}`",
                self.config.name,
                running.id,
                self.dir.path().display()
            ));
        }
    }

    /// While this node leads: gives every source an owner that lives.
    pub(super) async fn place_sources(self: Arc<Self>) {
        let mut leading_since = None;
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.is_leader() {
                leading_since = None;
                continue;
            }
            let now = Instant::now();
            let since = *leading_since.get_or_insert(now);
            let outlook = self.outlook(now.saturating_duration_since(since) >= FIRST_LOOK);
            let commands = plan(&self.replica.state(), &outlook);
            for kind in commands {
                tracing::info!(?kind, lost = ?outlook.lost, "placing a source");
                let command = Command::fresh(kind);
                match self.decide_here(command, DECISION).await {
                    // Somebody decided otherwise meanwhile: look again.
                    ProposeReply::Decided(reply) => {
                        if let Err(refused) = reply.outcome {
                            tracing::debug!(%refused, "the placement was overtaken");
                        }
                    }
                    ProposeReply::NotLeader(_) => break,
                    ProposeReply::NotReady(reason) | ProposeReply::Unclear(reason) => {
                        tracing::warn!(reason, "the placement of a source was not decided");
                        break;
                    }
                }
            }
        }
    }

    fn outlook(&self, may_give_up: bool) -> Outlook {
        let mut outlook = Outlook::default();
        let lost_after = self.config.source_lost_after;
        for member in self.members() {
            if member.alive {
                outlook.alive.insert(member.id);
            } else if may_give_up && self.liveness.is_lost(member.id, lost_after) {
                outlook.lost.insert(member.id);
            }
        }
        outlook
    }
}
