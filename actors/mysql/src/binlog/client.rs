//! A connection that only asks for a binlog: log-in, a few SETs, the dump command, and then packets.
//!
//! The driver cannot be used for this: it parses events before it hands them out (and panics on damaged ones),
//! drops transactions that do not unpack, and cannot ask MariaDB for all events.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use dmnode_model::Endpoint;
use mysql_common::{
    constants::CapabilityFlags,
    io::ParseBuf,
    packets::{AuthPlugin, AuthSwitchRequest, ErrPacket, HandshakePacket, HandshakeResponse, SslRequest},
    proto::MySerialize,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::{error::SqlError, tls};

/// Payload of a full protocol frame; a shorter one ends the packet.
const FRAME_MAX: usize = 0x00ff_ffff;
/// What is asked of the socket at a time.
const READ_CHUNK: usize = 128 * 1024;
/// Largest packet accepted, which is also what the server is told.
const PACKET_MAX: usize = 1 << 30;
/// `utf8mb4_general_ci`, the same number everywhere.
const COLLATION: u8 = 45;

trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for T {}

/// A connection on which packets are read and written.
pub(super) struct PacketStream {
    socket: Box<dyn Socket>,
    buffer: BytesMut,
    /// Frames read so far of a packet of several frames.
    partial: Vec<u8>,
    sequence: u8,
    secure: bool,
}

impl PacketStream {
    /// Connects and logs in, within the time limit.
    pub async fn connect(endpoint: &Endpoint, limit: Duration) -> Result<Self, SqlError> {
        tokio::time::timeout(limit, Self::log_in(endpoint))
            .await
            .map_err(|_| SqlError::timeout(format!("no binlog connection within {limit:?}")))?
    }

    async fn log_in(endpoint: &Endpoint) -> Result<Self, SqlError> {
        let tls = tls::client_config(endpoint)?;
        let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(lost)?;
        socket.set_nodelay(true).map_err(lost)?;
        let mut stream = Self {
            socket: Box::new(socket),
            buffer: BytesMut::new(),
            partial: Vec::new(),
            sequence: 0,
            secure: false,
        };
        let greeting = stream.read_packet().await?;
        if greeting.first() == Some(&0xff) {
            return Err(server_error(&greeting, CapabilityFlags::empty()));
        }
        let handshake: HandshakePacket<'_> = ParseBuf(&greeting).parse(()).map_err(protocol)?;
        let mut nonce = handshake.scramble_1_ref().to_vec();
        nonce.extend_from_slice(handshake.scramble_2_ref().unwrap_or_default());
        nonce.resize(20, 0);

        let mut wanted = CapabilityFlags::CLIENT_PROTOCOL_41
            | CapabilityFlags::CLIENT_SECURE_CONNECTION
            | CapabilityFlags::CLIENT_LONG_PASSWORD
            | CapabilityFlags::CLIENT_TRANSACTIONS
            | CapabilityFlags::CLIENT_LONG_FLAG
            | CapabilityFlags::CLIENT_PLUGIN_AUTH
            | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
        if tls.is_some() {
            wanted |= CapabilityFlags::CLIENT_SSL;
        }
        let capabilities = wanted & handshake.capabilities();
        if let Some(tls) = tls {
            if !capabilities.contains(CapabilityFlags::CLIENT_SSL) {
                return Err(tls::not_offered());
            }
            let mut request = Vec::new();
            SslRequest::new(capabilities, PACKET_MAX as u32, COLLATION).serialize(&mut request);
            stream.write_packet(&request).await?;
            stream = stream.make_secure(endpoint, tls).await?;
        }

        let mut plugin = match handshake.auth_plugin() {
            Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
            _ => AuthPlugin::MysqlNativePassword,
        };
        let password = endpoint.password.expose();
        let mut response = Vec::new();
        HandshakeResponse::new(
            plugin.gen_data(Some(password), &nonce).as_deref(),
            handshake.server_version_parsed().unwrap_or((8, 0, 0)),
            Some(endpoint.user.as_bytes()),
            None::<&[u8]>,
            Some(plugin.borrow()),
            capabilities,
            None,
            PACKET_MAX as u32,
        )
        .serialize(&mut response);
        stream.write_packet(&response).await?;

        // A server may ask once for another method; then it is answered by that one's rules.
        let mut switched = false;
        loop {
            let packet = stream.read_packet().await?;
            match (packet.first(), packet.get(1)) {
                (Some(0x00), _) => break,
                (Some(0xff), _) => return Err(server_error(&packet, capabilities)),
                (Some(0xfe), _) if !switched => {
                    switched = true;
                    let request: AuthSwitchRequest<'_> = ParseBuf(&packet).parse(()).map_err(protocol)?;
                    plugin = match request.auth_plugin() {
                        AuthPlugin::CachingSha2Password => AuthPlugin::CachingSha2Password,
                        AuthPlugin::MysqlNativePassword => AuthPlugin::MysqlNativePassword,
                        other => {
                            return Err(SqlError::new(
                                crate::SqlErrorKind::Configuration,
                                format!(
                                    "the account uses authentication plugin {}; for reading the binlog \
                                     caching_sha2_password and mysql_native_password are supported",
                                    String::from_utf8_lossy(other.as_bytes())
                                ),
                            ));
                        }
                    };
                    nonce = request.plugin_data().to_vec();
                    nonce.resize(20, 0);
                    let data = plugin.gen_data(Some(password), &nonce);
                    stream.write_packet(data.as_deref().unwrap_or_default()).await?;
                }
                (Some(0x01), Some(0x03)) => {}
                (Some(0x01), Some(0x04)) => stream.send_password(password, &nonce).await?,
                _ => return Err(SqlError::protocol("unexpected answer while logging in")),
            }
        }
        Ok(stream)
    }

    async fn make_secure(self, endpoint: &Endpoint, tls: tls::ClientTls) -> Result<Self, SqlError> {
        if !self.buffer.is_empty() {
            return Err(SqlError::protocol("server spoke before TLS was agreed on"));
        }
        let name = tls::server_name(&endpoint.host)?;
        let connector = tokio_rustls::TlsConnector::from(tls.config);
        let socket = connector
            .connect(name, self.socket)
            .await
            .map_err(|error| SqlError::new(crate::SqlErrorKind::Configuration, format!("TLS: {error}")))?;
        Ok(Self { socket: Box::new(socket), secure: true, ..self })
    }

    /// `caching_sha2_password` when the server does not remember the account: the password itself, through TLS
    /// or encrypted with the server's public key.
    async fn send_password(&mut self, password: &str, nonce: &[u8]) -> Result<(), SqlError> {
        let mut secret = password.as_bytes().to_vec();
        secret.push(0);
        if self.secure {
            return self.write_packet(&secret).await;
        }
        self.write_packet(&[0x02]).await?;
        let key = self.read_packet().await?;
        if key.first() != Some(&0x01) {
            return Err(SqlError::protocol("no public key from the server"));
        }
        for (byte, pad) in secret.iter_mut().zip(nonce.iter().cycle()) {
            *byte ^= pad;
        }
        // The helper panics on a key that is none; the server's bytes must not do that to us.
        let encrypted = std::panic::catch_unwind(|| mysql_common::crypto::encrypt(&secret, &key[1..]))
            .map_err(|_| SqlError::protocol("the server's public key is malformed"))?;
        self.write_packet(&encrypted).await
    }

    /// A command that is answered by OK or an error.
    pub async fn command(&mut self, payload: &[u8]) -> Result<(), SqlError> {
        self.sequence = 0;
        self.write_packet(payload).await?;
        let answer = self.read_packet().await?;
        match answer.first() {
            Some(0x00) => Ok(()),
            Some(0xff) => Err(server_error(&answer, CapabilityFlags::CLIENT_PROTOCOL_41)),
            _ => Err(SqlError::protocol("unexpected answer to a command")),
        }
    }

    /// A statement that returns no rows.
    pub async fn query(&mut self, sql: &str) -> Result<(), SqlError> {
        self.command(&[b"\x03", sql.as_bytes()].concat()).await
    }

    /// A command whose answer is a stream of packets.
    pub async fn start(&mut self, payload: &[u8]) -> Result<(), SqlError> {
        self.sequence = 0;
        self.write_packet(payload).await
    }

    async fn write_packet(&mut self, payload: &[u8]) -> Result<(), SqlError> {
        if payload.len() >= FRAME_MAX {
            return Err(SqlError::protocol("command too long"));
        }
        let mut frame = (payload.len() as u32).to_le_bytes().to_vec();
        frame[3] = self.sequence;
        frame.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.write_all(&frame).await.map_err(lost)?;
        self.socket.flush().await.map_err(lost)
    }

    /// The next packet. May be cancelled and called again: what was read is kept.
    pub async fn read_packet(&mut self) -> Result<Bytes, SqlError> {
        loop {
            if let Some(header) = self.buffer.first_chunk::<4>() {
                let [a, b, c, sequence] = *header;
                let len = u32::from_le_bytes([a, b, c, 0]) as usize;
                if self.buffer.len() >= 4 + len {
                    self.sequence = sequence.wrapping_add(1);
                    self.buffer.advance(4);
                    let frame = self.buffer.split_to(len).freeze();
                    if len < FRAME_MAX && self.partial.is_empty() {
                        return Ok(frame);
                    }
                    if self.partial.len() + len > PACKET_MAX + FRAME_MAX {
                        return Err(SqlError::protocol("packet of more than 1 GiB"));
                    }
                    self.partial.extend_from_slice(&frame);
                    if len < FRAME_MAX {
                        return Ok(std::mem::take(&mut self.partial).into());
                    }
                    continue;
                }
                self.buffer.reserve((4 + len - self.buffer.len()).max(READ_CHUNK));
            } else {
                self.buffer.reserve(READ_CHUNK);
            }
            if self.socket.read_buf(&mut self.buffer).await.map_err(lost)? == 0 {
                return Err(SqlError::connection_lost("the server closed the connection"));
            }
        }
    }

    /// Bytes that were received so far, to tell a slow stream from a dead one.
    pub fn received(&self) -> usize {
        self.buffer.len() + self.partial.len()
    }
}

impl std::fmt::Debug for PacketStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketStream").field("secure", &self.secure).finish_non_exhaustive()
    }
}

/// The error in an ERR packet.
pub(super) fn server_error(packet: &[u8], capabilities: CapabilityFlags) -> SqlError {
    match ParseBuf(packet).parse::<ErrPacket<'_>>(capabilities) {
        Ok(ErrPacket::Error(error)) => SqlError::server(
            error.error_code(),
            error.sql_state_ref().map(|state| state.as_str().into_owned()).unwrap_or_default(),
            error.message_str(),
        ),
        _ => SqlError::protocol("unreadable error from the server"),
    }
}

fn lost(error: std::io::Error) -> SqlError {
    SqlError::connection_lost(error.to_string())
}

fn protocol(error: std::io::Error) -> SqlError {
    SqlError::protocol(error.to_string())
}
