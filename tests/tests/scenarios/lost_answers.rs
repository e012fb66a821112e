//! The answer of a COMMIT is lost: the target has committed, dmnode sees a broken connection. It must find out, and apply
//! the transaction once.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::chaos::{Proxy, Workload, seed_data};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, shared_source, shared_target};
use dmnode_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(120);
/// Answers lost while replicating.
const LOST_IN_REPLICATION: u64 = 12;

async fn run(name: &str, source: Flavor, target: Flavor) -> Result<()> {
    let (source, target) = (shared_source(source).await?, shared_target(target).await?);
    let mut cluster = Cluster::start(name, 1).await?;
    let proxy = Proxy::start(target, &cluster.dir).await?;
    seed_data(source, name, 20_000, 8).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    let live = Workload::start(&[source], name, 51, 3, Duration::from_millis(5))?;

    // While copying: the first commits that wrote rows of the keyless and of a keyed table.
    proxy.command("drop-commit 2 ledger").await?;
    let mut task = TaskFile::new(name, "all", target, name, name);
    task.target_port = proxy.port;
    cluster.start_task(&task).await?;
    wait_dropped(&proxy, 2).await?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;

    // While replicating: one after the other, on the append-only table and on the counters.
    for lost in 0..LOST_IN_REPLICATION {
        proxy.command(if lost % 2 == 0 { "drop-commit 1 ledger" } else { "drop-commit 1 counters" }).await?;
        wait_dropped(&proxy, 3 + lost).await?;
    }
    // And connections that just break, held ones included.
    for command in ["cut", "hold", "cut", "pass"] {
        proxy.command(command).await?;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }

    live.stop().await?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    let diff = cluster.diff(name).await?;
    ensure!(diff.code == 0, "{diff}");
    // A node that is killed right after leaves nothing to find out a second time.
    cluster.kill(0)?;
    cluster.launch(0)?;
    cluster.wait_ready().await?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    cluster.finish().await
}

async fn wait_dropped(proxy: &Proxy, count: u64) -> Result<()> {
    wait_until("the proxy has lost an answer", LIMIT, async || {
        let status = proxy.command("status").await?;
        Ok(if status["commits_dropped"].as_u64() >= Some(count) { Ok(()) } else { Err(status.to_string()) })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_apply_once_on_mysql() -> Result<()> {
    run("lost_answers_my", Flavor::Mariadb, Flavor::Mysql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_apply_once_on_mariadb() -> Result<()> {
    run("lost_answers_ma", Flavor::Mysql, Flavor::Mariadb).await
}
