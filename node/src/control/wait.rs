//! DM's waiting rule: after a change, look at the owners of the sources until the change shows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName};
use dmnode_model::status::{
    CommonWorkerResponse, ProcessError, SourceStatusEntry, Stage, SubTaskStatus, UnitType,
};
use futures_util::future::join_all;

use super::{Control, owner_name};

/// How long a change may take to show, as in DM (10 looks, 1 s apart).
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks; shorter than DM's, for a quicker answer.
const PAUSE: Duration = Duration::from_millis(250);
/// A start counts when it has held for so long: connections that are refused show by then.
const STEADY: Duration = Duration::from_millis(700);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Running, or finished already.
    Running,
    /// Idle.
    Paused,
    /// Not there any more.
    Gone,
}

/// Which run of a subtask was there before the change: its node and generation.
pub(super) type Runs = BTreeMap<SourceId, (String, u64)>;

/// What one look amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Look {
    /// Not yet.
    Pending,
    /// The goal shows.
    Reached,
    /// An error shows; the flag says whether the goal does too.
    Failed(bool, String),
}

impl Control {
    /// Waits for every source of a task; one answer each, in order.
    pub(super) async fn wait_for(
        &self,
        task: &TaskName,
        sources: &[SourceId],
        goal: Goal,
        before: &Runs,
    ) -> Vec<CommonWorkerResponse> {
        join_all(sources.iter().map(|source| self.wait_for_one(task, source, goal, before.get(source)))).await
    }

    async fn wait_for_one(
        &self,
        task: &TaskName,
        source: &SourceId,
        goal: Goal,
        before: Option<&(String, u64)>,
    ) -> CommonWorkerResponse {
        let deadline = Instant::now() + PATIENCE;
        let mut reached_since: Option<Instant> = None;
        let mut obstacle = String::new();
        loop {
            let state = self.raft.local_state();
            let worker = owner_name(&state, source);
            let answer = |result: bool, msg: String| CommonWorkerResponse {
                result,
                msg,
                source: source.to_string(),
                worker: worker.clone(),
            };
            if worker.is_empty() && goal == Goal::Gone {
                // Nobody works for the source, so nobody works for the task either.
                return answer(true, String::new());
            }
            let sources = [source.clone()];
            let seen = self.statuses(&state, &sources).await.remove(source);
            let look = match seen {
                Some(Ok(entry)) => look(&entry, task, goal, before),
                Some(Err(reason)) => {
                    obstacle = reason;
                    Look::Pending
                }
                None => Look::Pending,
            };
            match look {
                Look::Failed(reached, text) => return answer(reached, text),
                Look::Reached => {
                    let since = *reached_since.get_or_insert_with(Instant::now);
                    if goal != Goal::Running || since.elapsed() >= STEADY {
                        return answer(true, String::new());
                    }
                }
                Look::Pending => reached_since = None,
            }
            if Instant::now() >= deadline {
                let mut err =
                    CodedError::new(codes::MASTER_FAIL_TO_GET_EXPECT_RESULT, "fail to get expected result")
                        .remedy(format!(
                            "`query-status {task}` shows how it goes on; the change itself is stored"
                        ));
                if !obstacle.is_empty() {
                    err = err.cause(obstacle);
                }
                return answer(false, err.to_string());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The runs of a task's subtasks as they are now, to tell a later run from.
    pub(super) async fn runs(&self, task: &TaskName, sources: &[SourceId]) -> BTreeMap<SourceId, SubtaskNow> {
        let state = self.raft.local_state();
        self.statuses(&state, sources)
            .await
            .into_iter()
            .filter_map(|(source, entry)| {
                let entry = entry.ok()?;
                let worker =
                    entry.source_status.as_ref().map(|status| status.worker.clone()).unwrap_or_default();
                let subtask = find(&entry, task)?;
                let now = SubtaskNow {
                    run: (worker, generation(subtask)),
                    is_well: subtask.stage == Stage::Running && errors(subtask).is_empty(),
                };
                Some((source, now))
            })
            .collect()
    }
}

/// A subtask at one moment.
#[derive(Debug, Clone)]
pub(super) struct SubtaskNow {
    /// Node and generation.
    pub run: (String, u64),
    /// Running, without an error.
    pub is_well: bool,
}

fn find<'a>(entry: &'a SourceStatusEntry, task: &TaskName) -> Option<&'a SubTaskStatus> {
    entry.sub_task_status.iter().find(|subtask| subtask.name == task.as_str())
}

fn generation(subtask: &SubTaskStatus) -> u64 {
    subtask.dmnode.as_ref().map(|extra| extra.generation).unwrap_or_default()
}

fn errors(subtask: &SubTaskStatus) -> &[ProcessError] {
    subtask.result.as_ref().map(|result| result.errors.as_slice()).unwrap_or_default()
}

fn look(entry: &SourceStatusEntry, task: &TaskName, goal: Goal, before: Option<&(String, u64)>) -> Look {
    let Some(subtask) = find(entry, task) else {
        return match goal {
            Goal::Gone => Look::Reached,
            Goal::Running | Goal::Paused if !entry.result => Look::Failed(false, entry.msg.clone()),
            Goal::Running | Goal::Paused => Look::Pending,
        };
    };
    let worker = entry.source_status.as_ref().map(|status| status.worker.as_str()).unwrap_or_default();
    // What an earlier run left behind says nothing about this one.
    let is_new = before.is_none_or(|(node, run)| worker != node || generation(subtask) > *run);
    let reached = match goal {
        // A unit shows once it has taken over and knows its start: from then on nothing can be missed.
        Goal::Running => {
            is_new
                && (subtask.stage == Stage::Finished
                    || subtask.stage == Stage::Running && subtask.unit != UnitType::InvalidUnit)
        }
        Goal::Paused => subtask.stage == Stage::Paused,
        Goal::Gone => false,
    };
    if (is_new || goal == Goal::Paused) && goal != Goal::Gone && !errors(subtask).is_empty() {
        return Look::Failed(reached, worker_error(errors(subtask)));
    }
    if goal == Goal::Paused && subtask.stage == Stage::Finished {
        let err = CodedError::new(
            codes::WORKER_NOT_RUNNING_STAGE,
            "current stage is Finished but not running, invalid",
        );
        return Look::Failed(false, err.to_string());
    }
    if reached { Look::Reached } else { Look::Pending }
}

/// The errors of a subtask in the form DM's master passes them on.
fn worker_error(errors: &[ProcessError]) -> String {
    let texts: Vec<String> = errors
        .iter()
        .map(|error| {
            let mut text = format!(
                "ErrCode:{} ErrClass:{:?} ErrScope:{:?} ErrLevel:{:?} Message:{:?} ",
                error.code, error.class, error.scope, error.level, error.message
            );
            for (label, part) in [("RawCause", &error.raw_cause), ("Workaround", &error.workaround)] {
                if !part.is_empty() {
                    text.push_str(&format!("{label}:{part:?} "));
                }
            }
            text
        })
        .collect();
    let message = format!("some error occurs in dm-worker: {}", texts.join(", "));
    CodedError::new(codes::MASTER_OPER_RESP_NOT_SUCCESS, message).to_string()
}

#[cfg(test)]
mod tests {
    use dmnode_model::status::{ProcessResult, SourceStatus, SubTaskExtra};

    use super::*;

    fn entry(stage: Stage, generation: u64, error: bool) -> SourceStatusEntry {
        let error = ProcessError {
            code: 10006,
            class: "database".to_owned(),
            scope: "downstream".to_owned(),
            level: "high".to_owned(),
            message: "execute failed".to_owned(),
            raw_cause: "Error 1146".to_owned(),
            workaround: String::new(),
        }
        .into_some_if(error);
        SourceStatusEntry {
            result: true,
            msg: String::new(),
            source_status: Some(SourceStatus {
                source: "s".to_owned(),
                worker: "n1".to_owned(),
                ..SourceStatus::default()
            }),
            sub_task_status: vec![SubTaskStatus {
                name: "t".to_owned(),
                stage,
                unit: UnitType::Sync,
                result: error.map(|error| ProcessResult {
                    is_canceled: false,
                    errors: vec![error],
                    detail: None,
                }),
                dmnode: Some(SubTaskExtra { generation, ..SubTaskExtra::default() }),
                ..SubTaskStatus::default()
            }],
        }
    }

    trait IntoSomeIf: Sized {
        fn into_some_if(self, yes: bool) -> Option<Self> {
            yes.then_some(self)
        }
    }
    impl IntoSomeIf for ProcessError {}

    fn at(entry: &SourceStatusEntry, goal: Goal, before: Option<(&str, u64)>) -> Look {
        let before = before.map(|(node, run)| (node.to_owned(), run));
        look(entry, &TaskName::new("t"), goal, before.as_ref())
    }

    #[test]
    fn an_old_error_does_not_fail_a_resume() {
        let old = entry(Stage::Paused, 3, true);
        assert_eq!(at(&old, Goal::Running, Some(("n1", 3))), Look::Pending);
        assert!(matches!(at(&old, Goal::Running, Some(("n1", 2))), Look::Failed(false, _)));
        // The source moved: generations of another node do not compare.
        assert!(matches!(at(&old, Goal::Running, Some(("n2", 9))), Look::Failed(false, _)));
        assert_eq!(at(&entry(Stage::Running, 4, false), Goal::Running, Some(("n1", 3))), Look::Reached);
        assert_eq!(at(&entry(Stage::Running, 3, false), Goal::Running, Some(("n1", 3))), Look::Pending);
        assert_eq!(at(&entry(Stage::Finished, 1, false), Goal::Running, None), Look::Reached);
    }

    #[test]
    fn a_pause_of_a_failed_subtask_tells_its_error() {
        let Look::Failed(reached, text) = at(&entry(Stage::Paused, 1, true), Goal::Paused, None) else {
            panic!("failed")
        };
        assert!(reached);
        let expected = "[code=38032:class=dm-master:scope=internal:level=high], Message: some error occurs in dm-worker: \
            ErrCode:10006 ErrClass:\"database\" ErrScope:\"downstream\" ErrLevel:\"high\" Message:\"execute failed\" \
            RawCause:\"Error 1146\" , Workaround: Please execute `query-status` to check status.";
        assert_eq!(text, expected);
        assert_eq!(at(&entry(Stage::Pausing, 1, false), Goal::Paused, None), Look::Pending);
        assert!(matches!(at(&entry(Stage::Finished, 1, false), Goal::Paused, None), Look::Failed(false, _)));
    }

    #[test]
    fn gone_means_not_listed() {
        assert_eq!(at(&entry(Stage::Stopping, 1, true), Goal::Gone, None), Look::Pending);
        assert_eq!(
            look(&entry(Stage::Running, 1, false), &TaskName::new("other"), Goal::Gone, None),
            Look::Reached
        );
    }
}
