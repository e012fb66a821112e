//! Proposing and reading, wherever the leader is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use openraft::error::{ClientWriteError, RaftError};

use super::Inner;
use crate::codec;
use crate::command::{Command, CommandReply};
use crate::error::RaftNodeError;
use crate::rpc::{LeaderHint, ProposeReply, ProposeRequest, ReadReply, ReadRequest};
use crate::state::State;
use crate::transport::TransportError;

/// Largest command: an entry has to fit into one append.
pub(super) const MAX_COMMAND: usize = 4 * 1024 * 1024;
/// One attempt takes at most so long; then the leader is looked for again.
const ATTEMPT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// How an attempt that decided nothing ended.
struct Miss {
    /// The command may be in somebody's log.
    maybe_sent: bool,
    why: String,
    hint: Option<LeaderHint>,
}

impl Miss {
    fn before_sending(why: impl Into<String>) -> Self {
        Self { maybe_sent: false, why: why.into(), hint: None }
    }
}

impl Inner {
    pub(super) async fn propose(&self, command: Command) -> Result<CommandReply, RaftNodeError> {
        let size = codec::encode(&command).map_err(|err| RaftNodeError::Rpc(err.to_string()))?.len();
        if size > MAX_COMMAND {
            return Err(RaftNodeError::TooLarge { size, limit: MAX_COMMAND });
        }
        let began = Instant::now();
        let mut maybe_sent = false;
        let mut search = Search::default();
        loop {
            let left = self.time_left(began)?;
            let miss = match left {
                Some(left) => match self.attempt(&command, left.min(ATTEMPT), &mut search).await {
                    Ok(reply) => return Ok(reply),
                    Err(miss) => miss,
                },
                None => {
                    let seconds = self.config.request_timeout.as_secs();
                    let last = search.last;
                    return Err(if maybe_sent {
                        RaftNodeError::Unknown { request_id: command.request_id, seconds, last }
                    } else {
                        RaftNodeError::NoLeader { seconds, last }
                    });
                }
            };
            maybe_sent |= miss.maybe_sent;
            tracing::debug!(%command, reason = %miss.why, "no decision yet, trying on");
            search.missed(miss);
            search.pause().await;
        }
    }

    pub(super) async fn read(&self) -> Result<(Arc<State>, u64), RaftNodeError> {
        let began = Instant::now();
        let mut search = Search::default();
        loop {
            let Some(left) = self.time_left(began)? else {
                let seconds = self.config.request_timeout.as_secs();
                return Err(RaftNodeError::NoLeader { seconds, last: search.last });
            };
            match self.read_index(left.min(ATTEMPT), &mut search).await {
                Ok(index) => {
                    if tokio::time::timeout(left, self.replica.wait_applied(index)).await.is_ok() {
                        let applied = self.replica.applied();
                        return Ok((self.replica.state(), applied));
                    }
                    search.missed(Miss::before_sending("this node has not caught up with the log"));
                }
                Err(miss) => search.missed(miss),
            }
            search.pause().await;
        }
    }

    fn time_left(&self, began: Instant) -> Result<Option<Duration>, RaftNodeError> {
        if let Some(failure) = self.lifecycle.failure() {
            return Err(failure);
        }
        Ok(self.config.request_timeout.checked_sub(began.elapsed()).filter(|left| !left.is_zero()))
    }

    /// The address to try next, or `None` when this node leads.
    fn target(&self, search: &mut Search) -> Result<Option<String>, Miss> {
        let Some(running) = self.running.get() else {
            return Err(Miss::before_sending("this node has not joined a cluster yet"));
        };
        let hint = search.hint.take().or_else(|| self.leader());
        if let Some(hint) = hint.filter(|hint| search.avoid.as_ref() != Some(&hint.addr)) {
            return Ok((hint.node != running.id).then_some(hint.addr));
        }
        // Nobody known, or the one known does not answer: any other member may know better.
        let others: Vec<String> = self
            .members()
            .into_iter()
            .filter(|member| member.id != running.id)
            .map(|member| member.addr)
            .collect();
        search.avoid = None;
        search.turn += 1;
        match others.get(search.turn % others.len().max(1)) {
            Some(addr) => Ok(Some(addr.clone())),
            None => Err(Miss::before_sending("the cluster has no leader at the moment")),
        }
    }

    async fn attempt(
        &self,
        command: &Command,
        time: Duration,
        search: &mut Search,
    ) -> Result<CommandReply, Miss> {
        let Some(addr) = self.target(search)? else {
            return self.propose_here(command.clone(), time).await;
        };
        let Some(running) = self.running.get() else {
            return Err(Miss::before_sending("this node has not joined a cluster yet"));
        };
        let request = ProposeRequest {
            cluster_id: running.cluster_id.clone(),
            command: command.clone(),
            timeout_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        };
        let body = codec::encode(&request).map_err(|err| Miss::before_sending(err.to_string()))?;
        let answer = self.transport.call(&addr, "propose", body, time).await;
        let reply = answer.map_err(|err| err.to_string_and_sent()).and_then(|answer| {
            codec::decode(&answer)
                .map_err(|err| (format!("{addr}: the answer is not understood: {err}"), true))
        });
        match reply {
            Ok(ProposeReply::Decided(reply)) => Ok(reply),
            Ok(ProposeReply::NotLeader(hint)) => {
                Err(Miss { maybe_sent: true, why: format!("{addr} does not lead"), hint })
            }
            Ok(ProposeReply::NotReady(why)) => Err(Miss::before_sending(why)),
            Ok(ProposeReply::Unclear(why)) => Err(Miss { maybe_sent: true, why, hint: None }),
            Err((why, maybe_sent)) => {
                search.avoid = Some(addr);
                Err(Miss { maybe_sent, why, hint: None })
            }
        }
    }

    /// Proposes as the leader.
    async fn propose_here(&self, command: Command, time: Duration) -> Result<CommandReply, Miss> {
        match self.decide_here(command, time).await {
            ProposeReply::Decided(reply) => Ok(reply),
            ProposeReply::NotLeader(hint) => {
                Err(Miss { maybe_sent: true, why: "this node does not lead any more".to_owned(), hint })
            }
            ProposeReply::NotReady(why) => Err(Miss::before_sending(why)),
            ProposeReply::Unclear(why) => Err(Miss { maybe_sent: true, why, hint: None }),
        }
    }

    /// Writes to the log if this node leads.
    pub(super) async fn decide_here(&self, command: Command, time: Duration) -> ProposeReply {
        let Some(running) = self.running.get() else {
            return ProposeReply::NotReady("the node has not joined a cluster yet".to_owned());
        };
        // An entry would tell the followers that there is a leader.
        if self.aside.load(Ordering::Relaxed) {
            return ProposeReply::NotReady("the leader was removed, another one is being elected".to_owned());
        }
        if command.kind.is_operators()
            && let Some(forming) = self.still_forming()
        {
            return ProposeReply::NotReady(forming);
        }
        match tokio::time::timeout(time, running.raft.client_write(command)).await {
            Ok(Ok(response)) => ProposeReply::Decided(response.data),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                let hint = forward
                    .leader_id
                    .zip(forward.leader_node)
                    .map(|(node, member)| LeaderHint { node: dmnode_model::NodeId(node), addr: member.addr });
                ProposeReply::NotLeader(hint)
            }
            Ok(Err(err)) => ProposeReply::Unclear(err.to_string()),
            Err(_) => ProposeReply::Unclear("a majority of the nodes does not answer".to_owned()),
        }
    }

    /// An initial cluster takes no orders before a majority of it votes: until then they would rest on fewer
    /// disks than was asked for.
    fn still_forming(&self) -> Option<String> {
        let state = self.replica.state();
        if state.reserved.is_empty() {
            return None;
        }
        let total = state.nodes.len() + state.reserved.len();
        let voters = self.members().iter().filter(|member| member.voter).count();
        (voters <= total / 2).then(|| format!("the cluster is forming: {voters} of {total} nodes are in"))
    }

    /// The log index a read that begins now has to wait for.
    async fn read_index(&self, time: Duration, search: &mut Search) -> Result<u64, Miss> {
        let reply = match self.target(search)? {
            None => self.read_index_here(time).await,
            Some(addr) => {
                let Some(running) = self.running.get() else {
                    return Err(Miss::before_sending("this node has not joined a cluster yet"));
                };
                let request = ReadRequest {
                    cluster_id: running.cluster_id.clone(),
                    timeout_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
                };
                let body = codec::encode(&request).map_err(|err| Miss::before_sending(err.to_string()))?;
                match self.transport.call(&addr, "read", body, time).await {
                    Ok(answer) => codec::decode(&answer)
                        .unwrap_or_else(|err| ReadReply::NotReady(format!("{addr}: not understood: {err}"))),
                    Err(err) => {
                        let why = err.to_string();
                        search.avoid = Some(addr);
                        ReadReply::NotReady(why)
                    }
                }
            }
        };
        match reply {
            ReadReply::Index(index) => Ok(index),
            ReadReply::NotLeader(hint) => {
                Err(Miss { maybe_sent: false, why: "the node asked does not lead".to_owned(), hint })
            }
            ReadReply::NotReady(why) => Err(Miss::before_sending(why)),
        }
    }

    /// The read index, if this node leads and a majority confirms that.
    pub(super) async fn read_index_here(&self, time: Duration) -> ReadReply {
        let Some(running) = self.running.get() else {
            return ReadReply::NotReady("the node has not joined a cluster yet".to_owned());
        };
        match tokio::time::timeout(time, running.raft.get_read_log_id()).await {
            Ok(Ok((read, _applied))) => ReadReply::Index(read.map_or(0, |id| id.index)),
            Ok(Err(err)) => match err.forward_to_leader() {
                Some(forward) => {
                    let hint = forward.leader_id.zip(forward.leader_node.as_ref());
                    ReadReply::NotLeader(hint.map(|(node, member)| LeaderHint {
                        node: dmnode_model::NodeId(node),
                        addr: member.addr.clone(),
                    }))
                }
                None => ReadReply::NotReady(err.to_string()),
            },
            Err(_) => ReadReply::NotReady("a majority of the nodes does not answer".to_owned()),
        }
    }
}

/// The search for the leader over several attempts.
#[derive(Default)]
struct Search {
    hint: Option<LeaderHint>,
    avoid: Option<String>,
    turn: usize,
    misses: u32,
    last: String,
}

impl Search {
    fn missed(&mut self, miss: Miss) {
        self.misses += 1;
        self.last = miss.why;
        self.hint = miss.hint;
    }

    async fn pause(&self) {
        // The first hint is followed at once.
        if self.hint.is_some() && self.misses == 1 {
            return;
        }
        tokio::time::sleep((PAUSE * self.misses).min(LONGEST_PAUSE)).await;
    }
}

impl TransportError {
    fn to_string_and_sent(&self) -> (String, bool) {
        (self.to_string(), !matches!(self, Self::NotSent(_)))
    }
}
