//! Fresh statistics for what was copied: without them the target may scan whole tables for the first changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dmnode_model::ids::TableName;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::chunks::PlannedTable;
use crate::target::ApplierConnection;
use crate::unit::Heartbeat;

/// A smaller table is as quickly scanned, and with very many of them the statements would take longer than the copy; the
/// server looks at such a table by itself sooner or later.
const ROWS_LEAST: u64 = 1000;
/// One table may take so long; then the rest is left to the target.
const LIMIT: Duration = Duration::from_secs(300);

/// `ANALYZE TABLE` for each larger table, on all connections. A failure is not worth an error.
pub(super) async fn analyze(
    appliers: Vec<&mut ApplierConnection>,
    plan: &BTreeMap<TableName, PlannedTable>,
    stop: &CancellationToken,
    heartbeat: &Heartbeat,
) {
    let mut rows: BTreeMap<&TableName, u64> = BTreeMap::new();
    for planned in plan.values() {
        let copied = planned.chunks.iter().filter_map(|chunk| chunk.done.as_ref()).map(|done| done.rows);
        *rows.entry(&planned.target).or_default() += copied.sum::<u64>();
    }
    let targets: VecDeque<TableName> =
        rows.into_iter().filter(|(_, rows)| *rows >= ROWS_LEAST).map(|(table, _)| table.clone()).collect();
    let targets = Arc::new(Mutex::new(targets));
    join_all(appliers.into_iter().map(|applier| {
        let targets = Arc::clone(&targets);
        async move {
            while !stop.is_cancelled() {
                let Some(table) = targets.lock().pop_front() else { return };
                if !analyze_one(applier, &table, heartbeat).await {
                    targets.lock().clear();
                }
            }
        }
    }))
    .await;
}

/// `false` when it takes too long.
async fn analyze_one(applier: &mut ApplierConnection, table: &TableName, heartbeat: &Heartbeat) -> bool {
    let analyze = async {
        match applier.connection().await {
            Ok(conn) => conn.query(format!("ANALYZE TABLE {table}")).await.map(drop).map_err(Into::into),
            Err(error) => Err(error),
        }
    };
    match tokio::time::timeout(LIMIT, heartbeat.while_pending(LIMIT, analyze)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(%table, error = %error, "ANALYZE TABLE failed");
            true
        }
        Err(_) => {
            tracing::warn!(%table, "ANALYZE TABLE takes too long; left to the target");
            false
        }
    }
}
