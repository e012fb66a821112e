//! Finds the boundaries of transactions in the stream of events.

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::{BinlogPosition, Gtid};
use dmnode_mysql::{BinlogEvent, EventBody, QueryEvent, RowsEvent, hex};

use crate::progress::TxnId;

/// What an event means to the transaction it belongs to.
#[derive(Debug)]
pub enum Step<'a> {
    /// Nothing.
    Nothing,
    /// A sign of life: the source has nothing more.
    Idle,
    /// The position moved on without a transaction.
    Moved,
    /// Row changes of the open transaction.
    Rows(&'a RowsEvent),
    /// A statement. Outside an open transaction it is a transaction of its own.
    Statement {
        /// The statement.
        query: &'a QueryEvent,
        /// It stands inside a transaction that goes on.
        inside: bool,
    },
    /// `SAVEPOINT`.
    Savepoint(String),
    /// `ROLLBACK TO`: what came after the savepoint is void.
    RollbackTo(String),
    /// An XA transaction is prepared here and decided later.
    XaPrepared,
    /// A prepared XA transaction is decided.
    XaDecided {
        /// COMMIT, not ROLLBACK.
        commit: bool,
        /// Its XID as [`xid_text`] writes it.
        xid: String,
    },
    /// The transaction is complete.
    Commit,
    /// The transaction has no effect.
    Rollback,
}

/// The state of the stream between events.
#[derive(Debug, Default)]
pub struct Assembler {
    gtid: Option<Gtid>,
    /// A GTID event was read, or BEGIN.
    open: bool,
    /// BEGIN was read (or implied): the group ends with a commit, not with its first statement.
    begun: bool,
    /// It may end with a PREPARE.
    xa: bool,
    /// The statement that follows has no effect.
    void: bool,
    /// The source's connection that wrote it, if it is known.
    thread: Option<u32>,
    timestamp: u32,
    start: BinlogPosition,
}

impl Assembler {
    /// Between transactions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets an open transaction: the stream starts again at its beginning.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether a transaction has begun and not ended.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the open transaction is one of XA.
    pub fn is_xa(&self) -> bool {
        self.open && self.xa
    }

    /// The source's connection that writes the open transaction, if the binlog tells.
    pub fn thread(&self) -> Option<u32> {
        self.thread
    }

    /// The GTID of the transaction that is open or has just ended.
    pub fn gtid(&self) -> Option<&Gtid> {
        self.gtid.as_ref()
    }

    /// When the transaction began, by the source's clock.
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// The identity of the transaction that has just ended at `end`.
    pub fn identity(&self, end: &BinlogPosition) -> TxnId {
        match &self.gtid {
            Some(gtid) => TxnId::Gtid(gtid.clone()),
            None => TxnId::Position(end.clone()),
        }
    }

    fn begin(&mut self, event: &BinlogEvent, gtid: Option<Gtid>) {
        self.gtid = gtid;
        self.open = true;
        self.begun = false;
        self.xa = false;
        self.void = false;
        self.thread = None;
        self.timestamp = event.header.timestamp;
        self.start = BinlogPosition { file: event.file.to_string(), pos: event.start_pos };
    }

    fn end(&mut self) {
        self.open = false;
        self.begun = false;
    }

    /// Takes the next event.
    pub fn feed<'a>(&mut self, event: &'a BinlogEvent) -> Result<Step<'a>, CodedError> {
        if self.open && event.header.timestamp != 0 && self.timestamp == 0 {
            self.timestamp = event.header.timestamp;
        }
        Ok(match &event.body {
            EventBody::Gtid(gtid) => {
                let implied = matches!(gtid.gtid, Gtid::Mariadb { .. }) && !gtid.standalone;
                self.begin(event, Some(gtid.gtid.clone()));
                self.begun = implied;
                self.xa = gtid.xa;
                self.void = gtid.void;
                Step::Nothing
            }
            EventBody::AnonymousGtid { .. } => {
                self.begin(event, None);
                Step::Nothing
            }
            EventBody::Query(query) => self.query(event, query),
            EventBody::Rows(rows) => {
                if !self.open {
                    return Err(outside(event));
                }
                Step::Rows(rows)
            }
            EventBody::Xid { .. } => {
                self.end();
                Step::Commit
            }
            EventBody::XaPrepare { one_phase: true, .. } => {
                self.end();
                Step::Commit
            }
            EventBody::XaPrepare { one_phase: false, .. } => {
                self.end();
                Step::XaPrepared
            }
            EventBody::FormatDescription { .. } => {
                // A new file: what the old one left open was cut off by a crash of the source and has no effect.
                if self.open && event.start_pos <= 4 && event.header.flags & 0x20 == 0 {
                    self.end();
                    // The source may give the same GTID to its next transaction.
                    self.gtid = None;
                    return Ok(Step::Rollback);
                }
                Step::Nothing
            }
            EventBody::Rotate { .. } => Step::Moved,
            EventBody::Heartbeat => Step::Idle,
            EventBody::TableMap(_)
            | EventBody::RowsQuery(_)
            | EventBody::PreviousGtids(_)
            | EventBody::MariadbGtidList(_)
            | EventBody::IntVar { .. }
            | EventBody::Rand
            | EventBody::UserVar { .. }
            | EventBody::Ignorable => Step::Nothing,
            EventBody::Incident { incident, message } => {
                return Err(CodedError::new(
                    codes::BINLOG_UNSUPPORTED,
                    format!("the source reports that it has lost events (incident {incident})"),
                )
                .at(place(event))
                .cause(message)
                .remedy("copy again: stop-task, then start-task --remove-meta"));
            }
            EventBody::Unsupported { event_type, name } => {
                return Err(CodedError::new(
                    codes::BINLOG_UNSUPPORTED,
                    format!("binlog event of type {event_type} ({name}) is not supported"),
                )
                .at(place(event))
                .remedy("switch off on the source what writes it, and start again from a later position"));
            }
        })
    }

    fn query<'a>(&mut self, event: &BinlogEvent, query: &'a QueryEvent) -> Step<'a> {
        let sql = query.sql.trim_ascii();
        if sql.eq_ignore_ascii_case(b"BEGIN") {
            if !self.open {
                self.begin(event, None);
            }
            self.begun = true;
            self.thread = Some(query.thread_id);
            return Step::Nothing;
        }
        if sql.eq_ignore_ascii_case(b"COMMIT") {
            self.end();
            return Step::Commit;
        }
        if sql.eq_ignore_ascii_case(b"ROLLBACK") {
            self.end();
            return Step::Rollback;
        }
        if let Some(name) = after_words(sql, &["SAVEPOINT"]) {
            return Step::Savepoint(name);
        }
        if let Some(name) = after_words(sql, &["ROLLBACK", "TO", "SAVEPOINT"])
            .or_else(|| after_words(sql, &["ROLLBACK", "TO"]))
        {
            return Step::RollbackTo(name);
        }
        if let Some(rest) = after_words(sql, &["XA"]) {
            let verb = rest.split_ascii_whitespace().next().unwrap_or("").to_ascii_uppercase();
            match verb.as_str() {
                "START" | "BEGIN" => {
                    if !self.open {
                        self.begin(event, None);
                    }
                    self.begun = true;
                    self.xa = true;
                    return Step::Nothing;
                }
                "END" | "PREPARE" | "RECOVER" => return Step::Nothing,
                "COMMIT" | "ROLLBACK" => {
                    if !self.open {
                        self.begin(event, None);
                    }
                    self.end();
                    let xid: String = rest[verb.len()..].chars().filter(|c| !c.is_whitespace()).collect();
                    return Step::XaDecided { commit: verb == "COMMIT", xid: xid.to_ascii_lowercase() };
                }
                _ => {}
            }
        }
        if self.void {
            self.end();
            return Step::Rollback;
        }
        if self.begun {
            return Step::Statement { query, inside: true };
        }
        if !self.open {
            self.begin(event, None);
        }
        self.end();
        Step::Statement { query, inside: false }
    }
}

/// An XID as the servers write it in `XA COMMIT`, in lower case and without blanks.
pub fn xid_text(format_id: i32, gtrid: &[u8], bqual: &[u8]) -> String {
    format!("x'{}',x'{}',{format_id}", hex(gtrid), hex(bqual))
}

/// Where an event is, for people.
pub fn place(event: &BinlogEvent) -> String {
    format!("({}, {})", event.file, event.start_pos)
}

fn outside(event: &BinlogEvent) -> CodedError {
    CodedError::new(codes::BINLOG_UNSUPPORTED, "row changes outside a transaction")
        .at(place(event))
        .remedy("the start position lies inside a transaction; use the position of its beginning")
}

/// The rest of a statement after these words; `None` when it does not begin with them.
fn after_words(sql: &[u8], words: &[&str]) -> Option<String> {
    let mut rest = sql;
    for word in words {
        rest = rest.trim_ascii_start();
        let (head, tail) = rest.split_at_checked(word.len())?;
        if !head.eq_ignore_ascii_case(word.as_bytes()) || !tail.first().is_some_and(u8::is_ascii_whitespace) {
            return None;
        }
        rest = tail;
    }
    Some(String::from_utf8_lossy(rest.trim_ascii()).trim_matches('`').to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use dmnode_mysql::{EventHeader, GtidEvent};

    use super::*;

    fn event(pos: u64, body: EventBody) -> BinlogEvent {
        let header =
            EventHeader { timestamp: 7, server_id: 1, event_type: 0, log_pos: 0, flags: 0, size: 10 };
        BinlogEvent { header, file: Arc::from("bin.000001"), start_pos: pos, end_pos: pos + 10, body }
    }

    fn query(sql: &'static str) -> EventBody {
        EventBody::Query(Box::new(QueryEvent {
            sql: Bytes::from_static(sql.as_bytes()),
            ..QueryEvent::default()
        }))
    }

    fn gtid(gtid: Gtid, standalone: bool) -> EventBody {
        EventBody::Gtid(GtidEvent {
            gtid,
            standalone,
            xa: false,
            void: false,
            original_commit_timestamp: None,
            immediate_commit_timestamp: None,
            transaction_length: None,
        })
    }

    fn steps(bodies: Vec<EventBody>) -> Vec<String> {
        let mut assembler = Assembler::new();
        let mut out = Vec::new();
        for (index, body) in bodies.into_iter().enumerate() {
            let event = event(index as u64 * 10 + 4, body);
            let step = assembler.feed(&event).unwrap();
            out.push(match step {
                Step::Statement { inside, .. } => format!("statement inside={inside}"),
                Step::Nothing => "-".to_owned(),
                other => format!("{other:?}"),
            });
            out.last_mut().unwrap().push_str(if assembler.is_open() { " open" } else { "" });
        }
        out
    }

    #[test]
    fn boundaries_of_both_flavours() {
        let mysql = || gtid(Gtid::Mysql { sid: [1; 16], tag: String::new(), gno: 5 }, false);
        let mariadb = |alone| gtid(Gtid::Mariadb { domain: 0, server_id: 1, sequence: 5 }, alone);
        let xid = || EventBody::Xid { xid: 1 };
        assert_eq!(steps(vec![mysql(), query("BEGIN"), xid()]), ["- open", "- open", "Commit"]);
        assert_eq!(
            steps(vec![mysql(), query("CREATE TABLE t (a INT)")]),
            ["- open", "statement inside=false"]
        );
        assert_eq!(steps(vec![mariadb(true), query("DROP TABLE t")]), ["- open", "statement inside=false"]);
        assert_eq!(
            steps(vec![mariadb(false), query("CREATE TABLE t (a INT)"), query("COMMIT")]),
            ["- open", "statement inside=true open", "Commit"]
        );
        assert_eq!(
            steps(vec![
                mysql(),
                query("BEGIN"),
                query("SAVEPOINT `s p`"),
                query("rollback to `s p`"),
                query("ROLLBACK")
            ]),
            ["- open", "- open", "Savepoint(\"s p\") open", "RollbackTo(\"s p\") open", "Rollback"]
        );
    }

    #[test]
    fn xa_of_one_phase_is_a_transaction_and_of_two_is_not() {
        let prepare = |one_phase| EventBody::XaPrepare {
            one_phase,
            format_id: 1,
            gtrid: Bytes::from_static(b"ab"),
            bqual: Bytes::new(),
        };
        let anonymous = || EventBody::AnonymousGtid { original_commit_timestamp: None };
        assert_eq!(
            steps(vec![
                anonymous(),
                query("XA START X'6162',X'',1"),
                query("XA END X'6162',X'',1"),
                prepare(true)
            ]),
            ["- open", "- open", "- open", "Commit"]
        );
        let expected = format!("XaDecided {{ commit: true, xid: {:?} }}", xid_text(1, b"ab", b""));
        assert_eq!(
            steps(vec![
                anonymous(),
                query("XA START X'6162',X'',1"),
                prepare(false),
                anonymous(),
                query("XA COMMIT X'6162', X'',1")
            ]),
            ["- open", "- open", "XaPrepared", "- open", expected.as_str()]
        );
    }

    #[test]
    fn a_source_that_lost_something_stops_the_task() {
        let lost = EventBody::Incident { incident: 1, message: "lost".into() };
        let error = Assembler::new().feed(&event(4, lost)).unwrap_err();
        assert_eq!(error.code, codes::BINLOG_UNSUPPORTED);
        let unsupported = EventBody::Unsupported { event_type: 164, name: "START_ENCRYPTION" };
        let error = Assembler::new().feed(&event(4, unsupported)).unwrap_err();
        assert!(error.location.unwrap().contains("bin.000001"));
    }
}
