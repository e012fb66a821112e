//! F15: very many tables in one task. The work of a start is proportional to them, no deadline is over all of it,
//! progress is shown, memory stays bounded.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, Server};
use dmnode_tests::wait::wait_until;
use mysql_async::prelude::Queryable;

/// `DMNODE_MANY_TABLES=10000` is the size of the promise; the ordinary run is smaller. `DMNODE_MANY_TABLES_OF=mysql` takes MySQL
/// instead of MariaDB.
const TABLES: u64 = 300;
const RSS_BYTES_MAX: u64 = 200 * 1000 * 1000;
/// Far more than it takes; a start that is not proportional to the tables takes longer.
const LIMIT_PER_TABLE: Duration = Duration::from_millis(200);

fn table_count() -> u64 {
    std::env::var("DMNODE_MANY_TABLES").ok().and_then(|text| text.parse().ok()).unwrap_or(TABLES)
}

fn flavor() -> Flavor {
    if std::env::var("DMNODE_MANY_TABLES_OF").is_ok_and(|of| of == "mysql") {
        Flavor::Mysql
    } else {
        Flavor::Mariadb
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_very_many_tables() -> Result<()> {
    let count = table_count();
    let limit = LIMIT_PER_TABLE * u32::try_from(count)?;
    let quick = ["--local-infile=1", "--table-open-cache=4000", "--table-definition-cache=4000"];
    let flavor = flavor();
    let source = Server::start(flavor, &quick).await?;
    let target = Server::start(flavor, &[&quick[..], &["--skip-log-bin"]].concat()).await?;
    let started = Instant::now();
    fill(&source, count).await?;
    println!("{count} tables made in {:?}", started.elapsed());

    let mut cluster = Cluster::start("many_tables", 1).await?;
    cluster.create_source(&SourceFile::new("many", &source, true)).await?;
    let task = TaskFile::new("many", "all", &target, "many", "many");
    let started = Instant::now();
    let checked = cluster.check_task(&task).await?;
    ensure!(checked.code == 0, "{checked}");
    println!("check-task took {:?}", started.elapsed());
    // Few tables are copied between two looks: before, in and after the copy there is time for one.
    for failpoint in ["load.after_take_over", "load.before_chunk", "load.before_finish"] {
        cluster.set_failpoint(failpoint, "pause 1500")?;
    }
    let started = Instant::now();
    cluster.start_task(&task).await?;
    println!("start-task took {:?}", started.elapsed());
    let started = Instant::now();
    let mut progress = std::collections::BTreeSet::new();
    let mut last_share = 0;
    let mut slowest = Duration::ZERO;
    wait_until("all tables are copied", limit, async || {
        let asked = Instant::now();
        let status = cluster.subtask("many", "many").await?;
        slowest = slowest.max(asked.elapsed());
        ensure!(status["stage"] != "Paused", "{status}");
        if status["unit"] == "Sync" {
            return Ok(Ok(()));
        }
        let size = status.to_string().len();
        ensure!(size < 8000, "what query-status shows grows with the tables: {size} bytes");
        let copy = &status["dmnode"]["copy"];
        let share = copy["share"].as_u64().unwrap_or(last_share);
        ensure!(share >= last_share, "the share fell from {last_share} to {share}");
        last_share = share;
        progress.insert(format!(
            "{} {} {}",
            status["load"]["progress"], copy["tablesPrepared"], copy["tablesDone"]
        ));
        Ok(Err(status.to_string()))
    })
    .await?;
    println!(
        "copied in {:?}; query-status took {slowest:?} at most, {} steps of progress seen",
        started.elapsed(),
        progress.len()
    );
    println!("peak memory {} MB", cluster.running(0)?.memory_bytes("VmHWM")? / 1_000_000);
    ensure!(progress.len() > 2, "no progress was shown: {progress:?}");
    ensure!(slowest < Duration::from_secs(10), "query-status took {slowest:?}");
    ensure!(target.tables("many").await?.len() as u64 == count, "tables are missing");

    // A change in every table: what is known of a table must not be kept for all of them at any price.
    let mut root = source.root().await?;
    for number in 0..count {
        root.query_drop(format!("UPDATE many.t{number} SET v = v + 1")).await?;
    }
    root.query_drop("CREATE TABLE many.last_one (id INT PRIMARY KEY)").await?;
    root.query_drop("INSERT INTO many.last_one VALUES (1)").await?;
    root.disconnect().await?;
    let started = Instant::now();
    wait_until("a change in every table has arrived", limit, async || {
        let status = cluster.subtask("many", "many").await?;
        ensure!(status["stage"] != "Paused", "{status}");
        let arrived = target.query_one::<u64>("SELECT COUNT(*) FROM many.last_one").await;
        Ok(if matches!(arrived, Ok(1)) { Ok(()) } else { Err(status.to_string()) })
    })
    .await?;
    println!("a change in every table arrived in {:?}", started.elapsed());
    println!("peak memory {} MB", cluster.running(0)?.memory_bytes("VmHWM")? / 1_000_000);
    for number in [0, count / 2, count - 1] {
        let values: Vec<i64> = target.query(&format!("SELECT v FROM many.t{number} ORDER BY id")).await?;
        ensure!(values == [11, 21], "t{number}: {values:?}");
    }

    // A restart looks at no table that has nothing to do.
    let started = Instant::now();
    cluster.ctl(&["pause-task", "many"]).await?.success()?;
    cluster.ctl(&["resume-task", "many"]).await?.success()?;
    source.execute(&["INSERT INTO many.last_one VALUES (2)"]).await?;
    wait_until("replication goes on", limit, async || {
        let rows = target.query_one::<u64>("SELECT COUNT(*) FROM many.last_one").await?;
        Ok(if rows == 2 { Ok(()) } else { Err(rows.to_string()) })
    })
    .await?;
    println!("a pause took {:?}", started.elapsed());
    let peak = cluster.running(0)?.memory_bytes("VmHWM")?;
    println!("peak memory {} MB", peak / 1_000_000);
    ensure!(peak < RSS_BYTES_MAX, "{peak} bytes");

    let started = Instant::now();
    ensure!(cluster.terminate(0).await?.success(), "the node did not end well");
    cluster.launch(0)?;
    cluster.wait_ready().await?;
    source.execute(&["INSERT INTO many.last_one VALUES (3)"]).await?;
    wait_until("the new node goes on", limit, async || {
        let rows = target.query_one::<u64>("SELECT COUNT(*) FROM many.last_one").await?;
        Ok(if rows == 3 { Ok(()) } else { Err(rows.to_string()) })
    })
    .await?;
    println!("a restart of the node took {:?}", started.elapsed());
    let peak = cluster.running(0)?.memory_bytes("VmHWM")?;
    println!("peak memory after it {} MB", peak / 1_000_000);
    ensure!(peak < RSS_BYTES_MAX, "{peak} bytes");
    let started = Instant::now();
    cluster.ctl(&["stop-task", "many"]).await?.success()?;
    println!("stop-task took {:?}", started.elapsed());
    cluster.finish().await
}

/// Small tables with two rows each, made on four connections.
async fn fill(source: &Server, count: u64) -> Result<()> {
    source.execute(&["CREATE DATABASE many"]).await?;
    let mut makers = tokio::task::JoinSet::new();
    for maker in 0..4 {
        let mut root = source.root().await?;
        makers.spawn(async move {
            // They come with the copy alone.
            root.query_drop("SET SESSION sql_log_bin = 0").await?;
            for number in (maker..count).step_by(4) {
                root.query_drop(format!(
                    "CREATE TABLE many.t{number} (id INT PRIMARY KEY, v INT NOT NULL, note VARCHAR(20))"
                ))
                .await?;
                root.query_drop(format!("INSERT INTO many.t{number} VALUES (1, 10, 'a'), (2, 20, NULL)"))
                    .await?;
            }
            root.disconnect().await?;
            Ok::<(), anyhow::Error>(())
        });
    }
    while let Some(made) = makers.join_next().await {
        made.context("a maker died")??;
    }
    Ok(())
}
