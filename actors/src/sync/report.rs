//! What the unit shows of itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dmnode_model::Location;
use dmnode_model::config::SourceConfig;
use dmnode_model::status::{ConflictCount, LargeTransactionStatus, NotMigratedCount, SyncStatus};
use dmnode_mysql::{Connection, ServerInfo, SessionOptions, current_location};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::coordinator::{Counters, Shared};
use super::origin::{Link, Probe, is_suspect};
use super::single::Rules;
use crate::unit::{Report, UnitReport};

/// How often the source is asked where it is.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How often, of these times, through a new connection.
const LOOK_EVERY: u64 = 2;

struct Rate {
    started: Instant,
    last: Mutex<(Instant, u64, u64)>,
}

impl Rate {
    /// Per second since the start, and lately.
    fn of(&self, count: u64) -> (u64, u64) {
        let now = Instant::now();
        let total = count / now.duration_since(self.started).as_secs().max(1);
        let mut last = self.last.lock();
        let since = now.duration_since(last.0).as_secs();
        if since >= 1 {
            *last = (now, count, count.saturating_sub(last.1) / since);
        }
        (total, last.2)
    }
}

/// The report of a sync unit.
pub fn report(shared: Arc<Shared>, rules: Arc<Rules>, link: Arc<Link>) -> Arc<dyn Report> {
    let now = Instant::now();
    let rate = Rate { started: now, last: Mutex::new((now, 0, 0)) };
    Arc::new(move || {
        let (location, in_flight) = {
            let window = shared.window.lock();
            (window.location().clone(), !window.is_empty())
        };
        let counters = &shared.counters;
        let events = counters.rows.load(Ordering::Relaxed) + counters.ddls.load(Ordering::Relaxed);
        let (total, recent) = rate.of(events);
        let synced = shared.lag.is_idle() && !in_flight;
        // What was asked a moment ago may be behind what has been applied since.
        let asked = shared.source_location.lock().clone();
        let source = asked
            .filter(|asked| !synced && asked.position > location.position)
            .unwrap_or_else(|| location.clone());
        let gtid =
            |location: &Location| location.gtid_set.as_ref().map(ToString::to_string).unwrap_or_default();
        let status = SyncStatus {
            total_events: events,
            total_tps: total,
            recent_tps: recent,
            total_rows: events,
            total_rps: total,
            recent_rps: recent,
            master_binlog: source.position.to_string(),
            master_binlog_gtid: gtid(&source),
            syncer_binlog: location.position.to_string(),
            syncer_binlog_gtid: gtid(&location),
            synced,
            binlog_type: "remote".to_owned(),
            seconds_behind_master: shared.lag.seconds(in_flight),
            io_total_bytes: counters.bytes.load(Ordering::Relaxed),
            conflicts: conflicts(&rules, counters),
            safe_mode: shared.safe_mode.lock().clone(),
            warnings: shared.warnings.lock().iter().cloned().chain(link.unproven.lock().clone()).collect(),
            large_transaction: shared.large.lock().as_ref().map(|large| LargeTransactionStatus {
                location: large.location.clone(),
                rows: large.rows,
                bytes: large.bytes,
                seconds: large.since.elapsed().as_secs(),
            }),
            not_migrated: counters
                .not_migrated
                .lock()
                .iter()
                .map(|(kind, count)| NotMigratedCount { kind: (*kind).to_owned(), count: *count })
                .collect(),
            ..SyncStatus::default()
        };
        UnitReport { sync: Some(status), settled: shared.settled.lock().clone(), ..UnitReport::default() }
    })
}

/// What was met, and what is known of this generation alone.
fn conflicts(rules: &Rules, counters: &Counters) -> Vec<ConflictCount> {
    let mut conflicts = rules.conflicts.report();
    let repeated = counters.repeated.load(Ordering::Relaxed);
    if repeated > 0 {
        conflicts.push(ConflictCount { kind: "repeated-delete".to_owned(), count: repeated });
    }
    conflicts
}

/// Asks the source now and then where it is and what time it has.
pub fn watch_source(
    tasks: &mut JoinSet<()>,
    shared: Arc<Shared>,
    link: Arc<Link>,
    source: SourceConfig,
    connection: Connection,
    info: ServerInfo,
) {
    tasks.spawn(async move {
        let mut connection = Some(connection);
        let (mut asked, mut doubts) = (0u64, 0);
        loop {
            asked += 1;
            // An address may lead elsewhere by now, which an open connection does not show.
            if asked.is_multiple_of(LOOK_EVERY) {
                doubts = if is_doubtful(&source, &shared, &link).await { doubts + 1 } else { 0 };
                if doubts > 1 {
                    tracing::warn!(source = %source.source_id, "the source does not seem to be what is read from, connecting anew");
                    link.suspect.notify_one();
                    (doubts, connection) = (0, None);
                }
            }
            if let Some(conn) = &mut connection
                && let Err(error) = ask(conn, &info, &shared).await
            {
                tracing::debug!(error = %error, "the source does not say where it is");
                connection = None;
            }
            tokio::select! {
                () = shared.failed.cancelled() => return,
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
            if connection.as_ref().is_none_or(Connection::is_closed) {
                connection = Connection::connect(&source.from, &SessionOptions::default()).await.ok();
            }
        }
    });
}

/// Looks through a new connection.
async fn is_doubtful(source: &SourceConfig, shared: &Shared, link: &Link) -> bool {
    let Ok(probe) = Probe::at(&source.from).await else { return false };
    let Some(origin) = link.origin.lock().clone() else { return false };
    let applied = shared.window.lock().location().clone();
    is_suspect(&probe, &origin, &applied, source.enable_gtid)
}

async fn ask(
    conn: &mut Connection,
    info: &ServerInfo,
    shared: &Shared,
) -> Result<(), dmnode_mysql::SqlError> {
    if let Some(row) = conn.query_one("SELECT UNIX_TIMESTAMP()").await?
        && let Some(now) = row.i64(0)
    {
        shared.lag.set_source_clock(now);
    }
    let location = current_location(conn, info).await?;
    *shared.source_location.lock() = Some(location);
    Ok(())
}
