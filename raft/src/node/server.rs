//! Serving the other nodes' messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dmnode_model::NodeId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Inner, Running};
use crate::command::{Applied, Command, CommandKind};
use crate::error::RaftNodeError;
use crate::rpc::{
    Envelope, Identity, JoinReply, JoinRequest, Ping, ProposeReply, ProposeRequest, ReadReply, ReadRequest,
    Rejection, decode, encode,
};

/// No peer makes us work longer on its behalf.
const LONGEST: Duration = Duration::from_secs(10);

impl Inner {
    pub(super) async fn handle_rpc(
        self: &Arc<Self>,
        path: &str,
        body: Bytes,
    ) -> Result<Vec<u8>, RaftNodeError> {
        if body.len() > crate::MAX_RPC_BODY {
            return Err(RaftNodeError::Rpc(format!("/raft/{path}: the message is too long")));
        }
        // A node that has ended must not go on answering, least of all votes.
        if let Some(failure) = self.lifecycle.failure() {
            return Err(failure);
        }
        match path {
            "append" => {
                self.raft_message(path, &body, async |running, rpc| running.raft.append_entries(rpc).await)
                    .await
            }
            "vote" => self.raft_message(path, &body, async |running, rpc| running.raft.vote(rpc).await).await,
            "snapshot" => {
                self.raft_message(path, &body, async |running, rpc| running.raft.install_snapshot(rpc).await)
                    .await
            }
            "propose" => encode(path, &self.on_propose(decode(path, &body)?).await),
            "read" => encode(path, &self.on_read(decode(path, &body)?).await),
            "ping" => encode(path, &self.on_ping(&decode(path, &body)?)),
            "join" => encode(path, &self.on_join(decode(path, &body)?).await),
            _ => Err(RaftNodeError::Rpc(format!("/raft/{path}: no such message"))),
        }
    }

    async fn raft_message<Q, A, E>(
        &self,
        path: &str,
        body: &[u8],
        call: impl AsyncFnOnce(&Running, Q) -> Result<A, E>,
    ) -> Result<Vec<u8>, RaftNodeError>
    where
        Q: DeserializeOwned,
        A: Serialize,
        E: Serialize,
    {
        let envelope: Envelope<Q> = decode(path, body)?;
        let answer: Result<Result<A, E>, Rejection> = match self.addressee(&envelope) {
            Ok(running) => {
                self.liveness.heard(envelope.from, Instant::now());
                Ok(call(running, envelope.body).await)
            }
            Err(rejection) => Err(rejection),
        };
        encode(path, &answer)
    }

    /// Takes only messages of the own cluster, meant for this node, from a node in use.
    fn addressee<T>(&self, envelope: &Envelope<T>) -> Result<&Running, Rejection> {
        let reject = |reason: String| Rejection { reason, retired: false };
        let Some(running) = self.running.get() else {
            return Err(reject(format!("node `{}` has not joined a cluster yet", self.config.name)));
        };
        if envelope.cluster_id != running.cluster_id {
            return Err(reject(format!(
                "node `{}` belongs to cluster {}, not to {}",
                self.config.name, running.cluster_id, envelope.cluster_id
            )));
        }
        if envelope.to != running.id {
            return Err(reject(format!(
                "this is node {} (`{}`), not {}",
                running.id, self.config.name, envelope.to
            )));
        }
        if self.is_out(envelope.from) {
            return Err(Rejection { reason: self.retired_text(envelope.from), retired: true });
        }
        Ok(running)
    }

    /// Whether a node is out of the cluster for good. One that is retired but still votes is needed until the change
    /// of the membership is through: of two nodes, the one that stays cannot drop the other alone.
    fn is_out(&self, node: NodeId) -> bool {
        self.replica.state().is_retired(node) && !self.replica.votes(node.0)
    }

    fn retired_text(&self, node: NodeId) -> String {
        format!(
            "node id {node} is out of use: the node was replaced or removed from the cluster. Its data directory \
             must not be used any more; to come back, start with an empty one and `--join {}`",
            self.config.addr
        )
    }

    async fn on_propose(&self, request: ProposeRequest) -> ProposeReply {
        if let Err(reason) = self.same_cluster(&request.cluster_id) {
            return ProposeReply::NotReady(reason);
        }
        if !self.is_leader() {
            return ProposeReply::NotLeader(self.leader());
        }
        self.decide_here(request.command, Duration::from_millis(request.timeout_ms).min(LONGEST)).await
    }

    async fn on_read(&self, request: ReadRequest) -> ReadReply {
        if let Err(reason) = self.same_cluster(&request.cluster_id) {
            return ReadReply::NotReady(reason);
        }
        self.read_index_here(Duration::from_millis(request.timeout_ms).min(LONGEST)).await
    }

    fn same_cluster(&self, theirs: &str) -> Result<(), String> {
        match self.running.get() {
            Some(running) if running.cluster_id == theirs => Ok(()),
            Some(running) => Err(format!("this node belongs to cluster {}", running.cluster_id)),
            None => Err("this node has not joined a cluster yet".to_owned()),
        }
    }

    fn on_ping(&self, ping: &Ping) -> Identity {
        let running = self.running.get();
        let mut you_are_retired = false;
        if let (Some(running), Some(from)) = (running, ping.from)
            && ping.cluster_id.as_ref() == Some(&running.cluster_id)
        {
            you_are_retired = self.is_out(from);
            if !you_are_retired {
                self.liveness.heard(from, Instant::now());
            }
        }
        Identity {
            name: self.config.name.clone(),
            cluster_id: running.map(|running| running.cluster_id.clone()),
            node_id: running.map(|running| running.id),
            leader: self.leader(),
            you_are_retired,
        }
    }

    /// Registers a new node; the leader then takes it in, see `membership`.
    async fn on_join(&self, request: JoinRequest) -> JoinReply {
        let Some(running) = self.running.get() else {
            return JoinReply::NotReady(format!("node `{}` has not joined a cluster yet", self.config.name));
        };
        if let Some(reason) = self.still_up(&request) {
            return JoinReply::NotReady(reason);
        }
        let obstacle = self.join_obstacle(&request);
        let kind = CommandKind::RegisterNode {
            name: request.name,
            addr: request.addr,
            incarnation: request.incarnation,
            replace: request.replace,
        };
        match self.propose(Command::fresh(kind)).await {
            Ok(reply) => match reply.outcome {
                Ok(Applied::Node { node, cluster_id }) => JoinReply::Accepted { node, cluster_id },
                Ok(other) => JoinReply::NotReady(format!("an unexpected answer: {other:?}")),
                Err(refused) if refused.code == crate::codes::CHANGED_MEANWHILE => {
                    JoinReply::NotReady(refused.message)
                }
                Err(refused) => JoinReply::Refused { refused, cluster_id: running.cluster_id.clone() },
            },
            Err(err) => JoinReply::NotReady(match obstacle {
                Some(obstacle) => format!("{err}.\n{obstacle}"),
                None => err.to_string(),
            }),
        }
    }

    /// A node that is at work must not lose its name to another one.
    fn still_up(&self, request: &JoinRequest) -> Option<String> {
        let state = self.replica.state();
        let (id, entry) = state.node_by_name(&request.name)?;
        let other = request.replace && entry.incarnation != request.incarnation;
        let up = self.running.get().is_some_and(|running| running.id == id)
            || self.liveness.is_alive(id, Instant::now(), self.config.source_lost_after);
        (other && up).then(|| {
            format!(
                "node `{}` (id {id}, at {}) was heard of just now, and only a node that is down can be replaced; \
                 stop it, or choose another --name for this one",
                request.name, entry.addr
            )
        })
    }

    /// What a known name on another directory has to hear while no majority can refuse it properly.
    fn join_obstacle(&self, request: &JoinRequest) -> Option<String> {
        let state = self.replica.state();
        let (id, entry) = state.node_by_name(&request.name)?;
        if entry.incarnation == request.incarnation {
            return None;
        }
        let members = self.members();
        let voters = members.iter().filter(|member| member.voter).count();
        let needed = voters / 2 + 1;
        let up: Vec<&str> = members.iter().filter(|m| m.voter && m.alive).map(|m| m.name.as_str()).collect();
        let down: Vec<String> = members
            .iter()
            .filter(|member| member.voter && !member.alive && member.id != id)
            .map(|member| format!("`{}` at {}", member.name, member.addr))
            .collect();
        let (name, addr, via) = (&request.name, &request.addr, &self.config.addr);
        let mut text = format!(
            "Node `{name}` is known to this cluster (id {id}), with another data directory than the one it has now. \
             Without the old one {} of {voters} voting nodes are up ({}), {needed} are needed, so that the cluster \
             can decide nothing, not even about this node.\n\
             - The directory moved, or its disk is not mounted: start with the old one:\n\
             \x20   dmnode start --name {name} --addr {addr} --data-dir OLD-DIRECTORY\n",
            up.len(),
            up.join(", "),
        );
        let replace = format!(
            "dmnode start --name {name} --addr {addr} --data-dir EMPTY-DIRECTORY --join {via} --replace"
        );
        // The return under a new id is decided by the other voters.
        let others = members.iter().filter(|member| member.voter && member.id != id).count();
        if others >= needed {
            let down = if down.is_empty() { "none known".to_owned() } else { down.join(", ") };
            text += &format!(
                "- The disk is really lost: start the other nodes that are down ({down}), then\n\
                 \x20   {replace}"
            );
        } else {
            text += &format!(
                "- The disk is really lost: then the majority is lost for good, of {voters} voting nodes none can be \
                 spared. Running tasks go on; to have control again, stop the nodes that are left, begin a new \
                 cluster on empty data directories (keep the old ones aside), create the sources and start the tasks \
                 again. They go on from the progress in the target:\n\
                 \x20   dmnode start --name {name} --addr {addr} --data-dir EMPTY-DIRECTORY --initial-cluster {}",
                members.iter().map(|m| format!("{}={}", m.name, m.addr)).collect::<Vec<_>>().join(",")
            );
        }
        Some(text)
    }
}
