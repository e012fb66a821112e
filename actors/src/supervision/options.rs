//! Limits and times of the supervision.

use std::time::Duration;

/// Who this node is, and the limits of its supervision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SupervisorOptions {
    /// The node's name, shown as the worker of its sources.
    pub node_name: String,
    /// The cluster's identity, written beside the progress in the targets.
    pub cluster_id: String,
    /// Limits and times.
    pub limits: SupervisionLimits,
}

/// Limits and times of the supervision. The defaults are for production; tests set them low.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SupervisionLimits {
    /// A unit whose heartbeat stood still for this long is replaced.
    pub hang_limit: Duration,
    /// How long a hung unit may take to end by itself before it is aborted.
    pub abort_grace: Duration,
    /// How often heartbeats, back-offs and children are looked at.
    pub check_interval: Duration,
    /// Wait before the first restart after a healthy time.
    pub first_restart: Duration,
    /// Wait before the second restart; doubles from there.
    pub back_off_base: Duration,
    /// Longest wait before a restart.
    pub back_off_cap: Duration,
    /// After this time without a failure the back-off begins anew.
    pub healthy_after: Duration,
    /// How often the supervisors themselves are pinged.
    pub ping_interval: Duration,
    /// A supervisor that does not answer for this long is rebuilt.
    pub ping_timeout: Duration,
}

impl Default for SupervisionLimits {
    fn default() -> Self {
        Self {
            hang_limit: Duration::from_secs(30),
            abort_grace: Duration::from_secs(2),
            check_interval: Duration::from_millis(100),
            first_restart: Duration::from_millis(50),
            back_off_base: Duration::from_secs(1),
            back_off_cap: Duration::from_secs(60),
            healthy_after: Duration::from_secs(300),
            ping_interval: Duration::from_secs(1),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

impl SupervisionLimits {
    /// The wait after the `failures`-th failure in a row (from 0); `jitter` in 0..1 takes up to a quarter off.
    pub(super) fn back_off(&self, failures: u32, jitter: f64) -> Duration {
        let full = match failures.checked_sub(1) {
            None => self.first_restart,
            Some(doublings) => {
                self.back_off_base.saturating_mul(1_u32.checked_shl(doublings.min(20)).unwrap_or(u32::MAX))
            }
        };
        full.min(self.back_off_cap).mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
    }
}
