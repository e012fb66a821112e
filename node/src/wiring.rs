//! From what the cluster agreed on to what this node does: follows the replicated state and tells the
//! supervision tree which sources it owns, under which epoch, with which subtasks.
//!
//! A node that loses contact with the others keeps working: its epochs fence it in the targets once somebody
//! else has taken over.

use std::collections::BTreeMap;
use std::sync::Arc;

use dmnode_actors::supervision::{DesiredStage, DesiredSubtask, NodeSupervisorHandle, OwnedSource};
use dmnode_model::config::{SafeModeWindow, SourceConfig, StartTime, TaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::ids::{Epoch, NodeId, SourceId, TaskName};
use dmnode_model::secret::SecretKey;
use dmnode_raft::{RaftNode, State};
use parking_lot::Mutex;

/// Configurations that this node was to act on and could not read.
#[derive(Debug, Default)]
pub struct Unreadable {
    by_subtask: Mutex<BTreeMap<(SourceId, Option<TaskName>), CodedError>>,
}

impl Unreadable {
    /// Why the source itself cannot be worked on.
    pub fn source(&self, source: &SourceId) -> Option<CodedError> {
        self.by_subtask.lock().get(&(source.clone(), None)).cloned()
    }

    /// Subtasks of the source that cannot be worked on.
    pub fn subtasks(&self, source: &SourceId) -> Vec<(TaskName, CodedError)> {
        self.by_subtask
            .lock()
            .iter()
            .filter(|((id, _), _)| id == source)
            .filter_map(|((_, task), err)| Some((task.clone()?, err.clone())))
            .collect()
    }
}

/// What decides whether the wishes changed.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    source: SourceId,
    epoch: Epoch,
    source_version: u64,
    subtasks: Vec<(TaskName, u64, u64, bool)>,
}

/// Follows the state until the Raft side ends.
pub async fn follow(
    raft: RaftNode,
    supervisor: NodeSupervisorHandle,
    key: Option<SecretKey>,
    unreadable: Arc<Unreadable>,
) {
    let mut states = raft.watch();
    let mut last: Option<Vec<Fingerprint>> = None;
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        if let Some(node) = raft.id() {
            let fingerprint = fingerprint(&state, node);
            if last.as_ref() != Some(&fingerprint) {
                let (owned, problems) = owned_sources(&state, node, key.as_ref());
                tracing::info!(sources = owned.len(), "this node's work changed");
                for ((source, task), err) in &problems {
                    let task = task.as_ref().map(TaskName::as_str).unwrap_or_default();
                    tracing::error!(%source, task, code = err.code, error = %err, "configuration cannot be used");
                }
                *unreadable.by_subtask.lock() = problems;
                supervisor.apply(owned);
                last = Some(fingerprint);
            }
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

fn fingerprint(state: &State, node: NodeId) -> Vec<Fingerprint> {
    state
        .sources_of(node)
        .filter_map(|(source, epoch)| {
            let entry = state.sources.get(source)?;
            let subtasks = state
                .tasks_of_source(source)
                .map(|(name, task, subtask)| {
                    let runs = subtask.stage == dmnode_raft::DesiredStage::Running;
                    (name.clone(), task.version, subtask.run_token, runs)
                })
                .collect();
            Some(Fingerprint { source: source.clone(), epoch, source_version: entry.version, subtasks })
        })
        .collect()
}

type Problems = BTreeMap<(SourceId, Option<TaskName>), CodedError>;

/// The sources that `node` owns, ready to be worked on, and what cannot be.
fn owned_sources(state: &State, node: NodeId, key: Option<&SecretKey>) -> (Vec<OwnedSource>, Problems) {
    let mut owned = Vec::new();
    let mut problems = Problems::new();
    for (source_id, epoch) in state.sources_of(node) {
        let Some(entry) = state.sources.get(source_id) else { continue };
        let source = match SourceConfig::from_yaml(&entry.config, key) {
            Ok(parsed) => parsed.value,
            Err(err) => {
                problems.insert((source_id.clone(), None), err);
                continue;
            }
        };
        let mut subtasks = Vec::new();
        // A source that is switched off keeps its tasks, and none of them works.
        for (name, task, subtask) in state.tasks_of_source(source_id).filter(|_| source.enable) {
            let config =
                TaskConfig::from_yaml(&task.config, key).and_then(|parsed| parsed.value.subtask(source_id));
            match config {
                Ok(mut config) => {
                    config.merge_source(&source);
                    config.start_time =
                        subtask.start_time.clone().map(|text| StartTime { text, request: subtask.started });
                    config.decisions.clone_from(&subtask.decisions);
                    config.operations.clone_from(&subtask.tables);
                    config.safe_mode_window = subtask.safe_mode_seconds.map(|seconds| SafeModeWindow {
                        duration: std::time::Duration::from_secs(seconds),
                        request: subtask.started,
                    });
                    let stage = match subtask.stage {
                        dmnode_raft::DesiredStage::Running => DesiredStage::Running,
                        dmnode_raft::DesiredStage::Paused => DesiredStage::Paused,
                    };
                    subtasks.push(DesiredSubtask { config, stage, run_token: subtask.run_token });
                }
                Err(err) => {
                    problems.insert((source_id.clone(), Some(name.clone())), err);
                }
            }
        }
        owned.push(OwnedSource { source, epoch, subtasks });
    }
    (owned, problems)
}
