//! MySQL's sets: `uuid:1-3:7:tag:1-5,uuid2:1`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::Gtid;
use crate::codes;
use crate::error::CodedError;

/// Longest tag MySQL allows.
pub const TAG_LENGTH_MAX: usize = 32;

/// Greatest transaction number (MySQL keeps 2^63 - 1 as an end mark).
const GNO_MAX: u64 = i64::MAX as u64 - 1;

/// Consecutive transaction numbers, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Interval {
    /// First number.
    pub start: u64,
    /// Last number.
    pub end: u64,
}

/// Intervals per (server UUID, tag): sorted, disjoint and never adjacent, so that equal sets are equal values.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct MysqlGtidSet {
    sets: BTreeMap<([u8; 16], String), Vec<Interval>>,
}

impl MysqlGtidSet {
    /// The entries in order of UUID and tag (empty for none), each with at least one interval.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8; 16], &str, &[Interval])> {
        self.sets.iter().map(|((sid, tag), intervals)| (sid, tag.as_str(), intervals.as_slice()))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Whether any entry has a tag.
    pub fn has_tags(&self) -> bool {
        self.sets.keys().any(|(_, tag)| !tag.is_empty())
    }

    /// How many transactions are in it.
    pub fn count(&self) -> u64 {
        let size = |interval: &Interval| interval.end - interval.start + 1;
        self.sets.values().flatten().fold(0u64, |sum, interval| sum.saturating_add(size(interval)))
    }

    /// Whether the transaction is in the set.
    pub fn contains(&self, sid: &[u8; 16], tag: &str, gno: u64) -> bool {
        // A tuple key cannot be looked up by reference; tags are short and mostly empty.
        self.sets.get(&(*sid, tag.to_owned())).is_some_and(|intervals| covers(intervals, gno, gno))
    }

    /// Whether every transaction of `other` is in the set.
    pub fn contains_set(&self, other: &MysqlGtidSet) -> bool {
        other.sets.iter().all(|(key, wanted)| {
            self.sets
                .get(key)
                .is_some_and(|intervals| wanted.iter().all(|one| covers(intervals, one.start, one.end)))
        })
    }

    /// Adds one transaction.
    ///
    /// # Errors
    /// A number out of MySQL's range.
    pub fn insert(&mut self, sid: [u8; 16], tag: &str, gno: u64) -> Result<(), CodedError> {
        self.insert_interval(sid, tag, Interval { start: gno, end: gno })
    }

    /// Adds consecutive transactions.
    ///
    /// # Errors
    /// Numbers out of MySQL's range or in the wrong order.
    pub fn insert_interval(
        &mut self,
        sid: [u8; 16],
        tag: &str,
        interval: Interval,
    ) -> Result<(), CodedError> {
        if interval.start == 0 || interval.end > GNO_MAX || interval.start > interval.end {
            return Err(not_valid(&format!("{}:{}-{}", format_uuid(&sid), interval.start, interval.end)));
        }
        add(self.sets.entry((sid, tag.to_owned())).or_default(), interval);
        Ok(())
    }

    /// Adds every transaction of `other`.
    pub fn union(&mut self, other: &MysqlGtidSet) {
        for (key, intervals) in &other.sets {
            let own = self.sets.entry(key.clone()).or_default();
            for interval in intervals {
                add(own, *interval);
            }
        }
    }

    /// What is in this set and not in `other`.
    pub fn subtract(&self, other: &MysqlGtidSet) -> MysqlGtidSet {
        let mut rest = BTreeMap::new();
        for (key, intervals) in &self.sets {
            let left = match other.sets.get(key) {
                Some(gone) => remove(intervals, gone),
                None => intervals.clone(),
            };
            if !left.is_empty() {
                rest.insert(key.clone(), left);
            }
        }
        MysqlGtidSet { sets: rest }
    }
}

/// Whether one of the intervals holds all of `start..=end`; enough, since intervals are never adjacent.
fn covers(intervals: &[Interval], start: u64, end: u64) -> bool {
    let after = intervals.partition_point(|one| one.start <= start);
    after > 0 && intervals[after - 1].end >= end
}

/// Adds an interval, joining those it touches.
fn add(intervals: &mut Vec<Interval>, new: Interval) {
    // Everything in `first..last` overlaps or touches the new one. Ends are below u64::MAX, so +1 is safe.
    let first = intervals.partition_point(|one| one.end + 1 < new.start);
    let last = intervals.partition_point(|one| one.start <= new.end + 1);
    let mut joined = new;
    if first < last {
        joined.start = joined.start.min(intervals[first].start);
        joined.end = joined.end.max(intervals[last - 1].end);
    }
    intervals.splice(first..last.max(first), [joined]);
}

/// `intervals` without `gone`, both sorted.
fn remove(intervals: &[Interval], gone: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut holes = gone.iter().peekable();
    for interval in intervals {
        let mut start = interval.start;
        while holes.next_if(|hole| hole.end < start).is_some() {}
        while let Some(hole) = holes.peek() {
            if hole.start > interval.end {
                break;
            }
            if hole.start > start {
                left.push(Interval { start, end: hole.start - 1 });
            }
            start = hole.end + 1;
            if hole.end > interval.end {
                // It may reach into the next interval as well.
                break;
            }
            holes.next();
        }
        if start <= interval.end {
            left.push(Interval { start, end: interval.end });
        }
    }
    left
}

impl fmt::Display for MysqlGtidSet {
    /// As MySQL prints it, on one line: `uuid:1-3:7:tag:1-5,uuid2:1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut previous: Option<&[u8; 16]> = None;
        for ((sid, tag), intervals) in &self.sets {
            if previous != Some(sid) {
                let separator = if previous.is_some() { "," } else { "" };
                write!(f, "{separator}{}", format_uuid(sid))?;
                previous = Some(sid);
            }
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
            for Interval { start, end } in intervals {
                if start == end {
                    write!(f, ":{start}")?;
                } else {
                    write!(f, ":{start}-{end}")?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for MysqlGtidSet {
    type Err = CodedError;

    fn from_str(text: &str) -> Result<Self, CodedError> {
        let mut set = MysqlGtidSet::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let mut parts = entry.split(':').map(str::trim);
            let sid = parts.next().and_then(parse_uuid).ok_or_else(|| not_valid(text))?;
            let mut tag = String::new();
            let mut dangling = true;
            for part in parts {
                if part.starts_with(|c: char| c.is_ascii_digit()) {
                    // MySQL skips an interval that ends before it starts.
                    if let Some(interval) = parse_interval(part).ok_or_else(|| not_valid(text))? {
                        set.insert_interval(sid, &tag, interval).map_err(|_| not_valid(text))?;
                    }
                    dangling = false;
                } else {
                    tag = parse_tag(part).ok_or_else(|| not_valid(text))?;
                    dangling = true;
                }
            }
            // `uuid` or `uuid:tag` without an interval says nothing.
            if dangling {
                return Err(not_valid(text));
            }
        }
        Ok(set)
    }
}

/// `Some(None)` is a well-formed empty interval such as `5-3`.
#[allow(clippy::option_option)]
fn parse_interval(text: &str) -> Option<Option<Interval>> {
    let (start, end) = match text.split_once('-') {
        Some((start, end)) => (parse_number(start.trim())?, parse_number(end.trim())?),
        None => {
            let number = parse_number(text)?;
            (number, number)
        }
    };
    if start == 0 || end > GNO_MAX || start > GNO_MAX {
        return None;
    }
    Some((start <= end).then_some(Interval { start, end }))
}

/// Digits only: `+1` is no number here.
fn parse_number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn parse_tag(text: &str) -> Option<String> {
    let first = *text.as_bytes().first()?;
    let valid = text.len() <= TAG_LENGTH_MAX
        && !first.is_ascii_digit()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    valid.then(|| text.to_ascii_lowercase())
}

/// Parses a UUID with or without dashes, in either case.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    let mut digits = Vec::with_capacity(32);
    for (index, byte) in bytes.iter().enumerate() {
        if *byte == b'-' && bytes.len() == 36 && matches!(index, 8 | 13 | 18 | 23) {
            continue;
        }
        digits.push(char::from(*byte).to_digit(16)?);
    }
    if digits.len() != 32 {
        return None;
    }
    let mut uuid = [0u8; 16];
    for (byte, pair) in uuid.iter_mut().zip(digits.chunks_exact(2)) {
        // Both digits are below 16, so the value fits.
        *byte = (pair[0] * 16 + pair[1]) as u8;
    }
    Some(uuid)
}

/// A UUID in lower case with dashes.
pub fn format_uuid(uuid: &[u8; 16]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(super) fn parse_gtid(text: &str) -> Result<Gtid, CodedError> {
    let parse = || {
        let (sid, rest) = text.trim().split_once(':')?;
        let sid = parse_uuid(sid.trim())?;
        let (tag, gno) = match rest.split_once(':') {
            Some((tag, gno)) => (parse_tag(tag.trim())?, gno),
            None => (String::new(), rest),
        };
        let gno = parse_number(gno.trim()).filter(|gno| (1..=GNO_MAX).contains(gno))?;
        Some(Gtid::Mysql { sid, tag, gno })
    };
    parse().ok_or_else(|| not_valid(text))
}

fn not_valid(text: &str) -> CodedError {
    CodedError::new(
        codes::BINLOG_GTID_MYSQL_NOT_VALID,
        format!("GTID set string {} for MySQL not valid", super::mariadb::shorten(text)),
    )
    .remedy("write it as `uuid:1-5` or `uuid:tag:1-5`, several separated by commas")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "ffffffff-0000-0000-0000-000000000001";

    fn set(text: &str) -> MysqlGtidSet {
        text.parse().unwrap()
    }

    #[test]
    fn prints_canonically() {
        for (given, canonical) in [
            ("", String::new()),
            (&format!("{}:7:1-3:4-5", A.to_uppercase()), format!("{A}:1-5:7")),
            (&format!(" {B}:1 ,\n{A}:5 - 9:8-12 "), format!("{A}:5-12,{B}:1")),
            (&format!("{A}:Blue:3:1:green:2,{A}:9"), format!("{A}:9:blue:1:3:green:2")),
            (&format!("{}:1", A.replace('-', "")), format!("{A}:1")),
            (&format!("{A}:5-3:8"), format!("{A}:8")),
        ] {
            assert_eq!(set(given).to_string(), canonical, "{given}");
            assert_eq!(set(&canonical), set(given));
        }
    }

    #[test]
    fn refuses_what_is_no_set() {
        for bad in ["x", "1-5", A, ":1", "x:1"] {
            assert!(bad.parse::<MysqlGtidSet>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "0",
            "0-5",
            "1-",
            "-1",
            "+1",
            "1-2-3",
            "tag",
            "1:tag",
            "a-b:1",
            "tag:",
            "9223372036854775807",
        ] {
            let err = format!("{A}:{bad}").parse::<MysqlGtidSet>().unwrap_err();
            assert_eq!(err.code, 11059, "{bad}");
        }
        assert!(format!("{A}:{}:1", "t".repeat(33)).parse::<MysqlGtidSet>().is_err());
    }

    /// F23: a replica whose first files hold 6-7 and later ones 1-20:40-49. Nothing may be taken for granted
    /// between the intervals.
    #[test]
    fn f23_gaps_in_previous_gtids_stay_gaps() {
        let mut executed = set(&format!("{A}:6-7"));
        let later = set(&format!("{A}:1-20:40-49"));
        assert!(!executed.contains_set(&later) && later.contains_set(&executed));
        assert_eq!(later.subtract(&executed).to_string(), format!("{A}:1-5:8-20:40-49"));
        executed.union(&later);
        assert_eq!(executed.to_string(), format!("{A}:1-20:40-49"));
        for gno in 21..40 {
            assert!(!executed.contains(&parse_uuid(A).unwrap(), "", gno), "{gno}");
        }
        executed.insert(parse_uuid(A).unwrap(), "", 30).unwrap();
        assert_eq!(executed.to_string(), format!("{A}:1-20:30:40-49"));
        assert_eq!(executed.count(), 31);
    }

    #[test]
    fn tags_are_sets_of_their_own() {
        let tagged = set(&format!("{A}:1-5:blue:1-5"));
        let sid = parse_uuid(A).unwrap();
        assert!(tagged.contains(&sid, "blue", 5) && !tagged.contains(&sid, "red", 5));
        assert!(tagged.has_tags() && !set(&format!("{A}:1")).has_tags());
        assert_eq!(tagged.subtract(&set(&format!("{A}:1-5"))).to_string(), format!("{A}:blue:1-5"));
    }

    /// A model: a plain set of (uuid, tag, number).
    type Model = BTreeSet<(u8, bool, u64)>;

    fn member((sid, tagged, gno): &(u8, bool, u64)) -> ([u8; 16], &'static str, u64) {
        ([*sid; 16], if *tagged { "blue" } else { "" }, *gno)
    }

    fn build(model: &Model) -> MysqlGtidSet {
        let mut set = MysqlGtidSet::default();
        for one in model {
            let (sid, tag, gno) = member(one);
            set.insert(sid, tag, gno).unwrap();
        }
        set
    }

    fn models() -> impl Strategy<Value = Model> {
        prop::collection::btree_set((0..3u8, any::<bool>(), 1..24u64), 0..60)
    }

    proptest! {
        #[test]
        fn the_algebra_is_that_of_sets(a in models(), b in models()) {
            let (set_a, set_b) = (build(&a), build(&b));
            let mut union = set_a.clone();
            union.union(&set_b);
            prop_assert_eq!(&union, &build(&a.union(&b).copied().collect()));
            let difference = set_a.subtract(&set_b);
            prop_assert_eq!(&difference, &build(&a.difference(&b).copied().collect()));
            prop_assert_eq!(set_a.contains_set(&set_b), a.is_superset(&b));
            prop_assert!(union.contains_set(&set_a) && union.contains_set(&set_b));
            prop_assert!(set_a.contains_set(&difference));
            prop_assert!(set_a.subtract(&set_a).is_empty());
            prop_assert_eq!(set_a.count(), a.len() as u64);
            for one in a.union(&b) {
                let (sid, tag, gno) = member(one);
                prop_assert_eq!(set_a.contains(&sid, tag, gno), a.contains(one));
            }
        }

        #[test]
        fn printing_and_parsing_give_the_set(a in models()) {
            let set_a = build(&a);
            prop_assert_eq!(set_a.to_string().parse::<MysqlGtidSet>().unwrap(), set_a);
        }

        #[test]
        fn the_order_of_insertion_does_not_matter(
            a in prop::collection::vec((1..30u64, 0..6u64), 0..20),
            seed in any::<prop::sample::Index>(),
        ) {
            let make = |intervals: &[(u64, u64)]| {
                let mut set = MysqlGtidSet::default();
                for (start, length) in intervals {
                    set.insert_interval([1; 16], "", Interval { start: *start, end: start + length }).unwrap();
                }
                set
            };
            let mut rotated = a.clone();
            if !rotated.is_empty() {
                rotated.rotate_left(seed.index(a.len()));
                rotated.reverse();
            }
            let set = make(&a);
            prop_assert_eq!(&set, &make(&rotated));
            for (_, _, intervals) in set.iter() {
                prop_assert!(intervals.windows(2).all(|pair| pair[0].end + 1 < pair[1].start));
            }
        }

        #[test]
        fn foreign_text_never_panics(text in "[0-9a-f:,\\- ]{0,80}") {
            let _ = text.parse::<MysqlGtidSet>();
            let _ = format!("{A}:{text}").parse::<MysqlGtidSet>();
        }
    }
}
