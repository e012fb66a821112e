//! openraft's messages over our transport.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dmnode_model::NodeId;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec;
use crate::lifecycle::Lifecycle;
use crate::liveness::Liveness;
use crate::rpc::{Envelope, Rejection};
use crate::transport::{Transport, TransportError};
use crate::types::{Member, TypeConfig};

/// Makes a connection per peer.
#[derive(Clone)]
pub(crate) struct Network {
    pub transport: Arc<dyn Transport>,
    pub cluster_id: String,
    pub me: NodeId,
    pub lifecycle: Arc<Lifecycle>,
    pub liveness: Arc<Liveness>,
}

/// The way to one peer.
pub(crate) struct Peer {
    network: Network,
    to: NodeId,
    addr: String,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Member) -> Peer {
        Peer { network: self.clone(), to: NodeId(target), addr: node.addr.clone() }
    }
}

type RpcResult<T, E> = Result<T, RPCError<u64, Member, RaftError<u64, E>>>;

impl Peer {
    async fn call<Q, A, E>(&self, path: &'static str, body: Q, timeout: Duration) -> RpcResult<A, E>
    where
        Q: Serialize,
        A: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let Network { transport, cluster_id, me, lifecycle, liveness } = &self.network;
        let envelope = Envelope { cluster_id: cluster_id.clone(), from: *me, to: self.to, body };
        let body = codec::encode(&envelope).map_err(|err| RPCError::Network(NetworkError::new(&err)))?;
        let answer = transport.call(&self.addr, path, body, timeout).await.map_err(|err| match err {
            // Both let openraft back off instead of trying again at once.
            TransportError::NotSent(_) | TransportError::Rejected(_) => {
                RPCError::Unreachable(Unreachable::new(&err))
            }
            TransportError::NoAnswer(_) => RPCError::Network(NetworkError::new(&err)),
        })?;
        let answer: Result<Result<A, RaftError<u64, E>>, Rejection> =
            codec::decode(&answer).map_err(|err| RPCError::Unreachable(Unreachable::new(&err)))?;
        // Only the addressee answers so: as good as a ping, and on a busy machine more often.
        if answer.is_ok() {
            liveness.heard(self.to, Instant::now());
        }
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(err)) => Err(RPCError::RemoteError(RemoteError::new(self.to.0, err))),
            Err(rejection) => {
                if rejection.retired {
                    lifecycle.refuse(rejection.reason.clone());
                }
                let err = TransportError::Rejected(format!("{}: {}", self.addr, rejection.reason));
                tracing::debug!(path, to = %self.to, error = %err, "a message was not taken");
                Err(RPCError::Unreachable(Unreachable::new(&err)))
            }
        }
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<u64>, openraft::error::Infallible> {
        self.call("append", rpc, option.hard_ttl()).await
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        self.call("snapshot", rpc, option.hard_ttl()).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<u64>, openraft::error::Infallible> {
        self.call("vote", rpc, option.hard_ttl()).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(Duration::from_millis(200)))
    }
}
