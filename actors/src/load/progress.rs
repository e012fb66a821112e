//! Counters of the copy, for `query-status`.
//!
//! The share that is done is one of weights: each chunk weighs what its table is estimated to have in bytes. While it is
//! copied it earns its weight with its bytes, and when it is done it has earned all of it, whatever the estimate
//! was worth. So neither very many small tables nor a wrong estimate make the share jump.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use dmnode_model::position::Location;
use dmnode_model::status::{CopyProgress, LoadStatus};
use parking_lot::Mutex;

use super::chunks::PlannedTable;
use super::inventory::SourceTable;
use crate::unit::{Report, UnitReport};

/// What a table weighs at least: there is work for an empty one, too.
const TABLE_WEIGHT_LEAST: u64 = 16 * 1024;
/// Hundredths of a percent.
const WHOLE: u64 = 10_000;

/// What the copy has to do and has done. Totals are estimates until the copy is done.
#[derive(Default)]
pub(super) struct CopyCounters {
    tables_total: AtomicU64,
    tables_prepared: AtomicU64,
    tables_done: AtomicU64,
    /// The servers' estimate of all rows.
    rows_expected: AtomicU64,
    rows_done: AtomicU64,
    bytes_done: AtomicU64,
    work_total: AtomicU64,
    work_done: AtomicU64,
    /// What was shown last: a chunk that is rolled back and read again does not take the share back.
    share_shown: AtomicU64,
    rows_shown: AtomicU64,
    bytes_shown: AtomicU64,
    complete: AtomicBool,
    began: Mutex<Option<Began>>,
}

/// When the first row was read.
struct Began {
    at: Instant,
    location: Location,
    /// What was done before does not count for the speed.
    bytes: u64,
    work: u64,
}

/// What a chunk weighs.
pub(super) fn chunk_weight(table: &SourceTable, plan: &PlannedTable) -> u64 {
    table.bytes.max(TABLE_WEIGHT_LEAST) / (plan.chunks.len() as u64).max(1)
}

/// What so many bytes of a chunk have earned of its weight: four fifths as they come; of the rest the less, the more they
/// are above the estimate.
pub(super) fn earned(weight: u64, bytes: u64) -> u64 {
    let most = weight / 5 * 4;
    if bytes <= most {
        return bytes;
    }
    let rest = weight - most;
    weight - u64::try_from(u128::from(rest) * u128::from(most) / u128::from(bytes)).unwrap_or(rest)
}

impl CopyCounters {
    /// A table is known.
    pub fn expect(&self, table: &SourceTable) {
        self.tables_total.fetch_add(1, Ordering::Relaxed);
        self.rows_expected.fetch_add(table.rows, Ordering::Relaxed);
        self.work_total.fetch_add(table.bytes.max(TABLE_WEIGHT_LEAST), Ordering::Relaxed);
    }

    /// A table is planned, perhaps partly done already.
    pub fn prepared(&self, table: &SourceTable, plan: &PlannedTable) {
        let done = plan.chunks.iter().filter(|chunk| chunk.done.is_some()).count();
        self.work_done.fetch_add(chunk_weight(table, plan) * done as u64, Ordering::Relaxed);
        self.add_done(plan);
    }

    /// A table of a copy that was completed before.
    pub fn copied(&self, plan: &PlannedTable) {
        self.tables_total.fetch_add(1, Ordering::Relaxed);
        self.add_done(plan);
    }

    fn add_done(&self, plan: &PlannedTable) {
        let done = plan.chunks.iter().filter_map(|chunk| chunk.done.as_ref());
        let (rows, bytes) = done.fold((0, 0), |(rows, bytes), done| (rows + done.rows, bytes + done.bytes));
        self.tables_prepared.fetch_add(1, Ordering::Relaxed);
        self.tables_done.fetch_add(u64::from(plan.is_done()), Ordering::Relaxed);
        self.rows_done.fetch_add(rows, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The snapshot is taken: the first rows are read.
    pub fn begin(&self, location: Location) {
        let (bytes, work) = (self.bytes_done.load(Ordering::Relaxed), self.work_done.load(Ordering::Relaxed));
        *self.began.lock() = Some(Began { at: Instant::now(), location, bytes, work });
    }

    /// Rows on their way, and what they have earned of their chunk's weight.
    pub fn add(&self, rows: u64, bytes: u64, work: u64) {
        self.rows_done.fetch_add(rows, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        self.work_done.fetch_add(work, Ordering::Relaxed);
    }

    /// Rows that were rolled back.
    pub fn take_back(&self, rows: u64, bytes: u64, work: u64) {
        self.rows_done.fetch_sub(rows, Ordering::Relaxed);
        self.bytes_done.fetch_sub(bytes, Ordering::Relaxed);
        self.work_done.fetch_sub(work, Ordering::Relaxed);
    }

    /// A table is done.
    pub fn table_done(&self) {
        self.tables_done.fetch_add(1, Ordering::Relaxed);
    }

    /// All is done: the totals are what was copied. Tables that have vanished are none.
    pub fn finish(&self) {
        let done = self.tables_done.load(Ordering::Relaxed);
        self.tables_total.store(done, Ordering::Relaxed);
        self.tables_prepared.store(done, Ordering::Relaxed);
        self.complete.store(true, Ordering::Relaxed);
    }
}

/// The share that is done, in percent. What there is may be an estimate, which is no promise: not complete is not 100 %.
pub(super) fn percent(done: u64, total: u64, complete: bool) -> f64 {
    match (complete, total) {
        (true, _) => 100.0,
        (false, 0) => 0.0,
        (false, total) => (100.0 * done as f64 / total as f64).min(99.9),
    }
}

impl Report for CopyCounters {
    fn report(&self) -> UnitReport {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let complete = self.complete.load(Ordering::Relaxed);
        let (work_total, work_done) = (get(&self.work_total), get(&self.work_done));
        let left = work_total.saturating_sub(work_done);
        let (rows, bytes, share) = if complete {
            (get(&self.rows_done), get(&self.bytes_done), WHOLE)
        } else {
            let now =
                u128::from(work_done.min(work_total)) * u128::from(WHOLE) / u128::from(work_total.max(1));
            // Estimates are no promise: not done is not 100 %.
            let now = u64::try_from(now).unwrap_or(WHOLE).min(WHOLE - 10);
            let rising = |shown: &AtomicU64, now: u64| shown.fetch_max(now, Ordering::Relaxed).max(now);
            (
                rising(&self.rows_shown, get(&self.rows_done)),
                rising(&self.bytes_shown, get(&self.bytes_done)),
                rising(&self.share_shown, now),
            )
        };
        let rows_left =
            u128::from(get(&self.rows_expected)) * u128::from(left) / u128::from(work_total.max(1));
        let (rows_left, bytes_left) =
            if complete { (0, 0) } else { (u64::try_from(rows_left).unwrap_or(u64::MAX), left) };
        let began = self.began.lock();
        let (speed, work_speed) = began.as_ref().map_or((0.0, 0.0), |began| {
            let elapsed = began.at.elapsed().as_secs_f64().max(0.001);
            let since = |now: u64, before: u64| now.saturating_sub(before) as f64 / elapsed;
            (since(bytes, began.bytes), since(work_done, began.work))
        });
        let eta = if complete {
            Some(0)
        } else {
            (work_speed > 0.0).then(|| (left as f64 / work_speed).ceil() as u64)
        };
        let location = began.as_ref().map(|began| &began.location);
        UnitReport {
            load: Some(LoadStatus {
                finished_bytes: bytes,
                total_bytes: bytes.saturating_add(bytes_left),
                progress: format!("{}.{:02} %", share / 100, share % 100),
                meta_binlog: location.map_or_else(|| "(, 0)".to_owned(), |at| at.position.to_string()),
                meta_binlog_gtid: location.map(Location::gtid_text).unwrap_or_default(),
                bps: speed as u64,
            }),
            copy: Some(CopyProgress {
                tables_total: get(&self.tables_total),
                tables_prepared: get(&self.tables_prepared),
                tables_done: get(&self.tables_done),
                rows_total: rows.saturating_add(rows_left),
                rows_done: rows,
                bytes_done: bytes,
                share,
                eta_seconds: eta,
            }),
            ..UnitReport::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_earns_its_weight_without_an_end_and_never_more() {
        for weight in [1, 5, 16_384, 16 << 20] {
            let mut last = 0;
            let mut all = [0, 1, weight / 2, weight / 5 * 4, weight, 2 * weight, 1000 * weight, 1 << 50];
            all.sort_unstable();
            for bytes in all {
                let now = earned(weight, bytes);
                assert!(now >= last && now <= weight, "{weight} {bytes}: {now}");
                last = now;
            }
        }
        assert!(
            earned(1000, 500) == 500 && earned(1000, 1000) < 1000 && earned(1000, 5000) > earned(1000, 1000)
        );
    }

    #[test]
    fn the_share_does_not_fall_and_is_whole_at_the_end_only() {
        let counters = CopyCounters::default();
        let table = SourceTable {
            name: dmnode_model::TableName::new("a", "t"),
            target: dmnode_model::TableName::new("a", "t"),
            transactional: true,
            rows: 1000,
            bytes: 100_000,
        };
        counters.expect(&table);
        counters.add(600, 60_000, earned(100_000, 60_000));
        let copy = |counters: &CopyCounters| counters.report().copy.unwrap();
        let before = copy(&counters);
        assert_eq!((before.share, before.rows_done, before.rows_total), (6000, 600, 1000));
        counters.take_back(600, 60_000, earned(100_000, 60_000));
        let after = copy(&counters);
        assert_eq!((after.share, after.rows_done), (6000, 600));
        counters.add(5000, 1_000_000, 100_000);
        assert_eq!(copy(&counters).share, 9990);
        counters.table_done();
        counters.finish();
        let end = copy(&counters);
        assert_eq!(
            (end.share, end.rows_total, end.tables_total, end.eta_seconds),
            (10_000, 5000, 1, Some(0))
        );
    }
}
