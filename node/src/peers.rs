//! Asking other nodes of the cluster: bounded in time, never through a proxy (F26).

use std::time::Duration;

use dmnode_model::status::SourceStatusEntry;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A peer that cannot be connected to in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer answers questions about itself from memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a peer may take to say that it is alive.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);

/// Prefix of the paths nodes ask each other under.
pub const INTERNAL_PREFIX: &str = "/internal";

/// Which sources are asked about; empty for all the node has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StatusQuery {
    /// The sources.
    pub sources: Vec<String>,
}

/// What a node says about its sources.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// Its name.
    pub node: String,
    /// Its entries.
    pub entries: Vec<SourceStatusEntry>,
}

/// What a node was told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ConfigAnswer {
    /// TOML.
    pub toml: String,
}

/// The node's client of its peers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers {
    http: reqwest::Client,
}

impl Peers {
    /// A client.
    pub fn new() -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .map_err(|err| format!("prepare the HTTP client: {err}"))?;
        Ok(Self { http })
    }

    /// The state of a peer's sources.
    pub async fn status(&self, addr: &str, query: &StatusQuery) -> Result<StatusAnswer, String> {
        self.post(addr, "status", query).await
    }

    /// A peer's own configuration.
    pub async fn config(&self, addr: &str) -> Result<ConfigAnswer, String> {
        self.post(addr, "config", &()).await
    }

    /// Whether a peer answers at all.
    pub async fn is_alive(&self, addr: &str) -> bool {
        let get = self.http.get(format!("http://{addr}/health")).timeout(HEALTH_TIMEOUT).send();
        get.await.is_ok_and(|response| response.status().is_success())
    }

    async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        addr: &str,
        what: &str,
        query: &Q,
    ) -> Result<A, String> {
        let describe = |err: reqwest::Error| {
            let kind = if err.is_timeout() {
                "no answer in time"
            } else if err.is_connect() {
                "cannot connect"
            } else {
                "no usable answer"
            };
            format!("{addr}: {kind}")
        };
        let response = self
            .http
            .post(format!("http://{addr}{INTERNAL_PREFIX}/{what}"))
            .json(query)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(describe)?;
        response.json().await.map_err(describe)
    }
}
