//! Where tasks start, by `dmnode ctl`.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
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

/// F6: a task is reset; `--clean-target` lists and drops what the task has created, and nothing that was there before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f06_a_task_is_reset_with_what_it_created() -> Result<()> {
    let name = "f06";
    let (source, target) = (shared_source(Flavor::Mysql).await?, shared_target(Flavor::Mariadb).await?);
    source
        .execute(&[
            "CREATE DATABASE f06",
            "CREATE DATABASE f06_old",
            "CREATE TABLE f06.t (id INT PRIMARY KEY)",
            "CREATE TABLE f06_old.made (id INT PRIMARY KEY)",
            "CREATE TABLE f06_old.there (id INT PRIMARY KEY)",
            "INSERT INTO f06.t VALUES (1)",
        ])
        .await?;
    target.execute(&["CREATE DATABASE f06_old", "CREATE TABLE f06_old.there (id INT PRIMARY KEY)"]).await?;
    let cluster = Cluster::start(name, 1).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    let mut task = TaskFile::new(name, "all", target, name, name);
    task.schemas.push("f06_old".to_owned());
    let file = cluster.write("task.yaml", &task.yaml())?;
    cluster.start_task(&task).await?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    // A table that comes by the stream is the task's as well; a foreign one keeps its database.
    source.execute(&["CREATE TABLE f06.later (id INT PRIMARY KEY)"]).await?;
    wait_until("the new table", LIMIT, async || {
        let found: Vec<String> = target.query("SHOW TABLES FROM f06 LIKE 'later'").await?;
        Ok(if found.is_empty() { Err("not yet".to_owned()) } else { Ok(()) })
    })
    .await?;
    let clean = ["start-task", &file, "--remove-meta", "--clean-target"];
    let refused = cluster.ctl(&clean).await?;
    ensure!(refused.code == 1 && refused.text().contains("46014"), "it runs: {refused}");
    cluster.ctl(&["stop-task", name]).await?.success()?;
    let refused = cluster.ctl(&clean).await?;
    ensure!(refused.code == 2 && refused.text().contains("--yes"), "nobody can answer: {refused}");
    ensure!(refused.text().contains("`f06`.`later`") && !refused.text().contains("there"), "{refused}");
    let rows = target.query_one::<u64>("SELECT COUNT(*) FROM f06.t").await?;
    ensure!(rows == 1, "nothing was dropped");

    source.execute(&["DROP TABLE f06.later", "INSERT INTO f06.t VALUES (2)"]).await?;
    target.execute(&["DROP TABLE f06.later", "INSERT INTO f06_old.there VALUES (7)"]).await?;
    source.execute(&["INSERT INTO f06_old.there VALUES (8)"]).await?;
    target.execute(&["CREATE TABLE f06.foreign_one (id INT)"]).await?;
    let started = cluster.ctl(&["start-task", &file, "--remove-meta", "--clean-target", "--yes"]).await?;
    // The table that was there before keeps its row.
    ensure!(
        target.query_one::<u64>("SELECT COUNT(*) FROM f06_old.there WHERE id = 7").await? == 1,
        "{started}"
    );
    ensure!(started.text().contains("kept, because there is something else in them: `f06`"), "{started}");
    wait_until("the copy made anew", LIMIT, async || {
        let rows: Vec<u64> = target.query("SELECT id FROM f06.t ORDER BY id").await.unwrap_or_default();
        Ok(if rows == [1, 2] { Ok(()) } else { Err(format!("{rows:?}")) })
    })
    .await?;
    cluster.finish().await
}

/// F8: `update-task`: a paused task takes new settings, tables that come into scope are copied and join; what cannot be
/// changed is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_update_task_with_a_wider_list() -> Result<()> {
    let name = "update_task";
    let (source, target) = (shared_source(Flavor::Mariadb).await?, shared_target(Flavor::Mariadb).await?);
    source
        .execute(&[
            &format!("CREATE DATABASE {name}"),
            &format!("CREATE TABLE {name}.t (id INT PRIMARY KEY)"),
        ])
        .await?;
    let cluster = Cluster::start(name, 1).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    let mut task = TaskFile::new(name, "all", target, name, name);
    cluster.start_task(&task).await?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    source
        .execute(&[
            &format!("CREATE DATABASE {name}_2"),
            &format!("CREATE TABLE {name}_2.old (id INT PRIMARY KEY)"),
            &format!("INSERT INTO {name}_2.old VALUES (1), (2)"),
        ])
        .await?;
    task.schemas.push(format!("{name}_2"));
    let wider = cluster.write("wider.yaml", &task.yaml())?;
    let other_mode = cluster.write("mode.yaml", &task.yaml().replace("task-mode: all", "task-mode: full"))?;
    let running = cluster.ctl(&["update-task", &wider]).await?;
    ensure!(
        running.code == 1 && running.text().contains("60805") && running.text().contains("pause-task"),
        "{running}"
    );
    cluster.ctl(&["pause-task", name]).await?.success()?;
    let fixed = cluster.ctl(&["update-task", &other_mode]).await?;
    ensure!(
        fixed.code == 1 && fixed.text().contains("60805") && fixed.text().contains("task-mode"),
        "{fixed}"
    );
    let updated = cluster.ctl(&["update-task", &wider]).await?.success()?;
    ensure!(updated.text().contains("1 tables of source") && updated.text().contains("`old`"), "{updated}");
    cluster.ctl(&["resume-task", name]).await?.success()?;
    source
        .execute(&[
            &format!("INSERT INTO {name}_2.old VALUES (3)"),
            &format!("CREATE TABLE {name}_2.joined (id INT PRIMARY KEY)"),
            &format!("INSERT INTO {name}_2.joined VALUES (5)"),
        ])
        .await?;
    wait_until("the schema that came into scope", LIMIT, async || {
        let sql = format!("SELECT id FROM {name}_2.joined");
        let rows: Vec<u64> = target.query(&sql).await.unwrap_or_default();
        Ok(if rows == [5] { Ok(()) } else { Err(format!("{rows:?}")) })
    })
    .await?;
    compare::wait_equal(source, &format!("{name}_2"), target, &format!("{name}_2"), LIMIT).await?;

    // Narrower again: what comes later does not arrive.
    cluster.ctl(&["pause-task", name]).await?.success()?;
    task.schemas.pop();
    let narrow = cluster.write("narrow.yaml", &task.yaml())?;
    let updated = cluster.ctl(&["update-task", &narrow]).await?.success()?;
    ensure!(updated.text().contains("leave the task"), "{updated}");
    cluster.ctl(&["resume-task", name]).await?.success()?;
    source
        .execute(&[
            &format!("INSERT INTO {name}_2.old VALUES (4)"),
            &format!("INSERT INTO {name}.t VALUES (9)"),
        ])
        .await?;
    wait_until("the stream goes on", LIMIT, async || {
        let rows: Vec<u64> = target.query(&format!("SELECT id FROM {name}.t")).await?;
        Ok(if rows == [9] { Ok(()) } else { Err(format!("{rows:?}")) })
    })
    .await?;
    let rows: Vec<u64> = target.query(&format!("SELECT id FROM {name}_2.old ORDER BY id")).await?;
    ensure!(rows == [1, 2, 3], "{rows:?}");
    cluster.finish().await
}
