//! QUERY events: a statement and the session it ran in.

use std::{borrow::Cow, io::Read};

use bytes::Bytes;

use super::cursor::{Cursor, Malformed, Parsed, share, text};
use crate::charset::{self, Collation, Collations};

/// A statement in the binlog, with what its meaning depends on.
#[derive(Debug, Clone, Default)]
pub struct QueryEvent {
    /// Default schema of the session.
    pub schema: String,
    /// The statement, in the client's character set. [`QueryEvent::sql_text`] decodes it.
    pub sql: Bytes,
    /// The session's connection id on the source.
    pub thread_id: u32,
    /// Seconds it took.
    pub exec_seconds: u32,
    /// Error with which it ended on the source, 0 for none.
    pub error_code: u16,
    /// Bits of some session options (`foreign_key_checks`, `unique_checks`, …).
    pub flags2: Option<u32>,
    /// Bits of `sql_mode`.
    pub sql_mode: Option<u64>,
    /// `auto_increment_increment` and `auto_increment_offset`.
    pub auto_increment: Option<(u16, u16)>,
    /// Collation of `character_set_client`: the character set that `sql` is in.
    pub client_collation: Option<Collation>,
    /// `collation_connection`.
    pub collation_connection: Option<Collation>,
    /// `collation_server`.
    pub collation_server: Option<Collation>,
    /// `collation_database`.
    pub collation_database: Option<Collation>,
    /// `default_collation_for_utf8mb4`.
    pub default_collation_for_utf8mb4: Option<Collation>,
    /// MariaDB: `character_set_collations`, (character set's default collation, chosen collation).
    pub character_set_collations: Vec<(Option<Collation>, Option<Collation>)>,
    /// `time_zone`, when the statement depends on it.
    pub time_zone: Option<String>,
    /// Number of `lc_time_names`, when it is not `en_US`.
    pub lc_time_names: Option<u16>,
    /// `CURRENT_USER` at the source: user and host.
    pub invoker: Option<(String, String)>,
    /// Schemas the statement changes, if they were few.
    pub updated_schemas: Option<Vec<String>>,
    /// Fraction of the statement's time stamp in microseconds.
    pub microseconds: Option<u32>,
    /// `explicit_defaults_for_timestamp`.
    pub explicit_defaults_for_timestamp: Option<bool>,
    /// The transaction number of an atomic DDL.
    pub ddl_xid: Option<u64>,
    /// `sql_require_primary_key`.
    pub sql_require_primary_key: Option<bool>,
    /// Status variables were met that this reader does not know; those after the first such one are not read.
    /// The statement itself is not touched by that.
    pub unknown_status: Option<u8>,
}

/// `MODE_NO_BACKSLASH_ESCAPES` in `sql_mode`.
const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
/// `OPTION_NO_FOREIGN_KEY_CHECKS` in `flags2`.
const NO_FOREIGN_KEY_CHECKS: u32 = 1 << 26;
/// `OPTION_RELAXED_UNIQUE_CHECKS` in `flags2`.
const RELAXED_UNIQUE_CHECKS: u32 = 1 << 27;
/// MariaDB: a list of changed schemas that was too long to write.
const TOO_MANY_SCHEMAS: u8 = 254;
/// Most bytes a compressed statement may unpack to: the servers' own limit of a packet.
const UNPACKED_MAX: u64 = 1 << 30;

impl QueryEvent {
    /// `foreign_key_checks` of the session, if it is known.
    pub fn foreign_key_checks(&self) -> Option<bool> {
        self.flags2.map(|flags| flags & NO_FOREIGN_KEY_CHECKS == 0)
    }

    /// `unique_checks` of the session, if it is known.
    pub fn unique_checks(&self) -> Option<bool> {
        self.flags2.map(|flags| flags & RELAXED_UNIQUE_CHECKS == 0)
    }

    /// The statement as text, decoded from the client's character set; `None` when that character set is not
    /// one of ASCII, UTF-8 or latin1 and the statement has characters beyond ASCII.
    pub fn sql_text(&self) -> Option<Cow<'_, str>> {
        let client = self.client_collation.as_ref().map_or("utf8mb4", |collation| collation.charset.as_ref());
        charset::decode(client, &self.sql)
    }

    /// The statement as it is to be read when it stands inside a transaction: what the server writes there is the
    /// `CREATE TABLE` of a `CREATE TABLE … SELECT`, made by itself, in UTF-8 and with backslashes as escapes, although the
    /// session's character set and `sql_mode` (`NO_BACKSLASH_ESCAPES`) are named beside it (seen on MariaDB 10.11 and
    /// MySQL 9.7).
    pub fn inside_transaction(&self) -> Cow<'_, Self> {
        let verb = self.sql.trim_ascii_start().get(..6).unwrap_or_default();
        let generated = verb.eq_ignore_ascii_case(b"CREATE") && std::str::from_utf8(&self.sql).is_ok();
        let is_encoded = self.client_collation.is_some() && !self.sql.is_ascii();
        let is_escaped =
            self.sql_mode.is_some_and(|mode| mode & NO_BACKSLASH_ESCAPES != 0) && self.sql.contains(&b'\\');
        if !generated || !(is_encoded || is_escaped) {
            return Cow::Borrowed(self);
        }
        let mut event = self.clone();
        if is_encoded {
            event.client_collation = None;
        }
        event.sql_mode = event.sql_mode.map(|mode| mode & !NO_BACKSLASH_ESCAPES);
        Cow::Owned(event)
    }

    pub(super) fn parse(body: &Bytes, compressed: bool, collations: &Collations) -> Parsed<Self> {
        let mut cursor = Cursor::new(body);
        let mut event = Self { thread_id: cursor.u32()?, exec_seconds: cursor.u32()?, ..Self::default() };
        let schema_len = cursor.u8()?;
        event.error_code = cursor.u16()?;
        let status_len = cursor.u16()?;
        let status = cursor.take(status_len.into())?;
        event.schema = text(cursor.take(schema_len.into())?);
        cursor.nul()?;
        let sql = cursor.rest();
        event.sql = if compressed { unpack(sql)? } else { share(body, sql) };
        event.parse_status(status, collations)?;
        Ok(event)
    }

    /// The status variables have no lengths, so the first unknown one ends the parse; it is remembered.
    fn parse_status(&mut self, status: &[u8], collations: &Collations) -> Parsed<()> {
        let mut cursor = Cursor::new(status);
        while !cursor.is_empty() {
            match cursor.u8()? {
                0 => self.flags2 = Some(cursor.u32()?),
                1 => self.sql_mode = Some(cursor.u64()?),
                2 => {
                    cursor.short_string()?;
                    cursor.nul()?;
                }
                3 => self.auto_increment = Some((cursor.u16()?, cursor.u16()?)),
                4 => {
                    self.client_collation = collations.get(cursor.u16()?.into());
                    self.collation_connection = collations.get(cursor.u16()?.into());
                    self.collation_server = collations.get(cursor.u16()?.into());
                }
                5 => self.time_zone = Some(text(cursor.short_string()?)),
                6 => {
                    cursor.short_string()?;
                }
                7 => self.lc_time_names = Some(cursor.u16()?),
                8 => self.collation_database = collations.get(cursor.u16()?.into()),
                9 => {
                    cursor.u64()?;
                }
                10 => {
                    cursor.u32()?;
                }
                11 => {
                    let user = text(cursor.short_string()?);
                    self.invoker = Some((user, text(cursor.short_string()?)));
                }
                12 => {
                    let count = cursor.u8()?;
                    if count != TOO_MANY_SCHEMAS {
                        let mut schemas = Vec::with_capacity(count.into());
                        for _ in 0..count {
                            schemas.push(text(cursor.nul_string()?));
                        }
                        self.updated_schemas = Some(schemas);
                    }
                }
                13 | 128 => self.microseconds = Some(cursor.u24()?),
                16 => self.explicit_defaults_for_timestamp = Some(cursor.u8()? != 0),
                17 | 129 => self.ddl_xid = Some(cursor.u64()?),
                18 => self.default_collation_for_utf8mb4 = collations.get(cursor.u16()?.into()),
                19 => self.sql_require_primary_key = Some(cursor.u8()? != 0),
                20 => {
                    cursor.u8()?;
                }
                130 => {
                    // Extra flags of a GTID; a start-alter number follows COMMIT ALTER and ROLLBACK ALTER.
                    if cursor.u8()? & 0b1100 != 0 {
                        cursor.u64()?;
                    }
                }
                131 => {
                    let count = cursor.u8()?;
                    for _ in 0..count {
                        let charset = collations.get(cursor.u16()?.into());
                        self.character_set_collations.push((charset, collations.get(cursor.u16()?.into())));
                    }
                }
                unknown => {
                    self.unknown_status = Some(unknown);
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Unpacks MariaDB's compressed form: `0x80 | algorithm << 4 | n`, the length in n big-endian bytes, zlib data.
pub(crate) fn unpack(packed: &[u8]) -> Parsed<Bytes> {
    let mut cursor = Cursor::new(packed);
    let head = cursor.u8()?;
    let algorithm = (head & 0x70) >> 4;
    if head & 0x80 == 0 || algorithm != 0 {
        return Err(Malformed::new(format!("compression header {head:#x}")));
    }
    let len = cursor.uint_be(usize::from(head & 0x07))?;
    if len > UNPACKED_MAX {
        return Err(Malformed::new(format!("unpacked length {len}")));
    }
    unzlib(cursor.rest(), len)
}

/// Inflates zlib data that must have exactly this unpacked length.
pub(crate) fn unzlib(packed: &[u8], len: u64) -> Parsed<Bytes> {
    // The announced length is foreign: memory grows with what is really there.
    let mut out = Vec::with_capacity(usize::try_from(len.min(1 << 16)).unwrap_or(0));
    flate2::read::ZlibDecoder::new(packed)
        .take(len + 1)
        .read_to_end(&mut out)
        .map_err(|error| Malformed::new(format!("compressed data: {error}")))?;
    if out.len() as u64 != len {
        return Err(Malformed::new(format!("compressed data of {} bytes, announced were {len}", out.len())));
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(status: &[u8], sql: &[u8]) -> Bytes {
        let mut body = vec![7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0];
        body.extend_from_slice(&u16::try_from(status.len()).unwrap().to_le_bytes());
        body.extend_from_slice(status);
        body.extend_from_slice(b"db\0");
        body.extend_from_slice(sql);
        body.into()
    }

    #[test]
    fn an_unknown_status_variable_stops_the_variables_not_the_statement() {
        let status = [&[1, 8, 0, 0, 0, 0, 0, 0, 0][..], &[200, 1, 2, 3], &[5, 1, b'x']].concat();
        let event = QueryEvent::parse(&event(&status, b"BEGIN"), false, &Collations::builtin()).unwrap();
        assert_eq!(event.sql_mode, Some(8));
        assert_eq!(event.unknown_status, Some(200));
        assert_eq!(event.time_zone, None);
        assert_eq!((event.schema.as_str(), &event.sql[..]), ("db", &b"BEGIN"[..]));
        assert_eq!(event.thread_id, 7);
    }

    #[test]
    fn a_lying_compressed_length_is_refused() {
        use std::io::Write;
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"INSERT INTO t VALUES (1)").unwrap();
        let zlib = zlib.finish().unwrap();
        let good = [&[0x81, 24][..], &zlib].concat();
        assert_eq!(&unpack(&good).unwrap()[..], b"INSERT INTO t VALUES (1)");
        for len in [0, 23, 25, 255] {
            assert!(unpack(&[&[0x81, len][..], &zlib].concat()).is_err());
        }
        for cut in 0..good.len() - 1 {
            assert!(unpack(&good[..cut]).is_err(), "cut at {cut}");
        }
    }
}
