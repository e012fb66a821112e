//! `diff`: events as they come.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dmnode_actors::diff::{DiffParams, run};
use dmnode_model::api::{DiffEvent, DiffRequest, DiffSummary};
use dmnode_model::codes;
use dmnode_model::config::TaskConfig;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName};
use dmnode_model::secret::SecretKey;
use dmnode_raft::{RaftNodeError, State};
use futures_util::Stream;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::check::{Plan, plan};
use super::tables::with_tables;
use super::{Control, shown_list};

/// A comparison that is silent for so long shows that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Events that may wait for a slow reader.
const EVENTS_AHEAD: usize = 64;

impl Control {
    /// Compares the tables of a task; the lines end when the comparison does. A reader that goes away ends it.
    pub async fn diff(
        self: Arc<Self>,
        request: DiffRequest,
    ) -> Result<(impl Stream<Item = Result<Bytes, Infallible>> + 'static, u64), RaftNodeError> {
        let (state, index) = self.raft.read().await?;
        let (events, receiver) = mpsc::channel(EVENTS_AHEAD);
        let planned = diff_plan(&state, &request, self.settings.secret_key.as_ref());
        self.pool.spawn(async move {
            let last = match compare(planned, &request, events.clone()).await {
                Ok(summary) => DiffEvent::Summary(summary),
                Err(err) => DiffEvent::Error { error: err.to_process_error() },
            };
            // A reader that is gone needs no last word.
            let _ = events.send(last).await;
        });
        let lines = stream::unfold(receiver, |mut receiver| async move {
            let line = match tokio::time::timeout(SIGN_OF_LIFE, receiver.recv()).await {
                // An empty line: the comparison goes on, and a reader that is gone is noticed.
                Err(_) => Vec::new(),
                Ok(event) => serde_json::to_vec(&event?).unwrap_or_default(),
            };
            Some((Ok(Bytes::from([line, vec![b'\n']].concat())), receiver))
        });
        Ok((lines, index))
    }
}

fn diff_plan(state: &State, request: &DiffRequest, key: Option<&SecretKey>) -> Result<Plan, CodedError> {
    let task = TaskName::new(request.task.clone());
    let entry = state.tasks.get(&task).ok_or_else(|| {
        CodedError::new(codes::SCHEDULER_TASK_NOT_EXIST, format!("task with name {task} not exist"))
    })?;
    let config = TaskConfig::from_yaml(&entry.config, key)?.value;
    let mut plan = plan(state, &config, key)?;
    let asked: BTreeSet<SourceId> = request.sources.iter().map(|id| SourceId::new(id.as_str())).collect();
    let unknown: Vec<&SourceId> = asked.iter().filter(|id| !entry.subtasks.contains_key(*id)).collect();
    if !unknown.is_empty() {
        let text = format!("sources {} need to be operate not exist", shown_list(unknown));
        return Err(CodedError::new(codes::SCHEDULER_SUB_TASK_OP_SOURCE_NOT_EXIST, text));
    }
    if !asked.is_empty() && asked.len() < entry.subtasks.len() {
        let text = "invalid op diff on some sources: a comparison is about all sources of the task, since a target table may come from several of them";
        return Err(CodedError::new(codes::MASTER_INVALID_OPERATE_OP, text).remedy("narrow it with --table"));
    }
    // Sources of the file that were not started have not been copied, nor have tables that are still on their way.
    with_tables(&mut plan, entry);
    Ok(plan)
}

async fn compare(
    planned: Result<Plan, CodedError>,
    request: &DiffRequest,
    events: mpsc::Sender<DiffEvent>,
) -> Result<DiffSummary, CodedError> {
    let params = DiffParams::new(planned?.subtasks, request);
    run(params, events, CancellationToken::new()).await
}
