//! Commands about sources and their owners.

use dmnode_model::{Epoch, NodeId, SourceId};

use super::{Outcome, list, refuse};
use crate::command::{Applied, Expected};
use crate::error::codes;
use crate::state::{Assignment, SourceEntry, State};

impl State {
    pub(super) fn put_source(
        &mut self,
        index: u64,
        source: &SourceId,
        config: &str,
        expected: Expected,
    ) -> Outcome {
        let present = self.sources.get(source).map(|entry| entry.version);
        match (expected, present) {
            (Expected::Absent, Some(_)) => {
                return refuse(46007, format!("source config with ID {source} already exists"));
            }
            (Expected::Present | Expected::Version(_), None) => return unknown_source(source),
            (Expected::Version(expected), Some(present)) if expected != present => {
                return refuse(
                    codes::CHANGED_MEANWHILE,
                    format!("source {source} was changed meanwhile (version {present}, not {expected})"),
                );
            }
            _ => {}
        }
        self.sources.insert(source.clone(), SourceEntry { config: config.to_owned(), version: index });
        Ok(Applied::Source { version: index })
    }

    pub(super) fn remove_source(&mut self, source: &SourceId) -> Outcome {
        if !self.sources.contains_key(source) {
            return unknown_source(source);
        }
        let tasks = list(self.tasks_of_source(source).map(|(task, _, _)| task));
        if tasks != "[]" {
            return refuse(
                46010,
                format!("source with name {source} need to operate has existing tasks {tasks}"),
            );
        }
        self.sources.remove(source);
        self.assignments.remove(source);
        Ok(Applied::Done)
    }

    pub(super) fn assign(
        &mut self,
        index: u64,
        source: &SourceId,
        node: NodeId,
        expected_epoch: Option<Epoch>,
        pinned: bool,
    ) -> Outcome {
        if !self.sources.contains_key(source) {
            return unknown_source(source);
        }
        if !self.nodes.contains_key(&node) {
            return refuse(46004, format!("dm-worker with name {node} not exists"));
        }
        self.check_epoch(source, expected_epoch)?;
        let epoch = Epoch(index);
        self.assignments.insert(source.clone(), Assignment { node: Some(node), epoch, pinned });
        Ok(Applied::Assigned { epoch })
    }

    pub(super) fn unassign(&mut self, index: u64, source: &SourceId, expected_epoch: Epoch) -> Outcome {
        if !self.sources.contains_key(source) {
            return unknown_source(source);
        }
        self.check_epoch(source, Some(expected_epoch))?;
        let epoch = Epoch(index);
        self.assignments.insert(source.clone(), Assignment { node: None, epoch, pinned: false });
        Ok(Applied::Assigned { epoch })
    }

    fn check_epoch(&self, source: &SourceId, expected: Option<Epoch>) -> Result<(), crate::Refused> {
        let present = self.assignments.get(source).map(|assignment| assignment.epoch);
        if present == expected {
            return Ok(());
        }
        let show = |epoch: Option<Epoch>| epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
        refuse(
            codes::CHANGED_MEANWHILE,
            format!(
                "the owner of source {source} was changed meanwhile (epoch {}, not {})",
                show(present),
                show(expected)
            ),
        )
    }
}

fn unknown_source(source: &SourceId) -> Outcome {
    refuse(46008, format!("source config with ID {source} not exists"))
}
