//! The binlog of a server as a stream of events.
//!
//! [`BinlogReader`] asks a server for its binlog and yields [`BinlogEvent`]s: checksums verified, compressed
//! transactions, queries and rows unpacked, every parse bounds-checked. Nothing is swallowed: what cannot be
//! handled comes out as [`EventBody::Unsupported`].

mod client;
mod cursor;
mod event;
mod gtid;
mod parse;
mod payload;
mod query;
mod reader;
mod rows;
mod table_map;

pub use event::{
    BinlogEvent, EventBody, EventHeader, FLAG_ARTIFICIAL, FLAG_IGNORABLE, FLAG_STANDALONE_SKIP_REPLICATION,
    GtidEvent,
};
pub use query::QueryEvent;
pub use reader::{BinlogError, BinlogReader, BinlogStart};
pub use rows::{RowsEvent, RowsKind};
pub use table_map::TableMap;

pub(crate) use cursor::{Cursor, Malformed, share};
pub(crate) use query::unzlib;
pub(crate) use table_map::wire;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
