//! The tree with toy units: the three deaths, siblings, pause, rebuild.

use std::collections::HashMap;
use std::time::Instant;

use dmnode_model::codes;
use dmnode_model::config::TaskConfig;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{Epoch, SourceId};
use dmnode_model::status::{Stage, SubTaskStatus};
use parking_lot::Mutex;

use super::node::Kill;
use super::*;
use crate::unit::UnitDone;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Panic,
    Error(u32),
    Hang,
    /// Blocks its thread, which no abort can end.
    Block(u64),
}

/// Units that work until told to misbehave, once.
#[derive(Default)]
struct Toys {
    deeds: Mutex<HashMap<(String, String), Deed>>,
    /// (source, task, generation, epoch) of every start.
    starts: Mutex<Vec<(String, String, u64, u64)>>,
    /// Units alive now, by source and task; never more than one each.
    alive: Mutex<HashMap<(String, String), u32>>,
}

struct Alive(Arc<Toys>, (String, String));

impl Drop for Alive {
    fn drop(&mut self) {
        *self.0.alive.lock().get_mut(&self.1).unwrap() -= 1;
    }
}

struct Factory(Arc<Toys>);

impl UnitFactory for Factory {
    fn unit(
        &self,
        ctx: UnitContext,
        source: Arc<SourceConfig>,
        subtask: Arc<SubtaskConfig>,
    ) -> BoxFuture<'static, UnitResult> {
        let toys = Arc::clone(&self.0);
        Box::pin(async move {
            let key = (source.source_id.to_string(), subtask.task.to_string());
            toys.starts.lock().push((key.0.clone(), key.1.clone(), ctx.generation, ctx.epoch.0));
            {
                let mut alive = toys.alive.lock();
                let count = alive.entry(key.clone()).or_default();
                *count += 1;
                assert_eq!(*count, 1, "two generations at once");
            }
            let _alive = Alive(Arc::clone(&toys), key.clone());
            loop {
                ctx.heartbeat.beat();
                let deed = toys.deeds.lock().remove(&key);
                match deed {
                    Some(Deed::Panic) => panic!("toy"),
                    Some(Deed::Error(code)) => return Err(CodedError::new(code, "toy")),
                    Some(Deed::Hang) => std::future::pending().await,
                    Some(Deed::Block(ms)) => std::thread::sleep(Duration::from_millis(ms)),
                    None => {}
                }
                tokio::select! {
                    () = ctx.cancel.cancelled() => {
                        // A drain that takes a moment.
                        tokio::time::sleep(Duration::from_millis(30)).await;
                        return Ok(UnitDone::Cancelled);
                    }
                    () = tokio::time::sleep(Duration::from_millis(5)) => {}
                }
            }
        })
    }
}

struct Rig {
    toys: Arc<Toys>,
    handle: NodeSupervisorHandle,
    wanted: Vec<OwnedSource>,
}

fn owned(source: &str, tasks: &[&str]) -> OwnedSource {
    let yaml = format!(
        "source-id: {source}\nfrom:\n  host: 127.0.0.1\n  port: 3306\n  user: root\n  password: ''\n"
    );
    let subtasks = tasks
        .iter()
        .map(|task| {
            let yaml = format!(
                "name: {task}\ntask-mode: all\ntarget-database:\n  host: 127.0.0.1\n  port: 4000\n  user: root\n  password: ''\n\
                 mysql-instances:\n  - source-id: {source}\n"
            );
            let config = TaskConfig::from_yaml(&yaml, None).unwrap().value.subtask(&SourceId::new(source)).unwrap();
            DesiredSubtask { config, stage: DesiredStage::Running, run_token: 1 }
        })
        .collect();
    let source = SourceConfig::from_yaml(&yaml, None).unwrap().value;
    OwnedSource { source, epoch: Epoch(1), subtasks }
}

impl Rig {
    fn new() -> Self {
        let limits = SupervisionLimits {
            hang_limit: Duration::from_millis(1500),
            abort_grace: Duration::from_millis(50),
            check_interval: Duration::from_millis(10),
            first_restart: Duration::from_millis(20),
            back_off_base: Duration::from_millis(50),
            ping_interval: Duration::from_millis(50),
            ping_timeout: Duration::from_secs(3),
            ..SupervisionLimits::default()
        };
        let options = SupervisorOptions { node_name: "n1".into(), cluster_id: "c".into(), limits };
        let toys = Arc::new(Toys::default());
        let handle = NodeSupervisor::start_with(options, Arc::new(Factory(Arc::clone(&toys))));
        let wanted = vec![owned("s1", &["a", "b"]), owned("s2", &["a"])];
        let rig = Self { toys, handle, wanted };
        rig.apply();
        rig
    }

    fn apply(&self) {
        self.handle.apply(self.wanted.clone());
    }

    fn subtask(&self, source: &str, task: &str) -> Option<SubTaskStatus> {
        let entry = self
            .handle
            .status()
            .into_iter()
            .find(|entry| entry.source_status.as_ref().unwrap().source == source)?;
        entry.sub_task_status.into_iter().find(|subtask| subtask.name == task)
    }

    async fn until(&self, what: &str, check: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !check(self) {
            assert!(Instant::now() < deadline, "{what}: {:#?}", self.handle.status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_stage(&self, source: &str, task: &str, stage: Stage) {
        self.until(&format!("{source} {task} {stage:?}"), |rig| {
            rig.subtask(source, task).is_some_and(|found| found.stage == stage)
        })
        .await;
    }

    async fn until_all_run(&self, starts: usize) {
        self.until("all run", |rig| {
            rig.toys.starts.lock().len() == starts && rig.toys.alive.lock().values().sum::<u32>() == 3
        })
        .await;
        for (source, task) in [("s1", "a"), ("s1", "b"), ("s2", "a")] {
            self.until_stage(source, task, Stage::Running).await;
        }
    }

    fn deed(&self, source: &str, task: &str, deed: Deed) {
        self.toys.deeds.lock().insert((source.into(), task.into()), deed);
    }

    fn generations(&self) -> Vec<u64> {
        [("s1", "a"), ("s1", "b"), ("s2", "a")]
            .iter()
            .map(|(source, task)| self.subtask(source, task).unwrap().dmnode.unwrap().generation)
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_an_error_and_a_hang_are_healed_and_siblings_do_not_notice() {
    let rig = Rig::new();
    rig.until_all_run(3).await;
    for (starts, deed) in [(4, Deed::Panic), (5, Deed::Error(codes::SOURCE_CONNECTION)), (6, Deed::Hang)] {
        rig.deed("s1", "a", deed);
        rig.until_all_run(starts).await;
    }
    assert_eq!(rig.generations(), [4, 1, 1]);
    let extra = rig.subtask("s1", "a").unwrap().dmnode.unwrap();
    assert_eq!((extra.restarts.panics, extra.restarts.errors, extra.restarts.hangs), (1, 1, 1));
    assert!(extra.last_restart_cause.contains("no progress"), "{}", extra.last_restart_cause);
    rig.handle.shutdown().await;
    assert_eq!(rig.toys.alive.lock().values().sum::<u32>(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_unit_that_blocks_its_thread_is_replaced_after_it_let_go() {
    let rig = Rig::new();
    rig.until_all_run(3).await;
    rig.deed("s1", "a", Deed::Block(4000));
    rig.until_all_run(4).await;
    assert_eq!(rig.generations(), [2, 1, 1]);
    assert_eq!(rig.subtask("s1", "a").unwrap().dmnode.unwrap().restarts.hangs, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_error_for_the_operator_pauses_until_the_token_changes() {
    let mut rig = Rig::new();
    rig.until_all_run(3).await;
    rig.deed("s1", "b", Deed::Error(codes::COPY_DUPLICATE));
    rig.until_stage("s1", "b", Stage::Paused).await;
    let result = rig.subtask("s1", "b").unwrap().result.unwrap();
    assert!(!result.is_canceled);
    assert_eq!(result.errors[0].code, codes::COPY_DUPLICATE);
    rig.apply();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.generations(), [1, 1, 1]);
    rig.wanted[0].subtasks[1].run_token = 2;
    rig.apply();
    rig.until_all_run(4).await;
    assert_eq!(rig.subtask("s1", "b").unwrap().result, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pause_stop_move_and_removal() {
    let mut rig = Rig::new();
    rig.until_all_run(3).await;
    rig.wanted[0].subtasks[0].stage = DesiredStage::Paused;
    rig.apply();
    rig.until_stage("s1", "a", Stage::Paused).await;
    assert_eq!(rig.toys.alive.lock()[&("s1".to_owned(), "a".to_owned())], 0, "paused means idle");
    assert!(rig.subtask("s1", "a").unwrap().result.unwrap().is_canceled);
    rig.wanted[0].subtasks[0].stage = DesiredStage::Running;
    rig.wanted[0].subtasks[0].run_token = 2;
    rig.apply();
    rig.until_all_run(4).await;

    rig.wanted[1].epoch = Epoch(7);
    rig.apply();
    rig.until_all_run(5).await;
    assert_eq!(rig.toys.starts.lock().last().unwrap().3, 7);
    assert_eq!(rig.subtask("s2", "a").unwrap().dmnode.unwrap().epoch, 7);

    rig.wanted[0].subtasks.remove(0);
    rig.wanted.remove(1);
    rig.apply();
    rig.until("the rest is gone", |rig| rig.handle.status().len() == 1 && rig.subtask("s1", "a").is_none())
        .await;
    assert_eq!(rig.subtask("s1", "b").unwrap().stage, Stage::Running);
    assert_eq!(rig.toys.alive.lock().values().sum::<u32>(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn supervisors_that_die_are_rebuilt_from_the_wishes() {
    let rig = Rig::new();
    rig.until_all_run(3).await;
    let top = rig.handle.inner.top.borrow().clone().unwrap();
    top.send(Kill(Some(SourceId::new("s1")))).await.unwrap();
    rig.until_all_run(5).await;
    assert_eq!(rig.generations(), [2, 2, 1], "the other source did not notice");
    assert!(top.send(Kill(None)).await.is_err());
    rig.until_all_run(8).await;
    assert_eq!(rig.generations(), [3, 3, 2]);
    rig.deed("s2", "a", Deed::Panic);
    rig.until_all_run(9).await;
}
