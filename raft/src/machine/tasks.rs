//! Commands about tasks and subtasks.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::{SourceId, TaskName};

use super::{Outcome, invalid, list, refuse};
use crate::Refused;
use crate::command::{Applied, Expected, TableChange};
use crate::error::codes;
use crate::state::{DesiredStage, State, SubtaskEntry, TaskEntry};

/// How new subtasks begin.
pub(super) struct Start {
    pub stage: DesiredStage,
    pub time: Option<String>,
    pub safe_mode_seconds: Option<u64>,
}

impl Start {
    fn subtask(&self, index: u64) -> SubtaskEntry {
        SubtaskEntry {
            start_time: self.time.clone(),
            safe_mode_seconds: self.safe_mode_seconds,
            ..SubtaskEntry::new(self.stage, index)
        }
    }
}

impl State {
    pub(super) fn put_task(
        &mut self,
        index: u64,
        task: &TaskName,
        config: &str,
        expected: Expected,
        sources: &[SourceId],
        start: &Start,
    ) -> Outcome {
        match (expected, self.tasks.get(task).map(|entry| entry.version)) {
            (Expected::Absent, Some(_)) => return subtasks_exist(task, sources),
            (Expected::Present | Expected::Version(_), None) => return unknown_task(task),
            (Expected::Version(expected), Some(present)) => check_version(task, expected, present)?,
            _ => {}
        }
        let new = self.missing_subtasks(task, sources)?;
        let entry = self.tasks.entry(task.clone()).or_insert_with(|| TaskEntry {
            config: String::new(),
            version: index,
            subtasks: BTreeMap::new(),
        });
        entry.config = config.to_owned();
        entry.version = index;
        entry.subtasks.extend(new.iter().map(|source| (source.clone(), start.subtask(index))));
        Ok(Applied::Task { version: index, sources: new })
    }

    pub(super) fn update_task(
        &mut self,
        index: u64,
        task: &TaskName,
        config: &str,
        expected: Expected,
        tables: &BTreeMap<SourceId, Vec<TableChange>>,
    ) -> Outcome {
        let Some(entry) = self.tasks.get(task) else { return unknown_task(task) };
        match expected {
            Expected::Absent => return subtasks_exist(task, entry.subtasks.keys()),
            Expected::Version(expected) => check_version(task, expected, entry.version)?,
            Expected::Present | Expected::Any => {}
        }
        if !tables.is_empty() {
            self.change_tables(index, task, tables)?;
        }
        let Some(entry) = self.tasks.get_mut(task) else { return unknown_task(task) };
        entry.config = config.to_owned();
        entry.version = index;
        Ok(Applied::Task { version: index, sources: Vec::new() })
    }

    pub(super) fn add_subtasks(
        &mut self,
        index: u64,
        task: &TaskName,
        sources: &[SourceId],
        start: &Start,
    ) -> Outcome {
        if !self.tasks.contains_key(task) {
            return unknown_task(task);
        }
        let new = self.missing_subtasks(task, sources)?;
        let Some(entry) = self.tasks.get_mut(task) else { return unknown_task(task) };
        entry.subtasks.extend(new.iter().map(|source| (source.clone(), start.subtask(index))));
        Ok(Applied::Task { version: entry.version, sources: new })
    }

    pub(super) fn remove_subtasks(&mut self, task: &TaskName, sources: &[SourceId]) -> Outcome {
        let chosen = self.chosen_subtasks(task, sources)?;
        let Some(entry) = self.tasks.get_mut(task) else { return unknown_task(task) };
        let version = entry.version;
        entry.subtasks.retain(|source, _| !chosen.contains(source));
        if entry.subtasks.is_empty() {
            self.tasks.remove(task);
        }
        Ok(Applied::Task { version, sources: chosen.into_iter().collect() })
    }

    pub(super) fn set_stage(
        &mut self,
        index: u64,
        task: &TaskName,
        sources: &[SourceId],
        stage: DesiredStage,
    ) -> Outcome {
        let chosen = self.chosen_subtasks(task, sources)?;
        let Some(entry) = self.tasks.get_mut(task) else { return unknown_task(task) };
        for (_, subtask) in entry.subtasks.iter_mut().filter(|(source, _)| chosen.contains(*source)) {
            subtask.stage = stage;
            if stage == DesiredStage::Running {
                subtask.run_token = index;
            }
        }
        Ok(Applied::Task { version: entry.version, sources: chosen.into_iter().collect() })
    }

    /// The sources of `sources` that have no subtask of the task yet.
    fn missing_subtasks(&self, task: &TaskName, sources: &[SourceId]) -> Result<Vec<SourceId>, Refused> {
        let wanted: BTreeSet<&SourceId> = sources.iter().collect();
        if wanted.is_empty() {
            return Err(invalid(format!("task {task} names no source")));
        }
        let unknown: Vec<_> = wanted.iter().filter(|source| !self.sources.contains_key(**source)).collect();
        if let [only] = unknown.as_slice() {
            return refuse(46008, format!("source config with ID {only} not exists"));
        }
        if !unknown.is_empty() {
            return refuse(46008, format!("source configs with IDs {} not exist", list(unknown)));
        }
        let existing = self.tasks.get(task).map(|entry| &entry.subtasks);
        let missing: Vec<SourceId> = wanted
            .iter()
            .filter(|source| !existing.is_some_and(|subtasks| subtasks.contains_key(**source)))
            .map(|source| (*source).clone())
            .collect();
        if missing.is_empty() { subtasks_exist(task, wanted) } else { Ok(missing) }
    }

    /// The subtasks an operation is meant for: all, or those named, which must exist.
    fn chosen_subtasks(&self, task: &TaskName, sources: &[SourceId]) -> Result<BTreeSet<SourceId>, Refused> {
        let Some(entry) = self.tasks.get(task) else { return unknown_task(task) };
        if sources.is_empty() {
            return Ok(entry.subtasks.keys().cloned().collect());
        }
        let chosen: BTreeSet<SourceId> = sources.iter().cloned().collect();
        let strangers: Vec<_> =
            chosen.iter().filter(|source| !entry.subtasks.contains_key(*source)).collect();
        if strangers.is_empty() {
            Ok(chosen)
        } else {
            refuse(46017, format!("sources {} need to be operate not exist", list(strangers)))
        }
    }
}

fn check_version(task: &TaskName, expected: u64, present: u64) -> Result<(), Refused> {
    if expected == present {
        return Ok(());
    }
    refuse(
        codes::CHANGED_MEANWHILE,
        format!("task {task} was changed meanwhile (version {present}, not {expected})"),
    )
}

fn unknown_task<T>(task: &TaskName) -> Result<T, Refused> {
    refuse(46018, format!("task with name {task} not exist"))
}

fn subtasks_exist<'a, T>(
    task: &TaskName,
    sources: impl IntoIterator<Item = &'a SourceId>,
) -> Result<T, Refused> {
    refuse(46014, format!("subtasks with name {task} for sources {} already exist", list(sources)))
}
