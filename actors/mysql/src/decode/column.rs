//! One column: how its bytes are laid out and what they mean.

use std::io::Read;

use bytes::Bytes;

use super::{DecodeError, DecodeErrorKind, decimal, json, temporal};
use crate::{
    binlog::{Cursor, Malformed, TableMap, share, unzlib, wire},
    charset,
    table::{ColumnInfo, ColumnType},
    value::Value,
};

/// Most bytes a compressed column may unpack to.
const UNPACKED_MAX: u64 = 1 << 30;

/// A column's part of a decoder.
#[derive(Debug, Clone)]
pub(super) struct ColumnPlan {
    pub name: String,
    pub generated: bool,
    layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Int {
        bytes: u8,
        unsigned: bool,
    },
    Float,
    Double,
    Year,
    Date,
    TimeOld,
    TimeHires(u8),
    Time2(u8),
    DateTimeOld,
    DateTimeHires(u8),
    DateTime2(u8),
    TimestampOld,
    TimestampHires(u8),
    Timestamp2(u8),
    Decimal {
        precision: u8,
        scale: u8,
    },
    Bit(u8),
    Enum(u8),
    Set(u8),
    /// Length in so many bytes, then the value.
    Bytes {
        len: u8,
    },
    /// The same, written without trailing zeros that belong to the value.
    Padded {
        len: u8,
        size: u32,
    },
    /// MariaDB's UUID, written in another order of its parts.
    Uuid {
        len: u8,
    },
    /// MariaDB's compressed column.
    Compressed {
        len: u8,
    },
    Json {
        len: u8,
    },
    /// Text that is JSON because the target's column is (MariaDB has JSON as text).
    JsonText {
        len: u8,
    },
}

impl ColumnPlan {
    pub fn new(map: &TableMap, index: usize, column: &ColumnInfo) -> Result<Self, DecodeError> {
        let mismatch = |what: String| DecodeError::new(DecodeErrorKind::Mismatch, Some(&column.name), what);
        let (wire_type, meta) =
            map.column(index).ok_or_else(|| mismatch("is not in the table map".to_owned()))?;
        if let Some(name) = map.column_names().and_then(|names| names.get(index))
            && name.to_lowercase() != column.name.to_lowercase()
        {
            return Err(mismatch(format!("is column `{name}` in the binlog")));
        }
        check_charset(map, index, column)?;
        let layout = layout(map, index, wire_type, meta, column)?.ok_or_else(|| {
            mismatch(format!("is {} here, and of binlog type {wire_type} ({meta})", column.column_type_text))
        })?;
        Ok(Self { name: column.name.clone(), generated: column.generated, layout })
    }

    /// Whether it is JSON in binary form.
    pub fn is_json(&self) -> bool {
        matches!(self.layout, Layout::Json { .. })
    }

    /// Reads a JSON value as it stands there.
    pub fn json_document<'a>(&self, cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
        match self.layout {
            Layout::Json { len } => prefixed(cursor, len),
            _ => Err(Malformed::new("a column that is no JSON")),
        }
    }

    /// Reads a value that is not NULL.
    #[inline]
    pub fn read(&self, cursor: &mut Cursor<'_>, rows: &Bytes) -> Result<Value, Malformed> {
        Ok(match self.layout {
            Layout::Int { bytes, unsigned: true } => Value::UInt(cursor.uint(bytes.into())?),
            Layout::Int { bytes, unsigned: false } => {
                let shift = 64 - 8 * u32::from(bytes);
                // Up and down again: the shift down repeats the sign bit.
                Value::Int((cursor.uint(bytes.into())? << shift) as i64 >> shift)
            }
            Layout::Float => {
                let number = f32::from_bits(cursor.u32()?);
                if !number.is_finite() {
                    return Err(Malformed::new("FLOAT that is no number"));
                }
                Value::Float(number)
            }
            Layout::Double => {
                let number = f64::from_bits(cursor.u64()?);
                if !number.is_finite() {
                    return Err(Malformed::new("DOUBLE that is no number"));
                }
                Value::Double(number)
            }
            Layout::Year => match cursor.u8()? {
                0 => Value::Year(0),
                year => Value::Year(1900 + u16::from(year)),
            },
            Layout::Date => Value::Date(temporal::date(cursor)?),
            Layout::TimeOld => Value::Time(temporal::time(cursor)?),
            Layout::TimeHires(fsp) => Value::Time(temporal::time_hires(cursor, fsp)?),
            Layout::Time2(fsp) => Value::Time(temporal::time2(cursor, fsp)?),
            Layout::DateTimeOld => Value::DateTime(temporal::datetime(cursor)?),
            Layout::DateTimeHires(fsp) => Value::DateTime(temporal::datetime_hires(cursor, fsp)?),
            Layout::DateTime2(fsp) => Value::DateTime(temporal::datetime2(cursor, fsp)?),
            Layout::TimestampOld => Value::Timestamp(temporal::timestamp(cursor)?),
            Layout::TimestampHires(fsp) => Value::Timestamp(temporal::timestamp_hires(cursor, fsp)?),
            Layout::Timestamp2(fsp) => Value::Timestamp(temporal::timestamp2(cursor, fsp)?),
            Layout::Decimal { precision, scale } => {
                Value::Decimal(decimal::decimal(cursor, precision, scale)?)
            }
            Layout::Bit(bytes) => Value::Bit(cursor.uint_be(bytes.into())?),
            // One or two bytes: fits.
            Layout::Enum(bytes) => Value::Enum(cursor.uint(bytes.into())? as u16),
            Layout::Set(bytes) => Value::Set(cursor.uint(bytes.into())?),
            Layout::Bytes { len } => Value::Bytes(share(rows, prefixed(cursor, len)?)),
            Layout::Padded { len, size } => Value::Bytes(padded(rows, prefixed(cursor, len)?, size)?),
            Layout::Uuid { len } => Value::Bytes(uuid(&padded(rows, prefixed(cursor, len)?, 16)?)),
            Layout::Compressed { len } => Value::Bytes(decompress(rows, prefixed(cursor, len)?)?),
            Layout::Json { len } => {
                let document = prefixed(cursor, len)?;
                match json::to_text(document)? {
                    (text, true) => Value::Json(text),
                    (_, false) => Value::JsonBinary(share(rows, document)),
                }
            }
            Layout::JsonText { len } => Value::Json(share(rows, prefixed(cursor, len)?)),
        })
    }
}

/// A document in binary form as a value.
pub(super) fn json_value(document: &Bytes) -> Result<Value, Malformed> {
    Ok(match json::to_text(document)? {
        (text, true) => Value::Json(text),
        (_, false) => Value::JsonBinary(document.clone()),
    })
}

/// Where the source tells a column's character set, it must be that of our description: the bytes would mean
/// something else otherwise.
fn check_charset(map: &TableMap, index: usize, column: &ColumnInfo) -> Result<(), DecodeError> {
    let (Some(source), Some(own)) = (map.collation(index), &column.charset) else { return Ok(()) };
    // Of an ENUM or SET only the number of the member travels.
    let by_number = matches!(column.data_type, ColumnType::Enum(_) | ColumnType::Set(_));
    if by_number || charset::same(&source.charset, own) {
        return Ok(());
    }
    Err(DecodeError::new(
        DecodeErrorKind::Mismatch,
        Some(&column.name),
        format!("has character set {} in the binlog and {own} here", source.charset),
    ))
}

/// The layout of a column; `None` when its type in the binlog cannot be that of the description.
fn layout(
    map: &TableMap,
    index: usize,
    wire_type: u8,
    meta: u16,
    column: &ColumnInfo,
) -> Result<Option<Layout>, DecodeError> {
    use ColumnType as T;
    let [low, high] = meta.to_le_bytes();
    let own = &column.data_type;
    let fsp = match own {
        T::Time(fsp) | T::DateTime(fsp) | T::Timestamp(fsp) => *fsp,
        _ => 0,
    };
    let two_if = |limit: bool| if limit { 2 } else { 1 };
    let layout = match wire_type {
        wire::TINY | wire::SHORT | wire::INT24 | wire::LONG | wire::LONGLONG => {
            let (bytes, same) = match wire_type {
                wire::TINY => (1, *own == T::TinyInt),
                wire::SHORT => (2, *own == T::SmallInt),
                wire::INT24 => (3, *own == T::MediumInt),
                wire::LONG => (4, *own == T::Int),
                _ => (8, *own == T::BigInt),
            };
            match map.unsigned(index) {
                // The source says it itself: also right for a column that is wider here.
                Some(unsigned) if own.is_integer() => Layout::Int { bytes, unsigned },
                None if same => Layout::Int { bytes, unsigned: column.unsigned },
                _ => return Ok(None),
            }
        }
        wire::FLOAT if matches!(own, T::Float | T::Double) && low == 4 => Layout::Float,
        // A FLOAT would lose digits.
        wire::DOUBLE if *own == T::Double && low == 8 => Layout::Double,
        wire::YEAR if *own == T::Year => Layout::Year,
        wire::DATE | wire::NEWDATE if *own == T::Date => Layout::Date,
        wire::TIME if matches!(own, T::Time(_)) => match fsp {
            0 => Layout::TimeOld,
            fsp => Layout::TimeHires(fsp),
        },
        wire::DATETIME if matches!(own, T::DateTime(_)) => match fsp {
            0 => Layout::DateTimeOld,
            fsp => Layout::DateTimeHires(fsp),
        },
        wire::TIMESTAMP if matches!(own, T::Timestamp(_)) => match fsp {
            0 => Layout::TimestampOld,
            fsp => Layout::TimestampHires(fsp),
        },
        // Fewer digits here would round.
        wire::TIME2 | wire::DATETIME2 | wire::TIMESTAMP2 if low > 6 || low > fsp => return Ok(None),
        wire::TIME2 if matches!(own, T::Time(_)) => Layout::Time2(low),
        wire::DATETIME2 if matches!(own, T::DateTime(_)) => Layout::DateTime2(low),
        wire::TIMESTAMP2 if matches!(own, T::Timestamp(_)) => Layout::Timestamp2(low),
        wire::NEWDECIMAL => match *own {
            T::Decimal { precision, scale } if scale == high && precision >= low => {
                Layout::Decimal { precision: low, scale: high }
            }
            _ => return Ok(None),
        },
        wire::BIT if matches!(own, T::Bit(_)) => {
            let bytes = high.saturating_add(u8::from(low > 0));
            if bytes > 8 {
                return Ok(None);
            }
            Layout::Bit(bytes)
        }
        wire::ENUM => match own {
            T::Enum(members) if matches!(meta, 1 | 2) && meta <= enum_bytes(members.len()) => {
                check_members(map, index, column, members)?;
                Layout::Enum(low)
            }
            _ => return Ok(None),
        },
        wire::SET => match own {
            T::Set(members) if matches!(meta, 1..=8) && meta <= set_bytes(members.len()) => {
                check_members(map, index, column, members)?;
                Layout::Set(low)
            }
            _ => return Ok(None),
        },
        wire::STRING => {
            let len = two_if(meta > 255);
            match own {
                T::Char(width) if char_fits(meta, *width) => Layout::Bytes { len },
                T::Binary(_) => Layout::Padded { len, size: meta.into() },
                T::Inet4 if meta == 4 => Layout::Padded { len, size: 4 },
                T::Inet6 if meta == 16 => Layout::Padded { len, size: 16 },
                T::Uuid if meta == 16 => Layout::Uuid { len },
                _ => return Ok(None),
            }
        }
        wire::VARCHAR | wire::VAR_STRING => {
            let len = two_if(meta > 255);
            match own {
                T::Json => Layout::JsonText { len },
                _ if takes_bytes(own) => Layout::Bytes { len },
                _ => return Ok(None),
            }
        }
        wire::TINY_BLOB | wire::MEDIUM_BLOB | wire::LONG_BLOB | wire::BLOB if matches!(low, 1..=4) => {
            match own {
                T::Json => Layout::JsonText { len: low },
                _ if takes_bytes(own) => Layout::Bytes { len: low },
                _ => return Ok(None),
            }
        }
        wire::BLOB_COMPRESSED if matches!(low, 1..=4) && takes_bytes(own) => Layout::Compressed { len: low },
        wire::VARCHAR_COMPRESSED if takes_bytes(own) => Layout::Compressed { len: two_if(meta > 255) },
        wire::GEOMETRY if matches!(own, T::Geometry(_)) && matches!(low, 1..=4) => Layout::Bytes { len: low },
        wire::VECTOR if matches!(own, T::Vector(_)) && matches!(low, 1..=4) => Layout::Bytes { len: low },
        wire::JSON if matches!(low, 1..=4) && (*own == T::Json || own.is_text()) => Layout::Json { len: low },
        wire::DECIMAL | wire::NULL | wire::TYPED_ARRAY => {
            return Err(DecodeError::new(
                DecodeErrorKind::Unsupported,
                Some(&column.name),
                format!("binlog type {wire_type} cannot be decoded"),
            ));
        }
        _ => return Ok(None),
    };
    Ok(Some(layout))
}

/// Bytes that the number of an ENUM's member takes.
fn enum_bytes(members: usize) -> u16 {
    if members < 256 { 1 } else { 2 }
}

/// Bytes of a SET's bits.
fn set_bytes(members: usize) -> u16 {
    match members.div_ceil(8) {
        bytes @ 1..=4 => bytes as u16,
        0 => 1,
        _ => 8,
    }
}

/// Types whose values are bytes of any length. CHAR is none: it drops trailing blanks.
fn takes_bytes(own: &ColumnType) -> bool {
    use ColumnType as T;
    own.is_text() && !matches!(own, T::Char(_))
        || matches!(
            own,
            T::VarBinary(_)
                | T::TinyBlob
                | T::Blob
                | T::MediumBlob
                | T::LongBlob
                | T::Vector(_)
                | T::Other(_)
        )
}

/// Whether a string of so many bytes can be a CHAR of so many characters. MariaDB writes INET4, INET6 and UUID,
/// which are no text, as strings of 4 and 16 bytes: their like is not taken for text by mistake.
fn char_fits(bytes: u16, width: u32) -> bool {
    let bytes = u32::from(bytes);
    !matches!(bytes, 4 | 16) || (1..=4).any(|per_character| width * per_character == bytes)
}

/// The members a source tells must be a prefix of ours, or the other way round: their numbers are what travels.
fn check_members(
    map: &TableMap,
    index: usize,
    column: &ColumnInfo,
    own: &[String],
) -> Result<(), DecodeError> {
    let Some(source) = map.members(index) else { return Ok(()) };
    for (place, (source, own)) in source.iter().zip(own).enumerate() {
        // In another character set than ASCII or UTF-8 they cannot be compared here.
        let comparable = match std::str::from_utf8(source) {
            Ok(text)
                if source.is_ascii()
                    || map.collation(index).is_some_and(|it| charset::is_utf8(&it.charset)) =>
            {
                text
            }
            _ => continue,
        };
        if comparable != own {
            return Err(DecodeError::new(
                DecodeErrorKind::Mismatch,
                Some(&column.name),
                format!("member number {} differs from the source's", place + 1),
            ));
        }
    }
    Ok(())
}

/// A value behind its length.
#[inline]
fn prefixed<'a>(cursor: &mut Cursor<'a>, len: u8) -> Result<&'a [u8], Malformed> {
    // At most four bytes: fits.
    let len = cursor.uint(len.into())? as usize;
    cursor.take(len)
}

/// BINARY(n) is written without its trailing zeros, which do belong to the value.
fn padded(rows: &Bytes, value: &[u8], size: u32) -> Result<Bytes, Malformed> {
    let size = size as usize;
    match value.len() {
        len if len == size => Ok(share(rows, value)),
        len if len > size => Err(Malformed::new(format!("{len} bytes in a BINARY({size})"))),
        _ => {
            let mut whole = value.to_vec();
            whole.resize(size, 0);
            Ok(whole.into())
        }
    }
}

/// MariaDB keeps a UUID of versions 1 to 5 with its parts in reverse order, so that they sort by time. Which
/// order was used shows in the variant and version bits, as the server itself tells them apart.
fn uuid(stored: &[u8]) -> Bytes {
    let Ok(bytes) = <[u8; 16]>::try_from(stored) else { return Bytes::copy_from_slice(stored) };
    // In reversed order the variant is in byte 6 and the version in byte 8.
    let reversed = bytes[6] & 0x80 != 0 && (1..=0x80).contains(&bytes[8]);
    if !reversed {
        return Bytes::copy_from_slice(&bytes);
    }
    let parts = [&bytes[12..16], &bytes[10..12], &bytes[8..10], &bytes[6..8], &bytes[0..6]];
    parts.concat().into()
}

/// MariaDB's compressed column: nothing for an empty value, 0 before an uncompressed one, else a byte with the
/// method, whether zlib's wrapper is missing, and how many bytes of length follow.
fn decompress(rows: &Bytes, packed: &[u8]) -> Result<Bytes, Malformed> {
    const METHOD: u8 = 0xf0;
    const ZLIB: u8 = 0x80;
    const RAW: u8 = 0x08;
    let Some((head, rest)) = packed.split_first() else { return Ok(Bytes::new()) };
    if *head == 0 {
        return Ok(share(rows, rest));
    }
    if head & METHOD != ZLIB {
        return Err(Malformed::new(format!("compression header {head:#x} of a column")));
    }
    let mut cursor = Cursor::new(rest);
    let len = cursor.uint_be(usize::from(head & 0x07))?;
    if len > UNPACKED_MAX {
        return Err(Malformed::new(format!("compressed column of {len} bytes")));
    }
    let packed = cursor.rest();
    if head & RAW == 0 {
        return unzlib(packed, len);
    }
    let mut out = Vec::new();
    flate2::read::DeflateDecoder::new(packed)
        .take(len + 1)
        .read_to_end(&mut out)
        .map_err(|error| Malformed::new(format!("compressed column: {error}")))?;
    if out.len() as u64 != len {
        return Err(Malformed::new("compressed column is not as long as it says"));
    }
    Ok(out.into())
}
