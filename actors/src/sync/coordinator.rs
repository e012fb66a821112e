//! What the stream and the appliers share: the window of transactions, the budget, the first failure, the counters.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dmnode_model::error::CodedError;
use dmnode_model::status::SafeModeStatus;
use dmnode_model::{BinlogPosition, Location};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::change::Transaction;
use super::lag::Lag;
use crate::progress::{Ordinal, Window};
use crate::unit::Heartbeat;

/// Memory that decoded transactions may keep alive.
pub const BUDGET_BYTES: usize = 64 << 20;
/// Transactions that may be in flight beyond the watermark: bounds the applied sets.
pub const WINDOW_MAX: usize = 4096;
/// The unit of the budget's permits.
const PERMIT_BYTES: usize = 1024;

/// A transaction on its way to an applier, with its share of the budget.
pub struct Queued {
    /// The transaction.
    pub transaction: Transaction,
    /// Given back (by being dropped) when the transaction is in the target.
    pub _permit: OwnedSemaphorePermit,
}

/// Counters for the status.
#[derive(Debug, Default)]
pub struct Counters {
    /// Row changes in the target.
    pub rows: AtomicU64,
    /// Source transactions with rows in the target.
    pub transactions: AtomicU64,
    /// Target transactions.
    pub batches: AtomicU64,
    /// Bytes of SQL sent.
    pub bytes: AtomicU64,
    /// DDL statements executed.
    pub ddls: AtomicU64,
    /// Statements skipped because they are out of scope or change no rows.
    pub skipped: AtomicU64,
    /// Rows events and statements left out by filters.
    pub filtered: AtomicU64,
    /// Rows that the source has logged twice as deleted.
    pub repeated: AtomicU64,
    /// Statements on objects that are not migrated, by kind.
    pub not_migrated: Mutex<BTreeMap<&'static str, u64>>,
}

/// How far a large transaction is.
#[derive(Debug)]
pub struct LargeProgress {
    /// Where it turned out to be large.
    pub location: String,
    /// Row changes sent.
    pub rows: u64,
    /// Bytes of the binlog read since then.
    pub bytes: u64,
    /// When that was.
    pub since: Instant,
}

/// Shared by the stream and its appliers.
pub struct Shared {
    /// Transactions in flight.
    pub window: Mutex<Window>,
    /// Told whenever something was applied or has failed.
    pub applied: Notify,
    /// Row changes queued, per applier.
    pub load: Vec<AtomicUsize>,
    budget: Arc<Semaphore>,
    failure: Mutex<Option<CodedError>>,
    /// Cancelled at the first failure: nothing goes on after it.
    pub failed: CancellationToken,
    /// Counters.
    pub counters: Counters,
    /// Lag.
    pub lag: Lag,
    /// Where the source was when it was last asked.
    pub source_location: Mutex<Option<Location>>,
    /// The window of safe mode that the stream is in.
    pub safe_mode: Mutex<Option<SafeModeStatus>>,
    /// The large transaction under way.
    pub large: Mutex<Option<LargeProgress>>,
    /// Everything before it is in the target for good, decisions of operators included.
    pub settled: Mutex<Option<BinlogPosition>>,
    /// What somebody should look at, one sentence each; the newest of them.
    pub warnings: Mutex<VecDeque<String>>,
    /// The unit's heartbeat.
    pub heartbeat: Heartbeat,
}

/// Warnings that are kept for the status.
const WARNINGS_MAX: usize = 20;

impl Shared {
    /// Nothing is in flight.
    pub fn new(window: Window, appliers: usize, heartbeat: Heartbeat) -> Self {
        Self {
            window: Mutex::new(window),
            applied: Notify::new(),
            load: (0..appliers).map(|_| AtomicUsize::new(0)).collect(),
            budget: Arc::new(Semaphore::new(BUDGET_BYTES / PERMIT_BYTES)),
            failure: Mutex::new(None),
            failed: CancellationToken::new(),
            counters: Counters::default(),
            lag: Lag::default(),
            source_location: Mutex::new(None),
            safe_mode: Mutex::new(None),
            large: Mutex::new(None),
            settled: Mutex::new(None),
            warnings: Mutex::new(VecDeque::new()),
            heartbeat,
        }
    }

    /// A statement on an object that is not migrated was passed over. The log tells the first of each kind.
    pub fn passed_over(&self, kind: &'static str, location: &str) {
        let mut counts = self.counters.not_migrated.lock();
        let count = counts.entry(kind).or_default();
        *count += 1;
        if *count == 1 {
            tracing::info!(
                kind,
                location,
                "statements of this kind carry no rows and are not migrated; they are counted"
            );
        }
    }

    /// Tells the operator something that does not stop the task.
    pub fn warn(&self, warning: String) {
        tracing::warn!(warning, "the task goes on, but somebody should look at this");
        let mut warnings = self.warnings.lock();
        warnings.retain(|known| *known != warning);
        if warnings.len() >= WARNINGS_MAX {
            warnings.pop_front();
        }
        warnings.push_back(warning);
    }

    /// Takes back what was told of something that is settled.
    pub fn unwarn(&self, prefix: &str) {
        self.warnings.lock().retain(|known| !known.starts_with(prefix));
    }

    /// Waits until there is room for so many bytes. `None` when the unit has failed meanwhile.
    pub async fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = (bytes / PERMIT_BYTES + 1).min(BUDGET_BYTES / PERMIT_BYTES);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            () = self.failed.cancelled() => None,
            permit = Arc::clone(&self.budget).acquire_many_owned(permits) => permit.ok(),
        }
    }

    /// Waits until the condition holds, looking again whenever something was applied. `false` when the unit has
    /// failed.
    pub async fn wait_until(&self, mut holds: impl FnMut(&Window) -> bool) -> bool {
        loop {
            let notified = self.applied.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.failed.is_cancelled() {
                return false;
            }
            if holds(&self.window.lock()) {
                return true;
            }
            tokio::select! {
                () = self.failed.cancelled() => return false,
                () = notified => {}
            }
        }
    }

    /// Transactions are in the target.
    pub fn finish(&self, applier: usize, batch: Vec<Queued>) {
        let mut rows = 0;
        {
            let mut window = self.window.lock();
            for queued in &batch {
                window.done(queued.transaction.ordinal);
                rows += queued.transaction.changes.len();
                self.lag.applied(queued.transaction.timestamp);
            }
        }
        if let Some(load) = self.load.get(applier) {
            load.fetch_sub(rows, Ordering::Relaxed);
        }
        self.counters.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.counters.transactions.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        drop(batch);
        self.heartbeat.beat();
        self.applied.notify_waiters();
    }

    /// Whether a transaction is done.
    pub fn is_done(&self, ordinal: Ordinal) -> bool {
        self.window.lock().is_done(ordinal)
    }

    /// Notes a failure; the first one is the unit's.
    pub fn fail(&self, error: CodedError) {
        self.failure.lock().get_or_insert(error);
        self.failed.cancel();
        self.applied.notify_waiters();
    }

    /// The first failure.
    pub fn take_failure(&self) -> Option<CodedError> {
        self.failure.lock().take()
    }
}
