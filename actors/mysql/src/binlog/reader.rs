//! Asking a server for its binlog, and reading it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dmnode_model::policy::Fault;
use dmnode_model::{BinlogPosition, Endpoint, Flavor, GtidSet};
use mysql_common::constants::CapabilityFlags;
use thiserror::Error;
use tokio::time::timeout;

use super::{
    client::{PacketStream, server_error},
    cursor::Malformed,
    event::{BinlogEvent, EventBody, EventHeader, FLAG_ARTIFICIAL, types},
    gtid::encode_set,
    parse::{Damage, ParserState},
    payload::PayloadEvents,
};
use crate::{
    connection::Connection,
    error::{SqlError, SqlErrorKind},
    server::{ServerInfo, load_collations},
    session::{DEFAULT_CONNECT_TIMEOUT, SessionOptions},
};

/// A source without news says so this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A source that says nothing for so long is taken for lost. Longer than several heartbeats: a busy server may
/// be late with them.
const SILENCE_MAX: Duration = Duration::from_secs(10);

const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
/// Of the GTID dump: start by the set, not by position.
const FLAG_THROUGH_GTID: u16 = 0x04;
/// Of MariaDB's dump: send the statements that rows come from too, so that no offset is skipped.
const FLAG_SEND_ANNOTATE: u16 = 0x02;
/// Offset of the first event in a file.
const FIRST_EVENT: u64 = 4;
/// What an offset in a header is short of.
const WRAP: u64 = 1 << 32;

/// Where to start reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BinlogStart {
    /// With the event at this position.
    Position(BinlogPosition),
    /// With the first transaction that is not in this set.
    Gtid(GtidSet),
}

/// Reading the binlog failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BinlogError {
    /// The server refused, or the connection was lost.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// An event is not what an event must be.
    #[error("malformed event of type {event_type} at {file}:{pos}: {what}")]
    Malformed {
        /// Binlog file.
        file: String,
        /// Where the event starts in it.
        pos: u64,
        /// Its type number.
        event_type: u8,
        /// What is wrong.
        what: String,
    },
    /// An event's bytes do not have the checksum they came with.
    #[error("wrong checksum of the event of type {event_type} at {file}:{pos}")]
    Checksum {
        /// Binlog file.
        file: String,
        /// Where the event starts in it.
        pos: u64,
        /// Its type number.
        event_type: u8,
    },
}

/// ER_MASTER_FATAL_ERROR_READING_BINLOG: what a server answers when it cannot send what is asked for.
const CANNOT_SEND: u16 = 1236;

impl BinlogError {
    /// True when reading again on a new connection may do better.
    pub fn is_connection_lost(&self) -> bool {
        match self {
            Self::Sql(error) => error.is_connection_lost(),
            // Bytes may have been damaged on the way: worth another look, but not many.
            Self::Checksum { .. } => true,
            Self::Malformed { .. } => false,
        }
    }

    /// How it failed, by which everything that retries or gives up goes.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Sql(error) => error.fault(),
            _ if self.is_connection_lost() => Fault::ConnectionGone,
            _ => Fault::Refused,
        }
    }

    /// True when the source no longer has the binlog that was asked for, or never had it.
    pub fn is_position_lost(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        let message = error.message.to_ascii_lowercase();
        match error.code() {
            Some(CANNOT_SEND) => {
                // The same number tells of other troubles, such as another reader with the same server id.
                !message.contains("same server") && !message.contains("max_allowed_packet")
            }
            // MySQL and MariaDB on GTIDs that were purged or are unknown.
            Some(1789 | 1950 | 1955) => true,
            _ => false,
        }
    }
}

/// The binlog of a server, event by event.
///
/// [`BinlogReader::next`] may be cancelled at any time and called again without losing anything.
#[derive(Debug)]
pub struct BinlogReader {
    stream: PacketStream,
    state: ParserState,
    payload: Option<(EventHeader, PayloadEvents)>,
    file: Arc<str>,
    offsets: Offsets,
    /// Events before this offset of the file are not wanted, but could not be left out of what was asked for.
    unwanted_before: Option<u64>,
    /// Transactions of that file begin here or later.
    known_start: Option<BinlogPosition>,
}

/// Where events begin and end. Offsets in headers have 32 bits; these have all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offsets {
    /// End of the event that was read last.
    pos: u64,
    start_pos: u64,
}

impl Offsets {
    fn at(pos: u64) -> Self {
        Self { pos, start_pos: pos }
    }

    /// Works out the next event's.
    fn place(&mut self, header: &EventHeader) {
        let heartbeat = matches!(header.event_type, types::HEARTBEAT | types::HEARTBEAT_V2);
        if header.log_pos == 0 || header.flags & FLAG_ARTIFICIAL != 0 || heartbeat {
            self.start_pos = self.pos;
            return;
        }
        // Files may exceed 4 GiB (a transaction is never split); offsets grow, so a fall is an overflow.
        let mut end = (self.pos & !(WRAP - 1)) | u64::from(header.log_pos);
        if end + WRAP / 2 < self.pos {
            end += WRAP;
        }
        self.pos = end;
        self.start_pos = end.saturating_sub(header.size.into());
    }

    /// The event that was placed begins at this offset or after it.
    fn lift(&mut self, least: u64, size: u32) {
        let size = u64::from(size);
        let behind = (least + size).saturating_sub(self.pos).div_ceil(WRAP) * WRAP;
        if behind > 0 {
            self.pos += behind;
            self.start_pos = self.pos - size.min(self.pos);
        }
    }
}

fn is_transaction_start(event_type: u8) -> bool {
    matches!(event_type, types::GTID | types::GTID_TAGGED | types::ANONYMOUS_GTID | types::MARIADB_GTID)
}

impl BinlogReader {
    /// Asks the server for its binlog. `server_id` must differ from that of the server and of everyone else who
    /// reads from it.
    ///
    /// That the start does not exist is mostly not found out here but by the first [`BinlogReader::next`].
    ///
    /// # Errors
    /// No connection, or the account may not read the binlog (REPLICATION SLAVE is missing).
    pub async fn open(
        endpoint: &Endpoint,
        server: &ServerInfo,
        server_id: u32,
        start: BinlogStart,
    ) -> Result<Self, BinlogError> {
        // An ordinary session first: it can log in by every method, after which the server remembers the account.
        let mut connection = Connection::connect(endpoint, &SessionOptions::default()).await?;
        let collations = load_collations(&mut connection).await?;
        let checksum = connection.query_one("SELECT @@GLOBAL.binlog_checksum").await?;
        let checksum = checksum.and_then(|row| row.string(0)).unwrap_or_default();
        connection.close().await;

        let mut stream = PacketStream::connect(endpoint, DEFAULT_CONNECT_TIMEOUT).await?;
        let period = HEARTBEAT.as_nanos();
        stream
            .query(&format!(
                "SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, \
                 @source_binlog_checksum = @@GLOBAL.binlog_checksum, \
                 @master_heartbeat_period = {period}, @source_heartbeat_period = {period}"
            ))
            .await?;
        let mariadb = server.flavor == Flavor::Mariadb;
        if mariadb {
            // Without this the server hides GTIDs and rewrites events, some of them wrongly.
            stream.query("SET @mariadb_slave_capability = 4").await?;
        }
        stream.command(&register(server_id)).await?;
        let mut unwanted_before = None;
        let (file, pos) = match &start {
            BinlogStart::Position(position) => (position.file.clone(), position.pos.max(FIRST_EVENT)),
            BinlogStart::Gtid(_) => (String::new(), FIRST_EVENT),
        };
        let mut asked = pos;
        match &start {
            BinlogStart::Gtid(GtidSet::Mysql(set)) if !mariadb => {
                stream.start(&dump_gtid(server_id, &encode_set(set))).await?;
            }
            BinlogStart::Gtid(set @ GtidSet::Mariadb(_)) if mariadb => {
                stream.query(&format!("SET @slave_connect_state = '{set}'")).await?;
                stream.query("SET @slave_gtid_strict_mode = 0").await?;
                stream.query("SET @slave_gtid_ignore_duplicates = 0").await?;
                stream.start(&dump(server_id, "", FIRST_EVENT as u32, FLAG_SEND_ANNOTATE)).await?;
            }
            BinlogStart::Gtid(_) => {
                return Err(configuration("the GTID set is of another flavor than the server").into());
            }
            BinlogStart::Position(_) => {
                // Servers are asked with 32 bits. What lies beyond is reached by reading the whole file.
                let short = u32::try_from(pos).unwrap_or(FIRST_EVENT as u32);
                if u64::from(short) != pos {
                    (asked, unwanted_before) = (short.into(), Some(pos));
                }
                let flags = if mariadb { FLAG_SEND_ANNOTATE } else { 0 };
                stream.start(&dump(server_id, &file, short, flags)).await?;
            }
        }
        let checksum = checksum.eq_ignore_ascii_case("CRC32");
        Ok(Self {
            stream,
            state: ParserState::new(checksum, mariadb, collations),
            payload: None,
            file: file.into(),
            offsets: Offsets::at(asked),
            unwanted_before,
            known_start: None,
        })
    }

    /// By GTID a stream begins somewhere in a file, and the first transaction's header has 32 bits of its offset only.
    /// Whoever has read the file up to here before knows the others.
    pub fn goes_on_after(&mut self, position: &BinlogPosition) {
        self.known_start = Some(position.clone()).filter(|known| known.pos > u64::from(u32::MAX));
    }

    /// The next event.
    ///
    /// # Errors
    /// The connection is lost or silent for too long, the source cannot send what was asked for, or an event is
    /// malformed. The reader cannot be used after an error.
    pub async fn next(&mut self) -> Result<BinlogEvent, BinlogError> {
        loop {
            if let Some((outer, events)) = &mut self.payload {
                let outer = *outer;
                match events.next() {
                    Ok(Some((header, body))) => {
                        let parsed = self.state.parse(&header, &body);
                        return self.event(header, parsed);
                    }
                    Ok(None) => self.payload = None,
                    Err(error) => return Err(self.malformed(&outer, error)),
                }
                continue;
            }
            let packet = self.packet().await?;
            if let Some(event) = self.packet_event(&packet)? {
                return Ok(event);
            }
        }
    }

    /// The position after the event that was read last. Within a compressed transaction that is its end already:
    /// only after its last event has everything before the position been read.
    pub fn position(&self) -> BinlogPosition {
        BinlogPosition::new(self.file.as_ref(), self.offsets.pos)
    }

    async fn packet(&mut self) -> Result<Bytes, SqlError> {
        loop {
            let before = self.stream.received();
            match timeout(SILENCE_MAX, self.stream.read_packet()).await {
                Ok(packet) => return packet,
                // A packet that is on its way, however slowly, is no silence.
                Err(_) if self.stream.received() > before => {}
                Err(_) => {
                    return Err(SqlError::timeout(format!(
                        "the source sent neither events nor heartbeats for {SILENCE_MAX:?}"
                    )));
                }
            }
        }
    }

    /// The event in a packet; `None` when it is a payload, whose events follow.
    fn packet_event(&mut self, packet: &Bytes) -> Result<Option<BinlogEvent>, BinlogError> {
        match packet.first() {
            Some(0x00) => {}
            Some(0xff) => return Err(server_error(packet, CapabilityFlags::CLIENT_PROTOCOL_41).into()),
            Some(0xfe) if packet.len() < 9 => {
                return Err(SqlError::connection_lost("the source ended the stream").into());
            }
            _ => return Err(SqlError::protocol("unexpected packet in the binlog stream").into()),
        }
        let event = packet.slice(1..);
        let Ok(header) = EventHeader::parse(&event) else {
            return Err(SqlError::protocol("packet is shorter than an event header").into());
        };
        self.offsets.place(&header);
        if is_transaction_start(header.event_type)
            && let Some(known) = self.known_start.take_if(|known| known.file == *self.file)
        {
            self.offsets.lift(known.pos, header.size);
        }
        let body = self.state.body(&header, &event).map_err(|damage| match damage {
            Damage::Checksum => self.wrong_checksum(&header),
            Damage::Malformed(error) => self.malformed(&header, error),
        })?;
        if header.event_type == types::TRANSACTION_PAYLOAD {
            let events = PayloadEvents::open(&body).map_err(|error| self.malformed(&header, error))?;
            self.payload = Some((header, events));
            return Ok(None);
        }
        let parsed = self.state.parse(&header, &body);
        let mut event = self.event(header, parsed)?;
        if let EventBody::Rotate { file, pos, artificial } = &mut event.body {
            self.file = file.as_str().into();
            self.offsets.pos = *pos;
            match self.unwanted_before {
                // For the caller the stream begins where it was asked for.
                Some(wanted) if *artificial => *pos = wanted,
                _ => self.unwanted_before = None,
            }
        }
        Ok(Some(event))
    }

    fn event(
        &self,
        header: EventHeader,
        parsed: Result<EventBody, Malformed>,
    ) -> Result<BinlogEvent, BinlogError> {
        let mut body = parsed.map_err(|error| self.malformed(&header, error))?;
        let about_the_file = matches!(body, EventBody::FormatDescription { .. } | EventBody::Rotate { .. });
        if self.unwanted_before.is_some_and(|wanted| self.offsets.start_pos < wanted) && !about_the_file {
            body = EventBody::Ignorable;
        }
        let file = Arc::clone(&self.file);
        Ok(BinlogEvent { header, file, start_pos: self.offsets.start_pos, end_pos: self.offsets.pos, body })
    }

    fn malformed(&self, header: &EventHeader, error: Malformed) -> BinlogError {
        BinlogError::Malformed {
            file: self.file.to_string(),
            pos: self.offsets.start_pos,
            event_type: header.event_type,
            what: error.what,
        }
    }

    fn wrong_checksum(&self, header: &EventHeader) -> BinlogError {
        BinlogError::Checksum {
            file: self.file.to_string(),
            pos: self.offsets.start_pos,
            event_type: header.event_type,
        }
    }
}

fn configuration(message: &str) -> SqlError {
    SqlError::new(SqlErrorKind::Configuration, message)
}

/// Makes the reader show up among the server's replicas, by host `dmnode`.
fn register(server_id: u32) -> Vec<u8> {
    let mut out = vec![COM_REGISTER_SLAVE];
    out.extend_from_slice(&server_id.to_le_bytes());
    let host = b"dmnode";
    out.push(host.len() as u8);
    out.extend_from_slice(host);
    // No user, no password, port 0, rank 0, source id 0.
    out.extend_from_slice(&[0; 2 + 2 + 4 + 4]);
    out
}

fn dump(server_id: u32, file: &str, pos: u32, flags: u16) -> Vec<u8> {
    let mut out = vec![COM_BINLOG_DUMP];
    out.extend_from_slice(&pos.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&server_id.to_le_bytes());
    out.extend_from_slice(file.as_bytes());
    out
}

fn dump_gtid(server_id: u32, set: &[u8]) -> Vec<u8> {
    let mut out = vec![COM_BINLOG_DUMP_GTID];
    out.extend_from_slice(&FLAG_THROUGH_GTID.to_le_bytes());
    out.extend_from_slice(&server_id.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&FIRST_EVENT.to_le_bytes());
    out.extend_from_slice(&(set.len() as u32).to_le_bytes());
    out.extend_from_slice(set);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transaction of 9 GB in one file, in events of 1 GB: the offsets of the headers overflow twice.
    #[test]
    fn offsets_go_on_beyond_4_gib() {
        const GB: u64 = 1_000_000_000;
        let mut offsets = Offsets::at(FIRST_EVENT);
        let header = |end: u64, size: u32, flags| EventHeader {
            timestamp: 1,
            event_type: types::WRITE_ROWS,
            server_id: 1,
            size,
            log_pos: end as u32,
            flags,
        };
        for round in 1..=9u64 {
            let end = FIRST_EVENT + round * GB;
            offsets.place(&header(end, GB as u32, 0));
            assert_eq!(offsets, Offsets { pos: end, start_pos: end - GB }, "round {round}");
            // Events without a place of their own move nothing.
            offsets.place(&header(77, 19, FLAG_ARTIFICIAL));
            assert_eq!(offsets, Offsets::at(end));
        }
        let mut next = Offsets::at(5 * GB);
        next.place(&header(5 * GB + 100, 100, 0));
        assert_eq!(next, Offsets { pos: 5 * GB + 100, start_pos: 5 * GB });
    }

    /// By GTID the file's description comes first, and then a transaction somewhere behind 8 GiB.
    #[test]
    fn a_stream_by_gtid_knows_how_far_it_was() {
        let size = 100;
        for known in [2 * WRAP + 7, 2 * WRAP + 3_000_000_000, 3 * WRAP - 50] {
            for gap in [0, 40] {
                let end = known + gap + u64::from(size);
                let mut offsets = Offsets::at(126);
                let header = |event_type, end: u64, size| EventHeader {
                    timestamp: 1,
                    event_type,
                    server_id: 1,
                    size,
                    log_pos: end as u32,
                    flags: 0,
                };
                offsets.place(&header(types::PREVIOUS_GTIDS, 157, 31));
                offsets.place(&header(types::GTID, end, size));
                offsets.lift(known, size);
                assert_eq!(offsets, Offsets { pos: end, start_pos: known + gap }, "{known} {gap}");
                offsets.place(&header(types::QUERY, end + 70, 70));
                assert_eq!(offsets, Offsets { pos: end + 70, start_pos: end });
            }
        }
        let mut near = Offsets { pos: 500, start_pos: 400 };
        near.lift(300, 100);
        assert_eq!(near, Offsets { pos: 500, start_pos: 400 });
    }
}
