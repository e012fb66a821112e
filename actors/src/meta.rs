//! The task's meta tables in the target.

use dmnode_model::config::SubtaskConfig;
use dmnode_model::error::CodedError;

/// Removes everything dmnode and DM keep in the target for this subtask's task (`start-task --remove-meta`).
pub async fn remove_meta(subtask: &SubtaskConfig) -> Result<(), CodedError> {
    let _ = subtask;
    todo!()
}
