//! Where the stream begins when there is no progress yet.

use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::{BinlogPosition, Endpoint, GtidSet, Location};
use dmnode_mysql::{
    BinlogError, BinlogReader, BinlogStart, Connection, EventBody, ServerInfo, current_location,
};

use super::SyncSpec;
use crate::load::ChunkFilter;
use crate::progress::text_literal;

/// Looking through one binlog file for the GTID set of a position in it may take so long.
const SCAN_LIMIT: Duration = Duration::from_secs(60);

/// The copy's smallest position, else the task's `meta`, else where the source is now.
pub async fn location(
    spec: &SyncSpec,
    copied: Option<&ChunkFilter>,
    source: &mut Connection,
    info: &ServerInfo,
) -> Result<Location, CodedError> {
    if let Some(location) = copied.and_then(ChunkFilter::min_location) {
        return Ok(location.clone());
    }
    if let Some(meta) = &spec.subtask.meta {
        let by_gtid = spec.source.enable_gtid && !meta.binlog_gtid.is_empty();
        if !by_gtid && meta.binlog_name.is_empty() {
            return Err(CodedError::new(codes::CONFIG_META_INVALID, "the task's `meta` has no position to start at")
                .object(&spec.subtask.source_id)
                .remedy("give `binlog-name` and `binlog-pos`, or `binlog-gtid` with `enable-gtid: true` in source.yaml"));
        }
        let gtid_set = if by_gtid { Some(GtidSet::parse(info.flavor, &meta.binlog_gtid)?) } else { None };
        let position =
            BinlogPosition { file: meta.binlog_name.clone(), pos: u64::from(meta.binlog_pos).max(4) };
        return Ok(Location { position, gtid_set });
    }
    if spec.subtask.start_time.is_some() {
        return Err(CodedError::new(codes::START_LOCATION, "starting at a time is not supported yet")
            .remedy("give `meta` in task.yaml instead of --start-time"));
    }
    current_location(source, info).await.map_err(|error| {
        CodedError::new(codes::NO_MASTER_STATUS, "the source's position is not known")
            .cause(error)
            .remedy("switch the binary log on; the user needs REPLICATION CLIENT (MariaDB: BINLOG MONITOR)")
    })
}

/// Adds the GTID set of a position where the source can tell it, so that the task can go on by GTID later.
pub async fn complete(
    mut location: Location,
    endpoint: &Endpoint,
    source: &mut Connection,
    info: &ServerInfo,
    by_gtid: bool,
) -> Location {
    if location.gtid_set.is_none() && info.is_mariadb() && !location.position.is_empty() {
        let sql = format!(
            "SELECT BINLOG_GTID_POS({}, {})",
            text_literal(&location.position.file),
            location.position.pos
        );
        // Only a convenience: by position it goes on all the same.
        if let Ok(Some(row)) = source.query_one(sql).await
            && let Some(text) = row.string(0)
            && let Ok(set) = GtidSet::parse(info.flavor, &text)
        {
            location.gtid_set = Some(set);
        }
    }
    if location.gtid_set.is_none() && by_gtid && info.has_gtids() && !location.position.is_empty() {
        let scan = tokio::time::timeout(SCAN_LIMIT, scan(endpoint, info, &location.position)).await;
        match scan {
            Ok(Ok(set)) => location.gtid_set = set,
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "the start's binlog file cannot be looked through")
            }
            Err(_) => {}
        }
    }
    if location.gtid_set.is_none() && by_gtid {
        tracing::info!("the GTID set of the start position is not known, the stream goes on by position");
    }
    location
}

/// The GTID set at a position: what the file says about those before it, and its own transactions up to there.
async fn scan(
    endpoint: &Endpoint,
    info: &ServerInfo,
    position: &BinlogPosition,
) -> Result<Option<GtidSet>, BinlogError> {
    let start = BinlogStart::Position(BinlogPosition { file: position.file.clone(), pos: 4 });
    let server_id = rand::random_range(0x4000_0000..0xfff0_0000);
    let mut reader = BinlogReader::open(endpoint, info, server_id, start).await?;
    let mut set = None;
    loop {
        let event = reader.next().await?;
        let reached = *event.file == *position.file && event.start_pos >= position.pos;
        match event.body {
            EventBody::PreviousGtids(previous) => set = Some(previous),
            EventBody::Gtid(gtid) if !reached => {
                if let Some(set) = &mut set
                    && set.insert(&gtid.gtid).is_err()
                {
                    return Ok(None);
                }
            }
            EventBody::Heartbeat | EventBody::Rotate { artificial: false, .. } => return Ok(set),
            _ => {}
        }
        if reached && set.is_some() {
            return Ok(set);
        }
    }
}
