//! Binlog events as they leave the reader.

use std::sync::Arc;

use bytes::Bytes;
use dmnode_model::{Gtid, GtidSet};

use super::{query::QueryEvent, rows::RowsEvent, table_map::TableMap};

/// The 19 bytes every event starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHeader {
    /// Seconds since 1970 on the source when the statement began; 0 in artificial events.
    pub timestamp: u32,
    /// The server that wrote it first.
    pub server_id: u32,
    /// Type number.
    pub event_type: u8,
    /// End of the event in the file as the header says it, modulo 2^32; 0 in artificial events and inside a
    /// transaction payload. [`BinlogEvent::end_pos`] is the one to use.
    pub log_pos: u32,
    /// Flags, see the constants.
    pub flags: u16,
    /// Size with header and checksum.
    pub size: u32,
}

/// Made by the server for this connection, not in its file.
pub const FLAG_ARTIFICIAL: u16 = 0x20;
/// A reader that does not know the type may skip the event.
pub const FLAG_IGNORABLE: u16 = 0x80;
/// MariaDB: set on a DDL statement's events.
pub const FLAG_STANDALONE_SKIP_REPLICATION: u16 = 0x8000;

/// An event and where it was found.
#[derive(Debug, Clone)]
pub struct BinlogEvent {
    /// The header.
    pub header: EventHeader,
    /// The binlog file.
    pub file: Arc<str>,
    /// Offset of the event in the file. An event of a transaction payload has the payload's offsets.
    pub start_pos: u64,
    /// Offset of the byte after it.
    pub end_pos: u64,
    /// The content.
    pub body: EventBody,
}

/// Content of an event.
#[derive(Debug, Clone)]
pub enum EventBody {
    /// Start of a file.
    FormatDescription {
        /// Server version as the file has it.
        server_version: String,
        /// Events end with a CRC32.
        checksum: bool,
    },
    /// The next events are in this file.
    Rotate {
        /// Name of the next file.
        file: String,
        /// Offset of the next event.
        pos: u64,
        /// Told by the server at the start of a stream, not a record in the file.
        artificial: bool,
    },
    /// A transaction with a GTID begins.
    Gtid(GtidEvent),
    /// A transaction without GTID begins (MySQL with `gtid_mode` off).
    AnonymousGtid {
        /// Commit time on the server that ran it first, microseconds since 1970.
        original_commit_timestamp: Option<u64>,
    },
    /// MySQL: GTIDs in all files before this one.
    PreviousGtids(GtidSet),
    /// MariaDB: GTIDs at the start of this file.
    MariadbGtidList(GtidSet),
    /// A statement: DDL, BEGIN, COMMIT, or DML in statement format.
    Query(Box<QueryEvent>),
    /// Description of a table that rows events refer to.
    TableMap(Arc<TableMap>),
    /// Row changes.
    Rows(RowsEvent),
    /// The transaction commits.
    Xid {
        /// The server's transaction number.
        xid: u64,
    },
    /// An XA transaction is prepared (or committed in one phase).
    XaPrepare {
        /// `XA COMMIT … ONE PHASE`: the transaction ends here.
        one_phase: bool,
        /// Format id of the XID.
        format_id: i32,
        /// Global part.
        gtrid: Bytes,
        /// Branch part.
        bqual: Bytes,
    },
    /// The statement the following rows come from.
    RowsQuery(Bytes),
    /// A sign of life of a source that has nothing to send, or that skips what the reader has.
    Heartbeat,
    /// Value of an AUTO_INCREMENT or `LAST_INSERT_ID()` for the next statement (statement format).
    IntVar {
        /// 1 `LAST_INSERT_ID`, 2 `INSERT_ID`.
        kind: u8,
        /// The value.
        value: u64,
    },
    /// Seeds of `RAND()` for the next statement (statement format).
    Rand,
    /// A user variable for the next statement (statement format).
    UserVar {
        /// Its name.
        name: String,
    },
    /// The source lost events.
    Incident {
        /// Its number; 1 is LOST_EVENTS.
        incident: u16,
        /// The source's words.
        message: String,
    },
    /// Says nothing to us: server stop, checkpoint, or of an unknown type but flagged ignorable.
    Ignorable,
    /// A type that cannot be handled. Skipping it would lose data.
    Unsupported {
        /// Type number.
        event_type: u8,
        /// Name, if known.
        name: &'static str,
    },
}

/// Start of a transaction with GTID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GtidEvent {
    /// The transaction's identity.
    pub gtid: Gtid,
    /// MariaDB: the event group is a single statement without BEGIN and COMMIT.
    pub standalone: bool,
    /// MariaDB: the transaction is prepared at its end, to be decided later.
    pub xa: bool,
    /// MariaDB: the statement has no effect here. An ALTER in two phases begins, or is given up; it counts where
    /// it is committed.
    pub void: bool,
    /// Commit time on the server that ran it first, microseconds since 1970 (MySQL).
    pub original_commit_timestamp: Option<u64>,
    /// Commit time on the immediate source, microseconds since 1970 (MySQL).
    pub immediate_commit_timestamp: Option<u64>,
    /// Length of the whole transaction in bytes (MySQL 8.0 and later).
    pub transaction_length: Option<u64>,
}

/// Number and name of every event type this reader knows of.
pub(crate) mod types {
    pub const STOP: u8 = 3;
    pub const QUERY: u8 = 2;
    pub const ROTATE: u8 = 4;
    pub const INTVAR: u8 = 5;
    pub const RAND: u8 = 13;
    pub const USER_VAR: u8 = 14;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const TABLE_MAP: u8 = 19;
    pub const WRITE_ROWS_V1: u8 = 23;
    pub const UPDATE_ROWS_V1: u8 = 24;
    pub const DELETE_ROWS_V1: u8 = 25;
    pub const INCIDENT: u8 = 26;
    pub const HEARTBEAT: u8 = 27;
    pub const IGNORABLE: u8 = 28;
    pub const ROWS_QUERY: u8 = 29;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const PREVIOUS_GTIDS: u8 = 35;
    pub const TRANSACTION_CONTEXT: u8 = 36;
    pub const VIEW_CHANGE: u8 = 37;
    pub const XA_PREPARE: u8 = 38;
    pub const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const HEARTBEAT_V2: u8 = 41;
    pub const GTID_TAGGED: u8 = 42;
    pub const MARIADB_ANNOTATE: u8 = 160;
    pub const MARIADB_CHECKPOINT: u8 = 161;
    pub const MARIADB_GTID: u8 = 162;
    pub const MARIADB_GTID_LIST: u8 = 163;
    pub const MARIADB_QUERY_COMPRESSED: u8 = 165;
    pub const MARIADB_WRITE_COMPRESSED_V1: u8 = 166;
    pub const MARIADB_UPDATE_COMPRESSED_V1: u8 = 167;
    pub const MARIADB_DELETE_COMPRESSED_V1: u8 = 168;
    pub const MARIADB_WRITE_COMPRESSED: u8 = 169;
    pub const MARIADB_UPDATE_COMPRESSED: u8 = 170;
    pub const MARIADB_DELETE_COMPRESSED: u8 = 171;

    /// Name of a type that is not handled.
    pub fn name(event_type: u8) -> &'static str {
        match event_type {
            0 => "UNKNOWN",
            1 => "START_V3",
            6 => "LOAD",
            7 => "SLAVE",
            8 => "CREATE_FILE",
            9 => "APPEND_BLOCK",
            10 => "EXEC_LOAD",
            11 => "DELETE_FILE",
            12 => "NEW_LOAD",
            17 => "BEGIN_LOAD_QUERY",
            18 => "EXECUTE_LOAD_QUERY",
            20 => "PRE_GA_WRITE_ROWS",
            21 => "PRE_GA_UPDATE_ROWS",
            22 => "PRE_GA_DELETE_ROWS",
            164 => "START_ENCRYPTION",
            _ => "unknown",
        }
    }
}
