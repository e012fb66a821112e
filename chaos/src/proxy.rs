//! A TCP proxy that understands where MySQL packets begin and end.
//!
//! The interesting fault is the lost answer of a COMMIT: the server has committed, the client sees a broken connection and
//! cannot know. To make exactly that happen, the proxy cuts the byte streams into packets, recognises the COM_QUERY that
//! ends in COMMIT, forwards it, waits for the server's final OK, throws the OK away and cuts both sides.
//! Connections must be neither encrypted nor compressed, else the proxy only sees bytes and cannot find a COMMIT.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const COM_QUERY: u8 = 0x03;
const OK_HEADER: u8 = 0x00;
const SERVER_MORE_RESULTS_EXISTS: u16 = 0x0008;
/// A packet of this payload length is continued by the next one.
const PAYLOAD_BYTES_MAX: usize = 0xff_ffff;
/// How much of a statement is looked at on either end.
const STATEMENT_WINDOW_BYTES: usize = 64 * 1024;

/// What the proxy does with bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Forward.
    Pass,
    /// Keep connections, forward nothing.
    Hold,
    /// Close every connection at once.
    Refuse,
}

/// How many COMMIT answers to lose, and on which connections.
#[derive(Clone, Debug)]
pub struct DropCommit {
    /// So many more.
    pub count: u64,
    /// Only after a statement containing this text on the same connection.
    pub text: Option<String>,
}

/// What `status` answers.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The mode now.
    pub mode: Mode,
    /// Connections open now.
    pub open: u64,
    /// Connections accepted so far.
    pub accepted: u64,
    /// COMMITs seen so far.
    pub commits: u64,
    /// COMMITs whose answer was lost.
    pub commits_dropped: u64,
    /// COMMIT answers still to be lost.
    pub armed: u64,
}

/// State shared by all connections and the control listener.
pub struct ProxyState {
    mode: watch::Sender<Mode>,
    cut_count: watch::Sender<u64>,
    armed: Mutex<Option<DropCommit>>,
    delay_ms: AtomicU64,
    open: AtomicU64,
    accepted: AtomicU64,
    commits: AtomicU64,
    commits_dropped: AtomicU64,
}

impl Default for ProxyState {
    fn default() -> Self {
        Self {
            mode: watch::Sender::new(Mode::Pass),
            cut_count: watch::Sender::new(0),
            armed: Mutex::new(None),
            delay_ms: AtomicU64::new(0),
            open: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            commits_dropped: AtomicU64::new(0),
        }
    }
}

impl ProxyState {
    /// Changes the mode for all connections.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Closes all connections there are.
    pub fn cut(&self) {
        self.cut_count.send_modify(|count| *count += 1);
    }

    /// Delays every forwarded packet, each way.
    pub fn set_delay_ms(&self, delay_ms: u64) {
        self.delay_ms.store(delay_ms, Ordering::Relaxed);
    }

    /// Loses the answers of COMMITs to come.
    pub fn arm(&self, drop_commit: DropCommit) {
        *self.lock_armed() = (drop_commit.count > 0).then_some(drop_commit);
    }

    /// Counts and mode.
    pub fn status(&self) -> Status {
        Status {
            mode: *self.mode.borrow(),
            open: self.open.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            commits_dropped: self.commits_dropped.load(Ordering::Relaxed),
            armed: self.lock_armed().as_ref().map_or(0, |armed| armed.count),
        }
    }

    fn lock_armed(&self) -> std::sync::MutexGuard<'_, Option<DropCommit>> {
        self.armed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn armed_text(&self) -> Option<String> {
        self.lock_armed().as_ref().and_then(|armed| armed.text.clone())
    }

    /// Takes one of the armed drops when this COMMIT qualifies.
    fn take_drop(&self, text_seen: bool) -> bool {
        let mut armed = self.lock_armed();
        let Some(drop_commit) = armed.as_mut() else { return false };
        if drop_commit.text.is_some() && !text_seen {
            return false;
        }
        drop_commit.count -= 1;
        if drop_commit.count == 0 {
            *armed = None;
        }
        true
    }
}

/// Accepts connections and forwards each to `upstream` until the listener fails.
pub async fn serve(listener: TcpListener, upstream: String, state: Arc<ProxyState>) -> Result<()> {
    loop {
        let (client, _) = listener.accept().await.context("proxy listener failed")?;
        state.accepted.fetch_add(1, Ordering::Relaxed);
        if *state.mode.borrow() == Mode::Refuse {
            continue;
        }
        let state = Arc::clone(&state);
        let upstream = upstream.clone();
        tokio::spawn(async move {
            state.open.fetch_add(1, Ordering::Relaxed);
            if let Err(err) = forward_connection(client, &upstream, &state).await {
                tracing::debug!(error = %err, "connection ended");
            }
            state.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn forward_connection(client: TcpStream, upstream: &str, state: &ProxyState) -> Result<()> {
    let server =
        TcpStream::connect(upstream).await.with_context(|| format!("upstream {upstream} not reachable"))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut cuts = state.cut_count.subscribe();
    cuts.mark_unchanged();
    // `true` while the answer of a COMMIT must be lost.
    let losing = watch::Sender::new(false);
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::select! {
        result = forward_commands(client_read, server_write, state, &losing) => result,
        result = forward_answers(server_read, client_write, state, &losing) => result,
        _ = cuts.changed() => Ok(()),
    }
}

async fn forward_commands(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    state: &ProxyState,
    losing: &watch::Sender<bool>,
) -> Result<()> {
    let mut packets = PacketReader::default();
    let mut text_seen = false;
    while let Some(packet) = packets.next(&mut from).await? {
        pause(state).await;
        if let Some(statement) = packet.query() {
            if let Some(text) = state.armed_text() {
                text_seen |= contains(statement, text.as_bytes());
            }
            if is_commit(statement) {
                state.commits.fetch_add(1, Ordering::Relaxed);
                if state.take_drop(text_seen) {
                    // Set before the COMMIT goes out, so that its answer cannot slip through.
                    losing.send_replace(true);
                }
                text_seen = false;
            }
        }
        to.write_all(&packet.bytes).await?;
    }
    Ok(())
}

async fn forward_answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    state: &ProxyState,
    losing: &watch::Sender<bool>,
) -> Result<()> {
    let mut packets = PacketReader::default();
    while let Some(packet) = packets.next(&mut from).await? {
        pause(state).await;
        if *losing.borrow() {
            match packet.ok_status() {
                Some(status) if status & SERVER_MORE_RESULTS_EXISTS == 0 => {
                    state.commits_dropped.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Some(_) => continue,
                // Not an OK: the COMMIT failed, so there is nothing to lose.
                None => {
                    losing.send_replace(false);
                }
            }
        }
        to.write_all(&packet.bytes).await?;
    }
    Ok(())
}

async fn pause(state: &ProxyState) {
    let delay_ms = state.delay_ms.load(Ordering::Relaxed);
    if delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
    let mut modes = state.mode.subscribe();
    // The sender lives as long as the state, so waiting cannot fail.
    let _ = modes.wait_for(|mode| *mode != Mode::Hold).await;
}

/// One packet with its header, as it came.
struct Packet {
    bytes: Vec<u8>,
    /// The packet continues a longer payload, or is continued itself.
    partial: bool,
}

impl Packet {
    fn payload(&self) -> &[u8] {
        self.bytes.get(4..).unwrap_or_default()
    }

    /// The statement, when this packet is a whole COM_QUERY.
    fn query(&self) -> Option<&[u8]> {
        if self.partial || self.bytes.get(3) != Some(&0) {
            return None;
        }
        match self.payload().split_first() {
            Some((&COM_QUERY, statement)) => Some(statement),
            _ => None,
        }
    }

    /// The status flags, when this packet is an OK.
    fn ok_status(&self) -> Option<u16> {
        let (&header, rest) = self.payload().split_first()?;
        if header != OK_HEADER || self.partial {
            return None;
        }
        let rest = skip_length_encoded(rest)?;
        let rest = skip_length_encoded(rest)?;
        Some(u16::from_le_bytes([*rest.first()?, *rest.get(1)?]))
    }
}

fn skip_length_encoded(bytes: &[u8]) -> Option<&[u8]> {
    let width = match bytes.first()? {
        0xfc => 3,
        0xfd => 4,
        0xfe => 9,
        _ => 1,
    };
    bytes.get(width..)
}

/// Cuts a byte stream into packets.
#[derive(Default)]
struct PacketReader {
    continued: bool,
}

impl PacketReader {
    /// The next packet; `None` when the peer has closed.
    async fn next(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Packet>> {
        let mut header = [0_u8; 4];
        let first = from.read(&mut header).await?;
        if first == 0 {
            return Ok(None);
        }
        if let Some(rest) = header.get_mut(first..) {
            from.read_exact(rest).await?;
        }
        let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
        let mut bytes = vec![0; 4 + length];
        bytes[..4].copy_from_slice(&header);
        from.read_exact(&mut bytes[4..]).await?;
        let was_continued = self.continued;
        self.continued = length == PAYLOAD_BYTES_MAX;
        Ok(Some(Packet { bytes, partial: was_continued || self.continued }))
    }
}

fn is_commit(statement: &[u8]) -> bool {
    let window = &statement[statement.len().saturating_sub(32)..];
    let text =
        String::from_utf8_lossy(window).trim_end_matches([';', ' ', '\n', '\t', '\r']).to_ascii_uppercase();
    let Some(before) = text.strip_suffix("COMMIT") else { return false };
    before.trim().is_empty() || before.trim_end().ends_with(';')
}

fn contains(statement: &[u8], text: &[u8]) -> bool {
    let window = &statement[..statement.len().min(STATEMENT_WINDOW_BYTES)];
    !text.is_empty() && window.windows(text.len()).any(|part| part == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_recognised_alone_and_at_the_end_of_a_batch() {
        for yes in [
            "COMMIT",
            "commit;",
            " COMMIT ",
            "UPDATE t SET a=1; COMMIT",
            "INSERT INTO t VALUES ('x');\nCommit;\n",
        ] {
            assert!(is_commit(yes.as_bytes()), "{yes}");
        }
        for no in ["SELECT 'x COMMIT", "BEGIN", "ROLLBACK", "INSERT INTO autoCOMMIT"] {
            assert!(!is_commit(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn the_status_of_an_ok_packet_is_found_behind_long_counts() {
        let packet = |payload: &[u8]| Packet { bytes: [&[0, 0, 0, 1], payload].concat(), partial: false };
        assert_eq!(packet(&[0, 1, 0, 2, 0, 0, 0]).ok_status(), Some(2));
        assert_eq!(packet(&[0, 0xfc, 1, 1, 0, 0x0a, 0, 0, 0]).ok_status(), Some(0x0a));
        assert_eq!(packet(&[0xff, 1, 2]).ok_status(), None);
        assert_eq!(packet(&[0]).ok_status(), None);
    }

    /// A server that answers every command with OK; the proxy loses the answer of the armed COMMIT and nothing else.
    #[tokio::test]
    async fn the_answer_of_the_armed_commit_is_lost_after_the_server_gave_it() {
        let ok = [7_u8, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = server.local_addr().unwrap().to_string();
        let (seen_sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut packets = PacketReader::default();
            let (mut read_half, mut write_half) = stream.split();
            while let Ok(Some(packet)) = packets.next(&mut read_half).await {
                seen_sender.send(packet.query().unwrap().to_vec()).unwrap();
                write_half.write_all(&ok).await.unwrap();
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(ProxyState::default());
        tokio::spawn(serve(listener, upstream, Arc::clone(&state)));
        state.arm(DropCommit { count: 1, text: Some("needle".to_owned()) });

        let mut client = TcpStream::connect(address).await.unwrap();
        for (statement, lost) in [("COMMIT", false), ("INSERT needle", false), ("COMMIT", true)] {
            let length = u8::try_from(statement.len() + 1).unwrap();
            let packet = [&[length, 0, 0, 0, COM_QUERY], statement.as_bytes()].concat();
            client.write_all(&packet).await.unwrap();
            assert_eq!(seen.recv().await.unwrap(), statement.as_bytes());
            let mut answer = [0_u8; 11];
            let read = client.read(&mut answer).await.unwrap_or(0);
            assert_eq!(read == 0, lost, "{statement}");
        }
        assert_eq!(state.status().commits_dropped, 1);
        assert_eq!(state.status().armed, 0);
    }
}
