//! Where the stream is to start, and whether the source still has it.

use std::time::Duration;

use dmnode_model::{BinlogPosition, CodedError, Flavor, GtidSet, Scope, codes};
use dmnode_mysql::{BinlogError, BinlogReader, BinlogStart, EventBody};
use rand::Rng;

use super::connect::{failed, limited};
use super::{CheckOptions, Item, Source, Target};
use crate::progress::{table_name, text_literal};
use crate::sync::start_time;

/// An idle source has nothing to send; a start that does not exist is refused at once.
const FIRST_EVENT_LIMIT: Duration = Duration::from_secs(15);
/// Ids for a moment's reading, apart from those of replicas, which the server would take for the same one.
const MOMENTARY_SERVER_IDS: std::ops::Range<u32> = 1 << 31..u32::MAX;

/// What the target remembers about a source's stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Start {
    file: Option<(String, u64)>,
    gtid: Option<String>,
}

impl Start {
    /// The target remembers nothing: the task has not run.
    pub(super) fn is_fresh(&self) -> bool {
        self.file.is_none() && self.gtid.is_none()
    }
}

/// The positions that the task has reached already, if it ran before.
pub(super) async fn recorded(
    sources: &[Source<'_>],
    target: &mut Target,
    options: &CheckOptions,
) -> Vec<Start> {
    let mut starts = Vec::with_capacity(sources.len());
    for source in sources {
        let start = if options.remove_meta { None } else { read_recorded(source, target).await };
        starts.push(start.unwrap_or_default());
    }
    starts
}

async fn read_recorded(source: &Source<'_>, target: &mut Target) -> Option<Start> {
    let table = table_name(&source.subtask.meta_schema, &source.subtask.task, "dmnode_progress");
    let sql = format!(
        "SELECT watermark_file, watermark_pos, watermark_gtid FROM {table} \
         WHERE source_id = {} AND watermark_file IS NOT NULL ORDER BY watermark_file DESC, watermark_pos DESC LIMIT 1",
        text_literal(source.config.source_id.as_str())
    );
    // No such table: the task has not run. Other troubles are told by the checks of the target.
    let row = limited(target.connection.query_one(sql)).await.ok()??;
    Some(Start {
        file: Some((row.string(0)?, row.u64(1)?)),
        gtid: row.string(2).filter(|set| !set.is_empty()),
    })
}

/// Reads from the start of an incremental task, or from where the task stood.
pub(super) async fn check(source: &mut Source<'_>, start: Start, options: &CheckOptions) -> Option<Item> {
    let item =
        Item::new("meta position check", "check whether meta position is valid for db").at(&source.address());
    if let Some(text) = &options.start_time {
        return Some(check_start_time(source, &start, text, item).await);
    }
    let start = match wanted_start(source, start) {
        Ok(start) => start?,
        Err(err) => return Some(item.fail(err)),
    };
    let place = match &start {
        BinlogStart::Position(position) => position.to_string(),
        BinlogStart::Gtid(set) => format!("after the GTID set {set}"),
    };
    Some(match read_one_event(source, start).await {
        Ok(()) => item,
        Err(err) if err.is_position_lost() => item.fail(
            CodedError::new(codes::BINLOG_PURGED, format!("the source does not have the binlog {place}"))
                .object(format!("source {}", source.config.source_id))
                .scope(Scope::Upstream)
                .cause(err)
                .remedy(
                    "correct `meta` in task.yaml (SHOW BINARY LOGS on the source lists the files it still has), or copy \
                     again with task-mode all and --remove-meta",
                ),
        ),
        // Told by the check of privileges.
        Err(BinlogError::Sql(err)) if super::connect::is_denied(&err) => item,
        Err(BinlogError::Sql(err)) => item.fail(failed(&err, Scope::Upstream)),
        Err(err) => item.fail(
            CodedError::new(codes::CHECK_START_POSITION, format!("no event can be read {place}"))
                .object(format!("source {}", source.config.source_id))
                .scope(Scope::Upstream)
                .cause(err),
        ),
    })
}

/// A start time comes before everything else that says where to start.
async fn check_start_time(source: &mut Source<'_>, recorded: &Start, text: &str, item: Item) -> Item {
    if source.subtask.mode.has_full_copy() && recorded.file.is_none() {
        return item.fail(start_time::with_copy(text).object(&source.subtask.task));
    }
    match start_time::find(&source.config.from, &mut source.connection, &source.info, text).await {
        Ok(found) if found.too_early => item.warn(
            format!(
                "start-time {text} is before the first binlog that source {} still has; the task would begin with that: {}",
                source.config.source_id, found.location.position
            ),
            "make sure that the target has everything from before that position",
        ),
        Ok(_) => item,
        Err(error) => item.fail(error),
    }
}

/// None when the stream starts where the copy or the source stands now.
fn wanted_start(source: &Source<'_>, recorded: Start) -> Result<Option<BinlogStart>, CodedError> {
    let by_gtid = source.config.enable_gtid;
    let flavor = source.info.flavor;
    if let Some((file, pos)) = recorded.file {
        return Ok(Some(match recorded.gtid.filter(|_| by_gtid) {
            Some(set) => BinlogStart::Gtid(GtidSet::parse(flavor, &set)?),
            None => BinlogStart::Position(BinlogPosition::new(file, pos)),
        }));
    }
    if source.subtask.mode.has_full_copy() {
        return Ok(None);
    }
    let Some(meta) = &source.subtask.meta else { return Ok(None) };
    if by_gtid && !meta.binlog_gtid.is_empty() {
        return Ok(Some(BinlogStart::Gtid(parse_set(flavor, &meta.binlog_gtid)?)));
    }
    if meta.binlog_name.is_empty() {
        return Ok(None);
    }
    let pos = u64::from(meta.binlog_pos).max(4);
    Ok(Some(BinlogStart::Position(BinlogPosition::new(meta.binlog_name.clone(), pos))))
}

fn parse_set(flavor: Flavor, text: &str) -> Result<GtidSet, CodedError> {
    GtidSet::parse(flavor, text).map_err(|err| {
        CodedError::new(codes::CHECK_START_POSITION, "`binlog-gtid` is no GTID set of this source").cause(err)
    })
}

/// Opens the stream and waits for its first event of substance.
pub(super) async fn read_one_event(source: &Source<'_>, start: BinlogStart) -> Result<(), BinlogError> {
    let mut server_id = rand::rng().random_range(MOMENTARY_SERVER_IDS);
    if server_id == source.info.server_id {
        server_id -= 1;
    }
    let from_beginning = matches!(&start, BinlogStart::Position(position) if position.pos <= 4);
    let mut reader = BinlogReader::open(&source.config.from, &source.info, server_id, start).await?;
    let first = async {
        loop {
            match reader.next().await?.body {
                // Sent before the start is looked for.
                EventBody::Rotate { .. } => {}
                EventBody::FormatDescription { .. } if !from_beginning => {}
                _ => return Ok(()),
            }
        }
    };
    tokio::time::timeout(FIRST_EVENT_LIMIT, first).await.unwrap_or(Ok(()))
}
