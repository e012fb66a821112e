//! How a node becomes a member: it resumes, begins a cluster, or joins one.
//!
//! A fresh node never votes before the cluster has registered the incarnation of its data directory. That is why
//! even the nodes of an initial cluster join one by one: were they all members from the start, nobody could
//! tell a node that comes up for the first time from one whose disk, with its vote, was lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmnode_model::NodeId;
use futures_util::future::join_all;

use super::{Inner, blocking};
use crate::codec;
use crate::command::{Applied, Command, CommandKind};
use crate::error::RaftNodeError;
use crate::rpc::{Identity, JoinReply, JoinRequest, Ping};
use crate::types::Member;

const RETRY: Duration = Duration::from_millis(250);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
const JOIN_TIMEOUT: Duration = Duration::from_secs(12);
const SAY_EVERY: Duration = Duration::from_secs(5);

impl Inner {
    /// Starts Raft when the data directory belongs to a cluster already.
    pub(super) async fn resume(self: &Arc<Self>) -> Result<(), RaftNodeError> {
        let marker = self.dir.marker();
        let (Some(cluster_id), Some(id)) = (marker.cluster_id.clone(), marker.node_id) else { return Ok(()) };
        if self.config.replace {
            tracing::warn!("--replace has no effect: the data directory is in order and node {id} goes on");
        }
        match self.start_raft(NodeId(id), cluster_id).await {
            // With --replace a store found damaged just now is left aside, and the node comes back as a new one.
            Err(RaftNodeError::Storage(dmnode_storage::StorageError::Quarantined { message }))
                if self.config.replace =>
            {
                tracing::error!(reason = %message, "starting as a new node");
                let dir = self.dir.clone();
                blocking(move || dir.begin_anew()).await??;
                Ok(())
            }
            other => other,
        }
    }

    /// Becomes a member, then waits for a leader.
    pub(super) async fn bootstrap(self: Arc<Self>) {
        if let Err(err) = self.become_member().await {
            match err {
                RaftNodeError::Stopped(reason) => self.lifecycle.stop(reason),
                other => self.lifecycle.refuse(other.to_string()),
            }
            return;
        }
        self.settle().await;
    }

    async fn become_member(self: &Arc<Self>) -> Result<(), RaftNodeError> {
        if self.running.get().is_some() {
            self.check_same_cluster().await?;
            return self.found_again().await;
        }
        let peers = self.other_addresses();
        if !self.config.join.is_empty() {
            return self.join(&peers).await;
        }
        if peers.is_empty() {
            return self.found().await;
        }
        let mut said = None;
        loop {
            let answers = self.ask_all(&peers).await;
            if answers.iter().flatten().any(|identity| identity.cluster_id.is_some()) {
                return self.join(&peers).await;
            }
            let up = answers.iter().flatten().count() + 1;
            let total = self.config.initial_cluster.len();
            let first = self.config.initial_cluster.keys().next();
            // With a majority known to be fresh, no earlier cluster of these nodes can be at work.
            if first == Some(&self.config.name) && up > total / 2 {
                return self.found().await;
            }
            say(&mut said, || {
                let first = first.map(String::as_str).unwrap_or_default();
                tracing::info!(up, total, "waiting for the initial cluster to come up; `{first}` begins it");
            });
            tokio::time::sleep(RETRY).await;
        }
    }

    fn other_addresses(&self) -> Vec<String> {
        let initial = self.config.initial_cluster.iter().filter(|(name, _)| **name != self.config.name);
        let initial = initial.map(|(_, addr)| addr.clone());
        initial.chain(self.config.join.iter().filter(|addr| **addr != self.config.addr).cloned()).collect()
    }

    async fn ask_all(&self, addresses: &[String]) -> Vec<Option<Identity>> {
        join_all(addresses.iter().map(|addr| self.ask(addr))).await
    }

    /// Asks a node who it is.
    pub(super) async fn ask(&self, addr: &str) -> Option<Identity> {
        let running = self.running.get();
        let ping = Ping {
            cluster_id: running.map(|running| running.cluster_id.clone()),
            from: running.map(|running| running.id),
        };
        let body = codec::encode(&ping).ok()?;
        match self.transport.call(addr, "ping", body, ASK_TIMEOUT).await {
            Ok(answer) => match codec::decode(&answer) {
                Ok(identity) => Some(identity),
                Err(err) => {
                    tracing::warn!(addr, error = %err, "the answer to a ping is not understood");
                    None
                }
            },
            Err(err) => {
                tracing::trace!(addr, error = %err, "a ping was not answered");
                None
            }
        }
    }

    /// Begins a cluster: this node is its only member, the others join.
    async fn found(self: &Arc<Self>) -> Result<(), RaftNodeError> {
        let cluster_id = uuid::Uuid::new_v4().to_string();
        let id = self.reserved_ids().get(&self.config.name).copied().unwrap_or(NodeId(1));
        tracing::info!(cluster_id, node = %id, "beginning a new cluster");
        self.adopt(id, &cluster_id, true).await?;
        self.start_raft(id, cluster_id).await?;
        self.found_again().await
    }

    /// The ids of the initial cluster: 1, 2, … in the order of the names.
    fn reserved_ids(&self) -> BTreeMap<String, NodeId> {
        let mut names: Vec<&String> = self.config.initial_cluster.keys().collect();
        if names.is_empty() {
            names.push(&self.config.name);
        }
        names.into_iter().zip(1..).map(|(name, id)| (name.clone(), NodeId(id))).collect()
    }

    /// The founder's first steps; each may have been cut short by a crash before.
    async fn found_again(self: &Arc<Self>) -> Result<(), RaftNodeError> {
        let marker = self.dir.marker();
        let Some(running) = self.running.get().filter(|_| marker.founder) else { return Ok(()) };
        let initialized =
            running.raft.is_initialized().await.map_err(|err| RaftNodeError::Stopped(err.to_string()))?;
        if !initialized {
            let member = Member { name: self.config.name.clone(), addr: self.config.addr.clone() };
            let members = BTreeMap::from([(running.id.0, member)]);
            running
                .raft
                .initialize(members)
                .await
                .map_err(|err| RaftNodeError::Stopped(format!("cannot begin the cluster: {err}")))?;
        }
        if !self.replica.state().cluster_id.is_empty() {
            return Ok(());
        }
        let init = CommandKind::InitCluster {
            cluster_id: running.cluster_id.clone(),
            reserved: self.reserved_ids(),
        };
        self.insist(init, "naming the cluster").await?;
        Ok(())
    }

    /// Proposes until it is decided.
    async fn insist(&self, kind: CommandKind, what: &str) -> Result<Applied, RaftNodeError> {
        let command = Command::fresh(kind);
        loop {
            match self.propose(command.clone()).await {
                Ok(reply) => {
                    return reply.outcome.map_err(|refused| RaftNodeError::Refused(refused.to_string()));
                }
                Err(RaftNodeError::Stopped(reason)) => return Err(RaftNodeError::Stopped(reason)),
                Err(err) => tracing::warn!(error = %err, "{what} takes long"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Makes the store, then says in the marker that there is one.
    async fn adopt(&self, id: NodeId, cluster_id: &str, founder: bool) -> Result<(), RaftNodeError> {
        let dir = self.dir.clone();
        let cluster_id = cluster_id.to_owned();
        blocking(move || {
            dir.open_store()?.log.close();
            dir.update_marker(|marker| {
                marker.cluster_id = Some(cluster_id);
                marker.node_id = Some(id.0);
                marker.founder = founder;
            })
        })
        .await??;
        Ok(())
    }

    /// Asks to be taken in, at one node after the other, until one answers.
    async fn join(self: &Arc<Self>, peers: &[String]) -> Result<(), RaftNodeError> {
        let request = JoinRequest {
            name: self.config.name.clone(),
            addr: self.config.addr.clone(),
            incarnation: self.dir.marker().incarnation,
            replace: self.config.replace,
        };
        let body = codec::encode(&request).map_err(|err| RaftNodeError::Rpc(err.to_string()))?;
        let mut said = None;
        loop {
            for addr in peers {
                let reply = match self.transport.call(addr, "join", body.clone(), JOIN_TIMEOUT).await {
                    Ok(answer) => codec::decode(&answer).map_err(|err| format!("{addr}: {err}")),
                    Err(err) => Err(err.to_string()),
                };
                match reply {
                    Ok(JoinReply::Accepted { node, cluster_id }) => {
                        tracing::info!(%node, cluster_id, via = %addr, "taken into the cluster");
                        self.adopt(node, &cluster_id, false).await?;
                        return self.start_raft(node, cluster_id).await;
                    }
                    Ok(JoinReply::Refused { refused, cluster_id }) => {
                        let text = if refused.code == 46003 {
                            self.known_name_text(&cluster_id, addr, &refused.message)
                        } else {
                            format!(
                                "cluster {cluster_id} does not take node `{}`: {refused}",
                                self.config.name
                            )
                        };
                        return Err(RaftNodeError::Refused(text));
                    }
                    Ok(JoinReply::NotReady(reason)) | Err(reason) => say(&mut said, || {
                        tracing::warn!(via = %addr, "cannot join yet, trying on: {reason}");
                    }),
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn known_name_text(&self, cluster_id: &str, via: &str, message: &str) -> String {
        let (name, dir) = (&self.config.name, self.dir.path().display());
        let addr = &self.config.addr;
        format!(
            "node `{name}` is known to cluster {cluster_id}, but the data directory {dir} is not the one it had \
             ({message}).\n\
             Possible reasons:\n\
             - the data directory moved, or a relative path now starts elsewhere. Start with the old one:\n\
             \x20   dmnode start --name {name} --addr {addr} --data-dir OLD-DIRECTORY\n\
             - its disk is not mounted. Mount it and start again.\n\
             - another machine runs under this name. Choose another name:\n\
             \x20   dmnode start --name OTHER-NAME --addr {addr} --data-dir {dir} --join {via}\n\
             - the disk is really lost. Come back as a new node; the old one is dropped, nothing else is lost:\n\
             \x20   dmnode start --name {name} --addr {addr} --data-dir {dir} --join {via} --replace"
        )
    }

    /// A directory of another cluster among these peers is a mix-up to be told at once.
    async fn check_same_cluster(&self) -> Result<(), RaftNodeError> {
        let Some(running) = self.running.get() else { return Ok(()) };
        let peers = self.other_addresses();
        for (addr, identity) in peers.iter().zip(self.ask_all(&peers).await) {
            let Some(theirs) = identity.and_then(|identity| identity.cluster_id) else { continue };
            if theirs != running.cluster_id {
                return Err(RaftNodeError::Refused(format!(
                    "the data directory {dir} belongs to cluster {ours} (node `{name}`, id {id}), but the node at \
                     {addr} belongs to cluster {theirs}.\n\
                     Possible reasons: the directory was copied or mounted from elsewhere, the addresses in \
                     initial-cluster or join are those of another cluster, or the cluster was begun anew without \
                     this node.\n\
                     To stay in {ours}, correct the addresses. To enter {theirs}, use an empty directory:\n\
                     \x20   dmnode start --name {name} --data-dir NEW-DIRECTORY --join {addr}",
                    dir = self.dir.path().display(),
                    ours = running.cluster_id,
                    name = self.config.name,
                    id = running.id,
                )));
            }
        }
        Ok(())
    }

    /// Waits until the cluster has a leader and knows this node under its present address.
    async fn settle(self: &Arc<Self>) {
        let Some(running) = self.running.get() else { return };
        let mut said = None;
        loop {
            if self.lifecycle.failure().is_some() {
                return;
            }
            let state = self.replica.state();
            let known = state.nodes.get(&running.id).is_some_and(|entry| entry.addr == self.config.addr);
            if known && self.leader().is_some() {
                tracing::info!(node = %running.id, cluster_id = %running.cluster_id, "member of the cluster");
                self.lifecycle.ready();
                return;
            }
            if !known && self.may_register(&state) {
                self.register().await;
            }
            say(&mut said, || tracing::info!("waiting for the cluster to have a leader"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The founder registers itself, any node a changed address; a joined node is registered and only has to catch
    /// up with the log.
    fn may_register(&self, state: &crate::State) -> bool {
        let Some(running) = self.running.get() else { return false };
        state.nodes.contains_key(&running.id)
            || (self.dir.marker().founder && state.reserved.contains_key(&self.config.name))
    }

    async fn register(&self) {
        let kind = CommandKind::RegisterNode {
            name: self.config.name.clone(),
            addr: self.config.addr.clone(),
            incarnation: self.dir.marker().incarnation,
            replace: false,
        };
        match self.propose(Command::fresh(kind)).await {
            Ok(reply) => {
                if let Err(refused) = reply.outcome {
                    self.lifecycle.refuse(format!("the cluster does not take this node: {refused}"));
                }
            }
            Err(err) => tracing::warn!(error = %err, "cannot register with the cluster yet"),
        }
    }
}

/// Says something at most every few seconds, and not at once.
fn say(last: &mut Option<Instant>, message: impl FnOnce()) {
    let since = last.get_or_insert_with(Instant::now);
    if since.elapsed() >= SAY_EVERY {
        *since = Instant::now();
        message();
    }
}
