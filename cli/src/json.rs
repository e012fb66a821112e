//! JSON text as dmctl prints it, so that scripts written for dmctl keep working.
//!
//! Answers of the cluster print the way protobuf's JSON does: four blanks of indent, an empty list over
//! two lines, `<`, `>` and `&` escaped. Two answers that dmctl assembles by itself (the short status and
//! the results of an operation on all tasks of a source) print an empty list on one line.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

/// How an empty list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyList {
    /// `[` and `]` on lines of their own.
    TwoLines,
    /// `[]`.
    OneLine,
}

/// Prints `value` as dmctl does.
pub fn to_text<T: Serialize>(value: &T, empty_list: EmptyList) -> Result<String, serde_json::Error> {
    let mut out = Vec::with_capacity(512);
    let formatter =
        DmctlFormatter { inner: PrettyFormatter::with_indent(b"    "), depth: 0, is_empty: true, empty_list };
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value.serialize(&mut serializer)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

struct DmctlFormatter {
    inner: PrettyFormatter<'static>,
    depth: usize,
    /// No element was printed since the last opening bracket.
    is_empty: bool,
    empty_list: EmptyList,
}

impl Formatter for DmctlFormatter {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.is_empty = true;
        self.inner.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.is_empty && self.empty_list == EmptyList::TwoLines {
            writer.write_all(b"\n")?;
            for _ in 0..self.depth {
                writer.write_all(b"    ")?;
            }
        }
        self.is_empty = false;
        self.inner.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.inner.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.is_empty = false;
        self.inner.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.inner.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        self.inner.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.inner.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_object_value(writer)
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Go's encoder escapes what would be unsafe inside HTML or JavaScript.
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let special = rest[at..].chars().next().unwrap_or_default();
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &rest[at + special.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prints_an_answer_as_dmctl_does() {
        let value = json!({
            "result": true, "msg": "a < b & c",
            "sources": [{"result": true, "msg": "", "source": "mysql-replica-01", "worker": "worker1"}],
            "checkResult": "pre-check is passed. ",
        });
        let expected = r#"{
    "result": true,
    "msg": "a \u003c b \u0026 c",
    "sources": [
        {
            "result": true,
            "msg": "",
            "source": "mysql-replica-01",
            "worker": "worker1"
        }
    ],
    "checkResult": "pre-check is passed. "
}"#;
        assert_eq!(to_text(&value, EmptyList::TwoLines).unwrap(), expected);
    }

    #[test]
    fn an_empty_list_takes_two_lines_or_one() {
        let value =
            json!({"result": false, "sources": [], "inner": {"blockingDDLs": [], "list": [[]]}, "last": [1]});
        let expected = "{\n    \"result\": false,\n    \"sources\": [\n    ],\n    \"inner\": {\n        \"blockingDDLs\": [\n        ],\n        \"list\": [\n            [\n            ]\n        ]\n    },\n    \"last\": [\n        1\n    ]\n}";
        assert_eq!(to_text(&value, EmptyList::TwoLines).unwrap(), expected);
        assert_eq!(to_text(&json!({"tasks": []}), EmptyList::OneLine).unwrap(), "{\n    \"tasks\": []\n}");
    }

    #[test]
    fn characters_beyond_ascii_stay() {
        assert_eq!(to_text(&json!("ü\u{2028}\"\n"), EmptyList::TwoLines).unwrap(), "\"ü\\u2028\\\"\\n\"");
    }
}
