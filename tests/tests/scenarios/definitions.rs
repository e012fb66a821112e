//! `binlog-schema` and `start-task --safe-mode-duration` by `dmnode ctl`, on running nodes.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, StartAt, TaskFile};
use dmnode_tests::server::{Flavor, shared_source, shared_target};
use dmnode_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

/// A definition is looked at, replaced by a wrong one (which stops the task at the next row and loses nothing), taken from
/// the source, and forgotten; none of it while the task runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_are_listed_updated_and_deleted() -> Result<()> {
    let name = "binlog_schema";
    let (source, target) = (shared_source(Flavor::Mariadb).await?, shared_target(Flavor::Mariadb).await?);
    source
        .execute(&[
            "CREATE DATABASE binlog_schema",
            "CREATE TABLE binlog_schema.t (id INT PRIMARY KEY, b VARCHAR(33))",
            "INSERT INTO binlog_schema.t VALUES (1, 'one')",
        ])
        .await?;
    let cluster = Cluster::start(name, 1).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    cluster.start_task(&TaskFile::new(name, "all", target, name, name)).await?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    source.execute(&["INSERT INTO binlog_schema.t VALUES (2, 'two')"]).await?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;

    let schema = async |operation: &str, more: &[&str]| {
        cluster.ctl(&[&["binlog-schema", operation, name, name, "t"][..], more].concat()).await
    };
    let listed = schema("list", &[]).await?.success()?;
    ensure!(listed.text().contains("varchar(33)"), "{listed}");
    let wrong = cluster.write("wrong.sql", "CREATE TABLE x (id INT PRIMARY KEY, b VARCHAR(33), c INT);")?;
    for (operation, more) in [("update", &[wrong.as_str()][..]), ("delete", &[])] {
        let refused = schema(operation, more).await?;
        let text = refused.text();
        ensure!(text.contains("40051") && text.contains("pause-task"), "{operation}: {refused}");
    }
    let odd = cluster.write("odd.sql", "DROP TABLE t")?;
    cluster.ctl(&["pause-task", name]).await?.success()?;
    let refused = schema("update", &[&odd]).await?;
    ensure!(refused.text().contains("not a valid `CREATE TABLE` statement"), "{refused}");
    schema("update", &[&wrong]).await?.success()?;
    let listed = schema("list", &[]).await?.success()?;
    ensure!(listed.text().contains("`c` int"), "{listed}");
    cluster.ctl(&["resume-task", name]).await?.success()?;
    source.execute(&["INSERT INTO binlog_schema.t VALUES (3, 'three')"]).await?;
    let error = cluster.wait_error(name, name, LIMIT).await?;
    ensure!(error["ErrCode"] == 36027, "{error:#}");
    ensure!(target.query_one::<u64>("SELECT COUNT(*) FROM binlog_schema.t").await? == 2);

    schema("update", &["--from-source"]).await?.success()?;
    // The answer may still show the error that was.
    cluster.ctl(&["resume-task", name]).await?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    cluster.ctl(&["pause-task", name]).await?.success()?;
    schema("delete", &[]).await?.success()?;
    source.execute(&["INSERT INTO binlog_schema.t VALUES (4, 'four')"]).await?;
    cluster.ctl(&["resume-task", name]).await?.success()?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    cluster.finish().await
}

/// Deaths before and after the write that stores a table's definition together with the watermark: rows of the former and
/// the new definition are read rightly, and the definition is the source's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_survive_a_death_around_their_write() -> Result<()> {
    let name = "definition_deaths";
    let (source, target) = (shared_source(Flavor::Mysql).await?, shared_target(Flavor::Mysql).await?);
    source
        .execute(&[
            "CREATE DATABASE definition_deaths",
            "CREATE TABLE definition_deaths.t (id INT PRIMARY KEY AUTO_INCREMENT, a INT, b INT)",
            "INSERT INTO definition_deaths.t (a, b) VALUES (1, 2)",
        ])
        .await?;
    let cluster = Cluster::start(name, 1).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    cluster.start_task(&TaskFile::new(name, "all", target, name, name)).await?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    let steps = [
        ("sync.ddl_before_passed", "panic"),
        ("sync.ddl_after_passed", "panic"),
        ("sync.ddl_before_passed", "error"),
        ("sync.ddl_after_passed", "error"),
    ];
    for (round, (failpoint, action)) in steps.into_iter().enumerate() {
        cluster.set_failpoint(failpoint, action)?;
        // Columns of one type change places: a row that is read by a wrong definition would not be noticed.
        source
            .execute(&[
                "INSERT INTO definition_deaths.t (a, b) VALUES (10, 20)",
                &format!("ALTER TABLE definition_deaths.t ADD COLUMN n{round} INT NOT NULL DEFAULT 7 AFTER id, MODIFY b INT FIRST"),
                &format!("INSERT INTO definition_deaths.t (a, b, n{round}) VALUES (30, 40, 50)"),
                "ALTER TABLE definition_deaths.t MODIFY b INT AFTER a",
                "UPDATE definition_deaths.t SET a = a + 1, b = b + 2",
            ])
            .await?;
        cluster.wait_failpoint(failpoint, LIMIT).await?;
        compare::wait_equal(source, name, target, name, LIMIT).await?;
        cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
        cluster.ctl(&["pause-task", name]).await?.success()?;
        let listed =
            cluster.ctl(&["binlog-schema", "list", name, name, "t"]).await?.success()?.json()?.to_string();
        let columns = source
            .query::<String>("SELECT column_name FROM information_schema.columns WHERE table_schema = 'definition_deaths' ORDER BY ordinal_position")
            .await?;
        let places: Vec<Option<usize>> =
            columns.iter().map(|column| listed.find(&format!("`{column}` int"))).collect();
        ensure!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{failpoint}: {columns:?} / {listed}"
        );
        cluster.ctl(&["resume-task", name]).await?;
    }
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    cluster.finish().await
}

/// A window of safe mode by `start-task` is shown, does what it is for, and is not there at the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_of_safe_mode_by_start_task() -> Result<()> {
    let name = "safe_window";
    let (source, target) = (shared_source(Flavor::Mysql).await?, shared_target(Flavor::Mariadb).await?);
    let schema = ["CREATE DATABASE safe_window", "CREATE TABLE safe_window.t (id INT PRIMARY KEY, b INT)"];
    source.execute(&schema).await?;
    target.execute(&schema).await?;
    let start = StartAt::now(source).await?;
    source
        .execute(&[
            "INSERT INTO safe_window.t VALUES (1, 1), (2, 2)",
            "DELETE FROM safe_window.t WHERE id = 2",
        ])
        .await?;
    // Written before, partly, and not quite so.
    target.execute(&["INSERT INTO safe_window.t VALUES (1, 7)"]).await?;

    let cluster = Cluster::start(name, 1).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    let mut task = TaskFile::new(name, "incremental", target, name, name);
    task.sources = vec![(name.to_owned(), Some(start))];
    let file = cluster.write("task.yaml", &task.yaml())?;
    let odd = cluster.ctl(&["start-task", &file, "--safe-mode-duration", "soon"]).await?;
    ensure!(odd.code != 0, "{odd}");
    cluster.ctl(&["start-task", &file, "--safe-mode-duration", "600s"]).await?.success()?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    wait_until("the window is shown", LIMIT, async || {
        let text = cluster.subtask(name, name).await?.to_string();
        let shown = text.contains("--safe-mode-duration 600 s") && text.contains("safe-mode-replaced");
        Ok(if shown { Ok(()) } else { Err(text) })
    })
    .await?;

    cluster.ctl(&["stop-task", name]).await?.success()?;
    cluster.ctl(&["start-task", &file]).await?.success()?;
    target.execute(&["INSERT INTO safe_window.t VALUES (3, 99)"]).await?;
    source.execute(&["INSERT INTO safe_window.t VALUES (3, 3)"]).await?;
    let error = cluster.wait_error(name, name, LIMIT).await?;
    ensure!(error.to_string().contains("6070"), "a row in the way is not replaced any more: {error:#}");
    let kept = target.query_one::<u64>("SELECT b FROM safe_window.t WHERE id = 3").await?;
    ensure!(kept == 99, "{kept}");
    cluster.finish().await
}
