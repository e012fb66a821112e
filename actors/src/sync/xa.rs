//! Two-phase XA transactions: prepared at one place of the binlog, decided at another, perhaps much later.
//!
//! A prepared transaction has no effect: the stream passes it and keeps its row events. `XA COMMIT` is a
//! transaction of its own with its own identity; the rows are applied under that, so they are there exactly
//! once, whatever happens in between. Nothing has to be durable for it: what is not in memory (after a restart,
//! before the task's start, or because there was too much of it) is looked up in the source's binlog again.
//! Until it is decided the source keeps its locks, so neither its rows nor its tables can change meanwhile.

use std::collections::HashMap;

use dmnode_model::BinlogPosition;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_mysql::{BinlogEvent, EventBody, RowsEvent};

use super::assemble::{Assembler, Step, place, xid_text};
use super::stream::{Halt, Stream};

/// Most bytes of row events of one XA transaction.
pub(super) const XA_BYTES_MAX: usize = 64 << 20;
/// Most bytes of prepared transactions that are kept.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Most prepared transactions that are kept.
const KEPT_MAX: usize = 10_000;
/// About what an event costs beside its rows.
const EVENT_BYTES: usize = 256;

/// Prepared transactions that are not decided yet.
#[derive(Default)]
pub(super) struct Prepared {
    kept: HashMap<String, Held>,
    bytes: usize,
}

/// Row events in scope of one XA transaction.
#[derive(Debug, Default)]
pub(super) struct Held {
    events: Vec<BinlogEvent>,
    bytes: usize,
    savepoints: Vec<(String, usize, usize)>,
}

impl Prepared {
    fn keep(&mut self, xid: String, held: Held) {
        self.take(&xid);
        if self.kept.len() < KEPT_MAX && self.bytes + held.bytes <= KEPT_BYTES_MAX {
            self.bytes += held.bytes;
            self.kept.insert(xid, held);
        }
    }

    fn take(&mut self, xid: &str) -> Option<Held> {
        let held = self.kept.remove(xid)?;
        self.bytes -= held.bytes;
        Some(held)
    }
}

impl Held {
    fn add(&mut self, event: &BinlogEvent, rows: &RowsEvent) {
        self.bytes += rows.byte_len() + EVENT_BYTES;
        self.events.push(event.clone());
    }

    pub fn savepoint(&mut self, name: &str) {
        self.savepoints.push((name.to_owned(), self.events.len(), self.bytes));
    }

    /// What came after the savepoint is void; false when there is no such savepoint.
    pub fn rollback_to(&mut self, name: &str) -> bool {
        let found = self.savepoints.iter().rposition(|(known, ..)| known.eq_ignore_ascii_case(name));
        let Some(index) = found else { return false };
        let (_, events, bytes) = self.savepoints[index];
        self.events.truncate(events);
        self.bytes = bytes;
        self.savepoints.truncate(index + 1);
        true
    }
}

impl Stream {
    /// Keeps rows of an XA transaction, which may be prepared at its end.
    pub(super) async fn hold(&mut self, event: &BinlogEvent, rows: &RowsEvent) -> Result<(), Halt> {
        if !self.scope.has_table(&rows.table.name)? {
            return Ok(());
        }
        self.open.held.add(event, rows);
        if self.open.held.bytes > XA_BYTES_MAX {
            // Perhaps it is committed in one phase.
            self.release(event).await?;
            self.large(event).await?;
        }
        Ok(())
    }

    /// The transaction commits here and now: its rows are rows like others.
    pub(super) async fn release(&mut self, event: &BinlogEvent) -> Result<(), Halt> {
        let held = std::mem::take(&mut self.open.held);
        self.replay(held, event).await
    }

    pub(super) async fn xa_prepared(&mut self, event: &BinlogEvent, end: BinlogPosition) -> Result<(), Halt> {
        if let EventBody::XaPrepare { format_id, gtrid, bqual, .. } = &event.body {
            let held = std::mem::take(&mut self.open.held);
            self.prepared.keep(xid_text(*format_id, gtrid, bqual), held);
        }
        self.finish_empty(end).await
    }

    pub(super) async fn xa_decided(
        &mut self,
        commit: bool,
        xid: &str,
        event: &BinlogEvent,
        end: BinlogPosition,
    ) -> Result<(), Halt> {
        self.begin()?;
        let id = self.assembler.identity(&end);
        let known = self.open.known || self.shared.window.lock().is_applied(&id);
        let kept = self.prepared.take(xid);
        if !commit || known {
            return self.finish_empty(end).await;
        }
        let held = match kept {
            Some(held) => held,
            None => self.find_prepared(xid, event).await?,
        };
        // The rows may come from another file, whose table numbers mean nothing here.
        self.tables.forget_numbers();
        self.replay(held, event).await?;
        self.tables.forget_numbers();
        self.commit(end).await
    }

    /// Rows that take effect at this event.
    async fn replay(&mut self, held: Held, event: &BinlogEvent) -> Result<(), Halt> {
        for mut rows in held.events {
            rows.file = std::sync::Arc::clone(&event.file);
            (rows.start_pos, rows.end_pos) = (event.start_pos, event.end_pos);
            if let EventBody::Rows(body) = &rows.body {
                self.rows(&rows, body).await?;
                self.ctx.heartbeat.beat();
            }
        }
        Ok(())
    }

    /// Looks a prepared transaction up in the source's binlog, from its decision backwards, file by file.
    async fn find_prepared(&mut self, xid: &str, decision: &BinlogEvent) -> Result<Held, Halt> {
        tracing::info!(location = %place(decision), "the binlog is searched for the rows of an XA transaction");
        let files = self.reader.files().await?;
        let last = files.iter().position(|file| **file == *decision.file).map_or(files.len(), |at| at + 1);
        for file in files[..last].iter().rev() {
            if let Some(held) = self.search(file, xid, decision).await? {
                return Ok(held);
            }
        }
        Err(CodedError::new(
            codes::XA_PREPARE_UNKNOWN,
            "an XA transaction is committed whose PREPARE is no longer in the source's binlog",
        )
        .object(format!("XA transaction {xid}"))
        .at(place(decision))
        .into())
    }

    /// The last such transaction that is prepared in a file and not decided before `decision`.
    async fn search(&mut self, file: &str, xid: &str, decision: &BinlogEvent) -> Result<Option<Held>, Halt> {
        let mut reader = self.reader.another(file).await?;
        let mut assembler = Assembler::new();
        let (mut held, mut found) = (Held::default(), None);
        loop {
            if self.ctx.cancel.is_cancelled() {
                return Err(Halt::Cancelled);
            }
            let event = reader.next().await.map_err(|error| self.reader.coded(&error))?;
            self.ctx.heartbeat.beat();
            let beyond = match &event.body {
                EventBody::Rotate { file: next, .. } => next != file,
                _ => event.file == decision.file && event.start_pos >= decision.start_pos,
            };
            if beyond {
                return Ok(found);
            }
            let was_open = assembler.is_open();
            let step = match assembler.feed(&event) {
                Ok(step) => step,
                Err(error) if assembler.is_xa() => return Err(error.into()),
                // What other transactions hold is no matter here.
                Err(_) => continue,
            };
            if !was_open && assembler.is_open() {
                held = Held::default();
            }
            match step {
                Step::Rows(rows) if assembler.is_xa() => {
                    if self.scope.has_table(&rows.table.name)? {
                        held.add(&event, rows);
                    }
                    if held.bytes > XA_BYTES_MAX {
                        // It is too large for any that could be the one, which would have stopped the task.
                        held = Held::default();
                    }
                }
                Step::Savepoint(name) => held.savepoint(&name),
                Step::RollbackTo(name) => {
                    held.rollback_to(&name);
                }
                Step::XaPrepared => {
                    if let EventBody::XaPrepare { format_id, gtrid, bqual, .. } = &event.body
                        && xid_text(*format_id, gtrid, bqual) == xid
                    {
                        found = Some(std::mem::take(&mut held));
                    }
                }
                Step::XaDecided { xid: decided, .. } if decided == xid => found = None,
                _ => {}
            }
        }
    }
}

/// An XA transaction of two phases that does not fit.
pub(super) fn too_large(at: &str) -> CodedError {
    CodedError::new(
        codes::XA_TOO_LARGE,
        format!("a two-phase XA transaction has more than {} MB of row changes", XA_BYTES_MAX >> 20),
    )
    .at(at)
}
