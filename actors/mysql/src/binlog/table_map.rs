//! TABLE_MAP events: which table the following row changes are of, and how its columns are written.

use std::sync::Arc;

use bytes::Bytes;
use dmnode_model::TableName;

use super::cursor::{Cursor, Malformed, Parsed, share, text};
use crate::charset::{Collation, Collations};

/// Column types as they are numbered in the binlog.
pub(crate) mod wire {
    pub const DECIMAL: u8 = 0;
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    pub const TYPED_ARRAY: u8 = 20;
    pub const BLOB_COMPRESSED: u8 = 140;
    pub const VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINY_BLOB: u8 = 249;
    pub const MEDIUM_BLOB: u8 = 250;
    pub const LONG_BLOB: u8 = 251;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

/// Description of a table for the rows events that follow.
#[derive(Debug, Clone)]
pub struct TableMap {
    /// The number by which rows events refer to it.
    pub table_id: u64,
    /// When the statement began on the source, in seconds since 1970.
    pub timestamp: u32,
    /// The table's name on the source.
    pub name: TableName,
    /// Number of columns.
    pub column_count: usize,
    /// Type number per column.
    pub(crate) types: Bytes,
    /// Type parameter per column: one or two bytes, the first in the low half.
    pub(crate) metas: Vec<u16>,
    /// Optional metadata (`binlog_row_metadata`); what the source did not write is `None` or empty.
    pub(crate) optional: OptionalMetadata,
}

/// What sources with `binlog_row_metadata` MINIMAL or FULL tell beyond the types.
#[derive(Debug, Clone, Default)]
pub(crate) struct OptionalMetadata {
    /// Per numeric column: unsigned.
    pub unsigned: Option<Vec<bool>>,
    /// Per column: collation of text columns.
    pub collations: Option<Vec<Option<Collation>>>,
    /// Column names.
    pub names: Option<Vec<String>>,
    /// Columns of the primary key, with prefix length (0 for the whole column).
    pub primary_key: Option<Vec<(usize, u64)>>,
    /// Per column: members of ENUM and SET columns in the column's character set.
    pub members: Option<Vec<Option<Vec<Bytes>>>>,
    /// Per column: visible.
    pub visible: Option<Vec<bool>>,
}

impl TableMap {
    /// Whether the columns are those of a sequence of MariaDB. A table can have the same ones.
    pub fn is_like_a_sequence(&self) -> bool {
        const CYCLE_OPTION: usize = 6;
        self.column_count == 8
            && self
                .types
                .iter()
                .enumerate()
                .all(|(index, kind)| *kind == if index == CYCLE_OPTION { wire::TINY } else { wire::LONGLONG })
    }

    /// Whether there are columns for the times of a row's versions.
    pub fn has_two_exact_timestamps(&self) -> bool {
        let exact = |(kind, meta): &(&u8, &u16)| **kind == wire::TIMESTAMP2 && **meta == 6;
        self.types.iter().zip(&self.metas).filter(exact).count() >= 2
    }

    /// Names of the columns, when the source writes them (`binlog_row_metadata=FULL`).
    pub fn column_names(&self) -> Option<&[String]> {
        self.optional.names.as_deref()
    }

    /// Indexes of the primary key's columns, when the source writes them (`binlog_row_metadata=FULL`).
    pub fn primary_key(&self) -> Option<Vec<usize>> {
        let key = self.optional.primary_key.as_ref()?;
        Some(key.iter().map(|(index, _)| *index).collect())
    }

    /// Which columns are visible, when the source writes it (`binlog_row_metadata=FULL`, MySQL).
    pub fn visible(&self) -> Option<&[bool]> {
        self.optional.visible.as_deref()
    }

    /// Members of an ENUM or SET column in its character set, when the source writes them.
    pub fn members(&self, column: usize) -> Option<&[Bytes]> {
        self.optional.members.as_ref()?.get(column)?.as_deref()
    }

    /// Collation of a text column, when the source writes it.
    pub fn collation(&self, column: usize) -> Option<&Collation> {
        self.optional.collations.as_ref()?.get(column)?.as_ref()
    }

    /// Whether a numeric column is unsigned, when the source writes it.
    pub fn unsigned(&self, column: usize) -> Option<bool> {
        let numeric = *self.types.get(column)?;
        if !is_numeric(numeric) {
            return None;
        }
        self.optional.unsigned.as_ref()?.get(column).copied()
    }

    /// Type and parameter of a column. ENUM and SET, which hide behind STRING, come out as themselves, and so
    /// does the length of a long CHAR.
    pub(crate) fn column(&self, index: usize) -> Option<(u8, u16)> {
        Some(real_type(*self.types.get(index)?, *self.metas.get(index)?))
    }

    pub(super) fn parse(
        timestamp: u32,
        body: &Bytes,
        id_len: usize,
        mariadb: bool,
        collations: &Collations,
    ) -> Parsed<Arc<Self>> {
        let mut cursor = Cursor::new(body);
        let table_id = cursor.uint(id_len)?;
        let _flags = cursor.u16()?;
        let schema = text(cursor.short_string()?);
        cursor.nul()?;
        let table = text(cursor.short_string()?);
        cursor.nul()?;
        let column_count = cursor.lenenc_len()?;
        let types = share(body, cursor.take(column_count)?);
        let meta_len = cursor.lenenc_len()?;
        let metas = parse_metas(&types, cursor.take(meta_len)?)?;
        cursor.take(column_count.div_ceil(8))?;
        let optional = parse_optional(body, cursor, &types, &metas, (!mariadb).then_some(collations))?;
        let name = TableName::new(schema, table);
        Ok(Arc::new(Self { table_id, timestamp, name, column_count, types, metas, optional }))
    }
}

/// See [`TableMap::column`].
fn real_type(wire_type: u8, meta: u16) -> (u8, u16) {
    if wire_type != wire::STRING {
        return (wire_type, meta);
    }
    let [byte0, byte1] = meta.to_le_bytes();
    // The two high bits of a length above 255 are hidden, inverted, in bits 4 and 5 of the type.
    if byte0 & 0x30 != 0x30 {
        let length = u16::from(byte1) | (u16::from((byte0 & 0x30) ^ 0x30) << 4);
        return (byte0 | 0x30, length);
    }
    match byte0 {
        wire::ENUM | wire::SET => (byte0, byte1.into()),
        wire::STRING => (wire::STRING, byte1.into()),
        // Old servers wrote no type here: the whole is the length.
        _ => (wire::STRING, byte1.into()),
    }
}

fn parse_metas(types: &[u8], meta: &[u8]) -> Parsed<Vec<u16>> {
    let mut cursor = Cursor::new(meta);
    let mut metas = Vec::with_capacity(types.len());
    for wire_type in types {
        metas.push(match *wire_type {
            wire::FLOAT
            | wire::DOUBLE
            | wire::TINY_BLOB
            | wire::MEDIUM_BLOB
            | wire::LONG_BLOB
            | wire::BLOB
            | wire::BLOB_COMPRESSED
            | wire::GEOMETRY
            | wire::JSON
            | wire::VECTOR
            | wire::TIMESTAMP2
            | wire::DATETIME2
            | wire::TIME2 => cursor.u8()?.into(),
            wire::VARCHAR
            | wire::VARCHAR_COMPRESSED
            | wire::VAR_STRING
            | wire::BIT
            | wire::NEWDECIMAL
            | wire::ENUM
            | wire::SET
            | wire::STRING => cursor.u16()?,
            wire::DECIMAL
            | wire::TINY
            | wire::SHORT
            | wire::LONG
            | wire::NULL
            | wire::TIMESTAMP
            | wire::LONGLONG
            | wire::INT24
            | wire::DATE
            | wire::TIME
            | wire::DATETIME
            | wire::YEAR
            | wire::NEWDATE => 0,
            wire::TYPED_ARRAY => return Err(Malformed::new("column of type TYPED_ARRAY")),
            other => return Err(Malformed::new(format!("column type {other}"))),
        });
    }
    if cursor.is_empty() { Ok(metas) } else { Err(Malformed::new("more type parameters than columns")) }
}

fn is_numeric(wire_type: u8) -> bool {
    matches!(
        wire_type,
        wire::TINY
            | wire::SHORT
            | wire::INT24
            | wire::LONG
            | wire::LONGLONG
            | wire::NEWDECIMAL
            | wire::FLOAT
            | wire::DOUBLE
            | wire::YEAR
    )
}

/// Columns that a list of character sets speaks of: text, but not ENUM and SET, which have a list of their own.
fn is_character(wire_type: u8, meta: u16) -> bool {
    match real_type(wire_type, meta).0 {
        wire::STRING
        | wire::VAR_STRING
        | wire::VARCHAR
        | wire::VARCHAR_COMPRESSED
        | wire::BLOB_COMPRESSED
        | wire::TINY_BLOB
        | wire::MEDIUM_BLOB
        | wire::LONG_BLOB
        | wire::BLOB
        // A vector is listed with the character set binary.
        | wire::VECTOR => true,
        // GEOMETRY is written as a blob would be, but is not counted among the character columns.
        _ => false,
    }
}

fn is_enum_or_set(wire_type: u8, meta: u16) -> bool {
    matches!(real_type(wire_type, meta).0, wire::ENUM | wire::SET)
}

fn parse_optional(
    body: &Bytes,
    mut cursor: Cursor<'_>,
    types: &[u8],
    metas: &[u16],
    collations: Option<&Collations>,
) -> Parsed<OptionalMetadata> {
    let mut optional = OptionalMetadata::default();
    let columns = types.len();
    let matching = |of: fn(u8, u16) -> bool| -> Vec<usize> {
        (0..columns).filter(|index| of(types[*index], metas[*index])).collect()
    };
    while !cursor.is_empty() {
        let kind = cursor.u8()?;
        let len = cursor.lenenc_len()?;
        let mut field = Cursor::new(cursor.take(len)?);
        match kind {
            1 => {
                let numeric: Vec<usize> = (0..columns).filter(|index| is_numeric(types[*index])).collect();
                optional.unsigned = Some(spread_bits(&mut field, &numeric, columns)?);
            }
            // MariaDB counts other columns as character columns than MySQL does (INET6 and UUID among them, so
            // that the table map alone does not tell which is which): its lists are not used.
            2 | 3 | 10 | 11 if collations.is_none() => {}
            2 | 10 => {
                let Some(collations) = collations else { continue };
                let of = if kind == 2 { is_character } else { is_enum_or_set };
                let default = collations.get(collation_id(&mut field)?);
                let places = matching(of);
                let slots = optional.collations.get_or_insert_with(|| vec![None; columns]);
                for place in &places {
                    slots[*place].clone_from(&default);
                }
                while !field.is_empty() {
                    let index = field.lenenc_len()?;
                    let collation = collations.get(collation_id(&mut field)?);
                    let place =
                        places.get(index).ok_or_else(|| Malformed::new("character set of no column"))?;
                    slots[*place] = collation;
                }
            }
            3 | 11 => {
                let Some(collations) = collations else { continue };
                let of = if kind == 3 { is_character } else { is_enum_or_set };
                let slots = optional.collations.get_or_insert_with(|| vec![None; columns]);
                for place in matching(of) {
                    if field.is_empty() {
                        break;
                    }
                    slots[place] = collations.get(collation_id(&mut field)?);
                }
            }
            4 => {
                let mut names = Vec::with_capacity(columns);
                while !field.is_empty() {
                    let len = field.lenenc_len()?;
                    names.push(text(field.take(len)?));
                }
                if names.len() != columns {
                    return Err(Malformed::new("column names do not match the columns"));
                }
                optional.names = Some(names);
            }
            5 | 6 => {
                let of = |wire_type, meta| {
                    let wanted = if kind == 5 { wire::SET } else { wire::ENUM };
                    real_type(wire_type, meta).0 == wanted
                };
                let slots = optional.members.get_or_insert_with(|| vec![None; columns]);
                for (place, slot) in slots.iter_mut().enumerate() {
                    if !of(types[place], metas[place]) || field.is_empty() {
                        continue;
                    }
                    let count = field.lenenc_len()?;
                    let mut members = Vec::with_capacity(count.min(field.remaining()));
                    for _ in 0..count {
                        let len = field.lenenc_len()?;
                        members.push(share(body, field.take(len)?));
                    }
                    *slot = Some(members);
                }
            }
            8 | 9 => {
                let mut key = Vec::new();
                while !field.is_empty() {
                    let index = field.lenenc_len()?;
                    let prefix = if kind == 9 { field.lenenc()? } else { 0 };
                    if index >= columns {
                        return Err(Malformed::new("primary key over no column"));
                    }
                    key.push((index, prefix));
                }
                optional.primary_key = Some(key);
            }
            12 => {
                let all: Vec<usize> = (0..columns).collect();
                optional.visible = Some(spread_bits(&mut field, &all, columns)?);
            }
            // Geometry types (7), vector dimensions (13) and what later servers may add: nothing here depends on it.
            _ => {}
        }
    }
    Ok(optional)
}

/// A collation number in the optional metadata.
fn collation_id(field: &mut Cursor<'_>) -> Parsed<u32> {
    let id = field.lenenc()?;
    u32::try_from(id).map_err(|_| Malformed::new(format!("collation {id}")))
}

/// Bits, highest first, one for each of `places`; the others are false.
fn spread_bits(field: &mut Cursor<'_>, places: &[usize], columns: usize) -> Parsed<Vec<bool>> {
    let bits = field.take(places.len().div_ceil(8))?;
    let mut spread = vec![false; columns];
    for (bit, place) in places.iter().enumerate() {
        spread[*place] = bits[bit / 8] & (0x80 >> (bit % 8)) != 0;
    }
    Ok(spread)
}
