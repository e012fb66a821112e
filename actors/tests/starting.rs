//! Where a task starts, against real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use dmnode_actors::sync::{self, SyncSpec};
use dmnode_actors::unit::{UnitContext, UnitDone, UnitResult};
use dmnode_model::config::{SourceConfig, StartTime, TaskConfig};
use dmnode_model::{CodedError, Epoch, SourceId, TaskName, codes};
use support::{Kind, Server};
use tokio::task::JoinHandle;

const SOURCE: &str = "s1";
const TASK: &str = "t";
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
    epoch: u64,
}

struct Running {
    ctx: UnitContext,
    handle: JoinHandle<UnitResult>,
}

impl Running {
    async fn stop(self) {
        self.ctx.cancel.cancel();
        match tokio::time::timeout(PATIENCE, self.handle).await.expect("stops").unwrap() {
            Ok(UnitDone::Cancelled) => {}
            other => panic!("{other:?}"),
        }
    }

    async fn error(self) -> CodedError {
        tokio::time::timeout(PATIENCE, self.handle).await.expect("ends").unwrap().expect_err("an error")
    }
}

impl Rig {
    async fn new(from: Kind, source: &[&str], gtid: bool) -> Self {
        let (source, target) = tokio::join!(Server::start(from, source), Server::start(Kind::Mariadb, &[]));
        let source_port = source.port;
        Self { source, target, source_port, gtid, meta: String::new(), start_time: None, epoch: 1 }
    }

    fn spec(&self) -> SyncSpec {
        let yaml = format!(
            "source-id: {SOURCE}\nenable-gtid: {}\nfrom:\n  host: 127.0.0.1\n  port: {}\n  user: root\n  password: ''\n",
            self.gtid, self.source_port,
        );
        let source = SourceConfig::from_yaml(&yaml, None).unwrap().value;
        let yaml = format!(
            "name: {TASK}\ntask-mode: incremental\ntarget-database:\n  host: 127.0.0.1\n  port: {}\n  user: root\n  password: ''\n\
             mysql-instances:\n  - source-id: {SOURCE}\n{}    block-allow-list: b\n\
             block-allow-list:\n  b:\n    do-dbs: [app]\n",
            self.target.port, self.meta,
        );
        let task = TaskConfig::from_yaml(&yaml, None).unwrap_or_else(|err| panic!("{err}\n{yaml}")).value;
        let mut subtask = task.subtask(&SourceId::new(SOURCE)).unwrap();
        subtask.start_time.clone_from(&self.start_time);
        SyncSpec { source, subtask, until: None }
    }

    /// A new generation, as after a crash: with the next epoch.
    fn start(&mut self) -> Running {
        self.epoch += 1;
        let ctx = UnitContext::detached(TaskName::new(TASK), SourceId::new(SOURCE), Epoch(self.epoch));
        let handle = tokio::spawn(sync::run(ctx.clone(), self.spec()));
        Running { ctx, handle }
    }

    /// Writes lines at the source.
    async fn log(&self, lines: &[&str]) {
        for line in lines {
            self.source.execute(&[&format!("INSERT INTO app.log VALUES ('{line}')")]).await;
        }
    }

    /// The lines in the target, as soon as this one is among them.
    async fn lines(&self, last: &str, running: &mut Running) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let rows = self.target.query("SELECT line FROM app.log ORDER BY line").await;
            let lines: Vec<String> = rows.into_iter().filter_map(|mut row| row.remove(0)).collect();
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

/// A start time leads to the first transaction at or after it, once; before the first binlog to the first one, after the
/// last event nowhere.
async fn start_time(from: Kind, gtid: bool) {
    let mut rig = Rig::new(from, &["--default-time-zone=+05:00"], gtid).await;
    rig.source.execute(&LOG).await;
    rig.target.execute(&LOG).await;
    rig.log(&["1"]).await;
    rig.source.execute(&["FLUSH BINARY LOGS"]).await;
    rig.log(&["2", "3"]).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let time = rig.now().await;
    rig.log(&["4"]).await;
    rig.source.execute(&["FLUSH BINARY LOGS"]).await;
    rig.log(&["5"]).await;
    rig.source.execute(&["FLUSH BINARY LOGS"]).await;

    rig.start_time = Some(StartTime { text: "2099-01-01 00:00:00".into(), request: 7 });
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::CONFIG_START_TIME_TOO_LATE, "{error}");
    assert!(error.to_string().contains("start-time 2099-01-01 00:00:00 is too late"), "{error}");
    let known = "SELECT COUNT(*) FROM dm_meta.t_dmnode_progress WHERE watermark_file IS NOT NULL";
    assert_eq!(rig.target.number(known).await, 0, "nothing is decided");

    rig.start_time = Some(StartTime { text: time.clone(), request: 8 });
    let mut running = rig.start();
    assert_eq!(rig.lines("5", &mut running).await, ["4", "5"]);
    running.stop().await;
    // A resumed task does not begin at its start time again.
    rig.log(&["6"]).await;
    let mut running = rig.start();
    assert_eq!(rig.lines("6", &mut running).await, ["4", "5", "6"]);
    running.stop().await;
    // A new start does, whatever the task had reached. The same instant, told from UTC.
    let text = format!("{}+05:00", time.replace(' ', "T"));
    rig.start_time = Some(StartTime { text, request: 9 });
    rig.log(&["7"]).await;
    let mut running = rig.start();
    assert_eq!(rig.lines("7", &mut running).await, ["4", "4", "5", "5", "6", "6", "7"]);
    running.stop().await;
    rig.target.execute(&["TRUNCATE TABLE app.log"]).await;
    // Before everything. The DDL of the beginning is undone, so that it can come again.
    rig.target.execute(&["DROP DATABASE app"]).await;
    rig.start_time = Some(StartTime { text: "2001-01-01 00:00:00".into(), request: 10 });
    let mut running = rig.start();
    while rig.target.number("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'log' AND table_schema = 'app'").await == 0 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(!running.handle.is_finished(), "{:?}", running.handle.await);
    }
    assert_eq!(rig.lines("7", &mut running).await, ["1", "2", "3", "4", "5", "6", "7"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_time_leads_into_mysql_by_gtid() {
    start_time(Kind::Mysql, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_time_leads_into_mysql_by_position() {
    start_time(Kind::Mysql, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_time_leads_into_mariadb_by_gtid() {
    start_time(Kind::Mariadb, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_time_leads_into_mariadb_by_position() {
    start_time(Kind::Mariadb, false).await;
}
