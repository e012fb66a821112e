//! `diff`: compares the tables of a task, source against target, and proves them equal or names the rows that are
//! not.
//!
//! 1. [`plan`]: which target table has which source tables; tables on one side only.
//! 2. [`columns`]: an SQL expression per column whose text is the same for the same value on MySQL and MariaDB.
//! 3. [`keyed`]: tables with a common key, in ranges of keys: checksums computed by the servers; where they differ,
//!    digests row by row; where those differ, the rows.
//! 4. [`keyless`]: tables without, as multisets of row digests.
//! 5. [`lag`]: nothing counts as a difference before the task has passed the source's position at which the
//!    difference was seen, and both sides have been read again.
//!
//! Checksums only ever save work: what they find different is decided by reading the rows themselves. Several
//! sources routed into one table are compared as their union: checksums are sums (XOR) over rows.

mod columns;
mod json;
mod keyed;
mod keyless;
mod keys;
mod lag;
mod plan;
mod side;
mod table;

use std::time::{Duration, Instant};

use dmnode_model::api::{DiffEvent, DiffKind, DiffRequest, DiffRow, DiffSummary};
use dmnode_model::codes;
use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::ids::TableName;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::lag::Lag;
use self::plan::TablePair;
use self::side::Side;
use self::table::TableDiff;

const CHUNK_ROWS_DEFAULT: u64 = 20_000;
const CHUNK_ROWS_RANGE: (u64, u64) = (10, 200_000);
const DIFFERENCES_DEFAULT: u64 = 100;
const DIFFERENCES_MAX: u64 = 100_000;
const RECHECK_DEFAULT: Duration = Duration::from_secs(30);
const RECHECK_MAX: Duration = Duration::from_secs(3600);
/// Progress is told no more often than this.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// A table whose definition keeps changing under our hands is given up after so many attempts.
const TABLE_ATTEMPTS: u32 = 3;

/// What to compare.
pub struct DiffParams {
    /// The sources of the task with what each has to do.
    pub sources: Vec<(SourceConfig, SubtaskConfig)>,
    /// Only these target tables, as `schema.table`; empty for all.
    pub tables: Vec<String>,
    /// Rows of a chunk.
    pub chunk_rows: u64,
    /// The comparison ends when it has found so many differences.
    pub differences_max: u64,
    /// How long to wait, per batch of differences, for the task to pass the position where they were seen.
    pub recheck_timeout: Duration,
}

impl DiffParams {
    /// Takes over a request; zeros become defaults, absurd values the nearest possible one.
    pub fn new(sources: Vec<(SourceConfig, SubtaskConfig)>, request: &DiffRequest) -> Self {
        let or = |given: u64, default: u64| if given == 0 { default } else { given };
        let recheck = match request.recheck_seconds {
            0 => RECHECK_DEFAULT,
            seconds => Duration::from_secs(seconds).min(RECHECK_MAX),
        };
        Self {
            sources,
            tables: request.tables.clone(),
            chunk_rows: or(request.chunk_size, CHUNK_ROWS_DEFAULT)
                .clamp(CHUNK_ROWS_RANGE.0, CHUNK_ROWS_RANGE.1),
            differences_max: or(request.max_differences, DIFFERENCES_DEFAULT).min(DIFFERENCES_MAX),
            recheck_timeout: recheck,
        }
    }
}

/// Compares, telling `progress` as it goes. Differences are told as they become final; the summary is returned and
/// not told. A receiver that goes away ends the comparison, as does `cancel`.
///
/// # Errors
/// A server cannot be read, a table changes all the time, the comparison is cancelled.
pub async fn run(
    params: DiffParams,
    progress: mpsc::Sender<DiffEvent>,
    cancel: CancellationToken,
) -> Result<DiffSummary, CodedError> {
    let cancelled = || CodedError::new(codes::DIFF_CANCELLED, "the comparison was cancelled");
    let receiver = progress.clone();
    tokio::select! {
        result = compare(params, progress) => result,
        () = cancel.cancelled() => Err(cancelled()),
        () = receiver.closed() => Err(cancelled()),
    }
}

async fn compare(params: DiffParams, progress: mpsc::Sender<DiffEvent>) -> Result<DiffSummary, CodedError> {
    let started = Instant::now();
    let Some((_, first)) = params.sources.first() else {
        return Err(CodedError::new(codes::DIFF_NO_TABLE, "the task has no source to compare"));
    };
    let mut target = Side::target(&first.target).await?;
    let mut sources = Vec::with_capacity(params.sources.len());
    for (source, _) in &params.sources {
        sources.push(Side::source(source).await?);
    }
    let mut lag = Lag::new(&params.sources, params.recheck_timeout);
    let plan = plan::settle(&params, &mut sources, &mut target, &mut lag).await?;
    let mut run = Run {
        params,
        progress,
        target,
        sources,
        lag,
        summary: DiffSummary { complete: true, ..DiffSummary::default() },
        tables_total: (plan.pairs.len() + plan.extra.len()) as u64,
        rows_compared: 0,
        told: None,
    };
    run.tables(plan).await?;
    let mut summary = run.summary;
    summary.equal = summary.differences == 0 && summary.complete;
    summary.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    run.target.close().await;
    for side in run.sources {
        side.close().await;
    }
    Ok(summary)
}

/// A comparison under way.
struct Run {
    params: DiffParams,
    progress: mpsc::Sender<DiffEvent>,
    target: Side,
    sources: Vec<Side>,
    lag: Lag,
    summary: DiffSummary,
    tables_total: u64,
    rows_compared: u64,
    told: Option<Instant>,
}

impl Run {
    async fn tables(&mut self, plan: plan::Plan) -> Result<(), CodedError> {
        for table in plan.extra {
            self.difference(DiffRow {
                kind: DiffKind::TableExtraInTarget,
                source: String::new(),
                source_table: String::new(),
                target_table: table.quoted(),
                key: Vec::new(),
                columns: Vec::new(),
                detail: "no source has a table that goes there".to_owned(),
            })
            .await;
            self.table_done(&table, Vec::new(), 0, 0, 1).await;
        }
        for pair in plan.pairs {
            if self.is_full() {
                self.summary.complete = false;
                return Ok(());
            }
            self.table(&pair).await?;
        }
        Ok(())
    }

    async fn table(&mut self, pair: &TablePair) -> Result<(), CodedError> {
        let before = self.summary.differences;
        if !pair.in_target {
            for (source, name) in &pair.sources {
                let row = DiffRow {
                    kind: DiffKind::TableMissingInTarget,
                    source: self.sources[*source].name().to_owned(),
                    source_table: name.quoted(),
                    target_table: pair.target.quoted(),
                    key: Vec::new(),
                    columns: Vec::new(),
                    detail: String::new(),
                };
                self.difference(row).await;
            }
            self.table_done(&pair.target, self.names(pair), 0, 0, self.summary.differences - before).await;
            return Ok(());
        }
        let mut attempt = 1;
        let (source_rows, target_rows) = loop {
            let result = match TableDiff::prepare(self, pair).await {
                Ok(table) => table.compare(self).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(rows) => break rows,
                // A DDL came in between, or a connection was lost: look at the table anew, unless something was
                // reported already, which would be reported twice.
                Err(error)
                    if is_passing(&error)
                        && attempt < TABLE_ATTEMPTS
                        && self.summary.differences == before =>
                {
                    tracing::debug!(error = %error, table = %pair.target, "a table is compared anew");
                    attempt += 1;
                    self.lag.pass(&mut self.sources, &mut self.target, &pair.source_indexes()).await?;
                }
                Err(error) => return Err(error.object(pair.target.quoted())),
            }
        };
        let found = self.summary.differences - before;
        self.table_done(&pair.target, self.names(pair), source_rows, target_rows, found).await;
        Ok(())
    }

    fn names(&self, pair: &TablePair) -> Vec<String> {
        pair.sources
            .iter()
            .map(|(source, name)| format!("{}: {name}", self.sources[*source].name()))
            .collect()
    }

    /// Whether as many differences are found as may be.
    fn is_full(&self) -> bool {
        self.summary.differences >= self.params.differences_max
    }

    /// Counts and tells a final difference.
    async fn difference(&mut self, row: DiffRow) {
        self.summary.differences += 1;
        self.summary.reported += 1;
        self.tell(DiffEvent::Difference(row)).await;
    }

    async fn table_done(
        &mut self,
        table: &TableName,
        sources: Vec<String>,
        source_rows: u64,
        target_rows: u64,
        differences: u64,
    ) {
        self.summary.tables += 1;
        self.summary.tables_different += u64::from(differences > 0);
        self.summary.source_rows += source_rows;
        self.summary.target_rows += target_rows;
        let table = table.quoted();
        self.tell(DiffEvent::TableDone { table, sources, source_rows, target_rows, differences }).await;
    }

    async fn progress(&mut self, table: &TableName, rows: u64) {
        self.rows_compared += rows;
        if self.told.is_some_and(|told| told.elapsed() < PROGRESS_INTERVAL) {
            return;
        }
        self.told = Some(Instant::now());
        self.tell(DiffEvent::Progress {
            table: table.quoted(),
            tables_done: self.summary.tables,
            tables_total: self.tables_total,
            rows_compared: self.rows_compared,
            differences: self.summary.differences,
        })
        .await;
    }

    async fn tell(&mut self, event: DiffEvent) {
        // A receiver that is gone ends the comparison from outside.
        let _ = self.progress.send(event).await;
    }
}

/// Whether another attempt may do better: a definition changed, or a connection was lost in the middle of a result.
fn is_passing(error: &CodedError) -> bool {
    let lost = |cause: &str| cause.starts_with("connection lost") || cause.starts_with("time-out");
    error.code == codes::DIFF_TABLE_CHANGED || error.cause.as_deref().is_some_and(lost)
}
