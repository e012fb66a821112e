//! JSON in MySQL's binary form, written as text or as an SQL expression.
//!
//! The text is the server's own: numbers keep all their digits, doubles look like doubles, and values that JSON
//! does not have (decimals, dates, binary strings) look as the server prints them. Read back by a server a decimal
//! would become a double (`1.10` becomes 1.1) and a date a string. So documents with such values are kept in
//! binary form and written as an expression of `JSON_OBJECT`, `JSON_ARRAY` and `CAST`, which keeps the types.

use bytes::Bytes;

use super::{decimal, temporal};
use crate::{
    binlog::{Cursor, Malformed},
    literal::{write_hex, write_text},
};

type Decoded<T> = Result<T, Malformed>;

/// The server refuses deeper documents.
const DEPTH_MAX: usize = 100;

pub(super) mod kind {
    pub const SMALL_OBJECT: u8 = 0;
    pub const LARGE_OBJECT: u8 = 1;
    pub const SMALL_ARRAY: u8 = 2;
    pub const LARGE_ARRAY: u8 = 3;
    pub const LITERAL: u8 = 4;
    pub const INT16: u8 = 5;
    pub const UINT16: u8 = 6;
    pub const INT32: u8 = 7;
    pub const UINT32: u8 = 8;
    pub const INT64: u8 = 9;
    pub const UINT64: u8 = 10;
    pub const DOUBLE: u8 = 11;
    pub const STRING: u8 = 12;
    pub const OPAQUE: u8 = 15;
}

/// MySQL's column types of opaque values.
mod opaque {
    pub const TIMESTAMP: u8 = 7;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const VARCHAR: u8 = 15;
    pub const NEWDECIMAL: u8 = 246;
    pub const VAR_STRING: u8 = 253;
}

/// A document as text, and whether the text says all there is in it.
pub(crate) fn to_text(document: &[u8]) -> Decoded<(Bytes, bool)> {
    let writer = write(document, Form::Text)?;
    Ok((writer.out.into(), !writer.beyond_text))
}

/// A document as an SQL expression of type JSON.
pub(crate) fn to_sql(document: &[u8]) -> Decoded<Vec<u8>> {
    // A function's result is JSON; a scalar has to be made so.
    let scalar = document.first().is_some_and(|kind| *kind > kind::LARGE_ARRAY);
    let mut out = write(document, Form::Sql)?.out;
    if scalar || document.is_empty() {
        out = [b"CAST(", &out[..], b" AS JSON)"].concat();
    }
    Ok(out)
}

fn write(document: &[u8], form: Form) -> Decoded<Writer> {
    // Values do not share bytes, so there are no more of them than bytes. A damaged document whose offsets run in
    // circles would otherwise grow without end.
    let values_left = document.len();
    let mut writer =
        Writer { out: Vec::with_capacity(values_left * 2), form, values_left, beyond_text: false };
    match document.split_first() {
        Some((kind, value)) => writer.value(*kind, value, 0)?,
        // What the server itself takes an empty column value for.
        None => writer.out.extend_from_slice(if form == Form::Text { b"null" } else { b"'null'" }),
    }
    Ok(writer)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Sql,
}

/// One more value of a document: values do not share bytes, so one whose offsets run in circles has too many.
pub(super) fn enter(values_left: &mut usize, depth: usize) -> Decoded<()> {
    *values_left =
        values_left.checked_sub(1).ok_or_else(|| Malformed::new("JSON document that refers to itself"))?;
    if depth > DEPTH_MAX {
        return Err(Malformed::new("JSON document too deep"));
    }
    Ok(())
}

struct Writer {
    out: Vec<u8>,
    form: Form,
    values_left: usize,
    /// A value was met whose type JSON text does not have.
    beyond_text: bool,
}

impl Writer {
    fn value(&mut self, value_kind: u8, data: &[u8], depth: usize) -> Decoded<()> {
        enter(&mut self.values_left, depth)?;
        let mut cursor = Cursor::new(data);
        match value_kind {
            kind::SMALL_OBJECT => self.container(data, true, 2, depth),
            kind::LARGE_OBJECT => self.container(data, true, 4, depth),
            kind::SMALL_ARRAY => self.container(data, false, 2, depth),
            kind::LARGE_ARRAY => self.container(data, false, 4, depth),
            kind::LITERAL => {
                let literal: &[u8] = match cursor.u8()? {
                    0 => b"null",
                    1 => b"true",
                    2 => b"false",
                    other => return Err(Malformed::new(format!("JSON literal {other}"))),
                };
                self.out.extend_from_slice(literal);
                Ok(())
            }
            kind::INT16 => self.number(cursor.u16()? as i16),
            kind::UINT16 => self.number(cursor.u16()?),
            kind::INT32 => self.number(cursor.u32()? as i32),
            kind::UINT32 => self.number(cursor.u32()?),
            kind::INT64 => self.number(cursor.u64()? as i64),
            kind::UINT64 => self.number(cursor.u64()?),
            kind::DOUBLE => {
                let number = f64::from_bits(cursor.u64()?);
                if !number.is_finite() {
                    return Err(Malformed::new("JSON number that is none"));
                }
                match self.form {
                    // Rust's debug form has all digits needed, and a point or an exponent.
                    Form::Text => self.number(format_args!("{number:?}")),
                    Form::Sql => self.number(format_args!("{number:e}")),
                }
            }
            kind::STRING => {
                let len = length(&mut cursor)?;
                self.string(cursor.take(len)?)
            }
            kind::OPAQUE => {
                let column_type = cursor.u8()?;
                let len = length(&mut cursor)?;
                self.opaque(column_type, cursor.take(len)?)
            }
            other => Err(Malformed::new(format!("JSON value of type {other}"))),
        }
    }

    /// Objects and arrays: count, size, then entries that hold small values themselves and the offsets of others.
    /// Offsets count from the start of the container.
    fn container(&mut self, data: &[u8], object: bool, width: usize, depth: usize) -> Decoded<()> {
        let mut cursor = Cursor::new(data);
        let count = offset(&mut cursor, width)?;
        let size = offset(&mut cursor, width)?;
        let data =
            data.get(..size).ok_or_else(|| Malformed::new("JSON container larger than the document"))?;
        let at = |start: usize| data.get(start..).ok_or_else(|| Malformed::new("JSON offset out of range"));
        let keys_len = if object { count.saturating_mul(width + 2) } else { 0 };
        let header = cursor.position();
        let mut keys = Cursor::new(at(header)?);
        let mut entries = Cursor::new(at(header.saturating_add(keys_len))?);
        let (open, close, colon): (&[u8], u8, &[u8]) = match (self.form, object) {
            (Form::Text, true) => (b"{", b'}', b": "),
            (Form::Text, false) => (b"[", b']', b""),
            (Form::Sql, true) => (b"JSON_OBJECT(", b')', b", "),
            (Form::Sql, false) => (b"JSON_ARRAY(", b')', b""),
        };
        self.out.extend_from_slice(open);
        for index in 0..count {
            if index > 0 {
                self.out.extend_from_slice(b", ");
            }
            if object {
                let start = offset(&mut keys, width)?;
                let len = usize::from(keys.u16()?);
                let key = at(start)?.get(..len).ok_or_else(|| Malformed::new("JSON key out of range"))?;
                self.string(key)?;
                self.out.extend_from_slice(colon);
            }
            let value_kind = entries.u8()?;
            let inline = matches!(value_kind, kind::LITERAL | kind::INT16 | kind::UINT16)
                || (width == 4 && matches!(value_kind, kind::INT32 | kind::UINT32));
            let entry = entries.take(width)?;
            if inline {
                self.value(value_kind, entry, depth + 1)?;
            } else {
                let start = offset(&mut Cursor::new(entry), width)?;
                self.value(value_kind, at(start)?, depth + 1)?;
            }
        }
        self.out.push(close);
        Ok(())
    }

    fn number(&mut self, number: impl std::fmt::Display) -> Decoded<()> {
        use std::io::Write as _;
        // Writing to a vector cannot fail.
        let _ = write!(self.out, "{number}");
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Decoded<()> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("JSON string is not UTF-8"))?;
        if self.form == Form::Sql {
            write_text(bytes, "utf8mb4", &mut self.out);
            return Ok(());
        }
        self.out.push(b'"');
        for byte in text.bytes() {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                0x09 => self.out.extend_from_slice(b"\\t"),
                0x0a => self.out.extend_from_slice(b"\\n"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                0x0d => self.out.extend_from_slice(b"\\r"),
                0..=0x1f => self.number(format_args!("\\u{byte:04x}"))?,
                byte => self.out.push(byte),
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    fn opaque(&mut self, column_type: u8, data: &[u8]) -> Decoded<()> {
        self.beyond_text = true;
        let mut cursor = Cursor::new(data);
        match column_type {
            opaque::NEWDECIMAL => {
                let (precision, scale) = (cursor.u8()?, cursor.u8()?);
                let text = decimal::decimal(&mut cursor, precision, scale)?;
                match self.form {
                    Form::Text => self.number(text),
                    // A number with a point is a DECIMAL of just these digits.
                    Form::Sql if scale > 0 => self.number(text),
                    Form::Sql => self.number(format_args!("{text}.")),
                }
            }
            opaque::DATE | opaque::DATETIME | opaque::TIMESTAMP | opaque::TIME => {
                // A packed integer whose low 24 bits are microseconds.
                let packed = cursor.u64()? as i64;
                let magnitude = packed.unsigned_abs();
                let (whole, micros) = (magnitude >> 24, magnitude & 0xff_ffff);
                let (text, sql_type) = match column_type {
                    opaque::DATE => (temporal::packed_date(whole), "DATE"),
                    opaque::TIME => (temporal::packed_time(packed < 0, whole, micros, 6), "TIME(6)"),
                    _ => (temporal::packed_datetime(whole, micros, 6), "DATETIME(6)"),
                };
                match self.form {
                    Form::Text => self.string(text.as_bytes()),
                    Form::Sql => self.number(format_args!("CAST('{text}' AS {sql_type})")),
                }
            }
            // What a hexadecimal literal becomes, in newer and older servers.
            opaque::VARCHAR | opaque::VAR_STRING if self.form == Form::Sql => {
                write_hex(data, &mut self.out);
                Ok(())
            }
            // No expression makes these from a literal; their text is kept.
            column_type => {
                let mut text = format!("base64:type{column_type}:").into_bytes();
                base64(data, &mut text);
                self.string(&text)
            }
        }
    }
}

fn offset(cursor: &mut Cursor<'_>, width: usize) -> Decoded<usize> {
    // Two or four bytes: fits.
    Ok(cursor.uint(width)? as usize)
}

/// A length in up to five bytes of seven bits each, lowest first.
pub(super) fn length(cursor: &mut Cursor<'_>) -> Decoded<usize> {
    let mut len = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = cursor.u8()?;
        len |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(len).map_err(|_| Malformed::new("JSON length"));
        }
    }
    Err(Malformed::new("JSON length of more than five bytes"))
}

fn base64(data: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in data.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            if index <= chunk.len() {
                out.push(ALPHABET[(group >> (18 - 6 * index) & 63) as usize]);
            } else {
                out.push(b'=');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &[u8]) -> String {
        String::from_utf8(to_text(document).unwrap().0.to_vec()).unwrap()
    }

    /// `{"a": [1, 70000, 1.5], "b": "x\"y"}` as the server stores it.
    fn document() -> Vec<u8> {
        let mut array = vec![3, 0, 0, 0, 5, 1, 0, 7, 13, 0, 11, 17, 0];
        array.extend(70_000i32.to_le_bytes());
        array.extend(1.5f64.to_le_bytes());
        let array_len = u16::try_from(array.len()).unwrap();
        array[2..4].copy_from_slice(&array_len.to_le_bytes());
        let mut object = vec![2, 0, 0, 0];
        let keys_at = 4 + 2 * 4 + 2 * 3;
        object.extend([keys_at, 0, 1, 0, keys_at + 1, 0, 1, 0]);
        let array_at = keys_at + 2;
        let string_at = array_at + u8::try_from(array.len()).unwrap();
        object.extend([2, array_at, 0, 12, string_at, 0]);
        object.extend(b"ab");
        object.extend(&array);
        object.extend([3, b'x', b'"', b'y']);
        let object_len = u16::try_from(object.len()).unwrap();
        object[2..4].copy_from_slice(&object_len.to_le_bytes());
        object.insert(0, 0);
        object
    }

    #[test]
    fn documents_become_text() {
        assert_eq!(text(&document()), r#"{"a": [1, 70000, 1.5], "b": "x\"y"}"#);
        assert_eq!(text(&[]), "null");
        assert_eq!(text(&[4, 1]), "true");
        assert_eq!(text(&[10, 255, 255, 255, 255, 255, 255, 255, 255]), "18446744073709551615");
        assert_eq!(text(&[&[11][..], &3f64.to_le_bytes()].concat()), "3.0");
        assert_eq!(text(&[15, 246, 4, 3, 2, 0x81, 10]), "1.10");
        assert_eq!(text(&[15, 252, 2, 1, 2]), r#""base64:type252:AQI=""#);
        assert_eq!(text(&[12, 3, 1, 10, 0x7f]), "\"\\u0001\\n\u{7f}\"");
    }

    #[test]
    fn documents_with_types_of_sql_become_expressions() {
        let sql = |document: &[u8]| String::from_utf8(to_sql(document).unwrap()).unwrap();
        assert_eq!(sql(&document()), r#"JSON_OBJECT('a', JSON_ARRAY(1, 70000, 1.5e0), 'b', 'x"y')"#);
        let decimal = [15, 246, 4, 3, 2, 0x81, 10];
        assert!(!to_text(&decimal).unwrap().1);
        assert_eq!(sql(&decimal), "CAST(1.10 AS JSON)");
        assert_eq!(sql(&[15, 253, 2, 1, 2]), "CAST(x'0102' AS JSON)");
        assert!(to_text(&document()).unwrap().1);
    }

    #[test]
    fn damage_is_an_error_or_another_document_but_no_panic_and_no_growth() {
        let good = document();
        for cut in 1..good.len() {
            assert!(to_text(&good[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..good.len() {
            for flip in 1..=255u8 {
                let mut bad = good.clone();
                bad[at] ^= flip;
                if let Ok((text, _)) = to_text(&bad) {
                    assert!(text.len() < 64 * bad.len());
                }
                let _ = to_sql(&bad);
            }
        }
    }

    #[test]
    fn a_document_that_contains_itself_is_refused() {
        // Two elements, each an array at offset 0 of the container.
        let looped = [2, 2, 0, 10, 0, 2, 0, 0, 2, 0, 0];
        assert!(to_text(&looped).is_err());
    }
}
