//! From raw event bytes to [`EventBody`]: the state a stream of events carries, and the dispatch by type.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{
    cursor::{Cursor, Malformed, Parsed, share, text},
    event::{EventBody, EventHeader, FLAG_ARTIFICIAL, FLAG_IGNORABLE, types},
    gtid,
    query::QueryEvent,
    rows::{RowsEvent, RowsKind},
    table_map::TableMap,
};
use crate::charset::Collations;

/// Length of an event's header.
pub(super) const HEADER_LEN: usize = 19;
/// Length of the checksum at an event's end.
const CHECKSUM_LEN: usize = 4;
/// Table maps are forgotten at the end of each statement; this only bounds what a strange source may pile up.
const TABLE_MAPS_MAX: usize = 65_536;

/// `LOG_EVENT_BINLOG_IN_USE_F`: set in a file's first event as long as it is written to, and not in its checksum.
const FLAG_IN_USE: u8 = 0x01;
/// Where the flags are in a header.
const FLAGS_OFFSET: usize = 17;

/// What is wrong with an event as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Damage {
    /// The checksum is not that of the bytes.
    Checksum,
    /// The bytes are not an event.
    Malformed(Malformed),
}

/// What parsing an event depends on of the events before it.
#[derive(Debug, Clone)]
pub(super) struct ParserState {
    /// Events end with a CRC32.
    pub checksum: bool,
    /// A FORMAT_DESCRIPTION event was seen in this file.
    pub described: bool,
    /// Bytes of a table number: 6, or 4 in files of very old servers.
    table_id_len: usize,
    tables: HashMap<u64, Arc<TableMap>>,
    collations: Collations,
    mariadb: bool,
}

impl EventHeader {
    pub(super) fn parse(bytes: &[u8]) -> Parsed<Self> {
        let mut cursor = Cursor::new(bytes);
        Ok(Self {
            timestamp: cursor.u32()?,
            event_type: cursor.u8()?,
            server_id: cursor.u32()?,
            size: cursor.u32()?,
            log_pos: cursor.u32()?,
            flags: cursor.u16()?,
        })
    }
}

/// Whether the last four bytes of an event are the CRC32 of the others.
fn checksum_holds(event: &[u8]) -> bool {
    let Some((body, checksum)) = event.split_last_chunk::<CHECKSUM_LEN>() else {
        return false;
    };
    crc32fast::hash(body) == u32::from_le_bytes(*checksum)
}

impl ParserState {
    pub fn new(checksum: bool, mariadb: bool, collations: Collations) -> Self {
        Self { checksum, described: false, table_id_len: 6, tables: HashMap::new(), collations, mariadb }
    }

    /// The event's body, after its checksum was verified and cut off.
    pub fn body(&self, header: &EventHeader, event: &Bytes) -> Result<Bytes, Damage> {
        let malformed = |what: String| Err(Damage::Malformed(Malformed::new(what)));
        if header.size as usize != event.len() || event.len() < HEADER_LEN {
            return malformed(format!("header says {} bytes, there are {}", header.size, event.len()));
        }
        let without = |tail: usize| event.slice(HEADER_LEN..event.len() - tail);
        let fits = event.len() >= HEADER_LEN + CHECKSUM_LEN;
        match header.event_type {
            types::FORMAT_DESCRIPTION => {
                // It always ends with the algorithm and room for a checksum, which is filled in if there is one.
                if !fits {
                    return malformed("too short for a format description".to_owned());
                }
                let body = without(CHECKSUM_LEN);
                if body.last() == Some(&1) && !checksum_holds(event) {
                    let mut quiet = event.to_vec();
                    quiet[FLAGS_OFFSET] &= !FLAG_IN_USE;
                    if !checksum_holds(&quiet) {
                        return Err(Damage::Checksum);
                    }
                }
                Ok(body)
            }
            // Told before the file's format is known: with a checksum or without, as the server is set now.
            types::ROTATE if header.log_pos == 0 || !self.described => {
                Ok(if fits && checksum_holds(event) { without(CHECKSUM_LEN) } else { without(0) })
            }
            _ if !self.checksum => Ok(without(0)),
            _ if !fits => malformed("too short for a checksum".to_owned()),
            _ if checksum_holds(event) => Ok(without(CHECKSUM_LEN)),
            _ => Err(Damage::Checksum),
        }
    }

    /// Parses an event's content. `body` is without header and checksum.
    pub fn parse(&mut self, header: &EventHeader, body: &Bytes) -> Parsed<EventBody> {
        match header.event_type {
            types::FORMAT_DESCRIPTION => self.format_description(body),
            types::ROTATE => {
                let mut cursor = Cursor::new(body);
                let pos = cursor.u64()?;
                let artificial = header.flags & FLAG_ARTIFICIAL != 0 || header.log_pos == 0;
                self.tables.clear();
                Ok(EventBody::Rotate { file: text(cursor.rest()), pos, artificial })
            }
            types::QUERY => Ok(EventBody::Query(Box::new(QueryEvent::parse(body, false, &self.collations)?))),
            types::MARIADB_QUERY_COMPRESSED => {
                Ok(EventBody::Query(Box::new(QueryEvent::parse(body, true, &self.collations)?)))
            }
            types::TABLE_MAP => {
                let table = TableMap::parse(
                    header.timestamp,
                    body,
                    self.table_id_len,
                    self.mariadb,
                    &self.collations,
                )?;
                if self.tables.len() >= TABLE_MAPS_MAX {
                    return Err(Malformed::new("too many table maps in one statement"));
                }
                self.tables.insert(table.table_id, Arc::clone(&table));
                Ok(EventBody::TableMap(table))
            }
            types::WRITE_ROWS_V1 => self.rows(body, RowsKind::Insert, false, false),
            types::UPDATE_ROWS_V1 => self.rows(body, RowsKind::Update, false, false),
            types::DELETE_ROWS_V1 => self.rows(body, RowsKind::Delete, false, false),
            types::WRITE_ROWS => self.rows(body, RowsKind::Insert, true, false),
            types::UPDATE_ROWS => self.rows(body, RowsKind::Update, true, false),
            types::DELETE_ROWS => self.rows(body, RowsKind::Delete, true, false),
            types::PARTIAL_UPDATE_ROWS => {
                let mut event = self.rows(body, RowsKind::Update, true, false)?;
                if let EventBody::Rows(rows) = &mut event {
                    rows.partial = true;
                }
                Ok(event)
            }
            types::MARIADB_WRITE_COMPRESSED_V1 => self.rows(body, RowsKind::Insert, false, true),
            types::MARIADB_UPDATE_COMPRESSED_V1 => self.rows(body, RowsKind::Update, false, true),
            types::MARIADB_DELETE_COMPRESSED_V1 => self.rows(body, RowsKind::Delete, false, true),
            types::MARIADB_WRITE_COMPRESSED => self.rows(body, RowsKind::Insert, true, true),
            types::MARIADB_UPDATE_COMPRESSED => self.rows(body, RowsKind::Update, true, true),
            types::MARIADB_DELETE_COMPRESSED => self.rows(body, RowsKind::Delete, true, true),
            types::GTID => Ok(EventBody::Gtid(gtid::parse_mysql(body)?)),
            types::GTID_TAGGED => Ok(EventBody::Gtid(gtid::parse_tagged(body)?)),
            types::ANONYMOUS_GTID => Ok(EventBody::AnonymousGtid {
                original_commit_timestamp: gtid::parse_mysql(body)?.original_commit_timestamp,
            }),
            types::PREVIOUS_GTIDS => Ok(EventBody::PreviousGtids(gtid::decode_set(body)?)),
            types::MARIADB_GTID => Ok(EventBody::Gtid(gtid::parse_mariadb(body, header.server_id)?)),
            types::MARIADB_GTID_LIST => Ok(EventBody::MariadbGtidList(gtid::parse_mariadb_list(body)?)),
            types::XID => Ok(EventBody::Xid { xid: Cursor::new(body).u64()? }),
            types::XA_PREPARE => xa_prepare(body),
            types::ROWS_QUERY => {
                // One byte of length, meaningless for long statements, comes first.
                Ok(EventBody::RowsQuery(body.slice(1.min(body.len())..)))
            }
            types::MARIADB_ANNOTATE => Ok(EventBody::RowsQuery(body.clone())),
            types::HEARTBEAT | types::HEARTBEAT_V2 => Ok(EventBody::Heartbeat),
            types::INTVAR => {
                let mut cursor = Cursor::new(body);
                Ok(EventBody::IntVar { kind: cursor.u8()?, value: cursor.u64()? })
            }
            types::RAND => Ok(EventBody::Rand),
            types::USER_VAR => {
                let mut cursor = Cursor::new(body);
                let len = cursor.u32()? as usize;
                Ok(EventBody::UserVar { name: text(cursor.take(len)?) })
            }
            types::INCIDENT => {
                let mut cursor = Cursor::new(body);
                let incident = cursor.u16()?;
                let message = cursor.short_string().map(text).unwrap_or_default();
                Ok(EventBody::Incident { incident, message })
            }
            types::STOP
            | types::IGNORABLE
            | types::TRANSACTION_CONTEXT
            | types::VIEW_CHANGE
            | types::MARIADB_CHECKPOINT => Ok(EventBody::Ignorable),
            _ if header.flags & FLAG_IGNORABLE != 0 => Ok(EventBody::Ignorable),
            event_type => Ok(EventBody::Unsupported { event_type, name: types::name(event_type) }),
        }
    }

    fn format_description(&mut self, body: &Bytes) -> Parsed<EventBody> {
        let mut cursor = Cursor::new(body);
        let version = cursor.u16()?;
        if version != 4 {
            return Err(Malformed::new(format!("binlog version {version}")));
        }
        let server = cursor.take(50)?;
        let server = server.split(|byte| *byte == 0).next().unwrap_or_default();
        let server_version = text(server);
        cursor.u32()?;
        let header_len = cursor.u8()?;
        if usize::from(header_len) != HEADER_LEN {
            return Err(Malformed::new(format!("event headers of {header_len} bytes")));
        }
        // What is left is one length per event type and, as the last byte, the checksum's algorithm. (Its own
        // checksum was cut off before.)
        let lengths = cursor.rest();
        let table_map = usize::from(types::TABLE_MAP) - 1;
        self.table_id_len = if lengths.get(table_map) == Some(&6) { 4 } else { 6 };
        self.checksum = match lengths.last() {
            Some(0) => false,
            Some(1) => true,
            Some(other) => return Err(Malformed::new(format!("checksum algorithm {other}"))),
            None => return Err(Malformed::new("no checksum algorithm")),
        };
        self.mariadb = server_version.contains("MariaDB");
        self.described = true;
        self.tables.clear();
        Ok(EventBody::FormatDescription { server_version, checksum: self.checksum })
    }

    fn rows(&mut self, body: &Bytes, kind: RowsKind, v2: bool, compressed: bool) -> Parsed<EventBody> {
        let id = RowsEvent::table_id(body, self.table_id_len)?;
        let Some(table) = self.tables.get(&id) else {
            // The dummy event that frees table maps has this number, and no rows.
            return if id == 0x00ff_ffff || id == (1 << (8 * self.table_id_len)) - 1 {
                Ok(EventBody::Ignorable)
            } else {
                Err(Malformed::new(format!("rows of table number {id}, which was not described")))
            };
        };
        let event = RowsEvent::parse(body, Arc::clone(table), kind, self.table_id_len, v2, compressed)?;
        if event.statement_end {
            self.tables.clear();
        }
        Ok(EventBody::Rows(event))
    }
}

fn xa_prepare(body: &Bytes) -> Parsed<EventBody> {
    let mut cursor = Cursor::new(body);
    let one_phase = cursor.u8()? != 0;
    let format_id = cursor.u32()? as i32;
    let gtrid_len = cursor.u32()? as usize;
    let bqual_len = cursor.u32()? as usize;
    let gtrid = share(body, cursor.take(gtrid_len)?);
    let bqual = share(body, cursor.take(bqual_len)?);
    Ok(EventBody::XaPrepare { one_phase, format_id, gtrid, bqual })
}
