//! Pause, resume, stop and start again, at transaction boundaries.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::chaos::{Workload, seed_data};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, Server, shared_source, shared_target};

const LIMIT: Duration = Duration::from_secs(90);

/// Everything that shows a commit in the target: the progress rows and the rows.
async fn state(target: &Server, task: &TaskFile, schema: &str) -> Result<(u64, u64, u64)> {
    target
        .query_one(&format!(
            "SELECT (SELECT CAST(SUM(seq) AS UNSIGNED) FROM `{}`.`{}_dmnode_progress`), \
             (SELECT CAST(SUM(n) AS UNSIGNED) FROM {schema}.counters), (SELECT COUNT(*) FROM {schema}.ledger)",
            task.meta_schema(),
            task.name
        ))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_pause_resume_stop_and_start_again() -> Result<()> {
    let name = "stages";
    let (source, target) = (shared_source(Flavor::Mysql).await?, shared_target(Flavor::Mariadb).await?);
    let cluster = Cluster::start(name, 1).await?;
    seed_data(source, name, 10_000, 6).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    let live = Workload::start(&[source], name, 71, 3, Duration::from_millis(3))?;
    let task = TaskFile::new(name, "all", target, name, name);
    cluster.start_task(&task).await?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;

    // Acknowledged means idle: from the answer on nothing is committed, and each transaction is there whole.
    for _ in 0..3 {
        let paused = cluster.ctl(&["pause-task", name]).await?.success()?.json()?;
        ensure!(paused["op"] == "Pause" && paused["result"] == true, "{paused}");
        let before = state(target, &task, name).await?;
        let status = cluster.subtask(name, name).await?;
        ensure!(status["stage"] == "Paused", "{status:#}");
        tokio::time::sleep(Duration::from_millis(1500)).await;
        ensure!(state(target, &task, name).await? == before, "a paused task committed something");
        let resumed = cluster.ctl(&["resume-task", name]).await?.success()?.json()?;
        ensure!(resumed["op"] == "Resume", "{resumed}");
        cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    }

    // What is there already is no error, wrong names are refused.
    cluster.ctl(&["resume-task", name]).await?.success()?;
    for command in [["resume-task", "nobody"], ["pause-task", "nobody"], ["stop-task", "nobody"]] {
        let output = cluster.ctl(&command).await?;
        ensure!(output.code == 1, "{command:?}: {output}");
    }
    let twice = cluster.try_start_task(&task).await?;
    ensure!(twice.code == 1 && twice.text().contains("46014"), "{twice}");

    // Stop, write on, start again: it goes on where it stopped, nothing is copied a second time.
    cluster.ctl(&["stop-task", name]).await?.success()?;
    let gone = cluster.ctl(&["query-status", name]).await?;
    ensure!(gone.code == 1, "{gone}");
    let before = state(target, &task, name).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(state(target, &task, name).await? == before, "a stopped task committed something");
    cluster.start_task(&task).await?;
    let status = cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    ensure!(status["result"].is_null() || status["result"]["errors"] == serde_json::json!([]), "{status:#}");
    live.stop().await?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    ensure!(cluster.diff(name).await?.code == 0);

    // A start from nothing: meta and target removed, all is copied anew.
    cluster.ctl(&["stop-task", name]).await?.success()?;
    target.execute(&[&format!("DROP DATABASE {name}")]).await?;
    let file = cluster.write("again.yaml", &task.yaml())?;
    cluster.ctl(&["start-task", "--remove-meta", &file]).await?.success()?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    cluster.finish().await
}

/// Pausing in mid-copy, and a clean stop of the node in between, cost nothing that was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_pause_in_copy_and_restart_the_node() -> Result<()> {
    let name = "stages_copy";
    let (source, target) = (shared_source(Flavor::Mariadb).await?, shared_target(Flavor::Mysql).await?);
    let mut cluster = Cluster::start(name, 1).await?;
    seed_data(source, name, 120_000, 6).await?;
    cluster.create_source(&SourceFile::new(name, source, false)).await?;
    let task = TaskFile::new(name, "all", target, name, name);
    cluster.start_task(&task).await?;
    tokio::time::sleep(Duration::from_millis(800)).await;
    cluster.ctl(&["pause-task", name]).await?.success()?;
    let status = cluster.terminate(0).await?;
    ensure!(status.success(), "SIGTERM is a clean stop: {status}");
    cluster.launch(0)?;
    cluster.wait_ready().await?;
    // The wish survives the restart: still paused.
    cluster.wait_stage(name, name, "Paused", None, LIMIT).await?;
    source.execute(&[&format!("UPDATE {name}.orders SET total = total + 1 WHERE tenant < 10")]).await?;
    cluster.ctl(&["resume-task", name]).await?.success()?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    cluster.finish().await
}
