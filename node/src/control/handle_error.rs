//! `binlog skip|replace|revert|inject|list` and `handle-error`: what becomes of an event that a task cannot pass.
//!
//! The decision is kept in the replicated state, by task, source and position, until the target is past the event for
//! good; so it outlives the node it was given to.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::api::{ErrorOp, HandleErrorRequest};
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName};
use dmnode_model::status::{CommonWorkerResponse, OperateTaskResponse, SourceStatusEntry, UnitType};
use dmnode_model::{BinlogPosition, StreamDecision, StreamOp};
use dmnode_raft::{CommandKind, State};
use serde::Serialize;

use super::status::{no_such_task, unbound};
use super::wait::Goal;
use super::{CommandResult, Control, Reply, earlier_reply, owner_name, refusal_text, shown_list};

/// How often the owner looks whether decisions have had their effect.
const SETTLE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// One decision as DM lists it.
#[derive(Serialize)]
struct Listed<'a> {
    op: u8,
    task: &'a str,
    #[serde(rename = "binlogPos")]
    binlog_pos: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    sqls: &'a [String],
}

impl Control {
    /// `binlog …`, `handle-error …`.
    pub async fn handle_error(
        &self,
        request_id: &str,
        request: &HandleErrorRequest,
    ) -> CommandResult<OperateTaskResponse> {
        let (state, index) = self.raft.read().await?;
        let answer = |index: u64, result: bool, msg: String, sources: Vec<CommonWorkerResponse>| {
            Reply::new(index, OperateTaskResponse { op: String::new(), result, msg, sources })
        };
        let task = TaskName::new(request.task.clone());
        let Some(entry) = state.tasks.get(&task).filter(|entry| !entry.subtasks.is_empty()) else {
            return Ok(answer(index, false, no_such_task(&task), Vec::new()));
        };
        let asked: BTreeSet<SourceId> = request.sources.iter().map(|id| SourceId::new(id.clone())).collect();
        let missing: Vec<&SourceId> = asked.iter().filter(|id| !entry.subtasks.contains_key(*id)).collect();
        if !missing.is_empty() {
            let text = format!("sources {} need to be operate not exist", shown_list(missing));
            let err = CodedError::new(codes::SCHEDULER_SUB_TASK_OP_SOURCE_NOT_EXIST, text);
            return Ok(answer(index, false, err.to_string(), Vec::new()));
        }
        let sources: Vec<SourceId> = if asked.is_empty() {
            entry.subtasks.keys().cloned().collect()
        } else {
            asked.into_iter().collect()
        };
        let given = match parse_position(&request.binlog_pos) {
            Ok(given) => given,
            Err(err) => return Ok(answer(index, false, err.to_string(), Vec::new())),
        };
        let op = match request.op {
            ErrorOp::List => {
                let listed = sources
                    .iter()
                    .map(|source| reply(&state, source, list(&state, &task, source, given.as_ref())))
                    .collect();
                return Ok(answer(index, true, String::new(), listed));
            }
            ErrorOp::InvalidErrorOp => {
                let err = CodedError::new(codes::MASTER_INVALID_OPERATE_OP, "invalid op on error handling");
                return Ok(answer(index, false, err.to_string(), Vec::new()));
            }
            ErrorOp::Skip => Some(StreamOp::Skip),
            ErrorOp::Replace => Some(StreamOp::Replace),
            ErrorOp::Inject => Some(StreamOp::Inject),
            ErrorOp::Revert => None,
        };
        let statements = match checked_statements(op, &request.sqls) {
            Ok(statements) => statements,
            Err(err) => return Ok(answer(index, false, err.to_string(), Vec::new())),
        };
        let step = "decide";
        let mut answers = BTreeMap::new();
        let earlier = earlier_reply(&state, request_id, step).cloned();
        let before = self.runs(&task, &sources).await;
        let (decided, applied) = match earlier {
            // A repeated delivery: what it decided is done, the errors of now are others.
            Some(earlier) => (sources.clone(), Some(earlier)),
            None => {
                let mut found = self.statuses(&state, &sources).await;
                let mut positions = BTreeMap::new();
                for source in &sources {
                    let status = found.remove(source).unwrap_or_else(|| Err(unbound(source)));
                    match position(&task, source, status, given.as_ref(), op) {
                        Ok(position) => {
                            positions.insert(source.clone(), position);
                        }
                        Err(msg) => {
                            answers.insert(source.clone(), reply(&state, source, Err(msg)));
                        }
                    }
                }
                if positions.is_empty() {
                    (Vec::new(), None)
                } else {
                    let decided = positions.keys().cloned().collect();
                    tracing::info!(%task, op = op.map_or("revert", StreamOp::as_str), ?positions,
                        "an operator decides about events");
                    let kind = CommandKind::DecideEvent { task: task.clone(), positions, op, statements };
                    (decided, Some(self.propose(request_id, step, kind).await?))
                }
            }
        };
        let mut at = index;
        if let Some(applied) = applied {
            at = applied.index;
            match &applied.outcome {
                Err(refusal) => {
                    for source in &decided {
                        answers.insert(source.clone(), reply(&state, source, Err(refusal_text(refusal))));
                    }
                }
                Ok(_) => {
                    let before = before.into_iter().map(|(source, now)| (source, now.run)).collect();
                    for mut one in self.wait_for(&task, &decided, Goal::Running, &before).await {
                        // The decision holds; that the stream may meet the next obstacle is another matter.
                        one.result = true;
                        answers.insert(SourceId::new(one.source.clone()), one);
                    }
                }
            }
        }
        Ok(answer(at, true, String::new(), answers.into_values().collect()))
    }

    /// Drops the decisions that have had their effect, as long as this node lives.
    pub async fn settle_decisions(&self) {
        loop {
            tokio::time::sleep(SETTLE_INTERVAL).await;
            let Some(me) = self.raft.id() else { continue };
            let state = self.raft.local_state();
            let waiting = state.sources_of(me).any(|(source, _)| {
                state.tasks_of_source(source).any(|(_, _, subtask)| {
                    !subtask.decisions.is_empty() || subtask.tables.iter().any(|one| one.is_pending())
                })
            });
            let (true, Some(supervisor)) = (waiting, self.supervisor.get()) else { continue };
            for entry in supervisor.status() {
                self.settle_source(&state, &entry).await;
                self.settle_tables(&state, &entry).await;
            }
        }
    }

    async fn settle_source(&self, state: &State, entry: &SourceStatusEntry) {
        let Some(status) = &entry.source_status else { return };
        let source = SourceId::new(status.source.clone());
        for subtask in &entry.sub_task_status {
            let task = TaskName::new(subtask.name.clone());
            let settled =
                subtask.dmnode.as_ref().and_then(|extra| extra.settled.parse::<BinlogPosition>().ok());
            let Some(before) = settled.filter(|settled| !settled.is_empty()) else { continue };
            let waits = state
                .tasks
                .get(&task)
                .and_then(|entry| entry.subtasks.get(&source))
                .is_some_and(|subtask| subtask.decisions.iter().any(|one| one.position < before));
            if waits {
                let kind = CommandKind::SettleDecisions { task, source: source.clone(), before };
                if let Err(err) = self.raft.propose(dmnode_raft::Command::fresh(kind)).await {
                    tracing::debug!(error = %err, "settled decisions are dropped later");
                }
            }
        }
    }
}

fn reply(state: &State, source: &SourceId, outcome: Result<String, String>) -> CommonWorkerResponse {
    let result = outcome.is_ok();
    let msg = outcome.unwrap_or_else(|msg| msg);
    CommonWorkerResponse { result, msg, source: source.to_string(), worker: owner_name(state, source) }
}

fn list(
    state: &State,
    task: &TaskName,
    source: &SourceId,
    from: Option<&BinlogPosition>,
) -> Result<String, String> {
    let decisions: &[StreamDecision] = state
        .tasks
        .get(task)
        .and_then(|entry| entry.subtasks.get(source))
        .map(|subtask| subtask.decisions.as_slice())
        .unwrap_or_default();
    let listed: Vec<Listed<'_>> = decisions
        .iter()
        .filter(|decision| from.is_none_or(|from| decision.position >= *from))
        .map(|decision| Listed {
            op: decision.op.number(),
            task: task.as_str(),
            binlog_pos: decision.position.to_string(),
            sqls: &decision.statements,
        })
        .collect();
    serde_json::to_string(&listed).map_err(|err| err.to_string())
}

/// `mysql-bin.000001:4`, and the relay log's form `mysql-bin|000003.000001:4`.
fn parse_position(text: &str) -> Result<Option<BinlogPosition>, CodedError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let mut position: BinlogPosition = text.parse()?;
    if let Some((base, rest)) = position.file.clone().split_once('|')
        && let Some((_, number)) = rest.split_once('.')
    {
        position.file = format!("{base}.{number}");
    }
    Ok(Some(position))
}

fn checked_statements(op: Option<StreamOp>, sqls: &[String]) -> Result<Vec<String>, CodedError> {
    let wants = matches!(op, Some(StreamOp::Replace | StreamOp::Inject));
    let statements = dmnode_actors::operator::ddl_statements(sqls)?;
    match (wants, statements.is_empty()) {
        (true, true) => Err(CodedError::new(codes::OPERATOR_STATEMENT, "the statements are missing")),
        (false, false) => {
            Err(CodedError::new(codes::OPERATOR_STATEMENT, "this operation takes no statements"))
        }
        _ => Ok(statements),
    }
}

/// Which event of the source's stream is meant, or why none can be.
fn position(
    task: &TaskName,
    source: &SourceId,
    status: Result<SourceStatusEntry, String>,
    given: Option<&BinlogPosition>,
    op: Option<StreamOp>,
) -> Result<BinlogPosition, String> {
    let status = status?;
    let subtask = status
        .sub_task_status
        .iter()
        .find(|subtask| subtask.name == task.as_str())
        .ok_or_else(|| format!("no sub task with name {task} has started"))?;
    if subtask.unit != UnitType::Sync {
        let unit = subtask.unit.as_str();
        let text = format!(
            "such operation is only available for syncer, but now syncer is not running. current unit is {unit}"
        );
        return Err(CodedError::new(codes::WORKER_OPER_SYNC_UNIT_ONLY, text).to_string());
    }
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let errors = subtask.result.as_ref().map(|result| result.errors.as_slice()).unwrap_or_default();
    let Some(error) = errors.first() else { return Err(format!("source '{source}' has no error")) };
    match statement_position(&error.message) {
        Some((position, is_statement)) if is_statement || op == Some(StreamOp::Inject) => Ok(position),
        _ => Err("only support to handle ddl error currently, see `docs/ddl.md` for other errors; \
                  an event with rows is skipped by its position only (-b)"
            .to_owned()),
    }
}

/// Start of the event in an error's message, and whether it is a statement's: those show both ends.
fn statement_position(message: &str) -> Option<(BinlogPosition, bool)> {
    let rest = message.split_once("startLocation: [position: ")?.1;
    let end = rest.find(')')?;
    let position = rest.get(..=end)?.parse().ok()?;
    Some((position, rest.contains("], endLocation: [position: ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_from_both_forms_and_from_errors() {
        let at = |text: &str| parse_position(text).unwrap().unwrap().to_string();
        assert_eq!(at("mysql-bin|000003.000001:3270"), "(mysql-bin.000001, 3270)");
        assert_eq!(at("mysql-bin.000001:4"), "(mysql-bin.000001, 4)");
        assert!(parse_position("").unwrap().is_none());
        assert_eq!(parse_position("here").unwrap_err().code, 11049);
        let message = "startLocation: [position: (bin.000001, 77), gtid-set: 0-1-2], endLocation: [position: (bin.000001, 99), gtid-set: 0-1-2], origin SQL: [x]: the target refused a DDL";
        let (position, is_statement) = statement_position(message).unwrap();
        assert_eq!((position.pos, is_statement), (77, true));
        assert!(!statement_position("startLocation: [position: (b.1, 7), gtid-set: ]: x").unwrap().1);
        assert_eq!(statement_position("(b.1, 7): x"), None);
    }
}
