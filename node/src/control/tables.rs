//! `add-table`, `remove-table`, `resync-table`: tables join or leave a task that has begun.
//!
//! What is to be done is recorded in the replicated state, and the source's owner carries it out; so any node can go on
//! with it. That the tables have joined is told by the target, and noted here afterwards.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_actors::check::{may_join, tables_in_scope};
use dmnode_model::api::OperateTableRequest;
use dmnode_model::codes;
use dmnode_model::config::{SourceConfig, SubtaskConfig, TaskConfig, TaskMode};
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TableName, TaskName};
use dmnode_model::status::{CommonWorkerResponse, OperateTaskResponse, SourceStatusEntry};
use dmnode_model::tables::{TableChoice, TableOp, TableOperation, parse_table};
use dmnode_raft::{CommandKind, DesiredStage, State, TableChange, TaskEntry};

use super::check::{Plan, plan};
use super::status::no_such_task;
use super::wait::Goal;
use super::{CommandResult, Control, Reply, earlier_reply, refusal_text, shown_list};

/// Most tables in one command.
const TABLES_MAX: usize = 10_000;

impl Control {
    /// `add-table`, `remove-table`, `resync-table`.
    pub async fn operate_table(
        &self,
        request_id: &str,
        request: &OperateTableRequest,
    ) -> CommandResult<OperateTaskResponse> {
        let (state, index) = self.raft.read().await?;
        let answer = |index: u64, result: bool, msg: String, sources: Vec<CommonWorkerResponse>| {
            Reply::new(
                index,
                OperateTaskResponse { op: request.op.as_str().to_owned(), result, msg, sources },
            )
        };
        let task = TaskName::new(request.task.clone());
        let Some(entry) = state.tasks.get(&task).filter(|entry| !entry.subtasks.is_empty()) else {
            return Ok(answer(index, false, no_such_task(&task), Vec::new()));
        };
        // What has joined a moment ago need not have been noted yet.
        let state = if entry.subtasks.values().any(|one| one.tables.iter().any(TableOperation::is_pending)) {
            let sources: Vec<SourceId> = entry.subtasks.keys().cloned().collect();
            for status in self.statuses(&state, &sources).await.into_values().flatten() {
                self.settle_tables(&state, &status).await;
            }
            self.raft.read().await?.0
        } else {
            state
        };
        let Some(entry) = state.tasks.get(&task).filter(|entry| !entry.subtasks.is_empty()) else {
            return Ok(answer(index, false, no_such_task(&task), Vec::new()));
        };
        let step = "tables";
        let mut msg = String::new();
        let applied = match earlier_reply(&state, request_id, step).cloned() {
            Some(earlier) => earlier,
            None => {
                let decided = match self.decide(&state, entry, request).await {
                    Ok(decided) => decided,
                    Err(err) => return Ok(answer(index, false, err.to_string(), Vec::new())),
                };
                msg = decided.msg;
                let kind = CommandKind::ChangeTables { task: task.clone(), changes: decided.changes };
                self.propose(request_id, step, kind).await?
            }
        };
        match &applied.outcome {
            Err(refusal) => Ok(answer(applied.index, false, refusal_text(refusal), Vec::new())),
            Ok(dmnode_raft::Applied::Task { sources, .. }) => {
                let run: Vec<SourceId> = sources
                    .iter()
                    .filter(|source| {
                        entry.subtasks.get(*source).is_some_and(|one| one.stage == DesiredStage::Running)
                    })
                    .cloned()
                    .collect();
                let mut shown = self.wait_for(&task, &run, Goal::Running, &BTreeMap::new()).await;
                for one in &mut shown {
                    // What was asked for is recorded; that the stream meets an obstacle is another matter.
                    one.result = true;
                }
                Ok(answer(applied.index, true, msg, shown))
            }
            Ok(_) => Ok(answer(applied.index, true, msg, Vec::new())),
        }
    }

    async fn decide(
        &self,
        state: &State,
        entry: &TaskEntry,
        request: &OperateTableRequest,
    ) -> Result<Decided, CodedError> {
        let key = self.settings.secret_key.as_ref();
        let config = TaskConfig::from_yaml(&entry.config, key)?.value;
        if !matches!(config.mode, TaskMode::All | TaskMode::Incremental | TaskMode::LoadAndSync) {
            return Err(refused("a task of this mode has no stream that tables could join")
                .object(format!("task-mode: {}", config.mode.as_str())));
        }
        let asked = asked_tables(&request.tables)?;
        let mut plan = plan(state, &config, key)?;
        with_tables(&mut plan, entry);
        let named: BTreeSet<SourceId> = request.sources.iter().map(|id| SourceId::new(id.as_str())).collect();
        let strangers: Vec<&SourceId> = named.iter().filter(|id| !entry.subtasks.contains_key(*id)).collect();
        if !strangers.is_empty() {
            let text = format!("sources {} need to be operate not exist", shown_list(strangers));
            return Err(CodedError::new(codes::SCHEDULER_SUB_TASK_OP_SOURCE_NOT_EXIST, text));
        }
        let mut changes: BTreeMap<SourceId, Vec<TableChange>> = BTreeMap::new();
        let mut new: BTreeMap<SourceId, BTreeSet<TableName>> = BTreeMap::new();
        for (source, subtask) in &mut plan.subtasks {
            let id = source.source_id.clone();
            if !named.is_empty() && !named.contains(&id) {
                continue;
            }
            let now = tables_in_scope(source, subtask).await?;
            let everything = tables_in_scope(source, &only(subtask, &asked)).await?;
            let tables = chosen(request.op, &asked, &now, &everything, &subtask.operations)?;
            if tables.is_empty() {
                continue;
            }
            if request.op != TableOp::Remove {
                subtask.choice.removed.retain(|table| !tables.contains(table));
                subtask.choice.added.extend(tables.iter().cloned());
                new.insert(id.clone(), tables.clone());
            }
            changes.insert(id, vec![TableChange { op: request.op, tables }]);
        }
        let meant: BTreeSet<&TableName> =
            changes.values().flatten().flat_map(|change| &change.tables).collect();
        if let Some(missing) = asked.iter().find(|table| !meant.contains(table)) {
            return Err(refused(match request.op {
                TableOp::Add => "no source of the task has such a base table",
                TableOp::Remove | TableOp::Resync => "the table is not in the task",
            })
            .object(missing));
        }
        may_join(&plan.subtasks, &new, request.op == TableOp::Resync).await?;
        let msg = match request.op {
            TableOp::Add => "the tables are copied and join the stream; query-status shows how far they are",
            TableOp::Resync => {
                "the target's tables are emptied (those that the task has made are dropped and made anew), copied again and join the stream; query-status shows how far they are"
            }
            TableOp::Remove => "the tables are out of the task; the target keeps their rows",
        };
        Ok(Decided { changes, msg: msg.to_owned() })
    }

    /// Notes the tables that have joined, as the units show it.
    pub(super) async fn settle_tables(&self, state: &State, entry: &SourceStatusEntry) {
        let Some(status) = &entry.source_status else { return };
        let source = SourceId::new(status.source.clone());
        for subtask in &entry.sub_task_status {
            let task = TaskName::new(subtask.name.clone());
            let shown = subtask.dmnode.as_ref().map(|extra| extra.tables.as_slice()).unwrap_or_default();
            let joined: BTreeSet<u64> =
                shown.iter().filter(|one| one.stage == "joined").map(|one| one.number).collect();
            let waits =
                state.tasks.get(&task).and_then(|entry| entry.subtasks.get(&source)).is_some_and(|subtask| {
                    subtask.tables.iter().any(|one| one.is_pending() && joined.contains(&one.number))
                });
            if waits {
                let kind = CommandKind::SettleTables { task, source: source.clone(), joined };
                if let Err(err) = self.raft.propose(dmnode_raft::Command::fresh(kind)).await {
                    tracing::debug!(error = %err, "tables that have joined are noted later");
                }
            }
        }
    }
}

struct Decided {
    changes: BTreeMap<SourceId, Vec<TableChange>>,
    msg: String,
}

fn refused(message: impl Into<String>) -> CodedError {
    CodedError::new(codes::TABLES_REFUSED, message.into())
}

fn asked_tables(texts: &[String]) -> Result<BTreeSet<TableName>, CodedError> {
    let mut asked = BTreeSet::new();
    for text in texts {
        let table = parse_table(text).ok_or_else(|| {
            refused("a table is named as `schema`.`table`, with the source's names").object(text)
        })?;
        asked.insert(table);
    }
    if asked.is_empty() || asked.len() > TABLES_MAX {
        return Err(refused(format!("name at least one table, and at most {TABLES_MAX}")));
    }
    Ok(asked)
}

fn only(subtask: &SubtaskConfig, tables: &BTreeSet<TableName>) -> SubtaskConfig {
    let choice = TableChoice { only: Some(tables.clone()), ..TableChoice::default() };
    SubtaskConfig { choice, ..subtask.clone() }
}

/// The table is on its way into the task.
fn is_coming(operations: &[TableOperation], table: &TableName) -> bool {
    operations.iter().any(|operation| operation.is_pending() && operation.tables.contains(table))
}

/// Which of the tables are meant on one source. `now` is its scope, `everything` what it has of them.
fn chosen(
    op: TableOp,
    asked: &BTreeSet<TableName>,
    now: &BTreeSet<TableName>,
    everything: &BTreeSet<TableName>,
    operations: &[TableOperation],
) -> Result<BTreeSet<TableName>, CodedError> {
    let comes = |table: &TableName| is_coming(operations, table);
    match op {
        TableOp::Add => {
            let found: BTreeSet<TableName> = asked.intersection(everything).cloned().collect();
            match found.iter().find(|table| now.contains(*table) || comes(table)) {
                Some(table) => Err(refused("the table is in the task already")
                    .object(table)
                    .remedy("to copy it again: resync-table")),
                None => Ok(found),
            }
        }
        TableOp::Remove | TableOp::Resync => Ok(asked
            .iter()
            .filter(|table| now.contains(*table) || comes(table))
            // What is gone from the source may still be taken out.
            .cloned()
            .collect()),
    }
}

/// Adds to a plan what joined or left the task after its start. Tables that have not joined yet are out of scope.
pub(super) fn with_tables(plan: &mut Plan, entry: &TaskEntry) {
    plan.subtasks.retain(|(source, _)| entry.subtasks.contains_key(&source.source_id));
    for (source, subtask) in &mut plan.subtasks {
        if let Some(stored) = entry.subtasks.get(&source.source_id) {
            subtask.operations.clone_from(&stored.tables);
            subtask.choice = TableChoice::of(&stored.tables, TableOperation::is_pending);
        }
    }
}

/// What a changed block-allow list means for the tables that the sources have: those that come into scope are copied, those
/// that leave it and had joined one by one leave.
pub(super) async fn changes_of_lists(
    entry: &TaskEntry,
    present: &Plan,
    wanted: &mut Plan,
) -> Result<BTreeMap<SourceId, Vec<TableChange>>, CodedError> {
    let mut changes = BTreeMap::new();
    let mut new = BTreeMap::new();
    let with_list = |subtask: &SubtaskConfig| SubtaskConfig {
        choice: TableChoice::default(),
        operations: Vec::new(),
        ..subtask.clone()
    };
    for (source, subtask) in &mut wanted.subtasks {
        let id = source.source_id.clone();
        let Some(stored) = entry.subtasks.get(&id) else { continue };
        let Some((_, former)) =
            present.subtasks.iter().find(|(one, _): &&(SourceConfig, SubtaskConfig)| one.source_id == id)
        else {
            continue;
        };
        if former.block_allow_list == subtask.block_allow_list {
            continue;
        }
        let before = tables_in_scope(source, &with_list(former)).await?;
        let after = tables_in_scope(source, &with_list(subtask)).await?;
        let now = tables_in_scope(source, former).await?;
        let known = |table: &TableName| stored.tables.iter().any(|one| one.tables.contains(table));
        let add: BTreeSet<TableName> = after
            .difference(&before)
            .filter(|table| !now.contains(*table) && !is_coming(&stored.tables, table))
            .cloned()
            .collect();
        let remove: BTreeSet<TableName> =
            before.difference(&after).filter(|table| known(table)).cloned().collect();
        subtask.choice.removed.retain(|table| !add.contains(table));
        subtask.choice.added.extend(add.iter().cloned());
        let mut of_source = Vec::new();
        if !remove.is_empty() {
            of_source.push(TableChange { op: TableOp::Remove, tables: remove });
        }
        if !add.is_empty() {
            new.insert(id.clone(), add.clone());
            of_source.push(TableChange { op: TableOp::Add, tables: add });
        }
        if !of_source.is_empty() {
            changes.insert(id, of_source);
        }
    }
    if !new.is_empty() {
        may_join(&wanted.subtasks, &new, false).await?;
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_added_once_and_taken_out_only_when_it_is_there() {
        let names = |tables: &[&str]| -> BTreeSet<TableName> {
            tables.iter().map(|table| TableName::new("a", *table)).collect()
        };
        let comes = TableOperation { number: 1, op: TableOp::Add, tables: names(&["coming"]), done: false };
        let pick = |op, asked: &[&str]| {
            let everything = names(&["in", "out", "coming"]);
            chosen(op, &names(asked), &names(&["in"]), &everything, std::slice::from_ref(&comes))
        };
        assert_eq!(pick(TableOp::Add, &["out", "none"]), Ok(names(&["out"])));
        for there in ["in", "coming"] {
            assert_eq!(pick(TableOp::Add, &[there]).unwrap_err().code, codes::TABLES_REFUSED);
            assert_eq!(pick(TableOp::Resync, &[there]), Ok(names(&[there])));
            assert_eq!(pick(TableOp::Remove, &[there]), Ok(names(&[there])));
        }
        assert_eq!(pick(TableOp::Remove, &["out"]), Ok(names(&[])));
        assert_eq!(
            asked_tables(&["a.b".into(), "`a`.`b`".into()]).unwrap(),
            BTreeSet::from([TableName::new("a", "b")])
        );
        assert!(asked_tables(&[]).is_err() && asked_tables(&["b".into()]).is_err());
    }
}
