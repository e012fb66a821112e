//! How far the target is behind the source.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 by this node's clock.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Counts the lag from the time stamps of events, corrected by the difference of the clocks.
#[derive(Debug, Default)]
pub struct Lag {
    /// Source's clock minus ours, in seconds.
    offset: AtomicI64,
    /// Time stamp of the oldest thing known not to be in the target; 0 before anything was read.
    applied: AtomicU64,
    /// The source has said that there is nothing more.
    idle: AtomicBool,
}

impl Lag {
    /// The source's clock said `source_now`.
    pub fn set_source_clock(&self, source_now: i64) {
        self.offset.store(source_now - now(), Ordering::Relaxed);
    }

    /// A transaction that began at this time (source's clock) is in the target.
    pub fn applied(&self, timestamp: u32) {
        self.applied.fetch_max(timestamp.into(), Ordering::Relaxed);
    }

    /// Something was read: there is work.
    pub fn busy(&self, timestamp: u32) {
        if self.idle.swap(false, Ordering::Relaxed) || self.applied.load(Ordering::Relaxed) == 0 {
            // Up to this event everything is in the target.
            self.applied(timestamp);
        }
    }

    /// The source has nothing more than what was read.
    pub fn idle(&self) {
        self.idle.store(true, Ordering::Relaxed);
    }

    /// The connection to the source is lost: nobody knows what it has.
    pub fn unknown(&self) {
        self.idle.store(false, Ordering::Relaxed);
    }

    /// Whether the source has said that there is nothing more.
    pub fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    /// Seconds behind; `in_flight`: something was read that is not yet in the target.
    pub fn seconds(&self, in_flight: bool) -> u64 {
        let applied = i64::try_from(self.applied.load(Ordering::Relaxed)).unwrap_or(0);
        if applied == 0 || (self.is_idle() && !in_flight) {
            return 0;
        }
        let source_now = now() + self.offset.load(Ordering::Relaxed);
        u64::try_from(source_now - applied).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_source_has_no_lag_and_a_lost_one_grows() {
        let lag = Lag::default();
        assert_eq!(lag.seconds(false), 0);
        let stamp = u32::try_from(now() - 100).unwrap();
        lag.busy(stamp);
        assert!(lag.seconds(true) >= 100);
        lag.applied(stamp + 40);
        assert!((60..=62).contains(&lag.seconds(true)));
        lag.idle();
        assert_eq!(lag.seconds(false), 0);
        assert!(lag.seconds(true) >= 60);
        lag.unknown();
        assert!(lag.seconds(false) >= 60);
    }

    #[test]
    fn clocks_may_differ() {
        let lag = Lag::default();
        lag.set_source_clock(now() - 500);
        lag.busy(u32::try_from(now() - 510).unwrap());
        assert!((10..=12).contains(&lag.seconds(true)));
    }
}
