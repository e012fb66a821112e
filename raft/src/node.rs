//! A node's part in the cluster.

mod bootstrap;
mod client;
mod leading;
mod membership;
mod server;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dmnode_model::NodeId;
use dmnode_storage::{DataDir, LogStore};
use futures_util::FutureExt;
use openraft::SnapshotPolicy;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::lifecycle::Lifecycle;
use crate::liveness::Liveness;
use crate::network::Network;
use crate::rpc::LeaderHint;
use crate::store::{Log, Machine, Replica};
use crate::transport::{Http, Transport};
use crate::types::Raft;
use crate::{Command, CommandReply, RaftConfig, RaftNodeError, State};

/// Replicated entries of one append; their bytes are limited as well.
const APPEND_ENTRIES: u64 = 64;
const SNAPSHOT_CHUNK: u64 = 1024 * 1024;
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(10);

/// A member of the cluster as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its address.
    pub addr: String,
    /// Whether it votes (else it is catching up, or the change that adds or removes it is not finished).
    pub voter: bool,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it was heard of within the time after which its sources would move.
    pub alive: bool,
}

/// A node's part in the cluster: cheap to clone. It works until [`RaftNode::shutdown`].
#[derive(Clone)]
pub struct RaftNode {
    inner: Arc<Inner>,
}

struct Inner {
    config: RaftConfig,
    dir: DataDir,
    transport: Arc<dyn Transport>,
    replica: Replica,
    liveness: Arc<Liveness>,
    lifecycle: Arc<Lifecycle>,
    /// Set once the node has its id.
    running: OnceLock<Running>,
    /// This node leads, is removed, and waits for another leader.
    aside: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

struct Running {
    raft: Raft,
    id: NodeId,
    cluster_id: String,
    log: LogStore,
}

impl RaftNode {
    /// Opens the data directory and goes to work in the background. Serve [`Self::handle_rpc`] from then on, and
    /// wait for [`Self::wait_ready`]: the cluster may need to call this node before it is ready.
    pub async fn start(config: RaftConfig) -> Result<Self, RaftNodeError> {
        let transport = Http::new().map_err(RaftNodeError::Config)?;
        Self::start_with(config, Arc::new(transport)).await
    }

    pub(crate) async fn start_with(
        config: RaftConfig,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, RaftNodeError> {
        let config = check_config(config)?;
        let (path, name, replace) = (config.data_dir.clone(), config.name.clone(), config.replace);
        let dir = blocking(move || DataDir::open(&path, &name, replace)).await??;
        let inner = Arc::new(Inner {
            config,
            dir,
            transport,
            replica: Replica::new(),
            liveness: Arc::new(Liveness::new(Instant::now())),
            lifecycle: Arc::new(Lifecycle::new()),
            running: OnceLock::new(),
            aside: AtomicBool::new(false),
            tasks: Mutex::new(Vec::new()),
        });
        // A directory that was in a cluster is opened here, so that damage is the caller's to see; everything that
        // needs the network comes later.
        if let Err(err) = inner.resume().await {
            inner.dir.release();
            return Err(err);
        }
        inner.spawn("joining the cluster", Arc::clone(&inner).bootstrap());
        inner.spawn("listening to the other nodes", Arc::clone(&inner).ping_peers());
        inner.spawn("watching Raft", Arc::clone(&inner).watch_raft());
        inner.spawn("placing the sources", Arc::clone(&inner).place_sources());
        inner.spawn("keeping the membership", Arc::clone(&inner).keep_membership());
        Ok(Self { inner })
    }

    /// Waits until this node is a member of a cluster with a leader. A refusal by the cluster comes out here.
    pub async fn wait_ready(&self) -> Result<(), RaftNodeError> {
        self.inner.lifecycle.wait_ready().await
    }

    /// Returns when this node can no longer take part: its storage failed, or it was replaced. The process
    /// should end then.
    pub async fn wait_failed(&self) -> RaftNodeError {
        self.inner.lifecycle.wait_failed().await
    }

    /// Has a command decided, wherever the leader is, within `request_timeout`. Attempts are repeated under the
    /// command's request id, which makes that safe.
    pub async fn propose(&self, command: Command) -> Result<CommandReply, RaftNodeError> {
        self.inner.propose(command).await
    }

    /// A linearizable read on any node, with the log index it reflects.
    pub async fn read(&self) -> Result<(Arc<State>, u64), RaftNodeError> {
        self.inner.read().await
    }

    /// Follows this node's replica.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.inner.replica.watch()
    }

    /// This node's replica, as far as it has come.
    pub fn local_state(&self) -> Arc<State> {
        self.inner.replica.state()
    }

    /// Log index up to which this node's replica has come.
    pub fn applied_index(&self) -> u64 {
        self.inner.replica.applied()
    }

    /// Serves `POST /raft/{path}`: takes the body, gives the answer's bytes. Bodies are at most
    /// [`crate::MAX_RPC_BODY`] bytes long.
    pub async fn handle_rpc(&self, path: &str, body: Bytes) -> Result<Vec<u8>, RaftNodeError> {
        self.inner.handle_rpc(path, body).await
    }

    /// The leader, when known.
    pub fn leader(&self) -> Option<(NodeId, String)> {
        self.inner.leader().map(|hint| (hint.node, hint.addr))
    }

    /// Whether this node leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.inner.is_leader()
    }

    /// The members of the cluster.
    pub fn members(&self) -> Vec<MemberInfo> {
        self.inner.members()
    }

    /// The nodes heard of within `source_lost_after`, this one included. Every node listens for itself.
    pub fn live_nodes(&self) -> Vec<NodeId> {
        self.inner.members().into_iter().filter(|member| member.alive).map(|member| member.id).collect()
    }

    /// This node's id; `None` until it has joined a cluster.
    pub fn id(&self) -> Option<NodeId> {
        self.inner.running.get().map(|running| running.id)
    }

    /// This node's name.
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// Identity of the cluster; `None` until this node has joined.
    pub fn cluster_id(&self) -> Option<String> {
        self.inner.running.get().map(|running| running.cluster_id.clone())
    }

    /// Stops; the data directory is closed when this returns.
    pub async fn shutdown(&self) {
        self.inner.shutdown().await;
    }

    #[cfg(test)]
    pub(crate) fn trigger_snapshot(&self) -> Option<&Raft> {
        self.inner.running.get().map(|running| &running.raft)
    }
}

impl Inner {
    /// A node that lacks one of its tasks must not look as if it worked: a panic ends its part.
    fn spawn(&self, what: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let lifecycle = Arc::clone(&self.lifecycle);
        self.tasks.lock().push(tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                lifecycle
                    .stop(format!("{what} panicked: {}; this is a defect of dmnode", panic_text(&*panic)));
            }
        }));
    }

    /// Starts Raft under this node's id; the store must be there.
    async fn start_raft(self: &Arc<Self>, id: NodeId, cluster_id: String) -> Result<(), RaftNodeError> {
        let dir = self.dir.clone();
        let store = blocking(move || dir.open_store()).await??;
        let log = store.log.clone();
        let machine = match Machine::open(store.snapshots, store.snapshot.as_ref(), self.replica.clone()) {
            Ok(machine) => machine,
            Err(reason) => {
                // The file is whole, so it is not damage: most likely a newer program wrote it.
                log.close();
                return Err(RaftNodeError::Config(format!(
                    "cannot use the snapshot in {}: {reason}",
                    self.dir.path().display()
                )));
            }
        };
        let network = Network {
            transport: Arc::clone(&self.transport),
            cluster_id: cluster_id.clone(),
            me: id,
            lifecycle: Arc::clone(&self.lifecycle),
            liveness: Arc::clone(&self.liveness),
        };
        let settings = raft_settings(&self.config)?;
        let raft = match Raft::new(id.0, Arc::new(settings), network, Log::new(log.clone()), machine).await {
            Ok(raft) => raft,
            Err(err) => {
                log.close();
                return Err(RaftNodeError::Stopped(err.to_string()));
            }
        };
        if self.running.set(Running { raft, id, cluster_id, log }).is_err() {
            return Err(RaftNodeError::Stopped("Raft was started twice".to_owned()));
        }
        Ok(())
    }

    fn leader(&self) -> Option<LeaderHint> {
        let running = self.running.get()?;
        let metrics = running.raft.metrics().borrow().clone();
        let leader = metrics.current_leader?;
        let member = metrics.membership_config.membership().get_node(&leader)?;
        Some(LeaderHint { node: NodeId(leader), addr: member.addr.clone() })
    }

    fn is_leader(&self) -> bool {
        self.running
            .get()
            .is_some_and(|running| running.raft.metrics().borrow().current_leader == Some(running.id.0))
    }

    fn members(&self) -> Vec<MemberInfo> {
        let Some(running) = self.running.get() else { return Vec::new() };
        let metrics = running.raft.metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        // While a change is half done both sets decide, so that who is in one of them only does not count yet.
        let sets = membership.get_joint_config();
        let votes = |id: NodeId| sets.iter().all(|set| set.contains(&id.0));
        let mut nodes: BTreeMap<NodeId, (String, String)> = membership
            .nodes()
            .map(|(id, member)| (NodeId(*id), (member.name.clone(), member.addr.clone())))
            .collect();
        let state = self.replica.state();
        if !state.nodes.is_empty() {
            nodes.retain(|id, _| !state.is_retired(*id));
        }
        nodes.extend(state.nodes.iter().map(|(id, entry)| (*id, (entry.name.clone(), entry.addr.clone()))));
        let now = Instant::now();
        nodes
            .into_iter()
            .map(|(id, (name, addr))| MemberInfo {
                id,
                name,
                addr,
                voter: votes(id),
                leader: metrics.current_leader == Some(id.0),
                alive: id == running.id || self.liveness.is_alive(id, now, self.config.source_lost_after),
            })
            .collect()
    }

    /// Ends this node's part when Raft itself ended.
    async fn watch_raft(self: Arc<Self>) {
        loop {
            let Some(running) = self.running.get() else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let mut metrics = running.raft.metrics();
            loop {
                let failure = metrics.borrow_and_update().running_state.clone().err();
                if let Some(failure) = failure {
                    self.lifecycle.stop(format!("Raft has ended: {failure}"));
                    return;
                }
                // A Raft that ends in order says so first, see above.
                if metrics.changed().await.is_err() {
                    let reason = "Raft panicked, see the log for where; this is a defect of dmnode. Nothing that \
                                  was decided is lost; start the node again";
                    self.lifecycle.stop(reason.to_owned());
                    return;
                }
            }
        }
    }

    async fn shutdown(&self) {
        self.lifecycle.stop("it was shut down".to_owned());
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            // Aborted, or panicked, which its own report has said.
            let _ = task.await;
        }
        if let Some(running) = self.running.get() {
            if let Err(err) = running.raft.shutdown().await {
                tracing::warn!(error = %err, "Raft did not stop cleanly");
            }
            let log = running.log.clone();
            if let Err(err) = blocking(move || log.close()).await {
                tracing::warn!(error = %err, "the log store was not closed");
            }
        }
        self.dir.release();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}

/// Runs disk work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RaftNodeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|err| RaftNodeError::Stopped(format!("a task on the disk did not finish: {err}")))
}

fn check_config(config: RaftConfig) -> Result<RaftConfig, RaftNodeError> {
    let refuse = |text: String| Err(RaftNodeError::Config(text));
    if config.name.is_empty() || config.addr.is_empty() {
        return refuse("a node needs a name and an address".to_owned());
    }
    if !config.join.is_empty() && !config.initial_cluster.is_empty() {
        return refuse(
            "initial-cluster and join exclude each other: the first makes a new cluster, the second enters an \
             existing one"
                .to_owned(),
        );
    }
    if config.replace && config.join.is_empty() {
        return refuse(
            "--replace needs --join HOST:PORT, the address of any other node of the cluster".to_owned(),
        );
    }
    if !config.initial_cluster.is_empty() {
        match config.initial_cluster.get(&config.name) {
            None => {
                return refuse(format!(
                    "initial-cluster does not name this node, `{}` (it names {})",
                    config.name,
                    config.initial_cluster.keys().cloned().collect::<Vec<_>>().join(", ")
                ));
            }
            Some(addr) if *addr != config.addr => {
                return refuse(format!(
                    "initial-cluster gives this node the address {addr}, its own (advertised) address is {}",
                    config.addr
                ));
            }
            Some(_) => {}
        }
    }
    raft_settings(&config)?;
    Ok(config)
}

fn raft_settings(config: &RaftConfig) -> Result<openraft::Config, RaftNodeError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let timing = &config.timing;
    openraft::Config {
        cluster_name: "dmnode".to_owned(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election_min),
        election_timeout_max: millis(timing.election_max),
        install_snapshot_timeout: millis(SNAPSHOT_TIMEOUT),
        max_payload_entries: APPEND_ENTRIES,
        snapshot_max_chunk_size: SNAPSHOT_CHUNK,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timing.snapshot_after),
        max_in_snapshot_log_to_keep: timing.keep_entries,
        replication_lag_threshold: timing.snapshot_after.saturating_add(timing.keep_entries),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|err| RaftNodeError::Config(format!("the timing of Raft is not possible: {err}")))
}
