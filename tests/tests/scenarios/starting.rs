//! Where tasks start, by `dmnode ctl`.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, shared_source, shared_target};
use dmnode_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

/// `start-task --start-time`: checked before anything is made, found in the binlog, not repeated by a resume.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_at_a_time() -> Result<()> {
    let name = "start_time";
    let (source, target) = (shared_source(Flavor::Mysql).await?, shared_target(Flavor::Mariadb).await?);
    let schema = [format!("CREATE DATABASE {name}"), format!("CREATE TABLE {name}.log (line INT)")];
    let schema: Vec<&str> = schema.iter().map(String::as_str).collect();
    source.execute(&schema).await?;
    target.execute(&schema).await?;
    source.execute(&[&format!("INSERT INTO {name}.log VALUES (1)")]).await?;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let time: String = source.query_one("SELECT CAST(UTC_TIMESTAMP() AS CHAR)").await?;
    let time = format!("{}Z", time.replace(' ', "T"));
    source.execute(&[&format!("INSERT INTO {name}.log VALUES (2)")]).await?;

    let cluster = Cluster::start(name, 1).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    let task = TaskFile::new(name, "incremental", target, name, name);
    let file = cluster.write("task.yaml", &task.yaml())?;
    let all = cluster.write("all.yaml", &task.yaml().replace("task-mode: incremental", "task-mode: all"))?;
    for command in ["check-task", "start-task"] {
        for (file, time, word) in [
            (&file, "2099-01-01 00:00:00", "20057"),
            (&all, time.as_str(), "60801"),
            (&file, "yesterday", "error while parse start-time"),
        ] {
            let refused = cluster.ctl(&[command, file, "--start-time", time]).await?;
            ensure!(refused.code == 1 && refused.text().contains(word), "{command} {time}: {refused}");
        }
    }
    ensure!(cluster.ctl(&["query-status", name]).await?.code == 1, "a task was left behind");
    cluster.ctl(&["start-task", &file, "--start-time", &time]).await?.success()?;
    let rows = async |expected: u64| {
        wait_until("the rows from the start time on", LIMIT, async || {
            let rows: Vec<u64> = target.query(&format!("SELECT line FROM {name}.log ORDER BY line")).await?;
            Ok(if rows == (2..=expected).collect::<Vec<u64>>() { Ok(()) } else { Err(format!("{rows:?}")) })
        })
        .await
    };
    rows(2).await?;
    cluster.ctl(&["pause-task", name]).await?.success()?;
    source.execute(&[&format!("INSERT INTO {name}.log VALUES (3)")]).await?;
    cluster.ctl(&["resume-task", name]).await?.success()?;
    rows(3).await?;
    cluster.finish().await
}
