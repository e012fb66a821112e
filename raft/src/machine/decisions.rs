//! Operators' decisions about events of a source's stream.

use std::collections::BTreeMap;

use dmnode_model::{BinlogPosition, SourceId, StreamDecision, StreamOp, TaskName};

use super::{Outcome, invalid, refuse};
use crate::command::Applied;
use crate::state::{DesiredStage, State};

/// So many decisions about one subtask's stream wait at most.
const WAITING_MAX: usize = 1000;

impl State {
    /// All or nothing: a decision that one source refuses is recorded for none.
    pub(super) fn decide_event(
        &mut self,
        index: u64,
        task: &TaskName,
        positions: &BTreeMap<SourceId, BinlogPosition>,
        op: Option<StreamOp>,
        statements: &[String],
    ) -> Outcome {
        let Some(entry) = self.tasks.get_mut(task) else {
            return refuse(46018, format!("task with name {task} not exist"));
        };
        for (source, position) in positions {
            let Some(subtask) = entry.subtasks.get(source) else {
                return refuse(46017, format!("sources [{source}] need to be operate not exist"));
            };
            let known = subtask.decisions.iter().any(|decision| decision.position == *position);
            if op.is_none() && !known {
                return refuse(36065, format!("error operator not exist, position: {position}"));
            }
            if !known && subtask.decisions.len() >= WAITING_MAX {
                return Err(invalid(format!(
                    "more than {WAITING_MAX} decisions wait for events of source {source}"
                )));
            }
        }
        for (source, position) in positions {
            let Some(subtask) = entry.subtasks.get_mut(source) else { continue };
            let same = |decision: &StreamDecision| {
                decision.position == *position && Some(decision.op) == op && decision.statements == statements
            };
            // The same decision again keeps its number: what it has done already is not done again.
            if !subtask.decisions.iter().any(same) {
                subtask.decisions.retain(|decision| decision.position != *position);
                if let Some(op) = op {
                    subtask.decisions.push(StreamDecision {
                        position: position.clone(),
                        op,
                        statements: statements.to_vec(),
                        number: index,
                    });
                    subtask.decisions.sort_by(|a, b| a.position.cmp(&b.position));
                }
            }
            subtask.stage = DesiredStage::Running;
            subtask.run_token = index;
        }
        Ok(Applied::Task { version: entry.version, sources: positions.keys().cloned().collect() })
    }

    pub(super) fn settle_decisions(
        &mut self,
        task: &TaskName,
        source: &SourceId,
        before: &BinlogPosition,
    ) -> Outcome {
        // The task may be gone by now, and its decisions with it.
        if let Some(subtask) = self.tasks.get_mut(task).and_then(|entry| entry.subtasks.get_mut(source)) {
            subtask.decisions.retain(|decision| decision.position >= *before);
        }
        Ok(Applied::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{SubtaskEntry, TaskEntry};

    fn state() -> State {
        let subtask = SubtaskEntry::new(DesiredStage::Paused, 1);
        let subtasks = BTreeMap::from([(SourceId::new("a"), subtask.clone()), (SourceId::new("b"), subtask)]);
        let entry = TaskEntry { config: String::new(), version: 1, subtasks };
        State { tasks: BTreeMap::from([(TaskName::new("t"), entry)]), ..State::default() }
    }

    fn at(source: &str, pos: u64) -> BTreeMap<SourceId, BinlogPosition> {
        BTreeMap::from([(SourceId::new(source), BinlogPosition::new("bin.000001", pos))])
    }

    fn waiting(state: &State, source: &str) -> Vec<(u64, StreamOp, u64)> {
        state.tasks[&TaskName::new("t")].subtasks[&SourceId::new(source)]
            .decisions
            .iter()
            .map(|decision| (decision.position.pos, decision.op, decision.number))
            .collect()
    }

    #[test]
    fn a_decision_is_kept_until_its_event_is_settled() {
        let mut state = state();
        let task = TaskName::new("t");
        let replace = ["ALTER TABLE x.y ADD z INT".to_owned()];
        state.decide_event(7, &task, &at("a", 100), Some(StreamOp::Replace), &replace).unwrap();
        let subtask = &state.tasks[&task].subtasks[&SourceId::new("a")];
        assert_eq!((subtask.stage, subtask.run_token), (DesiredStage::Running, 7));
        // The same again is the same decision, another one takes its place.
        state.decide_event(8, &task, &at("a", 100), Some(StreamOp::Replace), &replace).unwrap();
        assert_eq!(waiting(&state, "a"), [(100, StreamOp::Replace, 7)]);
        state.decide_event(9, &task, &at("a", 100), Some(StreamOp::Skip), &[]).unwrap();
        state.decide_event(10, &task, &at("a", 50), Some(StreamOp::Skip), &[]).unwrap();
        assert_eq!(waiting(&state, "a"), [(50, StreamOp::Skip, 10), (100, StreamOp::Skip, 9)]);
        assert!(waiting(&state, "b").is_empty());
        state.settle_decisions(&task, &SourceId::new("a"), &BinlogPosition::new("bin.000001", 100)).unwrap();
        assert_eq!(waiting(&state, "a"), [(100, StreamOp::Skip, 9)]);
        state.decide_event(11, &task, &at("a", 100), None, &[]).unwrap();
        assert!(waiting(&state, "a").is_empty());
        assert_eq!(state.decide_event(12, &task, &at("a", 100), None, &[]).unwrap_err().code, 36065);
        let stranger = state.decide_event(13, &task, &at("c", 1), Some(StreamOp::Skip), &[]);
        assert_eq!(stranger.unwrap_err().code, 46017);
    }
}
