//! One applier: takes what has arrived, merges it, applies it in one target transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::change::{Change, Transaction, describe};
use super::checkpoint::Checkpoint;
use super::compact::{Group, compact};
use super::conflict::Tally;
use super::coordinator::{Queued, Shared};
use super::deliver::send;
pub use super::deliver::without_values;
use super::single::{Rules, Single};
use super::statement::{Builder, Packet};
use crate::failpoint;
use crate::progress::meta::Statements;
use crate::progress::{ApplierBook, Ordinal, ProgressUpdate, TxnId};
use crate::target::{ApplierConnection, ApplyBody, ApplyError, NoRows, TargetTransaction};

/// Rows that one batch takes when the task does not say.
pub const BATCH_ROWS: usize = 1000;
/// Memory of the changes that one batch takes.
const BATCH_BYTES: usize = 1 << 20;
/// An idle applier looks this often whether the watermark is to be written.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Connection and book of one applier. The stream takes it over when all is drained.
pub struct Applier {
    /// The connection.
    pub conn: ApplierConnection,
    /// What its progress row says.
    pub book: ApplierBook,
    /// How changes are turned into statements.
    pub rules: Arc<Rules>,
    /// DM's checkpoint row; only applier 0 writes it.
    pub checkpoint: Option<Checkpoint>,
}

/// Runs until the channel is closed or the unit has failed.
pub async fn run(
    index: usize,
    applier: Arc<Mutex<Applier>>,
    mut queue: mpsc::UnboundedReceiver<Queued>,
    shared: Arc<Shared>,
    batch_rows: usize,
) {
    loop {
        let next = tokio::select! {
            biased;
            () = shared.failed.cancelled() => return,
            next = tokio::time::timeout(FLUSH_EVERY, queue.recv()) => next,
        };
        let result = match next {
            Ok(None) => return,
            Ok(Some(first)) => {
                let mut rows = first.transaction.changes.len();
                let mut bytes = first.transaction.bytes;
                let mut batch = vec![first];
                while rows < batch_rows
                    && bytes < BATCH_BYTES
                    && let Ok(next) = queue.try_recv()
                {
                    rows += next.transaction.changes.len();
                    bytes += next.transaction.bytes;
                    batch.push(next);
                }
                let result = applier.lock().await.apply(&shared, &batch).await;
                if result.is_ok() {
                    shared.finish(index, batch);
                }
                result
            }
            // Only applier 0 moves the watermark without rows; the others' rows follow with their next batch.
            Err(_) if index == 0 => applier.lock().await.flush(&shared, false).await,
            Err(_) => Ok(()),
        };
        if let Err(error) = result {
            shared.fail(error.into_coded());
            return;
        }
    }
}

impl Applier {
    /// Applies a batch in one target transaction.
    async fn apply(&mut self, shared: &Shared, batch: &[Queued]) -> Result<(), ApplyError> {
        let ids: Vec<(Ordinal, TxnId)> =
            batch.iter().map(|queued| (queued.transaction.ordinal, queued.transaction.id.clone())).collect();
        let update = self.book.update(&mut shared.window.lock(), &ids).unwrap_or_default();
        let transactions: Vec<&Transaction> = batch.iter().map(|queued| &queued.transaction).collect();
        self.apply_merged(shared, &update, &transactions).await?;
        self.book.committed(&update, ids);
        failpoint::hit("sync.after_commit").await?;
        Ok(())
    }

    async fn apply_merged(
        &mut self,
        shared: &Shared,
        update: &ProgressUpdate,
        batch: &[&Transaction],
    ) -> Result<(), ApplyError> {
        // In safe mode every change is rewritten on its own.
        let plain = batch.iter().all(|transaction| !transaction.safe);
        let packets = if plain { merged(batch.iter().flat_map(|t| &t.changes), &self.rules) } else { None };
        if let Some(packets) = packets {
            let packet_max = self.rules.dialect.packet_max;
            let mut body = Batch { packets: &packets, transactions: batch, shared, packet_max };
            match self.conn.apply(update, &mut body).await {
                Ok(()) => return Ok(()),
                Err(
                    error @ (ApplyError::Fenced(_) | ApplyError::Cancelled | ApplyError::CannotRepeat(_)),
                ) => {
                    return Err(error);
                }
                Err(ApplyError::Coded(error)) if !is_about_rows(&error) => {
                    return Err(ApplyError::Coded(error));
                }
                Err(error) => {
                    tracing::info!(
                        applier = self.conn.index(),
                        code = error.server_code(),
                        "a merged batch was not accepted, applying it change by change"
                    );
                }
            }
        }
        let index = self.conn.index();
        let mut body =
            OneByOne { transactions: batch, shared, rules: &self.rules, index, tally: Tally::default() };
        self.conn.apply(update, &mut body).await?;
        self.rules.conflicts.committed(&body.tally);
        Ok(())
    }

    /// Writes the watermark if it has moved, and DM's checkpoint row when it is due (or `finally`).
    pub async fn flush(&mut self, shared: &Shared, finally: bool) -> Result<(), ApplyError> {
        let (update, location) = {
            let mut window = shared.window.lock();
            (self.book.update(&mut window, &[]), window.location().clone())
        };
        let due = self.checkpoint.as_mut().and_then(|checkpoint| checkpoint.due(&location, finally));
        if update.is_none() && due.is_none() {
            return Ok(());
        }
        let update = update.unwrap_or_default();
        match &due {
            Some(statements) => {
                self.conn.apply(&update, &mut Statements(statements.clone())).await?;
            }
            None => self.conn.apply(&update, &mut NoRows).await?,
        }
        self.book.committed(&update, Vec::new());
        if let (Some(checkpoint), Some(_)) = (self.checkpoint.as_mut(), due) {
            checkpoint.written(location, Instant::now());
        }
        shared.heartbeat.beat();
        Ok(())
    }
}

/// One statement as the body of a transaction.
pub struct Statement<'a>(pub &'a str);

#[async_trait]
impl ApplyBody for Statement<'_> {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        transaction.execute(self.0).await.map(|_| ())
    }
}

/// Packets of merged statements; `None` when the changes contradict each other.
pub fn merged<'a>(changes: impl Iterator<Item = &'a Change>, rules: &Rules) -> Option<Vec<Packet>> {
    let groups = if rules.fold { compact(changes)? } else { vec![Group::Sequence(changes.collect())] };
    let mut builder = Builder::new(rules.dialect);
    builder.groups(&groups);
    Some(builder.finish())
}

/// Whether the changes are to be tried one at a time.
pub fn is_about_rows(error: &CodedError) -> bool {
    matches!(error.code, codes::ROW_NOT_FOUND | codes::ROW_REFUSED | codes::ROW_TOO_LARGE)
}

/// A merged batch as the body of a transaction.
struct Batch<'a> {
    packets: &'a [Packet],
    transactions: &'a [&'a Transaction],
    shared: &'a Shared,
    packet_max: usize,
}

#[async_trait]
impl ApplyBody for Batch<'_> {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        let place = |_| self.transactions.first().map(|t| describe(&t.id, &t.end));
        for packet in self.packets {
            send(transaction, packet, self.packet_max, &place).await?;
            self.shared.counters.bytes.fetch_add(packet.size() as u64, Ordering::Relaxed);
            self.shared.heartbeat.beat();
        }
        failpoint::hit("sync.before_commit").await?;
        Ok(())
    }
}

/// The same change by change.
struct OneByOne<'a> {
    transactions: &'a [&'a Transaction],
    shared: &'a Shared,
    rules: &'a Rules,
    index: u32,
    tally: Tally,
}

#[async_trait]
impl ApplyBody for OneByOne<'_> {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        let place = |number: Option<usize>| place_of(self.transactions, number?);
        // Begun anew with every try.
        let mut single = Single::new(self.rules, &place);
        let mut first = 0;
        for source in self.transactions {
            single.apply(transaction, source.changes.iter(), first, source.safe).await?;
            first += source.changes.len();
            self.shared.heartbeat.beat();
        }
        self.tally = single.tally;
        if let Some(sql) = self.rules.conflicts.sql(self.index, &self.tally) {
            transaction.execute(sql).await?;
        }
        failpoint::hit("sync.before_commit").await?;
        Ok(())
    }
}

/// Which transaction the change with this number belongs to.
fn place_of(transactions: &[&Transaction], number: usize) -> Option<String> {
    let mut rest = number;
    for transaction in transactions {
        if rest < transaction.changes.len() {
            return Some(describe(&transaction.id, &transaction.end));
        }
        rest -= transaction.changes.len();
    }
    None
}
