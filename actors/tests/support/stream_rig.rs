//! A pair of servers with an incremental task between them.

use std::collections::BTreeMap;
use std::time::Duration;

use dmnode_actors::sync::{self, SyncSpec};
use dmnode_actors::unit::{UnitContext, UnitDone, UnitResult};
use dmnode_model::config::{SafeModeWindow, SourceConfig, TaskConfig};
use dmnode_model::status::SyncStatus;
use dmnode_model::{CodedError, Epoch, SourceId, StreamDecision, TaskName};
use tokio::task::JoinHandle;

use crate::support::{Kind, Server};

pub const SOURCE: &str = "s1";
pub const TASK: &str = "t";
const PATIENCE: Duration = Duration::from_secs(90);

/// A pair of servers with an incremental task between them.
pub struct StreamRig {
    pub source: Server,
    pub target: Server,
    pub gtid: bool,
    pub workers: usize,
    /// Where the task reaches the target.
    pub target_port: u16,
    /// Further lines of the task file; a route must be first and have the name `r`.
    pub task: String,
    /// Further lines of the task's only instance.
    pub instance: &'static str,
    /// Further settings of the replication, such as `batch: 5`, one a line without indentation.
    pub sync: Vec<&'static str>,
    /// `--safe-mode-duration`.
    pub safe_mode_window: Option<SafeModeWindow>,
    /// Whether the task names its start: the first byte of the first file.
    pub meta: bool,
    /// What an operator decided.
    pub decisions: Vec<StreamDecision>,
    pub epoch: u64,
}

pub struct Running {
    pub ctx: UnitContext,
    pub handle: JoinHandle<UnitResult>,
}

impl Running {
    /// What the unit shows of itself.
    pub fn status(&self) -> SyncStatus {
        self.ctx.status.snapshot().1.sync.unwrap_or_default()
    }

    /// The process is gone from one moment to the next.
    pub async fn crash(self) {
        self.handle.abort();
        let _ = self.handle.await;
    }

    pub async fn stop(self) {
        self.ctx.cancel.cancel();
        match tokio::time::timeout(PATIENCE, self.handle).await.expect("stops").unwrap() {
            Ok(UnitDone::Cancelled) => {}
            other => panic!("{other:?}"),
        }
    }

    pub async fn error(self) -> CodedError {
        tokio::time::timeout(PATIENCE, self.handle).await.expect("ends").unwrap().expect_err("an error")
    }
}

impl StreamRig {
    pub async fn new(from: Kind, to: Kind, gtid: bool) -> Self {
        Self::with(from, &[], to, &[], gtid).await
    }

    pub async fn with(from: Kind, source: &[&str], to: Kind, target: &[&str], gtid: bool) -> Self {
        let (source, target) = tokio::join!(Server::start(from, source), Server::start(to, target));
        let target_port = target.port;
        Self {
            source,
            target,
            gtid,
            workers: 4,
            target_port,
            task: String::new(),
            instance: "",
            sync: Vec::new(),
            safe_mode_window: None,
            meta: true,
            decisions: Vec::new(),
            epoch: 1,
        }
    }

    pub fn spec(&self) -> SyncSpec {
        let yaml = format!(
            "source-id: {SOURCE}\nenable-gtid: {}\nfrom:\n  host: 127.0.0.1\n  port: {}\n  user: root\n  password: ''\n",
            self.gtid, self.source.port,
        );
        let source = SourceConfig::from_yaml(&yaml, None).unwrap().value;
        // From the first byte of the first file: the target starts empty.
        let meta =
            if self.meta { "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n" } else { "" };
        let yaml = format!(
            "name: {TASK}\ntask-mode: incremental\ntarget-database:\n  host: 127.0.0.1\n  port: {}\n  user: root\n  password: ''\n\
             mysql-instances:\n  - source-id: {SOURCE}\n{meta}    syncer-config-name: g\n    block-allow-list: b\n{}{}\
             block-allow-list:\n  b:\n    do-dbs: ['~^app', 'shop']\n\
             syncers:\n  g:\n    worker-count: {}\n{}{}\n",
            self.target_port,
            if self.task.starts_with("routes:") { "    route-rules: [r]\n" } else { "" },
            self.instance,
            self.workers,
            self.sync.iter().map(|line| format!("    {line}\n")).collect::<String>(),
            self.task
        );
        let task = TaskConfig::from_yaml(&yaml, None).unwrap_or_else(|err| panic!("{err}\n{yaml}")).value;
        let mut subtask = task.subtask(&SourceId::new(SOURCE)).unwrap();
        subtask.safe_mode_window = self.safe_mode_window.clone();
        subtask.decisions.clone_from(&self.decisions);
        SyncSpec { source, subtask, until: None }
    }

    /// A new generation, as after a crash: with the next epoch.
    pub fn start(&mut self) -> Running {
        self.epoch += 1;
        self.start_as(self.epoch)
    }

    pub fn start_as(&self, epoch: u64) -> Running {
        let ctx = UnitContext::detached(TaskName::new(TASK), SourceId::new(SOURCE), Epoch(epoch));
        let handle = tokio::spawn(sync::run(ctx.clone(), self.spec()));
        Running { ctx, handle }
    }

    /// Waits until the target has a row that was written last, and the unit still runs.
    pub async fn caught_up(&self, running: &mut Running) {
        let mut conn = self.source.connect().await;
        conn.execute("CREATE DATABASE IF NOT EXISTS app").await.unwrap();
        conn.execute("CREATE TABLE IF NOT EXISTS app.mark (id INT PRIMARY KEY AUTO_INCREMENT)")
            .await
            .unwrap();
        let id = conn.execute("INSERT INTO app.mark VALUES ()").await.unwrap().last_insert_id;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut target = self.target.connect().await;
        loop {
            if let Ok(rows) = target.query(format!("SELECT 1 FROM app.mark WHERE id = {id}")).await
                && rows.len() == 1
            {
                return;
            }
            if running.handle.is_finished() {
                panic!("the unit ended: {:?}", (&mut running.handle).await);
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "not caught up: {:?}",
                running.ctx.status.snapshot().1
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Both servers have the same tables with the same rows.
    pub async fn assert_equal(&self) {
        let (source, target) = (content(&self.source).await, content(&self.target).await);
        assert_eq!(source.keys().collect::<Vec<_>>(), target.keys().collect::<Vec<_>>(), "the same tables");
        for (table, rows) in &source {
            assert!(
                target[table] == *rows,
                "{table}: {} rows at the source, {} in the target",
                rows.len(),
                target[table].len()
            );
        }
    }
}

/// All tables of the databases of the tests, rows in a fixed order, values as bytes.
pub async fn content(server: &Server) -> BTreeMap<String, Vec<Vec<Option<Vec<u8>>>>> {
    let mut conn = server.connect_raw().await;
    let tables = conn
        .query("SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema LIKE 'app%' OR table_schema = 'shop'")
        .await
        .unwrap();
    let mut all = BTreeMap::new();
    for table in tables {
        let name = format!("`{}`.`{}`", table.str(0).unwrap(), table.str(1).unwrap());
        let rows = conn.query(format!("SELECT * FROM {name}")).await.unwrap();
        let mut rows: Vec<Vec<Option<Vec<u8>>>> = rows
            .iter()
            .map(|row| (0..row.len()).map(|index| row.bytes(index).map(<[u8]>::to_vec)).collect())
            .collect();
        rows.sort();
        all.insert(name, rows);
    }
    all
}
