//! `start-task --clean-target`: what a task has created in the target goes away with its metadata.

use std::time::Duration;

use dmnode_actors::meta::{created_objects, drop_created};
use dmnode_model::api::ListCreatedRequest;
use dmnode_model::codes;
use dmnode_model::config::TaskConfig;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName};
use dmnode_model::status::ListCreatedResponse;
use dmnode_raft::RaftNodeError;

use super::check::{Plan, plan};
use super::task::subtasks_exist;
use super::{CommandResult, Control, Reply};

/// Dropping large tables takes its time.
const CLEAN_TIMEOUT: Duration = Duration::from_secs(10 * 60);

impl Control {
    /// Lists what would be dropped.
    pub async fn list_created(&self, request: &ListCreatedRequest) -> CommandResult<ListCreatedResponse> {
        let (state, index) = self.raft.read().await?;
        let key = self.settings.secret_key.as_ref();
        let config = TaskConfig::from_yaml(&request.task, key).map(|parsed| parsed.value);
        let listed = match config {
            Ok(config) => match (plan(&state, &config, key), state.tasks.get(&config.name)) {
                (_, Some(entry)) if !entry.subtasks.is_empty() => {
                    let running: Vec<SourceId> = entry.subtasks.keys().cloned().collect();
                    Err(subtasks_exist(&config.name, &running).annotate("while clean-target is true"))
                }
                (Ok(plan), _) => limited(created_objects(&plan.subtasks)).await,
                (Err(err), _) => Err(err),
            },
            Err(err) => Err(err),
        };
        let body = match listed {
            Ok(objects) => ListCreatedResponse { result: true, msg: String::new(), objects },
            Err(err) => ListCreatedResponse { result: false, msg: err.to_string(), objects: Vec::new() },
        };
        Ok(Reply::new(index, body))
    }

    /// Drops what was confirmed, as far as it is still what the task has created. Says what was kept.
    pub(super) async fn clean_target(
        &self,
        task: &TaskName,
        plan: &Plan,
        confirmed: &[String],
    ) -> Result<Result<String, CodedError>, RaftNodeError> {
        let (state, _) = self.raft.read().await?;
        if let Some(entry) = state.tasks.get(task)
            && !entry.subtasks.is_empty()
        {
            let existing: Vec<SourceId> = entry.subtasks.keys().cloned().collect();
            return Ok(Err(subtasks_exist(task, &existing).annotate("while clean-target is true")));
        }
        let cleaned = limited(drop_created(&plan.subtasks, confirmed)).await;
        Ok(cleaned.map_err(|err| err.annotate("while cleaning the target; nothing was started")))
    }
}

async fn limited<T>(work: impl Future<Output = Result<T, CodedError>>) -> Result<T, CodedError> {
    match tokio::time::timeout(CLEAN_TIMEOUT, work).await {
        Ok(result) => result,
        Err(_) => {
            Err(CodedError::new(codes::DB_BAD_CONN, "database driver: the servers did not answer in time"))
        }
    }
}
