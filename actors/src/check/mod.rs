//! Looking before leaping: can this source be a source, and can this task do its work?
//!
//! Compatibility and privileges are probed by doing, with statements that change nothing: a privilege is missing when
//! the server says so, and the finding names the GRANT that helps. Each check is a function that answers an
//! [`Item`]; what a check finds wrong is a coded error.

mod connect;
mod connections;
mod hazards;
mod inventory;
mod joining;
mod position;
mod privileges;
mod probe;
mod report;
mod shards;
mod source;
mod structure;
mod tables;
mod target;

use std::future::Future;
use std::time::Duration;

use dmnode_model::config::{SourceConfig, SubtaskConfig, TaskMode};
use dmnode_model::{CodedError, codes};
use dmnode_mysql::{Connection, ServerInfo};
use futures_util::future::{join_all, try_join_all};

pub use inventory::TableMapping;
pub use joining::{may_join, tables_in_scope};
pub use probe::probe_source;
pub use report::{CheckReport, Finding, Item, ItemState, Summary};

use inventory::Inventory;

/// Longest time for one check.
const ITEM_LIMIT: Duration = Duration::from_secs(60);

/// How a task is checked.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// `--start-time`.
    pub start_time: Option<String>,
    /// Progress in the target is going to be removed, so that it says nothing about where the task starts.
    pub remove_meta: bool,
    /// How many errors the text shows; negative for all.
    pub errors_max: i64,
    /// How many warnings the text shows; negative for all.
    pub warnings_max: i64,
}

impl Default for CheckOptions {
    fn default() -> Self {
        CheckOptions { start_time: None, remove_meta: false, errors_max: 10, warnings_max: 10 }
    }
}

/// A source of the task, connected.
struct Source<'t> {
    config: &'t SourceConfig,
    subtask: &'t SubtaskConfig,
    connection: Connection,
    info: ServerInfo,
    /// The account that the server took us for, `'user'@'host'`.
    account: String,
    inventory: Inventory,
}

impl Source<'_> {
    fn address(&self) -> String {
        format!("{}:{}", self.config.from.host, self.config.from.port)
    }

    fn ignores(&self, key: &str) -> bool {
        self.subtask.ignore_checking_items.iter().any(|item| item == key)
    }
}

/// The target, connected.
struct Target {
    connection: Connection,
    info: ServerInfo,
    account: String,
    address: String,
}

/// Checks a task: every source with its part of the task, and their common target. Never fails: what cannot be
/// checked is a finding.
pub async fn check_task(subtasks: &[(SourceConfig, SubtaskConfig)], options: &CheckOptions) -> CheckReport {
    let Some((_, first)) = subtasks.first() else { return CheckReport::nothing_checked() };
    if first.ignore_checking_items.iter().any(|item| item == "all") {
        return CheckReport::nothing_checked();
    }
    if first.mode == TaskMode::Dump {
        return check_dump(subtasks, options).await;
    }
    let (sources, target) = match tokio::try_join!(
        try_join_all(subtasks.iter().map(|(source, subtask)| open_source(source, subtask))),
        target::open(first),
    ) {
        Ok(opened) => opened,
        Err(err) => return CheckReport::not_started(err.annotate("fail to initialize checker")),
    };
    if let Some(err) = inventory::names_that_clash(&sources, target.info.lower_case_table_names != 0) {
        return CheckReport::not_started(err.annotate("fail to initialize checker"));
    }
    run_items(sources, target, options).await
}

/// A dump has nothing to do with the target.
async fn check_dump(subtasks: &[(SourceConfig, SubtaskConfig)], options: &CheckOptions) -> CheckReport {
    let opened = try_join_all(subtasks.iter().map(|(source, subtask)| open_source(source, subtask))).await;
    let mut sources = match opened {
        Ok(opened) => opened,
        Err(err) => return CheckReport::not_started(err.annotate("fail to initialize checker")),
    };
    let mut items = Vec::new();
    for source in &mut sources {
        items.extend(dump_items(source).await);
    }
    if !sources.first().is_some_and(|source| source.ignores("table_schema")) {
        items.extend(item(tables::scope(&sources)).await);
    }
    let notes = inventory::notes(&sources);
    for source in sources {
        source.connection.close().await;
    }
    CheckReport::of(items, Vec::new(), notes, options)
}

/// The target tables that the source's tables go to, as far as they are in scope.
pub(crate) async fn mapped_tables(
    config: &SourceConfig,
    subtask: &SubtaskConfig,
) -> Result<Vec<dmnode_model::TableName>, CodedError> {
    let source = open_source(config, subtask).await?;
    let tables = source.inventory.mappings(&config.source_id).into_iter().map(|table| table.to).collect();
    source.connection.close().await;
    Ok(tables)
}

async fn open_source<'t>(
    config: &'t SourceConfig,
    subtask: &'t SubtaskConfig,
) -> Result<Source<'t>, CodedError> {
    let scope = dmnode_model::Scope::Upstream;
    let annotate = |err: CodedError| err.annotate(format!("source {}", config.source_id));
    let mut connection = connect::open(&config.from, scope).await.map_err(annotate)?;
    let info = connect::limited(ServerInfo::probe(&mut connection))
        .await
        .map_err(|err| connect::failed(&err, scope))?;
    let account = connect::account(&mut connection).await.map_err(|err| connect::failed(&err, scope))?;
    let inventory = Inventory::read(&mut connection, subtask).await.map_err(annotate)?;
    Ok(Source { config, subtask, connection, info, account, inventory })
}

async fn run_items(mut sources: Vec<Source<'_>>, mut target: Target, options: &CheckOptions) -> CheckReport {
    let ignored = |key: &str| sources.first().is_some_and(|s| s.ignores(key));
    let (check_connections, check_target) = (!ignored("conn_number"), !ignored("target_privilege"));
    let check_tables = !ignored("table_schema");
    let (check_shards, check_counters) = (!ignored("schema_of_shard_tables"), !ignored("auto_increment_ID"));
    let (check_triggers, check_packets) = (!ignored("target_triggers"), !ignored("packet_size"));
    let mut items = Vec::new();
    if check_connections {
        items.extend(item(connections::loader(&sources, &mut target)).await);
    }
    items.extend(item(target::version(&target)).await);
    if check_target {
        items.extend(item(target::privileges(&sources, &mut target)).await);
    }
    let starts = position::recorded(&sources, &mut target, options).await;
    let fresh = starts.iter().all(position::Start::is_fresh);
    let by_source =
        sources.iter_mut().zip(starts).map(|(source, start)| source_items(source, start, options));
    for list in join_all(by_source).await {
        items.extend(list);
    }
    // Whatever is ignored, rows never go to a table that cannot roll back.
    items.extend(item(target::transactional_tables(&sources, &mut target)).await);
    if check_tables {
        items.extend(item(tables::scope(&sources)).await);
        items.extend(item(structure::structure(&mut sources, &mut target)).await);
    }
    if fresh {
        items.extend(shards::check(&mut sources, check_shards, check_counters).await);
    }
    if check_triggers {
        items.extend(item(hazards::triggers(&sources, &mut target)).await);
    }
    if check_packets {
        items.extend(item(hazards::packets(&mut sources, &target)).await);
    }
    items.extend(item(tables::expressions(&mut sources)).await);
    let mut notes = inventory::notes(&sources);
    notes.extend(inventory::grants(&sources, &target.account));
    notes.extend(target::notes(&target));
    let tables = sources.iter().flat_map(|s| s.inventory.mappings(&s.config.source_id)).collect();
    let unmatched = sources
        .iter()
        .flat_map(|s| {
            s.inventory.unmatched.iter().map(|text| format!("source {}: {text}", s.config.source_id))
        })
        .collect();
    for source in sources {
        source.connection.close().await;
    }
    target.connection.close().await;
    let mut report = CheckReport::of(items, tables, notes, options);
    report.unmatched = unmatched;
    report
}

async fn source_items(source: &mut Source<'_>, start: position::Start, options: &CheckOptions) -> Vec<Item> {
    let mode = source.subtask.mode;
    let wants = |source: &Source<'_>, key: &str| !source.ignores(key);
    let mut items = dump_items(source).await;
    if mode.has_sync() {
        if wants(source, "server_id") {
            items.extend(item(source::server_id(source)).await);
        }
        if wants(source, "binlog_enable") {
            items.extend(item(source::binlog_enable(source)).await);
        }
        if wants(source, "binlog_format") {
            items.extend(item(source::binlog_format(source)).await);
        }
        if wants(source, "binlog_row_image") {
            items.extend(item(source::binlog_row_image(source)).await);
        }
        items.extend(item(source::gtid_mode(source)).await);
        if source.info.log_bin {
            if wants(source, "replication_privilege") {
                items.extend(item(privileges::replication(source)).await);
            }
            if source.subtask.online_ddl && wants(source, "online_ddl") {
                items.extend(item(tables::online_ddl(source)).await);
            }
            if wants(source, "binlog_db") {
                items.extend(item(source::binlog_db(source)).await);
            }
            if wants(source, "meta_position") {
                items.extend(item(position::check(source, start, options)).await);
            }
        }
    }
    items
}

/// What reading the tables needs of the source, and its version.
async fn dump_items(source: &mut Source<'_>) -> Vec<Item> {
    let reads_tables = source.subtask.mode.reads_tables();
    let mut items = Vec::new();
    if reads_tables && !source.ignores("conn_number") {
        items.extend(item(connections::dumper(source)).await);
    }
    if !source.ignores("version") {
        items.extend(item(source::version(source)).await);
    }
    items.extend(item(source::flavor(source)).await);
    if reads_tables && !source.ignores("dump_privilege") {
        items.extend(item(privileges::dump(source)).await);
    }
    items
}

/// Runs one check within its time limit.
async fn item(check: impl Future<Output = Option<Item>>) -> Option<Item> {
    match tokio::time::timeout(ITEM_LIMIT, check).await {
        Ok(item) => item,
        Err(_) => Some(Item::new("time limit of a check", "check whether the servers answer in time").fail(
            CodedError::new(
                codes::DB_QUERY_FAILED,
                format!("query statement failed: a check did not end within {} s", ITEM_LIMIT.as_secs()),
            ),
        )),
    }
}
