//! Tables join, leave and are copied again while a task runs (F8): under live writes, with nodes that die in the middle.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::chaos::{Workload, seed_data};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, Server, shared_source, shared_target};
use dmnode_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(120);

/// F8, MySQL: added in the sync stage, the owner killed while it copies; copied again, killed before and after the join.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_tables_join_a_running_task_mysql() -> Result<()> {
    tables_join(Flavor::Mysql, Flavor::Mariadb, false).await
}

/// F8, MariaDB: added while the full copy still runs; otherwise the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_tables_join_a_running_task_mariadb() -> Result<()> {
    tables_join(Flavor::Mariadb, Flavor::Mysql, true).await
}

async fn joined(cluster: &Cluster, name: &str, count: usize) -> Result<()> {
    wait_until("the tables have joined", LIMIT, async || {
        let Ok(status) = cluster.subtask(name, name).await else { return Ok(Err("no status".to_owned())) };
        let shown = status["dmnode"]["tables"].as_array().cloned().unwrap_or_default();
        let all = shown.iter().filter(|one| one["stage"] == "joined").count() == shown.len();
        // What has been noted as joined is not shown any more after the next start.
        let running = status["unit"] == "Sync" && status["stage"] == "Running" && shown.len() <= count;
        Ok(if all && running { Ok(()) } else { Err(format!("{status:#}")) })
    })
    .await
}

/// The node that died by a failpoint is started again.
async fn revive(cluster: &mut Cluster, owner: usize) -> Result<()> {
    cluster.kill(owner)?;
    cluster.launch(owner)?;
    cluster.wait_ready().await
}

async fn tables_join(from: Flavor, to: Flavor, in_copy: bool) -> Result<()> {
    let name = format!("f08_{}", from.name());
    let name = name.as_str();
    let (source, target): (&Server, &Server) = (shared_source(from).await?, shared_target(to).await?);
    seed_data(source, name, 3_000, 8).await?;
    source
        .execute(&[
            &format!("CREATE TABLE {name}.parent (id INT PRIMARY KEY)"),
            &format!("CREATE TABLE {name}.child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES {name}.parent (id) ON DELETE CASCADE)"),
            &format!("CREATE TABLE {name}.plain (id INT PRIMARY KEY, v VARCHAR(20))"),
            &format!("INSERT INTO {name}.plain VALUES (1, 'a'), (2, 'b')"),
        ])
        .await?;
    let mut cluster = Cluster::start(name, 3).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    let mut task = TaskFile::new(name, "all", target, name, name);
    task.allow_list_extra = format!(
        "    ignore-tables:\n    - {{db-name: {name}, tbl-name: counters}}\n    - {{db-name: {name}, tbl-name: ledger}}\n    - {{db-name: {name}, tbl-name: child}}\n"
    );
    let mut live = Workload::start(&[source], name, 8, 2, Duration::from_millis(5))?;
    let counters = format!("{name}.counters");
    let ledger = format!("{name}.ledger");
    if in_copy {
        cluster.set_failpoint("load.before_finish", "pause 3000")?;
        let started = cluster.try_start_task(&task).await?;
        ensure!([0, 4].contains(&started.code), "{started}");
    } else {
        cluster.start_task(&task).await?;
        cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    }

    // What cannot be told apart or does not exist is refused, and nothing is recorded.
    for (command, table, why) in [
        ("add-table", format!("{name}.plain"), "in the task already"),
        ("add-table", format!("{name}.nothing"), "no source of the task"),
        ("add-table", format!("{name}.child"), "foreign key"),
        ("resync-table", format!("{name}.child"), "not in the task"),
        ("add-table", "nonsense".to_owned(), "schema"),
    ] {
        let refused = cluster.ctl(&[command, name, &table]).await?;
        ensure!(refused.code == 1 && refused.text().contains(why), "{command} {table}: {refused}");
    }

    // Added; the owner dies when the first chunk is there.
    let owner = cluster.owner(name).await?;
    if !in_copy {
        cluster.set_failpoint("load.after_chunk_commit", "exit")?;
    }
    let added = cluster.ctl(&["add-table", name, &counters, &ledger]).await?;
    ensure!(in_copy || [0, 3, 4].contains(&added.code), "{added}");
    if !in_copy {
        cluster.wait_failpoint("load.after_chunk_commit", LIMIT).await?;
        revive(&mut cluster, owner).await?;
    }
    joined(&cluster, name, 1).await?;
    live.ensure_running()?;

    // Copied again, after rows were lost in the target; the owner dies on both sides of the join.
    cluster.ctl(&["pause-task", name]).await?.success()?;
    target
        .execute(&[
            &format!("DELETE FROM {counters}"),
            &format!("INSERT INTO {name}.plain VALUES (77, 'foreign')"),
        ])
        .await?;
    cluster.set_failpoint("tables.before_join", "exit")?;
    cluster.ctl(&["resync-table", name, &counters, &format!("{name}.plain")]).await?.success()?;
    for failpoint in ["tables.before_join", "tables.after_join"] {
        let owner = cluster.owner(name).await?;
        if failpoint == "tables.before_join" {
            let resumed = cluster.ctl(&["resume-task", name]).await?;
            ensure!([0, 3, 4].contains(&resumed.code), "{resumed}");
        } else {
            cluster.set_failpoint(failpoint, "exit")?;
            let resynced = cluster.ctl(&["resync-table", name, &ledger]).await?;
            ensure!([0, 3, 4].contains(&resynced.code), "{resynced}");
        }
        cluster.wait_failpoint(failpoint, LIMIT).await?;
        revive(&mut cluster, owner).await?;
        joined(&cluster, name, 2).await?;
    }
    live.ensure_running()?;
    live.stop().await?;
    source.execute(&[&format!("DROP TABLE {name}.child")]).await?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    cluster.diff(name).await?.success()?;
    let left: Vec<String> =
        target.query(&format!("SHOW TABLES FROM `{}` LIKE '%dmj%'", task.meta_schema())).await?;
    ensure!(left.is_empty(), "a copy beside the task has left its metadata: {left:?}");

    // Taken out: the target keeps its rows, and what comes later does not arrive.
    cluster.ctl(&["remove-table", name, &format!("{name}.plain")]).await?.success()?;
    source
        .execute(&[
            &format!("INSERT INTO {name}.plain VALUES (3, 'c')"),
            &format!("INSERT INTO {name}.parent VALUES (5)"),
        ])
        .await?;
    wait_until("the stream goes on", LIMIT, async || {
        let rows: Vec<u64> = target.query(&format!("SELECT id FROM {name}.parent")).await?;
        Ok(if rows == [5] { Ok(()) } else { Err(format!("{rows:?}")) })
    })
    .await?;
    let kept: Vec<u64> = target.query(&format!("SELECT id FROM {name}.plain ORDER BY id")).await?;
    ensure!(kept == [1, 2], "{kept:?}");
    let again = cluster.ctl(&["add-table", name, &format!("{name}.plain")]).await?;
    ensure!(again.code == 1 && again.text().contains("has rows already"), "{again}");
    cluster.finish().await
}
