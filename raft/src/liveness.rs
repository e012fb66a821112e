//! Who was heard of, and when. Decides only *when* a source moves, never whether its former owner may still
//! write: that is the epoch's work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dmnode_model::NodeId;
use parking_lot::Mutex;

/// A node is lost after so many unanswered pings at least.
const MISSED: u32 = 2;

/// When the nodes were heard of last, by this node's own ears.
#[derive(Debug)]
pub(crate) struct Liveness {
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    last: BTreeMap<NodeId, Instant>,
    /// Pings in a row that a node did not answer.
    missed: BTreeMap<NodeId, u32>,
    /// This node slept until here (a stopped process, an overloaded machine): silence before it means nothing.
    awake_since: Instant,
    last_tick: Instant,
}

impl Liveness {
    pub fn new(now: Instant) -> Self {
        Self {
            heard: Mutex::new(Heard {
                last: BTreeMap::new(),
                missed: BTreeMap::new(),
                awake_since: now,
                last_tick: now,
            }),
        }
    }

    /// A sign of life.
    pub fn heard(&self, node: NodeId, now: Instant) {
        let mut heard = self.heard.lock();
        heard.last.insert(node, now);
        heard.missed.remove(&node);
    }

    /// A ping was not answered.
    pub fn missed(&self, node: NodeId) {
        let mut heard = self.heard.lock();
        let count = heard.missed.entry(node).or_default();
        *count = count.saturating_add(1);
    }

    /// Called regularly; a gap in these calls means that this node was asleep itself.
    pub fn tick(&self, now: Instant, expected: Duration) {
        let mut heard = self.heard.lock();
        if now.saturating_duration_since(heard.last_tick) > expected * 3 {
            heard.awake_since = now;
            heard.missed.clear();
        }
        heard.last_tick = now;
    }

    /// How long a node has been silent while this one listened, which is known up to the last tick only: whoever
    /// asks first after this node slept must not take its sleep for the silence of the others.
    pub fn silence(&self, node: NodeId) -> Duration {
        let heard = self.heard.lock();
        let last = heard.last.get(&node).copied().unwrap_or(heard.awake_since);
        heard.last_tick.saturating_duration_since(last.max(heard.awake_since))
    }

    /// Whether a node was silent for `after`, and asked more than once.
    pub fn is_lost(&self, node: NodeId, after: Duration) -> bool {
        let missed = self.heard.lock().missed.get(&node).copied().unwrap_or(0);
        missed >= MISSED && self.silence(node) >= after
    }

    /// Whether a node was heard of within `window`; a node never heard of is not alive.
    pub fn is_alive(&self, node: NodeId, now: Instant, window: Duration) -> bool {
        self.heard.lock().last.get(&node).is_some_and(|last| now.saturating_duration_since(*last) < window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Duration = Duration::from_millis(500);

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn silence_counts_only_while_listening() {
        let start = Instant::now();
        let at = |ms| at(start, ms);
        let liveness = Liveness::new(start);
        let node = NodeId(2);
        liveness.tick(at(400), PING);
        assert_eq!(liveness.silence(node), Duration::from_millis(400));
        liveness.heard(node, at(1000));
        liveness.tick(at(1000), PING);
        liveness.tick(at(1600), PING);
        assert_eq!(liveness.silence(node), Duration::from_millis(600));
        assert!(liveness.is_alive(node, at(1600), Duration::from_secs(3)));
        // This node was stopped for 20 s: the silence of the others is its own.
        liveness.tick(at(21_000), PING);
        liveness.tick(at(21_100), PING);
        assert_eq!(liveness.silence(node), Duration::from_millis(100));
        assert!(!liveness.is_alive(node, at(21_100), Duration::from_secs(3)));
    }

    #[test]
    fn nobody_is_lost_at_the_moment_this_node_wakes() {
        let start = Instant::now();
        let liveness = Liveness::new(start);
        let (node, after) = (NodeId(2), Duration::from_secs(3));
        liveness.heard(node, at(start, 500));
        liveness.tick(at(start, 500), PING);
        // Stopped for 20 s. Pings that were under way time out, and the scheduler looks before the next tick.
        liveness.missed(node);
        liveness.missed(node);
        assert_eq!(liveness.silence(node), Duration::ZERO);
        assert!(!liveness.is_lost(node, after));
        liveness.tick(at(start, 20_500), PING);
        assert!(!liveness.is_lost(node, after));
        // From here on it counts, by pings sent since.
        for tick in 1..=6 {
            liveness.tick(at(start, 20_500 + tick * 500), PING);
        }
        assert!(!liveness.is_lost(node, after));
        liveness.missed(node);
        liveness.missed(node);
        assert!(liveness.is_lost(node, after));
        liveness.heard(node, at(start, 23_600));
        assert!(!liveness.is_lost(node, after));
    }
}
