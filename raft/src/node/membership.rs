//! On the leader: brings Raft's membership in line with the registered nodes, one step at a time, so that the next
//! leader finishes what one began.
//!
//! A registered node becomes a learner when it answers, a voter when it has caught up. A node leaves only when its id
//! is **retired** (replaced or removed, which the log says and which no later entry takes back); a node that is merely
//! not registered yet, as the founder is at first, stays. A leader never removes itself: it steps aside and its
//! successor does it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dmnode_model::NodeId;
use openraft::ChangeMembers;

use super::{Inner, Running};
use crate::rpc::ReadReply;
use crate::state::State;
use crate::types::Member;

const LOOK_EVERY: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_secs(10);
/// A learner this close to the end of the log may vote.
const CAUGHT_UP: u64 = 20;

/// What the leader decides on.
struct View<'a> {
    me: u64,
    state: &'a State,
    members: BTreeMap<u64, Member>,
    /// The voters: one set, or two while a change is half done, the later one last.
    configs: Vec<BTreeSet<u64>>,
    /// Heard of lately, this node among them.
    alive: BTreeSet<u64>,
    /// Replicated close to the end of the log.
    caught_up: BTreeSet<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// This node is retired: another one has to lead.
    Withdraw,
    /// With openraft's `retain` flag.
    Change(ChangeMembers<u64, Member>, bool),
}

impl Inner {
    pub(super) async fn keep_membership(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(running) = self.running.get() else { continue };
            let step = if self.is_leader() { self.next_step(running) } else { Step::Nothing };
            // Without heartbeats the others elect a leader of their own; as a follower this node goes on as any.
            let aside = step == Step::Withdraw;
            if self.aside.swap(aside, Ordering::Relaxed) != aside {
                running.raft.runtime_config().heartbeat(!aside);
                if aside {
                    tracing::info!(
                        "this node was removed from the cluster: it leaves the lead to another one"
                    );
                }
            }
            if !matches!(step, Step::Change(..)) {
                continue;
            }
            // The membership may be ahead of the state this node has applied: decide on what is certain.
            let ReadReply::Index(index) = self.read_index_here(STEP).await else { continue };
            if tokio::time::timeout(STEP, self.replica.wait_applied(index)).await.is_err() {
                continue;
            }
            let Step::Change(change, retain) = self.next_step(running) else { continue };
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

    fn next_step(&self, running: &Running) -> Step {
        let metrics = running.raft.metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        let state = self.replica.state();
        let members: BTreeMap<u64, Member> =
            membership.nodes().map(|(id, member)| (*id, member.clone())).collect();
        let now = Instant::now();
        let known = members.keys().copied().chain(state.nodes.keys().map(|id| id.0));
        let alive = known
            .filter(|id| {
                *id == running.id.0 || self.liveness.is_alive(NodeId(*id), now, self.config.source_lost_after)
            })
            .collect();
        let last = metrics.last_log_index.unwrap_or(0);
        let caught_up = metrics
            .replication
            .iter()
            .flatten()
            .filter(|(_, matched)| matched.is_some_and(|matched| matched.index + CAUGHT_UP >= last))
            .map(|(id, _)| *id)
            .collect();
        let configs = membership.get_joint_config().clone();
        View { me: running.id.0, state: &state, members, configs, alive, caught_up }.next_step()
    }
}

impl View<'_> {
    fn next_step(&self) -> Step {
        let voters: BTreeSet<u64> = self.configs.iter().flatten().copied().collect();
        let Some(latest) = self.configs.last().filter(|_| voters.contains(&self.me)) else {
            return Step::Nothing;
        };
        let successor = voters.iter().any(|id| {
            *id != self.me && !self.retired(*id) && self.alive.contains(id) && self.caught_up.contains(id)
        });
        if self.retired(self.me) && successor {
            return Step::Withdraw;
        }
        if self.configs.len() > 1 {
            // A change was cut short. Whoever is not retired stays, whatever it meant to do.
            let goal: BTreeSet<u64> =
                voters.iter().copied().filter(|id| latest.contains(id) || !self.retired(*id)).collect();
            return if goal.contains(&self.me) { replace_voters(goal) } else { Step::Nothing };
        }

        // Who left, first: a dead voter only makes majorities harder to reach.
        for id in voters.iter().filter(|id| **id != self.me && self.retired(**id)) {
            let rest: BTreeSet<u64> = voters.iter().copied().filter(|voter| voter != id).collect();
            if self.can_decide(&rest) {
                return replace_voters(rest);
            }
        }
        let gone = self.members.keys().find(|id| !voters.contains(id) && self.retired(**id));
        if let Some(id) = gone {
            return Step::Change(ChangeMembers::RemoveNodes(BTreeSet::from([*id])), true);
        }

        for (NodeId(id), entry) in &self.state.nodes {
            let member = Member { name: entry.name.clone(), addr: entry.addr.clone() };
            let alive = self.alive.contains(id);
            match self.members.get(id) {
                None if alive => {
                    return Step::Change(ChangeMembers::AddNodes(BTreeMap::from([(*id, member)])), true);
                }
                Some(present) if *present != member => {
                    return Step::Change(ChangeMembers::SetNodes(BTreeMap::from([(*id, member)])), true);
                }
                Some(_) if alive && !voters.contains(id) && self.caught_up.contains(id) => {
                    let more: BTreeSet<u64> = voters.iter().copied().chain([*id]).collect();
                    if self.can_decide(&more) {
                        return Step::Change(ChangeMembers::AddVoterIds(BTreeSet::from([*id])), true);
                    }
                }
                _ => {}
            }
        }
        Step::Nothing
    }

    fn retired(&self, id: u64) -> bool {
        self.state.is_retired(NodeId(id))
    }

    /// Whether a majority of these voters is up: a change to voters that are not would stop the cluster.
    fn can_decide(&self, voters: &BTreeSet<u64>) -> bool {
        voters.intersection(&self.alive).count() > voters.len() / 2
    }
}

fn replace_voters(voters: BTreeSet<u64>) -> Step {
    Step::Change(ChangeMembers::ReplaceAllVoters(voters), false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::CommandKind;
    use crate::machine::tests::run;

    fn register(state: &mut State, index: u64, name: &str, incarnation: &str, replace: bool) {
        let kind = CommandKind::RegisterNode {
            name: name.to_owned(),
            addr: format!("{name}:8261"),
            incarnation: incarnation.to_owned(),
            replace,
        };
        run(state, index, kind).unwrap();
    }

    /// The initial cluster n1 (id 1), n2, …, with those of `up` registered.
    fn cluster(size: u64, up: &[u64]) -> State {
        let mut state = State::default();
        let reserved = (1..=size).map(|id| (format!("n{id}"), NodeId(id))).collect();
        run(&mut state, 1, CommandKind::InitCluster { cluster_id: "c".to_owned(), reserved }).unwrap();
        for id in up {
            register(&mut state, 1 + id, &format!("n{id}"), "first", false);
        }
        state
    }

    fn view<'a>(state: &'a State, me: u64, configs: &[&[u64]], alive: &[u64]) -> View<'a> {
        let configs: Vec<BTreeSet<u64>> = configs.iter().map(|ids| ids.iter().copied().collect()).collect();
        let member = |id: u64| Member { name: format!("n{id}"), addr: format!("n{id}:8261") };
        let members = configs.iter().flatten().map(|id| (*id, member(*id))).collect();
        let alive: BTreeSet<u64> = alive.iter().copied().collect();
        View { me, state, members, configs, caught_up: alive.clone(), alive }
    }

    fn voters(ids: &[u64]) -> Step {
        replace_voters(ids.iter().copied().collect())
    }

    #[test]
    fn the_founder_is_not_gone_before_it_has_registered() {
        // n2 was faster: registered, caught up, voting, while the founder has no entry yet.
        let state = cluster(3, &[2]);
        assert_eq!(view(&state, 1, &[&[1, 2]], &[1, 2]).next_step(), Step::Nothing);
        assert_eq!(view(&state, 1, &[&[1], &[1, 2]], &[1, 2]).next_step(), voters(&[1, 2]));
        // Nor before the cluster has a name.
        assert_eq!(view(&State::default(), 1, &[&[1]], &[1]).next_step(), Step::Nothing);
    }

    #[test]
    fn the_removed_leave_one_at_a_time_and_not_below_a_live_majority() {
        let mut state = cluster(5, &[1, 2, 3, 4, 5]);
        for id in [4, 5] {
            run(&mut state, 10 + id, CommandKind::RemoveNode { node: NodeId(id) }).unwrap();
        }
        let all: &[u64] = &[1, 2, 3, 4, 5];
        assert_eq!(view(&state, 1, &[all], all).next_step(), voters(&[1, 2, 3, 5]));
        assert_eq!(view(&state, 1, &[&[1, 2, 3, 5]], all).next_step(), voters(&[1, 2, 3]));
        // Without 4, two of four are up: no majority. Without 5 neither.
        assert_eq!(view(&state, 1, &[all], &[1, 4, 5]).next_step(), Step::Nothing);
    }

    #[test]
    fn a_removed_leader_steps_aside_once_there_is_a_successor() {
        let mut state = cluster(2, &[1, 2]);
        run(&mut state, 10, CommandKind::RemoveNode { node: NodeId(1) }).unwrap();
        assert_eq!(view(&state, 1, &[&[1, 2]], &[1, 2]).next_step(), Step::Withdraw);
        assert_eq!(view(&state, 1, &[&[1, 2]], &[1]).next_step(), Step::Nothing);
        assert_eq!(view(&state, 2, &[&[1, 2]], &[1, 2]).next_step(), voters(&[2]));
        // Its successor is a learner still: it has to vote first.
        let add = Step::Change(ChangeMembers::AddVoterIds(BTreeSet::from([2])), true);
        let mut learning = view(&state, 1, &[&[1]], &[1, 2]);
        learning.members.insert(2, Member { name: "n2".to_owned(), addr: "n2:8261".to_owned() });
        assert_eq!(learning.next_step(), add);
        // A former leader began to remove it.
        assert_eq!(view(&state, 1, &[&[1, 2], &[2]], &[1, 2]).next_step(), Step::Withdraw);
        assert_eq!(view(&state, 1, &[&[1, 2], &[2]], &[1]).next_step(), Step::Nothing);
    }

    fn ids() -> impl Strategy<Value = BTreeSet<u64>> {
        prop::collection::btree_set(1..8_u64, 1..6)
    }

    proptest! {
        #[test]
        fn no_step_removes_the_leader_or_anybody_in_use(
            size in 1..6_u64,
            registered in ids(),
            removed in ids(),
            replaced in ids(),
            mut configs in prop::collection::vec(ids(), 1..3),
            learners in ids(),
            me in any::<prop::sample::Index>(),
            alive in ids(),
            caught_up in ids(),
        ) {
            let mut state = cluster(size, &[]);
            for (index, id) in (10..).zip(&registered) {
                register(&mut state, index, &format!("n{id}"), "first", false);
            }
            for (index, id) in (20..).zip(&removed) {
                // Refused for an unknown or the last node.
                let _ = run(&mut state, index, CommandKind::RemoveNode { node: NodeId(*id) });
            }
            for (index, id) in (30..).zip(&replaced) {
                register(&mut state, index, &format!("n{id}"), "second", true);
            }
            configs.dedup();
            let before: BTreeSet<u64> = configs.iter().flatten().copied().collect();
            let me = *me.get(&before.iter().copied().collect::<Vec<_>>());
            let slices: Vec<Vec<u64>> = configs.iter().map(|c| c.iter().copied().collect()).collect();
            let slices: Vec<&[u64]> = slices.iter().map(Vec::as_slice).collect();
            let mut view = view(&state, me, &slices, &[]);
            for id in &learners {
                view.members.entry(*id).or_default();
            }
            view.alive = alive.into_iter().chain([me]).collect();
            view.caught_up = caught_up;
            let step = view.next_step();
            let retired = |id: u64| state.is_retired(NodeId(id));
            match &step {
                Step::Nothing => {}
                Step::Withdraw => prop_assert!(retired(me)),
                Step::Change(ChangeMembers::ReplaceAllVoters(after), false) => {
                    prop_assert!(after.contains(&me), "{:?}", step);
                    prop_assert!(after.is_subset(&before));
                    let gone: Vec<u64> = before.difference(after).copied().collect();
                    prop_assert!(gone.iter().all(|id| retired(*id)), "{:?} loses {:?}", step, gone);
                    if configs.len() == 1 {
                        prop_assert_eq!(gone.len(), 1);
                        prop_assert!(view.can_decide(after), "{:?} alive of {:?}", view.alive, after);
                    }
                }
                Step::Change(ChangeMembers::RemoveNodes(gone), true) => {
                    prop_assert!(gone.len() == 1 && gone.iter().all(|id| retired(*id) && !before.contains(id)));
                }
                Step::Change(ChangeMembers::AddNodes(new) | ChangeMembers::SetNodes(new), true) => {
                    prop_assert!(new.len() == 1 && new.keys().all(|id| state.nodes.contains_key(&NodeId(*id))));
                }
                Step::Change(ChangeMembers::AddVoterIds(new), true) => {
                    prop_assert!(new.len() == 1 && new.is_disjoint(&before));
                    prop_assert!(new.iter().all(|id| view.alive.contains(id) && !retired(*id)));
                    prop_assert!(view.can_decide(&before.union(new).copied().collect()));
                }
                other => prop_assert!(false, "unexpected: {:?}", other),
            }
        }
    }
}
