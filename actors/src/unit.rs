//! What a unit of work gets from its supervisor, and what it gives back.
//!
//! A unit is an `async fn run(ctx: UnitContext, …) -> Result<UnitDone, CodedError>`. It watches `ctx.cancel` at every
//! await, beats `ctx.heartbeat` whenever it has made progress or has proved that there is nothing to do, and shows
//! its state through `ctx.status`. It knows nothing of actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dmnode_model::BinlogPosition;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{Epoch, SourceId, TaskName};
use dmnode_model::status::{CopyProgress, DumpStatus, JoiningTables, LoadStatus, SyncStatus, UnitType};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How often a unit beats while it waits for a server's answer.
const BEAT_WHILE_PENDING: Duration = Duration::from_secs(1);

/// A progress counter. A unit that has not beaten for the hang limit is taken for hung and replaced.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    /// A counter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reports progress. Cheap enough for every row batch and every event.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Beats while something slow is under way at a server, such as a DDL or the commit of a large transaction:
    /// the server's answer is the progress that is waited for, and a dead connection ends the work by itself.
    /// After `limit` it stops beating, and the unit is taken for hung.
    pub async fn while_pending<T>(&self, limit: Duration, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let since = tokio::time::Instant::now();
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep(BEAT_WHILE_PENDING) => if since.elapsed() < limit { self.beat() },
            }
        }
    }

    /// The number of beats so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a unit shows of itself.
#[derive(Clone, Debug, Default)]
pub struct UnitReport {
    /// Filled by the dump part of a full copy.
    pub dump: Option<DumpStatus>,
    /// Filled by the load part of a full copy.
    pub load: Option<LoadStatus>,
    /// Filled by the replication.
    pub sync: Option<SyncStatus>,
    /// Progress of the copy in our own, finer terms; stays after the copy is done.
    pub copy: Option<CopyProgress>,
    /// Everything before it is in the target for good, decisions of operators included.
    pub settled: Option<BinlogPosition>,
}

/// Gives a fresh report when somebody asks, so that a unit's hot path only counts.
pub trait Report: Send + Sync {
    /// The state now. Must not block.
    fn report(&self) -> UnitReport;
}

impl<F: Fn() -> UnitReport + Send + Sync> Report for F {
    fn report(&self) -> UnitReport {
        self()
    }
}

struct CellState {
    unit: UnitType,
    report: Option<Arc<dyn Report>>,
    copy: Option<CopyProgress>,
    dump: Option<DumpStatus>,
    load: Option<LoadStatus>,
    tables: Vec<JoiningTables>,
    decisions_wait: bool,
}

/// The place where a subtask's current unit can be looked at from outside. One per subtask, outlives its units.
pub struct StatusCell(Mutex<CellState>);

impl Default for StatusCell {
    fn default() -> Self {
        Self(Mutex::new(CellState {
            unit: UnitType::InvalidUnit,
            report: None,
            copy: None,
            dump: None,
            load: None,
            tables: Vec::new(),
            decisions_wait: false,
        }))
    }
}

impl StatusCell {
    /// Nothing is running yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A unit begins: from now on its `report` is asked. What the former unit said of the copy is kept.
    pub fn enter(&self, unit: UnitType, report: Arc<dyn Report>) {
        let former = self.0.lock().report.take().map(|former| former.report());
        let mut state = self.0.lock();
        if let Some(former) = former {
            state.copy = former.copy.or_else(|| state.copy.take());
            state.dump = former.dump.or_else(|| state.dump.take());
            state.load = former.load.or_else(|| state.load.take());
        }
        state.unit = unit;
        state.report = Some(report);
    }

    /// The current unit and its report.
    pub fn snapshot(&self) -> (UnitType, UnitReport) {
        let (unit, report, copy, wait) = {
            let state = self.0.lock();
            (state.unit, state.report.clone(), state.copy.clone(), state.decisions_wait)
        };
        let mut report = report.map(|source| source.report()).unwrap_or_default();
        report.copy = report.copy.or(copy);
        if wait {
            report.settled = None;
        }
        (unit, report)
    }

    /// Tables that join the subtask. While some are on their way, decisions of operators are kept for their stream, too.
    pub fn show_tables(&self, tables: Vec<JoiningTables>, on_their_way: bool) {
        let mut state = self.0.lock();
        state.tables = tables;
        state.decisions_wait = on_their_way;
    }

    /// Tables that join the subtask.
    pub fn tables(&self) -> Vec<JoiningTables> {
        self.0.lock().tables.clone()
    }

    /// The current unit.
    pub fn unit(&self) -> UnitType {
        self.0.lock().unit
    }
}

/// Everything a unit gets from its supervisor. Cheap to clone.
#[derive(Clone)]
pub struct UnitContext {
    /// The task this unit works for.
    pub task: TaskName,
    /// The source this unit works for.
    pub source: SourceId,
    /// Cancelled when the unit is to end at the next safe boundary.
    pub cancel: CancellationToken,
    /// Progress counter watched for hangs.
    pub heartbeat: Heartbeat,
    /// Counts the starts of this subtask on this node.
    pub generation: u64,
    /// The epoch of the source's assignment to this node; the fence in the target.
    pub epoch: Epoch,
    /// Identity of the cluster, written beside the progress.
    pub cluster_id: String,
    /// Where the unit shows its state.
    pub status: Arc<StatusCell>,
}

impl UnitContext {
    /// A context that nobody supervises, for tests and tools.
    pub fn detached(task: TaskName, source: SourceId, epoch: Epoch) -> Self {
        Self {
            task,
            source,
            cancel: CancellationToken::new(),
            heartbeat: Heartbeat::new(),
            generation: 1,
            epoch,
            cluster_id: String::new(),
            status: StatusCell::new(),
        }
    }
}

/// How a unit ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitDone {
    /// Its work is complete; the subtask's next unit may start.
    Finished,
    /// It was cancelled, is idle, and has left everything at a transaction boundary.
    Cancelled,
}

/// What a unit returns.
pub type UnitResult = Result<UnitDone, CodedError>;
