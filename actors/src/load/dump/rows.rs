//! Rows of a dump as SQL or as CSV.
//!
//! SQL values do not depend on the session that loads them: numbers and times are quoted, text in UTF-8 stands as it is
//! behind `_utf8mb4`, everything else is hexadecimal with its character set. No value holds a line end, a NUL or a backslash, so
//! that the simplest of loaders, which read line by line, take them.

use dmnode_model::ids::{TableName, quote_ident};
use dmnode_mysql::TextRow;

use crate::load::columns::{CopyColumn, Literal};
use crate::load::text::{RowSize, WIDE_OR_SHIFTED, push_literal, push_row};

/// Statement size when the task says nothing: Dumpling's.
const STATEMENT_BYTES: u64 = 1_000_000;
const STRICT: &str =
    "/*!40101 SET SQL_MODE='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'*/;\n";
/// For rows that a strict session refuses: the error value of an ENUM, an empty vector, columns computed from values that
/// do not fit.
const LENIENT: &str = "/*!40101 SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'*/;\n";

/// How every SQL file begins. Dumpling writes `binary` here, which is right for TiDB only: a server would take the members of an
/// ENUM for bytes of its character set and refuse JSON.
pub(super) const HEADER: &str = "/*!40101 SET NAMES utf8mb4*/;\n/*!40014 SET FOREIGN_KEY_CHECKS=0*/;\n";

/// What the rows of a file with statements are surrounded with.
pub(super) struct Statements {
    head: Vec<u8>,
    size: u64,
    /// Bytes of the statement that is open.
    open: Option<u64>,
    lenient: bool,
}

impl Statements {
    /// `lenient` when the table has columns that are computed.
    pub fn new(table: &TableName, columns: &[CopyColumn], size: u64, lenient: bool) -> Self {
        let names: Vec<&str> = columns.iter().map(|column| column.target.as_str()).collect();
        let head = format!("INSERT INTO {} ({}) VALUES\n", quote_ident(&table.table), names.join(","));
        let size = if size == 0 { STATEMENT_BYTES } else { size };
        Self { head: head.into_bytes(), size, open: None, lenient }
    }

    /// How a file begins.
    pub fn header(&self) -> String {
        let mode = if self.lenient { LENIENT } else { STRICT };
        format!("{HEADER}/*!40103 SET TIME_ZONE='+00:00'*/;\n{mode}")
    }

    /// Adds a row.
    pub fn push(&mut self, values: &[u8], is_error: bool, out: &mut Vec<u8>) {
        if is_error && !self.lenient {
            self.close(out);
            out.extend_from_slice(LENIENT.as_bytes());
            out.extend_from_slice(&self.head);
            out.extend_from_slice(values);
            out.extend_from_slice(b";\n");
            out.extend_from_slice(STRICT.as_bytes());
            return;
        }
        let bytes = values.len() as u64;
        if self.open.is_some_and(|open| open + bytes > self.size) {
            self.close(out);
        }
        match &mut self.open {
            Some(open) => {
                *open += bytes;
                out.extend_from_slice(b",\n");
            }
            None => {
                self.open = Some(bytes);
                out.extend_from_slice(&self.head);
            }
        }
        out.extend_from_slice(values);
    }

    /// Ends the statement.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            out.extend_from_slice(b";\n");
        }
    }
}

/// Changes how columns are read for files: members of an ENUM by name, behind a digit that is 0 for the error value; for CSV
/// (`utf8`) all text in UTF-8.
pub(super) fn for_files(column: &mut CopyColumn, charset: Option<String>, utf8: bool) {
    let name = column.target.clone();
    let converts =
        utf8 && charset.as_deref().is_some_and(|charset| !matches!(charset, "utf8mb4" | "utf8mb3" | "ascii"));
    let text = if converts { format!("CONVERT({name} USING utf8mb4)") } else { name.clone() };
    if column.member {
        // All binary: else a server may join the digit in the character set of the member.
        column.select = format!("CONCAT(IF({name} + 0 = 0, x'30', x'31'), CAST({text} AS BINARY))");
        column.literal = charset.map_or(Literal::Binary, Literal::Text);
    } else if converts {
        column.select = text;
    }
}

/// The text of a value, and whether it is the error value of its column.
fn value_of<'a>(value: &'a [u8], column: &CopyColumn) -> (&'a [u8], bool) {
    if !column.member {
        return (value, column.vector && value.is_empty());
    }
    match value.split_first() {
        Some((b'1', name)) => (name, false),
        _ => (b"", true),
    }
}

/// Appends one row in parentheses; see [`push_row`].
pub(super) fn push_sql(
    row: &TextRow,
    columns: &[CopyColumn],
    types: bool,
    out: &mut Vec<u8>,
) -> Option<RowSize> {
    push_row(row, columns, types, out, |value, column, size, out| {
        let (value, is_error) = value_of(value, column);
        size.bytes += value.len() as u64;
        size.error_members += u64::from(is_error);
        match (is_error, column.member) {
            (true, true) => out.push(b'0'),
            // What a column without a default gets.
            (true, false) => out.extend_from_slice(b"DEFAULT"),
            (false, _) => push_value(value, &column.literal, out),
        }
    })
}

fn push_value(value: &[u8], literal: &Literal, out: &mut Vec<u8>) {
    let Literal::Text(charset) = literal else { return push_literal(value, literal, out) };
    let readable = |byte: u8| byte >= 0x20 && byte != 0x7f && byte != b'\\';
    let ascii = !WIDE_OR_SHIFTED.contains(&charset.as_str()) && value.is_ascii();
    let utf8 = matches!(charset.as_str(), "utf8mb4" | "utf8mb3") && std::str::from_utf8(value).is_ok();
    if !(ascii || utf8) || !value.iter().all(|byte| readable(*byte)) {
        return push_literal(value, literal, out);
    }
    if !value.is_ascii() {
        out.extend_from_slice(b"_utf8mb4");
    }
    out.push(b'\'');
    for byte in value {
        if *byte == b'\'' {
            out.push(b'\'');
        }
        out.push(*byte);
    }
    out.push(b'\'');
}

/// The first line of a CSV file.
pub(super) fn csv_header(columns: &[CopyColumn]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_csv_text(column.name.as_bytes(), &mut out);
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Appends one line; `None` when a value cannot stand in CSV.
pub(super) fn push_csv(row: &TextRow, columns: &[CopyColumn], out: &mut Vec<u8>) -> Option<RowSize> {
    let mut size = RowSize::default();
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let Some(value) = row.bytes(index) else {
            out.extend_from_slice(b"\\N");
            continue;
        };
        let (value, is_error) = value_of(value, column);
        if is_error {
            return None;
        }
        size.bytes += value.len() as u64;
        if column.literal == Literal::Ascii && value.iter().all(|byte| byte.is_ascii_digit()) {
            out.extend_from_slice(value);
        } else {
            push_csv_text(value, out);
        }
    }
    out.extend_from_slice(b"\r\n");
    Some(size)
}

fn push_csv_text(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in value {
        match byte {
            0 => out.extend_from_slice(b"\\0"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            byte => out.push(*byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(literal: Literal, member: bool) -> CopyColumn {
        CopyColumn {
            select: "`c`".into(),
            name: "c".into(),
            target: "`c`".into(),
            set: None,
            literal,
            plain: false,
            member,
            vector: false,
            json: false,
        }
    }

    fn text(charset: &str) -> Literal {
        Literal::Text(charset.into())
    }

    fn row(value: &[u8]) -> TextRow {
        TextRow::from(vec![Some(value.to_vec())])
    }

    #[test]
    fn values_depend_on_no_session() {
        let cases: [(&[u8], Literal, &str); 8] = [
            (b"it's", text("latin1"), "('it''s')"),
            ("na\u{ef}ve".as_bytes(), text("utf8mb4"), "(_utf8mb4'na\u{ef}ve')"),
            ("\u{ef}".as_bytes(), text("utf8mb3"), "(_utf8mb4'\u{ef}')"),
            (b"\xef", text("latin1"), "(_latin1 x'ef')"),
            (b"\xff", text("utf8mb4"), "(_utf8mb4 x'ff')"),
            (b"a;\nb", text("utf8mb4"), "(_utf8mb4 x'613b0a62')"),
            (b"a\\b", text("gbk"), "(_gbk x'615c62')"),
            (b"-1.50", Literal::Ascii, "('-1.50')"),
        ];
        for (value, literal, want) in cases {
            let mut out = Vec::new();
            push_sql(&row(value), &[column(literal, false)], false, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn the_error_value_is_told_from_an_empty_member() {
        let columns = [column(text("utf8mb4"), true)];
        for (value, want, errors) in [("1", "('')", 0), ("0", "(0)", 1), ("10", "('0')", 0)] {
            let mut out = Vec::new();
            let size = push_sql(&row(value.as_bytes()), &columns, false, &mut out).unwrap();
            assert_eq!((String::from_utf8(out).unwrap().as_str(), size.error_members), (want, errors));
        }
        assert!(push_csv(&row(b"0"), &columns, &mut Vec::new()).is_none());
    }

    #[test]
    fn statements_are_closed_where_they_must_be() {
        let mut statements =
            Statements::new(&TableName::new("s", "t"), &[column(text("ascii"), false)], 8, false);
        let mut out = Vec::new();
        for (values, is_error) in
            [("(1)", false), ("(2)", false), ("(3)", false), ("(0)", true), ("(4)", false)]
        {
            statements.push(values.as_bytes(), is_error, &mut out);
        }
        statements.close(&mut out);
        statements.close(&mut out);
        let head = "INSERT INTO `t` (`c`) VALUES\n";
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{head}(1),\n(2);\n{head}(3);\n{LENIENT}{head}(0);\n{STRICT}{head}(4);\n")
        );
    }

    #[test]
    fn csv_escapes_as_dumpling_does() {
        let mut out = csv_header(&[column(Literal::Ascii, false)]);
        for (value, literal) in
            [(&b"12"[..], Literal::Ascii), (b"-1", Literal::Ascii), (b"a\"\\\r\n\0,", Literal::Binary)]
        {
            push_csv(&row(value), &[column(literal, false)], &mut out).unwrap();
        }
        push_csv(&TextRow::from(vec![None]), &[column(Literal::Ascii, false)], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"c\"\r\n12\r\n\"-1\"\r\n\"a\\\"\\\\\\r\\n\\0,\"\r\n\\N\r\n"
        );
    }
}
