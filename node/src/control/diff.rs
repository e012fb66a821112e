//! `diff`: events as they come.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use dmnode_model::api::{DiffEvent, DiffRequest};
use dmnode_model::config::TaskConfig;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName};
use dmnode_raft::RaftNodeError;
use futures_util::Stream;
use futures_util::stream;
use tokio::sync::mpsc;

use super::check::{Plan, plan};
use super::status::no_such_task;
use super::{Control, shown_list};

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
            let failed = match planned {
                Ok(plan) => compare(plan, request, events.clone()).await.err(),
                Err(err) => Some(err),
            };
            if let Some(err) = failed {
                // A reader that is gone needs no error.
                let _ = events.send(DiffEvent::Error { error: err.to_process_error() }).await;
            }
        });
        let lines = stream::unfold(receiver, |mut receiver| async move {
            let event = receiver.recv().await?;
            let mut line = serde_json::to_vec(&event).unwrap_or_default();
            line.push(b'\n');
            Some((Ok(Bytes::from(line)), receiver))
        });
        Ok((lines, index))
    }
}

fn diff_plan(
    state: &dmnode_raft::State,
    request: &DiffRequest,
    key: Option<&dmnode_model::secret::SecretKey>,
) -> Result<Plan, CodedError> {
    let task = TaskName::new(request.task.clone());
    let entry = state
        .tasks
        .get(&task)
        .ok_or_else(|| CodedError::new(dmnode_model::codes::SCHEDULER_TASK_NOT_EXIST, no_such_task(&task)))?;
    let config = TaskConfig::from_yaml(&entry.config, key)?.value;
    let mut plan = plan(state, &config, key)?;
    let unknown: Vec<&String> = request
        .sources
        .iter()
        .filter(|id| !entry.subtasks.contains_key(&SourceId::new(id.as_str())))
        .collect();
    if !unknown.is_empty() {
        let text = format!("sources {} need to be operate not exist", shown_list(unknown));
        return Err(CodedError::new(dmnode_model::codes::SCHEDULER_SUB_TASK_OP_SOURCE_NOT_EXIST, text));
    }
    // A table of the target may come from several sources, so the comparison needs them all; it narrows by itself.
    plan.subtasks.retain(|(source, _)| entry.subtasks.contains_key(&source.source_id));
    Ok(plan)
}

async fn compare(
    plan: Plan,
    request: DiffRequest,
    events: mpsc::Sender<DiffEvent>,
) -> Result<(), CodedError> {
    let _ = (plan, request, events);
    Err(CodedError::new(dmnode_model::codes::INTERNAL, "the comparison is not built in yet"))
}
