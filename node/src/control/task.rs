//! `start-task`, `stop-task`, `pause-task`, `resume-task`.

use std::collections::BTreeSet;

use dmnode_actors::check::CheckOptions;
use dmnode_model::api::{OperateTaskRequest, StartTaskRequest, TaskOp};
use dmnode_model::codes;
use dmnode_model::config::{SafeModeWindow, StartInstant, TaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName};
use dmnode_model::status::{CommonWorkerResponse, OperateTaskResponse, StartTaskResponse};
use dmnode_raft::{CommandKind, DesiredStage, Expected, State};

use super::check::{Plan, plan, precheck};
use super::status::no_such_task;
use super::wait::{Goal, Runs};
use super::{CommandResult, Control, Reply, earlier_reply, refusal_text, shown_list};

/// A new source is assigned within a heartbeat or two; give it that.
const ASSIGN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(6);
const ASSIGN_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);
/// `remove-meta` drops a few tables; a target that takes longer is stuck.
const REMOVE_META_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

impl Control {
    /// `start-task`, in DM's order of work.
    pub async fn start_task(
        &self,
        request_id: &str,
        request: &StartTaskRequest,
    ) -> CommandResult<StartTaskResponse> {
        let (state, index) = self.raft.read().await?;
        let refused =
            |msg: String| Reply::new(index, StartTaskResponse { msg, ..StartTaskResponse::default() });
        let start_time = match parse_start_time(&request.start_time) {
            Ok(start_time) => start_time,
            Err(msg) => return Ok(refused(msg)),
        };
        let safe_mode_seconds = match request.safe_mode_duration.as_str() {
            "" => None,
            text => match SafeModeWindow::parse(text) {
                Some(duration) => Some(duration.as_secs()),
                None => {
                    return Ok(refused(format!(
                        "error while parse safe-mode-duration, expected a duration such as 60s or 1m30s, got '{text}'"
                    )));
                }
            },
        };
        let parsed = match TaskConfig::from_yaml(&request.task, self.settings.secret_key.as_ref()) {
            Ok(parsed) => parsed,
            Err(err) => return Ok(refused(err.to_string())),
        };
        let config = parsed.value;
        let task = config.name.clone();
        let stored = match self.stored_text(&request.task) {
            Ok(stored) => stored,
            Err(err) => return Ok(refused(err.to_string())),
        };
        let chosen = match chosen_sources(&config, &request.sources) {
            Ok(chosen) => chosen,
            Err(bad) => {
                let sources = bad
                    .into_iter()
                    .map(|source| failed(&source, "source not found in task's config"))
                    .collect();
                return Ok(Reply::new(index, StartTaskResponse { sources, ..StartTaskResponse::default() }));
            }
        };
        let mut msg = parsed.warnings.join("\n");
        // A repeated delivery of a request that was carried out only waits for the result.
        let mut check_result = String::new();
        let mut applied = earlier_reply(&state, request_id, "put").cloned();
        if applied.is_none() {
            let plan = match plan(&state, &config, self.settings.secret_key.as_ref()) {
                Ok(plan) => plan,
                Err(err) => return Ok(refused(err.to_string())),
            };
            if let Some(msg) = self.unassigned(&chosen).await {
                return Ok(refused(msg));
            }
            let existing = existing_subtasks(&state, &task, &chosen);
            if !existing.is_empty() && (existing.len() == chosen.len() || request.remove_meta) {
                let mut err = subtasks_exist(&task, &existing);
                if request.remove_meta {
                    err = err.annotate("while remove-meta is true");
                }
                return Ok(refused(err.to_string()));
            }
            let options = CheckOptions {
                start_time: start_time.clone(),
                remove_meta: request.remove_meta,
                ..CheckOptions::default()
            };
            let verdict = precheck(&plan, options).await;
            if !verdict.passed {
                let body =
                    StartTaskResponse { check_result: verdict.text, msg, ..StartTaskResponse::default() };
                return Ok(Reply::new(index, body));
            }
            check_result = verdict.text;
            let Some(_latch) = self.latch(&task) else {
                let err = CodedError::new(
                    codes::SCHEDULER_LATCH_IN_USE,
                    format!("when start-task, resource task {task} is in use by other client"),
                );
                return Ok(refused(err.to_string()));
            };
            if !request.clean_target.is_empty() {
                if !request.remove_meta {
                    return Ok(refused("--clean-target needs --remove-meta".to_owned()));
                }
                match self.clean_target(&task, &plan, &request.clean_target).await? {
                    Ok(notes) => msg = [msg.as_str(), &notes].join("\n").trim().to_owned(),
                    Err(err) => return Ok(refused(err.to_string())),
                }
            }
            if request.remove_meta
                && let Err(err) = self.remove_meta(&task, &plan).await?
            {
                return Ok(refused(err.to_string()));
            }
            let kind = CommandKind::PutTask {
                task: task.clone(),
                config: stored,
                expected: Expected::Any,
                sources: chosen.clone(),
                stage: DesiredStage::Running,
                start_time,
                safe_mode_seconds,
            };
            applied = Some(self.propose(request_id, "put", kind).await?);
        }
        let Some(reply) = applied else { return Ok(refused("the task was not stored".to_owned())) };
        if let Err(refusal) = &reply.outcome {
            let body = StartTaskResponse {
                msg: refusal_text(refusal),
                check_result,
                ..StartTaskResponse::default()
            };
            return Ok(Reply::new(reply.index, body));
        }
        let sources = self.wait_for(&task, &chosen, Goal::Running, &Runs::new()).await;
        if config.remove_meta && !request.remove_meta {
            let hint = "`remove-meta` in task config is deprecated, please use `start-task ... --remove-meta` instead";
            msg = [hint, msg.as_str()].join("\n").trim_end().to_owned();
        }
        Ok(Reply::new(reply.index, StartTaskResponse { result: true, msg, sources, check_result }))
    }

    /// Forgets an earlier run; refused while any subtask exists.
    async fn remove_meta(
        &self,
        task: &TaskName,
        plan: &Plan,
    ) -> Result<Result<(), CodedError>, dmnode_raft::RaftNodeError> {
        // Looked at again under the latch: another node may have started the task during the check.
        let (state, _) = self.raft.read().await?;
        if let Some(entry) = state.tasks.get(task)
            && !entry.subtasks.is_empty()
        {
            let existing: Vec<SourceId> = entry.subtasks.keys().cloned().collect();
            return Ok(Err(subtasks_exist(task, &existing).annotate("while remove-meta is true")));
        }
        // The tables belong to the task as a whole, so any of its subtasks leads to them.
        if let Some((_, subtask)) = plan.subtasks.first() {
            let removed =
                tokio::time::timeout(REMOVE_META_TIMEOUT, dmnode_actors::meta::remove_meta(subtask)).await;
            let removed = removed.unwrap_or_else(|_| {
                Err(CodedError::new(codes::DB_BAD_CONN, "database driver: the target did not answer in time")
                    .object(format!("task {task}")))
            });
            if let Err(err) = removed {
                return Ok(Err(err.annotate("while removing the task's metadata; nothing was started")));
            }
        }
        Ok(Ok(()))
    }

    /// Waits a moment for sources that were just added; says which have no worker.
    async fn unassigned(&self, sources: &[SourceId]) -> Option<String> {
        let deadline = std::time::Instant::now() + ASSIGN_PATIENCE;
        loop {
            let state = self.raft.local_state();
            let missing: Vec<&SourceId> = sources
                .iter()
                .filter(|id| state.sources.contains_key(*id) && state.owner_of(id).is_none())
                .collect();
            if missing.is_empty() {
                return None;
            }
            if std::time::Instant::now() >= deadline {
                let text = format!("sources {} have not bound", shown_list(missing));
                return Some(CodedError::new(codes::SCHEDULER_SOURCES_UNBOUND, text).to_string());
            }
            tokio::time::sleep(ASSIGN_PAUSE).await;
        }
    }

    /// What Raft keeps of a task file: with a key, the passwords encrypted.
    pub(super) fn stored_text(&self, text: &str) -> Result<String, CodedError> {
        match &self.settings.secret_key {
            Some(key) => TaskConfig::encrypt_passwords_in_yaml(text, key),
            None => Ok(text.to_owned()),
        }
    }

    /// `pause-task`, `resume-task`, `stop-task`.
    pub async fn operate_task(
        &self,
        request_id: &str,
        request: &OperateTaskRequest,
    ) -> CommandResult<OperateTaskResponse> {
        let (state, index) = self.raft.read().await?;
        let op = request.op.as_str().to_owned();
        let refused = |index: u64, msg: String| {
            Reply::new(index, OperateTaskResponse { op: op.clone(), result: false, msg, sources: Vec::new() })
        };
        let task = TaskName::new(request.name.clone());
        let step = "operate";
        let asked: BTreeSet<SourceId> = request.sources.iter().map(|id| SourceId::new(id.clone())).collect();
        let earlier = earlier_reply(&state, request_id, step).cloned();
        let sources: Vec<SourceId> = match state.tasks.get(&task) {
            Some(entry) if !entry.subtasks.is_empty() => {
                let missing: Vec<&SourceId> =
                    asked.iter().filter(|id| !entry.subtasks.contains_key(*id)).collect();
                if earlier.is_none() && !missing.is_empty() {
                    let text = format!("sources {} need to be operate not exist", shown_list(missing));
                    let err = CodedError::new(codes::SCHEDULER_SUB_TASK_OP_SOURCE_NOT_EXIST, text);
                    return Ok(refused(index, err.to_string()));
                }
                if asked.is_empty() {
                    entry.subtasks.keys().cloned().collect()
                } else {
                    asked.into_iter().collect()
                }
            }
            // The task is gone because an earlier delivery of this request stopped it.
            _ if earlier.is_some() => asked.into_iter().collect(),
            _ => return Ok(refused(index, no_such_task(&task))),
        };
        let mut before = Runs::new();
        let mut kind = None;
        let goal = match request.op {
            TaskOp::InvalidOp => {
                let err =
                    CodedError::new(codes::MASTER_INVALID_OPERATE_OP, format!("invalid op {op} on task"));
                return Ok(refused(index, err.to_string()));
            }
            TaskOp::Pause => {
                kind = Some(set_stage(&task, &sources, DesiredStage::Paused));
                Goal::Paused
            }
            TaskOp::Resume => {
                let now = self.runs(&task, &sources).await;
                let ill: Vec<SourceId> = sources
                    .iter()
                    .filter(|id| {
                        !is_running_well(&state, &task, id, now.get(*id).is_some_and(|now| now.is_well))
                    })
                    .cloned()
                    .collect();
                // A subtask that runs well is left alone: resuming it would only interrupt it.
                for id in &ill {
                    if let Some(now) = now.get(id) {
                        before.insert(id.clone(), now.run.clone());
                    }
                }
                if !ill.is_empty() {
                    kind = Some(set_stage(&task, &ill, DesiredStage::Running));
                }
                Goal::Running
            }
            TaskOp::Delete => {
                kind = Some(CommandKind::RemoveSubtasks { task: task.clone(), sources: sources.clone() });
                Goal::Gone
            }
        };
        let index = match (earlier, kind) {
            (Some(reply), _) => {
                // What ran before the change is not known any more; an error shown now counts.
                before.clear();
                match &reply.outcome {
                    Ok(_) => reply.index,
                    Err(refusal) => return Ok(refused(reply.index, refusal_text(refusal))),
                }
            }
            (None, Some(kind)) => {
                let reply = self.propose(request_id, step, kind).await?;
                if let Err(refusal) = &reply.outcome {
                    return Ok(refused(reply.index, refusal_text(refusal)));
                }
                reply.index
            }
            (None, None) => index,
        };
        let sources = self.wait_for(&task, &sources, goal, &before).await;
        Ok(Reply::new(index, OperateTaskResponse { op, result: true, msg: String::new(), sources }))
    }
}

fn set_stage(task: &TaskName, sources: &[SourceId], stage: DesiredStage) -> CommandKind {
    CommandKind::SetStage { task: task.clone(), sources: sources.to_vec(), stage }
}

fn is_running_well(state: &State, task: &TaskName, source: &SourceId, shows_well: bool) -> bool {
    let wanted =
        state.tasks.get(task).and_then(|entry| entry.subtasks.get(source)).map(|subtask| subtask.stage);
    shows_well && wanted == Some(DesiredStage::Running)
}

/// The sources a command is about: those named, which must be in the task, or all of them.
fn chosen_sources(config: &TaskConfig, named: &[String]) -> Result<Vec<SourceId>, Vec<SourceId>> {
    let all: BTreeSet<SourceId> = config.source_ids().into_iter().collect();
    if named.is_empty() {
        return Ok(all.into_iter().collect());
    }
    let named: BTreeSet<SourceId> = named.iter().map(|id| SourceId::new(id.clone())).collect();
    let bad: Vec<SourceId> = named.iter().filter(|id| !all.contains(*id)).cloned().collect();
    if bad.is_empty() { Ok(named.into_iter().collect()) } else { Err(bad) }
}

fn existing_subtasks(state: &State, task: &TaskName, chosen: &[SourceId]) -> Vec<SourceId> {
    let Some(entry) = state.tasks.get(task) else { return Vec::new() };
    chosen.iter().filter(|id| entry.subtasks.contains_key(*id)).cloned().collect()
}

pub(super) fn subtasks_exist(task: &TaskName, sources: &[SourceId]) -> CodedError {
    let text = format!("subtasks with name {task} for sources {} already exist", shown_list(sources));
    CodedError::new(codes::SCHEDULER_SUB_TASK_EXIST, text)
}

fn failed(source: &SourceId, msg: &str) -> CommonWorkerResponse {
    CommonWorkerResponse {
        result: false,
        msg: msg.to_owned(),
        source: source.to_string(),
        worker: String::new(),
    }
}

/// The start time if it can be read; empty means none.
pub(super) fn parse_start_time(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    StartInstant::parse(text).map(|_| Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_have_dms_forms() {
        assert_eq!(parse_start_time(""), Ok(None));
        assert_eq!(parse_start_time("2026-01-02 03:04:05"), Ok(Some("2026-01-02 03:04:05".to_owned())));
        assert!(parse_start_time("2026-01-02T03:04:05").is_ok());
        for wrong in ["yesterday", "2026-13-02 03:04:05", "2026-01-02"] {
            assert!(parse_start_time(wrong).is_err(), "{wrong}");
        }
    }
}
