//! Talking to the cluster: any node will do, answers come in bounded time, a change is sent under one
//! request id however often it has to be repeated.

use std::time::{Duration, Instant};

use dmnode_model::api::{CTL_PREFIX, CtlRequest, LOG_INDEX_HEADER, REQUEST_ID_HEADER};
use futures_util::StreamExt;
use reqwest::StatusCode;
use serde_json::Value;

use crate::exit::CtlError;

/// A connection that is not made in this time counts as not reachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to go round the addresses when none of them can answer: long enough for an election.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often an attempt that took long renews the patience.
const LONG_ATTEMPTS_MAX: u32 = 2;
/// Pause between two rounds over the addresses.
const ROUND_PAUSE: Duration = Duration::from_millis(300);
/// Silence on a stream of events that ends it; the server sends progress far more often.
const STREAM_SILENCE: Duration = Duration::from_secs(120);
/// Longest line of a stream of events.
const STREAM_LINE_BYTES_MAX: usize = 16 << 20;

/// Whether repeating a request by itself is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A read.
    Read,
    /// A change; the id makes the cluster carry it out once.
    Change(String),
}

impl Intent {
    /// A change under a new request id.
    pub fn change() -> Self {
        Self::Change(uuid::Uuid::new_v4().to_string())
    }
}

/// An answer of the cluster.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The body, fields in the order of the API.
    pub body: Value,
    /// The log index it reflects or was applied at.
    pub log_index: Option<u64>,
}

impl Answer {
    /// `result` of the answer.
    pub fn is_ok(&self) -> bool {
        self.body.get("result").and_then(Value::as_bool).unwrap_or(false)
    }
}

/// Why one attempt did not bring an answer.
struct Miss {
    address: String,
    reason: String,
    /// The request may have been carried out.
    may_have_run: bool,
}

/// A client of a cluster.
pub struct Client {
    http: reqwest::Client,
    addresses: Vec<String>,
    timeout: Duration,
    patience: Duration,
}

impl Client {
    /// A client that tries `addresses` in order. No command waits longer than `timeout`.
    pub fn new(addresses: Vec<String>, timeout: Duration, proxy: Option<&str>) -> Result<Self, CtlError> {
        let addresses = addresses.iter().map(|text| parse_address(text)).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(CtlError::Usage(
                "no address: give --master-addr HOST:PORT or set DM_MASTER_ADDR".to_owned(),
            ));
        }
        let mut builder =
            reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        if let Some(url) = proxy {
            let proxy =
                reqwest::Proxy::all(url).map_err(|err| CtlError::Usage(format!("--proxy `{url}`: {err}")))?;
            builder = builder.proxy(proxy);
        }
        let http =
            builder.build().map_err(|err| CtlError::Refused(format!("prepare the HTTP client: {err}")))?;
        Ok(Self { http, addresses, timeout, patience: PATIENCE.min(timeout) })
    }

    /// Sends `request` to the first node that can answer.
    pub async fn call<R: CtlRequest>(&self, intent: &Intent, request: &R) -> Result<Answer, CtlError> {
        let mut waiting_since = Instant::now();
        let deadline = waiting_since + self.timeout;
        let mut may_have_run = false;
        let mut long_attempts = 0;
        loop {
            let round_started = Instant::now();
            let mut misses = Vec::with_capacity(self.addresses.len());
            for address in &self.addresses {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    misses.push(Miss {
                        address: address.clone(),
                        reason: "no time left".to_owned(),
                        may_have_run: false,
                    });
                    continue;
                }
                match tokio::time::timeout(left, self.attempt(address, intent, request)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(Attempt::Final(err))) => return Err(err),
                    Ok(Err(Attempt::Missed(miss))) => misses.push(miss),
                    Err(_) => misses.push(Miss {
                        address: address.clone(),
                        reason: format!("no answer within {} s", self.timeout.as_secs()),
                        may_have_run: true,
                    }),
                }
            }
            may_have_run |= misses.iter().any(|miss| miss.may_have_run);
            // A node that died after working on the command for long leaves the others time to elect a leader.
            if round_started.elapsed() > self.patience / 2 && long_attempts < LONG_ATTEMPTS_MAX {
                long_attempts += 1;
                waiting_since = Instant::now();
            }
            let is_late = Instant::now() + ROUND_PAUSE >= deadline;
            if is_late || waiting_since.elapsed() + ROUND_PAUSE >= self.patience {
                return Err(give_up(R::NAME, intent, may_have_run, &misses));
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }

    async fn attempt<R: CtlRequest>(
        &self,
        address: &str,
        intent: &Intent,
        request: &R,
    ) -> Result<Answer, Attempt> {
        let miss = |reason: String, may_have_run: bool| {
            Attempt::Missed(Miss { address: address.to_owned(), reason, may_have_run })
        };
        let mut post = self.http.post(format!("http://{address}{CTL_PREFIX}/{}", R::NAME)).json(request);
        if let Intent::Change(id) = intent {
            post = post.header(REQUEST_ID_HEADER, id);
        }
        let response = post.send().await.map_err(|err| miss(describe(&err), !err.is_connect()))?;
        let status = response.status();
        let log_index = response
            .headers()
            .get(LOG_INDEX_HEADER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok());
        let body = response.bytes().await.map_err(|err| miss(describe(&err), true))?;
        let parsed = serde_json::from_slice::<Value>(&body).ok().filter(Value::is_object);
        let msg =
            parsed.as_ref().and_then(|value| value.get("msg")).and_then(Value::as_str).map(str::to_owned);
        match (status, parsed) {
            (StatusCode::SERVICE_UNAVAILABLE, _) => {
                Err(miss(msg.unwrap_or_else(|| "not ready".to_owned()), false))
            }
            (StatusCode::GATEWAY_TIMEOUT, _) => {
                Err(miss(msg.unwrap_or_else(|| "timed out".to_owned()), true))
            }
            (status, Some(body)) if status.is_success() => Ok(Answer { body, log_index }),
            (status, _) => Err(Attempt::Final(CtlError::Refused(match msg {
                Some(msg) => format!("{address}: {msg}"),
                None => format!(
                    "{address} answered HTTP {status} to `{}`; is it a dmnode of the same version?",
                    R::NAME
                ),
            }))),
        }
    }

    /// Sends `request` and hands every line of the answer to `on_event`, as parsed JSON.
    ///
    /// Only the start is repeated over the addresses; a stream that breaks is an error.
    pub async fn stream<R: CtlRequest>(
        &self,
        request: &R,
        mut on_event: impl FnMut(Value) -> Result<(), CtlError>,
    ) -> Result<(), CtlError> {
        let (address, response) = self.open_stream(request).await?;
        let broken = |reason: String| {
            let name = R::NAME;
            CtlError::NotReachable(format!(
                "{address}: `{name}` broke off before its end: {reason}; run it again"
            ))
        };
        let mut chunks = response.bytes_stream();
        let mut pending: Vec<u8> = Vec::new();
        loop {
            let chunk = match tokio::time::timeout(STREAM_SILENCE, chunks.next()).await {
                Err(_) => return Err(broken(format!("nothing heard for {} s", STREAM_SILENCE.as_secs()))),
                Ok(None) => break,
                Ok(Some(Err(err))) => return Err(broken(describe(&err))),
                Ok(Some(Ok(chunk))) => chunk,
            };
            pending.extend_from_slice(&chunk);
            while let Some(at) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=at).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let event = serde_json::from_slice(&line)
                    .map_err(|err| broken(format!("unreadable event: {err}")))?;
                on_event(event)?;
            }
            if pending.len() > STREAM_LINE_BYTES_MAX {
                return Err(broken("an event is too long".to_owned()));
            }
        }
        if pending.iter().all(u8::is_ascii_whitespace) {
            Ok(())
        } else {
            Err(broken("the last event is torn".to_owned()))
        }
    }

    async fn open_stream<R: CtlRequest>(&self, request: &R) -> Result<(String, reqwest::Response), CtlError> {
        let started = Instant::now();
        loop {
            let mut misses = Vec::with_capacity(self.addresses.len());
            for address in &self.addresses {
                let post =
                    self.http.post(format!("http://{address}{CTL_PREFIX}/{}", R::NAME)).json(request).send();
                let reason = match tokio::time::timeout(self.timeout.min(STREAM_SILENCE), post).await {
                    Err(_) => "no answer".to_owned(),
                    Ok(Err(err)) => describe(&err),
                    Ok(Ok(response)) if response.status().is_success() => {
                        return Ok((address.clone(), response));
                    }
                    Ok(Ok(response)) => {
                        let status = response.status();
                        let text = response.text().await.unwrap_or_default();
                        let msg = serde_json::from_str::<Value>(&text)
                            .ok()
                            .and_then(|value| value.get("msg").and_then(Value::as_str).map(str::to_owned))
                            .unwrap_or_else(|| format!("HTTP {status}"));
                        if status != StatusCode::SERVICE_UNAVAILABLE && status != StatusCode::GATEWAY_TIMEOUT
                        {
                            return Err(CtlError::Refused(format!("{address}: {msg}")));
                        }
                        msg
                    }
                };
                misses.push(Miss { address: address.clone(), reason, may_have_run: false });
            }
            if started.elapsed() + ROUND_PAUSE >= self.patience {
                return Err(give_up(R::NAME, &Intent::Read, false, &misses));
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }
}

enum Attempt {
    Final(CtlError),
    Missed(Miss),
}

fn give_up(command: &str, intent: &Intent, may_have_run: bool, misses: &[Miss]) -> CtlError {
    let reasons: Vec<String> =
        misses.iter().map(|miss| format!("  {}: {}", miss.address, miss.reason)).collect();
    let reasons = reasons.join("\n");
    match intent {
        Intent::Change(_) if may_have_run => CtlError::UnknownOutcome(format!(
            "the outcome of `{command}` is unknown: it was sent, and no node could say what became of it\n{reasons}\n\
             It may take effect yet. To find out: `dmnode ctl query-status`, `operate-source show` or `list-member` \
             once a node answers; giving the command again is safe."
        )),
        Intent::Change(_) | Intent::Read => {
            CtlError::NotReachable(format!("no node answered `{command}`\n{reasons}"))
        }
    }
}

/// The chain of causes of a transport error, without the URL.
fn describe(err: &reqwest::Error) -> String {
    let mut text =
        if err.is_connect() { "cannot connect".to_owned() } else { "connection failed".to_owned() };
    let mut cause = std::error::Error::source(err);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if inner.source().is_none() {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Accepts `host:port` and, as dmctl does, `http://host:port`.
fn parse_address(text: &str) -> Result<String, CtlError> {
    let bare = text.trim().trim_end_matches('/');
    if bare.starts_with("https://") {
        return Err(CtlError::Usage(format!("--master-addr `{text}`: nodes speak HTTP, give HOST:PORT")));
    }
    let bare = bare.strip_prefix("http://").unwrap_or(bare);
    let valid = bare.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
        && !bare.contains(['/', ' ', '@']);
    if !valid {
        return Err(CtlError::Usage(format!("--master-addr `{text}` is no HOST:PORT")));
    }
    // `:8261` means this host, as with dm-master's own listen address.
    Ok(if bare.starts_with(':') { format!("127.0.0.1{bare}") } else { bare.to_owned() })
}

/// Names of the proxy variables that are set, for telling that they are ignored (F26).
pub fn proxy_variables() -> Vec<&'static str> {
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        .into_iter()
        .filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use dmnode_model::api::{DiffRequest, OperateTaskRequest, QueryStatusRequest};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with the next text; an empty text closes without an answer.
    async fn server(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::clone(&seen);
        let next = AtomicUsize::new(0);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut buffer = vec![0_u8; 65536];
                let mut length = 0;
                // The head says how much body follows.
                loop {
                    let read = socket.read(&mut buffer[length..]).await.unwrap();
                    length += read;
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    if read == 0 {
                        break;
                    }
                    if let Some((head, body)) = text.split_once("\r\n\r\n") {
                        let want: usize = head
                            .lines()
                            .find_map(|line| {
                                line.to_ascii_lowercase()
                                    .strip_prefix("content-length: ")
                                    .map(|n| n.parse().unwrap())
                            })
                            .unwrap_or(0);
                        if body.len() >= want {
                            requests.lock().unwrap().push(text);
                            break;
                        }
                    }
                }
                let answer = answers.get(next.fetch_add(1, Ordering::SeqCst)).or(answers.last()).unwrap();
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (address, seen)
    }

    fn http(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\nx-dmnode-log-index: 42\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn client(addresses: &[&str], timeout: Duration) -> Client {
        Client::new(addresses.iter().map(|text| (*text).to_owned()).collect(), timeout, None).unwrap()
    }

    #[tokio::test]
    async fn a_change_is_repeated_under_one_request_id() {
        let (address, seen) = server(vec![
            http("503 Service Unavailable", r#"{"result":false,"msg":"no leader"}"#),
            String::new(),
            http("200 OK", r#"{"result":true,"msg":""}"#),
        ])
        .await;
        // The first address is dead: the next one is used.
        let client = client(&["127.0.0.1:1", &address], Duration::from_secs(20));
        let answer = client.call(&Intent::change(), &OperateTaskRequest::default()).await.unwrap();
        assert!(answer.is_ok());
        assert_eq!(answer.log_index, Some(42));
        let seen = seen.lock().unwrap();
        let ids: Vec<&str> = seen
            .iter()
            .filter_map(|text| text.lines().find(|line| line.starts_with(REQUEST_ID_HEADER)))
            .collect();
        assert_eq!(ids.len(), 3, "{seen:?}");
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[tokio::test]
    async fn a_change_nobody_answers_is_of_unknown_outcome() {
        let (address, _) = server(vec![String::new()]).await;
        let client = client(&[&address], Duration::from_secs(1));
        let err = client.call(&Intent::change(), &OperateTaskRequest::default()).await.unwrap_err();
        assert!(matches!(err, CtlError::UnknownOutcome(_)), "{err:?}");
        let err = client.call(&Intent::Read, &QueryStatusRequest::default()).await.unwrap_err();
        assert!(matches!(err, CtlError::NotReachable(_)), "{err:?}");
    }

    #[tokio::test]
    async fn a_change_that_never_left_is_not_of_unknown_outcome() {
        let client = client(&["127.0.0.1:1"], Duration::from_secs(1));
        let err = client.call(&Intent::change(), &OperateTaskRequest::default()).await.unwrap_err();
        assert!(matches!(err, CtlError::NotReachable(_)), "{err:?}");
        assert!(err.to_string().contains("127.0.0.1:1: cannot connect"), "{err}");
    }

    #[tokio::test]
    async fn a_hanging_node_does_not_hang_the_client() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client(&[&listener.local_addr().unwrap().to_string()], Duration::from_millis(700));
        let started = Instant::now();
        let err = client.call(&Intent::change(), &OperateTaskRequest::default()).await.unwrap_err();
        assert!(matches!(err, CtlError::UnknownOutcome(_)), "{err:?}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_torn_stream_is_an_error() {
        let (address, _) =
            server(vec!["HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"a\":1}\n{\"b\"".to_owned()]).await;
        let client = client(&[&address], Duration::from_secs(5));
        let mut events = 0;
        let err = client
            .stream(&DiffRequest::default(), |_| {
                events += 1;
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(events, 1);
        assert_eq!(err.exit(), crate::exit::Exit::NotReachable);
    }

    #[test]
    fn addresses_are_checked() {
        assert_eq!(parse_address("http://h:1/").unwrap(), "h:1");
        assert_eq!(parse_address(":8261").unwrap(), "127.0.0.1:8261");
        assert_eq!(parse_address("[::1]:8261").unwrap(), "[::1]:8261");
        for wrong in ["h", "h:x", "https://h:1", "h:0", "a b:1", "h:1/x", ""] {
            assert_eq!(parse_address(wrong).unwrap_err().exit(), crate::exit::Exit::Usage, "{wrong}");
        }
    }
}
