//! Where the stream begins: where the task stood; else where the copy, the task's `meta` or the source says. A
//! `--start-time` comes before all of them, once.

use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::policy::{self, Side};
use dmnode_model::{BinlogPosition, Endpoint, GtidSet, Location};
use dmnode_mysql::{
    BinlogError, BinlogReader, BinlogStart, Connection, EventBody, ServerInfo, SqlError, current_location,
};

use super::change::describe_location;
use super::evidence::Evidence;
use super::notes::Notes;
use super::online::Online;
use super::origin::{Origin, server_name};
use super::rewind::{Rewind, Step};
use super::switch::Void;
use super::{SyncSpec, source_error, start_time};
use crate::definitions::DefinitionTable;
use crate::load::ChunkFilter;
use crate::progress::meta::{EVIDENCE, Facts, SOURCE, START, Statements, VOID};
use crate::progress::{AppliedSet, ProgressStore, ProgressUpdate, Watermark, text_literal};
use crate::target::{ApplierConnection, ApplyError};
use crate::unit::UnitContext;

/// Looking through one binlog file for the GTID set of a position in it may take so long.
const SCAN_LIMIT: Duration = Duration::from_secs(60);

/// Where a generation begins.
pub struct Begun {
    /// Number of the watermark.
    pub number: u64,
    /// Everything before is applied, or not wanted.
    pub location: Location,
    /// What is applied beyond it.
    pub applied: AppliedSet,
    /// Who the source was when that was written.
    pub origin: Option<Origin>,
    /// A transaction of it that was applied.
    pub evidence: Option<Evidence>,
    /// What the operator should know.
    pub notes: Notes,
}

/// What a generation begins with.
pub struct Before<'a> {
    pub ctx: &'a UnitContext,
    pub spec: &'a SyncSpec,
    pub store: &'a ProgressStore,
    pub copied: Option<&'a ChunkFilter>,
    pub source: &'a mut Connection,
    pub info: &'a ServerInfo,
}

/// Decides where this generation begins. A decision that is new is written down before the first event is read.
pub async fn begin(
    before: &mut Before<'_>,
    watermark: Option<Watermark>,
    applied: AppliedSet,
    first: Option<&mut ApplierConnection>,
) -> Result<Begun, ApplyError> {
    let spec = before.spec;
    let facts = Facts::new(&spec.subtask.meta_schema, &spec.subtask.task, &spec.subtask.source_id);
    let mut conn = before.store.connect().await?;
    let known = facts.get(&mut conn, SOURCE).await?.map(|text| Origin::parse(&text));
    let mut evidence = facts.get(&mut conn, EVIDENCE).await?.and_then(|text| Evidence::parse(&text));
    let mut notes = Notes::load(&mut conn, &facts).await?;
    conn.close().await;
    let server = server_name(before.source, before.info).await.map_err(|error| source_error(spec, &error))?;
    let definitions =
        DefinitionTable::new(&spec.subtask.meta_schema, &spec.subtask.task, &spec.subtask.source_id);
    let same = known.as_ref().is_none_or(|known| known.server == server);
    let former = watermark.as_ref().map(|watermark| watermark.location.clone());
    // What was collected of online schema changes belongs to the place where the task stood.
    let forget_online = || {
        let subtask = &spec.subtask;
        Online::forget_all_sql(&subtask.meta_schema, &subtask.task, &subtask.source_id)
    };
    let mut number = watermark.as_ref().map_or(1, |watermark| watermark.number);
    let mut applied = applied;
    let mut writes = None;
    let mut location = match watermark {
        Some(watermark) => watermark.location,
        None => {
            writes = Some(vec![definitions.forget_followed_sql(before.copied.is_some()), forget_online()]);
            Location::default()
        }
    };
    if let Some((found, id)) = start_time(before, &facts).await? {
        // The watermark may go back: what orders watermarks is their number.
        number += 1;
        location = found.location;
        let mut sql = vec![facts.put_sql(START, &id), definitions.forget_followed_sql(false)];
        let mut said = Vec::new();
        if let Some(former) = &former {
            said.push(format!(
                "start-task --start-time: the task goes on at {} instead of {}",
                describe_location(&location),
                describe_location(former)
            ));
            let (applied, to) = (&applied, &location);
            let step = Step { why: Rewind::StartTime, former, applied, to, same_server: same };
            let id = &spec.subtask.source_id;
            sql.extend(step.window(before.store, id, before.source, before.info).await?);
        }
        if found.too_early {
            said.push("the start time is before the first binlog that the source still has; the task begins with that".to_owned());
        }
        if !said.is_empty() {
            sql.push(notes.add(&facts, &said.join("; ")));
        }
        applied = AppliedSet::default();
        sql.push(forget_online());
        writes = Some(sql);
    } else if writes.is_some() {
        location = self::location(spec, before.copied, before.source, before.info).await?;
    }
    let by_gtid = spec.source.enable_gtid;
    let decided = writes.is_some();
    // The position of another server says nothing here.
    if decided || same {
        location = complete(location, &spec.source.from, before.source, before.info, by_gtid).await;
    }
    let mut origin = known;
    if let (Some(mut writes), Some(first)) = (writes, first) {
        let here = Origin { server, anchor: None };
        writes.push(facts.put_sql(SOURCE, &here.to_string()));
        writes.push(facts.put_sql(EVIDENCE, ""));
        if !same {
            writes.push(facts.put_sql(VOID, &Void::all(&spec.subtask.decisions).text()));
        }
        (origin, evidence) = (Some(here), None);
        // Where a task begins must not depend on when it is asked: "where the source is now" is decided once.
        let start = ProgressUpdate::watermark(&Watermark { number, location: location.clone() });
        first.apply(&start, &mut Statements(writes)).await?;
    }
    Ok(Begun { number, location, applied, origin, evidence, notes })
}

/// The place of `--start-time` and the name of the start, unless that start was carried out before.
async fn start_time(
    before: &mut Before<'_>,
    facts: &Facts,
) -> Result<Option<(start_time::Found, String)>, ApplyError> {
    let Some(start) = &before.spec.subtask.start_time else { return Ok(None) };
    let id = format!("{}/{}/{}", before.ctx.cluster_id, start.request, start.text);
    let mut conn = before.store.connect().await?;
    let done = facts.get(&mut conn, START).await?;
    conn.close().await;
    if done.as_ref() == Some(&id) {
        return Ok(None);
    }
    let endpoint = &before.spec.source.from;
    let search = start_time::find(endpoint, before.source, before.info, &start.text);
    let found = before.ctx.heartbeat.while_pending(start_time::SEARCH_LIMIT, search).await?;
    if found.too_early {
        tracing::warn!(
            task = %before.ctx.task, source = %before.ctx.source, start_time = %start.text,
            "the start time is before the first binlog that the source still has; the task begins with that"
        );
    }
    Ok(Some((found, id)))
}

/// The copy's smallest position, else the task's `meta`, else where the source is now.
async fn location(
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
            return Err(CodedError::new(codes::CONFIG_META_INVALID, "must specify `binlog-name` without GTID enabled for the source or specify `binlog-gtid` with GTID enabled \
                 for the source")
                .object(&spec.subtask.source_id)
                .remedy("give `binlog-name` and `binlog-pos`, or `binlog-gtid` with `enable-gtid: true` in source.yaml"));
        }
        let gtid_set = if by_gtid { Some(GtidSet::parse(info.flavor, &meta.binlog_gtid)?) } else { None };
        let position =
            BinlogPosition { file: meta.binlog_name.clone(), pos: u64::from(meta.binlog_pos).max(4) };
        return Ok(Location { position, gtid_set });
    }
    current_location(source, info).await.map_err(|error| position_unknown(&error))
}

/// The source did not say where it is. What passes by itself is not held against its settings.
pub(super) fn position_unknown(error: &SqlError) -> CodedError {
    match policy::code(Side::Source, error.fault()) {
        Some(code) => CodedError::new(code, "the source cannot be asked for its position"),
        None => CodedError::new(
            codes::NO_MASTER_STATUS,
            "upstream returns an empty result for SHOW MASTER STATUS, or refuses it: its position is not known",
        )
        .remedy("switch the binary log on; the user needs REPLICATION CLIENT (MariaDB: BINLOG MONITOR)"),
    }
    .scope(dmnode_model::Scope::Upstream)
    .cause(error)
}

/// Adds the GTID set of a position where the source can tell it, so that the task can go on by GTID later.
async fn complete(
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
