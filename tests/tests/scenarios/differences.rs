//! `dmnode ctl diff` finds one changed value in every common type, missing and extra rows, and names their keys.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, shared_source, shared_target};
use dmnode_tests::types::{self, COLUMNS};

const LIMIT: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differences_in_every_type_are_found_mysql_to_mysql() -> Result<()> {
    run("differences_my_my", Flavor::Mysql, Flavor::Mysql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differences_in_every_type_are_found_mariadb_to_mysql() -> Result<()> {
    run("differences_ma_my", Flavor::Mariadb, Flavor::Mysql).await
}

async fn run(name: &str, source: Flavor, target: Flavor) -> Result<()> {
    let (source, target) = (shared_source(source).await?, shared_target(target).await?);
    let statements = types::create_statements(name);
    source.execute(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    types::insert_rows(source, name, 1).await?;
    // Many more rows, so that the difference has to be found inside a chunk; one row per column to be changed.
    let first: u32 = 1000;
    source
        .execute(&[&format!(
            "INSERT INTO {name}.types (id, c_varchar) SELECT {first} + n, 'filler' FROM \
             (SELECT a.d + 10 * b.d + 100 * c.d AS n FROM \
              (SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) a, \
              (SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) b, \
              (SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) c) x"
        )])
        .await?;
    for (index, column) in COLUMNS.iter().enumerate() {
        let value = column.values[2];
        source
            .execute(&[&format!(
                "UPDATE {name}.types SET {} = {value} WHERE id = {}",
                column.name,
                first as usize + index
            )])
            .await?;
    }
    let cluster = Cluster::start(name, 1).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    cluster.start_task(&TaskFile::new(name, "all", target, name, name)).await?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    compare::wait_equal(source, name, target, name, LIMIT).await?;
    let clean = cluster.diff(name).await?;
    ensure!(clean.code == 0, "{clean}");

    // One changed value per type, each in a row of its own: all keys are named in one run.
    for (index, column) in COLUMNS.iter().enumerate() {
        let id = first as usize + index;
        target
            .execute(&[&format!(
                "UPDATE {name}.types SET {} = {} WHERE id = {id}",
                column.name, column.other
            )])
            .await?;
    }
    let diff = cluster.ctl(&["diff", name, "--max-differences", "200", "--recheck-seconds", "1"]).await?;
    ensure!(diff.code == 4, "the exit code says that something differs: {diff}");
    let events: Vec<serde_json::Value> =
        diff.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    for (index, column) in COLUMNS.iter().enumerate() {
        let id = (first as usize + index).to_string();
        let is_found =
            events.iter().any(|event| event["event"] == "difference" && event.to_string().contains(&id));
        ensure!(is_found, "the changed {} ({}) was not found:\n{diff}", column.name, column.sql_type);
    }
    for (index, column) in COLUMNS.iter().enumerate() {
        let id = first as usize + index;
        target
            .execute(&[&format!(
                "UPDATE {name}.types SET {} = {} WHERE id = {id}",
                column.name, column.values[2]
            )])
            .await?;
    }
    let clean = cluster.diff(name).await?;
    ensure!(clean.code == 0, "{clean}");

    // A missing row, an extra row, a doubled row of a keyless table, NULL against empty.
    for (change, undo) in [
        (
            format!("DELETE FROM {name}.types WHERE id = 1500"),
            format!("INSERT INTO {name}.types (id, c_varchar) VALUES (1500, 'filler')"),
        ),
        (
            format!("INSERT INTO {name}.types (id) VALUES (5000000)"),
            format!("DELETE FROM {name}.types WHERE id = 5000000"),
        ),
        (
            format!("UPDATE {name}.types SET c_text = '' WHERE id = 1501"),
            format!("UPDATE {name}.types SET c_text = NULL WHERE id = 1501"),
        ),
        (
            format!("INSERT INTO {name}.types_keyless (c_int) VALUES (4711)"),
            format!("DELETE FROM {name}.types_keyless WHERE c_int = 4711"),
        ),
    ] {
        target.execute(&[&change]).await?;
        let diff = cluster.ctl(&["diff", name, "--recheck-seconds", "1"]).await?;
        ensure!(diff.code == 4, "{change}: {diff}");
        target.execute(&[&undo]).await?;
    }
    let clean = cluster.diff(name).await?;
    ensure!(clean.code == 0, "{clean}");
    cluster.finish().await
}
