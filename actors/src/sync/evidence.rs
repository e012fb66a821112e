//! A transaction that the task has applied, kept as evidence that a server still has the history it was read from.
//!
//! Sets of GTIDs and ends of files do not tell everything: a server that was restored from a backup, or a copy of a
//! server's data directory, goes on giving the same numbers to other transactions, and soon has "all" that the task has
//! read. So the task remembers where one of the last transactions begins, and when it was committed, and looks at that
//! place again at every connection.

use std::collections::VecDeque;
use std::time::Duration;

use dmnode_model::policy::Fault;
use dmnode_model::{BinlogPosition, Endpoint, Gtid, GtidSet, Location};
use dmnode_mysql::{BinlogError, BinlogEvent, BinlogReader, BinlogStart, EventBody, ServerInfo};

use super::coordinator::WINDOW_MAX;

/// Looking for a transaction by its GTID may take so long; not to have found it says nothing.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// Longest reason in a warning.
const WHY_MAX: usize = 300;

/// A transaction as its source's binlog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Where it begins.
    pub place: BinlogPosition,
    /// Seconds since 1970 in its first event.
    timestamp: u32,
    /// When the server that ran it first committed it, in microseconds; 0 when the binlog does not say.
    committed: u64,
    /// Its name, if it has one.
    pub gtid: Option<Gtid>,
}

impl Evidence {
    /// Of a transaction's first event.
    pub fn of(event: &BinlogEvent) -> Option<Self> {
        let (gtid, committed) = match &event.body {
            EventBody::Gtid(gtid) => (Some(gtid.gtid.clone()), gtid.original_commit_timestamp),
            EventBody::AnonymousGtid { original_commit_timestamp } => (None, *original_commit_timestamp),
            _ => return None,
        };
        Some(Self {
            place: BinlogPosition { file: event.file.to_string(), pos: event.start_pos },
            timestamp: event.header.timestamp,
            committed: committed.unwrap_or(0),
            gtid,
        })
    }

    /// As it is remembered.
    pub fn text(&self) -> String {
        let gtid = self.gtid.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{} {} {} {gtid}\n{}", self.place.pos, self.timestamp, self.committed, self.place.file)
    }

    /// Reads what was written.
    pub fn parse(text: &str) -> Option<Self> {
        let (numbers, file) = text.split_once('\n')?;
        let mut parts = numbers.split(' ');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (pos, timestamp, committed) = (number()?, number()?, number()?);
        let gtid = match parts.next()? {
            "" => None,
            gtid => Some(gtid.parse().ok()?),
        };
        let place = BinlogPosition::new(file, pos);
        Some(Self { place, timestamp: u32::try_from(timestamp).ok()?, committed, gtid })
    }

    /// Whether a task that is here has applied it.
    fn is_within(&self, end: &BinlogPosition, location: &Location) -> bool {
        match (&self.gtid, &location.gtid_set) {
            (Some(gtid), Some(set)) => set.contains(gtid),
            _ => *end <= location.position,
        }
    }
}

/// The last transactions that were read, until the target has them.
#[derive(Debug, Default)]
pub struct Recent {
    /// What is in the target.
    applied: Option<Evidence>,
    read: VecDeque<(BinlogPosition, Evidence)>,
}

impl Recent {
    /// With what an earlier generation has remembered.
    pub fn new(applied: Option<Evidence>) -> Self {
        Self { applied, read: VecDeque::new() }
    }

    /// A transaction was read; it ends here.
    pub fn passed(&mut self, end: BinlogPosition, evidence: Evidence) {
        // No more than that can be in flight.
        if self.read.len() > WINDOW_MAX {
            self.read.pop_front();
        }
        self.read.push_back((end, evidence));
    }

    /// Another server's places mean nothing here.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The last one that was read.
    pub fn last_read(&self) -> Option<&Evidence> {
        self.read.back().map(|(_, evidence)| evidence).or(self.applied.as_ref())
    }

    /// The last one in the target, which is up to here.
    pub fn last_applied(&mut self, location: &Location) -> Option<&Evidence> {
        while self.read.front().is_some_and(|(end, evidence)| evidence.is_within(end, location)) {
            if let Some((_, evidence)) = self.read.pop_front() {
                self.applied = Some(evidence);
            }
        }
        self.applied.as_ref()
    }
}

/// What a server has where the transaction was.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The transaction.
    Same,
    /// Something else.
    Other(String),
    /// It cannot be told: the binlog does not name transactions well enough, or the server would not show this one, and
    /// then why.
    Unknown(Option<String>),
}

/// Whether a stream can begin there: a dump command has 32 bits for an offset.
pub fn can_be_asked_for(place: &BinlogPosition) -> bool {
    place.pos <= u64::from(u32::MAX)
}

/// Looks at the place where the transaction was in the binlog of the same server.
pub async fn at_its_place(
    endpoint: &Endpoint,
    info: &ServerInfo,
    evidence: &Evidence,
) -> Result<Found, BinlogError> {
    // What lies beyond cannot be asked for.
    if !can_be_asked_for(&evidence.place) {
        return Ok(Found::Unknown(None));
    }
    let other = |what: &str| Ok(Found::Other(format!("{} at {}", what, evidence.place)));
    let mut reader = open(endpoint, info, BinlogStart::Position(evidence.place.clone())).await?;
    loop {
        let event = match reader.next().await {
            Ok(event) => event,
            // Purged this very moment; another text with the same number says that the file ends before.
            Err(BinlogError::Sql(error)) if error.message.to_ascii_lowercase().contains("could not find") => {
                return Ok(Found::Unknown(Some(refused(evidence, &"its file was purged"))));
            }
            Err(error) if error.is_position_lost() => return other("the binlog has no event"),
            Err(BinlogError::Malformed { .. } | BinlogError::Checksum { .. }) => {
                return other("no event begins");
            }
            Err(error) => return Err(error),
        };
        match &event.body {
            EventBody::Gtid(_) | EventBody::AnonymousGtid { .. } => {
                if Evidence::of(&event).as_ref() == Some(evidence) {
                    return Ok(Found::Same);
                }
                return other("another transaction stands");
            }
            EventBody::Rotate { artificial: true, .. }
            | EventBody::FormatDescription { .. }
            | EventBody::MariadbGtidList(_)
            | EventBody::PreviousGtids(_) => {}
            EventBody::Heartbeat | EventBody::Rotate { .. } => return other("the binlog has no event"),
            _ => return other("another event stands"),
        }
    }
}

/// Looks for the transaction by its name in the binlog of any server that must have it. `set` is what the task has read.
pub async fn by_its_name(
    endpoint: &Endpoint,
    info: &ServerInfo,
    evidence: &Evidence,
    set: &GtidSet,
) -> Result<Found, BinlogError> {
    let (Some(gtid @ Gtid::Mysql { .. }), true) = (&evidence.gtid, evidence.committed > 0) else {
        return Ok(Found::Unknown(None));
    };
    let mut wanted = GtidSet::empty(gtid.flavor());
    if wanted.insert(gtid).is_err() {
        return Ok(Found::Unknown(None));
    }
    let start = BinlogStart::Gtid(set.subtract(&wanted));
    let look = async {
        let mut reader = open(endpoint, info, start).await?;
        loop {
            let event = reader.next().await?;
            match &event.body {
                EventBody::Gtid(found) if found.gtid == *gtid => {
                    let committed = found.original_commit_timestamp.unwrap_or(0);
                    let found = match committed {
                        0 => Found::Unknown(None),
                        same if same == evidence.committed => Found::Same,
                        _ => Found::Other(format!("another transaction has the number {gtid}")),
                    };
                    return Ok::<_, BinlogError>(found);
                }
                EventBody::Heartbeat => {
                    return Ok(Found::Unknown(Some(refused(evidence, &"the server did not send it"))));
                }
                _ => {}
            }
        }
    };
    answered(evidence, tokio::time::timeout(LOOK_LIMIT, look).await.ok())
}

/// What the answer says; `None` is a server that took too long. A refusal would be the same the next time, and a slow
/// server as slow: the task goes on without having compared, and says so. What passes is tried again.
fn answered(evidence: &Evidence, answer: Option<Result<Found, BinlogError>>) -> Result<Found, BinlogError> {
    match answer {
        None => {
            let why = format!("the server did not find it within {} s", LOOK_LIMIT.as_secs());
            Ok(Found::Unknown(Some(refused(evidence, &why))))
        }
        Some(Err(error)) if error.fault() == Fault::Refused => {
            Ok(Found::Unknown(Some(refused(evidence, &error))))
        }
        Some(answer) => answer,
    }
}

/// In the words of a warning.
fn refused(evidence: &Evidence, why: &dyn std::fmt::Display) -> String {
    let name = evidence.gtid.as_ref().map_or_else(|| evidence.place.to_string(), ToString::to_string);
    let mut why = why.to_string();
    if let Some((cut, _)) = why.char_indices().nth(WHY_MAX) {
        why.truncate(cut);
        why.push('…');
    }
    format!(
        "whether the source still has the history that the task has read is not known: transaction {name} cannot be looked up ({why}); compare with `diff` after a switch or a restore of the source"
    )
}

async fn open(
    endpoint: &Endpoint,
    info: &ServerInfo,
    start: BinlogStart,
) -> Result<BinlogReader, BinlogError> {
    let server_id = rand::random_range(0x4000_0000..0xfff0_0000);
    BinlogReader::open(endpoint, info, server_id, start).await
}

#[cfg(test)]
mod tests {
    use dmnode_mysql::SqlError;

    use super::*;

    fn evidence(pos: u64, gtid: Option<&str>) -> Evidence {
        let gtid = gtid.map(|gtid| gtid.parse().unwrap());
        Evidence { place: BinlogPosition::new("my bin.000001", pos), timestamp: 7, committed: 8, gtid }
    }

    #[test]
    fn evidence_is_read_as_it_was_written() {
        for gtid in [None, Some("0-1-5"), Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:tag:5")] {
            let one = evidence(400, gtid);
            assert_eq!(Evidence::parse(&one.text()), Some(one));
        }
        for odd in ["", "1 2", "1 2 3\nf", "1 2 3 x-y\nf"] {
            assert_eq!(Evidence::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_transaction_that_cannot_be_looked_up_is_told_or_tried_again() {
        let one = evidence(400, Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:5"));
        let told = |answer| match answered(&one, answer) {
            Ok(Found::Unknown(Some(why))) => why,
            other => panic!("{other:?}"),
        };
        let server = |code, text: &str| Some(Err(BinlogError::Sql(SqlError::server(code, "HY000", text))));
        assert!(told(None).contains("within 10 s"));
        let purged = told(server(1236, &format!("purged required binary logs {}", "x".repeat(5000))));
        assert!(purged.contains("c80aa9429562:5 cannot be looked up (ERROR 1236"), "{purged}");
        assert!(purged.len() < 700, "bounded: {}", purged.len());
        assert!(told(server(1227, "denied")).contains("denied"));
        for passing in [1040, 1053, 1290, 1317] {
            let again = answered(&one, server(passing, "running with --read-only"));
            assert!(again.is_err(), "{passing}: {again:?}");
        }
        assert_eq!(answered(&one, Some(Ok(Found::Same))).unwrap(), Found::Same);
    }

    #[test]
    fn only_what_the_target_has_is_remembered() {
        let mut recent = Recent::new(Some(evidence(4, None)));
        let end = |pos| BinlogPosition::new("my bin.000001", pos);
        recent.passed(end(200), evidence(100, None));
        recent.passed(end(300), evidence(200, None));
        let location = |pos| Location::new(end(pos), None);
        assert_eq!(recent.last_read().unwrap().place.pos, 200);
        assert_eq!(recent.last_applied(&location(199)).unwrap().place.pos, 4);
        assert_eq!(recent.last_applied(&location(200)).unwrap().place.pos, 100);
        assert_eq!(recent.last_applied(&location(900)).unwrap().place.pos, 200);
        assert_eq!(recent.last_read().unwrap().place.pos, 200);
        recent.forget();
        assert_eq!(recent.last_read(), None);
    }
}
