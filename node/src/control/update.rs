//! `update-task`: changes the settings of a paused task that can be changed without starting it anew.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_actors::check::CheckOptions;
use dmnode_model::api::UpdateTaskRequest;
use dmnode_model::codes;
use dmnode_model::config::{TaskConfig, TaskMode};
use dmnode_model::error::CodedError;
use dmnode_model::ids::SourceId;
use dmnode_model::status::StartTaskResponse;
use dmnode_model::tables::TableOp;
use dmnode_raft::{CommandKind, DesiredStage, Expected, TableChange, TaskEntry};

use super::check::{plan, precheck};
use super::status::no_such_task;
use super::tables::{changes_of_lists, with_tables};
use super::{CommandResult, Control, Reply, earlier_reply, refusal_text, shown_list};

/// Names in an answer.
const TOLD_MAX: usize = 20;

impl Control {
    /// `update-task`.
    pub async fn update_task(
        &self,
        request_id: &str,
        request: &UpdateTaskRequest,
    ) -> CommandResult<StartTaskResponse> {
        let (state, index) = self.raft.read().await?;
        let answer = |index: u64, result: bool, msg: String, check_result: String| {
            Reply::new(index, StartTaskResponse { result, msg, sources: Vec::new(), check_result })
        };
        let refused = |msg: String| answer(index, false, msg, String::new());
        let key = self.settings.secret_key.as_ref();
        let parsed = match TaskConfig::from_yaml(&request.task, key) {
            Ok(parsed) => parsed,
            Err(err) => return Ok(refused(err.to_string())),
        };
        let config = parsed.value;
        let mut notes = parsed.warnings;
        if let Some(reply) = earlier_reply(&state, request_id, "update") {
            return Ok(match &reply.outcome {
                Ok(_) => answer(reply.index, true, notes.join("\n"), String::new()),
                Err(refusal) => answer(reply.index, false, refusal_text(refusal), String::new()),
            });
        }
        let stored = match self.stored_text(&request.task) {
            Ok(stored) => stored,
            Err(err) => return Ok(refused(err.to_string())),
        };
        let Some(entry) = state.tasks.get(&config.name) else {
            return Ok(refused(no_such_task(&config.name)));
        };
        let present = match TaskConfig::from_yaml(&entry.config, key) {
            Ok(present) => present.value,
            Err(err) => return Ok(refused(err.to_string())),
        };
        if let Err(err) = may_update(entry, &present, &config) {
            return Ok(refused(err.to_string()));
        }
        let (mut plan, mut former) = match (plan(&state, &config, key), plan(&state, &present, key)) {
            (Ok(plan), Ok(former)) => (plan, former),
            (Err(err), _) | (_, Err(err)) => return Ok(refused(err.to_string())),
        };
        let verdict = precheck(&plan, CheckOptions::default()).await;
        if !verdict.passed {
            return Ok(answer(index, false, notes.join("\n"), verdict.text));
        }
        notes.extend(effects(&present, &config));
        let mut tables = BTreeMap::new();
        if config.mode == TaskMode::All {
            with_tables(&mut former, entry);
            with_tables(&mut plan, entry);
            tables = match changes_of_lists(entry, &former, &mut plan).await {
                Ok(tables) => tables,
                Err(err) => return Ok(refused(err.to_string())),
            };
            notes.extend(told(&tables));
        }
        let kind = CommandKind::UpdateTask {
            task: config.name.clone(),
            config: stored,
            // Decided on this version; somebody else's change in between must be looked at first.
            expected: Expected::Version(entry.version),
            tables,
        };
        let reply = self.propose(request_id, "update", kind).await?;
        Ok(match &reply.outcome {
            Ok(_) => answer(reply.index, true, notes.join("\n"), verdict.text),
            Err(refusal) => answer(reply.index, false, refusal_text(refusal), verdict.text),
        })
    }
}

/// What stands against the update.
fn may_update(entry: &TaskEntry, present: &TaskConfig, wanted: &TaskConfig) -> Result<(), CodedError> {
    let refuse = |message: String| CodedError::new(codes::UPDATE_REFUSED, message).object(&wanted.name);
    let running: Vec<&SourceId> = entry
        .subtasks
        .iter()
        .filter(|(_, subtask)| subtask.stage == DesiredStage::Running)
        .map(|(source, _)| source)
        .collect();
    if !running.is_empty() {
        return Err(refuse(format!("task {} runs on sources {}", wanted.name, shown_list(running)))
            .remedy("pause-task first; resume-task afterwards"));
    }
    let fixed = fixed_settings(present, wanted);
    if !fixed.is_empty() {
        return Err(refuse(format!(
            "these settings cannot be changed without starting the task anew: {}",
            fixed.join(", ")
        )));
    }
    Ok(())
}

/// Settings that differ and say where a task's progress is, or what it means.
fn fixed_settings(present: &TaskConfig, wanted: &TaskConfig) -> Vec<&'static str> {
    let sources = |config: &TaskConfig| -> BTreeSet<SourceId> { config.source_ids().into_iter().collect() };
    let target = |config: &TaskConfig| (config.target.host.to_ascii_lowercase(), config.target.port);
    [
        ("task-mode", present.mode == wanted.mode),
        ("meta-schema", present.meta_schema == wanted.meta_schema),
        ("target-database: host, port", target(present) == target(wanted)),
        (
            "mysql-instances: source-id (add with start-task -s, remove with stop-task -s)",
            sources(present) == sources(wanted),
        ),
        ("shard-mode", present.shard_mode == wanted.shard_mode),
        ("case-sensitive", present.case_sensitive == wanted.case_sensitive),
        ("timezone", present.timezone == wanted.timezone),
        ("online-ddl", present.online_ddl == wanted.online_ddl),
    ]
    .into_iter()
    .filter(|(_, same)| !same)
    .map(|(name, _)| name)
    .collect()
}

/// Which tables join and leave with the new lists.
fn told(tables: &BTreeMap<SourceId, Vec<TableChange>>) -> Vec<String> {
    let one = |source: &SourceId, change: &TableChange| {
        let (number, first) = (change.tables.len(), change.tables.iter().take(TOLD_MAX));
        let more = if number > TOLD_MAX { " …" } else { "" };
        let what = match change.op {
            TableOp::Add | TableOp::Resync => {
                "come into scope; after resume-task they are copied and join the stream"
            }
            TableOp::Remove => "leave the task; the target keeps their rows",
        };
        format!("{number} tables of source {source} {what}: {}{more}", shown_list(first))
    };
    tables
        .iter()
        .flat_map(|(source, changes)| changes.iter().map(move |change| one(source, change)))
        .collect()
}

/// What the operator should know of changes that are accepted.
fn effects(present: &TaskConfig, wanted: &TaskConfig) -> Vec<String> {
    let mut notes = Vec::new();
    for instance in &wanted.instances {
        let Some(former) = present.instances.iter().find(|one| one.source_id == instance.source_id) else {
            continue;
        };
        let source = &instance.source_id;
        if former.meta != instance.meta {
            notes.push(format!(
                "`meta` of source {source} says where a task begins; this one has begun, so it has no effect"
            ));
        }
        if former.block_allow_list != instance.block_allow_list && wanted.mode != TaskMode::All {
            notes.push(format!("tables of source {source} that come into scope are replicated from where the task stands; rows that they have already are not copied"));
        }
        if former.routes != instance.routes {
            notes.push(format!("changes of source {source} go by the new routes from where the task stands; what is in the target stays where it is"));
        }
        if wanted.mode.has_full_copy() && (former.dump != instance.dump || former.load != instance.load) {
            notes.push(format!(
                "settings of the copy of source {source} take effect for what is not yet copied"
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use dmnode_model::TableName;

    use super::*;

    fn task(extra: &str, host: &str) -> TaskConfig {
        let yaml = format!(
            "name: t\ntask-mode: all\ntarget-database: {{host: {host}, port: 3306, user: root, password: ''}}\n\
             mysql-instances:\n- source-id: s1\n{extra}"
        );
        TaskConfig::from_yaml(&yaml, None).unwrap().value
    }

    #[test]
    fn what_progress_means_cannot_be_changed() {
        let present = task("", "a");
        assert!(
            fixed_settings(
                &present,
                &task("  block-allow-list: b\nblock-allow-list: {b: {do-dbs: [x]}}\n", "A")
            )
            .is_empty()
        );
        assert_eq!(fixed_settings(&present, &task("", "b")), ["target-database: host, port"]);
        assert_eq!(fixed_settings(&present, &task("- source-id: s2\n", "a")).len(), 1);
        assert_eq!(fixed_settings(&present, &task("shard-mode: optimistic\n", "a")), ["shard-mode"]);
    }

    #[test]
    fn effects_are_told() {
        let wider = "  block-allow-list: b\nblock-allow-list: {b: {do-dbs: [x]}}\n";
        let notes = effects(&task("", "a"), &task(wider, "a"));
        assert!(notes.is_empty(), "the tables themselves are told: {notes:?}");
        let incremental = |extra: &str| {
            let mut config = task(extra, "a");
            config.mode = TaskMode::Incremental;
            config
        };
        let notes = effects(&incremental(""), &incremental(wider));
        assert!(notes.len() == 1 && notes[0].contains("are not copied"), "{notes:?}");
        let tables = (0..30).map(|n| TableName::new("x", format!("t{n:02}"))).collect();
        let change = TableChange { op: TableOp::Add, tables };
        let notes = told(&BTreeMap::from([(SourceId::new("s1"), vec![change])]));
        assert!(notes[0].contains("30 tables") && notes[0].contains("`x`.`t19`] …"), "{notes:?}");
    }
}
