//! The copy from beginning to end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dmnode_model::Flavor;
use dmnode_model::codes;
use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::ids::TableName;
use dmnode_model::position::Location;
use dmnode_model::status::UnitType;
use dmnode_mysql::Connection;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::chunks::{Chunk, ChunkTable, DoneChunk, PlannedTable, filter_of};
use super::copy::Pulse;
use super::filter::ChunkFilter;
use super::inventory::{Inventory, Scope, take};
use super::parcel::{CopyParcel, Parcel, parcels};
use super::prepare::{Desk, Prepared, Wanted, Workshop};
use super::progress::CopyCounters;
use super::snapshot::{Reader, Snapshot, SourceReader};
use super::statistics::analyze;
use crate::definitions::DefinitionTable;
use crate::failpoint;
use crate::progress::meta::Facts;
use crate::progress::{ProgressStore, ProgressUpdate, TargetSpec, Watermark};
use crate::sync::ddl_session::UTF8MB4_BEFORE_8;
use crate::target::{ApplierConnection, ApplyError, NoRows, target_error};
use crate::unit::{Heartbeat, UnitContext};

/// Tables that are prepared together at most.
const GROUP_MOST: usize = 100;
/// How often the snapshot is taken again because tables came while it was.
const SNAPSHOT_TRIES: u32 = 5;

/// What to copy.
#[derive(Clone)]
pub struct LoadSpec {
    /// The source.
    pub source: Arc<SourceConfig>,
    /// The task's part on it.
    pub subtask: Arc<SubtaskConfig>,
}

/// How the copy ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Every chunk is in the target and the watermark is set.
    Complete {
        /// All chunks were read at one position.
        consistent: bool,
        /// The latest position of any chunk.
        latest: Location,
    },
    /// Cancelled at a transaction boundary.
    Cancelled,
}

/// Copies what is missing. Returns at once when the copy was completed before.
pub async fn run(ctx: UnitContext, spec: LoadSpec) -> Result<Loaded, CodedError> {
    let stop = ctx.cancel.child_token();
    // However this ends, nothing that was started here goes on.
    let _guard = stop.clone().drop_guard();
    match Copy::run(&ctx, &spec, &stop).await {
        Ok(loaded) => Ok(loaded),
        Err(_) if ctx.cancel.is_cancelled() => Ok(Loaded::Cancelled),
        Err(ApplyError::Cancelled) => {
            Err(CodedError::new(codes::UNIT_CANCELLED, "the copy was interrupted from within"))
        }
        Err(error) => Err(error.into_coded()),
    }
}

/// A worker: it owns everything it needs, so that workers do not wait for each other.
struct Worker {
    applier: ApplierConnection,
    desk: Desk,
}

struct Copy {
    workshop: Arc<Workshop>,
    source: Arc<SourceReader>,
    counters: Arc<CopyCounters>,
    heartbeat: Heartbeat,
    stop: CancellationToken,
    condition: String,
}

impl Copy {
    async fn run(ctx: &UnitContext, spec: &LoadSpec, stop: &CancellationToken) -> Result<Loaded, ApplyError> {
        let subtask = &spec.subtask;
        let counters = Arc::new(CopyCounters::default());
        let shown: Arc<CopyCounters> = Arc::clone(&counters);
        ctx.status.enter(UnitType::Load, shown);
        ctx.heartbeat.beat();
        let store = ProgressStore::open(TargetSpec::of(ctx, subtask, stop.clone())).await?;
        let chunks = ChunkTable::new(&subtask.meta_schema, &ctx.task, &ctx.source);
        let mut target = store.connect().await?;
        target.execute(chunks.create_sql()).await.map_err(|err| target_error(&err))?;
        chunks.widen(&mut target).await?;
        let (source, mut text) = SourceReader::open(&spec.source.from).await?;
        let flavor = source.server.flavor;
        if let Some(watermark) = store.read_watermark().await? {
            return complete(&chunks.read(&mut target, flavor).await?, &watermark.location, &counters);
        }
        if let Some(start) = &subtask.start_time {
            return Err(crate::sync::start_time::with_copy(&start.text).object(&ctx.task).into());
        }
        let count = subtask.dump.threads.min(subtask.load.pool_size).max(1);
        let workers = u32::try_from(count).unwrap_or(u32::MAX);
        let taken = store.take_over(workers).await?;
        failpoint::hit("load.after_take_over").await?;
        let planned = chunks.read(&mut target, flavor).await?;
        if let Some(watermark) = taken.watermark {
            return complete(&planned, &watermark.location, &counters);
        }
        let facts = Facts::new(&subtask.meta_schema, &ctx.task, &ctx.source);
        let (server, from) = (&source.server, &spec.source.from);
        crate::sync::origin::claim(&mut target, &facts, &mut text, server, from, !planned.is_empty()).await?;
        let scope = Scope::new(&spec.source, subtask)?;
        let inventory = take(&mut text, flavor, &scope).await?;
        ctx.heartbeat.beat();
        tracing::info!(task = %ctx.task, source = %ctx.source, tables = inventory.tables.len(),
            not_migrated = inventory.not_migrated, planned = planned.len(), workers, "full copy starts");
        let gone = |(table, plan): (&TableName, &PlannedTable)| {
            !is_tombstone(plan) && !inventory.tables.contains_key(table)
        };
        let drifted = !planned.is_empty()
            && (planned.iter().any(gone)
                || inventory.tables.keys().any(|table| !planned.contains_key(table)));
        let server = store.server().clone();
        let definitions = DefinitionTable::new(&subtask.meta_schema, &subtask.task, &subtask.source_id);
        let workshop = Workshop {
            scope,
            chunks,
            definitions,
            from: flavor,
            utf8mb4: (flavor == Flavor::Mysql && source.server.version < (8, 0, 1))
                .then_some(UTF8MB4_BEFORE_8),
            target: server,
            dump: subtask.dump.clone(),
            drifted,
            emptied: subtask.choice.emptied.clone(),
        };
        let source = Arc::new(source);
        let mut crew = Vec::new();
        for applier in taken.appliers {
            let desk = Desk { text: source.connect().await?, raw: source.connect_raw().await? };
            crew.push(Worker { applier, desk });
        }
        let copy = Self {
            workshop: Arc::new(workshop),
            source,
            counters,
            heartbeat: ctx.heartbeat.clone(),
            stop: stop.clone(),
            condition: subtask.dump.where_condition.clone(),
        };
        copy.work(&mut text, target, inventory, planned, crew).await
    }

    async fn work(
        &self,
        text: &mut Connection,
        mut target: Connection,
        inventory: Inventory,
        mut planned: BTreeMap<TableName, PlannedTable>,
        crew: Vec<Worker>,
    ) -> Result<Loaded, ApplyError> {
        let (mut crew, mut prepared) = self.prepare(crew, inventory, &mut planned).await?;
        let (snapshot, names) = {
            let mut tries = 0;
            loop {
                let known: BTreeSet<TableName> = prepared.keys().cloned().collect();
                let snapshot =
                    self.source.snapshot(crew.len(), &self.workshop.scope, &known, &self.heartbeat).await?;
                if snapshot.names.is_subset(&known) {
                    break (snapshot.readers, snapshot.names);
                }
                tries += 1;
                if tries >= SNAPSHOT_TRIES {
                    return Err(CodedError::new(
                        codes::COPY_SNAPSHOT_UNSTABLE,
                        "new tables appear faster than snapshots can be taken",
                    )
                    .into());
                }
                // Tables were made since the inventory: they belong to the snapshot, so they are prepared too.
                let Snapshot { readers, .. } = snapshot;
                close(readers).await;
                let mut inventory = take(text, self.workshop.from, &self.workshop.scope).await?;
                inventory.tables.retain(|name, _| !prepared.contains_key(name));
                let (back, more) = self.prepare(crew, inventory, &mut planned).await?;
                crew = back;
                prepared.extend(more);
            }
        };
        if let Some(reader) = snapshot.first() {
            self.counters.begin(reader.location.clone());
            tracing::info!(location = %reader.location, readers = snapshot.len(), "snapshot taken");
        }
        let location = earliest(&snapshot);
        self.bury_the_gone(&mut crew, &mut prepared, planned, &names, &location).await?;
        let parcels = parcels(prepared, &self.condition, crew.len());
        let mut crew = self.copy_all(crew, snapshot, parcels).await?;
        let plan = self.workshop.chunks.read(&mut target, self.workshop.from).await?;
        let filter = filter_of(&plan)?;
        let appliers = crew.iter_mut().map(|worker| &mut worker.applier).collect();
        analyze(appliers, &plan, &self.stop, &self.heartbeat).await;
        failpoint::hit("load.before_finish").await?;
        let first = filter.min_location().unwrap_or(&location).clone();
        let Some(worker) = crew.first_mut() else {
            return Err(CodedError::new(codes::INTERNAL, "the copy has no worker").into());
        };
        let update = ProgressUpdate::watermark(&Watermark { number: 1, location: first.clone() });
        worker.applier.apply(&update, &mut NoRows).await?;
        tracing::info!(location = %first, consistent = filter.is_uniform(), "full copy complete");
        self.counters.finish();
        Ok(loaded(&filter, &first))
    }

    /// Makes target tables and plans, several at a time.
    async fn prepare(
        &self,
        mut crew: Vec<Worker>,
        inventory: Inventory,
        planned: &mut BTreeMap<TableName, PlannedTable>,
    ) -> Result<(Vec<Worker>, BTreeMap<TableName, Prepared>), ApplyError> {
        if let Some(worker) = crew.first_mut() {
            for schema in &inventory.schemas {
                self.workshop.make_schema(&mut worker.applier, schema).await?;
                self.heartbeat.beat();
            }
        }
        for table in inventory.tables.values() {
            self.counters.expect(table);
        }
        let queue = groups(inventory, planned, crew.len());
        let queue = Arc::new(Mutex::new(queue));
        let mut set = JoinSet::new();
        for mut worker in crew {
            let (queue, workshop) = (Arc::clone(&queue), Arc::clone(&self.workshop));
            let (stop, heartbeat) = (self.stop.clone(), self.heartbeat.clone());
            let counters = Arc::clone(&self.counters);
            set.spawn(async move {
                let mut done = Vec::new();
                while !stop.is_cancelled() {
                    let Some(group) = queue.lock().pop_front() else { break };
                    let pause = || {
                        heartbeat.beat();
                        if stop.is_cancelled() { Err(ApplyError::Cancelled) } else { Ok(()) }
                    };
                    let prepared =
                        workshop.prepare(&mut worker.desk, &mut worker.applier, group, &pause).await?;
                    for table in &prepared {
                        // With very many tables this alone takes long, and whoever waits sees it go on.
                        counters.prepared(&table.source, &table.plan);
                    }
                    done.extend(prepared);
                    heartbeat.beat();
                }
                if stop.is_cancelled() { Err(ApplyError::Cancelled) } else { Ok((worker, done)) }
            });
        }
        let mut crew = Vec::new();
        let mut prepared = BTreeMap::new();
        for (worker, done) in self.join(set).await? {
            crew.push(worker);
            for table in done {
                prepared.insert(table.source.name.clone(), table);
            }
        }
        crew.sort_by_key(|worker| worker.applier.index());
        Ok((crew, prepared))
    }

    /// Tables that an earlier generation planned and that are gone from the source.
    async fn bury_the_gone(
        &self,
        crew: &mut [Worker],
        prepared: &mut BTreeMap<TableName, Prepared>,
        planned: BTreeMap<TableName, PlannedTable>,
        names: &BTreeSet<TableName>,
        location: &Location,
    ) -> Result<(), ApplyError> {
        let Some(worker) = crew.first_mut() else { return Ok(()) };
        let vanished: Vec<TableName> =
            prepared.keys().filter(|table| !names.contains(*table)).cloned().collect();
        let vanished =
            vanished.into_iter().filter_map(|name| prepared.remove(&name).map(|table| (name, table.plan)));
        let gone: Vec<_> = planned.into_iter().chain(vanished).collect();
        for (name, mut plan) in gone {
            if plan.key.is_empty() && is_tombstone(&plan) {
                continue;
            }
            let applier = &mut worker.applier;
            // It is not gone, it was taken out: the target keeps what it has.
            if !self.workshop.scope.is_removed(&name)
                && let Err(error) = self.workshop.drop_target(applier, &name, &plan).await
            {
                // Nothing of it was copied: it leaves no trace, and the target table is not ours to drop.
                if plan.is_touched() {
                    return Err(error);
                }
            }
            let done = DoneChunk { location: location.clone(), rows: 0, bytes: 0 };
            plan.key = Vec::new();
            plan.digest = TOMBSTONE.to_owned();
            plan.chunks = vec![Chunk { number: 0, lower: None, upper: None, done: Some(done) }];
            self.workshop.bury(applier, &name, &plan).await?;
        }
        Ok(())
    }

    async fn copy_all(
        &self,
        crew: Vec<Worker>,
        readers: Vec<Reader>,
        parcels: VecDeque<Parcel>,
    ) -> Result<Vec<Worker>, ApplyError> {
        let cut: BTreeSet<TableName> = parcels
            .iter()
            .flatten()
            .filter(|job| job.table.transactional && !job.table.key.is_empty())
            .map(|job| job.table.source.clone())
            .collect();
        let cut = Arc::new(cut);
        let parcels = Arc::new(Mutex::new(parcels));
        let mut set = JoinSet::new();
        for (mut worker, mut reader) in crew.into_iter().zip(readers) {
            let (parcels, cut) = (Arc::clone(&parcels), Arc::clone(&cut));
            let bench = Bench {
                workshop: Arc::clone(&self.workshop),
                source: Arc::clone(&self.source),
                counters: Arc::clone(&self.counters),
                heartbeat: self.heartbeat.clone(),
                stop: self.stop.clone(),
            };
            set.spawn(async move {
                loop {
                    if bench.stop.is_cancelled() {
                        return Err(ApplyError::Cancelled);
                    }
                    let Some(parcel) = parcels.lock().pop_front() else { break };
                    let left = match bench.copy(&parcel, &mut worker, &mut reader).await {
                        Ok(left) => left,
                        Err(error) => {
                            if matches!(&error, ApplyError::Coded(error) if error.code == codes::COPY_SNAPSHOT_UNSTABLE) {
                                bench.outdate_changed(&cut, &mut worker, &mut reader).await?;
                            }
                            return Err(error);
                        }
                    };
                    if !left.is_empty() {
                        parcels.lock().push_front(left);
                    }
                }
                reader.conn.close().await;
                Ok(worker)
            });
        }
        let mut crew = self.join(set).await?;
        crew.sort_by_key(|worker| worker.applier.index());
        Ok(crew)
    }

    /// Waits for all; the first error stops the others and is what is told.
    async fn join<T: 'static>(&self, mut set: JoinSet<Result<T, ApplyError>>) -> Result<Vec<T>, ApplyError> {
        let mut results = Vec::new();
        let mut failure: Option<ApplyError> = None;
        while let Some(ended) = set.join_next().await {
            match ended {
                Ok(Ok(result)) => results.push(result),
                Ok(Err(error)) => {
                    self.stop.cancel();
                    if failure.is_none() || matches!(failure, Some(ApplyError::Cancelled)) {
                        failure = Some(error);
                    }
                }
                // A panic goes on in the unit, where it is caught and counted as what it is.
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => failure = Some(ApplyError::Cancelled),
                },
            }
        }
        failure.map_or(Ok(results), Err)
    }
}

/// What a worker needs of the copy.
struct Bench {
    workshop: Arc<Workshop>,
    source: Arc<SourceReader>,
    counters: Arc<CopyCounters>,
    heartbeat: Heartbeat,
    stop: CancellationToken,
}

impl Bench {
    /// Copies a parcel, and answers what was too much of it.
    async fn copy(
        &self,
        parcel: &Parcel,
        worker: &mut Worker,
        reader: &mut Reader,
    ) -> Result<Parcel, ApplyError> {
        let Some(job) = parcel.front().filter(|job| !job.table.transactional) else {
            return self.copy_from(parcel, worker, reader).await;
        };
        let mut locked = self.source.lock_one(&job.table.source, &self.heartbeat).await?;
        let left = self.copy_from(parcel, worker, &mut locked).await?;
        locked.conn.close().await;
        Ok(left)
    }

    /// A table has changed under the snapshot, so this generation is over. Which of the tables of several chunks have, too?
    /// Their definition may not show it: TRUNCATE makes a table anew and leaves the time it was made. The snapshot does.
    async fn outdate_changed(
        &self,
        tables: &BTreeSet<TableName>,
        worker: &mut Worker,
        reader: &mut Reader,
    ) -> Result<(), ApplyError> {
        for table in tables {
            self.heartbeat.beat();
            match reader.conn.query_one(&format!("SELECT 1 FROM {table} LIMIT 1")).await {
                Ok(_) => {}
                // Table definition has changed; no such table.
                Err(error) if matches!(error.code(), Some(1412 | 1146)) => {
                    self.workshop.outdate(&mut worker.applier, table).await?;
                }
                Err(error) => {
                    tracing::warn!(%table, error = %error, "it cannot be told whether a table has changed");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn copy_from(
        &self,
        parcel: &Parcel,
        worker: &mut Worker,
        reader: &mut Reader,
    ) -> Result<Parcel, ApplyError> {
        let pulse = Pulse::new(self.heartbeat.clone());
        let mut body = CopyParcel {
            parcel,
            chunks: &self.workshop.chunks,
            reader,
            check: &mut worker.desk.raw,
            local_infile: self.workshop.target.local_infile,
            packet: usize::try_from(self.workshop.target.max_allowed_packet).unwrap_or(usize::MAX),
            counters: &self.counters,
            pulse: &pulse,
            stop: &self.stop,
            counted: Vec::new(),
        };
        let update = ProgressUpdate::unchanged();
        let result = tokio::select! {
            result = worker.applier.apply(&update, &mut body) => result,
            never = pulse.keep() => match never {},
        };
        if result.is_err() {
            body.forget();
        }
        result?;
        let left = body.settle();
        self.heartbeat.beat();
        failpoint::hit("load.after_chunk_commit").await?;
        Ok(left)
    }
}

/// Tables to be prepared together: neighbours of one database, few enough to keep all workers busy.
fn groups(
    inventory: Inventory,
    planned: &mut BTreeMap<TableName, PlannedTable>,
    workers: usize,
) -> VecDeque<Vec<Wanted>> {
    let size = (inventory.tables.len() / (workers.max(1) * 4)).clamp(1, GROUP_MOST);
    let mut groups: VecDeque<Vec<Wanted>> = VecDeque::new();
    for table in inventory.tables.into_values() {
        let plan = planned.remove(&table.name);
        let fits = |group: &&mut Vec<Wanted>| {
            group.len() < size
                && group.first().is_some_and(|(first, _)| first.name.schema == table.name.schema)
        };
        match groups.back_mut().filter(fits) {
            Some(group) => group.push((table, plan)),
            None => groups.push_back(vec![(table, plan)]),
        }
    }
    groups
}

/// In place of a digest: the table does not exist in the source.
const TOMBSTONE: &str = "gone";

fn is_tombstone(plan: &PlannedTable) -> bool {
    plan.digest == TOMBSTONE
}

async fn close(readers: Vec<Reader>) {
    for reader in readers {
        reader.conn.close().await;
    }
}

/// The smallest of the readers' positions.
fn earliest(readers: &[Reader]) -> Location {
    readers
        .iter()
        .map(|reader| &reader.location)
        .min_by(|a, b| a.position.cmp(&b.position))
        .cloned()
        .unwrap_or_else(|| Location {
            position: dmnode_model::position::BinlogPosition::new("", 0),
            gtid_set: None,
        })
}

/// The copy was completed by an earlier generation.
fn complete(
    plan: &BTreeMap<TableName, PlannedTable>,
    watermark: &Location,
    counters: &CopyCounters,
) -> Result<Loaded, ApplyError> {
    for planned in plan.values().filter(|planned| !is_tombstone(planned)) {
        counters.copied(planned);
    }
    counters.finish();
    Ok(loaded(&filter_of(plan)?, watermark))
}

fn loaded(filter: &ChunkFilter, otherwise: &Location) -> Loaded {
    Loaded::Complete {
        consistent: filter.is_uniform(),
        latest: filter.max_location().unwrap_or(otherwise).clone(),
    }
}
