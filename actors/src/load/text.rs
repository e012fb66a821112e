//! Rows as text: for `LOAD DATA` and for multi-row INSERT.

use bytes::{Bytes, BytesMut};
use dmnode_model::ids::TableName;
use dmnode_mysql::{JsonTypes, TextRow, write_typed_json};

use super::columns::{CopyColumn, Literal};
use crate::lenient::{self, Write};

/// Size of the buffers that travel from the reader to the loader.
pub(super) const BUFFER_BYTES: usize = 128 * 1024;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// The statement that `LOAD DATA` rows are sent with.
pub(super) fn load_statement(target: &TableName, columns: &[CopyColumn]) -> String {
    let mut fields = Vec::with_capacity(columns.len());
    let mut sets = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        match &column.set {
            None => fields.push(column.target.clone()),
            Some(set) => {
                fields.push(format!("@v{index}"));
                sets.push(format!("{} = {}", column.target, set.replace("@v", &format!("@v{index}"))));
            }
        }
    }
    let set = if sets.is_empty() { String::new() } else { format!(" SET {}", sets.join(", ")) };
    // Hexadecimal, because the meaning of a backslash in a string depends on sql_mode.
    format!(
        "LOAD DATA LOCAL INFILE 'chunk' INTO TABLE {target} CHARACTER SET binary \
         FIELDS TERMINATED BY x'09' ESCAPED BY x'5C' LINES TERMINATED BY x'0A' ({}){set}",
        fields.join(", ")
    )
}

/// The head of an INSERT; `computed` when the target computes columns.
pub(super) fn insert_head(target: &TableName, columns: &[CopyColumn], computed: bool) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.target.as_str()).collect();
    let lenient = computed || columns.iter().any(|column| column.member || column.vector);
    format!("{}{target} ({}) VALUES ", lenient::begin(Write::Insert, lenient), names.join(","))
}

/// Values of at least this size travel as parameters: as hexadecimal they would take twice their size, several times.
const LONG: usize = 1 << 20;

/// Appends one row in parentheses with its long values as parameters, which are taken out of the row; `None` when the row
/// has none, or must be written otherwise: with the types in its JSON.
pub(super) fn push_long_values(
    row: &mut TextRow,
    columns: &[CopyColumn],
    types: bool,
    out: &mut Vec<u8>,
) -> Option<(RowSize, Vec<Vec<u8>>)> {
    let is_long = |(index, column): (usize, &CopyColumn)| {
        matches!(column.literal, Literal::Binary | Literal::Text(_))
            && row.bytes(index).is_some_and(|value| value.len() >= LONG)
    };
    if types || !columns.iter().enumerate().any(is_long) {
        return None;
    }
    let (mut size, mut parameters) = (RowSize::default(), Vec::new());
    out.push(b'(');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let Some(value) = row.take(index) else {
            out.extend_from_slice(b"NULL");
            continue;
        };
        size.add(&value, column);
        match &column.literal {
            Literal::Binary if value.len() >= LONG => {
                out.extend_from_slice(b"CAST(? AS BINARY)");
                parameters.push(value);
            }
            Literal::Text(charset) if value.len() >= LONG => {
                out.extend_from_slice(format!("CONVERT(CAST(? AS BINARY) USING {charset})").as_bytes());
                parameters.push(value);
            }
            _ => push_value(&value, column, out),
        }
    }
    out.push(b')');
    Some((size, parameters))
}

/// Builds the text of `LOAD DATA`, buffer by buffer.
pub(super) struct LoadText {
    buffer: BytesMut,
    plain: Vec<bool>,
}

/// What a row holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowSize {
    /// Its bytes in the source.
    pub bytes: u64,
    /// Columns with an error value.
    pub error_members: u64,
}

impl RowSize {
    /// Adds a value.
    pub fn add(&mut self, value: &[u8], column: &CopyColumn) {
        self.bytes += value.len() as u64;
        self.error_members += u64::from(column.is_error(value));
    }
}

impl LoadText {
    pub fn new(columns: &[CopyColumn]) -> Self {
        Self {
            buffer: BytesMut::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 8),
            plain: columns.iter().map(|column| column.plain).collect(),
        }
    }

    /// Adds a value of the row that is being written.
    pub fn begin_value(&mut self, index: usize) {
        if index > 0 {
            self.buffer.extend_from_slice(b"\t");
        }
    }

    /// Adds NULL.
    pub fn null(&mut self) {
        self.buffer.extend_from_slice(b"\\N");
    }

    /// Adds a part of a value. Parts are escaped each by itself.
    pub fn part(&mut self, index: usize, part: &[u8]) {
        if self.plain.get(index) == Some(&true) {
            self.buffer.extend_from_slice(part);
        } else {
            escape(part, &mut self.buffer);
        }
    }

    /// Ends the row.
    pub fn end_row(&mut self) {
        self.buffer.extend_from_slice(b"\n");
    }

    /// A buffer when one is full.
    pub fn full(&mut self) -> Option<Bytes> {
        (self.buffer.len() >= BUFFER_BYTES).then(|| self.take())
    }

    /// What is left.
    pub fn take(&mut self) -> Bytes {
        let full =
            std::mem::replace(&mut self.buffer, BytesMut::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 8));
        full.freeze()
    }
}

/// Escapes field and line ends and the escape itself.
fn escape(value: &[u8], out: &mut BytesMut) {
    let mut rest = value;
    while let Some(at) = memchr::memchr3(b'\\', b'\t', b'\n', rest) {
        let (head, tail) = rest.split_at(at);
        out.extend_from_slice(head);
        let Some((special, tail)) = tail.split_first() else { break };
        out.extend_from_slice(match special {
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            _ => b"\\\\",
        });
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// Appends one row in parentheses, as an INSERT of the copy has it; see [`push_row`].
pub(super) fn push_values(
    row: &TextRow,
    columns: &[CopyColumn],
    types: bool,
    out: &mut Vec<u8>,
) -> Option<RowSize> {
    push_row(row, columns, types, out, |value, column, size, out| {
        size.add(value, column);
        push_value(value, column, out);
    })
}

/// Appends one row in parentheses, each value but NULL and typed JSON by `push`, which counts it as well; returns its size in
/// the source. With `types`, three values for each JSON column stand behind the columns and tell the types in it; `None`
/// when they do not belong to the document.
pub(super) fn push_row(
    row: &TextRow,
    columns: &[CopyColumn],
    types: bool,
    out: &mut Vec<u8>,
    push: impl Fn(&[u8], &CopyColumn, &mut RowSize, &mut Vec<u8>),
) -> Option<RowSize> {
    let mut size = RowSize::default();
    let mut next_types = columns.len();
    out.push(b'(');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let places = types && column.json;
        match row.bytes(index) {
            None => out.extend_from_slice(b"NULL"),
            Some(value) if places => {
                size.add(value, column);
                let letters = |place: usize| row.bytes(next_types + place).unwrap_or_default();
                let types = JsonTypes { root: letters(0), members: letters(1), elements: letters(2) };
                if !write_typed_json(value, types, out) {
                    return None;
                }
            }
            Some(value) => push(value, column, &mut size, out),
        }
        if places {
            next_types += 3;
        }
    }
    out.push(b')');
    Some(size)
}

fn push_value(value: &[u8], column: &CopyColumn, out: &mut Vec<u8>) {
    if column.vector && value.is_empty() {
        // What a column without a default gets.
        out.extend_from_slice(b"DEFAULT");
    } else {
        push_literal(value, &column.literal, out);
    }
}

/// Appends a value as a literal.
pub(super) fn push_literal(value: &[u8], literal: &Literal, out: &mut Vec<u8>) {
    match literal {
        // Only what the server can have sent for such a column stands in the text as it is.
        Literal::Ascii
            if value.iter().all(|byte| {
                matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b':' | b' ') || byte.is_ascii_alphabetic()
            }) =>
        {
            quoted(value, out);
        }
        Literal::Number if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
            out.extend_from_slice(value);
        }
        Literal::Ascii | Literal::Number | Literal::Binary | Literal::Bits => hex(value, out),
        Literal::Text(charset) => {
            let printable = !WIDE_OR_SHIFTED.contains(&charset.as_str())
                && value.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'\'' && *byte != b'\\');
            if printable {
                quoted(value, out);
            } else {
                out.push(b'_');
                out.extend_from_slice(charset.as_bytes());
                out.push(b' ');
                hex(value, out);
            }
        }
    }
}

/// Character sets in which a printable ASCII byte need not be that ASCII character.
pub(super) const WIDE_OR_SHIFTED: [&str; 10] =
    ["ucs2", "utf16", "utf16le", "utf32", "sjis", "cp932", "swe7", "big5", "gbk", "gb18030"];

/// Appends a value between quotes; none is in it.
pub(super) fn quoted(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    out.extend_from_slice(value);
    out.push(b'\'');
}

fn hex(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(value.len() * 2 + 3);
    out.extend_from_slice(b"x'");
    for byte in value {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_ends_line_ends_and_escapes_are_escaped() {
        let mut out = BytesMut::new();
        escape(b"a\tb\nc\\d\0\xff\\", &mut out);
        assert_eq!(&out[..], b"a\\tb\\nc\\\\d\0\xff\\\\");
    }

    #[test]
    fn literals_do_not_depend_on_sql_mode() {
        let cases: [(&[u8], Literal, &[u8]); 6] = [
            (b"-12.5", Literal::Ascii, b"'-12.5'"),
            (b"\x00\xff", Literal::Binary, b"x'00ff'"),
            (b"", Literal::Binary, b"x''"),
            (b"plain", Literal::Text("latin1".into()), b"'plain'"),
            (b"it's", Literal::Text("latin1".into()), b"_latin1 x'69742773'"),
            (b"\x00a", Literal::Text("ucs2".into()), b"_ucs2 x'0061'"),
        ];
        for (value, literal, want) in cases {
            let mut out = Vec::new();
            push_literal(value, &literal, &mut out);
            assert_eq!(out, want, "{literal:?}");
        }
    }
}
