//! Where in a source's binlog something is.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codes;
use crate::error::CodedError;
use crate::gtid::GtidSet;

/// A binlog file and an offset in it. Ordered by the file's number, then by the offset.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct BinlogPosition {
    /// Name of the file, such as `mysql-bin.000001`; empty means "no position".
    pub file: String,
    /// Offset in bytes.
    pub pos: u64,
}

impl BinlogPosition {
    /// A position from its parts.
    pub fn new(file: impl Into<String>, pos: u64) -> Self {
        Self { file: file.into(), pos }
    }

    /// Whether this is "no position".
    pub fn is_empty(&self) -> bool {
        self.file.is_empty()
    }

    /// The number at the end of the file name (`mysql-bin.000007` → 7).
    pub fn file_number(&self) -> Option<u64> {
        let (base, suffix) = self.file.rsplit_once('.')?;
        if base.is_empty() || suffix.is_empty() || !suffix.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        suffix.parse().ok()
    }
}

impl Ord for BinlogPosition {
    fn cmp(&self, other: &Self) -> Ordering {
        // `mysql-bin.1000000` comes after `mysql-bin.999999`; names without a number come first. The names
        // themselves break ties so that the order agrees with equality.
        (self.file_number(), self.pos)
            .cmp(&(other.file_number(), other.pos))
            .then_with(|| self.file.cmp(&other.file))
    }
}

impl PartialOrd for BinlogPosition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for BinlogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.file, self.pos)
    }
}

impl FromStr for BinlogPosition {
    type Err = CodedError;

    fn from_str(text: &str) -> Result<Self, CodedError> {
        let bad = || {
            CodedError::new(codes::INVALID_BINLOG_POS_STR, format!("invalid mysql position string: {text}"))
                .remedy("write it as `mysql-bin.000001:4` or `(mysql-bin.000001, 4)`")
        };
        let trimmed = text.trim();
        let (file, pos) = match trimmed.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            Some(inner) => inner.rsplit_once(',').ok_or_else(bad)?,
            None => trimmed.rsplit_once(':').ok_or_else(bad)?,
        };
        let pos = match pos.trim() {
            "" if file.trim().is_empty() => 0,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| bad())?,
            _ => return Err(bad()),
        };
        Ok(Self { file: file.trim().to_owned(), pos })
    }
}

/// A place in a source's stream: position and, when known, the GTID set executed up to it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Location {
    /// File and offset.
    pub position: BinlogPosition,
    /// Everything executed up to here.
    pub gtid_set: Option<GtidSet>,
}

impl Location {
    /// A location from its parts.
    pub fn new(position: BinlogPosition, gtid_set: Option<GtidSet>) -> Self {
        Self { position, gtid_set }
    }

    /// The GTID set as text, empty when unknown.
    pub fn gtid_text(&self) -> String {
        self.gtid_set.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position: {}, gtid-set: {}", self.position, self.gtid_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_both_spellings() {
        let position = BinlogPosition::new("mysql-bin.000001", 123);
        assert_eq!(position.to_string(), "(mysql-bin.000001, 123)");
        assert_eq!("(mysql-bin.000001, 123)".parse::<BinlogPosition>().unwrap(), position);
        assert_eq!("mysql-bin.000001:123".parse::<BinlogPosition>().unwrap(), position);
        assert_eq!(BinlogPosition::default().to_string(), "(, 0)");
        assert_eq!("(, 0)".parse::<BinlogPosition>().unwrap(), BinlogPosition::default());
        for bad in ["", "x", "(a, b)", "a:-1", "a:+1", "a:99999999999999999999", "(a, 1", "a:"] {
            assert_eq!(bad.parse::<BinlogPosition>().unwrap_err().code, 11049, "{bad:?}");
        }
    }

    #[test]
    fn files_are_ordered_by_number() {
        let at = BinlogPosition::new;
        assert!(at("bin.999999", 5) < at("bin.1000000", 4));
        assert!(at("bin.000002", 4) < at("bin.000002", 5));
        assert!(BinlogPosition::default() < at("bin.000001", 0));
        assert_eq!(at("a.b.000010", 4).file_number(), Some(10));
        assert_eq!(at(".1", 4).file_number(), None);
        assert_eq!(at("bin.", 4).file_number(), None);
    }

    #[test]
    fn a_location_prints_like_dm() {
        let location = Location::new(BinlogPosition::new("mysql-bin.000001", 1155), None);
        assert_eq!(location.to_string(), "position: (mysql-bin.000001, 1155), gtid-set: ");
    }
}
