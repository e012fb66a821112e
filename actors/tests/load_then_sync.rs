//! Copy and stream together: killed in mid-copy under live writes, nothing lost, nothing twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dmnode_actors::subtask;
use dmnode_actors::supervision::{
    DesiredStage, DesiredSubtask, NodeSupervisor, OwnedSource, SupervisorOptions,
};
use dmnode_model::config::{SubtaskConfig, TaskMode};
use dmnode_model::{Epoch, Stage};
use support::rig::Rig;
use support::{Kind, Server};

const TABLES: [(&str, &str, &str, &str); 3] = [
    ("shop", "counters", "shop", "counters"),
    ("shop", "log", "shop", "log"),
    ("shop", "names", "shop", "names"),
];

async fn fill(server: &Server) {
    server
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.counters (id INT PRIMARY KEY AUTO_INCREMENT, n INT NOT NULL, s VARCHAR(60))",
            "CREATE TABLE shop.log (a INT, s VARCHAR(60))",
            "CREATE TABLE shop.names (k VARCHAR(20) PRIMARY KEY, v INT)",
            "INSERT INTO shop.counters (n, s) VALUES (0, 'x')",
        ])
        .await;
    for _ in 0..16 {
        server
            .execute(&[
                "INSERT INTO shop.counters (n, s) SELECT 0, CONCAT('row ', RAND()) FROM shop.counters",
            ])
            .await;
    }
    server
        .execute(&[
            "INSERT INTO shop.log SELECT id, s FROM shop.counters LIMIT 20000",
            "INSERT INTO shop.names SELECT CONCAT('k', id), id FROM shop.counters LIMIT 20000",
            "ANALYZE TABLE shop.counters",
        ])
        .await;
}

/// Writes until told to stop; returns the number of transactions.
async fn write(server: &Server, stop: &AtomicBool, seed: u64) -> u64 {
    let mut conn = server.connect().await;
    let mut state = seed;
    let mut count = 0;
    let mut next = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    while !stop.load(Ordering::Relaxed) {
        let (a, b, c) = (next(65_000) + 1, next(65_000) + 1, next(20_000) + 1);
        let sql = format!(
            "BEGIN; UPDATE shop.counters SET n = n + 1 WHERE id = {a}; INSERT INTO shop.log VALUES ({a}, 'live'); \
             DELETE FROM shop.counters WHERE id = {b} AND n > 2; UPDATE shop.names SET v = v + 1 WHERE k = 'k{c}'; \
             UPDATE IGNORE shop.counters SET id = {b} + 1000000 WHERE id = {b}; COMMIT"
        );
        if conn.execute_many(sql.into_bytes()).await.is_err() {
            let _ = conn.execute("ROLLBACK").await;
        }
        count += 1;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    count
}

async fn checksums(server: &Server) -> Vec<Vec<Option<String>>> {
    server
        .query(
            "SELECT (SELECT CONCAT(COUNT(*), ' ', SUM(n), ' ', SUM(id)) FROM shop.counters), \
             (SELECT CONCAT(COUNT(*), ' ', SUM(a)) FROM shop.log), (SELECT CONCAT(COUNT(*), ' ', SUM(v)) FROM shop.names)",
        )
        .await
}

async fn catches_up(rig: &Rig) {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let (from, to) = (checksums(&rig.source).await, checksums(&rig.target).await);
        if from == to {
            break;
        }
        assert!(Instant::now() < limit, "the target does not catch up: {from:?} / {to:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    rig.assert_equal(&TABLES).await;
}

async fn exactly_once(from: Kind, to: Kind) {
    let rig = Arc::new(Rig::new(from, to).await);
    fill(&rig.source).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for seed in 1..4 {
        let (rig, stop) = (Arc::clone(&rig), Arc::clone(&stop));
        writers.push(tokio::spawn(async move { write(&rig.source, &stop, seed).await }));
    }
    let spec = rig.spec();
    let mut epoch = 0;
    for kill in 0..6 {
        epoch += 1;
        let done = rig.done_chunks().await;
        let unit = tokio::spawn(subtask::run(
            rig.context(epoch),
            Arc::clone(&spec.source),
            Arc::clone(&spec.subtask),
        ));
        let limit = Instant::now() + Duration::from_secs(60);
        while kill < 4 && rig.done_chunks().await < done + 2 && !unit.is_finished() {
            assert!(Instant::now() < limit, "no chunk in a minute");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if kill >= 4 {
            tokio::time::sleep(Duration::from_millis(1500)).await;
        }
        assert!(!unit.is_finished(), "{:?}", unit.await);
        unit.abort();
        let _ = unit.await;
    }
    let unit = subtask::run(rig.context(epoch + 1), Arc::clone(&spec.source), Arc::clone(&spec.subtask));
    let unit = tokio::spawn(unit);
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 100, "the writers were at work");
    }
    catches_up(&rig).await;
    assert!(!unit.is_finished(), "{:?}", unit.await);
    unit.abort();
    assert!(!rig.filter().await.unwrap().is_uniform(), "the chunks came from several snapshots");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_once_mysql() {
    exactly_once(Kind::Mysql, Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_once_mariadb() {
    exactly_once(Kind::Mariadb, Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_once_mysql_to_mariadb() {
    exactly_once(Kind::Mysql, Kind::Mariadb).await;
}

/// The same through the supervision: full mode finishes, all mode pauses and resumes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn supervised() {
    let rig = Arc::new(Rig::new(Kind::Mariadb, Kind::Mysql).await);
    fill(&rig.source).await;
    let spec = rig.spec();
    let node =
        NodeSupervisor::start(SupervisorOptions { node_name: "n1".into(), ..SupervisorOptions::default() });
    let wanted = |mode: TaskMode, stage, run_token| OwnedSource {
        source: (*spec.source).clone(),
        epoch: Epoch(1),
        subtasks: vec![DesiredSubtask {
            config: SubtaskConfig { mode, ..(*spec.subtask).clone() },
            stage,
            run_token,
        }],
    };
    let until = async |stage: Stage| {
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            let status = node.status();
            if status
                .first()
                .and_then(|source| source.sub_task_status.first())
                .is_some_and(|task| task.stage == stage)
            {
                return status[0].sub_task_status[0].clone();
            }
            assert!(Instant::now() < limit, "{status:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    node.apply(vec![wanted(TaskMode::Full, DesiredStage::Running, 1)]);
    let status = until(Stage::Finished).await;
    assert_eq!(status.load.unwrap().progress, "100.00 %");
    let copy = status.dmnode.unwrap().copy.unwrap();
    assert_eq!((copy.tables_total, copy.tables_done, copy.rows_done), (3, 3, 65_536 + 40_000));
    rig.assert_equal(&TABLES).await;
    node.apply(vec![wanted(TaskMode::All, DesiredStage::Running, 2)]);
    rig.source.execute(&["UPDATE shop.counters SET n = n + 1 WHERE id < 1000"]).await;
    catches_up(&rig).await;
    node.apply(vec![wanted(TaskMode::All, DesiredStage::Paused, 2)]);
    assert!(until(Stage::Paused).await.result.unwrap().is_canceled);
    rig.source.execute(&["UPDATE shop.counters SET n = n + 1 WHERE id < 1000"]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_ne!(checksums(&rig.source).await, checksums(&rig.target).await, "paused means idle");
    node.apply(vec![wanted(TaskMode::All, DesiredStage::Running, 3)]);
    catches_up(&rig).await;
    assert!(until(Stage::Running).await.sync.is_some());
    node.shutdown().await;
    assert!(node.status().is_empty());
}
