//! `query-status`, and the state of this node's own sources for the other nodes.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::api::QueryStatusRequest;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{NodeId, SourceId, TaskName};
use dmnode_model::status::{
    ProcessResult, QueryStatusListResponse, SourceStatus, SourceStatusEntry, Stage, SubTaskStatus,
};
use dmnode_raft::State;
use futures_util::future::join_all;

use super::{CommandResult, Control, Reply, owner, shown_list};
use crate::peers::{StatusAnswer, StatusQuery};

impl Control {
    /// `query-status`.
    pub async fn query_status(&self, request: &QueryStatusRequest) -> CommandResult<QueryStatusListResponse> {
        let (state, index) = self.raft.read().await?;
        let refused = |msg: String| QueryStatusListResponse { result: false, msg, sources: Vec::new() };
        let task = (!request.name.is_empty()).then(|| TaskName::new(request.name.clone()));
        let sources: Vec<SourceId> = if !request.sources.is_empty() {
            let asked: BTreeSet<SourceId> =
                request.sources.iter().map(|id| SourceId::new(id.clone())).collect();
            let unknown: Vec<&SourceId> =
                asked.iter().filter(|id| !state.sources.contains_key(*id)).collect();
            if !unknown.is_empty() {
                return Ok(Reply::new(
                    index,
                    refused(format!("sources {} haven't been added", shown_list(unknown))),
                ));
            }
            asked.into_iter().collect()
        } else if let Some(task) = &task {
            match state.tasks.get(task) {
                Some(entry) if !entry.subtasks.is_empty() => entry.subtasks.keys().cloned().collect(),
                _ => return Ok(Reply::new(index, refused(no_such_task(task)))),
            }
        } else {
            // Without a task DM leaves out unbound sources, unless a task waits for them.
            state
                .sources
                .keys()
                .filter(|id| state.owner_of(id).is_some() || state.tasks_of_source(id).next().is_some())
                .cloned()
                .collect()
        };
        let mut found = self.statuses(&state, &sources).await;
        let entries = sources
            .iter()
            .map(|source| {
                let entry = found.remove(source).unwrap_or_else(|| Err("no answer".to_owned()));
                shape(&state, source, task.as_ref(), entry)
            })
            .collect();
        Ok(Reply::new(index, QueryStatusListResponse { result: true, msg: String::new(), sources: entries }))
    }

    /// The state of each source, from its owner; every owner is asked once, all at the same time.
    pub(super) async fn statuses(
        &self,
        state: &State,
        sources: &[SourceId],
    ) -> BTreeMap<SourceId, Result<SourceStatusEntry, String>> {
        let mut by_node: BTreeMap<NodeId, (String, Vec<SourceId>)> = BTreeMap::new();
        let mut found = BTreeMap::new();
        for source in sources {
            match owner(state, source) {
                Some((node, _, addr)) => {
                    by_node.entry(node).or_insert((addr, Vec::new())).1.push(source.clone())
                }
                None => {
                    found.insert(source.clone(), Err(unbound(source)));
                }
            }
        }
        let answers = join_all(by_node.into_iter().map(|(node, (addr, sources))| async move {
            let query = StatusQuery { sources: sources.iter().map(ToString::to_string).collect() };
            let answer = if self.raft.id() == Some(node) {
                Ok(self.local_status(&query))
            } else {
                self.peers.status(&addr, &query).await
            };
            (sources, answer)
        }))
        .await;
        for (sources, answer) in answers {
            match answer {
                Err(reason) => found.extend(sources.into_iter().map(|source| (source, Err(reason.clone())))),
                Ok(answer) => {
                    let mut entries: BTreeMap<String, SourceStatusEntry> =
                        answer.entries.into_iter().map(|entry| (source_name(&entry), entry)).collect();
                    for source in sources {
                        let entry = entries.remove(source.as_str());
                        let entry = entry.ok_or_else(|| {
                            CodedError::new(
                                codes::WORKER_NO_START,
                                "no mysql source is being handled in the worker",
                            )
                            .to_string()
                        });
                        found.insert(source, entry);
                    }
                }
            }
        }
        found
    }

    /// What this node knows of its sources.
    pub fn local_status(&self, query: &StatusQuery) -> StatusAnswer {
        let is_asked = |id: &str| query.sources.is_empty() || query.sources.iter().any(|wanted| wanted == id);
        let mut entries: BTreeMap<String, SourceStatusEntry> = self
            .supervisor
            .get()
            .map(|supervisor| supervisor.status())
            .unwrap_or_default()
            .into_iter()
            .map(|entry| (source_name(&entry), entry))
            .collect();
        if let Some(me) = self.raft.id() {
            let state = self.raft.local_state();
            for (source, _) in state.sources_of(me) {
                let entry = entries.entry(source.to_string()).or_insert_with(|| self.idle_entry(source));
                self.add_unreadable(source, entry);
            }
        }
        entries.retain(|id, _| is_asked(id));
        StatusAnswer { node: self.settings.name.clone(), entries: entries.into_values().collect() }
    }

    fn idle_entry(&self, source: &SourceId) -> SourceStatusEntry {
        SourceStatusEntry {
            result: true,
            msg: "no sub task started".to_owned(),
            source_status: Some(SourceStatus {
                source: source.to_string(),
                worker: self.settings.name.clone(),
                ..SourceStatus::default()
            }),
            sub_task_status: Vec::new(),
        }
    }

    fn add_unreadable(&self, source: &SourceId, entry: &mut SourceStatusEntry) {
        if let Some(err) = self.unreadable.source(source) {
            entry.result = false;
            entry.msg = err.to_string();
        }
        for (task, err) in self.unreadable.subtasks(source) {
            entry.sub_task_status.retain(|subtask| subtask.name != task.as_str());
            entry.sub_task_status.push(SubTaskStatus {
                name: task.to_string(),
                stage: Stage::Paused,
                result: Some(ProcessResult {
                    is_canceled: false,
                    errors: vec![err.to_process_error()],
                    detail: None,
                }),
                ..SubTaskStatus::default()
            });
        }
    }
}

/// DM's sentence for a task that is not there.
pub(super) fn no_such_task(task: &TaskName) -> String {
    format!("task {task} has no source or not exist, please check the task name and status")
}

/// DM's sentence for a source without a worker.
pub(super) fn unbound(source: &SourceId) -> String {
    format!("{source} relevant worker-client not found")
}

fn source_name(entry: &SourceStatusEntry) -> String {
    entry.source_status.as_ref().map(|status| status.source.clone()).unwrap_or_default()
}

/// An owner's answer, or its silence, as DM's entry.
fn shape(
    state: &State,
    source: &SourceId,
    task: Option<&TaskName>,
    found: Result<SourceStatusEntry, String>,
) -> SourceStatusEntry {
    match found {
        Ok(mut entry) => {
            if let Some(task) = task {
                entry.sub_task_status.retain(|subtask| subtask.name == task.as_str());
                if entry.sub_task_status.is_empty() {
                    entry.sub_task_status.push(SubTaskStatus {
                        name: task.to_string(),
                        msg: Some(format!("no sub task with name {task} has started")),
                        ..SubTaskStatus::default()
                    });
                }
            }
            entry.sub_task_status.sort_by(|a, b| a.name.cmp(&b.name));
            entry
        }
        Err(reason) => silent(state, source, task, reason),
    }
}

fn silent(state: &State, source: &SourceId, task: Option<&TaskName>, reason: String) -> SourceStatusEntry {
    let worker = owner(state, source).map_or_else(|| "source not bound".to_owned(), |(_, name, _)| name);
    let tasks: Vec<String> = match task {
        Some(task) => vec![task.to_string()],
        None => state.tasks_of_source(source).map(|(name, _, _)| name.to_string()).collect(),
    };
    let hint = "please use dmctl list-member to check if worker is offline";
    let msg = match tasks.first() {
        Some(first) => {
            format!("can't find task={first} from dm-worker for source={source}, {hint}. ({reason})")
        }
        None => reason,
    };
    SourceStatusEntry {
        result: false,
        msg,
        source_status: Some(SourceStatus { source: source.to_string(), worker, ..SourceStatus::default() }),
        sub_task_status: tasks
            .into_iter()
            .map(|name| SubTaskStatus { name, ..SubTaskStatus::default() })
            .collect(),
    }
}
