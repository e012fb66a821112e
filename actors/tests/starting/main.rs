//! Where a task starts, against real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod dm_meta;
mod gaps;
mod history;
mod locked;
mod origin;
mod rewind;
#[path = "../support/stream_rig.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod stream_rig;
#[path = "../support/mod.rs"]
mod support;
mod times;

use std::sync::Arc;
use std::time::Duration;

use dmnode_actors::subtask;
use dmnode_actors::unit::UnitContext;
use dmnode_model::config::{SourceConfig, StartTime, SubtaskConfig, TaskConfig};
use dmnode_model::{Epoch, SourceId, StreamDecision, TaskName};
use stream_rig::{Running, SOURCE, TASK};
use support::{Kind, Server};

const PATIENCE: Duration = Duration::from_secs(60);

/// A pair of servers with an incremental task between them.
struct Rig {
    source: Server,
    target: Server,
    /// Where the task reaches its source.
    source_port: u16,
    gtid: bool,
    meta: String,
    start_time: Option<StartTime>,
    decisions: Vec<StreamDecision>,
    epoch: u64,
}

impl Rig {
    async fn new(from: Kind, source: &[&str], gtid: bool) -> Self {
        let (source, target) = tokio::join!(Server::start(from, source), Server::start(Kind::Mariadb, &[]));
        let source_port = source.port;
        Self {
            source,
            target,
            source_port,
            gtid,
            meta: String::new(),
            start_time: None,
            decisions: Vec::new(),
            epoch: 1,
        }
    }

    fn spec(&self) -> (Arc<SourceConfig>, Arc<SubtaskConfig>) {
        let yaml = format!(
            "source-id: {SOURCE}\nenable-gtid: {}\nfrom:\n  host: 127.0.0.1\n  port: {}\n  user: root\n  password: ''\n",
            self.gtid, self.source_port,
        );
        let source = SourceConfig::from_yaml(&yaml, None).unwrap().value;
        let yaml = format!(
            "name: {TASK}\ntask-mode: incremental\ntarget-database:\n  host: 127.0.0.1\n  port: {}\n  user: root\n  password: ''\n\
             mysql-instances:\n  - source-id: {SOURCE}\n{}    block-allow-list: b\n    syncer-thread: 1\n\
             block-allow-list:\n  b:\n    do-dbs: [app]\n",
            self.target.port, self.meta,
        );
        let task = TaskConfig::from_yaml(&yaml, None).unwrap_or_else(|err| panic!("{err}\n{yaml}")).value;
        let mut subtask = task.subtask(&SourceId::new(SOURCE)).unwrap();
        subtask.start_time.clone_from(&self.start_time);
        subtask.decisions.clone_from(&self.decisions);
        (Arc::new(source), Arc::new(subtask))
    }

    /// A new generation, as after a crash: with the next epoch.
    fn start(&mut self) -> Running {
        self.epoch += 1;
        let ctx = UnitContext::detached(TaskName::new(TASK), SourceId::new(SOURCE), Epoch(self.epoch));
        let (source, subtask) = self.spec();
        let handle = tokio::spawn(subtask::run(ctx.clone(), source, subtask));
        Running { ctx, handle }
    }

    /// Writes lines at the source.
    async fn log(&self, lines: &[&str]) {
        for line in lines {
            self.source.execute(&[&format!("INSERT INTO app.log VALUES ('{line}')")]).await;
        }
    }

    /// The lines in the target, as soon as this one is among them. There is one applier: lines come in their order.
    async fn lines(&self, last: &str, running: &mut Running) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            // The stream may have yet to create the table.
            let mut conn = self.target.connect().await;
            let rows = conn.query("SELECT line FROM app.log ORDER BY line").await.unwrap_or_default();
            let lines: Vec<String> = rows.iter().filter_map(|row| row.string(0)).collect();
            if lines.iter().any(|line| line == last) {
                return lines;
            }
            if running.handle.is_finished() {
                panic!("the unit ended: {:?}", (&mut running.handle).await);
            }
            assert!(tokio::time::Instant::now() < deadline, "`{last}` does not come: {lines:?}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The time of the source, in its time zone.
    async fn now(&self) -> String {
        let sql = "SELECT CAST(CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@GLOBAL.time_zone) AS CHAR)";
        self.source.query(sql).await[0][0].clone().unwrap()
    }
}

const LOG: [&str; 2] = ["CREATE DATABASE app", "CREATE TABLE app.log (line VARCHAR(20))"];
