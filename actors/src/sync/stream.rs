//! The stream: events in, transactions out to the appliers, barriers for what cannot be done in parallel.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_model::{BinlogPosition, Location};
use dmnode_mysql::{BinlogEvent, DecodeError, DecodeErrorKind, RowImages, RowsEvent, ServerInfo};
use tokio::sync::{Mutex, mpsc};

use super::applier::Applier;
use super::assemble::{Assembler, Step, place};
use super::change::{Change, RowChange, Transaction};
use super::change::{fires_action, torn_action};
use super::coordinator::{Queued, Shared, WINDOW_MAX};
use super::ddl_run::DdlLog;
use super::decisions::Decisions;
use super::online::Online;
use super::origin::Link;
use super::reader::Reader;
use super::repeats::Repeats;
use super::row_filter::RowFilters;
use super::safe_mode::SafeMode;
use super::scheduler::{Place, Scheduler};
use super::scope::Scope;
use super::sides::{ASK_LIMIT, Sides};
use super::switch::Switch;
use super::tables::{Known, Tables};
use super::write_set::write_set;
use super::xa::{Held, Prepared};
use crate::load::filter::reaches;
use crate::load::key::{Compared, KeyKind, KeyValue};
use crate::load::{ChunkFilter, DdlCopied};
use crate::progress::{TxnId, Window};
use crate::target::ApplyError;
use crate::unit::UnitContext;

/// A transaction beyond this size is not kept in memory: it is streamed into the target.
pub const LARGE_BYTES: usize = 8 << 20;

/// Why the stream ended.
#[derive(Debug)]
pub enum Halt {
    /// The unit was cancelled.
    Cancelled,
    /// `until` is reached.
    Finished,
    /// Something failed.
    Failed(Box<CodedError>),
}

impl Halt {
    /// A failure with its place.
    pub fn at(self, place: &str) -> Self {
        match self {
            Self::Failed(error) if error.location.is_none() => error.at(place).into(),
            other => other,
        }
    }
}

impl From<CodedError> for Halt {
    fn from(error: CodedError) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl From<ApplyError> for Halt {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Cancelled => Self::Cancelled,
            other => other.into_coded().into(),
        }
    }
}

/// The transaction that is being read.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub changes: Vec<Change>,
    pub bytes: usize,
    pub savepoints: Vec<(String, usize, usize)>,
    /// Statements inside it that were executed in the target.
    pub ddls: u32,
    /// An earlier generation has applied it already.
    pub known: bool,
    /// Rows of an XA transaction that may be prepared at its end.
    pub held: Held,
    /// It lies in a window of safe mode.
    pub safe: bool,
    /// What the statement being read has deleted by actions of foreign keys.
    pub repeats: Repeats,
}

/// Everything the stream needs.
pub(super) struct Stream {
    pub ctx: UnitContext,
    pub shared: Arc<Shared>,
    pub appliers: Vec<Arc<Mutex<Applier>>>,
    pub queues: Vec<mpsc::UnboundedSender<Queued>>,
    pub scheduler: Scheduler,
    pub scope: Scope,
    pub row_filters: RowFilters,
    pub tables: Tables,
    pub filter: Option<ChunkFilter>,
    pub assembler: Assembler,
    pub reader: Reader,
    pub link: Arc<Link>,
    pub switch: Switch,
    pub target: ServerInfo,
    pub ddl: DdlLog,
    pub decisions: Decisions,
    pub online: Online,
    /// Source and target.
    pub endpoints: [Endpoint; 2],
    /// Tells where rows lie among the ranges of the copy.
    pub sides: Sides,
    pub until: Option<Location>,
    pub safe_mode: SafeMode,
    pub open: Open,
    /// XA transactions that are prepared and not decided.
    pub prepared: Prepared,
}

impl Stream {
    /// Reads and hands out until something ends it.
    pub async fn run(&mut self) -> Halt {
        loop {
            if self.reached_until() {
                return Halt::Finished;
            }
            match self.turn().await {
                Ok(()) => {}
                Err(halt) => return halt,
            }
        }
    }

    async fn turn(&mut self) -> Result<(), Halt> {
        self.settle_decisions().await?;
        let event = self.next_event().await?;
        self.handle(&event).await
    }

    /// The next event, reconnecting as needed. What was open is read again after a reconnect.
    pub(super) async fn next_event(&mut self) -> Result<BinlogEvent, Halt> {
        loop {
            let result = tokio::select! {
                biased;
                () = self.ctx.cancel.cancelled() => return Err(Halt::Cancelled),
                () = self.shared.failed.cancelled() => return Err(self.failure()),
                result = self.reader.next() => result,
            };
            self.ctx.heartbeat.beat();
            match result {
                Ok(event) => return Ok(event),
                Err(error) => {
                    self.shared.lag.unknown();
                    tracing::warn!(error = %error, location = %self.reader.boundary(), "reading the source's binlog failed");
                    self.reader.can_retry(error)?;
                    self.assembler.reset();
                    self.open = Open::default();
                    self.tables.forget_numbers();
                    tokio::select! {
                        biased;
                        () = self.ctx.cancel.cancelled() => return Err(Halt::Cancelled),
                        () = self.shared.failed.cancelled() => return Err(self.failure()),
                        result = self.reader.reopen(&self.ctx.heartbeat) => result?,
                    }
                    if let Some(former) = self.reader.take_former() {
                        self.change_over(&former).await?;
                    }
                }
            }
        }
    }

    pub(super) fn failure(&self) -> Halt {
        match self.shared.take_failure() {
            Some(error) if error.code == codes::UNIT_CANCELLED => Halt::Cancelled,
            Some(error) => error.into(),
            None => CodedError::new(codes::INTERNAL, "an applier ended without an error").into(),
        }
    }

    fn reached_until(&self) -> bool {
        !self.assembler.is_open()
            && self.until.as_ref().is_some_and(|until| {
                // An empty set says nothing about where the end is.
                let by_gtid = until.gtid_set.as_ref().is_some_and(|set| !set.is_empty());
                let gtid_set = self.reader.read_set().filter(|_| by_gtid).cloned();
                reaches(&Location { position: self.reader.boundary().clone(), gtid_set }, until)
            })
    }

    async fn handle(&mut self, event: &BinlogEvent) -> Result<(), Halt> {
        let end = BinlogPosition { file: event.file.to_string(), pos: event.end_pos };
        let was_open = self.assembler.is_open();
        let step = self.assembler.feed(event)?;
        if !was_open && self.assembler.is_open() {
            self.begin()?;
        }
        match step {
            Step::Nothing => {}
            Step::Idle => {
                self.shared.lag.idle();
                self.idle(&end);
            }
            Step::Moved => {
                self.tables.forget_numbers();
                self.moved(event);
            }
            Step::Rows(rows) if self.drops_rows(event, rows) => {}
            Step::Rows(rows) => {
                if self.assembler.is_xa() {
                    return self.hold(event, rows).await;
                }
                self.rows(event, rows).await?;
                if self.open.bytes > LARGE_BYTES {
                    self.large(event).await?;
                }
            }
            Step::Statement { query, inside } => {
                if !inside {
                    self.begin()?;
                }
                let query = if inside { query.inside_transaction() } else { Cow::Borrowed(query) };
                self.statement(event, &query, inside, end).await?;
            }
            Step::Savepoint(name) => {
                self.open.held.savepoint(&name);
                self.open.savepoints.push((name, self.open.changes.len(), self.open.bytes));
            }
            Step::RollbackTo(name) => self.rollback_to(&name, event)?,
            Step::XaPrepared => self.xa_prepared(event, end).await?,
            Step::XaDecided { commit, xid } => {
                self.xa_decided(commit, &xid, event, end).await?;
            }
            Step::Commit => {
                self.release(event).await?;
                self.commit(end).await?;
            }
            Step::Rollback => {
                self.open.changes.clear();
                self.finish_empty(end).await?;
            }
        }
        Ok(())
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) -> Result<(), Halt> {
        self.open = Open::default();
        self.shared.lag.busy(self.assembler.timestamp());
        if let Some(gtid) = self.assembler.gtid() {
            if let Some(set) = self.reader.read_set()
                && set.flavor() != gtid.flavor()
            {
                return Err(CodedError::new(
                    codes::BINLOG_UNSUPPORTED,
                    format!("the source's GTIDs are of another flavour ({gtid}) than the task's progress"),
                )
                .remedy("the source was replaced by a server of another kind: copy again with --remove-meta")
                .into());
            }
            self.open.known = self.shared.window.lock().is_applied(&TxnId::Gtid(gtid.clone()));
        }
        Ok(())
    }

    fn idle(&mut self, end: &BinlogPosition) {
        if !self.assembler.is_open() && !end.file.is_empty() && end.pos >= 4 {
            self.reader.moved(end.clone());
            self.advance(end);
            self.leave_safe_mode();
        }
    }

    fn moved(&mut self, event: &BinlogEvent) {
        if let dmnode_mysql::EventBody::Rotate { file, pos, .. } = &event.body
            && !self.assembler.is_open()
        {
            let next = BinlogPosition { file: file.clone(), pos: *pos };
            self.reader.moved(next.clone());
            self.advance(&next);
        }
    }

    fn advance(&self, position: &BinlogPosition) {
        let mut window = self.shared.window.lock();
        // Never back: a source that was replaced may count its files anew, which the next transaction tells.
        if *position > window.location().position {
            window.advance(position);
        }
    }

    /// Decodes, filters and keeps the rows of one event.
    pub(super) async fn rows(&mut self, event: &BinlogEvent, rows: &RowsEvent) -> Result<(), Halt> {
        if self.open.known {
            return Ok(());
        }
        self.take_rows(event, rows).await?;
        if rows.statement_end {
            self.open.repeats.clear();
        }
        Ok(())
    }

    /// Asks the source where rows lie among the ranges of the copy, if only it can tell and if that matters: where some of
    /// the ranges contain the event and some do not.
    async fn compare_with_ranges(
        &mut self,
        rows: &RowsEvent,
        known: &Known,
        end: &BinlogPosition,
    ) -> Result<Compared, CodedError> {
        let Some(filter) = &self.filter else { return Ok(Compared::new()) };
        let table = &known.table.source;
        let has_text = known.table.copy_key.iter().any(|(_, part)| matches!(part.kind, KeyKind::Text(_)));
        if !has_text || filter.ddl_is_copied(table, end, self.assembler.gtid()) != DdlCopied::Mixed {
            return Ok(Compared::new());
        }
        let mut keys = Vec::new();
        // What cannot be decoded is told by whoever decodes the rows themselves.
        let _ = known.decoder.decode::<DecodeError>(rows, |images: RowImages| {
            keys.extend(images.before.iter().chain(&images.after).filter_map(|row| copy_key(row, known)));
            Ok(())
        });
        let heartbeat = self.ctx.heartbeat.clone();
        heartbeat.while_pending(ASK_LIMIT, self.sides.of(filter, table, &keys)).await
    }

    async fn take_rows(&mut self, event: &BinlogEvent, rows: &RowsEvent) -> Result<(), Halt> {
        let at = place(event);
        if self.leaves_out(rows).map_err(|error| error.at(&at))? {
            return Ok(());
        }
        if let Some(filter) = &self.filter {
            // The table may have looked otherwise at that time, or be gone: what was copied later holds all of it.
            let end = BinlogPosition { file: event.file.to_string(), pos: event.end_pos };
            if filter.ddl_is_copied(&rows.table.name, &end, self.assembler.gtid()) == DdlCopied::Yes {
                return Ok(());
            }
        }
        self.tables.actions_are_logged(rows.sql_foreign_keys);
        let known = self.tables.known(&self.scope, self.filter.as_ref(), &rows.table, &at).await?;
        let Some(known) = known else { return Ok(()) };
        let row_filter = self.row_filters.of(&known.table).map_err(|error| error.at(&at))?;
        let end = BinlogPosition { file: event.file.to_string(), pos: event.end_pos };
        let compared = self.compare_with_ranges(rows, &known, &end).await.map_err(|error| error.at(&at))?;
        let copied = self.filter.as_ref().map(|filter| {
            let gtid = self.assembler.gtid();
            let (table, end, compared) = (&known.table.source, &end, &compared);
            move |row: &dmnode_mysql::Row, known: &Known| {
                filter.row_is_copied(table, copy_key(row, known).as_deref(), compared, end, gtid)
            }
        });
        let open = &mut self.open;
        // What actions change is in the binlog then, and must not take place in the target as well.
        let foreign_key_checks = !rows.no_foreign_key_checks && !rows.sql_foreign_keys;
        let mut repeated = 0u64;
        // What the actions change in the children may have been copied before or after the parent.
        let torn = foreign_key_checks
            && known.table.fires_actions
            && self.filter.as_ref().is_some_and(|filter| filter.is_mixed_at(&end, self.assembler.gtid()));
        let writer = self.assembler.thread();
        known
            .decoder
            .decode::<RowError>(rows, |images: RowImages| {
                let row = match (images.before, images.after) {
                    (None, Some(after)) => Some(RowChange::Insert(after)),
                    (Some(before), None) => Some(RowChange::Delete(before)),
                    (Some(before), Some(after)) => Some(RowChange::Update(before, after)),
                    (None, None) => None,
                };
                if row.as_ref().is_some_and(|row| open.repeats.contains(rows, &known.table, row)) {
                    repeated += 1;
                    return Ok(());
                }
                if torn && row.as_ref().is_some_and(|row| fires_action(&known.table, row)) {
                    return Err(RowError::Coded(torn_action(&known.table)));
                }
                if let (Some(filter), Some(row)) = (&row_filter, &row)
                    && filter.leaves_out(row, event.header.timestamp)?
                {
                    return Ok(());
                }
                let row = match (&copied, row) {
                    (Some(copied), Some(row)) => without_copied(row, |row| copied(row, &known))?,
                    (_, row) => row,
                };
                if let Some(mut row) = row {
                    known.table.extend(&mut row);
                    let change = Change { table: Arc::clone(&known.table), row, foreign_key_checks };
                    open.bytes += change.memory();
                    open.changes.push(change);
                }
                Ok(())
            })
            .map_err(|error| {
                let error = match error {
                    RowError::Coded(error) => return error.at(&at),
                    RowError::Decode(error) => error,
                };
                let (code, message) = match error.kind {
                    DecodeErrorKind::PartialImage => {
                        (codes::BINLOG_NOT_LOG_COLUMN, "upstream didn't log enough columns in binlog")
                    }
                    DecodeErrorKind::Mismatch => (
                        codes::SYNCER_UNIT_DML_COLUMN_NOT_MATCH,
                        "Column count doesn't match value count, or a type: a row of the binlog cannot be read",
                    ),
                    DecodeErrorKind::Malformed | DecodeErrorKind::Unsupported => {
                        (codes::BINLOG_EVENT_DECODE, "decode of a row of the binlog failed")
                    }
                };
                let cause = match writer {
                    Some(thread) if error.kind == DecodeErrorKind::PartialImage => {
                        format!("{error}; written by connection {thread} of the source")
                    }
                    _ => error.to_string(),
                };
                CodedError::new(code, message)
                    .object(format!("{} (source {})", known.table.target(), known.table.source))
                    .at(&at)
                    .cause(cause)
            })?;
        if repeated > 0 {
            self.shared.counters.repeated.fetch_add(repeated, Ordering::Relaxed);
            tracing::info!(table = %known.table.source, location = %at, rows = repeated,
                "the source has logged rows twice as deleted, by a foreign key whose rows form a circle; left out once");
        }
        Ok(())
    }

    fn rollback_to(&mut self, name: &str, event: &BinlogEvent) -> Result<(), Halt> {
        let found = self.open.savepoints.iter().rposition(|(known, ..)| known.eq_ignore_ascii_case(name));
        let Some(index) = found else {
            return Err(CodedError::new(
                codes::BINLOG_UNSUPPORTED,
                "a transaction rolls back to a savepoint that is not in the binlog",
            )
            .at(place(event))
            .into());
        };
        self.open.held.rollback_to(name);
        self.open.repeats.clear();
        let (_, changes, bytes) = self.open.savepoints[index];
        self.open.changes.truncate(changes);
        self.open.bytes = bytes;
        self.open.savepoints.truncate(index + 1);
        Ok(())
    }

    /// The transaction ends and has nothing for the target.
    pub(super) async fn finish_empty(&mut self, end: BinlogPosition) -> Result<(), Halt> {
        let room = self.shared.wait_until(|window: &Window| window.len() < WINDOW_MAX);
        tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => return Err(Halt::Cancelled),
            room = room => if !room { return Err(self.failure()) },
        }
        let id = self.assembler.identity(&end);
        self.reader.passed(end.clone(), self.assembler.gtid());
        let mut window = self.shared.window.lock();
        let ordinal = window.push(id, end.clone());
        window.done(ordinal);
        if window.is_empty() {
            self.shared.lag.applied(self.assembler.timestamp());
        }
        drop(window);
        self.open = Open::default();
        self.drop_filter(&end);
        Ok(())
    }

    fn drop_filter(&mut self, end: &BinlogPosition) {
        self.leave_safe_mode();
        let Some(filter) = &self.filter else { return };
        let read = Location { position: end.clone(), gtid_set: self.reader.read_set().cloned() };
        if filter.is_passed(&read) {
            tracing::info!(location = %end, "the stream is past everything that was copied");
            self.filter = None;
            self.reader.compares_positions(false);
        }
    }

    /// The transaction is complete: it goes to an applier.
    pub(super) async fn commit(&mut self, end: BinlogPosition) -> Result<(), Halt> {
        let id = self.assembler.identity(&end);
        if self.open.changes.is_empty() || self.shared.window.lock().is_applied(&id) {
            return self.finish_empty(end).await;
        }
        self.enter_safe_mode(&end).await?;
        self.save_definitions(true).await?;
        let open = std::mem::take(&mut self.open);
        let uses = write_set(&open.changes);
        let permit = tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => return Err(Halt::Cancelled),
            permit = self.shared.reserve(open.bytes) => permit,
        };
        let Some(permit) = permit else { return Err(self.failure()) };
        let mut place = Place::Wait;
        let scheduler = &self.scheduler;
        let ready = self.shared.wait_until(|window: &Window| {
            if window.len() >= WINDOW_MAX {
                return false;
            }
            place = scheduler.place(&uses, |ordinal| window.is_done(ordinal));
            place != Place::Wait
        });
        tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => return Err(Halt::Cancelled),
            ready = ready => if !ready { return Err(self.failure()) },
        }
        let applier = match place {
            Place::Behind(applier) => applier,
            Place::Anywhere | Place::Wait => {
                let load: Vec<usize> =
                    self.shared.load.iter().map(|load| load.load(Ordering::Relaxed)).collect();
                self.scheduler.choose(&load)
            }
        };
        self.reader.passed(end.clone(), self.assembler.gtid());
        let ordinal = self.shared.window.lock().push(id.clone(), end.clone());
        let shared = Arc::clone(&self.shared);
        self.scheduler.placed(&uses, applier, ordinal, |ordinal| shared.is_done(ordinal));
        if let Some(load) = self.shared.load.get(applier) {
            load.fetch_add(open.changes.len(), Ordering::Relaxed);
        }
        let transaction = Transaction {
            ordinal,
            id,
            end: end.clone(),
            timestamp: self.assembler.timestamp(),
            changes: open.changes,
            bytes: open.bytes,
            safe: open.safe,
        };
        // A closed queue means that its applier has failed; the failure is met at the next event.
        let queued = Queued { transaction, _permit: permit };
        let sent = self.queues.get(applier).is_some_and(|queue| queue.send(queued).is_ok());
        if !sent {
            tokio::select! {
                () = self.shared.failed.cancelled() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            return Err(self.failure());
        }
        self.drop_filter(&end);
        Ok(())
    }

    /// Waits until everything read so far is in the target.
    pub(super) async fn barrier(&self) -> Result<(), Halt> {
        tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => Err(Halt::Cancelled),
            drained = self.shared.wait_until(Window::is_empty) => if drained { Ok(()) } else { Err(self.failure()) },
        }
    }

    /// Before the unit ends well: everything in flight is applied, the watermark and DM's checkpoint are written.
    pub async fn drain(&mut self, limit: Duration) -> Result<(), Halt> {
        self.queues.clear();
        match tokio::time::timeout(limit, self.shared.wait_until(Window::is_empty)).await {
            Ok(true) => {}
            Ok(false) => return Err(self.failure()),
            // What is in flight stays in doubt; the next generation finds out.
            Err(_) => return Err(Halt::Cancelled),
        }
        self.save_definitions(false).await?;
        let mut applier = self.appliers[0].lock().await;
        applier.flush(&self.shared, true).await?;
        Ok(())
    }
}

/// What can go wrong with one row.
enum RowError {
    Decode(DecodeError),
    Coded(CodedError),
}

impl From<DecodeError> for RowError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<CodedError> for RowError {
    fn from(error: CodedError) -> Self {
        Self::Coded(error)
    }
}

/// What of a change the copy does not contain. A row that moves between chunks is judged on both sides.
fn without_copied(
    row: RowChange,
    copied: impl Fn(&dmnode_mysql::Row) -> Result<bool, CodedError>,
) -> Result<Option<RowChange>, CodedError> {
    Ok(match row {
        RowChange::Insert(after) => (!copied(&after)?).then_some(RowChange::Insert(after)),
        RowChange::Delete(before) => (!copied(&before)?).then_some(RowChange::Delete(before)),
        RowChange::Update(before, after) => match (copied(&before)?, copied(&after)?) {
            (true, true) => None,
            (true, false) => Some(RowChange::Insert(after)),
            (false, true) => Some(RowChange::Delete(before)),
            (false, false) => Some(RowChange::Update(before, after)),
        },
    })
}

/// The row's values in the columns the copy was cut by; `None` when it has others.
fn copy_key(row: &dmnode_mysql::Row, known: &Known) -> Option<Vec<KeyValue>> {
    let columns = &known.table.copy_key;
    if columns.is_empty() {
        return None;
    }
    columns.iter().map(|(index, part)| part.of(row.values.get(*index)?)).collect()
}
