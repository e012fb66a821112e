//! Global transaction identifiers and sets of them, for MySQL (with tags) and MariaDB.
//!
//! The two flavours differ in meaning. A MySQL set is a real set: intervals of numbers per (server UUID,
//! tag), with holes. A MariaDB set is a replication position: the last transaction of each domain, which
//! stands for everything before it in that domain.

mod mariadb;
mod mysql;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::mariadb::MariadbGtidSet;
pub use self::mysql::{Interval, MysqlGtidSet, TAG_LENGTH_MAX, format_uuid, parse_uuid};

use crate::codes;
use crate::error::CodedError;

/// Which family a server belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// MySQL and its builds (Percona Server, cloud variants).
    Mysql,
    /// MariaDB.
    Mariadb,
}

impl Flavor {
    /// `mysql` or `mariadb`.
    pub fn as_str(self) -> &'static str {
        match self {
            Flavor::Mysql => "mysql",
            Flavor::Mariadb => "mariadb",
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Flavor {
    type Err = CodedError;

    fn from_str(text: &str) -> Result<Self, CodedError> {
        match text {
            "mysql" => Ok(Flavor::Mysql),
            "mariadb" => Ok(Flavor::Mariadb),
            _ => Err(CodedError::new(codes::NOT_SUPPORTED_FLAVOR, format!("flavor {text} not supported"))
                .remedy("flavor is `mysql` or `mariadb`; leave it out to have it detected")),
        }
    }
}

/// The identifier of one transaction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Gtid {
    /// `uuid:gno` or `uuid:tag:gno`.
    Mysql {
        /// UUID of the server that committed the transaction first.
        sid: [u8; 16],
        /// Tag, empty for none.
        tag: String,
        /// Number, from 1.
        gno: u64,
    },
    /// `domain-server-sequence`.
    Mariadb {
        /// Replication domain.
        domain: u32,
        /// Server that committed the transaction first.
        server_id: u32,
        /// Sequence number in the domain.
        sequence: u64,
    },
}

impl Gtid {
    /// The flavour it belongs to.
    pub fn flavor(&self) -> Flavor {
        match self {
            Gtid::Mysql { .. } => Flavor::Mysql,
            Gtid::Mariadb { .. } => Flavor::Mariadb,
        }
    }

    /// Parses one identifier of the flavour.
    pub fn parse(flavor: Flavor, text: &str) -> Result<Self, CodedError> {
        match flavor {
            Flavor::Mysql => mysql::parse_gtid(text),
            Flavor::Mariadb => mariadb::parse_gtid(text),
        }
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gtid::Mysql { sid, tag, gno } if tag.is_empty() => write!(f, "{}:{gno}", format_uuid(sid)),
            Gtid::Mysql { sid, tag, gno } => write!(f, "{}:{tag}:{gno}", format_uuid(sid)),
            Gtid::Mariadb { domain, server_id, sequence } => write!(f, "{domain}-{server_id}-{sequence}"),
        }
    }
}

impl FromStr for Gtid {
    type Err = CodedError;

    /// The flavour is told by the form: only MySQL's has a colon.
    fn from_str(text: &str) -> Result<Self, CodedError> {
        Self::parse(if text.contains(':') { Flavor::Mysql } else { Flavor::Mariadb }, text)
    }
}

impl Serialize for Gtid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Gtid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of transactions.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum GtidSet {
    /// Intervals per (UUID, tag).
    Mysql(MysqlGtidSet),
    /// The last transaction per domain.
    Mariadb(MariadbGtidSet),
}

impl GtidSet {
    /// The empty set.
    pub fn empty(flavor: Flavor) -> Self {
        match flavor {
            Flavor::Mysql => GtidSet::Mysql(MysqlGtidSet::default()),
            Flavor::Mariadb => GtidSet::Mariadb(MariadbGtidSet::default()),
        }
    }

    /// Parses the text form of the flavour, blanks and line breaks allowed; an empty text is the empty set.
    pub fn parse(flavor: Flavor, text: &str) -> Result<Self, CodedError> {
        match flavor {
            Flavor::Mysql => text.parse().map(GtidSet::Mysql),
            Flavor::Mariadb => text.parse().map(GtidSet::Mariadb),
        }
    }

    /// The flavour it belongs to.
    pub fn flavor(&self) -> Flavor {
        match self {
            GtidSet::Mysql(_) => Flavor::Mysql,
            GtidSet::Mariadb(_) => Flavor::Mariadb,
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        match self {
            GtidSet::Mysql(set) => set.is_empty(),
            GtidSet::Mariadb(set) => set.is_empty(),
        }
    }

    /// Whether the transaction is in the set; never for one of another flavour.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        match (self, gtid) {
            (GtidSet::Mysql(set), Gtid::Mysql { sid, tag, gno }) => set.contains(sid, tag, *gno),
            (GtidSet::Mariadb(set), Gtid::Mariadb { domain, sequence, .. }) => {
                set.contains(*domain, *sequence)
            }
            (GtidSet::Mysql(_), Gtid::Mariadb { .. }) | (GtidSet::Mariadb(_), Gtid::Mysql { .. }) => false,
        }
    }

    /// Whether every transaction of `other` is in the set. Empty sets are in every set.
    pub fn contains_set(&self, other: &GtidSet) -> bool {
        match (self, other) {
            (GtidSet::Mysql(set), GtidSet::Mysql(other)) => set.contains_set(other),
            (GtidSet::Mariadb(set), GtidSet::Mariadb(other)) => set.contains_set(other),
            (_, other) => other.is_empty(),
        }
    }

    /// Adds one transaction. For MariaDB it becomes the last of its domain, even when its number is lower
    /// than the present one (`gtid_strict_mode=OFF`): call it in stream order.
    ///
    /// # Errors
    /// A transaction of another flavour.
    pub fn insert(&mut self, gtid: &Gtid) -> Result<(), CodedError> {
        match (self, gtid) {
            (GtidSet::Mysql(set), Gtid::Mysql { sid, tag, gno }) => set.insert(*sid, tag, *gno),
            (GtidSet::Mariadb(set), Gtid::Mariadb { domain, server_id, sequence }) => {
                set.set_last(*domain, *server_id, *sequence);
                Ok(())
            }
            (set, gtid) => Err(wrong_flavor(set.flavor(), gtid)),
        }
    }

    /// Adds every transaction of `other`. For MariaDB the higher number of each domain stays.
    ///
    /// # Errors
    /// A non-empty set of another flavour.
    pub fn union(&mut self, other: &GtidSet) -> Result<(), CodedError> {
        match (self, other) {
            (GtidSet::Mysql(set), GtidSet::Mysql(other)) => set.union(other),
            (GtidSet::Mariadb(set), GtidSet::Mariadb(other)) => set.union(other),
            (_, other) if other.is_empty() => {}
            (set, other) => return Err(wrong_flavor(set.flavor(), other)),
        }
        Ok(())
    }

    /// What is in this set and not in `other`. A set of another flavour takes nothing away.
    pub fn subtract(&self, other: &GtidSet) -> GtidSet {
        match (self, other) {
            (GtidSet::Mysql(set), GtidSet::Mysql(other)) => GtidSet::Mysql(set.subtract(other)),
            (GtidSet::Mariadb(set), GtidSet::Mariadb(other)) => GtidSet::Mariadb(set.subtract(other)),
            (set, _) => set.clone(),
        }
    }
}

fn wrong_flavor(flavor: Flavor, what: &dyn fmt::Display) -> CodedError {
    CodedError::new(
        codes::BINLOG_GTID_SET_NOT_VALID,
        format!("GTID set {what} with flavor {flavor} not valid"),
    )
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GtidSet::Mysql(set) => set.fmt(f),
            GtidSet::Mariadb(set) => set.fmt(f),
        }
    }
}

/// As `mysql/<set>` or `mariadb/<set>`: an empty set must keep its flavour.
impl Serialize for GtidSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/{self}", self.flavor()))
    }
}

impl<'de> Deserialize<'de> for GtidSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (flavor, set) =
            text.split_once('/').ok_or_else(|| serde::de::Error::custom("expected `<flavor>/<GTID set>`"))?;
        let flavor = flavor.parse().map_err(serde::de::Error::custom)?;
        GtidSet::parse(flavor, set).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn flavours_do_not_mix() {
        let mut mysql = GtidSet::parse(Flavor::Mysql, &format!("{UUID}:1-5")).unwrap();
        let mariadb = GtidSet::parse(Flavor::Mariadb, "0-1-5").unwrap();
        assert!(!mysql.contains_set(&mariadb));
        assert!(mysql.contains_set(&GtidSet::empty(Flavor::Mariadb)));
        assert_eq!(mysql.union(&mariadb).unwrap_err().code, 11058);
        assert_eq!(mysql.insert(&"0-1-5".parse().unwrap()).unwrap_err().code, 11058);
        assert_eq!(mysql.subtract(&mariadb), mysql);
    }

    #[test]
    fn serde_keeps_the_flavour_of_an_empty_set() {
        for set in [
            GtidSet::empty(Flavor::Mysql),
            GtidSet::empty(Flavor::Mariadb),
            GtidSet::parse(Flavor::Mysql, &format!("{UUID}:1-5:blue:3")).unwrap(),
            GtidSet::parse(Flavor::Mariadb, "0-1-5,7-2-1").unwrap(),
        ] {
            let json = serde_json::to_string(&set).unwrap();
            assert_eq!(serde_json::from_str::<GtidSet>(&json).unwrap(), set, "{json}");
        }
        assert!(serde_json::from_str::<GtidSet>("\"0-1-5\"").is_err());
    }

    #[test]
    fn a_gtid_prints_and_parses() {
        for text in [format!("{UUID}:7"), format!("{UUID}:blue_1:7"), "0-1-18446744073709551615".to_owned()] {
            let gtid: Gtid = text.parse().unwrap();
            assert_eq!(gtid.to_string(), text);
            let json = serde_json::to_string(&gtid).unwrap();
            assert_eq!(serde_json::from_str::<Gtid>(&json).unwrap(), gtid);
        }
        for bad in ["", ":", "x:1", "0-1", "0-1-x", "0-1-1-1", "4294967296-1-1"] {
            assert!(bad.parse::<Gtid>().is_err(), "{bad:?}");
        }
        for bad in ["0", "1-3", "blue:1-3", "9bad:1", "1:2", "9223372036854775807"] {
            assert!(format!("{UUID}:{bad}").parse::<Gtid>().is_err(), "{bad:?}");
        }
    }
}
