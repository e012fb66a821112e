//! A dump from beginning to end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{TableName, quote_ident};
use dmnode_model::status::UnitType;
use dmnode_mysql::Connection;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::counters::DumpCounters;
use super::directory::{Directory, Opened};
use super::layout::{Metadata, schema_file, table_file};
use super::output::{Place, write_file};
use super::rows::HEADER;
use super::table::{Desks, DumpTable, prepare};
use crate::failpoint;
use crate::load::LoadSpec;
use crate::load::copy::Job;
use crate::load::inventory::{Scope, source_error, take};
use crate::load::prepare::Desk;
use crate::load::snapshot::{Reader, SourceReader};
use crate::unit::UnitContext;

/// How often the snapshot is taken again because tables came while it was.
const SNAPSHOT_TRIES: u32 = 5;

/// How a dump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dumped {
    /// The directory is complete.
    Complete,
    /// Cancelled; the next run begins anew.
    Cancelled,
}

/// Writes the dump. Returns at once when its directory is complete.
pub async fn run(ctx: UnitContext, spec: LoadSpec) -> Result<Dumped, CodedError> {
    let stop = ctx.cancel.child_token();
    // However this ends, nothing that was started here goes on.
    let _guard = stop.clone().drop_guard();
    let result = tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => return Ok(Dumped::Cancelled),
        result = dump(&ctx, &spec, &stop) => result,
    };
    match result {
        Err(_) if ctx.cancel.is_cancelled() => Ok(Dumped::Cancelled),
        result => result.map(|()| Dumped::Complete),
    }
}

async fn dump(ctx: &UnitContext, spec: &LoadSpec, stop: &CancellationToken) -> Result<(), CodedError> {
    let counters = Arc::new(DumpCounters::new());
    let shown: Arc<DumpCounters> = Arc::clone(&counters);
    ctx.status.enter(UnitType::Dump, shown);
    ctx.heartbeat.beat();
    let directory = match Directory::open(ctx, spec)? {
        Opened::Complete => {
            tracing::info!(dir = spec.subtask.load.dir, "the dump is complete already");
            counters.finish();
            return Ok(());
        }
        Opened::Empty(directory) => directory,
    };
    failpoint::hit("dump.empty").await?;
    let started = now();
    let (source, mut text) = SourceReader::open(&spec.source.from).await?;
    if !source.server.log_bin {
        return Err(CodedError::new(
            codes::COPY_SOURCE_READ,
            "the source writes no binlog, so that a dump of it would have no position",
        )
        .remedy("start the source with log_bin"));
    }
    // The files are named after the source's tables; routes are for whoever loads them.
    let subtask = dmnode_model::config::SubtaskConfig { routes: Vec::new(), ..(*spec.subtask).clone() };
    let scope = Scope::new(&spec.source, &subtask)?;
    let source = Arc::new(source);
    let mut desk = Desk { text: source.connect().await?, raw: source.connect_raw().await? };
    let mut tables: BTreeMap<TableName, DumpTable> = BTreeMap::new();
    let (readers, names) = {
        let mut tries = 0;
        loop {
            let inventory = take(&mut text, source.server.flavor, &scope).await?;
            if inventory.not_migrated > 0 {
                tracing::info!(objects = inventory.not_migrated, "views and other objects are not dumped");
            }
            let pause = || {
                ctx.heartbeat.beat();
                Ok(())
            };
            for table in inventory.tables.into_values() {
                ctx.heartbeat.beat();
                if !tables.contains_key(&table.name)
                    && let Some(table) = prepare(&mut desk, table, &spec.subtask.dump, &pause).await?
                {
                    tables.insert(table.table.source.clone(), table);
                }
            }
            let known: BTreeSet<TableName> = tables.keys().cloned().collect();
            let count = spec.subtask.dump.threads.max(1);
            let snapshot = source.snapshot(count, &scope, &known, &ctx.heartbeat).await?;
            if snapshot.names.is_subset(&known) {
                break (at_one_position(snapshot.readers).await, snapshot.names);
            }
            tries += 1;
            if tries >= SNAPSHOT_TRIES {
                return Err(CodedError::new(
                    codes::COPY_SNAPSHOT_UNSTABLE,
                    "new tables appear faster than snapshots can be taken",
                ));
            }
            // Tables were made since the inventory: they belong to the snapshot, so they are prepared too.
            for reader in snapshot.readers {
                reader.conn.close().await;
            }
        }
    };
    tables.retain(|name, _| names.contains(name));
    let Some(location) = readers.first().map(|reader| reader.location.clone()) else {
        return Err(CodedError::new(codes::INTERNAL, "the dump has no reader"));
    };
    tracing::info!(%location, readers = readers.len(), tables = tables.len(),
        dir = %directory.path.display(), "dump starts");
    let rows: u64 = tables.values().map(|table| table.rows).sum();
    counters.rows_total.store(rows, Ordering::Relaxed);
    counters.tables_total.store(tables.len() as u64, Ordering::Relaxed);
    let place = Arc::new(directory.place(spec.subtask.dump.compression));
    write_definitions(ctx, &place, &tables, &mut text).await?;
    let desks = Arc::new(Desks {
        place: Arc::clone(&place),
        dump: spec.subtask.dump.clone(),
        counters: Arc::clone(&counters),
        heartbeat: ctx.heartbeat.clone(),
    });
    write_rows(&source, desks, readers, jobs(tables), stop).await?;
    failpoint::hit("dump.before_metadata").await?;
    directory.complete(&Metadata { started, finished: now(), location }, &place.written())?;
    tracing::info!(dir = %directory.path.display(), "dump complete");
    counters.finish();
    Ok(())
}

/// The readers that see one state. MariaDB's lock-free snapshots may differ under load; one of them alone does not.
async fn at_one_position(mut readers: Vec<Reader>) -> Vec<Reader> {
    let equal = readers.windows(2).all(|pair| pair[0].location == pair[1].location);
    if !equal {
        tracing::info!("the readers' snapshots are at different positions: one of them dumps alone");
        for reader in readers.split_off(1) {
            reader.conn.close().await;
        }
    }
    readers
}

/// The files that create databases and tables.
async fn write_definitions(
    ctx: &UnitContext,
    place: &Place,
    tables: &BTreeMap<TableName, DumpTable>,
    text: &mut Connection,
) -> Result<(), CodedError> {
    let schemas: BTreeSet<&str> = tables.keys().map(|table| table.schema.as_str()).collect();
    for schema in schemas {
        let row = text
            .query_one(format!("SHOW CREATE DATABASE {}", quote_ident(schema)))
            .await
            .map_err(|err| source_error(&err).object(schema))?;
        let create = row.and_then(|row| row.string(1)).unwrap_or_default();
        // Loading must not stumble over a database that is there.
        let create = create.replacen("CREATE DATABASE ", "CREATE DATABASE IF NOT EXISTS ", 1);
        let sql = format!("{HEADER}{create};\n");
        write_file(place, &schema_file(schema), sql.as_bytes()).await?;
        ctx.heartbeat.beat();
    }
    for (name, table) in tables {
        let sql = format!("{HEADER}{};\n", table.create);
        write_file(place, &table_file(name), sql.as_bytes()).await?;
        ctx.heartbeat.beat();
    }
    Ok(())
}

/// Large tables first, so that the last ones to be worked on are small.
fn jobs(tables: BTreeMap<TableName, DumpTable>) -> VecDeque<Job> {
    let mut tables: Vec<DumpTable> = tables.into_values().collect();
    tables.sort_by_key(|table| std::cmp::Reverse(table.rows));
    let of_table = |DumpTable { table, chunks, .. }: DumpTable| {
        chunks.into_iter().map(move |chunk| Job { table: Arc::clone(&table), chunk, weight: 0 })
    };
    tables.into_iter().flat_map(of_table).collect()
}

async fn write_rows(
    source: &Arc<SourceReader>,
    desks: Arc<Desks>,
    readers: Vec<Reader>,
    jobs: VecDeque<Job>,
    stop: &CancellationToken,
) -> Result<(), CodedError> {
    let jobs = Arc::new(Mutex::new(jobs));
    let mut set = JoinSet::new();
    for mut reader in readers {
        let (source, desks, jobs) = (Arc::clone(source), Arc::clone(&desks), Arc::clone(&jobs));
        let stop = stop.clone();
        set.spawn(async move {
            let mut check = source.connect_raw().await?;
            while !stop.is_cancelled() {
                let Some(job) = jobs.lock().pop_front() else { break };
                desks.write(&job, &mut reader.conn, &mut check).await?;
            }
            reader.conn.close().await;
            check.close().await;
            if stop.is_cancelled() {
                return Err(CodedError::new(codes::UNIT_CANCELLED, "the dump was interrupted from within"));
            }
            Ok(())
        });
    }
    // The first error is told; when this ends, the set ends the other readers with it.
    while let Some(ended) = set.join_next().await {
        match ended {
            Ok(result) => result?,
            // A panic goes on in the unit, where it is caught and counted as what it is.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => {
                    return Err(CodedError::new(
                        codes::UNIT_CANCELLED,
                        "the dump was interrupted from within",
                    )
                    .cause(error));
                }
            },
        }
    }
    Ok(())
}

/// Now, in UTC.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}
