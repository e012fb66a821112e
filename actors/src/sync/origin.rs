//! Whether what answers at the source's address is still the source, with the history the task has read.
//!
//! A virtual IP may move to another server; a server may be reset, restored from a backup, or lose the end of its binlog
//! in a crash. Most of this shows as a stream that is connected, healthy and silent. So at every connection the server
//! is asked who it is and what it has, and compared with what the task remembers:
//!
//! | server | what it has | then |
//! |---|---|---|
//! | the same | all that was read, the binlog files are the same ones | go on |
//! | the same | not all that was read, or files that began anew | stop |
//! | the same | another transaction where the last one of the task was | stop |
//! | the same | files that began anew after `gtid_purged` was set to all that was read | go on by GTID |
//! | another | by GTID: all that was read | go on by GTID |
//! | another | by GTID: not (yet) all of it | wait a while, then stop |
//! | another | by GTID: another transaction under a number that the task has read | stop |
//! | another | by position | stop: a position means nothing there |

use std::fmt;
use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::{BinlogPosition, Endpoint, Flavor, Gtid, GtidSet, Location, Scope};
use dmnode_mysql::{
    BinlogError, BinlogReader, BinlogStart, Connection, EventBody, ServerInfo, SessionOptions, SqlError,
    current_location,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::evidence::{Evidence, Found, Recent, at_its_place, by_its_name, can_be_asked_for};
use crate::progress::meta::{Facts, SOURCE};
use crate::target::target_error;

/// Server errors that mean a missing privilege.
const DENIED: [u16; 4] = [1044, 1045, 1142, 1227];
/// Longest list of transactions in a message.
const SHOWN_MAX: usize = 400;
/// Offset of the first event of a file.
const FIRST_EVENT: u64 = 4;
/// A replica that has become the source may take so long to apply what it had received.
const REPLICA_PATIENCE: Duration = Duration::from_secs(30);
/// The time between sending a transaction and its commit on the source.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);

/// Who the source was when the task last read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Server UUID (MySQL), or server id and domain (MariaDB).
    pub server: String,
    /// A file of its binlog and when that began.
    pub anchor: Option<Anchor>,
}

/// A binlog file and the time in its first event. A file of the same name with another time is another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Its name.
    pub file: String,
    /// Seconds since 1970.
    pub created: u32,
}

impl Anchor {
    /// Whether the file comes after this position, which then cannot be the end.
    pub fn is_beyond(&self, end: &BinlogPosition) -> bool {
        let begin = BinlogPosition::new(self.file.clone(), 0);
        one_series(&self.file, &end.file) && begin.file_number() > end.file_number()
    }
}

/// Whether two files belong to one binlog.
pub fn one_series(a: &str, b: &str) -> bool {
    a.rsplit_once('.').map(|(base, _)| base) == b.rsplit_once('.').map(|(base, _)| base)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server)?;
        if let Some(anchor) = &self.anchor {
            write!(f, "; {} {}", anchor.created, anchor.file)?;
        }
        Ok(())
    }
}

impl Origin {
    /// Reads what was written.
    pub fn parse(text: &str) -> Self {
        let (server, anchor) = text.split_once("; ").map_or((text, None), |(server, rest)| {
            let anchor = rest.split_once(' ').and_then(|(created, file)| {
                Some(Anchor { file: file.to_owned(), created: created.parse().ok()? })
            });
            (server, anchor)
        });
        Self { server: server.to_owned(), anchor }
    }
}

/// What the reader and those who look after it share.
#[derive(Debug, Default)]
pub struct Link {
    /// Who the source is, once it is known.
    pub origin: Mutex<Option<Origin>>,
    /// The last transactions, as evidence of the source's history.
    pub recent: Mutex<Recent>,
    /// Why the last look did not tell whether the source still has what was read.
    pub unproven: Mutex<Option<String>>,
    /// Somebody has seen that the source is not what it was: connect anew and look.
    pub suspect: Notify,
}

impl Link {
    /// What a look at the source's history could not tell, if anything: for the log and the status.
    pub fn look_said(&self, unproven: Option<String>) {
        if let Some(warning) = &unproven {
            tracing::warn!(warning, "the task goes on, but somebody should look at this");
        }
        *self.unproven.lock() = unproven;
    }
}

/// What a server says of itself.
#[derive(Debug)]
pub struct Probe {
    /// Facts.
    pub info: ServerInfo,
    /// Its name, as in [`Origin::server`].
    pub server: String,
    /// Where its binlog ends, and what it has executed; unknown when the account may not ask.
    pub end: Option<Location>,
    /// Transactions it has executed without having them in its binlog (any more).
    purged: Option<GtidSet>,
    /// MariaDB: the last transaction of each server in each domain.
    lineage: Vec<Gtid>,
    files: Vec<String>,
}

/// Name of the server behind a connection.
pub async fn server_name(conn: &mut Connection, info: &ServerInfo) -> Result<String, SqlError> {
    if !info.is_mariadb() {
        return Ok(format!("mysql {}", info.server_uuid.as_deref().unwrap_or("?")));
    }
    let row = conn.query_one("SELECT @@GLOBAL.server_id, @@GLOBAL.gtid_domain_id").await?;
    let part = |index: usize| row.as_ref().and_then(|row| row.string(index)).unwrap_or_default();
    Ok(format!("mariadb {}-{}", part(0), part(1)))
}

impl Probe {
    /// Asks a server through a connection.
    pub async fn of(conn: &mut Connection) -> Result<Self, SqlError> {
        let info = ServerInfo::probe(conn).await?;
        let server = server_name(conn, &info).await?;
        let mut end = permitted(current_location(conn, &info).await)?;
        let (mut purged, mut lineage) = (None, Vec::new());
        if info.is_mariadb() {
            // What a replica has executed without logging it counts as well.
            let row = conn.query_one("SELECT @@GLOBAL.gtid_current_pos").await?;
            if let Some(set) = row.and_then(|row| row.string(0))
                && let Ok(set) = GtidSet::parse(info.flavor, &set)
                && let Some(own) = end.as_mut().and_then(|end| end.gtid_set.as_mut())
            {
                // Both are of one flavour.
                let _ = own.union(&set);
            }
            let sql = "SELECT CONCAT_WS(',', @@GLOBAL.gtid_binlog_state, @@GLOBAL.gtid_slave_pos)";
            let row = conn.query_one(sql).await?;
            let text = row.and_then(|row| row.string(0)).unwrap_or_default();
            lineage =
                text.split(',').filter_map(|one| Gtid::parse(Flavor::Mariadb, one.trim()).ok()).collect();
        } else if info.has_gtids() {
            let row = conn.query_one("SELECT @@GLOBAL.gtid_purged").await?;
            purged = row.and_then(|row| row.string(0)).and_then(|set| GtidSet::parse(info.flavor, &set).ok());
        }
        let files = permitted(conn.query("SHOW BINARY LOGS").await)?.unwrap_or_default();
        let files = files.iter().filter_map(|row| row.string(0)).collect();
        Ok(Self { info, server, end, purged, lineage, files })
    }

    /// Asks the server at an address.
    pub async fn at(endpoint: &Endpoint) -> Result<Self, SqlError> {
        let mut conn = Connection::connect(endpoint, &SessionOptions::default()).await?;
        let probe = Self::of(&mut conn).await?;
        conn.close().await;
        Ok(probe)
    }
}

fn permitted<T>(result: Result<T, SqlError>) -> Result<Option<T>, SqlError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code().is_some_and(|code| DENIED.contains(&code)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How far the task has read.
pub struct Read<'a> {
    /// End of the last transaction.
    pub boundary: &'a BinlogPosition,
    /// Transactions up to there.
    pub set: Option<&'a GtidSet>,
    /// The stream is asked for by GTID.
    pub by_gtid: bool,
    /// One of the last transactions.
    pub evidence: Option<&'a Evidence>,
    /// The position still decides something (what a copy contains): another server's positions would not fit.
    pub by_position_too: bool,
}

/// Whether a server that was asked beside the stream is certainly not what the stream is read from. `applied` is how far
/// the task is. A doubt is worth a reconnect, which finds out.
pub fn is_suspect(probe: &Probe, origin: &Origin, applied: &Location, by_gtid: bool) -> bool {
    if probe.server != origin.server {
        return true;
    }
    let Some(end) = &probe.end else { return false };
    let lost = match (&end.gtid_set, &applied.gtid_set) {
        (Some(executed), Some(set)) => !executed.contains_set(set),
        _ => false,
    };
    let behind =
        !by_gtid && one_series(&end.position.file, &applied.position.file) && end.position < applied.position;
    lost || behind || origin.anchor.as_ref().is_some_and(|anchor| anchor.is_beyond(&end.position))
}

/// Notes which server a copy is read from. A copy that was begun from another one cannot be continued: the positions of
/// its chunks mean nothing there.
pub async fn claim(
    target: &mut Connection,
    facts: &Facts,
    source: &mut Connection,
    info: &ServerInfo,
    endpoint: &Endpoint,
    has_chunks: bool,
) -> Result<(), CodedError> {
    let server = server_name(source, info).await.map_err(|error| {
        CodedError::new(codes::SOURCE_CONNECTION, "the source does not say who it is").cause(error)
    })?;
    let known = facts.get(target, SOURCE).await.map_err(|error| target_error(&error))?;
    let known = known.map(|text| Origin::parse(&text));
    match known {
        Some(known) if known.server == server => return Ok(()),
        Some(known) if has_chunks => {
            return Err(CodedError::new(
                codes::SOURCE_CHANGED,
                "another server answers at the source's address than the one that the copy was begun from",
            )
            .object(format!("{}:{}", endpoint.host, endpoint.port))
            .scope(Scope::Upstream)
            .cause(format!("was {}, answers {server}", known.server))
            .remedy("point the address to the former server until the copy is done; or copy again: stop-task, start-task --remove-meta with an emptied target"));
        }
        _ => {}
    }
    let origin = Origin { server, anchor: None };
    target.execute(facts.put_sql(SOURCE, &origin.to_string())).await.map_err(|error| target_error(&error))?;
    Ok(())
}

/// What is to be done with a server.
#[derive(Debug)]
pub enum Verdict {
    /// It is the source; what it could not be asked, in the words of a warning.
    Same(Option<String>),
    /// It is the source, and its binlog files began anew without losing track of its GTIDs.
    Renewed,
    /// It is another server that has all of what was read; what it could not be asked.
    Switched(Option<String>),
    /// It does not have all of what was read, which may change for so long: a replica that was promoted may still be
    /// applying.
    Behind(CodedError, Duration),
    /// It cannot go on here.
    Stop(CodedError),
}

/// Compares a server with what is remembered.
pub async fn judge(
    endpoint: &Endpoint,
    probe: &Probe,
    known: Option<&Origin>,
    read: &Read<'_>,
) -> Result<Verdict, BinlogError> {
    let judged = Judged { endpoint, probe, known };
    let missing = missing(probe, read);
    let Some(origin) = known else {
        return Ok(match missing.filter(|_| read.by_gtid && !probe.info.is_mariadb()) {
            // By the server's own rules a stream would only be silent until it has them.
            Some(missing) => Verdict::Stop(judged.stop(
                format!("the source has not executed all transactions of the task's start, missing: {missing}"),
                "correct `binlog-gtid` of `meta` in task.yaml (SELECT @@gtid_executed on the source tells what it has)",
            )),
            None => Verdict::Same(None),
        });
    };
    if origin.server != probe.server {
        let missing = missing.or_else(|| other_line(probe, read));
        let verdict = judged.another(origin, read, missing);
        let (Verdict::Switched(_), Some(evidence), Some(set)) = (&verdict, read.evidence, read.set) else {
            return Ok(verdict);
        };
        return Ok(match by_its_name(endpoint, &probe.info, evidence, set).await? {
            Found::Same => Verdict::Switched(None),
            Found::Unknown(why) => Verdict::Switched(why),
            Found::Other(what) => Verdict::Stop(judged.stop(
                format!("another server answers at the source's address, and it has another history than the one that the task has read: {what}"),
                "point the address to the former server or a replica of it; or compare with `diff` and copy again",
            )),
        });
    }
    if let Some(missing) = missing {
        // A transaction may be sent before it is committed (semi-synchronous replication): look again for a while.
        let error = judged.stop(
            format!("the source no longer has transactions that the task has read: it was reset, restored from a backup, or lost the end of its binlog in a crash; missing: {missing}"),
            "compare with `diff`; when the target is right, start again with --start-time or a new `meta` (stop-task, start-task --remove-meta), else copy again",
        );
        return Ok(Verdict::Behind(error, COMMIT_PATIENCE));
    }
    if let Some(why) = restarted(endpoint, probe, origin, read).await? {
        let kept = read.by_gtid
            && matches!((read.set, &probe.purged), (Some(set), Some(purged)) if !set.is_empty() && purged.contains_set(set));
        if !kept {
            return Ok(Verdict::Stop(judged.stop(
                format!("the source's binlog is not the one that the task has read: {why}; it was reset, restored or shortened"),
                "compare with `diff`; when the target is right, start again with --start-time or a new `meta` (stop-task, start-task --remove-meta), else copy again",
            )));
        }
        tracing::info!(why, "the source's binlog began anew, its GTIDs go on");
        return Ok(Verdict::Renewed);
    }
    let Some(evidence) = read.evidence else { return Ok(Verdict::Same(None)) };
    Ok(match found(endpoint, probe, evidence, read).await? {
        Found::Same => Verdict::Same(None),
        Found::Unknown(why) => Verdict::Same(why),
        Found::Other(what) => Verdict::Stop(judged.stop(
            format!("the source's binlog is not the one that the task has read: {what}, where it had one that the task has applied; it was reset, restored or shortened, or is a copy of the source with the same name"),
            "compare with `diff`; when the target is right, start again with --start-time or a new `meta` (stop-task, start-task --remove-meta), else copy again",
        )),
    })
}

/// Whether the same server still has a transaction that was read.
async fn found(
    endpoint: &Endpoint,
    probe: &Probe,
    evidence: &Evidence,
    read: &Read<'_>,
) -> Result<Found, BinlogError> {
    if probe.files.contains(&evidence.place.file) && can_be_asked_for(&evidence.place) {
        return at_its_place(endpoint, &probe.info, evidence).await;
    }
    match read.set {
        Some(set) if read.by_gtid => by_its_name(endpoint, &probe.info, evidence, set).await,
        _ => Ok(Found::Unknown(None)),
    }
}

struct Judged<'a> {
    endpoint: &'a Endpoint,
    probe: &'a Probe,
    known: Option<&'a Origin>,
}

impl Judged<'_> {
    fn another(&self, origin: &Origin, read: &Read<'_>, missing: Option<String>) -> Verdict {
        let flavor = |server: &str| server.split(' ').next().unwrap_or_default().to_owned();
        let known_set = read.set.is_some_and(|set| !set.is_empty());
        if flavor(&origin.server) != flavor(&self.probe.server) {
            return Verdict::Stop(self.stop(
                "another kind of server answers at the source's address".to_owned(),
                "point the address to the source again, or copy again from the new server",
            ));
        }
        if !read.by_gtid || !known_set || !self.probe.info.has_gtids() {
            return Verdict::Stop(self.stop(
                "another server answers at the source's address, and the task reads by position, which means nothing there".to_owned(),
                "point the address to the former server; or, with `enable-gtid: true` in source.yaml and GTIDs on both servers, the task would go on by itself",
            ));
        }
        if read.by_position_too && self.probe.info.is_mariadb() {
            return Verdict::Stop(self.stop(
                "another server answers at the source's address before the stream has passed everything that was copied from the former one".to_owned(),
                "point the address to the former server until the task has passed its copy, or copy again",
            ));
        }
        match missing {
            None => Verdict::Switched(None),
            Some(missing) => Verdict::Behind(
                self.stop(
                format!("another server answers at the source's address, and it does not have all transactions that the task has read; missing: {missing}"),
                "let the new source get these transactions; or compare with `diff` and start again with a new `meta`",
                ),
                REPLICA_PATIENCE,
            ),
        }
    }

    fn stop(&self, message: String, remedy: &'static str) -> CodedError {
        let was = self.known.map(|origin| format!("was {}, ", origin.server)).unwrap_or_default();
        CodedError::new(codes::SOURCE_CHANGED, message)
            .object(format!("{}:{}", self.endpoint.host, self.endpoint.port))
            .scope(Scope::Upstream)
            .cause(format!("{was}answers {}", self.probe.server))
            .remedy(remedy)
    }
}

/// What was read and the server does not have.
fn missing(probe: &Probe, read: &Read<'_>) -> Option<String> {
    let executed = probe.end.as_ref()?.gtid_set.as_ref()?;
    let set = read.set?;
    if executed.contains_set(set) {
        return None;
    }
    let mut text = set.subtract(executed).to_string();
    if text.len() > SHOWN_MAX {
        let cut = (0..=SHOWN_MAX).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    Some(text)
}

/// MariaDB: transactions that were read and whose number another server has given to one of its own. A domain's last
/// number says nothing of that; what each server has written in it does.
fn other_line(probe: &Probe, read: &Read<'_>) -> Option<String> {
    let Some(GtidSet::Mariadb(set)) = read.set else { return None };
    if probe.lineage.is_empty() {
        return None;
    }
    let has = |domain: u32, server: u32, sequence: u64| {
        probe.lineage.iter().any(|gtid| {
            matches!(gtid, Gtid::Mariadb { domain: d, server_id: s, sequence: last }
                if *d == domain && *s == server && *last >= sequence)
        })
    };
    let strange: Vec<String> = set
        .iter()
        .filter(|(domain, server, sequence)| !has(*domain, *server, *sequence))
        .map(|(domain, server, sequence)| format!("{domain}-{server}-{sequence}"))
        .collect();
    (!strange.is_empty()).then(|| strange.join(","))
}

/// Why the same server's binlog cannot be the one that was read.
async fn restarted(
    endpoint: &Endpoint,
    probe: &Probe,
    origin: &Origin,
    read: &Read<'_>,
) -> Result<Option<String>, BinlogError> {
    let Some(end) = &probe.end else { return Ok(None) };
    // By GTID the position may still be the one on a former server.
    if !read.by_gtid && one_series(&end.position.file, &read.boundary.file) && end.position < *read.boundary {
        return Ok(Some(format!("it ends at {}, the task has read up to {}", end.position, read.boundary)));
    }
    let Some(anchor) = &origin.anchor else { return Ok(None) };
    if anchor.is_beyond(&end.position) {
        return Ok(Some(format!("it ends at {}, the task has read {}", end.position, anchor.file)));
    }
    // Old files are purged.
    if !probe.files.contains(&anchor.file) {
        return Ok(None);
    }
    match created(endpoint, &probe.info, &anchor.file).await {
        Ok(Some(created)) if created != anchor.created => Ok(Some(format!(
            "{} began at {created}, it had begun at {} (seconds since 1970)",
            anchor.file, anchor.created
        ))),
        Ok(_) => Ok(None),
        // Purged this very moment.
        Err(error) if error.is_position_lost() => Ok(None),
        Err(error) => Err(error),
    }
}

/// When a binlog file began.
async fn created(endpoint: &Endpoint, info: &ServerInfo, file: &str) -> Result<Option<u32>, BinlogError> {
    let start = BinlogStart::Position(BinlogPosition::new(file, FIRST_EVENT));
    let server_id = rand::random_range(0x4000_0000..0xfff0_0000);
    let mut reader = BinlogReader::open(endpoint, info, server_id, start).await?;
    loop {
        let event = reader.next().await?;
        match event.body {
            EventBody::FormatDescription { .. } => {
                return Ok(Some(event.header.timestamp).filter(|time| *time > 0));
            }
            EventBody::Rotate { .. } => {}
            _ => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_as_it_was_written() {
        let anchor = Some(Anchor { file: "my bin.000007".into(), created: 1_700_000_000 });
        for anchor in [None, anchor] {
            let origin = Origin { server: "mariadb 1-0".into(), anchor };
            assert_eq!(Origin::parse(&origin.to_string()), origin);
        }
        let odd = Origin::parse("mysql x; nonsense");
        assert_eq!(odd, Origin { server: "mysql x".into(), anchor: None });
    }
}
