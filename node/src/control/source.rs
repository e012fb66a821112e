//! `operate-source create | update | stop | show`.

use std::time::{Duration, Instant};

use dmnode_model::api::{OperateSourceRequest, SourceOp};
use dmnode_model::codes;
use dmnode_model::config::SourceConfig;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{NodeId, SourceId};
use dmnode_model::status::{CommonWorkerResponse, OperateSourceResponse};
use dmnode_raft::{CommandKind, CommandReply, DesiredStage, Expected, RaftNodeError, State};

use super::{CommandResult, Control, Reply, earlier_reply, owner_name, refusal_text, shown_list};

/// How long a new source may take to find its node, as in DM (10 looks, 1 s apart).
const BIND_PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
/// How often a binding is tried again when the scheduler was faster.
const BIND_ATTEMPTS: u32 = 5;

const NOT_BOUND: &str = "source is added but there is no free worker to bound";
const UPDATED_NOT_BOUND: &str = "source is updated but there is no free worker to bound";
const STOPPED_UNBOUND: &str = "source is stopped and hasn't bound to worker before being stopped";

/// A source of the request, checked.
struct Candidate {
    id: SourceId,
    stored: String,
}

impl Control {
    /// `operate-source`.
    pub async fn operate_source(
        &self,
        request_id: &str,
        request: &OperateSourceRequest,
    ) -> CommandResult<OperateSourceResponse> {
        match request.op {
            SourceOp::StartSource => self.create_sources(request_id, request).await,
            SourceOp::UpdateSource => self.update_sources(request_id, request).await,
            SourceOp::StopSource => self.stop_sources(request_id, request).await,
            SourceOp::ShowSource => self.show_sources(request).await,
            SourceOp::InvalidSourceOp => {
                let (_, index) = self.raft.read().await?;
                let err =
                    CodedError::new(codes::MASTER_INVALID_OPERATE_OP, "invalid op InvalidSourceOp on source");
                Ok(refused(index, err.to_string()))
            }
        }
    }

    async fn create_sources(
        &self,
        request_id: &str,
        request: &OperateSourceRequest,
    ) -> CommandResult<OperateSourceResponse> {
        let (state, index) = self.raft.read().await?;
        let wanted_node = match wanted_node(&state, request) {
            Ok(node) => node,
            Err(msg) => return Ok(refused(index, msg)),
        };
        // All are parsed and probed before the first is stored.
        let is_repeated = earlier_reply(&state, request_id, "put-0").is_some();
        let (candidates, warnings) = match self.candidates(request, !is_repeated).await {
            Ok(found) => found,
            Err(err) => return Ok(refused(index, err.to_string())),
        };
        if !is_repeated
            && let Some(existing) = candidates.iter().find(|one| state.sources.contains_key(&one.id))
        {
            let text = format!("source config with ID {} already exists", existing.id);
            return Ok(refused(index, CodedError::new(codes::SCHEDULER_SOURCE_CFG_EXIST, text).to_string()));
        }
        let mut last = index;
        for (position, candidate) in candidates.iter().enumerate() {
            let kind = CommandKind::PutSource {
                source: candidate.id.clone(),
                config: candidate.stored.clone(),
                expected: Expected::Absent,
            };
            let reply = self.propose(request_id, &format!("put-{position}"), kind).await;
            let problem = match &reply {
                Ok(CommandReply { index, outcome: Ok(_) }) => {
                    last = *index;
                    continue;
                }
                Ok(CommandReply { index, outcome: Err(refusal) }) => {
                    Ok(refused(*index, refusal_text(refusal)))
                }
                Err(RaftNodeError::NoLeader { .. }) => Err(()),
                // Unknown or worse: the client repeats the request, which finds out.
                Err(_) => return reply.map(|reply| refused(reply.index, String::new())),
            };
            // One could not be added: take back those that this command added.
            self.revert(request_id, &candidates[..position]).await?;
            return match (problem, reply) {
                (Ok(answer), _) => Ok(answer),
                (Err(()), reply) => reply.map(|reply| refused(reply.index, String::new())),
            };
        }
        if let (Some(node), Some(candidate)) = (wanted_node, candidates.first())
            && let Some(msg) = self.bind(request_id, &candidate.id, node).await?
        {
            self.revert(request_id, &candidates).await?;
            return Ok(refused(last, msg));
        }
        let ids: Vec<SourceId> = candidates.into_iter().map(|one| one.id).collect();
        let sources = self.wait_for_binding(&ids, NOT_BOUND).await;
        Ok(Reply::new(last, OperateSourceResponse { result: true, msg: warnings.join("\n"), sources }))
    }

    async fn revert(&self, request_id: &str, added: &[Candidate]) -> Result<(), RaftNodeError> {
        for candidate in added {
            let kind = CommandKind::RemoveSource { source: candidate.id.clone() };
            let reply = self.propose(request_id, &format!("revert-{}", candidate.id), kind).await?;
            if let Err(refusal) = reply.outcome {
                tracing::warn!(source = %candidate.id, error = %refusal, "a source that was just added could not be taken back");
            }
        }
        Ok(())
    }

    /// DM refuses updates; here they are allowed while no task of the source is meant to run.
    async fn update_sources(
        &self,
        request_id: &str,
        request: &OperateSourceRequest,
    ) -> CommandResult<OperateSourceResponse> {
        let (state, index) = self.raft.read().await?;
        let is_repeated = earlier_reply(&state, request_id, "update-0").is_some();
        let (candidates, warnings) = match self.candidates(request, !is_repeated).await {
            Ok(found) => found,
            Err(err) => return Ok(refused(index, err.to_string())),
        };
        let mut last = index;
        for (position, candidate) in candidates.iter().enumerate() {
            let step = format!("update-{position}");
            if earlier_reply(&state, request_id, &step).is_none()
                && let Some(msg) = cannot_update(&state, &candidate.id)
            {
                return Ok(refused(last, partly(position, &candidates, msg)));
            }
            let version = state.sources.get(&candidate.id).map_or(0, |entry| entry.version);
            let kind = CommandKind::PutSource {
                source: candidate.id.clone(),
                config: candidate.stored.clone(),
                expected: Expected::Version(version),
            };
            // A repeated request must look the same, so the first answer is taken from the state.
            let reply = match earlier_reply(&state, request_id, &step) {
                Some(reply) => reply.clone(),
                None => self.propose(request_id, &step, kind).await?,
            };
            last = reply.index;
            if let Err(refusal) = &reply.outcome {
                return Ok(refused(last, partly(position, &candidates, refusal_text(refusal))));
            }
        }
        let ids: Vec<SourceId> = candidates.into_iter().map(|one| one.id).collect();
        let sources = self.wait_for_binding(&ids, UPDATED_NOT_BOUND).await;
        Ok(Reply::new(last, OperateSourceResponse { result: true, msg: warnings.join("\n"), sources }))
    }

    async fn stop_sources(
        &self,
        request_id: &str,
        request: &OperateSourceRequest,
    ) -> CommandResult<OperateSourceResponse> {
        let (state, index) = self.raft.read().await?;
        let mut ids: Vec<SourceId> = request.source_id.iter().map(|id| SourceId::new(id.clone())).collect();
        for text in &request.config {
            match SourceConfig::from_yaml(text, self.settings.secret_key.as_ref()) {
                Ok(parsed) => ids.push(parsed.value.source_id),
                Err(err) => return Ok(refused(index, err.to_string())),
            }
        }
        let mut last = index;
        let mut sources = Vec::new();
        for id in &ids {
            let worker = owner_name(&state, id);
            let kind = CommandKind::RemoveSource { source: id.clone() };
            // Not transactional over several, as in DM: the answer says how far it came.
            let reply = self.propose(request_id, &format!("stop-{id}"), kind).await?;
            last = reply.index;
            if let Err(refusal) = &reply.outcome {
                let body = OperateSourceResponse { result: false, msg: refusal_text(refusal), sources };
                return Ok(Reply::new(last, body));
            }
            let msg = if worker.is_empty() { STOPPED_UNBOUND.to_owned() } else { String::new() };
            sources.push(CommonWorkerResponse { result: true, msg, source: id.to_string(), worker });
        }
        Ok(Reply::new(last, OperateSourceResponse { result: true, msg: String::new(), sources }))
    }

    async fn show_sources(&self, request: &OperateSourceRequest) -> CommandResult<OperateSourceResponse> {
        let (state, index) = self.raft.read().await?;
        let mut ids: Vec<SourceId> = request.source_id.iter().map(|id| SourceId::new(id.clone())).collect();
        if ids.is_empty() {
            ids = state.sources.keys().cloned().collect();
        }
        let unknown: Vec<&SourceId> = ids.iter().filter(|id| !state.sources.contains_key(*id)).collect();
        if !unknown.is_empty() {
            return Ok(refused(index, format!("sources {} haven't been added", shown_list(unknown))));
        }
        let sources = ids.iter().map(|id| shown(&state, id, NOT_BOUND)).collect();
        Ok(Reply::new(index, OperateSourceResponse { result: true, msg: String::new(), sources }))
    }

    /// Parses, and when asked to probes, every source of the request.
    async fn candidates(
        &self,
        request: &OperateSourceRequest,
        probe: bool,
    ) -> Result<(Vec<Candidate>, Vec<String>), CodedError> {
        let key = self.settings.secret_key.as_ref();
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut warnings = Vec::new();
        let count = request.config.len();
        for (position, text) in request.config.iter().enumerate() {
            let parsed = SourceConfig::from_yaml(text, key).map_err(|err| match count {
                1 => err,
                _ => err.annotate(format!("file {} of {count}", position + 1)),
            })?;
            let id = parsed.value.source_id.clone();
            if candidates.iter().any(|one| one.id == id) {
                let text = format!("source config with ID {id} already exists");
                return Err(
                    CodedError::new(codes::SCHEDULER_SOURCE_CFG_EXIST, text).remedy("name each source once")
                );
            }
            warnings.extend(parsed.warnings.iter().map(|warning| format!("{id}: {warning}")));
            if probe {
                super::check::probe(&parsed.value)
                    .await
                    .map_err(|err| err.annotate(format!("source {id}")))?;
            }
            let stored = match key {
                Some(key) => SourceConfig::encrypt_passwords_in_yaml(text, key)?,
                None => text.clone(),
            };
            candidates.push(Candidate { id, stored });
        }
        if candidates.is_empty() {
            return Err(CodedError::new(
                codes::MASTER_INVALID_OPERATE_OP,
                "invalid op on source: no source file was given",
            ));
        }
        Ok((candidates, warnings))
    }

    /// Gives a source to the node that was asked for. The scheduler may have been faster; then it moves.
    async fn bind(
        &self,
        request_id: &str,
        source: &SourceId,
        node: NodeId,
    ) -> Result<Option<String>, RaftNodeError> {
        let mut msg = None;
        for attempt in 0..BIND_ATTEMPTS {
            let (state, _) = self.raft.read().await?;
            if state.owner_of(source).is_some_and(|(owner, _)| owner == node) {
                return Ok(None);
            }
            let expected_epoch = state.assignments.get(source).map(|assignment| assignment.epoch);
            let kind = CommandKind::Assign { source: source.clone(), node, expected_epoch, pinned: true };
            match self.propose(request_id, &format!("bind-{attempt}"), kind).await?.outcome {
                Ok(_) => return Ok(None),
                Err(refusal) => msg = Some(refusal_text(&refusal)),
            }
        }
        Ok(msg)
    }

    async fn wait_for_binding(&self, ids: &[SourceId], not_bound: &str) -> Vec<CommonWorkerResponse> {
        let deadline = Instant::now() + BIND_PATIENCE;
        loop {
            let state = self.raft.local_state();
            let is_bound = ids.iter().all(|id| state.owner_of(id).is_some());
            if is_bound || Instant::now() >= deadline {
                return ids.iter().map(|id| shown(&state, id, not_bound)).collect();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn refused(index: u64, msg: String) -> Reply<OperateSourceResponse> {
    Reply::new(index, OperateSourceResponse { result: false, msg, sources: Vec::new() })
}

fn shown(state: &State, id: &SourceId, not_bound: &str) -> CommonWorkerResponse {
    let worker = owner_name(state, id);
    let msg = if worker.is_empty() { not_bound.to_owned() } else { String::new() };
    CommonWorkerResponse { result: true, msg, source: id.to_string(), worker }
}

/// Which of several were updated before one was refused.
fn partly(position: usize, candidates: &[Candidate], msg: String) -> String {
    if position == 0 {
        return msg;
    }
    let done = shown_list(candidates[..position].iter().map(|one| one.id.clone()));
    format!("{msg} (already updated: {done})")
}

fn cannot_update(state: &State, id: &SourceId) -> Option<String> {
    if !state.sources.contains_key(id) {
        let text = format!("source config with ID {id} not exists");
        return Some(CodedError::new(codes::SCHEDULER_SOURCE_CFG_NOT_EXIST, text).to_string());
    }
    let running: Vec<String> = state
        .tasks_of_source(id)
        .filter(|(_, _, subtask)| subtask.stage == DesiredStage::Running)
        .map(|(name, _, _)| name.to_string())
        .collect();
    if running.is_empty() {
        return None;
    }
    let text =
        format!("source {id} can only be updated when relay is disabled and no tasks are running for now");
    let err = CodedError::new(codes::SCHEDULER_SOURCE_CFG_UPDATE, text)
        .remedy(format!("pause-task {} first, resume it afterwards", running.join(", ")));
    Some(err.to_string())
}

fn wanted_node(state: &State, request: &OperateSourceRequest) -> Result<Option<NodeId>, String> {
    if request.worker_name.is_empty() {
        return Ok(None);
    }
    if request.config.len() != 1 {
        return Err("--worker goes with exactly one source".to_owned());
    }
    match state.node_by_name(&request.worker_name) {
        Some((node, _)) => Ok(Some(node)),
        None => {
            let text = format!("dm-worker with name {} not exists", request.worker_name);
            Err(CodedError::new(codes::SCHEDULER_WORKER_NOT_EXIST, text).to_string())
        }
    }
}
