//! Talking to MySQL and MariaDB servers: connections, what a server can do, how tables look, the binlog as a
//! stream of events, row values decoded from it and SQL literals made of them.
//!
//! Two things are done here ourselves although the driver offers them, because the driver's way loses or alters
//! data: the event layer ([`binlog`]) and the row decoder ([`RowDecoder`]). The driver, `mysql_async`, serves
//! [`Connection`].

pub mod binlog;
mod charset;
mod connection;
mod decode;
mod error;
mod literal;
mod server;
mod session;
mod table;
mod text_row;
mod tls;
mod typed_json;
mod value;

pub use binlog::{
    BinlogError, BinlogEvent, BinlogReader, BinlogStart, EventBody, EventHeader, GtidEvent, QueryEvent,
    RowsEvent, RowsKind, TableMap,
};
pub use charset::{Collation, decode as decode_text};
pub use connection::{Connection, ExecSummary, RowStream};
pub use decode::{DecodeError, DecodeErrorKind, RowDecoder, RowImages};
pub use error::{MultiError, SqlError, SqlErrorKind};
pub use literal::{
    decimals, hex, is_beyond_double, is_error_value, long_value, unhex, write_exact_match, write_ident,
    write_literal, write_parameter, write_parameter_match, write_rounded_match, write_string,
};
pub use server::{ServerInfo, current_location, grants};
pub use session::{DEFAULT_CONNECT_TIMEOUT, SessionOptions};
pub use table::{ColumnInfo, ColumnType, ForeignKey, GeometryKind, KeyColumn, KeyInfo, TableInfo};
pub use text_row::TextRow;
pub use typed_json::{JsonTypes, json_is_typed_sql, json_types_sql, write_typed_json};
pub use value::{Row, SmallText, Value};
