//! `binlog-schema`: the definitions of source tables that a task follows.

use std::time::Duration;

use dmnode_actors::sync::{SchemaOperation, operate_schema};
use dmnode_model::api::BinlogSchemaRequest;
use dmnode_model::codes;
use dmnode_model::config::TaskConfig;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TableName, TaskName};
use dmnode_model::status::{CommonWorkerResponse, OperateSchemaResponse, Stage};
use dmnode_raft::State;

use super::check::plan;
use super::status::no_such_task;
use super::{CommandResult, Control, Reply, owner_name, shown_list};

/// A few statements at the source and in the target; servers that take longer are stuck.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Control {
    /// `binlog-schema list|update|delete`. The definitions lie in the target, so any node can do it; a change needs a
    /// task that does not run, since a running one has read them.
    pub async fn binlog_schema(
        &self,
        _request_id: &str,
        request: &BinlogSchemaRequest,
    ) -> CommandResult<OperateSchemaResponse> {
        let (state, index) = self.raft.read().await?;
        let refused = |msg: String| {
            Reply::new(index, OperateSchemaResponse { msg, ..OperateSchemaResponse::default() })
        };
        let (operation, changes) = match operation(request) {
            Ok(operation) => operation,
            Err(err) => return Ok(refused(err.to_string())),
        };
        let task = TaskName::new(request.task.clone());
        let Some(entry) = state.tasks.get(&task) else { return Ok(refused(no_such_task(&task))) };
        let mut sources: Vec<SourceId> = request.sources.iter().map(|id| SourceId::new(id.clone())).collect();
        if sources.is_empty() {
            sources = entry.subtasks.keys().cloned().collect();
        }
        let missing: Vec<&SourceId> = sources.iter().filter(|id| !entry.subtasks.contains_key(*id)).collect();
        if !missing.is_empty() {
            let text = format!("sources {} need to be operate not exist", shown_list(missing));
            let err = CodedError::new(codes::SCHEDULER_SUB_TASK_OP_SOURCE_NOT_EXIST, text);
            return Ok(refused(err.to_string()));
        }
        let key = self.settings.secret_key.as_ref();
        let planned =
            TaskConfig::from_yaml(&entry.config, key).and_then(|parsed| plan(&state, &parsed.value, key));
        let planned = match planned {
            Ok(planned) => planned,
            Err(err) => return Ok(refused(err.to_string())),
        };
        let Some(_latch) = self.latch(&task) else {
            let err = CodedError::new(
                codes::SCHEDULER_LATCH_IN_USE,
                format!("when binlog-schema, resource task {task} is in use by other client"),
            );
            return Ok(refused(err.to_string()));
        };
        let table = TableName::new(request.database.clone(), request.table.clone());
        let mut answers = Vec::new();
        for id in &sources {
            let running = if changes { self.is_running(&state, &task, id).await } else { None };
            let outcome = match (running, planned.subtasks.iter().find(|(source, _)| source.source_id == *id))
            {
                (Some(err), _) => Err(err),
                (None, None) => Err(CodedError::new(
                    codes::SCHEDULER_TASK_NOT_EXIST,
                    format!("task with name {task} not exist"),
                )),
                (None, Some((source, subtask))) => {
                    let done = operate_schema(source, subtask, &table, &operation);
                    tokio::time::timeout(TIMEOUT, done).await.unwrap_or_else(|_| {
                        Err(CodedError::new(
                            codes::DB_BAD_CONN,
                            "database driver: the source or the target did not answer in time",
                        )
                        .object(format!("task {task}")))
                    })
                }
            };
            let (result, msg) = match outcome {
                Ok(text) => (true, text),
                Err(err) => (false, err.to_string()),
            };
            answers.push(CommonWorkerResponse {
                result,
                msg,
                source: id.to_string(),
                worker: owner_name(&state, id),
            });
        }
        let body = OperateSchemaResponse { result: true, msg: String::new(), sources: answers };
        Ok(Reply::new(index, body))
    }

    /// Why the subtask's definitions must not be changed now.
    async fn is_running(&self, state: &State, task: &TaskName, source: &SourceId) -> Option<CodedError> {
        let found = self.statuses(state, std::slice::from_ref(source)).await.remove(source);
        let stage = match found {
            Some(Ok(entry)) => entry
                .sub_task_status
                .iter()
                .find(|status| status.name == task.as_str())
                .map_or(Stage::InvalidStage, |status| status.stage),
            // Nobody runs it, as far as anybody can tell.
            Some(Err(_)) | None => return None,
        };
        (!matches!(stage, Stage::Paused | Stage::Stopped | Stage::InvalidStage)).then(|| {
            CodedError::new(
                codes::WORKER_NOT_PAUSED_STAGE,
                format!("current stage is {stage} but not paused, invalid"),
            )
            .object(format!("task {task}, source {source}"))
            .remedy("pause-task first")
        })
    }
}

/// What is asked for, and whether it changes anything.
fn operation(request: &BinlogSchemaRequest) -> Result<(SchemaOperation, bool), CodedError> {
    let invalid = |text: &str| {
        let text = format!("invalid op {} on binlog-schema: {text}", request.op);
        Err(CodedError::new(codes::MASTER_INVALID_OPERATE_OP, text))
    };
    if request.database.is_empty() || request.table.is_empty() {
        return invalid("name the database and the table of the source");
    }
    let given = [!request.schema.trim().is_empty(), request.from_source, request.from_target];
    match (request.op.as_str(), given) {
        ("list", [false, false, false]) => Ok((SchemaOperation::List, false)),
        ("delete", [false, false, false]) => Ok((SchemaOperation::Delete, true)),
        ("update", [true, false, false]) => Ok((SchemaOperation::Update(request.schema.clone()), true)),
        ("update", [false, true, false]) => Ok((SchemaOperation::UpdateFromSource, true)),
        ("update", [false, false, true]) => Ok((SchemaOperation::UpdateFromTarget, true)),
        ("update", _) => invalid("give one of: a CREATE TABLE statement, from-source, from-target"),
        _ => invalid("binlog-schema does list, update or delete; only update takes a definition"),
    }
}
