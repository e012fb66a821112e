//! Limits and times of the supervision.

use std::time::Duration;

use dmnode_model::config::CheckerConfig;

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
    /// Wait before the second restart; grows from there.
    pub back_off_base: Duration,
    /// By what it grows with each restart.
    pub back_off_factor: f64,
    /// Chance shortens each wait by up to a quarter, so that many tasks do not come back in one moment.
    pub jitter: bool,
    /// Failures that pass are retried by themselves.
    pub auto_resume: bool,
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
            back_off_factor: 2.0,
            jitter: true,
            auto_resume: true,
            back_off_cap: Duration::from_secs(60),
            healthy_after: Duration::from_secs(300),
            ping_interval: Duration::from_secs(1),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

impl SupervisionLimits {
    /// The limits of a source whose `checker` says otherwise in some points.
    pub(super) fn with_checker(mut self, checker: &CheckerConfig) -> Self {
        self.auto_resume = checker.check_enable;
        self.jitter = checker.backoff_jitter;
        if let Some(factor) = checker.backoff_factor {
            self.back_off_factor = factor;
        }
        if let Some(min) = checker.backoff_min {
            (self.first_restart, self.back_off_base) = (min, min);
        }
        if let Some(max) = checker.backoff_max {
            self.back_off_cap = max;
        }
        if let Some(rollback) = checker.backoff_rollback {
            self.healthy_after = rollback;
        }
        self
    }

    /// The wait after the `failures`-th failure in a row (from 0); `jitter` in 0..1 takes up to a quarter off.
    pub(super) fn back_off(&self, failures: u32, jitter: f64) -> Duration {
        let full = match failures.checked_sub(1) {
            None => self.first_restart,
            Some(steps) => {
                let growth = self.back_off_factor.max(1.0).powi(i32::try_from(steps.min(64)).unwrap_or(64));
                let seconds = self.back_off_base.as_secs_f64() * growth;
                Duration::try_from_secs_f64(seconds).unwrap_or(self.back_off_cap)
            }
        };
        let jitter = if self.jitter { jitter.clamp(0.0, 1.0) } else { 0.0 };
        full.min(self.back_off_cap).mul_f64(1.0 - 0.25 * jitter)
    }
}
