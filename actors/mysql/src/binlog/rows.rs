//! Rows events: changes of rows of one table.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    cursor::{Cursor, Malformed, Parsed, share},
    query::unpack,
    table_map::TableMap,
};

/// What a rows event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsKind {
    /// Rows appear.
    Insert,
    /// Rows change: pairs of images.
    Update,
    /// Rows vanish.
    Delete,
}

/// Row changes of one table, not decoded yet.
#[derive(Debug, Clone)]
pub struct RowsEvent {
    /// The table.
    pub table: Arc<TableMap>,
    /// What happens to its rows.
    pub kind: RowsKind,
    /// The last rows event of its statement.
    pub statement_end: bool,
    /// The session had `foreign_key_checks=0`.
    pub no_foreign_key_checks: bool,
    /// The server carries out the actions of foreign keys above the engine and logs what they change (MySQL from 9.6 on,
    /// unless `innodb_native_foreign_keys=ON`).
    pub sql_foreign_keys: bool,
    /// The session had `unique_checks=0`.
    pub relaxed_unique_checks: bool,
    /// The images after the change have differences instead of some JSON documents.
    pub(crate) partial: bool,
    /// Which columns are in the (first) image: one bit each, lowest first.
    pub(crate) present: Bytes,
    /// Which columns are in the second image of an update.
    pub(crate) present_after: Bytes,
    /// The images.
    pub(crate) rows: Bytes,
}

const STATEMENT_END: u16 = 1;
const NO_FOREIGN_KEY_CHECKS: u16 = 2;
const RELAXED_UNIQUE_CHECKS: u16 = 4;
/// MySQL: `USE_SQL_FOREIGN_KEY_F`, as mysqlbinlog calls it.
const SQL_FOREIGN_KEYS: u16 = 16;

impl RowsEvent {
    /// Bytes of the images, as a measure of how much work the event is.
    pub fn byte_len(&self) -> usize {
        self.rows.len()
    }

    /// The table number of a rows event body.
    pub(super) fn table_id(body: &[u8], id_len: usize) -> Parsed<u64> {
        Cursor::new(body).uint(id_len)
    }

    /// `v2` events have a variable-length header part, which is skipped: it holds NDB and partitioning data.
    pub(super) fn parse(
        body: &Bytes,
        table: Arc<TableMap>,
        kind: RowsKind,
        id_len: usize,
        v2: bool,
        compressed: bool,
    ) -> Parsed<Self> {
        let mut cursor = Cursor::new(body);
        cursor.uint(id_len)?;
        let flags = cursor.u16()?;
        if v2 {
            let extra = cursor.u16()?;
            let extra =
                usize::from(extra).checked_sub(2).ok_or_else(|| Malformed::new("extra data length"))?;
            cursor.take(extra)?;
        }
        let width = cursor.lenenc_len()?;
        if width != table.column_count {
            return Err(Malformed::new(format!(
                "rows of {width} columns for {} with {}",
                table.name, table.column_count
            )));
        }
        let bitmap = width.div_ceil(8);
        let present = share(body, cursor.take(bitmap)?);
        let present_after =
            if kind == RowsKind::Update { share(body, cursor.take(bitmap)?) } else { present.clone() };
        let rest = cursor.rest();
        let rows = if compressed { unpack(rest)? } else { share(body, rest) };
        Ok(Self {
            table,
            kind,
            statement_end: flags & STATEMENT_END != 0,
            no_foreign_key_checks: flags & NO_FOREIGN_KEY_CHECKS != 0,
            sql_foreign_keys: flags & SQL_FOREIGN_KEYS != 0,
            relaxed_unique_checks: flags & RELAXED_UNIQUE_CHECKS != 0,
            partial: false,
            present,
            present_after,
            rows,
        })
    }
}
