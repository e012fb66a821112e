//! Counters of the copy, for `query-status`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dmnode_model::position::Location;
use dmnode_model::status::{CopyProgress, LoadStatus};
use parking_lot::Mutex;

use super::chunks::PlannedTable;
use super::inventory::SourceTable;
use crate::unit::{Report, UnitReport};

/// What the copy has to do and has done. Totals are estimates until a table is done.
pub(super) struct CopyCounters {
    tables_total: AtomicU64,
    tables_done: AtomicU64,
    chunks_total: AtomicU64,
    chunks_done: AtomicU64,
    rows_total: AtomicU64,
    rows_done: AtomicU64,
    bytes_total: AtomicU64,
    bytes_done: AtomicU64,
    /// What was done before this generation does not count for its speed.
    bytes_before: AtomicU64,
    complete: std::sync::atomic::AtomicBool,
    started: Instant,
    location: Mutex<Option<Location>>,
}

impl CopyCounters {
    pub fn new() -> Self {
        Self {
            tables_total: AtomicU64::new(0),
            tables_done: AtomicU64::new(0),
            chunks_total: AtomicU64::new(0),
            chunks_done: AtomicU64::new(0),
            rows_total: AtomicU64::new(0),
            rows_done: AtomicU64::new(0),
            bytes_total: AtomicU64::new(0),
            bytes_done: AtomicU64::new(0),
            bytes_before: AtomicU64::new(0),
            complete: false.into(),
            started: Instant::now(),
            location: Mutex::new(None),
        }
    }

    /// A table is planned, perhaps partly done already.
    pub fn add_table(&self, table: Option<&SourceTable>, plan: &PlannedTable) {
        let done = plan.chunks.iter().filter_map(|chunk| chunk.done.as_ref());
        let (rows, bytes) = done.fold((0, 0), |(rows, bytes), done| (rows + done.rows, bytes + done.bytes));
        let complete = plan.is_done();
        let estimate = table.filter(|_| !complete).map_or((0, 0), |table| (table.rows, table.bytes));
        self.tables_total.fetch_add(1, Ordering::Relaxed);
        self.tables_done.fetch_add(u64::from(complete), Ordering::Relaxed);
        let chunks_done = plan.chunks.iter().filter(|chunk| chunk.done.is_some()).count();
        self.chunks_total.fetch_add(plan.chunks.len() as u64, Ordering::Relaxed);
        self.chunks_done.fetch_add(chunks_done as u64, Ordering::Relaxed);
        self.rows_total.fetch_add(estimate.0.max(rows), Ordering::Relaxed);
        self.bytes_total.fetch_add(estimate.1.max(bytes), Ordering::Relaxed);
        self.rows_done.fetch_add(rows, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        self.bytes_before.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The snapshot's position.
    pub fn set_location(&self, location: Location) {
        *self.location.lock() = Some(location);
    }

    /// Rows on their way.
    pub fn add(&self, rows: u64, bytes: u64) {
        self.rows_done.fetch_add(rows, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Rows that were rolled back.
    pub fn take_back(&self, rows: u64, bytes: u64) {
        self.rows_done.fetch_sub(rows, Ordering::Relaxed);
        self.bytes_done.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A chunk is done.
    pub fn chunk_done(&self) {
        self.chunks_done.fetch_add(1, Ordering::Relaxed);
    }

    /// A table is done.
    pub fn table_done(&self) {
        self.tables_done.fetch_add(1, Ordering::Relaxed);
    }

    /// All is done: the totals are what was copied.
    pub fn finish(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }
}

impl Report for CopyCounters {
    fn report(&self) -> UnitReport {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let complete = self.complete.load(Ordering::Relaxed);
        let (rows, bytes) = (get(&self.rows_done), get(&self.bytes_done));
        let (chunks_total, chunks_done) = (get(&self.chunks_total), get(&self.chunks_done));
        // The server's estimates lag behind for tables that were just filled: when more has been copied than they
        // promised, the share of the chunks is the better guess.
        let total = |estimate: &AtomicU64, done: u64| match get(estimate) {
            _ if complete => done,
            estimate if estimate > done => estimate,
            _ => done.saturating_mul(chunks_total).div_ceil(chunks_done.max(1)).max(done),
        };
        let (rows_total, bytes_total) = (total(&self.rows_total, rows), total(&self.bytes_total, bytes));
        let elapsed = self.started.elapsed().as_secs_f64().max(0.001);
        let speed = bytes.saturating_sub(get(&self.bytes_before)) as f64 / elapsed;
        let share = if complete {
            100.0
        } else if bytes_total == 0 {
            0.0
        } else {
            // Estimates are no promise: not done is not 100 %.
            (100.0 * bytes as f64 / bytes_total as f64).min(99.9)
        };
        let eta = if complete {
            Some(0)
        } else {
            (speed > 0.0).then(|| (bytes_total.saturating_sub(bytes) as f64 / speed).ceil() as u64)
        };
        let location = self.location.lock().clone();
        UnitReport {
            load: Some(LoadStatus {
                finished_bytes: bytes,
                total_bytes: bytes_total,
                progress: format!("{share:.2} %"),
                meta_binlog: location
                    .as_ref()
                    .map_or_else(|| "(, 0)".to_owned(), |at| at.position.to_string()),
                meta_binlog_gtid: location.as_ref().map(Location::gtid_text).unwrap_or_default(),
                bps: speed as u64,
            }),
            copy: Some(CopyProgress {
                tables_total: get(&self.tables_total),
                tables_done: get(&self.tables_done),
                rows_total,
                rows_done: rows,
                bytes_done: bytes,
                eta_seconds: eta,
            }),
            ..UnitReport::default()
        }
    }
}
