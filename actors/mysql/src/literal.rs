//! Values and names as SQL text.
//!
//! Everything written here means the same whatever `sql_mode` says about backslashes (none is ever written
//! outside hexadecimal) and double quotes (none is used), on a connection whose character set is utf8mb4 and
//! whose time zone is UTC.
//!
//! Three values need a lenient `sql_mode`: a strict server refuses the empty error value of an ENUM (index 0) and an
//! empty VECTOR ([`is_error_value`]), and zero dates when NO_ZERO_DATE is set.

use std::io::Write;

use bytes::Bytes;

use crate::{
    charset,
    decode::json,
    table::{ColumnInfo, ColumnType},
    value::Value,
};

/// Up to here a double has every whole number.
const EXACT_IN_DOUBLE: u64 = 1 << 53;

/// Appends an identifier in backticks.
pub fn write_ident(name: &str, out: &mut Vec<u8>) {
    out.push(b'`');
    for byte in name.bytes() {
        if byte == b'`' {
            out.push(b'`');
        }
        out.push(byte);
    }
    out.push(b'`');
}

/// Appends a string literal for a utf8mb4 connection.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    write_text(text.as_bytes(), "utf8mb4", out);
}

/// Whether a value is one that a server has for the lack of another: the error value of an ENUM, or the empty VECTOR that
/// an ALTER leaves in a NOT NULL column. It can be written with a lenient `sql_mode` only, and gives one warning.
pub fn is_error_value(value: &Value, column: &ColumnInfo) -> bool {
    match value {
        Value::Enum(index) => *index == 0,
        Value::Bytes(bytes) => bytes.is_empty() && matches!(column.data_type, ColumnType::Vector(_)),
        _ => false,
    }
}

/// Appends a value as it can stand in INSERT and in SET of UPDATE.
///
/// [`Value::Absent`] becomes `DEFAULT`, which is all a generated column accepts.
pub fn write_literal(value: &Value, column: &ColumnInfo, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"NULL"),
        Value::Absent => out.extend_from_slice(b"DEFAULT"),
        Value::Int(number) => write_display(number, out),
        Value::UInt(number) | Value::Bit(number) | Value::Set(number) => write_display(number, out),
        Value::Year(number) | Value::Enum(number) => write_display(number, out),
        // All digits of the exact value: read as DOUBLE and made FLOAT, the same bits come out; and compared as
        // DOUBLE, it equals the column.
        Value::Float(number) => write_double(f64::from(*number), out),
        Value::Double(number) => write_double(*number, out),
        Value::Decimal(text) => out.extend_from_slice(text.as_bytes()),
        Value::Date(text) | Value::Time(text) | Value::DateTime(text) | Value::Timestamp(text) => {
            out.push(b'\'');
            out.extend_from_slice(text.as_bytes());
            out.push(b'\'');
        }
        Value::Json(text) => write_text(text, "utf8mb4", out),
        Value::JsonBinary(document) => match json::to_sql(document) {
            Ok(expression) if column.data_type == ColumnType::Json => out.extend_from_slice(&expression),
            _ => write_text(&value.json_text().unwrap_or_default(), "utf8mb4", out),
        },
        // No expression has this value; it is what a column without a default gets.
        Value::Bytes(_) if is_error_value(value, column) => out.extend_from_slice(b"DEFAULT"),
        Value::Bytes(bytes) => match &column.charset {
            Some(charset) if charset != "binary" => write_text(bytes, charset, out),
            _ => write_hex(bytes, out),
        },
    }
}

/// A SET whose number is not found by comparing the column with that number: MySQL compares them as doubles, and for
/// MariaDB 10.11 the column is negative from 2^63 on. See [`write_exact_match`].
pub fn is_beyond_double(value: &Value) -> bool {
    matches!(value, Value::Set(number) if *number > EXACT_IN_DOUBLE)
}

/// Appends a condition that is true for exactly this value, byte for byte, not only equal by the collation. For
/// finding rows of tables without a key; an index can be used as far as the type allows.
pub fn write_exact_match(value: &Value, column: &ColumnInfo, out: &mut Vec<u8>) {
    let start = out.len();
    if let Value::Set(number) = value
        && is_beyond_double(value)
    {
        // MySQL compares a SET with a number as doubles. As a whole number it is a signed one.
        out.extend_from_slice(b"CAST(");
        write_ident(&column.name, out);
        out.extend_from_slice(b" AS SIGNED) = ");
        write_display(number.cast_signed(), out);
        return;
    }
    write_ident(&column.name, out);
    match value {
        Value::Null => out.extend_from_slice(b" IS NULL"),
        Value::JsonBinary(_) if column.data_type == ColumnType::Json => {
            out.extend_from_slice(b" = ");
            write_literal(value, column, out);
        }
        Value::Json(_) if column.data_type == ColumnType::Json => {
            out.extend_from_slice(b" = CAST(");
            write_literal(value, column, out);
            out.extend_from_slice(b" AS JSON)");
        }
        // Vectors compare with nothing.
        Value::Bytes(bytes) if matches!(column.data_type, ColumnType::Vector(_)) => {
            out.truncate(start);
            out.extend_from_slice(b"HEX(");
            write_ident(&column.name, out);
            out.extend_from_slice(b") = HEX(");
            write_hex(bytes, out);
            out.push(b')');
        }
        Value::Bytes(bytes) if column.charset.as_deref().is_some_and(|charset| charset != "binary") => {
            out.extend_from_slice(b" = ");
            write_literal(value, column, out);
            out.extend_from_slice(b" AND CAST(");
            write_ident(&column.name, out);
            out.extend_from_slice(b" AS BINARY) = ");
            write_hex(bytes, out);
        }
        Value::Json(_) | Value::JsonBinary(_) => {
            out.extend_from_slice(b" = ");
            write_literal(value, column, out);
            out.extend_from_slice(b" AND CAST(");
            write_ident(&column.name, out);
            out.extend_from_slice(b" AS BINARY) = ");
            write_hex(&value.json_text().unwrap_or_default(), out);
        }
        value => {
            // Otherwise MySQL takes a value with more decimals than the column has to be in none of its rows, though
            // rows from before the column got its decimals keep theirs.
            if decimals(column).is_some() {
                out.extend_from_slice(b"*1e0");
            }
            out.extend_from_slice(b" = ");
            write_literal(value, column, out);
        }
    }
}

/// Appends the condition that a column with a count of [`decimals`] shows what the value shows.
pub fn write_rounded_match(value: &Value, column: &ColumnInfo, decimals: u8, out: &mut Vec<u8>) {
    if *value == Value::Null {
        return write_exact_match(value, column, out);
    }
    out.extend_from_slice(b"ROUND(");
    write_ident(&column.name, out);
    out.push(b',');
    write_display(decimals, out);
    out.extend_from_slice(b") = ROUND(");
    write_literal(value, column, out);
    out.push(b',');
    write_display(decimals, out);
    out.push(b')');
}

/// The decimals of a `FLOAT(M,D)` or `DOUBLE(M,D)`; `None` for any other column.
pub fn decimals(column: &ColumnInfo) -> Option<u8> {
    if !matches!(column.data_type, ColumnType::Float | ColumnType::Double) {
        return None;
    }
    let (_, digits) = column.column_type_text.split_once(',')?;
    digits.split_once(')')?.0.trim().parse().ok()
}

/// Values of at least this size travel as parameters of a prepared statement: as hexadecimal they would take twice
/// their size, several times over, and be limited by the size of a packet.
const LONG: usize = 1 << 20;

/// The bytes of a value that is to be a parameter, see [`write_parameter`]; `None` for one that is written as a literal.
pub fn long_value(value: &Value) -> Option<&Bytes> {
    match value {
        Value::Bytes(bytes) | Value::Json(bytes) if bytes.len() >= LONG => Some(bytes),
        _ => None,
    }
}

/// Appends what stands for a [`long_value`] in INSERT and in SET of UPDATE, with a parameter that is a binary string.
pub fn write_parameter(value: &Value, column: &ColumnInfo, out: &mut Vec<u8>) {
    match (value, &column.charset) {
        (Value::Json(_), _) => write_parameter_of("utf8mb4", out),
        (_, Some(charset)) if charset != "binary" => write_parameter_of(charset, out),
        _ => out.extend_from_slice(BINARY),
    }
}

/// Appends the condition of [`write_exact_match`] for a [`long_value`], with a parameter that is a binary string. An
/// index is of no use for so long a value, so only the bytes are compared.
pub fn write_parameter_match(value: &Value, column: &ColumnInfo, out: &mut Vec<u8>) {
    match value {
        Value::Json(_) if column.data_type == ColumnType::Json => {
            write_ident(&column.name, out);
            out.extend_from_slice(b" = CAST(");
            write_parameter_of("utf8mb4", out);
            out.extend_from_slice(b" AS JSON)");
        }
        // A geometry has no other way to be compared than as it is.
        _ if column.charset.is_none() => {
            write_ident(&column.name, out);
            out.extend_from_slice(b" = ");
            out.extend_from_slice(BINARY);
        }
        _ => {
            out.extend_from_slice(b"CAST(");
            write_ident(&column.name, out);
            out.extend_from_slice(b" AS BINARY) = ");
            out.extend_from_slice(BINARY);
        }
    }
}

/// A parameter whose bytes are left as they are.
const BINARY: &[u8] = b"CAST(? AS BINARY)";

/// A parameter whose bytes are text of a character set. Bytes that are none give a warning.
fn write_parameter_of(charset: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"CONVERT(");
    out.extend_from_slice(BINARY);
    out.extend_from_slice(b" USING ");
    out.extend_from_slice(charset.as_bytes());
    out.push(b')');
}

/// Text in a character set: quoted where the server reads the same characters from our connection's UTF-8, and
/// as hexadecimal with the character set's name where it would not.
pub(crate) fn write_text(bytes: &[u8], charset: &str, out: &mut Vec<u8>) {
    let plain = charset::is_utf8(charset) || (charset::is_ascii_superset(charset) && bytes.is_ascii());
    // Whether a backslash escapes depends on sql_mode.
    if plain && !bytes.contains(&b'\\') {
        out.reserve(bytes.len() + 2);
        out.push(b'\'');
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\'') {
            out.extend_from_slice(&rest[..=at]);
            out.push(b'\'');
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        out.push(b'\'');
        return;
    }
    out.push(b'_');
    out.extend_from_slice(charset.as_bytes());
    out.push(b' ');
    write_hex(bytes, out);
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for; `None` for anything else.
pub fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.chunks_exact(2).map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()).collect()
}

pub(crate) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2 + 3);
    out.extend_from_slice(b"x'");
    out.extend(
        bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
    out.push(b'\'');
}

/// The shortest digits that read back as the same number, with an exponent, so that the literal is a DOUBLE.
fn write_double(number: f64, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{number:e}");
}

fn write_display(number: impl std::fmt::Display, out: &mut Vec<u8>) {
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(charset: Option<&str>, type_text: &str) -> ColumnInfo {
        ColumnInfo {
            name: "c`1".into(),
            ordinal: 1,
            data_type: ColumnType::parse(type_text),
            unsigned: false,
            nullable: true,
            charset: charset.map(str::to_owned),
            collation: None,
            generated: false,
            invisible: false,
            auto_increment: false,
            compressed: false,
            column_type_text: type_text.into(),
        }
    }

    fn literal(value: &Value, charset: Option<&str>) -> String {
        let mut out = Vec::new();
        write_literal(value, &column(charset, "varchar(10)"), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn bytes(bytes: &'static [u8]) -> Value {
        Value::Bytes(Bytes::from_static(bytes))
    }

    #[test]
    fn text_is_quoted_only_where_that_is_safe() {
        assert_eq!(literal(&bytes(b"it''s"), Some("utf8mb4")), "'it''''s'");
        assert_eq!(literal(&bytes("ä".as_bytes()), Some("utf8mb3")), "'ä'");
        assert_eq!(literal(&bytes(b"\\"), Some("utf8mb4")), "_utf8mb4 x'5c'");
        assert_eq!(literal(&bytes(b"abc"), Some("latin1")), "'abc'");
        assert_eq!(literal(&bytes(b"\xe4"), Some("latin1")), "_latin1 x'e4'");
        assert_eq!(literal(&bytes(b"a"), Some("utf16")), "_utf16 x'61'");
        assert_eq!(literal(&bytes(b"abc"), Some("swe7")), "_swe7 x'616263'");
        assert_eq!(literal(&bytes(b"abc"), None), "x'616263'");
        assert_eq!(literal(&bytes(b""), None), "x''");
    }

    #[test]
    fn numbers_keep_their_bits() {
        for number in [0.1f32, f32::MAX, f32::MIN_POSITIVE, 1.0e-45, -0.0, 16_777_216.0, 3.3e33] {
            let text = literal(&Value::Float(number), None);
            let read: f64 = text.parse().unwrap();
            assert_eq!((read as f32).to_bits(), number.to_bits(), "{text}");
            assert!(text.contains('e'));
        }
        for number in [0.1f64, f64::MAX, 5e-324, -0.0, 1e22, 123_456_789.123_456_79] {
            let text = literal(&Value::Double(number), None);
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{text}");
        }
        assert_eq!(literal(&Value::UInt(u64::MAX), None), "18446744073709551615");
        assert_eq!(literal(&Value::Int(i64::MIN), None), "-9223372036854775808");
    }

    #[test]
    fn long_values_become_parameters() {
        let long = Value::Bytes(vec![0; LONG].into());
        assert_eq!(long_value(&long).map(Bytes::len), Some(LONG));
        assert_eq!(long_value(&Value::Bytes(vec![0; LONG - 1].into())), None);
        let written = |value: &Value, charset, text| {
            let mut out = Vec::new();
            write_parameter(value, &column(charset, text), &mut out);
            out.push(b'|');
            write_parameter_match(value, &column(charset, text), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(&long, None, "longblob"), "CAST(? AS BINARY)|`c``1` = CAST(? AS BINARY)");
        assert_eq!(
            written(&long, Some("gbk"), "longtext"),
            "CONVERT(CAST(? AS BINARY) USING gbk)|CAST(`c``1` AS BINARY) = CAST(? AS BINARY)"
        );
        assert_eq!(
            written(&Value::Json(vec![b' '; LONG].into()), None, "json"),
            "CONVERT(CAST(? AS BINARY) USING utf8mb4)|\
             `c``1` = CAST(CONVERT(CAST(? AS BINARY) USING utf8mb4) AS JSON)"
        );
    }

    #[test]
    fn a_match_is_exact() {
        let mut out = Vec::new();
        write_exact_match(&bytes(b"a"), &column(Some("latin1"), "char(3)"), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "`c``1` = 'a' AND CAST(`c``1` AS BINARY) = x'61'");
        let mut scaled = column(None, "float(9,3) unsigned");
        scaled.data_type = ColumnType::Float;
        let mut out = Vec::new();
        write_exact_match(&Value::Float(0.5), &scaled, &mut out);
        out.push(b'|');
        write_rounded_match(&Value::Float(0.5), &scaled, decimals(&scaled).unwrap(), &mut out);
        out.push(b'|');
        write_rounded_match(&Value::Null, &scaled, 3, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "`c``1`*1e0 = 5e-1|ROUND(`c``1`,3) = ROUND(5e-1,3)|`c``1` IS NULL"
        );
        scaled.column_type_text = "float".into();
        assert_eq!(decimals(&scaled), None);
    }
}
