//! Continuous replication: the source's transactions, whole and in order of their conflicts, into the target.
//!
//! ```text
//! reader → assemble → filter, route, decode (tables) → schedule (write_set, scheduler) → appliers → target
//! ```
//!
//! One task reads and hands out ([`stream`]); each applier merges what has arrived and applies it in one target
//! transaction together with its progress row ([`applier`]). What cannot be done in parallel (DDL, transactions too
//! large for memory) waits for a barrier and runs on applier 0 ([`ddl_run`], [`large`]).

mod applier;
mod assemble;
mod bounded;
mod change;
mod checkpoint;
mod compact;
mod conflict;
mod coordinator;
mod ddl;
mod ddl_run;
pub(crate) mod ddl_session;
mod decisions;
mod deliver;
mod derive;
mod diagnose;
pub(crate) mod dm;
mod evidence;
mod filtering;
mod hidden;
mod kind;
mod lag;
mod large;
mod mapping;
mod notes;
pub(crate) mod online;
mod online_diff;
mod online_swap;
mod operate_schema;
pub(crate) mod origin;
mod reader;
mod refusal;
mod repeats;
mod report;
mod rewind;
pub(crate) mod row_filter;
mod safe_mode;
mod scheduler;
mod scope;
mod sides;
mod single;
mod start;
pub(crate) mod start_time;
mod statement;
mod stream;
mod stream_ddl;
mod switch;
mod table;
mod tables;
mod tracker;
mod write_set;
mod xa;

use std::sync::Arc;
use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::config::{MissingRow, SourceConfig, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::policy::{self, Side};
use dmnode_model::status::UnitType;
use dmnode_model::{BinlogPosition, Location};
use dmnode_mysql::{Connection, ServerInfo, SessionOptions};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use applier::{Applier, BATCH_ROWS, Statement};
use assemble::Assembler;
use checkpoint::Checkpoint;
use conflict::ConflictLog;
use coordinator::Shared;
use ddl_run::DdlLog;
pub(crate) use ddl_run::marker_names;
use decisions::Decisions;
use diagnose::Evidence;
use evidence::Recent;
use online::Online;
pub use operate_schema::{SchemaOperation, operate_schema};
use origin::Link;
use reader::Reader;
use row_filter::RowFilters;
use safe_mode::{Asked, SafeMode};
use scheduler::Scheduler;
use scope::Scope;
use sides::Sides;
use single::Rules;
use statement::Dialect;
use stream::{Halt, Open, Stream};
use switch::{Switch, Void};
use tables::{Tables, logs_foreign_key_actions};
use tracker::Tracker;

use crate::definitions::DefinitionTable;
use crate::load::ChunkFilter;
use crate::progress::meta::{Facts, Statements, VOID};
use crate::progress::{ApplierBook, ProgressStore, ProgressUpdate, TargetSpec, Watermark, Window};
use crate::target::ApplyError;
use crate::unit::{UnitContext, UnitDone, UnitResult};

/// Most appliers; more than this only costs connections.
const APPLIERS_MAX: usize = 64;
/// About how large a packet of statements becomes.
const PACKET_BYTES: usize = 512 << 10;
/// How long what is in flight may take when the unit is asked to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// What a sync unit has to do.
#[derive(Clone)]
pub struct SyncSpec {
    /// The source.
    pub source: SourceConfig,
    /// The task's part on it.
    pub subtask: SubtaskConfig,
    /// Finish when everything up to here is applied; otherwise go on for ever.
    pub until: Option<Location>,
}

/// Replicates until cancelled, or until `spec.until` is reached.
pub async fn run(ctx: UnitContext, spec: SyncSpec) -> UnitResult {
    let abort = CancellationToken::new();
    let _ends = abort.clone().drop_guard();
    match Box::pin(run_until_halt(&ctx, &spec, &abort)).await {
        Halt::Cancelled => Ok(UnitDone::Cancelled),
        Halt::Finished => Ok(UnitDone::Finished),
        // A panic of an applier is a panic of the unit, and is counted as one.
        Halt::Failed(error) if error.code == codes::SYNCER_UNIT_PANIC => {
            std::panic::resume_unwind(Box::new(error.message.to_string()))
        }
        Halt::Failed(error) => Err(*error),
    }
}

async fn run_until_halt(ctx: &UnitContext, spec: &SyncSpec, abort: &CancellationToken) -> Halt {
    // Preparing has nothing to be drained: a cancel simply ends it.
    let prepared = tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => return Halt::Cancelled,
        prepared = Box::pin(prepare(ctx, spec, abort)) => prepared,
    };
    let (mut stream, mut tasks) = match prepared {
        Ok(prepared) => prepared,
        Err(halt) => return halt,
    };
    let halt = stream.run().await;
    ctx.heartbeat.beat();
    let halt = match halt {
        Halt::Failed(error) => Halt::Failed(error),
        well @ (Halt::Cancelled | Halt::Finished) => match stream.drain(DRAIN_LIMIT).await {
            Ok(()) => well,
            Err(Halt::Failed(error)) => Halt::Failed(error),
            Err(Halt::Cancelled | Halt::Finished) => Halt::Cancelled,
        },
    };
    // Appliers end by themselves when their queues are closed; a failed unit's are not waited for long.
    stream.queues.clear();
    stream.shared.failed.cancel();
    abort.cancel();
    let ended = tokio::time::timeout(DRAIN_LIMIT, async { while tasks.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tasks.abort_all();
    }
    if let Halt::Failed(error) = &halt {
        tracing::warn!(task = %ctx.task, source = %ctx.source, error = %error, "replication stopped");
    }
    halt
}

async fn prepare(
    ctx: &UnitContext,
    spec: &SyncSpec,
    abort: &CancellationToken,
) -> Result<(Stream, JoinSet<()>), Halt> {
    let subtask = &spec.subtask;
    let mut scope = Scope::new(subtask)?;
    let store = ProgressStore::open(TargetSpec::of(ctx, subtask, abort.clone())).await?;
    let store = Arc::new(store);
    // One applier commits in the order in which it is given the transactions.
    let count =
        if subtask.sync.strict_commit_order { 1 } else { subtask.sync.worker_count.clamp(1, APPLIERS_MAX) };
    let taken = store.take_over(u32::try_from(count).unwrap_or(1)).await?;
    ctx.heartbeat.beat();

    let mut source = connect_source(spec).await?;
    let info = ServerInfo::probe(&mut source).await.map_err(|error| source_error(spec, &error))?;
    scope.lower_case = info.lower_case_table_names != 0;
    let logs_actions = logs_foreign_key_actions(&mut source, info.flavor)
        .await
        .map_err(|error| source_error(spec, &error))?;
    let mut conn = store.connect().await?;
    let filter =
        ChunkFilter::load(&mut conn, &subtask.meta_schema, &subtask.task, &subtask.source_id, info.flavor)
            .await?;
    let row_filters =
        RowFilters::new(subtask, &mut conn).await.map_err(|error| crate::target::target_error(&error))?;
    conn.close().await;

    let mut before =
        start::Before { ctx, spec, store: &store, copied: filter.as_ref(), source: &mut source, info: &info };
    let mut appliers = taken.appliers;
    let begun =
        Box::pin(start::begin(&mut before, taken.watermark, taken.applied, appliers.first_mut())).await?;
    let (mut number, mut location) = (begun.number, begun.location);
    let definitions = DefinitionTable::new(&subtask.meta_schema, &subtask.task, &subtask.source_id);
    let mut conn = store.connect().await?;
    let tracker = Tracker::load(definitions, &mut conn).await?;
    let online = Online::load(&mut conn, &subtask.meta_schema, &subtask.task, &subtask.source_id).await?;
    let facts = Facts::new(&subtask.meta_schema, &subtask.task, &subtask.source_id);
    let void = facts.get(&mut conn, VOID).await.map_err(|error| crate::target::target_error(&error))?;
    let void = void.map(|text| Void::parse(&text)).unwrap_or_default();
    conn.close().await;
    let mut decisions = Decisions::new(&subtask.decisions, &void);
    let mut switch = Switch {
        facts,
        notes: begun.notes,
        source: subtask.source_id.clone(),
        windows: store.table("dmnode_safe_mode"),
        waiting: subtask.decisions.clone(),
    };
    tracing::info!(
        task = %subtask.task, source = %subtask.source_id, epoch = ctx.epoch.0, generation = ctx.generation,
        location = %change::describe_location(&location), appliers = count, "replication starts"
    );
    let window = subtask.safe_mode_window.as_ref().map(|window| (window.request, window.duration));
    let asked = Asked { setting: subtask.sync.safe_mode, window };
    let mut safe_mode =
        SafeMode::open(&store, &subtask.source_id, &asked, &location, &mut source, &info).await?;
    if let Some(sql) = safe_mode.take_record()
        && let Some(first) = appliers.first_mut()
    {
        first.apply(&ProgressUpdate::unchanged(), &mut Statement(&sql)).await?;
    }
    let ddl = DdlLog::open(&store, &subtask.meta_schema, &subtask.task, &subtask.source_id).await?;
    let mut conn = store.connect().await?;
    let filter = dm::with_table_points(filter, &mut conn, subtask, info.flavor).await?;
    conn.close().await;
    let filter = filter.filter(|filter| !filter.is_passed(&location));
    let link = Arc::new(Link {
        origin: parking_lot::Mutex::new(begun.origin),
        recent: parking_lot::Mutex::new(Recent::new(begun.evidence)),
        ..Link::default()
    });
    let mut reader = Reader::open(
        &spec.source.from,
        info.clone(),
        &location,
        spec.source.enable_gtid,
        Arc::clone(&link),
        &ctx.heartbeat,
    )
    .await?;
    reader.compares_positions(filter.is_some());
    if let Some(former) = reader.take_former()
        && let Some(first) = appliers.first_mut()
    {
        let (statements, note) = switch.statements(&former, &link, &mut safe_mode);
        tracing::warn!(task = %subtask.task, source = %subtask.source_id, note, "the source was switched");
        decisions.void();
        number += 1;
        location.position = BinlogPosition::default();
        // What is applied beyond the watermark stays so.
        let update = ProgressUpdate {
            applied: None,
            ..ProgressUpdate::watermark(&Watermark { number, location: location.clone() })
        };
        first.apply(&update, &mut Statements(statements)).await?;
    }

    let settled = Some(location.position.clone());
    let window = Window::new(Watermark { number, location }, begun.applied);
    let books: Vec<ApplierBook> = (0..count).map(|index| ApplierBook::new(index, &window)).collect();
    let shared = Arc::new(Shared::new(window, count, ctx.heartbeat.clone()));
    *shared.settled.lock() = settled;
    *shared.safe_mode.lock() = safe_mode.status();
    shared.warnings.lock().extend(switch.notes.shown());
    let target = store.server().clone();
    let dialect = Dialect {
        modern_mysql: !target.is_mariadb() && target.version >= (8, 0, 20),
        packet_limit: PACKET_BYTES
            .min(usize::try_from(target.max_allowed_packet / 2).unwrap_or(PACKET_BYTES)),
        packet_max: usize::try_from(target.max_allowed_packet).unwrap_or(usize::MAX),
        multiple_rows: subtask.sync.multiple_rows.unwrap_or(true),
    };
    let missing = subtask.sync.on_missing_row;
    let rules = Arc::new(Rules {
        dialect,
        fold: subtask.sync.compact.unwrap_or(true),
        missing,
        conflicts: ConflictLog::open(
            &store,
            &subtask.source_id,
            missing != MissingRow::Strict || safe_mode.status().is_some(),
        )
        .await?,
        evidence: Evidence::new(spec.source.from.clone(), subtask.clone()),
    });
    let batch_rows = if subtask.sync.batch_given { subtask.sync.batch.max(1) } else { BATCH_ROWS };
    let mut tasks = JoinSet::new();
    let (mut shared_appliers, mut queues) = (Vec::new(), Vec::new());
    for (index, (conn, book)) in appliers.into_iter().zip(books).enumerate() {
        let checkpoint = (index == 0).then(|| {
            let every = subtask.sync.checkpoint_flush_interval;
            let facts = Facts::new(&subtask.meta_schema, &subtask.task, &subtask.source_id);
            Checkpoint::new(
                store.table("syncer_checkpoint"),
                subtask.source_id.clone(),
                every,
                facts,
                Arc::clone(&link),
            )
        });
        let applier = Arc::new(Mutex::new(Applier { conn, book, rules: Arc::clone(&rules), checkpoint }));
        let (sender, queue) = mpsc::unbounded_channel();
        let shared_by_task = Arc::clone(&shared);
        let own = Arc::clone(&applier);
        tasks.spawn(async move {
            let guard = FailOnPanic(Arc::clone(&shared_by_task));
            applier::run(index, own, queue, shared_by_task, batch_rows).await;
            std::mem::drop(guard);
        });
        shared_appliers.push(applier);
        queues.push(sender);
    }
    online_swap::report_start(&mut source, &info, &scope, &online, &shared).await;
    report::watch_source(
        &mut tasks,
        Arc::clone(&shared),
        Arc::clone(&link),
        spec.source.clone(),
        source,
        info,
    );
    ctx.status.enter(UnitType::Sync, report::report(Arc::clone(&shared), rules, Arc::clone(&link)));
    let stream = Stream {
        ctx: ctx.clone(),
        shared,
        appliers: shared_appliers,
        queues,
        scheduler: Scheduler::new(),
        scope,
        tables: Tables::new(store, tracker, logs_actions).comparing_with(spec.source.from.clone()),
        row_filters,
        filter,
        assembler: Assembler::new(),
        reader,
        link,
        switch,
        target,
        ddl,
        decisions,
        online,
        endpoints: [spec.source.from.clone(), subtask.target.clone()],
        sides: Sides::new(spec.source.from.clone()),
        until: spec.until.clone(),
        safe_mode,
        open: Open::default(),
        prepared: xa::Prepared::default(),
    };
    Ok((stream, tasks))
}

/// A panic of an applier must not leave the stream waiting for it.
struct FailOnPanic(Arc<Shared>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(CodedError::new(codes::SYNCER_UNIT_PANIC, "panic error: an applier panicked"));
        }
    }
}

async fn connect_source(spec: &SyncSpec) -> Result<Connection, CodedError> {
    let options = SessionOptions { time_zone: Some("+00:00".into()), ..SessionOptions::default() };
    Connection::connect(&spec.source.from, &options).await.map_err(|error| source_error(spec, &error))
}

fn source_error(spec: &SyncSpec, error: &dmnode_mysql::SqlError) -> CodedError {
    source_failed(&spec.source, error)
}

pub(crate) fn source_failed(source: &SourceConfig, error: &dmnode_mysql::SqlError) -> CodedError {
    let code = policy::code(Side::Source, error.fault()).unwrap_or(codes::DB_QUERY_FAILED);
    CodedError::new(code, "query statement failed: the source cannot be asked")
        .scope(dmnode_model::Scope::Upstream)
        .object(format!("{}:{}", source.from.host, source.from.port))
        .cause(error)
}

impl From<ApplyError> for CodedError {
    fn from(error: ApplyError) -> Self {
        error.into_coded()
    }
}
