//! On the leader: brings Raft's membership in line with the registered nodes, one step at a time, so that the next
//! leader finishes what one began.
//!
//! A registered node becomes a learner when it answers, a voter when it has caught up; a node that is no longer
//! registered leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::ChangeMembers;

use super::{Inner, Running};
use crate::rpc::ReadReply;
use crate::types::Member;

const LOOK_EVERY: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_secs(10);
/// A learner this close to the end of the log may vote.
const CAUGHT_UP: u64 = 20;

type Change = (ChangeMembers<u64, Member>, bool);

impl Inner {
    pub(super) async fn keep_membership(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(running) = self.running.get().filter(|_| self.is_leader()) else { continue };
            if self.next_change(running).is_none() {
                continue;
            }
            // The membership may be ahead of the state this node has applied: decide on what is certain.
            let ReadReply::Index(index) = self.read_index_here(STEP).await else { continue };
            if tokio::time::timeout(STEP, self.replica.wait_applied(index)).await.is_err() {
                continue;
            }
            let Some((change, retain)) = self.next_change(running) else { continue };
            tracing::info!(?change, "changing the membership");
            match tokio::time::timeout(STEP, running.raft.change_membership(change, retain)).await {
                Ok(Ok(_)) => {}
                Ok(Err(err)) => {
                    tracing::warn!(error = %err, "the change of the membership failed, trying again")
                }
                Err(_) => tracing::warn!("the change of the membership takes long, trying again"),
            }
        }
    }

    /// The next step, with openraft's `retain` flag.
    fn next_change(&self, running: &Running) -> Option<Change> {
        let metrics = running.raft.metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        let state = self.replica.state();
        // The founder of a cluster has yet to register itself.
        if state.nodes.is_empty() || state.reserved.values().any(|id| *id == running.id) {
            return None;
        }
        let members: BTreeMap<u64, &Member> = membership.nodes().map(|(id, member)| (*id, member)).collect();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let joint = membership.get_joint_config().len() > 1;

        // Who left, first: a dead voter only makes majorities harder to reach.
        let staying: BTreeSet<u64> = voters
            .iter()
            .copied()
            .filter(|id| state.nodes.contains_key(&dmnode_model::NodeId(*id)))
            .collect();
        if !staying.is_empty() && (staying != voters || joint) {
            return Some((ChangeMembers::ReplaceAllVoters(staying), false));
        }
        let gone: BTreeSet<u64> = members
            .keys()
            .copied()
            .filter(|id| !voters.contains(id) && !state.nodes.contains_key(&dmnode_model::NodeId(*id)))
            .collect();
        if !gone.is_empty() {
            return Some((ChangeMembers::RemoveNodes(gone), true));
        }

        let now = Instant::now();
        for (id, entry) in &state.nodes {
            let member = Member { name: entry.name.clone(), addr: entry.addr.clone() };
            let alive = self.liveness.is_alive(*id, now, self.config.source_lost_after) || *id == running.id;
            match members.get(&id.0) {
                None if alive => {
                    return Some((ChangeMembers::AddNodes(BTreeMap::from([(id.0, member)])), true));
                }
                Some(present) if **present != member => {
                    return Some((ChangeMembers::SetNodes(BTreeMap::from([(id.0, member)])), true));
                }
                Some(_) if alive && !voters.contains(&id.0) => {
                    let matched =
                        metrics.replication.as_ref().and_then(|all| all.get(&id.0)).copied().flatten();
                    let last = metrics.last_log_index.unwrap_or(0);
                    if matched.is_some_and(|matched| matched.index + CAUGHT_UP >= last) {
                        return Some((ChangeMembers::AddVoterIds(BTreeSet::from([id.0])), true));
                    }
                }
                _ => {}
            }
        }
        None
    }
}
