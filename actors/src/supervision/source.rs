//! The supervisor of one source: holds its children's state and timers, does no work itself.
//!
//! | message | reaction |
//! |---|---|
//! | `Want` | wishes to the children; new ones start, unnamed ones are removed |
//! | `Exited` | to the child of that generation; stale generations are ignored |
//! | `Ping` | answered |
//! | tick | heartbeats and back-offs; ends itself when nothing is wanted and nothing is left |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::ids::{Epoch, SourceId, TaskName};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::UnitFactory;
use super::board::{SourceBoard, SubtaskBoard};
use super::child::{Child, Effect, Exit, Wish};
use super::desired::{DesiredStage, DesiredSubtask, OwnedSource};
use super::options::SupervisorOptions;
use super::runner;
use crate::unit::{Heartbeat, UnitContext};

const MAILBOX: usize = 256;

/// What is wanted of the source; `None`: end all and stop.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Want(pub Option<Arc<OwnedSource>>);

#[derive(Message)]
#[rtype(result = "()")]
struct Exited {
    task: TaskName,
    generation: u64,
    exit: Exit,
}

struct Running {
    generation: u64,
    heartbeat: Heartbeat,
    cancel: CancellationToken,
    abort: AbortHandle,
    /// If this supervisor dies, its units end too.
    _guard: DropGuard,
}

struct Supervised {
    child: Child,
    config: Arc<SubtaskConfig>,
    board: Arc<SubtaskBoard>,
    running: Option<Running>,
}

/// The actor.
pub(super) struct SourceSupervisor {
    id: SourceId,
    options: Arc<SupervisorOptions>,
    pool: Handle,
    factory: Arc<dyn UnitFactory>,
    board: Arc<SourceBoard>,
    source: Option<Arc<SourceConfig>>,
    epoch: Epoch,
    children: BTreeMap<TaskName, Supervised>,
}

impl SourceSupervisor {
    pub fn new(
        id: SourceId,
        options: Arc<SupervisorOptions>,
        pool: Handle,
        factory: Arc<dyn UnitFactory>,
        board: Arc<SourceBoard>,
    ) -> Self {
        Self { id, options, pool, factory, board, source: None, epoch: Epoch(0), children: BTreeMap::new() }
    }

    fn want(&mut self, wanted: Option<&OwnedSource>, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let mut moved = false;
        if let Some(wanted) = wanted {
            moved = self.source.is_some() && self.epoch != wanted.epoch;
            self.epoch = wanted.epoch;
            self.source = Some(Arc::new(wanted.source.clone()));
        }
        let named = wanted.map(|wanted| wanted.subtasks.as_slice()).unwrap_or_default();
        let unnamed: Vec<TaskName> = self
            .children
            .keys()
            .filter(|task| !named.iter().any(|subtask| subtask.config.task == **task))
            .cloned()
            .collect();
        for task in unnamed {
            self.wish(&task, Wish::Remove, false, now, ctx);
        }
        for subtask in named {
            self.want_subtask(subtask, moved, now, ctx);
        }
    }

    fn want_subtask(&mut self, subtask: &DesiredSubtask, moved: bool, now: Instant, ctx: &mut Context<Self>) {
        let task = subtask.config.task.clone();
        let wish = match subtask.stage {
            DesiredStage::Running => Wish::Run { token: subtask.run_token },
            DesiredStage::Paused => Wish::Pause,
        };
        let limits = match &self.source {
            Some(source) => self.options.limits.with_checker(&source.checker),
            None => self.options.limits,
        };
        if let Some(supervised) = self.children.get_mut(&task) {
            supervised.config = Arc::new(subtask.config.clone());
            supervised.child.set_limits(limits);
            self.wish(&task, wish, moved, now, ctx);
            return;
        }
        let board = self.board.subtask(&task);
        let (child, effects) = Child::new(limits, wish, board.deaths(), now);
        let config = Arc::new(subtask.config.clone());
        self.children.insert(task.clone(), Supervised { child, config, board, running: None });
        self.perform(&task, effects, ctx);
    }

    fn wish(&mut self, task: &TaskName, wish: Wish, restart: bool, now: Instant, ctx: &mut Context<Self>) {
        if let Some(supervised) = self.children.get_mut(task) {
            let effects = supervised.child.wish(wish, restart, now);
            self.perform(task, effects, ctx);
        }
    }

    fn perform(&mut self, task: &TaskName, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Spawn => self.spawn(task, ctx),
                Effect::Cancel => {
                    if let Some(running) = self.running(task) {
                        running.cancel.cancel();
                    }
                }
                Effect::Abort => {
                    if let Some(running) = self.running(task) {
                        running.abort.abort();
                    }
                }
                Effect::Forget => {
                    self.children.remove(task);
                    self.board.forget(task);
                }
            }
        }
        if let Some(supervised) = self.children.get(task) {
            supervised.board.show(&supervised.child, self.epoch);
        }
    }

    fn running(&self, task: &TaskName) -> Option<&Running> {
        self.children.get(task).and_then(|supervised| supervised.running.as_ref())
    }

    fn spawn(&mut self, task: &TaskName, ctx: &mut Context<Self>) {
        let (Some(supervised), Some(source)) = (self.children.get_mut(task), self.source.clone()) else {
            return;
        };
        let generation = supervised.board.next_generation();
        let cancel = CancellationToken::new();
        let heartbeat = Heartbeat::new();
        let unit_ctx = UnitContext {
            task: task.clone(),
            source: self.id.clone(),
            cancel: cancel.clone(),
            heartbeat: heartbeat.clone(),
            generation,
            epoch: self.epoch,
            cluster_id: self.options.cluster_id.clone(),
            status: supervised.board.cell(),
        };
        tracing::info!(%task, source = %self.id, generation, epoch = self.epoch.0, "unit starts");
        let unit = self.factory.unit(unit_ctx.clone(), source, Arc::clone(&supervised.config));
        let me = ctx.address().downgrade();
        let name = task.clone();
        let abort =
            runner::spawn(&self.pool, unit_ctx, supervised.board.slot(), unit, move |exit| async move {
                if let Some(supervisor) = me.upgrade() {
                    // A dead supervisor is rebuilt from the wishes, it needs no news.
                    let _ = supervisor.send(Exited { task: name, generation, exit }).await;
                }
            });
        let guard = cancel.clone().drop_guard();
        supervised.running = Some(Running { generation, heartbeat, cancel, abort, _guard: guard });
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let tasks: Vec<TaskName> = self.children.keys().cloned().collect();
        for task in tasks {
            let Some(supervised) = self.children.get_mut(&task) else { continue };
            let beats = supervised.running.as_ref().map_or(0, |running| running.heartbeat.count());
            let effects = supervised.child.tick(beats, now);
            if effects.contains(&Effect::Cancel) {
                tracing::error!(%task, source = %self.id, cause = supervised.child.last_cause(), "unit hangs");
            }
            if !effects.is_empty() {
                self.perform(&task, effects, ctx);
            }
        }
        if self.source.is_none() && self.children.is_empty() {
            ctx.stop();
        }
    }

    fn exited(&mut self, message: Exited, ctx: &mut Context<Self>) {
        let Exited { task, generation, exit } = message;
        let Some(supervised) = self.children.get_mut(&task) else { return };
        if supervised.running.as_ref().is_none_or(|running| running.generation != generation) {
            return;
        }
        supervised.running = None;
        match &exit {
            Exit::Done(done) => tracing::info!(%task, source = %self.id, generation, ?done, "unit ended"),
            Exit::Failed(error) => {
                tracing::error!(%task, source = %self.id, generation, code = error.code, error = %error, "unit failed");
            }
            Exit::Panicked(cause) => {
                tracing::error!(%task, source = %self.id, generation, cause, "unit panicked")
            }
            Exit::Aborted => tracing::warn!(%task, source = %self.id, generation, "unit aborted"),
        }
        let effects = supervised.child.exited(exit, rand::random::<f64>(), Instant::now());
        self.perform(&task, effects, ctx);
    }
}

impl Actor for SourceSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(self.options.limits.check_interval, |supervisor, ctx| supervisor.tick(ctx));
    }
}

impl Handler<Want> for SourceSupervisor {
    type Result = ();

    fn handle(&mut self, Want(wanted): Want, ctx: &mut Self::Context) {
        if wanted.is_none() {
            self.want(None, ctx);
            self.source = None;
        } else {
            self.want(wanted.as_deref(), ctx);
        }
    }
}

impl Handler<Exited> for SourceSupervisor {
    type Result = ();

    fn handle(&mut self, message: Exited, ctx: &mut Self::Context) {
        self.exited(message, ctx);
    }
}

/// Only tests and the fault runner kill a supervisor on purpose.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Die;

#[cfg(test)]
impl Handler<Die> for SourceSupervisor {
    type Result = ();

    fn handle(&mut self, _: Die, _: &mut Self::Context) {
        panic!("asked to die");
    }
}
