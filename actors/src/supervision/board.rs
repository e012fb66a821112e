//! What is known of the units, readable at any time without asking an actor. Survives a rebuild of the tree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dmnode_model::ids::{Epoch, SourceId, TaskName};
use dmnode_model::status::{
    ProcessResult, RestartCounts, RetryStatus, SourceStatus, SourceStatusEntry, Stage, SubTaskExtra,
    SubTaskStatus, UnitType,
};
use parking_lot::Mutex;

use super::child::{Child, Deaths};
use super::runner::Slot;
use crate::unit::StatusCell;

#[derive(Default)]
struct Shown {
    stage: Stage,
    result: Option<ProcessResult>,
    deaths: Deaths,
    last_cause: String,
    epoch: Epoch,
    retry: Option<(Instant, u32)>,
}

/// One subtask.
#[derive(Default)]
pub(super) struct SubtaskBoard {
    cell: Arc<StatusCell>,
    generation: AtomicU64,
    slot: Slot,
    shown: Mutex<Shown>,
}

impl SubtaskBoard {
    pub fn cell(&self) -> Arc<StatusCell> {
        Arc::clone(&self.cell)
    }

    pub fn slot(&self) -> Slot {
        Arc::clone(&self.slot)
    }

    pub fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn deaths(&self) -> Deaths {
        self.shown.lock().deaths
    }

    /// Copies what is to be seen of the child.
    pub fn show(&self, child: &Child, epoch: Epoch) {
        let (error, by_operator) = child.result();
        let result = (error.is_some() || by_operator).then(|| ProcessResult {
            is_canceled: by_operator,
            errors: error.map(|error| error.to_process_error()).into_iter().collect(),
            detail: None,
        });
        let mut shown = self.shown.lock();
        shown.stage = child.stage();
        shown.result = result;
        shown.deaths = child.deaths();
        if !child.last_cause().is_empty() {
            shown.last_cause = child.last_cause().to_owned();
        }
        shown.epoch = epoch;
        shown.retry = child.retry();
    }

    fn status(&self, task: &TaskName) -> SubTaskStatus {
        let (unit, report) = self.cell.snapshot();
        let shown = self.shown.lock();
        SubTaskStatus {
            name: task.to_string(),
            stage: shown.stage,
            unit,
            result: shown.result.clone(),
            dump: report.dump.filter(|_| unit == UnitType::Dump),
            load: report.load.filter(|_| unit == UnitType::Load),
            sync: report.sync.filter(|_| unit == UnitType::Sync),
            dmnode: Some(SubTaskExtra {
                generation: self.generation.load(Ordering::Relaxed),
                restarts: RestartCounts {
                    panics: shown.deaths.panics,
                    errors: shown.deaths.errors,
                    hangs: shown.deaths.hangs,
                },
                last_restart_cause: shown.last_cause.clone(),
                copy: report.copy,
                epoch: shown.epoch.0,
                retry: shown.retry.map(|(until, failures)| retry_status(until, failures)),
                tables: self.cell.tables(),
                settled: report.settled.map(|settled| settled.to_string()).unwrap_or_default(),
            }),
            ..SubTaskStatus::default()
        }
    }
}

fn retry_status(until: Instant, failures: u32) -> RetryStatus {
    let wait = until.saturating_duration_since(Instant::now());
    let at = jiff::Timestamp::now().checked_add(wait).unwrap_or(jiff::Timestamp::MAX);
    RetryStatus {
        failures: u64::from(failures),
        next_try: at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        next_try_in_seconds: wait.as_secs_f64().ceil() as u64,
    }
}

/// One source.
#[derive(Default)]
pub(super) struct SourceBoard {
    subtasks: Mutex<BTreeMap<TaskName, Arc<SubtaskBoard>>>,
}

impl SourceBoard {
    /// The subtask's place, made when it is new.
    pub fn subtask(&self, task: &TaskName) -> Arc<SubtaskBoard> {
        Arc::clone(self.subtasks.lock().entry(task.clone()).or_default())
    }

    pub fn forget(&self, task: &TaskName) {
        self.subtasks.lock().remove(task);
    }
}

/// The node.
#[derive(Default)]
pub(super) struct NodeBoard {
    sources: Mutex<BTreeMap<SourceId, Arc<SourceBoard>>>,
}

impl NodeBoard {
    /// The source's place, made when it is new.
    pub fn source(&self, source: &SourceId) -> Arc<SourceBoard> {
        Arc::clone(self.sources.lock().entry(source.clone()).or_default())
    }

    pub fn forget(&self, source: &SourceId) {
        self.sources.lock().remove(source);
    }

    pub fn is_empty(&self) -> bool {
        self.sources.lock().is_empty()
    }

    pub fn status(&self, worker: &str) -> Vec<SourceStatusEntry> {
        let sources: Vec<_> =
            self.sources.lock().iter().map(|(id, board)| (id.clone(), Arc::clone(board))).collect();
        sources
            .into_iter()
            .map(|(id, board)| {
                let subtasks: Vec<_> = board
                    .subtasks
                    .lock()
                    .iter()
                    .map(|(task, board)| (task.clone(), Arc::clone(board)))
                    .collect();
                SourceStatusEntry {
                    result: true,
                    msg: if subtasks.is_empty() { "no sub task started".to_owned() } else { String::new() },
                    source_status: Some(SourceStatus {
                        source: id.to_string(),
                        worker: worker.to_owned(),
                        result: None,
                        relay_status: None,
                    }),
                    sub_task_status: subtasks.iter().map(|(task, board)| board.status(task)).collect(),
                }
            })
            .collect()
    }
}
