//! `--start-time`: the place in the source's binlog where a time begins.
//!
//! The file is found by binary search over the times at which the files begin, the place in it by reading on from there:
//! the beginning of the first transaction at or after the time. A transaction's time is when it was committed, as far
//! as the binlog says (MySQL 8.0 and later), else when its last statement began, so that nothing that was committed at
//! or after the time is left out.

use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::config::StartInstant;
use dmnode_model::error::CodedError;
use dmnode_model::{BinlogPosition, Endpoint, GtidSet, Location, Scope};
use dmnode_mysql::{BinlogError, BinlogEvent, BinlogReader, BinlogStart, Connection, EventBody, ServerInfo};

use crate::progress::text_literal;

/// Reading one binlog file of ordinary size takes seconds; a source that takes longer is stuck.
pub const SEARCH_LIMIT: Duration = Duration::from_secs(600);
/// Files may be purged while they are looked at.
const ATTEMPTS: u32 = 3;
/// Offset of the first event of a file.
const FIRST_EVENT: u64 = 4;

/// Where a start time leads.
#[derive(Debug)]
pub struct Found {
    /// A transaction begins here.
    pub location: Location,
    /// The time is before the first binlog that the source still has, and there were some before that.
    pub too_early: bool,
}

/// What went wrong while searching.
enum Failure {
    Binlog(BinlogError),
    Coded(CodedError),
}

impl From<BinlogError> for Failure {
    fn from(error: BinlogError) -> Self {
        Self::Binlog(error)
    }
}

impl From<dmnode_mysql::SqlError> for Failure {
    fn from(error: dmnode_mysql::SqlError) -> Self {
        Self::Binlog(error.into())
    }
}

/// Finds the place. The time is meant in the source's time zone unless it says otherwise.
pub async fn find(
    endpoint: &Endpoint,
    source: &mut Connection,
    info: &ServerInfo,
    text: &str,
) -> Result<Found, CodedError> {
    let named = |error: CodedError| error.object(format!("{}:{}", endpoint.host, endpoint.port));
    let mut attempt = 0;
    loop {
        attempt += 1;
        let search = Search { endpoint, info, text };
        match tokio::time::timeout(SEARCH_LIMIT, search.run(source)).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(Failure::Coded(error))) => return Err(named(error)),
            Ok(Err(Failure::Binlog(error))) if error.is_position_lost() && attempt < ATTEMPTS => {
                tracing::info!(error = %error, "a binlog file went away during the search, once more");
            }
            Ok(Err(Failure::Binlog(error))) => {
                let code =
                    if error.is_connection_lost() { codes::SOURCE_CONNECTION } else { codes::START_LOCATION };
                return Err(named(
                    CodedError::new(
                        code,
                        format!("the place of start-time {text} in the source's binlog cannot be found"),
                    )
                    .scope(Scope::Upstream)
                    .cause(error)
                    .remedy("the source's user needs REPLICATION SLAVE and REPLICATION CLIENT (MariaDB: BINLOG MONITOR); or give `meta` in task.yaml"),
                ));
            }
            Err(_) => {
                return Err(named(
                    CodedError::new(
                        codes::START_LOCATION,
                        format!(
                            "the place of start-time {text} was not found within {} s",
                            SEARCH_LIMIT.as_secs()
                        ),
                    )
                    .remedy("the source sends its binlog too slowly; give `meta` in task.yaml"),
                ));
            }
        }
    }
}

/// A copy knows its own position: a start time would lose or repeat changes.
pub fn with_copy(text: &str) -> CodedError {
    CodedError::new(
        codes::START_TIME_WITH_COPY,
        format!(
            "start-time {text} cannot be used by a task that has yet to copy: its stream begins where the copy was read"
        ),
    )
}

struct Search<'a> {
    endpoint: &'a Endpoint,
    info: &'a ServerInfo,
    text: &'a str,
}

impl Search<'_> {
    async fn run(&self, source: &mut Connection) -> Result<Found, Failure> {
        let wanted = self.instant(source).await?;
        let rows = source.query("SHOW BINARY LOGS").await?;
        let files: Vec<String> = rows.iter().filter_map(|row| row.string(0)).collect();
        let Some(first) = files.first() else {
            return Err(Failure::Coded(CodedError::new(
                codes::START_LOCATION,
                "the source lists no binlog file",
            )));
        };
        // All files before `low` begin before the time.
        let (mut low, mut high) = (0, files.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(file) = files.get(middle) else { break };
            if self.begins(file).await?.time < wanted { low = middle + 1 } else { high = middle }
        }
        let Some(file) = low.checked_sub(1).and_then(|index| files.get(index)) else {
            let begin = self.begins(first).await?;
            let position = BinlogPosition::new(first.clone(), FIRST_EVENT);
            let too_early = begin.has_predecessors(position.file_number());
            return Ok(Found { location: Location::new(position, begin.before), too_early });
        };
        let location = self.scan(file, wanted).await?;
        Ok(Found { location, too_early: false })
    }

    /// Seconds since 1970.
    async fn instant(&self, source: &mut Connection) -> Result<i64, Failure> {
        let instant = StartInstant::parse(self.text).map_err(|why| {
            Failure::Coded(CodedError::new(codes::START_LOCATION, "the start time cannot be read").cause(why))
        })?;
        if let Some(seconds) = instant.unix_seconds() {
            return Ok(seconds);
        }
        // The server knows its zone and when its clocks changed.
        let sql = format!(
            "SELECT TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', CONVERT_TZ({}, @@GLOBAL.time_zone, '+00:00'))",
            text_literal(&instant.sql_text())
        );
        let row = source.query_one(sql).await?;
        row.and_then(|row| row.i64(0)).ok_or_else(|| {
            Failure::Coded(
                CodedError::new(
                    codes::START_LOCATION,
                    "the source cannot tell what the start time is in its time zone",
                )
                .remedy("give the time with its distance from UTC, such as 2026-01-02T15:04:05+08:00"),
            )
        })
    }

    async fn open(&self, file: &str) -> Result<BinlogReader, BinlogError> {
        let start = BinlogStart::Position(BinlogPosition::new(file, FIRST_EVENT));
        let server_id = rand::random_range(0x4000_0000..0xfff0_0000);
        BinlogReader::open(self.endpoint, self.info, server_id, start).await
    }

    /// When a file begins: its first transaction, which comes at or after its first event.
    async fn begins(&self, file: &str) -> Result<Begin, BinlogError> {
        let mut reader = self.open(file).await?;
        let mut begin = Begin { time: 0, before: None };
        loop {
            let event = reader.next().await?;
            match &event.body {
                EventBody::Rotate { artificial: true, .. } => {}
                EventBody::FormatDescription { .. } => {
                    begin.time = begin.time.max(i64::from(event.header.timestamp));
                }
                EventBody::PreviousGtids(set) | EventBody::MariadbGtidList(set) => {
                    begin.before = Some(set.clone());
                }
                EventBody::Gtid(_) | EventBody::AnonymousGtid { .. } => {
                    begin.time = begin.time.max(time(&event));
                    return Ok(begin);
                }
                EventBody::Rotate { .. } | EventBody::Heartbeat => return Ok(begin),
                _ => {}
            }
        }
    }

    /// The first transaction from the beginning of `file` on that is not before the time.
    async fn scan(&self, file: &str, wanted: i64) -> Result<Location, Failure> {
        let mut reader = self.open(file).await?;
        let mut before = None;
        loop {
            let event = reader.next().await?;
            match &event.body {
                EventBody::PreviousGtids(set) => before = Some(set.clone()),
                EventBody::Gtid(_) | EventBody::AnonymousGtid { .. } if time(&event) >= wanted => {
                    let position = BinlogPosition::new(event.file.as_ref(), event.start_pos);
                    return Ok(Location::new(position, before));
                }
                EventBody::Gtid(gtid) => {
                    if let Some(set) = &mut before
                        && set.insert(&gtid.gtid).is_err()
                    {
                        before = None;
                    }
                }
                // The source has nothing more.
                EventBody::Heartbeat => {
                    return Err(Failure::Coded(
                        CodedError::new(
                            codes::CONFIG_START_TIME_TOO_LATE,
                            format!("start-time {} is too late, no binlog location matches it", self.text),
                        )
                        .remedy("retry later; to start where the source is now, leave --start-time out"),
                    ));
                }
                _ => {}
            }
        }
    }
}

/// How a file begins.
struct Begin {
    time: i64,
    before: Option<GtidSet>,
}

impl Begin {
    /// Whether there were files before this one.
    fn has_predecessors(&self, number: Option<u64>) -> bool {
        number != Some(1) && self.before.as_ref().is_none_or(|set| !set.is_empty())
    }
}

/// When a transaction that begins with this event was committed.
fn time(event: &BinlogEvent) -> i64 {
    let begun = i64::from(event.header.timestamp);
    match &event.body {
        EventBody::Gtid(gtid) => {
            let committed = gtid.immediate_commit_timestamp.unwrap_or(0) / 1_000_000;
            begun.max(i64::try_from(committed).unwrap_or(begun))
        }
        _ => begun,
    }
}
