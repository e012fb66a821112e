//! Tables that join or leave a task after its start.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::tables::{TableOp, TableOperation};
use dmnode_model::{SourceId, TableName, TaskName};

use super::{Outcome, invalid, refuse};
use crate::command::{Applied, TableChange};
use crate::error::codes;
use crate::state::{DesiredStage, State, SubtaskEntry};

/// So many tables of one subtask may have joined or left one by one.
const TABLES_MAX: usize = 20_000;
/// Numbers of operations are the log index and this much room for the sources of one command.
const SOURCES_MAX: u64 = 10_000;

impl State {
    /// All or nothing: what one source refuses is recorded for none.
    pub(super) fn change_tables(
        &mut self,
        index: u64,
        task: &TaskName,
        changes: &BTreeMap<SourceId, Vec<TableChange>>,
    ) -> Outcome {
        let Some(entry) = self.tasks.get_mut(task) else {
            return refuse(46018, format!("task with name {task} not exist"));
        };
        let mut changed = BTreeMap::new();
        for (ordinal, (source, changes)) in (0u64..).zip(changes) {
            let Some(subtask) = entry.subtasks.get(source) else {
                return refuse(46017, format!("sources [{source}] need to be operate not exist"));
            };
            if ordinal >= SOURCES_MAX {
                return Err(invalid("too many sources at once".to_owned()));
            }
            let mut subtask = subtask.clone();
            for change in changes {
                take(&mut subtask, index * SOURCES_MAX + ordinal, change)?;
            }
            changed.insert(source.clone(), subtask);
        }
        let sources = changed.keys().cloned().collect();
        for (source, mut subtask) in changed {
            // A paused subtask takes it up when it is resumed.
            if subtask.stage == DesiredStage::Running {
                subtask.run_token = index;
            }
            entry.subtasks.insert(source, subtask);
        }
        Ok(Applied::Task { version: entry.version, sources })
    }

    pub(super) fn settle_tables(
        &mut self,
        task: &TaskName,
        source: &SourceId,
        joined: &BTreeSet<u64>,
    ) -> Outcome {
        // The task may be gone by now.
        if let Some(subtask) = self.tasks.get_mut(task).and_then(|entry| entry.subtasks.get_mut(source)) {
            for operation in subtask.tables.iter_mut().filter(|one| joined.contains(&one.number)) {
                operation.done = true;
            }
        }
        Ok(Applied::Done)
    }
}

/// The newest operation on a table takes the place of the earlier ones.
fn take(
    subtask: &mut SubtaskEntry,
    number: u64,
    change: &TableChange,
) -> Result<(), crate::command::Refused> {
    if change.tables.is_empty() {
        return Ok(());
    }
    for earlier in &mut subtask.tables {
        let meant = earlier.tables.intersection(&change.tables).count();
        if meant > 0 && meant < earlier.tables.len() && earlier.is_pending() {
            let rest: Vec<&TableName> = earlier.tables.difference(&change.tables).collect();
            return refuse(
                codes::TABLES_REFUSED,
                format!(
                    "tables that are copied together stay together until they have joined: name these too, or wait: {}",
                    super::list(rest)
                ),
            );
        }
        earlier.tables.retain(|table| !change.tables.contains(table));
    }
    subtask.tables.retain(|operation| !operation.tables.is_empty());
    let tables: usize = subtask.tables.iter().map(|operation| operation.tables.len()).sum();
    if tables + change.tables.len() > TABLES_MAX {
        return Err(invalid(format!("more than {TABLES_MAX} tables joined or left one by one")));
    }
    subtask.tables.push(TableOperation {
        number,
        op: change.op,
        tables: change.tables.clone(),
        done: change.op == TableOp::Remove,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::TaskEntry;

    fn change(op: TableOp, tables: &[&str]) -> BTreeMap<SourceId, Vec<TableChange>> {
        let tables = tables.iter().map(|table| TableName::new("a", *table)).collect();
        BTreeMap::from([(SourceId::new("s"), vec![TableChange { op, tables }])])
    }

    #[test]
    fn the_newest_operation_on_a_table_holds_and_groups_stay_together() {
        let task = TaskName::new("t");
        let subtask = SubtaskEntry::new(DesiredStage::Running, 1);
        let subtasks = BTreeMap::from([(SourceId::new("s"), subtask)]);
        let entry = TaskEntry { config: String::new(), version: 1, subtasks };
        let mut state = State { tasks: BTreeMap::from([(task.clone(), entry)]), ..State::default() };
        let shown = |state: &State| -> Vec<(TableOp, String, bool)> {
            let subtask = &state.tasks[&task].subtasks[&SourceId::new("s")];
            let names = |one: &TableOperation| {
                one.tables.iter().map(|name| name.table.as_str()).collect::<Vec<_>>().join(" ")
            };
            subtask.tables.iter().map(|one| (one.op, names(one), one.done)).collect()
        };
        state.change_tables(7, &task, &change(TableOp::Add, &["x", "y"])).unwrap();
        assert_eq!(state.tasks[&task].subtasks[&SourceId::new("s")].run_token, 7);
        let apart = state.change_tables(8, &task, &change(TableOp::Remove, &["x"])).unwrap_err();
        assert_eq!(apart.code, codes::TABLES_REFUSED);
        assert!(apart.message.contains("`a`.`y`"), "{}", apart.message);
        state.settle_tables(&task, &SourceId::new("s"), &BTreeSet::from([70_000])).unwrap();
        state.change_tables(9, &task, &change(TableOp::Resync, &["x"])).unwrap();
        assert_eq!(
            shown(&state),
            [(TableOp::Add, "y".to_owned(), true), (TableOp::Resync, "x".to_owned(), false)]
        );
        state.change_tables(10, &task, &change(TableOp::Remove, &["x", "y"])).unwrap();
        assert_eq!(shown(&state), [(TableOp::Remove, "x y".to_owned(), true)]);
        let other = BTreeMap::from([(SourceId::new("other"), Vec::new())]);
        assert_eq!(state.change_tables(11, &task, &other).unwrap_err().code, 46017);
    }
}
