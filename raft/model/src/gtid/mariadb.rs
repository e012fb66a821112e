//! MariaDB's sets: the last transaction of each domain, `0-1-5,7-2-9`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::Gtid;
use crate::codes;
use crate::error::CodedError;

/// The last transaction of each domain; it stands for all before it in the domain.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct MariadbGtidSet {
    last: BTreeMap<u32, (u32, u64)>,
}

impl MariadbGtidSet {
    /// (domain, server id, sequence) in order of domain.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, u64)> {
        self.last.iter().map(|(domain, (server_id, sequence))| (*domain, *server_id, *sequence))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Whether the domain has got as far as the sequence number.
    pub fn contains(&self, domain: u32, sequence: u64) -> bool {
        self.last.get(&domain).is_some_and(|(_, last)| *last >= sequence)
    }

    /// Whether every domain of `other` has got as far here.
    pub fn contains_set(&self, other: &MariadbGtidSet) -> bool {
        other.last.iter().all(|(domain, (_, sequence))| self.contains(*domain, *sequence))
    }

    /// Makes the transaction the last of its domain, whatever its number: with `gtid_strict_mode=OFF`
    /// numbers may fall, and the position is still "after this one".
    pub fn set_last(&mut self, domain: u32, server_id: u32, sequence: u64) {
        self.last.insert(domain, (server_id, sequence));
    }

    /// Keeps the higher number of each domain.
    pub fn union(&mut self, other: &MariadbGtidSet) {
        for (domain, theirs) in &other.last {
            let own = self.last.entry(*domain).or_insert(*theirs);
            // The server id decides only between equal numbers, so that the union commutes.
            if (theirs.1, theirs.0) > (own.1, own.0) {
                *own = *theirs;
            }
        }
    }

    /// The domains that are ahead of `other`.
    pub fn subtract(&self, other: &MariadbGtidSet) -> MariadbGtidSet {
        let ahead = self.last.iter().filter(|(domain, (_, sequence))| !other.contains(**domain, *sequence));
        MariadbGtidSet { last: ahead.map(|(domain, last)| (*domain, *last)).collect() }
    }
}

impl fmt::Display for MariadbGtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (domain, server_id, sequence)) in self.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            write!(f, "{separator}{domain}-{server_id}-{sequence}")?;
        }
        Ok(())
    }
}

impl FromStr for MariadbGtidSet {
    type Err = CodedError;

    /// Several transactions of one domain (as in `gtid_binlog_state`) give the highest.
    fn from_str(text: &str) -> Result<Self, CodedError> {
        let mut set = MariadbGtidSet::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (domain, server_id, sequence) = parse_triple(entry).ok_or_else(|| not_valid(text))?;
            let one = MariadbGtidSet { last: BTreeMap::from([(domain, (server_id, sequence))]) };
            set.union(&one);
        }
        Ok(set)
    }
}

fn parse_triple(text: &str) -> Option<(u32, u32, u64)> {
    // `+1` would parse as a number.
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return None;
    }
    let mut parts = text.split('-');
    let domain = parts.next()?.parse().ok()?;
    let server_id = parts.next()?.parse().ok()?;
    let sequence = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((domain, server_id, sequence))
}

pub(super) fn parse_gtid(text: &str) -> Result<Gtid, CodedError> {
    let (domain, server_id, sequence) = parse_triple(text.trim()).ok_or_else(|| not_valid(text))?;
    Ok(Gtid::Mariadb { domain, server_id, sequence })
}

fn not_valid(text: &str) -> CodedError {
    CodedError::new(
        codes::BINLOG_GTID_MARIADB_NOT_VALID,
        format!("GTID set string {} for MariaDB not valid", shorten(text)),
    )
    .remedy("write it as `domain-server-sequence`, several separated by commas")
}

/// Foreign text in a message is cut: it may be of any length.
pub(super) fn shorten(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 200;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> MariadbGtidSet {
        text.parse().unwrap()
    }

    #[test]
    fn prints_canonically() {
        for (given, canonical) in
            [("", ""), (" 7-2-9 ,\n0-1-5", "0-1-5,7-2-9"), ("0-1-5,0-2-9,0-3-7", "0-2-9"), ("0-1-0", "0-1-0")]
        {
            assert_eq!(set(given).to_string(), canonical);
        }
        for bad in ["x", "1-2", "1-2-3-4", "1--2", "+1-2-3", "1-2-18446744073709551616", "4294967296-1-1"] {
            assert_eq!(bad.parse::<MariadbGtidSet>().unwrap_err().code, 11060, "{bad}");
        }
    }

    #[test]
    fn the_last_transaction_stands_for_those_before_it() {
        let position = set("0-1-5");
        assert!(position.contains(0, 5) && position.contains(0, 1));
        assert!(!position.contains(0, 6) && !position.contains(1, 1));
    }

    #[test]
    fn falling_numbers_are_followed_in_stream_order() {
        let mut position = set("0-1-100");
        position.set_last(0, 2, 50);
        assert_eq!(position.to_string(), "0-2-50");
    }

    fn sets() -> impl Strategy<Value = MariadbGtidSet> {
        prop::collection::btree_map(0..4u32, (1..3u32, 0..9u64), 0..4)
            .prop_map(|last| MariadbGtidSet { last })
    }

    proptest! {
        #[test]
        fn the_algebra_holds(a in sets(), b in sets(), c in sets()) {
            let union = |x: &MariadbGtidSet, y: &MariadbGtidSet| { let mut x = x.clone(); x.union(y); x };
            prop_assert_eq!(union(&a, &b), union(&b, &a));
            prop_assert_eq!(union(&union(&a, &b), &c), union(&a, &union(&b, &c)));
            prop_assert_eq!(union(&a, &a), a.clone());
            prop_assert!(union(&a, &b).contains_set(&a));
            prop_assert!(a.subtract(&a).is_empty());
            prop_assert!(union(&b, &a.subtract(&b)).contains_set(&a));
            prop_assert_eq!(b.contains_set(&a), a.subtract(&b).is_empty());
        }

        #[test]
        fn printing_and_parsing_give_the_set(a in sets()) {
            prop_assert_eq!(a.to_string().parse::<MariadbGtidSet>().unwrap(), a);
        }

        #[test]
        fn foreign_text_never_panics(text in "[0-9,\\- ]{0,60}") {
            let _ = text.parse::<MariadbGtidSet>();
        }
    }
}
