//! Every pair of servers, by GTID and by position, in every task mode, under live writes.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::chaos::{Workload, seed_data};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, StartAt, TaskFile};
use dmnode_tests::server::{Flavor, Server, shared_source, shared_target};
use dmnode_tests::types;

const LIMIT: Duration = Duration::from_secs(120);

macro_rules! pairs {
    ($($name:ident: $source:ident to $target:ident, gtid $gtid:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() -> Result<()> {
            run_pair(stringify!($name), Flavor::$source, Flavor::$target, $gtid).await
        }
    )*};
}

pairs! {
    pairs_mysql_to_mysql_gtid: Mysql to Mysql, gtid true;
    pairs_mysql_to_mysql_position: Mysql to Mysql, gtid false;
    pairs_mariadb_to_mariadb_gtid: Mariadb to Mariadb, gtid true;
    pairs_mariadb_to_mariadb_position: Mariadb to Mariadb, gtid false;
    pairs_mysql_to_mariadb_gtid: Mysql to Mariadb, gtid true;
    pairs_mysql_to_mariadb_position: Mysql to Mariadb, gtid false;
    pairs_mariadb_to_mysql_gtid: Mariadb to Mysql, gtid true;
    pairs_mariadb_to_mysql_position: Mariadb to Mysql, gtid false;
}

async fn run_pair(name: &str, source: Flavor, target: Flavor, gtid: bool) -> Result<()> {
    let (source, target) = (shared_source(source).await?, shared_target(target).await?);
    let tag = name.trim_start_matches("pairs_");
    let cluster = Cluster::start(name, 1).await?;
    cluster.create_source(&SourceFile::new(tag, source, gtid)).await?;

    // What is there before: rows of every type and a few thousand mixed ones. The incremental task starts here.
    let schema = |mode: &str| format!("{tag}_{mode}");
    for mode in ["full", "all"] {
        seed_data(source, &schema(mode), 12_000, 5).await?;
        make_types(source, &schema(mode)).await?;
    }
    let start = StartAt::now(source).await?;

    // Live writes into the schemas of the tasks that follow them, then the three tasks.
    let live_all = Workload::start(&[source], &schema("all"), 11, 2, Duration::from_millis(5))?;
    let live_incremental =
        Workload::start(&[source], &schema("incremental"), 12, 2, Duration::from_millis(5))?;
    for mode in ["full", "all", "incremental"] {
        let mut task = TaskFile::new(&format!("t_{tag}_{mode}"), mode, target, tag, &schema(mode));
        if mode == "incremental" {
            task.sources = vec![(tag.to_owned(), Some(start.clone()))];
        }
        cluster.start_task(&task).await?;
    }
    make_types(source, &schema("incremental")).await?;
    let task = |mode: &str| format!("t_{tag}_{mode}");
    cluster.wait_stage(&task("full"), tag, "Finished", None, LIMIT).await?;
    cluster.wait_stage(&task("all"), tag, "Running", Some("Sync"), LIMIT).await?;
    for mode in ["all", "incremental"] {
        types::insert_rows(source, &schema(mode), 100).await?;
        types::change_rows(source, &schema(mode), 1).await?;
        types::change_rows(source, &schema(mode), 100).await?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    live_all.stop().await?;
    live_incremental.stop().await?;

    // Everything arrives, by our own comparison and by the product's.
    for mode in ["full", "all", "incremental"] {
        compare::wait_equal(source, &schema(mode), target, &schema(mode), LIMIT).await?;
        let diff = cluster.diff(&task(mode)).await?;
        ensure!(diff.code == 0, "{mode}: {diff}");
    }
    for mode in ["all", "incremental"] {
        let status = cluster.subtask(&task(mode), tag).await?;
        ensure!(status["stage"] == "Running" && status["unit"] == "Sync", "{status:#}");
        ensure!(status["dmnode"]["restarts"]["errors"] == 0, "a healthy task was restarted: {status:#}");
    }
    cluster.finish().await
}

async fn make_types(source: &Server, schema: &str) -> Result<()> {
    let statements = types::create_statements(schema);
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    source.execute(&statements).await?;
    types::insert_rows(source, schema, 1).await
}
