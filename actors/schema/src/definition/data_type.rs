//! Data types: all their spellings, as the server shows them afterwards.

use crate::lex::{TokenKind, Tokens};

/// A type as written, before its character set is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RawType {
    /// The server's name for it.
    pub base: &'static str,
    /// What stands in parentheses.
    pub args: Option<String>,
    /// NATIONAL: of the character set utf8mb3.
    pub national: bool,
    /// SERIAL: BIGINT UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE.
    pub serial: bool,
    /// JSON of MariaDB: text in utf8mb4.
    pub json_text: bool,
}

/// Text and what else has a character set.
pub(super) fn has_charset(base: &str) -> bool {
    matches!(base, "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set")
}

/// Most bytes of one character.
pub(super) fn bytes_per_character(charset: &str) -> u64 {
    match charset {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
        "utf8" | "utf8mb3" | "ujis" | "eucjpms" => 3,
        "gbk" | "big5" | "sjis" | "cp932" | "gb2312" | "euckr" | "ucs2" => 2,
        _ => 1,
    }
}

/// The text type that holds so many bytes.
pub(super) fn text_of_bytes(bytes: u64) -> &'static str {
    match bytes {
        0..=255 => "tinytext",
        256..=65_535 => "text",
        65_536..=16_777_215 => "mediumtext",
        _ => "longtext",
    }
}

/// Bytes that a text type holds.
pub(super) fn bytes_of_text(base: &str) -> Option<u64> {
    Some(match base {
        "tinytext" => 255,
        "text" => 65_535,
        "mediumtext" => 16_777_215,
        "longtext" => 4_294_967_295,
        _ => return None,
    })
}

/// The same type under the character set `binary`.
pub(super) fn binary_type(base: &'static str) -> &'static str {
    match base {
        "char" => "binary",
        "varchar" => "varbinary",
        "tinytext" => "tinyblob",
        "text" => "blob",
        "mediumtext" => "mediumblob",
        "longtext" => "longblob",
        other => other,
    }
}

/// Reads a type at `at`; answers it and the place behind its parentheses.
pub(super) fn read(
    tokens: &Tokens<'_>,
    at: usize,
    mariadb: bool,
    real_as_float: bool,
) -> Option<(RawType, usize)> {
    if !tokens.is_kind(at, TokenKind::Word) {
        return None;
    }
    let word = tokens.text(at).to_ascii_lowercase();
    let mut next = at + 1;
    let mut raw = RawType::default();
    let mut take = |words: &[&str]| {
        let found = tokens.is_any(next, words);
        next += usize::from(found);
        found
    };
    raw.base = match word.as_str() {
        "tinyint" | "int1" => "tinyint",
        "bool" | "boolean" => {
            raw.args = Some("1".to_owned());
            "tinyint"
        }
        "smallint" | "int2" => "smallint",
        "mediumint" | "int3" | "middleint" => "mediumint",
        "int" | "integer" | "int4" => "int",
        "bigint" | "int8" => "bigint",
        "serial" => {
            raw.serial = true;
            "bigint"
        }
        "decimal" | "dec" | "numeric" | "fixed" => "decimal",
        "float" | "float4" => "float",
        "double" => {
            take(&["PRECISION"]);
            "double"
        }
        "float8" => "double",
        "real" => {
            if real_as_float {
                "float"
            } else {
                "double"
            }
        }
        "bit" => "bit",
        "year" => "year",
        "date" => "date",
        "time" => "time",
        "datetime" => "datetime",
        "timestamp" => "timestamp",
        "char" | "character" => {
            if take(&["VARYING"]) {
                "varchar"
            } else if take(&["LARGE"]) {
                return None;
            } else {
                "char"
            }
        }
        "varchar" | "varcharacter" => "varchar",
        "nvarchar" => {
            raw.national = true;
            "varchar"
        }
        "nchar" => {
            raw.national = true;
            if take(&["VARCHAR", "VARYING", "VARCHARACTER"]) { "varchar" } else { "char" }
        }
        "national" => {
            raw.national = true;
            if take(&["VARCHAR", "VARCHARACTER"]) {
                "varchar"
            } else if take(&["CHAR", "CHARACTER"]) {
                if take(&["VARYING"]) { "varchar" } else { "char" }
            } else {
                return None;
            }
        }
        "binary" => "binary",
        "varbinary" => "varbinary",
        "tinytext" => "tinytext",
        "text" => "text",
        "mediumtext" => "mediumtext",
        "longtext" => "longtext",
        "tinyblob" => "tinyblob",
        "blob" => "blob",
        "mediumblob" => "mediumblob",
        "longblob" => "longblob",
        "long" => {
            if take(&["VARBINARY"]) {
                "mediumblob"
            } else {
                if take(&["CHARACTER", "CHAR"]) {
                    take(&["VARYING"]);
                } else {
                    take(&["VARCHAR", "VARCHARACTER"]);
                }
                "mediumtext"
            }
        }
        "enum" => "enum",
        "set" => "set",
        "json" => {
            raw.json_text = mariadb;
            if mariadb { "longtext" } else { "json" }
        }
        "geometry" => "geometry",
        "point" => "point",
        "linestring" => "linestring",
        "polygon" => "polygon",
        "multipoint" => "multipoint",
        "multilinestring" => "multilinestring",
        "multipolygon" => "multipolygon",
        "geometrycollection" | "geomcollection" => "geometrycollection",
        "vector" => "vector",
        "inet4" if mariadb => "inet4",
        "inet6" if mariadb => "inet6",
        "uuid" if mariadb => "uuid",
        _ => return None,
    };
    if tokens.punct(next, '(') {
        let end = tokens.skip_parens(next);
        let first = tokens.span(next).end;
        let last = tokens.span(end.checked_sub(1)?).start;
        raw.args = Some(tokens.sql.get(first..last)?.trim().to_owned());
        next = end;
    }
    Some((raw, next))
}

impl RawType {
    /// One number of the parentheses.
    pub fn number(&self, place: usize) -> Option<u64> {
        self.args.as_deref()?.split(',').nth(place)?.trim().parse().ok()
    }

    /// The type in the server's words; `charset` is the column's, if it is text and known.
    pub fn text(&self, charset: Option<&str>) -> String {
        let base = self.base;
        let width = charset.map_or(1, bytes_per_character);
        let args = |default: &str| self.args.clone().unwrap_or_else(|| default.to_owned());
        match base {
            "bit" | "char" | "binary" => format!("{base}({})", args("1")),
            "decimal" => {
                let precision = self.number(0).filter(|precision| *precision > 0).unwrap_or(10);
                format!("decimal({precision},{})", self.number(1).unwrap_or(0))
            }
            // FLOAT(p) with more than 24 bits is DOUBLE.
            "float" if self.number(1).is_none() => {
                if self.number(0).unwrap_or(0) > 24 { "double" } else { "float" }.to_owned()
            }
            "varchar" | "varbinary" => match self.number(0) {
                Some(length) if length.saturating_mul(width) > 65_535 => {
                    let text = text_of_bytes(length.saturating_mul(width));
                    if base == "varbinary" { binary_type(text) } else { text }.to_owned()
                }
                _ => format!("{base}({})", args("1")),
            },
            "text" | "blob" if self.args.is_some() => {
                let bytes = self.number(0).unwrap_or(0).saturating_mul(width);
                let text = if bytes == 0 { "text" } else { text_of_bytes(bytes) };
                if base == "blob" { binary_type(text) } else { text }.to_owned()
            }
            "time" | "datetime" | "timestamp" => match self.number(0) {
                Some(digits) if digits > 0 => format!("{base}({digits})"),
                _ => base.to_owned(),
            },
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "float" | "double" | "enum" | "set"
            | "vector" => match &self.args {
                Some(args) => format!("{base}({args})"),
                None => base.to_owned(),
            },
            // A display width of YEAR means nothing.
            _ => base.to_owned(),
        }
    }
}

/// What CONVERT TO CHARACTER SET makes of a type: as long a text as before must fit.
pub(super) fn converted(type_text: &str, from: Option<&str>, to: &str) -> String {
    // MariaDB's COMPRESSED stands behind the type.
    if let Some((plain, compressed)) = type_text.split_once(" /*") {
        return format!("{} /*{compressed}", converted(plain, from, to));
    }
    let base = type_text.split('(').next().unwrap_or(type_text);
    if let Some(bytes) = bytes_of_text(base) {
        let old = from.map_or(1, bytes_per_character);
        return text_of_bytes((bytes / old).saturating_mul(bytes_per_character(to)).min(u64::from(u32::MAX)))
            .to_owned();
    }
    if let Some(rest) = type_text.strip_prefix("varchar(")
        && let Some(length) = rest.split(')').next().and_then(|length| length.parse::<u64>().ok())
        && length.saturating_mul(bytes_per_character(to)) > 65_535
    {
        return text_of_bytes(length.saturating_mul(bytes_per_character(to))).to_owned();
    }
    type_text.to_owned()
}
