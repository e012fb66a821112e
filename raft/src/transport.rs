//! How messages travel between nodes: HTTP POST to `http://ADDR/raft/PATH`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransportError {
    /// The message did not arrive.
    #[error("{0}")]
    NotSent(String),
    /// The message may have arrived.
    #[error("{0}")]
    NoAnswer(String),
    /// The other side answered that it does not take the message.
    #[error("{0}")]
    Rejected(String),
}

/// A way to reach the other nodes.
#[async_trait]
pub(crate) trait Transport: Send + Sync + 'static {
    /// Sends one message and waits for its answer, no longer than `timeout`.
    async fn call(
        &self,
        addr: &str,
        path: &'static str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Bytes, TransportError>;
}

/// HTTP, without proxies whatever the environment says: cluster addresses are direct.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
}

impl Http {
    pub fn new() -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|err| format!("cannot set up the HTTP client: {err}"))?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Transport for Http {
    async fn call(
        &self,
        addr: &str,
        path: &'static str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Bytes, TransportError> {
        let failed = |err: reqwest::Error| {
            let text = format!("{addr}: {}", innermost(&err));
            if err.is_connect() { TransportError::NotSent(text) } else { TransportError::NoAnswer(text) }
        };
        let url = format!("http://{addr}/raft/{path}");
        let response = self.client.post(url).timeout(timeout).body(body).send().await.map_err(failed)?;
        let status = response.status();
        let mut response = response;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if answer.len() + chunk.len() > crate::MAX_RPC_BODY {
                return Err(TransportError::Rejected(format!("{addr}: the answer is too long")));
            }
            answer.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(answer.into());
        }
        let text: String = String::from_utf8_lossy(&answer).chars().take(500).collect();
        Err(TransportError::Rejected(format!("{addr} answers {status}: {text}")))
    }
}

/// The cause at the bottom: reqwest's own text is only "error sending request for url".
fn innermost(err: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = err;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if err.is_timeout() { "timed out".to_owned() } else { cause.to_string() }
}
