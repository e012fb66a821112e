//! What is copied in one target transaction: one chunk, or several small tables.
//!
//! A commit costs more than the rows of a small table. So small tables go together, if there are many of them: their rows
//! and their chunk-done rows are in the target after one commit, or none of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::TableName;
use tokio_util::sync::CancellationToken;

use super::chunks::{Chunk, ChunkTable};
use super::copy::{CopyChunk, Counted, Job, JobTable, Pulse, SESSION};
use super::prepare::Prepared;
use super::progress::{CopyCounters, chunk_weight};
use super::snapshot::Reader;
use crate::failpoint;
use crate::target::{ApplyBody, ApplyError, TargetTransaction};
use dmnode_mysql::Connection;

/// Tables in one transaction at most.
const TABLES_MOST: usize = 50;
/// What a table may have by estimate to go together with others.
const SMALL_BYTES: u64 = 256 * 1024;
/// Estimates may be wrong: a parcel that has written so much takes no further table.
const BYTES_MOST: u64 = 4 << 20;
/// Statements that mark chunks done travel together up to this size.
const DONE_BYTES: usize = 256 * 1024;

/// One or several jobs.
pub(super) type Parcel = VecDeque<Job>;

/// What is left to copy, in the order in which it is to be done.
pub(super) fn parcels(
    prepared: BTreeMap<TableName, Prepared>,
    condition: &str,
    workers: usize,
) -> VecDeque<Parcel> {
    // Large tables first, so that the last ones to be worked on are small; chunks of different tables mixed, so that
    // workers do not meet at the end of one index.
    let mut order: Vec<Prepared> = prepared.into_values().filter(|table| !table.plan.is_done()).collect();
    order.sort_by_key(|table| std::cmp::Reverse(table.source.bytes));
    let mut tables: Vec<VecDeque<Job>> = Vec::new();
    let mut small: Parcel = VecDeque::new();
    for Prepared { source, plan, columns, computed } in order {
        let weight = chunk_weight(&source, &plan);
        let goes_together = source.transactional && plan.chunks.len() == 1 && source.bytes <= SMALL_BYTES;
        let missing: Vec<Chunk> = plan.chunks.into_iter().filter(|chunk| chunk.done.is_none()).collect();
        let table = Arc::new(JobTable {
            source: source.name,
            target: plan.target,
            transactional: source.transactional,
            digest: plan.digest,
            key: plan.key,
            condition: condition.to_owned(),
            columns,
            computed,
            left: AtomicUsize::new(missing.len()),
        });
        let jobs = missing.into_iter().map(|chunk| Job { table: Arc::clone(&table), chunk, weight });
        if goes_together {
            small.extend(jobs);
        } else {
            tables.push(jobs.collect());
        }
    }
    let mut parcels = VecDeque::new();
    while !tables.is_empty() {
        tables.retain_mut(|table| {
            parcels.extend(table.pop_front().map(|job| Parcel::from([job])));
            !table.is_empty()
        });
    }
    // Few of them are better shared among the workers than saved a commit.
    let together = (small.len() / (workers.max(1) * 8)).clamp(1, TABLES_MOST);
    while !small.is_empty() {
        let rest = small.split_off(together.min(small.len()));
        parcels.push_back(std::mem::replace(&mut small, rest));
    }
    parcels
}

/// The body of a parcel's transaction.
pub(super) struct CopyParcel<'a> {
    pub parcel: &'a Parcel,
    pub chunks: &'a ChunkTable,
    pub reader: &'a mut Reader,
    /// Another session on the source, to look at a table while the reader holds it.
    pub check: &'a mut Connection,
    pub local_infile: bool,
    /// The target's `max_allowed_packet`.
    pub packet: usize,
    pub counters: &'a CopyCounters,
    pub pulse: &'a Pulse,
    pub stop: &'a CancellationToken,
    /// What the last run counted of each job that it has copied.
    pub counted: Vec<Counted>,
}

#[async_trait]
impl ApplyBody for CopyParcel<'_> {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        self.forget();
        let stop = self.stop.clone();
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => Err(ApplyError::Cancelled),
            result = self.copy(transaction) => result,
        };
        if result.is_err() {
            self.forget();
        }
        result
    }
}

impl CopyParcel<'_> {
    /// Takes back what a former run counted.
    pub fn forget(&mut self) {
        for Counted { rows, bytes, work, .. } in self.counted.drain(..) {
            self.counters.take_back(rows, bytes, work);
        }
    }

    async fn copy(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        transaction.execute_many(SESSION).await?;
        let mut done = Vec::new();
        let mut written = 0;
        for job in self.parcel {
            failpoint::hit("load.before_chunk").await?;
            self.pulse.begin();
            let mut chunk = CopyChunk {
                job,
                chunks: self.chunks,
                reader: &mut self.reader.conn,
                check: &mut *self.check,
                location: &self.reader.location,
                local_infile: self.local_infile,
                packet: self.packet,
                counters: self.counters,
                pulse: self.pulse,
                counted: Counted::default(),
            };
            let copied = chunk.copy(transaction).await;
            // Also when it went wrong: it is taken back with the rest.
            written += chunk.counted.bytes;
            self.counted.push(chunk.counted);
            done.push(copied?);
            if written > BYTES_MOST {
                break;
            }
        }
        self.mark(transaction, &done).await?;
        failpoint::hit("load.before_chunk_commit").await?;
        Ok(())
    }

    /// Marks what was copied as done.
    async fn mark(
        &self,
        transaction: &mut TargetTransaction<'_>,
        done: &[Vec<u8>],
    ) -> Result<(), ApplyError> {
        let mut marked = 0;
        while marked < done.len() {
            let mut sql = Vec::new();
            let mut count = 0;
            for statement in done.iter().skip(marked) {
                if count > 0 && sql.len() + statement.len() > DONE_BYTES {
                    break;
                }
                if count > 0 {
                    sql.push(b';');
                }
                sql.extend_from_slice(statement);
                count += 1;
            }
            let summaries = transaction.execute_many(&sql).await?;
            for index in 0..count {
                if summaries.get(index).is_some_and(|summary| summary.affected_rows == 1) {
                    continue;
                }
                let object = self
                    .parcel
                    .get(marked + index)
                    .map(|job| format!("{}, chunk {}", job.table.source, job.chunk.number));
                return Err(CodedError::new(
                    codes::COPY_META,
                    "a chunk's row in the plan is not as it was planned",
                )
                .object(object.unwrap_or_default())
                .into());
            }
            marked += count;
        }
        Ok(())
    }

    /// The transaction is committed: what it contains is counted, and what it does not is handed back.
    pub fn settle(self) -> Parcel {
        let Self { parcel, counters, counted, .. } = self;
        for (job, counted) in parcel.iter().zip(&counted) {
            counters.add(0, 0, job.weight.saturating_sub(counted.work));
            if job.table.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                counters.table_done();
            }
        }
        parcel.iter().skip(counted.len()).cloned().collect()
    }
}
