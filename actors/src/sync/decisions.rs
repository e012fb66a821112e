//! Operators' decisions about events of the stream: dropped, replaced, or preceded by other statements.
//!
//! A decision is known by the start of its event. It is removed from the cluster's state only when the target is past
//! the event for good: a decision that has been followed is therefore settled (barrier, durable watermark) before the
//! next transaction is read.

use std::collections::BTreeMap;

use dmnode_model::{BinlogPosition, StreamDecision, StreamOp};
use dmnode_mysql::{BinlogEvent, RowsEvent};

use super::applier::Statement;
use super::assemble::place;
use super::stream::{Halt, Stream};
use super::switch::Void;
use crate::progress::ProgressUpdate;

/// The decisions of one generation.
#[derive(Debug, Default)]
pub struct Decisions {
    by_position: BTreeMap<BinlogPosition, StreamDecision>,
    unsettled: bool,
}

impl Decisions {
    /// Those that wait, without those about another server.
    pub fn new(decisions: &[StreamDecision], void: &Void) -> Self {
        let by_position = decisions
            .iter()
            .filter(|decision| !void.contains(decision))
            .map(|decision| (decision.position.clone(), decision.clone()))
            .collect();
        Self { by_position, unsettled: false }
    }

    /// None of them is about the server that the stream comes from now.
    pub fn void(&mut self) {
        self.by_position.clear();
    }

    /// What was decided about the event that starts there.
    pub fn take(&mut self, start: &BinlogPosition) -> Option<StreamDecision> {
        if self.by_position.is_empty() {
            return None;
        }
        let found = self.by_position.get(start).cloned();
        self.unsettled |= found.is_some();
        found
    }
}

/// Where an event starts.
pub fn start_of(event: &BinlogEvent) -> BinlogPosition {
    BinlogPosition { file: event.file.to_string(), pos: event.start_pos }
}

impl Stream {
    /// Whether an operator has dropped this event with rows.
    pub(super) fn drops_rows(&mut self, event: &BinlogEvent, rows: &RowsEvent) -> bool {
        let Some(decision) = self.decisions.take(&start_of(event)) else { return false };
        if decision.op != StreamOp::Skip {
            tracing::warn!(location = %place(event), op = decision.op.as_str(),
                "the operator's decision is about a statement, but rows stand here; it is not followed");
            return false;
        }
        tracing::warn!(location = %place(event), table = %rows.table.name,
            "an event with rows is skipped: an operator decided so");
        true
    }

    /// Whether an operator has dropped this statement inside a large transaction, where no other decision can be
    /// followed.
    pub(super) fn drops_statement(&mut self, event: &BinlogEvent) -> bool {
        let Some(decision) = self.decisions.take(&start_of(event)) else { return false };
        tracing::warn!(location = %place(event), op = decision.op.as_str(),
            "an operator decided about a statement inside a large transaction");
        decision.op == StreamOp::Skip
    }

    /// Makes what was decided durable, once the transaction is over.
    pub(super) async fn settle_decisions(&mut self) -> Result<(), Halt> {
        if !self.decisions.unsettled || self.assembler.is_open() {
            return Ok(());
        }
        self.barrier().await?;
        let mut applier = self.appliers[0].lock().await;
        applier.flush(&self.shared, true).await?;
        let clear = self.ddl.clear_all_sql();
        applier.conn.apply(&ProgressUpdate::unchanged(), &mut Statement(&clear)).await?;
        let settled = self.shared.window.lock().location().position.clone();
        *self.shared.settled.lock() = Some(settled);
        self.decisions.unsettled = false;
        Ok(())
    }
}
