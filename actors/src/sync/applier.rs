//! One applier: takes what has arrived, merges it, applies it in one target transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_mysql::ExecSummary;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::change::{Change, Transaction, describe};
use super::checkpoint::Checkpoint;
use super::compact::compact;
use super::coordinator::{Queued, Shared};
use super::statement::{Builder, Dialect, Expect, Packet, Planned, Verb};
use crate::failpoint;
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
    /// How SQL is written.
    pub dialect: Dialect,
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
        if let Some(packets) = merged(batch.iter().flat_map(|t| &t.changes), self.dialect) {
            let mut body = Batch { packets: &packets, transactions: batch, shared };
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
        let mut builder = Builder::new(self.dialect);
        builder.one_by_one(batch.iter().flat_map(|t| &t.changes));
        let packets = builder.finish();
        self.conn.apply(update, &mut Batch { packets: &packets, transactions: batch, shared }).await
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
            Some(sql) => self.conn.apply(&update, &mut Statement(sql)).await?,
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
pub fn merged<'a>(changes: impl Iterator<Item = &'a Change>, dialect: Dialect) -> Option<Vec<Packet>> {
    let groups = compact(changes)?;
    let mut builder = Builder::new(dialect);
    builder.groups(&groups);
    Some(builder.finish())
}

fn is_about_rows(error: &CodedError) -> bool {
    matches!(error.code, codes::ROW_NOT_FOUND | codes::ROW_REFUSED)
}

/// A batch as the body of a transaction.
struct Batch<'a> {
    packets: &'a [Packet],
    transactions: &'a [&'a Transaction],
    shared: &'a Shared,
}

#[async_trait]
impl ApplyBody for Batch<'_> {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        for packet in self.packets {
            let place = |planned: &Planned| match planned.change {
                Some(number) => place_of(self.transactions, number),
                None => self.transactions.first().map(|t| describe(&t.id, &t.end)),
            };
            send(transaction, packet, place).await?;
            self.shared.counters.bytes.fetch_add(packet.sql.len() as u64, Ordering::Relaxed);
            self.shared.heartbeat.beat();
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

/// Sends a packet and checks what each statement did.
pub async fn send(
    transaction: &mut TargetTransaction<'_>,
    packet: &Packet,
    place: impl Fn(&Planned) -> Option<String>,
) -> Result<(), ApplyError> {
    let summaries = match transaction.execute_many(&packet.sql).await {
        Ok(summaries) => summaries,
        Err(ApplyError::Multi(error)) => {
            let transient = error.error.is_connection_lost() || error.error.is_transient_conflict();
            let planned = packet.statements.get(error.index);
            return match (error.error.code(), planned.and_then(|p| p.table.as_ref().map(|t| (p, t)))) {
                (Some(code), Some((planned, table))) if !transient && code != 1020 => Err(CodedError::new(
                    codes::ROW_REFUSED,
                    format!("the target refused to {} a row", verb(planned.verb)),
                )
                .object(table.target())
                .at(place(planned).unwrap_or_default())
                .cause(format!("ERROR {code}: {}", without_values(code, &error.error.message)))
                .into()),
                _ => Err(ApplyError::Multi(error)),
            };
        }
        Err(error) => return Err(error),
    };
    for (index, planned) in packet.statements.iter().enumerate() {
        let summary = summaries.get(index).cloned().unwrap_or_default();
        check(transaction, planned, &summary, index + 1 == packet.statements.len(), &place).await?;
    }
    Ok(())
}

async fn check(
    transaction: &mut TargetTransaction<'_>,
    planned: &Planned,
    summary: &ExecSummary,
    last: bool,
    place: &impl Fn(&Planned) -> Option<String>,
) -> Result<(), ApplyError> {
    let (Expect::Rows(expected), Some(table)) = (planned.expect, &planned.table) else { return Ok(()) };
    if summary.affected_rows != expected {
        let columns: Vec<&str> =
            table.identity.iter().map(|index| table.column(*index).name.as_str()).collect();
        let key =
            if columns.is_empty() { "no key".to_owned() } else { format!("key ({})", columns.join(", ")) };
        return Err(CodedError::new(
            codes::ROW_NOT_FOUND,
            format!(
                "{} found {} of {expected} rows in the target, {key}",
                verb(planned.verb),
                summary.affected_rows
            ),
        )
        .object(table.target())
        .at(place(planned).unwrap_or_default())
        .into());
    }
    if summary.warnings > 0 && !table.ignores_warnings() {
        // Only the last statement's warnings can be asked for; what is found once holds for the table.
        let found = if last { transaction.query("SHOW WARNINGS").await? } else { Vec::new() };
        let harmful = found.iter().find(|row| !row.u64(1).is_some_and(is_harmless));
        if let Some(row) = harmful {
            let code = row.u64(1).unwrap_or(0);
            let text = row.str(2).unwrap_or_default();
            return Err(CodedError::new(
                codes::ROW_REFUSED,
                format!("the target would have altered a row ({})", verb(planned.verb)),
            )
            .object(table.target())
            .at(place(planned).unwrap_or_default())
            .cause(format!("warning {code}: {}", without_values(u16::try_from(code).unwrap_or(0), &text)))
            .into());
        }
        if !last && planned.change.is_none() {
            // Change by change the warnings of each can be looked at.
            return Err(CodedError::new(codes::ROW_REFUSED, "a statement gave warnings")
                .object(table.target())
                .at(place(planned).unwrap_or_default())
                .into());
        }
        if last {
            table.harmless_warnings.store(true, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Warnings about the form of a statement, not about its rows: deprecated syntax (1287, 1681, 3719, 3720, 3778,
/// 3135), unsafe for statement-based logging (1592).
fn is_harmless(code: u64) -> bool {
    matches!(code, 1287 | 1592 | 1681 | 3135 | 3719 | 3720 | 3778)
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Insert => "insert",
        Verb::Update => "update",
        Verb::Delete => "delete",
        Verb::Session => "set",
    }
}

/// A server's message without the row values some of them quote.
pub fn without_values(code: u16, message: &str) -> String {
    if code == 1062 {
        // Duplicate entry '…' for key 'name'
        return match message.rsplit_once(" for key ") {
            Some((_, key)) => format!("Duplicate entry for key {key}"),
            None => "Duplicate entry".to_owned(),
        };
    }
    match message.find([':', '\'']) {
        Some(cut) if matches!(code, 1292 | 1366 | 1367 | 1411 | 1525 | 3140 | 3141 | 3854 | 4025) => {
            let tail = message.rfind(" for column ").map_or("", |place| &message[place..]);
            format!("{}…{tail}", message[..cut].trim_end())
        }
        _ => message.to_owned(),
    }
}
