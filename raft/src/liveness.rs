//! Who was heard of, and when. Decides only *when* a source moves, never whether its former owner may still
//! write: that is the epoch's work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dmnode_model::NodeId;
use parking_lot::Mutex;

/// When the nodes were heard of last, by this node's own ears.
#[derive(Debug)]
pub(crate) struct Liveness {
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    last: BTreeMap<NodeId, Instant>,
    /// This node slept until here (a stopped process, an overloaded machine): silence before it means nothing.
    awake_since: Instant,
    last_tick: Instant,
}

impl Liveness {
    pub fn new(now: Instant) -> Self {
        Self { heard: Mutex::new(Heard { last: BTreeMap::new(), awake_since: now, last_tick: now }) }
    }

    /// A sign of life.
    pub fn heard(&self, node: NodeId, now: Instant) {
        self.heard.lock().last.insert(node, now);
    }

    /// Called regularly; a gap in these calls means that this node was asleep itself.
    pub fn tick(&self, now: Instant, expected: Duration) {
        let mut heard = self.heard.lock();
        if now.saturating_duration_since(heard.last_tick) > expected * 3 {
            heard.awake_since = now;
        }
        heard.last_tick = now;
    }

    /// How long a node has been silent while this one listened.
    pub fn silence(&self, node: NodeId, now: Instant) -> Duration {
        let heard = self.heard.lock();
        let last = heard.last.get(&node).copied().unwrap_or(heard.awake_since);
        now.saturating_duration_since(last.max(heard.awake_since))
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

    #[test]
    fn silence_counts_only_while_listening() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let liveness = Liveness::new(start);
        let node = NodeId(2);
        assert_eq!(liveness.silence(node, at(400)), Duration::from_millis(400));
        liveness.heard(node, at(1000));
        liveness.tick(at(1000), PING);
        assert_eq!(liveness.silence(node, at(1600)), Duration::from_millis(600));
        assert!(liveness.is_alive(node, at(1600), Duration::from_secs(3)));
        // This node was stopped for 20 s: the silence of the others is its own.
        liveness.tick(at(21_000), PING);
        assert_eq!(liveness.silence(node, at(21_100)), Duration::from_millis(100));
        assert!(!liveness.is_alive(node, at(21_100), Duration::from_secs(3)));
    }
}
