//! The load of a directory from beginning to end.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::gtid::Flavor;
use dmnode_model::ids::{TableName, quote_ident};
use dmnode_model::position::{BinlogPosition, Location};
use dmnode_model::status::{CopyProgress, LoadStatus, UnitType};
use dmnode_mysql::TableInfo;
use dmnode_schema::{SqlMode, Statement, StatementKind, rewrite_routed, split_statements, translate};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::catalog::{Catalog, DataFile, open};
use super::file::{LoadTable, Loader};
use super::marks::{Mark, Marks, damaged};
use crate::failpoint;
use crate::load::dump::directory::local;
use crate::load::dump::layout::{METADATA, Metadata};
use crate::load::inventory::Scope;
use crate::load::prepare::{Dialects, create_statements, fenced_ddl};
use crate::load::progress::percent;
use crate::load::snapshot::SourceReader;
use crate::load::{LoadSpec, Loaded};
use crate::progress::meta::Facts;
use crate::progress::{ProgressStore, ProgressUpdate, TargetSpec, Watermark};
use crate::sync::ddl_session::UTF8MB4_BEFORE_8;
use crate::target::{ApplierConnection, ApplyBody, ApplyError, NoRows, TargetTransaction, target_error};
use crate::unit::{Report, UnitContext, UnitReport};

/// Connections that load; a batch of statements is in memory for each.
const WORKERS_MOST: usize = 8;
/// A file with a definition, or `metadata`, is no larger.
const SMALL_FILE_BYTES: u64 = 16 << 20;
/// Storage engines of target tables that roll back.
const TRANSACTIONAL: [&str; 6] = ["innodb", "rocksdb", "tokudb", "ndbcluster", "xtradb", "tidb"];

/// Loads what is missing. Returns at once when all was loaded before.
pub async fn run(ctx: UnitContext, spec: LoadSpec) -> Result<Loaded, CodedError> {
    let stop = ctx.cancel.child_token();
    // However this ends, nothing that was started here goes on.
    let _guard = stop.clone().drop_guard();
    let result = tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => return Ok(Loaded::Cancelled),
        result = load(&ctx, &spec, &stop) => result,
    };
    match result {
        Ok(latest) => Ok(Loaded::Complete { consistent: true, latest }),
        Err(_) if ctx.cancel.is_cancelled() => Ok(Loaded::Cancelled),
        Err(ApplyError::Cancelled) => {
            Err(CodedError::new(codes::UNIT_CANCELLED, "the load was interrupted from within"))
        }
        Err(error) => Err(error.into_coded()),
    }
}

/// Rows in one transaction with nothing else.
struct Write(Vec<Vec<u8>>);

#[async_trait]
impl ApplyBody for Write {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        for sql in &self.0 {
            if transaction.execute(sql).await?.affected_rows == 0 {
                return Err(damaged().into());
            }
        }
        Ok(())
    }
}

async fn load(ctx: &UnitContext, spec: &LoadSpec, stop: &CancellationToken) -> Result<Location, ApplyError> {
    let subtask = &spec.subtask;
    let counters = Arc::new(Counters::default());
    let shown: Arc<Counters> = Arc::clone(&counters);
    ctx.status.enter(UnitType::Load, shown);
    ctx.heartbeat.beat();
    let directory = local(&subtask.load.dir)?;
    let store = ProgressStore::open(TargetSpec::of(ctx, subtask, stop.clone())).await?;
    let marks = Arc::new(Marks::new(&subtask.meta_schema, &ctx.task, &ctx.source));
    let mut target = store.connect().await?;
    target.execute(marks.create_sql()).await.map_err(|err| target_error(&err))?;
    if let Some(watermark) = store.read_watermark().await? {
        counters.complete.store(true, Ordering::Relaxed);
        return Ok(watermark.location);
    }
    let syncs = subtask.mode.has_sync();
    if !syncs && marks.read(&mut target).await?.complete {
        counters.complete.store(true, Ordering::Relaxed);
        return Ok(nowhere());
    }
    let (source, mut text) = SourceReader::open(&spec.source.from).await?;
    let catalog = catalog(&directory)?;
    let location = position(&directory, source.server.flavor, syncs)?;
    let count = subtask.load.pool_size.clamp(1, WORKERS_MOST);
    let taken = store.take_over(u32::try_from(count).unwrap_or(1)).await?;
    let recorded = marks.read(&mut target).await?;
    let mut appliers = taken.appliers;
    let Some(first) = appliers.first_mut() else {
        return Err(CodedError::new(codes::INTERNAL, "the load has no worker").into());
    };
    if syncs {
        let facts = Facts::new(&subtask.meta_schema, &ctx.task, &ctx.source);
        let begun = recorded.digest.is_some();
        let (server, from) = (&source.server, &spec.source.from);
        crate::sync::origin::claim(&mut target, &facts, &mut text, server, from, begun).await?;
    }
    let scope = Scope::new(&spec.source, subtask)?;
    let files = in_scope(&catalog, &scope)?;
    match &recorded.digest {
        Some(digest) if *digest != catalog.digest => {
            return Err(unreadable(&directory, "its files are not those that the load began with").into());
        }
        Some(_) => {}
        None => {
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            let statements = marks.begin_sql(&catalog.digest, &names);
            first.apply(&ProgressUpdate::unchanged(), &mut Write(statements)).await?;
        }
    }
    let server = store.server().clone();
    let (major, minor, patch) = server.version;
    let dialects = Dialects {
        from: source.server.flavor,
        to: server.flavor,
        version: (major.into(), minor.into(), patch.into()),
        utf8mb4: (source.server.flavor == Flavor::Mysql && source.server.version < (8, 0, 1))
            .then_some(UTF8MB4_BEFORE_8),
    };
    let builder = Builder { directory: &directory, catalog: &catalog, scope: &scope, dialects: &dialects };
    builder.schemas(first).await?;
    let mut tables = BTreeMap::new();
    let named = catalog.tables.keys().chain(files.iter().map(|file| &file.table));
    for name in named {
        if !tables.contains_key(name) && scope.takes(name)? {
            tables.insert(name.clone(), builder.table(first, name).await?);
            ctx.heartbeat.beat();
        }
    }
    counters.begin(&tables, &files, &recorded.files, &location);
    tracing::info!(task = %ctx.task, source = %ctx.source, dir = %directory.display(), files = files.len(),
        tables = tables.len(), left_out = catalog.left_out.len(), "load of a dump starts");
    let missing = files.into_iter().filter_map(|file| {
        let mark = recorded.files.get(&file.name).copied().unwrap_or_default();
        (!mark.done).then_some((file, mark))
    });
    let shared = Arc::new(Shared {
        directory: directory.clone(),
        marks: Arc::clone(&marks),
        timezone: subtask.timezone.clone(),
        packet: usize::try_from(server.max_allowed_packet).unwrap_or(usize::MAX),
        tables,
        queue: Mutex::new(missing.collect()),
        counters: Arc::clone(&counters),
        ctx: ctx.clone(),
    });
    let mut appliers = shared.load_all(appliers, stop).await?;
    failpoint::hit("files.before_finish").await?;
    let Some(first) = appliers.first_mut() else {
        return Err(CodedError::new(codes::INTERNAL, "the load has no worker").into());
    };
    let done = marks.advance_sql("", Mark::default(), Mark { done: true, ..Mark::default() });
    if syncs {
        let update = ProgressUpdate::watermark(&Watermark { number: 1, location: location.clone() });
        first.apply(&update, &mut NoRows).await?;
    } else {
        first.apply(&ProgressUpdate::unchanged(), &mut Write(vec![done])).await?;
    }
    tracing::info!(%location, "load of a dump complete");
    counters.complete.store(true, Ordering::Relaxed);
    Ok(location)
}

fn nowhere() -> Location {
    Location { position: BinlogPosition::new("", 0), gtid_set: None }
}

fn unreadable(path: &Path, why: &str) -> CodedError {
    CodedError::new(codes::DUMP_FILES, format!("a directory of dump files cannot be loaded: {why}"))
        .object(path.display())
}

fn catalog(directory: &Path) -> Result<Catalog, CodedError> {
    let catalog =
        Catalog::read(directory).map_err(|err| unreadable(directory, "it cannot be read").cause(err))?;
    match catalog.unreadable.first() {
        Some(name) => {
            Err(unreadable(directory, "it has data in another form than SQL, or compressed by LZ4")
                .cause(name))
        }
        None => Ok(catalog),
    }
}

/// The position in `metadata`. Where nothing is to follow, a dump without one will do, but not one without an end.
fn position(directory: &Path, flavor: Flavor, needed: bool) -> Result<Location, CodedError> {
    let text = small(&directory.join(METADATA)).map_err(|err| {
        unreadable(directory, "it has no `metadata`, so the dump is not complete").cause(err)
    })?;
    match Metadata::parse(&text, flavor) {
        Ok(metadata) => Ok(metadata.location),
        Err(_) if !needed && text.contains("Finished dump at") => Ok(nowhere()),
        Err(why) => Err(unreadable(directory, "its `metadata` cannot be used").cause(why)),
    }
}

/// A small file as text.
fn small(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let mut file = open(path).map_err(|err| err.to_string())?.take(SMALL_FILE_BYTES);
    file.read_to_string(&mut text).map_err(|err| err.to_string())?;
    Ok(text)
}

fn in_scope(catalog: &Catalog, scope: &Scope) -> Result<Vec<DataFile>, CodedError> {
    let mut files = Vec::new();
    for file in &catalog.data {
        if scope.takes(&file.table)? {
            files.push(file.clone());
        }
    }
    // Large files first, so that the last ones to be worked on are small.
    files.sort_by_key(|file| std::cmp::Reverse(file.size));
    Ok(files)
}

/// Makes what rows go to.
struct Builder<'a> {
    directory: &'a Path,
    catalog: &'a Catalog,
    scope: &'a Scope,
    dialects: &'a Dialects,
}

impl Builder<'_> {
    /// The first statement of a file that `is` what the file is for.
    fn statement(
        &self,
        file: &str,
        schema: &str,
        is: fn(&StatementKind) -> bool,
    ) -> Result<(String, Statement), CodedError> {
        let bad = |why: &str| {
            CodedError::new(codes::DUMP_FILES, format!("a file cannot be loaded: {why}")).object(file)
        };
        let text = small(&self.directory.join(file)).map_err(|err| bad("it cannot be read").cause(err))?;
        let mode = SqlMode::default();
        split_statements(&text, mode)
            .into_iter()
            .map(|sql| {
                let statement = Statement::classify(&sql, schema, mode);
                (sql, statement)
            })
            .find(|(_, statement)| is(&statement.kind))
            .ok_or_else(|| bad("it does not create what its name says"))
    }

    async fn schemas(&self, applier: &mut ApplierConnection) -> Result<(), ApplyError> {
        for (schema, file) in &self.catalog.schemas {
            let used = self.catalog.tables.keys().chain(self.catalog.data.iter().map(|file| &file.table));
            let mut wanted = false;
            for table in used.filter(|table| table.schema == *schema) {
                wanted |= self.scope.takes(table)?;
            }
            if !wanted {
                continue;
            }
            let (sql, statement) =
                self.statement(file, schema, |kind| matches!(kind, StatementKind::CreateDatabase))?;
            let routed = rewrite_routed(&sql, &statement, self.scope.router())?;
            let Dialects { from, to, version, .. } = *self.dialects;
            let translated = translate(&routed, SqlMode::default(), from, to, version)
                .map_err(|err| err.object(schema))?;
            let sql = match translated.sql.strip_prefix("CREATE DATABASE ") {
                Some(rest) if !statement.conditional => format!("CREATE DATABASE IF NOT EXISTS {rest}"),
                _ => translated.sql,
            };
            fenced_ddl(applier, &sql).await?;
        }
        Ok(())
    }

    async fn table(
        &self,
        applier: &mut ApplierConnection,
        name: &TableName,
    ) -> Result<LoadTable, ApplyError> {
        let target = self.scope.router().route(name)?;
        if let Some(extended) = self.scope.extended(name)?.first() {
            return Err(CodedError::new(
                codes::COPY_TARGET_MISMATCH,
                format!(
                    "a route adds the column {} to the rows of a table, which a load from files cannot do",
                    quote_ident(&extended.column)
                ),
            )
            .object(name)
            .into());
        }
        let definition =
            match self.catalog.tables.get(name) {
                Some(file) => Some(self.statement(file, &name.schema, |kind| {
                    matches!(kind, StatementKind::CreateTable { .. })
                })?),
                None => None,
            };
        let mut found = TableInfo::load(applier.connection().await?, &target).await?;
        let mut columns = None;
        if found.is_none()
            && let Some((create, _)) = &definition
        {
            if target.schema != name.schema || !self.catalog.schemas.contains_key(&name.schema) {
                // The database a route leads to may have no counterpart in the dump.
                let schema = quote_ident(&target.schema);
                fenced_ddl(applier, &format!("CREATE DATABASE IF NOT EXISTS {schema}")).await?;
            }
            for sql in create_statements(create, (name, &target), self.scope.router(), self.dialects)? {
                fenced_ddl(applier, &sql).await?;
            }
            found = TableInfo::load(applier.connection().await?, &target).await?;
        }
        let Some(info) = found else {
            return Err(CodedError::new(
                codes::COPY_TARGET_MISMATCH,
                "the target table does not exist, and the dump has no file that creates it",
            )
            .object(&target)
            .into());
        };
        if !TRANSACTIONAL.contains(&info.engine.to_ascii_lowercase().as_str()) {
            return Err(CodedError::new(
                codes::TABLE_NOT_TRANSACTIONAL,
                format!("the target table has the engine {}, which cannot roll back", info.engine),
            )
            .object(&info.name)
            .into());
        }
        if let Some((create, _)) = &definition {
            columns = columns_of(create, &info);
        }
        Ok(LoadTable::new(name.clone(), &info, columns))
    }
}

/// The columns of an INSERT that does not name them: those of the dump's definition, if the target has all of them in that
/// order and nothing in between.
fn columns_of(create: &str, target: &TableInfo) -> Option<String> {
    if target.columns.iter().any(|column| column.generated || column.invisible) {
        return None;
    }
    // Each column of a server's own CREATE TABLE begins a line with its quoted name.
    let names: Vec<&str> = create.lines().map(str::trim_start).filter(|line| line.starts_with('`')).collect();
    let quoted: Vec<String> = target.columns.iter().map(|column| quote_ident(&column.name)).collect();
    let same = names.len() == quoted.len()
        && names
            .iter()
            .zip(&quoted)
            .all(|(line, name)| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(' ')));
    same.then(|| quoted.join(","))
}

/// What the workers share.
struct Shared {
    directory: PathBuf,
    marks: Arc<Marks>,
    timezone: String,
    packet: usize,
    tables: BTreeMap<TableName, LoadTable>,
    queue: Mutex<VecDeque<(DataFile, Mark)>>,
    counters: Arc<Counters>,
    ctx: UnitContext,
}

impl Shared {
    async fn load_all(
        self: &Arc<Self>,
        appliers: Vec<ApplierConnection>,
        stop: &CancellationToken,
    ) -> Result<Vec<ApplierConnection>, ApplyError> {
        let mut set = JoinSet::new();
        for mut applier in appliers {
            let (shared, stop) = (Arc::clone(self), stop.clone());
            set.spawn(async move {
                while !stop.is_cancelled() {
                    let Some((file, mark)) = shared.queue.lock().pop_front() else { break };
                    shared.load(&mut applier, &file, mark).await?;
                }
                if stop.is_cancelled() { Err(ApplyError::Cancelled) } else { Ok(applier) }
            });
        }
        let mut appliers = Vec::new();
        // The first error is told; when this ends, the set ends the other workers with it.
        while let Some(ended) = set.join_next().await {
            match ended {
                Ok(applier) => appliers.push(applier?),
                // A panic goes on in the unit, where it is caught and counted as what it is.
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => return Err(ApplyError::Cancelled),
                },
            }
        }
        appliers.sort_by_key(ApplierConnection::index);
        Ok(appliers)
    }

    async fn load(
        &self,
        applier: &mut ApplierConnection,
        file: &DataFile,
        mark: Mark,
    ) -> Result<(), ApplyError> {
        let Some(table) = self.tables.get(&file.table) else {
            return Err(CodedError::new(codes::INTERNAL, "a file's table was not prepared").into());
        };
        let loader = Loader {
            directory: &self.directory,
            marks: &self.marks,
            timezone: &self.timezone,
            packet: self.packet,
            heartbeat: &self.ctx.heartbeat,
        };
        let rows = loader.load(applier, table, file, mark).await?;
        self.counters.rows.fetch_add(rows, Ordering::Relaxed);
        self.counters.bytes.fetch_add(file.size, Ordering::Relaxed);
        Ok(())
    }
}

/// Progress by the size of the files.
struct Counters {
    bytes_total: AtomicU64,
    bytes: AtomicU64,
    /// Loaded by earlier generations.
    bytes_before: AtomicU64,
    rows: AtomicU64,
    tables: AtomicU64,
    complete: AtomicBool,
    started: Instant,
    location: Mutex<Option<Location>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            bytes_total: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            bytes_before: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            tables: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            started: Instant::now(),
            location: Mutex::new(None),
        }
    }
}

impl Counters {
    fn begin(
        &self,
        tables: &BTreeMap<TableName, LoadTable>,
        files: &[DataFile],
        marks: &BTreeMap<String, Mark>,
        location: &Location,
    ) {
        let is_done = |file: &&DataFile| marks.get(&file.name).is_some_and(|mark| mark.done);
        let before: u64 = files.iter().filter(is_done).map(|file| file.size).sum();
        self.tables.store(tables.len() as u64, Ordering::Relaxed);
        self.bytes_total.store(files.iter().map(|file| file.size).sum(), Ordering::Relaxed);
        self.bytes.store(before, Ordering::Relaxed);
        self.bytes_before.store(before, Ordering::Relaxed);
        self.rows
            .store(marks.values().filter(|mark| mark.done).map(|mark| mark.rows).sum(), Ordering::Relaxed);
        *self.location.lock() = Some(location.clone());
    }
}

impl Report for Counters {
    fn report(&self) -> UnitReport {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (bytes, total, complete) =
            (get(&self.bytes), get(&self.bytes_total), self.complete.load(Ordering::Relaxed));
        let share = percent(bytes, total, complete);
        let elapsed = self.started.elapsed().as_secs_f64().max(0.001);
        let speed = bytes.saturating_sub(get(&self.bytes_before)) as f64 / elapsed;
        let eta = (speed > 0.0).then(|| (total.saturating_sub(bytes) as f64 / speed).ceil() as u64);
        let location = self.location.lock().clone();
        let tables = get(&self.tables);
        UnitReport {
            load: Some(LoadStatus {
                finished_bytes: bytes,
                total_bytes: total,
                progress: format!("{share:.2} %"),
                meta_binlog: location
                    .as_ref()
                    .map_or_else(|| "(, 0)".to_owned(), |at| at.position.to_string()),
                meta_binlog_gtid: location.as_ref().map(Location::gtid_text).unwrap_or_default(),
                bps: speed as u64,
            }),
            copy: Some(CopyProgress {
                tables_total: tables,
                tables_prepared: tables,
                tables_done: if complete { tables } else { 0 },
                rows_total: get(&self.rows),
                rows_done: get(&self.rows),
                bytes_done: bytes,
                share: (share * 100.0) as u64,
                eta_seconds: if complete { Some(0) } else { eta },
            }),
            ..UnitReport::default()
        }
    }
}
