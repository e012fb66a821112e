//! Counters of a dump, for `query-status`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use dmnode_model::status::DumpStatus;

use crate::load::progress::percent;
use crate::unit::{Report, UnitReport};

/// What the dump has to do and has done. The rows there are is the server's estimate.
pub(super) struct DumpCounters {
    pub tables_total: AtomicU64,
    pub tables_done: AtomicU64,
    pub rows_total: AtomicU64,
    pub rows_done: AtomicU64,
    pub bytes_done: AtomicU64,
    complete: AtomicBool,
    started: Instant,
}

impl DumpCounters {
    pub fn new() -> Self {
        Self {
            tables_total: AtomicU64::new(0),
            tables_done: AtomicU64::new(0),
            rows_total: AtomicU64::new(0),
            rows_done: AtomicU64::new(0),
            bytes_done: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// Rows that were written.
    pub fn add(&self, rows: u64, bytes: u64) {
        self.rows_done.fetch_add(rows, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The directory is complete.
    pub fn finish(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }
}

impl Report for DumpCounters {
    fn report(&self) -> UnitReport {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (rows, bytes) = (get(&self.rows_done), get(&self.bytes_done));
        let complete = self.complete.load(Ordering::Relaxed);
        let total = if complete { rows } else { get(&self.rows_total).max(rows) };
        let share = percent(rows, total, complete);
        let elapsed = self.started.elapsed().as_secs_f64().max(0.001);
        UnitReport {
            dump: Some(DumpStatus {
                total_tables: get(&self.tables_total),
                completed_tables: get(&self.tables_done) as f64,
                finished_bytes: bytes as f64,
                finished_rows: rows as f64,
                estimate_total_rows: total as f64,
                bps: (bytes as f64 / elapsed) as u64,
                progress: format!("{share:.2} %"),
            }),
            ..UnitReport::default()
        }
    }
}
