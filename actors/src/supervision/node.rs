//! The supervisor of a node: one child supervisor per source.
//!
//! | message | reaction |
//! |---|---|
//! | `Apply` | starts, tells or ends the source supervisors |
//! | `Ping` | answered |
//! | tick | rebuilds source supervisors that died, forgets those that ended |

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use dmnode_model::ids::SourceId;
use tokio::runtime::Handle;

use super::UnitFactory;
use super::board::NodeBoard;
use super::desired::OwnedSource;
use super::options::SupervisorOptions;
use super::source::{SourceSupervisor, Want};

const MAILBOX: usize = 64;

/// Everything this node is to do.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Apply(pub Arc<Vec<Arc<OwnedSource>>>);

/// Are you alive?
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Ping;

struct Source {
    supervisor: Addr<SourceSupervisor>,
    wanted: Option<Arc<OwnedSource>>,
    /// The wish is not in the supervisor's mailbox yet.
    untold: bool,
}

/// The actor.
pub(super) struct NodeSupervisor {
    options: Arc<SupervisorOptions>,
    pool: Handle,
    factory: Arc<dyn UnitFactory>,
    board: Arc<NodeBoard>,
    sources: BTreeMap<SourceId, Source>,
}

impl NodeSupervisor {
    pub fn new(
        options: Arc<SupervisorOptions>,
        pool: Handle,
        factory: Arc<dyn UnitFactory>,
        board: Arc<NodeBoard>,
    ) -> Self {
        Self { options, pool, factory, board, sources: BTreeMap::new() }
    }

    fn start_source(&self, id: &SourceId) -> Addr<SourceSupervisor> {
        SourceSupervisor::new(
            id.clone(),
            Arc::clone(&self.options),
            self.pool.clone(),
            Arc::clone(&self.factory),
            self.board.source(id),
        )
        .start()
    }

    fn apply(&mut self, wanted: &[Arc<OwnedSource>]) {
        for owned in wanted {
            let id = &owned.source.source_id;
            if let Some(source) = self.sources.get_mut(id) {
                source.wanted = Some(Arc::clone(owned));
                source.untold = true;
            } else {
                let supervisor = self.start_source(id);
                let source = Source { supervisor, wanted: Some(Arc::clone(owned)), untold: true };
                self.sources.insert(id.clone(), source);
            }
        }
        for (id, source) in &mut self.sources {
            if source.wanted.is_some() && !wanted.iter().any(|owned| owned.source.source_id == *id) {
                source.wanted = None;
                source.untold = true;
            }
        }
        self.settle();
    }

    /// Tells what is untold, rebuilds what died, forgets what ended.
    fn settle(&mut self) {
        let dead: Vec<SourceId> = self
            .sources
            .iter()
            .filter(|(_, source)| !source.supervisor.connected())
            .map(|(id, _)| id.clone())
            .collect();
        for id in dead {
            if self.sources.get(&id).is_some_and(|source| source.wanted.is_some()) {
                tracing::error!(source = %id, "the source's supervisor died; rebuilding it");
                let supervisor = self.start_source(&id);
                if let Some(source) = self.sources.get_mut(&id) {
                    source.supervisor = supervisor;
                    source.untold = true;
                }
            } else {
                self.sources.remove(&id);
                self.board.forget(&id);
            }
        }
        for source in self.sources.values_mut().filter(|source| source.untold) {
            // A full mailbox is told again at the next tick.
            source.untold = source.supervisor.try_send(Want(source.wanted.clone())).is_err();
        }
    }
}

impl Actor for NodeSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(self.options.limits.check_interval, |supervisor, _| supervisor.settle());
    }
}

impl Handler<Apply> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, Apply(wanted): Apply, _: &mut Self::Context) {
        self.apply(&wanted);
    }
}

impl Handler<Ping> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

/// Only tests kill supervisors on purpose.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Kill(pub Option<SourceId>);

#[cfg(test)]
impl Handler<Kill> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, Kill(source): Kill, _: &mut Self::Context) {
        match source {
            Some(id) => {
                let _ = self.sources[&id].supervisor.try_send(super::source::Die);
            }
            None => panic!("asked to die"),
        }
    }
}
