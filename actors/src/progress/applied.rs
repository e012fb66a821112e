//! The applied set: identities of source transactions beyond the watermark that are already in the target.
//!
//! It is kept as ranges, so that a run of consecutive transactions costs a few bytes in the progress row.

use std::collections::BTreeMap;
use std::fmt;

use dmnode_model::gtid::{Gtid, GtidSet};
use dmnode_model::position::{BinlogPosition, Location};

/// The identity of a source transaction: its GTID when it has one, else where it ends in the binlog.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TxnId {
    /// The source gave the transaction a GTID.
    Gtid(Gtid),
    /// The transaction is anonymous; its end position names it.
    Position(BinlogPosition),
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gtid(gtid) => gtid.fmt(f),
            Self::Position(position) => write!(f, "{}:{}", position.file, position.pos),
        }
    }
}

/// What two identities must share to lie in one range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Series {
    Mysql { sid: [u8; 16], tag: String },
    Mariadb { domain: u32, server_id: u32 },
    File(String),
}

fn split(id: &TxnId) -> (Series, u64) {
    match id {
        TxnId::Gtid(Gtid::Mysql { sid, tag, gno }) => {
            (Series::Mysql { sid: *sid, tag: tag.to_string() }, *gno)
        }
        TxnId::Gtid(Gtid::Mariadb { domain, server_id, sequence }) => {
            (Series::Mariadb { domain: *domain, server_id: *server_id }, *sequence)
        }
        TxnId::Position(position) => (Series::File(position.file.clone()), position.pos),
    }
}

/// A set of numbers as disjoint, non-adjacent, inclusive ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| *end >= number)
    }

    fn insert(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first, last);
        // Swallow every range that overlaps or touches the new one.
        while let Some((start, end)) = self
            .0
            .range(..=last.saturating_add(1))
            .next_back()
            .map(|(start, end)| (*start, *end))
            .filter(|(_, end)| end.saturating_add(1) >= first)
        {
            first = first.min(start);
            last = last.max(end);
            self.0.remove(&start);
        }
        self.0.insert(first, last);
    }

    fn remove(&mut self, number: u64) {
        let Some((start, end)) = self.0.range(..=number).next_back().map(|(s, e)| (*s, *e)) else { return };
        if end < number {
            return;
        }
        self.0.remove(&start);
        if start < number {
            self.0.insert(start, number - 1);
        }
        if number < end {
            self.0.insert(number + 1, end);
        }
    }
}

/// A set of [`TxnId`]s with a compact text form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppliedSet {
    series: BTreeMap<Series, Ranges>,
}

impl AppliedSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Whether the transaction is in it.
    pub fn contains(&self, id: &TxnId) -> bool {
        let (series, number) = split(id);
        self.series.get(&series).is_some_and(|ranges| ranges.contains(number))
    }

    /// Adds a transaction.
    pub fn insert(&mut self, id: &TxnId) {
        let (series, number) = split(id);
        self.series.entry(series).or_default().insert(number, number);
    }

    /// Takes a transaction out.
    pub fn remove(&mut self, id: &TxnId) {
        let (series, number) = split(id);
        if let Some(ranges) = self.series.get_mut(&series) {
            ranges.remove(number);
            if ranges.0.is_empty() {
                self.series.remove(&series);
            }
        }
    }

    /// Adds all of another set.
    pub fn union(&mut self, other: &Self) {
        for (series, ranges) in &other.series {
            let mine = self.series.entry(series.clone()).or_default();
            for (first, last) in &ranges.0 {
                mine.insert(*first, *last);
            }
        }
    }

    /// Takes out what a watermark at `location` covers for certain: GTIDs of MySQL in its set, positions before
    /// its own in the same series of files. MariaDB's last number of a domain says nothing about which of the lower
    /// ones were met, so those stay until they are read.
    pub fn prune(&mut self, location: &Location) {
        self.series.retain(|series, ranges| {
            match (series, &location.gtid_set) {
                (Series::Mysql { sid, tag }, Some(GtidSet::Mysql(_))) => {
                    let known = location.gtid_set.as_ref();
                    ranges.0.retain(|first, last| {
                        !(*first..=*last).all(|gno| {
                            let gtid = Gtid::Mysql { sid: *sid, tag: tag.as_str().into(), gno };
                            known.is_some_and(|set| set.contains(&gtid))
                        })
                    });
                }
                (Series::File(file), _) => {
                    if *file == location.position.file {
                        ranges.0.retain(|_, last| *last > location.position.pos);
                    } else if base(file) == base(&location.position.file)
                        && (BinlogPosition { file: file.clone(), pos: 0 }) < location.position
                    {
                        ranges.0.clear();
                    }
                }
                (Series::Mysql { .. } | Series::Mariadb { .. }, _) => {}
            }
            !ranges.0.is_empty()
        });
    }

    /// How many ranges the text form has; a measure of its size.
    pub fn range_count(&self) -> usize {
        self.series.values().map(|ranges| ranges.0.len()).sum()
    }

    /// Reads the text form written by `Display`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut set = Self::new();
        for part in text.split('\n').filter(|part| !part.is_empty()) {
            let bad = || format!("`{part}` is not a series of applied transactions");
            let (head, list) = part.rsplit_once('=').ok_or_else(bad)?;
            let (kind, name) = head.split_at_checked(1).ok_or_else(bad)?;
            let series = match kind {
                "m" => {
                    let (sid, tag) = name.split_once(':').unwrap_or((name, ""));
                    let sid = uuid::Uuid::parse_str(sid).map_err(|_| bad())?;
                    Series::Mysql { sid: *sid.as_bytes(), tag: tag.to_string() }
                }
                "d" => {
                    let (domain, server) = name.split_once('-').ok_or_else(bad)?;
                    Series::Mariadb {
                        domain: domain.parse().map_err(|_| bad())?,
                        server_id: server.parse().map_err(|_| bad())?,
                    }
                }
                "f" => Series::File(name.to_string()),
                _ => return Err(bad()),
            };
            let ranges = set.series.entry(series).or_default();
            for range in list.split(',') {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let (first, last) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
                if first > last {
                    return Err(bad());
                }
                ranges.insert(first, last);
            }
        }
        Ok(set)
    }
}

/// The name of a series of binlog files: the part before the number.
fn base(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(base, _)| base)
}

impl fmt::Display for AppliedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (series, ranges)) in self.series.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match series {
                Series::Mysql { sid, tag } if tag.is_empty() => {
                    write!(f, "m{}=", uuid::Uuid::from_bytes(*sid))?
                }
                Series::Mysql { sid, tag } => write!(f, "m{}:{tag}=", uuid::Uuid::from_bytes(*sid))?,
                Series::Mariadb { domain, server_id } => write!(f, "d{domain}-{server_id}=")?,
                Series::File(name) => write!(f, "f{name}=")?,
            }
            for (index, (first, last)) in ranges.0.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                if first == last {
                    write!(f, "{comma}{first}")?;
                } else {
                    write!(f, "{comma}{first}-{last}")?;
                }
            }
        }
        Ok(())
    }
}

impl<'a> FromIterator<&'a TxnId> for AppliedSet {
    fn from_iter<I: IntoIterator<Item = &'a TxnId>>(ids: I) -> Self {
        let mut set = Self::new();
        for id in ids {
            set.insert(id);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(kind: u8, number: u64) -> TxnId {
        match kind {
            0 => TxnId::Gtid(Gtid::Mysql { sid: [7; 16], tag: Default::default(), gno: number }),
            1 => TxnId::Gtid(Gtid::Mysql { sid: [7; 16], tag: "blue".into(), gno: number }),
            2 => TxnId::Gtid(Gtid::Mariadb { domain: 3, server_id: 4, sequence: number }),
            _ => TxnId::Position(BinlogPosition { file: "a=b-bin.000001".into(), pos: number }),
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in prop::collection::vec((0u8..4, 1u64..40, prop::bool::weighted(0.7)), 0..200)) {
            let mut plain = BTreeSet::new();
            let mut set = AppliedSet::new();
            for (kind, number, add) in steps {
                let id = id(kind, number);
                if add {
                    set.insert(&id);
                    plain.insert(id);
                } else {
                    set.remove(&id);
                    plain.remove(&id);
                }
            }
            for kind in 0..4 {
                for number in 0..42 {
                    let id = id(kind, number);
                    prop_assert_eq!(set.contains(&id), plain.contains(&id));
                }
            }
            prop_assert_eq!(&set, &plain.iter().collect::<AppliedSet>(), "one form per set");
            prop_assert_eq!(&AppliedSet::parse(&set.to_string()).unwrap(), &set);
        }
    }

    #[test]
    fn pruning_keeps_what_the_watermark_does_not_cover() {
        use dmnode_model::gtid::Flavor;
        let at = |file: &str, pos| TxnId::Position(BinlogPosition { file: file.into(), pos });
        let ids = [
            id(0, 3),
            id(0, 9),
            id(2, 5),
            at("bin.000009", 700),
            at("bin.000010", 100),
            at("bin.000010", 101),
            at("bin.000011", 4),
            at("other.000001", 4),
        ];
        let mut set: AppliedSet = ids.iter().collect();
        let gtids = GtidSet::parse(Flavor::Mysql, "07070707-0707-0707-0707-070707070707:1-5").unwrap();
        let position = BinlogPosition { file: "bin.000010".into(), pos: 100 };
        set.prune(&Location { position, gtid_set: Some(gtids) });
        let left: Vec<bool> = ids.iter().map(|id| set.contains(id)).collect();
        // Adjacent positions lie in one range, which stays as a whole.
        assert_eq!(left, [false, true, true, false, true, true, true, true]);
    }

    #[test]
    fn text_is_compact_and_checked() {
        let set: AppliedSet = [id(2, 5), id(2, 7), id(2, 6), id(3, 120)].iter().collect();
        assert_eq!(set.to_string(), "d3-4=5-7\nfa=b-bin.000001=120");
        assert_eq!(set.range_count(), 2);
        for bad in ["x=1", "d1=2", "d1-1=", "d1-1=3-2", "mzz=1", "f", "=1"] {
            assert!(AppliedSet::parse(bad).is_err(), "{bad}");
        }
    }
}
