//! Transactions too large for memory: read and applied at the same time, in one target transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use dmnode_model::BinlogPosition;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_mysql::BinlogEvent;
use tokio::time::Instant;

use super::applier::{Applier, is_about_rows, merged};
use super::assemble::{Step, place};
use super::change::{Change, describe};
use super::conflict::Tally;
use super::coordinator::LargeProgress;
use super::ddl::{Decision, Servers, decide};
use super::deliver::send;
use super::single::{Rules, Single};
use super::stream::{Halt, Open, Stream};
use crate::failpoint;
use crate::progress::{ApplierBook, ProgressUpdate};
use crate::target::{ApplyBody, ApplyError, TargetTransaction};

/// The changes are sent when they have this size.
const PART_BYTES: usize = 1 << 20;
/// Changes applied one at a time between two signs of life.
const SINGLE_ROWS: usize = 100;

/// How a streamed transaction ended.
enum Outcome {
    /// It ran to its end.
    Complete { update: ProgressUpdate },
    /// The source rolled it back.
    RolledBack(BinlogPosition),
    /// It was interrupted.
    Halted(Halt),
}

impl Stream {
    /// The open transaction has grown too large. Everything before it is applied first; it then has the target for
    /// itself, so nothing can be in its way.
    pub(super) async fn large(&mut self, event: &BinlogEvent) -> Result<(), Halt> {
        self.barrier().await?;
        self.enter_safe_mode(&BinlogPosition { file: event.file.to_string(), pos: event.end_pos }).await?;
        tracing::info!(location = %place(event), "a large transaction is streamed into the target");
        let applier = Arc::clone(&self.appliers[0]);
        let mut guard = applier.lock().await;
        let Applier { conn, book, rules, .. } = &mut *guard;
        let rules = Arc::clone(rules);
        let index = conn.index();
        let template = conn.progress_template();
        let mut body = Large {
            stream: self,
            book,
            rules: Arc::clone(&rules),
            index,
            tally: Tally::default(),
            template,
            started: false,
            outcome: None,
            at: place(event),
            rows: 0,
            start: event.start_pos,
        };
        body.show(event.end_pos);
        let result = conn.apply(&ProgressUpdate::unchanged(), &mut body).await;
        let (outcome, rows, tally) = (body.outcome.take(), body.rows, std::mem::take(&mut body.tally));
        *self.shared.large.lock() = None;
        match (result, outcome) {
            (Ok(()), Some(Outcome::Complete { update })) => {
                guard.book.committed(&update, Vec::new());
                rules.conflicts.committed(&tally);
                drop(guard);
                self.shared.lag.applied(self.assembler.timestamp());
                self.shared.counters.rows.fetch_add(rows, Ordering::Relaxed);
                self.shared.counters.transactions.fetch_add(1, Ordering::Relaxed);
                self.shared.counters.batches.fetch_add(1, Ordering::Relaxed);
                self.shared.applied.notify_waiters();
                self.open = Open::default();
                failpoint::hit("sync.after_commit").await?;
                Ok(())
            }
            (_, Some(Outcome::RolledBack(end))) => {
                drop(guard);
                self.finish_empty(end).await
            }
            (_, Some(Outcome::Halted(halt))) => Err(halt),
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => {
                Err(CodedError::new(codes::INTERNAL, "a streamed transaction has no end").into())
            }
        }
    }
}

/// The streamed transaction as a body. It can run once only: what was read is gone.
struct Large<'a> {
    stream: &'a mut Stream,
    book: &'a mut ApplierBook,
    rules: Arc<Rules>,
    index: u32,
    tally: Tally,
    template: crate::target::ProgressTemplate,
    started: bool,
    outcome: Option<Outcome>,
    at: String,
    rows: u64,
    /// Where in its binlog file it turned out to be large.
    start: u64,
}

#[async_trait]
impl ApplyBody for Large<'_> {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        if std::mem::replace(&mut self.started, true) {
            return Err(ApplyError::CannotRepeat("the target was lost while it was streamed".into()));
        }
        self.send(transaction).await?;
        loop {
            match self.step(transaction).await {
                Ok(None) => {}
                Ok(Some(end)) => return self.finish(transaction, end).await,
                Err(Stopped::Target(error)) => return Err(error),
                Err(Stopped::Stream(outcome)) => {
                    self.outcome = Some(outcome);
                    return Err(ApplyError::CannotRepeat("it was interrupted".into()));
                }
            }
        }
    }
}

enum Stopped {
    Target(ApplyError),
    Stream(Outcome),
}

impl From<Halt> for Stopped {
    fn from(halt: Halt) -> Self {
        Self::Stream(Outcome::Halted(halt))
    }
}

impl From<CodedError> for Stopped {
    fn from(error: CodedError) -> Self {
        Self::Stream(Outcome::Halted(error.into()))
    }
}

impl Large<'_> {
    /// Handles one event; its end position when it is the transaction's end.
    async fn step(
        &mut self,
        transaction: &mut TargetTransaction<'_>,
    ) -> Result<Option<BinlogPosition>, Stopped> {
        let event = self.stream.next_event().await?;
        if !self.stream.assembler.is_open() {
            // The reader has lost the source and begun anew.
            let error =
                CodedError::new(codes::SOURCE_CONNECTION, "the source was lost inside a large transaction");
            return Err(error.at(&self.at).into());
        }
        let end = BinlogPosition { file: event.file.to_string(), pos: event.end_pos };
        let step = self.stream.assembler.feed(&event)?;
        match step {
            Step::Nothing | Step::Idle | Step::Moved | Step::Savepoint(_) => {}
            Step::Rows(rows) => {
                if !self.stream.drops_rows(&event, rows) {
                    self.stream.rows(&event, rows).await?;
                }
                if self.stream.open.bytes > PART_BYTES {
                    self.send(transaction).await.map_err(Stopped::Target)?;
                }
                self.show(event.end_pos);
            }
            Step::Statement { .. } if self.stream.drops_statement(&event) => {}
            Step::Statement { query, .. } => {
                let filtered = self.stream.filtered(query).await.map_err(|error| error.at(&self.at))?;
                let Some(query) = filtered else { return Ok(None) };
                let query = &*query;
                let (source, target) = (self.stream.reader.flavor(), self.stream.target.clone());
                let servers = Servers { source, target: &target };
                match decide(query, &self.stream.scope, servers, None).map_err(|error| error.at(&self.at))? {
                    Decision::Skip(_) | Decision::NotMigrated(_) => {}
                    Decision::Execute(_) => {
                        return Err(CodedError::new(
                            codes::DDL_UNSUPPORTED,
                            "a DDL stands after row changes in one transaction",
                        )
                        .at(&self.at)
                        .into());
                    }
                }
            }
            Step::XaPrepared => return Err(super::xa::too_large(&self.at).into()),
            Step::RollbackTo(_) | Step::XaDecided { .. } => {
                return Err(CodedError::new(
                    codes::BINLOG_UNSUPPORTED,
                    "a large transaction goes back to a savepoint",
                )
                .at(&self.at)
                .into());
            }
            Step::Commit => return Ok(Some(end)),
            Step::Rollback => return Err(Stopped::Stream(Outcome::RolledBack(end))),
        }
        Ok(None)
    }

    /// Sends what has been read so far.
    async fn send(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        let changes = std::mem::take(&mut self.stream.open.changes);
        self.stream.open.bytes = 0;
        let safe = self.stream.safe_now();
        if safe {
            self.send_single(transaction, &changes, true).await?;
            self.rows += changes.len() as u64;
            return Ok(());
        }
        // Whatever a merged part has done can be taken back without losing what was before it.
        transaction.execute("SAVEPOINT dmnode_part").await?;
        match self.send_merged(transaction, &changes).await {
            Err(ApplyError::Coded(error)) if is_about_rows(&error) => {
                tracing::info!(
                    code = error.code,
                    "a part of a large transaction was not accepted, applying it change by change"
                );
                transaction.execute("ROLLBACK TO SAVEPOINT dmnode_part").await?;
                transaction.execute("SET foreign_key_checks = 0").await?;
                self.send_single(transaction, &changes, false).await?;
            }
            result => result?,
        }
        self.rows += changes.len() as u64;
        Ok(())
    }

    async fn send_merged(
        &self,
        transaction: &mut TargetTransaction<'_>,
        changes: &[Change],
    ) -> Result<(), ApplyError> {
        let Some(packets) = merged(changes.iter(), &self.rules) else {
            return Err(CodedError::new(codes::ROW_REFUSED, "the changes contradict each other").into());
        };
        for packet in &packets {
            send(transaction, packet, self.rules.dialect.packet_max, &|_| Some(self.at.clone())).await?;
            self.stream.shared.counters.bytes.fetch_add(packet.size() as u64, Ordering::Relaxed);
            self.stream.ctx.heartbeat.beat();
        }
        Ok(())
    }

    async fn send_single(
        &mut self,
        transaction: &mut TargetTransaction<'_>,
        changes: &[Change],
        safe: bool,
    ) -> Result<(), ApplyError> {
        let at = self.at.clone();
        let place = move |_| Some(at.clone());
        let mut single = Single::new(&self.rules, &place);
        single.tally = std::mem::take(&mut self.tally);
        for some in changes.chunks(SINGLE_ROWS) {
            single.apply(transaction, some.iter(), 0, safe).await?;
            self.stream.ctx.heartbeat.beat();
        }
        self.tally = single.tally;
        Ok(())
    }

    /// Shows how far it is.
    fn show(&self, end: u64) {
        let mut large = self.stream.shared.large.lock();
        let since = large.as_ref().map_or_else(Instant::now, |large| large.since);
        *large = Some(LargeProgress {
            location: self.at.clone(),
            rows: self.rows,
            bytes: end.saturating_sub(self.start),
            since,
        });
    }

    /// The identity is known now: the progress row gets it in the same transaction.
    async fn finish(
        &mut self,
        transaction: &mut TargetTransaction<'_>,
        end: BinlogPosition,
    ) -> Result<(), ApplyError> {
        self.send(transaction).await?;
        let id = self.stream.assembler.identity(&end);
        if self.stream.shared.window.lock().is_applied(&id) {
            // A transaction without GTID is known by its end only.
            self.outcome = Some(Outcome::RolledBack(end));
            return Err(ApplyError::CannotRepeat("it was applied before".into()));
        }
        self.stream.reader.passed(end.clone(), self.stream.assembler.gtid());
        // Behind the barrier it is the only one in flight: the watermark passes it in its own commit, so that a
        // restart does not even read it again. Should the commit fail, the unit ends and forgets this window.
        let update = {
            let mut window = self.stream.shared.window.lock();
            let ordinal = window.push(id.clone(), end.clone());
            window.done(ordinal);
            self.book.update(&mut window, &[]).unwrap_or_default()
        };
        if let Some(sql) = self.rules.conflicts.sql(self.index, &self.tally) {
            transaction.execute(sql).await?;
        }
        transaction.set_progress(&self.template.sql(&update)).await?;
        tracing::info!(location = %describe(&id, &end), rows = self.rows, "a large transaction was streamed");
        self.outcome = Some(Outcome::Complete { update });
        failpoint::hit("sync.before_commit").await?;
        Ok(())
    }
}
