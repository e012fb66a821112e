//! Character sets and collations by number and name.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

/// A collation and the character set it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collation {
    /// Its name, e.g. `utf8mb4_0900_ai_ci`.
    pub name: Arc<str>,
    /// Its character set, e.g. `utf8mb4`.
    pub charset: Arc<str>,
}

/// The collations of a server by number. The numbers of newer collations differ between MySQL and MariaDB, so
/// they are asked of the server whose binlog is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collations(HashMap<u32, Collation>);

/// Collations whose numbers are the same everywhere.
const BUILTIN: [(u32, &str, &str); 8] = [
    (8, "latin1_swedish_ci", "latin1"),
    (11, "ascii_general_ci", "ascii"),
    (33, "utf8mb3_general_ci", "utf8mb3"),
    (45, "utf8mb4_general_ci", "utf8mb4"),
    (46, "utf8mb4_bin", "utf8mb4"),
    (47, "latin1_bin", "latin1"),
    (63, "binary", "binary"),
    (83, "utf8mb3_bin", "utf8mb3"),
];

impl Collations {
    /// The few that are the same everywhere.
    pub fn builtin() -> Self {
        let mut collations = Self::default();
        for (id, name, charset) in BUILTIN {
            collations.insert(id, name, charset);
        }
        collations
    }

    pub fn insert(&mut self, id: u32, name: &str, charset: &str) {
        self.0.insert(id, Collation { name: name.into(), charset: charset.into() });
    }

    pub fn get(&self, id: u32) -> Option<Collation> {
        self.0.get(&id).cloned()
    }
}

/// True when the first 128 codes of the character set are ASCII's, alone and nowhere inside other characters'
/// first bytes: ASCII text in it may be written as a plain string.
pub(crate) fn is_ascii_superset(charset: &str) -> bool {
    matches!(
        charset,
        "utf8mb4"
            | "utf8mb3"
            | "utf8"
            | "ascii"
            | "latin1"
            | "latin2"
            | "latin5"
            | "latin7"
            | "cp1250"
            | "cp1251"
            | "cp1256"
            | "cp1257"
            | "cp850"
            | "cp852"
            | "cp866"
            | "koi8r"
            | "koi8u"
            | "greek"
            | "hebrew"
            | "tis620"
            | "gbk"
            | "gb2312"
            | "gb18030"
            | "big5"
            | "cp932"
            | "ujis"
            | "eucjpms"
            | "euckr"
    )
}

/// True for the character sets whose strings are UTF-8.
pub(crate) fn is_utf8(charset: &str) -> bool {
    matches!(charset, "utf8mb4" | "utf8mb3" | "utf8")
}

/// True when both names mean the same character set (`utf8` is `utf8mb3`).
pub(crate) fn same(a: &str, b: &str) -> bool {
    a == b || (matches!(a, "utf8" | "utf8mb3") && matches!(b, "utf8" | "utf8mb3"))
}

/// What the bytes 0x80 to 0x9f are in MySQL's latin1, which is cp1252 with its holes filled.
const LATIN1_HIGH: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}',
    '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}', '\u{90}', '\u{2018}',
    '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}',
    '\u{203a}', '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
];

/// Text in a character set as Unicode; `None` if that is not possible here.
pub fn decode<'a>(charset: &str, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
    if (is_ascii_superset(charset) || charset == "binary" || charset == "sjis") && bytes.is_ascii() {
        return std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    }
    match charset {
        "utf8mb4" | "utf8mb3" | "utf8" | "binary" => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        "latin1" => Some(
            bytes
                .iter()
                .map(|byte| match byte {
                    0x80..=0x9f => LATIN1_HIGH[usize::from(byte - 0x80)],
                    byte => char::from(*byte),
                })
                .collect(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_decode_or_say_that_they_cannot() {
        assert_eq!(decode("utf8mb4", "ä".as_bytes()).unwrap(), "ä");
        assert_eq!(decode("latin1", b"\xe4\x80").unwrap(), "ä€");
        assert_eq!(decode("gbk", b"SELECT 1").unwrap(), "SELECT 1");
        assert_eq!(decode("gbk", b"\xc4\xe3"), None);
        assert_eq!(decode("utf8mb4", b"\xff"), None);
    }
}
