//! The source's binlog, with what is needed to go on after a lost connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dmnode_model::codes;
use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_model::policy::{self, Side};
use dmnode_model::{BinlogPosition, Flavor, Gtid, GtidSet, Location};
use dmnode_mysql::{
    BinlogError, BinlogEvent, BinlogReader, BinlogStart, Connection, EventBody, ServerInfo, SessionOptions,
    SqlError,
};

use super::change::describe_location;
use super::evidence::Evidence;
use super::origin::{Anchor, Link, Origin, Probe, Read, Verdict, judge};
use crate::unit::Heartbeat;

/// Reconnects without a transaction in between before the unit gives up (and is started again by its supervisor).
const ATTEMPTS: u32 = 8;
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
const BACK_OFF_MOST: Duration = Duration::from_secs(10);

/// Why there is no stream.
#[derive(Debug)]
enum Failure {
    /// The server's answer, or none.
    Binlog(BinlogError),
    /// The server must not be read from.
    Stop(CodedError),
    /// The server does not have all of what was read; it may get it.
    Behind(CodedError, Duration),
}

impl From<BinlogError> for Failure {
    fn from(error: BinlogError) -> Self {
        Self::Binlog(error)
    }
}

/// Reads one source.
pub struct Reader {
    endpoint: Endpoint,
    info: ServerInfo,
    server_id: u32,
    by_gtid: bool,
    reader: Option<BinlogReader>,
    /// End of the last transaction that was read.
    boundary: BinlogPosition,
    /// Executed up to the boundary.
    read_set: Option<GtidSet>,
    failures: u32,
    /// Who the source is.
    link: Arc<Link>,
    /// Id of the server that the stream was asked of.
    streams_from: u32,
    /// Since when the server has not had what was read.
    behind_since: Option<Instant>,
    by_position_too: bool,
    /// How the transaction that is being read begins.
    begun: Option<Evidence>,
    /// The server that another one took the place of, until that is written down.
    former: Option<String>,
}

impl Reader {
    /// Opens the binlog at a location: by GTID set if `by_gtid` and it has one, else by position.
    pub async fn open(
        endpoint: &Endpoint,
        info: ServerInfo,
        location: &Location,
        by_gtid: bool,
        link: Arc<Link>,
        heartbeat: &Heartbeat,
    ) -> Result<Self, CodedError> {
        let mut reader = Self {
            endpoint: endpoint.clone(),
            info,
            // Far from what people give to servers; two readers with one number would throw each other out.
            server_id: rand::random_range(0x4000_0000..0xfff0_0000),
            by_gtid,
            reader: None,
            boundary: location.position.clone(),
            read_set: location.gtid_set.clone(),
            failures: 0,
            link,
            streams_from: 0,
            behind_since: None,
            by_position_too: false,
            begun: None,
            former: None,
        };
        loop {
            match reader.connect().await {
                Ok(()) => return Ok(reader),
                Err(Failure::Binlog(error)) => return Err(reader.coded(&error)),
                Err(Failure::Stop(error)) => return Err(error),
                Err(Failure::Behind(error, patience)) => reader.may_catch_up(error, patience)?,
            }
            heartbeat.beat();
            tokio::time::sleep(BACK_OFF_FIRST).await;
        }
    }

    /// Whether positions, too, say what was read: true while a copy's positions are compared with the stream's.
    pub fn compares_positions(&mut self, compares: bool) {
        self.by_position_too = compares;
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        self.reader = None;
        let probe = Probe::at(&self.endpoint).await.map_err(BinlogError::from)?;
        let known = self.link.origin.lock().clone();
        let evidence = self.link.recent.lock().last_read().cloned();
        let read = Read {
            evidence: evidence.as_ref(),
            boundary: &self.boundary,
            set: self.read_set.as_ref(),
            by_gtid: self.by_gtid,
            by_position_too: self.by_position_too,
        };
        let mut knows_places = false;
        match judge(&self.endpoint, &probe, known.as_ref(), &read).await? {
            Verdict::Same(unproven) => {
                knows_places = true;
                self.link.look_said(unproven);
                self.link
                    .origin
                    .lock()
                    .get_or_insert_with(|| Origin { server: probe.server.clone(), anchor: None });
            }
            Verdict::Renewed => {
                self.link.recent.lock().forget();
                *self.link.origin.lock() = Some(Origin { server: probe.server.clone(), anchor: None });
            }
            Verdict::Switched(unproven) => {
                self.link.look_said(unproven);
                tracing::warn!(
                    server = %probe.server, source = %self.endpoint.host, port = self.endpoint.port,
                    "another server answers at the source's address; it has all that was read, the stream goes on by GTID"
                );
                *self.link.origin.lock() = Some(Origin { server: probe.server.clone(), anchor: None });
                self.link.recent.lock().forget();
                self.former.get_or_insert(known.map(|known| known.server).unwrap_or_default());
            }
            Verdict::Behind(error, patience) => return Err(Failure::Behind(error, patience)),
            Verdict::Stop(error) => return Err(Failure::Stop(error)),
        }
        self.behind_since = None;
        let start = match &self.read_set {
            Some(set) if self.by_gtid => BinlogStart::Gtid(set.clone()),
            _ => BinlogStart::Position(self.boundary.clone()),
        };
        self.streams_from = probe.info.server_id;
        self.info = probe.info;
        let mut reader = BinlogReader::open(&self.endpoint, &self.info, self.server_id, start).await?;
        if knows_places {
            reader.goes_on_after(&self.boundary);
        }
        self.reader = Some(reader);
        Ok(())
    }

    /// The next event. May be cancelled.
    pub async fn next(&mut self) -> Result<BinlogEvent, BinlogError> {
        let Some(reader) = &mut self.reader else {
            return Err(SqlError::connection_lost("not connected").into());
        };
        let event = tokio::select! {
            biased;
            () = self.link.suspect.notified() => {
                return Err(SqlError::connection_lost("the source's address leads elsewhere, or its binlog is another; connecting anew").into());
            }
            event = reader.next() => event?,
        };
        if let Some(evidence) = Evidence::of(&event) {
            self.begun = Some(evidence);
        }
        match &event.body {
            // The first event of a stream tells which server sends it.
            EventBody::Rotate { artificial: true, .. }
                if event.header.server_id != 0 && event.header.server_id != self.streams_from =>
            {
                Err(SqlError::connection_lost(
                    "another server than the one that was looked at sends the stream",
                )
                .into())
            }
            EventBody::FormatDescription { .. } if event.header.timestamp != 0 => {
                self.anchor(&event.file, event.header.timestamp);
                Ok(event)
            }
            _ => Ok(event),
        }
    }

    /// Remembers when the newest file began.
    fn anchor(&self, file: &str, created: u32) {
        let mut origin = self.link.origin.lock();
        let Some(origin) = origin.as_mut() else { return };
        let place = |file: &str| BinlogPosition::new(file, 0);
        if origin.anchor.as_ref().is_none_or(|anchor| place(&anchor.file) <= place(file)) {
            origin.anchor = Some(Anchor { file: file.to_owned(), created });
        }
    }

    /// Whether to wait for a server that does not have all of what was read.
    fn may_catch_up(&mut self, error: CodedError, patience: Duration) -> Result<(), CodedError> {
        let since = *self.behind_since.get_or_insert_with(Instant::now);
        if since.elapsed() > patience { Err(error) } else { Ok(()) }
    }

    /// A transaction ends at this position.
    pub fn passed(&mut self, position: BinlogPosition, gtid: Option<&Gtid>) {
        if let Some(evidence) = self.begun.take() {
            self.link.recent.lock().passed(position.clone(), evidence);
        }
        self.boundary = position;
        self.failures = 0;
        if let (Some(gtid), Some(set)) = (gtid, &mut self.read_set) {
            // The flavour was checked when the transaction began.
            let inserted = set.insert(gtid);
            debug_assert!(inserted.is_ok());
        }
    }

    /// The stream moved on between transactions. Says nothing about whether what comes next can be read.
    pub fn moved(&mut self, position: BinlogPosition) {
        self.boundary = position;
    }

    /// End of the last transaction that was read.
    pub fn boundary(&self) -> &BinlogPosition {
        &self.boundary
    }

    /// The GTID set up to the boundary, if it is known.
    pub fn read_set(&self) -> Option<&GtidSet> {
        self.read_set.as_ref()
    }

    /// The source's flavour.
    pub fn flavor(&self) -> Flavor {
        self.info.flavor
    }

    /// Whether reading again may help; else the error to stop with.
    pub fn can_retry(&mut self, error: BinlogError) -> Result<(), CodedError> {
        self.reader = None;
        self.failures += 1;
        if error.is_connection_lost() && self.failures <= ATTEMPTS { Ok(()) } else { Err(self.coded(&error)) }
    }

    /// The server that another one took the place of, once: what was remembered by its positions has to go.
    pub fn take_former(&mut self) -> Option<String> {
        self.former.take()
    }

    /// Connects again, with back-off, and goes on after the last transaction that was read.
    pub async fn reopen(&mut self, heartbeat: &Heartbeat) -> Result<(), CodedError> {
        let mut back_off = BACK_OFF_FIRST;
        self.begun = None;
        loop {
            tokio::time::sleep(back_off).await;
            heartbeat.beat();
            back_off = (back_off * 2).min(BACK_OFF_MOST);
            match self.connect().await {
                Ok(()) => return Ok(()),
                Err(Failure::Binlog(error)) => {
                    tracing::warn!(error = %error, "the source cannot be reached");
                    self.can_retry(error)?;
                }
                Err(Failure::Stop(error)) => return Err(error),
                Err(Failure::Behind(error, patience)) => {
                    tracing::warn!(error = %error, "waiting for the source to have what was read from the former one");
                    self.may_catch_up(error, patience)?;
                }
            }
        }
    }

    /// The source's binlog files, oldest first.
    pub async fn files(&self) -> Result<Vec<String>, CodedError> {
        let list = async {
            let mut conn = Connection::connect(&self.endpoint, &SessionOptions::default()).await?;
            let rows = conn.query("SHOW BINARY LOGS").await?;
            conn.close().await;
            Ok::<_, SqlError>(rows.iter().filter_map(|row| row.string(0)).collect())
        };
        list.await.map_err(|error| self.coded(&BinlogError::Sql(error)))
    }

    /// Another reader, from the start of a file.
    pub async fn another(&self, file: &str) -> Result<BinlogReader, CodedError> {
        let server_id = rand::random_range(0x4000_0000..0xfff0_0000);
        let start = BinlogStart::Position(BinlogPosition { file: file.to_owned(), pos: 4 });
        let opened = BinlogReader::open(&self.endpoint, &self.info, server_id, start).await;
        opened.map_err(|error| self.coded(&error))
    }

    pub(super) fn coded(&self, error: &BinlogError) -> CodedError {
        let at = Location {
            position: self.boundary.clone(),
            gtid_set: self.read_set.clone().filter(|_| self.by_gtid),
        };
        let coded = if error.is_position_lost() {
            CodedError::new(codes::BINLOG_PURGED, "the source no longer has the binlog that comes next")
        } else if error.is_connection_lost() {
            CodedError::new(codes::SOURCE_CONNECTION, "the source's binlog cannot be read")
        } else if let BinlogError::Sql(sql) = error
            && let Some(code) = policy::code(Side::Source, sql.fault())
        {
            CodedError::new(code, "the source's binlog cannot be read at the moment")
        } else if let BinlogError::Sql(sql) = error
            && sql.message.contains("with the same server_")
        {
            CodedError::new(codes::INVALID_SERVER_ID, "invalid server id: another reader of this source has it too")
                .remedy("SHOW REPLICAS on the source shows who has it; give source.yaml another `server-id`, then resume-task")
        } else {
            CodedError::new(codes::BINLOG_UNSUPPORTED, "the source's binlog cannot be read")
                .remedy("check the source user's REPLICATION SLAVE grant, and the binlog with mysqlbinlog")
        };
        coded
            .object(format!("{}:{}", self.endpoint.host, self.endpoint.port))
            .at(describe_location(&at))
            .cause(error)
    }
}
